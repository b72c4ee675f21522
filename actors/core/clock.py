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


CATCH_UP: Final = 24
"""How much faster than real time the time that retention counts back from may follow a clock that jumped."""
_UNSET: Final = 1_577_836_800_000
"""2020-01-01: a clock before this was never set."""


def settled(now: int, before: int | None, elapsed: int) -> tuple[int, int | None]:
    """Give the time that retention counts back from, and what to remember as `before` the next time (ms).

    `elapsed` is how much time has really passed since then, or since this process began. A clock that says
    2040 for a minute makes nothing older than 24 minutes; a host that was off for a month catches up in
    about a day. A clock that goes back is believed at once: then less is too old.
    """
    if now < _UNSET:
        return now, before
    if before is None:
        return now, now
    reached = max(before, min(now, before + CATCH_UP * elapsed))
    return min(now, reached), reached


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
