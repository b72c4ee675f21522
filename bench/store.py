"""One call of a store beside the same insert without a store and without Ray."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import ray

from actors.core.sqlite import Durability, connect
from actors.override.models import Override
from actors.override.schema import MIGRATIONS
from actors.override.store import OverrideStore
from bench.cluster import cluster
from bench.results import Progress, Result, Scale, at_least, median

INSERT = (
    "INSERT INTO override (node_id, priority, value, by, at, expires_at, note) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


class Empty:
    """An actor whose call does nothing."""

    def __init__(self) -> None:
        self._answer = Override(id=1, node_id="1", priority=8, value=21.5, by="ana", at=0)

    def call(self) -> None:
        """Do nothing."""

    def carry(self, node_id: str, priority: int, value: float, by: str) -> Override:
        """Take what the store's call takes, and give what it gives."""
        return self._answer


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
    parts: list[tuple[float, float, float]] = []
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
            carried = each(numbers, lambda n: ray.get(empty.carry.remote(str(n), 8, 21.5, "ana")))
            both = each(numbers, lambda n: ray.get(store.put.remote(str(n), 8, 21.5, "ana")))
            if block >= 0:
                parts.append((insert, call, carried))
                whole.append(both)
        plain.close()
        ray.get(store.close.remote())
    ours = 1 / median(whole)
    ratio, fuller = (
        median([(part[0] + part[index]) / both for part, both in zip(parts, whole, strict=True)])
        for index in (1, 2)
    )
    insert, call, carried = (median([part[index] for part in parts]) for index in (0, 1, 2))
    yield Result(
        "store call, one insert (over Ray, durable)",
        f"{ours:,.0f} calls/s",
        f"insert in process {1 / insert:,.0f}/s + empty call {1 / call:,.0f}/s: {1 / (insert + call):,.0f}/s",
        f"{ratio:.2f} of their sum's rate",
        "0.8",
        at_least(ratio, 0.8),
        [
            f"an empty call with the same four arguments and the same answer: {1 / carried:,.0f}/s;"
            f" beside that one and the insert the ratio is {fuller:.2f}"
        ],
    )


def _insert(plain: apsw.Connection, node_id: str) -> None:
    plain.execute(INSERT, (node_id, 8, "21.5", "ana", time.time_ns() // 1_000_000, None, None)).fetchall()
