"""Schedules and calendars of devices, read and written over real BACnet/IP on loopback."""

import asyncio
from datetime import date
from typing import Any

import pytest
from bacpypes3.basetypes import (
    BinaryPV,
    CalendarEntry,
    DailySchedule,
    DeviceObjectPropertyReference,
    SpecialEvent,
    SpecialEventPeriod,
)
from bacpypes3.basetypes import DateRange as Dates
from bacpypes3.basetypes import TimeValue as Entry
from bacpypes3.constructeddata import ArrayOf
from bacpypes3.errors import ExecutionError
from bacpypes3.local.object import Object as LocalObject
from bacpypes3.object import CalendarObject, ScheduleObject
from bacpypes3.primitivedata import Boolean, Null, Real, Unsigned
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from actors.core.errors import BadInputError, BridgeError, NotFoundError, WriteFailedError
from actors.schedule.models import DatePattern, DateRange, Kind, TimeValue, WeekEntry, WeekNDay
from bridges.bacnet.bridge import BacnetBridge
from bridges.bacnet.network import DeviceError, SilentError
from bridges.bacnet.schedules import DeviceException, DeviceSchedule, _entry, _period
from tests.bridges.bacnet.conftest import Bench, device, point, until
from tests.bridges.bacnet.rogues import Rogue, Rogues


class Planned(LocalObject, ScheduleObject):  # type: ignore[misc]
    """A schedule that only keeps what it is given."""


class Holidays(LocalObject, CalendarObject):  # type: ignore[misc]
    """A calendar."""


def planned(app: Rogue, value: Any = None, refs: list[str] | None = None, **more: Any) -> Planned:
    value = Real(16.0) if value is None else value
    day = DailySchedule(daySchedule=[Entry(time=(8, 0, 0, 0), value=value)])
    made = Planned(
        objectIdentifier=("schedule", 1),
        objectName="plan",
        presentValue=value,
        effectivePeriod=Dates(startDate=(255, 255, 255, 255), endDate=(130, 12, 31, 255)),
        weeklySchedule=[day] * 5 + [DailySchedule(daySchedule=[])] * 2,
        exceptionSchedule=[],
        scheduleDefault=value,
        listOfObjectPropertyReferences=[
            DeviceObjectPropertyReference(objectIdentifier=each, propertyIdentifier="present-value")
            for each in refs or []
        ],
        priorityForWriting=10,
        **more,
    )
    app.add_object(made)
    return made


def holidays(app: Rogue) -> None:
    app.add_object(
        Holidays(
            objectIdentifier=("calendar", 1),
            objectName="holidays",
            presentValue=False,
            dateList=[CalendarEntry(date=(126, 12, 25, 255))],
        )
    )


async def online(lab: Bench) -> BacnetBridge:
    bridge = await lab.bridge([device(7, cov=False)], [point("analog-input", 1, 7)])
    await until(lambda: lab.value("7/analog-input-1") == 1.0)
    return bridge


WANTED = DeviceSchedule(
    kind=Kind.ANALOG,
    default_value=15.0,
    starts_on=date(2026, 1, 1),
    week=[
        WeekEntry(weekday=1, time="06:30", value=21.5),
        WeekEntry(weekday=1, time="18:00:30", value=None),
        WeekEntry(weekday=7, time="09:00", value=19.0),
    ],
    exceptions=[
        DeviceException(priority=3, calendar="calendar,1", entries=[TimeValue(time="00:00", value=12.0)]),
        DeviceException(period=DatePattern(month=12, day=25), entries=[TimeValue(time="00:00", value=10.0)]),
        DeviceException(period=WeekNDay(month="odd", week="last", weekday=5), entries=[]),
        DeviceException(period=DateRange(start=date(2026, 8, 1), end=date(2026, 8, 15)), entries=[]),
    ],
)


async def test_a_schedule_is_read(rogues: Rogues, lab: Bench) -> None:
    planned(rogues.add(7, 11))
    bridge = await online(lab)
    assert await bridge.schedules("7") == ["schedule,1"]
    found = await bridge.read_schedule("7", 1)
    assert (found.kind, found.default_value) == (Kind.ANALOG, 16.0)
    assert (found.starts_on, found.ends_on) == (None, date(2030, 12, 31))
    assert [(each.weekday, each.time, each.value) for each in found.week] == [
        (weekday, "08:00", 16.0) for weekday in range(1, 6)
    ]
    assert found.exceptions == []


