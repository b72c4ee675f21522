"""The history store and its reader against a plain dictionary, over packing, restarts and faults."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actors.backup import files
from actors.core.errors import BadInputError, NotFoundError, StorageError
from actors.history import chunks, packing, store
from actors.history.gaps import EVERY, GapKind, GapReason, no_gaps
from actors.history.logic import is_kept, outside
from actors.history.models import Mode, NewSeriesConfig
from actors.history.reader import HistoryReader
from actors.history.store import HistoryStore
from actors.point.models import empty_frame

START = 1_700_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Clock:
    def __init__(self, now: int = START) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def frame(*rows: tuple[Any, ...]) -> bytes:
    made = empty_frame()
    for row in rows:
        made.add(*row)
    return made.encode()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make rounds and chunks so small that a few samples go through all of them."""
    with small_ones():
        yield


class small_ones:  # noqa: N801 - reads as what it does
    def __enter__(self) -> None:
        self._patch = pytest.MonkeyPatch()
        for where, name, value in (
            (packing, "ROUND", 12),
            (packing, "EACH", 3),
            (packing, "MOST", 16),
            (packing, "_SMALL", 8),
            (chunks, "MOST", 16),
            (chunks, "WORTH", 1),
            (store, "LARGE", 10),
        ):
            self._patch.setattr(where, name, value)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


POINTS = ("a", "b", "c")
TIMES = st.integers(0, 300).map(lambda n: START + n * 20 * MINUTE + n % 7)
VALUES = st.one_of(
    st.integers(-50, 50).map(lambda n: n / 10),
    st.integers(-50, 50).map(lambda n: n / 10),
    st.none(),
    st.booleans(),
    st.integers(-9, 9),
    st.sampled_from(["on", "off", ""]),
)
ROWS = st.tuples(st.sampled_from(POINTS), VALUES, TIMES, st.sampled_from([0, 0, 0, 4, 16]))


