"""The store of export targets and of how far each has come."""

from collections.abc import Sequence
from typing import Any, ClassVar

import ray
from pydantic import TypeAdapter

from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.core.secrets import SecretLostError, Secrets
from actors.core.sqlite import Durability, Row
from actors.core.store import MAX_PAGE, Store, of_site, unique
from actors.export.logic import may_become
from actors.export.models import (
    Backfill,
    BackfillState,
    Connection,
    NewBackfill,
    NewTarget,
    OpenTarget,
    PointCursor,
    Selection,
    Target,
    TargetStatus,
)
from actors.export.schema import MIGRATIONS

CONNECTION: TypeAdapter[Connection] = TypeAdapter(Connection)

Progress = tuple[str, str, int, int]
"""Site, point id, time up to which its samples have arrived (ms), and how many rows that were."""


class ExportStore(Store):
    """Keep targets with their sealed passwords, a cursor per target and point, and backfills.

    A cursor only rises: whoever sent a batch and died before noting it sends the batch again, which the
    targets take without duplicates. `reset` alone moves cursors back.
    """

    name: ClassVar[str] = "export"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL
    watched: ClassVar[bool] = True

    def opened(self) -> None:
        """Read the key that seals passwords."""
        self._secrets = Secrets(self.path.parent)

    # Targets

    @ray.method
    def create(self, new: NewTarget) -> Target:
        """Add a target. Raises ConflictError for a name that is taken."""
        with self.transaction(), unique("export target", new.name):
            row = self.one(
                "INSERT INTO export_target"
                " (name, kind, connection, selection, batch_size, live, enabled, secret, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                *_columns(new),
                self._sealed(new),
                self.clock(),
            )
            self.run("INSERT INTO export_status (target_id) VALUES (?)", row["id"] if row else 0)
            self.config_moved()
        return _target(row or {})

    @ray.method
    def update(self, target_id: int, new: NewTarget) -> Target:
        """Replace a target; a password left out stays, cursors too.

        Raises NotFoundError, and ConflictError for a name that is taken.
        """
        with self.transaction(), unique("export target", new.name):
            row = self.one(
                "UPDATE export_target SET name = ?, kind = ?, connection = ?, selection = ?, batch_size = ?,"
                " live = ?, enabled = ?, secret = coalesce(?, secret) WHERE id = ? RETURNING *",
                *_columns(new),
                self._sealed(new),
                target_id,
            )
            if row is None:
                raise NotFoundError("export target", target_id)
            self.config_moved()
        return _target(row)

    @ray.method
    def set_enabled(self, target_id: int, enabled: bool) -> Target:
        """Pause a target, or let it go on where it stopped. Raises NotFoundError."""
        with self.transaction():
            row = self.one(
                "UPDATE export_target SET enabled = ? WHERE id = ? RETURNING *", int(enabled), target_id
            )
            if row is None:
                raise NotFoundError("export target", target_id)
            self.config_moved()
        return _target(row)

    @ray.method
    def delete(self, target_id: int) -> Target:
        """Delete a target with its cursors and backfills. Raises NotFoundError."""
        with self.transaction():
            row = self.one("DELETE FROM export_target WHERE id = ? RETURNING *", target_id)
            if row is None:
                raise NotFoundError("export target", target_id)
            self.config_moved()
        return _target(row)

    @ray.method
    def get(self, target_id: int) -> Target:
        """Give one target. Raises NotFoundError."""
        return _target(self._row(target_id))

    @ray.method
    def find(
        self,
        kind: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        site: str | None = None,
    ) -> tuple[list[Target], str | None]:
        """Give targets, of a kind; with `site` those that get its points. Raises BadInputError."""
        sites = of_site("json_extract(selection, '$.sites')")
        rows, after = self.page_of(
            "SELECT * FROM export_target", {"kind = ?": kind, sites: site}, limit, cursor
        )
        return [_target(row) for row in rows], after

    @ray.method
    def in_force(self) -> tuple[int, list[OpenTarget]]:
        """Give the version of the configuration and all enabled targets with their passwords.

        For the publisher alone. A password that can't be read is said in the target's `trouble`.
        """
        found = []
        for row in self.all("SELECT * FROM export_target WHERE enabled ORDER BY id"):
            password, trouble = None, None
            if row["secret"] is not None:
                try:
                    password = self._secrets.open(f"the password of {row['name']}", row["secret"])
                except SecretLostError as error:
                    trouble = str(error)
            found.append(OpenTarget.model_validate(
                {"target": _target(row), "password": password, "trouble": trouble}
            ))  # fmt: skip
        return self.version(), found

    # How far each has come

    @ray.method
    def sent(self, target_id: int, progress: Sequence[Progress]) -> None:
        """Note that a batch has arrived; a cursor never goes back by it. Raises NotFoundError."""
        with self.transaction():
            self._row(target_id)
            self.many(
                "INSERT INTO export_state (target_id, site, point_id, cursor, rows_sent)"
                " VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (target_id, site, point_id) DO UPDATE SET"
                " cursor = max(cursor, excluded.cursor), rows_sent = rows_sent + excluded.rows_sent",
                [(target_id, *each) for each in progress],
            )
            self.run(
                "UPDATE export_status SET rows_sent = rows_sent + ?, last_success = ?, failures = 0"
                " WHERE target_id = ?",
                sum(each[3] for each in progress),
                self.clock(),
                target_id,
            )

    @ray.method
    def failed(self, target_id: int, error: str) -> None:
        """Note that a batch did not arrive, and why. Raises NotFoundError."""
        with self.transaction():
            self._row(target_id)
            self.run(
                "UPDATE export_status SET last_failure = ?, last_error = ?, failures = failures + 1"
                " WHERE target_id = ?",
                self.clock(),
                error[:1000],
                target_id,
            )

    @ray.method
    def reset(self, target_id: int, to: int) -> int:
        """Set the cursors of all points to a time (ms), so that what is newer is sent again; give how many.

        Raises NotFoundError and BadInputError.
        """
        if to < 0:
            raise BadInputError("to", to, "a time")
        with self.transaction():
            self._row(target_id)
            return self.run("UPDATE export_state SET cursor = ? WHERE target_id = ?", to, target_id)

    @ray.method
    def cursors(self, target_id: int, site: str | None = None) -> dict[tuple[str, str], int]:
        """Give the cursor of every point that was sent, by site and id. Raises NotFoundError."""
        self._row(target_id)
        return {
            (row["site"], row["point_id"]): row["cursor"]
            for row in self.all(
                "SELECT site, point_id, cursor FROM export_state"
                " WHERE target_id = ?1 AND (?2 IS NULL OR site = ?2)",
                target_id,
                site,
            )
        }

    @ray.method
    def state(
        self, target_id: int, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[PointCursor], str | None]:
        """Give the cursors of a target by site and point. Raises NotFoundError and BadInputError."""
        if not 1 <= limit <= MAX_PAGE:
            raise BadInputError("limit", limit, f"1 to {MAX_PAGE}")
        site, mark, point_id = (cursor or "|").partition("|")
        if not mark:
            raise BadInputError("cursor", cursor, "the next_cursor of an earlier answer")
        self._row(target_id)
        rows = self.all(
            "SELECT site, point_id, cursor, rows_sent FROM export_state"
            " WHERE target_id = ? AND (site, point_id) > (?, ?) ORDER BY site, point_id LIMIT ?",
            target_id,
            site,
            point_id,
            limit + 1,
        )
        more = len(rows) > limit
        del rows[limit:]
        following = f"{rows[-1]['site']}|{rows[-1]['point_id']}" if more else None
        return [PointCursor.model_validate(row) for row in rows], following

    @ray.method
    def status(self, target_id: int) -> TargetStatus:
        """Tell how the export to a target goes. Raises NotFoundError."""
        self._row(target_id)
        row = self.one(
            "SELECT export_status.*, (SELECT count(*) FROM export_state WHERE target_id = ?1) AS points,"
            " (SELECT min(cursor) FROM export_state WHERE target_id = ?1) AS oldest_cursor"
            " FROM export_status WHERE target_id = ?1",
            target_id,
        )
        return TargetStatus.model_validate(row or {})

    # Backfills

    @ray.method
    def queue_backfill(self, target_id: int, new: NewBackfill, by: str) -> Backfill:
        """Ask for a range of history to be sent again. Raises NotFoundError."""
        with self.transaction():
            self._row(target_id)
            row = self.one(
                "INSERT INTO export_backfill"
                " (target_id, state, range_start, range_end, reached, requested_by, requested_at)"
                " VALUES (?1, 'queued', ?2, ?3, ?2, ?4, ?5) RETURNING *",
                target_id,
                new.start,
                new.end,
                by,
                self.clock(),
            )
            self.config_moved()
        return _backfill(row or {})

    @ray.method
    def advance(self, backfill_id: int, reached: int, rows: int) -> Backfill:
        """Note how far a running backfill has come; it goes on from there after a crash.

        Raises NotFoundError, ConflictError for one that doesn't run, BadInputError.
        """
        with self.transaction():
            before = self._backfill(backfill_id)
            if before.state is not BackfillState.RUNNING:
                raise ConflictError("backfill", backfill_id, f"it is {before.state.value}, not running")
            if not before.range_start <= reached <= before.range_end:
                raise BadInputError("reached", reached, "a time of the range")
            row = self.one(
                "UPDATE export_backfill SET reached = max(reached, ?), rows_sent = rows_sent + ?"
                " WHERE id = ? RETURNING *",
                reached,
                rows,
                backfill_id,
            )
        return _backfill(row or {})

    @ray.method
    def move_backfill(self, backfill_id: int, state: BackfillState, error: str | None = None) -> Backfill:
        """Start, end, fail, cancel or try a backfill again. Raises NotFoundError and ConflictError."""
        with self.transaction():
            before = self._backfill(backfill_id)
            if not may_become(before.state, state):
                reason = f"it is {before.state.value} and can't become {state.value}"
                raise ConflictError("backfill", backfill_id, reason)
            over = state not in {BackfillState.QUEUED, BackfillState.RUNNING}
            row = self.one(
                "UPDATE export_backfill SET state = ?, error = ?, finished_at = max(?, requested_at)"
                " WHERE id = ? RETURNING *",
                state.value,
                error,
                self.clock() if over else None,
                backfill_id,
            )
            self.config_moved()
        return _backfill(row or {})

    @ray.method
    def backfill(self, backfill_id: int) -> Backfill:
        """Give one backfill. Raises NotFoundError."""
        return self._backfill(backfill_id)

    @ray.method
    def backfills(
        self,
        target_id: int | None = None,
        state: BackfillState | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Backfill], str | None]:
        """Give backfills, newest first. Raises BadInputError."""
        rows, after = self.page_of(
            "SELECT * FROM export_backfill",
            {"target_id = ?": target_id, "state = ?": state},
            limit,
            cursor,
            newest_first=True,
        )
        return [_backfill(row) for row in rows], after

    # Within

    def _row(self, target_id: int) -> Row:
        row = self.one("SELECT * FROM export_target WHERE id = ?", target_id)
        if row is None:
            raise NotFoundError("export target", target_id)
        return row

    def _backfill(self, backfill_id: int) -> Backfill:
        row = self.one("SELECT * FROM export_backfill WHERE id = ?", backfill_id)
        if row is None:
            raise NotFoundError("backfill", backfill_id)
        return _backfill(row)

    def _sealed(self, new: NewTarget) -> str | None:
        return None if new.password is None else self._secrets.seal(new.password.get_secret_value())


def _columns(new: NewTarget) -> tuple[Any, ...]:
    return (
        new.name,
        new.connection.kind,
        new.connection.model_dump_json(),
        new.selection.model_dump_json(),
        new.batch_size,
        int(new.live),
        int(new.enabled),
    )


def _target(row: Row) -> Target:
    return Target.model_validate(
        row
        | {
            "connection": CONNECTION.validate_json(row["connection"]),
            "selection": Selection.model_validate_json(row["selection"]),
            "has_password": row["secret"] is not None,
            "live": bool(row["live"]),
            "enabled": bool(row["enabled"]),
        }
    )


def _backfill(row: Row) -> Backfill:
    part = (row["reached"] - row["range_start"]) / (row["range_end"] - row["range_start"])
    return Backfill.model_validate(row | {"progress": part})
