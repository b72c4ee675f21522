"""The store of what points have been."""

import contextlib
import logging
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import numpy as np
import ray
from numpy.typing import NDArray

from actors.core.errors import BadInputError, StorageError
from actors.core.health import Health, HealthState
from actors.core.metrics import Measure
from actors.core.sqlite import Durability, Row
from actors.core.store import Store
from actors.history.columns import Columns, from_values, in_order, pack_frame, take, to_values, unpack_frame
from actors.history.gaps import EVERY, GapKind, GapNotes, GapReason, are_notes, decode_notes
from actors.history.logic import Kept, from_column, is_kept, slot
from actors.history.models import Mode, NewSeriesConfig, SeriesConfig
from actors.history.packing import Packer
from actors.history.polls import Poll, Polls
from actors.history.queries import HistoryQueries
from actors.history.retention import Retention
from actors.history.schema import MIGRATIONS
from actors.history.tail import Tail
from actors.point.models import decode_frame

log = logging.getLogger(__name__)

HEARTBEAT: Final = 10_000
"""Milliseconds between two notes that the store lives: what a crash may hide of a gap's beginning."""
PRUNE_EVERY: Final = 3_600_000
CUTS: Final = 2
"""Chunks that one append cuts, where some are due: each takes one or two milliseconds."""
SILENCE: Final = 10_000
"""Milliseconds away that count as a gap: what is read every 10 s may have lost two readings then."""
LARGE: Final = 1_024
"""Samples of a series, on average, from which on a frame goes straight into chunks."""
_NEVER: Final = -(2**62)
_BATCH: Final = 200_000
_FREE: Final = 2_000
"""Pages that may lie free in the file; more are given back to the disk."""


