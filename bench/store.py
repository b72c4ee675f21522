"""One call of a store beside the same insert without a store and without Ray."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import ray

from actors.core.sqlite import Durability, connect
from actors.override.schema import MIGRATIONS
from actors.override.store import OverrideStore
from bench.cluster import cluster
from bench.results import Progress, Result, Scale, at_least, median

INSERT = (
    "INSERT INTO override (node_id, priority, value, by, at, expires_at, note) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


class Empty:
    """An actor whose call does nothing."""

    def call(self) -> None:
        """Do nothing."""


BLOCK = 50


def each(numbers: range, do: Callable[[int], object]) -> float:
    """Give the seconds that one call takes."""
    begin = time.perf_counter()
    for number in numbers:
        do(number)
    return (time.perf_counter() - begin) / len(numbers)


def one_insert(folder: Path, scale: Scale, progress: Progress) -> Iterator[Result]:
    """Measure a commanded slot kept by the override store, one call at a time."""
    blocks = scale.of(20 * scale.runs, 2)
    whole: list[float] = []
    parts: list[tuple[float, float]] = []
    with cluster(folder) as actors:
        store = actors.create(OverrideStore, "overrides", str(folder))
        empty = actors.create(Empty, "empty")
        ray.get([store.health.remote(), empty.call.remote()])
        plain = connect(folder / "plain.db", Durability.FULL)
        for step in MIGRATIONS:
            plain.execute(step).fetchall()
        # In turn and in short blocks: what a commit takes differs from second to second on a shared disk.
        for block in range(-2, blocks):
            progress(max(0, block), blocks, "store call")
            numbers = range(block * BLOCK, (block + 1) * BLOCK)
            insert = each(numbers, lambda n: _insert(plain, str(n)))
            call = each(numbers, lambda _: ray.get(empty.call.remote()))
            both = each(numbers, lambda n: ray.get(store.put.remote(str(n), 8, 21.5, "ana")))
            if block >= 0:
                parts.append((insert, call))
                whole.append(both)
        plain.close()
        ray.get(store.close.remote())
    ours = 1 / median(whole)
    ratio = median([(insert + call) / both for (insert, call), both in zip(parts, whole, strict=True)])
    insert, call = (median([part[index] for part in parts]) for index in (0, 1))
    yield Result(
        "store call, one insert (over Ray, durable)",
        f"{ours:,.0f} calls/s",
        f"insert in process {1 / insert:,.0f}/s + empty call {1 / call:,.0f}/s: {1 / (insert + call):,.0f}/s",
        f"{ratio:.2f} of their sum's rate",
        "0.8",
        at_least(ratio, 0.8),
    )


def _insert(plain: apsw.Connection, node_id: str) -> None:
    plain.execute(INSERT, (node_id, 8, "21.5", "ana", time.time_ns() // 1_000_000, None, None)).fetchall()
