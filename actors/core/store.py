"""The base of every store: one SQLite file, one writer, events after each commit."""

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, Protocol, Self

import apsw
import ray

from actors.backup import files
from actors.backup.models import BackupFile
from actors.bus.events import Changed, Event, WatchMoved, event_json
from actors.core import sqlite
from actors.core.clock import Clock, now_ms, settled
from actors.core.errors import BadInputError, ConflictError, StorageError
from actors.core.health import Health, HealthState
from actors.core.sqlite import Bindings, Durability, Row


class Publishes(Protocol):
    """Takes an event for the bus. Doesn't wait, doesn't raise."""

    def __call__(self, event: Any, /) -> None:
        """Publish an event."""


class PublishesDurably(Publishes, Protocol):
    """Also takes events that must not be lost, and tells which have reached the journal."""

    def durably(self, key: str, event: bytes, kind: str) -> None:
        """Publish an event (JSON) of a type; the same key twice is the same event."""

    def confirmed(self) -> list[str]:
        """Give the keys that have reached the journal since this was last asked."""


def nobody(event: Any, /) -> None:
    """Publish to nobody: for stores that nobody follows."""


OWN_TABLES = """
    CREATE TABLE IF NOT EXISTS config_version (version INTEGER NOT NULL) STRICT;
    INSERT INTO config_version SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM config_version);
    CREATE TABLE IF NOT EXISTS event_outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        type TEXT NOT NULL,
        event TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS retention_clock (at INTEGER NOT NULL) STRICT;
"""
"""What the base keeps in every file: the configuration's version, events that the journal hasn't yet, and how
far retention has come."""


