import itertools
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.core.clock import LATEST
from actors.core.errors import BadInputError
from actors.history import rollup
from actors.history.columns import from_values
from actors.history.rollup import edges, from_samples, sum_up

HOUR = 3_600_000
DAY = 24 * HOUR
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
]


def at(text: str, zone: str = "Europe/Berlin") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def lengths(start: str, end: str, step: int | str, zone: str = "Europe/Berlin") -> list[float]:
    return (np.diff(edges(at(start, zone), at(end, zone), step, zone)) / HOUR).tolist()


def test_days_have_23_and_25_hours_when_the_clock_changes() -> None:
    assert lengths("2025-03-29", "2025-04-01", "day") == [24, 23, 24]
    assert lengths("2025-10-25", "2025-10-28", "day") == [24, 25, 24]
    assert lengths("2025-03-30", "2025-03-31", "hour") == [1.0] * 23
    assert lengths("2025-10-26", "2025-10-27", "hour") == [1.0] * 25


def test_lengths_that_divide_a_day_begin_at_midnight_in_the_zone() -> None:
    assert lengths("2025-03-30", "2025-03-31", 6 * HOUR) == [6, 6, 6, 5]
    assert lengths("2025-10-26", "2025-10-27", 6 * HOUR) == [6, 6, 6, 6, 1]
    assert edges(at("2025-06-01T07:00"), at("2025-06-01T13:00"), 6 * HOUR, "Europe/Berlin").tolist() == [
        at("2025-06-01T06:00"), at("2025-06-01T12:00"), at("2025-06-01T18:00"),
    ]  # fmt: skip


def test_a_midnight_that_the_clock_skips_begins_where_it_skips_to() -> None:
    zone = "America/Sao_Paulo"
    found = edges(at("2018-11-03", zone), at("2018-11-06", zone), "day", zone)
    assert (np.diff(found) / HOUR).tolist() == [24, 23, 24]
    assert found[1] == at("2018-11-04T01:00", zone)


def test_weeks_months_and_years_begin_where_the_calendar_says() -> None:
    [week, *_] = edges(at("2025-10-29T12:00"), at("2025-10-30"), "week", "Europe/Berlin").tolist()
    assert week == at("2025-10-27")
    months = edges(at("2024-02-10"), at("2024-04-10"), "month", "Europe/Berlin").tolist()
    assert months == [at("2024-02-01"), at("2024-03-01"), at("2024-04-01"), at("2024-05-01")]
    years = edges(at("2024-02-10"), at("2024-04-10"), "year", "Europe/Berlin").tolist()
    assert years == [at("2024-01-01"), at("2025-01-01")]


def test_lengths_in_utc_and_odd_ones_begin_at_multiples_since_the_epoch() -> None:
    assert edges(7 * HOUR + 1, 15 * HOUR, 7 * HOUR, "Asia/Kolkata").tolist() == [
        7 * HOUR,
        14 * HOUR,
        21 * HOUR,
    ]
    assert edges(DAY + 5, 3 * DAY, DAY).tolist() == [DAY, 2 * DAY, 3 * DAY]
    assert edges(at("2025-06-05"), at("2025-06-09"), 2 * DAY, "Europe/Berlin").tolist()[0] == at("2025-06-05")


@given(
    st.integers(0, 4 * 10**12),
    st.integers(1, 40 * DAY),
    st.sampled_from(
        ["hour", "day", "week", "month", "year", HOUR // 4, HOUR, 6 * HOUR, DAY, 3 * DAY, 5 * HOUR]
    ),
    st.sampled_from(ZONES),
)
def test_intervals_cover_the_range_without_holes(start: int, length: int, step: int | str, zone: str) -> None:
    found = edges(start, start + length, step, zone)
    assert (np.diff(found) > 0).all()
    assert found[0] <= start < found[1]
    assert found[-2] < start + length <= found[-1]


def test_what_cannot_be_asked_is_refused_by_name() -> None:
    with pytest.raises(BadInputError, match="zone"):
        edges(0, DAY, HOUR, "Mars/Olympus")
    with pytest.raises(BadInputError, match="zone"):
        edges(0, DAY, HOUR, "../etc/passwd")
    with pytest.raises(BadInputError, match="interval"):
        edges(0, DAY, "fortnight")
    with pytest.raises(BadInputError, match="interval"):
        edges(0, DAY, 10)
    with pytest.raises(BadInputError, match="interval"):
        edges(0, 400 * 365 * DAY, "day", "Europe/Berlin")
    assert edges(LATEST - DAY, LATEST, "year", "Europe/Berlin")[-1] >= LATEST


ROWS = st.dictionaries(
    st.integers(0, 3 * DAY), st.one_of(st.none(), st.integers(-1000, 1000).map(lambda x: x / 10)), min_size=1
)


@given(ROWS, st.sampled_from([HOUR, 5 * HOUR, "day"]), st.integers(0, 2 * DAY), st.integers(1, 2 * DAY))
def test_sums_are_what_a_plain_computation_gives(
    rows: dict[int, float | None], step: int | str, start: int, length: int
) -> None:
    """The time-weighted average is checked against a sum over the moments at which anything changes."""
    end, until = start + length, 4 * DAY
    samples = sorted(rows.items())
    before = [(at, value) for at, value in samples if at < start][-1:]
    inside = [(at, value) for at, value in samples if start <= at < end]
    bounds = edges(start, end, step, "Europe/Berlin")
    columns = from_values([at for at, _ in inside], [value for _, value in inside], [0] * len(inside))
    pieces = from_samples(columns)
    if before:
        held = from_samples(from_values([start], [before[0][1]], [0]))
        pieces = rollup.join([held._replace(counts=np.zeros(1, np.int64)), pieces])
    if not len(pieces.begin):
        return
    sums = sum_up(pieces, bounds, start, end, until)
    expected = []
    for low, high in zip(bounds.tolist(), bounds[1:].tolist(), strict=False):
        numbers = [value for at, value in inside if low <= at < high and value is not None]
        if not numbers:
            continue
        first, last = max(low, start), min(high, end)
        held_for = area = 0.0
        moments = [*before, *inside, (end, None)]
        for (one, value), (two, _) in itertools.pairwise(moments):
            span = min(two, last) - max(one, first)
            if span > 0 and value is not None:
                held_for += span
                area += span * value
        weighted = area / held_for if held_for else numbers[-1]
        expected.append((low, high, min(numbers), max(numbers), numbers[0], numbers[-1], len(numbers)))
        index = len(expected) - 1
        assert sums.sum[index] == pytest.approx(sum(numbers), abs=1e-6)
        assert sums.time_weighted[index] == pytest.approx(weighted, abs=1e-6)
    found = zip(sums.start, sums.end, sums.min, sums.max, sums.first, sums.last, sums.counts, strict=True)
    assert list(found) == expected
