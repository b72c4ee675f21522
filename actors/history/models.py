"""Samples of a point's history and what is asked of them."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, model_validator

from actors.core.clock import Timestamp
from actors.core.values import PointValue, StatusFlags
from actors.history.gaps import GapKind


class Sample(BaseModel):
    """A point's value at a time."""

    time: Timestamp
    value: PointValue | None
    status: StatusFlags = 0


class Rollup(BaseModel):
    """A point's samples of one interval, summed up; true counts as 1, texts not at all."""

    start: Timestamp
    end: Timestamp
    min: float
    max: float
    avg: float
    sum: float
    count: int
    first: float
    last: float
    time_weighted_avg: float
    """Every value counts for as long as it held, from the sample before the interval on."""


class Series(BaseModel):
    """Samples of one point in order of time; `more` says that the limit cut them off."""

    id: str
    samples: list[Sample]
    more: bool = False


class Mode(StrEnum):
    """Which of a point's readings are kept."""

    EVERY = "every"
    """All that were accepted."""
    COV = "cov"
    """Those that differ from the last one kept."""
    INTERVAL = "interval"
    """The first of each interval."""


class NewSeriesConfig(BaseModel):
    """How a point is recorded."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"mode": "cov", "increment": 0.5, "interval": 3600, "retention": 730}]
        },
    )

    mode: Mode = Mode.EVERY
    interval: float | None = Field(default=None, ge=1, le=86_400)
    """Seconds: with `interval` the distance of samples, with `cov` how old an unchanged value may get."""
    increment: float = Field(default=0, ge=0, allow_inf_nan=False)
    """With `cov`: the smallest change of a number that counts, in the point's units; 0 means any."""
    retention: float | None = Field(default=None, ge=1, le=36_500)
    """Days for which samples are kept at least; None: as the site's default."""

    @model_validator(mode="after")
    def _fits(self) -> "NewSeriesConfig":
        if self.mode is Mode.INTERVAL and self.interval is None:
            raise ValueError("mode 'interval' needs an interval")
        return self


class SeriesConfig(NewSeriesConfig):
    """How a point is recorded, and what has been."""

    id: str
    default_retention: float | None = None
    """The site's default, in days; None: for ever."""


class Gap(BaseModel):
    """An interval in which a point's samples were lost or came late, and why."""

    start: Timestamp
    end: Timestamp | None
    """None: it goes on."""
    kind: GapKind
    reason: str
    every_point: bool
    """Whether it struck all points of the site."""
    samples: int
    """Samples of this point inside that history has all the same."""
