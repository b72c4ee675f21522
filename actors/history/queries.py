"""What history can be asked: the same of the store and of the reader beside it."""

import functools
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import numpy as np
import ray
from numpy.typing import NDArray

from actors.core.clock import Clock
from actors.core.errors import NotFoundError
from actors.core.sqlite import Row
from actors.history import chunks, columns, rollup
from actors.history.chunks import Cells
from actors.history.columns import Columns, Floats, Ints, between, in_order, join, to_values
from actors.history.gaps import GapKind
from actors.history.logic import check_limit, check_range, outside, stretches
from actors.history.models import Gap, Mode, Rollup, Sample, Series, SeriesConfig
from actors.history.rollup import Pieces
from actors.history.tail import Tail

USUAL: Final = 20
"""Samples before an interval by which is judged how far two are apart."""
HEAD: Final = "id, first_time, last_time, count"
BODY: Final = f"{HEAD}, times, numbers, kind, kinds, status, statuses, texts"
SUMS: Final = (
    "id, first_time, last_time, count, min, max, sum, first, last, integral, cells IS NOT NULL AS cells"
)
# Chunks of a series don't overlap, so the one that holds a time is the last that begins at or before it.
IN_RANGE: Final = """
    FROM chunk WHERE series_id = ?1 AND first_time < ?3 AND last_time >= ?2
        AND first_time >= ifnull(
            (SELECT max(first_time) FROM chunk WHERE series_id = ?1 AND first_time <= ?2), ?2)
    ORDER BY first_time
"""
BEFORE: Final = (
    f"SELECT {BODY} FROM chunk WHERE series_id = ? AND first_time < ? ORDER BY first_time DESC LIMIT 1"  # noqa: S608
)


class Arrays:
    """Samples as columns: times in ms (int64), values (float64, NaN where there is no number), flags (int32).

    Chunks travel to the caller as they are in the file, a twentieth of what they hold, and are read there
    with the first look at a column.
    """

    def __init__(self, packed: Sequence[Row], first: int, last: int, waiting: Columns) -> None:
        """Take the chunks over [first, last), and the samples in it that aren't packed."""
        self._packed, self._first, self._last, self._waiting = packed, first, last, waiting

    def __reduce__(self) -> tuple[Any, ...]:
        return Arrays, (self._packed, self._first, self._last, self._waiting)

    @functools.cached_property
    def _columns(self) -> Columns:
        return _read_chunks(self._packed, self._first, self._last, self._waiting)

    @property
    def times(self) -> Ints:
        """Times in ms, in order."""
        return self._columns.times

    @property
    def values(self) -> Floats:
        """The numbers; true is 1."""
        return self._columns.numbers

    @property
    def statuses(self) -> NDArray[np.int32]:
        """The status flags."""
        return self._columns.statuses


