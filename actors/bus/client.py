"""Both ends of the bus: publish without waiting, follow without missing that something was missed."""

import asyncio
import itertools
import json
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, NamedTuple

import ray
from ray.exceptions import GetTimeoutError, RayError

from actors.bus.bus import CAPACITY, Answer, NotSubscribedError
from actors.bus.events import (
    ANY_EVENT,
    HIGH_RATE,
    AnyEvent,
    Changed,
    Event,
    WatchMoved,
    change_type,
    event_json,
)
from actors.bus.frames import (
    Frame,
    NumberedFrame,
    columns,
    event_frame,
    read_events,
    status_frames,
    value_frames,
)
from actors.bus.journal import Batch, Entry, Journaled, Subscription
from actors.core.errors import BadInputError, NotFoundError, OpenCrateError, UnreachableError
from actors.core.remote import answered

log = logging.getLogger(__name__)

MAX_HIGH_RATE = 256
"""Frames of value and status changes that wait for a bus that is away; older ones are dropped."""

MAX_LOW_RATE = 100_000
"""Events that wait for a journal that is away; those of a store's outbox come again when it restarts."""

MAX_OTHER = 10_000
"""Changes of records that wait for a bus that is away."""

MAX_CALL = 1_000
"""Events journaled by one call."""

RECORD_PAUSE = 0.5
"""Seconds until events that were not journaled are sent again."""

BUSY = 200.0
"""Frames per second from which on both ends let some gather: a call costs more than what it carries."""

GATHER = 0.03
"""Seconds for which a busy follower lets frames gather before it polls again."""

SEND_GATHER = 0.01
"""Seconds for which a busy publisher lets value and status changes gather before it sends them."""

SEND_FRAMES = 8
"""Frames of these that a busy publisher sends without waiting for more."""