class Store:
    """Own `<name>.db` in `folder`: lock, check, migrate; one writer; publish after commit.

    Faults: a crash loses nothing that a method has returned (durability `FULL`) or at most what the operating
    system had not written at a power cut (`NORMAL`). Events are written to an outbox in the transaction of
    their change and sent until the journal has them, also after a crash: then one may arrive twice. A damaged
    file is set aside, the newest backup takes its place, and the store reports itself degraded. A full disk
    raises StorageError and changes nothing.

    A store that is `watched` has a configuration that others follow: `config_moved` gives it a new version
    and moves the watch cell of the store's name. Versions come from the clock and only rise, so that a file
    that came back from a backup never shows followers a version that they have seen with other content.
    """

    name: ClassVar[str]
    migrations: ClassVar[Sequence[str]]
    durability: ClassVar[Durability] = Durability.FULL
    watched: ClassVar[bool] = False

    def __init__(self, folder: Path | str, publish: Publishes = nobody, clock: Clock = now_ms) -> None:
        """Open the file. Raises AlreadyOwnedError, NewerFileError and StorageError."""
        self.path = Path(folder) / f"{self.name}.db"
        self.clock = clock
        self._steady_at = monotonic()
        self._send = publish
        self._durable: PublishesDurably | None = publish if hasattr(publish, "durably") else None  # type: ignore[assignment]
        self._pending: list[tuple[str | None, Any]] = []
        self._confirmed: list[str] = []
        """Keys that the journal has and whose deletion isn't committed yet."""
        self._depth = 0
        self._wrong: list[str] = []
        self._lock = sqlite.lock(self.path, self.name)
        try:
            with sqlite.plain_errors(self.name):
                self._check()
                self.db = sqlite.connect(self.path, self.durability)
                sqlite.migrate(self.db, self.path, self.name, self.migrations, files.back_up)
                self.db.execute(OWN_TABLES).fetchall()
            self._resume()
            self.opened()
        except BaseException:
            self._lock.close()
            raise

    def opened(self) -> None:
        """Do what a store does once its file is ready, such as filling a cache."""

    def _resume(self) -> None:
        """Send what a crash cut off, and show followers the version of this start."""
        if self._durable is not None:
            for row in self.all("SELECT key, type, event FROM event_outbox ORDER BY id"):
                self._durable.durably(row["key"], row["event"].encode(), row["type"])
        if self.watched:
            if self._wrong:
                self.config_moved()
            self._send(WatchMoved(cell=self.name, version=self.version()))

    def _check(self) -> None:
        """See that the file is sound; else, or where it is gone though there are backups, use the newest."""
        wrong = sqlite.damage(self.path)
        gone = not self.path.exists() and bool(files.backups(self.path))
        if wrong is None and not gone:
            return
        backup, aside = files.restore_newest(self.path)
        came = (
            f"restored from {backup.name}; later changes are lost"
            if backup
            else "no sound backup: it starts empty"
        )
        told = f"was damaged ({wrong}), set aside as {aside.name}" if aside else "was missing"
        self._wrong.append(f"{self.path.name} {told}, {came}")

    # Statements

    def all(self, sql: str, *values: Any) -> list[Row]:
        """Run one statement and give its rows."""
        with sqlite.plain_errors(self.name):
            return self.db.execute(sql, values).fetchall()  # type: ignore[return-value]

    def one(self, sql: str, *values: Any) -> Row | None:
        """Run one statement and give its first row, or None."""
        rows = self.all(sql, *values)
        return rows[0] if rows else None

    def run(self, sql: str, *values: Any) -> int:
        """Run one statement and give the number of rows that it changed."""
        with sqlite.plain_errors(self.name):
            before = self.db.total_changes()
            self.db.execute(sql, values).fetchall()
            return self.db.total_changes() - before

    def many(self, sql: str, rows: Sequence[Bindings]) -> int:
        """Run one statement for each row and give the number of rows changed."""
        with sqlite.plain_errors(self.name):
            before = self.db.total_changes()
            self.db.executemany(sql, rows)
            return self.db.total_changes() - before

    def page_of(
        self,
        select: str,
        filters: Mapping[str, Any],
        limit: int,
        cursor: str | None,
        *,
        newest_first: bool = False,
    ) -> tuple[list[Row], str | None]:
        """Give one page of a list in order of `id`, and the cursor of the next page or None.

        `filters` are conditions with one `?` each and their values; those whose value is None stay out of the
        statement, so that SQLite can take the index of those that are asked for. Raises BadInputError.
        """
        clause, values = conditions(filters)
        than, order, first = ("<", "DESC", END) if newest_first else (">", "ASC", 0)

        def read(after: int, most: int) -> list[Row]:
            return self.all(
                f"{select} WHERE id {than} ?{clause} ORDER BY id {order} LIMIT ?",
                after or first,
                *values,
                most,
            )

        return page(cursor, limit, read)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Self]:
        """Commit everything inside at once, or nothing. Events wait for the commit. May be nested."""
        if self._depth:
            self._depth += 1
            try:
                yield self
            finally:
                self._depth -= 1
            return
        with sqlite.plain_errors(self.name):
            self.db.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield self
            self._sweep()
            with sqlite.plain_errors(self.name):
                self.db.execute("COMMIT")
        except BaseException:
            self._pending.clear()
            # A full disk may already have rolled back by itself; then there is no transaction to end.
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise
        finally:
            self._depth = 0
        self._confirmed.clear()
        waiting, self._pending = self._pending, []
        for key, event in waiting:
            if key is not None and self._durable is not None:
                self._durable.durably(key, event_json(event), event.type)
            else:
                self._send(event)

    def publish(self, event: Event | WatchMoved | Changed) -> None:
        """Send an event after the commit; inside a transaction only, so that change and event go together."""
        if not self._depth:
            raise RuntimeError(f"{self.name}: {event!r} was published outside a transaction")
        key: str | None = None
        if self._durable is not None and isinstance(event, Event):
            key = uuid.uuid4().hex
            self.db.execute(
                "INSERT INTO event_outbox (key, type, event) VALUES (?, ?, ?)",
                (key, event.type, event_json(event).decode()),
            )
        self._pending.append((key, event))

    def _sweep(self) -> None:
        """Forget the events that the journal has."""
        if self._durable is not None:
            self._confirmed += self._durable.confirmed()
        if self._confirmed:
            self.many("DELETE FROM event_outbox WHERE key = ?", [(key,) for key in self._confirmed])

    def version(self) -> int:
        """Give the version of the configuration."""
        row = self.one("SELECT version FROM config_version")
        return int(row["version"]) if row else 0

    def config_moved(self) -> int:
        """Give the configuration a new version and move the watch cell after the commit."""
        with self.transaction():
            row = self.one(
                "UPDATE config_version SET version = max(version + 1, ?) RETURNING version", self.clock()
            )
            version = int(row["version"]) if row else 0
            self.publish(WatchMoved(cell=self.name, version=version))
        return version

    def retention_time(self) -> int:
        """Give the time (ms) that retention counts back from, inside a transaction: see `settled`.

        So a clock that jumps ahead for a moment doesn't make this store delete what isn't old.
        """
        row = self.one("SELECT at FROM retention_clock")
        passed = monotonic()
        elapsed = round((passed - self._steady_at) * 1000)
        at, reached = settled(self.clock(), row["at"] if row else None, elapsed)
        self._steady_at = passed
        if row is None and reached is not None:
            self.run("INSERT INTO retention_clock VALUES (?)", reached)
        elif row is not None and reached != row["at"]:
            self.run("UPDATE retention_clock SET at = ?", reached)
        return at

    # What every store can be asked

    @ray.method
    def health(self) -> Health:
        """Say how the store is: degraded when it came up from a backup or when its file can't be read."""
        reasons = list(self._wrong)
        try:
            self.all("SELECT 1")
            with self.transaction():
                pass  # commits nothing but forgets which events the journal has
        except StorageError as error:
            return Health(name=self.name, state=HealthState.DOWN, reasons=[str(error)], pid=os.getpid())
        state = HealthState.DEGRADED if reasons else HealthState.HEALTHY
        return Health(name=self.name, state=state, reasons=reasons, pid=os.getpid())

    @ray.method
    def config_version(self) -> int:
        """Give the version of the configuration; it rises with each change."""
        return self.version()

    @ray.method
    def backups(self) -> list[BackupFile]:
        """List the backups of this store, newest first; BackupScheduler makes them beside this process."""
        return [files.told_of(each) for each in files.backups(self.path)]

    @ray.method
    def close(self) -> None:
        """Write the WAL back into the file and let go of it. A second call does nothing."""
        if self._lock.closed:
            return
        with contextlib.suppress(apsw.BusyError):
            self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self.db.close()
        self._lock.close()


