"""How everything is."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable
from typing import Any, Final

from fastapi import APIRouter
from pydantic import BaseModel

from actors.backup.models import BackupJob
from actors.bus.bus import BusStats
from actors.core.clock import LATEST, Timestamp, from_iso, now_ms
from actors.core.errors import OpenCrateError, UnreachableError
from actors.core.health import Health, HealthState
from api.deps import (
    Actors,
    Campus,
    CurrentUser,
    Cursor,
    Limit,
    Page,
    SiteActors,
    SiteId,
    UserEditor,
    ask,
    in_order,
    paged,
)
from api.hosts import host_key
from api.hosts import hosts as all_hosts

router = APIRouter(prefix="/api/system", tags=["system"])
sites_router = APIRouter(prefix="/api/sites", tags=["sites"])

PATIENCE: Final = 2.5
"""Seconds that a component may take to say how it is."""
FRESH: Final = 0.5
"""Seconds for which an answer is given again: nobody needs a login to ask."""


class SystemHealth(BaseModel):
    """How every component is, and the whole."""

    state: HealthState
    time: Timestamp
    components: list[Health]
    """Of a site that can't be reached one alone, `site@<id>`, which says why."""
    unreachable_sites: list[str] = []


async def _one(name: str, asked: Awaitable[Any]) -> Health:
    try:
        found: Health = await asked
    except OpenCrateError as error:
        return Health(name=name, state=HealthState.DOWN, reasons=[str(error)])
    except Exception as error:
        return Health(name=name, state=HealthState.DOWN, reasons=[f"{type(error).__name__}: {error}"[:300]])
    return found.model_copy(update={"name": name})


def overall(components: list[Health]) -> HealthState:
    """Sum up: what is down or in doubt makes the whole degraded; all down is down."""
    states = {each.state for each in components}
    if states <= {HealthState.HEALTHY}:
        return HealthState.HEALTHY
    if states == {HealthState.DOWN}:
        return HealthState.DOWN
    return HealthState.DEGRADED


async def _components(campus: Campus) -> list[Health]:
    mine = (
        _one(f"{name}@campus", ask(f"{name}@campus", handle, "health", timeout=PATIENCE))
        for name, handle in campus.actors().items()
    )
    found, *by_site = await asyncio.gather(
        asyncio.gather(*mine), *(_of_site(of) for of in campus.sites.values())
    )
    return [_api(campus), *found, *(each for part in by_site for each in part)]


async def _of_site(of: SiteActors) -> list[Health]:
    """Ask a site's actors how they are; one that is away is a single component, known at once."""
    if of.away is None:
        asked = (_one(f"{name}@{of.id}", of.call(name, "health", timeout=PATIENCE)) for name in of.actors())
        found = await asyncio.gather(*asked)
        if of.away is None:
            return found
    return [
        Health(name=f"site@{of.id}", state=HealthState.DOWN, reasons=[of.away], host=of.host or "not known")
    ]


def _away(campus: Campus) -> list[str]:
    return sorted(of.id for of in campus.sites.values() if of.away is not None)


def _api(campus: Campus) -> Health:
    if not campus.trail.waiting:
        return Health(name="api@campus", pid=os.getpid())
    reason = f"{campus.trail.waiting} entries wait for the audit log"
    return Health(name="api@campus", state=HealthState.DEGRADED, reasons=[reason], pid=os.getpid())


_last: dict[int, tuple[float, asyncio.Future[list[Health]]]] = {}


async def components(campus: Campus) -> list[Health]:
    """Ask every component how it is; within half a second all who ask get the same answer."""
    now = time.monotonic()
    at, shared = _last.get(id(campus), (-FRESH, None))
    if shared is None or now - at > FRESH:
        shared = asyncio.ensure_future(_components(campus))
        _last[id(campus)] = (now, shared)
    return await asyncio.shield(shared)


@router.get("/health")
async def health(campus: Actors) -> SystemHealth:
    """Say per component: healthy, degraded, down or unknown, with reasons. Needs no login."""
    found = await components(campus)
    return SystemHealth(
        state=overall(found), time=now_ms(), components=found, unreachable_sites=_away(campus)
    )


