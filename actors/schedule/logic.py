"""Rules of schedules: which days fit, and what is in force (ASHRAE 135-2020, 12.24.4 to 12.24.8).

Times are local and read off the wall: on the day on which clocks go back the repeated hour runs through the
schedule twice, as it does in field devices. Values don't carry over midnight.
"""

import calendar
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

DAY: Final = 86_400_000
"""Milliseconds of a day on which no clock is changed."""
LOOK_AHEAD: Final = 400
"""Days in which the next change is looked for."""
MAX_PREVIEW: Final = 62 * DAY
"""Milliseconds that one preview may span."""
LAST: Final = round(datetime(2155, 1, 1, tzinfo=UTC).timestamp() * 1000)
"""Where dates end (ms): BACnet counts years from 1900 to 2154 (135-2020, 20.2.12)."""

FROM_THE_END: Final = ("last", "second_last", "third_last", "fourth_last")

Calendars = Mapping[int, Calendar]
Held = tuple[PointValue | None, Source, int | None]
"""Value, where it comes from, and the exception that gives it."""
Entries = tuple[list[time], list[PointValue | None]]
"""Times of a day in order, and the value from each on."""


def _fits_part(wanted: int | str | None, actual: int) -> bool:
    if wanted is None:
        return True
    if wanted in {"odd", "even"}:
        return actual % 2 == (wanted == "odd")
    return actual == wanted