@contextlib.contextmanager
def unique(kind: str, key: object) -> Iterator[None]:
    """Say in plain words that a name is taken: turns SQLite's unique constraint into ConflictError."""
    try:
        yield
    except apsw.ConstraintError as error:
        if getattr(error, "extendedresult", None) not in {
            apsw.SQLITE_CONSTRAINT_UNIQUE,
            apsw.SQLITE_CONSTRAINT_PRIMARYKEY,
        }:
            raise
        raise ConflictError(kind, key, f"there is a {kind} of this name already") from error


def conditions(filters: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Give the conditions whose value isn't None, each after ` AND `, and the values in their order."""
    asked = {sql: value for sql, value in filters.items() if value is not None}
    return "".join(f" AND {sql}" for sql in asked), list(asked.values())


def any_of(column: str, values: Sequence[str] | None, *, few: bool) -> dict[str, str | None]:
    """Give the condition that a column has one of some values, for `page_of` and `conditions`.

    One value is looked up in its index, which is in order of `id`. Of several, rows that are `few` are looked
    up and sorted; many are walked in the list's order, since sorting them would read them all for each page.
    """
    if values is None:
        return {}
    if len(values) == 1:
        return {f"{column} = ?": values[0]}
    walked = "" if few else "+"
    return {f"{walked}{column} IN (SELECT value FROM json_each(?))": json.dumps(list(values))}  # noqa: S608


def of_site(column: str) -> str:
    """Give the condition that a list of sites (JSON) names a site, or none, which means all."""
    return f"({column} = '[]' OR EXISTS (SELECT 1 FROM json_each({column}) WHERE value = ?))"  # noqa: S608


def page(
    cursor: str | None, limit: int, read: Callable[[int, int], list[Row]]
) -> tuple[list[Row], str | None]:
    """Give one page of a list in order of its integer key, and the cursor of the next page or None.

    `read(after, n)` gives at most `n` rows whose column `id` is past `after`, in order. Raises BadInputError.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise BadInputError("limit", limit, f"1 to {MAX_PAGE}")
    try:
        after = int(cursor) if cursor else 0
    except ValueError:
        raise BadInputError("cursor", cursor, "the next_cursor of an earlier answer") from None
    if not 0 <= after < 2**63:
        raise BadInputError("cursor", cursor, "the next_cursor of an earlier answer")
    rows = read(after, limit + 1)
    more = len(rows) > limit
    return rows[:limit], str(rows[limit - 1]["id"]) if more else None


END = 2**63 - 1
"""No record has this id or a larger one."""
MAX_PAGE = 1000
"""Most items that one page of a list may have."""
