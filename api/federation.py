"""Sites that hosts of their own raise: found by their actors' names, watched, and said to be away."""

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import ray
from pydantic import BaseModel, ValidationError
from ray.exceptions import RayError

from actors.core.clock import Clock, Timestamp, now_ms
from actors.core.errors import OpenCrateError, UnreachableError
from actors.core.health import Health
from actors.core.host import clock_skew
from actors.core.names import CAMPUS, NAMESPACE
from actors.core.remote import answered
from api.deps import Campus, SiteActors
from api.raynode import sites_of
from api.standin import NAME as STAND_IN

log = logging.getLogger(__name__)

EVERY: Final = 1.0
"""Seconds between two looks at a site that is there."""
SOON: Final = 0.3
"""Seconds between two looks at a site that is away."""
PATIENCE: Final = 2.5
"""Seconds without an answer after which a site counts as away."""
WAKING: Final = 5.0
"""Seconds for which an actor of a site that is back is asked again until it answers."""
WAKE_PAUSE: Final = 0.1
LOOKED_AT: Final = ("bus", "nodes", "points")
"""A site is there when one of these answers, or its stand-in for one of them."""
MAIN: Final = ("bus", "points", "nodes", "history", "alarms", "overrides", "commands")
BRIDGES: Final = ("bacnet", "modbus")
ENGINES: Final = (
    "alarm_engine",
    "history_reader",
    "discovery_engine",
    "commissioning_engine",
    "backups",
    STAND_IN,
)


class KnownSite(BaseModel):
    """What is remembered of a site that joins, so that it isn't forgotten while it is away."""

    id: str
    name: str
    host: str | None = None
    last_contact: Timestamp | None = None


class Registry:
    """Remember sites in a file of the campus; a file that can't be read is as good as none."""

    def __init__(self, path: Path) -> None:
        """Read the file."""
        self._path = path
        self.sites: dict[str, KnownSite] = {}
        with contextlib.suppress(OSError, ValueError, ValidationError):
            for each in json.loads(path.read_text()):
                found = KnownSite.model_validate(each)
                self.sites[found.id] = found

    def keep(self) -> None:
        """Write the file, whole or not at all; a full disk is logged and tried again with the next change."""
        part = self._path.with_suffix(".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(
                json.dumps([each.model_dump(mode="json") for each in self.sites.values()], indent=1)
            )
            part.replace(self._path)
        except OSError as error:
            log.warning("%s can't be written: %s", self._path, error)


class _Answer(NamedTuple):
    """What an actor's health tells of its host."""

    host: str
    ahead: int
    """How far its clock is ahead of ours (ms), known to within `slack`."""
    slack: int


class RayView:
    """What Ray's head knows; each call may wait for it."""

    def actor(self, name: str) -> Any:
        """Give the handle of an actor. Raises ValueError when there is none of this name."""
        return ray.get_actor(name, namespace=NAMESPACE)

    def names(self) -> list[str]:
        """Name all our actors, also those of hosts that are away."""
        listed = ray.util.list_named_actors(all_namespaces=True)
        return [each["name"] for each in listed if each["namespace"] == NAMESPACE]

    def places(self) -> dict[str, list[tuple[str, int]]]:
        """Give where the hosts of each site listen, (address, port); a host that came back is there twice."""
        found: dict[str, list[tuple[str, int]]] = {}
        for node in ray.nodes():  # type: ignore[no-untyped-call]
            for site in sites_of(node["Labels"]) if node["Alive"] else ():
                place = (node["NodeManagerAddress"], node["NodeManagerPort"])
                found.setdefault(site, []).append(place)
        return found


