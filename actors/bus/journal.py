"""The journal of a site: every low-rate event, numbered without holes, kept for those who come later."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import ray
from pydantic import BaseModel

from actors.bus.events import EVENT_TYPES, HIGH_RATE
from actors.core.clock import Timestamp
from actors.core.errors import BadInputError, NotFoundError
from actors.core.sqlite import Durability, Row
from actors.core.store import MAX_PAGE, Store, any_of, conditions

JOURNALED = tuple(sorted(set(EVENT_TYPES) - HIGH_RATE))
"""The types of event that are journaled."""

KEEP = 30 * 86_400_000
"""Milliseconds that events are kept for everybody."""
KEEP_UNREAD = 180 * 86_400_000
"""Milliseconds that events are kept for a subscriber that has not acknowledged them."""
KEEP_EVENTS = 1_000_000
"""Events kept at most, whoever still wants them: a journal must not fill a building's disk."""
PRUNE_EVERY = 1_000
"""Events between two looks at what is too old."""

MIGRATIONS = (
    """
    CREATE TABLE journal_event (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        type TEXT NOT NULL,
        at INTEGER NOT NULL,
        event TEXT NOT NULL
    ) STRICT;
    CREATE INDEX journal_event_by_time ON journal_event (at, seq);
    CREATE INDEX journal_event_by_type ON journal_event (type, seq);
    CREATE TABLE journal_subscriber (
        name TEXT PRIMARY KEY,
        types TEXT,
        acknowledged INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        acknowledged_at INTEGER
    ) STRICT, WITHOUT ROWID;
    """,
)


class Entry(NamedTuple):
    """An event as it is to be journaled: a key that stays the same when it is sent again, type and JSON."""

    key: str
    type: str
    event: bytes


class Journaled(NamedTuple):
    """An event of the journal: number, type, time of entry (ms) and JSON without site and number."""

    seq: int
    type: str
    at: int
    event: str


class Batch(NamedTuple):
    """Part of the journal in order: `after` is where to read on, `lost` how many are no longer kept."""

    entries: list[Journaled]
    after: int
    lost: int


class Subscription(BaseModel):
    """A durable subscription: what it asks for and how far it has acknowledged."""

    name: str
    types: list[str] | None
    acknowledged: int
    behind: int
    """Events in the journal past the acknowledged one, of any type."""
    created_at: Timestamp
    acknowledged_at: Timestamp | None


