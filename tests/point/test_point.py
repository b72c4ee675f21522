import math
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.core.errors import NotFoundError
from actors.core.values import PointStatus
from actors.history.gaps import GapKind, GapNotes, GapReason, are_notes, decode_notes
from actors.point.feed import IN_MEMORY, HistoryFeed, join
from actors.point.logic import has_changed
from actors.point.models import PointConfig, PointFrame, decode_frame
from actors.point.store import PointStore

P = "1001/analog-input-1"


class World:
    """A point store whose changes and records are kept for looking at."""

    def __init__(self) -> None:
        self.value_rows: list[tuple[str, Any, int]] = []
        self.status_rows: list[tuple[str, int, int]] = []
        self.recorded: list[PointFrame] = []
        self.gaps: list[tuple[Any, ...]] = []
        self.tick = 0.0
        self.now = 10_000_000
        self.store = PointStore("north", self, self._record, lambda: self.now, lambda: self.tick)
        self.store.configure([PointConfig(id=P, units="degrees-celsius", cov_increment=0.5, interval=10)])

    def values(self, ids: list[str], values: list[Any], times: list[int]) -> None:
        self.value_rows += zip(ids, values, times, strict=True)

    def statuses(self, ids: list[str], old: list[int], new: list[int]) -> None:
        self.status_rows += zip(ids, old, new, strict=True)

    def _record(self, frame: bytes) -> None:
        if are_notes(frame):
            notes = decode_notes(frame)
            self.gaps += zip(notes.ids, notes.starts, notes.ends, notes.kinds, notes.reasons, strict=True)
        else:
            self.recorded.append(decode_frame(frame))

    def set(self, value: Any, at: int = 1000, status: int = 0, *, if_changed: bool = False) -> Any:
        frame = PointFrame([P], [value], [at], [status]).encode()
        return self.store.set_if_changed(frame) if if_changed else self.store.set_many(frame)


@pytest.fixture
def world() -> World:
    return World()


def test_a_poll_is_published_recorded_and_kept(world: World) -> None:
    assert world.set(21.5).model_dump() == {"accepted": 1, "changed": 1, "unknown": []}
    assert world.value_rows == [(P, 21.5, 1000)]
    assert world.recorded[0].values == [21.5]
    state = world.store.get(P)
    assert state.model_dump(mode="json") == {
        "id": P, "site": "north", "value": 21.5, "status": [], "time": "1970-01-01T00:00:01.000Z",
        "units": "degrees-celsius",
    }  # fmt: skip


def test_small_changes_are_recorded_but_not_published(world: World) -> None:
    for n, value in enumerate((20.0, 20.3, 20.4, 20.6, 20.6)):
        world.set(value, 1000 + n, if_changed=True)
    assert [value for _, value, _ in world.value_rows] == [20.0, 20.6]
    assert [frame.values[0] for frame in world.recorded] == [20.0, 20.3, 20.4, 20.6, 20.6]
    assert world.store.get(P).time == 1004


def test_an_unknown_point_is_named_and_changes_nothing(world: World) -> None:
    frame = PointFrame(["x", P], [1.0, 2.0], [1, 1], [0, 0]).encode()
    assert world.store.set_many(frame).unknown == ["x"]
    assert world.store.ids() == [P]
    with pytest.raises(NotFoundError):
        world.store.get("x")


