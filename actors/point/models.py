"""Points as the point store keeps them, and the frame in which polls travel."""

from typing import Any

import msgspec
from pydantic import BaseModel, Field

from actors.core.clock import Timestamp
from actors.core.values import PointValue, StatusFlags


class PointFrame(msgspec.Struct, array_like=True):
    """One poll: four columns of the same length.

    Times in ms since the epoch, statuses as PointStatus bits.
    """

    ids: list[str]
    values: list[bool | int | float | str | None]
    times: list[int]
    statuses: list[int]

    def encode(self) -> bytes:
        """Give the frame as it travels (MessagePack)."""
        return _encoder.encode(self)

    def add(self, point_id: str, value: PointValue | None, time: int, status: int = 0) -> None:
        """Append one row."""
        self.ids.append(point_id)
        self.values.append(value)
        self.times.append(time)
        self.statuses.append(status)

    def __len__(self) -> int:
        return len(self.ids)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(PointFrame)


def empty_frame() -> PointFrame:
    """Give a frame without rows."""
    return PointFrame([], [], [], [])


def decode_frame(data: bytes) -> PointFrame:
    """Read a frame as it travels. Raises msgspec.DecodeError."""
    return _decoder.decode(data)


class PointConfig(BaseModel):
    """What the point store must know of a point; its source (a bridge, or the command engine) says it."""

    id: str
    units: str | None = None
    cov_increment: float = Field(default=0.0, ge=0)
    """Smallest change of an analog value that counts, in the point's units; 0 means any."""
    interval: float = Field(default=10.0, gt=0)
    """Longest time between two readings of the source, in seconds; the value is stale after three of them."""
    record: bool = True
    """Whether history keeps it."""
    disabled: bool = False
    """A point whose device is no longer configured; it keeps its last value."""


class PointState(BaseModel):
    """A point's value now."""

    id: str
    site: str
    value: PointValue | None = None
    status: StatusFlags = 0
    time: Timestamp | None = None
    units: str | None = None


class SetAnswer(BaseModel):
    """What became of a frame.

    A source that finds its points in `unknown` configures them and sends all values again.
    """

    accepted: int
    changed: int
    unknown: list[str] = []


Snapshot = list[tuple[str, Any, int, int | None, str | None]]
"""Rows of (id, value, status, time, units): what a list of points travels as."""
