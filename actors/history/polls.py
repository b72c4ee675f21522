"""Which series the points of a poll are: the same points are polled again and again, in the same order."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_MOST: Final = 256
"""Polls that are remembered; more are forgotten at once."""


class Poll(NamedTuple):
    """The points of a poll, their series and how many different ones they are."""

    ids: list[str]
    series: NDArray[np.int32]
    distinct: int


class Polls:
    """Remember polls: comparing two lists of ids takes a tenth of looking each up."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, str], Poll] = {}

    def find(self, ids: list[str]) -> Poll | None:
        """Give the poll of exactly these points, if it is known. There must be at least one."""
        found = self._known.get((len(ids), ids[0], ids[-1]))
        return found if found is not None and found.ids == ids else None

    def keep(self, poll: Poll) -> None:
        """Remember a poll whose series are committed; they never change."""
        if len(self._known) >= _MOST:
            self._known.clear()
        poll.series.flags.writeable = False
        self._known[len(poll.ids), poll.ids[0], poll.ids[-1]] = poll
