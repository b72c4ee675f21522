"""Alarms, their history, and the configurations that raise them."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from actors.alarm.models import Alarm, AlarmConfig, AlarmState, AlarmSummary, NewAlarmConfig, Severity
from actors.core.clock import Timestamp, now_ms
from actors.core.errors import BadInputError
from api.deps import (
    Acknowledger,
    Actors,
    AlarmEditor,
    Campus,
    CurrentUser,
    Cursor,
    Limit,
    Page,
    Part,
    Shelver,
    SiteActors,
    SiteId,
    from_sites,
    listed,
    over_sites,
    site_with,
)

router = APIRouter(prefix="/api/alarms", tags=["alarms"])

DEVICE_TIMEOUT = 60.0
"""Seconds for a device to take an acknowledgement."""

Id = Annotated[int, Path(ge=1, lt=2**63)]
Time = Annotated[Timestamp | None, Query(description="ISO 8601 with zone.")]
NodeFilter = Annotated[str | None, Query(max_length=200, description="Of this point.")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Note(_Body):
    """A remark for those who look later."""

    note: str | None = Field(default=None, max_length=500)


class AlarmRef(_Body):
    """One alarm: ids count per site."""

    site: str | None = None
    id: int = Field(ge=1, lt=2**63)


class Many(Note):
    """Alarms to acknowledge: those of `alarms`, or by `ids` where there is one site."""

    alarms: list[AlarmRef] = Field(default=[], max_length=1000)
    ids: list[Annotated[int, Field(ge=1, lt=2**63)]] = Field(default=[], max_length=1000)


class Shelf(Note):
    """Until when: a time, or a number of seconds from now."""

    until: Timestamp | None = None
    duration: float | None = Field(default=None, gt=0, le=30 * 86_400)


async def _site(campus: Campus, alarm_id: int, site: str | None) -> SiteActors:
    """Find an alarm's site; without `site` it must be there once."""
    return await site_with(campus, "alarms", "get", alarm_id, site)


def _here(site: SiteActors, alarm: Alarm) -> Alarm:
    return alarm.model_copy(update={"site": site.id})


