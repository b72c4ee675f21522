import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.energy.models import (
    DemandTariff,
    FlatTariff,
    Interval,
    MeterKind,
    NewBaseline,
    NewMeter,
    NewRate,
    NewRollup,
    Observation,
    Period,
    PricePeriod,
    Tier,
    TieredTariff,
    TimeOfUseTariff,
)
from actors.energy.schema import MIGRATIONS
from actors.energy.store import EnergyStore

DAY = 86_400_000
START = 20_000 * DAY
FLAT = FlatTariff(price=Decimal("0.25"))


def rate(name: str = "City", tariff: Any = FLAT, **fields: Any) -> NewRate:
    return NewRate(name=name, currency=fields.pop("currency", "EUR"), tariff=tariff, **fields)


def meter(name: str = "Main", **fields: Any) -> NewMeter:
    return NewMeter(name=name, node_id=fields.pop("node_id", "m/1"), **fields)


def rollup(meter_id: int, day: int = 0, amount: float = 10.0, **fields: Any) -> NewRollup:
    start = START + day * DAY
    return NewRollup(
        meter_id=meter_id,
        period=fields.pop("period", Period.DAY),
        start=start,
        end=fields.pop("end", start + DAY),
        consumption=amount,
        **fields,
    )


def baseline(meter_id: int, name: str = "2025", **fields: Any) -> NewBaseline:
    points = [(10.0, 130.0), (20.0, 150.0), (30.0, 170.0), (40.0, 190.0)]
    return NewBaseline(
        meter_id=meter_id,
        name=name,
        base_temperature=15.5,
        start=START,
        end=START + 365 * DAY,
        observations=fields.pop(
            "observations", [Observation(degree_days=x, consumption=y) for x, y in points]
        ),
        **fields,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EnergyStore]:
    store = EnergyStore(tmp_path, clock=lambda: START)
    yield store
    store.close()


