"""BACnet values to point values and back (ASHRAE 135-2020, clause 12). Pure but for the library's types."""

import math
from typing import Any, Final

from bacpypes3.basetypes import BinaryPV, ErrorType, StatusFlags
from bacpypes3.primitivedata import (
    Boolean,
    CharacterString,
    Double,
    Integer,
    Null,
    Real,
    Unsigned,
)

from actors.core.errors import BadInputError
from actors.core.values import PointStatus, PointValue
from bridges.bacnet.kinds import BINARY, MULTI_STATE, TEXT, WHOLE
from bridges.numbers import shortest

LARGEST_REAL: Final = (2 - 2**-23) * 2.0**127
LARGEST_WHOLE: Final = 2**53
"""An Unsigned has as many octets as its sender likes; a point's value has 53 bits."""

_TYPES: Final[dict[str, Any]] = {
    "large-analog-value": Double,
    "integer-value": Integer,
    "positive-integer-value": Unsigned,
    "accumulator": Unsigned,
    "characterstring-value": CharacterString,
}


def datatype(object_type: str) -> Any:
    """Give the type of an object's present value."""
    if object_type in BINARY:
        return BinaryPV
    if object_type in MULTI_STATE:
        return Unsigned
    return _TYPES.get(object_type, Real)


def to_point(object_type: str, raw: Any) -> tuple[PointValue | None, int]:
    """Give a present value as a point value with its status flags; what can't be taken is a fault."""
    fault = int(PointStatus.FAULT)
    if raw is None or isinstance(raw, ErrorType | Null):
        return None, fault
    try:
        if object_type in BINARY:
            return bool(int(raw)), 0
        if object_type in MULTI_STATE or object_type in WHOLE:
            whole = int(raw)
            return (whole, 0) if abs(whole) <= LARGEST_WHOLE else (None, fault)
        if object_type in TEXT:
            return str(raw)[:255], 0
        number = float(raw)
    except (TypeError, ValueError):
        return None, fault
    if datatype(object_type) is Real:
        number = shortest(number)
    return (number, 0) if math.isfinite(number) else (None, fault)


def reason(raw: Any) -> str:
    """Say why there is no value: the device's own error code where it gave one."""
    return str(raw.errorCode) if isinstance(raw, ErrorType) else "it has no present value"


def to_status(raw: Any) -> int:
    """Give the flags of a status-flags property; in-alarm and out-of-service are the device's own affair."""
    if raw is None or isinstance(raw, ErrorType) or not isinstance(raw, StatusFlags):
        return 0
    bits = list(raw)
    status = 0
    if len(bits) > 1 and bits[1]:
        status |= PointStatus.FAULT
    if len(bits) > 2 and bits[2]:
        status |= PointStatus.OVERRIDDEN
    return int(status)


def to_bacnet(object_type: str, value: PointValue | None, states: int | None) -> Any:
    """Give a point value as it is written; none relinquishes. Raises BadInputError."""
    if value is None:
        return Null(())
    if object_type in BINARY:
        if isinstance(value, bool) or value in (0, 1):
            return BinaryPV(int(value))
        raise BadInputError("value", value, "true or false")
    if object_type in TEXT:
        if isinstance(value, str):
            return CharacterString(value)
        raise BadInputError("value", value, "a text")
    if isinstance(value, bool | str):
        raise BadInputError("value", value, "a number")
    if object_type in MULTI_STATE:
        if float(value).is_integer() and 1 <= value <= (states or 2**31):
            return Unsigned(int(value))
        raise BadInputError("value", value, f"a whole number from 1 to {states or 'the number of states'}")
    if object_type in WHOLE:
        low, high = (-(2**31), 2**31 - 1) if object_type == "integer-value" else (0, 2**32 - 1)
        if float(value).is_integer() and low <= value <= high:
            return datatype(object_type)(int(value))
        raise BadInputError("value", value, f"a whole number from {low} to {high}")
    if not math.isfinite(value):
        raise BadInputError("value", value, "a finite number")
    if abs(value) > LARGEST_REAL and object_type != "large-analog-value":
        raise BadInputError("value", value, "a number that fits 32 bits")
    return datatype(object_type)(float(value))


def from_choice(item: Any) -> PointValue | None:
    """Give one slot of a priority array: none for null."""
    choice = getattr(item, "_choice", None)
    if choice in (None, "null"):
        return None
    value = getattr(item, str(choice))
    if choice in ("real", "double"):
        return shortest(value) if choice == "real" else float(value)
    if choice in ("enumerated", "unsigned", "integer"):
        return int(value)
    if isinstance(value, Boolean | bool):
        return bool(value)
    return str(value)
