"""Chunks: some thousand samples of one series, compressed, with what a rollup needs beside them.

Times are kept as their distance from a straight line, values as numbers, each by `pcodec`
(https://github.com/pcodec/pcodec); kinds and statuses only where they vary. Numbers that all are short
decimals are kept as whole numbers of the last decimal, which takes a third less.
"""

import zlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from pcodec import ChunkConfig, standalone

from actors.history.columns import FLOAT, NONE, TEXT, WIDE, Columns, Floats, Ints, take
from actors.history.rollup import Pieces, integrals

MOST: Final = 16_384
"""Samples of a full chunk: eleven days of one a minute."""
CELL: Final = 3_600_000
"""A chunk's cells are whole hours, UTC: the parts that it can be summed up by without reading its samples."""
WORTH: Final = 8
"""Samples per cell at least; of fewer, the samples themselves are read as fast."""

_FULL: Final = ChunkConfig(compression_level=6)
_QUICK: Final = ChunkConfig(compression_level=4)
_LINE: Final = 8
_DECIMALS: Final = 3
"""Decimals up to which numbers are kept as whole ones."""
_SHORT: Final = 1e9


class Chunk(NamedTuple):
    """A row of table `chunk` in the order of COLUMNS.

    The head's numbers are None unless every sample is a number.
    """

    series_id: int
    first_time: int
    last_time: int
    samples: int
    min: float | None
    max: float | None
    sum: float | None
    first: float | None
    last: float | None
    integral: float | None
    """Value by milliseconds from the first to the last sample; each value holds until the next sample."""
    kind: int | None
    status: int | None
    cells: bytes | None
    times: bytes
    numbers: bytes
    kinds: bytes | None
    statuses: bytes | None
    texts: bytes | None


COLUMNS: Final = tuple("count" if name == "samples" else name for name in Chunk._fields)


def split(columns: Columns) -> list[Columns]:
    """Cut samples into what full chunks hold."""
    count = len(columns.times)
    if count <= MOST:
        return [columns]
    return [take(columns, slice(start, start + MOST)) for start in range(0, count, MOST)]


def encode(series_id: int, columns: Columns, *, quick: bool = False) -> Chunk:
    """Compress samples in order of time; `quick`, without sums, for those that are soon merged."""
    config = _QUICK if quick or len(columns.times) < MOST // 16 else _FULL
    times, numbers, kinds = columns.times, columns.numbers, columns.kinds
    kind, status = _same(kinds), _same(columns.statuses)
    texts: bytes | None = None
    if columns.others is not None:
        found = columns.others[(kinds == TEXT) | (kinds == WIDE)].tolist()
        texts = zlib.compress(msgspec.msgpack.encode(found), 6) if found else None
    head: list[float | None] = [None] * 6
    cells: bytes | None = None
    known = not np.isnan(numbers).any()
    if known and not quick and np.isfinite(numbers).all():
        total = integrals(times, numbers)
        with np.errstate(over="ignore"):
            whole = numbers.sum()
        sums = [
            float(numbers.min()),
            float(numbers.max()),
            float(_rounded(numbers, whole)),
            float(numbers[0]),
            float(numbers[-1]),
            float(total[-1]),
        ]
        if np.isfinite(sums).all():
            head[:] = sums
            cells = _cells(times, numbers, total)
    return Chunk(
        series_id,
        int(times[0]),
        int(times[-1]),
        len(times),
        head[0],
        head[1],
        head[2],
        head[3],
        head[4],
        head[5],
        kind,
        status,
        cells,
        _encode_times(times, config),
        _encode_numbers(numbers, kinds, config, known=known),
        None if kind is not None else _compress(kinds.astype(np.uint16), config),
        None if status is not None else _compress(columns.statuses, config),
        texts,
    )


def decode_times(first: int, blob: bytes) -> Ints:
    """Give a chunk's times."""
    step = int.from_bytes(blob[:_LINE], "little", signed=True)
    rest: Ints = _decompress(blob[_LINE:])
    rest += np.arange(first, first + step * (len(rest) - 1) + 1, step) if step else np.int64(first)
    return rest


def decode(row: dict[str, Any]) -> Columns:
    """Give a chunk's samples; `row` has what `encode` gave from `first_time` on, by name."""
    times = decode_times(row["first_time"], row["times"])
    count = len(times)
    numbers = _decode_numbers(row["numbers"])
    if row["kind"] is not None:
        kinds = np.full(count, row["kind"], np.uint8)
    else:
        kinds = _decompress(row["kinds"]).astype(np.uint8)
    if row["kind"] is None or row["kind"] in {NONE, TEXT}:
        numbers[(kinds == NONE) | (kinds == TEXT)] = np.nan
    if row["status"] is not None:
        statuses = np.full(count, row["status"], np.int32)
    else:
        statuses = _decompress(row["statuses"])
    others: NDArray[np.object_] | None = None
    if row["texts"] is not None:
        others = np.full(count, None, object)
        places = np.flatnonzero((kinds == TEXT) | (kinds == WIDE))
        others[places] = msgspec.msgpack.decode(zlib.decompress(row["texts"]))
    return Columns(times, numbers, kinds, statuses, others)


class Cells(NamedTuple):
    """A chunk's cells as they are kept, with the first and last time of the chunk."""

    first: int
    last: int
    blob: bytes


