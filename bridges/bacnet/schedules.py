"""Schedules and calendars of devices as ours, and back (ASHRAE 135-2020, 12.24 and 12.9)."""

import contextlib
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Final

from bacpypes3.basetypes import (
    BinaryPV,
    CalendarEntry,
    DailySchedule,
    SpecialEvent,
    SpecialEventPeriod,
)
from bacpypes3.basetypes import DateRange as Dates
from bacpypes3.basetypes import TimeValue as Entry
from bacpypes3.basetypes import WeekNDay as Days
from bacpypes3.constructeddata import ArrayOf, ListOf, SequenceOf
from bacpypes3.primitivedata import Boolean, Date, Enumerated, Null, ObjectIdentifier, Real, Time, Unsigned
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from actors.core.errors import BadInputError, BridgeError, WriteFailedError
from actors.core.values import PointValue, StrictPointValue
from actors.schedule.logic import check_days
from actors.schedule.models import (
    DatePattern,
    DateRange,
    DayEntries,
    Kind,
    Period,
    TimeValue,
    WeekEntry,
    WeekNDay,
    check_value,
)
from bridges.bacnet.device import Device
from bridges.bacnet.kinds import BINARY, MULTI_STATE
from bridges.bacnet.network import UNREADABLE, DeviceError
from bridges.bacnet.texts import ANY, DAYS, MONTHS, show_date
from bridges.bacnet.values import to_point
from bridges.bacnet.wire import by_tags

_MONTHS: Final[dict[int, Any]] = {ANY: None} | MONTHS
_DAYS: Final[dict[int, Any]] = {ANY: None} | DAYS
_ANY_DAY: Final = DatePattern()
_LAST: Final = 16
"""The priority of an exception that gives way to all others."""
_WEEKS: Final[dict[int, Any]] = {ANY: None, 6: "last", 7: "second_last", 8: "third_last", 9: "fourth_last"}
WRITTEN: Final = ("effective-period", "weekly-schedule", "exception-schedule", "schedule-default")
"""Properties of a schedule that are written, in this order."""


class DeviceException(BaseModel):
    """Days on which other times hold; `calendar` is one of the device, such as `calendar,1`."""

    model_config = ConfigDict(extra="forbid")

    priority: int = Field(default=16, ge=1, le=16)
    period: Period | None = None
    calendar: str | None = Field(default=None, pattern=r"^calendar,[0-9]{1,7}$")
    entries: DayEntries = []

    @model_validator(mode="after")
    def _one(self) -> "DeviceException":
        if (self.period is None) == (self.calendar is None):
            raise ValueError("either period or calendar")
        return self


