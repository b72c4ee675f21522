from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from actors.core.errors import BadInputError
from actors.schedule.logic import (
    FROM_THE_END,
    LAST,
    check_days,
    effective,
    fits,
    held_at,
    next_change,
    preview,
)
from actors.schedule.models import (
    Calendar,
    CalendarEntry,
    DatePattern,
    DateRange,
    Kind,
    NewException,
    NewSchedule,
    Schedule,
    ScheduleException,
    Source,
    TimeValue,
    WeekEntry,
    WeekNDay,
)

DAY = 86_400_000
MINUTE = 60_000
VIENNA = "Europe/Vienna"


def ms(text: str, zone: str = "UTC", fold: int = 0) -> int:
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return round(local.astimezone(UTC).timestamp() * 1000)


def schedule(**fields: Any) -> Schedule:
    base: dict[str, Any] = {
        "id": 1,
        "name": "s",
        "kind": Kind.ANALOG,
        "default_value": 10.0,
        "created_at": 0,
        "updated_at": 0,
    }
    return Schedule.model_validate(base | fields)


def weekly(weekday: int, *entries: tuple[str, float | None]) -> list[WeekEntry]:
    return [WeekEntry(weekday=weekday, time=time, value=value) for time, value in entries]


def exception(
    number: int, priority: int, period: Any, *entries: tuple[str, float | None]
) -> ScheduleException:
    return ScheduleException(
        id=number,
        schedule_id=1,
        priority=priority,
        period=period,
        entries=[TimeValue(time=time, value=value) for time, value in entries],
    )


EVERY_DAY = DatePattern()


@pytest.mark.parametrize(
    ("period", "inside", "outside"),
    [
        (DatePattern(month=12, day=25), "2026-12-25", "2026-12-24"),
        (DatePattern(day="last"), "2028-02-29", "2028-02-28"),
        (DatePattern(day="odd", month="even"), "2026-02-01", "2026-03-01"),
        (DatePattern(day="even"), "2026-02-02", "2026-02-03"),
        (DatePattern(year=2026, weekday=1), "2026-11-23", "2026-11-24"),
        (DateRange(start=date(2026, 12, 24), end=date(2027, 1, 6)), "2027-01-06", "2027-01-07"),
        (DateRange(start=date(2026, 12, 24)), "2099-01-01", "2026-12-23"),
        (DateRange(end=date(2026, 12, 24)), "2026-12-24", "2026-12-25"),
        (WeekNDay(month=11, week=4, weekday=4), "2026-11-26", "2026-11-19"),
        (WeekNDay(week="last", weekday=1), "2026-05-25", "2026-05-18"),
        (WeekNDay(week=5), "2026-01-29", "2026-01-28"),
        (WeekNDay(week=1), "2026-01-07", "2026-01-08"),
        (WeekNDay(week="second_last"), "2026-02-21", "2026-02-22"),
        (WeekNDay(week="third_last"), "2026-01-17", "2026-01-18"),
        (WeekNDay(week="fourth_last", weekday=1), "2026-05-04", "2026-05-11"),
        (WeekNDay(month="odd", weekday=7), "2026-03-01", "2026-02-01"),
    ],
)
def test_days_fit_their_period(period: Any, inside: str, outside: str) -> None:
    assert fits(period, date.fromisoformat(inside))
    assert not fits(period, date.fromisoformat(outside))


