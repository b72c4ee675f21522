"""The store of who did what."""

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import ray

from actors.audit.anchor import Anchors
from actors.audit.logic import GENESIS, LOST, SYSTEM, against, entry_hash, follow, masked
from actors.audit.models import Anchor, AuditCheck, AuditEntry
from actors.audit.schema import MIGRATIONS
from actors.core.errors import StorageError
from actors.core.health import Health, HealthState
from actors.core.sqlite import Durability, Row
from actors.core.store import Store

log = logging.getLogger(__name__)


class AuditStore(Store):
    """Keep an append-only log in which each entry carries a hash over itself and the one before.

    Whoever changes, removes or inserts an entry behind the program's back breaks the chain at that entry,
    which `verify` names. Where the log ends is sealed with the installation's key in the file and outside of
    it (see anchor.py), so that entries cut off the end are missed too, by `verify` and when the file is
    opened: then an entry notes it, for good. docs/security.md says what that does and doesn't protect from.
    """

    name: ClassVar[str] = "audit"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL

    def opened(self) -> None:
        """Look whether the log ends where it ended; note in it what is missing."""
        self._trouble: str | None = None
        self._anchors = Anchors(self.path.parent)
        row = self.one("SELECT sealed FROM audit_anchor")
        self._sealed = row is None or row["sealed"] != ""
        """Whether the file has its anchor: the first time, the one outside comes first, lest it be missed."""
        lost = self._lost()
        if lost is None:
            self._put_outside()
        else:
            log.error("audit log: %s", lost["reason"])
            self.add(SYSTEM, LOST, "audit", lost)

    def _end(self) -> Anchor:
        last = self.one("SELECT id, hash FROM audit_entry ORDER BY id DESC LIMIT 1")
        return Anchor(entries=last["id"], hash=last["hash"]) if last else Anchor(entries=0, hash=GENESIS)

    def _inside(self) -> Anchor | None:
        """Give the anchor in the file; None before the first time. Raises StorageError."""
        row = self.one("SELECT sealed FROM audit_anchor")
        if row is None:
            raise StorageError("audit", f"the anchor in {self.path} is gone")
        return self._anchors.open(f"the anchor in {self.path}", row["sealed"]) if row["sealed"] else None

    def _known(self) -> tuple[Anchor | None, Anchor | None]:
        """Give the anchors in the file and outside: none there before the first time. Raises StorageError."""
        inside, outside = self._inside(), self._anchors.outside()
        return inside, outside if inside is None else self._anchors.there(outside)

    def _lost(self) -> dict[str, Any] | None:
        """Say what is wrong with the end of the log, or None."""
        try:
            inside, outside = self._known()
        except StorageError as error:
            return {"reason": error.reason, "missing": None, "explained": bool(self._wrong)}
        end = self._end()
        for anchor in (outside, inside):
            if anchor is None:
                continue
            at = self.one("SELECT hash FROM audit_entry WHERE id = ?", anchor.entries)
            wrong = against(anchor, end.entries, at["hash"] if at else GENESIS)
            if wrong is not None:
                explained = anchor.restored or bool(self._wrong)
                return {"reason": wrong["reason"], "missing": wrong.get("missing"), "explained": explained}
        if inside is not None and inside.entries < end.entries:
            reason = f"entries from {inside.entries + 1} on were added by other means than this program"
            return {"reason": reason, "missing": None, "explained": False}
        return None

    def _seal(self, end: Anchor) -> None:
        self.run("INSERT OR REPLACE INTO audit_anchor (id, sealed) VALUES (1, ?)", self._anchors.seal(end))

    def _put_outside(self) -> None:
        try:
            self._anchors.put_outside(self._end())
        except StorageError as error:
            if self._trouble is None:
                log.error("%s; the next entry tries again", error.reason)
            self._trouble = error.reason
        else:
            self._trouble = None
            if not self._sealed:
                with self.transaction():
                    self._seal(self._end())
                self._sealed = True

    @ray.method
    def health(self) -> Health:
        """Say how the store is: degraded too while the anchor outside can't be written."""
        found: Health = super().health()  # type: ignore[operator]
        if self._trouble is None or found.state is HealthState.DOWN:
            return found
        reasons = [*found.reasons, self._trouble]
        return found.model_copy(update={"state": HealthState.DEGRADED, "reasons": reasons})

    @ray.method
    def add(self, user: str, action: str, target: str, detail: dict[str, Any] | None = None) -> AuditEntry:
        """Add an entry; what looks like a secret in `detail` is masked."""
        text = json.dumps(masked(detail or {}), ensure_ascii=False, sort_keys=True, default=str)
        with self.transaction():
            end = self._end()
            entry_id, now = end.entries + 1, self.clock()
            told = entry_hash(end.hash, entry_id, now, user, action, target, text)
            row = self.one(
                "INSERT INTO audit_entry (id, timestamp, user, action, target, detail, hash)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
                entry_id,
                now,
                user,
                action,
                target,
                text,
                told,
            )
            if self._sealed:
                self._seal(Anchor(entries=entry_id, hash=told))
        self._put_outside()
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
        rows, after = self.page_of(
            "SELECT * FROM audit_entry",
            {
                "user = ?": user,
                "action = ?": action,
                "target = ?": target,
                "timestamp >= ?": start,
                "timestamp < ?": end,
            },
            limit,
            cursor,
            newest_first=True,
        )
        return [_entry(row) for row in rows], after

    @ray.method
    def actions(self) -> list[str]:
        """Give the names of all actions that were ever logged."""
        return [row["action"] for row in self.all("SELECT DISTINCT action FROM audit_entry ORDER BY action")]

    @ray.method
    def verify(self) -> AuditCheck:
        """Follow the chain from the first entry to where it must end.

        Names the first entry that doesn't fit, or says how many are missing at the end.
        """
        try:
            inside, outside = self._known()
        except StorageError as error:
            return follow(self._entries()).model_copy(update={"ok": False, "reason": error.reason})
        return follow(self._entries(), inside, [outside] if outside else [])

    def _entries(self) -> Iterator[Row]:
        last = 0
        while rows := self.all("SELECT * FROM audit_entry WHERE id > ? ORDER BY id LIMIT 5000", last):
            yield from rows
            last = rows[-1]["id"]


def _entry(row: Row) -> AuditEntry:
    return AuditEntry.model_validate(row | {"detail": json.loads(row["detail"])})
