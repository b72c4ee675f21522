"""Names of the BACnet object types whose present value a point can carry (ASHRAE 135-2020, clause 12)."""

from typing import Final

ANALOG: Final = frozenset(
    {
        "analog-input",
        "analog-output",
        "analog-value",
        "large-analog-value",
        "pulse-converter",
        "loop",
        "lighting-output",
        "staging",
    }
)
WHOLE: Final = frozenset({"integer-value", "positive-integer-value", "accumulator", "command", "timer"})
BINARY: Final = frozenset({"binary-input", "binary-output", "binary-value"})
MULTI_STATE: Final = frozenset({"multi-state-input", "multi-state-output", "multi-state-value"})
TEXT: Final = frozenset({"characterstring-value"})
STATES: Final = frozenset(
    {"life-safety-point", "life-safety-zone", "load-control", "access-door", "binary-lighting-output"}
)
"""Their states have names by the standard, which are the point's values, such as `pre-alarm`."""
SHOWN: Final = frozenset(
    {
        "date-value",
        "time-value",
        "datetime-value",
        "date-pattern-value",
        "time-pattern-value",
        "datetime-pattern-value",
        "bitstring-value",
        "octetstring-value",
    }
)
"""Their values are shown, and commanded, as texts."""
NAMED: Final = frozenset({"alert-enrollment"})
"""Their values name an object, and can't be commanded."""
OPEN: Final = frozenset({"calendar", "schedule", "channel"})
"""Their values have the type that the device gives them, and can't be commanded."""
WITH_VALUE: Final = ANALOG | WHOLE | BINARY | MULTI_STATE | TEXT | STATES | SHOWN | NAMED | OPEN
"""Object types of the standard that have a present value that a point can carry."""
READ_ONLY: Final = NAMED | OPEN
OUTPUTS: Final = frozenset(
    {
        "analog-output",
        "binary-output",
        "multi-state-output",
        "access-door",
        "lighting-output",
        "binary-lighting-output",
    }
)
"""They always have a priority array."""
_FIRST_OF_MAKERS, _LAST = 128, 1023


def is_makers_own(kind: str) -> bool:
    """Tell whether this is the number of an object type that a maker has defined."""
    return kind.isdecimal() and _FIRST_OF_MAKERS <= int(kind) <= _LAST


def carries_value(kind: object) -> bool:
    """Tell whether a point can be bound to objects of a type; those of makers are taken as they come."""
    return isinstance(kind, str) and (kind in WITH_VALUE or is_makers_own(kind))