@given(
    day=st.dates(date(1990, 1, 1), date(2100, 1, 1)),
    week=st.sampled_from([1, 2, 3, 4, 5, *FROM_THE_END]),
    weekday=st.integers(1, 7),
)
def test_weeks_of_the_month_are_what_counting_says(day: date, week: Any, weekday: int) -> None:
    same = [
        each
        for number in range(31)
        if (each := day.replace(day=1) + timedelta(days=number)).month == day.month
        and each.isoweekday() == weekday
    ]
    if isinstance(week, str):
        expected = day == same[-1 - FROM_THE_END.index(week)]
    else:
        expected = any(each == day and (each.day - 1) // 7 == week - 1 for each in same)
    assert fits(WeekNDay(week=week, weekday=weekday), day) == expected


def test_values_begin_at_their_time_and_dont_carry_over_midnight() -> None:
    one = schedule(week=weekly(1, ("07:00", 21.0), ("18:00", 16.0)))  # 2026-11-23 is a Monday
    for at, value, source in (
        ("2026-11-23T06:59:59", 10.0, Source.DEFAULT),
        ("2026-11-23T07:00", 21.0, Source.WEEK),
        ("2026-11-23T17:59:59", 21.0, Source.WEEK),
        ("2026-11-23T18:00", 16.0, Source.WEEK),
        ("2026-11-24T00:00", 10.0, Source.DEFAULT),
    ):
        assert held_at(one, {}, ms(at))[:2] == (value, source)


def test_the_strongest_exception_with_a_value_wins_and_null_gives_way() -> None:
    one = schedule(
        week=weekly(1, ("00:00", 20.0)),
        exceptions=[
            exception(1, 9, EVERY_DAY, ("08:00", 30.0), ("12:00", None)),
            exception(2, 3, EVERY_DAY, ("10:00", 40.0), ("11:00", None)),
            exception(3, 3, EVERY_DAY, ("10:00", 50.0), ("10:30", None)),
        ],
    )
    monday = "2026-11-23T"
    for at, value, source, number in (
        ("07:00", 20.0, Source.WEEK, None),
        ("08:00", 30.0, Source.EXCEPTION, 1),
        ("10:00", 40.0, Source.EXCEPTION, 2),
        ("11:00", 30.0, Source.EXCEPTION, 1),
        ("12:00", 20.0, Source.WEEK, None),
    ):
        assert held_at(one, {}, ms(monday + at)) == (value, source, number), at


def test_an_exception_by_calendar_holds_on_its_days() -> None:
    holidays = Calendar(
        id=4, name="h", entries=[CalendarEntry(period=DatePattern(month=12, day=25), label="Christmas")]
    )
    by_calendar = ScheduleException(
        id=1, schedule_id=1, priority=5, calendar_id=4, entries=[TimeValue(time="00:00", value=5.0)]
    )
    one = schedule(exceptions=[by_calendar])
    assert held_at(one, {4: holidays}, ms("2026-12-25T12:00"))[0] == 5.0
    assert held_at(one, {4: holidays}, ms("2026-12-26T12:00"))[0] == 10.0
    assert held_at(one, {}, ms("2026-12-25T12:00"))[0] == 10.0


def test_outside_of_its_period_or_off_a_schedule_gives_nothing() -> None:
    one = schedule(starts_on=date(2026, 6, 1), ends_on=date(2026, 6, 30))
    assert held_at(one, {}, ms("2026-05-31T23:59"))[1] is Source.NONE
    assert held_at(one, {}, ms("2026-06-01T00:00"))[1] is Source.DEFAULT
    assert held_at(one, {}, ms("2026-06-30T23:59"))[1] is Source.DEFAULT
    assert held_at(one, {}, ms("2026-07-01T00:00"))[1] is Source.NONE
    assert next_change(one, {}, ms("2026-05-30T00:00")) == ms("2026-06-01T00:00")
    assert held_at(schedule(enabled=False), {}, 0)[1] is Source.NONE


def test_times_are_local_in_summer_and_winter() -> None:
    one = schedule(zone=VIENNA, week=[each for day in range(1, 8) for each in weekly(day, ("06:00", 21.0))])
    assert next_change(one, {}, ms("2026-07-01T00:00", VIENNA)) == ms("2026-07-01T04:00")
    assert next_change(one, {}, ms("2026-12-01T00:00", VIENNA)) == ms("2026-12-01T05:00")


def test_a_time_that_is_skipped_comes_when_the_clock_is_past_it() -> None:
    # 2026-03-29 02:00 becomes 03:00 in Vienna; it is a Sunday.
    one = schedule(zone=VIENNA, week=weekly(7, ("02:30", 21.0)))
    assert held_at(one, {}, ms("2026-03-29T01:59", VIENNA))[0] == 10.0
    assert held_at(one, {}, ms("2026-03-29T03:00", VIENNA))[0] == 21.0
    assert next_change(one, {}, ms("2026-03-29T01:00", VIENNA)) == ms("2026-03-29T03:00", VIENNA)


def test_the_hour_that_comes_twice_runs_twice() -> None:
    # 2026-10-25 03:00 becomes 02:00 in Vienna; it is a Sunday.
    one = schedule(zone=VIENNA, week=weekly(7, ("02:30", 21.0)))
    found = preview(one, {}, ms("2026-10-25T00:00", VIENNA), ms("2026-10-26T00:00", VIENNA))
    assert [(each.time, each.value) for each in found] == [
        (ms("2026-10-25T00:00", VIENNA), 10.0),
        (ms("2026-10-25T02:30", VIENNA), 21.0),
        (ms("2026-10-25T02:00", VIENNA, fold=1), 10.0),
        (ms("2026-10-25T02:30", VIENNA, fold=1), 21.0),
    ]


TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 45]))
ENTRIES = st.dictionaries(TIMES, st.none() | st.sampled_from([1.0, 2.0, 3.0]), max_size=4)
PERIODS = st.one_of(
    st.builds(
        DatePattern, day=st.sampled_from([None, "odd", "even", "last"]), weekday=st.none() | st.integers(1, 7)
    ),
    st.builds(WeekNDay, week=st.sampled_from([None, 1, 4, "last"]), weekday=st.none() | st.integers(1, 7)),
)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    week = [
        WeekEntry(weekday=weekday, time=time, value=value)
        for weekday in draw(st.sets(st.integers(1, 7)))
        for time, value in draw(ENTRIES).items()
    ]
    found = [
        exception(number, draw(st.integers(1, 4)), draw(PERIODS), *draw(ENTRIES).items())
        for number in range(draw(st.integers(0, 3)))
    ]
    zone = draw(st.sampled_from(ZONES))
    return schedule(week=week, exceptions=found, zone=zone, default_value=draw(st.none() | st.just(9.0)))


