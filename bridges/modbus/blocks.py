"""Which registers to ask for together. Pure.

A request costs about the same for one register as for 125, so neighbours are read in one block, along with
the few registers between them that nobody asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from bridges.modbus.reading import BlockReader
from bridges.modbus.registers import BIT_TYPES, Register, RegisterType

MAX_BITS: Final = 2000
"""Bits in one request (MODBUS Application Protocol V1.1b3, 6.1)."""

MAX_REGISTERS: Final = 125
"""Registers in one request (6.3 there)."""

Item = tuple[str, Register]
"""A point's id and its register."""


@dataclass(frozen=True, eq=False)
class Block:
    """One read request, and the points whose registers it brings; `items` in order of address."""

    type: RegisterType
    address: int
    count: int
    items: tuple[Item, ...]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Its points."""
        return tuple(point_id for point_id, _ in self.items)

    @cached_property
    def reader(self) -> BlockReader:
        """Decodes an answer to this block."""
        return BlockReader(self.address, [register for _, register in self.items])

    def words_of(self, register: Register, words: list[int]) -> list[int]:
        """Pick a register's words out of the answer to this block."""
        start = register.address - self.address
        return words[start : start + register.count]


def coalesce(items: Iterable[Item], *, max_gap: int = 10, max_registers: int = MAX_REGISTERS) -> list[Block]:
    """Cover all registers with few requests, in order of type and address.

    Bridges gaps of up to `max_gap` registers; asks for at most `max_registers` registers or 2000 bits at
    once. A value is never torn over two requests, even if it alone is wider than `max_registers`: its halves
    could be from before and after a change.
    """
    blocks: list[Block] = []
    items = list(items)
    for kind in ("coil", "discrete", "input", "holding"):
        limit = MAX_BITS if kind in BIT_TYPES else max_registers
        ordered = sorted((item for item in items if item[1].type == kind), key=_place)
        run: list[Item] = []
        end = 0
        for item in ordered:
            register = item[1]
            reach = max(end, register.address + register.count)
            if run and (register.address - end > max_gap or reach - run[0][1].address > limit):
                blocks.append(_block(run))
                run, reach = [], register.address + register.count
            run.append(item)
            end = reach
        if run:
            blocks.append(_block(run))
    return blocks


def split(block: Block) -> tuple[Block, Block] | None:
    """Cut a block that the device refuses in two; None when nothing is left to cut.

    Cuts in a gap while there is one, as what a device refuses is mostly a register that it doesn't have and
    that nobody asked for; else between two points; of several such places, in the one nearest to the middle.
    """
    middle = block.address + block.count / 2
    end = 0
    cuts: list[tuple[bool, float, int]] = []
    for at, (left, right) in enumerate(zip(block.items, block.items[1:], strict=False), start=1):
        end = max(end, left[1].address + left[1].count)
        if _place(left) != _place(right):
            gap = right[1].address - end
            cuts.append((gap <= 0, abs(right[1].address - middle), at))
    if not cuts:
        return None
    at = min(cuts)[2]
    return _block(list(block.items[:at])), _block(list(block.items[at:]))


def single(item: Item) -> Block:
    """Give the block that reads one point alone."""
    return _block([item])


def _place(item: Item) -> tuple[int, int]:
    return item[1].address, item[1].count


def _block(items: list[Item]) -> Block:
    first = items[0][1]
    end = max(register.address + register.count for _, register in items)
    return Block(first.type, first.address, end - first.address, tuple(items))
