"""The processes at both ends of a bus: they carry the same changes over ours, Redis or mosquitto.

All do the same work. The publisher encodes each frame of changes from lists; a subscriber decodes each to
node ids, values and times and keeps the latest value of each node. Both ends of the peers use JSON by
msgspec, the fastest encoder at hand, in the same columns as our frames. Nobody gets more than WINDOW frames
ahead of the slowest subscriber, which all tell through a small shared file, so that nothing need be dropped.
"""

import asyncio
import mmap
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from actors.bus.client import Publisher, follow

WINDOW = 240
"""Frames of 1,000 that may be under way: below what a Publisher keeps for a bus that is away."""
CHANNEL = "bench"
QUIET = 20.0
"""Seconds without anything new after which what is missing counts as lost."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(tuple[list[str], list[Any], list[Any]])


class Shared:
    """Counters of each subscriber in a file that all have in memory."""

    def __init__(self, path: Path, subscribers: int) -> None:
        """Open it; the first makes it."""
        if not path.exists():
            path.write_bytes(bytes(8 * (subscribers + 1)))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self.counts = np.frombuffer(self._memory, np.int64)[:subscribers]
        self._stop = np.frombuffer(self._memory, np.int64)[subscribers:]

    def slowest(self) -> int:
        """Give how many changes every subscriber has got."""
        return int(self.counts.min())

    @property
    def stopped(self) -> bool:
        """Whether the publisher has ended."""
        return bool(self._stop[0])

    def stop(self) -> None:
        """Tell the subscribers that nothing more comes."""
        self._stop[0] = 1


class Subscriber:
    """Take changes and keep the latest of each node."""

    def __init__(self, number: int, shared: str, subscribers: int) -> None:
        """Take which one this is, and where its counter is."""
        self._number = number
        self._shared = Shared(Path(shared), subscribers)
        self._latest: dict[str, Any] = {}
        self._arrived: list[tuple[float, float]] = []
        """The first two values of each frame, its number and when it was published, with the time now."""
        self._lost = 0
        self._ready = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._ends: list[Callable[[], object]] = []

    async def ready(self) -> None:
        """Wait until it follows."""
        await self._ready.wait()

    async def arrivals(self) -> tuple[list[tuple[float, float]], int, int]:
        """Give (number, delay in seconds) of each frame, the changes that came, and those told as lost."""
        return self._arrived, int(self._shared.counts[self._number]), self._lost

    async def end(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
        for each in self._ends:
            each()

    def _take(self, rows: Iterable[tuple[str, Any, int]]) -> None:
        """Do with changes what a subscriber does."""
        latest, count, number = self._latest, 0, -1.0
        for node, value, _at in rows:
            latest[node] = value
            if node == NUMBER:
                number = value
            elif node == STAMP:
                self._arrived.append((number, time.monotonic() - value))
            count += 1
        self._shared.counts[self._number] += count

    async def follow_bus(self, bus: Any, capacity: int) -> None:
        """Follow our bus as every engine does."""

        async def run() -> None:
            name = f"subscriber-{self._number}"
            async for delivery in follow(bus, name, ["value_changed"], site="bench", capacity=capacity):
                self._ready.set()
                self._lost += delivery.lost
                self._take(delivery.values())

        self._following = asyncio.get_running_loop().create_task(run())

    async def follow_redis(self, port: int) -> None:
        """Follow a channel of Redis in a thread."""
        import redis  # noqa: PLC0415

        client = redis.Redis(port=port)
        channel = client.pubsub(ignore_subscribe_messages=True)
        channel.subscribe(CHANNEL)
        self._ends.append(client.close)  # which its channel doesn't outlive
        loop = asyncio.get_running_loop()

        def run() -> None:
            channel.get_message(timeout=1.0)
            loop.call_soon_threadsafe(self._ready.set)
            while not self._shared.stopped:
                message = channel.get_message(timeout=0.5)
                if message is not None:
                    self._take(zip(*_decoder.decode(message["data"]), strict=True))

        threading.Thread(target=run, daemon=True).start()

    async def follow_mosquitto(self, port: int) -> None:
        """Follow a topic of mosquitto in paho's thread."""
        from paho.mqtt import client as mqtt  # noqa: PLC0415

        loop = asyncio.get_running_loop()
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.on_subscribe = lambda *_: loop.call_soon_threadsafe(self._ready.set)
        client.on_message = lambda _c, _u, message: self._take(
            zip(*_decoder.decode(message.payload), strict=True)
        )
        client.connect("127.0.0.1", port)
        client.subscribe(CHANNEL, 0)
        client.loop_start()
        self._ends.append(client.disconnect)
        self._ends.append(client.loop_stop)


