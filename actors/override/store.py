"""The store of commanded slots."""

import json
from collections.abc import Sequence
from typing import ClassVar

import ray

from actors.core.errors import NotFoundError
from actors.core.sqlite import Durability, Row
from actors.core.store import Store
from actors.core.values import PointValue
from actors.override.models import Override
from actors.override.schema import MIGRATIONS


class OverrideStore(Store):
    """Keep which slots of which points were commanded from here, by whom, until when.

    For points without a priority array of their own, these rows are the array.
    """

    name: ClassVar[str] = "overrides"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL

    @ray.method
    def put(
        self,
        node_id: str,
        priority: int,
        value: PointValue,
        by: str,
        expires_at: int | None = None,
        note: str | None = None,
    ) -> Override:
        """Note a slot as commanded, in the place of what was noted for it. Times in ms."""
        row = self.one(
            "INSERT INTO override (node_id, priority, value, by, at, expires_at, note)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (node_id, priority) DO UPDATE SET value = excluded.value,"
            " by = excluded.by, at = excluded.at, expires_at = excluded.expires_at, note = excluded.note"
            " RETURNING *",
            node_id,
            priority,
            json.dumps(value),
            by,
            self.clock(),
            expires_at,
            note,
        )
        return _override(row or {})

    @ray.method
    def restore(self, override: Override) -> None:
        """Put back what was noted for a slot before: the command that replaced it has failed."""
        with self.transaction():
            self.run(
                "DELETE FROM override WHERE node_id = ? AND priority = ?", override.node_id, override.priority
            )
            self.run(
                "INSERT INTO override (id, node_id, priority, value, by, at, expires_at, note)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                override.id,
                override.node_id,
                override.priority,
                json.dumps(override.value),
                override.by,
                override.at,
                override.expires_at,
                override.note,
            )

    @ray.method
    def remove(self, node_id: str, priority: int) -> bool:
        """Note a slot as given back; tells whether it was noted as commanded."""
        return bool(self.run("DELETE FROM override WHERE node_id = ? AND priority = ?", node_id, priority))

    @ray.method
    def of(self, node_id: str) -> list[Override]:
        """Give a point's commanded slots, the strongest first."""
        rows = self.all("SELECT * FROM override WHERE node_id = ? ORDER BY priority", node_id)
        return [_override(row) for row in rows]

    @ray.method
    def get(self, override_id: int) -> Override:
        """Give one. Raises NotFoundError."""
        row = self.one("SELECT * FROM override WHERE id = ?", override_id)
        if row is None:
            raise NotFoundError("override", override_id)
        return _override(row)

    @ray.method
    def find(
        self, node_id: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[Override], str | None]:
        """Give overrides, all or those of a point. Raises BadInputError."""
        rows, after = self.page_of("SELECT * FROM override", {"node_id = ?": node_id}, limit, cursor)
        return [_override(row) for row in rows], after

    @ray.method
    def everything(self) -> list[Override]:
        """Give all overrides."""
        return [_override(row) for row in self.all("SELECT * FROM override ORDER BY node_id, priority")]

    @ray.method
    def due(self) -> list[Override]:
        """Give those whose time is over.

        The time of one that was commanded under a clock that has been set back since then begins anew: it
        ends after its duration, at most after twice that, and not when the old clock's time comes again.
        """
        now = self.clock()
        if self.one("SELECT 1 FROM override WHERE expires_at IS NOT NULL AND at > ? LIMIT 1", now):
            self.run(
                "UPDATE override SET expires_at = max(?1, ?1 + (expires_at - at)), at = ?1"
                " WHERE expires_at IS NOT NULL AND at > ?1",
                now,
            )
        rows = self.all("SELECT * FROM override WHERE expires_at <= ? ORDER BY expires_at", now)
        return [_override(row) for row in rows]


def _override(row: Row) -> Override:
    return Override.model_validate(row | {"value": json.loads(row["value"])})
