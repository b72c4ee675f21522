"""Calculations of energy: consumption, demand, cost, degree days, baselines. Pure."""

import bisect
import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Final, assert_never
from zoneinfo import ZoneInfo

from actors.core.clock import to_iso
from actors.energy.models import (
    DemandTariff,
    EnergySummary,
    Fit,
    FlatTariff,
    Interval,
    KindTotal,
    Meter,
    MeterKind,
    Observation,
    Rollup,
    Tariff,
    TieredTariff,
    TimeOfUseTariff,
)

HOUR: Final = 3_600_000
DEMAND_INTERVAL: Final = 900_000
"""Milliseconds over which demand is averaged: 15 minutes."""

Sample = tuple[int, float]
"""Time in ms and value; lists of them are in order of time."""


# Consumption


@dataclass(frozen=True, slots=True)
class Consumption:
    """An amount and the milliseconds for which there was data."""

    amount: float = 0.0
    covered: int = 0


def consumption_of_power(samples: Sequence[Sample], start: int, end: int, max_gap: int = HOUR) -> Consumption:
    """Integrate power over [start, end) ms by trapezoids; kW give kWh.

    Between samples further apart than `max_gap` ms nothing is known, and nothing is counted.
    """
    amount, covered = 0.0, 0
    for (t0, v0), (t1, v1) in _steps(samples, start, end):
        if t1 - t0 > max_gap or t1 <= t0:
            continue
        left, right = max(t0, start), min(t1, end)
        slope = (v1 - v0) / (t1 - t0)
        middle = v0 + slope * ((left + right) / 2 - t0)
        amount += middle * (right - left) / HOUR
        covered += right - left
    return Consumption(amount, covered)


def consumption_of_counter(
    samples: Sequence[Sample], start: int, end: int, rollover: float | None = None
) -> Consumption:
    """Sum up the steps of a counter over [start, end) ms; a counter loses nothing between samples.

    A step that only partly lies in the range counts in proportion to its time. A counter that falls has
    rolled over when that makes a step of at most half of its range; otherwise it was set back and counted
    from zero.
    """
    amount, covered = 0.0, 0
    for (t0, v0), (t1, v1) in _steps(samples, start, end):
        if t1 <= t0:
            continue
        inside = min(t1, end) - max(t0, start)
        amount += counter_step(v0, v1, rollover) * inside / (t1 - t0)
        covered += inside
    return Consumption(amount, covered)


def counter_step(old: float, new: float, rollover: float | None) -> float:
    """Give what a counter has counted between two readings."""
    if new >= old:
        return new - old
    if rollover is not None and rollover - old + new <= rollover / 2:
        return rollover - old + new
    return new


def _steps(samples: Sequence[Sample], start: int, end: int) -> Iterator[tuple[Sample, Sample]]:
    """Give the pairs of neighbours that touch [start, end)."""
    first = max(bisect.bisect_right(samples, start, key=lambda each: each[0]) - 1, 0)
    for index in range(first, len(samples) - 1):
        if samples[index][0] >= end:
            return
        if samples[index + 1][0] > start:
            yield samples[index], samples[index + 1]


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest demand and the beginning of its interval (ms)."""

    value: float
    at: int


def demand_peak(
    consumed: Callable[[int, int], Consumption], start: int, end: int, interval: int = DEMAND_INTERVAL
) -> Peak | None:
    """Find the highest average demand of the clock's 15-minute intervals in [start, end) ms, or None.

    `consumed(start, end)` gives the consumption of a range. Intervals that aren't wholly in the range, or
    without data for all of their time, don't count. The first of equals wins.
    """
    best: Peak | None = None
    at = -(-start // interval) * interval
    while at + interval <= end:
        found = consumed(at, at + interval)
        value = found.amount * HOUR / interval
        if found.covered == interval and (best is None or value > best.value):
            best = Peak(value, at)
        at += interval
    return best


def load_factor(consumption: float, peak: float, duration: int) -> float | None:
    """Give average demand over peak demand, `duration` in ms; None without a demand."""
    if peak <= 0 or duration <= 0:
        return None
    return consumption / (peak * duration / HOUR)


# Cost


@dataclass(frozen=True, slots=True)
class Usage:
    """What was consumed in [start, end) ms."""

    start: int
    end: int
    amount: float


@dataclass(frozen=True, slots=True)
class Cost:
    """The parts of a month's bill, exact."""

    energy: Decimal
    demand: Decimal
    fixed: Decimal

    @property
    def total(self) -> Decimal:
        """Sum them up."""
        return self.energy + self.demand + self.fixed


_PLACES: Final = {
    "JPY": 0,
    "KRW": 0,
    "ISK": 0,
    "CLP": 0,
    "VND": 0,
    "BHD": 3,
    "KWD": 3,
    "JOD": 3,
    "TND": 3,
    "OMR": 3,
}


