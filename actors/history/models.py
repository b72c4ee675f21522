"""Samples of a point's history and what is asked of them."""

from pydantic import BaseModel

from actors.core.clock import Timestamp
from actors.core.values import PointValue, StatusFlags


class Sample(BaseModel):
    """A point's value at a time."""

    time: Timestamp
    value: PointValue | None
    status: StatusFlags = 0


class Rollup(BaseModel):
    """A point's samples of one interval from `start` on, summed up; true counts as 1, texts not at all."""

    start: Timestamp
    min: float
    max: float
    avg: float
    sum: float
    count: int


class Series(BaseModel):
    """Samples of one point in order of time; `more` says that the limit cut them off."""

    id: str
    samples: list[Sample]
    more: bool = False
