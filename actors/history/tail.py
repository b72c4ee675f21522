"""The newest samples: those of the frames that wait for packing, in memory beside the file."""

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.history.columns import Columns, empty, in_order, join, take

_LOOSE: Final = 32
"""Frames that are looked through one by one before they are joined."""


class Tail:
    """Hold the samples of the waiting frames, in the order in which they came."""

    def __init__(self) -> None:
        self._frames: deque[tuple[int, int]] = deque()
        self._series: list[NDArray[np.int32]] = []
        self._columns: list[Columns] = []
        self.rows = 0
        self.newest = 0
        """The id of the newest frame."""

    def add(self, frame_id: int, series: NDArray[np.int32], columns: Columns) -> None:
        """Take a frame; ids must rise."""
        self._frames.append((frame_id, len(series)))
        self._series.append(series)
        self._columns.append(columns)
        self.rows += len(series)
        self.newest = frame_id

    def drop(self, through: int) -> None:
        """Forget the frames up to this id."""
        gone = 0
        while self._frames and self._frames[0][0] <= through:
            gone += self._frames.popleft()[1]
        if not gone:
            return
        series, columns = self.whole()
        if self._frames:
            self._series = [series[gone:].copy()]
            self._columns = [Columns(*(None if each is None else each[gone:].copy() for each in columns))]  # type: ignore[arg-type]
        else:
            self._series, self._columns = [], []
        self.rows -= gone

    def whole(self) -> tuple[NDArray[np.int32], Columns]:
        """Give all samples with their series, in the order in which they came."""
        if not self._series:
            return np.empty(0, np.int32), empty()
        if len(self._series) > 1:
            self._series = [np.concatenate(self._series)]
            self._columns = [join(self._columns)]
        return self._series[0], self._columns[0]

    def of(self, series: int, first: int | None = None, last: int | None = None) -> Columns:
        """Give the samples of one series with times in [first, last), in order of time."""
        if not self.rows:
            return empty()
        if len(self._series) > _LOOSE:
            self.whole()
        found = []
        for ids, columns in zip(self._series, self._columns, strict=True):
            chosen = ids == series
            if first is not None:
                chosen &= columns.times >= first
            if last is not None:
                chosen &= columns.times < last
            index = np.flatnonzero(chosen)
            if len(index):
                found.append(take(columns, index))
        return in_order(join(found))

    def counts(self) -> dict[int, int]:
        """Count the samples of each series."""
        series, counts = np.unique(self.whole()[0], return_counts=True)
        return dict(zip(series.tolist(), counts.tolist(), strict=True))
