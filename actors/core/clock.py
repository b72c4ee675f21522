"""Time: whole milliseconds since 1970-01-01T00:00:00Z inside, ISO 8601 with `Z` outside."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

Clock = Callable[[], int]
"""Gives the time now, in milliseconds since the epoch, UTC."""

LATEST: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z: the last moment that ISO 8601 with four digits can name."""

_ZONED = re.compile(r"(?:Z|[+-]\d{2}:?\d{2})$", re.IGNORECASE)


def now_ms() -> int:
    """Give the wall-clock time in milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


def to_iso(ms: int) -> str:
    """Write a time as ISO 8601 UTC with milliseconds: `2026-11-23T18:00:00.000Z`."""
    seconds, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def from_iso(text: str) -> int:
    """Read an ISO 8601 time with its zone. Raises ValueError, also for a time without a zone."""
    if not _ZONED.search(text.strip()):
        raise ValueError(f"{text!r} is not an ISO 8601 time with a zone, such as 2026-11-23T18:00:00.000Z")
    moment = datetime.fromisoformat(text.strip())
    return round(moment.timestamp() * 1000)


def _read(value: object) -> object:
    if isinstance(value, str):
        value = from_iso(value)
    elif isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time needs its zone")
        value = round(value.timestamp() * 1000)
    if isinstance(value, int) and not 0 <= value <= LATEST:
        raise ValueError("a time must lie between 1970 and 9999")
    return value


Timestamp = Annotated[
    int,
    BeforeValidator(_read),
    PlainSerializer(to_iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-23T18:00:00.000Z"]}),
]
"""A time in a model: an int in Python, ISO 8601 UTC with milliseconds in JSON; takes either."""
