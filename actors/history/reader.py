"""A second actor on the history file that only reads, so that long reads hold up nobody who writes."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import ray

from actors.core import sqlite
from actors.core.clock import Clock, now_ms
from actors.core.errors import StorageError
from actors.core.health import Health, HealthState
from actors.core.sqlite import Row
from actors.history.columns import unpack_frame
from actors.history.queries import HistoryQueries
from actors.history.tail import Tail

NAME = "history_reader"


class HistoryReader(HistoryQueries):
    """Answer what the history store answers, from its file, which it can't change.

    Each answer is of one moment, and sees all that was committed before it. The store may restart, or its
    file be replaced, at any time. While there is no file that can be read, every call raises StorageError.
    """

    def __init__(self, folder: Path | str, clock: Clock = now_ms) -> None:
        """Take where the store's file is or will be; it is opened with the first question."""
        self.path = Path(folder) / "history.db"
        self.clock = clock
        self._db: apsw.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._forget()

    def _forget(self) -> None:
        self._series = {}
        self._tail = Tail()
        self._packed = 0

    def all(self, sql: str, *values: Any) -> list[Row]:
        """Run one statement and give its rows."""
        if self._db is None:
            raise StorageError(NAME, f"{self.path} is not open")
        with sqlite.plain_errors(NAME):
            return self._db.execute(sql, values).fetchall()  # type: ignore[return-value]

    def one(self, sql: str, *values: Any) -> Row | None:
        """Run one statement and give its first row, or None."""
        rows = self.all(sql, *values)
        return rows[0] if rows else None

    @contextlib.contextmanager
    def _view(self) -> Iterator[None]:
        self._open()
        self.all("BEGIN")
        try:
            self._follow()
            yield
        finally:
            self.all("COMMIT")

    def _open(self) -> None:
        """Open the file, again when another one has taken its place."""
        try:
            found = os.stat(self.path)
        except OSError as error:
            self._let_go()
            raise StorageError(NAME, f"{self.path} can't be read: {error.strerror}") from error
        if self._db is not None and self._file == (found.st_dev, found.st_ino):
            return
        self._let_go()
        with sqlite.plain_errors(NAME):
            db = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
            db.set_busy_timeout(5000)
            db.row_trace = sqlite.as_dict
        self._db, self._file = db, (found.st_dev, found.st_ino)

    def _follow(self) -> None:
        """Take over what the store has written since the last question."""
        row = self.one(
            "SELECT packed, (SELECT max(id) FROM frame) AS frame, (SELECT max(id) FROM series) AS series"
            " FROM state"
        )
        if row is None:
            raise StorageError(NAME, f"{self.path} is being made")
        if row["packed"] > self._packed:
            self._packed = row["packed"]
            self._tail.drop(self._packed)
        if (row["frame"] or 0) > self._tail.newest:
            frames = self.all("SELECT id, body FROM frame WHERE id > ? ORDER BY id", self._tail.newest)
            for each in frames:
                self._tail.add(each["id"], *unpack_frame(each["body"]))
        if (row["series"] or 0) > max(self._series.values(), default=0):
            self._series = {
                each["point_id"]: each["id"] for each in self.all("SELECT id, point_id FROM series")
            }

    @ray.method
    def health(self) -> Health:
        """Say whether the file can be read."""
        try:
            with self._view():
                return Health(name=NAME, pid=os.getpid())
        except StorageError as error:
            return Health(name=NAME, state=HealthState.DEGRADED, reasons=[str(error)], pid=os.getpid())

    @ray.method
    def close(self) -> None:
        """Let go of the file; the next question opens it again."""
        self._let_go()

    def _let_go(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = self._file = None
        self._forget()