class Federation:
    """Keep `campus.sites` in line with the sites that there are, and tell of each whether it is away.

    A site is found by the names of its actors, whoever raised them. Each second three of its actors are
    asked; when none answers, the site is away: calls to it fail at once (UnreachableError) instead of
    waiting, and those that wait end. While it is away nothing is asked of Ray, since a connection that
    failed again and again is tried ever less often; a bare connection to its host, begun three times a
    second, tells when to ask again. The first of the three that answers brings the site back; its other
    actors are woken meanwhile, and calls to them wait for that. Each site is looked at by itself, so that
    one that doesn't answer delays no other. A host that came back has raised new actors under the old
    names: then handles are looked up again.
    """

    def __init__(
        self,
        campus: Campus,
        joining: Mapping[str, str],
        registry: Path,
        view: RayView | None = None,
        clock: Clock = now_ms,
    ) -> None:
        """Take the sites (id to name) that `campus.yaml` says will join; others are found as they come."""
        self._campus, self._view, self._clock = campus, view or RayView(), clock
        self._places: dict[str, list[tuple[str, int]]] = {}
        self._names: dict[str, set[str]] = {}
        self._resolved: dict[str, list[tuple[str, int]]] = {}
        """By site: where its hosts listened when its handles were looked up."""
        self._own = frozenset(campus.sites)
        self._registry = Registry(registry)
        for site_id, name in joining.items():
            known = self._registry.sites.setdefault(site_id, KnownSite(id=site_id, name=name))
            known.name = name
        for known in self._registry.sites.values():
            if known.id not in self._own:
                self._add(known)
        self._task: asyncio.Task[None] | None = None
        self._following: dict[str, asyncio.Task[None]] = {}
        self._waking: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Follow from now on."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop following, and remember when each site was last heard of."""
        tasks = [*self._following.values(), *self._waking.values()]
        if self._task is not None:
            tasks.append(self._task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._registry.keep()

    async def _run(self) -> None:
        while True:
            try:
                await self._list()
            except Exception:
                log.exception("sites could not be listed")
            for site in self._joined():
                if site.id not in self._following:
                    self._following[site.id] = asyncio.create_task(self._follow(site))
            await asyncio.sleep(EVERY)

    async def _follow(self, site: SiteActors) -> None:
        while True:
            try:
                await self._look(site)
            except Exception:
                log.exception("site %s could not be looked at", site.id)
            await asyncio.sleep(EVERY if site.away is None else SOON)

    async def step(self) -> None:
        """Look once: for new sites, and whether each can be reached."""
        await self._list()
        await asyncio.gather(*map(self._look, self._joined()))

    def _joined(self) -> list[SiteActors]:
        return [each for each in self._campus.sites.values() if each.id not in self._own]

    async def _list(self) -> None:
        """Ask Ray's head which actors and hosts there are; else what it told before holds."""
        try:
            names = await asyncio.wait_for(asyncio.to_thread(self._view.names), PATIENCE)
            self._places = await asyncio.wait_for(asyncio.to_thread(self._view.places), PATIENCE)
        except (TimeoutError, RayError, OSError) as error:
            log.warning("Ray doesn't tell which actors there are: %s", str(error) or type(error).__name__)
            return
        by_site: dict[str, set[str]] = {}
        for name in names:
            actor, _, site = name.partition("@")
            if site and site != CAMPUS and site not in self._own:
                by_site.setdefault(site, set()).add(actor)
        self._names = by_site
        for site in sorted(by_site.keys() - self._campus.sites.keys()):
            self._add(self._registry.sites.setdefault(site, KnownSite(id=site, name=site)))

    def _add(self, known: KnownSite) -> None:
        """Show a site, as one that is away until it has answered."""
        nobody: dict[str, Any] = dict.fromkeys(MAIN)
        found = SiteActors(id=known.id, name=known.name, **nobody)
        found.last_contact, found.host = known.last_contact, known.host
        found.leave("it has not joined yet" if known.last_contact is None else "it has not answered yet")
        # A new dict, so that whoever walks over the old one isn't disturbed.
        self._campus.sites = self._campus.sites | {known.id: found}

    async def _look(self, site: SiteActors) -> None:
        there = self._names.get(site.id, set())
        if not set(MAIN) <= there:
            self._leave(site, site.away or "its host runs none of its actors now")
            return
        places = self._places.get(site.id, [])
        if self._resolved.get(site.id) != places:
            # Only the head is asked for this: of a site that is away it is done before its host listens.
            if await self._resolve(site, there):
                self._resolved[site.id] = places
        elif there - site.actors().keys():
            await self._add_actors(site, there - site.actors().keys())
        if any(getattr(site, name) is None for name in MAIN):
            return
        if site.away is not None and places and not await _any_listens(places):
            return
        answers, reason = await self._ask(site)
        if not answers:
            self._leave(site, reason)
            return
        if site.away is not None:
            log.info("site %s can be reached", site.id)
            self._wake(site, site.actors().keys() - answers.keys() - site.stood_in)
        best = min(answers.values(), key=lambda each: each.slack)
        site.come(self._clock(), best.host, best.ahead)
        seen = self._registry.sites[site.id]
        changed = (seen.name, seen.host) != (site.name, site.host) or seen.last_contact is None
        seen.name, seen.host, seen.last_contact = site.name, site.host, site.last_contact
        if changed:
            self._registry.keep()

    def _leave(self, site: SiteActors, reason: str) -> None:
        if site.away is None:
            log.warning("site %s is away: %s", site.id, reason)
            if (waking := self._waking.pop(site.id, None)) is not None:
                waking.cancel()
        site.leave(reason)
        # Perhaps its host comes back with other actors of the same names.
        self._resolved.pop(site.id, None)

    async def _ask(self, site: SiteActors) -> tuple[dict[str, "_Answer"], str]:
        """Ask three actors; give their answers (of a site that is away the first), or why not."""
        until = asyncio.ALL_COMPLETED if site.away is None else asyncio.FIRST_COMPLETED
        asked = {asyncio.create_task(self._asked(site, name)): name for name in LOOKED_AT}
        if STAND_IN in site.engines:
            asked[asyncio.create_task(self._stood_in(site))] = STAND_IN
        waiting = set(asked)
        good: dict[str, _Answer] = {}
        reason = ""
        try:
            while waiting and not good:
                done, waiting = await asyncio.wait(waiting, return_when=until)
                for task in done:
                    if (error := task.exception()) is None:
                        good[asked[task]] = task.result()
                    else:
                        reason = str(error)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        return good, reason

    async def _asked(self, site: SiteActors, name: str) -> "_Answer":
        at, handle = self._clock(), site.actors()[name]
        health: Health = await answered(f"{name}@{site.id}", handle.health.remote(), PATIENCE)
        return _Answer(health.host, *clock_skew(health.time, at, self._clock()))

    async def _stood_in(self, site: SiteActors) -> "_Answer":
        """Ask the stand-in whose calls it answers; an answer when it does so for one of the three.

        Actors that died while the site was away are started again within a minute after its return; until
        then calls to them go to the stand-in, here as on the site's host.
        """
        try:
            name = f"{STAND_IN}@{site.id}"
            standing = await answered(name, site.engines[STAND_IN].standing.remote(), PATIENCE)
        except OpenCrateError:
            site.stood_in = frozenset()
            raise
        site.stood_in = frozenset(standing)
        for each in site.stood_in & site.asleep.keys():
            site.asleep.pop(each).set()
        if not site.stood_in & set(LOOKED_AT):
            raise UnreachableError(name, "it stands in for none of those that are looked at")
        return await self._asked(site, STAND_IN)

    async def _handles(self, site: SiteActors, names: Iterable[str]) -> dict[str, Any]:
        """Look handles of a site up, by name; those that can't be had are left out."""

        async def one(name: str) -> tuple[str, Any]:
            call = asyncio.to_thread(self._view.actor, f"{name}@{site.id}")
            try:
                return name, await asyncio.wait_for(call, PATIENCE)
            except (ValueError, RayError, TimeoutError, OSError):
                return name, None

        answers = await asyncio.gather(*map(one, sorted(names)))
        return {name: handle for name, handle in answers if handle is not None}

    async def _add_actors(self, site: SiteActors, names: set[str]) -> None:
        """Take actors in that rose after the site was found: what reads and commands devices rises first."""
        found = await self._handles(site, names)
        for known, wanted in ((site.bridges, BRIDGES), (site.engines, ENGINES)):
            known.update({name: found.pop(name) for name in wanted if name in found})
        site.stores.update(found)

    async def _resolve(self, site: SiteActors, there: set[str]) -> bool:
        """Look all handles of a site up; tell whether the main ones were found."""
        found = await self._handles(site, there)
        if not set(MAIN) <= found.keys():
            return False
        for name in MAIN:
            setattr(site, name, found.pop(name))
        site.bridges = {name: found.pop(name) for name in BRIDGES if name in found}
        site.engines = {name: found.pop(name) for name in ENGINES if name in found}
        site.stores = found
        return True

    def _wake(self, site: SiteActors, names: Iterable[str]) -> None:
        """Let Ray connect to the other actors of a site that is back; calls to them wait for that.

        Ray has a connection to each actor, and notices only with a call that it can be made again.
        """
        site.asleep = {name: asyncio.Event() for name in names}
        if (before := self._waking.get(site.id)) is not None:
            before.cancel()
        self._waking[site.id] = asyncio.create_task(self._wake_all(site, dict(site.asleep)))

    async def _wake_all(self, site: SiteActors, asleep: dict[str, asyncio.Event]) -> None:
        silent = await asyncio.gather(*(self._wake_one(site, *each) for each in asleep.items()))
        if any(silent):
            log.warning("%s of site %s don't answer yet", ", ".join(filter(None, sorted(silent))), site.id)
        await self._name(site)

    async def _wake_one(self, site: SiteActors, name: str, awake: asyncio.Event) -> str:
        """Ask an actor until it answers; give its name where it does not."""
        until = time.monotonic() + WAKING
        try:
            while time.monotonic() < until:
                handle = site.actors()[name]
                try:
                    await answered(f"{name}@{site.id}", handle.health.remote(), PATIENCE)
                except OpenCrateError:
                    await asyncio.sleep(WAKE_PAUSE)
                else:
                    return ""
            return name
        finally:
            awake.set()
            # Not that of a waking that has replaced this one.
            if site.asleep.get(name) is awake:
                del site.asleep[name]

    async def _name(self, site: SiteActors) -> None:
        """Take a site's display name from its model."""
        with contextlib.suppress(OpenCrateError):
            node = await answered(f"nodes@{site.id}", site.nodes.get.remote(site.id), PATIENCE)
            site.name = node.dis or site.id


async def _any_listens(places: list[tuple[str, int]]) -> bool:
    """Tell whether a connection to one of these can be made within EVERY seconds.

    It is begun anew every SOON seconds: the kernel repeats one that nobody answers after a whole second.
    """
    knocks: set[asyncio.Task[bool]] = set()
    try:
        for _ in range(round(EVERY / SOON)):
            knocks |= {asyncio.create_task(_listens(*place)) for place in places}
            done, knocks = await asyncio.wait(knocks, timeout=SOON, return_when=asyncio.FIRST_COMPLETED)
            if any(each.result() for each in done):
                return True
            if not knocks:
                break
        return False
    finally:
        for each in knocks:
            each.cancel()
        await asyncio.gather(*knocks, return_exceptions=True)


async def _listens(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    return True


def registry_of(data: Path) -> Path:
    """Give where sites that join are remembered."""
    return Path(os.fspath(data)) / CAMPUS / "sites.json"
