"""Energy: meters, rates, baselines, consumption."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from actors.core.clock import Timestamp
from actors.core.errors import BadInputError
from actors.core.store import MAX_PAGE
from actors.energy.logic import csv_of, summed
from actors.energy.models import (
    Baseline,
    EnergySummary,
    Meter,
    MeterKind,
    NewBaseline,
    NewMeter,
    NewRate,
    Observation,
    Period,
    Rate,
    Rollup,
)
from api.deps import (
    Actors,
    CurrentUser,
    Cursor,
    EnergyEditor,
    Limit,
    Page,
    Part,
    SiteActors,
    SiteId,
    from_sites,
    one_site,
    over_sites,
)
from api.records import Records

router = APIRouter(prefix="/api/energy", tags=["energy"])

Id = Annotated[int, Path(ge=1, lt=2**63)]
IdFilter = Annotated[int | None, Query(ge=1, lt=2**63)]
Time = Annotated[Timestamp | None, Query(description="ISO 8601 with zone.")]
RateKind = Literal["flat", "time_of_use", "tiered", "demand"]

MOST_ROWS = 100_000
"""Most rows of one CSV."""

METERS = Records("energy", "meter")
RATES = Records("energy", "rate")
BASELINES = Records("energy", "baseline")


# Meters


@router.get("/meters")
async def meters(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    kind: MeterKind | None = None,
    node_id: Annotated[str | None, Query(max_length=200)] = None,
    parent_id: IdFilter = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List meters."""
    return await METERS.listed(campus, site, limit, cursor, kind, node_id, parent_id)


@router.post("/meters", status_code=201)
async def create_meter(body: NewMeter, user: EnergyEditor, campus: Actors, site: SiteId = None) -> Meter:
    """Add a meter on a point."""
    of = await campus.site_of(body.node_id, site)
    made: Meter = await METERS.create(campus, user, of, body)
    return made


@router.get("/meters/{meter_id}")
async def meter(meter_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None) -> Meter:
    """Give one meter."""
    found: Meter = await METERS.one(campus, meter_id, site)
    return found


@router.put("/meters/{meter_id}")
async def update_meter(
    meter_id: Id, body: NewMeter, user: EnergyEditor, campus: Actors, site: SiteId = None
) -> Meter:
    """Replace a meter."""
    of = await METERS.site(campus, meter_id, site)
    await of.call("nodes", "get", body.node_id)
    after: Meter = await METERS.update(campus, user, of, meter_id, body)
    return after


@router.delete("/meters/{meter_id}", status_code=204)
async def delete_meter(meter_id: Id, user: EnergyEditor, campus: Actors, site: SiteId = None) -> None:
    """Delete a meter with its baselines and rollups."""
    of = await METERS.site(campus, meter_id, site)
    await METERS.delete(campus, user, of, meter_id)


# Rates


