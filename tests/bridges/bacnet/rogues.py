"""Devices that misbehave as those in buildings do, behind a router with a BBMD on loopback."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bacpypes3.apdu import (
    AbortPDU,
    AbortReason,
    ComplexAckPDU,
    ErrorPDU,
    ReadPropertyACK,
    SimpleAckPDU,
)
from bacpypes3.app import Application
from bacpypes3.basetypes import EngineeringUnits, ListOfCOVSubscription
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.errors import ExecutionError, UnrecognizedService
from bacpypes3.local.analog import AnalogInputObject
from bacpypes3.local.device import DeviceObject
from bacpypes3.primitivedata import Date, ObjectIdentifier, Real, Time, Unsigned
from bacpypes3.vlan import VirtualNetwork

from bridges.bacnet.clocks import to_bacnet
from bridges.bacnet.subscribers import active_subscriptions
from bridges.simulator.bacnet import field_port, ip_port
from tests.bridges.simulator.support import IP


class Rogue(Application):  # type: ignore[misc]
    """A device whose services can be broken one by one."""

    no_multiple = False
    all_or_nothing = False
    """An unknown object makes the whole of a ReadPropertyMultiple an error."""
    no_list = False
    """Its object list is only to be had element by element."""
    delay = 0.0
    cov: str = "good"
    """good, refused, silent (taken, and nothing is ever told), forgetful (told once, then forgotten)."""
    lists_subscriptions = True
    mute: frozenset[str] = frozenset()
    """Properties of which nothing is answered."""
    largest = 0
    """Octets of the longest answer; 0: no limit of its own."""
    overflow = AbortReason.segmentationNotSupported
    broken: frozenset[str] = frozenset()
    """Objects that answer with an error."""
    extra: tuple[ObjectIdentifier, ...] = ()
    """Objects of the maker's own in its object list."""

    clock: datetime | None = None
    """What its clock shows, if not the time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked: list[str] = []
        self.client: Any = None
        """Who has asked last."""
        self.sizes: list[int] = []

    async def indication(self, apdu: Any) -> None:
        self.asked.append(type(apdu).__name__)
        self.client = apdu.pduSource
        await super().indication(apdu)

    async def response(self, apdu: Any) -> None:
        if isinstance(apdu, ComplexAckPDU) and self.largest:
            size = len(apdu.encode().pduData) + 3
            self.sizes.append(size)
            if size > self.largest:
                refused = AbortPDU(True, apdu.apduInvokeID, self.overflow)
                refused.pduDestination = apdu.pduDestination
                await super().response(refused)
                return
        await super().response(apdu)

    async def do_ReadPropertyRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3 calls it so
        await asyncio.sleep(self.delay)
        name, prop = str(apdu.objectIdentifier), str(apdu.propertyIdentifier)
        if prop in self.mute:
            return
        if name in self.broken:
            raise ExecutionError("device", "internal-error")
        if prop == "object-list" and self.no_list and apdu.propertyArrayIndex is None:
            raise ExecutionError("property", "value-out-of-range")
        if self.clock is not None and prop in ("local-date", "local-time"):
            date, time = to_bacnet(self.clock)
            await self._answer(apdu, Date(date) if prop == "local-date" else Time(time))
            return
        if apdu.objectIdentifier in self.extra:
            if prop != "present-value":
                raise ExecutionError("property", "unknown-property")
            await self._answer(apdu, Real(7.5))
            return
        await super().do_ReadPropertyRequest(apdu)

    async def _answer(self, apdu: Any, value: Any) -> None:
        answer = ReadPropertyACK(
            objectIdentifier=apdu.objectIdentifier,
            propertyIdentifier=apdu.propertyIdentifier,
            propertyValue=AnyValue(value),
            context=apdu,
        )
        await self.response(answer)

    async def do_ReadPropertyMultipleRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3 calls it so
        if self.no_multiple:
            raise UnrecognizedService
        await asyncio.sleep(self.delay)
        for each in apdu.listOfReadAccessSpecs:
            known = self.get_object_id(each.objectIdentifier) is not None
            if str(each.objectIdentifier) in self.broken or (not known and self.all_or_nothing):
                raise ExecutionError("object", "unknown-object")
        await super().do_ReadPropertyMultipleRequest(apdu)

    async def do_SubscribeCOVRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3 calls it so
        if self.cov == "refused":
            raise ExecutionError("resources", "no-space-to-add-list-element")
        if self.cov == "silent":
            await self.response(SimpleAckPDU(context=apdu))
            return
        await super().do_SubscribeCOVRequest(apdu)

    def get_active_cov_subscriptions(self) -> Any:
        return active_subscriptions(self) if self.lists_subscriptions else ListOfCOVSubscription()

    def forget_subscriptions(self) -> None:
        for detection in list(self._cov_detections.values()):
            for subscription in list(detection.cov_subscriptions):
                self.cancel_subscription(subscription)

    def cov_confirmation(self, cov: Any, future: Any) -> None:
        if isinstance(future.exception(), ErrorPDU):
            self.cancel_subscription(cov)


class _List(DeviceObject):  # type: ignore[misc]
    """A device object whose list names the maker's own objects too."""

    async def read_property(self, attr: Any, index: int | None = None) -> Any:
        if str(attr) != "object-list" or not (self._app and self._app.extra):
            return await super().read_property(attr, index)
        listed = [*self._app.objectIdentifier, *self._app.extra]
        whole = type(self.objectList)(listed)
        return whole if index is None else Unsigned(len(listed)) if index == 0 else listed[index - 1]


