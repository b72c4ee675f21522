"""Scans, what they have found, and what was decided about it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, get_args

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from actors.core.errors import OpenCrateError, UnreachableError
from actors.discovery.models import (
    AcceptRequest,
    DeviceState,
    DiscoveredDevice,
    DiscoverySummary,
    Proposal,
    Protocol,
    Scan,
    ScanRequest,
)
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
    listed,
    one_site,
    over_sites,
    paged,
    site_with,
)
from bridges.profiles import shipped_profiles

router = APIRouter(prefix="/api/discovery", tags=["discovery"])

PROTOCOLS: Final[tuple[Protocol, ...]] = get_args(Protocol)
ENGINE: Final = "discovery_engine"
ACCEPT_TIMEOUT: Final = 120.0
"""Seconds for a device with thousands of points."""

Id = Annotated[int, Path(ge=1, lt=2**63)]
Text = Annotated[str | None, Query(max_length=100)]


async def _site(campus: Campus, device_id: int, site: str | None) -> SiteActors:
    return await site_with(campus, "discovery", "get", device_id, site)


class DeviceRequest(AcceptRequest):
    """One of several devices to accept."""

    id: int = Field(ge=1, lt=2**63)


class ManyRequest(BaseModel):
    """Devices of one site to accept, one after the other, each all or nothing."""

    model_config = ConfigDict(extra="forbid")

    devices: list[DeviceRequest] = Field(min_length=1, max_length=200)


class SomeDevices(BaseModel):
    """Devices of one site."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Annotated[int, Field(ge=1, lt=2**63)]] = Field(min_length=1, max_length=1000)


class Changed(BaseModel):
    """What came of deciding about several devices."""

    changed: list[int]
    refused: dict[int, str]
    """By device, why it wasn't."""


class Accepted(BaseModel):
    """What came of accepting several devices."""

    accepted: list[DiscoveredDevice]
    refused: dict[int, str]
    """By device, why it wasn't."""


