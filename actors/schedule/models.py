"""Schedules, calendars, exceptions and assignments (ASHRAE 135-2020, 12.24 Schedule and 12.9 Calendar)."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from actors.core.clock import Timestamp
from actors.core.fields import ZoneName
from actors.core.values import PointValue, StrictPointValue


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$")]
"""Local time, "07:30" or "07:30:15"."""


class Kind(StrEnum):
    """What values a schedule gives: numbers, true and false, or states from 1."""

    ANALOG = "analog"
    BINARY = "binary"
    MULTISTATE = "multistate"


class DatePattern(_Input):
    """Days by pattern; what is left out fits every day (135-2020, 20.2.12)."""

    kind: Literal["date"] = "date"
    year: int | None = Field(default=None, ge=1900, le=2154)
    month: int | Literal["odd", "even"] | None = None
    day: int | Literal["odd", "even", "last"] | None = None
    weekday: int | None = Field(default=None, ge=1, le=7, description="1 is Monday.")

    @model_validator(mode="after")
    def _in_range(self) -> "DatePattern":
        if isinstance(self.month, int) and not 1 <= self.month <= 12:
            raise ValueError("month: 1 to 12, odd or even")
        if isinstance(self.day, int) and not 1 <= self.day <= 31:
            raise ValueError("day: 1 to 31, odd, even or last")
        return self


class DateRange(_Input):
    """Days from one to another, both included; an end that is left out is open."""

    kind: Literal["range"] = "range"
    start: date | None = None
    end: date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "DateRange":
        if self.start and self.end and self.start > self.end:
            raise ValueError("an end that isn't before the start")
        return self


class WeekNDay(_Input):
    """Days by week of the month (135-2020, 21, BACnetWeekNDay).

    Week 1 is days 1 to 7, 5 is 29 to 31; "last" is the last seven days, "second_last" the seven before those,
    and so on.
    """

    kind: Literal["week_n_day"] = "week_n_day"
    month: int | Literal["odd", "even"] | None = None
    week: int | Literal["last", "second_last", "third_last", "fourth_last"] | None = None
    weekday: int | None = Field(default=None, ge=1, le=7)

    @model_validator(mode="after")
    def _in_range(self) -> "WeekNDay":
        if isinstance(self.month, int) and not 1 <= self.month <= 12:
            raise ValueError("month: 1 to 12, odd or even")
        if isinstance(self.week, int) and not 1 <= self.week <= 5:
            raise ValueError("week: 1 to 5, or last, second_last, third_last, fourth_last")
        return self


Period = Annotated[DatePattern | DateRange | WeekNDay, Field(discriminator="kind")]


class TimeValue(_Input):
    """From this time of the day on, this value; None gives way to what lies below."""

    time: TimeOfDay
    value: StrictPointValue | None


def _once(entries: list[TimeValue]) -> list[TimeValue]:
    times = [each.time if len(each.time) > 5 else f"{each.time}:00" for each in entries]
    if len(set(times)) < len(times):
        raise ValueError("each time of a day once")
    return sorted(entries, key=lambda each: each.time)


DayEntries = Annotated[list[TimeValue], Field(max_length=100), AfterValidator(_once)]


class WeekEntry(TimeValue):
    """A time and value of a weekday (1 is Monday)."""

    weekday: int = Field(ge=1, le=7)


class NewSchedule(_Input):
    """A schedule to be made, with its week."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Office hours",
                    "kind": "binary",
                    "default_value": False,
                    "zone": "Europe/Vienna",
                    "week": [
                        {"weekday": 1, "time": "07:00", "value": True},
                        {"weekday": 1, "time": "18:00", "value": False},
                    ],
                }
            ]
        },
    )

    name: str = Field(min_length=1, max_length=100)
    description: str = Field(default="", max_length=1000)
    kind: Kind
    default_value: StrictPointValue | None = None
    """What holds where nothing else does; None relinquishes the points."""
    zone: ZoneName = "UTC"
    starts_on: date | None = None
    ends_on: date | None = None
    priority: int = Field(default=16, ge=1, le=16)
    enabled: bool = True
    week: list[WeekEntry] = Field(default=[], max_length=700)

    @model_validator(mode="after")
    def _fits(self) -> "NewSchedule":
        if self.starts_on and self.ends_on and self.starts_on > self.ends_on:
            raise ValueError("an ends_on that isn't before starts_on")
        check_value(self.kind, self.default_value)
        for weekday in range(1, 8):
            _once([each for each in self.week if each.weekday == weekday])
        for each in self.week:
            check_value(self.kind, each.value)
        return self


def check_value(kind: Kind, value: PointValue | None) -> None:
    """Refuse a value that isn't of a schedule's kind. Raises ValueError."""
    if value is None:
        return
    fits = {
        Kind.ANALOG: isinstance(value, int | float) and not isinstance(value, bool),
        Kind.BINARY: isinstance(value, bool),
        Kind.MULTISTATE: isinstance(value, int) and not isinstance(value, bool) and value >= 1,
    }[kind]
    if not fits:
        expected = {Kind.ANALOG: "a number", Kind.BINARY: "true or false", Kind.MULTISTATE: "a state from 1"}
        raise ValueError(f"{value!r} is not {expected[kind]}, which this schedule gives")


class NewException(_Input):
    """Days on which other times hold: by a period or by a calendar. Priority 1 beats 16."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Christmas",
                    "priority": 5,
                    "period": {"kind": "date", "month": 12, "day": 25},
                    "entries": [{"time": "00:00", "value": False}],
                }
            ]
        },
    )

    name: str = Field(default="", max_length=100)
    priority: int = Field(default=16, ge=1, le=16)
    period: Period | None = None
    calendar_id: int | None = Field(default=None, ge=1, lt=2**63)
    entries: DayEntries = []

    @model_validator(mode="after")
    def _one(self) -> "NewException":
        if (self.period is None) == (self.calendar_id is None):
            raise ValueError("either period or calendar_id")
        return self


class ScheduleException(NewException):
    """An exception of a schedule."""

    id: int
    schedule_id: int


class Schedule(NewSchedule):
    """A schedule with its exceptions and the points that it commands."""

    id: int
    exceptions: list[ScheduleException] = []
    assignments: list[str] = []
    created_at: Timestamp
    updated_at: Timestamp


class CalendarEntry(_Input):
    """Days of a calendar."""

    period: Period
    label: str = Field(default="", max_length=100)


class NewCalendar(_Input):
    """A calendar to be made, such as the holidays of a country."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Holidays",
                    "entries": [{"label": "New Year", "period": {"kind": "date", "month": 1, "day": 1}}],
                }
            ]
        },
    )

    name: str = Field(min_length=1, max_length=100)
    description: str = Field(default="", max_length=1000)
    entries: list[CalendarEntry] = Field(default=[], max_length=1000)


class Calendar(NewCalendar):
    """A calendar."""

    id: int


class Assignment(BaseModel):
    """A point that a schedule commands, and what was written to it last."""

    schedule_id: int
    node_id: str
    written_value: PointValue | None
    written_at: Timestamp | None


class Source(StrEnum):
    """Where an effective value comes from."""

    EXCEPTION = "exception"
    WEEK = "week"
    DEFAULT = "default"
    NONE = "none"
    """The schedule is off, or the day lies outside of it: nothing is written."""


class Effective(BaseModel):
    """What a schedule gives at a time; `next_change` is when that will differ, within 400 days."""

    value: PointValue | None
    source: Source
    exception_id: int | None = None
    next_change: Timestamp | None = None


class Step(BaseModel):
    """A value from a time on."""

    time: Timestamp
    value: PointValue | None
    source: Source
