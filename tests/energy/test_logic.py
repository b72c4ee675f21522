import csv
import io
import math
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from actors.energy.logic import (
    CSV_COLUMNS,
    DEMAND_INTERVAL,
    HOUR,
    Consumption,
    Peak,
    Usage,
    acceptable,
    consumption_of_counter,
    consumption_of_power,
    cooling_degree_days,
    csv_of,
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
    summed,
    tiered_cost,
)
from actors.energy.models import (
    DemandTariff,
    EnergySummary,
    FlatTariff,
    Interval,
    KindTotal,
    Meter,
    MeterKind,
    NewMeter,
    Observation,
    Period,
    PricePeriod,
    Rollup,
    Tariff,
    Tier,
    TieredTariff,
    TimeOfUseTariff,
)

TARIFF: TypeAdapter[Any] = TypeAdapter(Tariff)
DAY = 24 * HOUR
MINUTE = 60_000
PRICES = st.decimals(0, 100, places=4)
ZONES = ["UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]


def ms(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


# Consumption


def test_power_is_integrated_by_trapezoids_and_cut_at_the_ends() -> None:
    ramp = [(0, 0.0), (HOUR, 10.0), (2 * HOUR, 10.0)]
    whole = consumption_of_power(ramp, 0, 2 * HOUR)
    assert (whole.amount, whole.covered) == (pytest.approx(15.0), 2 * HOUR)
    half = consumption_of_power(ramp, HOUR // 2, HOUR)
    assert (half.amount, half.covered) == (pytest.approx(3.75), HOUR // 2)
    assert consumption_of_power(ramp, 3 * HOUR, 4 * HOUR).covered == 0
    assert consumption_of_power([], 0, HOUR).amount == 0


def test_where_power_is_not_known_nothing_is_counted() -> None:
    samples = [(0, 4.0), (HOUR, 4.0), (5 * HOUR, 4.0), (6 * HOUR, 4.0)]
    found = consumption_of_power(samples, 0, 6 * HOUR)
    assert (found.amount, found.covered) == (pytest.approx(8.0), 2 * HOUR)


SERIES = st.lists(st.tuples(st.integers(1, HOUR), st.floats(0, 1000)), min_size=2, max_size=30).map(
    lambda steps: [(sum(gap for gap, _ in steps[: n + 1]), value) for n, (_, value) in enumerate(steps)]
)


@given(SERIES, st.lists(st.integers(0, 30 * HOUR), min_size=1, max_size=5))
def test_parts_of_a_range_sum_up_to_the_whole(samples: list[tuple[int, float]], cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), 31 * HOUR]
    counter = [(at, float(n)) for n, (at, _) in enumerate(samples)]
    for consumed in (partial(consumption_of_power, samples), partial(consumption_of_counter, counter)):
        parts = [consumed(left, right) for left, right in pairwise(edges)]
        whole = consumed(0, 31 * HOUR)
        assert math.isclose(sum(each.amount for each in parts), whole.amount, rel_tol=1e-9, abs_tol=1e-9)
        assert sum(each.covered for each in parts) == whole.covered == samples[-1][0] - samples[0][0]


@given(st.lists(st.integers(0, 499), min_size=1, max_size=40), st.integers(0, 999))
def test_a_counter_that_rolls_over_loses_nothing(steps: list[int], first: int) -> None:
    total, samples = first, [(0, float(first))]
    for number, step in enumerate(steps, 1):
        total += step
        samples.append((number * HOUR, float(total % 1000)))
    found = consumption_of_counter(samples, 0, len(steps) * HOUR, rollover=1000.0)
    assert found.amount == sum(steps)
    assert found.covered == len(steps) * HOUR


def test_a_counter_that_was_set_back_counts_from_zero() -> None:
    samples = [(0, 900.0), (HOUR, 950.0), (2 * HOUR, 30.0), (3 * HOUR, 40.0)]
    assert consumption_of_counter(samples, 0, 3 * HOUR).amount == 50 + 30 + 10
    assert consumption_of_counter(samples, 0, 3 * HOUR, rollover=1000.0).amount == 50 + 80 + 10
    assert consumption_of_counter(samples, 0, 3 * HOUR, rollover=100_000.0).amount == 50 + 30 + 10


def test_the_peak_is_the_highest_full_quarter_of_an_hour() -> None:
    samples = [(n * MINUTE, 40.0 if 15 <= n < 30 else 10.0) for n in range(121)]
    found = demand_peak(partial(consumption_of_power, samples), 0, 2 * HOUR)
    assert found is not None
    assert found.at == DEMAND_INTERVAL
    assert found.value == pytest.approx(39.0)
    assert demand_peak(partial(consumption_of_power, samples), 0, DEMAND_INTERVAL - 1) is None
    late = demand_peak(partial(consumption_of_power, samples), 20 * MINUTE, 2 * HOUR)
    assert late == Peak(pytest.approx(10.0), 2 * DEMAND_INTERVAL)
    holes = [each for each in samples if not 15 * MINUTE < each[0] < 28 * MINUTE]
    rest = demand_peak(partial(consumption_of_power, holes, max_gap=MINUTE), 0, HOUR)
    assert rest is not None
    assert (rest.at, rest.value) == (0, pytest.approx(11.0))
    counter = [(n * DEMAND_INTERVAL, float(n * n)) for n in range(9)]
    assert demand_peak(partial(consumption_of_counter, counter), 0, 2 * HOUR) == Peak(
        60.0, 7 * DEMAND_INTERVAL
    )


def test_the_first_of_equal_peaks_wins_and_a_quarter_with_a_hole_does_not_count() -> None:
    def consumed(start: int, end: int) -> Consumption:
        value = {4: 30.0, 5: 90.0, 6: 30.0}.get(start // DEMAND_INTERVAL, 10.0)
        covered = (end - start) // (2 if start // DEMAND_INTERVAL == 5 else 1)
        return Consumption(value * (end - start) / HOUR, covered)

    assert demand_peak(consumed, 7 * MINUTE, 3 * HOUR) == Peak(30.0, 4 * DEMAND_INTERVAL)


@given(SERIES)
def test_no_quarter_of_an_hour_lies_above_the_highest_power(samples: list[tuple[int, float]]) -> None:
    end = samples[-1][0]
    peak = demand_peak(partial(consumption_of_power, samples), 0, end)
    used = consumption_of_power(samples, 0, end)
    if peak is not None:
        assert peak.value <= max(value for _, value in samples) * (1 + 1e-9)
        assert peak.at % DEMAND_INTERVAL == 0
        factor = load_factor(used.amount, peak.value, used.covered)
        assert factor is None or factor >= 0


def test_load_factor_is_average_over_peak() -> None:
    assert load_factor(120.0, 10.0, 24 * HOUR) == 0.5
    assert load_factor(120.0, 0.0, 24 * HOUR) is None


# Cost


def test_a_flat_tariff_is_exact() -> None:
    tariff = FlatTariff(price=Decimal("0.1"), fixed=Decimal("12.5"))
    cost = monthly_cost(tariff, [Usage(0, DAY, 0.1)] * 3)
    assert (cost.energy, cost.fixed, cost.total) == (Decimal("0.03"), Decimal("12.5"), Decimal("12.53"))


TIERS = st.lists(st.tuples(st.integers(1, 500), PRICES), min_size=0, max_size=5).flatmap(
    lambda steps: st.builds(
        lambda last: TieredTariff(
            tiers=[
                *(
                    Tier(up_to=Decimal(sum(width for width, _ in steps[: n + 1])), price=price)
                    for n, (_, price) in enumerate(steps)
                ),
                Tier(price=last),
            ]
        ),
        PRICES,
    )
)


@given(TIERS, st.integers(0, 3000))
def test_tiers_sum_up_unit_by_unit(tariff: TieredTariff, amount: int) -> None:
    def price_of(unit: int) -> Decimal:
        return next(t.price for t in tariff.tiers if t.up_to is None or unit < t.up_to)

    assert tiered_cost(tariff, Decimal(amount)) == sum((price_of(n) for n in range(amount)), Decimal(0))


@given(TIERS, PRICES, st.decimals(0, 5000, places=3), st.decimals(0, 5000, places=3))
def test_tiers_of_one_price_are_flat_and_more_never_costs_less(
    tariff: TieredTariff, price: Decimal, first: Decimal, more: Decimal
) -> None:
    assert tiered_cost(tariff, first) <= tiered_cost(tariff, first + more)
    same = TieredTariff(tiers=[Tier(up_to=tier.up_to, price=price) for tier in tariff.tiers])
    assert tiered_cost(same, first) == first * price


def test_a_demand_tariff_charges_the_peak_and_no_less_than_its_minimum() -> None:
    tariff = DemandTariff(price=Decimal("0.1"), demand_price=Decimal(10), minimum_demand=50)
    usage = [Usage(0, DAY, 1000.0)]
    assert monthly_cost(tariff, usage, 80.5).demand == Decimal(805)
    assert monthly_cost(tariff, usage, 20.0).demand == Decimal(500)
    assert monthly_cost(tariff, usage).total == Decimal(600)


PEAK = TimeOfUseTariff(
    zone="Europe/Vienna",
    periods=[PricePeriod(start="08:00", end="20:00", weekdays=[1, 2, 3, 4, 5], price=Decimal("0.30"))],
    otherwise=Decimal("0.20"),
)


def test_time_of_use_follows_the_wall_clock_over_the_change_of_clocks() -> None:
    for text, price in (
        ("2026-03-27T07:59:59", "0.20"),
        ("2026-03-27T08:00:00", "0.30"),
        ("2026-03-28T12:00:00", "0.20"),
        ("2026-03-30T08:00:00", "0.30"),
        ("2026-03-30T20:00:00", "0.20"),
    ):
        assert price_at(PEAK, ms(text, "Europe/Vienna")) == Decimal(price)
    night = TimeOfUseTariff(
        zone="Europe/Vienna",
        periods=[PricePeriod(start="02:00", end="03:00", price=Decimal(1))],
        otherwise=Decimal(0),
    )

    def priced(day: str, after: str) -> int:
        start, end = ms(f"{day}T00:00:00", "Europe/Vienna"), ms(f"{after}T00:00:00", "Europe/Vienna")
        return sum(right - left for left, right, price in split_by_price(night, start, end) if price == 1)

    assert priced("2026-03-29", "2026-03-30") == 0
    assert priced("2026-10-25", "2026-10-26") == 2 * HOUR
    assert priced("2026-10-26", "2026-10-27") == HOUR


TOU = st.builds(
    TimeOfUseTariff,
    zone=st.sampled_from(ZONES),
    otherwise=PRICES,
    periods=st.lists(
        st.tuples(
            st.integers(0, 95),
            st.integers(1, 96),
            PRICES,
            st.lists(st.integers(1, 7), max_size=7),
            st.lists(st.integers(1, 12), min_size=1, max_size=12),
        )
        .filter(lambda each: each[0] < each[1])
        .map(
            lambda each: PricePeriod(
                start=f"{each[0] // 4:02}:{each[0] % 4 * 15:02}",
                end=f"{each[1] // 4:02}:{each[1] % 4 * 15:02}",
                price=each[2],
                weekdays=each[3],
                months=each[4],
            )
        ),
        min_size=1,
        max_size=4,
    ),
)
CHANGES = [
    ms(text) for text in ("2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-04-04", "2026-10-03")
]


@settings(deadline=None)
@given(TOU, st.sampled_from(CHANGES), st.integers(-48 * 60, 48 * 60), st.integers(1, 48 * 60), st.data())
def test_parts_of_one_price_meet_and_have_the_price_of_each_moment(
    tariff: TimeOfUseTariff, around: int, begin: int, length: int, data: st.DataObject
) -> None:
    start = around + begin * MINUTE
    end = start + length * MINUTE
    parts = split_by_price(tariff, start, end)
    assert (parts[0][0], parts[-1][1]) == (start, end)
    for (_, right, price), (left, _, other) in pairwise(parts):
        assert right == left
        assert price != other
    moment = data.draw(st.integers(start, end - 1))
    [price] = [price for left, right, price in parts if left <= moment < right]
    assert price == price_at(tariff, moment)
    amount = length / 60
    by_minute = sum((price_at(tariff, start + n * MINUTE) for n in range(length)), Decimal(0)) / 60
    found = monthly_cost(tariff, [Usage(start, end, amount)]).energy
    assert math.isclose(found, by_minute, rel_tol=1e-9, abs_tol=1e-9)


def test_money_is_rounded_to_the_smallest_coin_half_up() -> None:
    assert rounded(Decimal("1.005"), "EUR") == Decimal("1.01")
    assert rounded(Decimal("100.5"), "JPY") == Decimal(101)
    assert rounded(Decimal("1.0005"), "KWD") == Decimal("1.001")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "flat", "price": -1},
        {"kind": "flat", "price": "0.12345678"},
        {"kind": "flat", "price": "NaN"},
        {"kind": "flat", "price": 1, "zone": "Mars/Olympus"},
        {"kind": "tiered", "tiers": [{"up_to": 5, "price": 1}]},
        {"kind": "tiered", "tiers": [{"price": 1}, {"price": 2}]},
        {"kind": "tiered", "tiers": [{"up_to": 5, "price": 1}, {"up_to": 5, "price": 1}, {"price": 2}]},
        {"kind": "time_of_use", "otherwise": 1, "periods": []},
        {"kind": "time_of_use", "otherwise": 1, "periods": [{"start": "20:00", "end": "08:00", "price": 1}]},
        {"kind": "time_of_use", "otherwise": 1, "periods": [{"start": "24:01", "price": 1}]},
        {"kind": "barter", "price": 1},
    ],
)
def test_a_tariff_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TARIFF.validate_python(wrong)


def test_only_a_counter_rolls_over() -> None:
    NewMeter(name="m", node_id="a", rollover=1000)
    with pytest.raises(ValidationError, match="counter"):
        NewMeter.model_validate({"name": "m", "node_id": "a", "reading": "power", "rollover": 1000})


# Degree days and baselines


@given(st.lists(st.floats(-40, 45), max_size=40), st.floats(0, 30))
def test_degree_days_of_both_kinds_make_up_the_distance_to_the_base(means: list[float], base: float) -> None:
    heating, cooling = heating_degree_days(means, base), cooling_degree_days(means, base)
    assert heating >= 0 <= cooling
    assert math.isclose(heating - cooling, sum(base - each for each in means), rel_tol=1e-9, abs_tol=1e-6)


def test_degree_days_by_hand() -> None:
    assert heating_degree_days([5.0, 12.5, 20.0], 15.5) == 13.5
    assert cooling_degree_days([5.0, 20.0, 25.0], 18.0) == 9.0


@given(
    st.floats(0, 100),
    st.floats(1, 1e4),
    st.lists(st.integers(0, 900), min_size=3, max_size=24, unique=True),
)
def test_a_line_through_exact_observations_is_found(slope: float, intercept: float, days: list[int]) -> None:
    line = fit([Observation(degree_days=d, consumption=intercept + slope * d) for d in days])
    assert line is not None
    assert math.isclose(line.slope, slope, rel_tol=1e-6, abs_tol=1e-6 * intercept)
    assert math.isclose(line.intercept, intercept, rel_tol=1e-5, abs_tol=1e-5 * (1 + slope * max(days)))
    assert line.cv_rmse < 1e-3
    assert abs(line.nmbe) < 1e-3
    assert math.isclose(expected(line, 10), intercept + slope * 10, rel_tol=1e-4)


def test_quality_by_hand() -> None:
    # Residuals 1, -1, 1, -1 around a mean of 10: squares 4, n - p = 2.
    measured, predicted = [11.0, 9.0, 11.0, 9.0], [10.0] * 4
    assert cv_rmse(measured, predicted, parameters=2) == pytest.approx(100 * math.sqrt(2) / 10)
    assert nmbe(measured, predicted, parameters=2) == 0
    assert nmbe([12.0] * 4, predicted) == pytest.approx(100 * 8 / (3 * 12))


@given(st.lists(st.tuples(st.floats(0, 900), st.floats(0, 1e5)), max_size=15))
def test_a_fit_is_finite_or_there_is_none(pairs: list[tuple[float, float]]) -> None:
    line = fit([Observation(degree_days=x, consumption=y) for x, y in pairs])
    if line is None:
        return
    assert all(math.isfinite(each) for each in (line.slope, line.intercept, line.cv_rmse, line.nmbe))
    assert 0 <= line.r2 <= 1
    assume(line.cv_rmse < 1e6)
    assert abs(line.nmbe) < 1e-3


def test_what_says_nothing_has_no_fit() -> None:
    same = [Observation(degree_days=5, consumption=n) for n in range(5)]
    assert fit(same) is None
    assert fit([Observation(degree_days=n, consumption=0) for n in range(5)]) is None
    assert fit([Observation(degree_days=n, consumption=1) for n in range(2)]) is None


@pytest.mark.parametrize(
    ("interval", "cv", "bias", "verdict"),
    [
        (Interval.MONTHLY, 15.0, -5.0, True),
        (Interval.MONTHLY, 15.1, 0.0, False),
        (Interval.MONTHLY, 1.0, 5.1, False),
        (Interval.HOURLY, 30.0, 10.0, True),
        (Interval.HOURLY, 30.1, 0.0, False),
        (Interval.HOURLY, 1.0, -10.1, False),
        (Interval.DAILY, 1.0, 0.0, None),
    ],
)
def test_the_limits_of_guideline_14(interval: Interval, cv: float, bias: float, verdict: bool | None) -> None:
    assert acceptable(interval, cv, bias) is verdict


# Lists


def test_summaries_of_sites_add_up() -> None:
    def total(kind: MeterKind, amount: float, unit: str = "kWh") -> KindTotal:
        return KindTotal(kind=kind, unit=unit, meters=1, consumption=amount)

    first = EnergySummary(totals=[total(MeterKind.ELECTRIC, 5)], costs={"EUR": Decimal("1.1")})
    second = EnergySummary(
        totals=[total(MeterKind.ELECTRIC, 7), total(MeterKind.GAS, 3, "m3")],
        costs={"EUR": Decimal("2.2"), "CHF": Decimal(1)},
        partial=True,
    )
    both = summed([first, second])
    assert both.costs == {"CHF": Decimal(1), "EUR": Decimal("3.3")}
    assert [(each.kind, each.consumption, each.meters) for each in both.totals] == [
        (MeterKind.ELECTRIC, 12, 2),
        (MeterKind.GAS, 3, 1),
    ]
    assert both.partial
    assert summed([]) == EnergySummary()


def test_csv_can_be_read_and_holds_no_formula() -> None:
    meter = Meter(id=1, name='=HYPERLINK("x"), "main"', node_id="m")
    rollup = Rollup(
        id=1,
        site="north",
        meter_id=1,
        period=Period.DAY,
        start=0,
        end=DAY,
        consumption=1.5,
        cost=Decimal("0.30"),
        currency="EUR",
        final=True,
        updated_at=0,
    )
    head, row = csv.reader(io.StringIO(csv_of([(rollup, meter)])))
    assert tuple(head) == CSV_COLUMNS
    found = dict(zip(head, row, strict=True))
    assert found["meter"] == f"'{meter.name}"
    assert (found["start"], found["consumption"], found["cost"]) == (
        "1970-01-01T00:00:00.000Z",
        "1.5",
        "0.30",
    )
    assert (found["peak"], found["final"]) == ("", "true")
