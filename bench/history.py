"""History beside plain tables of the same samples in the same SQLite."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import ray
from numpy.typing import NDArray

from actors.history.client import AppendTo
from actors.history.reader import HistoryReader
from actors.history.store import HistoryStore
from actors.point.models import PointFrame
from bench.cluster import cluster
from bench.results import Progress, Result, Scale, at_least, at_most, median

BEGIN = 1_735_689_600_000
"""2025-01-01T00:00Z."""
MINUTE = 60_000
DAY = 86_400_000
PLAIN = (
    "CREATE TABLE sample (series INTEGER NOT NULL, ts INTEGER NOT NULL, value REAL,"
    " PRIMARY KEY (series, ts)) WITHOUT ROWID"
)
HEAP = "CREATE TABLE sample (series INTEGER NOT NULL, ts INTEGER NOT NULL, value REAL)"
"""The fastest table to write that there is: it looks nothing up and refuses no second sample."""


def plain_table(path: Path, table: str = PLAIN) -> apsw.Connection:
    """Make the plain table that history is measured against, with the settings that history's file has."""
    connection = apsw.Connection(str(path))
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute(table)
    return connection


def samples(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give samples a minute apart, each up to 40 ms early or late: a room temperature to 0.1 degrees."""
    random = np.random.default_rng(seed)
    at = np.arange(count)
    times = BEGIN + at * MINUTE + random.integers(-40, 41, count)
    daily = 21.5 + 1.5 * np.sin(2 * np.pi * (at / 1440 + random.random()))
    drift = np.cumsum(random.normal(0, 0.03, count))
    noise = random.normal(0, 0.1, count)
    return times, np.round(daily + drift - np.linspace(0, drift[-1], count) + noise, 1)


def point(number: int) -> str:
    """Give the id of a point."""
    return f"{1001 + number // 50}/analog-input,{number % 50}"


def frames_of(points: int, polls: int) -> Iterator[tuple[PointFrame, list[tuple[int, int, float]]]]:
    """Give polls of all points, one frame each, and the same rows for the plain table."""
    columns = [samples(polls, number) for number in range(points)]
    times = np.stack([each[0] for each in columns])
    values = np.stack([each[1] for each in columns])
    ids = [point(number) for number in range(points)]
    for poll in range(polls):
        at, value = times[:, poll].tolist(), values[:, poll].tolist()
        rows = list(zip(range(points), at, value, strict=True))
        yield PointFrame(ids, value, at, [0] * points), rows


def _seconds(do: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    do()
    return time.perf_counter() - begin


def append(folder: Path, scale: Scale, progress: Progress) -> Iterator[Result]:
    """Measure frames of 1,000 points, one commit each, packing included, on a file that already has some."""
    polls = scale.of(600, 20)
    rows = 1000 * polls
    data = list(frames_of(1000, polls))
    frames = [frame.encode() for frame, _ in data]
    ours, over_ray = list[float](), list[float]()
    plain: dict[str, list[float]] = {PLAIN: [], HEAP: []}
    for run in range(scale.runs):
        progress(run, scale.runs, "history append")
        for number, kind in enumerate(plain):
            table = plain_table(folder / f"plain-{run}-{number}.db", kind)

            def into_table(table: apsw.Connection = table) -> None:
                for _, each in data:
                    with table:
                        table.executemany("INSERT INTO sample VALUES (?, ?, ?)", each)

            plain[kind].append(rows / _seconds(into_table))
            table.close()
        store: Any = HistoryStore(folder / f"history-{run}")

        def into_store(store: Any = store) -> None:
            for each in frames:
                store.append(each)

        ours.append(rows / _seconds(into_store))
        if store.count() != rows:
            raise RuntimeError(f"history has {store.count()} of {rows} samples")
        store.close()
        with cluster(folder) as actors:
            actor = actors.create(HistoryStore, "history", str(folder / f"ray-{run}"))
            ray.get(actor.health.remote())
            send = AppendTo(actor)

            def over(send: AppendTo = send) -> None:
                for each in frames:
                    send(each)

            over_ray.append(rows / _seconds(over))
            ray.get(actor.close.remote())
    ratio = median([one / two for one, two in zip(ours, plain[HEAP], strict=True)])
    called = median([one / two for one, two in zip(over_ray, plain[HEAP], strict=True)])
    yield Result(
        "history append, frames of 1,000, one commit each",
        f"{median(ours):,.0f} rows/s, decoding and packing included",
        f"executemany into a plain table without any index {median(plain[HEAP]):,.0f} rows/s",
        f"{ratio:.2f}",
        "1.0",
        at_least(ratio, 1.0),
        [
            f"a plain table with the key (series, ts) takes {median(plain[PLAIN]):,.0f} rows/s",
            f"called over Ray one frame after the other, as the point store's feed does: "
            f"{median(over_ray):,.0f} rows/s, {called:.2f} of the plain table in process",
        ],
    )


def size(folder: Path, scale: Scale, progress: Progress) -> Iterator[Result]:
    """Measure the bytes that a sample takes in the file, appended poll by poll."""
    points, polls = 50, scale.of(40_000, 500)
    store: Any = HistoryStore(folder / "history")
    table = plain_table(folder / "plain.db")
    for number, (frame, rows) in enumerate(frames_of(points, polls)):
        if number % 1000 == 0:
            progress(number, polls, "history size")
        store.append(frame.encode())
        if number < polls // 10:
            with table:
                table.executemany("INSERT INTO sample VALUES (?, ?, ?)", rows)
    count = store.count()
    store.pack()
    store.close()
    table.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    plain = (folder / "plain.db").stat().st_size / (points * (polls // 10))
    table.close()
    bytes_each = store.path.stat().st_size / count
    yield Result(
        "history size, a minute apart with ±40 ms jitter, values to 0.1",
        f"{bytes_each:.2f} bytes/sample ({count:,} samples)",
        f"plain table {plain:.1f} bytes/sample",
        f"{bytes_each:.2f} bytes",
        "at most 1.5",
        at_most(bytes_each, 1.5),
    )


def reading(folder: Path, scale: Scale, progress: Progress) -> Iterator[Result]:
    """Measure a range of 100,000 samples, and a year rolled up by day, over Ray to the caller."""
    year, points = scale.of(525_600, 20_000), 3
    wide = min(100_000, year)
    table = plain_table(folder / "plain.db")
    with cluster(folder) as actors:
        store = actors.create(HistoryStore, "history", str(folder / "history"))
        reader = actors.create(HistoryReader, "history_reader", str(folder / "history"))
        for number in range(points):
            progress(number, points + 1, "a year of samples")
            times, values = samples(year, number)
            ray.get(store.load.remote(point(number), times, values))
            with table:
                table.executemany(
                    "INSERT INTO sample VALUES (?, ?, ?)",
                    zip([number] * year, times.tolist(), values.tolist(), strict=True),
                )
        ray.get(store.pack.remote())

        def select() -> Any:
            return table.execute(
                "SELECT ts, value FROM sample WHERE series = 1 AND ts >= ? AND ts < ? ORDER BY ts",
                (BEGIN - MINUTE, BEGIN + wide * MINUTE - 1000),
            ).fetchall()

        def ask() -> Any:
            return ray.get(reader.read_arrays.remote(point(1), BEGIN - MINUTE, BEGIN + wide * MINUTE - 1000))

        if len(select()) != len(ask().times):
            raise RuntimeError("the two ranges differ")
        ours, theirs = _beside(ask, select, scale.of(20, 3) * scale.runs, progress, "range")
        ratio = median(theirs) / median(ours)
        yield Result(
            f"range of {wide:,} samples as arrays to the caller (over Ray)",
            f"{median(ours) * 1000:.1f} ms",
            f"the same SELECT in process {median(theirs) * 1000:.1f} ms",
            f"{ratio:.1f} times faster",
            "5",
            at_least(ratio, 5.0),
        )
        start, end = BEGIN, BEGIN + (year // 1440) * DAY

        def group() -> Any:
            return table.execute(
                "SELECT ts / 86400000, min(value), max(value), avg(value), sum(value), count(*) FROM sample"
                " WHERE series = 1 AND ts >= ? AND ts < ? GROUP BY ts / 86400000",
                (start, end),
            ).fetchall()

        def rollup() -> Any:
            return ray.get(reader.rollup.remote(point(1), start, end, "day"))

        days = rollup()
        if [each.count for each in days] != [row[5] for row in group()]:
            raise RuntimeError("the two rollups differ")
        ours, theirs = _beside(rollup, group, scale.of(8, 3) * scale.runs, progress, "rollup")
        ratio = median(theirs) / median(ours)
        yield Result(
            f"{year:,} samples a minute apart rolled up by day (over Ray)",
            f"{median(ours) * 1000:.1f} ms",
            f"GROUP BY over the plain table in process {median(theirs) * 1000:.0f} ms",
            f"{ratio:.0f} times faster",
            "20",
            at_least(ratio, 20.0),
            [_here(folder / "history", lambda reader: reader.rollup(point(1), start, end, "day"), group)],  # type: ignore[operator]
        )
        ray.get(store.close.remote())
    table.close()


def _here(folder: Path, ask: Callable[[HistoryReader], Any], group: Callable[[], Any]) -> str:
    """Say what the same rollup takes without Ray: by a reader in this process, as the peer is."""
    reader = HistoryReader(folder)
    try:
        ours, theirs = _beside(lambda: ask(reader), group, 8, lambda *told: None, "rollup")
    finally:
        reader.close()  # type: ignore[operator]
    return (
        f"by a reader in this process, as the peer is: {median(ours) * 1000:.1f} ms,"
        f" {median(theirs) / median(ours):.0f} times faster"
    )


def _beside(
    ours: Callable[[], Any], theirs: Callable[[], Any], times: int, progress: Progress, doing: str
) -> tuple[list[float], list[float]]:
    """Time two ways in turn."""
    one, two = list[float](), list[float]()
    for number in range(times):
        progress(number, times, doing)
        one.append(_seconds(ours))
        two.append(_seconds(theirs))
    return one, two
