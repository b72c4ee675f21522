"""Rules of history: which readings are kept, and what may be asked."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from actors.core.clock import LATEST
from actors.core.errors import BadInputError
from actors.core.values import PointValue
from actors.history.models import Mode, NewSeriesConfig

MAX_SAMPLES: Final = 100_000
"""Most samples of one answer."""

Kept = tuple[int, PointValue | None, int]
"""Time (ms), value and status of a sample."""


def from_column(value: int | float | str | bytes | None) -> PointValue | None:
    """Give the value of a row of table `sample`, which kept booleans as a blob of one byte."""
    return value == b"\x01" if isinstance(value, bytes) else value


def check_range(start: int | None, end: int | None) -> tuple[int, int]:
    """Give a range of times [start, end) in ms; open ends reach as far as times do. Raises BadInputError."""
    first, last = 0 if start is None else start, LATEST + 1 if end is None else end
    if first >= last:
        raise BadInputError("end", end, "a time after start")
    return first, last


def check_limit(limit: int) -> None:
    """Refuse an answer that is too large. Raises BadInputError."""
    if not 1 <= limit <= MAX_SAMPLES:
        raise BadInputError("limit", limit, f"1 to {MAX_SAMPLES}")


def slot(at: int, config: NewSeriesConfig) -> tuple[int, int]:
    """Give the interval [begin, end) in ms that a time lies in; they begin at multiples since the epoch."""
    length = max(1, round((config.interval or 1) * 1000))
    begin = at // length * length
    return begin, begin + length


def is_kept(config: NewSeriesConfig, before: Kept | None, sample: Kept) -> bool:
    """Tell whether a reading is kept, given the last one kept before it."""
    if before is None or config.mode is Mode.EVERY:
        return True
    at, value, status = sample
    if config.mode is Mode.INTERVAL:
        return slot(before[0], config) != slot(at, config)
    if config.interval is not None and at - before[0] >= config.interval * 1000:
        return True
    return status != before[2] or _differs(before[1], value, config.increment)


def stretches(start: int, end: int, times: Sequence[int], usual: int) -> list[tuple[int, int, bool]]:
    """Cut an interval called lost where samples came late; give (start, end, whether it is lost) in order.

    `times` are those of the samples inside, `usual` is how far two are apart otherwise (ms). What is without
    one for more than twice that is lost.
    """
    edges = [start, *times, end]
    found: list[tuple[int, int, bool]] = []
    for begin, until in pairwise(edges):
        lost = until - begin > 2 * usual
        first = found.pop()[0] if found and not lost and not found[-1][2] else begin
        found.append((first, until, lost))
    return found


def _differs(old: PointValue | None, new: PointValue | None, increment: float) -> bool:
    if isinstance(old, bool | str) or isinstance(new, bool | str) or old is None or new is None:
        return type(old) is not type(new) or old != new
    return new != old if increment <= 0 else abs(new - old) >= increment


def outside(interval: tuple[int, int], filled: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Give the parts of an interval that lie in none of the others."""
    parts = [interval]
    for low, high in filled:
        left: list[tuple[int, int]] = []
        for start, end in parts:
            if low <= start and end <= high:
                continue
            if high <= start or end <= low:
                left.append((start, end))
                continue
            left += [(start, low)] if start < low else []
            left += [(high, end)] if high < end else []
        parts = left
    return parts