class Rogues:
    """A network of such devices. Needs a running loop."""

    def __init__(self, port: int) -> None:
        self.port, self.apps = port, list[Rogue]()
        self.lan = VirtualNetwork(f"rogues-{port}")
        device = DeviceObject(
            objectIdentifier=("device", 4_000_000), objectName="router", vendorIdentifier=999
        )
        self.router = Application.from_object_list(
            [device, ip_port(f"{IP}/8:{port}"), field_port(self.lan.name, 1, 200)]
        )

    async def opened(self) -> None:
        link = self.router.link_layers[self.router.objectName["IP Port"].objectIdentifier]
        await asyncio.wait_for(asyncio.gather(*link.server._transport_tasks), 10)

    def close(self) -> None:
        for app in (self.router, *self.apps):
            app.close()
        del VirtualNetwork._networks[self.lan.name]

    def add(self, instance: int, mac: int, points: int = 3, *, max_apdu: int = 1024, **knobs: Any) -> "Rogue":
        """Add a device with some analog inputs."""
        device = _List(
            objectIdentifier=("device", instance),
            objectName=f"rogue-{instance}",
            vendorIdentifier=999,
            vendorName="Rogue Controls",
            modelName="R-1",
            firmwareRevision="1.2",
            maxApduLengthAccepted=max_apdu,
            segmentationSupported="no-segmentation" if max_apdu < 1024 else "segmented-both",
        )
        inputs = [analog(number, float(number)) for number in range(1, points + 1)]
        app: Rogue = Rogue.from_object_list([device, field_port(self.lan.name, mac, 0), *inputs])
        for name, value in knobs.items():
            setattr(app, name, value)
        self.apps.append(app)
        return app

    def unplug(self, app: Rogue) -> None:
        """Take a device off the network; it answers nothing and hears nothing."""
        node = next(iter(app.link_layers.values())).node
        node.lan.nodes.remove(node)

    def plug(self, app: Rogue) -> None:
        """Put it back."""
        node = next(iter(app.link_layers.values())).node
        node.lan.nodes.append(node)


def analog(number: int, value: float, **more: Any) -> AnalogInputObject:
    """Give an analog input."""
    return AnalogInputObject(
        objectIdentifier=("analog-input", number),
        objectName=f"input {number}",
        description=f"Sensor {number}",
        presentValue=value,
        units=EngineeringUnits("degrees-celsius"),
        covIncrement=0.1,
        statusFlags=[0, 0, 0, 0],
        eventState="normal",
        outOfService=False,
        **more,
    )


def values_of(instance: int, points: int) -> Sequence[str]:
    """Give the ids of the points of a device."""
    return [f"{instance}/analog-input-{number}" for number in range(1, points + 1)]
