import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.energy.models import MeterKind, NewBaseline, NewMeter, NewRate, NewRollup, Period
from actors.energy.store import EnergyStore

NOON = 1_700_000_000_000
DAY = 86_400_000


def rate(name: str = "Grid", unit: str = "kWh") -> NewRate:
    tariff = {"kind": "flat", "price": "0.25"}
    return NewRate.model_validate({"name": name, "currency": "EUR", "unit": unit, "tariff": tariff})


def meter(name: str = "Main", **fields: Any) -> NewMeter:
    return NewMeter.model_validate({"name": name, "node_id": "meter-1/energy"} | fields)


def rollup(meter_id: int, day: int = 0, amount: float = 10.0, **fields: Any) -> NewRollup:
    base = {"meter_id": meter_id, "period": "day", "start": day * DAY, "end": (day + 1) * DAY}
    return NewRollup.model_validate(base | {"consumption": amount} | fields)


def baseline(meter_id: int, name: str = "2025") -> NewBaseline:
    observed = [{"degree_days": x, "consumption": 100 + 3 * x} for x in (50, 200, 350)]
    more = {"base_temperature": 15.5, "start": 0, "end": DAY, "observations": observed}
    return NewBaseline.model_validate({"meter_id": meter_id, "name": name} | more)


class World:
    def __init__(self, folder: Path | str) -> None:
        self.folder, self.now = folder, NOON
        self.open()

    def open(self) -> None:
        self.store = EnergyStore(self.folder, clock=lambda: self.now)

    def reopen(self) -> None:
        self.store.close()
        self.open()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()


def test_the_tables_are_those_of_the_reference(world: World) -> None:
    rows = world.store.all("SELECT name FROM sqlite_master WHERE type = 'table'")
    names = {row["name"] for row in rows}
    assert names >= {"utility_rate", "energy_meter", "energy_baseline", "energy_rollup"}


def test_rates_meters_and_baselines_are_kept_as_they_were_saved(world: World) -> None:
    grid = world.store.create_rate(rate())
    main = world.store.create_meter(meter(rate_id=grid.id, rollover=10_000, multiplier=0.1))
    part = world.store.create_meter(meter("Part", parent_id=main.id))
    line = world.store.create_baseline(baseline(main.id))
    world.reopen()
    assert world.store.rate(grid.id) == grid
    assert world.store.meter(main.id) == main
    assert world.store.baseline(line.id) == line
    assert (line.slope, line.intercept, line.acceptable) == (pytest.approx(3.0), pytest.approx(100.0), True)
    assert len(world.store.observations(line.id)) == 3
    assert [each.id for each in world.store.meters(parent_id=main.id)[0]] == [part.id]
    assert [each.id for each in world.store.meters(MeterKind.GAS)[0]] == []
    assert [each.id for each in world.store.rates("flat")[0]] == [grid.id]
    assert [each.id for each in world.store.baselines(main.id)[0]] == [line.id]


def test_what_is_in_use_stays(world: World) -> None:
    grid = world.store.create_rate(rate()).id
    main = world.store.create_meter(meter(rate_id=grid)).id
    part = world.store.create_meter(meter("Part", parent_id=main)).id
    with pytest.raises(ConflictError, match="has it"):
        world.store.delete_rate(grid)
    with pytest.raises(ConflictError, match="counts kWh"):
        world.store.update_rate(grid, rate(unit="m3"))
    with pytest.raises(ConflictError, match="is part of it"):
        world.store.delete_meter(main)
    with pytest.raises(ConflictError, match="is part of it"):
        world.store.update_meter(main, meter(kind="gas"))
    world.store.delete_meter(part)
    world.store.put_rollups([rollup(main)])
    with pytest.raises(ConflictError, match="has rollups"):
        world.store.update_meter(main, meter(unit="MWh"))
    world.store.delete_meter(main)
    world.store.delete_rate(grid)
    assert world.store.all("SELECT * FROM energy_rollup") == []


def test_parents_and_rates_fit(world: World) -> None:
    grid = world.store.create_rate(rate(unit="m3")).id
    main = world.store.create_meter(meter()).id
    part = world.store.create_meter(meter("Part", parent_id=main)).id
    for field, wrong in (
        ("rate_id", meter("x", rate_id=99)),
        ("rate_id", meter("x", rate_id=grid)),
        ("parent_id", meter("x", parent_id=99)),
        ("parent_id", meter("x", parent_id=main, kind="gas")),
    ):
        with pytest.raises(BadInputError) as caught:
            world.store.create_meter(wrong)
        assert caught.value.field == field
    for parent in (main, part):
        with pytest.raises(BadInputError, match="isn't part of this one"):
            world.store.update_meter(main, meter(parent_id=parent))
    assert world.store.meter(main).parent_id is None


def test_names_are_taken_once(world: World) -> None:
    world.store.create_rate(rate("A"))
    main = world.store.create_meter(meter("A")).id
    world.store.create_baseline(baseline(main, "A"))
    for ask in (
        lambda: world.store.create_rate(rate("a")),
        lambda: world.store.create_meter(meter("a")),
        lambda: world.store.create_baseline(baseline(main, "A")),
    ):
        with pytest.raises(ConflictError, match="already"):
            ask()


