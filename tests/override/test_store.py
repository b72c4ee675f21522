"""The override store against a plain dict."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.core.errors import BadInputError, NotFoundError
from actors.override.models import Override
from actors.override.store import OverrideStore

NODES = st.sampled_from(["1101/analog-value-1", "1101/analog-value-2", "drive-1/speed"])
PRIORITIES = st.integers(1, 16)
VALUES = st.one_of(st.booleans(), st.integers(-5, 5), st.floats(-100, 100), st.text(max_size=5))


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", str(2**63)])
def test_a_wrong_cursor_is_refused(tmp_path: Path, cursor: str) -> None:
    store = OverrideStore(tmp_path)
    with pytest.raises(BadInputError) as error:
        store.find(cursor=cursor)
    assert error.value.field == "cursor"


class Model(RuleBasedStateMachine):
    """Random commands of slots; a reopened file must say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = 1_000_000
        self.rows: dict[tuple[str, int], Override] = {}
        self.last_id = 0
        self.open()

    def open(self) -> None:
        self.store = OverrideStore(self.folder.name, clock=lambda: self.now)

    @rule(
        node=NODES,
        priority=PRIORITIES,
        value=VALUES,
        seconds=st.none() | st.integers(1, 50),
        note=st.none() | st.text(max_size=5),
    )
    def put(self, node: str, priority: int, value: Any, seconds: int | None, note: str | None) -> None:
        expires = None if seconds is None else self.now + seconds * 1000
        made = self.store.put(node, priority, value, "ana", expires, note)
        old = self.rows.get((node, priority))
        assert made == Override(
            id=old.id if old else made.id,
            node_id=node,
            priority=priority,
            value=value,
            by="ana",
            at=self.now,
            expires_at=expires,
            note=note,
        )
        assert type(made.value) is type(value)
        if old is None:
            assert made.id > self.last_id
        self.last_id = max(self.last_id, made.id)
        self.rows[node, priority] = made

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), value=VALUES)
    def a_command_that_fails_is_put_back(self, data: st.DataObject, value: Any) -> None:
        before = data.draw(st.sampled_from(list(self.rows.values())))
        self.store.put(before.node_id, before.priority, value, "eve")
        self.store.restore(before)
        assert self.store.get(before.id) == before

    @rule(node=NODES, priority=PRIORITIES)
    def remove(self, node: str, priority: int) -> None:
        assert self.store.remove(node, priority) == ((node, priority) in self.rows)
        self.rows.pop((node, priority), None)

    @rule(seconds=st.integers(0, 30))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * 1000

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.open()

    @rule(node=NODES, limit=st.integers(1, 5))
    def pages(self, node: str, limit: int) -> None:
        for wanted in (None, node):
            found: list[Override] = []
            cursor = None
            while True:
                part, cursor = self.store.find(wanted, limit, cursor)
                assert len(part) <= limit
                found += part
                if cursor is None:
                    break
            mine = [each for each in self.rows.values() if wanted in {None, each.node_id}]
            assert found == sorted(mine, key=lambda each: each.id)
        ids = {each.id for each in self.rows.values()}
        missing = next(number for number in range(1, 1000) if number not in ids)
        with pytest.raises(NotFoundError):
            self.store.get(missing)

    @invariant()
    def all_questions_agree(self) -> None:
        rows = sorted(self.rows.values(), key=lambda each: (each.node_id, each.priority))
        assert self.store.everything() == rows
        for node in {each.node_id for each in rows}:
            assert self.store.of(node) == [each for each in rows if each.node_id == node]
        due = {each.id for each in rows if each.expires_at is not None and each.expires_at <= self.now}
        found = self.store.due()
        assert {each.id for each in found} == due
        assert [each.expires_at for each in found] == sorted(each.expires_at or 0 for each in found)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=25, stateful_step_count=30, suppress_health_check=list(HealthCheck), deadline=None
)
