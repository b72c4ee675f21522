"""The way from the point store to history: nothing accepted is lost while history is away."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from actors.point.models import PointFrame, decode_frame

log = logging.getLogger(__name__)

IN_MEMORY = 200
"""Frames that wait in memory before they go to the queue file."""

MAX_ROWS = 5_000
"""Rows joined into one call."""

_LENGTH = 4


class HistoryFeed:
    """Hand frames to history in order, from a thread of its own; spill to a queue file when history is away.

    `send` appends one encoded frame and returns once history has committed it; whatever it raises, the frame
    is sent again later (appending twice changes nothing). Frames in memory are lost when this process is
    killed: at most what had not been sent in the moment, or `IN_MEMORY` frames while history was away too.
    What is in the queue file is sent after the next start.
    """

    def __init__(self, send: Callable[[bytes], object], queue_file: Path, *, retry: float = 0.5) -> None:
        """Take where to send. The thread starts with the first frame; a queue file goes before it.

        Pickled, only the arguments travel.
        """
        self._send, self._file, self._retry = send, queue_file, retry
        self._waiting: deque[bytes] = deque()
        self._work = threading.Condition()
        self._closed = False
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

    @property
    def queued(self) -> int:
        """Frames that wait in memory."""
        return len(self._waiting)

    @property
    def _sending(self) -> Path:
        return self._file.with_suffix(".sending")

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
            log.error("history is away and %s can't be written (%s): a frame of %d bytes is lost",
                      self._file, error.strerror, len(lost))  # fmt: skip

    def _run(self) -> None:
        while True:
            with self._work:
                while not (self._waiting or self._closed or self._spilled):
                    self._work.wait()
                if self._closed and not self._waiting:
                    return
                batch = [] if self._spilled else self._take()
            try:
                if batch:
                    self._send(join(batch))
                else:
                    self._drain()
                self.failing = None
            except Exception as error:  # whatever history's trouble is, its samples are kept
                if self.failing is None:
                    log.warning("history takes no samples: %s", error)
                self.failing = str(error) or type(error).__name__
                with self._work:
                    self._waiting.extendleft(reversed(batch))
                    if self._closed:
                        return
                    self._work.wait(self._retry)

    def _take(self) -> list[bytes]:
        batch: list[bytes] = []
        rows = 0
        while self._waiting and rows < MAX_ROWS:
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
        data = work.read_bytes()
        at = 0
        while at + _LENGTH <= len(data):
            size = int.from_bytes(data[at : at + _LENGTH], "big")
            frame = data[at + _LENGTH : at + _LENGTH + size]
            at += _LENGTH + size
            try:
                decode_frame(frame)
            except msgspec.DecodeError:
                log.error("%s ends in half a frame; %d bytes are lost", work, len(data) - at)
                break
            self._send(frame)
        work.unlink()


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
