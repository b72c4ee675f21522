"""One BACnet/IP port of this host: opened by BAC0, used through the bacpypes3 application underneath."""

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import BAC0
from bacpypes3.apdu import (
    AbortPDU,
    ErrorPDU,
    ErrorRejectAbortNack,
    IAmRequest,
    IHaveRequest,
    ReadPropertyACK,
    ReadPropertyMultipleACK,
    ReadPropertyMultipleRequest,
    ReadPropertyRequest,
    RejectPDU,
    SimpleAckPDU,
    SubscribeCOVRequest,
    WhoHasRequest,
    WhoIsRequest,
    WritePropertyRequest,
)
from bacpypes3.app import DeviceInfo
from bacpypes3.basetypes import (
    ErrorType,
    HostNPort,
    PropertyReference,
    ReadAccessSpecification,
    WhoHasLimits,
    WhoHasObject,
)
from bacpypes3.errors import AbortException, ExecutionError, RejectException
from bacpypes3.pdu import Address, GlobalBroadcast
from bacpypes3.primitivedata import ObjectIdentifier, PropertyIdentifier

from actors.core.errors import BridgeError, DeviceRefusedError
from bridges.bacnet.events import Notification, read_notification
from bridges.bacnet.hardening import harden
from bridges.bacnet.server import Noted, Server
from bridges.bacnet.wire import decode
from bridges.config import BacnetNetwork
from bridges.outbox import FaultLog

log = logging.getLogger(__name__)

PRODUCT: Final = "OpenCrate Campus"
IN_FLIGHT: Final = 8
"""Requests at once on one network; one at a time for each device."""
HOLD: Final = 0.5
"""Seconds after which a request that has no answer yet makes room for another one.

When many devices are dead, those that live must not wait for their time-outs.
"""

SECOND: Final = 0.3
"""Seconds that a second device gets to say that it has the same instance, after the first has answered."""
LONGEST_SEARCH: Final = 3.0
ANY_INSTANCE: Final = 4194303
"""The instance that stands for any device and that none has."""
HIGHEST: Final = ANY_INSTANCE - 1
SMALLEST_APDU: Final = 50
"""The least that every device accepts (ASHRAE 135-2020, 20.1.2.5)."""
MOST_ANSWERS: Final = 10_000
"""Answers to one search that are kept; more are no devices but somebody who makes them up."""

UNREADABLE: Final = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ExecutionError,
    RejectException,
    AbortException,
)
"""What the library raises for what makes no sense on the wire."""

CONFIRM_WITHIN: Final = 9.0
"""Seconds for an event to be kept: what devices that try three times wait mostly (APDU_Timeout of 3 s)."""
Happened = Callable[[Address, Notification], "asyncio.Future[bool] | None"]
"""Takes a device's event, and gives whether it is kept, once that is known; None: it is nobody's affair."""
Notified = Callable[[int, Address, str, Any, Any], None]
"""Told (process identifier, sender, object as `analog-input,1`, raw present value, raw status flags)."""


@dataclass(frozen=True, slots=True)
class Announced:
    """A device that says that it is there (I-Am)."""

    instance: int
    address: str
    max_apdu: int
    segmentation: str
    vendor: int


@dataclass(frozen=True, slots=True)
class Holder:
    """A device that says that it has an object (I-Have)."""

    instance: int
    address: str
    object: str
    name: str


class SilentError(BridgeError):
    """A device did not answer in time."""


class DeviceError(DeviceRefusedError):
    """A device answered with an error, a reject or an abort."""

    def __init__(self, device: str, reason: str, kind: str) -> None:
        super().__init__(device, reason)
        self.args = (device, reason, kind)
        self.kind = kind


async def _ready(net: Any) -> None:
    """Wait until requests can be sent; the library's own wait takes a second more than that."""
    while not net._initialized:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    for link in net.this_application.app.link_layers.values():
        # What a foreign device broadcasts before its BBMD knows it is lost; one that is away may come later.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                while getattr(link, "bbmdRegistrationStatus", 0):  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.01)