def test_a_partial_rollup_is_updated_in_place_and_a_final_one_stays(world: World) -> None:
    main = world.store.create_meter(meter()).id
    assert world.store.put_rollups([rollup(main, amount=3.0, coverage=0.25)]) == 1
    [first] = world.store.rollups(main)[0]
    world.now += 900_000
    assert world.store.put_rollups([rollup(main, amount=6.0, coverage=0.5)]) == 1
    final = rollup(main, amount=12.0, final=True, cost="3.00", currency="EUR", peak=2.5, peak_at=5)
    assert world.store.put_rollups([final]) == 1
    assert world.store.put_rollups([rollup(main, amount=7.0)]) == 0, "a late partial one changes nothing"
    world.reopen()
    [kept] = world.store.rollups(main)[0]
    assert (kept.id, kept.consumption, kept.final, kept.cost) == (first.id, 12.0, True, Decimal("3.00"))
    assert kept.updated_at == NOON + 900_000
    world.store.put_rollups([rollup(main, amount=12.5, final=True)])
    assert world.store.rollups(main)[0][0].consumption == 12.5, "a final one may be corrected"


def test_rollups_of_an_unknown_meter_are_refused_all_together(world: World) -> None:
    main = world.store.create_meter(meter()).id
    with pytest.raises(BadInputError, match="meter_id"):
        world.store.put_rollups([rollup(main), rollup(99)])
    assert world.store.rollups() == ([], None)


def test_a_summary_counts_no_part_twice(world: World) -> None:
    main = world.store.create_meter(meter()).id
    part = world.store.create_meter(meter("Part", parent_id=main)).id
    gas = world.store.create_meter(meter("Gas", kind="gas", unit="m3")).id
    priced = {"cost": "2.50", "currency": "EUR", "final": True}
    world.store.put_rollups(
        [
            rollup(main, 0, 10, **priced),
            rollup(main, 1, 20, **priced),
            rollup(part, 0, 4),
            rollup(gas, 0, 7, final=True),
        ]
    )
    world.store.put_rollups([rollup(main, 0, 300, period="month", end=30 * DAY)])
    found = world.store.summary(0, DAY)
    assert [(each.kind.value, each.unit, each.meters, each.consumption) for each in found.totals] == [
        ("electric", "kWh", 1, 10.0),
        ("gas", "m3", 1, 7.0),
    ]
    assert (found.costs, found.partial) == ({"EUR": Decimal("2.50")}, False)
    assert world.store.summary().costs == {"EUR": Decimal("5.00")}
    first, cursor = world.store.rollups(period=Period.DAY, limit=2)
    rest, _ = world.store.rollups(period=Period.DAY, cursor=cursor)
    assert len(first) + len(rest) == 4
    assert [each.consumption for each in world.store.rollups(kind=MeterKind.GAS)[0]] == [7.0]


def test_what_is_gone_is_not_found(world: World) -> None:
    for ask in (
        lambda: world.store.rate(9),
        lambda: world.store.meter(9),
        lambda: world.store.baseline(9),
        lambda: world.store.observations(9),
        lambda: world.store.update_rate(9, rate()),
        lambda: world.store.update_meter(9, meter()),
        lambda: world.store.delete_rate(9),
        lambda: world.store.delete_meter(9),
        lambda: world.store.delete_baseline(9),
    ):
        with pytest.raises(NotFoundError):
            ask()
    with pytest.raises(BadInputError, match="meter_id"):
        world.store.create_baseline(baseline(9))


class Model(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(self.folder.name)
        self.meters: dict[int, int | None] = {}
        self.rollups: dict[tuple[int, int], tuple[float, bool]] = {}
        self.made = 0

    def _pick(self, at: int) -> int:
        return sorted(self.meters)[at % len(self.meters)]

    @rule(at=st.integers(0, 9), below=st.booleans())
    def create(self, at: int, below: bool) -> None:
        parent = self._pick(at) if below and self.meters else None
        self.made += 1
        self.meters[self.world.store.create_meter(meter(f"m{self.made}", parent_id=parent)).id] = parent

    @precondition(lambda self: self.meters)
    @rule(at=st.integers(0, 9), day=st.integers(0, 3), amount=st.integers(0, 9), final=st.booleans())
    def put(self, at: int, day: int, amount: int, final: bool) -> None:
        chosen = self._pick(at)
        before = self.rollups.get((chosen, day))
        taken = final or before is None or not before[1]
        new = rollup(chosen, day, float(amount), final=final)
        assert self.world.store.put_rollups([new]) == int(taken)
        if taken:
            self.rollups[chosen, day] = (float(amount), final)

    @precondition(lambda self: self.meters)
    @rule(at=st.integers(0, 9))
    def delete(self, at: int) -> None:
        chosen = self._pick(at)
        if chosen in self.meters.values():
            with pytest.raises(ConflictError):
                self.world.store.delete_meter(chosen)
            return
        self.world.store.delete_meter(chosen)
        del self.meters[chosen]
        self.rollups = {key: value for key, value in self.rollups.items() if key[0] != chosen}

    @rule()
    def reopen(self) -> None:
        self.world.reopen()

    @invariant()
    def agrees(self) -> None:
        store = self.world.store
        assert {each.id: each.parent_id for each in store.meters()[0]} == self.meters
        found, _ = store.rollups(limit=1000)
        assert {
            (each.meter_id, each.start // DAY): (each.consumption, each.final) for each in found
        } == self.rollups

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.store.close()
            self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=20, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow]
)
