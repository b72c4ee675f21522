"""On which site a node is, remembered so that not every question goes to all sites."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

KEPT: Final = 60.0
"""Seconds until all sites are asked again: a bridge's scan makes nodes of which nobody here is told."""
MOST: Final = 100_000
"""Nodes remembered; with more, all are forgotten."""


@dataclass(frozen=True)
class _Place:
    site: str
    at: float
    visits: int


class Places:
    """Remember the one site that has a node, for as long as no other may have one of the same id.

    What is remembered holds until a minute has passed, until a site joins or comes back, until the node is
    forgotten here, or until its own site says that it has no such node. `visits` counts how often sites have
    joined or come back so far; it only grows.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a clock in seconds."""
        self._clock = clock
        self._places: dict[str, _Place] = {}
        self._forgot = 0

    def site(self, node_id: str, visits: int) -> str | None:
        """Give the site that has a node, or None where all must be asked."""
        place = self._places.get(node_id)
        if place is None or place.visits != visits or self._clock() - place.at >= KEPT:
            return None
        return place.site

    def asking(self, visits: int) -> tuple[int, int, float]:
        """Say that all sites are asked now; give a mark for `keep`."""
        return self._forgot, visits, self._clock()

    def keep(self, node_id: str, site: str, mark: tuple[int, int, float]) -> None:
        """Remember the answer, unless a node was forgotten since `mark`: it may have come up meanwhile."""
        forgot, visits, at = mark
        if forgot != self._forgot:
            return
        if len(self._places) >= MOST:
            self._places.clear()
        self._places[node_id] = _Place(site, at, visits)

    def forget(self, node_id: str) -> None:
        """Forget a node, because it is made or deleted now; what is being asked isn't remembered either."""
        self._forgot += 1
        self._places.pop(node_id, None)
