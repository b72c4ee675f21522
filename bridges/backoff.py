"""When to try a silent device again, and when to call it down.

Pure: time (seconds of a clock that doesn't jump) and chance are arguments. Shared by all bridges.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

MISSES_UNTIL_DOWN = 5
"""Checks in a row without an answer after which a device is down."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with jitter, in seconds: 2, 4, 8, ... up to 5 min.

    A doubling alone would leave a device that was off for a minute unseen for another one. So the wait also
    stays below `share` of the time that the device has been silent (but need not fall below `early`): who
    switches a device off and on again sees it back within seconds, and a device that is dead for an hour
    costs one check in 5 min.
    """

    first: float = 2.0
    limit: float = 300.0
    factor: float = 2.0
    jitter: float = 0.2
    """Part of the wait that chance takes away, so that many devices don't come at once."""
    early: float = 12.0
    share: float = 0.1

    def delay(self, misses: int, silent_for: float, chance: float) -> float:
        """Give the wait after `misses` (from 1) checks in a row without an answer.

        `silent_for` is the time since the first of them, `chance` a number in [0, 1].
        """
        # The exponent is bounded because a device that is dead for months would overflow a float.
        doubled = self.first * self.factor ** min(max(misses, 1) - 1, 32)
        bound = max(self.early, self.share * max(silent_for, 0.0))
        return min(doubled, bound, self.limit) * (1.0 - self.jitter * chance)


DEFAULT_BACKOFF: Final = Backoff()


class Change(StrEnum):
    """What an answer, or its absence, says that was not known before."""

    DISCOVERED = "discovered"
    DOWN = "down"
    RECOVERED = "recovered"


@dataclass(slots=True)
class Liveness:
    """Whether one device answers: counts misses, tells when to check again.

    It starts unknown. A device that never answered goes down like any other, and when it answers at last it
    is both discovered and recovered.
    """

    backoff: Backoff = DEFAULT_BACKOFF
    misses_until_down: int = MISSES_UNTIL_DOWN
    state: Literal["unknown", "online", "down"] = "unknown"
    misses: int = 0
    """Checks in a row without an answer; 0 while it answers."""
    retry_at: float = 0.0
    """Time of the next check while it doesn't answer."""
    reason: str | None = None
    """Why the last check failed; kept after a recovery."""
    seen: bool = False
    """Whether it has ever answered."""
    silent_since: float = 0.0

    def answered(self) -> tuple[Change, ...]:
        """Take an answer, any answer: an error that the device itself sends is one too."""
        changes: list[Change] = []
        if not self.seen:
            changes.append(Change.DISCOVERED)
        if self.state == "down":
            changes.append(Change.RECOVERED)
        self.state, self.seen, self.misses, self.retry_at = "online", True, 0, 0.0
        return tuple(changes)

    def missed(self, now: float, reason: str, chance: float) -> tuple[Change, ...]:
        """Take a check without an answer; sets `retry_at`."""
        self.misses += 1
        if self.misses == 1:
            self.silent_since = now
        self.reason = reason
        self.retry_at = now + self.backoff.delay(self.misses, now - self.silent_since, chance)
        if self.misses < self.misses_until_down or self.state == "down":
            return ()
        self.state = "down"
        return (Change.DOWN,)
