"""The last row of each point of a unit, and its way to the outbox."""

from collections.abc import Iterable

from actors.core.clock import Clock
from actors.core.values import PointStatus
from actors.point.models import empty_frame
from bridges.modbus.blocks import Block
from bridges.modbus.registers import Reading
from bridges.outbox import Outbox, Row


class Rows:
    """Keep each point's value, time and status, and send them."""

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox, self._clock = outbox, clock
        self._rows: dict[str, Row] = {}

    def keep_only(self, ids: Iterable[str]) -> None:
        """Forget points that are not among these."""
        kept = set(ids)
        self._rows = {point_id: row for point_id, row in self._rows.items() if point_id in kept}

    def take(self, block: Block, words: list[int]) -> list[str]:
        """Take the points of a block that was read; gives their ids."""
        at, ids = self._clock(), [point_id for point_id, _ in block.items]
        for point_id, (value, status) in zip(ids, block.reader.read(words), strict=True):
            self._rows[point_id] = (value, at, status)
        return ids

    def take_one(self, point_id: str, reading: Reading) -> None:
        """Take one point and send it."""
        self._rows[point_id] = (reading.value, self._clock(), reading.status)
        self.send([point_id])

    def send(self, ids: Iterable[str]) -> None:
        """Send the rows of these points as they are now: a write may have come since they were read."""
        rows = self._rows
        known = [point_id for point_id in dict.fromkeys(ids) if point_id in rows]
        found = [rows[point_id] for point_id in known]
        frame = empty_frame()
        frame.ids = known
        frame.values = [value for value, _, _ in found]
        frame.times = [at for _, at, _ in found]
        frame.statuses = [status for _, _, status in found]
        self._outbox.put(frame)

    def fault(self, ids: list[str]) -> None:
        """Flag points that the device doesn't answer for; the last value and its time stay."""
        for point_id in ids:
            value, at, _ = self._rows.get(point_id, (None, self._clock(), 0))
            self._rows[point_id] = (value, at, int(PointStatus.FAULT))
        self.send(ids)

    def flag_down(self, ids: Iterable[str]) -> None:
        """Flag all points of a device that is down; the last values stay."""
        ids = list(ids)
        for point_id in ids:
            value, at, status = self._rows.get(point_id, (None, self._clock(), 0))
            self._rows[point_id] = (value, at, status | PointStatus.DOWN)
        self.send(ids)