def boot_id() -> str:
    """Give what tells this start of the machine from others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class HistoryStore(Store, HistoryQueries):
    """Keep the readings of every point, and account for those that are missing.

    A frame goes in as it was polled, as one row, and is packed with others into compressed chunks later. The
    same (point, time) twice changes nothing, so that whoever is not sure whether a frame has arrived sends it
    again. Samples keep their own time, however late they come and wherever this host's clock stands.

    A crash costs nothing that `append` has returned; a power cut at most the commits of the last seconds.
    """

    name: ClassVar[str] = "history"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.NORMAL

    def opened(self) -> None:
        """Read which points there are and what waits; pack what an older version kept as rows."""
        self._taken = 0
        """Samples taken since this store was opened."""
        self._after: list[Callable[[], object]] = []
        """What follows in memory once a transaction is committed."""
        self._series: dict[str, int] = {
            row["point_id"]: row["id"] for row in self.all("SELECT id, point_id FROM series")
        }
        self._polls = Polls()
        self._tail = Tail()
        for row in self.all("SELECT id, body FROM frame ORDER BY id"):
            self._tail.add(row["id"], *unpack_frame(row["body"]))
        self._packer = Packer(
            weakref.proxy(self), self._tail
        )  # no cycle: a store that is dropped lets go of its file
        self._retention = Retention(weakref.proxy(self), self._tail, self._packer)
        self._read_configs()
        self._take_over_rows()
        self._shrinkable()
        self._newest = np.full(1024, _NEVER, np.int64)
        for row in self.all("SELECT series_id, max(last_time) AS at FROM chunk GROUP BY series_id"):
            self._reach(row["series_id"])
            self._newest[row["series_id"]] = row["at"]
        series, waiting = self._tail.whole()
        if len(series):
            self._reach(int(series.max()))
            np.maximum.at(self._newest, series, waiting.times)
        state = self._state()
        self._frame = max(state["packed"], self._tail.newest)
        self._note_absence(state)

    def _view(self) -> AbstractContextManager[object]:
        return contextlib.nullcontext()

    def _state(self) -> Row:
        [row] = self.all("SELECT * FROM state")
        return row

    # Samples in

    def measures(self) -> list[Measure]:
        """Measure how many samples were taken."""
        return [Measure("opencrate_samples_total", self._taken)]

    @ray.method
    def append(self, frame: bytes) -> int:
        """Add the rows of a frame (see PointFrame), all or none; give how many were new and kept.

        Takes notes for the gap ledger (see GapNotes) too. Raises StorageError when the disk is full and
        msgspec.DecodeError for what is neither.
        """
        if are_notes(frame):
            self._note(decode_notes(frame))
            return 0
        data = decode_frame(frame)
        if not len(data):
            return 0
        if not len(data.ids) == len(data.values) == len(data.times) == len(data.statuses):
            raise msgspec.ValidationError("the columns of a frame have different lengths")
        samples = from_values(data.times, data.values, data.statuses)
        poll = self._polls.find(data.ids)
        distinct = len(set(data.ids)) if poll is None else poll.distinct
        direct = len(data) >= LARGE * distinct
        if direct:
            self._packer.finish()
        with self._writing(data.ids, poll) as series:
            new = self._add(series, samples, several=distinct < len(data), direct=direct)
        if poll is None:
            self._polls.keep(Poll(data.ids, series, distinct))
        self._taken += new
        self._tidy(len(data))
        return new

    @ray.method
    def load(
        self,
        point_id: str,
        times: Sequence[int] | NDArray[np.int64],
        values: Sequence[Any] | NDArray[np.float64],
        statuses: Sequence[int] | NDArray[np.int32] | None = None,
    ) -> int:
        """Add many samples of one point, in any order, straight into chunks; give how many were new.

        Times in ms. Raises BadInputError for columns of different lengths, and StorageError.
        """
        if len(times) != len(values) or (statuses is not None and len(statuses) != len(times)):
            raise BadInputError("values", len(values), f"{len(times)}, as many as times")
        if not len(times):
            return 0
        flags = np.zeros(len(times), np.int32) if statuses is None else np.asarray(statuses, np.int32)
        if isinstance(values, np.ndarray):
            kinds = np.where(np.isnan(values), 0, 3).astype(np.uint8)
            samples = Columns(np.asarray(times, np.int64), values.astype(np.float64), kinds, flags)
        else:
            samples = from_values(list(times), values, flags.tolist())
        self._packer.finish()
        with self._writing([point_id]) as series:
            every = np.full(len(times), series[0], np.int32)
            return self._add(every, samples, several=True, direct=len(times) >= LARGE)

    @contextlib.contextmanager
    def _writing(self, ids: list[str], poll: Poll | None = None) -> Iterator[NDArray[np.int32]]:
        """Give the series of points, found before as `poll`'s, inside a transaction.

        What is in memory follows once it is committed.
        """
        known, made = self._series, list[str]()
        try:
            with self.transaction():
                series = self._find(ids, made) if poll is None else poll.series
                yield series
        except BaseException:
            for each in made:
                del known[each]
            self._after.clear()
            self._kept.clear()
            self._packer.forget()
            raise
        for follow in self._after:
            follow()
        self._after.clear()

    def _find(self, ids: list[str], made: list[str]) -> NDArray[np.int32]:
        """Give the series of points; those that are new are made and noted in `made`."""
        known = self._series
        for each in [each for each in dict.fromkeys(ids) if each not in known]:
            row = self.one("INSERT INTO series (point_id) VALUES (?) RETURNING id", each)
            known[each] = row["id"] if row else 0
            made.append(each)
        series = np.array([known[each] for each in ids], np.int32)
        if made:
            self._reach(int(series.max()))
        return series

    def _reach(self, series: int) -> None:
        if series >= len(self._newest):
            more = np.full(max(series + 1, 2 * len(self._newest)) - len(self._newest), _NEVER, np.int64)
            self._newest = np.concatenate((self._newest, more))

    def _add(
        self, series: NDArray[np.int32], samples: Columns, *, several: bool, direct: bool = False
    ) -> int:
        """Write the samples that are new; give how many."""
        if several or (samples.times <= self._newest[series]).any():
            keep = self._is_new(series, samples)
            if not keep.all():
                series, samples = series[keep], take(samples, keep)
        if self._chosen and not self._chosen.keys().isdisjoint(set(series.tolist())):
            keep = self._is_wanted(series, samples)
            series, samples = series[keep], take(samples, keep)
        self._alive(samples.times)
        count = len(series)
        if not count:
            return 0
        if direct:
            for one in np.unique(series).tolist():
                self._packer.place(one, in_order(take(samples, series == one)))
        else:
            body = pack_frame(series, samples)
            frame = self._frame + 1
            self.run("INSERT INTO frame (id, count, body) VALUES (?, ?, ?)", frame, count, body)
            self._after.append(lambda: self._waits(frame, series, samples))
        self._after.append(lambda: np.maximum.at(self._newest, series, samples.times))
        return count

    def _waits(self, frame: int, series: NDArray[np.int32], samples: Columns) -> None:
        self._frame = frame
        self._tail.add(frame, series, samples)

    def _is_new(self, series: NDArray[np.int32], samples: Columns) -> NDArray[np.bool_]:
        """Tell which samples aren't there yet; of several for one point and time, the first."""
        keep = np.ones(len(series), np.bool_)
        order = np.lexsort((samples.times, series))
        one, at = series[order], samples.times[order]
        keep[order[1:][(one[1:] == one[:-1]) & (at[1:] == at[:-1])]] = False
        late = np.flatnonzero(samples.times <= self._newest[series])
        if len(late):
            keep[late[self._is_there(series[late], samples.times[late])]] = False
        return keep

    def _is_there(self, series: NDArray[np.int32], times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for which points and times there is a sample already."""
        ids, waiting = self._tail.whole()
        near = np.flatnonzero((waiting.times >= times.min()) & (waiting.times <= times.max()))
        known = set(zip(ids[near].tolist(), waiting.times[near].tolist(), strict=True))
        asked = zip(series.tolist(), times.tolist(), strict=True)
        found = np.fromiter((each in known for each in asked), np.bool_, len(series))
        rest = np.flatnonzero(~found)
        for one in np.unique(series[rest]).tolist():
            rows = rest[series[rest] == one]
            packed = self._packed_times(one, int(times[rows].min()), int(times[rows].max()) + 1)
            found[rows] = np.isin(times[rows], packed)
        return found

    # Which are kept

    def _read_configs(self) -> None:
        self._chosen: dict[int, NewSeriesConfig] = {
            row["id"]: _config(row) for row in self.all("SELECT * FROM series WHERE mode <> 'every'")
        }
        self._kept: dict[int, Kept | None] = {}
        """The last sample kept of each point that isn't recorded with every reading, where known."""

    def _is_wanted(self, series: NDArray[np.int32], samples: Columns) -> NDArray[np.bool_]:
        """Tell which samples the modes of their points keep.

        A late one is judged by the sample before it, so that a frame that comes twice leaves the same.
        """
        keep = np.ones(len(series), np.bool_)
        mine = np.isin(series, list(self._chosen))
        rows = np.flatnonzero(mine)
        rows = rows[np.argsort(samples.times[rows], kind="stable")]
        values = to_values(take(samples, rows))
        for row, value in zip(rows.tolist(), values, strict=True):
            one, at, status = int(series[row]), int(samples.times[row]), int(samples.statuses[row])
            config = self._chosen[one]
            if at > self._newest[one]:
                if one not in self._kept:
                    self._kept[one] = _kept(self._last(one))
                before = self._kept[one]
                if is_kept(config, before, (at, value, status)):
                    self._kept[one] = (at, value, status)
                else:
                    keep[row] = False
            elif config.mode is Mode.INTERVAL:
                keep[row] = not len(self._columns(one, *slot(at, config)).times)
            else:
                keep[row] = is_kept(config, _kept(self._before(one, at)), (at, value, status))
        return keep

    @ray.method
    def configure(self, point_id: str, config: NewSeriesConfig) -> SeriesConfig:
        """Say how a point is recorded from now on; what is recorded stays. Gives what holds now."""
        with self._writing([point_id]):
            self.run(
                "UPDATE series SET mode = ?, interval = ?, increment = ?, retention = ? WHERE point_id = ?",
                config.mode.value,
                config.interval,
                config.increment,
                config.retention,
                point_id,
            )
        self._read_configs()
        return self._config(point_id)

    @ray.method
    def set_default_retention(self, days: float | None) -> None:
        """Say for how many days samples are kept at least, of points without their own; None: for ever.

        Raises BadInputError.
        """
        if days is not None and not 1 <= days <= 36_500:
            raise BadInputError("retention", days, "1 to 36500 days, or none")
        with self.transaction():
            self.run("UPDATE state SET retention = ?", days)

    @ray.method
    def health(self) -> Health:
        """Say how the store is: degraded too while it can't pack."""
        found: Health = super().health()  # type: ignore[operator]
        if self._packer.trouble is None or found.state is HealthState.DOWN:
            return found
        reasons = [*found.reasons, f"packing: {self._packer.trouble}"]
        return found.model_copy(update={"state": HealthState.DEGRADED, "reasons": reasons})

    # Order in the file

    def _tidy(self, rows: int) -> None:
        """Do a little of what waits: packing, and each hour what is too old."""
        try:
            self._packer.step(2 * rows)
            if abs(self.clock() - self._pruned) >= PRUNE_EVERY:
                self._prune()
                self._give_back()
            self._retention.step(CUTS)
        except StorageError:
            log.exception("history can't be packed; the samples are safe in their frames")

    @ray.method
    def pack(self) -> None:
        """Pack all that waits, and let go of free pages. Raises StorageError."""
        self._packer.everything()
        with self.transaction():
            self.all("PRAGMA incremental_vacuum")

    @ray.method
    def prune(self) -> int:
        """Delete all samples that are too old now; give how many. Raises StorageError.

        Samples within their point's retention stay; none stays that is older than it by more than a day.
        """
        gone = self._prune() + self._retention.step()
        self._give_back()
        return gone

    def _prune(self) -> int:
        self._pruned = self.clock()
        with self.transaction():
            now = self.retention_time()
        return self._retention.begin(now)

    def _give_back(self) -> None:
        [free] = self.all("PRAGMA freelist_count")
        if free["freelist_count"] > _FREE:
            self.all(f"PRAGMA incremental_vacuum({_FREE})")

    def _shrinkable(self) -> None:
        """Let the file give back free pages; a file that can't yet is written anew, once."""
        [mode] = self.all("PRAGMA auto_vacuum")
        if mode["auto_vacuum"] != 2:
            try:
                self.all("PRAGMA auto_vacuum=INCREMENTAL")
                self.all("VACUUM")
            except StorageError as error:
                log.warning("%s keeps its free pages until the next start: %s", self.path, error)

    def _take_over_rows(self) -> None:
        """Pack the rows of table `sample`, in which the first version kept everything."""
        if not self.all("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'sample'"):
            return
        total = 0
        for [series] in [(row["id"],) for row in self.all("SELECT id FROM series")]:
            while rows := self.all(
                "SELECT time, value, status FROM sample WHERE series_id = ? ORDER BY time LIMIT ?",
                series,
                _BATCH,
            ):
                samples = from_values(
                    [row["time"] for row in rows],
                    [from_column(row["value"]) for row in rows],
                    [row["status"] for row in rows],
                )
                with self.transaction():
                    self._packer.place(series, samples)
                    self.run("DELETE FROM sample WHERE series_id = ? AND time <= ?", series, rows[-1]["time"])
                total += len(rows)
        with self.transaction():
            self.run("DROP TABLE sample")
        if total:
            log.info("%s: %d rows of the first version packed into chunks", self.path, total)

    # The gap ledger

    @ray.method
    def note_gap(
        self, point_id: str, start: int, end: int, kind: GapKind = GapKind.LOST, reason: str = "unknown"
    ) -> None:
        """Write into the ledger what became of samples in an interval (ms); `*` stands for all points.

        The same start and reason again lengthens the interval. A point without history isn't noted.
        """
        with self.transaction():
            self._write_gap(point_id, start, end, kind, reason)

    def _note(self, notes: GapNotes) -> None:
        rows = zip(notes.ids, notes.starts, notes.ends, notes.kinds, notes.reasons, strict=True)
        with self.transaction():
            for row in rows:
                self._write_gap(*row)

    def _write_gap(self, point_id: str, start: int, end: int | None, kind: str, reason: str) -> None:
        if point_id != EVERY and point_id not in self._series:
            return
        self.run(
            "INSERT INTO gap (series_id, start_time, end_time, kind, reason, noted_at)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (ifnull(series_id, 0), start_time, reason)"
            " DO UPDATE SET end_time = max(end_time, excluded.end_time),"
            " kind = CASE WHEN excluded.kind = 'backfilled' AND excluded.end_time >= end_time"
            " THEN excluded.kind ELSE kind END",
            self._series.get(point_id),
            start,
            end,
            str(kind),
            str(reason),
            self.clock(),
        )

    def _note_absence(self, state: Row) -> None:
        """Note for how long nobody was here to write, and why; it ends with the first sample from now on."""
        now = self.clock()
        self._pruned = now - PRUNE_EVERY
        self._opened_at: int | None = None
        boot = boot_id()
        known = self._newest[self._newest <= now]
        alive = state["alive_at"] or 0
        if alive > now:
            # A sign of life from the future is of a clock that was ahead: the samples before it know better.
            alive = max((self._newest_before(one, now) for one in self._series.values()), default=now)
        since = max(int(known.max(initial=_NEVER)), alive)
        with self.transaction():
            [going_on] = self.all("SELECT count(*) AS n FROM gap WHERE end_time IS NULL")
            if going_on["n"]:
                self._opened_at = now
            elif state["alive_at"] is not None and now - since >= SILENCE:
                if state["stopped"]:
                    reason = GapReason.STOPPED
                else:
                    reason = GapReason.HOST_OFF if boot != state["boot"] else GapReason.HISTORY_DOWN
                self._write_gap(EVERY, since, None, GapKind.LOST, reason)
                self._opened_at = now
            self.run("UPDATE state SET boot = ?, stopped = 0", boot)
        self._alive_at = _NEVER

    def _newest_before(self, series: int, time: int) -> int:
        found = self._before(series, time + 1)
        return _NEVER if found is None else int(found.times[-1])

    def _alive(self, times: NDArray[np.int64]) -> None:
        """Leave a sign of life in the transaction of an append, and end the gap in which there was none."""
        now = self.clock()
        ends = times[:0] if self._opened_at is None else times[times >= self._opened_at]
        if len(ends):
            self.run("UPDATE gap SET end_time = max(start_time, ?) WHERE end_time IS NULL", int(ends.min()))
        elif abs(now - self._alive_at) < HEARTBEAT:
            return
        self.run("UPDATE state SET alive_at = ?", now)
        self._after.append(lambda: self._lived(now, ended=len(ends) > 0))

    def _lived(self, at: int, *, ended: bool) -> None:
        self._alive_at = at
        if ended:
            self._opened_at = None

    @ray.method
    def close(self) -> None:
        """Leave word that this was on purpose, write the WAL back and let go of the file."""
        if not self._lock.closed:
            with contextlib.suppress(StorageError), self.transaction():
                self.run("UPDATE state SET stopped = 1, alive_at = ?", self.clock())
        super().close()  # type: ignore[operator]


def _kept(sample: Columns | None) -> Kept | None:
    if sample is None:
        return None
    return int(sample.times[0]), to_values(sample)[0], int(sample.statuses[0])


def _config(row: Row) -> NewSeriesConfig:
    return NewSeriesConfig.model_validate({name: row[name] for name in NewSeriesConfig.model_fields})
