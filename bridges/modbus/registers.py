"""What Modbus registers mean: data types, byte orders, scaling, bits and masks. Pure.

Modbus says only that a register has 16 bits and travels high byte first (MODBUS Application Protocol V1.1b3,
4.2); how a device spreads wider values over registers is its vendor's choice, and `ByteOrder` names the four
that exist.
"""

import math
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from actors.core.errors import BadInputError
from actors.core.values import PointStatus, PointValue
from bridges.numbers import shortest

RegisterType = Literal["holding", "input", "coil", "discrete"]
DataType = Literal[
    "bool",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float32",
    "float64",
    "bcd16",
    "bcd32",
    "string",
]
"""`bcd` holds a decimal digit in each four bits; `string` holds two characters per register."""
ByteOrder = Literal["big-endian", "little-endian", "big-endian-word-swap", "little-endian-word-swap"]
"""Of the bytes ABCD of a value: ABCD, DCBA, CDAB and BADC. Of one register AB: AB, BA, AB and BA."""

BIT_TYPES: Final = frozenset({"coil", "discrete"})
WRITABLE_TYPES: Final = frozenset({"holding", "coil"})

_FORMATS: Final[dict[str, str]] = {
    "bool": ">H",
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
    "bcd16": ">H",
    "bcd32": ">I",
}
LONGEST_STRING: Final = 123
"""Registers that one write (function 16) can carry."""
_WORDS: Final = {width: struct.Struct(f">{width}H") for width in range(1, LONGEST_STRING + 1)}
_SWAPPED: Final = {width: struct.Struct(f"<{width}H") for width in range(1, LONGEST_STRING + 1)}
_EXACT: Final = 2**53
"""From here on a float doesn't hold every whole number."""
HIGHEST: Final = sys.float_info.max


class Reading(NamedTuple):
    """A value with the status flags that its own bits call for."""

    value: PointValue | None
    status: int


class Masked(NamedTuple):
    """A write to some bits of a register: new = (old AND keep) OR put."""

    keep: int
    put: int


@dataclass(frozen=True, slots=True)
class Register:
    """One point's place in a device and how to read it: value = raw * scale + offset.

    `bit` makes a bool of one bit of the (integer) value, `mask` an unsigned number of some of its bits,
    shifted right to the lowest bit of the mask.
    """

    type: RegisterType
    address: int
    """Zero-based, as it travels: 40001 in a manual is the holding register 0."""
    data_type: DataType = "uint16"
    byte_order: ByteOrder = "big-endian"
    scale: float = 1.0
    offset: float = 0.0
    bit: int | None = None
    mask: int | None = None
    multi_state: bool = False
    """Whether its numbers stand for states, which are whole."""
    length: int = 1
    """Registers of a string; of another type not used."""
    absent: int | None = None
    """Raw number by which the device says that it has no value, such as 0x8000."""

    @property
    def count(self) -> int:
        """Registers (or, of a coil or discrete input, bits) that it takes."""
        if self.type in BIT_TYPES:
            return 1
        return self.length if self.data_type == "string" else size_of(self.data_type)

    @property
    def is_bool(self) -> bool:
        """Whether its value is true or false."""
        return self.type in BIT_TYPES or self.data_type == "bool" or self.bit is not None

    @property
    def is_partial(self) -> bool:
        """Whether it is only some bits of its registers, so that a write must keep the others."""
        return self.type == "holding" and (self.bit is not None or self.mask is not None)

    @property
    def is_writable(self) -> bool:
        """Whether Modbus has a function to write it; the device may still refuse."""
        return self.type in WRITABLE_TYPES


def size_of(data_type: str) -> int:
    """Give the registers that a number takes."""
    return struct.calcsize(_FORMATS[data_type]) // 2


def _to_bytes(register: Register, words: Sequence[int]) -> bytes:
    """Give the bytes of a value, highest first, whatever order the device keeps them in."""
    count = len(words)
    match register.byte_order:
        case "big-endian":
            return _WORDS[count].pack(*words)
        case "little-endian":
            return _SWAPPED[count].pack(*words[::-1])
        case "big-endian-word-swap":
            return _WORDS[count].pack(*words[::-1])
        case "little-endian-word-swap":
            return _SWAPPED[count].pack(*words)


def _to_words(register: Register, data: bytes) -> list[int]:
    """Turn `_to_bytes` around."""
    count = len(data) // 2
    match register.byte_order:
        case "big-endian":
            return list(_WORDS[count].unpack(data))
        case "little-endian":
            return list(_SWAPPED[count].unpack(data))[::-1]
        case "big-endian-word-swap":
            return list(_WORDS[count].unpack(data))[::-1]
        case "little-endian-word-swap":
            return list(_SWAPPED[count].unpack(data))


def decode(register: Register, words: Sequence[int]) -> Reading:
    """Give the value of `count` registers as the device sent them, or of one bit.

    What is no number (NaN or infinite, also after scaling; a BCD digit above 9; what `absent` names) has no
    value and the flag FAULT. Numbers are floats, but for whole ones that a float can't hold.
    """
    if register.type in BIT_TYPES:
        return Reading(bool(words[0]), 0)
    data = _to_bytes(register, words)
    if register.data_type == "string":
        return Reading(_text(data), 0)
    if register.bit is not None:
        return Reading(bool(int.from_bytes(data, "big") >> register.bit & 1), 0)
    raw = _raw(register, data)
    if register.data_type == "bool":
        return Reading(raw != 0, 0)
    value = None if raw is None else _scaled(register, raw)
    return Reading(value, int(PointStatus.FAULT) if value is None else 0)