class Rollups(list[Rollup]):
    """Rollups in order of time, which travel as bare numbers: models take ten times as long."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rollups, ([tuple(vars(each).values()) for each in self],)


class HistoryQueries:
    """Read samples wherever they are: in chunks, and in frames that wait for packing."""

    clock: Clock
    _series: dict[str, int]
    _tail: Tail

    def all(self, sql: str, *values: Any) -> list[Row]:
        """Run one statement and give its rows."""
        raise NotImplementedError

    def one(self, sql: str, *values: Any) -> Row | None:
        """Run one statement and give its first row, or None."""
        raise NotImplementedError

    def _view(self) -> AbstractContextManager[object]:
        """Hold still what is read inside."""
        raise NotImplementedError

    @ray.method
    def read(
        self,
        point_id: str,
        start: int | None = None,
        end: int | None = None,
        limit: int = 1000,
        *,
        newest_first: bool = False,
    ) -> Series:
        """Give the samples of a point in [start, end), ms, in order of time.

        `limit` keeps the first ones, or with `newest_first` the last ones (in order of time too). Raises
        NotFoundError and BadInputError.
        """
        with self._view():
            return self._read(point_id, start, end, limit, newest_first=newest_first)

    @ray.method
    def read_last(self, point_id: str, start: int | None, end: int | None, limit: int) -> Series:
        """Give the last `limit` samples of a point in [start, end). Raises NotFoundError, BadInputError."""
        with self._view():
            return self._read(point_id, start, end, limit, newest_first=True)

    @ray.method
    def read_many(
        self, ids: list[str], start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Series]:
        """Give the last `limit` samples of each of several points; those without any history are empty."""
        check_limit(limit)
        check_range(start, end)
        with self._view():
            return [
                self._read(point_id, start, end, limit, newest_first=True)
                if point_id in self._series
                else Series(id=point_id, samples=[])
                for point_id in ids
            ]

    @ray.method
    def read_columns(
        self,
        point_id: str,
        start: int | None = None,
        end: int | None = None,
        limit: int = 100_000,
        newest: bool = False,
    ) -> tuple[Columns, bool]:
        """Give the first `limit` samples of a point in [start, end) with their types, and if there are more.

        With `newest` the last ones instead. A point without history has none. Raises BadInputError.
        """
        first, last = check_range(start, end)
        check_limit(limit)
        with self._view():
            series = self._series.get(point_id)
            if series is None:
                return columns.empty(), False
            found = self._some(series, first, last, limit + 1, newest=newest)
        if len(found.times) <= limit:
            return found, False
        return columns.take(found, slice(-limit, None) if newest else slice(0, limit)), True

    @ray.method
    def read_arrays(self, point_id: str, start: int | None = None, end: int | None = None) -> Arrays:
        """Give all samples of a point in [start, end) as columns, for charts and calculations.

        Raises NotFoundError and BadInputError.
        """
        first, last = check_range(start, end)
        with self._view():
            series = self._id(point_id)
            packed = self.all(f"SELECT {BODY} {IN_RANGE}", series, first, last)
            return Arrays(packed, first, last, self._tail.of(series, first, last))

    @ray.method
    def rollup(
        self, point_id: str, start: int, end: int, interval: int | str, zone: str = "UTC"
    ) -> list[Rollup]:
        """Sum up a point's numbers in [start, end) by intervals: ms, or a calendar unit (`day`, see Unit).

        `edges` in rollup.py says where intervals begin. Intervals without a number are left out. The
        time-weighted average lets every value hold until the next sample, at most until now. Raises
        NotFoundError and BadInputError.
        """
        check_range(start, end)
        bounds = rollup.edges(start, end, interval, zone)
        with self._view():
            pieces = self._pieces(self._id(point_id), start, end, bounds)
        if pieces is None:
            return []
        sums = rollup.sum_up(pieces, bounds, start, end, self.clock())
        return _rollups(
            (at, until, low, high, total / count, total, count, first, last, weighted)
            for at, until, low, high, total, count, first, last, weighted in zip(*sums, strict=True)
        )

    @ray.method
    def latest(self, ids: list[str]) -> dict[str, Sample]:
        """Give the last sample of each of some points; those without any are left out."""
        found: dict[str, Sample] = {}
        with self._view():
            for point_id in ids:
                series = self._series.get(point_id)
                last = None if series is None else self._last(series)
                if last is not None:
                    found[point_id] = _samples(last)[0]
        return found

    @ray.method
    def points(self) -> list[str]:
        """Give the ids of all points that have a history, also of those that are no longer there."""
        with self._view():
            there = {row["series_id"] for row in self.all("SELECT DISTINCT series_id FROM chunk")}
            there |= self._tail.counts().keys()
            return sorted(point_id for point_id, series in self._series.items() if series in there)

    @ray.method
    def count(self, point_id: str | None = None) -> int:
        """Count the samples of a point, or all. Raises NotFoundError."""
        with self._view():
            if point_id is None:
                row = self.one("SELECT total(count) AS n FROM chunk")
                return int(row["n"] if row else 0) + self._tail.rows
            series = self._id(point_id)
            row = self.one("SELECT total(count) AS n FROM chunk WHERE series_id = ?", series)
            return int(row["n"] if row else 0) + len(self._tail.of(series).times)

    @ray.method
    def gaps(self, point_id: str, start: int | None = None, end: int | None = None) -> list[Gap]:
        """Give what is known of intervals in [start, end) in which a point's samples were lost or came late.

        An interval that was lost, but has samples inside all the same, is late where these are: they came by
        another way. Points that are recorded by change have no usual distance of samples: one inside counts
        for the whole. What was filled from a device's own log is that alone, and lost only where the log
        doesn't reach.
        Raises NotFoundError and BadInputError.
        """
        first, last = check_range(start, end)
        with self._view():
            series = self._id(point_id)
            begin = self._first_time(series)
            rows = self.all(
                "SELECT * FROM gap WHERE ifnull(series_id, 0) IN (0, ?1) AND start_time < ?3"
                " AND ifnull(end_time, ?3) >= ?2 ORDER BY start_time, id",
                series,
                first,
                last,
            )
            filled = [
                (row["start_time"], row["end_time"]) for row in rows if row["kind"] == GapKind.BACKFILLED
            ]
            found = []
            for row in rows:
                until = row["end_time"]
                if until is not None and (begin is None or until <= begin):
                    continue  # the point wasn't there yet
                for part in self._left(row, filled):
                    times = self._columns(series, part[0] + 1, part[1]).times
                    for since, over, kind, count in self._stretches(
                        point_id, series, row["kind"], part, times
                    ):
                        still = until is None and over == part[1]
                        found.append(
                            Gap(
                                start=since,
                                end=None if still else over,
                                kind=kind,
                                reason=row["reason"],
                                every_point=row["series_id"] is None,
                                samples=count,
                            )
                        )
            return sorted(found, key=lambda gap: gap.start)

    def _left(self, row: Row, filled: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Give the parts of a row of the ledger that were not filled from a device's own log."""
        start, end = row["start_time"], row["end_time"]
        if end is None:
            return [(start, self.clock())]
        return [(start, end)] if row["kind"] == GapKind.BACKFILLED else outside((start, end), filled)

    def _stretches(
        self, point_id: str, series: int, noted: str, part: tuple[int, int], times: Ints
    ) -> list[tuple[int, int, GapKind, int]]:
        """Give what became of an interval of the ledger: (start, end, kind, samples inside) of each part."""
        (start, end), kind = part, GapKind(noted)
        if kind is not GapKind.LOST or not len(times):
            return [(start, end, kind, len(times))]
        around = self._some(series, 0, start + 1, USUAL, newest=True).times
        apart = np.diff(np.concatenate((around, times)))
        if self._config(point_id).mode is Mode.COV or len(apart) < 2:
            return [(start, end, GapKind.LATE, len(times))]
        cut = stretches(start, end, times.tolist(), int(np.median(apart)))
        return [
            (
                begin,
                until,
                GapKind.LOST if lost else GapKind.LATE,
                0 if lost else int(((times >= begin) & (times <= until)).sum()),
            )
            for begin, until, lost in cut
        ]

    @ray.method
    def config(self, point_id: str) -> SeriesConfig:
        """Say how a point is recorded; one that has no history yet as by default."""
        with self._view():
            return self._config(point_id)

    def _config(self, point_id: str) -> SeriesConfig:
        row = self.one("SELECT mode, interval, increment, retention FROM series WHERE point_id = ?", point_id)
        state = self.one("SELECT retention FROM state")
        made = row or {"mode": Mode.EVERY}
        return SeriesConfig(id=point_id, default_retention=state["retention"] if state else None, **made)

    # Wherever samples are

    def _id(self, point_id: str) -> int:
        found = self._series.get(point_id)
        if found is None:
            raise NotFoundError("history", point_id)
        return found

    def _read(
        self, point_id: str, start: int | None, end: int | None, limit: int, *, newest_first: bool
    ) -> Series:
        check_limit(limit)
        first, last = check_range(start, end)
        found = self._some(self._id(point_id), first, last, limit + 1, newest=newest_first)
        more = len(found.times) > limit
        if more:
            found = columns.take(found, slice(-limit, None) if newest_first else slice(0, limit))
        return Series.model_construct(id=point_id, samples=_samples(found), more=more)

    def _some(self, series: int, first: int, last: int, most: int, *, newest: bool) -> Columns:
        """Give at most `most` samples in [first, last): the first or the newest, in order of time."""
        heads = self.all(f"SELECT {HEAD} {IN_RANGE}", series, first, last)
        if newest:
            heads.reverse()
        inside = 0
        for index, head in enumerate(heads):
            if inside >= most:
                # What isn't needed of the rest isn't read.
                if newest:
                    first = head["last_time"] + 1
                else:
                    last = head["first_time"]
                heads = heads[:index]
                break
            if head["first_time"] >= first and head["last_time"] < last:
                inside += head["count"]
        found = self._columns(series, first, last)
        if len(found.times) <= most:
            return found
        return columns.take(found, slice(-most, None) if newest else slice(0, most))

    def _columns(self, series: int, first: int, last: int) -> Columns:
        """Give all samples of a series in [first, last), in order of time."""
        rows = self.all(f"SELECT {BODY} {IN_RANGE}", series, first, last)
        return _read_chunks(rows, first, last, self._tail.of(series, first, last))

    def _packed_times(self, series: int, first: int, last: int) -> Ints:
        """Give the times that the chunks over [first, last) have, and those around them."""
        rows = self.all(f"SELECT first_time, times {IN_RANGE}", series, first, last)
        found = [chunks.decode_times(row["first_time"], row["times"]) for row in rows]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def _last(self, series: int) -> Columns | None:
        """Give the newest sample of a series."""
        row = self.one(
            f"SELECT {BODY} FROM chunk WHERE series_id = ? ORDER BY first_time DESC LIMIT 1",  # noqa: S608
            series,
        )
        parts = [chunks.decode(row)] if row else []
        found = in_order(join([*parts, self._tail.of(series)]))
        return columns.take(found, slice(-1, None)) if len(found.times) else None

    def _before(self, series: int, time: int) -> Columns | None:
        """Give the newest sample of a series before a time."""
        row = self.one(BEFORE, series, time)
        parts = [between(chunks.decode(row), 0, time)] if row else []
        found = in_order(join([*parts, self._tail.of(series, None, time)]))
        return columns.take(found, slice(-1, None)) if len(found.times) else None

    def _first_time(self, series: int) -> int | None:
        row = self.one("SELECT min(first_time) AS at FROM chunk WHERE series_id = ?", series)
        waiting = self._tail.of(series).times
        known = [row["at"]] if row and row["at"] is not None else []
        return min([*known, *waiting[:1].tolist()], default=None)

    def _pieces(self, series: int, start: int, end: int, bounds: Ints) -> Pieces | None:
        """Give [start, end) in the largest parts that can be summed up, each inside one interval."""
        heads = self.all(f"SELECT {SUMS} {IN_RANGE}", series, start, end)
        waiting = self._tail.of(series, start, end)
        cuts = np.unique(np.clip(np.concatenate((bounds, [start, end])), start, end))
        parts: list[Pieces] = []
        before = self._before(series, start)
        if before is not None:
            parts.append(_held_into(before, start))
        at = 0
        """Rows of `waiting` that are done."""
        whole: list[Row] = []
        """Heads of chunks that are taken whole, until their row is turned into columns."""
        celled: list[Row] = []
        """Heads of chunks of which all cells are taken, until these are read, all at once."""
        for head in heads:
            first, last = head["first_time"], head["last_time"]
            low, high = (int(each) for each in np.searchsorted(waiting.times, (first, last + 1)))
            if low > at:
                self._flush(series, whole, celled, parts)
                parts.append(rollup.from_samples(columns.take(waiting, slice(at, low))))
            at = high
            inside = cuts[np.searchsorted(cuts, first, "right") : np.searchsorted(cuts, last, "right")]
            sound = low == high and head["integral"] is not None
            if sound and not len(inside) and first >= start and last < end:
                if celled:
                    self._flush(series, whole, celled, parts)
                whole.append(head)
                continue
            through = np.count_nonzero(inside % chunks.CELL)
            by_cells = sound and head["cells"] and 2 * chunks.CELL * through <= last - first
            if by_cells and not through and first >= start and last < end:
                if whole:
                    self._flush(series, whole, celled, parts)
                celled.append(head)
                continue
            self._flush(series, whole, celled, parts)
            if by_cells:
                parts.append(self._cells(head, inside, start, end))
                continue
            found = between(self._chunk(head["id"]), start, end)
            if low < high:
                found = in_order(join([found, columns.take(waiting, slice(low, high))]))
            parts.append(rollup.from_samples(found))
        self._flush(series, whole, celled, parts)
        if at < len(waiting.times):
            parts.append(rollup.from_samples(columns.take(waiting, slice(at, None))))
        return rollup.join(parts) if parts else None

    def _flush(self, series: int, whole: list[Row], celled: list[Row], parts: list[Pieces]) -> None:
        """Turn chunks that follow one another into pieces: each in one interval, or the cells of each."""
        if whole:
            parts.append(_heads(whole))
            whole.clear()
        if celled:
            rows = self.all(
                "SELECT first_time, last_time, cells FROM chunk"
                " WHERE series_id = ? AND first_time BETWEEN ? AND ? ORDER BY first_time",
                series,
                celled[0]["first_time"],
                celled[-1]["first_time"],
            )
            parts.append(
                chunks.decode_cells(
                    [Cells(row["first_time"], row["last_time"], row["cells"]) for row in rows]
                )
            )
            celled.clear()

    def _chunk(self, chunk: int) -> Columns:
        [row] = self.all(f"SELECT {BODY} FROM chunk WHERE id = ?", chunk)  # noqa: S608
        return chunks.decode(row)

    def _cells(self, head: Row, cuts: Ints, start: int, end: int) -> Pieces:
        """Give a chunk's cells; in the place of those that a cut goes through, their samples."""
        [row] = self.all("SELECT cells FROM chunk WHERE id = ?", head["id"])
        found = chunks.decode_cells([Cells(head["first_time"], head["last_time"], row["cells"])])
        through = cuts[cuts % chunks.CELL != 0]
        if len(through):
            broken = np.zeros(len(found.begin), np.bool_)
            broken[through // chunks.CELL - head["first_time"] // chunks.CELL] = True
            mine = np.flatnonzero(np.repeat(broken, found.counts))
            samples = between(columns.take(self._chunk(head["id"]), mine), start, end)
            found = rollup.join([rollup.part(found, ~broken), rollup.from_samples(samples)])
            found = rollup.part(found, np.argsort(found.begin, kind="stable"))
        low, high = np.searchsorted(found.begin, (start, end))
        return found if low == 0 and high == len(found.begin) else rollup.part(found, slice(low, high))


def _read_chunks(packed: Sequence[Row], first: int, last: int, waiting: Columns) -> Columns:
    """Give the samples of chunks in [first, last) and those that wait, in order of time."""
    if not packed:
        return waiting
    parts = [between(chunks.decode(row), first, last) for row in packed]
    return in_order(join([*parts, waiting])) if len(waiting.times) else join(parts)


def _heads(heads: list[Row]) -> Pieces:
    """Turn chunks that lie in one interval each into pieces."""
    first = np.array([each["first_time"] for each in heads], np.int64)
    last = np.array([each["last_time"] for each in heads], np.int64)
    numbers = {
        name: np.array([each[name] for each in heads], np.float64)
        for name in ("min", "max", "sum", "first", "last", "integral")
    }
    return Pieces(
        begin=first,
        finish=last,
        counts=np.array([each["count"] for each in heads], np.int64),
        covered=(last - first).astype(np.float64),
        holds=np.ones(len(heads), np.bool_),
        **numbers,
    )


def _held_into(before: Columns, start: int) -> Pieces:
    """Make the sample before a range a piece at its start, which counts for nothing but what it holds."""
    piece = rollup.from_samples(before)
    at = np.array([start], np.int64)
    return piece._replace(begin=at, finish=at, counts=np.zeros(1, np.int64))


def _samples(found: Columns) -> list[Sample]:
    made: Iterable[tuple[int, Any, int]] = zip(
        found.times.tolist(), to_values(found), found.statuses.tolist(), strict=True
    )
    return [Sample.model_construct(time=at, value=value, status=status) for at, value, status in made]


_ROLLUP_FIELDS: Final = tuple(Rollup.model_fields)
_ROLLUP_SET: Final = set(_ROLLUP_FIELDS)


def _rollups(rows: Iterable[tuple[Any, ...]]) -> Rollups:
    """Make rollups of their fields in order."""
    return Rollups(map(_rollup, rows))


def _rollup(row: tuple[Any, ...]) -> Rollup:
    """Make a rollup of fields that are known to be right: `model_construct` takes four times as long."""
    made = Rollup.__new__(Rollup)
    object.__setattr__(made, "__dict__", dict(zip(_ROLLUP_FIELDS, row, strict=True)))
    object.__setattr__(made, "__pydantic_fields_set__", _ROLLUP_SET)
    object.__setattr__(made, "__pydantic_extra__", None)
    object.__setattr__(made, "__pydantic_private__", None)
    return made