class History(RuleBasedStateMachine):
    """Whatever is appended in whatever order, the store and its reader have it once, the first that came."""

    @initialize()
    def begin(self) -> None:
        self.small = small_ones()
        self.small.__enter__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock(START + 400 * 20 * MINUTE)
        self.store = HistoryStore(self.folder, clock=self.clock)
        self.reader = HistoryReader(self.folder, clock=self.clock)
        self.model: dict[str, dict[int, tuple[Any, int]]] = {}

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.reader.close()
            shutil.rmtree(self.folder)
            self.small.__exit__()

    def _add(self, rows: list[tuple[Any, ...]]) -> int:
        new = 0
        for point_id, value, at, status in rows:
            mine = self.model.setdefault(point_id, {})
            if at not in mine:
                mine[at] = (value, status)
                new += 1
        return new

    @rule(rows=st.lists(ROWS, min_size=1, max_size=30))
    def append(self, rows: list[tuple[Any, ...]]) -> None:
        assert self.store.append(frame(*rows)) == self._add(rows)

    @rule(begin=st.integers(0, 250), length=st.integers(1, 50), point_id=st.sampled_from(POINTS))
    def append_a_run(self, begin: int, length: int, point_id: str) -> None:
        rows = [(point_id, n / 10, START + n * 20 * MINUTE, 0) for n in range(begin, begin + length)]
        assert self.store.append(frame(*rows)) == self._add(rows)

    @rule(rows=st.lists(st.tuples(TIMES, VALUES), min_size=1, max_size=40), point_id=st.sampled_from(POINTS))
    def load(self, rows: list[tuple[int, Any]], point_id: str) -> None:
        new = self.store.load(point_id, [at for at, _ in rows], [value for _, value in rows])
        assert new == self._add([(point_id, value, at, 0) for at, value in rows])

    @rule()
    def pack(self) -> None:
        self.store.pack()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = HistoryStore(self.folder, clock=self.clock)

    @rule()
    def crash(self) -> None:
        """What a killed process leaves: nothing closed, the WAL as it is."""
        self.store.db.close()
        self.store._lock.close()
        self.store = HistoryStore(self.folder, clock=self.clock)

    @rule(
        begin=st.integers(0, 290),
        length=st.integers(1, 300),
        limit=st.integers(1, 40),
        point_id=st.sampled_from(POINTS),
    )
    def read(self, begin: int, length: int, limit: int, point_id: str) -> None:
        start, end = START + begin * 20 * MINUTE, START + (begin + length) * 20 * MINUTE
        mine = sorted((at, *row) for at, row in self.model.get(point_id, {}).items() if start <= at < end)
        for of in (self.store, self.reader):
            if point_id not in self.model:
                with pytest.raises(NotFoundError):
                    of.read(point_id, start, end, limit)
                continue
            first, last = of.read(point_id, start, end, limit), of.read_last(point_id, start, end, limit)
            assert [rows(each) for each in (first, last)] == [mine[:limit], mine[-limit:]]
            assert first.more == last.more == (len(mine) > limit)

    @rule(
        begin=st.integers(0, 250),
        length=st.integers(20, 300),
        step=st.sampled_from([HOUR, 5 * HOUR, "day"]),
        zone=st.sampled_from(["UTC", "Asia/Kolkata"]),
        point_id=st.sampled_from(POINTS),
    )
    def rollup(self, begin: int, length: int, step: Any, zone: str, point_id: str) -> None:
        """Cells, heads and samples give what the samples alone give."""
        if point_id not in self.model:
            return
        start, end = START + begin * 20 * MINUTE, START + (begin + length) * 20 * MINUTE
        mine = {at: value for at, (value, _) in self.model[point_id].items()}
        for of in (self.store, self.reader):
            found = of.rollup(point_id, start, end, step, zone)
            inside = {at: float(v) for at, v in mine.items() if start <= at < end and is_number(v)}
            assert sum(each.count for each in found) == len(inside)
            for each in found:
                low, high = max(each.start, start), min(each.end, end)
                values = [v for at, v in sorted(inside.items()) if low <= at < high]
                assert (each.min, each.max, each.count) == (min(values), max(values), len(values))
                assert (each.first, each.last) == (values[0], values[-1])
                assert each.sum == pytest.approx(sum(values), abs=1e-6)
                weighted = held(mine, low, high)
                if weighted is not None:
                    assert each.time_weighted_avg == pytest.approx(weighted, abs=1e-5)

    @invariant()
    def nothing_is_missing_or_there_twice(self) -> None:
        if not hasattr(self, "store"):
            return
        for of in (self.store, self.reader):
            assert of.points() == sorted(self.model)
            assert of.count() == sum(map(len, self.model.values()))
            latest = of.latest(list(POINTS))
            assert {key: each.time for key, each in latest.items()} == {
                point_id: max(mine) for point_id, mine in self.model.items()
            }
            for point_id, mine in self.model.items():
                assert of.count(point_id) == len(mine)
                found = rows(of.read(point_id, limit=10_000))
                expected = sorted((at, value, status) for at, (value, status) in mine.items())
                assert found == expected
                assert [type(each[1]) for each in found] == [type(each[1]) for each in expected]

    @invariant()
    def chunks_of_a_series_do_not_overlap(self) -> None:
        if not hasattr(self, "store"):
            return
        found = self.store.all("SELECT series_id, first_time, last_time, count FROM chunk ORDER BY 1, 2")
        for one, two in itertools.pairwise(found):
            assert one["series_id"] != two["series_id"] or one["last_time"] < two["first_time"]
        assert all(each["count"] <= 16 for each in found)


def rows(series: Any) -> list[tuple[Any, ...]]:
    return [(each.time, each.value, each.status) for each in series.samples]


def is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float)


