"""What points have been."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from actors.core.clock import Timestamp, now_ms
from actors.core.errors import NotFoundError, UnreachableError
from actors.core.fields import Id
from actors.history.logic import check_range
from actors.history.models import Gap, NewSeriesConfig, Rollup, Series, SeriesConfig
from actors.history.rollup import Unit
from api.deps import (
    Actors,
    Campus,
    CurrentUser,
    Cursor,
    Limit,
    NodeEditor,
    Page,
    Part,
    SiteActors,
    SiteId,
    over_sites,
)
from api.tables import PAGE, Format, Samples, Sums, answer, wanted

router = APIRouter(prefix="/api/history", tags=["history"])

Time = Annotated[Timestamp | None, Query(description="ISO 8601 with zone.")]
Most = Annotated[
    int | None,
    Query(ge=1, le=100_000, description="Most samples; 1000 unless told, in files all of the range."),
]
Step = Annotated[float, Field(gt=0, le=3.2e9, allow_inf_nan=False)] | Unit
Interval = Annotated[Step, Query(description="Seconds, or hour, day, week, month, year.")]
Zone = Annotated[
    str, Query(max_length=64, description="IANA time zone whose days count, such as Europe/Berlin.")
]
DAY = 86_400_000
MOST = 1000
READER = "history_reader"
FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "JSON; CSV or Parquet where the header Accept asks for it.",
        "content": {
            Format.CSV.value: {"schema": {"type": "string"}},
            Format.PARQUET.value: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


class HistoryQuery(BaseModel):
    """Which points, and when; with `interval` summed up."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "ids": ["1001/analog-input-1", "1001/analog-input-2"],
                    "start": "2026-11-01T00:00:00Z",
                    "end": "2026-11-08T00:00:00Z",
                    "interval": "day",
                    "zone": "Europe/Berlin",
                }
            ]
        },
    )

    ids: list[Id] = Field(min_length=1, max_length=100)
    start: Timestamp | None = None
    end: Timestamp | None = None
    limit: int | None = Field(default=None, ge=1, le=20_000)
    interval: Step | None = None
    zone: str = Field(default="UTC", max_length=64)


class Rollups(BaseModel):
    """A point's history, summed up by intervals of so many seconds or by a calendar unit."""

    id: str
    interval: float | Unit
    zone: str = "UTC"
    items: list[Rollup]


class Gaps(BaseModel):
    """Intervals in which a point's samples were lost or came late."""

    id: str
    items: list[Gap]


class Retention(BaseModel):
    """For how long samples are kept at least, of points without a retention of their own."""

    model_config = ConfigDict(extra="forbid")

    days: float | None = Field(ge=1, le=36_500, examples=[3653])
    """None: for ever."""


def _step(interval: float | Unit) -> int | str:
    return interval.value if isinstance(interval, Unit) else round(interval * 1000)


def _day(start: int | None, end: int | None) -> tuple[int, int]:
    last = now_ms() if end is None else end
    return (last - DAY if start is None else start), last


async def _sums(
    of: SiteActors, point_id: str, start: int | None, end: int | None, interval: float | Unit, zone: str
) -> Rollups:
    items = await of.call(READER, "rollup", point_id, *_day(start, end), _step(interval), zone)
    return Rollups(id=point_id, interval=interval, zone=zone, items=items)


async def _samples(
    of: SiteActors, point_id: str, start: int | None, end: int | None, limit: int | None, *, newest: bool
) -> AsyncIterator[Samples]:
    """Read a point page by page."""
    first, last = check_range(start, end)
    if limit is not None and newest:
        found, _ = await of.call(READER, "read_columns", point_id, first, last, limit, newest)
        if len(found.times):
            yield Samples(point_id, found)
        return
    more, left = True, limit
    while more and first < last and left != 0:
        most = PAGE if left is None else min(left, PAGE)
        found, more = await of.call(READER, "read_columns", point_id, first, last, most)
        if not len(found.times):
            return
        yield Samples(point_id, found)
        first = int(found.times[-1]) + 1
        left = None if left is None else left - len(found.times)


@router.post("/query", response_model=Page, responses=FILES)
async def query(
    body: HistoryQuery, request: Request, user: CurrentUser, campus: Actors, site: SiteId = None
) -> Page | Response:
    """Give many points at once: the last samples of each, or with `interval` sums; also as CSV or Parquet."""
    kind = wanted(request)
    ids = list(dict.fromkeys(body.ids))
    if kind is not Format.JSON:
        pages = _all_sums(campus, body, ids, site) if body.interval else _all_samples(campus, body, ids, site)
        return await answer(pages, kind, "history")
    found: dict[str, dict[str, Any]] = {}
    away: list[str] = []
    for of in campus.chosen(site):
        try:
            if body.interval is None:
                limit = MOST if body.limit is None else body.limit
                series: list[Series] = await of.call(READER, "read_many", ids, body.start, body.end, limit)
                for each in series:
                    if each.samples or each.id not in found:
                        found[each.id] = each.model_dump(mode="json")
            else:
                async for sums in _site_sums(of, body, ids, body.interval):
                    if sums.items or sums.id not in found:
                        found[sums.id] = sums.model_dump(mode="json")
        except UnreachableError:
            away.append(of.id)
    return Page(items=[found[each] for each in ids if each in found], unreachable_sites=away)


