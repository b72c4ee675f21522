"""One BACnet/IP port of this host: opened by BAC0, used through the bacpypes3 application underneath."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import BAC0
from bacpypes3.apdu import (
    AbortPDU,
    ErrorPDU,
    ErrorRejectAbortNack,
    RejectPDU,
    SubscribeCOVRequest,
)
from bacpypes3.basetypes import StatusFlags
from bacpypes3.pdu import Address
from bacpypes3.primitivedata import ObjectIdentifier

from actors.core.errors import BridgeError
from bridges.bacnet.values import datatype
from bridges.config import BacnetNetwork

log = logging.getLogger(__name__)

IN_FLIGHT: Final = 8
"""Requests at once on one network; one at a time for each device."""
HOLD: Final = 0.5
"""Seconds after which a request that has no answer yet makes room for another one.

When many devices are dead, those that live must not wait for their time-outs.
"""

Notified = Callable[[int, Address, str, Any, Any], None]
"""Told (process identifier, sender, object as `analog-input,1`, raw present value, raw status flags)."""


class SilentError(BridgeError):
    """A device did not answer in time."""


class DeviceError(BridgeError):
    """A device answered with an error, a reject or an abort."""

    def __init__(self, device: str, reason: str, kind: str) -> None:
        super().__init__(device, reason)
        self.args = (device, reason, kind)
        self.kind = kind


class Network:
    """Ask devices. Every call ends: with an answer, or with SilentError or DeviceError."""

    def __init__(self, config: BacnetNetwork) -> None:
        """Open nothing yet."""
        self.config = config
        self.on_cov: Notified = lambda process, sender, obj, value, flags: None
        self._net: Any = None
        self._app: Any = None
        self._turns = asyncio.Semaphore(IN_FLIGHT)
        self.trouble: str | None = "it is not open yet"
        self._opened = asyncio.Event()

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
            self._net = BAC0.start(port=config.port, deviceId=config.device_instance, ping=False, **more)
            async with asyncio.timeout(15):
                await self._net.__aenter__()
        except Exception as error:
            self._net = None
            self.trouble = f"{type(error).__name__}: {error}"[:200]
            raise BridgeError(config.id, self.trouble) from error
        self._app = self._net.this_application.app
        self._app.device_object.apduTimeout = round(config.timeout * 1000)
        self._app.device_object.numberOfApduRetries = config.retries
        self._app.do_UnconfirmedCOVNotificationRequest = self._notified
        self.trouble = None
        self._opened.set()

    async def opened(self, timeout: float) -> None:
        """Wait until it is open, at most `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
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

    async def find(self, instance: int) -> tuple[str, int] | None:
        """Ask who has a device instance (Who-Is); give its address and its largest APDU, or None."""
        if self._app is None:
            return None
        found = await self._app.who_is(instance, instance, timeout=min(3.0, self.config.timeout))
        for each in found or ():
            if each.iAmDeviceIdentifier[1] == instance:
                return str(each.pduSource), int(each.maxAPDULengthAccepted)
        return None

    async def read(self, device: str, address: str, obj: str, prop: str, index: int | None = None) -> Any:
        """Read one property."""
        return await self._ask(
            device,
            lambda app: app.read_property(Address(address), ObjectIdentifier(obj), prop, index),
        )

    async def read_many(
        self, device: str, address: str, wanted: Sequence[tuple[str, Sequence[str]]]
    ) -> dict[tuple[str, str], Any]:
        """Read several properties of several objects in one request (ReadPropertyMultiple)."""
        listed: list[Any] = []
        for obj, props in wanted:
            listed += [ObjectIdentifier(obj), list(props)]
        answer = await self._ask(device, lambda app: app.read_property_multiple(Address(address), listed))
        return {(str(obj), str(prop)): value for obj, prop, _, value in answer or ()}

    async def write(self, device: str, address: str, obj: str, value: Any, priority: int | None) -> None:
        """Write a present value."""
        await self._ask(
            device,
            lambda app: app.write_property(
                Address(address), ObjectIdentifier(obj), "present-value", value, priority=priority
            ),
        )

    async def subscribe(self, device: str, address: str, obj: str, process: int, lifetime: int) -> None:
        """Subscribe to an object's changes, or renew (ASHRAE 135, 13.14)."""
        request = SubscribeCOVRequest(
            subscriberProcessIdentifier=process,
            monitoredObjectIdentifier=ObjectIdentifier(obj),
            issueConfirmedNotifications=False,
            lifetime=lifetime,
            destination=Address(address),
        )
        await self._ask(device, lambda app: app.request(request))

    async def _ask(self, device: str, call: Callable[[Any], Awaitable[Any]]) -> Any:
        if self._app is None:
            raise SilentError(device, f"network {self.config.id} is not open: {self.trouble}")
        # The library's own time-outs come first; this one is for what it never ends.
        limit = self.config.timeout * (self.config.retries + 1) + 2
        try:
            async with self._turn(), asyncio.timeout(limit):
                answer = await call(self._app)
        except ErrorRejectAbortNack as error:
            raise _explained(device, error, self.config.timeout) from None
        except TimeoutError:
            raise SilentError(device, f"no answer within {limit:g} s") from None
        except OSError as error:
            raise SilentError(device, f"it can't be sent to: {error}"[:200]) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise DeviceError(device, f"{type(error).__name__}: {error}"[:200], "decode") from error
        if isinstance(answer, ErrorRejectAbortNack):
            raise _explained(device, answer, self.config.timeout)
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
        obj = str(apdu.monitoredObjectIdentifier)
        value: Any = None
        flags: Any = None
        try:
            for each in apdu.listOfValues:
                name = str(each.propertyIdentifier)
                if name == "present-value":
                    value = each.value.cast_out(datatype(obj.partition(",")[0]))
                elif name == "status-flags":
                    flags = each.value.cast_out(StatusFlags)
        except Exception as error:
            log.warning("a notification for %s can't be read: %s", obj, error)
            return
        if value is not None:
            self.on_cov(int(apdu.subscriberProcessIdentifier), apdu.pduSource, obj, value, flags)


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
        code = getattr(error, "errorCode", None)
        return DeviceError(device, str(code) if code is not None else str(error), "error")
    return DeviceError(device, str(error) or type(error).__name__, "error")