class Publisher:
    """Publish from a store, an engine or a bridge: never waits, never raises, keeps the order.

    A thread sends what has gathered in one call; where more than BUSY frames of value and status changes come
    a second, it lets some gather. While the bus or its journal is away, value and status
    changes are dropped past a small bound (the next poll brings new ones) and all other events are kept and
    sent again under the same keys until the journal has them. A crash of this process loses what was not
    journaled, except for stores, which keep such events in their outbox (`durably`).
    """

    def __init__(self, bus: Any, *, timeout: float = 10.0) -> None:
        """Take the bus's handle. The thread starts with the first event; pickled, only the handle travels."""
        self._bus, self._timeout = bus, timeout
        self._low: deque[Entry] = deque()
        self._other: deque[Frame] = deque(maxlen=MAX_OTHER)
        self._high: deque[Frame] = deque(maxlen=MAX_HIGH_RATE)
        self._cells: dict[str, int] = {}
        self._outboxed: set[str] = set()
        self._confirmed: list[str] = []
        self._work = threading.Condition()
        self._gathering = False
        """Whether the thread lets value and status changes gather."""
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
        elif isinstance(event, Changed):
            payload = event.model_dump_json().encode()
            self.frames([Frame(change_type(event.channel), 1, b"[" + payload + b"]")])
        elif event.type in HIGH_RATE:
            self.frames([event_frame(event)])
        else:
            self._keep(Entry(uuid.uuid4().hex, event.type, event_json(event)))

    def durably(self, key: str, event: bytes, kind: str) -> None:
        """Publish an event of a store's outbox; `confirmed` tells when it may leave the outbox."""
        self._keep(Entry(key, kind, event), outboxed=True)

    def confirmed(self) -> list[str]:
        """Give the outbox keys that the journal has got since this was last asked."""
        if not self._confirmed:
            return []
        with self._work:
            taken, self._confirmed = self._confirmed, []
        return taken

    def values(self, ids: list[str], values: list[Any], times: list[int]) -> None:
        """Publish value changes as columns."""
        self.frames(value_frames(ids, values, times))

    def statuses(self, ids: list[str], old: list[int], new: list[int]) -> None:
        """Publish status changes as columns."""
        self.frames(status_frames(ids, old, new))

    def frames(self, frames: Iterable[Frame]) -> None:
        """Publish frames that are already encoded and that nobody journals."""
        with self._work:
            for frame in frames:
                (self._high if frame.type in HIGH_RATE else self._other).append(frame)
            if not self._gathering or self._enough():
                self._wake()

    def close(self, wait: float = 2.0) -> None:
        """Send what is left, for at most `wait` seconds, and end the thread."""
        with self._work:
            self._closed = True
            self._work.notify()
        if self._thread is not None:
            self._thread.join(wait)

    def _keep(self, entry: Entry, *, outboxed: bool = False) -> None:
        with self._work:
            if len(self._low) >= MAX_LOW_RATE:
                lost = self._low.popleft()
                self._outboxed.discard(lost.key)
                log.error("the journal is away for too long: an event %s is not sent now", lost.type)
            if outboxed:
                self._outboxed.add(entry.key)
            self._low.append(entry)
            self._wake()

    def _enough(self) -> bool:
        """Tell whether there is something that nobody lets gather."""
        return bool(len(self._high) >= SEND_FRAMES or self._other or self._cells or self._low or self._closed)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="bus-publisher", daemon=True)
            self._thread.start()
        self._work.notify()

    def _run(self) -> None:
        pause, record_again = 0.0, 0.0
        sent, busy = time.monotonic(), False
        while True:
            with self._work:
                if busy:
                    self._gathering = True
                    self._work.wait_for(self._enough, SEND_GATHER)
                    self._gathering = False
                while not (self._high or self._other or self._cells or self._low or self._closed):
                    self._work.wait()
                if self._closed and not (self._high or self._other or self._cells or self._low):
                    return
                if pause:
                    self._work.wait(pause)
                only_low = not (self._high or self._other or self._cells)
                early = record_again - time.monotonic()
                if early > 0 and only_low and not self._closed:
                    self._work.wait(early)
                    continue
                low = [] if early > 0 else [self._low[at] for at in range(min(len(self._low), MAX_CALL))]
                before, sent = sent, time.monotonic()
                busy = len(self._high) > BUSY * (sent - before)
                frames, cells = [*self._other, *self._high], dict(self._cells)
                self._other.clear()
                self._high.clear()
                self._cells.clear()
            trouble = self._send(frames, cells)
            if trouble is None:
                pause = 0.0
            else:
                pause = min(2.0, pause * 2 or 0.2)
                log.warning("the bus is away: %s", trouble)
                with self._work:
                    self._other.extendleft(reversed([each for each in frames if each.type not in HIGH_RATE]))
                    self._cells = cells | self._cells
            if low and trouble is None:
                record_again = 0.0 if self._record(low) else time.monotonic() + RECORD_PAUSE
            with self._work:
                if self._closed and (trouble is not None or record_again):
                    return

    def _send(self, frames: list[Frame], cells: dict[str, int]) -> str | None:
        """Send what nobody journals; give what went wrong."""
        try:
            calls = [self._bus.set_watch.remote(cell, version) for cell, version in cells.items()]
            if frames:
                calls.append(self._bus.publish.remote(frames))
            if calls:
                ray.get(calls, timeout=self._timeout)
        except Exception as error:
            return type(error).__name__
        return None

    def _record(self, entries: list[Entry]) -> bool:
        """Have events journaled; those that are leave the queue."""
        try:
            ray.get(self._bus.record.remote(entries), timeout=self._timeout)
        except Exception as error:
            log.warning("%d events are not journaled yet: %s", len(entries), error)
            return False
        keys = {entry.key for entry in entries}
        with self._work:
            # Some may have been dropped from the front meanwhile.
            while self._low and self._low[0].key in keys:
                self._low.popleft()
            self._confirmed += [entry.key for entry in entries if entry.key in self._outboxed]
            self._outboxed -= keys
        return True


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
        found = (frame for frame in self.frames if frame.type == "value_changed")
        return itertools.chain.from_iterable(zip(*columns(frame), strict=True) for frame in found)

    def statuses(self) -> Iterator[tuple[str, int, int]]:
        """Give status changes as (node id, old flags, new flags)."""
        found = (frame for frame in self.frames if frame.type == "status_changed")
        return itertools.chain.from_iterable(zip(*columns(frame), strict=True) for frame in found)

    def changes(self) -> Iterator[Changed]:
        """Give what came over change channels."""
        for frame in self.frames:
            if frame.type.startswith("change:"):
                yield Changed.model_validate_json(frame.payload[1:-1])


def gathering(frames: int, events: int, since: float, capacity: int) -> float:
    """Give the seconds to let pass before the next poll, after one that brought so much within `since` s.

    None unless frames come thick, and never so long that more than a quarter of `capacity` events gather.
    """
    if frames <= BUSY * since:
        return 0.0
    return min(GATHER, capacity / 4 * since / events)


