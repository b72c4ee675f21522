from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from actors.core.errors import BadInputError, ConflictError
from actors.fdd.catalogue import BUILTINS
from actors.fdd.logic import (
    POINTS,
    after_acknowledge,
    bindings_for,
    check_binding,
    misfits,
    parameters_of,
)
from actors.fdd.models import (
    BuiltinCondition,
    DemandSensitiveCondition,
    FaultState,
    NewBinding,
    NewRule,
    Rule,
    ShortCyclingCondition,
    StuckValueCondition,
    ThresholdCondition,
)
from actors.node.models import Node, NodeType

WARM = ThresholdCondition(high=27.0)


def point(node_id: str, parent: str | None = None, *tags: str) -> Node:
    return Node(id=node_id, node_type=NodeType.POINT, dis=node_id, parent_id=parent, tags=list(tags))


def equip(node_id: str, parent: str | None = None, *tags: str) -> Node:
    return Node(id=node_id, node_type=NodeType.EQUIP, dis=node_id, parent_id=parent, tags=list(tags))


def rule(condition: Any = WARM, tags: tuple[str, ...] = ("ahu",), **fields: Any) -> Rule:
    return Rule(id=7, name="R", condition=condition, tags=list(tags), **fields)


def bound(found: Rule, nodes: list[Node]) -> dict[str, dict[str, str]]:
    return {each.node_id: each.points for each in bindings_for(found, nodes)[0]}


SITE = Node(id="north", node_type=NodeType.SITE, dis="North")
BUILDING = [
    SITE,
    point("oat", "north", "outside", "air", "temp"),
    equip("1", "north", "ahu"),
    point("1/mat", "1", "mixed", "air", "temp"),
    point("1/rat", "1", "return", "air", "temp"),
    point("1/rat-sp", "1", "return", "air", "temp", "sp"),
    point("1/speed", "1", "fan", "speed"),
    equip("2", "north", "ahu"),
    point("2/mat", "2", "mixed", "air", "temp"),
]
MIXED = BuiltinCondition(name="g36_fc2")


def test_points_with_the_tags_of_a_rule_are_its_value() -> None:
    zones = rule(tags=("zone", "temp", "-sp"))
    nodes = [
        point("a", None, "zone", "temp"),
        point("b", None, "zone", "temp", "sp"),
        point("c", None, "zone"),
    ]
    assert bound(zones, nodes) == {"a": {"value": "a"}}


def test_inputs_are_the_nearest_points_with_their_tags() -> None:
    assert bound(rule(MIXED), BUILDING) == {
        "1": {
            "mixed_air_temp": "1/mat",
            "return_air_temp": "1/rat",
            "outside_air_temp": "oat",
            "fan_speed": "1/speed",
        }
    }
    own = [*BUILDING, point("1/oat", "1", "outside", "air", "temp")]
    assert bound(rule(MIXED), own)["1"]["outside_air_temp"] == "1/oat"


def test_what_is_not_bound_is_named_with_its_reason() -> None:
    [problem] = bindings_for(rule(MIXED), BUILDING)[1]
    assert (problem.rule_id, problem.node_id) == (7, "2")
    assert (problem.missing, problem.ambiguous) == (["return_air_temp", "fan_speed"], {})
    twice = [*BUILDING, point("1/mat-2", "1", "mixed", "air", "temp")]
    found, problems = bindings_for(rule(MIXED), twice)
    assert found == []
    assert problems[0].ambiguous == {"mixed_air_temp": ["1/mat", "1/mat-2"]}


def test_an_optional_input_is_left_out_where_it_is_not_clear() -> None:
    occupied = [point("1/occ", "1", "occ")]
    assert bound(rule(MIXED), BUILDING + occupied)["1"]["occupied"] == "1/occ"
    occupied.append(point("1/occ-2", "1", "occ"))
    assert "occupied" not in bound(rule(MIXED), BUILDING + occupied)["1"]


def test_a_rule_says_itself_how_its_inputs_are_found() -> None:
    speed = rule(inputs={"value": ["fan", "speed"]})
    assert bound(speed, BUILDING) == {"1": {"value": "1/speed"}}
    demand = rule(DemandSensitiveCondition(demand_limit=50, low=20), inputs={"value": ["fan", "speed"]})
    assert bindings_for(demand, BUILDING)[1][0].missing == ["demand"]


