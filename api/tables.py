"""Samples and rollups as files: CSV and Parquet, written page by page so that no range is too long."""

import asyncio
import csv
import io
import tempfile
from collections.abc import AsyncIterator, Iterable
from enum import StrEnum
from typing import IO, Any, Final, NamedTuple

import numpy as np
from fastapi import Request
from fastapi.responses import StreamingResponse

from actors.core.clock import to_iso
from actors.core.values import flag_names
from actors.history.columns import TEXT, Columns, to_values
from actors.history.models import Rollup

PAGE: Final = 50_000
"""Samples that are asked for at a time."""
_IN_MEMORY: Final = 16 * 2**20
_BLOCK: Final = 256 * 1024
_FIGURES: Final = tuple(name for name in Rollup.model_fields if name not in {"start", "end"})


class Format(StrEnum):
    """Media types of an answer."""

    JSON = "application/json"
    CSV = "text/csv"
    PARQUET = "application/vnd.apache.parquet"


class Samples(NamedTuple):
    """A page of one point's samples."""

    id: str
    columns: Columns


class Sums(NamedTuple):
    """One point's rollups."""

    id: str
    rollups: list[Rollup]


Pages = AsyncIterator[Samples] | AsyncIterator[Sums]


def wanted(request: Request) -> Format:
    """Tell what the Accept header prefers (RFC 9110, 12.5.1); what we don't have is answered as JSON."""
    best, found = 0.0, Format.JSON
    for each in request.headers.get("accept", "").split(","):
        kind, *parameters = (part.strip().lower() for part in each.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        if weight > best and kind in {*Format, "*/*", "application/*", "text/*"}:
            best = weight
            found = Format(kind) if kind in set(Format) else Format.CSV if kind == "text/*" else Format.JSON
    return found


async def answer(pages: Pages, kind: Format, name: str) -> StreamingResponse:
    """Stream pages as a file. The first is there before the answer begins, so that what it raises is told."""
    made = _csv(pages) if kind is Format.CSV else _parquet(pages)
    first = await anext(made)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for block in made:
            yield block

    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)
    ending = "csv" if kind is Format.CSV else "parquet"
    headers = {"content-disposition": f'attachment; filename="{plain[:100] or "history"}.{ending}"'}
    return StreamingResponse(whole(), media_type=kind.value, headers=headers)


async def _csv(pages: Pages) -> AsyncIterator[bytes]:
    header = True
    async for page in pages:
        yield await asyncio.to_thread(_lines, page, header=header)
        header = False
    if header:
        yield b"id,time,value,status\r\n"


def _lines(page: Samples | Sums, *, header: bool) -> bytes:
    text = io.StringIO()
    out = csv.writer(text)
    rows: Iterable[Iterable[Any]]
    if isinstance(page, Sums):
        names = ("id", "start", "end", *_FIGURES)
        rows = (
            (page.id, to_iso(each.start), to_iso(each.end), *(getattr(each, name) for name in _FIGURES))
            for each in page.rollups
        )
    else:
        names = ("id", "time", "value", "status")
        values = (str(each).lower() if isinstance(each, bool) else each for each in to_values(page.columns))
        rows = (
            (page.id, at, value, status)
            for at, value, status in zip(_times(page.columns), values, _statuses(page.columns), strict=True)
        )
    if header:
        out.writerow(names)
    out.writerows(rows)
    return text.getvalue().encode()


def _times(columns: Columns) -> list[str]:
    times = columns.times.astype("datetime64[ms]")
    return [f"{each}Z" for each in np.datetime_as_string(times, unit="ms").tolist()]


def _statuses(columns: Columns) -> list[str]:
    words = {each: " ".join(flag_names(each)) for each in np.unique(columns.statuses).tolist()}
    return [words[each] for each in columns.statuses.tolist()]


async def _parquet(pages: Pages) -> AsyncIterator[bytes]:
    """Write a row group per page: to memory, or to a temporary file when it grows large."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        writer = _Writer(file)
        async for page in pages:
            await asyncio.to_thread(writer.add, page)
        await asyncio.to_thread(writer.close)
        file.seek(0)
        while block := await asyncio.to_thread(file.read, _BLOCK):
            yield block


class _Writer:
    def __init__(self, file: IO[bytes]) -> None:
        import pyarrow  # noqa: PLC0415 - 0.2 s and 60 MB that only those who ask for it shall pay
        import pyarrow.parquet  # noqa: PLC0415

        self._arrow: Any = pyarrow
        self._file = file
        self._writer: Any = None
        name = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
        moment = pyarrow.timestamp("ms", "UTC")
        self._samples: Any = pyarrow.schema(
            {
                "id": name,
                "time": moment,
                "value": pyarrow.float64(),
                "text": pyarrow.string(),
                "status": pyarrow.string(),
            }
        )
        figures = {each: pyarrow.float64() for each in _FIGURES} | {"count": pyarrow.int64()}
        self._sums: Any = pyarrow.schema({"id": name, "start": moment, "end": moment, **figures})

    def add(self, page: Samples | Sums) -> None:
        """Write one row group."""
        if isinstance(page, Sums):
            names = ("start", "end", *_FIGURES)
            columns = {name: [getattr(each, name) for each in page.rollups] for name in names}
            self._write(self._sums, page.id, len(page.rollups), columns)
            return
        samples = page.columns
        texts = samples.kinds == TEXT
        others = samples.others
        self._write(
            self._samples,
            page.id,
            len(samples.times),
            {
                "time": samples.times,
                "value": self._arrow.array(samples.numbers, mask=np.isnan(samples.numbers)),
                "text": [each if is_text else None for each, is_text in zip(others, texts, strict=True)]
                if others is not None
                else self._arrow.nulls(len(texts), self._arrow.string()),
                "status": _statuses(samples),
            },
        )

    def _write(self, schema: Any, name: str, count: int, columns: dict[str, Any]) -> None:
        whose = self._arrow.DictionaryArray.from_arrays(np.zeros(count, np.int32), [name])
        arrays = [
            whose if field.name == "id" else self._arrow.array(columns[field.name]).cast(field.type)
            for field in schema
        ]
        if self._writer is None:
            self._writer = self._arrow.parquet.ParquetWriter(self._file, schema)
        self._writer.write_table(self._arrow.table(arrays, schema=schema))

    def close(self) -> None:
        """Write the end of the file; a file without a page has the columns of samples."""
        if self._writer is None:
            self._writer = self._arrow.parquet.ParquetWriter(self._file, self._samples)
        self._writer.close()
