"""The gap ledger's words, and how those who lose or hold up samples tell history of it.

Notes travel the same way as frames of samples: through the feed, in order, until history has them.
"""

from enum import StrEnum
from typing import Final

import msgspec

EVERY: Final = "*"
"""In the place of a point: all points of the site."""

MARK: Final = b"\x95"
"""First byte of encoded notes: MessagePack for five columns. A frame of samples has four."""


class GapKind(StrEnum):
    """What became of the samples of an interval."""

    LOST = "lost"
    LATE = "late"
    """Recorded, but after they had waited somewhere."""
    BACKFILLED = "backfilled"
    """Read from the device's own trend log."""


class GapReason(StrEnum):
    """Why samples were not recorded when they were due."""

    BRIDGE_DOWN = "bridge down"
    DEVICE_DOWN = "device down"
    DEVICE_FAULT = "device fault"
    """The device answered, but with an error in the place of the value."""
    POINTS_DOWN = "points down"
    """The point store was away for longer than the bridge could wait."""
    HISTORY_DOWN = "history down"
    HOST_OFF = "host off"
    STOPPED = "stopped"
    """The system was stopped on purpose."""
    DISK_FULL = "disk full"
    QUEUE_LOST = "queue lost"
    """A queue of samples could not be written, or not be read again."""


class GapNotes(msgspec.Struct, array_like=True):
    """Intervals and what became of their samples, as columns; times in ms since the epoch."""

    ids: list[str]
    starts: list[int]
    ends: list[int]
    kinds: list[GapKind]
    reasons: list[GapReason]

    def add(self, point_id: str, start: int, end: int, kind: GapKind, reason: GapReason) -> None:
        """Append one interval."""
        self.ids.append(point_id)
        self.starts.append(start)
        self.ends.append(max(start, end))
        self.kinds.append(kind)
        self.reasons.append(reason)

    def encode(self) -> bytes:
        """Give the notes as they travel (MessagePack)."""
        return _encoder.encode(self)

    def __len__(self) -> int:
        return len(self.ids)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(GapNotes)


def no_gaps() -> GapNotes:
    """Give notes without an interval."""
    return GapNotes([], [], [], [], [])


def are_notes(data: bytes) -> bool:
    """Tell notes from a frame of samples."""
    return data[:1] == MARK


def decode_notes(data: bytes) -> GapNotes:
    """Read notes as they travel. Raises msgspec.DecodeError."""
    return _decoder.decode(data)
