"""One BACnet device: found, asked, watched, written to."""

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from bacpypes3.pdu import Address

from actors.bus.events import DeviceDiscovered, DeviceDown, DeviceRecovered, Event, ObjectListChanged
from actors.core.clock import Clock
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
from bridges.backoff import DEFAULT_BACKOFF, Backoff, Change, Liveness
from bridges.bacnet.kinds import ANALOG, MULTI_STATE
from bridges.bacnet.network import SMALLEST_APDU, Announced, DeviceError, Network, SilentError
from bridges.bacnet.values import from_choice, reason, to_bacnet, to_point, to_status
from bridges.config import BacnetDevice, DeviceStatus
from bridges.outbox import FaultLog, Outbox, Row

log = logging.getLogger(__name__)

GRID: Final = 0.9
"""Part of the interval after which a point is read again: the interval is the longest time between two."""
COV_LIFETIME: Final = 300
"""Seconds that a subscription is asked for."""
COV_RENEW: Final = 0.5
"""Part of the lifetime after which it is renewed."""
COV_BATCH: Final = 20
"""Subscriptions made in one step, so that reading goes on."""
PER_OBJECT: Final = 30
"""Bytes of an answer that an object's present value and status flags take at most, numbers."""
LARGEST_APDU: Final = 1476
SMALL_APDU: Final = 480
"""What a device is taken to accept that doesn't tell: the length on MS/TP."""
LARGEST_GROUP: Final = 40
RESUBSCRIBE_AFTER: Final = 30.0
"""Seconds after which a subscription is renewed when its device says that it is there, as after a start."""
FIRST_NOTIFICATION: Final = 10.0
"""Seconds in which the first notification of a subscription has to come."""
SILENT_SUBSCRIPTION: Final = 2
"""Polls in a row that find a value of which the device should have told."""
MOST_ELEMENTS: Final = 100_000
"""Objects that a device may have; a longer list is none."""
MOST_RIVALS: Final = 8
MISSES_UNTIL_SEARCH: Final = 2
"""Checks without an answer after which the device is looked for elsewhere."""
CHECK_BEFORE_DOWN: Final = 6.0
"""Longest wait between checks of a device that is silent but not yet down."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What a device acts on besides its network."""

    outbox: Outbox
    publish: Callable[[Event], None]
    clock: Clock
    faults: FaultLog
    backoff: Backoff = DEFAULT_BACKOFF
    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    process: Callable[["Device", str], int] = lambda device, point_id: 1


@dataclass(slots=True)
class Object:
    """A point as the device has it."""

    name: str
    """`analog-input,1`."""
    interval: float
    states: int | None = None
    due: float = 0.0
    process: int = 0
    renew: float = math.inf
    subscribed: bool = False
    since: float = -math.inf
    """When the subscription was made or renewed last."""
    heard: bool = False
    """Whether a notification has come of it."""
    untold: int = 0
    """Polls in a row that found a change of which no notification came."""
    increment: float | None = None
    """Its COV increment; none: not asked for yet."""
    alone: bool = False
    """Whether it is read by itself, because requests with it among others fail."""

    @property
    def type(self) -> str:
        """The object type, such as `analog-input`."""
        return self.name.partition(",")[0]


@dataclass(slots=True)
class Abilities:
    """What a device can take, as far as it is known."""

    group: int = 0
    """Objects in one request; 0: not known yet."""
    multiple: bool = True
    cov: bool = True
    objects: int | None = None
    """Length of its object list."""


