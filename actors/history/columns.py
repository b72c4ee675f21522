"""Samples as columns: what history computes with and keeps in files."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.core.values import PointValue

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NONE: Final = 0
BOOL: Final = 1
INT: Final = 2
FLOAT: Final = 3
TEXT: Final = 4
WIDE: Final = 5
"""Whole numbers that a float can't hold exactly."""

_KINDS: Final = {type(None): NONE, bool: BOOL, int: INT, float: FLOAT, str: TEXT}
_EXACT: Final = 2**53
_LARGEST: Final = 2**63


class Columns(NamedTuple):
    """Samples in columns of one length: a value is a number, its kind, and for texts what is in `others`."""

    times: Ints
    """Milliseconds since the epoch."""
    numbers: Floats
    """NaN where there is no number; true is 1."""
    kinds: NDArray[np.uint8]
    statuses: NDArray[np.int32]
    others: NDArray[np.object_] | None = None
    """Texts and whole numbers that no float holds, or None when there are none."""


def empty() -> Columns:
    """Give columns without a sample."""
    return Columns(
        np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.uint8), np.empty(0, np.int32)
    )


def from_values(
    times: Sequence[int], values: Sequence[PointValue | None], statuses: Sequence[int]
) -> Columns:
    """Turn samples into columns; NaN becomes no value. Raises OverflowError for times beyond 64 bits."""
    at = np.array(times, np.int64)
    flags = np.array(statuses, np.int32) if any(statuses) else np.zeros(len(at), np.int32)
    types = set(map(type, values))
    if len(types) == 1 and types <= {float, bool}:
        numbers = np.array(values, np.float64)
        kinds = np.full(len(at), FLOAT if float in types else BOOL, np.uint8)
        if not np.isfinite(numbers).all():
            kinds[np.isnan(numbers)] = NONE
        return Columns(at, numbers, kinds, flags)
    numbers = np.full(len(at), np.nan)
    kinds = np.zeros(len(at), np.uint8)
    others: NDArray[np.object_] | None = None
    for index, value in enumerate(values):
        kind = _KINDS[type(value)]
        if isinstance(value, int | float):
            if kind == INT and not -_EXACT <= value <= _EXACT:
                kind = WIDE if -_LARGEST <= value < _LARGEST else FLOAT
            numbers[index] = value
            if value != value:  # noqa: PLR0124 - NaN
                kind = NONE
        if kind in {TEXT, WIDE}:
            others = np.full(len(at), None, object) if others is None else others
            others[index] = value
        kinds[index] = kind
    return Columns(at, numbers, kinds, flags, others)


def to_values(columns: Columns) -> list[PointValue | None]:
    """Give the values with their types."""
    kinds = columns.kinds
    values: list[Any] = columns.numbers.tolist()
    if not len(values) or (kinds == FLOAT).all():
        return values
    for index in np.flatnonzero(kinds != FLOAT).tolist():
        kind = kinds[index]
        if kind == NONE:
            values[index] = None
        elif kind == BOOL:
            values[index] = values[index] == 1.0
        elif kind == INT:
            values[index] = int(values[index])
        elif columns.others is not None:
            values[index] = columns.others[index]
    return values


def take(columns: Columns, index: Any) -> Columns:
    """Give some rows: a slice, a mask or positions."""
    others = None if columns.others is None else columns.others[index]
    return Columns(
        columns.times[index], columns.numbers[index], columns.kinds[index], columns.statuses[index], others
    )


def between(columns: Columns, first: int, last: int) -> Columns:
    """Give the rows with times in [first, last) of columns in order of time."""
    low, high = np.searchsorted(columns.times, (first, last))
    return columns if low == 0 and high == len(columns.times) else take(columns, slice(low, high))


def join(parts: Sequence[Columns]) -> Columns:
    """Put columns one behind the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return empty()
    others: NDArray[np.object_] | None = None
    if any(each.others is not None for each in parts):
        others = np.concatenate(
            [np.full(len(e.times), None, object) if e.others is None else e.others for e in parts]
        )
    return Columns(
        np.concatenate([each.times for each in parts]),
        np.concatenate([each.numbers for each in parts]),
        np.concatenate([each.kinds for each in parts]),
        np.concatenate([each.statuses for each in parts]),
        others,
    )


def in_order(columns: Columns) -> Columns:
    """Sort by time; of several samples with one time the first stays."""
    times = columns.times
    steps = times[1:] > times[:-1]
    if steps.all():
        return columns
    order = np.argsort(times, kind="stable")
    times = times[order]
    return take(columns, order[np.concatenate(([True], times[1:] != times[:-1]))])


class _Body(msgspec.Struct, array_like=True):
    series: bytes
    base: int
    offsets: bytes
    numbers: bytes
    kinds: bytes
    statuses: bytes
    others: list[Any] | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Body)


def _short(array: NDArray[Any]) -> bytes:
    """One element where all are the same."""
    return array[:1].tobytes() if len(array) and (array == array[0]).all() else array.tobytes()


def pack_frame(series: NDArray[np.int32], columns: Columns) -> bytes:
    """Write the samples of several series as they wait for packing."""
    base = int(columns.times.min())
    offsets = columns.times - base
    small = offsets.max() < 2**32
    return _encoder.encode(
        _Body(
            series.tobytes(),
            base,
            offsets.astype(np.uint32).tobytes() if small else offsets.tobytes(),
            columns.numbers.tobytes(),
            _short(columns.kinds),
            _short(columns.statuses),
            None if columns.others is None else columns.others.tolist(),
        )
    )


def unpack_frame(data: bytes) -> tuple[NDArray[np.int32], Columns]:
    """Read what `pack_frame` wrote. Raises msgspec.DecodeError."""
    body = _decoder.decode(data)
    series = np.frombuffer(body.series, np.int32)
    count = len(series)
    width = np.uint32 if len(body.offsets) == 4 * count else np.int64
    times = np.frombuffer(body.offsets, width).astype(np.int64) + body.base
    kinds = np.frombuffer(body.kinds, np.uint8)
    statuses = np.frombuffer(body.statuses, np.int32)
    others: NDArray[np.object_] | None = None
    if body.others is not None:
        others = np.empty(count, object)
        others[:] = body.others
    return series, Columns(
        times,
        np.frombuffer(body.numbers, np.float64),
        np.full(count, kinds[0], np.uint8) if len(kinds) == 1 else kinds,
        np.full(count, statuses[0], np.int32) if len(statuses) == 1 else statuses,
        others,
    )
