"""One BACnet device as somebody to talk to: found, followed when it moves, asked."""

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from bacpypes3.pdu import Address

from actors.bus.events import DeviceDiscovered, DeviceDown, DeviceRecovered, Event, ObjectListChanged
from actors.core.clock import Clock
from actors.core.errors import BridgeError
from bridges.backoff import DEFAULT_BACKOFF, Backoff, Change, Liveness
from bridges.bacnet.events import from_stamp
from bridges.bacnet.network import SMALLEST_APDU, UNREADABLE, Announced, DeviceError, Network, SilentError
from bridges.bacnet.values import is_no_such
from bridges.config import BacnetDevice, DeviceStatus
from bridges.outbox import FaultLog, Outbox
from bridges.timing import AnswerTimes

log = logging.getLogger(__name__)

PER_OBJECT: Final = 30
"""Bytes of an answer that an object's present value and status flags take at most, numbers."""
LARGEST_APDU: Final = 1476
SMALL_APDU: Final = 480
"""What a device is taken to accept that doesn't tell: the length on MS/TP."""
LARGEST_GROUP: Final = 40
MOST_ELEMENTS: Final = 100_000
"""Objects that a device may have; a longer list is none."""
RESTART_MARKS: Final = ("time-of-device-restart", "last-restart-reason")
"""Properties of a device that differ after it has started again."""
MOST_RIVALS: Final = 8
MOST_KINDS: Final = 30
"""Kinds of errors that are counted one by one; devices may make up numbers of errors."""
MISSES_UNTIL_SEARCH: Final = 2
"""Checks without an answer after which the device is looked for elsewhere."""
CHECK_BEFORE_DOWN: Final = 6.0
"""Longest wait between checks of a device that is silent but not yet down."""

TOLD: Final = (("vendor", "vendor-name"), ("model", "model-name"), ("firmware", "firmware-revision"))
"""What a device says of itself, and the property that has it."""


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
    process: Callable[[Any, str], int] = lambda device, point_id: 1


@dataclass(slots=True)
class Abilities:
    """What a device can take, as far as it is known."""

    group: int = 0
    """Objects in one request; 0: not known yet."""
    multiple: bool = True
    cov: bool = True
    events: Literal["unknown", "information", "summary", "none"] = "unknown"
    """Which service it offers to say how its events stand."""
    objects: int | None = None
    """Length of its object list."""