async def test_a_range_that_covers_each_whole_year_is_open(rogues: Rogues, lab: Bench) -> None:
    made = planned(rogues.add(7, 11))
    bridge = await online(lab)
    made.effectivePeriod = Dates(startDate=(255, 1, 1, 255), endDate=(255, 12, 31, 255))
    found = await bridge.read_schedule("7", 1)
    assert (found.starts_on, found.ends_on) == (None, None)
    made.effectivePeriod = Dates(startDate=(255, 10, 1, 255), endDate=(255, 12, 31, 255))
    with pytest.raises(BridgeError, match=r"a range of days with open parts: \*-10-01"):
        await bridge.read_schedule("7", 1)


async def test_a_device_with_places_for_so_many_exceptions_gets_so_many(rogues: Rogues, lab: Bench) -> None:
    made = planned(rogues.add(7, 11))
    period = SpecialEventPeriod(calendarEntry=_entry(DateRange()))
    unused = SpecialEvent(period=period, listOfTimeValues=[], eventPriority=16)
    made.exceptionSchedule = ArrayOf(SpecialEvent)([unused] * 5)
    write = made.write_property

    async def only_five(attr: Any, value: Any, *more: Any) -> None:
        if str(attr) == "exception-schedule" and len(value) != 5:
            raise ExecutionError("property", "value-out-of-range")
        await write(attr, value, *more)

    object.__setattr__(made, "write_property", only_five)
    bridge = await online(lab)
    assert (await bridge.read_schedule("7", 1)).exceptions == []
    wanted = WANTED.model_copy(update={"exceptions": WANTED.exceptions[1:]})
    assert await bridge.write_schedule("7", 1, wanted) == wanted
    assert len(made.exceptionSchedule) == 5
    again = wanted.model_copy(update={"exceptions": WANTED.exceptions[2:]})
    assert await bridge.write_schedule("7", 1, again) == again
    many = wanted.model_copy(update={"exceptions": WANTED.exceptions[1:] * 2})
    with pytest.raises(WriteFailedError, match="value-out-of-range"):
        await bridge.write_schedule("7", 1, many)
    assert await bridge.read_schedule("7", 1) == again


async def test_what_can_not_be_put_back_is_named_and_the_rest_is(rogues: Rogues, lab: Bench) -> None:
    made = planned(rogues.add(7, 11))
    write = made.write_property
    written: list[str] = []

    async def week_once(attr: Any, *more: Any) -> None:
        again = str(attr) in written
        written.append(str(attr))
        if str(attr) == "exception-schedule" or (str(attr) == "weekly-schedule" and again):
            raise ExecutionError("property", "write-access-denied")
        await write(attr, *more)

    bridge = await online(lab)
    before = await bridge.read_schedule("7", 1)
    object.__setattr__(made, "write_property", week_once)
    wanted = WANTED.model_copy(update={"exceptions": WANTED.exceptions[1:]})
    with pytest.raises(WriteFailedError, match=r"not put back: weekly-schedule \(write-access-denied\)"):
        await bridge.write_schedule("7", 1, wanted)
    assert await bridge.read_schedule("7", 1) == before.model_copy(update={"week": wanted.week})


async def test_what_was_taken_without_an_answer_is_put_back_too(rogues: Rogues, lab: Bench) -> None:
    planned(rogues.add(7, 11))
    bridge = await online(lab)
    before = await bridge.read_schedule("7", 1)
    asked = bridge._devices["7"]
    put, lost = asked.put, []

    async def lose_one(name: str, prop: str, value: Any) -> None:
        await put(name, prop, value)
        if prop == "weekly-schedule" and not lost:
            lost.append(prop)
            raise SilentError("7", "no answer within 3 s")

    asked.put = lose_one  # type: ignore[method-assign]
    wanted = WANTED.model_copy(update={"exceptions": WANTED.exceptions[1:]})
    with pytest.raises(WriteFailedError, match=r"no answer within 3 s$"):
        await bridge.write_schedule("7", 1, wanted)
    assert await bridge.read_schedule("7", 1) == before


