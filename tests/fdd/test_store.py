import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.alarm.models import Severity
from actors.bus.events import FddFaultCleared, FddFaultRaised, WatchMoved
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.fdd.models import (
    BuiltinCondition,
    DemandSensitiveCondition,
    FaultState,
    NewBinding,
    NewRule,
    Origin,
    ScheduleDeviationCondition,
    ShortCyclingCondition,
    StuckValueCondition,
    ThresholdCondition,
)
from actors.fdd.schema import MIGRATIONS
from actors.fdd.store import FddStore
from actors.node.models import Node, NodeType

START = 1_700_000_000_000
RAISED, ACKNOWLEDGED, CLEARED = FaultState
WARM = ThresholdCondition(high=27.0)


def zone(number: int, *tags: str) -> Node:
    return Node(id=f"z{number}", node_type=NodeType.POINT, dis="Zone", tags=list(tags))


ZONES = [zone(number, "zone", "temp") for number in range(4)]


class World:
    """A store with a clock that is set by hand, and what it published."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = folder
        self.now = START
        self.events: list[Any] = []
        self.open()

    def open(self) -> None:
        self.store = FddStore(self.folder, self.events.append, lambda: self.now)

    def reopen(self) -> None:
        self.store.close()
        self.open()

    def take(self) -> list[Any]:
        taken = [each for each in self.events if not isinstance(each, WatchMoved)]
        self.events.clear()
        return taken

    def rule(self, name: str = "Warm", **fields: Any) -> int:
        return self.store.create_rule(new(name, **fields)).id

    def bind(self, rule_id: int, node_id: str = "z0") -> int:
        return self.store.bind(rule_id, NewBinding(node_id=node_id, points={"value": node_id}), ZONES).id

    def moved(self) -> bool:
        moved = any(isinstance(each, WatchMoved) for each in self.events)
        self.events.clear()
        return moved


def new(name: str = "Warm", condition: Any = WARM, **fields: Any) -> NewRule:
    return NewRule(name=name, condition=condition, **fields)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.events.clear()
    yield world
    world.store.close()


def test_the_file_has_its_tables(world: World) -> None:
    tables = {row["name"] for row in world.store.all("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"fdd_rule", "fdd_binding", "fdd_fault"} <= tables
    assert world.store.one("PRAGMA user_version") == {"user_version": len(MIGRATIONS)}
    assert world.store.path.name == "fdd.db"


@pytest.mark.parametrize(
    "condition",
    [
        ThresholdCondition(low=1, high=2, deadband=0.5),
        StuckValueCondition(window=3600, tolerance=0.1),
        ShortCyclingCondition(max_starts=6),
        ScheduleDeviationCondition(schedule_id=3, tolerance=1),
        DemandSensitiveCondition(demand_limit=50, demand="below", high=5),
        BuiltinCondition(name="g36_fc8", parameters={"supply_fan_rise": 1.5}),
    ],
)
def test_a_rule_comes_back_as_it_was_given(world: World, condition: Any) -> None:
    role = condition.roles()[0].name
    given = new(
        condition=condition,
        description='it\'s "so"',
        severity=Severity.LOW,
        message="too warm",
        confirm=12.5,
        tags=["zone", "-sp"],
        inputs={role: ["temp"]},
        enabled=False,
    )
    made = world.store.create_rule(given)
    world.reopen()
    found = world.store.rule(made.id)
    assert found == made
    assert NewRule.model_validate(found.model_dump(exclude={"id", "site"})) == given


def test_names_are_unique_until_their_rule_is_deleted(world: World) -> None:
    first = world.rule("Warm")
    second = world.rule("Cold")
    with pytest.raises(ConflictError):
        world.rule("warm")
    with pytest.raises(ConflictError):
        world.store.update_rule(second, new("WARM"))
    assert world.store.rule(second).name == "Cold"
    world.store.delete_rule(first)
    assert world.store.update_rule(second, new("WARM")).name == "WARM"


def test_each_change_of_configuration_moves_the_watch_cell(world: World) -> None:
    rule_id = world.rule()
    assert world.moved()
    binding = world.bind(rule_id)
    assert world.moved()
    version, [force] = world.store.in_force()
    assert (force.rule.id, [each.id for each in force.bindings]) == (rule_id, [binding])
    fault = world.store.raise_fault(rule_id, "z0")
    world.store.acknowledge(fault.id, "ana")
    world.store.clear_fault(fault.id)
    assert not world.moved()
    assert world.store.in_force()[0] == version
    for change in (
        lambda: world.store.update_binding(
            rule_id, binding, NewBinding(node_id="z0", points={"value": "z1"}), ZONES
        ),
        lambda: world.store.update_rule(rule_id, new(tags=["zone"])),
        lambda: world.store.auto_bind(ZONES),
        lambda: world.store.unbind(rule_id, binding),
        lambda: world.store.delete_rule(rule_id),
    ):
        change()
        assert world.moved()
    assert world.store.in_force()[1] == []


def test_a_fault_from_raise_to_clear(world: World) -> None:
    rule_id = world.rule(severity=Severity.HIGH, message="zone too warm")
    world.bind(rule_id)
    world.events.clear()
    fault = world.store.raise_fault(rule_id, "z0", {"value": 28.5})
    assert (fault.state, fault.severity, fault.message) == (RAISED, Severity.HIGH, "zone too warm")
    assert (fault.evidence, fault.raised_at) == ({"value": 28.5}, START)
    raised = FddFaultRaised(
        fault_id=fault.id, rule_id=rule_id, node_id="z0", severity="high", message="zone too warm"
    )
    assert world.take() == [raised]
    world.now += 1000
    assert world.store.raise_fault(rule_id, "z0", {"value": 30.0}) == fault
    seen = world.store.acknowledge(fault.id, "ana", "known")
    assert (seen.state, seen.acknowledged_by, seen.note) == (ACKNOWLEDGED, "ana", "known")
    assert world.store.acknowledge(fault.id, "ben", "again") == seen
    assert world.store.raise_fault(rule_id, "z0") == seen
    assert world.take() == []
    cleared = world.store.clear_fault(fault.id)
    assert (cleared.state, cleared.cleared_at) == (CLEARED, START + 1000)
    assert cleared.acknowledged_by == "ana"
    assert world.take() == [FddFaultCleared(fault_id=fault.id, rule_id=rule_id, node_id="z0")]
    assert world.store.clear_fault(fault.id) == cleared
    with pytest.raises(ConflictError, match="cleared"):
        world.store.acknowledge(fault.id, "ana")
    assert world.take() == []
    assert world.store.raise_fault(rule_id, "z0").id == fault.id + 1


def test_a_fault_needs_an_enabled_rule_that_is_bound(world: World) -> None:
    rule_id = world.rule()
    with pytest.raises(ConflictError, match="bound"):
        world.store.raise_fault(rule_id, "z0")
    world.bind(rule_id)
    world.store.update_rule(rule_id, new(enabled=False))
    with pytest.raises(ConflictError, match="disabled"):
        world.store.raise_fault(rule_id, "z0")
    with pytest.raises(NotFoundError):
        world.store.raise_fault(9, "z0")
    assert world.take() == []


@pytest.mark.parametrize("way", ["disable", "delete", "unbind", "auto"])
def test_what_nobody_would_clear_is_cleared(world: World, way: str) -> None:
    rule_id = world.rule(tags=["zone"])
    world.store.auto_bind(ZONES[:1])
    binding = world.store.bindings(rule_id)[0][0].id
    fault = world.store.raise_fault(rule_id, "z0")
    world.events.clear()
    {
        "disable": lambda: world.store.update_rule(rule_id, new(enabled=False)),
        "delete": lambda: world.store.delete_rule(rule_id),
        "unbind": lambda: world.store.unbind(rule_id, binding),
        "auto": lambda: world.store.auto_bind([]),
    }[way]()
    assert world.take() == [FddFaultCleared(fault_id=fault.id, rule_id=rule_id, node_id="z0")]
    assert [each.id for each in world.store.faults([CLEARED], rule_id=rule_id)[0]] == [fault.id]


def test_bindings_are_checked_against_the_rule_and_the_nodes(world: World) -> None:
    rule_id = world.rule()
    binding = world.bind(rule_id)
    with pytest.raises(ConflictError, match="already"):
        world.bind(rule_id)
    with pytest.raises(BadInputError, match="points"):
        world.store.bind(rule_id, NewBinding(node_id="z1", points={"speed": "z1"}), ZONES)
    with pytest.raises(BadInputError, match="node_id"):
        world.store.bind(rule_id, NewBinding(node_id="q", points={"value": "z1"}), ZONES)
    with pytest.raises(ConflictError, match="z0"):
        world.store.update_binding(rule_id, binding, NewBinding(node_id="z1", points={"value": "z1"}), ZONES)
    with pytest.raises(ConflictError, match="demand"):
        world.store.update_rule(rule_id, new(condition=DemandSensitiveCondition(demand_limit=1, low=1)))
    assert world.store.rule(rule_id).condition == WARM
    changed = world.store.update_rule(rule_id, new(condition=StuckValueCondition(window=60)))
    assert changed.condition.kind == "stuck_value"
    other = world.rule("Other")
    for call in (
        lambda: world.store.binding(other, binding),
        lambda: world.store.unbind(other, binding),
        lambda: world.store.unbind(rule_id, 9),
        lambda: world.store.bindings(9),
        lambda: world.store.bind(9, NewBinding(node_id="z0", points={"value": "z0"}), ZONES),
    ):
        with pytest.raises(NotFoundError):
            call()


def test_binding_by_tags_follows_the_nodes_and_leaves_what_people_made(world: World) -> None:
    rule_id = world.rule(tags=["zone", "temp"])
    by_hand = world.bind(rule_id, "z0")
    first = world.store.auto_bind(ZONES[:3])
    assert (first.created, first.updated, first.removed, first.unbound) == (2, 0, 0, [])
    again = world.store.auto_bind(ZONES[:3])
    assert (again.created, again.updated, again.removed) == (0, 0, 0)
    world.store.update_rule(rule_id, new(tags=["zone", "temp"], inputs={"value": ["temp"]}))
    below = [
        Node(id="z1/t", node_type=NodeType.POINT, dis="T", parent_id="z1", tags=["temp"]),
        ZONES[1].model_copy(update={"node_type": NodeType.EQUIP}),
        ZONES[2],
    ]
    moved = world.store.auto_bind(below, rule_id)
    assert (moved.created, moved.updated, moved.removed) == (0, 1, 1)
    assert [each.node_id for each in moved.unbound] == ["z2"]
    found = {each.node_id: each for each in world.store.bindings(rule_id)[0]}
    assert found["z0"].id == by_hand
    assert found["z0"].origin is Origin.EXPLICIT
    assert (found["z1"].points, found["z1"].origin) == ({"value": "z1/t"}, Origin.AUTO)
    with pytest.raises(NotFoundError):
        world.store.auto_bind(ZONES, 9)


def test_lists_filter_and_go_page_by_page(world: World) -> None:
    ids = [world.rule(f"Rule {number}", enabled=number != 2, tags=["zone"]) for number in range(5)]
    world.rule("Cycling", condition=ShortCyclingCondition(max_starts=3))
    first, cursor = world.store.rules(limit=2)
    rest, end = world.store.rules(limit=9, cursor=cursor)
    assert [each.id for each in first + rest] == [*ids, 6]
    assert end is None
    assert [each.id for each in world.store.rules(kind="short_cycling")[0]] == [6]
    assert [each.id for each in world.store.rules(enabled=False)[0]] == [ids[2]]
    assert [each.id for each in world.store.rules(text="RULE 3")[0]] == [ids[3]]
    world.store.auto_bind(ZONES)
    some, cursor = world.store.bindings(ids[0], limit=3)
    more, _ = world.store.bindings(ids[0], limit=3, cursor=cursor)
    assert [each.node_id for each in some + more] == ["z0", "z1", "z2", "z3"]
    faults = []
    for number in range(4):
        world.now = START + number
        faults.append(world.store.raise_fault(ids[0], f"z{number}").id)
    world.store.clear_fault(faults[0])
    world.store.acknowledge(faults[1], "ana")
    newest, cursor = world.store.faults(limit=2)
    assert [each.id for each in newest] == faults[:1:-1]
    assert [each.id for each in world.store.faults(cursor=cursor)[0]] == [faults[1]]
    for filters, expected in (
        ({"states": [CLEARED]}, faults[:1]),
        ({"states": list(FaultState), "node_id": "z1"}, faults[1:2]),
        ({"states": list(FaultState), "start": START + 1, "end": START + 3}, faults[2:0:-1]),
        ({"severity": Severity.CRITICAL}, []),
        ({"rule_id": ids[1]}, []),
    ):
        assert [each.id for each in world.store.faults(**filters)[0]] == expected
    summary = world.store.summary()
    assert (summary.rules, summary.enabled_rules, summary.bindings) == (6, 5, 20)
    assert (summary.open, summary.unacknowledged) == (3, 2)
    assert summary.by_severity[Severity.MEDIUM] == 3


def test_the_file_itself_allows_one_open_fault_per_rule_and_node(world: World) -> None:
    rule_id = world.rule()
    world.bind(rule_id)
    world.store.raise_fault(rule_id, "z0")
    with pytest.raises(apsw.ConstraintError):
        world.store.run(
            "INSERT INTO fdd_fault (rule_id, node_id, severity, message, state, evidence, raised_at)"
            " VALUES (?, 'z0', 'low', '', 'raised', '{}', 0)",
            rule_id,
        )
    with pytest.raises(apsw.ConstraintError):
        world.store.run("UPDATE fdd_fault SET state = 'cleared'")
    with pytest.raises(apsw.ConstraintError):
        world.store.run("DELETE FROM fdd_rule")


class Model(RuleBasedStateMachine):
    """Random rules, bindings and faults against plain dicts; a reopened file must say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.world = World(self.temporary.name)
        self.world.events.clear()
        self.rules: dict[int, bool] = {}
        self.bound: dict[tuple[int, str], Origin] = {}
        self.faults: dict[int, tuple[int, str, FaultState]] = {}
        self.told: list[tuple[type, int]] = []

    def teardown(self) -> None:
        self.world.store.close()
        self.temporary.cleanup()

    def _rule(self, at: int) -> int:
        return sorted(self.rules)[at % len(self.rules)]

    def _open(self, rule_id: int, node_id: str) -> int | None:
        for key, (rule_, node, state) in self.faults.items():
            if (rule_, node) == (rule_id, node_id) and state is not CLEARED:
                return key
        return None

    def _clear_all(self, rule_id: int, nodes: set[str] | None = None) -> None:
        for key, (rule_, node, state) in sorted(self.faults.items()):
            if rule_ == rule_id and state is not CLEARED and (nodes is None or node in nodes):
                self.faults[key] = (rule_, node, CLEARED)
                self.told.append((FddFaultCleared, key))

    @precondition(lambda self: len(self.rules) < 3)
    @rule()
    def create(self) -> None:
        made = self.world.rule(
            f"R{len(self.told)}.{len(self.rules)}.{max(self.rules, default=0)}", tags=["zone"]
        )
        assert made not in self.rules
        self.rules[made] = True

    @precondition(lambda self: self.rules)
    @rule(at=st.integers(0, 9), enabled=st.booleans())
    def update(self, at: int, enabled: bool) -> None:
        key = self._rule(at)
        name = self.world.store.rule(key).name
        self.world.store.update_rule(key, new(name, tags=["zone"], enabled=enabled))
        self.rules[key] = enabled
        if not enabled:
            self._clear_all(key)

    @precondition(lambda self: self.rules)
    @rule(at=st.integers(0, 9))
    def delete(self, at: int) -> None:
        key = self._rule(at)
        self.world.store.delete_rule(key)
        del self.rules[key]
        self._clear_all(key)
        self.bound = {each: origin for each, origin in self.bound.items() if each[0] != key}

    @precondition(lambda self: self.rules)
    @rule(at=st.integers(0, 9), node=st.sampled_from([each.id for each in ZONES]))
    def bind(self, at: int, node: str) -> None:
        key = self._rule(at)
        if (key, node) in self.bound:
            with pytest.raises(ConflictError):
                self.world.bind(key, node)
            return
        self.world.bind(key, node)
        self.bound[key, node] = Origin.EXPLICIT

    @precondition(lambda self: self.rules)
    @rule(at=st.integers(0, 9), nodes=st.sets(st.sampled_from([each.id for each in ZONES])))
    def auto_bind(self, at: int, nodes: set[str]) -> None:
        key = self._rule(at)
        result = self.world.store.auto_bind([each for each in ZONES if each.id in nodes], key)
        gone = {
            node
            for (rule_, node), origin in self.bound.items()
            if rule_ == key and origin is Origin.AUTO and node not in nodes
        }
        fresh = {node for node in nodes if (key, node) not in self.bound}
        assert (result.created, result.updated, result.removed) == (len(fresh), 0, len(gone))
        # Bindings go in the order in which they were made, and their faults with them.
        for node in [node for rule_, node in self.bound if rule_ == key and node in gone]:
            self._clear_all(key, {node})
            del self.bound[key, node]
        for node in sorted(fresh):
            self.bound[key, node] = Origin.AUTO

    @precondition(lambda self: self.rules)
    @rule(at=st.integers(0, 9), node=st.sampled_from([each.id for each in ZONES]))
    def raise_one(self, at: int, node: str) -> None:
        key = self._rule(at)
        if not self.rules[key] or (key, node) not in self.bound:
            with pytest.raises(ConflictError):
                self.world.store.raise_fault(key, node)
            return
        fault = self.world.store.raise_fault(key, node)
        old = self._open(key, node)
        if old is not None:
            assert fault.id == old
            return
        assert fault.id not in self.faults
        self.faults[fault.id] = (key, node, RAISED)
        self.told.append((FddFaultRaised, fault.id))

    @precondition(lambda self: self.faults)
    @rule(at=st.integers(0, 50), how=st.sampled_from(["clear", "acknowledge"]))
    def move(self, at: int, how: str) -> None:
        key = sorted(self.faults)[at % len(self.faults)]
        rule_id, node, state = self.faults[key]
        if how == "clear":
            self.world.store.clear_fault(key)
            if state is not CLEARED:
                self.told.append((FddFaultCleared, key))
            self.faults[key] = (rule_id, node, CLEARED)
        elif state is CLEARED:
            with pytest.raises(ConflictError):
                self.world.store.acknowledge(key, "ana")
        else:
            self.world.store.acknowledge(key, "ana")
            self.faults[key] = (rule_id, node, ACKNOWLEDGED)

    @rule()
    def reopen(self) -> None:
        self.world.reopen()

    @invariant()
    def agrees(self) -> None:
        store = self.world.store
        assert {each.id: each.enabled for each in store.rules()[0]} == self.rules
        found = {(key, each.node_id): each.origin for key in self.rules for each in store.bindings(key)[0]}
        assert found == self.bound
        faults = store.faults(list(FaultState))[0]
        assert {each.id: (each.rule_id, each.node_id, each.state) for each in faults} == self.faults
        events = [each for each in self.world.events if not isinstance(each, WatchMoved)]
        assert [(type(each), each.fault_id) for each in events] == self.told
        assert store.summary().open == sum(each.state is not CLEARED for each in faults)


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
