"""What points have been."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from actors.core.clock import Timestamp, now_ms
from actors.core.errors import NotFoundError
from actors.history.models import Rollup, Series
from api.deps import Actors, CurrentUser, Page, SiteId

router = APIRouter(prefix="/api/history", tags=["history"])

Time = Annotated[Timestamp | None, Query(description="ISO 8601 with zone.")]
Most = Annotated[int, Query(ge=1, le=100_000, description="Most samples.")]
DAY = 86_400_000


class HistoryQuery(BaseModel):
    """Which points, and when."""

    model_config = ConfigDict(extra="forbid")

    ids: list[str] = Field(min_length=1, max_length=100)
    start: Timestamp | None = None
    end: Timestamp | None = None
    limit: int = Field(default=1000, ge=1, le=20_000)


class Rollups(BaseModel):
    """A point's history, summed up by intervals of `interval` seconds."""

    id: str
    interval: float
    items: list[Rollup]


@router.post("/query")
async def query(body: HistoryQuery, user: CurrentUser, campus: Actors, site: SiteId = None) -> Page:
    """Give the last samples of many points."""
    found: dict[str, Series] = {}
    for of in campus.chosen(site):
        for series in await of.call("history", "read_many", body.ids, body.start, body.end, body.limit):
            if series.samples or series.id not in found:
                found[series.id] = series
    return Page(items=[found[each].model_dump(mode="json") for each in dict.fromkeys(body.ids)])


@router.get("/{point_id:path}/rollup")
async def rollup(
    point_id: str,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    start: Time = None,
    end: Time = None,
    interval: Annotated[float, Query(ge=1, le=31_622_400, description="Seconds.")] = 3600,
) -> Rollups:
    """Sum up a point's history; the last day unless told otherwise."""
    of = await campus.site_of(point_id, site)
    last = now_ms() if end is None else end
    first = last - DAY if start is None else start
    items = await of.call("history", "rollup", point_id, first, last, round(interval * 1000))
    return Rollups(id=point_id, interval=interval, items=items)


@router.get("/{point_id:path}")
async def history(
    point_id: str,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    start: Time = None,
    end: Time = None,
    limit: Most = 1000,
    interval: Annotated[float | None, Query(ge=1, le=31_622_400, description="Seconds.")] = None,
) -> Series | Rollups:
    """Give a point's samples: from `start` on, or without it the last ones; with `interval` summed up."""
    if interval is not None:
        return await rollup(point_id, user, campus, site, start, end, interval)
    of = await campus.site_of(point_id, site)
    try:
        series: Series = await of.call(
            "history", "read_last" if start is None else "read", point_id, start, end, limit
        )
    except NotFoundError:
        return Series(id=point_id, samples=[])  # the node is there, nothing was recorded yet
    return series
