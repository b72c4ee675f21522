import math
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from actors.energy.logic import (
    DEMAND_INTERVAL,
    HOUR,
    Consumption,
    Usage,
    acceptable,
    consumption_of_counter,
    consumption_of_power,
    cooling_degree_days,
    counter_step,
    cv_rmse,
    demand_peak,
    expected,
    fit,
    heating_degree_days,
    load_factor,
    monthly_cost,
    nmbe,
    price_at,
    rounded,
    split_by_price,
    tiered_cost,
)
from actors.energy.models import Interval, Observation, Tariff, TieredTariff, TimeOfUseTariff

TARIFF: TypeAdapter[Tariff] = TypeAdapter(Tariff)
VIENNA = "Europe/Vienna"
MINUTE = 60_000


def ms(text: str, zone: str = VIENNA) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def test_steady_power_gives_power_times_time() -> None:
    samples = [(at * MINUTE, 10.0) for at in range(121)]
    assert consumption_of_power(samples, 0, 2 * HOUR) == Consumption(pytest.approx(20.0), 2 * HOUR)
    assert consumption_of_power(samples, 30 * MINUTE, 90 * MINUTE).amount == pytest.approx(10.0)


def test_a_ramp_is_integrated_by_trapezoids_and_a_gap_is_not_guessed() -> None:
    assert consumption_of_power([(0, 0.0), (HOUR, 10.0)], 0, HOUR).amount == pytest.approx(5.0)
    assert consumption_of_power([(0, 0.0), (HOUR, 10.0)], HOUR // 2, HOUR).amount == pytest.approx(3.75)
    gap = [(0, 10.0), (HOUR, 10.0), (4 * HOUR, 10.0), (5 * HOUR, 10.0)]
    assert consumption_of_power(gap, 0, 5 * HOUR) == Consumption(pytest.approx(20.0), 2 * HOUR)
    assert consumption_of_power([], 0, HOUR) == Consumption(0.0, 0)


SAMPLES = st.lists(st.tuples(st.integers(1, 50 * MINUTE), st.floats(0, 1000)), min_size=2, max_size=30).map(
    lambda steps: [(sum(each[0] for each in steps[: at + 1]), steps[at][1]) for at in range(len(steps))]
)


@given(samples=SAMPLES, cuts=st.lists(st.floats(0, 1), max_size=4))
def test_parts_of_a_range_sum_up_to_the_whole(samples: list[tuple[int, float]], cuts: list[float]) -> None:
    start, end = samples[0][0], samples[-1][0]
    edges = sorted({start, end, *(round(start + (end - start) * cut) for cut in cuts)})
    for consumed in (
        lambda a, b: consumption_of_power(samples, a, b),
        lambda a, b: consumption_of_counter(samples, a, b),
    ):
        whole = consumed(start, end)
        parts = [consumed(a, b) for a, b in pairwise(edges)]
        assert sum(each.amount for each in parts) == pytest.approx(whole.amount, abs=1e-6)
        assert sum(each.covered for each in parts) == whole.covered == end - start


def test_a_counter_that_rolls_over_or_is_set_back() -> None:
    assert counter_step(100, 130, None) == 30
    assert counter_step(9990, 20, 10_000) == 30
    assert counter_step(9990, 20, None) == 20, "set back, counted from zero"
    assert counter_step(5000, 4000, 10_000) == 4000, "too large a step for a roll-over"
    samples = [(0, 9_990.0), (HOUR, 20.0), (2 * HOUR, 80.0)]
    assert consumption_of_counter(samples, 0, 2 * HOUR, 10_000).amount == pytest.approx(90.0)


def test_the_peak_is_of_the_clocks_quarters_and_the_first_of_equals() -> None:
    def consumed(start: int, end: int) -> Consumption:
        value = {4: 30.0, 6: 30.0}.get(start // DEMAND_INTERVAL, 10.0)
        covered = 0 if start // DEMAND_INTERVAL == 5 else end - start
        return Consumption(value * (end - start) / HOUR, covered)

    peak = demand_peak(consumed, 7 * MINUTE, 3 * HOUR)
    assert peak is not None
    assert (peak.value, peak.at) == (pytest.approx(30.0), 4 * DEMAND_INTERVAL)
    assert demand_peak(consumed, 0, 10 * MINUTE) is None
    assert load_factor(240.0, 20.0, 24 * HOUR) == pytest.approx(0.5)
    assert load_factor(1.0, 0.0, HOUR) is None


def tariff(**fields: Any) -> Tariff:
    return TARIFF.validate_python(fields)


TOU = TimeOfUseTariff.model_validate(
    {
        "zone": VIENNA,
        "periods": [{"start": "08:00", "end": "20:00", "weekdays": [1, 2, 3, 4, 5], "price": "0.30"}],
        "otherwise": "0.20",
        "fixed": "12.50",
    }
)


def test_bills_are_exact() -> None:
    usage = [Usage(0, HOUR, 0.1), Usage(HOUR, 2 * HOUR, 0.2)]
    flat = monthly_cost(tariff(kind="flat", price="0.1", fixed="5"), usage)
    assert (flat.energy, flat.total) == (Decimal("0.03"), Decimal("5.03"))
    demand = tariff(kind="demand", price="0.1", demand_price="8", minimum_demand=10)
    assert monthly_cost(demand, usage, 25.0).demand == Decimal(200)
    assert monthly_cost(demand, usage, 3.0).demand == Decimal(80), "a minimum is charged"
    assert rounded(Decimal("1.005"), "EUR") == Decimal("1.01")
    assert rounded(Decimal("1.5"), "JPY") == Decimal(2)


def test_a_day_by_time_of_use_also_when_clocks_change() -> None:
    # 2026-11-23 is a Monday; 2026-03-29 and 2026-10-25 are Sundays on which the clock changes.
    start, end = ms("2026-11-23T00:00"), ms("2026-11-24T00:00")
    cost = monthly_cost(TOU, [Usage(start, end, 24.0)])
    assert cost.energy == Decimal("12") * Decimal("0.3") + Decimal("12") * Decimal("0.2")
    assert price_at(TOU, ms("2026-11-23T08:00")) == Decimal("0.30")
    assert price_at(TOU, ms("2026-11-23T20:00")) == Decimal("0.20")
    assert price_at(TOU, ms("2026-11-22T12:00")) == Decimal("0.20")
    for day, after, hours in (("2026-03-29", "2026-03-30", 23), ("2026-10-25", "2026-10-26", 25)):
        begin, over = ms(f"{day}T00:00"), ms(f"{after}T00:00")
        assert over - begin == hours * HOUR
        assert split_by_price(TOU, begin, over) == [(begin, over, Decimal("0.20"))]


@settings(max_examples=30)
@given(start=st.integers(0, 400 * 24), hours=st.integers(1, 24 * 9))
def test_parts_of_one_price_cover_a_range_without_gap_or_overlap(start: int, hours: int) -> None:
    begin = round(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000) + start * HOUR
    parts = split_by_price(TOU, begin, begin + hours * HOUR)
    assert parts[0][0] == begin
    assert parts[-1][1] == begin + hours * HOUR
    for left, right in pairwise(parts):
        assert left[1] == right[0]
        assert left[2] != right[2]
    for low, high, price in parts:
        for moment in (low, (low + high) // 2, high - 1):
            assert price_at(TOU, moment) == price


TIERS = TieredTariff.model_validate(
    {"tiers": [{"up_to": "100", "price": "0.1"}, {"up_to": "500", "price": "0.2"}, {"price": "0.5"}]}
)
AMOUNTS = st.decimals(0, 2000, places=3)


@given(one=AMOUNTS, more=AMOUNTS)
def test_tiers_sum_up_and_more_never_costs_less(one: Decimal, more: Decimal) -> None:
    by_tier = (
        min(one, Decimal(100)) * Decimal("0.1")
        + max(Decimal(0), min(one, Decimal(500)) - 100) * Decimal("0.2")
        + max(Decimal(0), one - 500) * Decimal("0.5")
    )
    assert tiered_cost(TIERS, one) == by_tier
    assert tiered_cost(TIERS, one + more) >= tiered_cost(TIERS, one) + more * Decimal("0.1")


def test_degree_days() -> None:
    assert heating_degree_days([10.0, 20.0, 15.5], 15.5) == pytest.approx(5.5)
    assert cooling_degree_days([10.0, 30.0, 15.5], 15.5) == pytest.approx(14.5)


@given(
    slope=st.floats(0.1, 50),
    intercept=st.floats(10, 1000),
    days=st.lists(st.floats(0, 600), min_size=3, max_size=40).filter(lambda x: max(x) - min(x) > 1),
)
def test_a_line_is_found_again(slope: float, intercept: float, days: list[float]) -> None:
    line = fit([Observation(degree_days=each, consumption=intercept + slope * each) for each in days])
    assert line is not None
    assert line.slope == pytest.approx(slope, rel=1e-6, abs=1e-6)
    assert line.intercept == pytest.approx(intercept, rel=1e-6, abs=1e-4)
    assert line.r2 == pytest.approx(1.0)
    assert line.cv_rmse == pytest.approx(0.0, abs=1e-6)
    assert expected(line, 100.0) == pytest.approx(intercept + slope * 100.0, rel=1e-6)


def test_what_says_nothing_makes_no_line() -> None:
    def observed(*pairs: tuple[float, float]) -> list[Observation]:
        return [Observation(degree_days=x, consumption=y) for x, y in pairs]

    assert fit(observed((1, 1), (2, 2))) is None
    assert fit(observed((1, 1), (1, 2), (1, 3))) is None
    assert fit(observed((1, 0), (2, 0), (3, 0))) is None


def test_errors_and_verdict_are_those_of_guideline_14() -> None:
    measured, predicted = [100.0, 110.0, 90.0, 100.0], [98.0, 112.0, 93.0, 95.0]
    assert cv_rmse(measured, predicted) == pytest.approx(100 * math.sqrt(42 / 3) / 100)
    assert nmbe(measured, predicted) == pytest.approx(100 * 2 / (3 * 100))
    assert acceptable(Interval.MONTHLY, 15.0, -5.0) is True
    assert acceptable(Interval.MONTHLY, 15.1, 0.0) is False
    assert acceptable(Interval.HOURLY, 30.0, 10.1) is False
    assert acceptable(Interval.DAILY, 0.0, 0.0) is None


ONE = {"price": "1"}


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "flat", "price": "-1"},
        {"kind": "flat", "price": "0.1", "zone": "Mars/Base"},
        {"kind": "tiered", "tiers": [{"up_to": "5", "price": "1"}]},
        {
            "kind": "tiered",
            "tiers": [{"up_to": "5", "price": "1"}, {"up_to": "5", "price": "1"}, {"price": "1"}],
        },
        {
            "kind": "time_of_use",
            "otherwise": "1",
            "periods": [{"start": "22:00", "end": "06:00", "price": "1"}],
        },
        {"kind": "time_of_use", "otherwise": "1", "periods": []},
        {"kind": "free"},
    ],
)
def test_tariffs_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TARIFF.validate_python(fields)
