"""BACnet values to point values and back (ASHRAE 135-2020, clause 12). Pure but for the library's types."""

import contextlib
import math
from collections.abc import Sequence
from typing import Any, Final

from bacpypes3.basetypes import (
    BinaryLightingPV,
    BinaryPV,
    DoorValue,
    ErrorType,
    LifeSafetyState,
    ShedState,
    StatusFlags,
)
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
from actors.core.values import LONGEST_TEXT, PointStatus, PointValue
from bridges.bacnet.kinds import (
    ANALOG,
    BINARY,
    MULTI_STATE,
    OPEN,
    READ_ONLY,
    SHOWN,
    STATES,
    TEXT,
    WHOLE,
    is_makers_own,
)
from bridges.bacnet.texts import READ, SHOW
from bridges.numbers import shortest

LARGEST_REAL: Final = (2 - 2**-23) * 2.0**127
LARGEST_WHOLE: Final = 2**53
"""An Unsigned has as many octets as its sender likes; a point's value has 53 bits."""

_TYPES: Final[dict[str, Any]] = {
    "large-analog-value": Double,
    "integer-value": Integer,
    "positive-integer-value": Unsigned,
    "accumulator": Unsigned,
    "command": Unsigned,
    "timer": Unsigned,
    "characterstring-value": CharacterString,
    "life-safety-point": LifeSafetyState,
    "life-safety-zone": LifeSafetyState,
    "load-control": ShedState,
    "access-door": DoorValue,
    "binary-lighting-output": BinaryLightingPV,
}


def datatype(object_type: str) -> Any:
    """Give the type of an object's present value."""
    if object_type in BINARY:
        return BinaryPV
    if object_type in MULTI_STATE:
        return Unsigned
    return _TYPES.get(object_type, Real)


def to_point(object_type: str, raw: Any) -> tuple[PointValue | None, int]:
    """Give a present value as a point value with its status flags; what can't be taken is a fault.

    A schedule or a channel may have no value: one whose default is Null, one that nobody has written yet.
    """
    fault = int(PointStatus.FAULT)
    if object_type in OPEN and isinstance(raw, Null):
        return None, 0
    if raw is None or isinstance(raw, ErrorType | Null):
        return None, fault
    try:
        value = _value(object_type, raw)
    except (TypeError, ValueError):
        return None, fault
    if isinstance(value, float) and not math.isfinite(value):
        return None, fault
    if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
        return None, fault
    return value, 0


def to_text(raw: Any, most: int = 500) -> str:
    """Give a name or another text of a device for people: of at most `most` characters, all printable.

    Empty where the device has none, gives Null or refuses it.
    """
    if raw is None or isinstance(raw, Null | ErrorType):
        return ""
    shown = "".join(each if each.isprintable() else " " for each in str(raw))
    return shown.strip()[:most]


def state_texts(object_type: str, raw: Sequence[Any]) -> list[str]:
    """Give what people call the states of an object: none where the device calls no state anything.

    A state without a text among others that have one is called by the standard's word or its number.
    """
    texts = [to_text(each) for each in raw]
    if not any(texts):
        return []
    words = ("inactive", "active") if object_type in BINARY else range(1, len(texts) + 1)
    return [text or str(word) for text, word in zip(texts, words, strict=True)]


def _value(object_type: str, raw: Any) -> PointValue:
    if object_type in BINARY:
        return bool(int(raw))
    if object_type in MULTI_STATE or object_type in WHOLE:
        return int(raw)
    if object_type in TEXT:
        return str(raw)[:LONGEST_TEXT]
    if object_type in STATES:
        return _state_name(datatype(object_type), int(raw))
    if object_type in ANALOG:
        number = float(raw)
        # Large Analog Values have 64 bits; they and whole numbers are as exact as they come.
        return shortest(number) if isinstance(raw, Real) and not isinstance(raw, Double) else number
    return _by_type(raw)


def _by_type(raw: Any) -> PointValue:
    """Give a value whose object doesn't say what type it has. Raises TypeError for a list."""
    if isinstance(raw, Boolean | bool):
        return bool(raw)
    if isinstance(raw, float):
        return shortest(raw) if isinstance(raw, Real) and not isinstance(raw, Double) else float(raw)
    if isinstance(raw, int):
        return int(raw)
    return _shown(raw)[:LONGEST_TEXT]


def _shown(raw: Any) -> str:
    for kind, show in SHOW.items():
        if isinstance(raw, kind):
            return show(raw)
    if type(raw) in (list, tuple):
        raise TypeError("a list is no value")
    return str(raw)


def _state_name(states: Any, number: int) -> str:
    """Give a state's name by the standard; that of a maker's own is its number."""
    return str(states(number))


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


def is_no_such(code: str) -> bool:
    """Tell whether an error says that there is no such property or object."""
    return "unknown-property" in code or "unknown-object" in code


def is_in_alarm(raw: Any) -> bool | None:
    """Tell whether status flags say that an event of the object stands; None: they don't say."""
    bits = list(raw) if isinstance(raw, StatusFlags) else []
    return bool(bits[0]) if bits else None


def to_bacnet(object_type: str, value: PointValue | None, states: int | None) -> Any:
    """Give a point value as it is written; none relinquishes. Raises BadInputError."""
    if object_type in READ_ONLY or is_makers_own(object_type):
        raise BadInputError("point", object_type, "an object type that can be commanded")
    if value is None:
        return Null(())
    if object_type in STATES:
        return _state(object_type, value)
    if object_type in TEXT:
        if isinstance(value, str):
            return CharacterString(value)
        raise BadInputError("value", value, "a text")
    if object_type in SHOWN:
        return _read(object_type, value)
    return _number(object_type, value, states)


def _number(object_type: str, value: PointValue, states: int | None) -> Any:
    if object_type in BINARY:
        if isinstance(value, bool) or value in (0, 1):
            return BinaryPV(int(value))
        raise BadInputError("value", value, "true or false")
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


def _state(object_type: str, value: PointValue) -> Any:
    """Take a state by its name, or by its number. Raises BadInputError."""
    states = datatype(object_type)
    try:
        if isinstance(value, str):
            return states(value)
        if not isinstance(value, bool) and float(value).is_integer() and 0 <= value <= 65535:
            return states(int(value))
    except ValueError:
        pass
    names = ", ".join(str(states(number)) for number in sorted(set(states._enum_map.values())))
    raise BadInputError("value", value, f"one of {names}"[:400])


def _read(object_type: str, value: PointValue) -> Any:
    """Take a text only as it is shown: what was commanded is compared with what the device has."""
    read, expected = READ[object_type]
    if isinstance(value, str):
        with contextlib.suppress(ValueError, StopIteration):
            made = read(value)
            if _shown(made) == value:
                return made
    raise BadInputError("value", value, expected)


def from_choice(item: Any) -> PointValue | None:
    """Give one slot of a priority array: none for null."""
    choice = getattr(item, "_choice", None)
    if choice in (None, "null"):
        return None
    value = getattr(item, str(choice))
    if hasattr(value, "tagList"):
        # What the standard has no basic type for; no point is commanded with such.
        return None
    if choice in ("real", "double"):
        return shortest(value) if choice == "real" else float(value)
    if choice in ("enumerated", "unsigned", "integer"):
        return int(value)
    return _by_type(value)
