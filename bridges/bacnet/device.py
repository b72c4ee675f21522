"""One BACnet device: its points read, told, written to."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from bacpypes3.pdu import Address

from actors.core.errors import (
    BadInputError,
    BridgeError,
    ConflictError,
    NotFoundError,
    UnreachableError,
    WriteFailedError,
    WriteUnsureError,
)
from actors.core.values import PointStatus, PointValue
from actors.override.logic import active_priority
from actors.override.models import PriorityArray
from actors.point.models import empty_frame
from bridges.bacnet.contact import Effects
from bridges.bacnet.cov import Object, Watched
from bridges.bacnet.kinds import MULTI_STATE
from bridges.bacnet.network import DeviceError, Network
from bridges.bacnet.scale import AS_IT_IS, scaled, to_factor, unscaled
from bridges.bacnet.values import from_choice, is_in_alarm, reason, to_bacnet, to_point, to_status
from bridges.config import BacnetDevice, DeviceStatus

log = logging.getLogger(__name__)

GRID: Final = 0.9
"""Part of the interval after which a point is read again: the interval is the longest time between two."""
UNSCALED: Final = "its scale is not known"


class Device(Watched):
    """Keep one device's points fresh and say how it is."""

    def __init__(self, device: BacnetDevice, network: Network, effects: Effects) -> None:
        """Nothing happens before `assign` and `run`."""
        super().__init__(device, network, effects)
        self.refused: dict[str, str] = {}
        self.has_points = asyncio.Event()
        self._by_object: dict[str, str] = {}
        self._in_alarm: dict[str, bool] = {}
        self.on_alarm: Callable[[str, bool], None] = lambda obj, standing: None
        """Told of an object whose status flags say something else than before of its event."""
        self.poll_seconds: float | None = None
        """How long the last poll took."""

    def assign(self, points: dict[str, Object]) -> None:
        """Take these points, and only these; their last values stay."""
        same = {key: (each.name, each.interval) for key, each in points.items()} == {
            key: (each.name, each.interval) for key, each in self._points.items()
        }
        now = self._to.monotonic()
        for key, each in points.items():
            old = self._points.get(key)
            if old is not None and old.name == each.name:
                each.due, each.process = min(old.due, now + GRID * each.interval), old.process
                each.renew, each.subscribed, each.since = old.renew, old.subscribed, old.since
                each.heard, each.untold, each.increment = old.heard, old.untold, old.increment
                each.alone, each.factor = old.alone, old.factor
            else:
                each.process = self._to.process(self, key)
        self._points = points
        self._by_object = {each.name: key for key, each in points.items()}
        self._rows = {key: row for key, row in self._rows.items() if key in points}
        self._in_alarm = {key: standing for key, standing in self._in_alarm.items() if key in points}
        if points:
            self.has_points.set()
        if not same and self.liveness.state == "down":
            self._flag_down()
        if not same:
            self._wake.set()

    async def run(self) -> None:
        """Keep reading until cancelled."""
        while True:
            try:
                await self.step()
                await self._sleep()
            except DeviceError as error:
                # It lives, if not as it should.
                self._failed("poll failed", error.reason, error.reason)
                await asyncio.sleep(2.0)
            except BridgeError as error:
                self._missed(error)
                await self._sleep()
            except Exception:
                self._to.faults.tell(self.device.id, "poll failed", "unexpected error", exc_info=True)
                await asyncio.sleep(2.0)

    async def step(self) -> None:
        """Find and identify the device, read what is due, keep subscriptions. Raises BridgeError."""
        if self._sightings:
            await self._consider()
        if self.address is None:
            await self._locate()
        if not self._known:
            await self._identify()
        elif self.liveness.misses:
            await self._check()
        now = self._to.monotonic()
        due = [key for key, each in self._points.items() if each.due <= now]
        began = time.perf_counter()
        await self._poll(due, now)
        if due:
            self.poll_seconds = time.perf_counter() - began
        if self.able.cov and self.device.cov:
            await self._subscribe(now)

    def status(self) -> DeviceStatus:
        """Say how the device is."""
        told: dict[str, object] = {
            "state": self.liveness.state,
            "misses": self.liveness.misses,
            "points": len(self._points),
            "cov_points": sum(each.subscribed for each in self._points.values()),
            "address": self.address or self.device.address,
            "trouble": self.trouble,
            "error_kinds": dict(self._errors),
            "poll_ms": None if self.poll_seconds is None else round(1000 * self.poll_seconds, 3),
        }
        return self._status.model_copy(update=told | self._times.told())

    def names(self) -> dict[str, str]:
        """Give the objects of its points, such as `analog-input,1`, by point."""
        return {key: each.name for key, each in self._points.items()}

    def point_of(self, obj: str) -> str | None:
        """Give the point that is bound to an object, such as `analog-input,1`."""
        return self._by_object.get(obj)

    def flags(self) -> dict[str, bool]:
        """Say of each object whose status flags are known whether they say that an event stands."""
        known = self._in_alarm.items()
        return {self._points[key].name: standing for key, standing in known if key in self._points}

    def value_of(self, point_id: str) -> PointValue | None:
        """Give the last value of a point; none of what isn't one."""
        row = self._rows.get(point_id)
        return None if row is None else row[0]

    # Reading

    async def _poll(self, due: list[str], now: float) -> None:
        while due:
            part, due = due[: self.able.group], due[self.able.group :]
            for point in [self._points[key] for key in part if key in self._points]:
                await self._know_factor(point)
            before = {key: self._rows.get(key) for key in part}
            fresh = await self._read(part)
            self._send(fresh)
            for key in fresh:
                await self._judge(key, before[key])
            for key in part:
                each = self._points.get(key)
                if each is None:
                    continue
                step = GRID * each.interval
                # On a steady grid; after a pause it begins anew.
                each.due = each.due + step if now - each.due < step else now + step

    async def _read(self, keys: list[str]) -> list[str]:
        """Read some points in one request, or in parts where the device can't do that."""
        keys = [key for key in keys if key in self._points]
        if not keys:
            return []
        if not self.able.multiple:
            return [await self._read_one(key) for key in keys]
        alone = [key for key in keys if self._points[key].alone]
        if alone:
            together = await self._read([key for key in keys if not self._points[key].alone])
            return together + [await self._read_one(key) for key in alone]
        wanted = [(self._points[key].name, ("present-value", "status-flags")) for key in keys]
        address = self.located()
        try:
            async with self._asking():
                found = await self.network.read_many(self.device.id, address, wanted)
        except DeviceError as error:
            self._heard()
            if error.kind == "reject" and "unrecognized-service" in error.reason:
                log.info("%s can't read multiple properties", self.device.id)
                self.able.multiple = False
            elif len(keys) == 1:
                # The others are read together again; this one no longer spoils their requests.
                if each := self._points.get(keys[0]):
                    each.alone = True
                return [await self._read_one(keys[0])]
            elif error.kind == "abort":
                self.able.group = max(1, len(keys) // 2)
                log.info("%s takes %d objects at once: %s", self.device.id, self.able.group, error.reason)
            half = max(1, len(keys) // 2)
            return await self._read(keys[:half]) + await self._read(keys[half:])
        self._heard()
        self._status.reads += 1
        at = self._to.clock()
        for key in keys:
            each = self._points.get(key)
            if each is None:
                continue
            raw = found.get((each.name, "present-value"))
            self._take(key, each, raw, found.get((each.name, "status-flags")), at)
        return keys

    async def _read_one(self, key: str) -> str:
        each = self._points.get(key)
        if each is None:
            return key
        raw, flags, why = None, None, None
        try:
            raw = await self.ask(each.name, "present-value")
            flags = await self._flags(each)
        except DeviceError as error:
            why = error.reason
            self._failed("read refused", f"{each.name}: {why}", why)
        self._take(key, each, raw, flags, self._to.clock(), why)
        return key

    async def _know_factor(self, each: Object) -> None:
        """Ask for what an object's counts are multiplied with, unless that is known."""
        if each.factor is not None:
            return
        try:
            each.factor = to_factor(await self.ask(each.name, "scale"))
        except DeviceError as error:
            if "unknown-property" in error.reason:
                each.factor = AS_IT_IS
            else:
                self._failed("read refused", f"scale of {each.name}: {error.reason}", error.reason)
        except ValueError as error:
            self._failed("read refused", f"{each.name}: {error}", str(error))

    async def _flags(self, each: Object) -> Any:
        """Read an object's status flags; none if it has none."""
        try:
            return await self.ask(each.name, "status-flags")
        except DeviceError:
            return None

    def _take(self, key: str, each: Object, raw: Any, flags: Any, at: int, why: str | None = None) -> None:
        value, fault = to_point(each.type, raw)
        if value is not None and each.factor is None:
            fault, why = int(PointStatus.FAULT), UNSCALED
        elif value is not None and each.factor is not None:
            value = scaled(value, each.factor)
        if fault:
            # The last value and its time stay; the flag says that it is no longer one.
            last, since, _ = self._rows.get(key, (None, at, 0))
            self._rows[key] = (last, since, fault)
            self.refused[key] = why or reason(raw)
            if why is None:
                # One of several in an answer; the others may be well.
                self._failed("read refused", f"{each.name}: {self.refused[key]}", self.refused[key])
            return
        self.refused.pop(key, None)
        self._rows[key] = (value, at, to_status(flags))
        standing = is_in_alarm(flags)
        if standing is not None and self._in_alarm.get(key) is not standing:
            self._in_alarm[key] = standing
            self.on_alarm(each.name, standing)

    def notified(self, sender: Address, obj: str, raw: Any, flags: Any) -> None:
        """Take a notification of a change, if it is from this device.

        Another one may still hold a subscription under the same number, from before a restart of ours.
        """
        key = self._by_object.get(obj)
        if key is None or self.address is None or Address(self.address) != sender:
            return
        each = self._points[key]
        each.heard, each.untold = True, 0
        if not each.subscribed and self.able.cov and self.device.cov:
            # It was taken for silent, and isn't.
            each.subscribed, each.renew = True, self._to.monotonic()
        self._take(key, each, raw, flags, self._to.clock())
        self._heard()
        self._send([key])

    def in_units(self, point_id: str, value: PointValue) -> PointValue | None:
        """Give a value that the device kept of a point as the point has it; None while that isn't known."""
        each = self._points.get(point_id)
        if each is None:
            return value
        return None if each.factor is None else scaled(value, each.factor)

    # Commands

    def _object(self, point_id: str) -> Object:
        found = self._points.get(point_id)
        if found is None:
            raise NotFoundError("point", point_id)
        return found

    async def read(self, point_id: str) -> PointValue | None:
        """Read one point now and tell the point store. Raises NotFoundError and BridgeError."""
        each = self._object(point_id)
        await self._know_factor(each)
        raw = await self.ask(each.name, "present-value")
        self._take(point_id, each, raw, await self._flags(each), self._to.clock())
        self._send([point_id])
        return self._rows[point_id][0]

    async def write(self, point_id: str, value: PointValue | None, priority: int) -> PointValue | None:
        """Write at a priority, or relinquish with None; read back, tell the point store.

        Raises NotFoundError, BadInputError and UnreachableError (nothing was sent), WriteFailedError with the
        device's reason, and WriteUnsureError when no answer came or it can't be read back: then it isn't
        known whether the device took it; again is harmless.
        """
        each = self._object(point_id)
        if not 1 <= priority <= 16:
            raise BadInputError("priority", priority, "1 to 16")
        states = each.states if each.type in MULTI_STATE else None
        if value is not None:
            if each.factor is None:
                raise UnreachableError(self.device.id, UNSCALED)
            value = unscaled(value, each.factor)
        raw = to_bacnet(each.type, value, states)
        if self.address is None:
            raise UnreachableError(self.device.id, self.liveness.reason or "it was not found yet")
        sent = False
        try:
            async with self._turn:
                await self.network.write(self.device.id, self.address, each.name, raw, priority)
            sent = True
            self._heard()
            return await self.read(point_id)
        except BridgeError as error:
            refused = isinstance(error, DeviceError)
            if refused:
                self._heard()
            counted = error.reason if refused else "no answer"
            self._failed("write failed", f"{each.name}: {error.reason}", counted)
            kind = WriteFailedError if refused and not sent else WriteUnsureError
            raise kind(point_id, error.reason) from error

    async def priority_array(self, point_id: str) -> PriorityArray:
        """Read the 16 slots. Raises NotFoundError, ConflictError for an object without them, BridgeError."""
        each = self._object(point_id)
        try:
            slots = [from_choice(item) for item in await self.ask(each.name, "priority-array")]
        except DeviceError as error:
            if "unknown-property" not in error.reason:
                raise
            raise ConflictError("point", point_id, f"it has no priority array: {error.reason}") from error
        default: PointValue | None = None
        try:
            default = to_point(each.type, await self.ask(each.name, "relinquish-default"))[0]
        except DeviceError as error:
            log.info("%s has no relinquish default: %s", point_id, error.reason)
        slots = [to_point(each.type, slot)[0] if slot is not None else None for slot in slots]
        return PriorityArray(
            id=point_id,
            slots=(slots + [None] * 16)[:16],
            relinquish_default=default,
            active_priority=active_priority(slots),
            present_value=await self.read(point_id),
        )

    # How it is

    async def _sleep(self) -> None:
        self._wake.clear()
        now = self._to.monotonic()
        if self.liveness.misses:
            due = self.liveness.retry_at
        else:
            each = self._points.values()
            fresh = self.able.cov and self.device.cov
            due = min((min(one.due, one.renew) if fresh else one.due for one in each), default=now + 5.0)
            if fresh and any(not one.subscribed and one.renew == math.inf for one in each):
                due = now
        # Not wait_for: of a cancellation and a wake-up at once, it forgets the cancellation (Python 3.11).
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.02, due - now)):
                await self._wake.wait()

    def _start_over(self) -> None:
        """It may have been switched off: its subscriptions are gone, its values old."""
        for each in self._points.values():
            each.due, each.renew, each.subscribed = 0.0, math.inf, False
            each.heard, each.untold, each.alone = False, 0, False
        self.able.cov = self.able.multiple = True
        self.refused.clear()
        self._wake.set()

    def _flag_down(self) -> None:
        for key in self._points:
            value, at, status = self._rows.get(key, (None, self._to.clock(), 0))
            self._rows[key] = (value, at, status | PointStatus.DOWN)
        self._send(self._points)

    def _send(self, keys: Iterable[str]) -> None:
        frame = empty_frame()
        for key in keys:
            if row := self._rows.get(key):
                frame.add(key, *row)
        self._to.outbox.put(frame)