class Device:
    """Keep one device's points fresh and say how it is."""

    def __init__(self, device: BacnetDevice, network: Network, effects: Effects) -> None:
        """Nothing happens before `assign` and `run`."""
        self.device, self.network, self._to = device, network, effects
        self.liveness = Liveness(effects.backoff)
        self.address: str | None = None
        self.able = Abilities()
        self.refused: dict[str, str] = {}
        self.has_points = asyncio.Event()
        self.came = asyncio.Event()
        """It answers after it was silent, or for the first time."""
        self._points: dict[str, Object] = {}
        self._by_object: dict[str, str] = {}
        self._rows: dict[str, Row] = {}
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._known = False
        self._sightings: dict[str, Announced] = {}
        self._last_address: str | None = None
        self.rivals: list[str] = []
        """Addresses of other devices that say they have this one's instance."""
        self.poll_seconds: float | None = None
        """How long the last poll took."""
        self._status = DeviceStatus(
            device_key=device.id, protocol="bacnet", network_id=device.network, address=device.address
        )

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
                each.alone = old.alone
            else:
                each.process = self._to.process(self, key)
        self._points = points
        self._by_object = {each.name: key for key, each in points.items()}
        self._rows = {key: row for key, row in self._rows.items() if key in points}
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
                self._failed("poll failed", error.reason)
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
        return self._status.model_copy(
            update={
                "state": self.liveness.state,
                "misses": self.liveness.misses,
                "points": len(self._points),
                "cov_points": sum(each.subscribed for each in self._points.values()),
                "address": self.address or self.device.address,
                "trouble": self.trouble,
            }
        )

    @property
    def trouble(self) -> str | None:
        """What is wrong although it answers."""
        if not self.rivals:
            return None
        at = ", ".join(sorted({*self.rivals, *([self.address] if self.address else [])}))
        return f"several devices say that they are {self.device.device_instance}: at {at}"

    def subscribed(self, point_id: str) -> bool:
        """Tell whether a point reports its changes by itself."""
        found = self._points.get(point_id)
        return found is not None and found.subscribed

    # First contact

    def announced(self, found: Announced) -> None:
        """Take that a device says it has this instance: this one, started or moved, or another one."""
        if found.address == self.address:
            self._renew_soon()
        elif self.address is not None and len(self._sightings) < MOST_RIVALS:
            self._sightings[found.address] = found
        self._wake.set()

    async def _consider(self) -> None:
        """Find out whether the device has moved, or another one has its instance too."""
        sightings, self._sightings = self._sightings, {}
        for address, found in sightings.items():
            if address in (self.address, *self.rivals):
                continue
            if self.address is not None and not self.liveness.misses:
                try:
                    await self._check()
                except SilentError as error:
                    log.info("%s isn't at %s any more: %s", self.device.id, self.address, error.reason)
                else:
                    self.rivals.append(address)
                    self._to.faults.tell(self.device.id, "instance taken twice", self.trouble or "")
                    continue
            self._move(found)

    def _move(self, found: Announced) -> None:
        before = self._last_address
        if before is not None and before != found.address:
            self._to.faults.tell(self.device.id, "moved", f"from {before} to {found.address}")
            self._start_over()
        self.network.remember(found, before)
        self.address = self._last_address = found.address
        self.able.group = _group(found.max_apdu)
        self.rivals = [each for each in self.rivals if each != found.address]
        self._known = False

    async def check_rivals(self) -> None:
        """Forget other devices of this instance that are gone. Raises nothing that a device does."""
        for address in list(self.rivals):
            name = f"device,{self.device.device_instance}"
            try:
                await self.network.read(self.device.id, address, name, "system-status")
            except SilentError:
                self.rivals.remove(address)
            except DeviceError as error:
                if "unknown-object" in error.reason:
                    self.rivals.remove(address)

    async def _locate(self) -> None:
        """Find the device's address. Raises SilentError, also when several say that they are it."""
        if self.device.address is not None and self.liveness.misses < MISSES_UNTIL_SEARCH:
            self.address = self._last_address = self.device.address
            return
        if not self.network.is_open:
            raise SilentError(self.device.id, f"network {self.network.config.id}: {self.network.trouble}")
        found = await self.network.find(self.device.device_instance)
        ours = [each for each in found if each.address in (self._last_address, self.device.address)]
        if len(found) > 1:
            self.rivals = [each.address for each in found if each not in ours]
            self._to.faults.tell(self.device.id, "instance taken twice", self.trouble or "")
        if len(found) == 1 or ours:
            self._move(ours[0] if ours else found[0])
        elif found:
            raise SilentError(self.device.id, f"{self.trouble}; give the right one's address in campus.yaml")
        elif self.device.address is not None:
            self.address = self.device.address
        else:
            raise SilentError(self.device.id, f"no answer to Who-Is {self.device.device_instance}")

    async def _identify(self) -> None:
        if self.able.group:
            await self._check()
        else:
            try:
                self.able.group = _group(int(await self.ask("device", "max-apdu-length-accepted")))
            except DeviceError as error:
                self._is_another(error)
                log.info("%s doesn't tell its largest APDU: %s", self.device.id, error.reason)
                self.able.group = _group(SMALL_APDU)
        for name, prop in (("vendor", "vendor-name"), ("model", "model-name")):
            try:
                setattr(self._status, name, str(await self.ask("device", prop))[:100])
            except DeviceError as error:
                log.info("%s doesn't tell its %s: %s", self.device.id, name, error.reason)
        self._known = True

    async def _check(self) -> None:
        """Ask one small question; an error is an answer too. Raises SilentError, for another device too."""
        try:
            await self.ask("device", "system-status")
        except DeviceError as error:
            self._is_another(error)

    def _is_another(self, error: DeviceError) -> None:
        """Raise SilentError when the device that answered doesn't have this one's instance."""
        if error.reason == "unknown-object":
            reason = f"the device at {self.address} is not {self.device.device_instance}"
            raise SilentError(self.device.id, reason) from error

    async def ask(self, obj: str, prop: str, index: int | None = None) -> Any:
        """Read one property; any answer is a sign of life. Raises DeviceError and SilentError."""
        name = f"device,{self.device.device_instance}" if obj == "device" else obj
        address = self.located()
        async with self._turn:
            try:
                value = await self.network.read(self.device.id, address, name, prop, index)
            except DeviceError as error:
                if not (obj == "device" and error.reason == "unknown-object"):
                    self._heard()
                raise
        self._heard()
        self._status.reads += 1
        return value

    async def request(self, request: Any, expected: type = object) -> Any:
        """Send a confirmed request to the device; give its answer. Raises DeviceError and SilentError."""
        request.pduDestination = Address(self.located())
        async with self._turn:
            try:
                answer = await self.network.ask(self.device.id, request, expected)
            except DeviceError:
                self._heard()
                raise
        self._heard()
        self._status.reads += 1
        return answer

    async def put(self, obj: str, prop: str, value: Any) -> None:
        """Write a property that isn't commanded. Raises DeviceError and SilentError."""
        address = self.located()
        async with self._turn:
            try:
                await self.network.write(self.device.id, address, obj, value, None, prop)
            except DeviceError:
                self._heard()
                raise
        self._heard()

    @property
    def max_apdu(self) -> int:
        """Octets that it accepts, as far as is known."""
        return max(SMALLEST_APDU, PER_OBJECT * self.able.group)

    def names(self) -> dict[str, str]:
        """Give the objects of its points, such as `analog-input,1`, by point."""
        return {key: each.name for key, each in self._points.items()}

    def located(self) -> str:
        """Give its address. Raises SilentError while it isn't known."""
        if self.address is None:
            raise SilentError(self.device.id, self.liveness.reason or "it was not found yet")
        return self.address

    async def objects(self) -> list[str]:
        """Give the device's object list, element by element where it doesn't fit one answer."""
        try:
            return [str(each) for each in await self.ask("device", "object-list")]
        except DeviceError as error:
            log.info("%s gives its object list one by one: %s", self.device.id, error.reason)
        count = int(await self.ask("device", "object-list", 0))
        if count > MOST_ELEMENTS:
            raise DeviceError(self.device.id, f"an object list of {count} elements", "decode")
        return [str(await self.ask("device", "object-list", index)) for index in range(1, count + 1)]

    async def describe(self, obj: str, props: Iterable[str]) -> dict[str, Any]:
        """Read some properties of an object; those that it doesn't have are left out."""
        found: dict[str, Any] = {}
        for prop in props:
            try:
                found[prop] = await self.ask(obj, prop)
            except DeviceError:
                continue
        return found

    async def check_list(self) -> bool:
        """Tell whether the device has other objects than before, also the bus. Raises BridgeError."""
        count = int(await self.ask("device", "object-list", 0))
        before, self.able.objects = self.able.objects, count
        if before is not None and before != count:
            log.warning("%s has %d objects, before %d", self.device.id, count, before)
            self._to.publish(ObjectListChanged(device_key=self.device.id, old_count=before, new_count=count))
            return True
        return False

    # Reading

    async def _poll(self, due: list[str], now: float) -> None:
        while due:
            part, due = due[: self.able.group], due[self.able.group :]
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
            async with self._turn:
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
            self._failed("read refused", f"{each.name}: {why}")
        self._take(key, each, raw, flags, self._to.clock(), why)
        return key

    async def _flags(self, each: Object) -> Any:
        """Read an object's status flags; none if it has none."""
        try:
            return await self.ask(each.name, "status-flags")
        except DeviceError:
            return None

    def _take(self, key: str, each: Object, raw: Any, flags: Any, at: int, why: str | None = None) -> None:
        value, fault = to_point(each.type, raw)
        if fault:
            # The last value and its time stay; the flag says that it is no longer one.
            last, since, _ = self._rows.get(key, (None, at, 0))
            self._rows[key] = (last, since, fault)
            self.refused[key] = why or reason(raw)
            return
        self.refused.pop(key, None)
        self._rows[key] = (value, at, to_status(flags))

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

    async def _judge(self, key: str, before: Row | None) -> None:
        """Fall back to polling where a subscription is silent: no first notification, or changes untold.

        A device tells the value at once when it is subscribed to (ASHRAE 135-2020, 13.14.1).
        """
        each, row = self._points.get(key), self._rows.get(key)
        if each is None or row is None or not each.subscribed:
            return
        if not each.heard:
            if self._to.monotonic() - each.since < FIRST_NOTIFICATION:
                return
            reason = "no notification came"
        else:
            if before is None or not await self._should_have_told(each, before, row):
                each.untold = 0
                return
            each.untold += 1
            if each.untold < SILENT_SUBSCRIPTION:
                return
            reason = f"{each.untold} changes were not told"
        each.subscribed, each.untold = False, 0
        each.renew = self._to.monotonic() + 10 * COV_LIFETIME
        self._failed("silent subscription", f"{each.name}: {reason}; it is polled")

    async def _should_have_told(self, each: Object, before: Row, row: Row) -> bool:
        """Tell whether a reading differs from the last one by as much as the device tells of."""
        (old, _, status), (new, _, now) = before, row
        if status & PointStatus.FAULT or now & PointStatus.FAULT or old is None or new is None:
            return False
        if each.type not in ANALOG:
            return old != new
        if old == new or isinstance(old, str) or isinstance(new, str):
            return False
        if each.increment is None:
            try:
                each.increment = float(await self.ask(each.name, "cov-increment"))
            except (DeviceError, TypeError, ValueError):
                each.increment = math.inf
        return abs(new - old) > each.increment

    def _renew_soon(self) -> None:
        """Renew the subscriptions that aren't fresh: a device that was started has forgotten them."""
        now = self._to.monotonic()
        for each in self._points.values():
            if each.subscribed and now - each.since > RESUBSCRIBE_AFTER:
                each.renew = now

    async def _subscribe(self, now: float) -> None:
        """Subscribe to and renew some objects; a device that offers no COV is polled alone."""
        waiting = [
            each
            for each in self._points.values()
            if (not each.subscribed and each.renew == math.inf) or each.renew <= now
        ]
        for each in waiting[:COV_BATCH]:
            address = self.located()
            if not each.subscribed:
                each.heard = False  # the first notification may come before the answer
            try:
                async with self._turn:
                    await self.network.subscribe(
                        self.device.id, address, each.name, each.process, COV_LIFETIME
                    )
            except DeviceError as error:
                self._heard()
                if error.kind == "reject" and "unrecognized-service" in error.reason:
                    self.able.cov = False
                    for one in self._points.values():
                        one.subscribed, one.renew = False, math.inf
                    return
                # This object can't, or there is no room for more: asked again later.
                each.subscribed, each.renew = False, now + 10 * COV_LIFETIME
                continue
            self._heard()
            each.subscribed, each.renew, each.since = True, now + COV_RENEW * COV_LIFETIME, now
        if len(waiting) > COV_BATCH:
            self._wake.set()

    # Commands

    def _object(self, point_id: str) -> Object:
        found = self._points.get(point_id)
        if found is None:
            raise NotFoundError("point", point_id)
        return found

    async def read(self, point_id: str) -> PointValue | None:
        """Read one point now and tell the point store. Raises NotFoundError and BridgeError."""
        each = self._object(point_id)
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
            if isinstance(error, DeviceError):
                self._heard()
            self._failed("write failed", f"{each.name}: {error.reason}")
            refused = isinstance(error, DeviceError) and not sent
            kind = WriteFailedError if refused else WriteUnsureError
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

    def _heard(self) -> None:
        self._status.last_seen = self._to.clock()
        if self.liveness.misses or not self.liveness.seen:
            self.came.set()
        for change in self.liveness.answered():
            key = self.device.id
            if change is Change.DISCOVERED:
                self._to.publish(
                    DeviceDiscovered(device_key=key, protocol="bacnet", network_id=self.device.network)
                )
            elif change is Change.RECOVERED:
                log.info("%s answers again", key)
                self._to.publish(DeviceRecovered(device_key=key, protocol="bacnet"))
                self._start_over()

    def _start_over(self) -> None:
        """It may have been switched off: its subscriptions are gone, its values old."""
        for each in self._points.values():
            each.due, each.renew, each.subscribed = 0.0, math.inf, False
            each.heard, each.untold, each.alone = False, 0, False
        self.able.cov = self.able.multiple = True
        self.refused.clear()
        self._wake.set()

    def _missed(self, error: BridgeError) -> None:
        now = self._to.monotonic()
        self._failed("no answer", error.reason)
        changes = self.liveness.missed(now, error.reason, self._to.chance())
        if self.liveness.state != "down":
            self.liveness.retry_at = min(self.liveness.retry_at, now + CHECK_BEFORE_DOWN)
        if self.liveness.misses >= MISSES_UNTIL_SEARCH:
            self.address = None  # it may have moved
        if Change.DOWN in changes:
            log.error("%s is down: %s", self.device.id, error.reason)
            self._to.publish(DeviceDown(device_key=self.device.id, protocol="bacnet", error=error.reason))
            self._flag_down()

    def _failed(self, kind: str, reason: str) -> None:
        self._status.errors += 1
        self._status.last_error = reason
        self._to.faults.tell(self.device.id, kind, reason)

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


def _group(apdu: int) -> int:
    return max(1, min(LARGEST_GROUP, (min(apdu, LARGEST_APDU) - 10) // PER_OBJECT))