def _last(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def fits(period: Period, day: date) -> bool:
    """Tell whether a day belongs to a period."""
    match period:
        case DateRange():
            return (period.start is None or period.start <= day) and (period.end is None or day <= period.end)
        case DatePattern():
            return (
                (period.year is None or period.year == day.year)
                and _fits_part(period.month, day.month)
                and _fits_part(_last(day) if period.day == "last" else period.day, day.day)
                and (period.weekday is None or period.weekday == day.isoweekday())
            )
        case WeekNDay():
            return (
                _fits_part(period.month, day.month)
                and (period.weekday is None or period.weekday == day.isoweekday())
                and _in_week(period.week, day)
            )


def check_days(field: str, periods: Sequence[Period | None]) -> None:
    """Refuse a period that no day belongs to, such as 31 February; patterns stay free. Raises BadInputError.

    What devices have, and what was kept before this was asked, can still be read.
    """
    for period in periods:
        if isinstance(period, DatePattern) and not _exists(period):
            parts = period.model_dump(exclude={"kind"}, exclude_none=True)
            given = ", ".join(f"{name} {value}" for name, value in parts.items())
            raise BadInputError(field, given, "a date that some year has, with the weekday of its year")


def _exists(pattern: DatePattern) -> bool:
    """Tell whether some day fits; without a year each date falls on each weekday some time."""
    wanted = (
        pattern if pattern.year is not None else pattern.model_copy(update={"year": 2000, "weekday": None})
    )
    year, month = wanted.year or 2000, wanted.month
    first, length = (date(year, month, 1), 31) if isinstance(month, int) else (date(year, 1, 1), 366)
    return any(fits(wanted, first + timedelta(days=after)) for after in range(length))


def _in_week(week: int | str | None, day: date) -> bool:
    if week is None:
        return True
    if isinstance(week, int):
        return week == (day.day + 6) // 7
    return FROM_THE_END.index(week) == (_last(day) - day.day) // 7


def _entries(values: Iterable[TimeValue]) -> Entries:
    ordered = sorted(values, key=lambda each: time.fromisoformat(each.time))
    return [time.fromisoformat(each.time) for each in ordered], [each.value for each in ordered]


def _at(entries: Entries, moment: time) -> PointValue | None:
    """Give the value of the last entry that isn't past `moment`; None before the first."""
    number = bisect_right(entries[0], moment)
    return entries[1][number - 1] if number else None


def _local(moment: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(moment / 1000, zone)


def _ms(local: datetime) -> int:
    return round(local.astimezone(UTC).timestamp() * 1000)


class Outlook:
    """What a schedule gives at any time; what is alike on many days is worked out once."""

    def __init__(self, schedule: Schedule, calendars: Calendars) -> None:
        """Put the exceptions in the order in which they beat one another, and read all times."""
        self.zone = ZoneInfo(schedule.zone)
        self.schedule, self.calendars = schedule, calendars
        self.exceptions = [
            (each, _entries(each.entries))
            for each in sorted(schedule.exceptions, key=lambda each: (each.priority, each.id))
        ]
        self.week = [
            _entries(each for each in schedule.week if each.weekday == weekday) for weekday in range(1, 8)
        ]
        self._chosen: dict[tuple[int, date], bool] = {}
        self._plans: dict[tuple[int, ...], tuple[list[time], list[Held]]] = {}

    def _on(self, exception: ScheduleException, day: date) -> bool:
        """Tell whether an exception holds on a day; one whose calendar is gone never does."""
        if exception.period is not None:
            return fits(exception.period, day)
        key = (exception.calendar_id or 0, day)
        if key not in self._chosen:
            known = self.calendars.get(key[0])
            self._chosen[key] = known is not None and any(fits(each.period, day) for each in known.entries)
        return self._chosen[key]

    def plan(self, day: date) -> tuple[list[time], list[Held]]:
        """Give the local times of a day at which what holds changes, midnight first, and what holds then.

        The strongest exception that gives a value holds, then the week, then the default.
        """
        of = self.schedule
        outside = (of.starts_on is not None and day < of.starts_on) or (
            of.ends_on is not None and day > of.ends_on
        )
        if outside or not of.enabled:
            return [time()], [(None, Source.NONE, None)]
        today = [number for number, (each, _) in enumerate(self.exceptions) if self._on(each, day)]
        key = (day.weekday(), *today)
        if key not in self._plans:
            week = self.week[day.weekday()]
            ranked = [(self.exceptions[number][0].id, self.exceptions[number][1]) for number in today]
            moments = {time(), *week[0]}.union(*(entries[0] for _, entries in ranked))
            times: list[time] = []
            values: list[Held] = []
            for moment in sorted(moments):
                held = self._choose(ranked, week, moment)
                if not values or values[-1] != held:
                    times.append(moment)
                    values.append(held)
            self._plans[key] = times, values
        return self._plans[key]

    def _choose(self, ranked: list[tuple[int, Entries]], week: Entries, moment: time) -> Held:
        for number, entries in ranked:
            value = _at(entries, moment)
            if value is not None:
                return value, Source.EXCEPTION, number
        value = _at(week, moment)
        if value is not None:
            return value, Source.WEEK, None
        return self.schedule.default_value, Source.DEFAULT, None

    def held(self, moment: int) -> Held:
        """Give what holds at a moment (ms)."""
        local = _local(moment, self.zone)
        times, values = self.plan(local.date())
        return values[bisect_right(times, local.time()) - 1]

    def changes(self, day: date) -> Iterator[tuple[int, Held]]:
        """Give the moments (ms) of a day at which what holds may change, in order, and what holds then."""
        begin, end = (
            _ms(datetime.combine(each, time(), self.zone)) for each in (day, day + timedelta(days=1))
        )
        if end - begin == DAY and _local(begin, self.zone).time() == time():
            for at, held in zip(*self.plan(day), strict=True):
                seconds = at.hour * 3600 + at.minute * 60 + at.second
                yield begin + seconds * 1000, held
            return
        # The clock is changed on this day, or at its midnight: wall times may come twice, never, or belong to
        # the day beside it.
        found = {begin}
        for near in (day - timedelta(days=1), day, day + timedelta(days=1)):
            for at in self.plan(near)[0]:
                local = datetime.combine(near, at, self.zone)
                found |= {_ms(local), _ms(local.replace(fold=1))}
        shift = self._shift(begin, end)
        if shift is not None:
            found.add(shift)
        for moment in sorted(found):
            if begin <= moment < end:
                yield moment, self.held(moment)

    def _shift(self, low: int, high: int) -> int | None:
        """Give the moment (ms, a whole second) between two at which the clock is changed, or None."""
        before = _local(low, self.zone).utcoffset()
        if before == _local(high, self.zone).utcoffset():
            return None
        while high - low > 1000:
            middle = (low + high) // 2000 * 1000
            if _local(middle, self.zone).utcoffset() == before:
                low = middle
            else:
                high = middle
        return high

    def steps(
        self, start: int, end: int, same: Callable[[Held, Held], bool] = lambda one, two: one[:2] == two[:2]
    ) -> Iterator[tuple[int, Held]]:
        """Give what holds at `start` and each change of it until `end` (ms), in order."""
        held = self.held(start)
        yield start, held
        day, last = _local(start, self.zone).date(), _local(end, self.zone).date()
        while day <= last:
            for moment, then in self.changes(day):
                if start < moment < end and not same(held, then):
                    held = then
                    yield moment, held
            day += timedelta(days=1)

    def next_change(self, after: int) -> int | None:
        """Give the first moment past `after` (ms) at which the value differs, or None within 400 days."""
        found = self.steps(after, after + LOOK_AHEAD * DAY, same=_same_value)
        next(found)
        change = next(found, None)
        return None if change is None else change[0]


def _same_value(one: Held, two: Held) -> bool:
    """Tell whether nothing is written between the two; nothing to write and a relinquishing null differ."""
    return one[0] == two[0] and (one[1] is Source.NONE) == (two[1] is Source.NONE)


def held_at(schedule: Schedule, calendars: Calendars, moment: int) -> Held:
    """Give what a schedule gives at a moment (ms), and where it comes from."""
    return Outlook(schedule, calendars).held(moment)


def next_change(schedule: Schedule, calendars: Calendars, after: int) -> int | None:
    """Give the first moment past `after` (ms) at which the value differs, or None within 400 days."""
    return Outlook(schedule, calendars).next_change(after)


def effective(schedule: Schedule, calendars: Calendars, at: int) -> Effective:
    """Give what a schedule gives at a moment (ms), where it comes from, and until when.

    Raises BadInputError for a time past 2154, where BACnet's dates end.
    """
    _check_time("at", at)
    outlook = Outlook(schedule, calendars)
    value, source, exception = outlook.held(at)
    return Effective(value=value, source=source, exception_id=exception, next_change=outlook.next_change(at))


def preview(schedule: Schedule, calendars: Calendars, start: int, end: int) -> list[Step]:
    """Give the values over [start, end) ms as steps, for a chart. Raises BadInputError."""
    _check_time("start", start)
    if not start < end <= start + MAX_PREVIEW:
        raise BadInputError("end", end, "a time after start, by 62 days at most")
    return [
        Step(time=at, value=value, source=source)
        for at, (value, source, _) in Outlook(schedule, calendars).steps(start, end)
    ]


def _check_time(field: str, moment: int) -> None:
    if not 0 <= moment < LAST:
        raise BadInputError(field, moment, "a time from 1970 to 2154")