@router.get("/rates")
async def rates(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    kind: RateKind | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List what utilities charge."""
    return await RATES.listed(campus, site, limit, cursor, kind)


@router.post("/rates", status_code=201)
async def create_rate(body: NewRate, user: EnergyEditor, campus: Actors, site: SiteId = None) -> Rate:
    """Add a rate."""
    of = one_site(campus, site)
    made: Rate = await RATES.create(campus, user, of, body)
    return made


@router.get("/rates/{rate_id}")
async def rate(rate_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None) -> Rate:
    """Give one rate."""
    found: Rate = await RATES.one(campus, rate_id, site)
    return found


@router.put("/rates/{rate_id}")
async def update_rate(
    rate_id: Id, body: NewRate, user: EnergyEditor, campus: Actors, site: SiteId = None
) -> Rate:
    """Replace a rate."""
    of = await RATES.site(campus, rate_id, site)
    after: Rate = await RATES.update(campus, user, of, rate_id, body)
    return after


@router.delete("/rates/{rate_id}", status_code=204)
async def delete_rate(rate_id: Id, user: EnergyEditor, campus: Actors, site: SiteId = None) -> None:
    """Delete a rate that no meter has."""
    of = await RATES.site(campus, rate_id, site)
    await RATES.delete(campus, user, of, rate_id)


# Baselines


@router.get("/baselines")
async def baselines(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    meter_id: IdFilter = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List baselines with their coefficients and quality."""
    return await BASELINES.listed(campus, site, limit, cursor, meter_id)


@router.post("/baselines", status_code=201)
async def create_baseline(
    body: NewBaseline, user: EnergyEditor, campus: Actors, site: SiteId = None
) -> Baseline:
    """Add a baseline: a line through observations of degree days and consumption."""
    of = await METERS.site(campus, body.meter_id, site)
    made: Baseline = await BASELINES.create(campus, user, of, body)
    return made


@router.get("/baselines/{baseline_id}")
async def baseline(baseline_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None) -> Baseline:
    """Give one baseline."""
    found: Baseline = await BASELINES.one(campus, baseline_id, site)
    return found


@router.get("/baselines/{baseline_id}/observations")
async def observations(
    baseline_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None
) -> list[Observation]:
    """Give what a baseline was computed from."""
    of = await BASELINES.site(campus, baseline_id, site)
    found: list[Observation] = await of.call("energy", "observations", baseline_id)
    return found


@router.put("/baselines/{baseline_id}")
async def update_baseline(
    baseline_id: Id, body: NewBaseline, user: EnergyEditor, campus: Actors, site: SiteId = None
) -> Baseline:
    """Replace a baseline; it is computed anew."""
    of = await BASELINES.site(campus, baseline_id, site)
    after: Baseline = await BASELINES.update(campus, user, of, baseline_id, body)
    return after


@router.delete("/baselines/{baseline_id}", status_code=204)
async def delete_baseline(baseline_id: Id, user: EnergyEditor, campus: Actors, site: SiteId = None) -> None:
    """Delete a baseline."""
    of = await BASELINES.site(campus, baseline_id, site)
    await BASELINES.delete(campus, user, of, baseline_id)


# Consumption


class CampusSummary(EnergySummary):
    """The same over several sites; those that can't be reached are not in it."""

    unreachable_sites: list[str] = Field(default=[])


@router.get("/summary")
async def summary(
    user: CurrentUser, campus: Actors, site: SiteId = None, start: Time = None, end: Time = None
) -> CampusSummary:
    """Sum up consumption by kind and cost by currency over the days that begin from `start` to `end`."""
    parts, away = await from_sites(campus.chosen(site), "energy", "summary", start, end)
    return CampusSummary(**summed(parts).model_dump(), unreachable_sites=away)


@router.get("/consumption")
async def consumption(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    meter_id: IdFilter = None,
    kind: MeterKind | None = None,
    period: Period = Period.DAY,
    start: Time = None,
    end: Time = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List what meters have consumed by day or month, with peak, load factor and cost."""

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        found, following = await of.call("energy", "rollups", meter_id, kind, period, start, end, most, after)
        return [each.model_copy(update={"site": of.id}) for each in found], following

    return await over_sites(campus.chosen(site), limit, cursor, read)


@router.get(
    "/export",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}}, "description": "Rollups as CSV."}},
)
async def export(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    meter_id: IdFilter = None,
    kind: MeterKind | None = None,
    period: Period = Period.DAY,
    start: Time = None,
    end: Time = None,
) -> Response:
    """Give what meters have consumed as CSV. All sites must be reachable."""
    rows: list[tuple[Rollup, Meter]] = []
    for of in campus.chosen(site):
        known = {each.id: each for each in await _all(of, "meters", kind, None, None)}
        found = await _all(of, "rollups", meter_id, kind, period, start, end, most=MOST_ROWS - len(rows))
        rows += [
            (each.model_copy(update={"site": of.id}), known[each.meter_id])
            for each in found
            if each.meter_id in known
        ]
    headers = {"Content-Disposition": f'attachment; filename="energy-{period.value}.csv"'}
    return Response(csv_of(rows), media_type="text/csv; charset=utf-8", headers=headers)


async def _all(of: SiteActors, method: str, *filters: object, most: int = MOST_ROWS) -> list[Any]:
    """Read a list to its end. Raises BadInputError for one that is too long."""
    items: list[Any] = []
    cursor: str | None = None
    while True:
        part, cursor = await of.call("energy", method, *filters, MAX_PAGE, cursor)
        items += part
        if len(items) > most:
            raise BadInputError("start", None, f"a range with at most {MOST_ROWS} rows")
        if cursor is None:
            return items
