"""Turn frames that wait into chunks, a little with each append, so that no append waits long."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

import numpy as np

from actors.core.sqlite import Bindings, Row
from actors.history import chunks
from actors.history.chunks import COLUMNS, MOST, Chunk
from actors.history.columns import Columns, in_order, join, take
from actors.history.queries import BODY
from actors.history.tail import Tail

ROUND: Final = 4_096
"""Samples that wait at least before they are packed."""
EACH: Final = 512
"""Samples of each series that wait on average before they are packed."""
_SMALL: Final = MOST // 2
"""Chunks of fewer samples at a series' end are merged once they fill a whole one."""

_INSERT: Final = f"INSERT INTO chunk ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608


class Chunks(Protocol):
    """The file in which the chunks are, as a Store offers it."""

    def all(self, sql: str, *values: Any) -> list[Row]:
        """Run one statement and give its rows."""

    def run(self, sql: str, *values: Any) -> int:
        """Run one statement."""

    def many(self, sql: str, rows: Sequence[Bindings]) -> int:
        """Run one statement for each row."""

    def transaction(self) -> AbstractContextManager[object]:
        """Commit everything inside at once, or nothing."""


class Packer:
    """Pack the tail in rounds.

    A round compresses all frames that waited when it began, series by series, in memory. Then one transaction
    writes the chunks and deletes the frames, so that every sample is in one place at any time, also after a
    crash. Small chunks at the end of a series are merged afterwards. Late samples are merged into the chunk
    that they belong to.
    """

    def __init__(self, store: Chunks, tail: Tail) -> None:
        """Take whose chunks these are, and the frames that wait."""
        self._store, self._tail = store, tail
        self._job: Iterator[int] | None = None
        self._credit = 0
        self.trouble: str | None = None
        """Why the last round did not end well."""
        self._next = ROUND
        self._ends: dict[int, int] = {}
        """Time of the last sample in the chunks of each series, where known."""
        self._small: dict[int, int] = {}
        """Samples in the small chunks at the end of each series, where known."""

    def step(self, rows: int) -> None:
        """Do work worth about so many samples, if there is any. Raises StorageError; then it starts anew."""
        if self._job is None:
            if self._tail.rows < self._next or not self._due():
                return
            self._job, self._credit = self._round(), 0
        self._credit += rows
        while self._credit > 0 and self._job is not None:
            self._advance()

    def finish(self) -> None:
        """Bring the round that is under way to its end. Raises StorageError."""
        while self._job is not None:
            self._advance()

    def everything(self) -> None:
        """Pack all that waits, and merge small chunks whatever they fill. Raises StorageError."""
        self.finish()
        if self._tail.rows:
            self._job = self._round()
            self.finish()
        for row in self._store.all(
            "SELECT series_id FROM chunk WHERE count < ? GROUP BY series_id HAVING count(*) > 1", _SMALL
        ):
            for _ in self._merge(row["series_id"], least=1):
                pass

    def place(self, series: int, columns: Columns) -> None:
        """Write new samples in order of time straight into chunks, while no round is under way."""
        with self._store.transaction():
            made, gone = self._chunks(series, columns, quick=False)
            self._write(made, gone)
        self._ends.pop(series, None)
        for _ in self._merge(series):
            pass

    @property
    def busy(self) -> bool:
        """Tell whether a round is under way, which has read chunks that it will replace."""
        return self._job is not None

    def replace(self, chunk: int, series: int, columns: Columns) -> None:
        """Write some of a chunk's samples in its place, while no round is under way."""
        with self._store.transaction():
            self._write([chunks.encode(series, columns)], [chunk])
        self._ends.pop(series, None)
        self._small.pop(series, None)

    def forget(self) -> None:
        """Drop what is remembered of chunks that others changed, or that were not written after all."""
        self._ends.clear()
        self._small.clear()

    def _advance(self) -> None:
        job = self._job
        if job is None:
            return
        try:
            self._credit -= next(job)
        except StopIteration:
            self._job = self.trouble = None
        except BaseException as error:
            self._job, self.trouble = None, str(error)
            self._next = self._tail.rows + ROUND
            raise

    def _due(self) -> bool:
        breadth = len(np.unique(self._tail.whole()[0]))
        self._next = max(ROUND, EACH * breadth)
        return self._tail.rows >= self._next

    def _round(self) -> Iterator[int]:
        """Do one round; gives after each part what it was worth, in samples."""
        through = self._tail.newest
        series, columns = self._tail.whole()
        narrow = series.astype(np.uint16) if len(series) and series.max() < 2**16 else series
        order = np.argsort(narrow, kind="stable")
        ids, starts = np.unique(series[order], return_index=True)
        yield len(series) // 16
        made: list[Chunk] = []
        gone: list[int] = []
        sizes: dict[int, int] = {}
        ends: dict[int, int] = {}
        for one, rows in zip(ids.tolist(), np.split(order, starts[1:]), strict=True):
            mine = in_order(take(columns, rows))
            fresh, old = self._chunks(one, mine, quick=True)
            made += fresh
            gone += old
            sizes[one] = len(rows)
            ends[one] = int(mine.times[-1])
            yield len(rows) + 64
        with self._store.transaction():
            self._write(made, gone)
            self._store.run("DELETE FROM frame WHERE id <= ?", through)
            self._store.run("UPDATE state SET packed = max(packed, ?)", through)
        self._tail.drop(through)
        for one, end in ends.items():
            self._ends[one] = max(end, self._ends[one]) if one in self._ends else self._end(one)
        self._next = ROUND
        yield len(made)
        for one, size in sizes.items():
            if one in self._small:
                self._small[one] += size
            else:
                self._small[one] = sum(row["count"] for row in self._ending(one))
            if self._small[one] >= MOST:
                yield from self._merge(one)

    def _write(self, made: list[Chunk], gone: list[int]) -> None:
        if gone:
            self._store.many("DELETE FROM chunk WHERE id = ?", [(each,) for each in gone])
        self._store.many(_INSERT, made)

    def _ending(self, series: int) -> list[Row]:
        """Give the small chunks at the end of a series, newest first."""
        found: list[Row] = []
        rows = self._store.all(
            "SELECT id, count FROM chunk WHERE series_id = ? ORDER BY first_time DESC LIMIT 200", series
        )
        for row in rows:
            if row["count"] >= _SMALL:
                break
            found.append(row)
        return found

    def _end(self, series: int) -> int:
        [row] = self._store.all(
            "SELECT last_time FROM chunk WHERE series_id = ? ORDER BY first_time DESC LIMIT 1", series
        )
        return int(row["last_time"])

    def _merge(self, series: int, *, least: int = MOST) -> Iterator[int]:
        """Merge the small chunks at the end of a series when they have so many samples."""
        small = self._ending(series)
        total = sum(row["count"] for row in small)
        if total >= least and len(small) > 1:
            parts = [self._read(row["id"]) for row in reversed(small)]
            yield total // 2
            pieces = chunks.split(join(parts))
            made = [chunks.encode(series, each) for each in pieces]
            with self._store.transaction():
                self._write(made, [row["id"] for row in small])
            total = len(pieces[-1].times) if len(pieces[-1].times) < _SMALL else 0
            yield total // 2
        self._small[series] = total

    def _chunks(self, series: int, columns: Columns, *, quick: bool) -> tuple[list[Chunk], list[int]]:
        """Give the chunks that samples become, and those that these replace."""
        times = columns.times
        if self._ends.get(series, times[0]) < times[0]:
            return [chunks.encode(series, each, quick=quick) for each in chunks.split(columns)], []
        owners = self._store.all(
            "SELECT id, first_time, last_time FROM chunk WHERE series_id = ?1 AND first_time <= ?3"
            " AND first_time >= ifnull("
            "(SELECT max(first_time) FROM chunk WHERE series_id = ?1 AND first_time <= ?2), ?2)"
            " ORDER BY first_time",
            series,
            int(times[0]),
            int(times[-1]),
        )
        if not owners or (len(owners) == 1 and owners[0]["last_time"] < times[0]):
            return [chunks.encode(series, each, quick=quick) for each in chunks.split(columns)], []
        made: list[Chunk] = []
        gone: list[int] = []
        begins = np.searchsorted(times, [row["first_time"] for row in owners])
        if begins[0]:
            before = take(columns, slice(0, begins[0]))
            made += [chunks.encode(series, each) for each in chunks.split(before)]
        ends = [*begins[1:], len(times)]
        for row, begin, end in zip(owners, begins, ends, strict=True):
            if begin == end:
                continue
            mine = take(columns, slice(begin, end))
            if row["last_time"] >= mine.times[0]:
                gone.append(row["id"])
                mine = in_order(join([self._read(row["id"]), mine]))
            made += [chunks.encode(series, each) for each in chunks.split(mine)]
        return made, gone

    def _read(self, chunk: int) -> Columns:
        [row] = self._store.all(f"SELECT {BODY} FROM chunk WHERE id = ?", chunk)  # noqa: S608
        return chunks.decode(row)
