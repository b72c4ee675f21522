"""The one place that knows which actors exist: it raises them, wires them and takes them down."""

import contextlib
import functools
import logging
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import ray

from actors.alarm.engine import AlarmEngine
from actors.alarm.store import AlarmStore
from actors.audit.store import AuditStore
from actors.audit.trail import QUEUE
from actors.backup.engine import BackupScheduler
from actors.bus.bus import EventBus
from actors.bus.client import Publisher
from actors.bus.journal import JournalStore
from actors.commissioning.engine import CommissioningEngine
from actors.core.clock import now_ms
from actors.core.errors import OpenCrateError
from actors.core.later import Later
from actors.core.names import CAMPUS, actor_name, find
from actors.core.peer import Peer, bare
from actors.discovery.engine import DiscoveryEngine
from actors.history.client import AppendTo
from actors.history.reader import HistoryReader
from actors.history.store import HistoryStore
from actors.node.store import NodeStore
from actors.override.engine import CommandEngine
from actors.override.store import OverrideStore
from actors.point.feed import HistoryFeed
from actors.point.store import PointStore
from actors.user.store import UserStore
from api.actors import create
from api.config import Campus, SiteConfig
from api.deps import Campus as CampusActors
from api.deps import SiteActors
from api.standin import NAME as STAND_IN
from api.standin import Recipe, StandIn
from api.stores import CAMPUS_STORES, SITE_STORES
from bridges.bacnet.bridge import BacnetBridge
from bridges.config import BacnetDevice, BacnetNetwork, ModbusDevice, ModbusNetwork
from bridges.modbus.bridge import ModbusBridge
from bridges.model import alarm_configs, site_nodes

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Told with (name, how many are up, how many there will be) as actors rise."""

MARKS: Final = "standing-in"
"""The folder in a site's that says which actors are stood in for."""

READY_TIMEOUT = 120.0
"""Seconds that one actor may take to answer for the first time, on a busy machine."""
STOP_TIMEOUT = 20.0
"""Seconds that a group of actors may take to end; a busy machine writes a WAL back in a few."""
SLICE = 5.0
"""Seconds without a further actor, after which the head is looked for."""


@dataclass
class Raised:
    """All actors of this process's campus, in the order in which they rose."""

    campus: CampusActors
    order: list[tuple[str, Any]] = field(default_factory=list)