def held(samples: dict[int, Any], low: int, high: int) -> float | None:
    """Average what held between two moments, by hand."""
    times = sorted(samples)
    area = known = 0.0
    for at, following in zip(times, [*times[1:], 2**60], strict=True):
        span = min(following, high) - max(at, low)
        if span > 0 and is_number(samples[at]):
            known += span
            area += span * float(samples[at])
    return area / known if known else None


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_every_table_is_there_and_rows_of_the_first_version_are_not(tmp_path: Path) -> None:
    made = HistoryStore(tmp_path)
    names = {row["name"] for row in made.all("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"series", "frame", "chunk", "gap", "state"} <= names
    assert "sample" not in names


def year(count: int, seed: int = 1) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    times = START + np.arange(count) * MINUTE + random.integers(-40, 41, count)
    return times, np.round(21 + np.cumsum(random.normal(0, 0.02, count)), 1)


def test_months_of_minutes_take_less_than_a_byte_and_a_half_each(tmp_path: Path) -> None:
    made = HistoryStore(tmp_path)
    for number in range(3):
        times, values = year(150_000, number)
        assert made.load(f"p{number}", times, values) == 150_000
        assert made.load(f"p{number}", times[:20_000], values[:20_000]) == 0
    made.close()
    assert (tmp_path / "history.db").stat().st_size <= 1.5 * 450_000


def test_frames_are_packed_with_later_appends_and_none_waits_for_all_of_it(tmp_path: Path) -> None:
    made = HistoryStore(tmp_path)
    times, values = year(3_000)
    for at, value in zip(times.tolist(), values.tolist(), strict=True):
        made.append(frame(*[(f"p{n}", value, at) for n in range(10)]))
    [row] = made.all("SELECT total(count) AS packed, max(count) AS largest FROM chunk")
    assert row["packed"] >= 20_000
    assert made.count() == 30_000
    made.pack()
    [row] = made.all("SELECT count(*) AS chunks, (SELECT count(*) FROM frame) AS frames FROM chunk")
    assert (row["chunks"], row["frames"]) == (10, 0)
    assert made.count() == 30_000


@pytest.mark.usefixtures("small")
def test_a_commit_that_fails_leaves_memory_as_the_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = HistoryStore(tmp_path)
    made.append(frame(("p", 1.0, START)))
    full = apsw.FullError("database or disk is full")

    def refuse() -> None:
        raise full

    monkeypatch.setattr(made, "_sweep", refuse)
    with pytest.raises(apsw.FullError):
        made.append(frame(("p", 2.0, START + 1), ("q", 3.0, START)))
    with pytest.raises(apsw.FullError):
        made.load("q", list(range(50)), [1.0] * 50)
    monkeypatch.undo()
    assert (made.points(), made.count()) == (["p"], 1)
    assert made.append(frame(("p", 2.0, START + 1), ("q", 3.0, START))) == 2
    assert made.load("q", list(range(50)), [1.0] * 50) == 50
    assert made.count() == 53


@pytest.mark.usefixtures("small")
def test_packing_that_fails_costs_no_sample_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = HistoryStore(tmp_path)

    def refuse(made: object, gone: object) -> None:
        raise StorageError("history", "the disk is full; nothing was changed")

    monkeypatch.setattr(made._packer, "_write", refuse)
    for n in range(120):
        assert made.append(frame(("p", float(n), START + n))) == 1
    assert made.health().reasons == ["packing: history: the disk is full; nothing was changed"]
    monkeypatch.undo()
    for n in range(120, 300):
        assert made.append(frame(("p", float(n), START + n))) == 1
    assert made.health().reasons == []
    assert [each.value for each in made.read("p").samples] == [float(n) for n in range(300)]
    assert made.all("SELECT total(count) AS n FROM chunk")[0]["n"] > 100


def test_a_clock_that_goes_back_loses_and_doubles_nothing(tmp_path: Path) -> None:
    clock = Clock()
    made = HistoryStore(tmp_path, clock=clock)
    made.append(frame(("p", 1.0, START)))
    clock.now -= 10 * DAY
    assert made.append(frame(("p", 2.0, START - 10 * DAY))) == 1
    assert made.append(frame(("p", 2.0, START - 10 * DAY))) == 0
    made.close()
    made = HistoryStore(tmp_path, clock=clock)
    assert [each.value for each in made.read("p").samples] == [2.0, 1.0]
    assert made.gaps("p") == []


def test_numbers_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    made = HistoryStore(tmp_path)
    with pytest.raises(BadInputError, match="values"):
        made.load("p", [1, 2], [1.0])
    with pytest.raises(OverflowError):
        made.append(frame(("p", 1.0, 2**63)))
    assert made.points() == []


# Modes and retention


def test_a_point_recorded_by_change_keeps_what_differs(tmp_path: Path) -> None:
    made = HistoryStore(tmp_path)
    made.configure("p", NewSeriesConfig(mode=Mode.COV, increment=0.5, interval=3600))
    values = [20.0, 20.2, 20.4, 20.5, 20.1, 20.0, 20.0]
    sent = frame(*[("p", value, START + n * MINUTE) for n, value in enumerate(values)])
    assert made.append(sent) == 3
    assert made.append(sent) == 0
    assert [each.value for each in made.read("p").samples] == [20.0, 20.5, 20.0]
    assert made.append(frame(("p", 20.0, START + 30 * MINUTE, 4))) == 1, "a status that changes counts"
    assert made.append(frame(("p", 20.1, START + 89 * MINUTE, 4))) == 0
    assert made.append(frame(("p", 20.1, START + 90 * MINUTE, 4))) == 1, "after the interval it is kept too"
    made.close()
    made = HistoryStore(tmp_path)
    assert made.append(frame(("p", 20.2, START + 91 * MINUTE, 4))) == 0
    assert made.append(frame(("p", None, START + 92 * MINUTE, 4))) == 1


def test_a_point_recorded_by_interval_keeps_one_of_each(tmp_path: Path) -> None:
    made = HistoryStore(tmp_path)
    made.configure("p", NewSeriesConfig(mode=Mode.INTERVAL, interval=900))
    base = START - START % (15 * MINUTE)
    sent = frame(*[("p", float(n), base + n * MINUTE) for n in range(40)], ("q", 1.0, base))
    assert made.append(sent) == 4
    assert made.append(sent) == 0
    assert [each.value for each in made.read("p").samples] == [0.0, 15.0, 30.0]
    assert made.append(frame(("p", 7.0, base - 5 * MINUTE), ("p", 8.0, base + 2 * MINUTE))) == 1


def test_a_configuration_is_checked_kept_and_told(tmp_path: Path) -> None:
    made = HistoryStore(tmp_path)
    assert made.config("p").mode is Mode.EVERY
    with pytest.raises(ValueError, match="interval"):
        NewSeriesConfig(mode=Mode.INTERVAL)
    told = made.configure("p", NewSeriesConfig(mode=Mode.COV, increment=0.1, retention=30))
    made.close()
    made = HistoryStore(tmp_path)
    assert made.config("p") == told
    assert (told.retention, told.default_retention) == (30, 3653)
    assert made.points() == [], "a configuration alone is no history"


def test_the_first_reading_and_every_change_of_type_are_kept() -> None:
    config = NewSeriesConfig(mode=Mode.COV, increment=5)
    assert is_kept(config, None, (0, 1.0, 0))
    assert is_kept(config, (0, 1.0, 0), (1, True, 0))
    assert is_kept(config, (0, "a", 0), (1, "b", 0))
    assert not is_kept(config, (0, "a", 0), (1, "a", 0))
    assert not is_kept(config, (0, 1.0, 0), (1, 4.0, 0))


def test_chunks_older_than_the_retention_go_and_the_file_shrinks(tmp_path: Path) -> None:
    clock = Clock(START + 200 * DAY)
    made = HistoryStore(tmp_path, clock=clock)
    times, values = year(200 * 1440)
    made.load("p", times, values)
    made.load("q", times, values)
    made.configure("p", NewSeriesConfig(retention=30))
    made.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    before = made.path.stat().st_size
    assert made.prune() == int((times < clock.now - 30 * DAY).sum())
    first = made.read("p", limit=1).samples[0].time
    assert clock.now - 30 * DAY <= first < clock.now - 30 * DAY + 2 * MINUTE
    assert made.count("q") == len(times)
    assert made.count("p") == len(made.read_arrays("p").times)
    made.pack()
    made.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    assert made.path.stat().st_size < 0.7 * before
    made.set_default_retention(None)
    assert made.prune() == 0
    made.set_default_retention(50)
    assert made.prune() == int((times < clock.now - 50 * DAY).sum())
    with pytest.raises(BadInputError, match="retention"):
        made.set_default_retention(0)


def test_what_is_too_old_goes_by_itself_each_hour(tmp_path: Path) -> None:
    clock = Clock()
    made = HistoryStore(tmp_path, clock=clock)
    made.load("p", np.arange(2_000) * MINUTE + START, np.zeros(2_000))
    made.configure("p", NewSeriesConfig(retention=1))
    clock.now = START + 5 * DAY
    made.append(frame(("p", 1.0, clock.now)))
    assert made.count("p") == 1


# The gap ledger


def test_the_ledger_tells_what_became_of_each_interval(tmp_path: Path) -> None:
    made = HistoryStore(tmp_path)
    made.append(
        frame(*[("p", float(n), START + n * MINUTE) for n in (0, 1, 5, 6)], ("q", 1.0, START + 20 * MINUTE))
    )
    notes = no_gaps()
    notes.add("p", START + MINUTE, START + 5 * MINUTE, GapKind.LOST, GapReason.DEVICE_DOWN)
    notes.add("nobody", START, START + 1, GapKind.LOST, GapReason.DEVICE_DOWN)
    notes.add(EVERY, START + 6 * MINUTE, START + 9 * MINUTE, GapKind.LOST, GapReason.DISK_FULL)
    assert made.append(notes.encode()) == 0
    made.append(notes.encode())
    [device, full] = made.gaps("p")
    assert (device.start, device.end) == (START + MINUTE, START + 5 * MINUTE)
    assert (device.kind, device.reason, device.every_point) == (GapKind.LOST, "device down", False)
    assert (full.kind, full.reason, full.every_point, full.samples) == (GapKind.LOST, "disk full", True, 0)
    assert made.gaps("q") == [], "what was before a point was there is no gap of it"
    assert made.gaps("p", START + 7 * MINUTE, START + 8 * MINUTE) == [full]
    assert made.gaps("p", START + 10 * MINUTE) == []
    made.append(frame(("p", 7.0, START + 7 * MINUTE)))
    [_, late] = made.gaps("p")
    assert (late.kind, late.samples) == (GapKind.LATE, 1)
    made.note_gap("p", START + 6 * MINUTE, START + 12 * MINUTE, GapKind.BACKFILLED, "device down")
    assert made.gaps("p")[-1].kind is GapKind.BACKFILLED
    with pytest.raises(NotFoundError):
        made.gaps("nobody")


def test_what_a_devices_log_filled_is_no_longer_lost(tmp_path: Path) -> None:
    made = HistoryStore(tmp_path)
    for minute in (0, 10, 30):
        made.append(frame(("p", 1.0, START + minute * MINUTE), ("q", 1.0, START + minute * MINUTE)))
    made.note_gap("p", START, START + 10 * MINUTE, GapKind.LOST, "device down")
    made.note_gap("*", START + 10 * MINUTE, START + 30 * MINUTE, GapKind.LOST, "host off")
    made.append(frame(("p", 2.0, START + 5 * MINUTE), ("p", 2.0, START + 25 * MINUTE)))
    made.note_gap("p", START, START + 10 * MINUTE, GapKind.BACKFILLED, "device down")
    made.note_gap("p", START + 20 * MINUTE, START + 30 * MINUTE, GapKind.BACKFILLED, "host off")
    told = [((gap.start - START) // MINUTE, gap.kind.value, gap.reason) for gap in made.gaps("p")]
    assert told == [
        (0, "backfilled", "device down"),
        (10, "lost", "host off"),
        (20, "backfilled", "host off"),
    ]
    [lost] = made.gaps("q")
    assert (lost.kind, lost.end) == (GapKind.LOST, START + 30 * MINUTE)
    made.close()


@given(
    st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda ends: (min(ends), max(ends))),
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(1, 5)).map(lambda each: (each[0], sum(each))), max_size=4
    ),
)
def test_what_lies_outside(interval: tuple[int, int], filled: list[tuple[int, int]]) -> None:
    parts = outside(interval, filled)
    moments = {
        half
        for half in range(2 * interval[0] + 1, 2 * interval[1], 2)
        if not any(2 * low < half < 2 * high for low, high in filled)
    }
    assert {half for start, end in parts for half in range(2 * start + 1, 2 * end, 2)} == moments


@pytest.mark.parametrize(
    ("boot", "close", "reason"),
    [("other", False, "host off"), ("same", False, "history down"), ("other", True, "stopped")],
)
def test_the_store_accounts_for_the_time_it_was_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot: str, close: bool, reason: str
) -> None:
    clock = Clock()
    monkeypatch.setattr(store, "boot_id", lambda: "same")
    made = HistoryStore(tmp_path, clock=clock)
    for n in range(5):
        clock.now = START + n * MINUTE
        made.append(frame(("p", 1.0, clock.now - 50)))
    if close:
        made.close()
    else:
        made.db.close()
        made._lock.close()
    monkeypatch.setattr(store, "boot_id", lambda: boot)
    clock.now += HOUR
    made = HistoryStore(tmp_path, clock=clock)
    [going_on] = made.gaps("p")
    assert (going_on.start, going_on.end, going_on.reason) == (START + 4 * MINUTE, None, reason)
    clock.now += 10_000
    late = [("p", 2.0, START + n * MINUTE) for n in (5, 6, 7, 30)]
    made.append(frame(*late))
    assert made.gaps("p")[-1].end is None, "samples that come late don't end it"
    made.append(frame(("p", 2.0, clock.now)))
    told = [(each.start, each.end, each.kind, each.samples) for each in made.gaps("p")]
    assert told == [
        (START + 4 * MINUTE, START + 7 * MINUTE, GapKind.LATE, 3),
        (START + 7 * MINUTE, START + 30 * MINUTE, GapKind.LOST, 0),
        (START + 30 * MINUTE, clock.now, GapKind.LOST, 0),
    ]
    made.append(frame(*[("p", 2.0, START + n * MINUTE) for n in range(8, 64)]))
    [over] = made.gaps("p")
    assert (over.start, over.end, over.kind) == (START + 4 * MINUTE, clock.now, GapKind.LATE)


