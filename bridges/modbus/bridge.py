"""The bridge between a site's Modbus devices and its point store."""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from actors.bus.events import Event
from actors.core.clock import Clock, now_ms
from actors.core.errors import BadInputError, NotFoundError, WriteFailedError
from actors.core.health import Health, HealthState
from actors.core.metrics import Measure
from actors.core.values import PointStatus, PointValue
from actors.node.models import Node, NodeType
from actors.point.logic import point_config
from actors.point.models import PointConfig, empty_frame
from bridges.backoff import DEFAULT_BACKOFF, Backoff
from bridges.config import (
    BacnetDevice,
    BacnetNetwork,
    DeviceStatus,
    ModbusDevice,
    ModbusNetwork,
)
from bridges.measures import device_measures
from bridges.modbus.binding import device_of, from_binding
from bridges.modbus.client import ModbusLine
from bridges.modbus.plan import Wanted
from bridges.modbus.scan import UnitScans
from bridges.modbus.unit import Effects, Unit
from bridges.outbox import FaultLog, Outbox
from bridges.tasks import end
from bridges.watch import ModelWatch

log = logging.getLogger(__name__)

DEFAULT_INTERVAL: Final = 10.0
"""Longest time between two readings of a point for which nothing else is said, in seconds."""
SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.5, 3600.0
RELOAD: Final = 60.0
"""Seconds after which the points are looked up again, though no change of the model was told."""
RELOAD_WITHOUT_POINTS: Final = 2.0
CALL_TIMEOUT: Final = 10.0


def _nobody(event: Event) -> None:
    """Publish to nobody."""


