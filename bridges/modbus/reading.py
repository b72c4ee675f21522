"""Decoding a whole block at once: most registers are plain numbers, and these cost little together. Pure."""

import struct
from collections.abc import Callable, Sequence
from itertools import groupby
from math import isfinite
from typing import Any, Final

from actors.core.values import PointStatus, PointValue
from bridges.modbus.registers import BIT_TYPES, Register, decode
from bridges.numbers import shortest

_CODES: Final = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "float32": "f",
    "float64": "d",
}
"""Struct codes of numbers that a float holds exactly, or nearly."""
_SWAPPED: Final = "big-endian-word-swap"
_FINE: Final = 100_000
"""Parts of one that five decimals can name: with ten digits of a raw number, a float holds all of them."""

Values = list[PointValue | None]
_Make = Callable[[Sequence[Any]], Values]
"""Makes values of raw numbers in a row; None of what is no number."""


class BlockReader:
    """Decodes the words of one block as `registers.decode` does, each register for itself."""

    def __init__(self, start: int, registers: Sequence[Register]) -> None:
        """Take the block's first address and its registers in order of address."""
        self._start, self._registers = start, registers
        self._plain: list[int] = []
        self._others: list[int] = []
        self._order: list[int] = []
        """Which word of the answer stands where, so that each value has its highest word first."""
        codes, end = [">"], 0
        for number, register in enumerate(registers):
            at = register.address - start
            if at < end or not _is_plain(register):
                self._others.append(number)
                continue
            words = range(at, at + register.count)
            self._order += reversed(words) if register.byte_order == _SWAPPED else words
            codes.append(_CODES[register.data_type])
            self._plain.append(number)
            end = at + register.count
        self._runs: list[tuple[slice, _Make]] = []
        """Plain registers in a row that are scaled alike, and what makes their values."""
        at = 0
        for key, alike in groupby(self._plain, key=lambda number: _scaling(registers[number])):
            length = len(list(alike))
            self._runs.append((slice(at, at + length), _maker(*key)))
            at += length
        self._words = struct.Struct(f">{len(self._order)}H")
        self._numbers = struct.Struct("".join(codes))

    def read(self, words: Sequence[int]) -> tuple[Values, list[int]]:
        """Give the values in order of the registers, and the status flags that their own bits call for."""
        raw = self._numbers.unpack(self._words.pack(*[words[at] for at in self._order]))
        values: Values = []
        for run, make in self._runs:
            values += make(raw[run])
        if self._others:
            values = self._with_others(values, words)
        if None in values:
            return values, [int(PointStatus.FAULT) if value is None else 0 for value in values]
        return values, [0] * len(values)

    def _with_others(self, plain: Values, words: Sequence[int]) -> Values:
        found: Values = [None] * len(self._registers)
        for number, value in zip(self._plain, plain, strict=True):
            found[number] = value
        for number in self._others:
            register = self._registers[number]
            at = register.address - self._start
            found[number] = decode(register, words[at : at + register.count]).value
        return found


def _is_plain(register: Register) -> bool:
    return (
        register.type not in BIT_TYPES
        and register.data_type in _CODES
        and register.byte_order in ("big-endian", _SWAPPED)
        and register.bit is None
        and register.mask is None
        and register.absent is None
        and not register.multi_state
    )


def _scaling(register: Register) -> tuple[str, float, float]:
    """Give what registers that are scaled alike have in common."""
    kind = register.data_type if register.data_type.startswith("float") else "whole"
    return kind, register.scale, register.offset


def _maker(kind: str, scale: float, offset: float) -> _Make:
    """Give what makes values of raw numbers."""
    as_it_is = scale == 1.0 and offset == 0.0
    if kind == "whole":
        if as_it_is:
            return lambda raws: list(map(float, raws))
        parts = round(1 / scale) if 0 < scale < 1 else 0
        if offset == 0.0 and parts and scale == 1 / parts and _FINE % parts == 0:
            # A division gives the nearest number, without dust to wipe off.
            return lambda raws: [raw / parts for raw in raws]
        return lambda raws: [_scaled(scale, offset, raw) for raw in raws]
    round_off = shortest if kind == "float32" else float
    if as_it_is:
        return lambda raws: [value if isfinite(value) else None for value in map(round_off, raws)]
    return lambda raws: [
        value if isfinite(value) else None for value in (round_off(raw) * scale + offset for raw in raws)
    ]


def _scaled(scale: float, offset: float, raw: int) -> float | None:
    value = raw * scale + offset
    if not isfinite(value):
        return None
    return float(f"{value:.15g}") if scale != 1.0 else value