class Contact:
    """Keep in touch with one device: where it is, whether it answers, what it can take."""

    def __init__(self, device: BacnetDevice, network: Network, effects: Effects) -> None:
        """Nothing happens before it is asked something."""
        self.device, self.network, self._to = device, network, effects
        self.liveness = Liveness(effects.backoff)
        self.address: str | None = None
        self.able = Abilities()
        self.came = asyncio.Event()
        """It answers after it was silent, or for the first time."""
        self.on_come: list[Callable[[], None]] = []
        """Who else is told of that."""
        self.planning = asyncio.Lock()
        """Held while a schedule of it is written, which takes several requests."""
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._times = AnswerTimes()
        self._errors = Counter[str]()
        self._known = False
        self._sightings: dict[str, Announced] = {}
        self._last_address: str | None = None
        self.rivals: list[str] = []
        """Addresses of other devices that say they have this one's instance."""
        self.unlisted: str | None = None
        """Why it has no points although it answers."""
        self._marks: dict[str, str] = {}
        """What tells whether it has started again, or has other objects, as it was last read."""
        self._lacks: set[str] = set()
        self._status = DeviceStatus(
            device_key=device.id, protocol="bacnet", network_id=device.network, address=device.address
        )

    @property
    def trouble(self) -> str | None:
        """What is wrong although it answers."""
        if not self.rivals:
            return self.unlisted
        at = ", ".join(sorted({*self.rivals, *([self.address] if self.address else [])}))
        return f"several devices say that they are {self.device.device_instance}: at {at}"

    # Where it is

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
        for name, prop in TOLD:
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

    async def check_restart(self) -> bool:
        """Find out whether it has started again since this was last asked; tell whether its objects differ.

        It shows by the time or the reason of its last start, by subscriptions that it has forgotten, and by
        its database revision (ASHRAE 135-2020, 12.11). What it hasn't is asked for once. Raises SilentError.
        """
        before, marks = self._marks, dict(self._marks)
        for prop in (*RESTART_MARKS, "database-revision"):
            if prop in self._lacks:
                continue
            try:
                value = await self.ask("device", prop)
                marks[prop] = from_stamp(value) if prop == RESTART_MARKS[0] else str(value)
            except DeviceError as error:
                if "unknown-property" in error.reason:
                    self._lacks.add(prop)
            except UNREADABLE as error:
                log.info("%s of %s makes no sense: %s", prop, self.device.id, error)
                self._lacks.add(prop)
        changed = {prop for prop, value in before.items() if marks[prop] != value}
        has_started = bool(changed & {*RESTART_MARKS}) or await self._has_forgotten()
        self._marks = marks  # now: what was asked in vain is compared again the next time
        if has_started:
            log.warning("%s has started again: %s", self.device.id, self._marks)
            self._start_over()
            self._tell_come()
        return "database-revision" in changed

    # Asking

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Wait for the turn of one request, and take the time of its answer; an error is an answer too."""
        async with self._turn:
            began = time.perf_counter()
            try:
                yield
            except DeviceError:
                self._times.add(time.perf_counter() - began)
                raise
            self._times.add(time.perf_counter() - began)

    def located(self) -> str:
        """Give its address. Raises SilentError while it isn't known."""
        if self.address is None:
            raise SilentError(self.device.id, self.liveness.reason or "it was not found yet")
        return self.address

    @property
    def max_apdu(self) -> int:
        """Octets that it accepts, as far as is known."""
        return max(SMALLEST_APDU, PER_OBJECT * self.able.group)

    async def ask(self, obj: str, prop: str, index: int | None = None) -> Any:
        """Read one property; any answer is a sign of life. Raises DeviceError and SilentError."""
        name = f"device,{self.device.device_instance}" if obj == "device" else obj
        address = self.located()
        async with self._asking():
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
        async with self._asking():
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
        async with self._asking():
            try:
                await self.network.write(self.device.id, address, obj, value, None, prop)
            except DeviceError:
                self._heard()
                raise
        self._heard()

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

    async def has(self, obj: str, prop: str) -> bool:
        """Tell whether an object has a property; one that can't be read for another reason is there."""
        try:
            await self.ask(obj, prop)
        except DeviceError as error:
            return not is_no_such(error.reason)
        return True

    async def check_list(self) -> bool:
        """Tell whether the device has other objects than before, also the bus. Raises BridgeError."""
        count = int(await self.ask("device", "object-list", 0))
        before, self.able.objects = self.able.objects, count
        if before is not None and before != count:
            log.warning("%s has %d objects, before %d", self.device.id, count, before)
            self._to.publish(ObjectListChanged(device_key=self.device.id, old_count=before, new_count=count))
            return True
        return False

    # How it is

    def _heard(self) -> None:
        self._status.last_seen = self._to.clock()
        if self.liveness.misses or not self.liveness.seen:
            self._tell_come()
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

    def _tell_come(self) -> None:
        self.came.set()
        self.able.events = "unknown"
        for tell in self.on_come:
            tell()

    def _missed(self, error: BridgeError) -> None:
        now = self._to.monotonic()
        self._failed("no answer", error.reason, "no answer")
        changes = self.liveness.missed(now, error.reason, self._to.chance())
        if self.liveness.state != "down":
            self.liveness.retry_at = min(self.liveness.retry_at, now + CHECK_BEFORE_DOWN)
        if self.liveness.misses >= MISSES_UNTIL_SEARCH:
            self.address = None  # it may have moved
        if Change.DOWN in changes:
            log.error("%s is down: %s", self.device.id, error.reason)
            self._to.publish(DeviceDown(device_key=self.device.id, protocol="bacnet", error=error.reason))
            self._flag_down()

    def _failed(self, kind: str, reason: str, counted: str) -> None:
        """Remember what went wrong and tell of it once a minute; `counted` is the device's own error."""
        self._status.errors += 1
        known = counted in self._errors or len(self._errors) < MOST_KINDS
        self._errors[counted if known else "other"] += 1
        self._status.last_error = reason
        self._to.faults.tell(self.device.id, kind, reason)

    def _start_over(self) -> None:
        """It may have been switched off: nothing that it was told or asked to do holds."""
        raise NotImplementedError

    async def _has_forgotten(self) -> bool:
        """Tell whether it had subscriptions of ours, and has none now."""
        raise NotImplementedError

    def _renew_soon(self) -> None:
        """It says that it is there: it may have forgotten its subscriptions."""
        raise NotImplementedError

    def _flag_down(self) -> None:
        """Say of its points that it doesn't answer."""
        raise NotImplementedError


def _group(apdu: int) -> int:
    return max(1, min(LARGEST_GROUP, (min(apdu, LARGEST_APDU) - 10) // PER_OBJECT))