@router.get("/networks")
async def networks(
    user: CurrentUser, campus: Actors, site: SiteId = None, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """List the networks that can be scanned."""

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        found: dict[str, str] = await of.call(ENGINE, "networks")
        names = [each for each in sorted(found) if after is None or each > after]
        shown = [{"id": name, "protocol": found[name], "site": of.id} for name in names[:most]]
        return shown, names[most - 1] if len(names) > most else None

    return await over_sites(campus.chosen(site), limit, cursor, read)


@router.post("/scan", status_code=202)
async def begin_scan(body: ScanRequest, user: Discoverer, campus: Actors, site: SiteId = None) -> Scan:
    """Begin a scan of a site's networks; its progress is at `/api/discovery/scans/{id}`."""
    of = one_site(campus, site)
    begun: Scan = await of.call(ENGINE, "scan", body, user.username, timeout=20.0)
    await campus.log(
        user.username,
        "begin_scan",
        f"scan:{begun.id}",
        site=of.id,
        **body.model_dump(mode="json", exclude_none=True),
    )
    return begun


@router.post("/scans/{scan_id}/cancel")
async def cancel_scan(scan_id: Id, user: Discoverer, campus: Actors, site: SiteId = None) -> Scan:
    """End a scan; what it has found is kept."""
    of = await site_with(campus, "discovery", "scan", scan_id, site)
    ended: Scan = await of.call(ENGINE, "cancel", scan_id, timeout=20.0)
    await campus.log(user.username, "cancel_scan", f"scan:{scan_id}", site=of.id)
    return ended


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
    return await listed(campus.chosen(site), limit, cursor, "discovery", "scans")


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
    return await listed(
        campus.chosen(site), limit, cursor, "discovery", "find", state, protocol, network_id, text, conflict
    )


@router.get("/profiles")
async def profiles(
    user: CurrentUser, protocol: Protocol | None = None, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """List the profiles that come with the program and that a device can be accepted by."""
    wanted = (protocol,) if protocol else PROTOCOLS
    found = [each for name in wanted for each in await asyncio.to_thread(shipped_profiles, name)]
    shown = [
        each.model_dump(include={"profile", "protocol", "dis", "vendor", "model"})
        | {"points": len(each.points)}
        for each in found
    ]
    return paged(shown, limit, cursor, lambda each: str(each["profile"]))


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


@router.get("/{device_id}/proposal")
async def proposal(
    device_id: Id,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    profile: Text = None,
    grouping: bool = True,
) -> Proposal:
    """Say what accepting a device would make: names, groups, tags, units, alarms, and what is in the way."""
    of = await _site(campus, device_id, site)
    request = AcceptRequest(profile=profile, grouping=grouping)
    shown: Proposal = await of.call(ENGINE, "proposal", device_id, request, timeout=ACCEPT_TIMEOUT)
    return shown


@router.post("/{device_id}/proposal")
async def proposal_of(
    device_id: Id, body: AcceptRequest, user: Discoverer, campus: Actors, site: SiteId = None
) -> Proposal:
    """Say what accepting a device with this body would make; makes nothing."""
    of = await _site(campus, device_id, site)
    shown: Proposal = await of.call(ENGINE, "proposal", device_id, body, timeout=ACCEPT_TIMEOUT)
    return shown


@router.post("/{device_id}/accept")
async def accept(
    device_id: Id,
    user: Discoverer,
    campus: Actors,
    body: AcceptRequest | None = None,
    site: SiteId = None,
) -> DiscoveredDevice:
    """Make nodes of a device, all or nothing; without a body as it is proposed."""
    of = await _site(campus, device_id, site)
    return await _accept(campus, of, device_id, body or AcceptRequest(), user.username)


@router.post("/accept")
async def accept_many(body: ManyRequest, user: Discoverer, campus: Actors, site: SiteId = None) -> Accepted:
    """Make nodes of several devices of a site; one that is refused keeps no other back."""
    of = one_site(campus, site)
    result = Accepted(accepted=[], refused={})
    for number, each in enumerate(body.devices):
        request = AcceptRequest.model_validate(each.model_dump(exclude={"id"}))
        try:
            result.accepted.append(await _accept(campus, of, each.id, request, user.username))
        except UnreachableError as error:
            # Those after it would wait for the same; what was begun is finished or undone by itself.
            result.refused |= {later.id: str(error) for later in body.devices[number:]}
            break
        except OpenCrateError as error:
            result.refused[each.id] = str(error)
    await campus.log(
        user.username,
        "accept_devices",
        of.id,
        site=of.id,
        accepted=[each.id for each in result.accepted],
        refused=sorted(result.refused),
    )
    return result


async def _accept(
    campus: Campus, of: SiteActors, device_id: int, request: AcceptRequest, by: str
) -> DiscoveredDevice:
    done: DiscoveredDevice = await of.call(ENGINE, "accept", device_id, request, by, timeout=ACCEPT_TIMEOUT)
    await campus.log(
        by,
        "accept_device",
        f"device:{done.device_key}",
        site=of.id,
        id=device_id,
        nodes=len(done.created_node_ids),
        request=request.model_dump(mode="json", exclude_defaults=True, exclude={"points", "changes"}),
    )
    return done


@router.post("/{device_id}/ignore")
async def ignore(device_id: Id, user: Discoverer, campus: Actors, site: SiteId = None) -> DiscoveredDevice:
    """Put a device aside."""
    of = await _site(campus, device_id, site)
    return await _ignore(campus, of, device_id, user.username)


async def _ignore(campus: Campus, of: SiteActors, device_id: int, by: str) -> DiscoveredDevice:
    done: DiscoveredDevice = await of.call("discovery", "ignore", device_id, by)
    await campus.log(by, "ignore_device", f"device:{done.device_key}", site=of.id, id=device_id)
    return done


@router.post("/ignore")
async def ignore_many(body: SomeDevices, user: Discoverer, campus: Actors, site: SiteId = None) -> Changed:
    """Put several devices of a site aside; one that is refused keeps no other back."""
    return await _each(body, campus, one_site(campus, site), user.username, "ignore_devices", _ignore)


@router.post("/{device_id}/restore")
async def restore(device_id: Id, user: Discoverer, campus: Actors, site: SiteId = None) -> DiscoveredDevice:
    """Make a device one to decide about again: one that was ignored, or whose nodes were deleted."""
    of = await _site(campus, device_id, site)
    return await _restore(campus, of, device_id, user.username)


async def _restore(campus: Campus, of: SiteActors, device_id: int, by: str) -> DiscoveredDevice:
    before: DiscoveredDevice = await of.call("discovery", "get", device_id)
    actor, method = (ENGINE, "release") if before.state is DeviceState.ACCEPTED else ("discovery", "restore")
    done: DiscoveredDevice = await of.call(actor, method, device_id, by, timeout=20.0)
    await campus.log(by, "restore_device", f"device:{done.device_key}", site=of.id, id=device_id)
    return done


@router.post("/restore")
async def restore_many(body: SomeDevices, user: Discoverer, campus: Actors, site: SiteId = None) -> Changed:
    """Make several devices of a site ones to decide about again; one that is refused keeps no other back."""
    return await _each(body, campus, one_site(campus, site), user.username, "restore_devices", _restore)


Step = Callable[[Campus, SiteActors, int, str], Awaitable[DiscoveredDevice]]


async def _each(
    body: SomeDevices, campus: Campus, of: SiteActors, by: str, action: str, step: Step
) -> Changed:
    result = Changed(changed=[], refused={})
    for device_id in dict.fromkeys(body.ids):
        try:
            result.changed.append((await step(campus, of, device_id, by)).id)
        except UnreachableError:
            raise  # the site is away: all others would wait for it too
        except OpenCrateError as error:
            result.refused[device_id] = str(error)
    await campus.log(by, action, of.id, site=of.id, changed=result.changed, refused=sorted(result.refused))
    return result


@router.delete("/{device_id}", status_code=204)
async def forget(device_id: Id, user: Discoverer, campus: Actors, site: SiteId = None) -> None:
    """Forget a device that isn't accepted."""
    of = await _site(campus, device_id, site)
    gone: DiscoveredDevice = await of.call("discovery", "forget", device_id)
    await campus.log(user.username, "forget_device", f"device:{gone.device_key}", site=of.id, id=device_id)