NUMBER, STAMP = "bench/number", "bench/stamp"
"""Ids of the first two changes of each frame: its number, and the monotonic clock when it was made."""


class Source:
    """Publish frames of changes, as fast as the slowest subscriber takes them or at a rate."""

    def __init__(self, shared: str, subscribers: int, bus: Any) -> None:
        """Take where the subscribers' counters are."""
        self._shared = Shared(Path(shared), subscribers)
        self._bus = bus

    def health(self) -> None:
        """Say that it is there."""

    def to_bus(self, frames: int, size: int, rate: float | None = None) -> tuple[float, int]:
        """Publish over our bus; give the seconds until all was everywhere, and how many changes were."""
        publisher = Publisher(self._bus)
        try:
            return self._publish(publisher.values, frames, size, rate)
        finally:
            publisher.close()

    def to_redis(self, port: int, frames: int, size: int, rate: float | None = None) -> tuple[float, int]:
        """Publish over Redis."""
        import redis  # noqa: PLC0415

        client = redis.Redis(port=port)
        try:
            return self._publish(
                lambda *columns: client.publish(CHANNEL, _encoder.encode(columns)), frames, size, rate
            )
        finally:
            client.close()

    def to_mosquitto(self, port: int, frames: int, size: int, rate: float | None = None) -> tuple[float, int]:
        """Publish over mosquitto, QoS 0."""
        from paho.mqtt import client as mqtt  # noqa: PLC0415

        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", port)
        client.loop_start()
        try:
            return self._publish(
                lambda *columns: client.publish(CHANNEL, _encoder.encode(columns), 0), frames, size, rate
            )
        finally:
            client.disconnect()
            client.loop_stop()

    def stop(self) -> None:
        """Tell the subscribers that nothing more comes."""
        self._shared.stop()

    def _publish(
        self, publish: Callable[..., Any], frames: int, size: int, rate: float | None
    ) -> tuple[float, int]:
        """Publish `frames` of `size` changes, or of changes at `rate` per second."""
        ids = [NUMBER, STAMP, *(f"{1001 + n // 50}/analog-input,{n % 50}" for n in range(size - 2))]
        values: list[Any] = [0.0, 0.0, *(round(20 + n * 0.037, 2) for n in range(size - 2))]
        before = self._shared.slowest()
        ahead = WINDOW * 1000
        begin = time.monotonic()
        for number in range(frames):
            if rate is not None:
                early = begin + number * size / rate - time.monotonic()
                if early > 0:
                    time.sleep(early)
            elif (number + 1) * size - (self._shared.slowest() - before) > ahead:
                self._wait(before + (number + 1) * size - ahead)
            now = time.time_ns() // 1_000_000
            values[0], values[1] = float(number), time.monotonic()
            values[2:6] = [number / 7, number / 3, number * 0.1, -number / 9]
            publish(ids, values, [now] * size)
        got = self._wait(before + frames * size)
        return time.monotonic() - begin, got - before

    def _wait(self, until: int) -> int:
        """Wait until every subscriber has got so many changes, or nothing more comes."""
        got, moved = self._shared.slowest(), time.monotonic()
        while got < until and time.monotonic() - moved < QUIET:
            time.sleep(0.0005)
            last, got = got, self._shared.slowest()
            if got != last:
                moved = time.monotonic()
        return got
