"""What the counts of accumulators are multiplied with, so that they are in their units."""

import math
from decimal import Decimal
from typing import Any, Final

from actors.core.errors import BadInputError
from actors.core.values import PointValue
from bridges.numbers import shortest

SCALED: Final = frozenset({"accumulator"})
"""Object types with a Scale."""
AS_IT_IS: Final = Decimal(1)
LARGEST_EXPONENT: Final = 30


def to_factor(raw: Any) -> Decimal:
    """Read a Scale: a REAL, or a power of ten (ASHRAE 135, clause 12, Accumulator object type, Scale).

    Raises ValueError for what is no such factor.
    """
    choice = getattr(raw, "_choice", None)
    if choice == "floatScale":
        number = float(raw.floatScale)
        if math.isfinite(number) and number > 0:
            return Decimal(repr(shortest(number)))
        raise ValueError(f"its scale is {number}")
    if choice == "integerScale":
        exponent = int(raw.integerScale)
        if abs(exponent) <= LARGEST_EXPONENT:
            return AS_IT_IS.scaleb(exponent)
        raise ValueError(f"its scale is 10 to the power of {exponent}")
    raise ValueError("its scale is neither a number nor a power of ten")


def scaled(value: PointValue, factor: Decimal) -> PointValue:
    """Give a count in units."""
    if factor == AS_IT_IS or isinstance(value, str):
        return value
    return float(Decimal(value) * factor)


def unscaled(value: PointValue, factor: Decimal) -> PointValue:
    """Give what to write for a value in units. Raises BadInputError where no count makes it."""
    if factor == AS_IT_IS or isinstance(value, str | bool):
        return value
    if not math.isfinite(value):
        raise BadInputError("value", value, "a finite number")
    count = Decimal(repr(value)) / factor
    if count != count.to_integral_value():
        raise BadInputError("value", value, f"a multiple of {factor}, which the device counts in")
    return int(count)