def test_a_dead_device_keeps_its_last_value_and_time_and_records_nothing(world: World) -> None:
    world.set(21.5, 1000)
    world.set(None, 5000, PointStatus.DOWN)
    state = world.store.get(P)
    assert (state.value, state.time, state.status) == (21.5, 1000, PointStatus.DOWN)
    assert len(world.recorded) == 1
    world.set(22.5, 6000)
    assert world.status_rows == [(P, 0, PointStatus.DOWN), (P, PointStatus.DOWN, 0)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_becomes_a_fault(world: World, value: float) -> None:
    world.set(value)
    assert world.store.get(P).value is None
    assert world.store.get(P).status == PointStatus.FAULT


def test_flags_of_others_survive_readings(world: World) -> None:
    world.set(1.0)
    assert world.store.set_flag([P, "unknown"], PointStatus.ALARM, True) == 1
    assert world.store.set_flag([P], PointStatus.ALARM, True) == 0
    world.set(2.0, 2000, PointStatus.FAULT)
    assert world.store.get(P).status == PointStatus.ALARM | PointStatus.FAULT
    world.store.set_flag([P], PointStatus.ALARM, False)
    assert world.store.get(P).status == PointStatus.FAULT


def test_what_a_dead_device_missed_is_noted_when_it_is_back(world: World) -> None:
    world.set(21.5, 1000)
    world.set(None, 31_000, PointStatus.DOWN)
    assert world.gaps == []
    world.set(22.5, 61_000)
    world.set(22.5, 71_000)
    assert world.gaps == [(P, 1000, 61_000, "lost", "device down")]


def test_what_a_dead_bridge_missed_is_noted_when_it_is_back(world: World) -> None:
    world.set(21.5, 1000)
    world.tick = 31
    world.set(22.5, 11_000)
    assert world.gaps == [], "it was only delivered late"
    world.tick = 41
    world.set(22.5, 10**9)
    assert world.gaps == [], "only the clock was set"
    world.tick = 80
    world.set(22.5, 10**9 + 39_000)
    assert world.gaps == [(P, 10**9, 10**9 + 39_000, "lost", "bridge down")]


def test_what_a_device_refused_for_long_is_noted_when_it_gives_a_value_again(world: World) -> None:
    world.set(1.0, 1_000)
    for _ in range(6):
        world.tick += 10
        world.set(1.0, 1_000, PointStatus.FAULT)
    assert world.gaps == []
    world.set(2.0, 70_000)
    assert world.gaps == [(P, 1_000, 70_000, GapKind.LOST, GapReason.DEVICE_FAULT)]
    world.set(2.0, 80_000, PointStatus.FAULT)  # a reading of its own, which the device flags
    world.set(2.0, 90_000)
    assert len(world.gaps) == 1


def test_what_a_source_had_to_drop_is_handed_on(world: World) -> None:
    notes = GapNotes([P], [1], [2], [GapKind.LOST], [GapReason.POINTS_DOWN])
    world.store.lost(notes.encode())
    assert world.gaps == [(P, 1, 2, "lost", "points down")]


def test_what_a_source_got_late_is_recorded_and_changes_no_value(world: World) -> None:
    world.set(2.0, 5_000)
    world.recorded.clear()
    late = PointFrame([P, "nobody", P], [1.0, 1.0, 1.5], [2_000, 2_000, 3_000], [0, 0, 0])
    assert world.store.late(late.encode()) == 2
    [frame] = world.recorded
    assert (frame.ids, frame.values, frame.times) == ([P, P], [1.0, 1.5], [2_000, 3_000])
    assert (world.store.get(P).value, world.store.get(P).time) == (2.0, 5_000)
    world.store.configure([PointConfig(id=P, record=False)])
    assert world.store.late(late.encode()) == 0


def test_three_missed_readings_make_a_point_stale_and_one_reading_fresh(world: World) -> None:
    world.set(1.0)
    world.tick = 30.0
    assert world.store.check_stale(0) == []
    world.tick = 30.1
    assert world.store.check_stale(0) == [P]
    assert world.store.get(P).status == PointStatus.STALE
    world.set(1.0, 2000, if_changed=True)
    assert world.store.get(P).status == 0


def test_a_clock_that_jumps_makes_nothing_stale(world: World) -> None:
    world.set(1.0, at=10**12)
    assert world.store.check_stale(2 * 10**12) == []


def test_an_older_reading_doesnt_replace_a_newer_one(world: World) -> None:
    world.set(2.0, 2000)
    world.set(1.0, 1000)
    world.set(1.0, 1500, PointStatus.FAULT)
    assert (world.store.get(P).value, world.store.get(P).status) == (2.0, 0)
    assert world.value_rows == [(P, 2.0, 2000)], "who follows must not take it for the newest"
    assert [each.times for each in world.recorded] == [[2000], [1000], [1500]]


def test_a_clock_that_was_set_back_doesnt_freeze_the_value(world: World) -> None:
    world.set(20.0, 10_000_000)
    world.now = 6_400_000
    world.set(31.0, 6_400_000)
    assert (world.store.get(P).value, world.store.get(P).time) == (31.0, 6_400_000)
    world.set(30.0, 6_390_000)
    assert world.store.get(P).value == 31.0, "from then on, late is late again"


def test_a_point_without_its_device_is_disabled(world: World) -> None:
    world.store.configure([PointConfig(id=P, disabled=True)])
    assert world.status_rows == [(P, 0, PointStatus.DISABLED)]
    world.store.forget([P, "unknown"])
    assert world.store.snapshot() == []


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0.001, 1e3))
def test_cov_counts_changes_of_at_least_the_increment(old: float, new: float, increment: float) -> None:
    assert has_changed(old, new, increment) == (abs(new - old) >= increment)
    assert has_changed(old, new, 0) == (old != new)