# Days around changes of the clock in one of the zones, and one without. Cairo and Santiago change at
# midnight, St John's did so a minute past it, and Apia had no 30 December 2011 at all.
ZONES = [
    "UTC",
    VIENNA,
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Africa/Cairo",
    "America/Santiago",
    "Pacific/Apia",
]
STARTS = st.sampled_from(
    [
        "2026-03-28T12:00",
        "2026-10-24T12:00",
        "2026-11-01T00:00",
        "2026-04-04T10:00",
        "2026-02-27T23:00",
        "2026-04-23T06:00",
        "2026-10-29T06:00",
        "2026-09-05T06:00",
        "2010-11-06T06:00",
        "2010-03-13T06:00",
        "2011-12-29T06:00",
    ]
)


def plainly(one: Schedule, moment: int) -> tuple[Any, Source]:
    """Read a schedule off the wall clock, rule by rule, as ASHRAE 135-2020, 12.24.4 tells it."""
    local = datetime.fromtimestamp(moment / 1000, ZoneInfo(one.zone))
    now = f"{local:%H:%M}"
    for each in sorted(one.exceptions, key=lambda each: (each.priority, each.id)):
        assert each.period is not None
        past = [entry for entry in each.entries if entry.time <= now]
        if fits(each.period, local.date()) and past and max(past, key=lambda e: e.time).value is not None:
            return max(past, key=lambda e: e.time).value, Source.EXCEPTION
    week = [entry for entry in one.week if entry.weekday == local.isoweekday() and entry.time <= now]
    if week and max(week, key=lambda e: e.time).value is not None:
        return max(week, key=lambda e: e.time).value, Source.WEEK
    return one.default_value, Source.DEFAULT


@settings(max_examples=150, deadline=None)
@given(one=schedules(), start=STARTS)
def test_steps_are_what_looking_every_15_minutes_says(one: Schedule, start: str) -> None:
    begin = ms(start)
    end = begin + 3 * DAY
    found = preview(one, {}, begin, end)
    at = -1
    for moment in range(begin, end, 15 * MINUTE):
        while at + 1 < len(found) and found[at + 1].time <= moment:
            at += 1
        assert (found[at].value, found[at].source) == plainly(one, moment) == held_at(one, {}, moment)[:2]
    for before, after in pairwise(found):
        assert before.time < after.time
        assert (before.value, before.source) != (after.value, after.source)


@settings(max_examples=100, deadline=None)
@given(one=schedules(), start=STARTS, minutes=st.integers(0, 2000))
def test_the_next_change_is_the_first_time_that_the_value_differs(
    one: Schedule, start: str, minutes: int
) -> None:
    at = ms(start) + minutes * MINUTE
    value = plainly(one, at)[0]
    change = next_change(one, {}, at)
    limit = at + 4 * DAY if change is None else min(change, at + 4 * DAY)
    assert all(plainly(one, moment)[0] == value for moment in range(at, limit, 15 * MINUTE))
    if change is not None:
        assert plainly(one, change)[0] != value
        assert plainly(one, change - 1)[0] == value
    assert effective(one, {}, at).next_change == change


def test_steps_go_forward_where_the_clock_is_changed_at_midnight() -> None:
    # 2026-04-24 00:00 becomes 01:00 in Cairo; the 23rd is a Thursday.
    one = schedule(zone="Africa/Cairo", week=weekly(4, ("22:00", 1.0), ("23:30", 2.0)))
    found = preview(one, {}, ms("2026-04-23T12:00"), ms("2026-04-25T00:00"))
    assert [(each.time, each.value) for each in found[1:]] == [
        (ms("2026-04-23T20:00"), 1.0),
        (ms("2026-04-23T21:30"), 2.0),
        (ms("2026-04-23T22:00"), 10.0),
    ]


