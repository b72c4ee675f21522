"""The way of readings to the point store, which may be away for a while."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ray.exceptions import RayActorError

from actors.core.values import PointStatus, PointValue
from actors.history.gaps import GapKind, GapReason, no_gaps
from actors.point.models import PointConfig, PointFrame, empty_frame

log = logging.getLogger(__name__)

KEPT_ROWS: Final = 20_000
"""Rows that wait at most; at a thousand points every 10 s that is more than three minutes."""
CALL_TIMEOUT: Final = 10.0
"""Seconds for a call to the point store; one in the act of restarting may never answer."""
LONGEST_PAUSE: Final = 2.0
REFUSALS: Final = 60
"""Times that a frame is offered to a store that answers with an error, before it is lost."""
AGAIN: Final = 30.0
"""Seconds for which frames that the store has taken are kept: it may be killed before history has them."""
_CALL_ROWS: Final = 5_000

Row = tuple[PointValue | None, int, int]
"""Value, time and status of a point."""


class Outbox:
    """Send frames to the point store in order, and again until it has them.

    Polling never waits for it. While the store is away, frames wait here; when there are too many, the oldest
    are lost and counted. A store that restarted knows no point: it is told all points again, then what it
    took shortly before it died and may not have handed to history, then every point's last row. So a frame
    may arrive twice; that changes nothing there.
    """

    def __init__(self, points: Any) -> None:
        """`points` is the handle of the point store."""
        self._points = points
        self._configs: dict[str, PointConfig] = {}
        self._last: dict[str, Row] = {}
        self._waiting: deque[PointFrame] = deque()
        self._rows = 0
        self._taken: deque[tuple[float, PointFrame]] = deque()
        self._taken_rows = 0
        self._alone = False
        """Whether frames go one by one, because the store goes on refusing what is sent."""
        self._unsent: dict[str, PointConfig] = {}
        self._forgotten: set[str] = set()
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._strange: set[str] = set()
        self._dropped: dict[str, tuple[int, int]] = {}
        """From when to when rows of a point were dropped, until the store knows."""
        self.lost_rows = 0
        """Rows that had to be dropped while the store was away."""
        self.trouble: str | None = None
        """Why the store doesn't take frames now."""

    def configure(self, configs: list[PointConfig]) -> None:
        """Tell the store these points before any later row; those that it was told already are skipped."""
        for config in configs:
            if self._configs.get(config.id) != config:
                self._configs[config.id] = self._unsent[config.id] = config
                self._forgotten.discard(config.id)
        self._tell()

    def forget(self, ids: list[str]) -> None:
        """Tell the store that these points no longer exist."""
        for point_id in ids:
            self._configs.pop(point_id, None)
            self._unsent.pop(point_id, None)
            self._last.pop(point_id, None)
            self._forgotten.add(point_id)
        self._tell()

    def put(self, frame: PointFrame) -> None:
        """Take a frame for sending. Doesn't wait."""
        if not len(frame):
            return
        rows = zip(frame.values, frame.times, frame.statuses, strict=True)
        self._last.update(zip(frame.ids, rows, strict=True))
        self._waiting.append(frame)
        self._rows += len(frame)
        while self._rows > KEPT_ROWS and len(self._waiting) > 1:
            self._drop()
        self._tell()

    async def drained(self, timeout: float) -> bool:
        """Wait until the store has everything, at most `timeout` seconds. Says whether it has."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Send until cancelled."""
        pause, told, refused = 0.1, -60.0, 0
        while True:
            await self._news.wait()
            try:
                await self.step()
            except Exception as error:
                # Whatever a dead, restarting or full store raises: the frames stay here.
                refused = 0 if isinstance(error, RayActorError | TimeoutError) else refused + 1
                self._alone = refused > REFUSALS // 2
                if refused > REFUSALS and self._waiting:
                    # The store lives and won't have it: one frame must not hold up all others for ever.
                    self._drop()
                self.trouble = f"the point store takes no frames: {type(error).__name__}: {error}"[:300]
                if time.monotonic() - told >= 60:
                    told = time.monotonic()
                    log.error("%s; %d rows wait, %d are lost", self.trouble, self._rows, self.lost_rows)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self.trouble, pause, refused, self._alone = None, 0.1, 0, False

    async def step(self) -> None:
        """Send what waits now. Raises what the store's handle raises; nothing is lost then."""
        if self._forgotten:
            gone = sorted(self._forgotten)
            await self._call(self._points.forget.remote(gone))
            self._forgotten.difference_update(gone)
        if self._unsent:
            fresh = dict(self._unsent)
            await self._call(self._points.configure.remote(list(fresh.values())))
            for point_id, config in fresh.items():
                if self._unsent.get(point_id) is config:
                    del self._unsent[point_id]
        if self._waiting:
            await self._send()
        if self._dropped:
            await self._tell_lost()
        if not (self._waiting or self._unsent or self._forgotten):
            self._news.clear()
            self._idle.set()

    async def _send(self) -> None:
        frame, taken = self._next()
        answer = await self._call(self._points.set_if_changed.remote(frame.encode()))
        unknown = {point_id for point_id in answer.unknown if point_id in self._configs} - self._strange
        if unknown:
            log.warning("the point store has lost %d points; they are told again", len(unknown))
            await self._call(self._points.configure.remote(list(self._configs.values())))
            for each in self._taken_lately():
                await self._call(self._points.set_if_changed.remote(each.encode()))
            await self._call(self._points.set_if_changed.remote(frame.encode()))
            answer = await self._call(self._points.set_if_changed.remote(self._all_last().encode()))
            # A point that is refused even so must not make us start over with every frame.
            self._strange = set(answer.unknown)
        for each in taken:
            # Only frames that still wait: the oldest may have been dropped for new ones meanwhile.
            if self._waiting and self._waiting[0] is each:
                self._waiting.popleft()
                self._rows -= len(each)
                self._taken.append((time.monotonic(), each))
                self._taken_rows += len(each)
        self._taken_lately()

    def _taken_lately(self) -> list[PointFrame]:
        """Give the frames that the store has taken lately; forget older ones."""
        oldest = time.monotonic() - AGAIN
        while self._taken and (self._taken[0][0] < oldest or self._taken_rows > KEPT_ROWS):
            self._taken_rows -= len(self._taken.popleft()[1])
        return [frame for _, frame in self._taken]

    def _next(self) -> tuple[PointFrame, list[PointFrame]]:
        """Join the frames that wait, as far as one call should carry."""
        if len(self._waiting) == 1 or len(self._waiting[0]) >= _CALL_ROWS or self._alone:
            return self._waiting[0], [self._waiting[0]]
        joined, taken = empty_frame(), []
        for frame in self._waiting:
            if len(joined) + len(frame) > _CALL_ROWS:
                break
            joined.ids += frame.ids
            joined.values += frame.values
            joined.times += frame.times
            joined.statuses += frame.statuses
            taken.append(frame)
        return joined, taken

    def _all_last(self) -> PointFrame:
        """Give every point's last row; of a dead device's first the value, then the flag.

        A row with the flag DOWN says that nothing was read, so the store takes no value from it.
        """
        frame = empty_frame()
        for point_id, (value, at, status) in self._last.items():
            if status & PointStatus.DOWN and value is not None:
                frame.add(point_id, value, at, status & ~PointStatus.DOWN)
            frame.add(point_id, value, at, status)
        return frame

    def _drop(self) -> None:
        frame = self._waiting.popleft()
        for point_id, at in zip(frame.ids, frame.times, strict=True):
            first, last = self._dropped.get(point_id, (at, at))
            self._dropped[point_id] = min(first, at), max(last, at)
        self._rows -= len(frame)
        self.lost_rows += len(frame)

    async def _tell_lost(self) -> None:
        """Let the gap ledger know what was dropped."""
        told, notes = dict(self._dropped), no_gaps()
        for point_id, (start, end) in told.items():
            notes.add(point_id, start, end, GapKind.LOST, GapReason.POINTS_DOWN)
        await self._call(self._points.lost.remote(notes.encode()))
        for point_id, interval in told.items():
            if self._dropped.get(point_id) == interval:
                del self._dropped[point_id]

    async def _call(self, reference: Any) -> Any:
        # Not wait_for: in Python 3.11 it swallows a cancellation that meets the answer.
        async with asyncio.timeout(CALL_TIMEOUT):
            return await reference

    def _tell(self) -> None:
        self._idle.clear()
        self._news.set()


class FaultLog:
    """Write a fault of a device to the log, but the same kind of the same device at most once a minute."""

    def __init__(self, log: logging.Logger, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log, self._monotonic = log, monotonic
        self._told: dict[tuple[str, str], float] = {}

    def tell(self, device: str, kind: str, reason: str, *, exc_info: bool = False) -> None:
        """Log a fault, unless this was done within the last minute; `exc_info` adds the traceback."""
        if self.due(device, kind):
            self._log.warning("%s: %s: %s", device, kind, reason, exc_info=exc_info)

    def due(self, device: str, kind: str) -> bool:
        """Tell whether a fault may be logged now; whoever asks logs it."""
        now = self._monotonic()
        if now - self._told.get((device, kind), -60.0) < 60:
            return False
        self._told[device, kind] = now
        return True
