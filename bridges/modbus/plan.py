"""What to ask a device for next. Pure: time, in seconds of a clock that doesn't jump, is an argument.

Starts from coalesced blocks and learns which of them the device won't answer: those are cut until only the
points that it really doesn't have are left, and these are asked for alone, now and then.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bridges.backoff import Backoff
from bridges.modbus.blocks import Block, Item, coalesce, single, split
from bridges.modbus.registers import Register

EARLY: Final = 0.1
"""Part of its interval by which a point is read early, so that no reading comes later than promised."""
EARLIEST: Final = 0.4
"""The same where neighbours may hold up the line."""
SILENT_UNTIL_CUT: Final = 2
"""Polls in which a block gets no answer, while the device answers others, after which it is cut."""
REFUSED_BACKOFF: Final = Backoff(first=30.0, limit=600.0, early=600.0)


class Wanted(NamedTuple):
    """One point of a device: where it is and how often to read it (longest time between readings, in s)."""

    register: Register
    interval: float


@dataclass(slots=True)
class _Group:
    """The blocks that share an interval."""

    period: float
    due: float
    blocks: list[Block] = field(default_factory=list)


@dataclass(slots=True)
class Refusal:
    """A point that the device doesn't answer for, though it answers for others."""

    reason: str
    retry_at: float
    tries: int = 1


class Plan:
    """The blocks of one device and when they are due, on a steady grid per interval."""

    def __init__(
        self, points: dict[str, Wanted], max_gap: int, max_registers: int, now: float, hold: float = 0.0
    ) -> None:
        """Everything is due at once. `hold` is how long, in s, another unit may hold up a poll."""
        self._points = points
        self._groups: dict[float, _Group] = {}
        self._trials: set[Block] = set()
        self._silent: dict[Block, int] = {}
        self._probes = 0
        self.refused: dict[str, Refusal] = {}
        for interval in sorted({wanted.interval for wanted in points.values()}):
            items = [
                (point_id, each.register) for point_id, each in points.items() if each.interval == interval
            ]
            blocks = coalesce(items, max_gap=max_gap, max_registers=max_registers)
            early = max(EARLY * interval, min(hold, EARLIEST * interval))
            self._groups[interval] = _Group(interval - early, now, blocks)

    @property
    def blocks(self) -> list[Block]:
        """All blocks that are read regularly."""
        return [block for group in self._groups.values() for block in group.blocks]

    def next_due(self) -> float:
        """Give the time of the next poll; infinite without points."""
        return min((group.due for group in self._groups.values()), default=float("inf"))

    def hurry(self, now: float) -> None:
        """Make everything due now, but for what was refused."""
        for group in self._groups.values():
            group.due = now

    def take_due(self, now: float) -> list[Block]:
        """Give the blocks to read now, troubled ones last, and move their groups on along the grid.

        Grid times that went by unused, as after a slow poll, are skipped. At most one refused point is tried
        again per poll; when all are refused, there is always one, so that the device is heard.
        """
        self._trials.clear()
        due: list[Block] = []
        for group in self._groups.values():
            if group.due <= now:
                group.due += group.period * (1 + int((now - group.due) / group.period))
                due += group.blocks
        due.sort(key=lambda block: self._silent.get(block, 0))
        waiting = sorted(self.refused, key=lambda point_id: self.refused[point_id].retry_at)
        if waiting and (not due or self.refused[waiting[0]].retry_at <= now):
            trial = single((waiting[0], self._points[waiting[0]].register))
            self._trials.add(trial)
            due.append(trial)
        return due

    def answered(self, block: Block) -> None:
        """Take it that a block was read; a refused point that was tried again is read regularly again."""
        self._silent.pop(block, None)
        if block in self._trials:
            self._trials.discard(block)
            for point_id, _ in block.items:
                if self.refused.pop(point_id, None):
                    self._groups[self._points[point_id].interval].blocks.append(block)

    def refuse(self, block: Block, reason: str, now: float, chance: float) -> tuple[list[Block], list[str]]:
        """Take it that the device doesn't answer for a block.

        Gives the two halves to read in its place, or, when it can't be cut, the ids of the points in it,
        which are refused.
        """
        self._silent.pop(block, None)
        if block in self._trials:
            self._trials.discard(block)
            for point_id, _ in block.items:
                if refusal := self.refused.get(point_id):
                    refusal.tries += 1
                    refusal.reason = reason
                    refusal.retry_at = now + REFUSED_BACKOFF.delay(refusal.tries, 0.0, chance)
            return [], []
        parts = split(block)
        for group in self._groups.values():
            if block in group.blocks:
                group.blocks.remove(block)
                group.blocks.extend(parts or ())
        if parts:
            return list(parts), []
        ids = [point_id for point_id, _ in block.items]
        for point_id in ids:
            self.refused[point_id] = Refusal(reason, now + REFUSED_BACKOFF.delay(1, 0.0, chance))
        return [], ids

    def silent(self, block: Block, reason: str, now: float, chance: float) -> list[str]:
        """Take it that a block got no answer while the device answers others.

        Gives the ids of points that are refused for it. Unlike a refusal this may be chance, and each try
        costs a time-out: so a block is cut the second time, and its halves are read with the next poll.
        """
        self._silent[block] = self._silent.get(block, 0) + 1
        if self._silent[block] < SILENT_UNTIL_CUT and block not in self._trials:
            return []
        parts, ids = self.refuse(block, reason, now, chance)
        for part in parts:
            self._silent[part] = SILENT_UNTIL_CUT - 1
        return ids

    def probe(self, beside: Block | None = None) -> Block | None:
        """Give the smallest question that shows whether the device answers, another one each time.

        It differs from `beside`, which got no answer; None if there is nothing else to ask.
        """
        items = list(_openers(self.blocks)) or [
            (point_id, self._points[point_id].register) for point_id in self.refused
        ]
        if beside is not None:
            items = [item for item in items if not _is_alone(beside, item)]
        if not items:
            return None
        self._probes += 1
        return single(items[self._probes % len(items)])


def _openers(blocks: Iterable[Block]) -> Iterable[Item]:
    return (block.items[0] for block in blocks)


def _is_alone(block: Block, item: Item) -> bool:
    register = item[1]
    return (block.type, block.address, block.count) == (register.type, register.address, register.count)
