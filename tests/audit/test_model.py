"""The audit store against a plain list."""

import tempfile
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.audit.models import AuditEntry
from actors.audit.store import AuditStore

WORDS = st.sampled_from(["ana", "otto", "write", "create_node", "1101/av-1", "node:7"])
DETAIL = st.dictionaries(
    st.sampled_from(["old_value", "new_value", "note"]), st.none() | st.integers() | st.text(max_size=8)
)


class Model(RuleBasedStateMachine):
    """Random entries; questions with every filter; a reopened file must say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = 1_700_000_000_000
        self.entries: list[AuditEntry] = []
        self.open()

    def open(self) -> None:
        self.store = AuditStore(self.folder.name, clock=lambda: self.now)

    @rule(user=WORDS, action=WORDS, subject=WORDS, detail=DETAIL)
    def add(self, user: str, action: str, subject: str, detail: dict[str, Any]) -> None:
        made = self.store.add(user, action, subject, detail)
        assert (made.id, made.timestamp) == (len(self.entries) + 1, self.now)
        assert (made.user, made.action, made.target, made.detail) == (user, action, subject, detail)
        self.entries.append(made)

    @rule(milliseconds=st.integers(-1000, 5000))
    def the_clock_moves(self, milliseconds: int) -> None:
        self.now += milliseconds

    @rule(
        user=st.none() | WORDS,
        action=st.none() | WORDS,
        subject=st.none() | WORDS,
        start=st.none() | st.integers(-5000, 0),
        end=st.none() | st.integers(-2000, 2000),
        limit=st.integers(1, 4),
    )
    def find(
        self,
        user: str | None,
        action: str | None,
        subject: str | None,
        start: int | None,
        end: int | None,
        limit: int,
    ) -> None:
        first = None if start is None else self.now + start
        last = None if end is None else self.now + end
        found: list[AuditEntry] = []
        cursor = None
        while True:
            part, cursor = self.store.find(user, action, subject, first, last, limit, cursor)
            found += part
            if cursor is None:
                break
        assert found == [
            each
            for each in reversed(self.entries)
            if user in {None, each.user}
            and action in {None, each.action}
            and subject in {None, each.target}
            and (first is None or each.timestamp >= first)
            and (last is None or each.timestamp < last)
        ]

    @precondition(lambda self: self.entries)
    @rule(sql=st.sampled_from(["DELETE FROM audit_entry", "UPDATE audit_entry SET user = 'eve'"]))
    def nothing_can_be_changed(self, sql: str) -> None:
        with pytest.raises(apsw.ConstraintError, match="append-only"):
            self.store.run(sql)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.open()

    @invariant()
    def the_chain_holds(self) -> None:
        check = self.store.verify()
        assert check.ok
        assert check.entries == len(self.entries)
        assert self.store.actions() == sorted({each.action for each in self.entries})

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=20, stateful_step_count=30, suppress_health_check=list(HealthCheck), deadline=None
)
