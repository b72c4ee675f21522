"""The point store: every point's value now, in memory."""

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import ray

from actors.core.clock import Clock, now_ms
from actors.core.errors import NotFoundError
from actors.core.health import Health, HealthState
from actors.core.metrics import Measure
from actors.core.values import PointStatus, PointValue
from actors.history.gaps import GapKind, GapNotes, GapReason, no_gaps
from actors.point.feed import HistoryFeed
from actors.point.logic import has_changed
from actors.point.models import (
    PointConfig,
    PointFrame,
    PointState,
    SetAnswer,
    Snapshot,
    decode_frame,
    empty_frame,
)

log = logging.getLogger(__name__)

STALE_INTERVALS = 3
"""Missed readings after which a value counts as stale."""

CLOCK_SLACK = 2_000
"""Milliseconds by which a reading may be ahead of this process's clock."""

KEPT_FLAGS = int(PointStatus.ALARM | PointStatus.STALE | PointStatus.OVERRIDDEN)
"""Flags that a source doesn't decide; `set_flag` and `check_stale` do (OVERRIDDEN: either)."""


class Changes(Protocol):
    """Where changes go: columns of value and of status changes."""

    def values(self, ids: list[str], values: list[Any], times: list[int]) -> None:
        """Publish value changes."""

    def statuses(self, ids: list[str], old: list[int], new: list[int]) -> None:
        """Publish status changes."""


class _Entry:
    __slots__ = ("config", "flags", "kept", "published", "seen", "time", "value")

    def __init__(self, config: PointConfig, seen: float) -> None:
        self.config = config
        self.value: PointValue | None = None
        self.published: PointValue | None = None
        """The value of the last change that counted; the COV increment is measured from it."""
        self.time: int | None = None
        self.flags = int(PointStatus.DISABLED) if config.disabled else 0
        self.kept = 0
        self.seen = seen

    @property
    def status(self) -> int:
        return self.flags | self.kept