class DeviceSchedule(BaseModel):
    """A schedule as a device has it; times are the device's local ones."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    default_value: StrictPointValue | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    week: list[WeekEntry] = Field(default=[], max_length=700)
    exceptions: list[DeviceException] = Field(default=[], max_length=255)

    @model_validator(mode="after")
    def _fits(self) -> "DeviceSchedule":
        if self.starts_on and self.ends_on and self.starts_on > self.ends_on:
            raise ValueError("an ends_on that isn't before starts_on")
        for value in [
            self.default_value,
            *(each.value for each in self.week),
            *(each.value for exception in self.exceptions for each in exception.entries),
        ]:
            check_value(self.kind, value)
        return self


Encode = Callable[[PointValue | None], Any]


async def read_schedule(device: Device, instance: int) -> DeviceSchedule:
    """Read a schedule of a device. Raises BridgeError, also for what no schedule of ours can say."""
    found = await _properties(device, instance)
    kind, _ = await _kind(device, instance, found)
    try:
        return _schedule(kind, found)
    except UNREADABLE as error:
        raise DeviceError(
            device.device.id, f"a schedule that can't be read: {error}"[:300], "decode"
        ) from error


async def write_schedule(device: Device, instance: int, wanted: DeviceSchedule) -> DeviceSchedule:
    """Write a schedule to a device, as a whole or not at all; give what is read back.

    Raises BadInputError for values of another kind than the device's, for days that no year has and for a
    calendar that the device hasn't, and WriteFailedError with the device's reason; what was written until
    then is put back, and what can't be is named. Exceptions that this schedule has already may stay on the
    days that they are on. Of two at once, the later one begins when the other has ended.
    """
    async with device.planning:
        return await _write_schedule(device, instance, wanted)


async def _write_schedule(device: Device, instance: int, wanted: DeviceSchedule) -> DeviceSchedule:
    name = f"schedule,{instance}"
    before = await _properties(device, instance)
    kind, encode = await _kind(device, instance, before)
    if kind is not wanted.kind:
        raise BadInputError("kind", wanted.kind.value, f"{kind.value}, which this schedule of the device has")
    had = _days_of(before)
    fresh = [each for each in wanted.exceptions if (each.period, each.calendar) not in had]
    check_days("exceptions.period", [each.period for each in fresh])
    await _check_calendars(device, fresh)
    values = _encoded(wanted, encode)
    known: DeviceSchedule | None = None
    with contextlib.suppress(*UNREADABLE):
        known = _schedule(kind, before)
    done: list[str] = []
    try:
        for prop in WRITTEN:
            if prop not in before and _is_empty(prop, wanted):
                continue  # it has no such property, and needs none
            if known is not None and _part(prop, known) == _part(prop, wanted):
                continue  # it is so already, and not all that a device has can be written
            done.append(prop)
            await _put(device, name, prop, values[prop], before)
    except BridgeError as error:
        if isinstance(error, DeviceError):
            done.pop()  # it was refused; where no answer came, it may have been taken
        old = {prop: before[prop] for prop in reversed(done) if prop in before}
        left = await _put_back(device, name, old)
        told = f"{error.reason}; not put back: {', '.join(left)}" if left else error.reason
        raise WriteFailedError(f"{device.device.id}/{name}", told) from error
    return await read_schedule(device, instance)


async def _put_back(device: Device, name: str, before: dict[str, Any]) -> list[str]:
    """Write what was there before; give the properties that couldn't be written, with the reason of each."""
    left = []
    for prop, value in before.items():
        try:
            await device.put(name, prop, value)
        except BridgeError as error:
            left.append(f"{prop} ({error.reason})")
    return left


async def _put(device: Device, name: str, prop: str, value: Any, before: dict[str, Any]) -> None:
    try:
        await device.put(name, prop, value)
    except DeviceError:
        room = len(before.get(prop, ())) - len(value) if prop == "exception-schedule" else 0
        if room <= 0:
            raise
        # Some devices have places for so many exceptions, and take no more and no fewer.
        unused = SpecialEvent(
            period=SpecialEventPeriod(calendarEntry=_entry(_ANY_DAY)),
            listOfTimeValues=_listed([], _ANALOG[1]),
            eventPriority=_LAST,
        )
        await device.put(name, prop, ArrayOf(SpecialEvent)([*value, *[unused] * room]))


async def _check_calendars(device: Device, exceptions: Sequence[DeviceException]) -> None:
    """Refuse exceptions by a calendar that the device says it doesn't have."""
    for name in sorted({each.calendar for each in exceptions if each.calendar}):
        try:
            await device.ask(name, "object-name")
        except DeviceError as error:
            if "unknown-object" in error.reason:
                raise BadInputError("exceptions.calendar", name, "a calendar that the device has") from error


async def read_calendar(device: Device, instance: int) -> list[Period]:
    """Read the days of a calendar of a device. Raises BridgeError."""
    try:
        return [_period(each) for each in await device.ask(f"calendar,{instance}", "date-list")]
    except UNREADABLE as error:
        raise DeviceError(
            device.device.id, f"a calendar that can't be read: {error}"[:300], "decode"
        ) from error


async def write_calendar(device: Device, instance: int, periods: Sequence[Period]) -> list[Period]:
    """Write the days of a calendar to a device; give what is read back.

    Raises BadInputError for days that no year has, and WriteFailedError.
    """
    check_days("period", periods)
    name = f"calendar,{instance}"
    try:
        await device.put(name, "date-list", ListOf(CalendarEntry)([_entry(each) for each in periods]))
    except BridgeError as error:
        raise WriteFailedError(f"{device.device.id}/{name}", error.reason) from error
    return await read_calendar(device, instance)


async def _properties(device: Device, instance: int) -> dict[str, Any]:
    """Read what a schedule has; a property that it hasn't is left out. Raises BridgeError."""
    found: dict[str, Any] = {}
    for prop in WRITTEN:
        try:
            found[prop] = await device.ask(f"schedule,{instance}", prop)
        except DeviceError as error:
            if "unknown-property" not in error.reason:
                raise
    return found


