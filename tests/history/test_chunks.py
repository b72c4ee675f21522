import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.history import chunks, columns, rollup
from actors.history.columns import Columns, from_values, pack_frame, to_values, unpack_frame

START = 1_700_000_000_000
NUMBERS = st.floats(allow_nan=False) | st.floats(-100, 100).map(lambda x: round(x, 1))
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), NUMBERS, st.text())
ROWS = st.lists(st.tuples(st.integers(1, 10**7), VALUES, st.sampled_from([0, 0, 0, 4, 16, 63])), min_size=1)


def made(rows: list[tuple[int, object, int]]) -> Columns:
    times = np.cumsum([START, *(step for step, _, _ in rows[1:])]).tolist()
    return from_values(times, [value for _, value, _ in rows], [status for _, _, status in rows])  # type: ignore[misc]


def row(chunk: chunks.Chunk) -> dict[str, object]:
    return chunk._asdict()


def same(one: Columns, two: Columns) -> None:
    assert one.times.tolist() == two.times.tolist()
    assert one.statuses.tolist() == two.statuses.tolist()
    first, second = to_values(one), to_values(two)
    assert [type(each) for each in first] == [type(each) for each in second]
    assert [repr(each) for each in first] == [repr(each) for each in second]


@given(ROWS, st.booleans())
def test_a_chunk_gives_back_every_sample_with_its_type(
    rows: list[tuple[int, object, int]], quick: bool
) -> None:
    samples = made(rows)
    chunk = chunks.encode(7, samples, quick=quick)
    assert (chunk.series_id, chunk.samples) == (7, len(rows))
    assert (chunk.first_time, chunk.last_time) == (samples.times[0], samples.times[-1])
    same(chunks.decode(row(chunk)), samples)


@given(ROWS)
def test_a_waiting_frame_gives_back_every_sample(rows: list[tuple[int, object, int]]) -> None:
    samples = made(rows)
    series = np.arange(len(rows), dtype=np.int32)
    back, found = unpack_frame(pack_frame(series, samples))
    assert back.tolist() == series.tolist()
    same(found, samples)


@given(st.lists(st.tuples(st.integers(1, 4 * 10**6), NUMBERS), min_size=20, max_size=200))
def test_cells_are_what_a_plain_sum_over_each_hour_gives(rows: list[tuple[int, float]]) -> None:
    times = np.cumsum([START, *(step // 16 + 1 for step, _ in rows[1:])])
    samples = from_values(times.tolist(), [value for _, value in rows], [0] * len(rows))
    chunk = chunks.encode(1, samples)
    if chunk.cells is None:
        return
    cells = chunks.decode_cells([chunks.Cells(chunk.first_time, chunk.last_time, chunk.cells)])
    values = samples.numbers
    assert cells.counts.sum() == len(rows)
    size = float(np.abs(values).max()) or 1.0
    for at, begin in enumerate(cells.begin.tolist()):
        inside = values[(times // chunks.CELL) == begin // chunks.CELL]
        assert cells.counts[at] == len(inside)
        if len(inside):
            found = [each[at] for each in (cells.min, cells.max, cells.first, cells.last)]
            assert found == [inside.min(), inside.max(), inside[0], inside[-1]]
            assert cells.sum[at] == pytest.approx(inside.sum(), rel=1e-9, abs=1e-9 * size)
    span = chunk.last_time - chunk.first_time
    whole = float(rollup.integrals(times, values)[-1])
    assert cells.integral.sum() == pytest.approx(whole, rel=1e-6, abs=1e-6 * size * span)
    assert chunk.integral == pytest.approx(whole)


def test_a_week_of_minutes_takes_little_room() -> None:
    random = np.random.default_rng(1)
    times = START + np.arange(10_000) * 60_000 + random.integers(-40, 41, 10_000)
    values = np.round(21 + np.cumsum(random.normal(0, 0.02, 10_000)), 1)
    kinds = np.full(10_000, columns.FLOAT, np.uint8)
    chunk = chunks.encode(1, Columns(times, values, kinds, np.zeros(10_000, np.int32)))
    assert sum(len(each) for each in chunk if isinstance(each, bytes)) < 1.4 * 10_000
    assert (chunk.kind, chunk.status, chunk.kinds, chunk.statuses) == (columns.FLOAT, 0, None, None)


def test_a_head_has_sums_only_where_every_sample_is_a_number() -> None:
    some = chunks.encode(1, from_values([1, 2, 3], [1.0, None, 3.0], [0, 0, 0]))
    assert (some.min, some.sum, some.integral) == (None, None, None)
    every = chunks.encode(1, from_values([1_000, 2_000, 4_000], [1.0, 2.0, 5.0], [0, 0, 0]))
    assert (every.min, every.max, every.sum, every.first, every.last) == (1, 5, 8, 1, 5)
    assert every.integral == 1 * 1_000 + 2 * 2_000
    infinite = chunks.encode(1, from_values([1, 2], [1.0, math.inf], [0, 0]))
    assert infinite.sum is None


@given(
    st.integers(0, 4).flatmap(
        lambda digits: st.lists(
            st.floats(-2e9, 2e9).map(lambda x: round(x, digits)) | st.sampled_from([0.0, -0.0]), min_size=1
        )
    )
)
def test_short_decimals_come_back_bit_by_bit(values: list[float]) -> None:
    samples = made([(60_000, value, 0) for value in values])
    same(chunks.decode(row(chunks.encode(1, samples))), samples)


def test_numbers_that_an_older_version_kept_as_they_are_can_be_read() -> None:
    samples = made([(60_000, value / 10, 0) for value in range(100)])
    chunk = chunks.encode(1, samples)
    older = chunk._replace(numbers=chunks._compress(samples.numbers, chunks._FULL))
    assert len(chunk.numbers) < len(older.numbers)
    same(chunks.decode(row(older)), samples)