def rounded(money: Decimal, currency: str) -> Decimal:
    """Round to the currency's smallest coin (ISO 4217), half up."""
    return money.quantize(Decimal(1).scaleb(-_PLACES.get(currency, 2)), rounding=ROUND_HALF_UP)


def exact(amount: float) -> Decimal:
    """Give a measured amount as the decimal number that it is written as."""
    return Decimal(repr(float(amount)))


def monthly_cost(tariff: Tariff, usage: Sequence[Usage], peak: float | None = None) -> Cost:
    """Give the cost of one month's usage; `peak` is its highest 15-minute demand."""
    total = sum((exact(each.amount) for each in usage), Decimal(0))
    demand = Decimal(0)
    match tariff:
        case FlatTariff():
            energy = total * tariff.price
        case TimeOfUseTariff():
            energy = sum((_by_time(tariff, each) for each in usage), Decimal(0))
        case TieredTariff():
            energy = tiered_cost(tariff, total)
        case DemandTariff():
            energy = total * tariff.price
            demand = exact(max(peak or 0.0, tariff.minimum_demand)) * tariff.demand_price
        case _:
            assert_never(tariff)
    return Cost(energy, demand, tariff.fixed)


def tiered_cost(tariff: TieredTariff, amount: Decimal) -> Decimal:
    """Give the cost of an amount: each tier's price for what falls into it."""
    cost, below = Decimal(0), Decimal(0)
    for tier in tariff.tiers:
        if amount <= below:
            break
        top = amount if tier.up_to is None else min(amount, tier.up_to)
        cost += (top - below) * tier.price
        below = top
    return cost


def _by_time(tariff: TimeOfUseTariff, usage: Usage) -> Decimal:
    """Spread an amount evenly over its time and price each part."""
    parts = split_by_price(tariff, usage.start, usage.end)
    money = sum((price * (end - start) for start, end, price in parts), Decimal(0))
    return exact(usage.amount) * money / (usage.end - usage.start)


def price_at(tariff: TimeOfUseTariff, moment: int) -> Decimal:
    """Give the price at a moment (ms), by the wall clock of the tariff's zone."""
    local = datetime.fromtimestamp(moment / 1000, ZoneInfo(tariff.zone))
    minute = local.hour * 60 + local.minute
    for period in tariff.periods:
        start, end = period.minutes()
        if local.isoweekday() in period.weekdays and local.month in period.months and start <= minute < end:
            return period.price
    return tariff.otherwise


def split_by_price(tariff: TimeOfUseTariff, start: int, end: int) -> list[tuple[int, int, Decimal]]:
    """Cut [start, end) ms into parts of one price each: (start, end, price), without gap or overlap.

    Prices follow the wall clock: an hour that clocks repeat is priced twice, one that they skip never.
    """
    edges = [start, *sorted(_changes(tariff, start, end)), end]
    parts: list[tuple[int, int, Decimal]] = []
    for left, right in pairwise(edges):
        price = price_at(tariff, left)
        if parts and parts[-1][2] == price:
            parts[-1] = (parts[-1][0], right, price)
        else:
            parts.append((left, right, price))
    return parts


