"""The store of what points have been."""

from array import array
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import ray

from actors.core.errors import BadInputError, NotFoundError
from actors.core.sqlite import Durability, Row
from actors.core.store import Store
from actors.history.logic import MAX_SAMPLES, check_intervals, check_range, from_column, to_column
from actors.history.models import Rollup, Sample, Series
from actors.history.schema import MIGRATIONS
from actors.point.models import decode_frame

# A boolean counts as 0 or 1, so that the average of a fan's status is the part of time that it ran.
ROLLUP = """
    SELECT time - time % :interval AS start, min(number) AS min, max(number) AS max, avg(number) AS avg,
        sum(number) AS sum, count(number) AS count
    FROM (
        SELECT time, CASE typeof(value) WHEN 'blob' THEN value = x'01' ELSE value END AS number
        FROM sample
        WHERE series_id = :series AND time >= :start AND time < :end
            AND typeof(value) IN ('integer', 'real', 'blob')
    )
    GROUP BY 1 ORDER BY 1
"""

RANGE = "SELECT time, value, status FROM sample WHERE series_id = ? AND time >= ? AND time < ? ORDER BY time"
OLDEST = RANGE + " LIMIT ?"
NEWEST = RANGE + " DESC LIMIT ?"


class Arrays(NamedTuple):
    """Samples as columns: times in ms (int64), values (float64, NaN where there is no number), flags."""

    times: "array[int]"
    values: "array[float]"
    statuses: "array[int]"


class HistoryStore(Store):
    """Keep every accepted reading of every point.

    Rows go in as the frames in which they were polled. The same (point, time) twice changes nothing, so that
    whoever is not sure whether a frame has arrived sends it again.
    """

    name: ClassVar[str] = "history"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.NORMAL

    def opened(self) -> None:
        """Read which points there are."""
        self._series: dict[str, int] = {
            row["point_id"]: row["id"] for row in self.all("SELECT id, point_id FROM series")
        }

    @ray.method
    def append(self, frame: bytes) -> int:
        """Add the rows of a frame (see PointFrame), all or none; give how many were new.

        Raises StorageError when the disk is full and msgspec.DecodeError for what is no frame.
        """
        data = decode_frame(frame)
        if not len(data):
            return 0
        fresh = [point_id for point_id in dict.fromkeys(data.ids) if point_id not in self._series]
        made: dict[str, int] = {}
        with self.transaction():
            for point_id in fresh:
                row = self.one("INSERT INTO series (point_id) VALUES (?) RETURNING id", point_id)
                made[point_id] = row["id"] if row else 0
            series = self._series | made if made else self._series
            new = self.many(
                "INSERT OR IGNORE INTO sample (series_id, time, value, status) VALUES (?, ?, ?, ?)",
                [
                    (series[point_id], at, to_column(value), status)
                    for point_id, value, at, status in zip(
                        data.ids, data.values, data.times, data.statuses, strict=True
                    )
                ],
            )
        self._series.update(made)
        return new

    @ray.method
    def read(
        self,
        point_id: str,
        start: int | None = None,
        end: int | None = None,
        limit: int = 1000,
        *,
        newest_first: bool = False,
    ) -> Series:
        """Give the samples of a point in [start, end), ms, in order of time.

        `limit` keeps the first ones, or with `newest_first` the last ones (in order of time too). Raises
        NotFoundError and BadInputError.
        """
        return self._read(point_id, start, end, limit, newest_first=newest_first)

    def _read(
        self, point_id: str, start: int | None, end: int | None, limit: int, *, newest_first: bool
    ) -> Series:
        if not 1 <= limit <= MAX_SAMPLES:
            raise BadInputError("limit", limit, f"1 to {MAX_SAMPLES}")
        first, last = check_range(start, end)
        sql = NEWEST if newest_first else OLDEST
        rows = self.all(sql, self._id(point_id), first, last, limit + 1)
        more = len(rows) > limit
        del rows[limit:]
        if newest_first:
            rows.reverse()
        return Series(id=point_id, samples=[_sample(row) for row in rows], more=more)

    @ray.method
    def read_last(self, point_id: str, start: int | None, end: int | None, limit: int) -> Series:
        """Give the last `limit` samples of a point in [start, end). Raises NotFoundError, BadInputError."""
        return self._read(point_id, start, end, limit, newest_first=True)

    @ray.method
    def read_many(
        self, ids: list[str], start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Series]:
        """Give the last `limit` samples of each of several points; those without any history are empty."""
        return [
            self._read(point_id, start, end, limit, newest_first=True)
            if point_id in self._series
            else Series(id=point_id, samples=[])
            for point_id in ids
        ]

    @ray.method
    def read_arrays(self, point_id: str, start: int | None = None, end: int | None = None) -> Arrays:
        """Give all samples of a point in [start, end) as columns, for charts and calculations.

        Raises NotFoundError and BadInputError.
        """
        first, last = check_range(start, end)
        rows = self.all(RANGE, self._id(point_id), first, last)
        return Arrays(
            array("q", [row["time"] for row in rows]),
            array("d", [_number(row["value"]) for row in rows]),
            array("H", [row["status"] for row in rows]),
        )

    @ray.method
    def rollup(self, point_id: str, start: int, end: int, interval: int) -> list[Rollup]:
        """Sum up a point's numbers in [start, end) by intervals (ms) that begin at multiples of it, UTC.

        Intervals without a number are left out. Raises NotFoundError and BadInputError.
        """
        check_range(start, end)
        check_intervals(start, end, interval)
        rows = self.db.execute(
            ROLLUP, {"series": self._id(point_id), "start": start, "end": end, "interval": interval}
        ).fetchall()
        return [Rollup.model_validate(row) for row in rows]

    @ray.method
    def latest(self, ids: list[str]) -> dict[str, Sample]:
        """Give the last sample of each of some points; those without any are left out."""
        found: dict[str, Sample] = {}
        for point_id in ids:
            series = self._series.get(point_id)
            row = series is not None and self.one(
                "SELECT time, value, status FROM sample WHERE series_id = ? ORDER BY time DESC LIMIT 1",
                series,
            )
            if row:
                found[point_id] = _sample(row)
        return found

    @ray.method
    def points(self) -> list[str]:
        """Give the ids of all points that have a history, also of those that are no longer there."""
        return sorted(self._series)

    @ray.method
    def count(self, point_id: str | None = None) -> int:
        """Count the samples of a point, or all. Raises NotFoundError."""
        if point_id is None:
            row = self.one("SELECT count(*) AS n FROM sample")
        else:
            row = self.one("SELECT count(*) AS n FROM sample WHERE series_id = ?", self._id(point_id))
        return int(row["n"]) if row else 0

    def _id(self, point_id: str) -> int:
        found = self._series.get(point_id)
        if found is None:
            raise NotFoundError("history", point_id)
        return found


def _sample(row: Row) -> Sample:
    return Sample(time=row["time"], value=from_column(row["value"]), status=row["status"])


def _number(value: object) -> float:
    if isinstance(value, bytes):
        return float(value == b"\x01")
    return float(value) if isinstance(value, int | float) else float("nan")
