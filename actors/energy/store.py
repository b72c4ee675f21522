"""The store of meters, rates, baselines and rollups."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar

import ray
from pydantic import TypeAdapter

from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.core.sqlite import Durability, Row
from actors.core.store import Store, conditions, unique
from actors.energy.logic import acceptable, fit
from actors.energy.models import (
    Baseline,
    EnergySummary,
    KindTotal,
    Meter,
    MeterKind,
    NewBaseline,
    NewMeter,
    NewRate,
    NewRollup,
    Observation,
    Period,
    Rate,
    Rollup,
    Tariff,
)
from actors.energy.schema import MIGRATIONS

TARIFF: TypeAdapter[Tariff] = TypeAdapter(Tariff)
OBSERVATIONS: TypeAdapter[list[Observation]] = TypeAdapter(list[Observation])

UPSERT = """
    INSERT INTO energy_rollup (meter_id, period, start, end, consumption, peak, peak_at, load_factor, cost,
        currency, coverage, final, updated_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (meter_id, period, start) DO UPDATE SET
        end = excluded.end, consumption = excluded.consumption,
        peak = excluded.peak, peak_at = excluded.peak_at, load_factor = excluded.load_factor,
        cost = excluded.cost, currency = excluded.currency, coverage = excluded.coverage,
        final = excluded.final, updated_at = excluded.updated_at
    WHERE excluded.final OR NOT energy_rollup.final
"""


class EnergyStore(Store):
    """Keep rates, meters, baselines and what meters have consumed by day and month.

    A rollup is partial until its data is complete: each better one takes its place, a final one stays unless
    another final one comes. Deleting a meter deletes its baselines and rollups.
    """

    name: ClassVar[str] = "energy"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL

    # Rates

    @ray.method
    def create_rate(self, new: NewRate) -> Rate:
        """Add a rate. Raises ConflictError for a name that is taken."""
        with self.transaction(), unique("rate", new.name):
            row = self.one(
                "INSERT INTO utility_rate (name, kind, currency, unit, tariff) VALUES (?, ?, ?, ?, ?)"
                " RETURNING *",
                *_rate_columns(new),
            )
        return _rate(row or {})

    @ray.method
    def update_rate(self, rate_id: int, new: NewRate) -> Rate:
        """Replace a rate.

        Raises NotFoundError, and ConflictError for a name that is taken or a unit that its meters don't have.
        """
        with self.transaction(), unique("rate", new.name):
            old = self._rate(rate_id)
            used = self.one("SELECT name FROM energy_meter WHERE rate_id = ? LIMIT 1", rate_id)
            if used is not None and new.unit != old.unit:
                raise ConflictError("rate", rate_id, f"meter {used['name']!r} has it and counts {old.unit}")
            row = self.one(
                "UPDATE utility_rate SET name = ?, kind = ?, currency = ?, unit = ?, tariff = ? WHERE id = ?"
                " RETURNING *",
                *_rate_columns(new),
                rate_id,
            )
        return _rate(row or {})

    @ray.method
    def delete_rate(self, rate_id: int) -> None:
        """Delete a rate. Raises NotFoundError, and ConflictError while a meter has it."""
        with self.transaction():
            self._rate(rate_id)
            used = self.one("SELECT name FROM energy_meter WHERE rate_id = ? LIMIT 1", rate_id)
            if used is not None:
                raise ConflictError("rate", rate_id, f"meter {used['name']!r} has it")
            self.run("DELETE FROM utility_rate WHERE id = ?", rate_id)

    @ray.method
    def rate(self, rate_id: int) -> Rate:
        """Give one rate. Raises NotFoundError."""
        return self._rate(rate_id)

    def _rate(self, rate_id: int) -> Rate:
        row = self.one("SELECT * FROM utility_rate WHERE id = ?", rate_id)
        if row is None:
            raise NotFoundError("rate", rate_id)
        return _rate(row)

    @ray.method
    def rates(
        self, kind: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[Rate], str | None]:
        """Give rates, all or of a kind. Raises BadInputError."""
        rows, after = self.page_of("SELECT * FROM utility_rate", {"kind = ?": kind}, limit, cursor)
        return [_rate(row) for row in rows], after

    # Meters

    @ray.method
    def create_meter(self, new: NewMeter) -> Meter:
        """Add a meter.

        Raises ConflictError for a name that is taken, BadInputError for a parent or rate that can't be.
        """
        with self.transaction(), unique("meter", new.name):
            self._check_meter(None, new)
            row = self.one(
                "INSERT INTO energy_meter (name, node_id, kind, unit, reading, rollover, multiplier,"
                " parent_id, rate_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                *_meter_columns(new),
            )
        return Meter.model_validate(row)

    @ray.method
    def update_meter(self, meter_id: int, new: NewMeter) -> Meter:
        """Replace a meter; its rollups stay.

        Raises NotFoundError, ConflictError for a name that is taken, for a meter that is part of another kind
        or for a change of kind or unit that its rollups wouldn't follow, and BadInputError for a parent or
        rate that can't be.
        """
        with self.transaction(), unique("meter", new.name):
            old = self._meter(meter_id)
            self._check_meter(meter_id, new)
            if (old.kind, old.unit) != (new.kind, new.unit):
                self._check_unused(meter_id)
            row = self.one(
                "UPDATE energy_meter SET name = ?, node_id = ?, kind = ?, unit = ?, reading = ?,"
                " rollover = ?, multiplier = ?, parent_id = ?, rate_id = ? WHERE id = ? RETURNING *",
                *_meter_columns(new),
                meter_id,
            )
        return Meter.model_validate(row)

    def _check_unused(self, meter_id: int) -> None:
        for table, what in (("energy_rollup", "rollups"), ("energy_baseline", "baselines")):
            if self.one(f"SELECT 1 FROM {table} WHERE meter_id = ? LIMIT 1", meter_id):  # noqa: S608 - named above
                raise ConflictError(
                    "meter", meter_id, f"it has {what} in its kind and unit: add another meter"
                )
        child = self.one("SELECT name FROM energy_meter WHERE parent_id = ? LIMIT 1", meter_id)
        if child is not None:
            raise ConflictError(
                "meter", meter_id, f"{child['name']!r} is part of it and has its kind and unit"
            )

    def _check_meter(self, meter_id: int | None, new: NewMeter) -> None:
        if new.rate_id is not None:
            rate = self.one("SELECT unit FROM utility_rate WHERE id = ?", new.rate_id)
            if rate is None:
                raise BadInputError("rate_id", new.rate_id, "the id of a rate that is there")
            if rate["unit"] != new.unit:
                raise BadInputError("rate_id", new.rate_id, f"a rate per {new.unit}, not {rate['unit']}")
        if new.parent_id is None:
            return
        parent = self.one("SELECT kind, unit FROM energy_meter WHERE id = ?", new.parent_id)
        if parent is None:
            raise BadInputError("parent_id", new.parent_id, "the id of a meter that is there")
        if (parent["kind"], parent["unit"]) != (new.kind.value, new.unit):
            raise BadInputError("parent_id", new.parent_id, f"a meter of {new.kind.value} in {new.unit}")
        above: int | None = new.parent_id
        while above is not None:
            if above == meter_id:
                raise BadInputError("parent_id", new.parent_id, "a meter that isn't part of this one")
            row = self.one("SELECT parent_id FROM energy_meter WHERE id = ?", above)
            above = row["parent_id"] if row else None

    @ray.method
    def delete_meter(self, meter_id: int) -> None:
        """Delete a meter with its baselines and rollups.

        Raises NotFoundError, and ConflictError while other meters are part of it.
        """
        with self.transaction():
            self._meter(meter_id)
            child = self.one("SELECT name FROM energy_meter WHERE parent_id = ? LIMIT 1", meter_id)
            if child is not None:
                raise ConflictError("meter", meter_id, f"meter {child['name']!r} is part of it")
            self.run("DELETE FROM energy_meter WHERE id = ?", meter_id)

    @ray.method
    def meter(self, meter_id: int) -> Meter:
        """Give one meter. Raises NotFoundError."""
        return self._meter(meter_id)

    def _meter(self, meter_id: int) -> Meter:
        row = self.one("SELECT * FROM energy_meter WHERE id = ?", meter_id)
        if row is None:
            raise NotFoundError("meter", meter_id)
        return Meter.model_validate(row)

    @ray.method
    def meters(
        self,
        kind: MeterKind | None = None,
        node_id: str | None = None,
        parent_id: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Meter], str | None]:
        """Give meters: of a kind, of a point, right below another one. Raises BadInputError."""
        rows, after = self.page_of(
            "SELECT * FROM energy_meter",
            {"kind = ?": kind.value if kind else None, "node_id = ?": node_id, "parent_id = ?": parent_id},
            limit,
            cursor,
        )
        return [Meter.model_validate(row) for row in rows], after

    # Baselines

    @ray.method
    def create_baseline(self, new: NewBaseline) -> Baseline:
        """Add a baseline; its coefficients and quality are computed.

        Raises ConflictError for a name that the meter's baselines have, BadInputError for a meter that isn't
        there or observations through which no line can be drawn.
        """
        with self.transaction(), unique("baseline", new.name):
            row = self.one(
                "INSERT INTO energy_baseline (meter_id, name, degree_days, base_temperature, interval, start,"
                " end, observations, slope, intercept, n, r2, cv_rmse, nmbe, acceptable, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                *self._baseline_columns(new),
                self.clock(),
            )
        return _baseline(row or {})

    @ray.method
    def update_baseline(self, baseline_id: int, new: NewBaseline) -> Baseline:
        """Replace a baseline; it is computed anew. Raises what adding one does, and NotFoundError."""
        with self.transaction(), unique("baseline", new.name):
            self._baseline(baseline_id)
            row = self.one(
                "UPDATE energy_baseline SET meter_id = ?, name = ?, degree_days = ?, base_temperature = ?,"
                " interval = ?, start = ?, end = ?, observations = ?, slope = ?, intercept = ?, n = ?,"
                " r2 = ?, cv_rmse = ?, nmbe = ?, acceptable = ? WHERE id = ? RETURNING *",
                *self._baseline_columns(new),
                baseline_id,
            )
        return _baseline(row or {})

    def _baseline_columns(self, new: NewBaseline) -> tuple[Any, ...]:
        if self.one("SELECT 1 FROM energy_meter WHERE id = ?", new.meter_id) is None:
            raise BadInputError("meter_id", new.meter_id, "the id of a meter that is there")
        line = fit(new.observations)
        if line is None:
            raise BadInputError(
                "observations", len(new.observations), "different degree days, and some consumption"
            )
        verdict = acceptable(new.interval, line.cv_rmse, line.nmbe)
        return (
            new.meter_id,
            new.name,
            new.degree_days,
            float(new.base_temperature),
            new.interval.value,
            new.start,
            new.end,
            OBSERVATIONS.dump_json(new.observations).decode(),
            line.slope,
            line.intercept,
            line.n,
            line.r2,
            line.cv_rmse,
            line.nmbe,
            None if verdict is None else int(verdict),
        )

    @ray.method
    def delete_baseline(self, baseline_id: int) -> None:
        """Delete a baseline. Raises NotFoundError."""
        with self.transaction():
            self._baseline(baseline_id)
            self.run("DELETE FROM energy_baseline WHERE id = ?", baseline_id)

    @ray.method
    def baseline(self, baseline_id: int) -> Baseline:
        """Give one baseline. Raises NotFoundError."""
        return self._baseline(baseline_id)

    def _baseline(self, baseline_id: int) -> Baseline:
        row = self.one("SELECT * FROM energy_baseline WHERE id = ?", baseline_id)
        if row is None:
            raise NotFoundError("baseline", baseline_id)
        return _baseline(row)

    @ray.method
    def observations(self, baseline_id: int) -> list[Observation]:
        """Give what a baseline was computed from. Raises NotFoundError."""
        row = self.one("SELECT observations FROM energy_baseline WHERE id = ?", baseline_id)
        if row is None:
            raise NotFoundError("baseline", baseline_id)
        return OBSERVATIONS.validate_json(row["observations"])

    @ray.method
    def baselines(
        self, meter_id: int | None = None, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[Baseline], str | None]:
        """Give baselines, all or of a meter. Raises BadInputError."""
        rows, after = self.page_of("SELECT * FROM energy_baseline", {"meter_id = ?": meter_id}, limit, cursor)
        return [_baseline(row) for row in rows], after

    # Rollups

    @ray.method
    def put_rollups(self, rollups: Sequence[NewRollup]) -> int:
        """Write rollups, all or none, in place of those of the same meter, period and start; give how many.

        A partial one never takes the place of a final one. Raises BadInputError for a meter that isn't there.
        """
        now = self.clock()
        with self.transaction():
            ids = {each.meter_id for each in rollups}
            there = self.all(
                "SELECT id FROM energy_meter WHERE id IN (SELECT value FROM json_each(?))",
                json.dumps(sorted(ids)),
            )
            missing = ids - {row["id"] for row in there}
            if missing:
                raise BadInputError("meter_id", min(missing), "the id of a meter that is there")
            return sum(self.run(UPSERT, *_rollup_columns(each), now) for each in rollups)

    @ray.method
    def rollups(
        self,
        meter_id: int | None = None,
        kind: MeterKind | None = None,
        period: Period | None = None,
        start: int | None = None,
        end: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Rollup], str | None]:
        """Give rollups in the order in which they were first written: of a meter, a kind, a period.

        Those that begin in [start, end) ms. Raises BadInputError.
        """
        rows, after = self.page_of(
            "SELECT * FROM energy_rollup",
            {
                "meter_id = ?": meter_id,
                "meter_id IN (SELECT id FROM energy_meter WHERE kind = ?)": kind.value if kind else None,
                "period = ?": period.value if period else None,
                "start >= ?": start,
                "start < ?": end,
            },
            limit,
            cursor,
        )
        return [Rollup.model_validate(row) for row in rows], after

    @ray.method
    def summary(self, start: int | None = None, end: int | None = None) -> EnergySummary:
        """Sum up the days that begin in [start, end) ms, of meters that aren't part of another one."""
        clause, values = conditions({"start >= ?": start, "start < ?": end})
        rows = self.all(
            "SELECT energy_rollup.*, kind, unit FROM energy_rollup"  # noqa: S608 - constants
            " JOIN energy_meter ON energy_meter.id = meter_id"
            f" WHERE period = 'day' AND parent_id IS NULL{clause} ORDER BY kind, unit",
            *values,
        )
        groups: dict[tuple[str, str], list[Row]] = {}
        costs: dict[str, Decimal] = {}
        for row in rows:
            groups.setdefault((row["kind"], row["unit"]), []).append(row)
            if row["currency"] is not None:
                costs[row["currency"]] = costs.get(row["currency"], Decimal(0)) + Decimal(row["cost"])
        return EnergySummary(
            totals=[
                KindTotal(
                    kind=MeterKind(kind),
                    unit=unit,
                    meters=len({row["meter_id"] for row in group}),
                    consumption=sum(row["consumption"] for row in group),
                )
                for (kind, unit), group in groups.items()
            ],
            costs=dict(sorted(costs.items())),
            partial=any(not row["final"] for row in rows),
        )


def _rate_columns(new: NewRate) -> tuple[Any, ...]:
    return new.name, new.tariff.kind, new.currency, new.unit, TARIFF.dump_json(new.tariff).decode()


def _rate(row: Row) -> Rate:
    return Rate(
        id=row["id"],
        name=row["name"],
        currency=row["currency"],
        unit=row["unit"],
        tariff=TARIFF.validate_json(row["tariff"]),
    )


def _meter_columns(new: NewMeter) -> tuple[Any, ...]:
    return (
        new.name,
        new.node_id,
        new.kind.value,
        new.unit,
        new.reading.value,
        new.rollover,
        float(new.multiplier),
        new.parent_id,
        new.rate_id,
    )


def _baseline(row: Row) -> Baseline:
    return Baseline.model_validate(row)


def _rollup_columns(new: NewRollup) -> tuple[Any, ...]:
    return (
        new.meter_id,
        new.period.value,
        new.start,
        new.end,
        float(new.consumption),
        new.peak,
        new.peak_at,
        new.load_factor,
        None if new.cost is None else f"{new.cost:f}",
        new.currency,
        float(new.coverage),
        int(new.final),
    )