async def _later(pause: float, bus: Any, name: str, token: str, wait: float) -> Answer:
    """Ask for the next frames after a pause."""
    await asyncio.sleep(pause)
    answer: Answer = await bus.next.remote(name, token, wait)
    return answer


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

    Where more than BUSY frames a second come, it lets up to GATHER seconds pass between polls, so that each
    brings several.

    The first delivery after each (re)subscription is empty and has `resync` set: events may have been missed,
    so read the stores. A bus that restarts or can't be reached is tried again after 0.2 to 5 s. Cancel to
    end.
    """
    wanted = None if types is None else sorted(types)
    pause = 0.2
    while True:
        token, poll = "", None
        try:
            # Not wait_for: when the answer comes just then, it takes no notice of being cancelled.
            async with asyncio.timeout(10):
                token = await bus.subscribe.remote(name, wanted, capacity)
            poll = asyncio.ensure_future(bus.next.remote(name, token, wait))
            pause, came = 0.2, time.monotonic()
            yield Delivery(site, [], resync=True)
            while True:
                async with asyncio.timeout(wait + 15):
                    frames, lost = await poll
                before, came = came, time.monotonic()
                rest = gathering(len(frames), sum(each.size for each in frames), came - before, capacity)
                poll = asyncio.ensure_future(
                    _later(rest, bus, name, token, wait) if rest else bus.next.remote(name, token, wait)
                )
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


class DurableDelivery(NamedTuple):
    """Journaled events in order; `lost` says how many before them are no longer kept."""

    events: list[AnyEvent]
    lost: int = 0


def journaled_event(entry: Journaled, site: str) -> AnyEvent:
    """Give an entry of the journal as the event that it was, with its site and its number."""
    return ANY_EVENT.validate_python(json.loads(entry.event) | {"site": site, "seq": entry.seq})


async def follow_durably(
    bus: Any,
    name: str,
    types: Iterable[str] | None = None,
    *,
    site: str = "",
    after: int | None = None,
    limit: int = 500,
    wait: float = 10.0,
) -> AsyncIterator[DurableDelivery]:
    """Follow a site's journal for ever, from where `name` has acknowledged; a new name begins at `after`.

    A delivery is acknowledged when the caller comes for the next one: whoever dies over its work gets it
    again, so every event is delivered at least once, whatever else dies in between. Cancel to end. Raises
    BadInputError for unknown types or a name that can't be.
    """
    wanted = None if types is None else sorted(types)
    pause = 0.2
    at: int | None = None
    while True:
        try:
            if at is None:
                begun: Subscription = await _asked(bus.durable_subscribe.remote(name, wanted, after), 20.0)
                at = begun.acknowledged
            batch: Batch = await _asked(bus.durable_next.remote(at, wanted, limit, wait), wait + 15)
            if batch.entries or batch.lost:
                yield DurableDelivery([journaled_event(entry, site) for entry in batch.entries], batch.lost)
            if batch.after > at:
                await _asked(bus.durable_acknowledge.remote(name, batch.after), 20.0)
                at = batch.after
            pause = 0.2
        except UnreachableError as error:
            log.info("%s can't follow the journal of %s now: %s", name, site or "the site", error)
        except (BadInputError, NotFoundError):
            if at is None:
                raise
            # The journal came back from a backup that is older than what was acknowledged here.
            log.warning("%s begins again where the journal of %s says", name, site or "the site")
            at = None
        else:
            continue
        await asyncio.sleep(pause)
        pause = min(5.0, pause * 2)


async def _asked(reference: Awaitable[Any], timeout: float) -> Any:
    return await answered("the bus", reference, timeout)


async def follow_config(
    bus: Any, cell: str, read_version: Callable[[], Awaitable[int]], *, wait: float = 10.0
) -> AsyncIterator[int]:
    """Give the version of a store's configuration now and whenever it has changed, for ever.

    The watch cell only tells when to look: the version is read from the store, so that nothing is missed
    while the bus or the store was away. `read_version` may raise what Ray or the store raises; it is asked
    again. Cancel to end.
    """
    known: int | None = None
    told: int | None = None
    while True:
        try:
            version = await read_version()
            if version != told:
                told = version
                yield version
            known = await _asked(bus.watch.remote(cell, known, wait), wait + 10)
        except (OpenCrateError, RayError, TimeoutError) as error:
            known = None
            log.info("the configuration of %s can't be followed now: %s", cell, error)
            await asyncio.sleep(0.3)