class Network:
    """Ask devices. Every call ends: with an answer, or with SilentError or DeviceError."""

    def __init__(
        self, config: BacnetNetwork, commands: Callable[[], Any] | None = None, noted: Noted | None = None
    ) -> None:
        """Open nothing yet.

        `commands` finds the command engine, for what is written to our own objects; `noted` is told of it.
        """
        self.config = config
        self.server = Server(commands, noted)
        self.on_cov: Notified = lambda process, sender, obj, value, flags: None
        self.on_announced: Callable[[Announced], None] = lambda found: None
        self.on_event: Happened = lambda sender, note: None
        self._net: Any = None
        self._app: Any = None
        self._turns = asyncio.Semaphore(IN_FLIGHT)
        self.trouble: str | None = "it is not open yet"
        self._opened = asyncio.Event()
        self._searches: list[Callable[[Announced], None]] = []
        self._holders: list[Callable[[Holder], None]] = []
        self._faults = FaultLog(log)

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._app is not None

    async def open(self) -> None:
        """Take the UDP port. Raises BridgeError with the reason."""
        config = self.config
        self._check_port()
        more: dict[str, Any] = {}
        if not config.address.startswith("0.0.0.0"):  # noqa: S104 - means: the default route's
            more["ip"] = config.address
        if config.bbmd:
            host, _, port = config.bbmd.partition(":")
            more |= {"bbmdAddress": f"{host}:{port or 47808}", "bbmdTTL": config.ttl}
        try:
            BAC0.log_level("silence")
            self._net = BAC0.start(
                port=config.port,
                deviceId=config.device_instance,
                localObjName=f"{PRODUCT} {config.device_instance}",
                modelName=PRODUCT,
                ping=False,
                **more,
            )
            async with asyncio.timeout(15):
                await _ready(self._net)
            self._set_up(self._net.this_application.app)
        except Exception as error:
            await self.close()
            self.trouble = f"{type(error).__name__}: {error}"[:200]
            raise BridgeError(config.id, self.trouble) from error
        self.trouble = None
        self._opened.set()

    def _set_up(self, app: Any) -> None:
        self._app = app
        app.device_object.apduTimeout = round(self.config.timeout * 1000)
        app.device_object.numberOfApduRetries = self.config.retries
        self._introduce(app.device_object)
        app.do_UnconfirmedCOVNotificationRequest = self._notified
        app.do_ConfirmedEventNotificationRequest = self._event_to_confirm
        app.do_UnconfirmedEventNotificationRequest = self._event
        app.do_IAmRequest = self._announced
        app.do_IHaveRequest = self._has
        self.server.attach(app)
        harden(app)

    def _introduce(self, device: Any) -> None:
        """Say what this device is where the library would name itself."""
        device.vendorName = PRODUCT
        device.description = "Building automation of a campus"
        device.location = ""
        device.firmwareRevision = device.applicationSoftwareVersion = version("opencrate-campus")
        if not self.config.bbmd:
            # The library fills in an address without a host, which can't be sent.
            port = self._app.objectIdentifier[ObjectIdentifier("network-port,1")]
            port.fdBBMDAddress = HostNPort("0.0.0.0:47808")

    async def opened(self, timeout: float) -> None:
        """Wait until it is open, at most `timeout` seconds; infinite is for as long as it takes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if math.isinf(timeout) else timeout):
                await self._opened.wait()

    def _check_port(self) -> None:
        """Say plainly that the port is taken; the library would only log it."""
        address = self.config.address.partition("/")[0]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((address, self.config.port))
            except OSError as error:
                self.trouble = f"UDP {address}:{self.config.port}: {error.strerror}"
                raise BridgeError(self.config.id, self.trouble) from error

    async def close(self) -> None:
        """Give the port back."""
        net, self._net, self._app = self._net, None, None
        if net is not None:
            try:
                async with asyncio.timeout(5):
                    await net.__aexit__(None, None, None)
            except Exception as error:
                log.warning("%s did not close: %s", self.config.id, error)

    async def find(self, instance: int) -> list[Announced]:
        """Ask who has a device instance (Who-Is); give all that say so, which should be one or none."""
        return await self.who_is(instance, instance, min(LONGEST_SEARCH, self.config.timeout), first=True)

    async def who_is(
        self,
        low: int | None = None,
        high: int | None = None,
        wait: float = LONGEST_SEARCH,
        *,
        address: str | None = None,
        first: bool = False,
    ) -> list[Announced]:
        """Ask who is there, within a range of instances; give who answers within `wait` seconds.

        With `first`, a short time after the first answer is enough. `address` asks only that station.
        """
        if self._app is None:
            return []
        found: dict[tuple[int, str], Announced] = {}
        answered = asyncio.Event()

        def take(each: Announced) -> None:
            if low is not None and high is not None and not low <= each.instance <= high:
                return
            if len(found) < MOST_ANSWERS:
                found[each.instance, each.address] = each
            answered.set()

        self._searches.append(take)
        try:
            request = WhoIsRequest(destination=Address(address) if address else GlobalBroadcast())
            if low is not None and high is not None:
                request.deviceInstanceRangeLowLimit = low
                request.deviceInstanceRangeHighLimit = high
            await self._app.request(request)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await (answered.wait() if first else asyncio.Event().wait())
                    await asyncio.sleep(SECOND)
        finally:
            self._searches.remove(take)
        return sorted(found.values(), key=lambda each: (each.instance, each.address))

    async def who_has(
        self,
        *,
        name: str | None = None,
        obj: str | None = None,
        low: int | None = None,
        high: int | None = None,
        wait: float = LONGEST_SEARCH,
    ) -> list[Holder]:
        """Ask who has an object, by its name or as `analog-input,1`; give who answers in `wait` seconds."""
        if self._app is None:
            return []
        found: dict[tuple[int, str, str], Holder] = {}

        def take(each: Holder) -> None:
            if len(found) < MOST_ANSWERS and (each.name == name or each.object == obj):
                found[each.instance, each.address, each.object] = each

        request = WhoHasRequest(destination=GlobalBroadcast())
        request.object = (
            WhoHasObject(objectName=name)
            if name is not None
            else WhoHasObject(objectIdentifier=ObjectIdentifier(obj))
        )
        if low is not None and high is not None:
            request.limits = WhoHasLimits(deviceInstanceRangeLowLimit=low, deviceInstanceRangeHighLimit=high)
        self._holders.append(take)
        try:
            await self._app.request(request)
            await asyncio.sleep(wait)
        finally:
            self._holders.remove(take)
        return sorted(found.values(), key=lambda each: (each.instance, each.address, each.object))

    async def tell(self, request: Any, address: str | None = None) -> None:
        """Send a request that nobody answers, to one station or to all. Raises SilentError where it can't."""
        if self._app is None:
            raise SilentError(self.config.id, f"network {self.config.id} is not open: {self.trouble}")
        request.pduDestination = Address(address) if address else GlobalBroadcast()
        await self._app.request(request)

    def remember(self, found: Announced, before: str | None = None) -> None:
        """Let the library know what a device can take; forget the address that it had `before`."""
        if self._app is None:
            return
        known = self._app.device_info_cache.address_cache
        if before is not None and before != found.address:
            known.pop(Address(before), None)
        at = Address(found.address)
        info = DeviceInfo(found.instance, at)
        info.max_apdu_length_accepted = found.max_apdu
        info.vendor_identifier = found.vendor
        known[at] = info

    async def read(self, device: str, address: str, obj: str, prop: str, index: int | None = None) -> Any:
        """Read one property."""
        request = ReadPropertyRequest(
            objectIdentifier=ObjectIdentifier(obj),
            propertyIdentifier=PropertyIdentifier(prop),
            destination=Address(address),
        )
        if index is not None:
            request.propertyArrayIndex = index
        answer = await self.ask(device, request, ReadPropertyACK)
        value = decode(ObjectIdentifier(obj), PropertyIdentifier(prop), index, answer.propertyValue)
        if isinstance(value, ErrorType):
            raise DeviceError(device, str(value.errorCode), "decode")
        return value

    async def read_many(
        self, device: str, address: str, wanted: Sequence[tuple[str, Sequence[str]]]
    ) -> dict[tuple[str, str], Any]:
        """Read several properties of several objects in one request (ReadPropertyMultiple).

        An element of an array is `priority-array[1]`, in the answer too. A value that the device refuses, or
        that can't be decoded, is an ErrorType.
        """
        specifications = [
            ReadAccessSpecification(
                objectIdentifier=ObjectIdentifier(obj),
                listOfPropertyReferences=[_reference(prop) for prop in props],
            )
            for obj, props in wanted
        ]
        request = ReadPropertyMultipleRequest(
            listOfReadAccessSpecs=specifications, destination=Address(address)
        )
        answer = await self.ask(device, request, ReadPropertyMultipleACK)
        found: dict[tuple[str, str], Any] = {}
        for result in answer.listOfReadAccessResults or ():
            for each in result.listOfResults or ():
                obj, prop, index = result.objectIdentifier, each.propertyIdentifier, each.propertyArrayIndex
                name = str(prop) if index is None else f"{prop}[{index}]"
                error = each.readResult.propertyAccessError
                found[str(obj), name] = (
                    decode(obj, prop, index, each.readResult.propertyValue) if error is None else error
                )
        return found

    async def write(
        self,
        device: str,
        address: str,
        obj: str,
        value: Any,
        priority: int | None,
        prop: str = "present-value",
    ) -> None:
        """Write a property."""
        request = WritePropertyRequest(
            objectIdentifier=ObjectIdentifier(obj),
            propertyIdentifier=PropertyIdentifier(prop),
            propertyValue=value,
            destination=Address(address),
        )
        if priority is not None:
            request.priority = priority
        await self.ask(device, request)

    async def subscribe(self, device: str, address: str, obj: str, process: int, lifetime: int) -> None:
        """Subscribe to an object's changes, or renew (ASHRAE 135, 13.14)."""
        request = SubscribeCOVRequest(
            subscriberProcessIdentifier=process,
            monitoredObjectIdentifier=ObjectIdentifier(obj),
            issueConfirmedNotifications=False,
            lifetime=lifetime,
            destination=Address(address),
        )
        await self.ask(device, request)

    async def ask(self, device: str, request: Any, expected: type = object) -> Any:
        """Send a confirmed request and give the answer. Raises SilentError and DeviceError."""
        if self._app is None:
            raise SilentError(device, f"network {self.config.id} is not open: {self.trouble}")
        # The library's own time-outs come first; this one is for what it never ends.
        limit = self.config.timeout * (self.config.retries + 1) + 2
        try:
            async with self._turn(), asyncio.timeout(limit):
                answer = await self._app.request(request)
        except ErrorRejectAbortNack as error:
            raise _explained(device, error, self.config.timeout) from None
        except TimeoutError:
            raise SilentError(device, f"no answer within {limit:g} s") from None
        except OSError as error:
            raise SilentError(device, f"it can't be sent to: {error}"[:200]) from error
        except UNREADABLE as error:
            raise DeviceError(device, f"{type(error).__name__}: {error}"[:200], "decode") from error
        if isinstance(answer, ErrorRejectAbortNack):
            raise _explained(device, answer, self.config.timeout)
        if not isinstance(answer, expected):
            raise DeviceError(device, f"an answer to another question: {type(answer).__name__}", "decode")
        return answer

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        await self._turns.acquire()
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._turns.release()

        timer = asyncio.get_running_loop().call_later(HOLD, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()

    async def _notified(self, apdu: Any) -> None:
        value: Any = None
        flags: Any = None
        try:
            obj = apdu.monitoredObjectIdentifier
            for each in apdu.listOfValues:
                name = str(each.propertyIdentifier)
                if name in ("present-value", "status-flags"):
                    found = decode(obj, each.propertyIdentifier, each.propertyArrayIndex, each.value)
                    value, flags = (found, flags) if name == "present-value" else (value, found)
            process = int(apdu.subscriberProcessIdentifier)
        except UNREADABLE as error:
            self._faults.tell(self.config.id, "notification", f"from {apdu.pduSource}: {error}"[:200])
            return
        if value is not None:
            self.on_cov(process, apdu.pduSource, str(obj), value, flags)

    async def _event_to_confirm(self, apdu: Any) -> None:
        """Confirm a device's event when it is kept; else tell the device so, that it may send it again.

        What the device sends again meanwhile belongs to the same question, and is answered with it.
        """
        app, note = self._app, self._read_event(apdu)
        if note is None:
            raise ExecutionError("services", "inconsistentParameters")
        kept = self.on_event(apdu.pduSource, note)
        if kept is not None:
            await asyncio.wait([kept], timeout=CONFIRM_WITHIN)
            if not kept.done() or kept.cancelled() or not kept.result():
                self._faults.tell(
                    self.config.id, "event", f"of {note.device} can't be kept now: not confirmed"
                )
                raise ExecutionError("device", "operationalProblem")
        if app is not None and app is self._app:
            await app.response(SimpleAckPDU(context=apdu))

    async def _event(self, apdu: Any) -> None:
        note = self._read_event(apdu)
        if note is not None:
            self.on_event(apdu.pduSource, note)

    def _read_event(self, apdu: Any) -> Notification | None:
        try:
            return read_notification(apdu)
        except UNREADABLE as error:
            self._faults.tell(self.config.id, "event", f"from {apdu.pduSource}: {error}"[:200])
            return None

    async def _announced(self, apdu: IAmRequest) -> None:
        try:
            kind, instance = apdu.iAmDeviceIdentifier
            found = Announced(
                int(instance),
                str(apdu.pduSource),
                int(apdu.maxAPDULengthAccepted),
                str(apdu.segmentationSupported),
                int(apdu.vendorID),
            )
        except UNREADABLE as error:
            self._faults.tell(self.config.id, "I-Am", f"from {apdu.pduSource}: {error}"[:200])
            return
        if str(kind) != "device" or found.instance >= ANY_INSTANCE or found.max_apdu < SMALLEST_APDU:
            self._faults.tell(self.config.id, "I-Am", f"from {apdu.pduSource}: {found}"[:200])
            return
        for take in list(self._searches):
            take(found)
        self.on_announced(found)

    async def _has(self, apdu: IHaveRequest) -> None:
        try:
            found = Holder(
                int(apdu.deviceIdentifier[1]),
                str(apdu.pduSource),
                str(apdu.objectIdentifier),
                str(apdu.objectName),
            )
        except UNREADABLE as error:
            self._faults.tell(self.config.id, "I-Have", f"from {apdu.pduSource}: {error}"[:200])
            return
        for take in list(self._holders):
            take(found)


def is_object(name: str) -> bool:
    """Tell whether this names an object, as `analog-input,1` or `200,1` does."""
    try:
        ObjectIdentifier(name)
    except (ValueError, TypeError):
        return False
    return True


def _reference(prop: str) -> PropertyReference:
    name, _, index = prop.partition("[")
    reference = PropertyReference(propertyIdentifier=PropertyIdentifier(name))
    if index:
        reference.propertyArrayIndex = int(index[:-1])
    return reference


def _explained(device: str, error: Any, timeout: float) -> BridgeError:
    """Give the device's own reason: `write-access-denied`, `no answer within 3 s`."""
    if isinstance(error, AbortPDU):
        reason = str(error.apduAbortRejectReason)
        if "no-response" in reason or reason.endswith("65"):
            return SilentError(device, f"no answer within {timeout:g} s")
        return DeviceError(device, f"abort: {reason}", "abort")
    if isinstance(error, RejectPDU):
        return DeviceError(device, f"reject: {error.apduAbortRejectReason}", "reject")
    if isinstance(error, ErrorPDU):
        code = getattr(getattr(error, "errorType", error), "errorCode", None)
        return DeviceError(device, str(code) if code is not None else str(error), "error")
    return DeviceError(device, str(error) or type(error).__name__, "error")
