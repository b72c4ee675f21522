"""Rules of history: how values are kept without losing their type, and what may be asked."""

from typing import Final

from actors.core.clock import LATEST
from actors.core.errors import BadInputError
from actors.core.values import PointValue

MAX_SAMPLES: Final = 100_000
"""Most samples of one answer."""
MAX_INTERVALS: Final = 20_000
"""Most intervals of one rollup."""

_TRUE: Final = b"\x01"
_FALSE: Final = b"\x00"
_LARGEST: Final = 2**63


def to_column(value: PointValue | None) -> int | float | str | bytes | None:
    """Give a value as SQLite keeps it with its type: booleans as a blob of one byte."""
    if value is True:
        return _TRUE
    if value is False:
        return _FALSE
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        return float(value)
    return value


def from_column(value: int | float | str | bytes | None) -> PointValue | None:
    """Give back what `to_column` took."""
    return value == _TRUE if isinstance(value, bytes) else value


def check_range(start: int | None, end: int | None) -> tuple[int, int]:
    """Give a range of times [start, end) in ms; open ends reach as far as times do. Raises BadInputError."""
    first, last = 0 if start is None else start, LATEST + 1 if end is None else end
    if first >= last:
        raise BadInputError("end", end, "a time after start")
    return first, last


def check_intervals(start: int, end: int, interval: int) -> None:
    """Refuse a rollup that nobody can look at. Times and interval in ms. Raises BadInputError."""
    if not 1_000 <= interval <= 366 * 86_400_000:
        raise BadInputError("interval", interval / 1000, "1 second to 366 days")
    if (end - start) / interval > MAX_INTERVALS:
        raise BadInputError(
            "interval", interval / 1000, f"one that divides the range into {MAX_INTERVALS} parts at most"
        )