def _raw(register: Register, data: bytes) -> float | int | None:
    """Give the number in a value's bytes, None if it is none."""
    if register.absent is not None and int.from_bytes(data, "big") == register.absent % (1 << 8 * len(data)):
        return None
    if register.mask is not None:
        return (int.from_bytes(data, "big") & register.mask) >> _shift(register.mask)
    if register.data_type.startswith("bcd"):
        return int(data.hex()) if data.hex().isdecimal() else None
    raw: float | int = struct.unpack(_FORMATS[register.data_type], data)[0]
    return shortest(raw) if register.data_type == "float32" else raw


def _scaled(register: Register, raw: float | int) -> float | int | None:
    """Give a raw number in the point's own units, None if it is not finite."""
    if isinstance(raw, int) and abs(raw) > _EXACT and register.scale == 1.0 and register.offset == 0.0:
        return raw
    value = raw * register.scale + register.offset
    if not math.isfinite(value):
        return None
    if isinstance(raw, int) and register.scale != 1.0:
        value = float(f"{value:.15g}")  # 404 * 0.1 is 40.4, not 40.400000000000006
    return round(value) if register.multi_state else float(value)


def encode(register: Register, value: object) -> list[int]:
    """Give the registers (or the one bit) that hold `value`, rounded to what the data type can hold.

    Raises BadInputError for a value of the wrong kind or out of range, naming the range in the point's own
    units.
    """
    if register.is_bool:
        return [int(_truth(value))]
    if register.data_type == "string":
        return _to_words(register, _padded(register, value))
    number = _finite(value)
    raw = (number - register.offset) / register.scale
    low, high = _raw_range(register)
    if register.data_type.startswith("float"):
        if not low <= raw <= high:
            raise BadInputError("value", value, _span(register, low, high))
        return _to_words(register, struct.pack(_FORMATS[register.data_type], raw))
    if not math.isfinite(raw):
        raise BadInputError("value", value, _span(register, low, high))
    # A float can't hold every 64-bit number: without scaling, a whole number stays what it is.
    exact = isinstance(value, int) and register.scale == 1.0 and register.offset == 0.0
    whole = value if exact and isinstance(value, int) else round(raw)
    if not low <= whole <= high:
        raise BadInputError("value", value, _span(register, low, high))
    if register.data_type.startswith("bcd"):
        return _to_words(register, bytes.fromhex(f"{whole:0{4 * register.count}d}"))
    return _to_words(register, struct.pack(_FORMATS[register.data_type], whole))


def encode_partial(register: Register, value: object) -> Masked:
    """Give what a write of `value` changes in the registers of a point with `bit` or `mask`.

    Both numbers are those of the registers read as one unsigned value, highest word first as they travel.
    Raises BadInputError.
    """
    bits = 16 * register.count
    if register.bit is not None:
        mask, field = 1 << register.bit, int(_truth(value)) << register.bit
    else:
        mask = register.mask or 0
        high = mask >> _shift(mask)
        raw = (_finite(value) - register.offset) / register.scale
        if not -0.5 <= raw < high + 0.5:
            raise BadInputError("value", value, _span(register, 0, high))
        field = round(raw) << _shift(mask)
        if field & ~mask:
            raise BadInputError("value", value, f"a number whose bits fit the mask {mask:#06x}")
    return Masked(_travelling(register, ~mask & (1 << bits) - 1), _travelling(register, field))


def joined(words: Sequence[int]) -> int:
    """Give registers as one unsigned number, the first one highest."""
    number = 0
    for word in words:
        number = number << 16 | word
    return number


def parted(number: int, count: int) -> list[int]:
    """Turn `joined` around."""
    return [number >> 16 * (count - 1 - at) & 0xFFFF for at in range(count)]


def same(register: Register, wanted: Reading, got: Reading) -> bool:
    """Tell whether a value read back is the one that was written, as closely as its data type can say."""
    if wanted.value is None or got.value is None:
        return wanted.value is got.value
    if register.data_type.startswith("float") and not isinstance(wanted.value, str | bool):
        if isinstance(got.value, str):
            return False
        return math.isclose(wanted.value, got.value, rel_tol=1e-6, abs_tol=abs(register.scale) * 1e-9)
    return wanted.value == got.value


def _travelling(register: Register, number: int) -> int:
    return joined(_to_words(register, number.to_bytes(2 * register.count, "big")))


def _shift(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _truth(value: object) -> bool:
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise BadInputError("value", value, "true or false")


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= HIGHEST:
        raise BadInputError("value", value, "a finite number")
    return value


def _text(data: bytes) -> str:
    """Give what stands before the first NUL, without the blanks that fill it up."""
    text = data.partition(b"\0")[0]
    try:
        told = text.decode("utf-8")
    except UnicodeDecodeError:
        told = text.decode("latin-1")
    return "".join(each if each.isprintable() else " " for each in told).strip()


def _padded(register: Register, value: object) -> bytes:
    room = 2 * register.count
    if isinstance(value, str) and value.isascii() and value.isprintable() and len(value) <= room:
        return value.encode("ascii").ljust(room, b"\0")
    raise BadInputError("value", value, f"a text of at most {room} ASCII characters")


def _raw_range(register: Register) -> tuple[float, float]:
    if register.data_type == "float32":
        highest = struct.unpack(">f", b"\x7f\x7f\xff\xff")[0]
        return -highest, highest
    if register.data_type == "float64":
        return -HIGHEST, HIGHEST
    if register.data_type.startswith("bcd"):
        return 0, 10 ** (4 * register.count) - 1
    bits = 16 * register.count
    if register.data_type.startswith("u"):
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _span(register: Register, low: float, high: float) -> str:
    ends = sorted(raw * register.scale + register.offset for raw in (low, high))
    return f"a number from {ends[0]:.10g} to {ends[1]:.10g} ({register.data_type})"
