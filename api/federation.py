"""Sites that hosts of their own raise: found by their actors' names, watched, and said to be away."""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import ray
from pydantic import BaseModel, ValidationError
from ray.exceptions import RayError

from actors.core.clock import Clock, Timestamp, now_ms
from actors.core.errors import OpenCrateError
from actors.core.names import CAMPUS, NAMESPACE
from actors.core.remote import answered
from api.deps import Campus, SiteActors
from api.raynode import sites_of

log = logging.getLogger(__name__)

EVERY: Final = 1.0
"""Seconds between two looks at a site: the first call after a healed link is answered within two of them."""
PATIENCE: Final = 2.5
"""Seconds without an answer after which a site counts as away."""
WAKES: Final = 5
"""Times that each actor of a site that is back is asked until it answers."""
WAKE_PAUSE: Final = 0.2
MAIN: Final = ("bus", "points", "nodes", "history", "alarms", "overrides", "commands")
BRIDGES: Final = ("bacnet", "modbus")
ENGINES: Final = (
    "alarm_engine",
    "history_reader",
    "discovery_engine",
    "commissioning_engine",
    "backups",
    "stand_in",
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
    failed again and again is tried ever less often; a bare connection to its host tells when to ask again.
    A host that came back has raised new actors under the old names: then handles are looked up again.
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
        self._own = frozenset(campus.sites)
        self._registry = Registry(registry)
        for site_id, name in joining.items():
            known = self._registry.sites.setdefault(site_id, KnownSite(id=site_id, name=name))
            known.name = name
        for known in self._registry.sites.values():
            if known.id not in self._own:
                self._add(known)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Follow from now on."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop following, and remember when each site was last heard of."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._registry.keep()

    async def _run(self) -> None:
        while True:
            try:
                await self.step()
            except Exception:
                log.exception("sites could not be looked at")
            await asyncio.sleep(EVERY)

    async def step(self) -> None:
        """Look once: for new sites, and whether each can be reached."""
        try:
            names = await asyncio.wait_for(asyncio.to_thread(self._view.names), PATIENCE)
            self._places = await asyncio.wait_for(asyncio.to_thread(self._view.places), PATIENCE)
        except (TimeoutError, RayError, OSError) as error:
            log.warning("Ray doesn't tell which actors there are: %s", error)
            names = []
        by_site: dict[str, set[str]] = {}
        for name in names:
            actor, _, site = name.partition("@")
            if site and site != CAMPUS and site not in self._own:
                by_site.setdefault(site, set()).add(actor)
        for site in sorted(by_site.keys() - self._campus.sites.keys()):
            self._add(self._registry.sites.setdefault(site, KnownSite(id=site, name=site)))
        joined = [each for each in self._campus.sites.values() if each.id not in self._own]
        await asyncio.gather(*(self._look(each, by_site.get(each.id, set())) for each in joined))

    def _add(self, known: KnownSite) -> None:
        """Show a site, as one that is away until it has answered."""
        nobody: dict[str, Any] = dict.fromkeys(MAIN)
        found = SiteActors(id=known.id, name=known.name, **nobody)
        found.last_contact, found.host = known.last_contact, known.host
        found.leave("it has not joined yet" if known.last_contact is None else "it has not answered yet")
        # A new dict, so that whoever walks over the old one isn't disturbed.
        self._campus.sites = self._campus.sites | {known.id: found}

    async def _look(self, site: SiteActors, there: set[str]) -> None:
        if not set(MAIN) <= there:
            if site.away is None:
                site.leave("its host runs none of its actors now")
            return
        places = self._places.get(site.id, [])
        if site.away is not None and places and not await _any_listens(places):
            return
        if site.gone or any(handle is None for handle in (getattr(site, name) for name in MAIN)):
            await self._resolve(site, there)
        elif there - site.actors().keys():
            await self._add_actors(site, there - site.actors().keys())
        handles = [(name, getattr(site, name)) for name in ("bus", "nodes", "points")]
        asked = [
            answered(f"{name}@{site.id}", each.health.remote(), PATIENCE) for name, each in handles if each
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        good = [each for each in answers if not isinstance(each, BaseException)]
        if not good:
            reason = str(answers[0]) if answers else "it has not joined yet"
            if site.away is None:
                log.warning("site %s is away: %s", site.id, reason)
            site.leave(reason)
            # Perhaps its host has come back as another node: look the names up again.
            site.gone = True
            return
        if site.away is not None:
            log.info("site %s can be reached", site.id)
            await self._wake(site)
            await self._name(site)
        site.come(self._clock(), good[0].host)
        known = self._registry.sites[site.id]
        changed = (known.name, known.host) != (site.name, site.host) or known.last_contact is None
        known.name, known.host, known.last_contact = site.name, site.host, site.last_contact
        if changed:
            self._registry.keep()

    async def _handles(self, site: SiteActors, names: Iterable[str]) -> dict[str, Any]:
        """Look handles of a site up, by name; those that can't be had are left out."""
        found: dict[str, Any] = {}
        for name in names:
            with contextlib.suppress(ValueError, RayError, TimeoutError, OSError):
                call = asyncio.to_thread(self._view.actor, f"{name}@{site.id}")
                found[name] = await asyncio.wait_for(call, PATIENCE)
        return found

    async def _add_actors(self, site: SiteActors, names: set[str]) -> None:
        """Take actors in that rose after the site was found: what reads and commands devices rises first."""
        found = await self._handles(site, names)
        for known, wanted in ((site.bridges, BRIDGES), (site.engines, ENGINES)):
            known.update({name: found.pop(name) for name in wanted if name in found})
        site.stores.update(found)

    async def _resolve(self, site: SiteActors, there: set[str]) -> None:
        """Look all handles of a site up."""
        found = await self._handles(site, there)
        if not set(MAIN) <= found.keys():
            return
        for name in MAIN:
            setattr(site, name, found.pop(name))
        site.bridges = {name: found.pop(name) for name in BRIDGES if name in found}
        site.engines = {name: found.pop(name) for name in ENGINES if name in found}
        site.stores = found
        site.gone = False

    async def _wake(self, site: SiteActors) -> None:
        """Let Ray connect to all actors of a site that is back, so that no first call is refused.

        Ray has a connection to each actor, and notices only with a call that it can be made again.
        """
        waiting = site.actors()
        for _ in range(WAKES):
            asked = {
                name: answered(f"{name}@{site.id}", handle.health.remote(), PATIENCE)
                for name, handle in waiting.items()
            }
            answers = await asyncio.gather(*asked.values(), return_exceptions=True)
            waiting = {
                name: waiting[name]
                for name, answer in zip(asked, answers, strict=True)
                if isinstance(answer, BaseException)
            }
            if not waiting:
                return
            await asyncio.sleep(WAKE_PAUSE)
        log.warning("%s of site %s don't answer yet", ", ".join(sorted(waiting)), site.id)

    async def _name(self, site: SiteActors) -> None:
        """Take a site's display name from its model."""
        with contextlib.suppress(OpenCrateError):
            node = await answered(f"nodes@{site.id}", site.nodes.get.remote(site.id), PATIENCE)
            site.name = node.dis or site.id


async def _any_listens(places: list[tuple[str, int]]) -> bool:
    """Tell whether a connection to one of these can be made now."""

    async def one(address: str, port: int) -> bool:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), EVERY)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    return any(await asyncio.gather(*(one(*place) for place in places)))


def registry_of(data: Path) -> Path:
    """Give where sites that join are remembered."""
    return Path(os.fspath(data)) / CAMPUS / "sites.json"