class Raiser:
    """Raise a campus, or some sites of one, on this host of the Ray cluster that this process is in."""

    def __init__(
        self,
        campus: Campus,
        data: Path,
        version: str,
        progress: Progress,
        *,
        sites_only: bool = False,
        stand_ins: bool = False,
        head_answers: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take what to raise and where its files are; `sites_only` leaves the campus actors to the head.

        `stand_ins` raises one more actor for each site, which can take the place of any other one.
        `head_answers` tells whether Ray's head does: without it no actor rises.
        """
        self._campus, self._data, self._version, self._progress = campus, data.resolve(), version, progress
        self._logs = self._data / "logs"
        self._head_answers = head_answers
        self.order: list[tuple[str, Any]] = []
        self.recipes: dict[str, dict[str, Recipe]] = {}
        """How the actors of each site are made, for its stand-in."""
        self.stand_ins: dict[str, Any] | None = {} if stand_ins else None
        self._up = 0
        self._sites = [site for site in campus.config.sites if not site.joins]
        self._total = 0 if sites_only else 4 + len(CAMPUS_STORES)
        self._total += sum(13 + stand_ins + len(SITE_STORES) + len(_protocols(site)) for site in self._sites)
        self._pin: str = ray.get_runtime_context().get_node_id()

    def raise_sites(self) -> dict[str, SiteActors]:
        """Raise the actors of each site that isn't raised by a host of its own."""
        sites = {site.id: self._site(site) for site in self._sites}
        self._settle()
        for site, stand_in in (self.stand_ins or {}).items():
            ray.get(stand_in.prepare.remote(self.recipes[site]), timeout=READY_TIMEOUT)
        return sites

    def raise_all(self) -> CampusActors:
        """Raise the campus actors and each site's. What fails names its actor and stops the whole."""
        bus = self._create(EventBus, "bus", CAMPUS, CAMPUS)
        users = self._create(UserStore, "users", CAMPUS, str(self._data / CAMPUS), Publisher(bus))
        audit = self._create(AuditStore, "audit", CAMPUS, str(self._data / CAMPUS), Publisher(bus))
        self._ready("users", users)
        # Buildings before the campus's other stores: a restart must not leave devices unread for longer.
        sites = self.raise_sites()
        stores = {
            name: self._create(plain, name, CAMPUS, str(self._data / CAMPUS), Publisher(bus))
            for name, plain in CAMPUS_STORES.items()
        }
        backups = self._backups(CAMPUS, {"users": users, "audit": audit} | stores)
        self._settle()
        return CampusActors(
            name=self._campus.config.campus,
            version=self._version,
            sites=sites,
            users=users,
            audit=audit,
            audit_queue=self._data / CAMPUS / QUEUE,
            bus=bus,
            stores=stores,
            engines={"backups": backups},
        )

    def _site(self, site: SiteConfig) -> SiteActors:
        """Raise a site: first what reads the devices and keeps what they say, then all that goes by it."""
        folder = str(self._data / site.id)
        self._stand_in(site.id)
        journal = self._create(JournalStore, "journal", site.id, folder)
        bus = self._create(EventBus, "bus", site.id, site.id, journal=journal)
        publish = Publisher(bus)
        nodes = self._create(NodeStore, "nodes", site.id, folder, publish)
        history = self._create(HistoryStore, "history", site.id, folder, publish)
        feed = HistoryFeed(AppendTo(history), Path(folder) / "history.queue")
        points = self._create(PointStore, "points", site.id, site.id, publish, feed)
        self._settle()
        wanted = site_nodes(site.id, site.name, site.spaces, site.devices, self._campus.profiles)
        ray.get(nodes.apply.remote(wanted), timeout=READY_TIMEOUT)
        bridges = {
            protocol: self._bridge(protocol, site, nodes, points, publish, history, bus)
            for protocol in _protocols(site)
        }
        reader = self._create(HistoryReader, "history_reader", site.id, folder)
        alarms = self._create(AlarmStore, "alarms", site.id, folder, publish)
        overrides = self._create(OverrideStore, "overrides", site.id, folder, publish)
        self._settle()
        configs = alarm_configs(site.devices, self._campus.profiles)
        ray.get(alarms.apply_configs.remote(configs, "campus.yaml"), timeout=READY_TIMEOUT)
        engine = self._create(AlarmEngine, "alarm_engine", site.id, site.id, bus, alarms, points, nodes=nodes)
        commands = self._create(
            CommandEngine, "commands", site.id, site.id, nodes, points, overrides, bridges, publish, bus
        )
        self._settle()
        stores = {
            name: self._create(plain, name, site.id, folder, publish) for name, plain in SITE_STORES.items()
        }
        networks = {network.id: network.protocol for network in site.networks}
        discovery = self._create(
            DiscoveryEngine,
            "discovery_engine",
            site.id,
            site.id,
            stores["discovery"],
            nodes,
            alarms,
            bridges,
            networks,
            bus=bus,
        )
        commissioning = self._create(
            CommissioningEngine,
            "commissioning_engine",
            site.id,
            site.id,
            stores["commissioning"],
            nodes,
            points,
            alarms,
            stores["schedules"],
            overrides,
            commands,
            bridges,
        )
        kept = {"nodes": nodes, "history": history, "alarms": alarms, "overrides": overrides}
        backups = self._backups(site.id, kept | stores | {"journal": journal})
        return SiteActors(
            id=site.id,
            name=site.name,
            bus=bus,
            points=points,
            nodes=nodes,
            history=history,
            alarms=alarms,
            overrides=overrides,
            commands=commands,
            stores=stores | {"journal": journal},
            bridges=bridges,
            engines={
                "alarm_engine": engine,
                "history_reader": reader,
                "discovery_engine": discovery,
                "commissioning_engine": commissioning,
                "backups": backups,
            },
        )

    def _backups(self, site: str, stores: dict[str, Any]) -> Any:
        settings = self._campus.config.backups
        every, folder = settings.every_hours * 3600, str(self._data / site)
        return self._create(
            BackupScheduler, "backups", site, site, folder, stores, every=every, keep=settings.keep
        )

    def _bridge(
        self,
        protocol: str,
        site: SiteConfig,
        nodes: Any,
        points: Any,
        publish: Publisher,
        history: Any,
        bus: Any,
    ) -> Any:
        if protocol == "bacnet":
            networks: list[Any] = [each for each in site.networks if isinstance(each, BacnetNetwork)]
            devices: list[Any] = [each for each in site.devices if isinstance(each, BacnetDevice)]
            return self._create(
                BacnetBridge,
                protocol,
                site.id,
                site.id,
                networks,
                devices,
                nodes,
                points,
                publish,
                history=history,
                commands=self._later("commands", site.id),
                alarms=self._later("alarms", site.id),
                audit=functools.partial(find, "audit", CAMPUS),
                audit_queue=self._data / site.id / QUEUE,
                bus=bus,
            )
        networks = [each for each in site.networks if isinstance(each, ModbusNetwork)]
        devices = [each for each in site.devices if isinstance(each, ModbusDevice)]
        return self._create(
            ModbusBridge, protocol, site.id, site.id, networks, devices, nodes, points, publish, bus=bus
        )

    def _stand_in(self, site: str) -> None:
        """Raise who can stand in for the actors of a site that are raised after it."""
        if self.stand_ins is None:
            return
        marks = self._data / site / MARKS
        shutil.rmtree(marks, ignore_errors=True)
        handle = create(StandIn, STAND_IN, site, self._logs, site, marks, pin_to=self._pin)
        self.order.append((actor_name(STAND_IN, site), handle))
        self.stand_ins[site], self.recipes[site] = handle, {}

    def _create(self, plain: type, name: str, site: str, *args: Any, **kwargs: Any) -> Any:
        stand_in = (self.stand_ins or {}).get(site)
        if stand_in is None:
            handle = create(plain, name, site, self._logs, *args, pin_to=self._pin, **kwargs)
        else:
            mark = self._data / site / MARKS / name
            own = create(plain, name, site, self._logs, *args, pin_to=self._pin, mark=mark, **kwargs)
            handle = Peer(name, own, stand_in, mark)
            self.recipes[site][name] = Recipe(plain, args, kwargs)
        self.order.append((actor_name(name, site), handle))
        return handle

    def _later(self, name: str, site: str) -> Later:
        """Promise the handle of an actor that rises later."""
        stand_in = (self.stand_ins or {}).get(site)
        return Later(name, site, stand_in, None if stand_in is None else self._data / site / MARKS / name)

    def _ready(self, name: str, handle: Any) -> None:
        ray.get(handle.health.remote(), timeout=READY_TIMEOUT)

    def _settle(self) -> None:
        """Wait for all that were begun; they rise side by side."""
        waiting = {handle.health.remote(): name for name, handle in self.order[self._up :]}
        refs = list(waiting)
        left, missed = READY_TIMEOUT, 0
        while refs:
            done, refs = ray.wait(refs, num_returns=1, timeout=SLICE)
            if not done:
                left -= SLICE
                names = ", ".join(waiting[ref] for ref in refs)
                missed = 0 if self._head_answers() else missed + 1
                if missed > 1:
                    raise HeadAwayError(names)
                if left <= 0:
                    raise TimeoutError(f"{names} did not rise")
                continue
            left = READY_TIMEOUT
            ray.get(done[0])
            self._up += 1
            self._progress(waiting[done[0]], self._up, self._total)


class HeadAwayError(OpenCrateError):
    """The head went away while actors rose, which only it can start."""

    def __init__(self, names: str) -> None:
        super().__init__(names)
        self.names = names

    def __str__(self) -> str:
        return f"the head went away while {self.names} rose"


def _protocols(site: SiteConfig) -> list[str]:
    return sorted({network.protocol for network in site.networks})


STOP_ORDER = (
    "bacnet",
    "modbus",
    "discovery_engine",
    "commissioning_engine",
    "commands",
    "alarm_engine",
    "backups",
    "points",
    "history_reader",
)
"""Bridges first, then engines, then the point store with its feed and who reads the history's file.

The stores and buses come after them. A store that closes while another has its file open can't end its WAL.
"""


def stop_groups(names: Iterable[str]) -> list[list[str]]:
    """Give the names of actors in groups: a group is stopped together, after the one before it has ended."""
    groups: dict[tuple[int, bool], list[str]] = {}
    for each in names:
        name = each.partition("@")[0]
        place = STOP_ORDER.index(name) if name in STOP_ORDER else len(STOP_ORDER)
        groups.setdefault((place, name == "bus"), []).append(each)
    return [groups[key] for key in sorted(groups)]


def take_down(order: list[tuple[str, Any]], progress: Callable[[str], None] = lambda name: None) -> None:
    """Stop every actor: bridges first, stores last with their WAL written back. What hangs is killed."""
    handles = dict(order)
    for group in stop_groups(handles):
        refs = []
        for name in group:
            progress(name)
            stop = getattr(handles[name], "stop", None) or getattr(handles[name], "close", None)
            if stop is not None:
                refs.append(stop.remote())
        if refs:
            ray.wait(refs, num_returns=len(refs), timeout=STOP_TIMEOUT)
    for handle in handles.values():
        with contextlib.suppress(Exception):
            ray.kill(bare(handle), no_restart=True)


__all__ = ["Raised", "Raiser", "now_ms", "stop_groups", "take_down"]
