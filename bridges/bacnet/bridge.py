"""The bridge between a site's BACnet devices and its point store."""

import asyncio
import functools
import itertools
import logging
import math
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bacpypes3.pdu import Address

from actors.alarm.models import Alarm
from actors.audit.trail import Trail
from actors.bus.events import DeviceMonitorCycle, Event
from actors.core.clock import Clock, now_ms
from actors.core.errors import (
    BadInputError,
    BridgeError,
    NotFoundError,
    OpenCrateError,
    WriteFailedError,
)
from actors.core.health import Health, HealthState
from actors.core.later import meet
from actors.core.metrics import Measure
from actors.core.remote import answered
from actors.core.values import PointStatus, PointValue
from actors.node.models import Node, NodeType
from actors.override.models import PriorityArray
from actors.point.logic import point_config
from actors.point.models import PointConfig, empty_frame
from bridges.backoff import DEFAULT_BACKOFF, Backoff
from bridges.bacnet.adopt import nodes_of
from bridges.bacnet.alarms import DeviceAlarms, clear_left, device_of
from bridges.bacnet.backfill import Backfill
from bridges.bacnet.binding import device_of as bound_device
from bridges.bacnet.contact import Effects
from bridges.bacnet.cov import Object
from bridges.bacnet.device import Device
from bridges.bacnet.events import Notification
from bridges.bacnet.kinds import (
    carries_value,
)
from bridges.bacnet.network import Announced, DeviceError, Network
from bridges.bacnet.services import Services
from bridges.bacnet.share import Sharing
from bridges.config import BacnetDevice, BacnetNetwork, DeviceStatus, ModbusDevice, ModbusNetwork
from bridges.measures import device_measures
from bridges.outbox import FaultLog, Outbox
from bridges.tasks import end
from bridges.watch import ModelWatch

log = logging.getLogger(__name__)

POLL_INTERVAL: Final = 10.0
"""Longest time between two readings of a point that is polled, in seconds, unless something else is said."""
COV_INTERVAL: Final = 60.0
"""The same of a point that reports its changes by itself: confirms the value and the subscription."""
SHORTEST, LONGEST = 0.5, 3600.0
RELOAD: Final = 60.0
RELOAD_WITHOUT_POINTS: Final = 2.0
ADOPT_AGAIN: Final = 60.0
"""Seconds after which a device whose objects could not be made nodes is asked for them again."""
MONITOR: Final = 60.0
REOPEN: Final = 10.0
RISES: Final = 60.0
"""Seconds that the actors of a site may take to rise."""
CALL_TIMEOUT: Final = 10.0
APPLY_TIMEOUT: Final = 60.0


async def _audited(audit: Callable[[], Any], user: str, action: str, target: str, detail: Any) -> None:
    # Looking an actor up may wait for another host: nobody else is to wait for that.
    log_of_campus = await asyncio.to_thread(audit)
    await answered("audit", log_of_campus.add.remote(user, action, target, detail), CALL_TIMEOUT)


def _note(trail: Trail, site: str, user: str, action: str, target: str, detail: dict[str, Any]) -> None:
    trail.later(user, action, target, {"site": site} | detail)


def _nobody(event: Event) -> None:
    """Publish to nobody."""