def test_the_effective_value_of_many_exceptions_and_holidays_is_what_looking_at_each_day_says() -> None:
    days = [DatePattern(year=2026 + n % 2, month=1 + n % 12, day=1 + n % 28) for n in range(200)]
    holidays = Calendar(id=1, name="h", entries=[CalendarEntry(period=each) for each in days])
    one = schedule(
        exceptions=[
            ScheduleException(
                id=n,
                schedule_id=1,
                calendar_id=1,
                priority=n,
                entries=[TimeValue(time="06:00", value=None if n < 9 else 5.0)],
            )
            for n in range(1, 10)
        ]
    )
    at = ms("2026-03-10T00:00")
    day = date(2026, 3, 10)
    while not any(fits(each, day) for each in days):
        day += timedelta(days=1)
    assert next_change(one, {1: holidays}, at) == ms(f"{day}T06:00")
    assert held_at(one, {1: holidays}, ms(f"{day}T06:00")) == (5.0, Source.EXCEPTION, 9)


def test_a_preview_is_bounded() -> None:
    for end in (0, -5, 63 * DAY):
        with pytest.raises(BadInputError, match="end"):
            preview(schedule(), {}, 0, end)
    with pytest.raises(BadInputError, match="start"):
        preview(schedule(), {}, LAST, LAST + 5)


def test_time_ends_where_dates_do() -> None:
    assert effective(schedule(zone="Pacific/Auckland"), {}, LAST - 1).value == 10.0
    with pytest.raises(BadInputError, match="2154"):
        effective(schedule(), {}, LAST)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"kind": "binary", "default_value": 1.0}, "true or false"),
        ({"kind": "multistate", "default_value": 0}, "a state from 1"),
        ({"kind": "analog", "week": [{"weekday": 1, "time": "07:00", "value": "warm"}]}, "a number"),
        ({"kind": "analog", "week": [{"weekday": 8, "time": "07:00", "value": 1}]}, "7"),
        ({"kind": "analog", "week": [{"weekday": 1, "time": "24:00", "value": 1}]}, "pattern"),
        (
            {
                "kind": "analog",
                "week": [{"weekday": 1, "time": t, "value": 1} for t in ("07:00", "07:00:00")],
            },
            "once",
        ),
        ({"kind": "analog", "zone": "Nowhere/Else"}, "IANA"),
        ({"kind": "analog", "zone": "localtime"}, "IANA"),
        ({"kind": "analog", "starts_on": "2026-02-01", "ends_on": "2026-01-01"}, "before"),
        ({"kind": "analog", "priority": 17}, "16"),
    ],
)
def test_schedules_that_make_no_sense_are_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        NewSchedule.model_validate({"name": "x"} | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"period": {"kind": "date"}, "calendar_id": 1},
        {"period": {"kind": "date", "month": 13}},
        {"period": {"kind": "date", "day": 0}},
        {"period": {"kind": "week_n_day", "week": 6}},
        {"period": {"kind": "range", "start": "2026-02-01", "end": "2026-01-01"}},
        {
            "period": {"kind": "date"},
            "entries": [{"time": "07:00", "value": 1}, {"time": "07:00", "value": 2}],
        },
        {"period": {"kind": "date"}, "priority": 0},
    ],
)
def test_exceptions_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NewException.model_validate(fields)


@pytest.mark.parametrize(
    ("pattern", "there"),
    [
        ({"month": 2, "day": 31}, False),
        ({"month": 2, "day": 29}, True),
        ({"month": 2, "day": 29, "weekday": 3}, True),
        ({"month": 2, "day": 29, "year": 2028}, True),
        ({"month": 2, "day": 29, "year": 2027}, False),
        ({"month": 2, "day": 29, "year": 1900}, False),
        ({"month": 4, "day": 31}, False),
        ({"month": "even", "day": 31}, True),
        ({"day": 31}, True),
        ({"month": 12, "day": 31, "year": 2154}, True),
        ({"month": 11, "day": 25, "year": 2026, "weekday": 3}, True),
        ({"month": 11, "day": 25, "year": 2026, "weekday": 4}, False),
        ({"month": 2, "day": "last", "weekday": 1}, True),
        ({"month": 2, "day": "last", "year": 2026, "weekday": 1}, False),
        ({"month": "odd", "day": "even", "year": 2026, "weekday": 7}, True),
        ({}, True),
    ],
)
def test_days_of_no_year_are_told_from_patterns(pattern: dict[str, Any], there: bool) -> None:
    period = DatePattern.model_validate(pattern)
    if there:
        check_days("period", [period, None])
    else:
        with pytest.raises(BadInputError, match="a date that some year has"):
            check_days("period", [None, period])


@given(
    st.dates(date(1900, 1, 1), date(2154, 12, 31)),
    st.sets(st.sampled_from(["year", "month", "day", "weekday"])),
)
def test_a_pattern_that_a_day_fits_is_never_refused(day: date, open_: set[str]) -> None:
    whole = {"year": day.year, "month": day.month, "day": day.day, "weekday": day.isoweekday()}
    check_days(
        "period", [DatePattern.model_validate({key: it for key, it in whole.items() if key not in open_})]
    )