class JournalStore(Store):
    """Keep events of a site in the order in which they came, each once.

    An event that is sent again under its key keeps its number. Numbers rise by one and are never given twice,
    also after pruning. Faults: whoever got numbers back has its events on disk; whoever didn't sends again.
    A clock that goes backwards changes times of entry, never the order.
    """

    name: ClassVar[str] = "journal"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL

    def opened(self) -> None:
        """Look how far the journal has come."""
        self._unpruned = PRUNE_EVERY

    @ray.method
    def append(self, entries: Sequence[Entry]) -> list[int]:
        """Add events, all or none, and give their numbers in the same order. Raises StorageError."""
        now = self.clock()
        numbers: list[int] = []
        fresh = 0
        with self.transaction():
            last = self._last()
            for key, kind, event in entries:
                found = self.one("SELECT seq FROM journal_event WHERE key = ?", key)
                if found is None:
                    last += 1
                    fresh += 1
                    self.run(
                        "INSERT INTO journal_event (seq, key, type, at, event) VALUES (?, ?, ?, ?, ?)",
                        last,
                        key,
                        kind,
                        now,
                        event.decode(),
                    )
                numbers.append(found["seq"] if found else last)
        self._unpruned += fresh
        if self._unpruned >= PRUNE_EVERY:
            self._prune()
        return numbers

    @ray.method
    def read(self, after: int, limit: int = MAX_PAGE, types: Sequence[str] | None = None) -> Batch:
        """Give events past the number `after` in order, of all or of some types. Raises BadInputError."""
        if not 1 <= limit <= MAX_PAGE:
            raise BadInputError("limit", limit, f"1 to {MAX_PAGE}")
        last = self._last()
        if not 0 <= after <= last:
            raise BadInputError(
                "after", after, f"0 to {last}, the newest number (the journal may come from a backup)"
            )
        rows = self._rows(after, any_of("type", _types(types), few=False), limit)
        lost = max(0, self._first() - 1 - after)
        following = rows[-1]["seq"] if len(rows) == limit else last
        return Batch([_journaled(row) for row in rows], following, lost)

    @ray.method
    def replay(
        self,
        start: int | None = None,
        end: int | None = None,
        types: Sequence[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Journaled], str | None]:
        """Give events that came in [start, end) ms, in order of their numbers. Raises BadInputError."""
        if not 1 <= limit <= MAX_PAGE:
            raise BadInputError("limit", limit, f"1 to {MAX_PAGE}")
        if start is not None and end is not None and start >= end:
            raise BadInputError("end", end, "a time after start")
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            raise BadInputError("cursor", cursor, "the next_cursor of an earlier answer")
        filters = {"at >= ?": start, "at < ?": end} | any_of("type", _types(types), few=False)
        rows = self._rows(int(cursor or 0), filters, limit + 1)
        more = len(rows) > limit
        del rows[limit:]
        return [_journaled(row) for row in rows], str(rows[-1]["seq"]) if more else None

    @ray.method
    def bounds(self) -> tuple[int, int]:
        """Give the numbers of the oldest event that is kept and of the newest that there was."""
        return self._first(), self._last()

    # Durable subscriptions

    @ray.method
    def subscribe(
        self, name: str, types: Sequence[str] | None = None, after: int | None = None
    ) -> Subscription:
        """Make a durable subscription, or find the one of this name, which keeps its place.

        A new one begins after the number `after`, or at the newest event. `types` replaces what was asked for
        before. Raises BadInputError.
        """
        if not 1 <= len(name) <= 100 or not name.isprintable():
            raise BadInputError("name", name, "1 to 100 printable characters")
        wanted = _types(types)
        last = self._last()
        begin = last if after is None else after
        if not 0 <= begin <= last:
            raise BadInputError("after", after, f"0 to {last}, the newest number")
        with self.transaction():
            row = self.one(
                "INSERT INTO journal_subscriber (name, types, acknowledged, created_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET types = excluded.types RETURNING *",
                name,
                None if wanted is None else json.dumps(wanted),
                begin,
                self.clock(),
            )
        return self._subscription(row or {})

    @ray.method
    def acknowledge(self, name: str, seq: int) -> Subscription:
        """Note that a subscriber has worked off everything up to `seq`; an older number changes nothing.

        Raises NotFoundError and BadInputError.
        """
        if not 0 <= seq <= self._last():
            raise BadInputError("seq", seq, f"0 to {self._last()}, the newest number")
        with self.transaction():
            row = self.one(
                "UPDATE journal_subscriber SET acknowledged = max(acknowledged, ?), acknowledged_at = ?"
                " WHERE name = ? RETURNING *",
                seq,
                self.clock(),
                name,
            )
            if row is None:
                raise NotFoundError("subscription", name)
        return self._subscription(row)

    @ray.method
    def subscription(self, name: str) -> Subscription:
        """Give one subscription. Raises NotFoundError."""
        row = self.one("SELECT * FROM journal_subscriber WHERE name = ?", name)
        if row is None:
            raise NotFoundError("subscription", name)
        return self._subscription(row)

    @ray.method
    def subscriptions(self) -> list[Subscription]:
        """Give all subscriptions by name."""
        return [self._subscription(row) for row in self.all("SELECT * FROM journal_subscriber ORDER BY name")]

    @ray.method
    def unsubscribe(self, name: str) -> None:
        """Forget a subscription. Raises NotFoundError."""
        with self.transaction():
            if not self.run("DELETE FROM journal_subscriber WHERE name = ?", name):
                raise NotFoundError("subscription", name)

    # Within

    def _rows(self, after: int, filters: Mapping[str, Any], most: int) -> list[Row]:
        clause, values = conditions(filters)
        return self.all(
            f"SELECT seq, type, at, event FROM journal_event WHERE seq > ?{clause} ORDER BY seq LIMIT ?",  # noqa: S608
            after,
            *values,
            most,
        )

    def _subscription(self, row: Row) -> Subscription:
        return Subscription(
            name=row["name"],
            types=None if row["types"] is None else json.loads(row["types"]),
            acknowledged=row["acknowledged"],
            behind=max(0, self._last() - row["acknowledged"]),
            created_at=row["created_at"],
            acknowledged_at=row["acknowledged_at"],
        )

    def _last(self) -> int:
        row = self.one("SELECT seq FROM sqlite_sequence WHERE name = 'journal_event'")
        return int(row["seq"]) if row else 0

    def _first(self) -> int:
        row = self.one("SELECT min(seq) AS first FROM journal_event")
        return self._last() + 1 if row is None or row["first"] is None else int(row["first"])

    def _prune(self) -> None:
        """Delete what is too old: sooner where every subscriber has acknowledged it, later where not."""
        self._unpruned = 0
        last = self._last()
        row = self.one("SELECT min(acknowledged) AS seen FROM journal_subscriber")
        seen = last if row is None or row["seen"] is None else int(row["seen"])
        with self.transaction():
            now = self.retention_time()
            self.run("DELETE FROM journal_event WHERE seq <= ?", min(self._old(now - KEEP), seen))
            old = max(self._old(now - KEEP_UNREAD), last - KEEP_EVENTS)
            self.run("DELETE FROM journal_event WHERE seq <= ?", old)

    def _old(self, before: int) -> int:
        """Give the number up to which events came before a time.

        Events go in the order in which they came: what came under a clock that was set back isn't older than
        what came before it. What came from the future doesn't hold up what came after it.
        """
        row = self.one(
            "SELECT seq FROM journal_event AS event WHERE at >= ?1 AND (at <= ?2 OR NOT EXISTS"
            " (SELECT 1 FROM journal_event AS later WHERE later.seq > event.seq AND later.at < ?1))"
            " ORDER BY seq LIMIT 1",
            before,
            self.clock(),
        )
        return int(row["seq"]) - 1 if row else 0


def _types(types: Sequence[str] | None) -> list[str] | None:
    if types is None:
        return None
    unknown = sorted(set(types) - set(JOURNALED))
    if unknown:
        raise BadInputError("types", unknown[0], f"one of {', '.join(JOURNALED)}")
    return sorted(set(types))


def _journaled(row: Row) -> Journaled:
    return Journaled(row["seq"], row["type"], row["at"], row["event"])