def test_the_file_has_the_tables_of_the_reference(store: EnergyStore) -> None:
    tables = {row["name"] for row in store.all("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"utility_rate", "energy_meter", "energy_baseline", "energy_rollup"} <= tables
    assert store.one("PRAGMA user_version") == {"user_version": len(MIGRATIONS)}
    assert store.path.name == "energy.db"


@pytest.mark.parametrize(
    "tariff",
    [
        FlatTariff(price=Decimal("0.123456"), fixed=Decimal("12.50")),
        TimeOfUseTariff(
            zone="Europe/Vienna",
            periods=[
                PricePeriod(name="peak", start="08:00", end="24:00", weekdays=[1], price=Decimal("0.3"))
            ],
            otherwise=Decimal("0.2"),
        ),
        TieredTariff(tiers=[Tier(up_to=Decimal(500), price=Decimal("0.1")), Tier(price=Decimal("0.2"))]),
        DemandTariff(price=Decimal("0.1"), demand_price=Decimal("9.99"), minimum_demand=50),
    ],
)
def test_a_rate_comes_back_exactly_as_it_was_given(store: EnergyStore, tmp_path: Path, tariff: Any) -> None:
    given = rate('it\'s "City"', tariff, currency="CHF", unit="m3")
    made = store.create_rate(given)
    store.close()
    again = EnergyStore(tmp_path)
    found = again.rate(made.id)
    again.close()
    assert found == made
    assert NewRate.model_validate(found.model_dump(exclude={"id", "site"})) == given


def test_rates_in_use_keep_their_unit_and_stay(store: EnergyStore) -> None:
    first, second = store.create_rate(rate()).id, store.create_rate(rate("Gas", unit="m3")).id
    used = store.create_meter(meter(rate_id=first)).id
    for change in (lambda: store.delete_rate(first), lambda: store.update_rate(first, rate(unit="MWh"))):
        with pytest.raises(ConflictError, match="Main"):
            change()
    with pytest.raises(ConflictError, match="name"):
        store.update_rate(first, rate("GAS"))
    assert store.update_rate(first, rate("City 2", FlatTariff(price=Decimal(1)))).name == "City 2"
    with pytest.raises(BadInputError, match="kWh"):
        store.update_meter(used, meter(rate_id=second))
    with pytest.raises(BadInputError, match="rate_id"):
        store.update_meter(used, meter(rate_id=9))
    store.update_meter(used, meter())
    store.delete_rate(first)
    assert [each.id for each in store.rates()[0]] == [second]
    with pytest.raises(NotFoundError):
        store.update_rate(first, rate())


def test_a_meter_has_a_parent_of_its_kind_and_never_itself(store: EnergyStore) -> None:
    main = store.create_meter(meter()).id
    floor = store.create_meter(meter("Floor", parent_id=main)).id
    room = store.create_meter(meter("Room", parent_id=floor)).id
    for parent_id in (main, floor, room, 9):
        with pytest.raises(BadInputError, match="parent_id"):
            store.update_meter(main, meter(parent_id=parent_id))
    with pytest.raises(BadInputError, match="gas"):
        store.create_meter(meter("Gas", kind=MeterKind.GAS, parent_id=main))
    with pytest.raises(BadInputError, match="MWh"):
        store.create_meter(meter("Big", unit="MWh", parent_id=main))
    with pytest.raises(ConflictError, match="Floor"):
        store.delete_meter(main)
    with pytest.raises(ConflictError, match="name"):
        store.create_meter(meter("MAIN"))
    assert [each.id for each in store.meters(parent_id=main)[0]] == [floor]
    store.update_meter(room, meter("Room", parent_id=main))
    store.delete_meter(floor)
    assert [each.id for each in store.meters()[0]] == [main, room]


def test_kind_and_unit_stay_where_something_hangs_on_them(store: EnergyStore) -> None:
    main = store.create_meter(meter()).id
    water = meter(kind=MeterKind.WATER, unit="m3")
    store.put_rollups([rollup(main)])
    with pytest.raises(ConflictError, match="rollups"):
        store.update_meter(main, water)
    other = store.create_meter(meter("Other")).id
    store.create_baseline(baseline(other))
    with pytest.raises(ConflictError, match="baselines"):
        store.update_meter(other, meter("Other", unit="MWh"))
    third = store.create_meter(meter("Third")).id
    child = store.create_meter(meter("Child", parent_id=third)).id
    with pytest.raises(ConflictError, match="Child"):
        store.update_meter(third, meter("Third", unit="MWh"))
    assert store.update_meter(child, meter("Child", kind=MeterKind.WATER, unit="m3")).unit == "m3"


def test_a_baseline_is_computed_and_judged(store: EnergyStore) -> None:
    main = store.create_meter(meter()).id
    made = store.create_baseline(baseline(main))
    assert (made.slope, made.intercept, made.n) == (pytest.approx(2.0), pytest.approx(110.0), 4)
    assert (made.r2, made.cv_rmse) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-9))
    assert made.acceptable is True
    assert len(store.observations(made.id)) == 4
    scattered = [Observation(degree_days=x, consumption=y) for x, y in ((1, 5), (2, 90), (3, 2), (4, 70))]
    worse = store.update_baseline(made.id, baseline(main, observations=scattered))
    assert worse.acceptable is False
    assert store.update_baseline(made.id, baseline(main, interval=Interval.DAILY)).acceptable is None
    with pytest.raises(ConflictError):
        store.create_baseline(baseline(main))
    with pytest.raises(BadInputError, match="meter_id"):
        store.create_baseline(baseline(9))
    flat = [Observation(degree_days=3, consumption=n) for n in range(4)]
    with pytest.raises(BadInputError, match="observations"):
        store.create_baseline(baseline(main, "flat", observations=flat))
    store.create_baseline(baseline(main, "2026"))
    assert [each.name for each in store.baselines(main)[0]] == ["2025", "2026"]
    store.delete_baseline(made.id)
    for call in (
        lambda: store.baseline(made.id),
        lambda: store.observations(made.id),
        lambda: store.delete_baseline(made.id),
        lambda: store.update_baseline(made.id, baseline(main)),
    ):
        with pytest.raises(NotFoundError):
            call()


def test_a_partial_rollup_is_updated_in_place_and_a_final_one_stays(store: EnergyStore) -> None:
    main = store.create_meter(meter()).id

    def now() -> tuple[int, float, bool]:
        [found] = store.rollups(main)[0]
        return found.id, found.consumption, found.final

    assert store.put_rollups([rollup(main, amount=1)]) == 1
    first = now()
    assert store.put_rollups([rollup(main, amount=2, coverage=0.5)]) == 1
    assert now() == (first[0], 2.0, False)
    assert store.put_rollups([rollup(main, amount=3, final=True)]) == 1
    assert store.put_rollups([rollup(main, amount=4)]) == 0
    assert now() == (first[0], 3.0, True)
    assert store.put_rollups([rollup(main, amount=5, final=True)]) == 1
    assert now() == (first[0], 5.0, True)
    store.put_rollups([rollup(main, amount=6, period=Period.MONTH, end=START + 30 * DAY)])
    assert len(store.rollups(main)[0]) == 2