@router.get("")
async def alarms(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    state: Annotated[list[AlarmState] | None, Query(description="Left out: all but closed.")] = None,
    severity: Severity | None = None,
    node_id: NodeFilter = None,
    shelved: bool | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List alarms, newest first."""

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        found, following = await of.call("alarms", "find", state, severity, node_id, shelved, most, after)
        return [_here(of, alarm) for alarm in found], following

    return await over_sites(campus.chosen(site), limit, cursor, read)


class CampusSummary(AlarmSummary):
    """The same over several sites; those that can't be reached are not in it."""

    unreachable_sites: list[str] = Field(default=[])


@router.get("/summary")
async def summary(user: CurrentUser, campus: Actors, site: SiteId = None) -> CampusSummary:
    """Count alarms over all sites, or of one."""
    parts, away = await from_sites(campus.chosen(site), "alarms", "summary")
    return CampusSummary(
        active=sum(each.active for each in parts),
        unacknowledged=sum(each.unacknowledged for each in parts),
        shelved=sum(each.shelved for each in parts),
        by_severity={one: sum(each.by_severity[one] for each in parts) for one in Severity},
        unreachable_sites=away,
    )


@router.get("/history")
async def history(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    alarm_id: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    node_id: NodeFilter = None,
    start: Time = None,
    end: Time = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List what happened to alarms, newest first."""
    return await listed(
        campus.chosen(site), limit, cursor, "alarms", "history", alarm_id, node_id, start, end
    )


@router.post("/acknowledge")
async def acknowledge_many(body: Many, user: Acknowledger, campus: Actors, site: SiteId = None) -> Page:
    """Mark several alarms as seen; those of one site all or none, but for those that devices have raised."""
    by_site: dict[str, list[int]] = {}
    refs = [*body.alarms, *(AlarmRef(id=each) for each in body.ids)]
    if not refs:
        raise BadInputError("alarms", [], "at least one alarm")
    for ref in refs:
        of = await _site(campus, ref.id, ref.site or site)
        by_site.setdefault(of.id, []).append(ref.id)
    items = []
    for site_id, ids in by_site.items():
        of = campus.site(site_id)
        # Devices first, each by itself; where one refuses, those before it stay acknowledged.
        told = await _of_devices(of, ids)
        seen = [await _at_device(campus, of, each, user.username, body.note) for each in told]
        own = [each for each in ids if each not in told]
        if own:
            seen += await of.call("alarms", "acknowledge_many", own, user.username, body.note)
            target = f"alarms of {site_id}"
            await campus.log(user.username, "acknowledge_alarms", target, ids=own, note=body.note)
        items += [_here(of, alarm).model_dump(mode="json") for alarm in seen]
    return Page(items=items)


@router.get("/configs")
async def configs(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    node_id: NodeFilter = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List alarm configurations."""
    return await listed(campus.chosen(site), limit, cursor, "alarms", "configs", node_id)


@router.post("/configs", status_code=201)
async def create_config(
    body: NewAlarmConfig, user: AlarmEditor, campus: Actors, site: SiteId = None
) -> AlarmConfig:
    """Add a configuration to a point."""
    of = await campus.site_of(body.node_id, site)
    made: AlarmConfig = await of.call("alarms", "create_config", body)
    await campus.log(
        user.username, "create_alarm_config", body.node_id, site=of.id, config=made.model_dump(mode="json")
    )
    return made


@router.get("/configs/{config_id}")
async def config(config_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None) -> AlarmConfig:
    """Give one configuration."""
    found: AlarmConfig = await (await _config_site(campus, config_id, site)).call(
        "alarms", "config", config_id
    )
    return found


@router.put("/configs/{config_id}")
async def update_config(
    config_id: Id, body: NewAlarmConfig, user: AlarmEditor, campus: Actors, site: SiteId = None
) -> AlarmConfig:
    """Replace a configuration."""
    of = await _config_site(campus, config_id, site)
    await of.call("nodes", "get", body.node_id)
    before: AlarmConfig = await of.call("alarms", "config", config_id)
    after: AlarmConfig = await of.call("alarms", "update_config", config_id, body)
    await campus.log(
        user.username,
        "update_alarm_config",
        body.node_id,
        site=of.id,
        before=before.model_dump(mode="json"),
        after=after.model_dump(mode="json"),
    )
    return after


@router.delete("/configs/{config_id}", status_code=204)
async def delete_config(config_id: Id, user: AlarmEditor, campus: Actors, site: SiteId = None) -> None:
    """Delete a configuration; its alarm clears."""
    of = await _config_site(campus, config_id, site)
    before: AlarmConfig = await of.call("alarms", "config", config_id)
    await of.call("alarms", "delete_config", config_id)
    await campus.log(
        user.username,
        "delete_alarm_config",
        before.node_id,
        site=of.id,
        config=before.model_dump(mode="json"),
    )


async def _config_site(campus: Campus, config_id: int, site: str | None) -> SiteActors:
    return await site_with(campus, "alarms", "config", config_id, site)


@router.get("/{alarm_id}")
async def alarm(alarm_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None) -> Alarm:
    """Give one alarm."""
    of = await _site(campus, alarm_id, site)
    return _here(of, await of.call("alarms", "get", alarm_id))


@router.post("/{alarm_id}/acknowledge")
async def acknowledge(
    alarm_id: Id, user: Acknowledger, campus: Actors, body: Note | None = None, site: SiteId = None
) -> Alarm:
    """Mark an alarm as seen; one that a device has raised, at that device too, or not at all."""
    of = await _site(campus, alarm_id, site)
    note = body.note if body else None
    if await _of_devices(of, [alarm_id]):
        return _here(of, await _at_device(campus, of, alarm_id, user.username, note))
    seen: Alarm = await of.call("alarms", "acknowledge", alarm_id, user.username, note)
    await campus.log(
        user.username, "acknowledge_alarm", seen.node_id, site=of.id, alarm_id=alarm_id, note=note
    )
    return _here(of, seen)


@router.post("/{alarm_id}/shelve")
async def shelve(alarm_id: Id, body: Shelf, user: Shelver, campus: Actors, site: SiteId = None) -> Alarm:
    """Keep an alarm out of the way until a time."""
    of = await _site(campus, alarm_id, site)
    if (body.until is None) == (body.duration is None):
        raise BadInputError("until", body.until, "either until (a time) or duration (seconds)")
    until = body.until if body.until is not None else _later(body.duration or 0)
    done: Alarm = await of.call("alarms", "shelve", alarm_id, until, user.username, body.note)
    await campus.log(
        user.username,
        "shelve_alarm",
        done.node_id,
        site=of.id,
        alarm_id=alarm_id,
        until=until,
        note=body.note,
    )
    return _here(of, done)


@router.post("/{alarm_id}/unshelve")
async def unshelve(alarm_id: Id, user: Shelver, campus: Actors, site: SiteId = None) -> Alarm:
    """Take an alarm off the shelf."""
    of = await _site(campus, alarm_id, site)
    done: Alarm = await of.call("alarms", "unshelve", alarm_id, user.username)
    await campus.log(user.username, "unshelve_alarm", done.node_id, site=of.id, alarm_id=alarm_id)
    return _here(of, done)


async def _of_devices(of: SiteActors, ids: list[int]) -> list[int]:
    """Give those of some alarms that a device has raised and that aren't seen yet. Raises NotFoundError."""
    found: list[Alarm] = [await of.call("alarms", "get", each) for each in ids]
    to_do = (AlarmState.ACTIVE, AlarmState.CLEARED)
    return [each.id for each in found if each.state in to_do and (each.source or "").startswith("bacnet/")]


async def _at_device(campus: Campus, of: SiteActors, alarm_id: int, by: str, note: str | None) -> Alarm:
    seen: Alarm = await of.call("bacnet", "acknowledge", alarm_id, by, note, timeout=DEVICE_TIMEOUT)
    await campus.log(by, "acknowledge_alarm", seen.node_id, site=of.id, alarm_id=alarm_id, note=note)
    return seen


def _later(seconds: float) -> int:
    return now_ms() + round(seconds * 1000)
