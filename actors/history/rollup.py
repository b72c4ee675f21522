"""Rollups: intervals and calendar units in a time zone, and the sums over them. Values in, results out."""

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from actors.core.errors import BadInputError
from actors.history.columns import Columns, Floats, Ints

DAY: Final = 86_400_000
MAX_INTERVALS: Final = 20_000
"""Most intervals of one rollup."""
LONGEST: Final = 366 * DAY


class Unit(StrEnum):
    """Calendar units, each as long as it is in its time zone: a day may have 23 or 25 hours."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


_SHORTEST: Final = {
    Unit.HOUR: 3_600_000,
    Unit.DAY: 23 * 3_600_000,
    Unit.WEEK: 7 * DAY - 3_600_000,
    Unit.MONTH: 28 * DAY - 3_600_000,
    Unit.YEAR: 365 * DAY,
}


class Pieces(NamedTuple):
    """Parts of a history in order of time, as columns: single samples, cells or whole chunks.

    From `finish` on the value `last` holds until the next piece begins, if `holds`.
    """

    begin: Ints
    finish: Ints
    counts: Ints
    min: Floats
    max: Floats
    sum: Floats
    first: Floats
    last: Floats
    integral: Floats
    """Value by milliseconds from `begin` to `finish`."""
    covered: Floats
    """Milliseconds of these with a value."""
    holds: NDArray[np.bool_]


class Sums(NamedTuple):
    """One row per interval that has a number."""

    start: list[int]
    end: list[int]
    min: list[float]
    max: list[float]
    sum: list[float]
    counts: list[int]
    first: list[float]
    last: list[float]
    time_weighted: list[float]


def zone_of(name: str) -> ZoneInfo:
    """Give a time zone by its name in the IANA database. Raises BadInputError."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        expected = "a name of the IANA time zone database, such as Europe/Berlin"
        raise BadInputError("zone", name, expected) from None


