"""Schedules, their exceptions, calendars, and the points that they command."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from actors.core.clock import Timestamp, now_ms
from actors.core.errors import BadInputError
from actors.node.models import Node
from actors.schedule.models import (
    Assignment,
    Calendar,
    Effective,
    NewCalendar,
    NewException,
    NewSchedule,
    Schedule,
    ScheduleException,
    Step,
)
from api.deps import (
    Actors,
    Campus,
    CurrentUser,
    Cursor,
    Limit,
    Page,
    Part,
    Scheduler,
    SiteActors,
    SiteId,
    in_order,
    one_site,
    over_sites,
    paged,
    site_with,
)
from api.records import Records

router = APIRouter(prefix="/api/schedules", tags=["schedules"])

Id = Annotated[int, Path(ge=1, lt=2**63)]
Time = Annotated[Timestamp | None, Query(description="ISO 8601 with zone.")]
WEEK = 7 * 86_400_000

CALENDARS = Records("schedules", "calendar")


class NewAssignment(BaseModel):
    """The point that a schedule is to command."""

    model_config = ConfigDict(extra="forbid")

    node_id: str = Field(min_length=1, max_length=200)


async def _site(campus: Campus, schedule_id: int, site: str | None) -> SiteActors:
    return await site_with(campus, "schedules", "get", schedule_id, site)


@router.get("")
async def schedules(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    enabled: bool | None = None,
    node_id: Annotated[str | None, Query(max_length=200, description="That command this point.")] = None,
    text: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List schedules."""

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        found, following = await of.call("schedules", "find", enabled, node_id, text, most, after)
        return [each.model_dump(mode="json") | {"site": of.id} for each in found], following

    return await over_sites(campus.chosen(site), limit, cursor, read)


@router.post("", status_code=201)
async def create(body: NewSchedule, user: Scheduler, campus: Actors, site: SiteId = None) -> Schedule:
    """Add a schedule."""
    of = one_site(campus, site)
    made: Schedule = await of.call("schedules", "create", body)
    await campus.log(
        user.username,
        "create_schedule",
        f"schedule:{made.id}",
        site=of.id,
        schedule=made.model_dump(mode="json"),
    )
    return made


