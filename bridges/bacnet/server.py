"""Our own BACnet device: chosen points as objects, told by COV, commanded through the command engine.

Closes gaps of bacpypes3 0.0.110 as a server: every object can be written from the network, a subscription
without lifetime fails, the lists of services, of types of objects, of properties and of
subscriptions are wrong, and whoever likes can silence it.
"""

import asyncio
import inspect
import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bacpypes3.apdu import (
    ErrorPDU,
    RejectPDU,
    SimpleAckPDU,
    confirmed_request_types,
    unconfirmed_request_types,
)
from bacpypes3.basetypes import (
    BinaryPV,
    EngineeringUnits,
    ObjectTypesSupported,
    OptionalUnsigned,
    PriorityArray,
    PriorityValue,
    PropertyIdentifier,
    Reliability,
    ServicesSupported,
    StatusFlags,
)
from bacpypes3.constructeddata import ArrayOf
from bacpypes3.errors import ExecutionError, PropertyError, UnrecognizedService
from bacpypes3.local.analog import AnalogValueObject
from bacpypes3.local.binary import BinaryValueObject
from bacpypes3.local.cov import GenericCriteria
from bacpypes3.local.multistate import MultiStateValueObject
from bacpypes3.local.object import Object as LocalObject
from bacpypes3.object import CharacterStringValueObject
from bacpypes3.primitivedata import CharacterString, Null, ObjectIdentifier, Real, Unsigned

from actors.core.errors import (
    BadInputError,
    ConflictError,
    NotFoundError,
    OpenCrateError,
    WriteFailedError,
)
from actors.core.remote import answered
from actors.core.values import PointStatus, PointValue
from actors.node.models import Node
from actors.override.models import PriorityArray as Slots
from actors.override.models import WriteRequest
from bridges.bacnet.subscribers import active_subscriptions
from bridges.bacnet.values import to_point
from bridges.bacnet.wire import by_tags

log = logging.getLogger(__name__)

MOST_SUBSCRIPTIONS: Final = 1_000
"""Subscriptions at once; who asks for more is told that there is no room."""
LONGEST_ANSWER: Final = 20_000
"""Milliseconds that a command may take until its answer: the point's own device is asked."""
INSTANCES: Final = 2**22 - 1
_UNOFFERED: Final = frozenset(
    {"ReadRangeRequest", "WritePropertyMultipleRequest", "DeviceCommunicationControlRequest"}
)
_EVERYWHERE: Final = frozenset({"objectIdentifier", "objectName", "objectType", "propertyList"})
_ALL_SLOTS: Final = 16


Noted = Callable[[str, str, str, dict[str, Any]], None]
"""Told (by whom, what, which point, details) of each command from the network; doesn't wait."""


@dataclass(frozen=True, slots=True)
class Served:
    """A point that is served, and as which object; none: its type by its value, its instance by its id."""

    point_id: str
    object: str | None = None


def _name(attr: Any) -> str:
    return attr if isinstance(attr, str) else str(PropertyIdentifier(attr).attr)


class _Point:
    """What objects of points share: written through the command engine, their slots read from there."""

    _elements: dict[str, Any]
    _cov_criteria: Any = GenericCriteria
    _slots: Callable[[], Any] | None = None
    """Reads the point's priority array; None: it can't be commanded."""

    async def read_property(self, attr: Any, index: int | None = None) -> Any:
        """Read a property; those of commanding are asked of the command engine."""
        name = _name(attr)
        if name not in ("priorityArray", "relinquishDefault", "currentCommandPriority"):
            return await super().read_property(attr, index)  # type: ignore[misc]
        if self._slots is None:
            raise PropertyError("unknownProperty")
        array: Slots = await self._slots()
        if name == "currentCommandPriority":
            active = array.active_priority
            return OptionalUnsigned(null=()) if active is None else OptionalUnsigned(unsigned=active)
        if name == "relinquishDefault":
            if array.relinquish_default is None:
                raise PropertyError("unknownProperty")
            return self.typed(array.relinquish_default)
        slots = [
            PriorityValue(null=()) if each is None else PriorityValue(self.typed(each))
            for each in array.slots
        ]
        if index is None:
            return PriorityArray(slots)
        if index == 0:
            return Unsigned(_ALL_SLOTS)
        if not 1 <= index <= _ALL_SLOTS:
            raise PropertyError("invalidArrayIndex")
        return slots[index - 1]

    async def write_property(
        self, attr: Any, value: Any, index: int | None = None, priority: int | None = None
    ) -> None:
        """Refuse: what may be written goes through the server."""
        raise PropertyError("writeAccessDenied")

    def command_by(self, slots: Callable[[], Any]) -> None:
        """Let it be commanded, and be listed as such; `slots` reads the point's priority array."""
        self._slots = slots
        # What stands in them is never read, only that they are there.
        self.priorityArray = PriorityArray()
        self.currentCommandPriority = OptionalUnsigned(null=())

    @property
    def propertyList(self) -> Any:  # noqa: N802 - bacpypes3 calls it so
        """Give the properties that it has, without those that every object has (135-2020, 12.1.1.4.1)."""
        names = (each for each in self._elements if each not in _EVERYWHERE)
        had = [each for each in names if inspect.getattr_static(self, each, None) is not None]
        return ArrayOf(PropertyIdentifier)([PropertyIdentifier(each) for each in had])

    @propertyList.setter
    def propertyList(self, value: Any) -> None:  # noqa: N802
        """Ignore what the library sets when an object is made."""

    @staticmethod
    def typed(value: Any) -> Any:
        """Give a point's value as this object's present value."""
        raise NotImplementedError