async def _kind(device: Device, instance: int, found: dict[str, Any]) -> tuple[Kind, Encode]:
    """Tell what values a schedule has, by those that are there, else by the objects that it commands."""
    values = [_plain(found["schedule-default"])] if "schedule-default" in found else []
    for day in found.get("weekly-schedule", ()):
        values += [_plain(each.value) for each in day.daySchedule or ()]
    for event in found.get("exception-schedule", ()):
        values += [_plain(each.value) for each in event.listOfTimeValues or ()]
    sample = next((value for value in values if not isinstance(value, Null)), None)
    if sample is not None:
        return next(made for kind, made in _BY_TYPE if isinstance(sample, kind))
    commanded = await device.ask(f"schedule,{instance}", "list-of-object-property-references")
    types = {str(each.objectIdentifier[0]) for each in commanded}
    if types & BINARY:
        return _STATES
    return _NUMBERED if types & MULTI_STATE else _ANALOG


def _encoder(encode: Callable[[Any], Any]) -> Encode:
    return lambda value: Null(()) if value is None else encode(value)


_ANALOG: Final = (Kind.ANALOG, _encoder(lambda given: Real(float(given))))
_STATES: Final = (Kind.BINARY, _encoder(lambda given: BinaryPV(int(bool(given)))))
_NUMBERED: Final = (Kind.MULTISTATE, _encoder(lambda given: Unsigned(int(given))))
_BY_TYPE: Final[tuple[tuple[type, tuple[Kind, Encode]], ...]] = (
    (Boolean, (Kind.BINARY, _encoder(lambda given: Boolean(bool(given))))),
    (Enumerated, _STATES),
    (Unsigned, _NUMBERED),
    (object, _ANALOG),
)


def _part(prop: str, schedule: DeviceSchedule) -> Any:
    """Give what a property says, as it can be compared."""
    return {
        "effective-period": (schedule.starts_on, schedule.ends_on),
        "weekly-schedule": sorted((each.weekday, each.time, str(each.value)) for each in schedule.week),
        "exception-schedule": schedule.exceptions,
        "schedule-default": schedule.default_value,
    }[prop]


def _is_empty(prop: str, wanted: DeviceSchedule) -> bool:
    return _part(prop, wanted) in ((None, None), [], None)


# From BACnet


def _schedule(kind: Kind, found: dict[str, Any]) -> DeviceSchedule:
    default = found.get("schedule-default")
    period = found.get("effective-period")
    starts_on, ends_on = (None, None) if period is None else _days_between(period)
    week = [
        WeekEntry(weekday=weekday, **each.model_dump())
        for weekday, day in enumerate(found.get("weekly-schedule", ()), 1)
        for each in _entries(kind, day.daySchedule)
    ]
    try:
        return DeviceSchedule(
            kind=kind,
            default_value=None if default is None else _value(kind, _plain(default)),
            starts_on=starts_on,
            ends_on=ends_on,
            week=week,
            exceptions=[
                exception
                for each in found.get("exception-schedule", ())
                if not _is_unused(exception := _exception(kind, each))
            ],
        )
    except ValidationError as error:
        raise ValueError(str(error.errors()[0]["msg"])) from error


def _exception(kind: Kind, event: Any) -> DeviceException:
    period, calendar = _days(event)
    return DeviceException(
        priority=int(event.eventPriority),
        period=period,
        calendar=calendar,
        entries=_entries(kind, event.listOfTimeValues),
    )


def _is_unused(exception: DeviceException) -> bool:
    """Tell whether this is a place of a device that always has so many: on any day it does nothing."""
    return not exception.entries and exception.period in (_ANY_DAY, DateRange())


def _days(event: Any) -> tuple[Period | None, str | None]:
    """Give the period or the calendar of an exception."""
    reference = event.period.calendarReference
    return (_period(event.period.calendarEntry), None) if reference is None else (None, str(reference))


def _days_of(found: dict[str, Any]) -> list[tuple[Period | None, str | None]]:
    """Give the days of the exceptions that a schedule has, as far as they can be read."""
    days = []
    for event in found.get("exception-schedule", ()):
        with contextlib.suppress(*UNREADABLE):
            days.append(_days(event))
    return days


def _entries(kind: Kind, listed: Any) -> list[TimeValue]:
    found = []
    for each in listed or ():
        hour, minute, second, _ = each.time
        if ANY in (hour, minute):
            raise ValueError(f"a time with open parts: {each.time}")
        at = f"{hour:02}:{minute:02}" + ("" if second in (0, ANY) else f":{second:02}")
        found.append(TimeValue(time=at, value=_value(kind, _plain(each.value))))
    return found