def test_rollups_come_back_exactly_and_all_or_none_are_written(store: EnergyStore) -> None:
    main = store.create_meter(meter()).id
    given = rollup(
        main,
        amount=1234.5,
        peak=80.25,
        peak_at=START + 900_000,
        load_factor=0.64,
        cost=Decimal("308.625000"),
        currency="EUR",
        coverage=0.99,
        final=True,
    )
    with pytest.raises(BadInputError, match="meter_id"):
        store.put_rollups([given, rollup(9)])
    assert store.rollups() == ([], None)
    store.put_rollups([given])
    [found] = store.rollups()[0]
    assert NewRollup.model_validate(found.model_dump(exclude={"id", "site", "updated_at"})) == given
    assert found.cost == Decimal("308.625")
    assert found.updated_at == START


def test_the_summary_counts_nothing_twice(store: EnergyStore) -> None:
    main = store.create_meter(meter()).id
    floor = store.create_meter(meter("Floor", parent_id=main)).id
    gas = store.create_meter(meter("Gas", kind=MeterKind.GAS, unit="m3")).id
    money = {"cost": Decimal("0.1"), "currency": "EUR", "final": True}
    store.put_rollups([rollup(main, day, 10.0, **money) for day in range(3)])
    store.put_rollups([rollup(floor, 0, 4.0, **money), rollup(gas, 1, 7.0)])
    store.put_rollups([rollup(main, 0, 30.0, period=Period.MONTH, end=START + 30 * DAY)])
    found = store.summary()
    assert [(each.kind, each.unit, each.meters, each.consumption) for each in found.totals] == [
        (MeterKind.ELECTRIC, "kWh", 1, 30.0),
        (MeterKind.GAS, "m3", 1, 7.0),
    ]
    assert (found.costs, found.partial) == ({"EUR": Decimal("0.3")}, True)
    some = store.summary(START + 2 * DAY, START + 3 * DAY)
    assert ([each.consumption for each in some.totals], some.partial) == ([10.0], False)


def test_lists_filter_and_go_page_by_page(store: EnergyStore) -> None:
    ids = [store.create_meter(meter(f"M{n}", node_id=f"m/{n}")).id for n in range(5)]
    gas = store.create_meter(meter("Gas", kind=MeterKind.GAS)).id
    first, cursor = store.meters(limit=4)
    rest, end = store.meters(limit=4, cursor=cursor)
    assert [each.id for each in first + rest] == [*ids, gas]
    assert end is None
    assert [each.id for each in store.meters(kind=MeterKind.GAS)[0]] == [gas]
    assert [each.id for each in store.meters(node_id="m/2")[0]] == [ids[2]]
    store.put_rollups([rollup(each, day) for each in (ids[0], gas) for day in range(4)])
    some, cursor = store.rollups(limit=5)
    more, _ = store.rollups(limit=5, cursor=cursor)
    assert len(some + more) == 8
    for filters, n in (
        ({"meter_id": gas}, 4),
        ({"kind": MeterKind.GAS}, 4),
        ({"period": Period.MONTH}, 0),
        ({"start": START + DAY, "end": START + 3 * DAY}, 4),
    ):
        assert len(store.rollups(**filters)[0]) == n
    store.create_rate(rate())
    store.create_rate(rate("Tiers", TieredTariff(tiers=[Tier(price=Decimal(1))])))
    assert [each.name for each in store.rates("tiered")[0]] == ["Tiers"]
    with pytest.raises(BadInputError):
        store.rates(limit=0)


def test_deleting_a_meter_takes_what_hangs_on_it(store: EnergyStore) -> None:
    main = store.create_meter(meter()).id
    store.put_rollups([rollup(main)])
    made = store.create_baseline(baseline(main))
    store.delete_meter(main)
    assert store.rollups() == ([], None)
    with pytest.raises(NotFoundError):
        store.baseline(made.id)
    for call in (
        lambda: store.meter(main),
        lambda: store.delete_meter(main),
        lambda: store.update_meter(main, meter()),
    ):
        with pytest.raises(NotFoundError):
            call()