class Analog(_Point, AnalogValueObject):  # type: ignore[misc]
    """A number."""

    _cov_criteria = AnalogValueObject._cov_criteria

    @staticmethod
    def typed(value: Any) -> Any:
        """Give a number; true counts as 1."""
        return Real(float(value))


class Binary(_Point, BinaryValueObject):  # type: ignore[misc]
    """True or false."""

    @staticmethod
    def typed(value: Any) -> Any:
        """Give active or inactive."""
        return BinaryPV(int(bool(value)))


class MultiState(_Point, MultiStateValueObject):  # type: ignore[misc]
    """A state from 1."""

    @staticmethod
    def typed(value: Any) -> Any:
        """Give the number of the state."""
        return Unsigned(int(value))


class Text(_Point, LocalObject, CharacterStringValueObject):  # type: ignore[misc]
    """A text."""

    @staticmethod
    def typed(value: Any) -> Any:
        """Give the text."""
        return CharacterString(str(value))


CLASSES: Final[dict[str, Any]] = {
    "analog-value": Analog,
    "binary-value": Binary,
    "multi-state-value": MultiState,
    "characterstring-value": Text,
}


def _types_supported() -> ObjectTypesSupported:
    supported = ObjectTypesSupported([])
    for kind in ("device", "network-port", *CLASSES):
        supported[ObjectTypesSupported._bitstring_names[kind]] = 1
    return supported


def kind_of(node: Node, value: PointValue) -> str:
    """Give the type of object that a point is served as."""
    if isinstance(value, bool):
        return "binary-value"
    if isinstance(value, str):
        return "characterstring-value"
    states = node.properties.get("states")
    whole = isinstance(value, int) and isinstance(states, list) and 1 <= value <= len(states)
    return "multi-state-value" if whole else "analog-value"


def instance_of(point_id: str, taken: set[int]) -> int:
    """Give the instance of a point's object: the same after every start, whatever else is served."""
    instance = zlib.crc32(point_id.encode()) % INSTANCES
    while instance in taken:
        instance = (instance + 1) % INSTANCES
    return instance