async def test_what_is_so_already_is_not_written(rogues: Rogues, lab: Bench) -> None:
    made = planned(rogues.add(7, 11))
    write = made.write_property

    async def no_default(attr: Any, *more: Any) -> None:
        if str(attr) == "schedule-default":
            raise ExecutionError("property", "write-access-denied")
        await write(attr, *more)

    object.__setattr__(made, "write_property", no_default)
    bridge = await online(lab)
    wanted = WANTED.model_copy(update={"default_value": 16.0, "exceptions": WANTED.exceptions[1:]})
    assert await bridge.write_schedule("7", 1, wanted) == wanted
    with pytest.raises(WriteFailedError, match="write-access-denied"):
        await bridge.write_schedule("7", 1, wanted.model_copy(update={"default_value": 15.0}))
    assert await bridge.read_schedule("7", 1) == wanted


async def test_a_schedule_is_written_and_read_back(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11)
    planned(app)
    holidays(app)
    bridge = await online(lab)
    assert await bridge.write_schedule("7", 1, WANTED) == WANTED
    assert await bridge.read_schedule("7", 1) == WANTED


@pytest.mark.parametrize(
    ("value", "kind", "written"),
    [(Boolean(True), Kind.BINARY, False), (Unsigned(2), Kind.MULTISTATE, 3)],
)
async def test_values_have_the_type_of_the_devices(
    rogues: Rogues, lab: Bench, value: Any, kind: Kind, written: Any
) -> None:
    made = planned(rogues.add(7, 11), value)
    bridge = await online(lab)
    assert (await bridge.read_schedule("7", 1)).kind is kind
    wanted = DeviceSchedule(kind=kind, default_value=written)
    assert (await bridge.write_schedule("7", 1, wanted)).default_value == written
    assert type(made.scheduleDefault.get_value()) is type(value)
    with pytest.raises(BadInputError, match=kind.value):
        await bridge.write_schedule("7", 1, WANTED)


async def test_an_empty_schedule_has_the_kind_of_what_it_commands(rogues: Rogues, lab: Bench) -> None:
    planned(rogues.add(7, 11), Null(()), ["binary-output,1"])
    bridge = await online(lab)
    assert (await bridge.read_schedule("7", 1)).kind is Kind.BINARY


async def test_a_schedule_has_the_kind_of_values_that_only_its_exceptions_have(
    rogues: Rogues, lab: Bench
) -> None:
    made = planned(rogues.add(7, 11), Null(()))
    event = SpecialEvent(
        period=SpecialEventPeriod(calendarEntry=_entry(DatePattern(month=12, day=25))),
        listOfTimeValues=[Entry(time=(8, 0, 0, 0), value=BinaryPV("active"))],
        eventPriority=3,
    )
    made.exceptionSchedule = ArrayOf(SpecialEvent)([event])
    bridge = await online(lab)
    found = await bridge.read_schedule("7", 1)
    assert (found.kind, found.exceptions[0].entries[0].value) == (Kind.BINARY, True)


async def test_what_a_device_refuses_is_put_back(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11)
    planned(app)
    holidays(app)
    bridge = await online(lab)
    before = await bridge.read_schedule("7", 1)
    write = app.do_WritePropertyRequest

    async def picky(apdu: Any) -> None:
        if str(apdu.propertyIdentifier) == "exception-schedule":
            raise ExecutionError("property", "write-access-denied")
        await write(apdu)

    app.do_WritePropertyRequest = picky
    with pytest.raises(WriteFailedError, match="write-access-denied"):
        await bridge.write_schedule("7", 1, WANTED)
    assert await bridge.read_schedule("7", 1) == before


async def test_who_fails_puts_nothing_back_over_what_another_has_written(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11)
    planned(app)
    holidays(app)
    bridge = await online(lab)
    asked = bridge._devices["7"]
    put, reached, further = asked.put, asyncio.Event(), asyncio.Event()

    async def slow(name: str, prop: str, value: Any) -> None:
        if prop == "weekly-schedule" and not reached.is_set():
            reached.set()
            await further.wait()
            raise DeviceError("7", "write-access-denied", "error")
        await put(name, prop, value)

    asked.put = slow  # type: ignore[method-assign]
    other = (await bridge.read_schedule("7", 1)).model_copy(update={"starts_on": date(2027, 1, 1)})
    first = asyncio.create_task(bridge.write_schedule("7", 1, WANTED))
    await reached.wait()
    second = asyncio.create_task(bridge.write_schedule("7", 1, other))
    await asyncio.sleep(0.3)  # as far as it comes
    further.set()
    with pytest.raises(WriteFailedError, match="write-access-denied"):
        await first
    assert await second == other
    assert await bridge.read_schedule("7", 1) == other


