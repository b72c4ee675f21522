"""The bus beside Redis pub/sub and mosquitto: how much, and how soon."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from actors.bus.bus import EventBus
from bench import peers
from bench.cluster import SITE, Actors, cluster
from bench.results import Met, Progress, Result, Scale, at_least, at_most, median, percentile
from bench.subscribers import Source, Subscriber

SUBSCRIBERS = 6
CAPACITY = 250_000
"""Events that may wait for one subscriber: 4,096 would be 6 ms at the rates of this measurement."""
FRAME = 1000
WARM = 300
SECONDS = 60.0


class Line:
    """One publisher and six subscribers, each a process of its own, over one kind of bus."""

    def __init__(self, actors: Actors, folder: Path, kind: str, where: Any) -> None:
        """Raise the processes and let them follow."""
        self.kind, self._where, self._actors = kind, where, actors
        shared = str(folder / f"counts-{kind}-{len(list(folder.iterdir()))}")
        self._source = actors.create(
            Source, f"source-{kind}", shared, SUBSCRIBERS, where if kind == "bus" else None
        )
        ray.get(self._source.health.remote())
        self._subscribers = [
            actors.create(Subscriber, f"subscriber-{kind}-{n}", n, shared, SUBSCRIBERS)
            for n in range(SUBSCRIBERS)
        ]
        extra = (CAPACITY,) if kind == "bus" else ()
        ray.get([getattr(each, f"follow_{kind}").remote(where, *extra) for each in self._subscribers])
        ray.get([each.ready.remote() for each in self._subscribers], timeout=SECONDS)

    def publish(self, frames: int, size: int, rate: float | None = None) -> tuple[float, int]:
        """Publish; give the seconds until all was everywhere, and how many changes were."""
        call = getattr(self._source, f"to_{self.kind}")
        first = () if self.kind == "bus" else (self._where,)
        answer: tuple[float, int] = ray.get(call.remote(*first, frames, size, rate))
        return answer

    def delays(self) -> tuple[dict[float, list[float]], int]:
        """Give the delays of each frame at each subscriber, by its number, and the changes told as lost."""
        found: dict[float, list[float]] = {}
        lost = 0
        for arrived, _, told in ray.get([each.arrivals.remote() for each in self._subscribers]):
            lost += told
            for number, delay in arrived:
                found.setdefault(number, []).append(delay)
        return found, lost

    def end(self) -> None:
        """End the processes."""
        ray.get(self._source.stop.remote())
        ray.get([each.end.remote() for each in self._subscribers])
        self._actors.end()


@contextlib.contextmanager
def line(kind: str, folder: Path) -> Iterator[Line]:
    """Run a bus of a kind with its publisher and subscribers."""
    with contextlib.ExitStack() as stack:
        actors = stack.enter_context(cluster(folder))
        if kind == "bus":
            where = actors.create(EventBus, "bus", SITE)
        else:
            where = stack.enter_context(getattr(peers, kind)(folder))
        made = Line(actors, folder, kind, where)
        try:
            yield made
        finally:
            made.end()


KINDS = ("bus", "redis", "mosquitto")


def throughput(folder: Path, scale: Scale, progress: Progress) -> Iterator[Result]:
    """Measure how many changes a second go from one publisher to six subscribers, none lost."""
    frames = scale.of(3000, 20)
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    lost = dict.fromkeys(KINDS, 0)
    for run in range(scale.runs):
        for at, kind in enumerate(KINDS):
            progress(run * len(KINDS) + at, scale.runs * len(KINDS), f"bus: {kind}")
            with line(kind, folder) as each:
                each.publish(scale.of(WARM), FRAME)
                seconds, got = each.publish(frames, FRAME)
                told = each.delays()[1]
            lost[kind] += frames * FRAME - got + told
            rates[kind].append(got / seconds)
    found = {kind: median(rates[kind]) for kind in KINDS}
    better = max(("redis", "mosquitto"), key=lambda kind: found[kind])
    ratio = found["bus"] / found[better]
    met = at_least(ratio, 1.0) if not lost["bus"] else Met.NO
    yield Result(
        "bus, 1 publisher, 6 subscriber processes, frames of 1,000",
        f"{found['bus']:,.0f} changes/s, {lost['bus']} lost",
        ", ".join(f"{kind} {found[kind]:,.0f}/s ({lost[kind]} lost)" for kind in KINDS[1:]),
        f"{ratio:.2f} of {better}",
        "1.0 of the better, nothing lost",
        met,
        [
            "every run, changes/s: "
            + "; ".join(f"{kind} " + ", ".join(f"{rate:,.0f}" for rate in rates[kind]) for kind in KINDS)
        ],
    )


def delay(folder: Path, scale: Scale, progress: Progress) -> Iterator[Result]:
    """Measure the time from publish until the last of six subscribers has decoded a frame."""
    kinds = ("bus", "redis")
    for size in (100, 10):
        frames = scale.of(6 * 10_000 // size, 20)
        middle: dict[str, list[float]] = {kind: [] for kind in kinds}
        worst: dict[str, list[float]] = {kind: [] for kind in kinds}
        for run in range(min(3, scale.runs)):
            for at, kind in enumerate(kinds):
                progress(run * 2 + at, 2 * min(3, scale.runs), f"delay, frames of {size}: {kind}")
                with line(kind, folder) as each:
                    each.publish(frames, size, 10_000.0)
                    found, lost = each.delays()
                last = [max(delays) for delays in found.values() if len(delays) == SUBSCRIBERS]
                if lost or len(last) < frames:
                    raise RuntimeError(f"{kind} lost changes at 10,000 a second")
                middle[kind].append(percentile(last, 0.50) * 1000)
                worst[kind].append(percentile(last, 0.99) * 1000)
        ours = median(worst["bus"])
        yield Result(
            f"bus, publish to the last of 6, 10,000 changes/s in frames of {size:,}",
            f"p50 {median(middle['bus']):.1f} ms, p99 {ours:.1f} ms",
            f"Redis p50 {median(middle['redis']):.1f} ms, p99 {median(worst['redis']):.1f} ms",
            f"p99 {ours:.1f} ms",
            "p99 under 50 ms",
            at_most(ours, 50.0),
        )