class Server:
    """Serve points on the port of a network. Nothing but their present values can be written.

    The objects follow the point store by `step`. A command from the network is carried out by the command
    engine, as one from the page: noted, read back, refused with the device's reason.
    """

    def __init__(self, commands: Callable[[], Any] | None, noted: Noted | None = None) -> None:
        """Take how to find the command engine, without which nothing can be written, and who notes writes."""
        self._commands, self._noted = commands, noted
        self._app: Any = None
        self._objects: dict[str, Any] = {}
        self._points: dict[Any, str] = {}
        """Point by object identifier."""

    @property
    def objects(self) -> dict[str, str]:
        """The objects that are served, such as `analog-value,7`, by point."""
        return {point_id: str(each.objectIdentifier) for point_id, each in self._objects.items()}

    def attach(self, app: Any) -> None:
        """Take an application that was just opened; objects are made anew."""
        self._app = app
        self._objects.clear()
        self._points.clear()
        app.asap.applicationTimeout = LONGEST_ANSWER
        plain_read, plain_subscribe = app.device_object.read_property, app.do_SubscribeCOVRequest

        async def subscribe(apdu: Any) -> None:
            await self._subscribe(apdu, plain_subscribe)

        async def read(attr: Any, index: int | None = None) -> Any:
            if _name(attr) == "protocolObjectTypesSupported":
                return _types_supported()
            return await plain_read(attr, index)

        object.__setattr__(app.device_object, "read_property", read)
        app.do_SubscribeCOVRequest = subscribe
        app.do_WritePropertyRequest = self._write
        app.do_WritePropertyMultipleRequest = app.do_ReadRangeRequest = _unrecognized
        app.do_DeviceCommunicationControlRequest = _refuse
        app.cov_confirmation = self._confirmed
        app.get_services_supported = self._services
        app.get_active_cov_subscriptions = lambda: active_subscriptions(app)

    # Objects

    async def step(self, served: Sequence[Served], nodes: dict[str, Node], rows: Sequence[Any]) -> None:
        """Make the objects what the points are: rows of (id, value, status, ...) of the point store."""
        if self._app is None:
            return
        wanted = {each.point_id: each for each in served if each.point_id in nodes}
        for point_id in [each for each in self._objects if each not in wanted]:
            self._remove(point_id)
        for point_id, value, status, *_ in sorted(rows):
            if point_id not in wanted:
                continue
            obj = self._objects.get(point_id)
            if obj is None and value is not None:
                obj = self._add(wanted[point_id], nodes[point_id], value)
            if obj is not None:
                self._show(obj, value, status)

    def _add(self, served: Served, node: Node, value: PointValue) -> Any:
        kind, _, number = (served.object or f"{kind_of(node, value)},").partition(",")
        made = CLASSES[kind]
        taken = {key[1] for key in self._points if str(key[0]) == kind}
        instance = int(number) if number else instance_of(node.id, taken)
        key = ObjectIdentifier(f"{kind},{instance}")
        if key in self._points or self._app.get_object_id(key) is not None:
            log.error("%s can't be served as %s: that is taken", node.id, key)
            return None
        name = node.id if self._app.get_object_name(node.id) is None else f"{node.id} ({kind} {instance})"
        try:
            values = _properties(kind, node) | {"presentValue": made.typed(value)}
            obj = made(objectIdentifier=key, objectName=name, description=node.dis, **values)
        except (ValueError, TypeError) as error:
            log.error("%s can't be served as %s: %s", node.id, key, error)
            return None
        if self._commands is not None and node.capabilities.writable:
            obj.command_by(lambda: self._ask("priority_array", node.id))
        self._app.add_object(obj)
        self._objects[node.id], self._points[key] = obj, node.id
        return obj

    def _remove(self, point_id: str) -> None:
        obj = self._objects.pop(point_id)
        key = obj.objectIdentifier
        detection = self._app._cov_detections.get(key)
        for subscription in list(detection.cov_subscriptions) if detection is not None else []:
            self._app.cancel_subscription(subscription)
        del self._points[key]
        self._app.delete_object(obj)

    @staticmethod
    def _show(obj: Any, value: PointValue | None, status: int) -> None:
        failed = bool(status & (PointStatus.FAULT | PointStatus.DOWN)) or value is None
        reliability = Reliability.noFaultDetected
        if status & PointStatus.DOWN:
            reliability = Reliability.communicationFailure
        elif failed:
            reliability = Reliability.unreliableOther
        if obj.reliability != reliability:
            obj.reliability = reliability
        flags = [
            int(bool(status & PointStatus.ALARM)),
            int(failed),
            int(bool(status & PointStatus.OVERRIDDEN)),
            0,
        ]
        before = list(obj.statusFlags)
        if before != flags:
            obj.statusFlags = StatusFlags(flags)
        if value is None:
            return
        try:
            shown = obj.typed(value)
        except (ValueError, TypeError):
            return  # another type than its object has: the last value stays, and the flag says so
        if obj.presentValue != shown:
            obj.presentValue = shown

    # What others ask

    async def _write(self, apdu: Any) -> None:
        point_id = self._points.get(apdu.objectIdentifier)
        if point_id is None:
            known = self._app.get_object_id(apdu.objectIdentifier) is not None
            raise ExecutionError(
                *(("property", "writeAccessDenied") if known else ("object", "unknownObject"))
            )
        obj = self._objects[point_id]
        if str(apdu.propertyIdentifier) != "present-value" or obj._slots is None:
            unknown = obj.get_property_type(apdu.propertyIdentifier) is None
            raise ExecutionError("property", "unknownProperty" if unknown else "writeAccessDenied")
        if apdu.propertyArrayIndex is not None:
            raise ExecutionError("property", "propertyIsNotAnArray")
        priority = _ALL_SLOTS if apdu.priority is None else int(apdu.priority)
        if not 1 <= priority <= _ALL_SLOTS:
            raise ExecutionError("services", "parameterOutOfRange")
        kind = str(apdu.objectIdentifier[0])
        try:
            tags = list(apdu.propertyValue.tagList)
            raw = by_tags(tags[1:-1] if apdu.propertyValue._context is not None else tags)
        except (ValueError, TypeError):
            raise ExecutionError("property", "invalidDataType") from None
        value, fault = (None, 0) if isinstance(raw, Null) else to_point(kind, raw)
        if fault:
            raise ExecutionError("property", "invalidDataType")
        await self._command(point_id, value, priority, str(apdu.pduSource))
        await self._app.response(SimpleAckPDU(context=apdu))

    async def _command(self, point_id: str, value: PointValue | None, priority: int, sender: str) -> None:
        by = f"bacnet {sender}"
        log.info("%s writes %s to %s at priority %d", by, value, point_id, priority)
        action = "relinquish" if value is None else "write"
        asked = {"priority": priority} if value is None else {"priority": priority, "value": value}
        try:
            if value is None:
                done = await self._ask("relinquish", point_id, priority, by)
            else:
                done = await self._ask("write", point_id, WriteRequest(value=value, priority=priority), by)
        except (OpenCrateError, ValueError) as error:
            self._note(by, f"{action}_failed", point_id, asked | {"reason": str(error)[:300]})
            raise _answer_to(error, by, point_id) from None
        self._note(by, action, point_id, asked | {"old_value": done.old_value, "read_back": done.value})

    def _note(self, by: str, action: str, point_id: str, detail: dict[str, Any]) -> None:
        if self._noted is not None:
            self._noted(by, action, point_id, detail)

    async def _ask(self, method: str, *args: Any) -> Any:
        if self._commands is None:
            raise ExecutionError("property", "writeAccessDenied")
        # Looking it up may wait for another host: nobody else is to wait for that.
        commands = await asyncio.to_thread(self._commands)
        return await answered("commands", getattr(commands, method).remote(*args), LONGEST_ANSWER / 1000)

    async def _subscribe(self, apdu: Any, plain: Callable[[Any], Any]) -> None:
        if apdu.lifetime is None and apdu.issueConfirmedNotifications is not None:
            apdu.lifetime = 0  # for ever (ASHRAE 135-2020, 13.14.1.1.4)
        cancels = apdu.lifetime is None
        detections = self._app._cov_detections.values()
        if not cancels and sum(len(each.cov_subscriptions) for each in detections) >= MOST_SUBSCRIPTIONS:
            raise ExecutionError("resources", "noSpaceToAddListElement")
        await plain(apdu)

    def _confirmed(self, subscription: Any, future: Any) -> None:
        """Drop a subscriber who refuses a notification; who doesn't answer keeps it until its time ends."""
        refused = not future.cancelled() and isinstance(future.exception(), ErrorPDU | RejectPDU)
        if refused and subscription.obj_ref is not None:
            self._app.cancel_subscription(subscription)

    def _services(self) -> ServicesSupported:
        supported = ServicesSupported([])
        for types in (confirmed_request_types, unconfirmed_request_types):
            for request in types.values():
                name = request.__name__
                service = name.removesuffix("Request")
                bit = getattr(ServicesSupported, service[0].lower() + service[1:], None)
                if name not in _UNOFFERED and hasattr(self._app, "do_" + name) and isinstance(bit, int):
                    supported[bit] = 1
        return supported