class PointStore:
    """Keep value, status and time of every point; tell the bus what changed, hand history what was read.

    Nothing is on disk: after a restart the store is empty and every frame is answered with the ids that it
    doesn't know, so that sources configure their points again and send all last values. History gets every
    accepted reading of a point with `record`, through `record` (lossless, see `HistoryFeed`), not through the
    bus. A reading that is older than the one that is there only goes to history, unless the clock was set
    back in between.
    """

    def __init__(
        self,
        site: str,
        changes: Changes,
        record: Callable[[bytes], None],
        clock: Clock = now_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start empty. `record` takes an encoded frame and doesn't wait; `monotonic` judges staleness."""
        self.site = site
        self._changes, self._record, self._clock, self._monotonic = changes, record, clock, monotonic
        self._points: dict[str, _Entry] = {}

    def measures(self) -> list[Measure]:
        """Measure how many points there are and how much waits for history."""
        found = [Measure("opencrate_points", len(self._points))]
        if isinstance(self._record, HistoryFeed):
            found.append(Measure("opencrate_history_queue_frames", self._record.queued))
        return found

    @ray.method
    def configure(self, points: list[PointConfig]) -> None:
        """Add points, or change what is known of them; values stay."""
        ids, old, new = [], [], []
        for config in points:
            entry = self._points.get(config.id)
            if entry is None:
                self._points[config.id] = _Entry(config, self._monotonic())
                continue
            before = entry.status
            entry.config = config
            if config.disabled:
                entry.flags |= PointStatus.DISABLED
            else:
                entry.flags &= ~PointStatus.DISABLED
            if before != entry.status:
                ids.append(config.id)
                old.append(before)
                new.append(entry.status)
        if ids:
            self._changes.statuses(ids, old, new)

    @ray.method
    def forget(self, ids: list[str]) -> None:
        """Remove points; unknown ones are fine."""
        for point_id in ids:
            self._points.pop(point_id, None)

    @ray.method
    def set_many(self, frame: bytes) -> SetAnswer:
        """Take a whole poll: publish every row's value and hand it to history.

        The same frame twice is harmless.
        """
        return self._set(frame, only_changes=False)

    @ray.method
    def set_if_changed(self, frame: bytes) -> SetAnswer:
        """Take a whole poll, but publish only rows that changed by their COV increment.

        All are handed to history.
        """
        return self._set(frame, only_changes=True)

    def _set(self, data: bytes, *, only_changes: bool) -> SetAnswer:
        frame = decode_frame(data)
        unknown: list[str] = []
        ids: list[str] = []
        values: list[Any] = []
        times: list[int] = []
        status_ids: list[str] = []
        old: list[int] = []
        new: list[int] = []
        record, gaps = empty_frame(), no_gaps()
        now = self._monotonic()
        # What is there from later than this is from before the clock was set back.
        latest = self._clock() + CLOCK_SLACK
        points = self._points
        for point_id, value, at, status in zip(
            frame.ids, frame.values, frame.times, frame.statuses, strict=True
        ):
            entry = points.get(point_id)
            if entry is None:
                unknown.append(point_id)
                continue
            before = entry.status
            if isinstance(value, float) and not math.isfinite(value):
                value, status = None, status | PointStatus.FAULT  # noqa: PLW2901 - JSON has no NaN
            down = status & PointStatus.DOWN
            overridden = status & PointStatus.OVERRIDDEN
            flags = (status & ~KEPT_FLAGS) | overridden
            if not down and entry.time is not None and at < entry.time <= latest:
                # History wants it all the same; whoever follows the bus has something newer.
                if entry.config.record:
                    record.add(point_id, value, at, flags | entry.kept)
                continue
            entry.flags = flags
            if not down:
                # A point of a dead device keeps its last value and time: nothing was read.
                self._note_missed(gaps, entry, before, at, now)
                entry.kept &= ~PointStatus.STALE
                entry.seen = now
                if has_changed(entry.published, value, entry.config.cov_increment) or not only_changes:
                    entry.published = value
                    ids.append(point_id)
                    values.append(value)
                    times.append(at)
                entry.value, entry.time = value, at
                if entry.config.record:
                    record.add(point_id, value, at, entry.status)
            if before != entry.status:
                status_ids.append(point_id)
                old.append(before)
                new.append(entry.status)
        self._hand_on(record, gaps)
        if ids:
            self._changes.values(ids, values, times)
        if status_ids:
            self._changes.statuses(status_ids, old, new)
        return SetAnswer(accepted=len(frame) - len(unknown), changed=len(ids), unknown=unknown)

    def _hand_on(self, *columns: PointFrame | GapNotes) -> None:
        """Give history what it is to keep."""
        for each in columns:
            if len(each):
                self._record(each.encode())

    @staticmethod
    def _note_missed(gaps: GapNotes, entry: _Entry, status: int, at: int, now: float) -> None:
        """Note why there were no readings of a point for longer than there should be, if that was so."""
        if entry.time is None or at <= entry.time or not entry.config.record:
            return
        limit = STALE_INTERVALS * entry.config.interval
        if status & PointStatus.DOWN:
            gaps.add(entry.config.id, entry.time, at, GapKind.LOST, GapReason.DEVICE_DOWN)
        elif status & PointStatus.FAULT and at - entry.time > limit * 1000:
            # Rows with this flag and the old time have come all along.
            gaps.add(entry.config.id, entry.time, at, GapKind.LOST, GapReason.DEVICE_FAULT)
        elif now - entry.seen > limit and at - entry.time > limit * 1000:
            # By both clocks: one may have been set, and readings that were delivered late are none missed.
            gaps.add(entry.config.id, entry.time, at, GapKind.LOST, GapReason.BRIDGE_DOWN)

    @ray.method
    def late(self, frame: bytes) -> int:
        """Hand on to history what a source has got later, such as from a device's own log; values stay.

        Give how many rows that were: those of points that are there and recorded.
        """
        kept = empty_frame()
        found = decode_frame(frame)
        rows = zip(found.ids, found.values, found.times, found.statuses, strict=True)
        for point_id, value, at, status in rows:
            entry = self._points.get(point_id)
            if entry is not None and entry.config.record:
                kept.add(point_id, value, at, status)
        self._hand_on(kept)
        return len(kept)

    @ray.method
    def lost(self, notes: bytes) -> None:
        """Hand on to history which readings a source had to drop (see GapNotes)."""
        self._record(notes)

    @ray.method
    def set_flag(self, ids: list[str], flag: int, on: bool) -> int:
        """Set or clear a flag that isn't the source's own (alarm, overridden).

        Gives how many points changed.
        """
        return self._flag(ids, flag, on)

    def _flag(self, ids: Iterable[str], flag: int, on: bool) -> int:
        changed: list[str] = []
        old: list[int] = []
        new: list[int] = []
        for point_id in ids:
            entry = self._points.get(point_id)
            if entry is None:
                continue
            before = entry.status
            entry.kept = entry.kept | flag if on else entry.kept & ~flag
            if entry.status != before:
                changed.append(point_id)
                old.append(before)
                new.append(entry.status)
        if changed:
            self._changes.statuses(changed, old, new)
        return len(changed)

    @ray.method
    def check_stale(self, now: int) -> list[str]:
        """Flag the points without a reading for three of their intervals; give all that are stale.

        Judged by a clock that doesn't jump; `now` is only what the caller believes the time to be.
        """
        tick = self._monotonic()
        late = [
            point_id
            for point_id, entry in self._points.items()
            if not entry.config.disabled and tick - entry.seen > STALE_INTERVALS * entry.config.interval
        ]
        self._flag(late, PointStatus.STALE, on=True)
        return late

    def _state(self, point_id: str, entry: _Entry) -> PointState:
        return PointState(
            id=point_id,
            site=self.site,
            value=entry.value,
            status=entry.status,
            time=entry.time,
            units=entry.config.units,
        )

    @ray.method
    def get(self, point_id: str) -> PointState:
        """Give one point. Raises NotFoundError."""
        entry = self._points.get(point_id)
        if entry is None:
            raise NotFoundError("point", point_id)
        return self._state(point_id, entry)

    @ray.method
    def get_many(self, ids: list[str]) -> list[PointState]:
        """Give those of some points that are known."""
        return [self._state(each, self._points[each]) for each in ids if each in self._points]

    @ray.method
    def snapshot(self, ids: list[str] | None = None) -> Snapshot:
        """Give rows of (id, value, status, time, units): all points, or those of `ids` that are known."""
        chosen: Sequence[str] = list(self._points) if ids is None else [i for i in ids if i in self._points]
        rows: Snapshot = []
        for point_id in chosen:
            entry = self._points[point_id]
            rows.append((point_id, entry.value, entry.status, entry.time, entry.config.units))
        return rows

    @ray.method
    def ids(self) -> list[str]:
        """Give the ids of all points."""
        return list(self._points)

    @ray.method
    def health(self) -> Health:
        """Say how the store is; without points it is unknown whether its sources live."""
        if isinstance(self._record, HistoryFeed) and self._record.failing:
            reason = f"history takes no samples, {self._record.queued} frames wait: {self._record.failing}"
            return Health(name="points", state=HealthState.DEGRADED, reasons=[reason], pid=os.getpid())
        if not self._points:
            reason = "no source has configured its points yet"
            return Health(name="points", state=HealthState.UNKNOWN, reasons=[reason], pid=os.getpid())
        return Health(name="points", pid=os.getpid())

    @ray.method
    def close(self) -> None:
        """Let the feed to history send what it still holds."""
        if isinstance(self._record, HistoryFeed):
            self._record.close()
