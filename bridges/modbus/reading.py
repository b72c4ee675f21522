"""Decoding a whole block at once: most registers are plain numbers, and these cost little together. Pure."""

import math
import struct
from collections.abc import Callable, Sequence
from functools import partial
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

Value = tuple[PointValue | None, int]
"""A value, and the status flags that its own bits call for."""
_NONE: Final[Value] = (None, int(PointStatus.FAULT))


class BlockReader:
    """Decodes the words of one block as `registers.decode` does, each register for itself."""

    def __init__(self, start: int, registers: Sequence[Register]) -> None:
        """Take the block's first address and its registers in order of address."""
        self._start, self._registers = start, registers
        self._plain: list[int] = []
        self._makes: list[Callable[[Any], Value]] = []
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
            self._makes.append(_maker(register))
            end = at + register.count
        self._words = struct.Struct(f">{len(self._order)}H")
        self._numbers = struct.Struct("".join(codes))

    def read(self, words: Sequence[int]) -> list[Value]:
        """Give the values in order of the registers."""
        data = self._words.pack(*[words[at] for at in self._order])
        plain = [make(raw) for make, raw in zip(self._makes, self._numbers.unpack(data), strict=True)]
        if not self._others:
            return plain
        found: list[Value] = [(None, 0)] * len(self._registers)
        for number, value in zip(self._plain, plain, strict=True):
            found[number] = value
        for number in self._others:
            register = self._registers[number]
            at = register.address - self._start
            reading = decode(register, words[at : at + register.count])
            found[number] = (reading.value, reading.status)
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


def _maker(register: Register) -> Callable[[Any], Value]:
    """Give what makes a value of a raw number."""
    scale, offset = register.scale, register.offset
    as_it_is = scale == 1.0 and offset == 0.0
    if not register.data_type.startswith("float"):
        return _whole if as_it_is else partial(_scaled, scale, offset)
    round_off = shortest if register.data_type == "float32" else float

    def real(raw: float) -> Value:
        value = round_off(raw) if as_it_is else round_off(raw) * scale + offset
        return (value, 0) if math.isfinite(value) else _NONE

    return real


def _whole(raw: int) -> Value:
    return float(raw), 0


def _scaled(scale: float, offset: float, raw: int) -> Value:
    value = raw * scale + offset
    if not math.isfinite(value):
        return _NONE
    return (float(f"{value:.15g}") if scale != 1.0 else value), 0