def edges(start: int, end: int, step: int | str, zone: str = "UTC") -> Ints:
    """Give where intervals begin, from the one that holds `start` to the end of the one before `end`.

    `step` is a length in ms or a Unit. Lengths of whole days begin at midnight in the zone, counted from
    1970-01-01, and lengths that a day is a multiple of are counted from each midnight (so that the last of a
    day with a change of the clock is shorter, or one more). Others begin at multiples of the length since the
    epoch. Weeks begin on Monday (ISO 8601). Raises BadInputError.
    """
    if isinstance(step, str):
        try:
            unit: Unit | None = Unit(step)
        except ValueError:
            expected = f"seconds or one of {', '.join(Unit)}"
            raise BadInputError("interval", step, expected) from None
        length = _SHORTEST[Unit(step)]
    else:
        unit, length = None, step
        if not 1_000 <= step <= LONGEST:
            raise BadInputError("interval", step / 1000, "1 second to 366 days")
    if (end - start) / length > MAX_INTERVALS:
        raise BadInputError(
            "interval",
            step if isinstance(step, str) else step / 1000,
            f"one that divides the range into {MAX_INTERVALS} parts at most",
        )
    where = zone_of(zone)
    if unit is Unit.HOUR:
        unit, length = None, 3_600_000
    elif unit is Unit.DAY and zone == "UTC":
        unit, length = None, DAY
    plain = zone == "UTC" or (length % DAY and DAY % length)
    if unit is None and plain:
        return np.arange(start // length * length, end + length, length, dtype=np.int64)
    if unit is None and DAY % length == 0 and length < DAY:
        days = list(_midnights(start, end, Unit.DAY, 1, where))
        parts = [np.arange(one, two, length) for one, two in itertools.pairwise(days)]
        found = np.append(np.concatenate(parts), days[-1])
    else:
        found = np.fromiter(
            _midnights(start, end, unit or Unit.DAY, 1 if unit else length // DAY, where), np.int64
        )
    low = max(0, int(np.searchsorted(found, start, "right")) - 1)
    high = int(np.searchsorted(found, end, "left"))
    return found[low : high + 1]


_EPOCH_DAY: Final = date(1970, 1, 1)


def _midnights(start: int, end: int, unit: Unit, days: int, zone: ZoneInfo) -> Iterator[int]:
    """Give the begins of calendar units from before `start` to at or after `end`; `days` is for days only."""
    day = datetime.fromtimestamp(start / 1000, UTC).astimezone(zone).date() - timedelta(days=1)
    if unit is Unit.DAY:
        day -= timedelta(days=(day - _EPOCH_DAY).days % days)
    elif unit is Unit.WEEK:
        day -= timedelta(days=day.weekday())
    else:
        day = day.replace(day=1) if unit is Unit.MONTH else day.replace(month=1, day=1)
    while True:
        at = _midnight(day, zone)
        yield at
        if at >= end:
            return
        try:
            if unit is Unit.MONTH:
                day = (day + timedelta(days=31)).replace(day=1)
            elif unit is Unit.YEAR:
                day = day.replace(year=day.year + 1)
            else:
                day += timedelta(days=7 if unit is Unit.WEEK else days)
        except (ValueError, OverflowError):  # the calendar ends with the year 9999
            yield end
            return


def _midnight(day: date, zone: ZoneInfo) -> int:
    """Give the first moment of a day; where the clock skips midnight, the moment that it skips to."""
    at = datetime(day.year, day.month, day.day, tzinfo=zone)
    return round(at.timestamp()) * 1000


def integrals(times: Ints, numbers: Floats) -> Floats:
    """Give the integral (value by ms) from the first sample to each; every value holds until the next."""
    total = np.zeros(len(times))
    with np.errstate(over="ignore", invalid="ignore"):
        np.cumsum(np.diff(times) * numbers[:-1], out=total[1:])
    return total


def from_samples(columns: Columns) -> Pieces:
    """Make each sample a piece; those without a number end what held before."""
    times, numbers = columns.times, columns.numbers
    known = ~np.isnan(numbers)
    nothing = np.zeros(len(times))
    clean = numbers if known.all() else np.where(known, numbers, 0.0)
    return Pieces(
        times, times, known.astype(np.int64), clean, clean, clean, clean, clean, nothing, nothing, known
    )


def join(parts: Sequence[Pieces]) -> Pieces:
    """Put pieces one behind the other; they must be in order of time."""
    return parts[0] if len(parts) == 1 else Pieces(*map(np.concatenate, zip(*parts, strict=True)))


def part(pieces: Pieces, index: Any) -> Pieces:
    """Give some pieces: a slice or a mask."""
    chosen: list[Any] = [each[index] for each in pieces]
    return Pieces(*chosen)


def sum_up(pieces: Pieces, bounds: Ints, start: int, end: int, until: int) -> Sums:
    """Sum up pieces by intervals; each lies in one of them, and all in [start, end) but for one before.

    The time-weighted average lets a value hold until the next sample, at most until `until`; a sample without
    a number, or the time before the first one, counts as no time. Intervals without a number are left out.
    """
    full = pieces.counts > 0
    some = pieces if full.all() else part(pieces, full)
    if not len(some.begin):
        return Sums([], [], [], [], [], [], [], [], [])
    place = np.searchsorted(bounds, some.begin, "right") - 1
    starts = np.flatnonzero(np.concatenate(([True], place[1:] != place[:-1])))
    ends = np.append(starts[1:], len(place)) - 1
    which = place[starts]
    low, high = bounds[which], bounds[which + 1]
    until = max(min(end, until), int(pieces.finish[-1]))
    last = some.last[ends]
    with np.errstate(all="ignore"):
        area, covered = _held(pieces, np.clip(low, start, until), np.clip(high, start, until))
        weighted = np.where(covered > 0, area / covered, last)
        sums = np.add.reduceat(some.sum, starts)
    return Sums(
        low.tolist(),
        high.tolist(),
        np.minimum.reduceat(some.min, starts).tolist(),
        np.maximum.reduceat(some.max, starts).tolist(),
        sums.tolist(),
        np.add.reduceat(some.counts, starts).tolist(),
        some.first[starts].tolist(),
        last.tolist(),
        weighted.tolist(),
    )


def _held(pieces: Pieces, low: Ints, high: Ints) -> tuple[Floats, Floats]:
    """Give the integral and the covered time between pairs of moments, none of them inside a piece."""
    apart = np.diff(pieces.begin, append=pieces.finish[-1:]) - (pieces.finish - pieces.begin)
    gap = np.where(pieces.holds, np.maximum(apart, 0), 0)
    area = np.concatenate(([0.0], np.cumsum(pieces.integral + gap * pieces.last)))
    time = np.concatenate(([0.0], np.cumsum(pieces.covered + gap)))

    def until(moment: Ints) -> tuple[Any, Any]:
        at = np.searchsorted(pieces.begin, moment, "right") - 1
        before = at < 0
        at = np.maximum(at, 0)
        inside = moment > pieces.begin[at]
        rest = np.where(pieces.holds[at], np.maximum(moment - pieces.finish[at], 0), 0)
        whole = area[at] + np.where(inside, pieces.integral[at] + rest * pieces.last[at], 0.0)
        known = time[at] + np.where(inside, pieces.covered[at] + rest, 0.0)
        return np.where(before, 0.0, whole), np.where(before, 0.0, known)

    (one, known_one), (two, known_two) = until(low), until(high)
    return two - one, known_two - known_one
