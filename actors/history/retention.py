"""Let go of samples that are older than their point's retention."""

from typing import Final

import numpy as np

from actors.history import chunks
from actors.history.columns import take
from actors.history.packing import Chunks, Packer
from actors.history.tail import Tail

DAY: Final = 86_400_000
SLACK: Final = DAY
"""Milliseconds by which samples may be older than their retention before a chunk is cut for their sake."""
_NEVER: Final = -(2**62)
_LIMITS: Final = """
    WITH bound AS (
        SELECT series.id AS series_id, ?1 - ?2 * ifnull(series.retention, state.retention) AS oldest
        FROM series, state
    )
"""


class Retention:
    """Delete chunks that are wholly too old, and cut those whose beginning is too old by more than a day.

    A chunk is cut at most once a day: it is written anew without its old samples, in one transaction, so that
    a crash leaves it as it was or as it will be. Appending costs nothing for it but the cuts that are due, a
    few with each append.
    """

    def __init__(self, store: Chunks, tail: Tail, packer: Packer) -> None:
        """Take whose chunks these are, the frames that wait, and who packs them."""
        self._store, self._tail, self._packer = store, tail, packer
        self._due: list[tuple[int, int]] = []
        """Chunks to cut (id), each with the time of the first sample that stays."""

    def begin(self, now: int) -> int:
        """Delete what is wholly too old at a time (ms) and note what is to be cut; give how many went.

        Raises StorageError.
        """
        self._packer.finish()
        if self._waits_too_long(now):
            self._packer.everything()
        with self._store.transaction():
            gone = self._store.all(
                f"{_LIMITS} DELETE FROM chunk WHERE id IN (SELECT chunk.id FROM chunk JOIN bound"  # noqa: S608
                " USING (series_id) WHERE last_time < oldest) RETURNING count",
                now,
                DAY,
            )
            if gone:
                self._store.run("DELETE FROM gap WHERE end_time < (SELECT min(first_time) FROM chunk)")
        if gone:
            self._packer.forget()
        rows = self._store.all(
            f"{_LIMITS} SELECT chunk.id, cast(ceil(oldest) AS INTEGER) AS oldest"  # noqa: S608
            " FROM chunk JOIN bound USING (series_id)"
            " WHERE first_time < oldest - ?3",
            now,
            DAY,
            SLACK,
        )
        self._due = [(row["id"], row["oldest"]) for row in rows]
        return sum(row["count"] for row in gone)

    def step(self, most: int | None = None) -> int:
        """Cut some of the chunks that are due, all without `most`; give how many samples went.

        Does nothing while chunks are being packed. Raises StorageError.
        """
        gone = 0
        for _ in range(len(self._due) if most is None else min(most, len(self._due))):
            if self._packer.busy:
                break
            gone += self._cut(*self._due.pop())
        return gone

    def _cut(self, chunk: int, oldest: int) -> int:
        rows = self._store.all("SELECT * FROM chunk WHERE id = ?", chunk)
        if not rows:
            return 0  # merged with others meanwhile: the next look finds what that became
        samples = chunks.decode(rows[0])
        first = int(np.searchsorted(samples.times, oldest))
        stays = take(samples, slice(first, None))
        self._packer.replace(chunk, rows[0]["series_id"], stays)
        return first

    def _waits_too_long(self, now: int) -> bool:
        """Tell whether a sample waits for packing that is too old: of a point that seldom changes."""
        series, waiting = self._tail.whole()
        if not len(series):
            return False
        limits = np.full(int(series.max()) + 1, _NEVER, np.float64)
        for row in self._store.all(f"{_LIMITS} SELECT series_id, oldest FROM bound", now, DAY):  # noqa: S608
            if row["oldest"] is not None and row["series_id"] < len(limits):
                limits[row["series_id"]] = row["oldest"]
        return bool((waiting.times < limits[series] - SLACK).any())
