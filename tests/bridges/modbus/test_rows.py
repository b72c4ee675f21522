"""What a poll has read goes out as one frame, unless something newer came meanwhile."""

from typing import Any

from actors.core.values import PointStatus
from actors.point.models import PointFrame
from bridges.modbus.blocks import Block, coalesce
from bridges.modbus.registers import Reading, Register
from bridges.modbus.rows import Fresh, Rows

NOON = 1_790_000_000_000


class Outbox:
    """Keeps the frames."""

    def __init__(self) -> None:
        self.frames: list[PointFrame] = []

    def put(self, frame: PointFrame) -> None:
        self.frames.append(frame)

    def last(self) -> dict[str, tuple[Any, int, int]]:
        frame = self.frames[-1]
        rows = zip(frame.values, frame.times, frame.statuses, strict=True)
        return dict(zip(frame.ids, rows, strict=True))


def _blocks() -> list[Block]:
    registers = [(f"p{at}", Register("holding", at, "uint16")) for at in (0, 1, 200)]
    return coalesce(registers)


def _made() -> tuple[Rows, Outbox]:
    outbox: Any = Outbox()
    return Rows(outbox, lambda: NOON), outbox


async def test_all_blocks_of_a_poll_are_one_frame() -> None:
    rows, outbox = _made()
    fresh = Fresh(rows)
    first, second = _blocks()
    fresh.take_soon(first, [7, 8])
    fresh.take_soon(second, [9])
    assert fresh.send()
    assert len(outbox.frames) == 1
    assert outbox.last() == {"p0": (7, NOON, 0), "p1": (8, NOON, 0), "p200": (9, NOON, 0)}


async def test_a_poll_that_read_nothing_sends_nothing() -> None:
    rows, outbox = _made()
    assert not Fresh(rows).send()
    assert outbox.frames == []


async def test_what_was_written_during_a_poll_is_not_undone_by_it() -> None:
    rows, outbox = _made()
    fresh = Fresh(rows)
    first, _ = _blocks()
    rows.take(first, [7, 8], NOON, fresh._frame)
    rows.take_one("p1", Reading(55, 0))
    fresh.send()
    assert outbox.last() == {"p0": (7, NOON, 0), "p1": (55, NOON, 0)}


async def test_points_that_went_down_or_were_taken_away_during_a_poll_stay_so() -> None:
    rows, outbox = _made()
    fresh = Fresh(rows)
    first, _ = _blocks()
    rows.take(first, [7, 8], NOON, fresh._frame)
    rows.flag_down(["p0"])
    rows.keep_only(["p0"])
    fresh.send()
    assert outbox.last() == {"p0": (7, NOON, int(PointStatus.DOWN))}