@router.get("/calendars")
async def calendars(
    user: CurrentUser, campus: Actors, site: SiteId = None, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """List calendars."""
    return await CALENDARS.listed(campus, site, limit, cursor)


@router.post("/calendars", status_code=201)
async def create_calendar(
    body: NewCalendar, user: Scheduler, campus: Actors, site: SiteId = None
) -> Calendar:
    """Add a calendar."""
    made: Calendar = await CALENDARS.create(campus, user, one_site(campus, site), body)
    return made


@router.get("/calendars/{calendar_id}")
async def calendar(calendar_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None) -> Calendar:
    """Give one calendar."""
    found: Calendar = await CALENDARS.one(campus, calendar_id, site)
    return found


@router.put("/calendars/{calendar_id}")
async def update_calendar(
    calendar_id: Id, body: NewCalendar, user: Scheduler, campus: Actors, site: SiteId = None
) -> Calendar:
    """Replace a calendar."""
    of = await CALENDARS.site(campus, calendar_id, site)
    after: Calendar = await CALENDARS.update(campus, user, of, calendar_id, body)
    return after


@router.delete("/calendars/{calendar_id}", status_code=204)
async def delete_calendar(calendar_id: Id, user: Scheduler, campus: Actors, site: SiteId = None) -> None:
    """Delete a calendar that no exception names."""
    of = await CALENDARS.site(campus, calendar_id, site)
    await CALENDARS.delete(campus, user, of, calendar_id)


@router.get("/exceptions/{exception_id}")
async def exception(
    exception_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None
) -> ScheduleException:
    """Give one exception."""
    of = await site_with(campus, "schedules", "exception", exception_id, site)
    found: ScheduleException = await of.call("schedules", "exception", exception_id)
    return found


@router.put("/exceptions/{exception_id}")
async def update_exception(
    exception_id: Id, body: NewException, user: Scheduler, campus: Actors, site: SiteId = None
) -> ScheduleException:
    """Replace an exception."""
    of = await site_with(campus, "schedules", "exception", exception_id, site)
    before: ScheduleException = await of.call("schedules", "exception", exception_id)
    after: ScheduleException = await of.call("schedules", "update_exception", exception_id, body)
    await campus.log(
        user.username,
        "update_schedule_exception",
        f"schedule:{after.schedule_id}",
        site=of.id,
        before=before.model_dump(mode="json"),
        after=after.model_dump(mode="json"),
    )
    return after


@router.delete("/exceptions/{exception_id}", status_code=204)
async def delete_exception(exception_id: Id, user: Scheduler, campus: Actors, site: SiteId = None) -> None:
    """Delete an exception."""
    of = await site_with(campus, "schedules", "exception", exception_id, site)
    gone: ScheduleException = await of.call("schedules", "delete_exception", exception_id)
    await campus.log(
        user.username,
        "delete_schedule_exception",
        f"schedule:{gone.schedule_id}",
        site=of.id,
        exception=gone.model_dump(mode="json"),
    )


@router.get("/{schedule_id}")
async def schedule(schedule_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None) -> Schedule:
    """Give one schedule."""
    of = await _site(campus, schedule_id, site)
    found: Schedule = await of.call("schedules", "get", schedule_id)
    return found


@router.put("/{schedule_id}")
async def update(
    schedule_id: Id, body: NewSchedule, user: Scheduler, campus: Actors, site: SiteId = None
) -> Schedule:
    """Replace a schedule and its week; exceptions and assignments stay."""
    of = await _site(campus, schedule_id, site)
    before: Schedule = await of.call("schedules", "get", schedule_id)
    after: Schedule = await of.call("schedules", "update", schedule_id, body)
    await campus.log(
        user.username,
        "update_schedule",
        f"schedule:{schedule_id}",
        site=of.id,
        before=before.model_dump(mode="json"),
        after=after.model_dump(mode="json"),
    )
    return after


@router.delete("/{schedule_id}", status_code=204)
async def delete(schedule_id: Id, user: Scheduler, campus: Actors, site: SiteId = None) -> None:
    """Delete a schedule with its exceptions and assignments."""
    of = await _site(campus, schedule_id, site)
    gone: Schedule = await of.call("schedules", "delete", schedule_id)
    await campus.log(user.username, "delete_schedule", f"schedule:{schedule_id}", site=of.id, name=gone.name)


@router.get("/{schedule_id}/effective")
async def effective(
    schedule_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None, at: Time = None
) -> Effective:
    """Give what a schedule gives at a time (now where left out), and until when."""
    of = await _site(campus, schedule_id, site)
    found: Effective = await of.call("schedules", "effective", schedule_id, at)
    return found


@router.get("/{schedule_id}/preview")
async def preview(
    schedule_id: Id,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    start: Time = None,
    end: Time = None,
) -> list[Step]:
    """Give a schedule's values over a range; the coming week where it is left out."""
    of = await _site(campus, schedule_id, site)
    first = now_ms() if start is None else start
    found: list[Step] = await of.call(
        "schedules", "preview", schedule_id, first, first + WEEK if end is None else end
    )
    return found


@router.get("/{schedule_id}/exceptions")
async def exceptions(
    schedule_id: Id,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List the exceptions of a schedule, the strongest first."""
    of = await _site(campus, schedule_id, site)
    found: Schedule = await of.call("schedules", "get", schedule_id)
    return paged(
        found.exceptions, limit, cursor, lambda each: f"{in_order(each.priority)}{in_order(each.id)}"
    )


@router.post("/{schedule_id}/exceptions", status_code=201)
async def create_exception(
    schedule_id: Id, body: NewException, user: Scheduler, campus: Actors, site: SiteId = None
) -> ScheduleException:
    """Add an exception to a schedule."""
    of = await _site(campus, schedule_id, site)
    made: ScheduleException = await of.call("schedules", "create_exception", schedule_id, body)
    await campus.log(
        user.username,
        "create_schedule_exception",
        f"schedule:{schedule_id}",
        site=of.id,
        exception=made.model_dump(mode="json"),
    )
    return made


@router.get("/{schedule_id}/assignments")
async def assignments(
    schedule_id: Id,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List the points that a schedule commands, with what was written last."""
    of = await _site(campus, schedule_id, site)
    found: list[Assignment] = await of.call("schedules", "assignments", schedule_id)
    return paged(found, limit, cursor, lambda each: each.node_id)


@router.post("/{schedule_id}/assignments", status_code=201)
async def assign(
    schedule_id: Id, body: NewAssignment, user: Scheduler, campus: Actors, site: SiteId = None
) -> Assignment:
    """Let a schedule command a writable point of its site."""
    of = await _site(campus, schedule_id, site)
    node: Node = await of.call("nodes", "get", body.node_id)
    if not node.capabilities.writable:
        raise BadInputError("node_id", body.node_id, "a point that can be written")
    made: Assignment = await of.call("schedules", "assign", schedule_id, body.node_id)
    await campus.log(
        user.username, "assign_schedule", f"schedule:{schedule_id}", site=of.id, node_id=body.node_id
    )
    return made


@router.delete("/{schedule_id}/assignments/{node_id:path}", status_code=204)
async def unassign(
    schedule_id: Id, node_id: str, user: Scheduler, campus: Actors, site: SiteId = None
) -> None:
    """Let a schedule command a point no longer."""
    of = await _site(campus, schedule_id, site)
    await of.call("schedules", "unassign", schedule_id, node_id)
    await campus.log(
        user.username, "unassign_schedule", f"schedule:{schedule_id}", site=of.id, node_id=node_id
    )
