"""A device's clock against ours: BACnet's times are local ones without a zone. Pure but for `host_zone`."""

import contextlib
import math
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

STEP: Final = timedelta(minutes=15)
"""Offsets of time zones are multiples of this."""
UNNOTICED: Final = timedelta(seconds=5)
"""A clock that is off by no more counts as right: reading it takes some time itself."""


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """How a device's local time goes into UTC.

    Where the device has the offset of this host's zone, that zone's rules hold for its older times too, with
    summer time; else the offset that it has now.
    """

    offset: timedelta
    error: timedelta
    """By how much it is ahead."""
    zone: tzinfo | None = None
    """The zone whose rules hold; None: the offset of now holds always."""

    @classmethod
    def read(cls, local: datetime, now: datetime, zone: tzinfo) -> "DeviceClock":
        """Take the device's local time (naive), ours (aware), and the zone of this host."""
        ahead = local - now.astimezone(UTC).replace(tzinfo=None)
        offset = math.floor(ahead / STEP + 0.5) * STEP
        error = ahead - offset
        same = now.astimezone(zone).utcoffset() == offset
        whole = timedelta(seconds=round(error.total_seconds()))
        return cls(offset, timedelta(0) if abs(error) <= UNNOTICED else whole, zone if same else None)

    def to_ms(self, local: datetime) -> int:
        """Give a local time of the device as ms since the epoch."""
        right = local - self.error
        utc = right.replace(tzinfo=self.zone) if self.zone else (right - self.offset).replace(tzinfo=UTC)
        return round(utc.timestamp() * 1000)

    def to_local(self, ms: int) -> datetime:
        """Give what the device's clock shows at a time."""
        utc = datetime.fromtimestamp(ms / 1000, UTC)
        local = utc.astimezone(self.zone) if self.zone else utc + self.offset
        return local.replace(tzinfo=None) + self.error


def host_zone() -> tzinfo:
    """Give the zone of this host: by its name where it has one, so that its rules hold for other days too."""
    with contextlib.suppress(OSError, ValueError, ZoneInfoNotFoundError):
        name = os.environ.get("TZ") or str(Path("/etc/localtime").resolve()).partition("zoneinfo/")[2]
        return ZoneInfo(name)
    return datetime.now().astimezone().tzinfo or UTC


def from_bacnet(date: Any, time: Any) -> datetime:
    """Give a date and a time of BACnet as one. Raises ValueError where any part is left open."""
    year, month, day, _ = date
    hour, minute, second, hundredth = time
    if 255 in (year, month, day, hour, minute, second):
        raise ValueError("a time with open parts")
    microseconds = 0 if hundredth == 255 else hundredth * 10_000
    return datetime(1900 + year, month, day, hour, minute, second, microseconds)


def to_bacnet(at: datetime) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    """Give BACnet's date and time of a datetime."""
    return (
        (at.year - 1900, at.month, at.day, at.isoweekday()),
        (at.hour, at.minute, at.second, at.microsecond // 10_000),
    )
