"""BACnet objects of a field controller, on bacpypes3, with its server's gaps closed.

Of bacpypes3 0.0.110: a network write to a value that isn't commandable notifies no COV subscriber; a change
of reliability or out-of-service doesn't either; the present value of an input can be written; multi-state
objects are given a COV criterion that needs an increment, which they don't have; some values aren't
commandable.
"""

import math
from typing import Any

from bacpypes3.basetypes import PriorityValue, PropertyIdentifier, Reliability
from bacpypes3.errors import PropertyError
from bacpypes3.local.analog import AnalogInputObject, AnalogOutputObject, AnalogValueObject
from bacpypes3.local.binary import BinaryInputObject, BinaryOutputObject, BinaryValueObject
from bacpypes3.local.cmd import Commandable
from bacpypes3.local.cov import GenericCriteria
from bacpypes3.local.multistate import MultiStateValueObject
from bacpypes3.primitivedata import Null

WRITABLE_BESIDES = frozenset({"presentValue", "outOfService", "covIncrement"})
LOOP = 16
"""The priority at which a controller's own loops write."""


class FieldObject:
    """What all objects here share: who may write what, and who hears of it."""

    async def write_property(
        self, attr: int | str, value: Any, index: int | None = None, priority: int | None = None
    ) -> None:
        """Take a write from the network. Raises PropertyError with the device's reason."""
        me: Any = self
        name = attr if isinstance(attr, str) else PropertyIdentifier(attr).attr
        if name not in WRITABLE_BESIDES or getattr(me, name) is None:
            raise PropertyError("writeAccessDenied")
        if index is not None:
            raise PropertyError("propertyIsNotAnArray")
        commandable = isinstance(me, Commandable)
        if name == "presentValue":
            if not commandable and not me.outOfService:
                raise PropertyError("writeAccessDenied")
            self._check(value)
        elif name == "covIncrement" and not 0 <= value < math.inf:
            raise PropertyError("valueOutOfRange")
        before, flags = getattr(me, name), me.statusFlags
        await super().write_property(name, value, None, priority)  # type: ignore[misc]
        if not (commandable and name == "presentValue"):
            _tell(me, name, before)
        if name == "outOfService":
            _tell(me, "statusFlags", flags)

    def _check(self, value: Any) -> None:
        me: Any = self
        if isinstance(value, Null):
            if not isinstance(me, Commandable):
                raise PropertyError("invalidDataType")
            return
        if isinstance(value, float):
            low, high = me.minPresValue, me.maxPresValue
            bad = not math.isfinite(value)
            bad = bad or (low is not None and value < low) or (high is not None and value > high)
        else:
            span = (1, me.numberOfStates) if "numberOfStates" in me._elements else (0, 1)
            bad = not span[0] <= value <= span[1]
        if bad:
            raise PropertyError("valueOutOfRange")

    def set_fault(self, failed: bool) -> None:
        """Show that the sensor is broken (reliability no-sensor, status flag fault), or works again."""
        me: Any = self
        wanted = Reliability.noSensor if failed else Reliability.noFaultDetected
        if me.reliability != wanted:
            flags = me.statusFlags
            me.reliability = wanted
            _tell(me, "statusFlags", flags)


def _tell(obj: Any, name: str, before: Any) -> None:
    now = getattr(obj, name)
    for monitor in list(obj._property_monitors[name]):
        monitor(before, now)


def command(obj: Any) -> tuple[float, int] | None:
    """Give the value in force of a commandable object and its priority; none is commanded: none."""
    priority = obj.currentCommandPriority.unsigned
    return None if priority is None else (float(obj.presentValue), int(priority))


def write_loop(obj: Any, value: float) -> None:
    """Let a controller's loop write its output, as any loop does: at priority 16."""
    obj.priorityArray[LOOP - 1] = PriorityValue(real=value)


def write_default(obj: Any, value: Any) -> None:
    """Let a controller change what holds while nobody commands (relinquish default)."""
    if obj.relinquishDefault != value:
        obj.relinquishDefault = value
        obj.recalculating()


class Input(FieldObject, AnalogInputObject):  # type: ignore[misc]
    """A sensor."""


class Output(FieldObject, AnalogOutputObject):  # type: ignore[misc]
    """A modulating output."""


class Value(FieldObject, AnalogValueObject):  # type: ignore[misc]
    """A number that the controller works out."""


class Setpoint(FieldObject, Commandable, AnalogValueObject):  # type: ignore[misc]
    """A number that can be commanded."""


class Contact(FieldObject, BinaryInputObject):  # type: ignore[misc]
    """A contact."""


class Relay(FieldObject, BinaryOutputObject):  # type: ignore[misc]
    """A start and stop output."""


class Switch(FieldObject, Commandable, BinaryValueObject):  # type: ignore[misc]
    """A binary value that can be commanded."""


class State(FieldObject, MultiStateValueObject):  # type: ignore[misc]
    """A mode that the controller works out."""

    _cov_criteria = GenericCriteria


class Mode(FieldObject, Commandable, MultiStateValueObject):  # type: ignore[misc]
    """A mode that can be commanded."""

    _cov_criteria = GenericCriteria


CLASSES: dict[tuple[str, bool], type] = {
    ("analog-input", False): Input,
    ("analog-output", True): Output,
    ("analog-value", False): Value,
    ("analog-value", True): Setpoint,
    ("binary-input", False): Contact,
    ("binary-output", True): Relay,
    ("binary-value", True): Switch,
    ("multi-state-value", False): State,
    ("multi-state-value", True): Mode,
}
"""By object type and whether it is commandable."""
