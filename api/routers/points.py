"""Points: their values now, and commands to them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from actors.core.clock import Timestamp
from actors.core.errors import NotFoundError, OpenCrateError
from actors.core.values import PointValue, StatusFlags
from actors.node.models import Node, NodeType
from actors.override.models import PriorityArray, RelinquishRequest, WriteRequest, WriteResult
from api.deps import (
    Actors,
    CurrentUser,
    Cursor,
    Limit,
    Page,
    Part,
    SiteActors,
    SiteId,
    Writer,
    over_sites,
)

router = APIRouter(prefix="/api/points", tags=["points"])

POINTS = (NodeType.POINT, NodeType.VIRTUAL_POINT)
COMMAND_TIMEOUT = 45.0
"""Seconds that a command may take: a device that is slow to refuse needs most of them."""


class Point(BaseModel):
    """A point with its value now and what is known of it."""

    id: str
    site: str
    value: PointValue | None = None
    status: StatusFlags = 0
    time: Timestamp | None = None
    units: str | None = None
    dis: str
    parent: str | None = None
    tags: list[str] = []
    writable: bool = False
    states: list[str] | None = None


def _point(site: SiteActors, node: Node, row: Any) -> Point:
    states, units = node.properties.get("states"), node.properties.get("units")
    return Point(
        id=node.id,
        site=site.id,
        value=row[1] if row else None,
        status=row[2] if row else 0,
        time=row[3] if row else None,
        units=(row[4] if row else None) or (units if isinstance(units, str) else None),
        dis=node.dis,
        parent=node.parent_id,
        tags=node.tags,
        writable=node.capabilities.writable,
        states=[str(each) for each in states] if isinstance(states, list) else None,
    )


async def _with_values(site: SiteActors, nodes: list[Node]) -> list[Point]:
    rows = await site.call("points", "snapshot", [node.id for node in nodes]) if nodes else []
    by_id = {row[0]: row for row in rows}
    return [_point(site, node, by_id.get(node.id)) for node in nodes]


@router.get("")
async def points(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    parent: Annotated[str | None, Query(max_length=200, description="Right below this node.")] = None,
    q: Annotated[str | None, Query(max_length=200, description="Part of the name or id.")] = None,
    tags: Annotated[
        str | None, Query(max_length=500, description="Tags, with commas; `-tag`: without.")
    ] = None,
    ids: Annotated[str | None, Query(max_length=20_000, description="These ids, with commas.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List points with their values."""
    wanted = None if ids is None else [each for each in ids.split(",") if each][:1000]
    tagged = [each for each in (tags or "").split(",") if each]

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        if wanted is not None:
            return await _with_values(of, await of.call("nodes", "get_many", wanted)), None
        nodes, following = await of.call("nodes", "find", POINTS, tagged, parent, q, most, after)
        return await _with_values(of, nodes), following

    return await over_sites(campus.chosen(site), limit, cursor, read)


async def _one(campus: Actors, point_id: str, site: str | None) -> tuple[SiteActors, Node]:
    of, node = await campus.find_node(point_id, site)
    if node.node_type not in POINTS:
        raise NotFoundError("point", point_id)
    return of, node


@router.get("/{point_id:path}/priority-array")
async def priority_array(
    point_id: str, user: CurrentUser, campus: Actors, site: SiteId = None
) -> PriorityArray:
    """Give the 16 slots of a point (ASHRAE 135, 19.2)."""
    of, node = await _one(campus, point_id, site)
    array: PriorityArray = await of.call("commands", "priority_array", node.id, timeout=COMMAND_TIMEOUT)
    return array


@router.post("/{point_id:path}/write")
async def write(
    point_id: str, body: WriteRequest, user: Writer, campus: Actors, site: SiteId = None
) -> WriteResult:
    """Command a point at a priority; give what the device says afterwards."""
    of, node = await _one(campus, point_id, site)
    asked = body.model_dump(exclude_none=True)
    try:
        result: WriteResult = await of.call(
            "commands", "write", node.id, body, user.username, timeout=COMMAND_TIMEOUT
        )
    except OpenCrateError as error:
        await campus.log(user.username, "write_failed", node.id, site=of.id, **asked, reason=str(error))
        raise
    await campus.log(
        user.username,
        "write",
        node.id,
        site=of.id,
        **asked,
        old_value=result.old_value,
        read_back=result.value,
    )
    return result


@router.post("/{point_id:path}/relinquish")
async def relinquish(
    point_id: str,
    user: Writer,
    campus: Actors,
    body: RelinquishRequest | None = None,
    site: SiteId = None,
) -> WriteResult:
    """Give a slot back; the next one in force counts."""
    of, node = await _one(campus, point_id, site)
    priority = (body or RelinquishRequest()).priority
    try:
        result: WriteResult = await of.call(
            "commands", "relinquish", node.id, priority, user.username, timeout=COMMAND_TIMEOUT
        )
    except OpenCrateError as error:
        await campus.log(
            user.username, "relinquish_failed", node.id, site=of.id, priority=priority, reason=str(error)
        )
        raise
    await campus.log(
        user.username,
        "relinquish",
        node.id,
        site=of.id,
        priority=priority,
        old_value=result.old_value,
        read_back=result.value,
    )
    return result


@router.get("/{point_id:path}")
async def point(point_id: str, user: CurrentUser, campus: Actors, site: SiteId = None) -> Point:
    """Give one point."""
    of, node = await _one(campus, point_id, site)
    [found] = await _with_values(of, [node])
    return found