async def test_a_calendar_is_read_and_written(rogues: Rogues, lab: Bench) -> None:
    holidays(rogues.add(7, 11))
    bridge = await online(lab)
    assert await bridge.read_calendar("7", 1) == [DatePattern(year=2026, month=12, day=25)]
    days = [
        DatePattern(month=1, day=1),
        WeekNDay(month=5, week=1, weekday=1),
        DateRange(end=date(2026, 2, 1)),
    ]
    assert await bridge.write_calendar("7", 1, days) == days
    with pytest.raises(BridgeError, match="unknown-object"):
        await bridge.read_calendar("7", 2)
    with pytest.raises(NotFoundError):
        await bridge.read_calendar("8", 1)


async def test_days_of_no_year_and_calendars_that_arent_there_are_refused(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11)
    planned(app)
    holidays(app)
    bridge = await online(lab)
    before = await bridge.read_schedule("7", 1)
    never, leap = DatePattern(month=2, day=30), DatePattern(month=2, day=29)
    for field, wrong in (
        ("exceptions.period", DeviceException(period=never)),
        ("exceptions.calendar", DeviceException(calendar="calendar,9")),
    ):
        with pytest.raises(BadInputError) as caught:
            await bridge.write_schedule("7", 1, WANTED.model_copy(update={"exceptions": [wrong]}))
        assert caught.value.field == field
    assert await bridge.read_schedule("7", 1) == before
    with pytest.raises(BadInputError, match="month"):
        await bridge.write_calendar("7", 1, [leap, never])
    assert await bridge.read_calendar("7", 1) == [DatePattern(year=2026, month=12, day=25)]
    assert await bridge.write_calendar("7", 1, [leap]) == [leap]


async def test_the_week_can_be_written_though_the_device_has_exceptions_of_no_day(
    rogues: Rogues, lab: Bench
) -> None:
    made = planned(rogues.add(7, 11))
    never = SpecialEvent(
        period=SpecialEventPeriod(calendarEntry=CalendarEntry(date=(123, 2, 29, 255))),
        listOfTimeValues=[],
        eventPriority=3,
    )
    gone = SpecialEvent(
        period=SpecialEventPeriod(calendarReference=("calendar", 9)), listOfTimeValues=[], eventPriority=4
    )
    made.exceptionSchedule = ArrayOf(SpecialEvent)([never, gone])
    bridge = await online(lab)
    found = await bridge.read_schedule("7", 1)
    assert [each.period for each in found.exceptions] == [DatePattern(year=2023, month=2, day=29), None]
    wanted = found.model_copy(update={"week": WANTED.week})
    assert await bridge.write_schedule("7", 1, wanted) == wanted
    more = [*found.exceptions, DeviceException(period=DatePattern(year=2025, month=2, day=29))]
    with pytest.raises(BadInputError, match="year 2025"):
        await bridge.write_schedule("7", 1, found.model_copy(update={"exceptions": more}))


def test_what_no_device_can_have_is_refused() -> None:
    for wrong in (
        {"kind": "binary", "default_value": 3},
        {"kind": "analog", "starts_on": date(2026, 2, 1), "ends_on": date(2026, 1, 1)},
        {"kind": "analog", "exceptions": [{"priority": 3}]},
        {"kind": "analog", "exceptions": [{"calendar": "schedule,1"}]},
    ):
        with pytest.raises(ValidationError):
            DeviceSchedule.model_validate(wrong)


months = st.none() | st.integers(1, 12) | st.sampled_from(["odd", "even"])
weekdays = st.none() | st.integers(1, 7)
periods = st.one_of(
    st.builds(
        DatePattern,
        year=st.none() | st.integers(1900, 2154),
        month=months,
        day=st.none() | st.integers(1, 31) | st.sampled_from(["odd", "even", "last"]),
        weekday=weekdays,
    ),
    st.builds(
        WeekNDay,
        month=months,
        week=st.none()
        | st.integers(1, 5)
        | st.sampled_from(["last", "second_last", "third_last", "fourth_last"]),
        weekday=weekdays,
    ),
    st.tuples(
        st.none() | st.dates(date(1900, 1, 1), date(2020, 1, 1)),
        st.none() | st.dates(date(2020, 1, 2), date(2154, 12, 31)),
    ).map(lambda ends: DateRange(start=ends[0], end=ends[1])),
)


@given(periods)
def test_days_come_back(period: Any) -> None:
    sent = CalendarEntry.decode(_entry(period).encode())
    assert _period(sent) == period