def _plain(value: Any) -> Any:
    """Give the atomic value inside."""
    return by_tags(list(value.tagList)) if hasattr(value, "tagList") else value


def _value(kind: Kind, raw: Any) -> PointValue | None:
    if isinstance(raw, Null):
        return None
    types = {
        Kind.ANALOG: "analog-value",
        Kind.BINARY: "binary-value",
        Kind.MULTISTATE: "multi-state-value",
    }
    value, fault = to_point(types[kind], raw)
    if fault:
        raise ValueError(f"{raw!r} is no value of a schedule")
    return value


def _period(entry: Any) -> Period:
    if entry.dateRange is not None:
        start, end = _days_between(entry.dateRange)
        return DateRange(start=start, end=end)
    if entry.weekNDay is not None:
        month, week, weekday = bytes(entry.weekNDay)
        return WeekNDay(
            month=_MONTHS.get(month, month),
            week=_WEEKS.get(week, week),
            weekday=None if weekday == ANY else weekday,
        )
    year, month, day, weekday = entry.date
    return DatePattern(
        year=None if year == ANY else 1900 + year,
        month=_MONTHS.get(month, month),
        day=_DAYS.get(day, day),
        weekday=None if weekday == ANY else weekday,
    )


def _days_between(given: Any) -> tuple[date | None, date | None]:
    """Give first and last day of a range, none where it is open. Raises ValueError for open parts."""
    first, last = tuple(given.startDate)[:3], tuple(given.endDate)[:3]
    # Some devices write so that each whole year is meant.
    if (first, last) == ((ANY, 1, 1), (ANY, 12, 31)):
        return None, None
    return _day(first), _day(last)


def _day(raw: tuple[int, ...]) -> date | None:
    year, month, day = raw
    if raw == (ANY, ANY, ANY):
        return None
    if ANY in raw:
        raise ValueError(f"a range of days with open parts: {show_date((*raw, ANY))}")
    return date(1900 + year, month, day)


# To BACnet


def _encoded(wanted: DeviceSchedule, encode: Encode) -> dict[str, Any]:
    week = [
        DailySchedule(daySchedule=_listed([each for each in wanted.week if each.weekday == weekday], encode))
        for weekday in range(1, 8)
    ]
    return {
        "effective-period": Dates(startDate=_date(wanted.starts_on), endDate=_date(wanted.ends_on)),
        "weekly-schedule": ArrayOf(DailySchedule)(week),
        "exception-schedule": ArrayOf(SpecialEvent)([_event(each, encode) for each in wanted.exceptions]),
        "schedule-default": encode(wanted.default_value),
    }


def _event(exception: DeviceException, encode: Encode) -> Any:
    period = (
        SpecialEventPeriod(calendarReference=ObjectIdentifier(exception.calendar))
        if exception.period is None
        else SpecialEventPeriod(calendarEntry=_entry(exception.period))
    )
    return SpecialEvent(
        period=period,
        listOfTimeValues=_listed(exception.entries, encode),
        eventPriority=exception.priority,
    )


def _listed(entries: Sequence[TimeValue], encode: Encode) -> Any:
    made = []
    for each in sorted(entries, key=lambda entry: entry.time):
        parts = [int(part) for part in each.time.split(":")]
        made.append(Entry(time=Time((*parts, *[0] * (4 - len(parts)))), value=encode(each.value)))
    return SequenceOf(Entry)(made)


def _entry(period: Period) -> Any:
    if isinstance(period, DateRange):
        return CalendarEntry(dateRange=Dates(startDate=_date(period.start), endDate=_date(period.end)))
    if isinstance(period, WeekNDay):
        octets = (_number(_MONTHS, period.month), _number(_WEEKS, period.week), period.weekday or ANY)
        return CalendarEntry(weekNDay=Days(bytes(octets)))
    year = ANY if period.year is None else period.year - 1900
    month, day = _number(_MONTHS, period.month), _number(_DAYS, period.day)
    return CalendarEntry(date=Date((year, month, day, period.weekday or ANY)))


def _number(names: dict[int, Any], given: Any) -> int:
    return next((number for number, name in names.items() if name == given), given)


def _date(day: date | None) -> Any:
    if day is None:
        return Date((ANY, ANY, ANY, ANY))
    return Date((day.year - 1900, day.month, day.day, day.isoweekday()))
