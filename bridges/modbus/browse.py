"""Registers of a device as they are now: raw, and as every data type. For people who look for a value."""

from collections import deque
from typing import Any, Final, get_args

from pydantic import BaseModel

from actors.core.errors import BadInputError
from actors.core.values import PointValue
from bridges.modbus.blocks import MAX_BITS
from bridges.modbus.client import ModbusLine, RefusedError
from bridges.modbus.registers import (
    BIT_TYPES,
    ByteOrder,
    DataType,
    Register,
    RegisterType,
    decode,
    size_of,
)

MOST: Final = {"coil": MAX_BITS, "discrete": MAX_BITS, "holding": 500, "input": 500}
"""Registers or bits that one look may ask for."""
MOST_REQUESTS: Final = 64
"""Requests of one look; what is left then stays unread."""
NOT_ASKED: Final = "not asked for: the device refuses too many registers around it"
SAYING_NOTHING: Final = frozenset({4, 5, 6, 10, 11})
"""Exceptions that say nothing of the registers that were asked for."""

_TYPES: Final = tuple(each for each in get_args(DataType) if each not in {"bool", "string"})
_ONE_WORD: Final = ("big-endian", "little-endian")
"""The byte orders that differ in a single register."""


class Seen(BaseModel):
    """One register or bit."""

    address: int
    raw: int | None
    """The 16 bits as an unsigned number, or the bit; None if the device didn't give it."""
    error: str | None = None
    """Why it didn't."""
    hex: str | None = None
    text: str | None = None
    """Its two characters, a dot for what can't be printed."""
    values: dict[str, dict[str, PointValue | None]] = {}
    """By data type and byte order, the value that begins here, as far as the registers were read."""


class Look(BaseModel):
    """A range of registers of one unit at one time."""

    network_id: str
    unit: int
    register_type: str
    address: int
    count: int
    registers: list[Seen]
    requests: int
    """How many requests it took."""


def check_range(kind: RegisterType, address: int, count: int) -> None:
    """Refuse a range that can't be asked for. Raises BadInputError."""
    if kind not in get_args(RegisterType):
        raise BadInputError("register_type", kind, "one of " + ", ".join(get_args(RegisterType)))
    if not 0 <= address <= 0xFFFF:
        raise BadInputError("address", address, "a whole number from 0 to 65535")
    most = min(MOST[kind], 0x10000 - address)
    if not 1 <= count <= most:
        raise BadInputError("count", count, f"a whole number from 1 to {most}")


async def read_range(
    line: ModbusLine, unit: int, kind: RegisterType, address: int, count: int, most: int
) -> tuple[list[int | str], int]:
    """Read a range by requests of at most `most` registers; give each register, or why it isn't there.

    What the device refuses is halved until the registers that it doesn't have are left. Also gives the number
    of requests. Others may use the line in between. Raises what the line raises when it gives no answer.
    """
    found: list[int | str] = [NOT_ASKED] * count
    waiting = deque((start, min(start + most, count)) for start in range(0, count, most))
    requests = 0
    while waiting and requests < MOST_REQUESTS:
        start, end = waiting.popleft()
        requests += 1
        try:
            async with line.turn(unit):
                words = await line.read(unit, kind, address + start, end - start)
        except RefusedError as error:
            if error.code in SAYING_NOTHING:
                raise
            found[start:end] = [error.reason] * (end - start)
            if end - start > 1:
                middle = (start + end) // 2
                waiting.extendleft([(middle, end), (start, middle)])
            continue
        found[start:end] = words
    for start, end in waiting:
        found[start:end] = [NOT_ASKED] * (end - start)
    return found, requests


def seen(kind: RegisterType, address: int, found: list[int | str]) -> list[Seen]:
    """Show registers or bits in every way; a text in place of a number says why it isn't there. Pure."""
    rows = []
    for at, raw in enumerate(found):
        if isinstance(raw, str):
            rows.append(Seen(address=address + at, raw=None, error=raw))
        elif kind in BIT_TYPES:
            rows.append(Seen(address=address + at, raw=raw))
        else:
            rows.append(
                Seen(
                    address=address + at,
                    raw=raw,
                    hex=f"{raw:04X}",
                    text="".join(chr(each) if 32 <= each < 127 else "." for each in raw.to_bytes(2, "big")),
                    values=_values(kind, address + at, found[at : at + 4]),
                )
            )
    return rows


def _values(
    kind: RegisterType, address: int, words: list[int | str]
) -> dict[str, dict[str, PointValue | None]]:
    shown: dict[str, dict[str, PointValue | None]] = {}
    for data_type in _TYPES:
        width = size_of(data_type)
        mine: list[Any] = words[:width]
        if len(mine) < width or any(isinstance(each, str) for each in mine):
            continue
        orders = _ONE_WORD if width == 1 else get_args(ByteOrder)
        shown[data_type] = {
            order: decode(Register(kind, address, data_type, order), mine).value for order in orders
        }
    return shown
