import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.core.errors import BadInputError, NotFoundError
from actors.history.columns import from_values, to_values
from actors.history.store import HistoryStore
from actors.point.models import empty_frame

START = 1_700_000_000_000


def frame(*rows: tuple[str, object, int] | tuple[str, object, int, int]) -> bytes:
    made = empty_frame()
    for row in rows:
        made.add(*row)  # type: ignore[arg-type]
    return made.encode()


@pytest.fixture
def store(tmp_path: Path) -> HistoryStore:
    return HistoryStore(tmp_path)


def test_rows_come_back_in_order_of_time_with_their_types(store: HistoryStore) -> None:
    values = [True, False, 1, 0, 1.0, 21.5, "on", "", None, -(2**63)]
    rows = [("p", value, START + i) for i, value in enumerate(values)]
    random.Random(1).shuffle(rows)
    assert store.append(frame(*rows)) == len(values)
    found = [sample.value for sample in store.read("p").samples]
    assert found == values
    assert [type(each) for each in found] == [type(each) for each in values]


@given(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.none()))
def test_a_value_keeps_its_type_in_its_column(value: bool | int | float | str | None) -> None:
    [back] = to_values(from_values([START], [value], [0]))
    assert back == value or float(back) == float(value)  # type: ignore[arg-type]
    assert type(back) is type(value) or not -(2**63) <= value < 2**63  # type: ignore[operator]


def test_appending_the_same_rows_twice_changes_nothing(store: HistoryStore) -> None:
    rows = frame(("p", 1.0, START), ("q", 2.0, START), ("p", 3.0, START + 1, 4))
    assert store.append(rows) == 3
    assert store.append(rows) == 0
    assert store.append(frame(("p", 9.0, START), ("p", 4.0, START + 2))) == 1
    assert [each.value for each in store.read("p").samples] == [1.0, 3.0, 4.0]
    assert store.count() == 4


def test_a_closed_and_opened_store_has_everything(store: HistoryStore) -> None:
    store.append(frame(("p", 1.0, START, 8), ("q", True, START)))
    store.close()
    again = HistoryStore(store.path.parent)
    assert again.points() == ["p", "q"]
    assert again.read("p").samples[0].status == 8
    assert again.append(frame(("p", 1.0, START))) == 0


def test_a_range_is_half_open_and_a_limit_says_that_it_cut(store: HistoryStore) -> None:
    store.append(frame(*[("p", float(i), START + i) for i in range(10)]))
    assert [each.value for each in store.read("p", START + 2, START + 5).samples] == [2.0, 3.0, 4.0]
    first = store.read("p", limit=3)
    assert ([each.value for each in first.samples], first.more) == ([0.0, 1.0, 2.0], True)
    last = store.read("p", limit=3, newest_first=True)
    assert ([each.value for each in last.samples], last.more) == ([7.0, 8.0, 9.0], True)
    assert not store.read("p", limit=10).more


def test_what_cannot_be_asked_is_refused_by_name(store: HistoryStore) -> None:
    store.append(frame(("p", 1.0, START)))
    with pytest.raises(NotFoundError):
        store.read("q")
    with pytest.raises(BadInputError, match="end"):
        store.read("p", START, START)
    with pytest.raises(BadInputError, match="limit"):
        store.read("p", limit=0)
    with pytest.raises(BadInputError, match="interval"):
        store.rollup("p", START, START + 1000, 10)
    with pytest.raises(BadInputError, match="interval"):
        store.rollup("p", 0, START, 1000)


def test_a_rollup_counts_numbers_and_booleans_only(store: HistoryStore) -> None:
    minute = 60_000
    base = START - START % minute
    store.append(
        frame(
            ("p", 1.0, base),
            ("p", 3, base + 59_999),
            ("p", None, base + 1),
            ("p", "text", base + 2),
            ("p", True, base + minute),
            ("p", False, base + minute + 1),
        )
    )
    first, second = store.rollup("p", base, base + 2 * minute, minute)
    assert (first.start, first.min, first.max, first.avg, first.sum, first.count) == (base, 1, 3, 2, 4, 2)
    assert (second.start, second.avg, second.count) == (base + minute, 0.5, 2)


@settings(max_examples=25)
@given(st.dictionaries(st.integers(0, 10_000), st.floats(-1e6, 1e6), min_size=1))
def test_a_rollup_agrees_with_the_samples(
    tmp_path_factory: pytest.TempPathFactory, samples: dict[int, float]
) -> None:
    store = HistoryStore(tmp_path_factory.mktemp("history"), clock=lambda: 20_000)
    store.append(frame(*[("p", value, at) for at, value in samples.items()]))
    rollups = store.rollup("p", 0, 10_001, 1_000)
    assert sum(each.count for each in rollups) == len(samples)
    for each in rollups:
        inside = [v for at, v in samples.items() if each.start <= at < each.start + 1_000]
        assert (each.min, each.max, each.count) == (min(inside), max(inside), len(inside))
        assert each.avg == pytest.approx(sum(inside) / len(inside), abs=1e-6)
    store.close()


def test_many_points_latest_and_arrays(store: HistoryStore) -> None:
    store.append(frame(("p", 1.0, START), ("p", True, START + 1), ("p", None, START + 2, 4), ("q", 7, START)))
    series = store.read_many(["p", "q", "nobody"], limit=2)
    assert [[each.value for each in one.samples] for one in series] == [[True, None], [7], []]
    assert {key: each.value for key, each in store.latest(["p", "q", "nobody"]).items()} == {
        "p": None,
        "q": 7,
    }
    arrays = store.read_arrays("p")
    assert list(arrays.times) == [START, START + 1, START + 2]
    assert list(arrays.values)[:2] == [1.0, 1.0]
    assert arrays.values[2] != arrays.values[2]
    assert list(arrays.statuses) == [0, 0, 4]
