"""The last row of each point of a unit, and its way to the outbox."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import repeat

from actors.core.clock import Clock
from actors.core.values import PointStatus
from actors.point.models import PointFrame
from bridges.modbus.blocks import Block
from bridges.modbus.registers import Reading
from bridges.outbox import Outbox, Row


class Rows:
    """Keep each point's value, time and status, and send them."""

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox, self._clock = outbox, clock
        self._rows: dict[str, Row] = {}
        self.changes = 0
        """How often rows were changed by anything but a poll: by a write, a fault, another plan."""

    def keep_only(self, ids: Iterable[str]) -> None:
        """Forget points that are not among these."""
        self.changes += 1
        kept = set(ids)
        self._rows = {point_id: row for point_id, row in self._rows.items() if point_id in kept}

    def now(self) -> int:
        """Give the time of what is read now."""
        return self._clock()

    def take(self, block: Block, words: Sequence[int], at: int, frame: PointFrame) -> None:
        """Take the points of a block that was read at a time, and append them to a frame."""
        values, statuses = block.reader.read(words)
        self._rows.update(zip(block.ids, zip(values, repeat(at), statuses), strict=True))
        frame.ids += block.ids
        frame.values += values
        frame.times += [at] * len(values)
        frame.statuses += statuses

    def take_one(self, point_id: str, reading: Reading) -> None:
        """Take one point and send it."""
        self.changes += 1
        self._rows[point_id] = (reading.value, self._clock(), reading.status)
        self.send([point_id])

    def send(self, ids: Iterable[str]) -> None:
        """Send the rows of these points as they are now: a write may have come since they were read."""
        rows = self._rows
        known = [point_id for point_id in dict.fromkeys(ids) if point_id in rows]
        if known:
            values, times, statuses = zip(*[rows[point_id] for point_id in known], strict=True)
            self._outbox.put(PointFrame(known, list(values), list(times), list(statuses)))

    def send_frame(self, frame: PointFrame, changes: int) -> None:
        """Send what a poll has read; `changes` is what it was when the poll began."""
        if self.changes != changes:
            self.send(frame.ids)
        elif frame.ids:
            self._outbox.put(frame)

    def fault(self, ids: list[str]) -> None:
        """Flag points that the device doesn't answer for; the last value and its time stay."""
        self.changes += 1
        for point_id in ids:
            value, at, _ = self._rows.get(point_id, (None, self._clock(), 0))
            self._rows[point_id] = (value, at, int(PointStatus.FAULT))
        self.send(ids)

    def flag_down(self, ids: Iterable[str]) -> None:
        """Flag all points of a device that is down; the last values stay."""
        self.changes += 1
        ids = list(ids)
        for point_id in ids:
            value, at, status = self._rows.get(point_id, (None, self._clock(), 0))
            self._rows[point_id] = (value, at, status | PointStatus.DOWN)
        self.send(ids)


class Fresh:
    """What one poll reads, decoded in the time in which the device makes up its next answer."""

    def __init__(self, rows: Rows) -> None:
        self._rows, self._changes = rows, rows.changes
        self._words: deque[tuple[Block, Sequence[int], int]] = deque()
        self._frame = PointFrame([], [], [], [])

    def take_soon(self, block: Block, words: Sequence[int]) -> None:
        """Take a block that was read: the event loop decodes it when the poll waits for the next answer."""
        self._words.append((block, words, self._rows.now()))
        asyncio.get_running_loop().call_soon(self._take_quietly)

    def send(self) -> bool:
        """Send all that was read, as one frame; tells whether it was anything."""
        self._take()
        self._rows.send_frame(self._frame, self._changes)
        return bool(self._frame.ids)

    def _take_quietly(self) -> None:
        # What fails here fails again in `send`, whose caller tells it.
        with contextlib.suppress(Exception):
            self._take()

    def _take(self) -> None:
        while self._words:
            self._rows.take(*self._words[0], self._frame)
            self._words.popleft()
