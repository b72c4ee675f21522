"""What scans have found, and what was decided about it."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from actors.discovery.models import DeviceState, DiscoveredDevice, DiscoverySummary, Protocol, Scan
from actors.node.models import Node
from api.deps import (
    Actors,
    Campus,
    CurrentUser,
    Cursor,
    Discoverer,
    Limit,
    Page,
    Part,
    SiteActors,
    SiteId,
    from_sites,
    over_sites,
    site_with,
)

router = APIRouter(prefix="/api/discovery", tags=["discovery"])

Id = Annotated[int, Path(ge=1, lt=2**63)]
Text = Annotated[str | None, Query(max_length=100)]


async def _site(campus: Campus, device_id: int, site: str | None) -> SiteActors:
    return await site_with(campus, "discovery", "get", device_id, site)


@router.get("/status")
async def status(user: CurrentUser, campus: Actors, site: SiteId = None) -> dict[str, DiscoverySummary]:
    """Count devices by state and show the newest scans, per site that can be reached."""
    chosen = campus.chosen(site)
    found, away = await from_sites(chosen, "discovery", "summary")
    return dict(zip((of.id for of in chosen if of.id not in away), found, strict=True))


@router.get("/scans")
async def scans(
    user: CurrentUser, campus: Actors, site: SiteId = None, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """List scans, newest first."""

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        found, following = await of.call("discovery", "scans", most, after)
        return [each.model_dump(mode="json") | {"site": of.id} for each in found], following

    return await over_sites(campus.chosen(site), limit, cursor, read)


@router.get("/scans/{scan_id}")
async def scan(scan_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None) -> Scan:
    """Give one scan."""
    of = await site_with(campus, "discovery", "scan", scan_id, site)
    found: Scan = await of.call("discovery", "scan", scan_id)
    return found


@router.get("/devices")
async def devices(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    state: DeviceState | None = None,
    protocol: Protocol | None = None,
    network_id: Text = None,
    text: Text = None,
    conflict: bool | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List devices that were found."""

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        found, following = await of.call(
            "discovery", "find", state, protocol, network_id, text, conflict, most, after
        )
        return [each.model_dump(mode="json") | {"site": of.id} for each in found], following

    return await over_sites(campus.chosen(site), limit, cursor, read)


@router.get("/{device_id}")
async def device(device_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None) -> DiscoveredDevice:
    """Give one device."""
    of = await _site(campus, device_id, site)
    found: DiscoveredDevice = await of.call("discovery", "get", device_id)
    return found


@router.get("/{device_id}/points")
async def points(
    device_id: Id,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List the points of a device."""
    of = await _site(campus, device_id, site)
    found, following = await of.call("discovery", "points", device_id, limit, cursor)
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)


@router.post("/{device_id}/ignore")
async def ignore(device_id: Id, user: Discoverer, campus: Actors, site: SiteId = None) -> DiscoveredDevice:
    """Put a device aside."""
    of = await _site(campus, device_id, site)
    done: DiscoveredDevice = await of.call("discovery", "ignore", device_id, user.username)
    await campus.log(user.username, "ignore_device", f"device:{done.device_key}", site=of.id, id=device_id)
    return done


@router.post("/{device_id}/restore")
async def restore(device_id: Id, user: Discoverer, campus: Actors, site: SiteId = None) -> DiscoveredDevice:
    """Make a device one to decide about again: one that was ignored, or whose nodes were deleted."""
    of = await _site(campus, device_id, site)
    before: DiscoveredDevice = await of.call("discovery", "get", device_id)
    if before.state is DeviceState.ACCEPTED:
        there: list[Node] = await of.call("nodes", "get_many", before.created_node_ids)
        still = [node.id for node in there]
        done: DiscoveredDevice = await of.call("discovery", "release", device_id, still, user.username)
    else:
        done = await of.call("discovery", "restore", device_id, user.username)
    await campus.log(user.username, "restore_device", f"device:{done.device_key}", site=of.id, id=device_id)
    return done


@router.delete("/{device_id}", status_code=204)
async def forget(device_id: Id, user: Discoverer, campus: Actors, site: SiteId = None) -> None:
    """Forget a device that isn't accepted."""
    of = await _site(campus, device_id, site)
    gone: DiscoveredDevice = await of.call("discovery", "forget", device_id)
    await campus.log(user.username, "forget_device", f"device:{gone.device_key}", site=of.id, id=device_id)
