"""The store of who did what."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import ray

from actors.audit.logic import GENESIS, entry_hash, follow, masked
from actors.audit.models import AuditCheck, AuditEntry
from actors.audit.schema import MIGRATIONS
from actors.core.sqlite import Durability, Row
from actors.core.store import Store, page


class AuditStore(Store):
    """Keep an append-only log in which each entry carries a hash over itself and the one before.

    Whoever changes, removes or inserts an entry behind the program's back breaks the chain at that entry,
    which `verify` names. Cutting entries off the end can't be seen in the file alone.
    """

    name: ClassVar[str] = "audit"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL

    @ray.method
    def add(self, user: str, action: str, target: str, detail: dict[str, Any] | None = None) -> AuditEntry:
        """Add an entry; what looks like a secret in `detail` is masked."""
        text = json.dumps(masked(detail or {}), ensure_ascii=False, sort_keys=True, default=str)
        with self.transaction():
            last = self.one("SELECT id, hash FROM audit_entry ORDER BY id DESC LIMIT 1")
            entry_id = last["id"] + 1 if last else 1
            now = self.clock()
            before = last["hash"] if last else GENESIS
            row = self.one(
                "INSERT INTO audit_entry (id, timestamp, user, action, target, detail, hash)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
                entry_id,
                now,
                user,
                action,
                target,
                text,
                entry_hash(before, entry_id, now, user, action, target, text),
            )
        return _entry(row or {})

    @ray.method
    def find(
        self,
        user: str | None = None,
        action: str | None = None,
        target: str | None = None,
        start: int | None = None,
        end: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[AuditEntry], str | None]:
        """Give entries, newest first, in [start, end) ms. Raises BadInputError."""
        rows, after = page(
            cursor,
            limit,
            lambda last, n: self.all(
                "SELECT * FROM audit_entry WHERE (?1 = 0 OR id < ?1) AND (?2 IS NULL OR user = ?2)"
                " AND (?3 IS NULL OR action = ?3) AND (?4 IS NULL OR target = ?4)"
                " AND (?5 IS NULL OR timestamp >= ?5) AND (?6 IS NULL OR timestamp < ?6)"
                " ORDER BY id DESC LIMIT ?7",
                last,
                user,
                action,
                target,
                start,
                end,
                n,
            ),
        )
        return [_entry(row) for row in rows], after

    @ray.method
    def actions(self) -> list[str]:
        """Give the names of all actions that were ever logged."""
        return [row["action"] for row in self.all("SELECT DISTINCT action FROM audit_entry ORDER BY action")]

    @ray.method
    def verify(self) -> AuditCheck:
        """Follow the chain from the first entry; name the first one that doesn't fit."""
        return follow(self._entries())

    def _entries(self) -> Iterator[Row]:
        last = 0
        while rows := self.all("SELECT * FROM audit_entry WHERE id > ? ORDER BY id LIMIT 5000", last):
            yield from rows
            last = rows[-1]["id"]


def _entry(row: Row) -> AuditEntry:
    return AuditEntry.model_validate(row | {"detail": json.loads(row["detail"])})
