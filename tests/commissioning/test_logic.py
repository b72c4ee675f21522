from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.commissioning.logic import (
    check_complete,
    check_result,
    check_session_step,
    check_sign_off,
    items_for,
    progress_of,
)
from actors.commissioning.models import ItemKind, ItemState, Progress, SessionState, SignOff
from actors.commissioning.verify import schedule_fits, trial
from actors.core.errors import BadInputError, ConflictError
from actors.core.values import PointValue
from actors.node.models import Node, NodeCapabilities, NodeType
from actors.schedule.models import Kind

ALLOWED_SESSION_STEPS = {
    ("not_started", "in_progress"),
    ("in_progress", "completed"),
    ("completed", "signed_off"),
}
ALLOWED_ITEM_STEPS = set(product(("not_started", "failed", "deferred"), ("verified", "failed", "deferred")))


@pytest.mark.parametrize(("old", "new"), list(product(SessionState, SessionState)))
def test_a_session_takes_one_step_at_a_time_and_never_back(old: SessionState, new: SessionState) -> None:
    if (old.value, new.value) in ALLOWED_SESSION_STEPS:
        check_session_step(1, old, new)
        return
    with pytest.raises(ConflictError, match=rf"{old.value}.*{new.value}"):
        check_session_step(1, old, new)


@pytest.mark.parametrize(("old", "new"), list(product(ItemState, ItemState)))
@pytest.mark.parametrize("session", SessionState)
def test_an_item_may_be_tried_again_until_it_is_verified(
    session: SessionState, old: ItemState, new: ItemState
) -> None:
    running = session in {SessionState.IN_PROGRESS, SessionState.COMPLETED}
    if running and (old.value, new.value) in ALLOWED_ITEM_STEPS:
        check_result(1, session, old, new)
        return
    with pytest.raises(ConflictError, match=rf"{old.value}.*{new.value}"):
        check_result(1, session, old, new)


def test_what_a_point_can_do_is_what_is_verified() -> None:
    point = Node(
        id="1001/av-1",
        node_type=NodeType.POINT,
        dis="Setpoint",
        capabilities=NodeCapabilities(readable=True, writable=True, alarmable=True, schedulable=True),
    )
    sensor = Node(
        id="1001/ai-1",
        node_type=NodeType.VIRTUAL_POINT,
        dis="Temperature",
        capabilities=NodeCapabilities(readable=True, historizable=True),
    )
    equip = Node(id="1001", node_type=NodeType.EQUIP, dis="AHU", capabilities=NodeCapabilities(readable=True))
    assert [item.kind for item in items_for([equip, point, sensor])] == [
        ItemKind.READ,
        ItemKind.WRITE,
        ItemKind.READ,
    ]
    configured = {ItemKind.ALARM: ["1001/av-1"], ItemKind.SCHEDULE: ["1001/av-1", "1002/av-9"]}
    found = [(item.node_id, item.kind, item.dis) for item in items_for([equip, point, sensor], configured)]
    assert found == [
        ("1001/av-1", ItemKind.READ, "Setpoint"),
        ("1001/av-1", ItemKind.WRITE, "Setpoint"),
        ("1001/av-1", ItemKind.ALARM, "Setpoint"),
        ("1001/av-1", ItemKind.SCHEDULE, "Setpoint"),
        ("1001/ai-1", ItemKind.READ, "Temperature"),
    ]


@given(st.lists(st.tuples(*[st.booleans()] * 5), max_size=8))
def test_there_is_one_item_for_each_capability_but_history(able: list[tuple[bool, ...]]) -> None:
    names = ("readable", "writable", "alarmable", "schedulable", "historizable")
    nodes = [
        Node(
            id=f"1/p{number}",
            node_type=NodeType.POINT,
            dis="P",
            capabilities=NodeCapabilities(**dict(zip(names, each, strict=True))),
        )
        for number, each in enumerate(able)
    ]
    items = items_for(nodes, also=[ItemKind.ALARM, ItemKind.SCHEDULE])
    assert len(items) == sum(sum(each[:4]) for each in able)
    assert len({(item.node_id, item.kind) for item in items}) == len(items)


def test_completing_needs_a_result_for_every_item() -> None:
    check_complete(1, Progress(total=3, verified=1, failed=1, deferred=1))
    with pytest.raises(ConflictError, match="2 of 3 items are not_started"):
        check_complete(1, Progress(total=3, verified=1, not_started=2))


def test_failed_items_are_accepted_with_a_note_or_not_at_all() -> None:
    failed = Progress(total=2, failed=1, deferred=1)
    check_sign_off(1, Progress(total=2, verified=1, deferred=1), SignOff())
    with pytest.raises(ConflictError, match="1 items are failed"):
        check_sign_off(1, failed, SignOff(note="fine"))
    with pytest.raises(BadInputError, match="note"):
        check_sign_off(1, failed, SignOff(note=" ", accept_failures=True))
    check_sign_off(1, failed, SignOff(note="sensor is on order", accept_failures=True))


@given(st.dictionaries(st.sampled_from(ItemState), st.integers(0, 99)))
def test_progress_sums_up(counts: dict[ItemState, int]) -> None:
    progress = progress_of(counts)
    assert (
        progress.total
        == (progress.not_started + progress.verified + progress.failed + progress.deferred)
        == sum(counts.values())
    )


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        (21.5, {Kind.ANALOG}),
        (2, {Kind.MULTISTATE}),
        (True, {Kind.BINARY}),
        ("2026-11-24", set()),
        (None, {*Kind}),
    ],
)
def test_a_schedule_fits_a_point_of_its_kind_and_no_text(value: PointValue | None, kinds: set[Kind]) -> None:
    assert {kind for kind in Kind if schedule_fits(kind, value)} == kinds


def test_a_text_that_may_have_been_cut_is_not_tested_by_a_write() -> None:
    node = Node(id="ahu/note", node_type=NodeType.POINT, dis="Note")
    assert trial(node, "x" * 254, "y") == "y"
    with pytest.raises(ConflictError, match="couldn't be given back"):
        trial(node, "x" * 255, "y")
