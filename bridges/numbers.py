"""Numbers as people write them. Pure."""

import struct
from typing import Final

_SINGLE: Final = struct.Struct("<f")
_LARGEST: Final = 3.4e38


def shortest(value: float) -> float:
    """Give a 32-bit number with as few digits as name it (six or more): 21.3, not 21.299999237060547.

    What isn't finite, or so large that rounding could leave the range, stays as it is.
    """
    if not abs(value) < _LARGEST:
        return value
    wanted = _SINGLE.pack(value)
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        if _SINGLE.pack(short) == wanted:
            return short
    return float(f"{value:.9g}")
