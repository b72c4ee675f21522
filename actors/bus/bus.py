"""The event bus of a site: bounded deques, long poll, lag that is counted and told."""

import asyncio
import os
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import ray
from pydantic import BaseModel

from actors.bus.frames import Frame, NumberedFrame
from actors.bus.journal import Batch, Entry, Subscription
from actors.core.clock import Clock, now_ms
from actors.core.errors import BadInputError, NotFoundError, OpenCrateError
from actors.core.health import Health, HealthState
from actors.core.metrics import Measure
from actors.core.remote import answered

CAPACITY = 4096
"""Events that wait for one subscriber before the oldest are dropped."""

FORGET_AFTER = 120.0
"""Seconds without a poll after which a subscriber counts as gone."""


JOURNAL_TIMEOUT = 10.0
"""Seconds for a call to the journal."""

REMEMBERED_KEYS = 20_000


class NotSubscribedError(OpenCrateError):
    """The bus doesn't know this subscription: it restarted, or another took the name. Subscribe again."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Answer(NamedTuple):
    """What a poll brings: all frames that waited, and how many events were dropped before them."""

    frames: list[NumberedFrame]
    lost: int


class SubscriberStats(BaseModel):
    """One subscriber, as `/api/system/bus` shows it."""

    name: str
    types: list[str] | None
    capacity: int
    queued: int
    delivered: int
    lagged: int
    """Events dropped because it fell behind, since it subscribed."""
    idle_seconds: float


class BusStats(BaseModel):
    """The bus, as `/api/system/bus` shows it."""

    site: str
    seq: int
    published: int
    frames: int
    subscribers: list[SubscriberStats]
    watches: dict[str, int]


class _Subscriber:
    def __init__(self, name: str, types: frozenset[str] | None, capacity: int) -> None:
        self.name, self.types, self.capacity = name, types, capacity
        self.token = uuid.uuid4().hex
        self.frames: deque[NumberedFrame] = deque()
        self.queued = self.delivered = self.lagged = self.untold = 0
        self.woken = asyncio.Event()
        self.gone = False
        self.polled = time.monotonic()

    def push(self, frame: NumberedFrame) -> None:
        self.frames.append(frame)
        self.queued += frame.size
        while self.queued > self.capacity:
            oldest = self.frames.popleft()
            self.queued -= oldest.size
            self.lagged += oldest.size
            self.untold += oldest.size
        self.woken.set()

    def take(self) -> Answer:
        answer = Answer(list(self.frames), self.untold)
        self.delivered += self.queued
        self.frames.clear()
        self.queued = self.untold = 0
        self.woken.clear()
        return answer


class EventBus:
    """Carry events of one site to whoever follows, without ever holding up who publishes.

    An asyncio actor. A subscriber that falls more than `capacity` events behind loses the oldest and is told
    how many. Low-rate events come by `record`: they are journaled, then handed out with the journal's number.
    While the journal is away they are handed out at once with the number 0, and whoever published them sends
    them again until the journal has them; they are not handed out a second time. Value and status changes are
    numbered from the clock (microseconds), so that their numbers go on rising over restarts. A restarted bus
    knows no subscriber and no watch cell: clients subscribe again by themselves (`follow`, `follow_durably`,
    `follow_config`).
    """

    def __init__(self, site: str, clock: Clock = now_ms, journal: Any = None) -> None:
        """Start empty. `journal` is the handle of the site's journal; the campus has none."""
        self.site = site
        self._journal = journal
        self._journaling = asyncio.Lock()
        self._journaled = 0
        self._grown = asyncio.Condition()
        self._handed: dict[str, None] = {}
        """Keys of the newest events that were handed out."""
        self._journal_trouble: str | None = None
        self._next_seq = clock() * 1000
        self._published = self._frames = self._lagged_before = 0
        self._subscribers: dict[str, _Subscriber] = {}
        self._watches: dict[str, int] = {}
        self._moved = asyncio.Condition()

    @ray.method
    async def publish(self, frames: Sequence[Frame]) -> int:
        """Number the events of some frames and queue them for all who asked for their types.

        Gives the number of the last event. Publishing the same frame twice delivers it twice.
        """
        return self._number(frames)

    def _number(self, frames: Sequence[Frame]) -> int:
        for kind, count, payload in frames:
            self._hand_out(NumberedFrame(self._next_seq, kind, count, payload))
            self._next_seq += count
        return self._next_seq - 1

    def _hand_out(self, frame: NumberedFrame) -> None:
        self._published += frame.size
        self._frames += 1
        for subscriber in self._subscribers.values():
            if subscriber.types is None or frame.type in subscriber.types:
                subscriber.push(frame)

    @ray.method
    async def record(self, entries: Sequence[Entry]) -> list[int]:
        """Journal low-rate events, then hand out those that were not handed out yet; give their numbers.

        Raises UnreachableError when the journal is away: the events are handed out, and are to be sent again
        under the same keys.
        """
        if self._journal is None:
            return [self._number([Frame(kind, 1, b"[" + event + b"]")]) for _, kind, event in entries]
        # One at a time, so that events are handed out in the order of their numbers.
        async with self._journaling:
            try:
                numbers: list[int] = await answered(
                    f"journal@{self.site}", self._journal.append.remote(list(entries)), JOURNAL_TIMEOUT
                )
            except OpenCrateError as error:
                self._journal_trouble = str(error)
                for entry in entries:
                    self._hand_out_once(entry, 0)
                raise
            self._journal_trouble = None
            for entry, number in zip(entries, numbers, strict=True):
                self._hand_out_once(entry, number)
        async with self._grown:
            self._journaled = max(self._journaled, *numbers, 0)
            self._grown.notify_all()
        return numbers

    def _hand_out_once(self, entry: Entry, number: int) -> None:
        if entry.key in self._handed:
            return
        self._handed[entry.key] = None
        if len(self._handed) > REMEMBERED_KEYS:
            del self._handed[next(iter(self._handed))]
        self._hand_out(NumberedFrame(number, entry.type, 1, b"[" + entry.event + b"]"))

    @ray.method
    async def durable_subscribe(
        self, name: str, types: Sequence[str] | None = None, after: int | None = None
    ) -> Subscription:
        """Make or find a durable subscription; see JournalStore.subscribe.

        Raises BadInputError and UnreachableError.
        """
        found: Subscription = await self._ask_journal("subscribe", name, types, after)
        return found

    @ray.method
    async def durable_next(
        self, after: int, types: Sequence[str] | None = None, limit: int = 500, wait: float = 10.0
    ) -> Batch:
        """Wait up to `wait` seconds for journaled events past `after`. Nothing is acknowledged by it.

        Raises BadInputError and UnreachableError.
        """
        deadline = time.monotonic() + wait
        while True:
            batch: Batch = await self._ask_journal("read", after, limit, types)
            left = deadline - time.monotonic()
            if batch.entries or batch.lost or left <= 0:
                return batch
            after = batch.after
            async with self._grown:
                try:
                    async with asyncio.timeout(left):
                        await self._grown.wait_for(lambda: self._journaled > after)  # noqa: B023
                except TimeoutError:
                    return batch

    @ray.method
    async def durable_acknowledge(self, name: str, seq: int) -> Subscription:
        """Note how far a durable subscriber has come; see JournalStore.acknowledge.

        Raises NotFoundError, BadInputError and UnreachableError.
        """
        found: Subscription = await self._ask_journal("acknowledge", name, seq)
        return found

    async def _ask_journal(self, method: str, *args: Any) -> Any:
        if self._journal is None:
            raise NotFoundError("journal", self.site)
        call = getattr(self._journal, method).remote(*args)
        return await answered(f"journal@{self.site}", call, JOURNAL_TIMEOUT)

    @ray.method
    async def subscribe(self, name: str, types: Sequence[str] | None = None, capacity: int = CAPACITY) -> str:
        """Queue events from now on, all or those of `types`. Gives the token that `next` asks for.

        A second subscription under a name takes the place of the first. Raises BadInputError.
        """
        if not 1 <= capacity <= 1_000_000:
            raise BadInputError("capacity", capacity, "1 to 1,000,000 events")
        self._drop(name)
        self._forget()
        subscriber = _Subscriber(name, None if types is None else frozenset(types), capacity)
        self._subscribers[name] = subscriber
        return subscriber.token

    @ray.method
    async def unsubscribe(self, name: str, token: str) -> None:
        """End a subscription; one that isn't there is fine."""
        found = self._subscribers.get(name)
        if found is not None and found.token == token:
            self._drop(name)

    @ray.method
    async def next(self, name: str, token: str, wait: float = 10.0) -> Answer:
        """Wait up to `wait` seconds for frames and take all that are there. Raises NotSubscribedError."""
        subscriber = self._subscribers.get(name)
        if subscriber is None or subscriber.token != token:
            raise NotSubscribedError(name)
        subscriber.polled = time.monotonic()
        if not subscriber.frames and not subscriber.untold:
            try:
                async with asyncio.timeout(wait):
                    await subscriber.woken.wait()
            except TimeoutError:
                pass
            subscriber.polled = time.monotonic()
        if subscriber.gone:
            raise NotSubscribedError(name)
        return subscriber.take()

    @ray.method
    async def set_watch(self, cell: str, version: int) -> None:
        """Move a watch cell: the newest configuration version of a store.

        An older version changes nothing.
        """
        async with self._moved:
            if version > self._watches.get(cell, -1):
                self._watches[cell] = version
                self._moved.notify_all()

    @ray.method
    async def watch(self, cell: str, known: int | None = None, wait: float = 10.0) -> int | None:
        """Wait up to `wait` seconds until a cell differs from `known`; give its version (None: never set)."""
        async with self._moved:
            try:
                async with asyncio.timeout(wait):
                    await self._moved.wait_for(lambda: self._watches.get(cell) != known)
            except TimeoutError:
                pass
            return self._watches.get(cell)

    @ray.method
    async def stats(self) -> BusStats:
        """Tell who follows, how much waits for whom and how much was lost."""
        self._forget()
        now = time.monotonic()
        subscribers = [
            SubscriberStats(
                name=each.name,
                types=None if each.types is None else sorted(each.types),
                capacity=each.capacity,
                queued=each.queued,
                delivered=each.delivered,
                lagged=each.lagged,
                idle_seconds=round(now - each.polled, 3),
            )
            for each in sorted(self._subscribers.values(), key=lambda each: each.name)
        ]
        return BusStats(
            site=self.site,
            seq=self._next_seq - 1,
            published=self._published,
            frames=self._frames,
            subscribers=subscribers,
            watches=dict(self._watches),
        )

    def measures(self) -> list[Measure]:
        """Measure what was handed out, what waits, and what was lost."""
        known = list(self._subscribers.values())
        return [
            Measure("opencrate_bus_events_total", self._published),
            Measure("opencrate_bus_queued_events", sum(each.queued for each in known)),
            Measure(
                "opencrate_bus_lagged_events_total",
                self._lagged_before + sum(each.lagged for each in known),
            ),
        ]

    @ray.method
    async def health(self) -> Health:
        """Say whether events are journaled; that a subscriber lags is the subscriber's trouble."""
        if self._journal_trouble is None:
            return Health(name="bus", pid=os.getpid())
        reasons = [f"events are not journaled now: {self._journal_trouble}"]
        return Health(name="bus", state=HealthState.DEGRADED, reasons=reasons, pid=os.getpid())

    @ray.method
    async def close(self) -> None:
        """Wake all who wait; nothing is kept."""
        for name in list(self._subscribers):
            self._drop(name)

    def _drop(self, name: str) -> None:
        found = self._subscribers.pop(name, None)
        if found is not None:
            self._lagged_before += found.lagged
            found.gone = True
            found.woken.set()

    def _forget(self) -> None:
        now = time.monotonic()
        for name in [each.name for each in self._subscribers.values() if now - each.polled > FORGET_AFTER]:
            self._drop(name)
