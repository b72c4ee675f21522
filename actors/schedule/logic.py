"""Rules of schedules: which days fit, and what is in force (ASHRAE 135-2020, 12.24.4 to 12.24.8).

Times are local and read off the wall: on the day on which clocks go back the repeated hour runs through the
schedule twice, as it does in field devices. Values don't carry over midnight.
"""

import calendar
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from actors.core.errors import BadInputError
from actors.core.values import PointValue
from actors.schedule.models import (
    Calendar,
    DatePattern,
    DateRange,
    Effective,
    Period,
    Schedule,
    ScheduleException,
    Source,
    Step,
    TimeValue,
    WeekNDay,
)

LOOK_AHEAD: Final = 400
"""Days in which the next change is looked for."""
MAX_PREVIEW: Final = 62 * 86_400_000
"""Milliseconds that one preview may span."""

Calendars = Mapping[int, Calendar]
Held = tuple[PointValue | None, Source, int | None]
"""Value, where it comes from, and the exception that gives it."""


def _fits_part(wanted: int | str | None, actual: int, last: int) -> bool:
    if wanted is None:
        return True
    if wanted == "odd":
        return actual % 2 == 1
    if wanted == "even":
        return actual % 2 == 0
    return actual == (last if wanted == "last" else wanted)


def fits(period: Period, day: date) -> bool:
    """Tell whether a day belongs to a period."""
    last = calendar.monthrange(day.year, day.month)[1]
    match period:
        case DateRange():
            return (period.start is None or period.start <= day) and (period.end is None or day <= period.end)
        case DatePattern():
            return (
                (period.year is None or period.year == day.year)
                and _fits_part(period.month, day.month, 12)
                and _fits_part(period.day, day.day, last)
                and (period.weekday is None or period.weekday == day.isoweekday())
            )
        case WeekNDay():
            week = day.day > last - 7 if period.week == "last" else period.week in {None, (day.day + 6) // 7}
            return (
                _fits_part(period.month, day.month, 12)
                and week
                and (period.weekday is None or period.weekday == day.isoweekday())
            )


def on_day(exception: ScheduleException, calendars: Calendars, day: date) -> bool:
    """Tell whether an exception holds on a day; one whose calendar is gone never does."""
    if exception.period is not None:
        return fits(exception.period, day)
    known = calendars.get(exception.calendar_id or 0)
    return known is not None and any(fits(entry.period, day) for entry in known.entries)


def _clock(text: str) -> time:
    return time.fromisoformat(text)


def _at(entries: Iterable[TimeValue], moment: time) -> PointValue | None:
    """Give the value of the last entry that isn't past `moment`; None before the first."""
    held: PointValue | None = None
    for entry in sorted(entries, key=lambda each: _clock(each.time)):
        if _clock(entry.time) > moment:
            break
        held = entry.value
    return held


class Day:
    """What of a schedule holds on one day, worked out once."""

    def __init__(self, schedule: Schedule, calendars: Calendars, day: date) -> None:
        """Choose the exceptions of the day and the entries of its weekday."""
        outside = (schedule.starts_on is not None and day < schedule.starts_on) or (
            schedule.ends_on is not None and day > schedule.ends_on
        )
        self.off = outside or not schedule.enabled
        self.default = schedule.default_value
        self.exceptions = sorted(
            (each for each in schedule.exceptions if on_day(each, calendars, day)),
            key=lambda each: (each.priority, each.id),
        )
        self.week = [each for each in schedule.week if each.weekday == day.isoweekday()]

    def held(self, moment: time) -> Held:
        """Give what holds at a time of the day: the strongest exception that gives a value, week, default."""
        if self.off:
            return None, Source.NONE, None
        for exception in self.exceptions:
            value = _at(exception.entries, moment)
            if value is not None:
                return value, Source.EXCEPTION, exception.id
        value = _at(self.week, moment)
        if value is not None:
            return value, Source.WEEK, None
        return self.default, Source.DEFAULT, None

    def times(self) -> set[time]:
        """Give the times of the day at which what holds may change."""
        found = {_clock(each.time) for each in self.week}
        for exception in self.exceptions:
            found |= {_clock(each.time) for each in exception.entries}
        return found | {time()}


def _local(moment: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(moment / 1000, zone)


def _ms(local: datetime) -> int:
    return round(local.astimezone(UTC).timestamp() * 1000)


def held_at(schedule: Schedule, calendars: Calendars, moment: int) -> Held:
    """Give what a schedule gives at a moment (ms), and where it comes from."""
    local = _local(moment, ZoneInfo(schedule.zone))
    return Day(schedule, calendars, local.date()).held(local.time())


def _shift(day: date, zone: ZoneInfo) -> int | None:
    """Give the moment (ms) at which the clock is changed on a day, or None."""
    low, high = (_ms(datetime.combine(each, time(), zone)) for each in (day, day + timedelta(days=1)))
    before = _local(low, zone).utcoffset()
    if before == _local(high, zone).utcoffset():
        return None
    while high - low > 1000:
        middle = (low + high) // 2000 * 1000
        if _local(middle, zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def _moments(schedule: Schedule, calendars: Calendars, day: date) -> Iterator[int]:
    """Give the moments (ms) of a day at which what holds may change, in order."""
    zone = ZoneInfo(schedule.zone)
    found: set[int] = set()
    for each in Day(schedule, calendars, day).times():
        local = datetime.combine(day, each, zone)
        found |= {_ms(local), _ms(local.replace(fold=1))}
    shift = _shift(day, zone)
    if shift is not None:
        found.add(shift)
    yield from sorted(found)


def steps(
    schedule: Schedule,
    calendars: Calendars,
    start: int,
    end: int,
    same: Callable[[Held, Held], bool] = lambda one, two: one[:2] == two[:2],
) -> Iterator[tuple[int, Held]]:
    """Give what holds at `start` and each change of it until `end` (ms)."""
    zone = ZoneInfo(schedule.zone)
    held = held_at(schedule, calendars, start)
    yield start, held
    day, last = _local(start, zone).date(), _local(end, zone).date()
    while day <= last:
        for moment in _moments(schedule, calendars, day):
            if not start < moment < end:
                continue
            then = held_at(schedule, calendars, moment)
            if not same(held, then):
                held = then
                yield moment, held
        day += timedelta(days=1)


def next_change(schedule: Schedule, calendars: Calendars, after: int) -> int | None:
    """Give the first moment past `after` (ms) at which the value differs, or None within 400 days."""
    found = steps(
        schedule,
        calendars,
        after,
        after + LOOK_AHEAD * 86_400_000,
        same=lambda one, two: one[0] == two[0] and (one[1] is Source.NONE) == (two[1] is Source.NONE),
    )
    next(found)
    change = next(found, None)
    return None if change is None else change[0]


def effective(schedule: Schedule, calendars: Calendars, at: int) -> Effective:
    """Give what a schedule gives at a moment (ms), where it comes from, and until when."""
    value, source, exception = held_at(schedule, calendars, at)
    return Effective(
        value=value,
        source=source,
        exception_id=exception,
        next_change=next_change(schedule, calendars, at),
    )


def preview(schedule: Schedule, calendars: Calendars, start: int, end: int) -> list[Step]:
    """Give the values over [start, end) ms as steps, for a chart. Raises BadInputError."""
    if not start < end <= start + MAX_PREVIEW:
        raise BadInputError("end", end, "a time after start, by 62 days at most")
    return [
        Step(time=at, value=value, source=source)
        for at, (value, source, _) in steps(schedule, calendars, start, end)
    ]
