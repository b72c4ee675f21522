"""Trend logs of devices, read for the holes of the history, over real BACnet/IP on loopback."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bacpypes3.apdu import ReadRangeACK
from bacpypes3.basetypes import (
    DateTime,
    DeviceObjectPropertyReference,
    LogData,
    LogDataLogData,
    LogMultipleRecord,
    LogRecord,
    LogRecordLogDatum,
    LogStatus,
    ResultFlags,
)
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.constructeddata import ListOf
from bacpypes3.errors import ExecutionError
from bacpypes3.local.object import Object as LocalObject
from bacpypes3.object import TrendLogMultipleObject, TrendLogObject
from bacpypes3.primitivedata import Date, Null, Real, Time
from hypothesis import given
from hypothesis import strategies as st

from actors.core.clock import now_ms
from actors.history.gaps import GapKind, GapReason
from actors.history.store import HistoryStore
from actors.point.store import PointStore
from bridges.bacnet import backfill as module
from bridges.bacnet.clocks import DeviceClock, from_bacnet, to_bacnet
from bridges.bacnet.trends import Source, find_logs, read_clock, read_log
from tests.bridges.bacnet.conftest import SOON, Bench, _Changes, device, point, until
from tests.bridges.bacnet.rogues import Rogue, Rogues

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
VIENNA = ZoneInfo("Europe/Vienna")


class Log(LocalObject, TrendLogObject):  # type: ignore[misc]
    """A trend log."""


class Multiple(LocalObject, TrendLogMultipleObject):  # type: ignore[misc]
    """A trend log of several objects."""


def record(at: datetime, value: float | None) -> LogRecord:
    datum = (
        LogRecordLogDatum(nullValue=Null(())) if value is None else LogRecordLogDatum(realValue=Real(value))
    )
    date, time = to_bacnet(at)
    return LogRecord(timestamp=DateTime(date=Date(date), time=Time(time)), logDatum=datum)


class Logger:
    """What a device has logged, and how it tells of it."""

    def __init__(self, app: Rogue, of: str = "analog-input,1", *, by_time: bool = True) -> None:
        self.app, self.by_time = app, by_time
        self.records: list[tuple[datetime, Any]] = []
        self.first = 1
        """Sequence number of the first record."""
        self.kind: Any = LogRecord
        self.requests = 0
        self.log = Log(
            objectIdentifier=("trend-log", 1),
            objectName="log 1",
            enable=True,
            stopWhenFull=False,
            bufferSize=1000,
            logDeviceObjectProperty=DeviceObjectPropertyReference(
                objectIdentifier=of, propertyIdentifier="present-value"
            ),
        )
        app.add_object(self.log)
        app.do_ReadRangeRequest = self.read_range

    def add(self, at: datetime, value: float | None) -> None:
        self.records.append((at, record(at, value)))

    async def read_range(self, apdu: Any) -> None:
        self.requests += 1
        wanted, total = apdu.range, len(self.records)
        if wanted.byTime is not None:
            if not self.by_time:
                raise ExecutionError("services", "parameter-out-of-range")
            after = from_bacnet(wanted.byTime.referenceTime.date, wanted.byTime.referenceTime.time)
            start = next((n for n, (at, _) in enumerate(self.records) if at > after), total)
            count = wanted.byTime.count
        elif wanted.bySequenceNumber is not None:
            start = wanted.bySequenceNumber.referenceSequenceNumber - self.first
            count = wanted.bySequenceNumber.count
        else:
            start, count = wanted.byPosition.referenceIndex - 1, wanted.byPosition.count
        part = [each for _, each in self.records[start : start + count]]
        answer = ReadRangeACK(
            objectIdentifier=apdu.objectIdentifier,
            propertyIdentifier=apdu.propertyIdentifier,
            resultFlags=ResultFlags(
                [int(bool(part) and start == 0), int(bool(part) and start + len(part) >= total), 0]
            ),
            itemCount=len(part),
            itemData=AnyValue(ListOf(self.kind)(part)),
            context=apdu,
        )
        if wanted.byPosition is None and part:
            answer.firstSequenceNumber = self.first + start
        await self.app.response(answer)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[HistoryStore]:
    store = HistoryStore(tmp_path)
    yield store
    store.close()


@pytest.fixture
async def recorded(lab: Bench, history: HistoryStore) -> Bench:
    """A laboratory whose points are recorded."""
    lab.points = PointStore("north", _Changes(), lambda frame: history.append(frame) and None)
    lab.history = history
    return lab


def local(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000)


async def test_a_hole_is_filled_from_the_devices_log(
    rogues: Rogues, recorded: Bench, history: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE", 1.0)
    app = rogues.add(7, 11)
    logger = Logger(app)
    nodes = [point("analog-input", n, 7) for n in (1, 2)]
    bridge = await recorded.bridge([device(7, cov=False)], nodes, timeout=SOON)
    await until(lambda: recorded.value("7/analog-input-1") == 1.0)
    rogues.unplug(app)
    gone = now_ms()
    await until(lambda: "device_down" in recorded.told())
    for step in range(-40, 40):
        logger.add(local(gone) + timedelta(milliseconds=100 * step), 100.0 + step)
    rogues.plug(app)
    await until(lambda: bridge._backfill.filled)
    first = "7/analog-input-1"
    await until(lambda: any(gap.kind is GapKind.BACKFILLED for gap in history.gaps(first)))
    gaps = history.gaps(first)
    assert [(gap.kind, gap.reason, gap.samples) for gap in gaps] == [
        (GapKind.BACKFILLED, "device down", bridge._backfill.filled)
    ]
    inside = [
        each
        for each in history.read(first).samples
        if each.value is not None and float(each.value) > 50 and gaps[0].start < each.time < gaps[0].end
    ]
    assert len(inside) == bridge._backfill.filled
    values = [float(each.value) for each in inside if each.value is not None]
    assert values == sorted(values)
    # The other point has no log: what was lost is lost.
    assert [gap.kind for gap in history.gaps("7/analog-input-2")] == [GapKind.LOST]
    before = len(history.read(first).samples)
    unit = bridge._devices["7"]
    assert await bridge._backfill.fill(unit) == 0
    assert len(history.read(first).samples) <= before + 2


async def test_a_log_that_does_not_reach_back_fills_what_it_can(
    rogues: Rogues, recorded: Bench, history: HistoryStore
) -> None:
    app = rogues.add(7, 11)
    logger = Logger(app)
    point_id = "7/analog-input-1"
    now = now_ms()
    start, end = now - 600_000, now - 60_000
    history.load(point_id, [start, end], [1.0, 1.0])
    history.note_gap(point_id, start, end, GapKind.LOST, GapReason.BRIDGE_DOWN)
    for minute in range(4, 9):
        logger.add(local(start) + timedelta(minutes=minute), float(minute))
    bridge = await recorded.bridge([device(7, cov=False)], [point("analog-input", 1, 7)])
    unit = bridge._devices["7"]
    await until(lambda: recorded.value(point_id) == 1.0)
    assert await bridge._backfill.fill(unit) == 5
    gaps = [(gap.kind, gap.start, gap.end, gap.samples) for gap in history.gaps(point_id, start, end)]
    reached = start + 240_000
    assert [kind for kind, *_ in gaps] == [GapKind.LOST, GapKind.BACKFILLED]
    assert gaps[0][1:] == (start, gaps[1][1], 0)
    assert abs(gaps[1][1] - reached) < 1000
    assert gaps[1][2] == end
    assert await bridge._backfill.fill(unit) == 0


async def test_an_absence_of_the_host_is_filled_point_by_point(
    rogues: Rogues, recorded: Bench, history: HistoryStore
) -> None:
    app = rogues.add(7, 11)
    logger = Logger(app, "analog-input,2")
    now = now_ms()
    start, end = now - 600_000, now - 60_000
    for point_id in ("7/analog-input-1", "7/analog-input-2"):
        history.load(point_id, [start, end], [1.0, 1.0])
    history.note_gap("*", start, end, GapKind.LOST, GapReason.HOST_OFF)
    logger.add(local(start) - timedelta(minutes=5), 0.0)
    logger.add(local(start) + timedelta(minutes=5), 5.0)
    logger.add(local(start) + timedelta(minutes=6), None)
    bridge = await recorded.bridge([device(7, cov=False)], [point("analog-input", n, 7) for n in (1, 2)])
    await until(lambda: recorded.value("7/analog-input-2") == 2.0)
    assert await bridge._backfill.fill(bridge._devices["7"]) == 1
    (filled,) = history.gaps("7/analog-input-2", start, end)
    assert (filled.kind, filled.start, filled.end, filled.reason) == (
        GapKind.BACKFILLED,
        start,
        end,
        "host off",
    )
    (lost,) = history.gaps("7/analog-input-1", start, end)
    assert (lost.kind, lost.every_point) == (GapKind.LOST, True)


@pytest.mark.parametrize("by_time", [True, False])
async def test_a_long_log_is_read_in_parts(rogues: Rogues, recorded: Bench, by_time: bool) -> None:
    app = rogues.add(7, 11, max_apdu=206, largest=206)
    logger = Logger(app, by_time=by_time)
    logger.first = 4_000
    start = datetime(2026, 11, 20, 10)
    for minute in range(200):
        logger.add(start + timedelta(minutes=minute), float(minute))
    bridge = await recorded.bridge([device(7, cov=False)], [point("analog-input", 1, 7)])
    unit = bridge._devices["7"]
    await until(lambda: unit.liveness.state == "online" and unit._known)
    clock = DeviceClock(timedelta(0), timedelta(0))
    low = clock.to_ms(start + timedelta(minutes=50))
    high = clock.to_ms(start + timedelta(minutes=150))
    found = await read_log(unit, Source("trend-log,1"), "analog-input", low, high, clock)
    assert [value for _, value, _ in found.samples] == [float(minute) for minute in range(51, 150)]
    assert found.samples[0][0] == clock.to_ms(start + timedelta(minutes=51))
    assert found.since == low
    assert logger.requests > 10


async def test_the_clock_of_a_device_is_read(rogues: Rogues, recorded: Bench) -> None:
    app = rogues.add(7, 11)
    app.clock = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=2, minutes=3)
    bridge = await recorded.bridge([device(7, cov=False)], [point("analog-input", 1, 7)])
    unit = bridge._devices["7"]
    await until(lambda: unit.liveness.state == "online" and unit._known)
    clock = await read_clock(unit, UTC)
    assert clock.offset == timedelta(hours=2)
    assert abs(clock.error - timedelta(minutes=3)) <= timedelta(seconds=2)


def test_a_device_in_our_zone_has_its_summer_time() -> None:
    clock = DeviceClock.read(datetime(2026, 7, 1, 14), NOON, VIENNA)
    assert (clock.offset, clock.error, clock.zone) == (timedelta(hours=2), timedelta(0), VIENNA)
    winter = datetime(2026, 1, 1, 13)
    assert clock.to_ms(winter) == round(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp() * 1000)


def test_a_device_elsewhere_keeps_the_offset_that_it_has() -> None:
    clock = DeviceClock.read(datetime(2026, 7, 1, 17, 45), NOON, VIENNA)
    assert (clock.offset, clock.zone) == (timedelta(hours=5, minutes=45), None)
    assert clock.to_ms(datetime(2026, 1, 1, 17, 45)) == round(
        datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp() * 1000
    )


@given(
    st.integers(0, 4_000_000_000_000),
    st.integers(-48, 56),
    st.integers(-400, 400).filter(lambda seconds: abs(seconds) > 5),
)
def test_times_come_back(ms: int, quarters: int, error: int) -> None:
    offset = timedelta(minutes=15 * quarters)
    clock = DeviceClock.read(NOON.replace(tzinfo=None) + offset + timedelta(seconds=error), NOON, UTC)
    assert (clock.offset, clock.error) == (offset, timedelta(seconds=error))
    assert clock.to_ms(clock.to_local(ms)) == ms


def test_times_of_bacnet() -> None:
    at = datetime(2026, 11, 24, 7, 30, 15, 250_000)
    assert from_bacnet(*to_bacnet(at)) == at
    for date, time in (((255, 1, 1, 255), (0, 0, 0, 0)), ((126, 13, 1, 255), (0, 0, 0, 0))):
        with pytest.raises(ValueError):  # noqa: PT011 - either of the two says it in its own words
            from_bacnet(date, time)


async def test_a_log_that_says_nonsense_is_an_error_and_nothing_more(rogues: Rogues, recorded: Bench) -> None:
    app = rogues.add(7, 11)
    logger = Logger(app)
    status = LogRecordLogDatum(logStatus=LogStatus([1, 0, 0]))
    odd = LogRecord(
        timestamp=DateTime(date=Date((255, 255, 255, 255)), time=Time((255,) * 4)), logDatum=status
    )
    logger.records.append((datetime(2026, 11, 20, 10), odd))
    bridge = await recorded.bridge([device(7, cov=False)], [point("analog-input", 1, 7)])
    unit = bridge._devices["7"]
    await until(lambda: unit.liveness.state == "online" and unit._known)
    clock = DeviceClock(timedelta(0), timedelta(0))
    found = await read_log(unit, Source("trend-log,1"), "analog-input", 0, 4_000_000_000_000, clock)
    assert found.samples == []
    await asyncio.sleep(0)


def row(at: datetime, *values: float | None) -> LogMultipleRecord:
    data = [
        LogDataLogData(nullValue=Null(())) if value is None else LogDataLogData(realValue=Real(value))
        for value in values
    ]
    date, time = to_bacnet(at)
    return LogMultipleRecord(
        timestamp=DateTime(date=Date(date), time=Time(time)), logData=LogData(logData=data)
    )


@pytest.mark.parametrize("by_time", [True, False])
async def test_a_log_of_several_objects_fills_the_holes_of_each(
    rogues: Rogues, recorded: Bench, history: HistoryStore, by_time: bool
) -> None:
    app = rogues.add(7, 11, points=3, max_apdu=206)
    logger = Logger(app, "analog-input,3", by_time=by_time)
    logger.kind = LogMultipleRecord
    members = [("analog-input,1", None), ("analog-input,2", None), ("analog-input,9", ("device", 8))]
    references = [
        DeviceObjectPropertyReference(
            objectIdentifier=obj, propertyIdentifier="present-value", deviceIdentifier=of
        )
        for obj, of in members
    ]
    app.add_object(
        Multiple(
            objectIdentifier=("trend-log-multiple", 1),
            objectName="logs",
            enable=True,
            stopWhenFull=False,
            bufferSize=1000,
            loggingType="polled",
            logInterval=100,
            logDeviceObjectProperty=references,
        )
    )
    now = now_ms()
    start, end = now - 600_000, now - 60_000
    for number in (1, 2):
        history.load(f"7/analog-input-{number}", [start, end], [1.0, 1.0])
    history.note_gap("*", start, end, GapKind.LOST, GapReason.HOST_OFF)
    for minute in range(-2, 9):
        at = local(start) + timedelta(minutes=minute)
        second = None if minute == 5 else 200.0 + minute
        logger.records.append((at, row(at, 100.0 + minute, second, 300.0)))
    started = LogMultipleRecord(
        timestamp=logger.records[0][1].timestamp, logData=LogData(logStatus=LogStatus([1, 0, 0]))
    )
    logger.records.insert(0, (logger.records[0][0], started))
    bridge = await recorded.bridge([device(7, cov=False)], [point("analog-input", n, 7) for n in (1, 2)])
    await until(lambda: recorded.value("7/analog-input-2") == 2.0)
    unit = bridge._devices["7"]
    found = await find_logs(unit, 7)
    assert found == {
        "analog-input,3": Source("trend-log,1"),
        "analog-input,1": Source("trend-log-multiple,1", 0, 3),
        "analog-input,2": Source("trend-log-multiple,1", 1, 3),
    }
    assert await bridge._backfill.fill(unit) == 15
    values = [each.value for each in history.read("7/analog-input-2").samples if each.value is not None]
    assert [each for each in values if float(each) > 200] == [201.0, 202.0, 203.0, 204.0, 206.0, 207.0, 208.0]
    assert [gap.kind for gap in history.gaps("7/analog-input-1", start, end)] == [GapKind.BACKFILLED]
    assert await bridge._backfill.fill(unit) == 0