def test_a_rule_without_tags_binds_nothing() -> None:
    assert bindings_for(rule(tags=()), BUILDING) == ([], [])


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, *range(8)]),
            st.sampled_from([NodeType.EQUIP, NodeType.POINT]),
            st.sets(st.sampled_from(["ahu", "fan", "speed", "mixed", "air", "temp", "return", "outside"])),
        ),
        max_size=16,
    )
)
def test_whatever_is_bound_can_be_made(drawn: list[tuple[int | None, NodeType, set[str]]]) -> None:
    # Parents are drawn freely: circles, points above points and parents that aren't there must do no harm.
    nodes = [
        Node(id=str(n), node_type=kind, dis="x", parent_id=None if up is None else str(up), tags=list(tags))
        for n, (up, kind, tags) in enumerate(drawn)
    ]
    for condition in (WARM, MIXED):
        found, unbound = bindings_for(rule(condition), nodes)
        for each in found:
            check_binding(condition, each, nodes)
        wanted = {node.id for node in nodes if "ahu" in node.tags}
        assert {each.node_id for each in found} | {each.node_id for each in unbound} == wanted
        assert len(found) + len(unbound) == len(wanted)


def test_a_binding_has_the_inputs_of_its_condition_and_points_that_are_there() -> None:
    good = NewBinding(node_id="1", points={"value": "1/mat"})
    check_binding(WARM, good, BUILDING)
    for points, field in (
        ({}, "points"),
        ({"value": "1/mat", "other": "1/mat"}, "points"),
        ({"value": "nowhere"}, "points.value"),
        ({"value": "1"}, "points.value"),
    ):
        with pytest.raises(BadInputError) as error:
            check_binding(WARM, NewBinding(node_id="1", points=points), BUILDING)
        assert error.value.field == field
    with pytest.raises(BadInputError, match="node_id"):
        check_binding(WARM, NewBinding(node_id="9", points={"value": "1/mat"}), BUILDING)
    assert misfits(StuckValueCondition(window=60), {"value": "a"}) == ([], [])
    assert misfits(StuckValueCondition(window=60), {"enable": "a", "x": "b"}) == (["value"], ["x"])


def test_a_fault_that_is_over_is_not_acknowledged() -> None:
    assert after_acknowledge(1, FaultState.RAISED) is FaultState.ACKNOWLEDGED
    assert after_acknowledge(1, FaultState.ACKNOWLEDGED) is FaultState.ACKNOWLEDGED
    with pytest.raises(ConflictError, match=r"cleared.*acknowledged"):
        after_acknowledge(1, FaultState.CLEARED)


def test_the_catalogue_has_all_rules_of_its_sources() -> None:
    names = set(BUILTINS)
    assert {f"g36_fc{number}" for number in range(1, 16)} <= names
    assert {f"apar_{number}" for number in range(1, 29)} <= names
    assert len([name for name in names if name.startswith("vpacc_")]) == 4
    assert len(names) == 47
    for builtin in BUILTINS.values():
        roles = [role.name for role in builtin.roles]
        assert len(roles) == len(set(roles)) > 1
        for parameter in builtin.parameters:
            assert parameter.low <= parameter.default <= parameter.high
        assert parameters_of(BuiltinCondition(name=builtin.name)) == {
            each.name: each.default for each in builtin.parameters
        }


def test_parameters_of_a_built_in_rule_are_known_and_within_bounds() -> None:
    condition = BuiltinCondition(name="g36_fc4", parameters={"max_mode_changes": 9})
    assert parameters_of(condition) == {"max_mode_changes": 9.0}
    for wrong in (
        {"name": "g36_fc16"},
        {"name": "g36_fc4", "parameters": {"slack": 1}},
        {"name": "g36_fc4", "parameters": {"max_mode_changes": 1000}},
    ):
        with pytest.raises(ValidationError):
            BuiltinCondition.model_validate(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"condition": {"kind": "threshold"}},
        {"condition": {"kind": "threshold", "low": 5, "high": 5}},
        {"condition": {"kind": "threshold", "high": float("nan")}},
        {"condition": {"kind": "short_cycling", "max_starts": 0}},
        {"condition": {"kind": "stuck_value", "window": 1}},
        {"condition": {"kind": "demand_sensitive", "demand_limit": 1}},
        {"condition": {"kind": "magic"}},
        {"tags": ["not a tag"]},
        {"inputs": {"other": ["temp"]}},
        {"inputs": {"value": []}},
        {"confirm": -1},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    good = {"name": "R", "condition": {"kind": "threshold", "high": 5}}
    NewRule.model_validate(good)
    with pytest.raises(ValidationError):
        NewRule.model_validate(good | wrong)


def test_points_are_what_values_come_from() -> None:
    assert {NodeType.POINT, NodeType.VIRTUAL_POINT} == POINTS
    assert [role.name for role in ShortCyclingCondition(max_starts=1).roles()] == ["value"]
