"""Two years of one-minute samples of 200 points: how large the file is, and how long questions take."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray

from actors.history.reader import HistoryReader
from actors.history.store import HistoryStore
from bench.cluster import cluster
from bench.history import BEGIN, DAY, MINUTE, frames_of, point, samples
from bench.results import Met, Progress, Result, Scale, at_most, median, percentile

POINTS = 200


def two_years(folder: Path, scale: Scale, progress: Progress) -> Iterator[Result]:
    """Fill two years, append the last hours poll by poll, and ask over Ray."""
    count = scale.of(2 * 525_600, 10_000)
    polls = min(count // 10, 600)
    path = folder / "history"
    store: Any = HistoryStore(path)
    begin = time.perf_counter()
    for number in range(POINTS):
        progress(number, POINTS + 2, "two years of 200 points")
        times, values = samples(count, number)
        store.load(point(number), times, values)
    loaded = time.perf_counter() - begin
    progress(POINTS, POINTS + 2, "the last hours, poll by poll")
    after = count * MINUTE
    begin = time.perf_counter()
    for frame, _ in frames_of(POINTS, polls):
        frame.times = [at + after for at in frame.times]
        store.append(frame.encode())
    appended = POINTS * polls / (time.perf_counter() - begin)
    begin = time.perf_counter()
    store.close()
    store = HistoryStore(path)
    opened = time.perf_counter() - begin
    total = store.count()
    store.close()
    size = (path / "history.db").stat().st_size
    yield Result(
        f"two years of one-minute samples of {POINTS} points: size",
        f"{size / 2**20:,.0f} MiB, {total:,} samples",
        "plain table 24 bytes/sample",
        f"{size / total:.2f} bytes/sample",
        "at most 1.5",
        at_most(size / total, 1.5),
        [
            f"loaded in {loaded:.0f} s, data made included; then appended {appended:,.0f} rows/s in frames of"
            f" {POINTS}; closed and opened again in {opened:.2f} s"
        ],
    )
    progress(POINTS + 1, POINTS + 2, "questions")
    end = BEGIN + after + polls * MINUTE
    with cluster(folder) as actors:
        reader = actors.create(HistoryReader, "history_reader", str(path))
        ray.get(reader.health.remote())
        week, year = 7 * DAY, 365 * DAY
        some = [point(n) for n in range(10)]
        ask: dict[str, Callable[[str], Any]] = {
            "last 1,000 samples": lambda p: reader.read_last.remote(p, None, None, 1000),
            "a week of samples as arrays": lambda p: reader.read_arrays.remote(p, end - week, end),
            "the latest samples of 10 points": lambda p: reader.latest.remote([p, *some]),
            "two years as arrays": lambda p: reader.read_arrays.remote(p, BEGIN - MINUTE, end),
            "two years by month": lambda p: reader.rollup.remote(p, BEGIN, end, "month", "Europe/Berlin"),
            "two years by day": lambda p: reader.rollup.remote(p, BEGIN, end, "day", "Europe/Berlin"),
            "a year by hour": lambda p: reader.rollup.remote(p, max(BEGIN, end - year), end, "hour"),
        }
        for what, call in ask.items():
            took = []
            for number in range(scale.of(10 * scale.runs, 5)):
                begin = time.perf_counter()
                answer = ray.get(call(point(number * 7 % POINTS)))
                _read(answer)
                took.append((time.perf_counter() - begin) * 1000)
            yield Result(
                f"of these: {what}",
                f"{median(took):.1f} ms, slowest in twenty {percentile(took, 0.95):.1f} ms",
                "",
                f"{median(took):.1f} ms",
                "reported",
                Met.REPORTED,
            )


def _read(answer: Any) -> None:
    """Read arrays, which do so when they are looked at."""
    if hasattr(answer, "times"):
        _ = answer.times, answer.values
