"""How long a device takes to answer. Pure; shared by all bridges."""

from collections import deque
from typing import Final, NamedTuple

KEPT: Final = 100
"""Answers that count: old ones say nothing of how the device is now."""


TOLD_AS: Final = ("answer_ms", "answer_ms_p95", "answer_ms_max")
"""Names of a spread in a device's status."""


class Spread(NamedTuple):
    """Times of the last answers, in milliseconds."""

    mean: float
    p95: float
    longest: float


class AnswerTimes:
    """The times of a device's last answers."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=KEPT)

    def add(self, seconds: float) -> None:
        """Take the time of one answer."""
        self._seconds.append(seconds)

    def spread(self) -> Spread | None:
        """Give mean, 95th percentile (nearest rank) and the longest; None before the first answer."""
        if not self._seconds:
            return None
        ordered = sorted(self._seconds)
        rank = -(-95 * len(ordered) // 100) - 1
        found = (sum(ordered) / len(ordered), ordered[rank], ordered[-1])
        return Spread(*(round(1000 * each, 3) for each in found))

    def told(self) -> dict[str, float]:
        """Give the spread by the names that it has in a device's status; nothing before the first answer."""
        spread = self.spread()
        return dict(zip(TOLD_AS, spread, strict=True)) if spread else {}
