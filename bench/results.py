"""What a measurement says, and the table of all of them."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Met(StrEnum):
    """Whether a figure holds."""

    YES = "yes"
    NO = "**no**"
    REPORTED = "reported"


@dataclass
class Result:
    """One row of the table: ours, the peer's, and what must hold between them."""

    what: str
    ours: str
    peer: str
    figure: str
    """What was found, in the words of what was asked: a ratio, a size, a delay."""
    asked: str
    met: Met
    notes: list[str] = field(default_factory=list)
    """What a reader must know beside it; printed under the table."""


class Progress(Protocol):
    """Told how far a measurement is."""

    def __call__(self, done: int, of: int, doing: str) -> None:
        """Say that `done` of `of` steps are done, and what comes now."""


@dataclass(frozen=True)
class Scale:
    """How much is measured: all that a figure needs, or the least that shows that the measurement runs."""

    runs: int = 5
    part: float = 1.0

    @property
    def judged(self) -> bool:
        """Whether enough is measured to say if a figure holds."""
        return self.part >= 1

    def of(self, amount: int, least: int = 1) -> int:
        """Give the amount of this scale."""
        return max(least, round(amount * self.part))


FULL = Scale()
TINY = Scale(runs=1, part=0.01)

Measurement = Callable[[Path, Scale, Progress], Iterator[Result]]
"""Measures one or more rows in an empty folder."""


def median(numbers: Sequence[float]) -> float:
    """Give the median of several runs."""
    return statistics.median(numbers)


def percentile(numbers: Sequence[float], share: float) -> float:
    """Give the smallest number that `share` of all do not exceed."""
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def at_least(found: float, asked: float) -> Met:
    """Say whether a figure that must reach something does."""
    return Met.YES if found >= asked else Met.NO


def at_most(found: float, asked: float) -> Met:
    """Say whether a figure that must not exceed something does not."""
    return Met.YES if found <= asked else Met.NO


def table(results: Sequence[Result], machine: Sequence[tuple[str, str]], runs: int) -> str:
    """Write the results as a page in Markdown."""
    lines = [
        "# Measured",
        "",
        f"Written by `make bench`. Medians of {runs} runs; what is compared was measured in turn.",
        "[What limits these figures](../docs/performance.md).",
        "",
        "| what | ours | against | figure | asked | met |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {r.what} | {r.ours} | {r.peer} | {r.figure} | {r.asked} | {r.met} |" for r in results]
    notes = [(r.what, note) for r in results for note in r.notes]
    if notes:
        lines += ["", *(f"- {what}: {note}" for what, note in notes)]
    lines += ["", "| on | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in machine), ""]
    return "\n".join(lines)