def _answer_to(error: Exception, by: str, point_id: str) -> ExecutionError:
    """Give what BACnet answers for what the command engine says."""
    if isinstance(error, BadInputError | ValueError):
        return ExecutionError("property", "valueOutOfRange")
    if isinstance(error, NotFoundError):
        return ExecutionError("object", "unknownObject")
    if isinstance(error, ConflictError | WriteFailedError):
        log.info("%s may not write %s: %s", by, point_id, error)
        return ExecutionError("property", "writeAccessDenied")
    log.warning("what %s wrote to %s was not carried out: %s", by, point_id, error)
    return ExecutionError("device", "operationalProblem")


def _properties(kind: str, node: Node) -> dict[str, Any]:
    values: dict[str, Any] = {
        "statusFlags": [0, 0, 0, 0],
        "eventState": "normal",
        "outOfService": False,
        "reliability": "no-fault-detected",
    }
    states = node.properties.get("states")
    texts = [str(each) for each in states] if isinstance(states, list) else []
    if kind == "analog-value":
        increment = node.properties.get("cov_increment")
        values["units"] = _units(node.properties.get("units"))
        values["covIncrement"] = float(increment) if isinstance(increment, int | float) else 0.0
    elif kind == "binary-value" and len(texts) == 2:
        values |= {"inactiveText": texts[0], "activeText": texts[1]}
    elif kind == "multi-state-value":
        values |= {"numberOfStates": max(1, len(texts)), "stateText": texts or ["1"]}
    return values


def _units(units: object) -> EngineeringUnits:
    try:
        return EngineeringUnits(str(units))
    except ValueError:
        return EngineeringUnits("no-units")


async def _unrecognized(apdu: Any) -> None:
    raise UnrecognizedService("not offered")


async def _refuse(apdu: Any) -> None:
    """Nobody silences this host from the network: only BACnet/SC could tell who asks."""
    raise ExecutionError("services", "serviceRequestDenied")