@router.get("/hosts")
async def hosts(
    user: CurrentUser, campus: Actors, site: SiteId = None, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """List the machines of the campus: the head, and each building's host with its sites."""
    if site is not None:
        campus.site(site)
    found = await all_hosts(campus, campus.nodes, now_ms())
    shown = [each for each in found if site is None or site in each.sites]
    return paged(shown, limit, cursor, host_key, _away(campus))


class Info(BaseModel):
    """What runs here."""

    name: str
    version: str
    time: Timestamp
    sites: list[dict[str, str]]


@router.get("/info")
async def info(user: CurrentUser, campus: Actors) -> Info:
    """Say what runs here."""
    sites = [{"id": site.id, "name": site.name} for site in campus.sites.values()]
    return Info(name=campus.name, version=campus.version, time=now_ms(), sites=sites)


@router.get("/bus")
async def bus(
    user: CurrentUser, campus: Actors, site: SiteId = None, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """Show each bus: its subscribers with capacity, queued, delivered, lagged; its watch cells."""
    items: list[Any] = []
    away: list[str] = []
    for of in campus.chosen(site):
        try:
            stats: BusStats = await of.call("bus", "stats")
        except OpenCrateError:
            away.append(of.id)
            continue
        items.append(stats.model_dump(mode="json"))
    if site is None:
        stats = await campus.call("bus", "stats")
        items.append(stats.model_dump(mode="json"))
    return paged(items, limit, cursor, lambda each: str(each["site"]), away)


def _device_key(device: dict[str, Any]) -> str:
    return " ".join(str(device[name]) for name in ("site", "protocol", "network_id", "device_key"))


@router.get("/devices")
async def devices(
    user: CurrentUser, campus: Actors, site: SiteId = None, limit: Limit = 1000, cursor: Cursor = None
) -> Page:
    """Show each device as its bridge sees it."""
    items: list[Any] = []
    away: list[str] = []
    for of in campus.chosen(site):
        for name in of.bridges:
            try:
                found = await of.call(name, "status")
            except OpenCrateError:
                away.append(of.id)
                continue
            items += [each.model_dump(mode="json") | {"site": of.id} for each in found]
    return paged(items, limit, cursor, _device_key, set(away))


def _files(campus: Campus) -> list[tuple[str, Any, str]]:
    """Give every store that has a file, as (scope, call, name)."""
    stores: list[tuple[str, Any, str]] = [
        ("campus", campus.call, name) for name in ("users", "audit", *campus.stores)
    ]
    for of in campus.sites.values():
        mine = ("nodes", "history", "alarms", "overrides", *of.stores)
        stores += [(of.id, of.call, name) for name in mine]
    return stores


@router.get("/backups")
async def backups(
    user: UserEditor, campus: Actors, site: SiteId = None, limit: Limit = 1000, cursor: Cursor = None
) -> Page:
    """List the backups of every store, newest first; `opencrate restore` brings one back."""
    items: list[Any] = []
    away: set[str] = set()
    for scope, call, name in _files(campus):
        if site not in {None, scope}:
            continue
        try:
            found = await call(name, "backups")
        except UnreachableError:
            away.add(scope)
            continue
        items += [{"store": f"{name}@{scope}", **each.model_dump(mode="json")} for each in found]
    return paged(items, limit, cursor, _newest_first, away)


def _newest_first(backup: dict[str, Any]) -> str:
    return f"{in_order(LATEST - from_iso(backup['time']))} {backup['store']} {backup['path']}"


class BackupJobs(BaseModel):
    """The last backup of the campus and of each site."""

    items: list[BackupJob]
    unreachable_sites: list[str] = []


async def _jobs(campus: Campus, method: str) -> BackupJobs:
    """Ask each site's scheduler, and the campus's, for its backups; say which can't be reached."""
    asked: list[tuple[str, Any]] = [("campus", campus.call)]
    asked += [(of.id, of.call) for of in campus.sites.values()]
    items: list[BackupJob] = []
    away: list[str] = []
    for scope, call in asked:
        try:
            job: BackupJob | None = await call("backups", method)
        except UnreachableError:
            away.append(scope)
            continue
        if job is not None:
            items.append(job)
    return BackupJobs(items=items, unreachable_sites=away)


@router.post("/backup", status_code=202)
async def backup(user: UserEditor, campus: Actors) -> BackupJobs:
    """Begin to copy every store's file while it is in use; `GET /api/system/backup` says how far it is.

    Gives a job for the campus and for each site. What was asked for before and goes on is joined.
    """
    begun = await _jobs(campus, "begin")
    await campus.log(user.username, "backup", "all stores", sites=[each.site for each in begun.items])
    return begun


@router.get("/backup")
async def backup_progress(user: UserEditor, campus: Actors) -> BackupJobs:
    """Say how far the last backups are, by store: waiting, copying, checking, done or failed, bytes, why."""
    return await _jobs(campus, "job")


class SiteState(BaseModel):
    """A site and how it is."""

    id: str
    name: str
    state: HealthState
    reasons: list[str]
    reachable: bool = True
    reason: str | None = None
    """Why it can't be reached."""
    last_contact: Timestamp | None = None
    """When it last answered; None for one that never did."""
    host: str | None = None
    """The machine that raises it."""
    points: int | None = None
    alarms: int | None = None


async def _site_state(campus: Campus, site_id: str) -> SiteState:
    of = campus.site(site_id)
    if of.away is not None:
        return _away_state(of)
    mine = await _of_site(of)
    reasons = [f"{each.name}: {reason}" for each in mine for reason in each.reasons]
    points: int | None = None
    alarms: int | None = None
    try:
        points = len(await of.call("points", "ids", timeout=PATIENCE))
        alarms = (await of.call("alarms", "summary", timeout=PATIENCE)).active
    except OpenCrateError as error:
        reasons.append(str(error))
    if of.away is not None:
        return _away_state(of)
    return SiteState(
        id=of.id,
        name=of.name,
        state=overall(mine),
        reasons=reasons,
        last_contact=of.last_contact or now_ms(),
        host=of.host or socket.gethostname(),
        points=points,
        alarms=alarms,
    )


def _away_state(of: SiteActors) -> SiteState:
    return SiteState(
        id=of.id,
        name=of.name,
        state=HealthState.DOWN,
        reasons=[of.away or ""],
        reachable=False,
        reason=of.away,
        last_contact=of.last_contact,
        host=of.host,
    )


@sites_router.get("")
async def sites(
    user: CurrentUser, campus: Actors, site: SiteId = None, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """List sites with their state; one that is away holds nobody up."""
    found = await asyncio.gather(*(_site_state(campus, of.id) for of in campus.chosen(site)))
    return paged(
        found, limit, cursor, lambda each: each.id, (each.id for each in found if not each.reachable)
    )


@sites_router.get("/{site_id}")
async def site(site_id: str, user: CurrentUser, campus: Actors) -> SiteState:
    """Give one site with its state."""
    return await _site_state(campus, site_id)