class ModbusBridge(UnitScans):
    """Poll a site's Modbus devices, watch over them, write to them.

    Its points are the nodes with a Modbus binding; each goes to the device that its `device_id` names.
    Nothing is on disk: after a restart it reads the nodes again and asks every device. Polling goes on while
    stores are away. A device is a task of its own; what they share is the connection of their network, one
    request at a time.
    """

    def __init__(
        self,
        site: str,
        networks: Sequence[ModbusNetwork | BacnetNetwork],
        devices: Sequence[ModbusDevice | BacnetDevice],
        nodes: Any,
        points: Any,
        publish: Callable[[Event], None] = _nobody,
        clock: Clock = now_ms,
        *,
        bus: Any = None,
        backoff: Backoff = DEFAULT_BACKOFF,
    ) -> None:
        """Take networks and devices of a site, Modbus or not; `nodes` and `points` are the stores' handles.

        Without a `bus`, changes of the model are seen within a minute.

        Raises BadInputError for a device on a network that isn't there.
        """
        self.site = site
        self._nodes, self._clock = nodes, clock
        self._outbox = Outbox(points)
        self._faults = FaultLog(log)
        self._lines = {
            network.id: ModbusLine(network, partial(self._connected, network.id))
            for network in networks
            if isinstance(network, ModbusNetwork)
        }
        self._effects = Effects(self._outbox, publish, clock, self._faults, backoff)
        self._configured = {each.id: each for each in devices if isinstance(each, ModbusDevice)}
        self._units: dict[str, Unit] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._use(self._configured)
        self._where: dict[str, str] = {}
        self._faulty: dict[str, BadInputError] = {}
        self._probed: dict[str, bool] = {}
        self._bad_equipment: dict[str, str] = {}
        self._model_trouble: str | None = "its points are not read yet"
        self._reloading = asyncio.Lock()
        self._watch = ModelWatch(site, "modbus_bridge", bus)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to poll; returns at once. A second call changes nothing."""
        if self._tasks:
            return
        runs = (self._outbox.run(), self._follow_model(), self._watch.run())
        self._tasks = [asyncio.create_task(run) for run in runs]
        self._running = {key: asyncio.create_task(unit.run()) for key, unit in self._units.items()}

    async def stop(self) -> None:
        """Stop polling, give the point store what waits (2 s at most), close the connections."""
        tasks, self._tasks = self._tasks, []
        running, self._running = self._running, {}
        await end([*tasks[1:], *running.values()])
        if tasks:
            await self._outbox.drained(2.0)
            await end(tasks[:1])
        for line in self._lines.values():
            line.close()

    async def reload(self) -> None:
        """Look up the points again.

        Raises what the node store's handle raises; nothing changes then. Equipment with a binding of its own
        (`network_id`, `unit`) is a device like those of the configuration. A point whose node is gone is
        forgotten, one whose device is no longer configured is disabled, one whose binding is wrong gets the
        flag FAULT.
        """
        async with self._reloading:
            await self._reload()

    async def _reload(self) -> None:
        async with asyncio.timeout(CALL_TIMEOUT):
            nodes: list[Node] = await self._nodes.bound.remote("modbus")
        where: dict[str, str] = {}
        faulty: dict[str, BadInputError] = {}
        equipment = [node for node in nodes if node.node_type is NodeType.EQUIP]
        nodes = [node for node in nodes if node.node_type is not NodeType.EQUIP]
        await self._follow_equipment(equipment)
        wanted: dict[str, dict[str, Wanted]] = {device_id: {} for device_id in self._units}
        configs: list[PointConfig] = []
        for node in nodes:
            binding = node.protocol_binding.config if node.protocol_binding else {}
            device_id = str(binding.get("device_id", ""))
            where[node.id] = device_id
            unit = self._units.get(device_id)
            interval = self._interval(node, unit)
            configs.append(point_config(node, interval, disabled=unit is None))
            if unit is None:
                continue
            try:
                wanted[device_id][node.id] = Wanted(
                    from_binding(binding, multi_state=bool(node.properties.get("states"))), interval
                )
            except BadInputError as error:
                faulty[node.id] = error
                self._faults.tell(node.id, "wrong binding", str(error))
        self._outbox.forget([point_id for point_id in self._where if point_id not in where])
        self._outbox.configure(configs)
        self._flag([point_id for point_id in faulty if point_id not in self._faulty])
        self._where, self._faulty = where, faulty
        for device_id, points in wanted.items():
            self._units[device_id].assign(points)
        self._model_trouble = None

    async def write(self, point_id: str, value: PointValue, priority: int | None = None) -> PointValue | None:
        """Write an effective value to its device, read it back, update the point store.

        Gives what was read back.

        Modbus devices know no priorities: who calls has decided between them, so `priority` is only taken.
        Raises NotFoundError, BadInputError (wrong value, or a point that can't be written; nothing was sent)
        and WriteFailedError with the device's reason: `illegal data value (3)`, `no answer within 2 s`. After
        a time-out or a death of this actor it isn't known whether the device took it; writing again is
        harmless.
        """
        unit = self._unit(point_id)
        if unit is None:
            raise WriteFailedError(point_id, f"its device {self._where[point_id]!r} is not configured")
        result = await unit.write(point_id, value)
        await self._outbox.drained(1.0)
        return result

    async def read(self, point_id: str) -> PointValue | None:
        """Read a point from its device now, and update the point store.

        Raises NotFoundError, BadInputError (wrong binding) and BridgeError with the device's reason.
        """
        unit = self._unit(point_id)
        if unit is None:
            raise NotFoundError("device", self._where[point_id])
        return await unit.read(point_id)

    async def status(self) -> list[DeviceStatus]:
        """Say how each device is, in the order of the configuration."""
        return [unit.status() for unit in self._units.values()]

    def measures(self) -> list[Measure]:
        """Measure each device: whether it answers, its answers and errors, how long its last poll took."""
        return device_measures((each.status(), each.poll_seconds) for each in self._units.values())

    async def health(self) -> Health:
        """Say what works; the reasons name each device that is down, and what else needs looking at."""
        reasons = []
        down = [unit for unit in self._units.values() if unit.liveness.state == "down"]
        reasons += [f"{unit.device.id} is down: {unit.liveness.reason}" for unit in down]
        for unit in self._units.values():
            if unit.refused and unit not in down:
                point_id, reason = next(iter(unit.refused.items()))
                reasons.append(
                    f"{unit.device.id} doesn't answer for {len(unit.refused)} points: {point_id}: {reason}"
                )
        reasons += [f"{point_id}: {error}" for point_id, error in list(self._faulty.items())[:10]]
        if self._model_trouble and self._units:
            reasons.append(self._model_trouble)
        reasons += [f"{node_id}: {reason}" for node_id, reason in self._bad_equipment.items()]
        if self._outbox.trouble:
            reasons.append(self._outbox.trouble)
        if self._outbox.lost_rows:
            reasons.append(f"{self._outbox.lost_rows} readings were lost while the point store was away")
        state = HealthState.DEGRADED if reasons else HealthState.HEALTHY
        if self._units and len(down) == len(self._units):
            state = HealthState.DOWN
        elif self._model_trouble and self._units:
            state = HealthState.UNKNOWN
        return Health(name="modbus", state=state, reasons=reasons, pid=os.getpid())

    async def _follow_equipment(self, nodes: list[Node]) -> None:
        """Take the devices that the model names besides those of the configuration, which wins."""
        wanted = dict(self._configured)
        self._bad_equipment = {}
        for node in nodes:
            try:
                device = device_of(node, self._lines)
            except BadInputError as error:
                self._bad_equipment[node.id] = str(error)
                self._faults.tell(node.id, "wrong binding", str(error))
            else:
                wanted.setdefault(device.id, device)
        await end([self._running.pop(key) for key in self._use(wanted) if key in self._running])
        if self._tasks:
            fresh = self._units.keys() - self._running.keys()
            self._running |= {key: asyncio.create_task(self._units[key].run()) for key in fresh}

    def _use(self, devices: Mapping[str, ModbusDevice]) -> list[str]:
        """Have one unit per device; give the ids of those that are gone or different now.

        Raises BadInputError for a device on a network that isn't there.
        """
        gone = [key for key, unit in self._units.items() if devices.get(key) != unit.device]
        kept = {key: unit for key, unit in self._units.items() if key not in gone}
        count = Counter(device.network for device in devices.values())
        for network_id, line in self._lines.items():
            line.shared = count[network_id] > 1
        units: dict[str, Unit] = {}
        for key, device in devices.items():
            if device.network not in self._lines:
                raise BadInputError("network", device.network, "the id of a modbus network of this site")
            units[key] = kept.get(key) or Unit(device, self._lines[device.network], self._effects)
        self._units = units
        return gone

    async def _follow_model(self) -> None:
        while True:
            try:
                await self.reload()
            except Exception as error:
                # Whatever a dead or restarting store raises; polling goes on with the points that we know.
                self._model_trouble = f"the node store doesn't answer: {type(error).__name__}: {error}"[:300]
                self._faults.tell(self.site, "node store", self._model_trouble)
            settled = self._where and self._model_trouble is None
            await self._watch.changed(RELOAD if settled else RELOAD_WITHOUT_POINTS)

    def _unit(self, point_id: str) -> Unit | None:
        if point_id not in self._where:
            raise NotFoundError("point", point_id)
        if point_id in self._faulty:
            raise self._faulty[point_id]
        return self._units.get(self._where[point_id])

    def _connected(self, network: str) -> None:
        for unit in self._units.values():
            if unit.device.network == network:
                unit.line_connected()

    def _interval(self, node: Node, unit: Unit | None) -> float:
        """Give the point's own interval, else the device's, else 10 s."""
        own = node.properties.get("interval")
        if isinstance(own, int | float) and SHORTEST_INTERVAL <= own <= LONGEST_INTERVAL:
            return float(own)
        return unit.device.interval or DEFAULT_INTERVAL if unit else DEFAULT_INTERVAL

    def _flag(self, ids: list[str]) -> None:
        frame = empty_frame()
        for point_id in ids:
            frame.add(point_id, None, self._clock(), int(PointStatus.FAULT))
        self._outbox.put(frame)