async def _site_sums(
    of: SiteActors, body: HistoryQuery, ids: list[str], interval: float | Unit
) -> AsyncIterator[Rollups]:
    for point_id in ids:
        try:
            yield await _sums(of, point_id, body.start, body.end, interval, body.zone)
        except NotFoundError:
            yield Rollups(id=point_id, interval=interval, zone=body.zone, items=[])


async def _all_sums(
    campus: Campus, body: HistoryQuery, ids: list[str], site: str | None
) -> AsyncIterator[Sums]:
    for of in campus.chosen(site):
        async for found in _site_sums(of, body, ids, body.interval or Unit.DAY):
            if found.items:
                yield Sums(found.id, found.items)


async def _all_samples(
    campus: Campus, body: HistoryQuery, ids: list[str], site: str | None
) -> AsyncIterator[Samples]:
    for of in campus.chosen(site):
        for point_id in ids:
            async for page in _samples(of, point_id, body.start, body.end, body.limit, newest=True):
                yield page


@router.get("/retention")
async def retention(
    user: CurrentUser, campus: Actors, site: SiteId = None, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """Say for how many days samples are kept at least, by site."""

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        found: SeriesConfig = await of.call(READER, "config", "")
        return [{"site": of.id, "days": found.default_retention}], None

    return await over_sites(campus.chosen(site), limit, cursor, read)


@router.put("/retention")
async def change_retention(
    body: Retention, user: NodeEditor, campus: Actors, site: SiteId = None
) -> Retention:
    """Say for how long samples are kept, of one site or of all."""
    for of in campus.chosen(site):
        await of.call("history", "set_default_retention", body.days)
        await campus.log(user.username, "change_retention", f"site:{of.id}", days=body.days)
    return body


@router.get("/{point_id:path}/rollup", response_model=Rollups, responses=FILES)
async def rollup(
    point_id: str,
    request: Request,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    start: Time = None,
    end: Time = None,
    interval: Interval = 3600.0,
    zone: Zone = "UTC",
) -> Rollups | Response:
    """Sum up a point's history; the last day unless told otherwise.

    Days of the zone count, with 23 or 25 hours where its clock changes. `time_weighted_avg` lets each value
    hold until the next sample.
    """
    of = await campus.site_of(point_id, site)
    sums = await _sums(of, point_id, start, end, interval, zone)
    kind = wanted(request)
    if kind is Format.JSON:
        return sums

    async def one() -> AsyncIterator[Sums]:
        yield Sums(point_id, sums.items)

    return await answer(one(), kind, point_id)


@router.get("/{point_id:path}/gaps")
async def gaps(
    point_id: str,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    start: Time = None,
    end: Time = None,
) -> Gaps:
    """Say in which intervals samples were lost or came late, and why."""
    of = await campus.site_of(point_id, site)
    try:
        return Gaps(id=point_id, items=await of.call(READER, "gaps", point_id, start, end))
    except NotFoundError:
        return Gaps(id=point_id, items=[])  # the node is there, nothing was recorded yet


@router.get("/{point_id:path}/config")
async def config(point_id: str, user: CurrentUser, campus: Actors, site: SiteId = None) -> SeriesConfig:
    """Say how a point is recorded."""
    of = await campus.site_of(point_id, site)
    found: SeriesConfig = await of.call(READER, "config", point_id)
    return found


@router.put("/{point_id:path}/config")
async def configure(
    point_id: str, body: NewSeriesConfig, user: NodeEditor, campus: Actors, site: SiteId = None
) -> SeriesConfig:
    """Say how a point is recorded from now on; what is recorded stays."""
    of = await campus.site_of(point_id, site)
    made: SeriesConfig = await of.call("history", "configure", point_id, body)
    await campus.log(
        user.username, "configure_history", f"point:{point_id}", site=of.id, **body.model_dump(mode="json")
    )
    return made


@router.get("/{point_id:path}", response_model=Series | Rollups, responses=FILES)
async def history(
    point_id: str,
    request: Request,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    start: Time = None,
    end: Time = None,
    limit: Most = None,
    interval: Interval | None = None,
    zone: Zone = "UTC",
) -> Series | Rollups | Response:
    """Give a point's samples: from `start` on, or without it the last ones; with `interval` summed up."""
    if interval is not None:
        return await rollup(point_id, request, user, campus, site, start, end, interval, zone)
    of = await campus.site_of(point_id, site)
    kind = wanted(request)
    if kind is not Format.JSON:
        pages = _samples(of, point_id, start, end, limit, newest=start is None)
        return await answer(pages, kind, point_id)
    try:
        series: Series = await of.call(
            READER,
            "read_last" if start is None else "read",
            point_id,
            start,
            end,
            MOST if limit is None else limit,
        )
    except NotFoundError:
        return Series(id=point_id, samples=[])  # the node is there, nothing was recorded yet
    return series
