"""Frames: batches of events of one type, encoded once by their publisher and passed on as the same bytes.

Value and status changes travel in columns (MessagePack), all other events as a JSON list. A last column whose
numbers are all the same, such as the time that one poll shares, travels as that number. The bus reads none of
it: it sees type, count and bytes, and numbers the events.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from pydantic import TypeAdapter

from actors.bus.events import ANY_EVENT, AnyEvent, Event, StatusChanged, ValueChanged, event_json

FRAME_EVENTS = 1000
"""Most events in one frame; longer batches are cut, so that no frame exceeds a subscriber's deque."""

_columns = msgspec.msgpack.Encoder()
_read_columns = msgspec.msgpack.Decoder(tuple[list[str], list[Any], list[Any] | int])
_events: TypeAdapter[list[dict[str, Any]]] = TypeAdapter(list[dict[str, Any]])


class Frame(NamedTuple):
    """A frame as it is published: event type, number of events, encoded events."""

    type: str
    size: int
    payload: bytes


class NumberedFrame(NamedTuple):
    """A frame as it is delivered: `seq` is the number of its first event."""

    seq: int
    type: str
    size: int
    payload: bytes


def _cut(kind: str, columns: tuple[Sequence[Any], ...]) -> list[Frame]:
    size = len(columns[0])
    frames = []
    for start in range(0, size, FRAME_EVENTS):
        part: list[Any] = [column[start : start + FRAME_EVENTS] for column in columns]
        count, last = len(part[0]), part[-1]
        if last.count(last[0]) == count and isinstance(last[0], int):
            part[-1] = last[0]
        frames.append(Frame(kind, count, _columns.encode(part)))
    return frames


def value_frames(ids: Sequence[str], values: Sequence[Any], times: Sequence[int]) -> list[Frame]:
    """Encode value changes: columns of node ids, values and times (ms since the epoch)."""
    return _cut("value_changed", (ids, values, times))


def status_frames(ids: Sequence[str], old: Sequence[int], new: Sequence[int]) -> list[Frame]:
    """Encode status changes: columns of node ids, old and new flags."""
    return _cut("status_changed", (ids, old, new))


def event_frame(event: Event) -> Frame:
    """Encode one event."""
    if isinstance(event, ValueChanged):
        return value_frames([event.node_id], [event.value], [event.timestamp])[0]
    if isinstance(event, StatusChanged):
        return status_frames([event.node_id], [event.old_status], [event.new_status])[0]
    return Frame(event.type, 1, b"[" + event_json(event) + b"]")


def columns(frame: NumberedFrame) -> tuple[list[str], list[Any], list[Any]]:
    """Read the columns of a frame of value or status changes."""
    one, two, last = _read_columns.decode(frame.payload)
    return one, two, last if isinstance(last, list) else [last] * len(one)


def read_events(frame: NumberedFrame, site: str) -> Iterator[AnyEvent]:
    """Read a frame as event models, each with its site and number."""
    if frame.type == "value_changed":
        for at, (node, value, time) in enumerate(zip(*columns(frame), strict=True), frame.seq):
            yield ValueChanged(site=site, seq=at, node_id=node, value=value, timestamp=time)
    elif frame.type == "status_changed":
        for at, (node, old, new) in enumerate(zip(*columns(frame), strict=True), frame.seq):
            yield StatusChanged(site=site, seq=at, node_id=node, old_status=old, new_status=new)
    else:
        for at, fields in enumerate(_events.validate_json(frame.payload), frame.seq):
            yield ANY_EVENT.validate_python(fields | {"site": site, "seq": at})
