"""A BACnet device on bacpypes3 whose services do what the standard says, and that can play dead."""

from typing import Any

from bacpypes3.apdu import (
    ErrorPDU,
    RejectPDU,
    SubscribeCOVRequest,
    WritePropertyRequest,
    confirmed_request_types,
    unconfirmed_request_types,
)
from bacpypes3.app import Application
from bacpypes3.basetypes import ServicesSupported
from bacpypes3.errors import ExecutionError

UNIMPLEMENTED = frozenset({"ReadRangeRequest"})
"""Services that bacpypes3 has a handler for which does nothing but fail."""


class Device(Application):  # type: ignore[misc]
    """One simulated controller."""

    dead = False

    def play_dead(self, dead: bool) -> None:
        """Answer and send nothing at all, or live again, with all subscriptions lost as by a power cut."""
        if dead == self.dead:
            return
        self.dead = dead
        node = next(iter(self.link_layers.values())).node
        if not dead:
            node.lan.nodes.append(node)
            return
        node.lan.nodes.remove(node)
        for detection in list(self._cov_detections.values()):
            for subscription in list(detection.cov_subscriptions):
                self.cancel_subscription(subscription)

    async def do_WritePropertyRequest(self, apdu: WritePropertyRequest) -> None:  # noqa: N802 - bacpypes3 calls it so
        """Write a property; one that the object doesn't have is an error of its own (bacpypes3 aborts)."""
        obj = self.get_object_id(apdu.objectIdentifier)
        if obj is not None and obj.get_property_type(apdu.propertyIdentifier) is None:
            raise ExecutionError("property", "unknownProperty")
        if apdu.priority is not None and not 1 <= apdu.priority <= 16:
            raise ExecutionError("services", "parameterOutOfRange")
        await super().do_WritePropertyRequest(apdu)

    async def do_SubscribeCOVRequest(self, apdu: SubscribeCOVRequest) -> None:  # noqa: N802 - bacpypes3 calls it so
        """Subscribe; without a lifetime it lasts for ever (ASHRAE 135, 13.14.1.4)."""
        if apdu.lifetime is None and apdu.issueConfirmedNotifications is not None:
            apdu.lifetime = 0
        await super().do_SubscribeCOVRequest(apdu)

    def cov_confirmation(self, cov: Any, future: Any) -> None:
        """Take the answer to a confirmed notification; drop a subscriber who refuses it.

        One who doesn't answer keeps the subscription until its lifetime ends, as field controllers do.
        """
        refused = not future.cancelled() and isinstance(future.exception(), ErrorPDU | RejectPDU)
        if refused and cov.obj_ref is not None:
            self.cancel_subscription(cov)

    def get_services_supported(self) -> ServicesSupported:
        """Tell which services are handled."""
        supported = ServicesSupported([])
        for types in (confirmed_request_types, unconfirmed_request_types):
            for request in types.values():
                name = request.__name__
                if name not in UNIMPLEMENTED and hasattr(self, "do_" + name):
                    service = name.removesuffix("Request")
                    bit = getattr(ServicesSupported, service[0].lower() + service[1:], None)
                    if isinstance(bit, int):
                        supported[bit] = 1
        return supported