def test_the_file_itself_refuses_what_can_not_be(store: EnergyStore) -> None:
    main = store.create_meter(meter()).id
    store.put_rollups([rollup(main)])
    for wrong in (
        "UPDATE energy_meter SET parent_id = id",
        "UPDATE energy_meter SET rate_id = 99",
        "UPDATE energy_rollup SET coverage = 2",
        "UPDATE energy_rollup SET cost = '1'",
    ):
        with pytest.raises(apsw.ConstraintError):
            store.run(wrong)


class Model(RuleBasedStateMachine):
    """Random meters, rates and rollups against plain dicts; a reopened file must say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.store = EnergyStore(self.temporary.name, clock=lambda: START)
        self.rates: set[int] = set()
        self.meters: dict[int, tuple[int | None, int | None]] = {}
        self.rollups: dict[tuple[int, int], tuple[float, bool]] = {}
        self.made = 0

    def teardown(self) -> None:
        self.store.close()
        self.temporary.cleanup()

    def _meter(self, at: int) -> int:
        return sorted(self.meters)[at % len(self.meters)]

    def _name(self) -> str:
        self.made += 1
        return f"N{self.made}"

    def _above(self, meter_id: int | None) -> list[int]:
        found = []
        while meter_id is not None:
            found.append(meter_id)
            meter_id = self.meters[meter_id][0]
        return found

    @rule()
    def add_rate(self) -> None:
        self.rates.add(self.store.create_rate(rate(self._name())).id)

    @precondition(lambda self: self.rates)
    @rule(at=st.integers(0, 9))
    def drop_rate(self, at: int) -> None:
        key = sorted(self.rates)[at % len(self.rates)]
        if any(used == key for _, used in self.meters.values()):
            with pytest.raises(ConflictError):
                self.store.delete_rate(key)
            return
        self.store.delete_rate(key)
        self.rates.remove(key)

    @rule(parent=st.none() | st.integers(1, 6), rate_id=st.none() | st.integers(1, 3))
    def add_meter(self, parent: int | None, rate_id: int | None) -> None:
        new = meter(self._name(), parent_id=parent, rate_id=rate_id)
        if parent not in {None, *self.meters} or rate_id not in {None, *self.rates}:
            with pytest.raises(BadInputError):
                self.store.create_meter(new)
            return
        self.meters[self.store.create_meter(new).id] = (parent, rate_id)

    @precondition(lambda self: self.meters)
    @rule(at=st.integers(0, 9), parent=st.none() | st.integers(1, 6))
    def move_meter(self, at: int, parent: int | None) -> None:
        key = self._meter(at)
        rate_id = self.meters[key][1]
        new = meter(self._name(), parent_id=parent, rate_id=rate_id)
        if parent not in {None, *self.meters} or key in self._above(parent):
            with pytest.raises(BadInputError):
                self.store.update_meter(key, new)
            return
        self.store.update_meter(key, new)
        self.meters[key] = (parent, rate_id)

    @precondition(lambda self: self.meters)
    @rule(at=st.integers(0, 9))
    def drop_meter(self, at: int) -> None:
        key = self._meter(at)
        if any(parent == key for parent, _ in self.meters.values()):
            with pytest.raises(ConflictError):
                self.store.delete_meter(key)
            return
        self.store.delete_meter(key)
        del self.meters[key]
        self.rollups = {each: value for each, value in self.rollups.items() if each[0] != key}

    @precondition(lambda self: self.meters)
    @rule(
        drawn=st.lists(
            st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 100), st.booleans()), max_size=4
        )
    )
    def put(self, drawn: list[tuple[int, int, int, bool]]) -> None:
        rows = [(self._meter(at), day, float(amount), final) for at, day, amount, final in drawn]
        written = self.store.put_rollups(
            [rollup(key, day, amount, final=final) for key, day, amount, final in rows]
        )
        count = 0
        for key, day, amount, final in rows:
            if final or not self.rollups.get((key, day), (0.0, False))[1]:
                self.rollups[key, day] = (amount, final)
                count += 1
        assert written == count

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = EnergyStore(self.temporary.name, clock=lambda: START)

    @invariant()
    def agrees(self) -> None:
        assert {each.id for each in self.store.rates()[0]} == self.rates
        meters = self.store.meters()[0]
        assert {each.id: (each.parent_id, each.rate_id) for each in meters} == self.meters
        found = self.store.rollups()[0]
        assert {
            (each.meter_id, (each.start - START) // DAY): (each.consumption, each.final) for each in found
        } == self.rollups
        total = sum(each.consumption for each in self.store.summary().totals)
        assert total == sum(
            amount for (key, _), (amount, _) in self.rollups.items() if self.meters[key][0] is None
        )


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
