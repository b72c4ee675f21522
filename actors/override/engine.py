"""The engine that commands points: the only way to a device's output."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from actors.bus.client import follow
from actors.core.clock import Clock, now_ms
from actors.core.errors import ConflictError, OpenCrateError
from actors.core.health import Health, HealthState
from actors.core.remote import answered
from actors.core.values import PointStatus, PointValue
from actors.node.models import Node, NodeType
from actors.override.logic import array_of
from actors.override.models import Override, PriorityArray, WriteRequest, WriteResult
from actors.point.models import PointConfig, empty_frame

log = logging.getLogger(__name__)

TICK: Final = 1.0
"""Seconds between two looks for overrides whose time is over."""
RETRY: Final = 10.0
"""Seconds after which a relinquish that failed is tried again."""
REFRESH: Final = 15.0
"""Seconds between two rounds over virtual points and flags."""
CALL_TIMEOUT: Final = 10.0
DEVICE_TIMEOUT: Final = 30.0
"""Seconds that a command may take on its way to a device and back."""
OWN_ARRAY: Final = frozenset({"bacnet"})
"""Protocols whose devices hold the priority array themselves."""


def _nobody(event: Any) -> None:
    """Publish to nobody."""


class CommandEngine:
    """Write to points and give slots back, whatever their protocol; end overrides on time.

    A command is noted in the override store before it goes to the device, and the note is taken back when the
    device refuses: if this actor dies in between, the slot is at worst given back once too often, but never
    left commanded without anybody knowing. Commands to one point wait for each other. An override whose time
    is over is given back also after a restart, and again until the device has taken it; a slot that somebody
    else has changed at the device meanwhile is left alone.

    BACnet devices hold their priority array themselves. For all other points the notes are the array, and the
    device is sent what is in force; it is sent again when the device was down.
    """

    def __init__(
        self,
        site: str,
        nodes: Any,
        points: Any,
        overrides: Any,
        bridges: Mapping[str, Any],
        publish: Callable[[Any], None] = _nobody,
        bus: Any = None,
        clock: Clock = now_ms,
    ) -> None:
        """Take the handles; `bridges` by protocol. Virtual points are this engine's own."""
        self.site = site
        self._nodes, self._points, self._overrides, self._bridges = nodes, points, overrides, dict(bridges)
        self._publish, self._bus, self._clock = publish, bus, clock
        self._locks: dict[str, asyncio.Lock] = {}
        self._retry_at: dict[tuple[str, int], float] = {}
        self._virtual: dict[str, PointConfig] = {}
        self._trouble: str | None = None
        self._failing: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; returns at once. A second call changes nothing."""
        if not self._tasks:
            runs = [self._expire(), self._refresh()]
            if self._bus is not None:
                runs.append(self._follow())
            self._tasks = [asyncio.create_task(run) for run in runs]

    async def stop(self) -> None:
        """End the loops. What is commanded stays commanded."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def health(self) -> Health:
        """Say what can't be given back to its device now."""
        reasons = [f"{point_id} can't be relinquished: {why}" for point_id, why in self._failing.items()][:10]
        if self._trouble:
            reasons.append(self._trouble)
        state = HealthState.DEGRADED if reasons else HealthState.HEALTHY
        return Health(name="commands", state=state, reasons=reasons, pid=os.getpid())

    # Commands

    async def write(self, point_id: str, request: WriteRequest, by: str) -> WriteResult:
        """Command a point at a priority, read it back, note it.

        Raises NotFoundError, BadInputError (a value that the point can't have), ConflictError (a point that
        can't be written), WriteFailedError with the device's reason; then nothing is noted.
        """
        node = await self._point(point_id)
        async with self._lock(point_id):
            old = await self._present(point_id)
            before = {each.priority: each for each in await self._call("overrides", "of", point_id)}
            # Up to the next millisecond, so that a short override isn't over before it began.
            expires = None if request.duration is None else self._clock() + round(request.duration * 1000)
            noted: Override = await self._call(
                "overrides", "put", point_id, request.priority, request.value, by, expires, request.note
            )
            try:
                value = await self._send(node, request.priority, request.value)
            except BaseException:
                await self._take_back(noted, before.get(request.priority))
                raise
            self._retry_at.pop((point_id, request.priority), None)
            await self._flag(point_id, True)
        return WriteResult(
            id=point_id,
            priority=request.priority,
            old_value=old,
            written=request.value,
            value=value,
            override_id=noted.id,
            expires_at=expires,
        )

    async def relinquish(self, point_id: str, priority: int, by: str) -> WriteResult:
        """Give a slot back, also one that was commanded elsewhere; read back what is in force now.

        Raises what `write` raises; the slot stays noted then.
        """
        node = await self._point(point_id)
        async with self._lock(point_id):
            old = await self._present(point_id)
            value = await self._give_back(node, priority)
        log.info("%s relinquished %s at priority %d", by, point_id, priority)
        return WriteResult(id=point_id, priority=priority, old_value=old, written=None, value=value)

    async def priority_array(self, point_id: str) -> PriorityArray:
        """Give a point's 16 slots. Raises NotFoundError, ConflictError, BridgeError."""
        node = await self._point(point_id)
        protocol = _protocol(node)
        if protocol in OWN_ARRAY:
            array: PriorityArray = await self._bridge(protocol, "priority_array", point_id)
            return array
        array = array_of(point_id, await self._call("overrides", "of", point_id), _default(node))
        return array.model_copy(update={"present_value": await self._present(point_id)})

    async def _give_back(self, node: Node, priority: int) -> PointValue | None:
        if _protocol(node) in OWN_ARRAY:
            value = await self._send(node, priority, None)
            await self._call("overrides", "remove", node.id, priority)
        else:
            before = {each.priority: each for each in await self._call("overrides", "of", node.id)}
            await self._call("overrides", "remove", node.id, priority)
            try:
                value = await self._send(node, priority, None)
            except BaseException:
                if priority in before:
                    await self._call("overrides", "restore", before[priority])
                raise
        self._failing.pop(node.id, None)
        self._retry_at.pop((node.id, priority), None)
        if not await self._call("overrides", "of", node.id):
            await self._flag(node.id, False)
        return value

    async def _send(self, node: Node, priority: int, value: PointValue | None) -> PointValue | None:
        """Send a slot's value to the device, or what is in force now; give what was read back."""
        protocol = _protocol(node)
        if protocol in OWN_ARRAY:
            sent: PointValue | None = await self._bridge(protocol, "write", node.id, value, priority)
            return sent
        array = array_of(node.id, await self._call("overrides", "of", node.id), _default(node))
        effective = array.present_value
        if protocol == "virtual":
            await self._set_virtual([(node, effective)])
            return effective
        if effective is None:
            # Nothing is in force and no default is known: the device keeps what it has.
            return await self._present(node.id)
        back: PointValue | None = await self._bridge(protocol, "write", node.id, effective)
        return back

    async def _take_back(self, noted: Override, before: Override | None) -> None:
        try:
            if before is None:
                await self._call("overrides", "remove", noted.node_id, noted.priority)
            else:
                await self._call("overrides", "restore", before)
        except OpenCrateError:
            log.exception("%s is noted as commanded at %d but isn't", noted.node_id, noted.priority)

    async def _point(self, point_id: str) -> Node:
        node: Node = await self._call("nodes", "get", point_id)
        if node.node_type not in {NodeType.POINT, NodeType.VIRTUAL_POINT}:
            raise ConflictError("node", point_id, f"a {node.node_type.value} can't be commanded")
        if not node.capabilities.writable:
            raise ConflictError("point", point_id, "it is read only")
        if _protocol(node) != "virtual" and _protocol(node) not in self._bridges:
            raise ConflictError("point", point_id, f"this site has no {_protocol(node)} network")
        return node

    async def _present(self, point_id: str) -> PointValue | None:
        rows = await self._call("points", "snapshot", [point_id])
        return rows[0][1] if rows else None

    async def _flag(self, point_id: str, on: bool) -> None:
        try:
            await self._call("points", "set_flag", [point_id], int(PointStatus.OVERRIDDEN), on)
        except OpenCrateError as error:
            # The command stands; the flag is put right by the next round.
            log.warning("%s isn't flagged yet: %s", point_id, error)

    # Rounds

    async def expire(self) -> None:
        """Give back every slot whose time is over. One that fails is tried again later."""
        now = time.monotonic()
        for override in await self._call("overrides", "due"):
            key = (override.node_id, override.priority)
            if self._retry_at.get(key, 0.0) > now:
                continue
            self._retry_at[key] = now + RETRY
            try:
                await self._end(override)
            except OpenCrateError as error:
                log.error("%s at priority %d is over but not relinquished: %s", *key, error)
                self._failing[override.node_id] = str(error)

    async def _end(self, override: Override) -> None:
        node: Node = await self._call("nodes", "get", override.node_id)
        async with self._lock(node.id):
            now = {each.priority: each for each in await self._call("overrides", "of", node.id)}
            if now.get(override.priority) != override:
                return  # commanded anew meanwhile
            protocol = _protocol(node)
            if protocol in OWN_ARRAY:
                array: PriorityArray = await self._bridge(protocol, "priority_array", node.id)
                if not _same(array.slots[override.priority - 1], override.value):
                    log.info("%s at priority %d was changed elsewhere", node.id, override.priority)
                    await self._call("overrides", "remove", node.id, override.priority)
                    self._failing.pop(node.id, None)
                    return
            await self._give_back(node, override.priority)
            log.info("%s at priority %d is over, relinquished", node.id, override.priority)

    async def reassert(self, device_key: str) -> None:
        """Send what is in force to a device that was down and holds no priority array itself."""
        ids = {each.node_id for each in await self._call("overrides", "everything")}
        for point_id in sorted(ids):
            node: Node = await self._call("nodes", "get", point_id)
            binding = node.protocol_binding.config if node.protocol_binding else {}
            if _protocol(node) in OWN_ARRAY or binding.get("device_id") != device_key:
                continue
            try:
                async with self._lock(point_id):
                    await self._send(node, 16, None)
                log.info("%s was sent again what is in force", point_id)
            except OpenCrateError as error:
                log.error("%s was not sent again what is in force: %s", point_id, error)

    async def refresh(self) -> None:
        """Bring virtual points and flags in line with nodes and overrides."""
        everything: list[Override] = await self._call("overrides", "everything")
        of: dict[str, list[Override]] = {}
        for each in everything:
            of.setdefault(each.node_id, []).append(each)
        nodes: list[Node] = []
        cursor = None
        while True:
            part, cursor = await self._call(
                "nodes", "find", NodeType.VIRTUAL_POINT, (), None, None, 1000, cursor
            )
            nodes += part
            if cursor is None:
                break
        gone = self._virtual.keys() - {node.id for node in nodes}
        if gone:
            await self._call("points", "forget", sorted(gone))
            self._virtual = {key: value for key, value in self._virtual.items() if key not in gone}
        await self._set_virtual(
            [(node, array_of(node.id, of.get(node.id, []), _default(node)).present_value) for node in nodes]
        )
        snapshot = await self._call("points", "snapshot", sorted(of))
        missing = [row[0] for row in snapshot if not row[2] & PointStatus.OVERRIDDEN]
        if missing:
            await self._call("points", "set_flag", missing, int(PointStatus.OVERRIDDEN), True)

    async def _set_virtual(self, values: list[tuple[Node, PointValue | None]]) -> None:
        if not values:
            return
        frame = empty_frame()
        configs = {node.id: _config(node) for node, _ in values}
        fresh = [config for key, config in configs.items() if self._virtual.get(key) != config]
        if fresh:
            await self._call("points", "configure", fresh)
            self._virtual |= {config.id: config for config in fresh}
        for node, value in values:
            frame.add(node.id, value, self._clock())
        answer = await self._call("points", "set_if_changed", frame.encode())
        if answer.unknown:
            await self._call("points", "configure", list(configs.values()))
            await self._call("points", "set_if_changed", frame.encode())

    # Loops catch, steps raise

    async def _expire(self) -> None:
        while True:
            await self._try(self.expire())
            await asyncio.sleep(TICK)

    async def _refresh(self) -> None:
        while True:
            await self._try(self.refresh())
            await asyncio.sleep(REFRESH)

    async def _follow(self) -> None:
        types = ["device_recovered", "entity_created", "entity_updated", "entity_deleted"]
        async for delivery in follow(self._bus, "commands", types, site=self.site):
            kinds = {event.type for event in delivery.low_rate()}
            if delivery.resync or kinds - {"device_recovered"}:
                await self._try(self.refresh())
            for event in delivery.low_rate():
                if event.type == "device_recovered":
                    await self._try(self.reassert(event.device_key))

    async def _try(self, step: Awaitable[None]) -> None:
        try:
            await step
        except Exception as error:
            # Whatever a dead or restarting store raises: overrides must end when it is back.
            reason = f"{type(error).__name__}: {error}"[:300]
            if self._trouble is None:
                log.error("a round over commands failed: %s", reason)
            self._trouble = reason
        else:
            self._trouble = None

    # Calls

    def _lock(self, point_id: str) -> asyncio.Lock:
        return self._locks.setdefault(point_id, asyncio.Lock())

    async def _call(self, store: str, method: str, *args: Any) -> Any:
        handle = {"nodes": self._nodes, "points": self._points, "overrides": self._overrides}[store]
        return await answered(f"{store}@{self.site}", getattr(handle, method).remote(*args), CALL_TIMEOUT)

    async def _bridge(self, protocol: str, method: str, *args: Any) -> Any:
        method_of = getattr(self._bridges[protocol], method)
        return await answered(f"{protocol}@{self.site}", method_of.remote(*args), DEVICE_TIMEOUT)


def _protocol(node: Node) -> str:
    if node.protocol_binding is None:
        return "virtual"
    return node.protocol_binding.protocol


def _default(node: Node) -> PointValue | None:
    value = node.properties.get("relinquish_default")
    return value if isinstance(value, bool | int | float | str) else None


def _config(node: Node) -> PointConfig:
    units, increment = node.properties.get("units"), node.properties.get("cov_increment")
    return PointConfig(
        id=node.id,
        units=units if isinstance(units, str) else None,
        cov_increment=float(increment) if isinstance(increment, int | float) and increment >= 0 else 0.0,
        interval=2 * REFRESH,
        record=node.capabilities.historizable,
    )


def _same(left: PointValue | None, right: PointValue) -> bool:
    """Tell whether a slot still holds what was written; devices keep analog values as 32-bit floats."""
    if left is None:
        return False
    if isinstance(left, str) or isinstance(right, str):
        return left == right
    return abs(float(left) - float(right)) <= 1e-5 * max(1.0, abs(float(right)))