def decode_cells(found: Sequence[Cells]) -> Pieces:
    """Give the cells of chunks in order of time; a chunk's first cell begins and its last ends with it."""
    columns: list[list[Any]] = [[], [], [], []]
    edges: list[tuple[Ints, Ints]] = []
    for first, last, blob in found:
        at = 16
        for column, size in zip(columns, np.frombuffer(blob[:16], np.uint32).tolist(), strict=True):
            column.append(_decompress(blob[at : at + size]))
            at += size
        begin = np.arange(first // CELL * CELL, last + 1, CELL)
        finish = begin + CELL
        begin[0], finish[-1] = first, last
        edges.append((begin, finish))
    counts, bounds, sums, away = columns
    count = np.concatenate(counts).astype(np.int64)
    low, high, opening, closing = np.concatenate([each.reshape(4, -1) for each in bounds], axis=1)
    total = np.concatenate(sums)
    begin = np.concatenate([each[0] for each in edges])
    finish = np.concatenate([each[1] for each in edges])
    span = (finish - begin).astype(np.float64)
    mean = np.where(count > 0, total / np.maximum(count, 1), closing)
    integral = (mean + np.concatenate(away)) * span
    holds = np.ones(len(count), np.bool_)
    return Pieces(begin, finish, count, low, high, total, opening, closing, integral, span, holds)


def _cells(times: Ints, numbers: Floats, total: Floats) -> bytes | None:
    """Sum up by hours: count, min, max, first, last, sum, the time-weighted mean's distance from the mean.

    An hour without a sample has the value that holds through it. None where cells aren't worth their bytes.
    """
    base = int(times[0]) // CELL
    cells = int(times[-1]) // CELL - base + 1
    if cells < 2 or len(times) < WORTH * cells:
        return None
    count = np.bincount((times // CELL - base).astype(np.int64), minlength=cells)
    ends = np.cumsum(count)
    last = np.maximum(ends - 1, 0)
    full = count > 0
    starts = (ends - count)[full]
    closing = numbers[last]
    low, high, opening, sums = closing.copy(), closing.copy(), closing.copy(), np.zeros(cells)
    low[full] = np.minimum.reduceat(numbers, starts)
    high[full] = np.maximum.reduceat(numbers, starts)
    opening[full] = numbers[starts]
    with np.errstate(over="ignore", invalid="ignore"):
        sums[full] = _rounded(numbers, np.add.reduceat(numbers, starts))
    edges = np.arange(base, base + cells + 1) * CELL
    edges[0], edges[-1] = times[0], times[-1]
    at = np.searchsorted(times, edges, "right") - 1
    span = np.diff(edges)
    whole = np.diff(total[at] + numbers[at] * (edges - times[at]))
    mean = np.where(full, sums / np.maximum(count, 1), closing)
    with np.errstate(over="ignore", invalid="ignore"):
        away = np.where(span > 0, whole / np.maximum(span, 1) - mean, 0.0).astype(np.float32)
    if not np.isfinite(away).all():
        return None
    parts = [
        _compress(count.astype(np.uint32), _FULL),
        _compress(np.concatenate((low, high, opening, closing)), _FULL),
        _compress(sums, _FULL),
        _compress(away, _FULL),
    ]
    return np.array([len(each) for each in parts], np.uint32).tobytes() + b"".join(parts)


def _rounded(numbers: Floats, sums: Any) -> Any:
    """Take the rounding errors of additions away where all numbers are short decimals."""
    short = np.abs(numbers).max() < _SHORT and np.array_equal(np.round(numbers, _DECIMALS), numbers)
    return np.round(sums, _DECIMALS) if short else sums


def _encode_times(times: Ints, config: ChunkConfig) -> bytes:
    count = len(times)
    step = round((int(times[-1]) - int(times[0])) / (count - 1)) if count > 1 else 0
    rest = times - times[0]
    if step:
        rest -= np.arange(count) * step
    return step.to_bytes(_LINE, "little", signed=True) + _compress(rest, config)


def _encode_numbers(numbers: Floats, kinds: NDArray[np.uint8], config: ChunkConfig, *, known: bool) -> bytes:
    if not known:
        gap = np.isnan(numbers)
        some = numbers[~gap]
        numbers = np.where(gap, some[0] if len(some) else 0.0, numbers)
    if not (kinds == FLOAT).any() and not (kinds == WIDE).any():
        return _compress(numbers.astype(np.int64), config)
    if np.abs(numbers).max() < _SHORT:
        for decimals in range(_DECIMALS + 1):
            scaled = np.round(numbers * 10**decimals).astype(np.int64)
            # Bit by bit, so that a negative zero stays one too.
            if np.array_equal((scaled / 10**decimals).view(np.int64), numbers.view(np.int64)):
                return bytes([decimals]) + _compress(scaled, config)
    return _compress(numbers, config)


def _decode_numbers(blob: bytes) -> Floats:
    """Read what `_encode_numbers` wrote; the first byte of pcodec's own format is none of a few decimals."""
    if blob[0] > _DECIMALS:
        numbers: Floats = _decompress(blob).astype(np.float64, copy=False)
        return numbers
    numbers = _decompress(blob[1:]).astype(np.float64)
    if blob[0]:
        numbers /= 10 ** blob[0]
    return numbers


def _same(column: NDArray[Any]) -> int | None:
    return int(column[0]) if (column == column[0]).all() else None


def _compress(column: NDArray[Any], config: ChunkConfig) -> bytes:
    return bytes(standalone.simple_compress(np.ascontiguousarray(column), config))


def _decompress(data: bytes) -> Any:
    return standalone.simple_decompress(data)
