"""Names of the BACnet object types whose present value a point can carry (ASHRAE 135-2020, clause 12)."""

from typing import Final

ANALOG: Final = frozenset(
    {"analog-input", "analog-output", "analog-value", "large-analog-value", "pulse-converter", "loop"}
)
WHOLE: Final = frozenset({"integer-value", "positive-integer-value", "accumulator"})
BINARY: Final = frozenset({"binary-input", "binary-output", "binary-value"})
MULTI_STATE: Final = frozenset({"multi-state-input", "multi-state-output", "multi-state-value"})
TEXT: Final = frozenset({"characterstring-value"})
WITH_VALUE: Final = ANALOG | WHOLE | BINARY | MULTI_STATE | TEXT
"""Object types that have a present value that a point can carry."""
OUTPUTS: Final = frozenset({"analog-output", "binary-output", "multi-state-output"})