def test_a_short_restart_is_no_gap(tmp_path: Path) -> None:
    clock = Clock()
    made = HistoryStore(tmp_path, clock=clock)
    made.append(frame(("p", 1.0, START)))
    made.close()
    clock.now += 9_000
    assert HistoryStore(tmp_path, clock=clock).gaps("p") == []


# The reader


def test_the_reader_sees_each_sample_at_once_and_outlives_the_store(tmp_path: Path) -> None:
    reader = HistoryReader(tmp_path)
    with pytest.raises(StorageError, match="can't be read"):
        reader.points()
    assert reader.health().state == "degraded"
    made = HistoryStore(tmp_path)
    for n in range(20):
        made.append(frame(("p", float(n), START + n)))
        assert reader.latest(["p"])["p"].value == float(n)
    made.pack()
    assert reader.count("p") == 20
    made.close()
    assert reader.count("p") == 20
    made = HistoryStore(tmp_path)
    made.append(frame(("q", 1.0, START)))
    assert reader.points() == ["p", "q"]
    assert reader.config("p") == made.config("p")
    assert reader.health().state == "healthy"
    with pytest.raises(StorageError, match="readonly"):
        reader.all("DELETE FROM chunk")


def test_the_reader_follows_a_file_that_takes_the_place_of_another(tmp_path: Path) -> None:
    reader, made = HistoryReader(tmp_path), HistoryStore(tmp_path)
    made.append(frame(("p", 1.0, START)))
    assert reader.points() == ["p"]
    made.close()
    for each in tmp_path.glob("history.db*"):
        each.rename(each.with_name("aside" + each.name))
    made = HistoryStore(tmp_path)
    made.append(frame(("q", 1.0, START)))
    assert reader.points() == ["q"]


