"""What is deleted when it is too old, against a plain model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.core.errors import StorageError
from actors.history.models import NewSeriesConfig
from actors.history.store import CUTS, HistoryStore
from actors.point.models import empty_frame

DAY = 86_400_000
HOUR = 3_600_000
NOW = 1_700_000_000_000
POINTS = ("p", "q", "r")


class Clock:
    now = NOW

    def __call__(self) -> int:
        return self.now


def append(store: HistoryStore, rows: dict[tuple[str, int], float]) -> None:
    frame = empty_frame()
    for (point, at), value in rows.items():
        frame.add(point, value, at)
    store.append(frame.encode())


SAMPLES = st.dictionaries(
    st.tuples(st.sampled_from(POINTS), st.integers(0, 60 * 24).map(lambda hours: NOW - hours * HOUR)),
    st.floats(-1e6, 1e6),
    max_size=60,
)


@settings(max_examples=60)
@given(
    SAMPLES,
    SAMPLES,
    st.fixed_dictionaries({point: st.none() | st.floats(1, 60) for point in POINTS}),
    st.none() | st.floats(1, 60),
    st.integers(1, 40),
    st.booleans(),
)
def test_all_that_may_stay_stays_and_nothing_is_older_by_more_than_a_day(
    tmp_path_factory: pytest.TempPathFactory,
    packed: dict[tuple[str, int], float],
    waiting: dict[tuple[str, int], float],
    retention: dict[str, float | None],
    otherwise: float | None,
    days: int,
    by_itself: bool,
) -> None:
    clock = Clock()
    store = HistoryStore(tmp_path_factory.mktemp("history"), clock=clock)
    model: dict[tuple[str, int], float] = {}
    for rows, pack in ((packed, True), (waiting, False)):
        if rows:
            append(store, rows)
        model = rows | model
        if pack:
            store.pack()
    for point, own in retention.items():
        store.configure(point, NewSeriesConfig(retention=own))
    store.set_default_retention(otherwise)
    # Time has really passed: retention follows.
    store._steady_at -= days * 86_400
    clock.now += days * DAY
    if by_itself:
        for number in range(10):
            append(store, {("other", clock.now + number): 1.0})
    else:
        store.prune()
    for point in POINTS:
        own = retention[point] or otherwise
        limit = 0 if own is None else clock.now - own * DAY
        found = {each.time: each.value for each in store.read(point, limit=1000).samples}
        mine = {at: value for (of, at), value in model.items() if of == point}
        assert found.items() <= mine.items()
        assert {at for at in mine if at >= limit} <= found.keys()
        assert all(at >= limit - DAY for at in found)
        assert store.count(point) == len(found)
        if found:
            whole = store.rollup(point, NOW - 100 * DAY, NOW + 100 * DAY, 200 * DAY)
            assert sum(each.count for each in whole) == len(found), "sums are those of what is there"
            assert max(each.max for each in whole) == max(found.values())
    store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_cutting_goes_on_a_little_with_each_append_and_once_a_day_at_most(
    tmp_path: Path, clock: Clock
) -> None:
    store = HistoryStore(tmp_path, clock=clock)
    for number in range(10):
        store.load(f"p{number}", NOW - np.arange(20_000)[::-1] * 60_000, np.ones(20_000))
    store.set_default_retention(5)
    append(store, {("x", NOW): 1.0})

    def cut() -> int:
        return sum(store._first_time(store._series[f"p{number}"]) == first for number in range(10))

    first = NOW - 5 * DAY
    assert cut() == CUTS
    for number in range(1, 5):
        append(store, {("x", NOW + number): 1.0})
    assert cut() == 10
    clock.now += 20 * HOUR
    store._steady_at -= 20 * 3600
    append(store, {("x", clock.now): 1.0})
    assert cut() == 10, "not before the chunk's beginning is too old by a day"
    store.close()


def test_a_sample_that_waits_for_packing_goes_too(tmp_path: Path, clock: Clock) -> None:
    store = HistoryStore(tmp_path, clock=clock)
    append(store, {("p", NOW - 40 * DAY): 1.0, ("p", NOW): 2.0})
    store.set_default_retention(30)
    assert store.prune() == 1
    assert [each.value for each in store.read("p").samples] == [2.0]
    store.close()


def test_a_cut_that_fails_leaves_the_chunk_as_it_was(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = HistoryStore(tmp_path, clock=clock)
    store.load("p", NOW - np.arange(2_000)[::-1] * HOUR, np.ones(2_000))
    store.set_default_retention(10)
    real: Callable[..., int] = store.many

    def fail(sql: str, rows: object) -> int:
        if sql.startswith("INSERT INTO chunk"):
            raise StorageError("history", "the disk is full; nothing was changed")
        return real(sql, rows)

    monkeypatch.setattr(store, "many", fail)
    with pytest.raises(StorageError):
        store.prune()
    assert store.count("p") == 2_000
    monkeypatch.undo()
    assert store.prune() == 2_000 - 241
    store.close()
    again = HistoryStore(tmp_path, clock=clock)
    assert again.count("p") == 241
    again.close()
