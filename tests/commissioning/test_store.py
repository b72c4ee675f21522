import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.commissioning.models import (
    ItemKind,
    ItemState,
    NewSession,
    Result,
    Session,
    SessionChange,
    SessionState,
    SignOff,
)
from actors.commissioning.schema import MIGRATIONS
from actors.commissioning.store import CommissioningStore
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.node.models import Node, NodeCapabilities, NodeType

START = 1_700_000_000_000
STEPS = ("start", "complete", "sign_off")
RESULTS: tuple[Any, ...] = (ItemState.VERIFIED, ItemState.FAILED, ItemState.DEFERRED)


def device(points: int = 2, node_id: str = "1001") -> list[Node]:
    able = NodeCapabilities(readable=True, writable=True)
    below = [
        Node(id=f"{node_id}/av-{number}", node_type=NodeType.POINT, dis=f"Value {number}", capabilities=able)
        for number in range(points)
    ]
    return [Node(id=node_id, node_type=NodeType.EQUIP, dis="AHU"), *below]


def begin(store: CommissioningStore, node_id: str = "1001", points: int = 1) -> Session:
    made = store.create(NewSession(name="AHU", node_id=node_id), device(points, node_id), "ana")
    return store.start(made.id, "ben")


def set_all(store: CommissioningStore, session_id: int, state: Any) -> None:
    for item in store.items(session_id)[0]:
        store.set_result(item.id, Result(state=state), "ana")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CommissioningStore]:
    now = iter(range(START, START + 100_000))
    store = CommissioningStore(tmp_path, clock=lambda: next(now))
    yield store
    store.close()