# Old files

OLD = Path(__file__).parent.parent / "databases" / "history-v1.db"


def test_a_file_of_the_first_version_is_taken_over_sample_by_sample(tmp_path: Path) -> None:
    before: dict[str, list[tuple[Any, ...]]] = {}
    shutil.copy(OLD, tmp_path / "history.db")
    plain = apsw.Connection(str(tmp_path / "history.db"))
    for point_id, at, value, status in plain.execute(
        "SELECT point_id, time, value, status FROM sample JOIN series ON id = series_id ORDER BY 1, 2"
    ):
        real = value == b"\x01" if isinstance(value, bytes) else value
        before.setdefault(point_id, []).append((at, real, status))
    plain.close()
    made = HistoryStore(tmp_path)
    assert made.points() == sorted(before)
    for point_id, expected in before.items():
        found = rows(made.read(point_id, limit=10_000))
        assert found == expected
        assert [type(each[1]) for each in found] == [type(each[1]) for each in expected]
    assert made.append(frame(("1001/analog-input-1", 0.0, before["1001/analog-input-1"][0][0]))) == 0
    made.close()
    assert (tmp_path / "history.db").stat().st_size <= 2 * OLD.stat().st_size
    assert len(files.backups(made.path)) == 1
    assert HistoryStore(tmp_path).count() == sum(map(len, before.values()))


def test_taking_over_goes_on_where_a_crash_cut_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(OLD, tmp_path / "history.db")
    place, done = packing.Packer.place, []

    def once(self: Any, *args: Any) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(1)
        place(self, *args)

    monkeypatch.setattr(packing.Packer, "place", once)
    with pytest.raises(KeyboardInterrupt):
        HistoryStore(tmp_path)
    monkeypatch.undo()
    assert HistoryStore(tmp_path).count() == 1875
