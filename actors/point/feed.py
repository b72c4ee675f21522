"""The way from the point store to history: nothing accepted is lost while history is away."""

import contextlib
import errno
import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from ray.exceptions import RayTaskError

from actors.core.errors import StorageError
from actors.history.gaps import EVERY, GapKind, GapReason, are_notes, decode_notes, no_gaps
from actors.point.models import PointFrame, decode_frame

log = logging.getLogger(__name__)

IN_MEMORY = 200
"""Frames that wait in memory before they go to the queue file."""

MAX_ROWS = 5_000
"""Rows joined into one call."""

LATE = 10_000
"""Milliseconds of samples that came late from which on the gap ledger hears of it."""

REFUSALS = 20
"""Times that a frame is offered to a history that lives and won't have it, before it is noted as lost."""

_LENGTH = 4


class HistoryFeed:
    """Hand frames to history in order, from a thread of its own; spill to a queue file when history is away.

    `send` appends one encoded frame and returns once history has committed it; whatever it raises, the frame
    is sent again later (appending twice changes nothing). Frames in memory are lost when this process is
    killed: at most what had not been sent in the moment, or `IN_MEMORY` frames while history was away too.
    What is in the queue file is sent after the next start. A frame that history goes on refusing, for another
    reason than its disk, must not hold up all that come after it: it is given up. What came late and what was
    lost is told to history's gap ledger, by notes that are sent as frames are.
    """

    def __init__(self, send: Callable[[bytes], object], queue_file: Path, *, retry: float = 0.5) -> None:
        """Take where to send. The thread starts with the first frame; a queue file goes before it.

        Pickled, only the arguments travel.
        """
        self._send, self._file, self._retry = send, queue_file, retry
        self._waiting: deque[bytes] = deque()
        self._work = threading.Condition()
        self._closed = False
        self._lost: dict[tuple[str, GapReason], tuple[int, int]] = {}
        """Intervals whose samples are lost, by point and reason, until history knows."""
        self._late: tuple[int, int] | None = None
        self._reason = GapReason.HISTORY_DOWN
        self._refused = 0
        self._drained = 0
        """Bytes of the queue file that history has, since it was moved out of the way."""
        self.failing: str | None = None
        """Why history takes nothing at the moment."""
        self._thread: threading.Thread | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return HistoryFeed, (self._send, self._file)

    def __call__(self, frame: bytes) -> None:
        """Queue a frame. Doesn't wait for history."""
        with self._work:
            self._waiting.append(frame)
            if len(self._waiting) > IN_MEMORY:
                self._spill()
            if self._thread is None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._was_killed()
                self._thread = threading.Thread(target=self._run, name="history-feed", daemon=True)
                self._thread.start()
            self._work.notify()

    def close(self, wait: float = 5.0) -> None:
        """Send what is left, for at most `wait` seconds; the rest goes to the queue file."""
        with self._work:
            self._closed = True
            self._work.notify()
        if self._thread is not None:
            self._thread.join(wait)
        with self._work:
            if self._waiting:
                self._spill()
            if not self._waiting:
                self._away.unlink(missing_ok=True)

    @property
    def queued(self) -> int:
        """Frames that wait in memory."""
        return len(self._waiting)

    @property
    def _sending(self) -> Path:
        return self._file.with_suffix(".sending")

    @property
    def _away(self) -> Path:
        """A file that is there while history takes nothing: its text says since when, its time until when."""
        return self._file.with_suffix(".away")

    @property
    def _spilled(self) -> bool:
        return self._file.exists() or self._sending.exists()

    def _spill(self) -> None:
        try:
            with self._file.open("ab") as file:
                start = file.tell()
                try:
                    for frame in self._waiting:
                        file.write(len(frame).to_bytes(_LENGTH, "big") + frame)
                    file.flush()
                except OSError:
                    # Half a frame would make everything after it unreadable.
                    file.truncate(start)
                    raise
            self._waiting.clear()
        except OSError as error:
            lost = self._waiting.popleft()
            self._note_lost(
                lost, GapReason.DISK_FULL if error.errno == errno.ENOSPC else GapReason.QUEUE_LOST
            )
            log.error("history is away and %s can't be written (%s): a frame of %d bytes is lost",
                      self._file, error.strerror, len(lost))  # fmt: skip

    def _run(self) -> None:
        while True:
            with self._work:
                while not (self._waiting or self._closed or self._spilled or self._unsaid):
                    self._work.wait()
                if self._closed and not (self._waiting or self._unsaid):
                    return
                batch = [] if self._spilled else self._take()
            try:
                if batch:
                    self._hand_over(join(batch), alone=len(batch) == 1)
                    if self._late is not None:
                        self._came_late(batch)
                elif self._spilled:
                    self._drain()
                else:
                    self._say()
                self.failing = None
            except Exception as error:  # whatever history's trouble is, its samples are kept
                if self.failing is None:
                    log.warning("history takes no samples: %s", error)
                self.failing = str(error) or type(error).__name__
                with self._work:
                    self._waiting.extendleft(reversed(batch))
                    self._is_away(batch, self.failing)
                    if self._closed:
                        return
                    self._work.wait(self._retry)

    def _hand_over(self, frame: bytes, *, alone: bool = True) -> None:
        """Send a frame. Raises what sending raises, until one that is `alone` was refused too often."""
        try:
            self._send(frame)
        except Exception as error:
            if not _is_refusal(error):
                raise
            self._refused += 1
            if self._refused < REFUSALS or not alone:
                raise
            log.error("history refuses a frame of %d bytes, which is lost: %s", len(frame), error)
            with self._work:
                self._note_lost(frame, GapReason.QUEUE_LOST)
        self._refused = 0

    def _take(self) -> list[bytes]:
        batch: list[bytes] = []
        rows = 0
        while self._waiting and rows < MAX_ROWS and not (batch and self._refused):
            if batch and (are_notes(self._waiting[0]) or are_notes(batch[0])):
                break
            frame = self._waiting.popleft()
            batch.append(frame)
            rows += len(frame) // 24
        return batch

    def _drain(self) -> None:
        """Send the queue file. It is moved out of the way first, so that new spills start a new one."""
        work = self._sending
        with self._work:
            if not work.exists():
                self._file.rename(work)
        with work.open("rb") as file:
            file.seek(self._drained)
            while head := file.read(_LENGTH):
                frame = file.read(int.from_bytes(head, "big"))
                if not _is_whole(head, frame):
                    log.error("%s ends in half a frame; the rest is lost", work)
                    written = int(work.stat().st_mtime * 1000)
                    since = self._late[1] if self._late else written
                    self._lost[EVERY, GapReason.QUEUE_LOST] = (min(since, written), written)
                    break
                self._hand_over(frame)
                self._came_late([frame])
                self._drained = file.tell()
        self._drained = 0
        work.unlink()

    # The gap ledger

    @property
    def _unsaid(self) -> bool:
        """Whether history has to be told of something, now that all samples are with it."""
        return bool(self._lost) or (self._late is not None and not self._waiting and not self._spilled)

    def _say(self) -> None:
        """Tell history what came late and what is lost. Raises what sending raises; then it is said later."""
        notes = no_gaps()
        with self._work:
            lost, late = dict(self._lost), self._late
        for (point_id, reason), (start, end) in lost.items():
            notes.add(point_id, start, end, GapKind.LOST, reason)
        if late is not None and late[1] - late[0] >= LATE:
            notes.add(EVERY, *late, GapKind.LATE, self._reason)
        if len(notes):
            self._send(notes.encode())
        with self._work:
            for key, interval in lost.items():
                if self._lost.get(key) == interval:
                    del self._lost[key]
            if not (self._waiting or self._spilled):
                self._late, self._reason = None, GapReason.HISTORY_DOWN
                self._away.unlink(missing_ok=True)

    def _note_lost(self, frame: bytes, reason: GapReason) -> None:
        if are_notes(frame):
            notes = decode_notes(frame)
            rows = zip(notes.ids, notes.starts, notes.ends, notes.reasons, strict=True)
        else:
            data = decode_frame(frame)
            rows = zip(data.ids, data.times, data.times, [reason] * len(data), strict=True)
        for point_id, start, end, why in rows:
            first, last = self._lost.get((point_id, why), (start, end))
            self._lost[point_id, why] = (min(first, start), max(last, end))

    def _came_late(self, frames: list[bytes]) -> None:
        for frame in frames:
            if not are_notes(frame) and (times := decode_frame(frame).times):
                first, last = self._late or (times[0], times[0])
                self._late = min(first, *times), max(last, *times)

    def _is_away(self, batch: list[bytes], error: str) -> None:
        """Remember since when samples wait, also for the case that this process is killed meanwhile."""
        self._came_late(batch)
        if "disk is full" in error:
            self._reason = GapReason.DISK_FULL
        with contextlib.suppress(OSError):
            if self._away.exists():
                self._away.touch()
            elif self._late is not None:
                self._away.write_text(str(self._late[0]))

    def _was_killed(self) -> None:
        """Note what waited in the memory of a process that was killed while history was away."""
        try:
            since, until = int(self._away.read_text()), int(self._away.stat().st_mtime * 1000)
        except (OSError, ValueError):
            return
        self._lost[EVERY, GapReason.QUEUE_LOST] = (min(since, until), until)


def _is_refusal(error: Exception) -> bool:
    """Tell whether history answered, and not that its file can't take anything now."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    return isinstance(error, RayTaskError | ValueError) and not isinstance(cause, StorageError)


def _is_whole(head: bytes, frame: bytes) -> bool:
    """Tell whether a frame of the queue file can be read."""
    if len(head) < _LENGTH or len(frame) < int.from_bytes(head, "big"):
        return False
    try:
        if not are_notes(frame):
            decode_frame(frame)
    except msgspec.DecodeError:
        return False
    return True


def join(frames: list[bytes]) -> bytes:
    """Give several encoded frames as one."""
    if len(frames) == 1:
        return frames[0]
    whole = PointFrame([], [], [], [])
    for frame in frames:
        part = decode_frame(frame)
        whole.ids += part.ids
        whole.values += part.values
        whole.times += part.times
        whole.statuses += part.statuses
    return whole.encode()