def test_the_file_has_the_tables_of_the_reference(store: CommissioningStore) -> None:
    tables = {row["name"] for row in store.all("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"commission_session", "commission_item"} <= tables
    assert store.one("PRAGMA user_version") == {"user_version": len(MIGRATIONS)}
    assert store.path.name == "commissioning.db"


def test_a_session_goes_its_way_and_says_who_did_what(store: CommissioningStore) -> None:
    made = store.create(NewSession(name="AHU", node_id="1001", note="new"), device(1), "ana")
    assert (made.state, made.created_by, made.created_at) == (SessionState.NOT_STARTED, "ana", START)
    assert (made.progress.total, made.progress.not_started) == (2, 2)
    started = store.start(made.id, "ben")
    assert (started.state, started.started_by) == (SessionState.IN_PROGRESS, "ben")
    first, second = store.items(made.id)[0]
    assert [first.kind, second.kind] == [ItemKind.READ, ItemKind.WRITE]
    done = store.set_result(first.id, Result(state=ItemState.VERIFIED, note="21.4"), "cyn")
    assert (done.state, done.result_by, done.note, done.attempts) == (ItemState.VERIFIED, "cyn", "21.4", 1)
    store.set_result(second.id, Result(state=ItemState.FAILED), "cyn")
    again = store.set_result(second.id, Result(state=ItemState.DEFERRED, note="later"), "dan")
    assert (again.attempts, again.result_by) == (2, "dan")
    completed = store.complete(made.id, "ana")
    assert (completed.completed_by, completed.progress.verified, completed.progress.deferred) == ("ana", 1, 1)
    signed = store.sign_off(made.id, SignOff(note="accepted"), "eve")
    assert (signed.state, signed.signed_off_by) == (SessionState.SIGNED_OFF, "eve")
    assert (signed.sign_off_note, signed.accepted_failures) == ("accepted", 0)
    assert signed.signed_off_at is not None
    assert signed.signed_off_at > (signed.completed_at or 0) > (signed.started_at or 0) > made.created_at


def test_a_signed_off_session_takes_no_change(store: CommissioningStore) -> None:
    session = begin(store)
    set_all(store, session.id, ItemState.DEFERRED)
    store.complete(session.id, "ana")
    before = store.sign_off(session.id, SignOff(), "ana")
    item = store.items(session.id)[0][0]
    for change in (
        lambda: store.update(session.id, SessionChange(name="x")),
        lambda: store.delete(session.id),
        lambda: store.start(session.id, "ana"),
        lambda: store.complete(session.id, "ana"),
        lambda: store.sign_off(session.id, SignOff(), "ana"),
        lambda: store.add_items(session.id, device(5)),
        lambda: store.set_result(item.id, Result(state=ItemState.VERIFIED), "ana"),
    ):
        with pytest.raises(ConflictError, match="signed_off"):
            change()
    assert store.get(session.id) == before
    assert store.item(item.id) == item


def test_results_wait_for_the_start_and_are_taken_after_completion(store: CommissioningStore) -> None:
    made = store.create(NewSession(name="AHU", node_id="1001"), device(1), "ana")
    item = store.items(made.id)[0][0]
    with pytest.raises(ConflictError, match=r"session is not_started.*not_started.*verified"):
        store.set_result(item.id, Result(state=ItemState.VERIFIED), "ana")
    store.start(made.id, "ana")
    with pytest.raises(ConflictError, match="2 of 2 items are not_started"):
        store.complete(made.id, "ana")
    set_all(store, made.id, ItemState.FAILED)
    store.complete(made.id, "ana")
    with pytest.raises(ConflictError, match="2 items are failed"):
        store.sign_off(made.id, SignOff(note="n"), "ana")
    store.set_result(item.id, Result(state=ItemState.VERIFIED), "ana")
    with pytest.raises(ConflictError, match=r"verified.*failed"):
        store.set_result(item.id, Result(state=ItemState.FAILED), "ana")
    with pytest.raises(BadInputError, match="note"):
        store.sign_off(made.id, SignOff(accept_failures=True), "ana")
    signed = store.sign_off(made.id, SignOff(accept_failures=True, note="on order"), "ana")
    assert signed.accepted_failures == 1


def test_a_device_has_one_open_session(store: CommissioningStore) -> None:
    session = begin(store)
    with pytest.raises(ConflictError, match="in_progress"):
        begin(store)
    begin(store, "1002")
    set_all(store, session.id, ItemState.VERIFIED)
    store.complete(session.id, "ana")
    store.sign_off(session.id, SignOff(), "ana")
    assert begin(store).id == 3


def test_a_device_without_anything_to_verify_is_refused(store: CommissioningStore) -> None:
    with pytest.raises(BadInputError, match="node_id"):
        store.create(NewSession(name="AHU", node_id="1001"), device(0), "ana")
    assert store.find() == ([], None)


def test_new_points_add_items_and_keep_results(store: CommissioningStore) -> None:
    session = begin(store)
    set_all(store, session.id, ItemState.VERIFIED)
    again = store.add_items(session.id, device(3))
    assert (again.progress.total, again.progress.verified, again.progress.not_started) == (6, 2, 4)
    set_all_rest = store.items(session.id, ItemState.NOT_STARTED)[0]
    for item in set_all_rest:
        store.set_result(item.id, Result(state=ItemState.DEFERRED), "ana")
    store.complete(session.id, "ana")
    with pytest.raises(ConflictError, match="completed"):
        store.add_items(session.id, device(4))


def test_deleting_a_session_takes_its_items_along(store: CommissioningStore) -> None:
    session = begin(store)
    item = store.items(session.id)[0][0]
    store.update(session.id, SessionChange(name="Other", note="n"))
    assert (store.get(session.id).name, store.get(session.id).note) == ("Other", "n")
    store.delete(session.id)
    for call in (
        lambda: store.get(session.id),
        lambda: store.item(item.id),
        lambda: store.items(session.id),
        lambda: store.delete(session.id),
        lambda: store.start(session.id, "ana"),
        lambda: store.update(session.id, SessionChange(name="x")),
        lambda: store.set_result(item.id, Result(state=ItemState.VERIFIED), "ana"),
    ):
        with pytest.raises(NotFoundError):
            call()
    assert store.all("SELECT * FROM commission_item") == []


def test_lists_filter_and_go_page_by_page(store: CommissioningStore) -> None:
    ids = [begin(store, str(1000 + number), points=3).id for number in range(5)]
    first, cursor = store.find(limit=2)
    rest, end = store.find(limit=9, cursor=cursor)
    assert [each.id for each in first + rest] == ids[::-1]
    assert end is None
    assert [each.id for each in store.find(node_id="1003")[0]] == [ids[3]]
    assert store.find(state=SessionState.COMPLETED)[0] == []
    assert len(store.items(ids[0], kind=ItemKind.WRITE)[0]) == 3
    assert len(store.items(ids[0], node_id="1000/av-1")[0]) == 2
    some, cursor = store.items(ids[0], limit=4)
    more, _ = store.items(ids[0], limit=4, cursor=cursor)
    assert [each.id for each in some + more] == list(range(1, 7))
    with pytest.raises(BadInputError):
        store.find(limit=0)


def test_the_file_itself_refuses_what_can_not_be(store: CommissioningStore) -> None:
    session = begin(store)
    for wrong in (
        "UPDATE commission_session SET state = 'signed_off'",
        "UPDATE commission_session SET state = 'nonsense'",
        "UPDATE commission_item SET state = 'verified'",
        "INSERT INTO commission_item (session_id, node_id, dis, kind) VALUES (99, 'a', 'b', 'read')",
    ):
        with pytest.raises(apsw.ConstraintError):
            store.run(wrong)
    assert store.get(session.id) == session


class Model(RuleBasedStateMachine):
    """Random steps against plain dicts; a reopened file must say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.store = CommissioningStore(self.temporary.name, clock=lambda: START)
        self.sessions: dict[int, tuple[str, SessionState]] = {}
        self.items: dict[int, tuple[int, ItemState, int]] = {}

    def teardown(self) -> None:
        self.store.close()
        self.temporary.cleanup()

    def _session(self, at: int) -> int:
        return sorted(self.sessions)[at % len(self.sessions)]

    def _states(self, session_id: int) -> list[ItemState]:
        return [state for owner, state, _ in self.items.values() if owner == session_id]

    @rule(which=st.integers(0, 3), points=st.integers(1, 2))
    def create(self, which: int, points: int) -> None:
        node_id = str(1000 + which)
        new, nodes = NewSession(name="S", node_id=node_id), device(points, node_id)
        if any(node == node_id and state is not SessionState.SIGNED_OFF for node, state in self._all()):
            with pytest.raises(ConflictError):
                self.store.create(new, nodes, "ana")
            return
        made = self.store.create(new, nodes, "ana")
        assert made.id not in self.sessions
        self.sessions[made.id] = (node_id, SessionState.NOT_STARTED)
        for item in self.store.items(made.id)[0]:
            self.items[item.id] = (made.id, ItemState.NOT_STARTED, 0)

    def _all(self) -> list[tuple[str, SessionState]]:
        return list(self.sessions.values())

    @precondition(lambda self: self.sessions)
    @rule(
        at=st.integers(0, 50), step=st.sampled_from(["start", "complete", "sign_off"]), accept=st.booleans()
    )
    def step(self, at: int, step: str, accept: bool) -> None:
        key = self._session(at)
        node_id, state = self.sessions[key]
        states = self._states(key)
        allowed, after = {
            "start": (state is SessionState.NOT_STARTED, SessionState.IN_PROGRESS),
            "complete": (
                state is SessionState.IN_PROGRESS and ItemState.NOT_STARTED not in states,
                SessionState.COMPLETED,
            ),
            "sign_off": (
                state is SessionState.COMPLETED and (accept or ItemState.FAILED not in states),
                SessionState.SIGNED_OFF,
            ),
        }[step]
        sign_off = SignOff(note="n", accept_failures=accept)
        args: tuple[Any, ...] = (key, sign_off, "ana") if step == "sign_off" else (key, "ana")
        if not allowed:
            with pytest.raises(ConflictError):
                getattr(self.store, step)(*args)
            return
        assert getattr(self.store, step)(*args).state is after
        self.sessions[key] = (node_id, after)

    @precondition(lambda self: self.items)
    @rule(at=st.integers(0, 50), new=st.sampled_from(RESULTS))
    def result(self, at: int, new: Any) -> None:
        key = sorted(self.items)[at % len(self.items)]
        self._result(key, new)

    @precondition(lambda self: self.sessions)
    @rule(at=st.integers(0, 50), new=st.sampled_from(RESULTS))
    def results(self, at: int, new: Any) -> None:
        session_id = self._session(at)
        for key in [key for key, each in self.items.items() if each[0] == session_id]:
            self._result(key, new)

    def _result(self, key: int, new: Any) -> None:
        owner, old, attempts = self.items[key]
        running = self.sessions[owner][1] in {SessionState.IN_PROGRESS, SessionState.COMPLETED}
        if not running or old is ItemState.VERIFIED:
            with pytest.raises(ConflictError):
                self.store.set_result(key, Result(state=new), "ana")
            return
        assert self.store.set_result(key, Result(state=new), "ana").state is new
        self.items[key] = (owner, new, attempts + 1)

    @precondition(lambda self: self.sessions)
    @rule(at=st.integers(0, 50))
    def delete(self, at: int) -> None:
        key = self._session(at)
        if self.sessions[key][1] is SessionState.SIGNED_OFF:
            with pytest.raises(ConflictError):
                self.store.delete(key)
            return
        self.store.delete(key)
        del self.sessions[key]
        self.items = {item: each for item, each in self.items.items() if each[0] != key}

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = CommissioningStore(self.temporary.name, clock=lambda: START)

    @invariant()
    def agrees(self) -> None:
        found = self.store.find(limit=1000)[0]
        assert {each.id: (each.node_id, each.state) for each in found} == self.sessions
        items = [item for each in found for item in self.store.items(each.id, limit=1000)[0]]
        assert {item.id: (item.session_id, item.state, item.attempts) for item in items} == self.items
        for each in found:
            states = self._states(each.id)
            assert each.progress.total == len(states)
            assert each.progress.failed == states.count(ItemState.FAILED)
            assert each.progress.verified == states.count(ItemState.VERIFIED)


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
