"""Both ends of the bus: publish without waiting, follow without missing that something was missed."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from actors.bus.bus import CAPACITY, NotSubscribedError
from actors.bus.events import HIGH_RATE, AnyEvent, Changed, Event, WatchMoved, change_type
from actors.bus.frames import (
    Frame,
    NumberedFrame,
    columns,
    event_frame,
    read_events,
    status_frames,
    value_frames,
)

log = logging.getLogger(__name__)

MAX_HIGH_RATE = 64
"""Frames of value and status changes that wait for a bus that is away; older ones are dropped."""

MAX_LOW_RATE = 10_000
"""Other frames that wait for a bus that is away."""


class Publisher:
    """Publish from a store, an engine or a bridge: never waits, never raises, keeps the order.

    A thread sends what has gathered in one call. While the bus is away, value and status changes are dropped
    past a small bound (the next poll brings new ones) and all other events are kept and sent again, so that
    one may arrive twice. A crash of this process loses what the thread had not sent; followers read the
    stores when they start.
    """

    def __init__(self, bus: Any, *, timeout: float = 10.0) -> None:
        """Take the bus's handle. The thread starts with the first event; pickled, only the handle travels."""
        self._bus, self._timeout = bus, timeout
        self._low: deque[Frame] = deque(maxlen=MAX_LOW_RATE)
        self._high: deque[Frame] = deque(maxlen=MAX_HIGH_RATE)
        self._cells: dict[str, int] = {}
        self._work = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Publisher, (self._bus,)

    def __call__(self, event: Event | WatchMoved | Changed, /) -> None:
        """Publish an event, move a watch cell or tell a change channel."""
        if isinstance(event, WatchMoved):
            with self._work:
                self._cells[event.cell] = max(event.version, self._cells.get(event.cell, -1))
                self._wake()
            return
        if isinstance(event, Changed):
            payload = event.model_dump_json().encode()
            self.frames([Frame(change_type(event.channel), 1, b"[" + payload + b"]")])
            return
        self.frames([event_frame(event)])

    def values(self, ids: list[str], values: list[Any], times: list[int]) -> None:
        """Publish value changes as columns."""
        self.frames(value_frames(ids, values, times))

    def statuses(self, ids: list[str], old: list[int], new: list[int]) -> None:
        """Publish status changes as columns."""
        self.frames(status_frames(ids, old, new))

    def frames(self, frames: Iterable[Frame]) -> None:
        """Publish frames that are already encoded."""
        with self._work:
            for frame in frames:
                (self._high if frame.type in HIGH_RATE else self._low).append(frame)
            self._wake()

    def close(self, wait: float = 2.0) -> None:
        """Send what is left, for at most `wait` seconds, and end the thread."""
        with self._work:
            self._closed = True
            self._work.notify()
        if self._thread is not None:
            self._thread.join(wait)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="bus-publisher", daemon=True)
            self._thread.start()
        self._work.notify()

    def _run(self) -> None:
        pause = 0.0
        while True:
            with self._work:
                while not (self._low or self._high or self._cells or self._closed):
                    self._work.wait()
                if self._closed and not (self._low or self._high or self._cells):
                    return
                if pause:
                    self._work.wait(pause)
                low, high, cells = list(self._low), list(self._high), dict(self._cells)
                self._low.clear()
                self._high.clear()
                self._cells.clear()
            try:
                bus = self._bus
                calls = [bus.set_watch.remote(cell, version) for cell, version in cells.items()]
                if low or high:
                    calls.append(bus.publish.remote(low + high))
                ray.get(calls, timeout=self._timeout)
                pause = 0.0
            except Exception as error:
                pause = min(2.0, pause * 2 or 0.2)
                log.warning("the bus is away, %d events wait: %s", len(low), type(error).__name__)
                with self._work:
                    if self._closed:
                        return
                    self._low.extendleft(reversed(low))
                    self._cells = cells | self._cells


class Delivery:
    """What one poll brought. Cheap to make: frames are read only when asked for."""

    def __init__(
        self, site: str, frames: list[NumberedFrame], *, lost: int = 0, resync: bool = False
    ) -> None:
        """Take the frames as they came."""
        self.site, self.frames, self.lost = site, frames, lost
        self.resync = resync or lost > 0
        """Events may be missing before this one: read the stores again."""

    def events(self) -> list[AnyEvent]:
        """Give all events as models, in order."""
        return [
            event for frame in self.frames if ":" not in frame.type for event in read_events(frame, self.site)
        ]

    def low_rate(self) -> list[AnyEvent]:
        """Give all events but value and status changes."""
        return [
            event
            for frame in self.frames
            if frame.type not in HIGH_RATE and ":" not in frame.type
            for event in read_events(frame, self.site)
        ]

    def values(self) -> Iterator[tuple[str, Any, int]]:
        """Give value changes as (node id, value, time in ms), without building models."""
        for frame in self.frames:
            if frame.type == "value_changed":
                yield from zip(*columns(frame), strict=True)

    def statuses(self) -> Iterator[tuple[str, int, int]]:
        """Give status changes as (node id, old flags, new flags)."""
        for frame in self.frames:
            if frame.type == "status_changed":
                yield from zip(*columns(frame), strict=True)

    def changes(self) -> Iterator[Changed]:
        """Give what came over change channels."""
        for frame in self.frames:
            if frame.type.startswith("change:"):
                yield Changed.model_validate_json(frame.payload[1:-1])


async def follow(
    bus: Any,
    name: str,
    types: Iterable[str] | None = None,
    *,
    site: str = "",
    capacity: int = CAPACITY,
    wait: float = 10.0,
) -> AsyncIterator[Delivery]:
    """Follow a bus for ever: deliveries as they come, one poll in flight while the caller works on the last.

    The first delivery after each (re)subscription is empty and has `resync` set: events may have been missed,
    so read the stores. A bus that restarts or can't be reached is tried again after 0.2 to 5 s. Cancel to
    end.
    """
    wanted = None if types is None else sorted(types)
    pause = 0.2
    while True:
        token, poll = "", None
        try:
            token = await asyncio.wait_for(bus.subscribe.remote(name, wanted, capacity), 10)
            poll = asyncio.ensure_future(bus.next.remote(name, token, wait))
            pause = 0.2
            yield Delivery(site, [], resync=True)
            while True:
                frames, lost = await asyncio.wait_for(poll, wait + 15)
                poll = asyncio.ensure_future(bus.next.remote(name, token, wait))
                if lost:
                    log.warning("%s fell behind on %s: %d events lost", name, site or "the bus", lost)
                if frames or lost:
                    yield Delivery(site, frames, lost=lost)
        except (NotSubscribedError, RayError, GetTimeoutError, TimeoutError) as error:
            log.info("%s lost the bus (%s); subscribing again", name, type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(5.0, pause * 2)
        finally:
            if poll is not None and not poll.done():
                poll.cancel()
            elif poll is not None and not poll.cancelled():
                poll.exception()  # taken, so that a poll nobody waits for any more isn't reported
            if token:
                bus.unsubscribe.remote(name, token)
