"""The engine that commands points: the only way to a device's output."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from actors.bus.client import follow
from actors.bus.events import MODEL_CHANGES, DeviceDiscovered, DeviceRecovered
from actors.core.clock import Clock, now_ms
from actors.core.errors import (
    ConflictError,
    NotFoundError,
    OpenCrateError,
    UnreachableError,
    WriteFailedError,
    WriteUnsureError,
)
from actors.core.health import Health, HealthState
from actors.core.remote import answered
from actors.core.values import PointStatus, PointValue
from actors.node.models import Node, NodeType
from actors.override.logic import array_of, default_of, protocol_of, same
from actors.override.models import Override, PriorityArray, WriteRequest, WriteResult
from actors.point.logic import point_config
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
FORGET: Final = 86_400_000
"""Milliseconds for which an override that is over waits for its node to come back into the model."""
OWN_ARRAY: Final = frozenset({"bacnet"})
"""Protocols whose devices hold the priority array themselves."""

HEARD: Final = frozenset({"device_discovered", "device_recovered"})
"""Events that say that a device is there which may have been switched off before."""

Slot = tuple[str, int]
"""A point's id and a priority."""


def _nobody(event: Any) -> None:
    """Publish to nobody."""


class CommandEngine:
    """Write to points and give slots back, whatever their protocol; end overrides on time.

    A command is noted in the override store before it goes to the device, and the note is taken back when the
    device refuses: if this actor dies in between, the slot is at worst given back once too often, but never
    left commanded without anybody knowing. When no answer comes, the device may have taken the command: the
    write fails, and the slot is brought back to what it was as soon as the device answers. Commands to one
    point wait for each other, those to different points don't. An override whose time is over is given back
    also after a restart, and again until the device has taken it; a slot that somebody else has changed at
    the device meanwhile is left alone.

    BACnet devices hold their priority array themselves. For all other points the notes are the array, and the
    device is sent what is in force; it is sent again when the device, its bridge or this actor was down.
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
        self._retry_at: dict[Slot, float] = {}
        self._under_way: set[Slot] = set()
        self._doubts: dict[Slot, PointValue | None] = {}
        """Slots of which it isn't known whether the device took this value instead of what is noted."""
        self._virtual: dict[str, PointConfig] = {}
        self._trouble: str | None = None
        self._failing: dict[Slot, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._rounds: set[asyncio.Task[None]] = set()

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
        tasks += self._rounds
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def health(self) -> Health:
        """Say what can't be given back to its device now."""
        failing = list(self._failing.items())[:10]
        reasons = [f"{point_id} can't be relinquished: {why}" for (point_id, _), why in failing]
        if self._trouble:
            reasons.append(self._trouble)
        state = HealthState.DEGRADED if reasons else HealthState.HEALTHY
        return Health(name="commands", state=state, reasons=reasons, pid=os.getpid())

    # Commands

    async def write(self, point_id: str, request: WriteRequest, by: str) -> WriteResult:
        """Command a point at a priority, read it back, note it.

        Raises NotFoundError, BadInputError (a value that the point can't have), ConflictError (a point that
        can't be written), WriteFailedError with the device's reason; then nothing is noted. Raises
        WriteUnsureError or UnreachableError when the device may have taken it; then it is given back as soon
        as the device answers.
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
            except BaseException as error:
                if self._is_refusal(error, node):
                    await self._take_back(noted, before.get(request.priority))
                else:
                    await self._doubt(noted, before.get(request.priority))
                raise
            self._is_settled((point_id, request.priority))
            await self._note_as_held(node, noted, value)
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

    async def _note_as_held(self, node: Node, noted: Override, value: PointValue | None) -> None:
        """Note what a slot holds if its device took the value otherwise: rounded, limited, a state by name.

        Else it would count as commanded elsewhere when its time is over, and stay for ever.
        """
        if protocol_of(node) not in OWN_ARRAY or same(value, noted.value):
            return
        try:
            array: PriorityArray = await self._bridge(protocol_of(node), "priority_array", node.id)
            held = array.slots[noted.priority - 1]
            if held is not None and not same(held, noted.value):
                log.info("%s holds %r for %r at %d", node.id, held, noted.value, noted.priority)
                await self._call("overrides", "restore", noted.model_copy(update={"value": held}))
        except ConflictError:
            pass  # an object without slots: it keeps what it was written until it is written again
        except OpenCrateError as error:
            # The command stands.
            log.warning("%s took %r; its slots can't be read: %s", node.id, noted.value, error)

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
        protocol = protocol_of(node)
        if protocol in OWN_ARRAY:
            array: PriorityArray = await self._bridge(protocol, "priority_array", point_id)
            return array
        array = array_of(point_id, await self._call("overrides", "of", point_id), default_of(node))
        return array.model_copy(update={"present_value": await self._present(point_id)})

    async def _give_back(self, node: Node, priority: int) -> PointValue | None:
        try:
            value = await self._send(node, priority, None)
        except (WriteFailedError, UnreachableError) as error:
            if self._is_refusal(error, node) and await self._has_no_array(node):
                value = await self._write_rest(node, priority)
            else:
                if not self._is_refusal(error, node) and protocol_of(node) not in OWN_ARRAY:
                    # It has what was meant or what is noted; it is sent what is noted again.
                    self._doubts[node.id, priority] = None
                raise
        await self._call("overrides", "remove", node.id, priority)
        self._is_settled((node.id, priority))
        if not await self._call("overrides", "of", node.id):
            await self._flag(node.id, False)
        return value

    async def _has_no_array(self, node: Node) -> bool:
        """Tell whether this is a BACnet object that isn't commandable, as setpoints of many devices are."""
        if protocol_of(node) not in OWN_ARRAY:
            return False
        try:
            await self._bridge(protocol_of(node), "priority_array", node.id)
        except ConflictError:
            return True
        return False

    async def _write_rest(self, node: Node, priority: int) -> PointValue | None:
        """Give a slot of an object without priority array back: write what is in force without it."""
        value = (await self._array(node, without=priority)).present_value
        if value is None:
            log.warning("%s has no priority array and no default: it keeps its value", node.id)
            return await self._present(node.id)
        back: PointValue | None = await self._bridge(protocol_of(node), "write", node.id, value, priority)
        return back

    async def _array(self, node: Node, without: int | None = None) -> PriorityArray:
        noted: list[Override] = await self._call("overrides", "of", node.id)
        return array_of(node.id, [each for each in noted if each.priority != without], default_of(node))

    async def _send(self, node: Node, priority: int, value: PointValue | None) -> PointValue | None:
        """Send a slot's value to the device, or what is in force then; give what was read back."""
        protocol = protocol_of(node)
        if protocol in OWN_ARRAY:
            sent: PointValue | None = await self._bridge(protocol, "write", node.id, value, priority)
            return sent
        return await self._send_effective(node, without=priority if value is None else None)

    async def _send_effective(self, node: Node, without: int | None = None) -> PointValue | None:
        """Send what is in force, by the notes but for one priority, to a device without priority array."""
        effective = (await self._array(node, without)).present_value
        if protocol_of(node) == "virtual":
            await self._set_virtual([(node, effective)])
            return effective
        if effective is None:
            # Nothing is in force and no default is known: the device keeps what it has.
            return await self._present(node.id)
        back: PointValue | None = await self._bridge(protocol_of(node), "write", node.id, effective)
        return back

    def _is_refusal(self, error: BaseException, node: Node) -> bool:
        """Tell whether a failed command has certainly not changed the device."""
        if isinstance(error, UnreachableError):
            # Of the bridge: it may have been on its way; of anything else: the command never left.
            return error.what != f"{protocol_of(node)}@{self.site}"
        return isinstance(error, OpenCrateError) and not isinstance(error, WriteUnsureError)

    async def _doubt(self, noted: Override, before: Override | None) -> None:
        """Have a slot that the device may have taken brought back to what it was."""
        try:
            if before is None:
                # Over at once. Being noted, it is given back also after a restart.
                await self._call(
                    "overrides",
                    "put",
                    noted.node_id,
                    noted.priority,
                    noted.value,
                    noted.by,
                    self._clock(),
                    noted.note,
                )
            else:
                await self._call("overrides", "restore", before)
                self._doubts[noted.node_id, noted.priority] = noted.value
        except OpenCrateError:
            log.exception("%s may be commanded at %d; it stays noted", noted.node_id, noted.priority)

    def _is_settled(self, slot: Slot) -> None:
        self._doubts.pop(slot, None)
        self._retry_at.pop(slot, None)
        self._failing.pop(slot, None)

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
        if protocol_of(node) != "virtual" and protocol_of(node) not in self._bridges:
            raise ConflictError("point", point_id, f"this site has no {protocol_of(node)} network")
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
        """Give back every slot whose time is over, and settle those in doubt.

        One that fails is tried again later; one whose device is slow holds up no other.
        """
        now = time.monotonic()
        due = {(each.node_id, each.priority): each for each in await self._call("overrides", "due")}
        slots = [
            slot
            for slot in due | self._doubts
            if slot not in self._under_way and self._retry_at.get(slot, 0.0) <= now
        ]
        await asyncio.gather(*(self._finish(slot, due.get(slot)) for slot in slots))

    async def _finish(self, slot: Slot, over: Override | None) -> None:
        self._under_way.add(slot)
        self._retry_at[slot] = time.monotonic() + RETRY
        try:
            await (self._settle(slot) if over is None else self._end(over))
        except OpenCrateError as error:
            if self._failing.get(slot) != str(error):
                log.error("%s at priority %d is over but not relinquished: %s", *slot, error)
            self._failing[slot] = str(error)
        else:
            self._is_settled(slot)
        finally:
            self._under_way.discard(slot)

    async def _end(self, override: Override) -> None:
        try:
            node: Node = await self._call("nodes", "get", override.node_id)
        except NotFoundError:
            if override.expires_at is None or self._clock() - override.expires_at < FORGET:
                raise
            await self._call("overrides", "remove", override.node_id, override.priority)
            log.error("%s is gone: what it was commanded is forgotten", override.node_id)
            return
        async with self._lock(node.id):
            now = {each.priority: each for each in await self._call("overrides", "of", node.id)}
            if now.get(override.priority) != override:
                return  # commanded anew meanwhile
            if await self._was_changed(node, override):
                log.info("%s at priority %d was changed elsewhere", node.id, override.priority)
                await self._call("overrides", "remove", node.id, override.priority)
                return
            await self._give_back(node, override.priority)
            log.info("%s at priority %d is over, relinquished", node.id, override.priority)

    async def _was_changed(self, node: Node, override: Override) -> bool:
        """Tell whether the device's own array holds something that was not commanded from here."""
        if protocol_of(node) not in OWN_ARRAY:
            return False
        try:
            array: PriorityArray = await self._bridge(protocol_of(node), "priority_array", node.id)
        except ConflictError:
            return False  # an object without one
        ours = (override.value, self._doubts.get((node.id, override.priority)))
        slot = array.slots[override.priority - 1]
        return not any(each is not None and same(slot, each) for each in ours)

    async def _settle(self, slot: Slot) -> None:
        """Bring a slot of which it isn't known what the device took to what is noted for it."""
        point_id, priority = slot
        node: Node = await self._call("nodes", "get", point_id)
        async with self._lock(point_id):
            if slot not in self._doubts:
                return  # commanded anew meanwhile
            if protocol_of(node) not in OWN_ARRAY:
                await self._send_effective(node)
                return
            noted = {each.priority: each.value for each in await self._call("overrides", "of", point_id)}
            doubted, wanted = self._doubts[slot], noted.get(priority)
            array: PriorityArray = await self._bridge(protocol_of(node), "priority_array", point_id)
            held = array.slots[priority - 1]
            if (
                doubted is not None
                and same(held, doubted)
                and not (wanted is not None and same(held, wanted))
            ):
                await self._send(node, priority, wanted)

    async def reassert(self, device_key: str | None = None) -> None:
        """Send what is in force to a device that was down and holds no priority array itself, or to all."""
        ids = {each.node_id for each in await self._call("overrides", "everything")}
        await asyncio.gather(*(self._reassert(point_id, device_key) for point_id in sorted(ids)))

    async def _reassert(self, point_id: str, device_key: str | None) -> None:
        try:
            node: Node = await self._call("nodes", "get", point_id)
            binding = node.protocol_binding.config if node.protocol_binding else {}
            if protocol_of(node) in OWN_ARRAY | {"virtual"}:
                return
            if device_key is not None and binding.get("device_id") != device_key:
                return
            async with self._lock(point_id):
                await self._send_effective(node)
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
            [(node, array_of(node.id, of.get(node.id, []), default_of(node)).present_value) for node in nodes]
        )
        snapshot = await self._call("points", "snapshot", sorted(of))
        missing = [row[0] for row in snapshot if not row[2] & PointStatus.OVERRIDDEN]
        if missing:
            await self._call("points", "set_flag", missing, int(PointStatus.OVERRIDDEN), True)

    async def _set_virtual(self, values: list[tuple[Node, PointValue | None]]) -> None:
        if not values:
            return
        frame = empty_frame()
        configs = {node.id: point_config(node, 2 * REFRESH) for node, _ in values}
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
            # Not awaited: a device that doesn't answer must not make the overrides of others late.
            task = asyncio.create_task(self._try(self.expire()))
            self._rounds.add(task)
            task.add_done_callback(self._rounds.discard)
            await asyncio.sleep(TICK)

    async def _refresh(self) -> None:
        while True:
            await self._try(self.refresh())
            await asyncio.sleep(REFRESH)

    async def _follow(self) -> None:
        types = [*HEARD, *MODEL_CHANGES]
        async for delivery in follow(self._bus, "commands", types, site=self.site):
            events = delivery.low_rate()
            if delivery.resync or {event.type for event in events} - HEARD:
                await self._try(self.refresh())
            if delivery.resync:
                await self._try(self.reassert())
            for event in events:
                if isinstance(event, DeviceDiscovered | DeviceRecovered):
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