class BacnetBridge(Services):
    """Read a site's BACnet devices, watch over them, write to them.

    Its points are the nodes with a BACnet binding; each goes to the configured device of its instance and
    network. A device that has no point is asked for its objects, which become nodes. Nothing is on disk:
    after a restart it reads the nodes again, finds every device and subscribes anew. Reading goes on while
    stores are away.
    """

    def __init__(
        self,
        site: str,
        networks: Sequence[BacnetNetwork | ModbusNetwork],
        devices: Sequence[BacnetDevice | ModbusDevice],
        nodes: Any,
        points: Any,
        publish: Callable[[Event], None] = _nobody,
        clock: Clock = now_ms,
        *,
        history: Any = None,
        commands: Callable[[], Any] | None = None,
        alarms: Callable[[], Any] | None = None,
        audit: Callable[[], Any] | None = None,
        audit_queue: Path | None = None,
        bus: Any = None,
        backoff: Backoff = DEFAULT_BACKOFF,
    ) -> None:
        """Take networks and devices of a site; `nodes`, `points` and `history` are the stores' handles.

        Without history, its holes are not filled from the devices' trend logs. `commands` finds the command
        engine, which carries out what others write to the points that are served to them. `alarms` finds the
        store of alarms; without it the devices' events are nobody's affair. `audit` finds the audit log,
        which is told what others write; while it is away that waits in the file `audit_queue` too.
        Without a `bus`, changes of the model are seen within a minute.

        Raises BadInputError for a device on a network that isn't there.
        """
        super().__init__(site)
        self._nodes, self._publish, self._clock = nodes, publish, clock
        self._outbox = Outbox(points)
        self._faults = FaultLog(log)
        self._sharing = Sharing(nodes, points, self._faults)
        self._backfill = Backfill(history, points, clock, self._faults)
        self._processes = itertools.count(1)
        self._by_process: dict[int, Device] = {}
        self._effects = Effects(self._outbox, publish, clock, self._faults, backoff, process=self._process)
        self._trail = trail = (
            None if audit is None else Trail(functools.partial(_audited, audit), queue_file=audit_queue)
        )
        noted = None if trail is None else functools.partial(_note, trail, site)
        self._networks = {
            each.id: Network(each, commands, noted) for each in networks if isinstance(each, BacnetNetwork)
        }
        self._points = points
        self._configured = {each.id: each for each in devices if isinstance(each, BacnetDevice)}
        self._by_instance: dict[tuple[str, int], Device] = {}
        self._running: dict[str, list[asyncio.Task[None]]] = {}
        self._find_commands, self._find_alarms = commands, alarms
        self._followers: dict[str, DeviceAlarms] = {}
        self._must_clear = alarms is not None
        self._use(self._configured)
        self._bad_equipment: dict[str, str] = {}
        for network in self._networks.values():
            network.on_cov = self._notified
            network.on_announced = functools.partial(self._announced, network.config.id)
            network.on_event = functools.partial(self._happened, network.config.id)
        self._where: dict[str, str] = {}
        self._faulty: dict[str, str] = {}
        self._model_trouble: str | None = "its points are not read yet"
        self._adopt_at: dict[str, float] = {}
        self._loaded = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._watch = ModelWatch(site, "bacnet_bridge", bus)
        self._tasks: list[asyncio.Task[None]] = []
        self._meeting: list[asyncio.Task[None]] = []
        """Looks for the actors that rise later."""

    def _process(self, device: Device, point_id: str) -> int:
        number = next(self._processes)
        self._by_process[number] = device
        return number

    def _notified(self, process: int, sender: Any, obj: str, value: Any, flags: Any) -> None:
        device = self._by_process.get(process)
        if device is not None:
            device.notified(sender, obj, value, flags)

    def _announced(self, network_id: str, found: Announced) -> None:
        device = self._by_instance.get((network_id, found.instance))
        if device is not None:
            device.announced(found)

    def _happened(
        self, network_id: str, sender: Address, note: Notification
    ) -> "asyncio.Future[bool] | None":
        """Take an event if it is from one of our devices, and from where that device is.

        Gives whether it is kept, once that is known; None for what is nobody's affair. While it isn't known
        where the device is, as after a silence, none of its events is kept: it may send them again.
        """
        device = self._by_instance.get((network_id, note.device))
        follower = self._followers.get(device.device.id) if device is not None else None
        if device is None or follower is None:
            return None
        if device.address is None:
            unkept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            unkept.set_result(False)
            return unkept
        if Address(device.address) != sender:
            self._faults.tell(device.device.id, "event", f"{sender} sends one in its name")
            return None
        return follower.notified(note)

    async def start(self) -> None:
        """Begin to read; returns at once. A second call changes nothing."""
        if self._tasks:
            return
        runs: list[Coroutine[Any, Any, None]] = [self._outbox.run(), self._follow_model(), self._monitor()]
        runs.append(self._watch.run())
        runs += [self._keep_open(network) for network in self._networks.values()]
        runs += [
            self._keep_time(network, network.config.time_sync)
            for network in self._networks.values()
            if network.config.time_sync is not None
        ]
        runs += [self._sharing.follow(network) for network in self._networks.values() if network.config.serve]
        self._tasks = [asyncio.create_task(run) for run in runs]
        finders = [each for each in (self._find_commands, self._find_alarms) if each is not None]
        self._meeting = [asyncio.create_task(meet(each)) for each in finders]
        self._tasks += self._meeting
        if self._trail is not None:
            self._trail.start()
        self._run_devices()

    def _run_devices(self) -> None:
        """Begin to read the devices that are new."""
        for key, device in self._devices.items():
            if key not in self._running:
                runs = [self._serve(device), self._backfill.follow(device)]
                if key in self._followers:
                    runs.append(self._follow_events(self._followers[key]))
                self._running[key] = [asyncio.create_task(run) for run in runs]

    async def _follow_events(self, follower: DeviceAlarms) -> None:
        """Begin when the store of alarms is known, which rises later; past a minute it is a fault to tell."""
        if self._meeting:
            await asyncio.wait(self._meeting, timeout=RISES)
        await follower.run()

    async def stop(self) -> None:
        """Stop reading, give the point store what waits (2 s at most), close the ports."""
        tasks, self._tasks = self._tasks, []
        running, self._running = self._running, {}
        await end([*tasks[1:], *itertools.chain(*running.values())])
        if tasks:
            await self._outbox.drained(2.0)
            await end(tasks[:1])
        for network in self._networks.values():
            await network.close()
        if self._trail is not None:
            await self._trail.close()

    async def reload(self) -> None:
        """Look up the points again. Raises what the node store's handle raises; nothing changes then.

        Equipment with a binding of its own (`network_id`, `device_instance`) is a device like those of the
        configuration. A point whose node is gone is forgotten, one whose device is no longer configured is
        disabled, one whose binding is wrong gets the flag FAULT.
        """
        async with self._reloading:
            await self._reload()

    async def _reload(self) -> None:
        async with asyncio.timeout(CALL_TIMEOUT):
            nodes: list[Node] = await self._nodes.bound.remote("bacnet")
        await self._follow_equipment([node for node in nodes if node.node_type is NodeType.EQUIP])
        nodes = [node for node in nodes if node.node_type is not NodeType.EQUIP]
        where: dict[str, str] = {}
        faulty: dict[str, str] = {}
        wanted: dict[str, dict[str, Object]] = {key: {} for key in self._devices}
        configs: list[PointConfig] = []
        for node in nodes:
            binding = node.protocol_binding.config if node.protocol_binding else {}
            device = self._by_instance.get((str(binding.get("network_id")), _instance(binding)))
            where[node.id] = device.device.id if device else str(binding.get("device_instance"))
            interval = self._interval(node, device)
            configs.append(point_config(node, interval, disabled=device is None))
            kind, instance = binding.get("object_type"), binding.get("object_instance")
            if device is None:
                continue
            if not carries_value(kind) or not isinstance(instance, int) or not 0 <= instance < 2**22:
                faulty[node.id] = f"{kind},{instance} is no object with a present value that a point can have"
                continue
            states = node.properties.get("states")
            wanted[device.device.id][node.id] = Object(
                f"{kind},{instance}", interval, len(states) if isinstance(states, list) else None
            )
        self._outbox.forget([point_id for point_id in self._where if point_id not in where])
        self._outbox.configure(configs)
        self._flag([point_id for point_id in faulty if point_id not in self._faulty])
        self._where, self._faulty = where, faulty
        for device_id, points in wanted.items():
            self._devices[device_id].assign(points)
        self._model_trouble = None
        self._loaded.set()

    async def _follow_equipment(self, nodes: list[Node]) -> None:
        """Take the devices that the model names besides those of the configuration, which wins."""
        wanted = dict(self._configured)
        there = {(each.network, each.device_instance): each.id for each in wanted.values()}
        bad: dict[str, str] = {}
        for node in nodes:
            try:
                device = bound_device(node, self._networks)
            except BadInputError as error:
                bad[node.id] = str(error)
                self._faults.tell(node.id, "wrong binding", str(error))
                continue
            key = (device.network, device.device_instance)
            other = there.setdefault(key, device.id)
            if other == device.id:
                wanted[device.id] = self._configured.get(device.id, device)
            elif other not in self._configured:
                bad[node.id] = (
                    f"device {device.device_instance} of network {device.network} is {other} already"
                )
        self._bad_equipment = bad
        gone = self._use(wanted)
        await end(itertools.chain(*(self._running.pop(key) for key in gone if key in self._running)))
        if self._tasks:
            self._run_devices()

    def _use(self, devices: Mapping[str, BacnetDevice]) -> list[str]:
        """Have one device per configuration; give the ids of those that are gone or different now.

        Raises BadInputError for a device on a network that isn't there.
        """
        gone = [key for key, each in self._devices.items() if devices.get(key) != each.device]
        kept = {key: each for key, each in self._devices.items() if key not in gone}
        found: dict[str, Device] = {}
        for key, device in devices.items():
            network = self._networks.get(device.network)
            if network is None:
                raise BadInputError("network", device.network, "the id of a bacnet network of this site")
            found[key] = kept.get(key) or Device(device, network, self._effects)
        left = [each for key, each in self._devices.items() if key in gone]
        self._by_process = {key: each for key, each in self._by_process.items() if each not in left}
        self._devices = found
        self._must_clear |= bool(gone) and self._find_alarms is not None
        for key, each in found.items():
            of = self._followers.get(key)
            fresh = of is None or of.device is not each
            if fresh and self._find_alarms is not None and each.device.events != "off":
                self._followers[key] = DeviceAlarms(each, self._find_alarms, self._faults)
        self._followers = {key: of for key, of in self._followers.items() if of.device is found.get(key)}
        self._by_instance = {
            (each.device.network, each.device.device_instance): each for each in found.values()
        }
        return gone

    def _interval(self, node: Node, device: Device | None) -> float:
        """Give the point's own interval, else the device's, else 60 s when subscribed and 10 s when not."""
        own = node.properties.get("interval")
        if isinstance(own, int | float) and SHORTEST <= own <= LONGEST:
            return float(own)
        if device is not None and device.device.interval:
            return device.device.interval
        return COV_INTERVAL if device is not None and device.subscribed(node.id) else POLL_INTERVAL

    async def write(
        self, point_id: str, value: PointValue | None, priority: int | None = None
    ) -> PointValue | None:
        """Write a slot of a point's priority array, or relinquish it with None; give what is in force then.

        Raises NotFoundError, BadInputError (nothing was sent), UnreachableError, WriteFailedError with the
        device's reason: `write-access-denied`, `no answer within 3 s`.
        """
        result = await self._device(point_id).write(point_id, value, 16 if priority is None else priority)
        await self._outbox.drained(1.0)
        return result

    async def read(self, point_id: str) -> PointValue | None:
        """Read a point from its device now, and update the point store. Raises NotFoundError, BridgeError."""
        return await self._device(point_id).read(point_id)

    async def acknowledge(self, alarm_id: int, by: str, note: str | None = None) -> Alarm:
        """Acknowledge an alarm that a device has raised, at the device and here.

        Raises NotFoundError, ConflictError with the device's reason, and UnreachableError; then it is
        acknowledged nowhere. An alarm of a device that is no longer there is acknowledged here alone.
        """
        if self._find_alarms is None:
            raise NotFoundError("alarm", alarm_id)
        store = await asyncio.to_thread(self._find_alarms)
        alarm: Alarm = await answered("alarms", store.get.remote(alarm_id), CALL_TIMEOUT)
        which = device_of(alarm.source or "")
        device = self._by_instance.get(which) if which is not None else None
        follower = self._followers.get(device.device.id) if device is not None else None
        if follower is not None:
            return await follower.acknowledge(alarm, by, note)
        seen: Alarm = await answered("alarms", store.acknowledge.remote(alarm_id, by, note), CALL_TIMEOUT)
        return seen

    async def priority_array(self, point_id: str) -> PriorityArray:
        """Read a point's priority array from its device. Raises NotFoundError, ConflictError, BridgeError."""
        return await self._device(point_id).priority_array(point_id)

    def _device(self, point_id: str) -> Device:
        if point_id not in self._where:
            raise NotFoundError("point", point_id)
        if point_id in self._faulty:
            raise BadInputError("point", point_id, self._faulty[point_id])
        device = self._devices.get(self._where[point_id])
        if device is None:
            raise WriteFailedError(point_id, f"its device {self._where[point_id]!r} is not configured")
        return device

    async def status(self) -> list[DeviceStatus]:
        """Say how each device is, in the order of the configuration."""
        return [device.status() for device in self._devices.values()]

    def measures(self) -> list[Measure]:
        """Measure each device: whether it answers, its answers and errors, how long its last poll took."""
        return device_measures((each.status(), each.poll_seconds) for each in self._devices.values())

    async def health(self) -> Health:
        """Say what works; the reasons name each network and device that doesn't, and what else is wrong."""
        reasons = [f"network {key}: {each.trouble}" for key, each in self._networks.items() if each.trouble]
        down = [each for each in self._devices.values() if each.liveness.state == "down"]
        reasons += [f"{each.device.id} is down: {each.liveness.reason}" for each in down]
        for each in self._devices.values():
            if each.trouble and each not in down:
                reasons.append(f"{each.device.id}: {each.trouble}")
            if each.refused and each not in down:
                point_id, reason = next(iter(each.refused.items()))
                reasons.append(
                    f"{each.device.id} doesn't answer for {len(each.refused)} points: {point_id}: {reason}"
                )
        reasons += [f"{point_id}: {reason}" for point_id, reason in list(self._faulty.items())[:10]]
        reasons += [f"{node_id}: {reason}" for node_id, reason in self._bad_equipment.items()]
        if self._model_trouble and self._devices:
            reasons.append(self._model_trouble)
        if self._outbox.trouble:
            reasons.append(self._outbox.trouble)
        if self._outbox.lost_rows:
            reasons.append(f"{self._outbox.lost_rows} readings were lost while the point store was away")
        state = HealthState.DEGRADED if reasons else HealthState.HEALTHY
        if self._devices and len(down) == len(self._devices):
            state = HealthState.DOWN
        elif self._model_trouble and self._devices:
            state = HealthState.UNKNOWN
        return Health(name="bacnet", state=state, reasons=reasons, pid=os.getpid())

    # Loops catch, steps raise

    async def _keep_open(self, network: Network) -> None:
        while True:
            if not network.is_open:
                try:
                    await network.open()
                    log.info("network %s is open", network.config.id)
                except BridgeError as error:
                    self._faults.tell(network.config.id, "not open", error.reason)
            await asyncio.sleep(REOPEN)

    async def _keep_time(self, network: Network, hours: float) -> None:
        """Tell all devices of a network the time, until cancelled."""
        await network.opened(math.inf)
        while True:
            try:
                await self.synchronise(network.config.id)
            except BridgeError as error:
                self._faults.tell(network.config.id, "time", error.reason)
            await asyncio.sleep(3600 * hours)

    async def _serve(self, device: Device) -> None:
        await self._loaded.wait()
        # Without its network the device would count as silent: give it the time to open.
        await device.network.opened(2 * REOPEN)
        # Not all devices at the same moment.
        place = next((at for at, key in enumerate(self._devices) if key == device.device.id), 0)
        await asyncio.sleep(0.02 * (place % 50))
        await device.run()

    async def _follow_model(self) -> None:
        counted = -1
        while True:
            try:
                await self.reload()
                await self._adopt_all()
                met = all(each.done() for each in self._meeting)
                if self._must_clear and self._find_alarms is not None and met:
                    followed = [each.device.device for each in self._followers.values()]
                    await clear_left(
                        self._find_alarms, [(each.network, each.device_instance) for each in followed]
                    )
                    self._must_clear = False
            except Exception as error:
                # Whatever a dead or restarting store raises; reading goes on with the points that we know.
                self._model_trouble = f"the node store doesn't answer: {type(error).__name__}: {error}"[:300]
                self._faults.tell(self.site, "node store", self._model_trouble)
            # One that is down tells its objects no sooner for being waited for.
            complete = all(
                each.has_points.is_set() or each.liveness.state == "down" or key not in self._configured
                for key, each in self._devices.items()
            )
            subscribed = sum(each.status().cov_points for each in self._devices.values())
            well = self._model_trouble is None and not self._must_clear
            settled = complete and well and subscribed == counted
            counted = subscribed
            await self._watch.changed(RELOAD if settled else RELOAD_WITHOUT_POINTS)

    async def _adopt_all(self) -> None:
        """Adopt devices that have no point yet; what is wrong with one keeps no other waiting."""
        for device in self._devices.values():
            key, now = device.device.id, time.monotonic()
            if device.has_points.is_set() or device.liveness.state != "online":
                continue
            if key not in self._configured:
                continue  # people have chosen which points of it there are
            if self._adopt_at.get(key, now) > now:
                continue
            try:
                await self._adopt(device)
            except (OpenCrateError, ValueError, TypeError) as error:
                self._adopt_at[key] = now + ADOPT_AGAIN
                reason = f"{type(error).__name__}: {error}"[:300]
                self._faults.tell(key, "its objects could not be made nodes", reason)

    async def _adopt(self, device: Device) -> None:
        """Make nodes of all objects of a device that has a present value. Raises BridgeError."""
        try:
            nodes = await nodes_of(device)
        except BridgeError as error:
            self._faults.tell(device.device.id, "object list", error.reason)
            if isinstance(error, DeviceError):
                device.unlisted = f"its objects can't be read: {error.reason}"
            return
        device.unlisted = None
        if not nodes:
            log.warning("%s has no object with a present value", device.device.id)
            device.has_points.set()
            return
        async with asyncio.timeout(APPLY_TIMEOUT):
            await self._nodes.apply.remote(nodes)
        log.info("%s has told %d objects", device.device.id, len(nodes))
        await self.reload()

    def _flag(self, ids: list[str]) -> None:
        frame = empty_frame()
        for point_id in ids:
            frame.add(point_id, None, self._clock(), int(PointStatus.FAULT))
        self._outbox.put(frame)

    async def _monitor(self) -> None:
        """Look at every device once a minute: who answers, whose objects have changed."""
        while True:
            await asyncio.sleep(MONITOR)
            online = [each for each in self._devices.values() if each.liveness.state == "online"]
            for device in online:
                try:
                    other = await device.check_restart()
                    if await device.check_list() or other:
                        self._backfill.forget(device)
                        if follower := self._followers.get(device.device.id):
                            follower.forget()
                    await device.check_rivals()
                except BridgeError as error:
                    self._faults.tell(device.device.id, "monitor", error.reason)
                except Exception:
                    log.exception("%s could not be looked at", device.device.id)
            self._publish(
                DeviceMonitorCycle(
                    checked_count=len(self._devices),
                    online_count=len(online),
                    offline_count=len(self._devices) - len(online),
                )
            )


def _instance(binding: dict[str, Any]) -> int:
    """Give the device instance of a binding, -1 for what can't be one."""
    try:
        return int(binding.get("device_instance", -1))
    except (TypeError, ValueError):
        return -1