def _changes(tariff: TimeOfUseTariff, start: int, end: int) -> set[int]:
    """Give all moments inside a range at which the price may change."""
    zone = ZoneInfo(tariff.zone)
    minutes = {0} | {each % 1440 for period in tariff.periods for each in period.minutes()}
    day = datetime.fromtimestamp(start / 1000, zone).date() - timedelta(days=1)
    last = datetime.fromtimestamp(end / 1000, zone).date() + timedelta(days=1)
    found: set[int] = set()
    while day <= last:
        for minute in minutes:
            for fold in (0, 1):
                local = datetime.combine(day, time(minute // 60, minute % 60, fold=fold), zone)
                found.add(round(local.timestamp() * 1000))
        found.update(_clock_change(zone, round(datetime.combine(day, time(), zone).timestamp())))
        day += timedelta(days=1)
    return {each for each in found if start < each < end}


def _clock_change(zone: ZoneInfo, begin: int) -> list[int]:
    """Give the moment (ms) within a day from `begin` (s) at which clocks are put forward or back."""

    def offset(moment: int) -> timedelta | None:
        return datetime.fromtimestamp(moment, zone).utcoffset()

    low, high = begin, begin + 86_400
    if offset(low) == offset(high):
        return []
    before = offset(low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(middle) == before else (low, middle)
    return [high * 1000]


# Degree days and baselines


def heating_degree_days(daily_means: Iterable[float], base: float) -> float:
    """Sum up how far each day's mean temperature lies below the base (ASHRAE Fundamentals 2021, 14)."""
    return math.fsum(max(0.0, base - each) for each in daily_means)


def cooling_degree_days(daily_means: Iterable[float], base: float) -> float:
    """Sum up how far each day's mean temperature lies above the base (ASHRAE Fundamentals 2021, 14)."""
    return math.fsum(max(0.0, each - base) for each in daily_means)


def fit(observations: Sequence[Observation]) -> Fit | None:
    """Fit consumption to degree days by least squares; None when that says nothing.

    That is so with fewer than three observations, degree days that are all the same, or no consumption.
    """
    n = len(observations)
    x = [each.degree_days for each in observations]
    y = [each.consumption for each in observations]
    if n < 3:
        return None
    mean_x, mean_y = math.fsum(x) / n, math.fsum(y) / n
    sxx = math.fsum((each - mean_x) ** 2 for each in x)
    if sxx <= 1e-9 * max(1.0, mean_x**2) or mean_y <= 0:
        return None
    slope = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sxx
    intercept = mean_y - slope * mean_x
    predicted = [intercept + slope * each for each in x]
    total = math.fsum((each - mean_y) ** 2 for each in y)
    left = math.fsum((a - b) ** 2 for a, b in zip(y, predicted, strict=True))
    return Fit(
        slope=slope,
        intercept=intercept,
        n=n,
        r2=1.0 if total == 0 else max(0.0, 1 - left / total),
        cv_rmse=cv_rmse(y, predicted, parameters=2),
        nmbe=nmbe(y, predicted, parameters=2),
    )


def cv_rmse(measured: Sequence[float], predicted: Sequence[float], *, parameters: int = 1) -> float:
    """Give the coefficient of variation of the root mean square error, in percent of the measured mean.

    ASHRAE Guideline 14-2014, 5.3.2.4; `parameters` is p in n - p. The mean must not be zero.
    """
    n = len(measured)
    squares = math.fsum((a - b) ** 2 for a, b in zip(measured, predicted, strict=True))
    return 100 * math.sqrt(squares / (n - parameters)) / (math.fsum(measured) / n)


def nmbe(measured: Sequence[float], predicted: Sequence[float], *, parameters: int = 1) -> float:
    """Give the normalized mean bias error in percent: positive where too little is predicted.

    ASHRAE Guideline 14-2014, 5.3.2.4; `parameters` is p in n - p. The mean must not be zero.
    """
    n = len(measured)
    bias = math.fsum(a - b for a, b in zip(measured, predicted, strict=True))
    return 100 * bias / ((n - parameters) * (math.fsum(measured) / n))


_LIMITS: Final = {Interval.MONTHLY: (15.0, 5.0), Interval.HOURLY: (30.0, 10.0)}
"""Most CV(RMSE) and NMBE in percent (ASHRAE Guideline 14-2014, 5.3.2.4)."""


def acceptable(interval: Interval, cv: float, bias: float) -> bool | None:
    """Tell whether a model is within the limits of ASHRAE Guideline 14; None: it names none."""
    limits = _LIMITS.get(interval)
    return None if limits is None else cv <= limits[0] and abs(bias) <= limits[1]


def expected(baseline: Fit, degree_days: float) -> float:
    """Give the consumption that a baseline expects of an interval, never less than none."""
    return max(0.0, baseline.intercept + baseline.slope * degree_days)


# Lists


def summed(parts: Iterable[EnergySummary]) -> EnergySummary:
    """Add up the summaries of several sites."""
    totals: dict[tuple[MeterKind, str], KindTotal] = {}
    costs: dict[str, Decimal] = {}
    partial = False
    for part in parts:
        partial |= part.partial
        for each in part.totals:
            old = totals.get((each.kind, each.unit))
            totals[each.kind, each.unit] = KindTotal(
                kind=each.kind,
                unit=each.unit,
                meters=each.meters + (old.meters if old else 0),
                consumption=each.consumption + (old.consumption if old else 0.0),
            )
        for currency, money in part.costs.items():
            costs[currency] = costs.get(currency, Decimal(0)) + money
    ordered = [totals[key] for key in sorted(totals)]
    return EnergySummary(totals=ordered, costs=dict(sorted(costs.items())), partial=partial)


CSV_COLUMNS: Final = (
    *("site", "meter_id", "meter", "kind", "unit", "period", "start", "end", "consumption", "peak"),
    *("peak_at", "load_factor", "cost", "currency", "coverage", "final"),
)


def csv_of(rows: Iterable[tuple[Rollup, Meter]]) -> str:
    """Write rollups with their meters as CSV (RFC 4180), times in ISO 8601 UTC."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(CSV_COLUMNS)
    for rollup, meter in rows:
        writer.writerow(
            [
                rollup.site,
                rollup.meter_id,
                _harmless(meter.name),
                meter.kind.value,
                _harmless(meter.unit),
                rollup.period.value,
                to_iso(rollup.start),
                to_iso(rollup.end),
                rollup.consumption,
                "" if rollup.peak is None else rollup.peak,
                "" if rollup.peak_at is None else to_iso(rollup.peak_at),
                "" if rollup.load_factor is None else rollup.load_factor,
                "" if rollup.cost is None else f"{rollup.cost:f}",
                rollup.currency or "",
                rollup.coverage,
                str(rollup.final).lower(),
            ]
        )
    return out.getvalue()


def _harmless(text: str) -> str:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
