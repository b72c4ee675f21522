"""The journal of each site: what has happened, and subscriptions that lose nothing."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from actors.bus.journal import JOURNALED, Batch, Journaled, Subscription
from actors.core.clock import Timestamp, to_iso
from actors.core.errors import BadInputError
from actors.core.store import MAX_PAGE
from api.deps import (
    Actors,
    CurrentUser,
    Cursor,
    Limit,
    NodeEditor,
    Page,
    Part,
    SiteActors,
    SiteId,
    over_sites,
    paged,
)

router = APIRouter(prefix="/api/events", tags=["events"])

Time = Annotated[Timestamp | None, Query(description="ISO 8601 with zone.")]
Types = Annotated[list[str] | None, Query(description=f"Some of {', '.join(JOURNALED)}.")]
Name = Annotated[str, Path(min_length=1, max_length=100)]
LONGEST_WAIT = 25.0


class NewSubscription(BaseModel):
    """A durable subscription to be made; `after` is the number past which it begins (left out: now)."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "cmms", "after": 0}]})

    name: str = Field(min_length=1, max_length=100)
    types: list[str] | None = Field(default=None, max_length=20)
    after: int | None = Field(default=None, ge=0, lt=2**63)


class Acknowledged(BaseModel):
    """Everything up to the number `seq` has been worked off."""

    model_config = ConfigDict(extra="forbid")

    seq: int = Field(ge=0, lt=2**63)


class EventBatch(BaseModel):
    """Events in order; read on with `after`. `lost` counts those before them that are no longer kept."""

    site: str
    events: list[dict[str, Any]]
    after: int
    lost: int


def _event(entry: Journaled, site: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(entry.event)
    return fields | {"site": site, "seq": entry.seq, "at": to_iso(entry.at)}


def _one(campus: Actors, site: str | None) -> SiteActors:
    sites = campus.chosen(site)
    if len(sites) > 1:
        choices = ", ".join(each.id for each in sites)
        raise BadInputError("site", site, f"one of {choices}: each site has a journal of its own")
    return sites[0]


@router.get("")
async def replay(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    types: Types = None,
    start: Time = None,
    end: Time = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List journaled events in the order in which they came, by time of entry."""

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        found, following = await of.call("journal", "replay", start, end, types, most, after)
        return [_event(entry, of.id) for entry in found], following

    return await over_sites(campus.chosen(site), limit, cursor, read)


@router.get("/after/{seq}")
async def after(
    seq: Annotated[int, Path(ge=0, lt=2**63)],
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    types: Types = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 500,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait for new ones.")] = 0,
) -> EventBatch:
    """Give the events of one site past a number, waiting for new ones where asked to."""
    of = _one(campus, site)
    batch: Batch = await of.call("bus", "durable_next", seq, types, limit, wait, timeout=wait + 10)
    events = [_event(entry, of.id) for entry in batch.entries]
    return EventBatch(site=of.id, events=events, after=batch.after, lost=batch.lost)


@router.get("/subscriptions")
async def subscriptions(
    user: CurrentUser, campus: Actors, site: SiteId = None, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """List durable subscriptions with how far each has come."""

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        found: list[Subscription] = await of.call("journal", "subscriptions")
        part = paged(found, most, after, lambda each: each.name)
        return [each | {"site": of.id} for each in part.items], part.next_cursor

    return await over_sites(campus.chosen(site), limit, cursor, read)


@router.post("/subscriptions", status_code=201)
async def subscribe(
    body: NewSubscription, user: NodeEditor, campus: Actors, site: SiteId = None
) -> Subscription:
    """Make a durable subscription, or find the one of this name, which keeps its place."""
    of = _one(campus, site)
    made: Subscription = await of.call("bus", "durable_subscribe", body.name, body.types, body.after)
    await campus.log(
        user.username, "subscribe_events", f"subscription:{body.name}", site=of.id, types=body.types
    )
    return made


@router.post("/subscriptions/{name}/acknowledge")
async def acknowledge(
    name: Name, body: Acknowledged, user: NodeEditor, campus: Actors, site: SiteId = None
) -> Subscription:
    """Note how far a subscriber has come. Not audited: it happens with every batch."""
    of = _one(campus, site)
    found: Subscription = await of.call("bus", "durable_acknowledge", name, body.seq)
    return found


@router.delete("/subscriptions/{name}", status_code=204)
async def unsubscribe(name: Name, user: NodeEditor, campus: Actors, site: SiteId = None) -> None:
    """Forget a durable subscription."""
    of = _one(campus, site)
    await of.call("journal", "unsubscribe", name)
    await campus.log(user.username, "unsubscribe_events", f"subscription:{name}", site=of.id)