def test_a_change_of_type_counts() -> None:
    assert has_changed(None, 1.0, 10)
    assert has_changed(1.0, None, 10)
    assert has_changed(True, 1, 10)
    assert not has_changed(True, True, 0)
    assert not has_changed("a", "a", 0)


class History:
    """Takes frames, or refuses them for as long as it is away."""

    def __init__(self) -> None:
        self.away = threading.Event()
        self.rows: set[tuple[str, int]] = set()

    def __call__(self, frame: bytes) -> None:
        if self.away.is_set():
            raise ConnectionError("history is restarting")
        read = decode_frame(frame)
        self.rows |= set(zip(read.ids, read.times, strict=True))

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.rows) < count and time.monotonic() < deadline:
            time.sleep(0.005)
        assert len(self.rows) == count


def one(n: int) -> bytes:
    return PointFrame([P], [float(n)], [n], [0]).encode()


def test_nothing_is_lost_while_history_is_away_for_long(tmp_path: Path) -> None:
    history = History()
    feed = HistoryFeed(history, tmp_path / "queue", retry=0.01)
    history.away.set()
    for n in range(3 * IN_MEMORY):
        feed(one(n))
    deadline = time.monotonic() + 60
    while feed.failing is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert list(tmp_path.iterdir()) != []  # in its file, or in the one that is being sent
    assert feed.failing == "history is restarting"
    history.away.clear()
    history.wait_for(3 * IN_MEMORY)
    feed.close(60)
    assert list(tmp_path.iterdir()) == []


def test_a_stop_while_history_is_away_keeps_the_frames_for_the_next_start(tmp_path: Path) -> None:
    history = History()
    history.away.set()
    feed = HistoryFeed(history, tmp_path / "queue", retry=0.01)
    for n in range(10):
        feed(one(n))
    feed.close(1)
    history.away.clear()
    again = HistoryFeed(history, tmp_path / "queue", retry=0.01)
    again(one(10))
    history.wait_for(11)
    again.close()


def test_half_a_frame_at_the_end_of_the_queue_file_costs_only_itself(tmp_path: Path) -> None:
    data = one(1)
    whole = len(data).to_bytes(4, "big") + data
    (tmp_path / "queue").write_bytes(whole + whole[: len(whole) // 2])
    history = History()
    feed = HistoryFeed(history, tmp_path / "queue", retry=0.01)
    feed(one(2))
    history.wait_for(2)
    feed.close(60)


def test_joined_frames_hold_all_rows_in_order() -> None:
    assert decode_frame(join([one(1), one(2), one(3)])).times == [1, 2, 3]
