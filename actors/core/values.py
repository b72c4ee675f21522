"""Point values and status flags, as every part of the system sees them."""

import math
from enum import IntFlag
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

PointValue = bool | int | float | str
"""Analog points are floats, binary points bools, multi-state points ints (from 1), others text."""

LONGEST_TEXT: Final = 255
"""Characters of a text that is a value; bridges cut what is longer."""


def _strict(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a point value is a finite number")
    if isinstance(value, int) and not -(2**53) <= value <= 2**53:
        raise ValueError("a whole number of at most 53 bits")
    if isinstance(value, bool | int | float | str):
        return value
    raise ValueError("a point value is a number, true or false, or a text")


StrictPointValue = Annotated[
    bool | int | float | Annotated[str, Field(max_length=LONGEST_TEXT)],
    BeforeValidator(_strict),
]


class PointStatus(IntFlag):
    """Status flags of a point; none set means normal."""

    OK = 0
    ALARM = 1
    STALE = 2
    FAULT = 4
    OVERRIDDEN = 8
    DOWN = 16
    DISABLED = 32


def flag_names(status: int) -> list[str]:
    """Give the flags that are set, in lower case: `["stale", "down"]`."""
    return [flag.name.lower() for flag in PointStatus if flag & status and flag.name]


def _from_names(value: Any) -> Any:
    if isinstance(value, list):
        status = PointStatus.OK
        for name in value:
            try:
                status |= PointStatus[str(name).upper()]
            except KeyError:
                raise ValueError(f"{name!r} is no status flag") from None
        return int(status)
    return value


StatusFlags = Annotated[
    int,
    BeforeValidator(_from_names),
    PlainSerializer(flag_names, return_type=list[str], when_used="json"),
    WithJsonSchema({"type": "array", "items": {"enum": flag_names(63)}, "examples": [[]]}),
]
"""Status flags in a model: an int in Python, a list of names in JSON."""


DEEPEST = 32
"""Levels of lists and objects that free data of a record may have."""


def plain_json(value: Any, level: int = 0) -> Any:
    """Refuse what can't be given back as JSON in UTF-8. Raises ValueError."""
    if level > DEEPEST:
        raise ValueError(f"lists and objects at most {DEEPEST} levels deep")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("finite numbers only")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("text that is valid Unicode") from None
    if isinstance(value, dict):
        for key, each in value.items():
            plain_json(key, level + 1)
            plain_json(each, level + 1)
    elif isinstance(value, list):
        for each in value:
            plain_json(each, level + 1)
    return value


PlainJson = Annotated[dict[str, Any], AfterValidator(plain_json)]
"""Free data of a record, which can be given back as it came."""
