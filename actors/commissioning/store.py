"""The store of commissioning sessions and their items."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import ray

from actors.commissioning.logic import (
    check_complete,
    check_result,
    check_session_step,
    check_sign_off,
    items_for,
    progress_of,
)
from actors.commissioning.models import (
    Check,
    Item,
    ItemKind,
    ItemState,
    NewCheck,
    NewItem,
    NewSession,
    Progress,
    Result,
    Session,
    SessionChange,
    SessionState,
    SignOff,
    TrialWrite,
)
from actors.commissioning.schema import MIGRATIONS
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.core.sqlite import Durability, Row
from actors.core.store import Store
from actors.node.models import Node


class CommissioningStore(Store):
    """Keep the commissioning of devices: a session each, with an item for everything to be verified.

    A session goes from not started over in progress and completed to signed off, and never back. A device
    has at most one session that isn't signed off; one that is stays as a record and takes no change.
    """

    name: ClassVar[str] = "commissioning"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL

    # Sessions

    @ray.method
    def create(
        self,
        new: NewSession,
        nodes: Sequence[Node],
        by: str,
        configured: Mapping[ItemKind, Collection[str]] | None = None,
    ) -> Session:
        """Add a session with items for the points among `nodes`; `configured` have alarms or schedules.

        Raises BadInputError when there is nothing to verify, and ConflictError for a device with an open
        session.
        """
        items = items_for(nodes, configured, new.also)
        if not items:
            raise BadInputError("node_id", new.node_id, "a node with points below it that can do something")
        with self.transaction():
            standing = self.one(
                "SELECT id, state FROM commission_session WHERE node_id = ? AND state <> 'signed_off'",
                new.node_id,
            )
            if standing is not None:
                raise ConflictError(
                    "session", standing["id"], f"{new.node_id} has it already, and it is {standing['state']}"
                )
            row = self.one(
                "INSERT INTO commission_session (node_id, name, note, state, created_at, created_by)"
                " VALUES (?, ?, ?, 'not_started', ?, ?) RETURNING id",
                new.node_id,
                new.name,
                new.note,
                self.clock(),
                by,
            )
            session_id = int((row or {})["id"])
            self._add_items(session_id, items)
            return self._get(session_id)

    def _add_items(self, session_id: int, items: Sequence[NewItem]) -> int:
        return self.many(
            "INSERT INTO commission_item (session_id, node_id, dis, kind) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            [(session_id, item.node_id, item.dis, item.kind.value) for item in items],
        )

    @ray.method
    def add_items(
        self,
        session_id: int,
        nodes: Sequence[Node],
        configured: Mapping[ItemKind, Collection[str]] | None = None,
        also: Collection[ItemKind] = (),
    ) -> Session:
        """Add the items that `nodes` need and the session doesn't have yet, such as for points that are new.

        Raises NotFoundError, and ConflictError for a session that is completed.
        """
        with self.transaction():
            session = self._get(session_id)
            if session.state not in {SessionState.NOT_STARTED, SessionState.IN_PROGRESS}:
                raise ConflictError(
                    "session", session_id, f"it is {session.state.value} and takes no more items"
                )
            self._add_items(session_id, items_for(nodes, configured, also))
            return self._get(session_id)

    @ray.method
    def update(self, session_id: int, change: SessionChange) -> Session:
        """Replace name and note. Raises NotFoundError, and ConflictError after the sign-off."""
        with self.transaction():
            self._open(session_id, "changed")
            self.run(
                "UPDATE commission_session SET name = ?, note = ? WHERE id = ?",
                change.name,
                change.note,
                session_id,
            )
            return self._get(session_id)

    @ray.method
    def delete(self, session_id: int) -> None:
        """Delete a session and its items. Raises NotFoundError, and ConflictError after the sign-off."""
        with self.transaction():
            self._open(session_id, "deleted")
            self.run("DELETE FROM commission_session WHERE id = ?", session_id)

    def _open(self, session_id: int, verb: str) -> None:
        session = self._get(session_id)
        if session.state is SessionState.SIGNED_OFF:
            raise ConflictError("session", session_id, f"it is {session.state.value} and can't be {verb}")

    @ray.method
    def start(self, session_id: int, by: str) -> Session:
        """Begin a session. Raises NotFoundError, ConflictError."""
        with self.transaction():
            check_session_step(session_id, self._get(session_id).state, SessionState.IN_PROGRESS)
            self.run(
                "UPDATE commission_session SET state = 'in_progress', started_at = max(?, created_at),"
                " started_by = ? WHERE id = ?",
                self.clock(),
                by,
                session_id,
            )
            return self._get(session_id)

    @ray.method
    def complete(self, session_id: int, by: str) -> Session:
        """End a session whose items all have a result. Raises NotFoundError, ConflictError."""
        with self.transaction():
            session = self._get(session_id)
            check_session_step(session_id, session.state, SessionState.COMPLETED)
            check_complete(session_id, session.progress)
            self.run(
                "UPDATE commission_session SET state = 'completed', completed_at = max(?, started_at),"
                " completed_by = ? WHERE id = ?",
                self.clock(),
                by,
                session_id,
            )
            return self._get(session_id)

    @ray.method
    def sign_off(self, session_id: int, sign_off: SignOff, by: str) -> Session:
        """Accept a completed session.

        Raises NotFoundError, ConflictError, also for failed items that aren't accepted, and BadInputError for
        an acceptance without a note.
        """
        with self.transaction():
            session = self._get(session_id)
            check_session_step(session_id, session.state, SessionState.SIGNED_OFF)
            check_sign_off(session_id, session.progress, sign_off)
            self.run(
                "UPDATE commission_session SET state = 'signed_off', signed_off_at = max(?, completed_at),"
                " signed_off_by = ?, sign_off_note = ?, accepted_failures = ? WHERE id = ?",
                self.clock(),
                by,
                sign_off.note,
                session.progress.failed,
                session_id,
            )
            return self._get(session_id)

    @ray.method
    def get(self, session_id: int) -> Session:
        """Give one session with its progress. Raises NotFoundError."""
        return self._get(session_id)

    def _get(self, session_id: int) -> Session:
        row = self.one("SELECT * FROM commission_session WHERE id = ?", session_id)
        if row is None:
            raise NotFoundError("session", session_id)
        return self._with_progress([row])[0]

    @ray.method
    def find(
        self,
        state: SessionState | None = None,
        node_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Session], str | None]:
        """Give sessions, newest first: in a state, of a device. Raises BadInputError."""
        rows, after = self.page_of(
            "SELECT * FROM commission_session",
            {"state = ?": state.value if state else None, "node_id = ?": node_id},
            limit,
            cursor,
            newest_first=True,
        )
        return self._with_progress(rows), after

    def _with_progress(self, rows: Sequence[Row]) -> list[Session]:
        counts: dict[int, dict[ItemState, int]] = {row["id"]: {} for row in rows}
        for row in self.all(
            "SELECT session_id, state, count(*) AS n FROM commission_item"
            " WHERE session_id IN (SELECT value FROM json_each(?)) GROUP BY 1, 2",
            json.dumps(list(counts)),
        ):
            counts[row["session_id"]][ItemState(row["state"])] = row["n"]
        progress: dict[int, Progress] = {key: progress_of(each) for key, each in counts.items()}
        return [Session.model_validate(row | {"progress": progress[row["id"]]}) for row in rows]

    # Items

    @ray.method
    def item(self, item_id: int) -> Item:
        """Give one item. Raises NotFoundError."""
        return self._item(item_id)

    def _item(self, item_id: int) -> Item:
        row = self.one("SELECT * FROM commission_item WHERE id = ?", item_id)
        if row is None:
            raise NotFoundError("item", item_id)
        return Item.model_validate(row)

    @ray.method
    def items(
        self,
        session_id: int,
        state: ItemState | None = None,
        kind: ItemKind | None = None,
        node_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Item], str | None]:
        """Give the items of a session in their order. Raises NotFoundError, BadInputError."""
        self._get(session_id)
        rows, after = self.page_of(
            "SELECT * FROM commission_item",
            {
                "session_id = ?": session_id,
                "state = ?": state.value if state else None,
                "kind = ?": kind.value if kind else None,
                "node_id = ?": node_id,
            },
            limit,
            cursor,
        )
        return [Item.model_validate(row) for row in rows], after

    @ray.method
    def set_result(self, item_id: int, result: Result, by: str) -> Item:
        """Say what came of an item. Raises NotFoundError, and ConflictError for a step that isn't allowed."""
        with self.transaction():
            return self._set_result(item_id, result, by)

    def _set_result(self, item_id: int, result: Result, by: str) -> Item:
        old = self._item(item_id)
        check_result(item_id, self._get(old.session_id).state, old.state, result.state)
        self.run(
            "UPDATE commission_item SET state = ?, note = ?, attempts = attempts + 1, result_at = ?,"
            " result_by = ? WHERE id = ?",
            result.state.value,
            result.note,
            self.clock(),
            by,
            item_id,
        )
        return self._item(item_id)

    # Checks against the device

    @ray.method
    def may_verify(self, item_id: int) -> Item:
        """Give an item if it may be verified now. Raises NotFoundError and ConflictError."""
        item = self._item(item_id)
        check_result(item_id, self._get(item.session_id).state, item.state, ItemState.VERIFIED)
        return item

    @ray.method
    def record(self, item_id: int, check: NewCheck, by: str) -> Check:
        """Keep what came of verifying an item, as its result too. Raises NotFoundError, ConflictError."""
        with self.transaction():
            self._set_result(item_id, Result(state=check.state, note=check.summary[:2000]), by)
            row = self.one(
                "INSERT INTO commission_check (item_id, state, summary, steps, checked_at, checked_by)"
                " VALUES (?, ?, ?, ?, ?, ?) RETURNING *",
                item_id,
                check.state.value,
                check.summary,
                json.dumps([each.model_dump(mode="json") for each in check.steps]),
                self.clock(),
                by,
            )
        return _check(row or {})

    @ray.method
    def checks(
        self, item_id: int, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[Check], str | None]:
        """Give the verifications of an item, newest first. Raises NotFoundError, BadInputError."""
        self._item(item_id)
        rows, after = self.page_of(
            "SELECT * FROM commission_check", {"item_id = ?": item_id}, limit, cursor, newest_first=True
        )
        return [_check(row) for row in rows], after

    @ray.method
    def begin_write(self, write: TrialWrite) -> None:
        """Note what is about to be written to a point. Raises ConflictError while a test of it runs."""
        with self.transaction():
            held = self.one("SELECT written_by FROM commission_write WHERE node_id = ?", write.node_id)
            if held is not None:
                raise ConflictError(
                    "point", write.node_id, f"{held['written_by']} is writing to it for a test"
                )
            self.run(
                "INSERT INTO commission_write (node_id, item_id, priority, value, value_before, written_at,"
                " written_by) VALUES (?, ?, ?, ?, ?, ?, ?)",
                write.node_id,
                write.item_id,
                write.priority,
                json.dumps(write.value),
                json.dumps(write.value_before),
                write.written_at,
                write.written_by,
            )

    @ray.method
    def end_write(self, node_id: str) -> None:
        """Forget what was written to a point: it is given back."""
        self.run("DELETE FROM commission_write WHERE node_id = ?", node_id)

    @ray.method
    def writing(self) -> list[TrialWrite]:
        """Give what is written for tests and not yet given back."""
        return [
            TrialWrite.model_validate(
                row | {name: json.loads(row[name]) for name in ("value", "value_before")}
            )
            for row in self.all("SELECT * FROM commission_write ORDER BY written_at, node_id")
        ]


def _check(row: Row) -> Check:
    return Check.model_validate(row | {"steps": json.loads(row["steps"])})
