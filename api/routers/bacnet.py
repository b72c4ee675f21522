"""BACnet for engineers: schedules and calendars of devices, clocks, restarts, objects, subscriptions."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from actors.schedule.models import Period
from api.deps import (
    Actors,
    Campus,
    CurrentUser,
    Cursor,
    Discoverer,
    Limit,
    Page,
    Scheduler,
    SiteActors,
    SiteId,
    paged,
    site_with_bridge,
)
from bridges.bacnet.schedules import DeviceSchedule
from bridges.bacnet.upkeep import LONGEST_PASSWORD, LONGEST_SILENCE, Restart, Speech

router = APIRouter(prefix="/api/discovery/bacnet", tags=["bacnet"])
schedules_router = APIRouter(prefix="/api/schedules/bacnet", tags=["bacnet"])

BRIDGE: Final = "bacnet"
PATIENCE: Final = 60.0
"""Seconds for what takes several questions to a slow device."""

Device = Annotated[str, Path(max_length=200, description="As in /api/system/devices, such as `1001`.")]
Network = Annotated[str, Path(max_length=64)]
Instance = Annotated[int, Path(ge=0, lt=4194303)]
ObjectName = Annotated[str, Path(max_length=64, description="Such as `analog-value,7`.")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


Password = Annotated[str | None, Field(min_length=1, max_length=LONGEST_PASSWORD)]


class RestartBody(_Body):
    """How a device is to start again."""

    how: Restart = Restart.WARM
    password: Password = None


class SpeechBody(_Body):
    """Whether a device may tell anything by itself; silent it is for some minutes only."""

    speech: Speech
    minutes: int | None = Field(default=None, ge=1, le=LONGEST_SILENCE)
    password: Password = None


class NewObject(_Body):
    """An object that a device is to make; without an instance it chooses one."""

    object_type: str = Field(min_length=1, max_length=64, examples=["analog-value"])
    instance: int | None = Field(default=None, ge=0, lt=4194303)
    name: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = Field(default=None, min_length=1, max_length=200)


class MadeObject(BaseModel):
    """An object of a device, such as `analog-value,7`."""

    object: str


class Days(_Body):
    """The days of a calendar."""

    days: list[Period] = Field(max_length=1000)


class Done(BaseModel):
    """What was told to whom; devices don't answer to the time."""

    told: Literal["time"] = "time"
    target: str


# Schedules


@schedules_router.get("/{device_key:path}/schedules/{instance}")
async def schedule(
    device_key: Device, instance: Instance, user: CurrentUser, campus: Actors, site: SiteId = None
) -> DeviceSchedule:
    """Read a schedule of a device, with its exceptions; times are the device's own."""
    found: DeviceSchedule = await _ask(campus, device_key, site, "read_schedule", instance)
    return found


@schedules_router.put("/{device_key:path}/schedules/{instance}")
async def write_schedule(
    device_key: Device,
    instance: Instance,
    body: DeviceSchedule,
    user: Scheduler,
    campus: Actors,
    site: SiteId = None,
) -> DeviceSchedule:
    """Write a schedule to a device, as a whole or not at all; give what is read back."""
    of = await _site(campus, device_key, site)
    before: DeviceSchedule = await _at(of, "read_schedule", device_key, instance)
    after: DeviceSchedule = await _at(of, "write_schedule", device_key, instance, body)
    await campus.log(
        user.username,
        "write_device_schedule",
        f"{device_key}/schedule,{instance}",
        site=of.id,
        before=before.model_dump(mode="json"),
        after=after.model_dump(mode="json"),
    )
    return after


@schedules_router.get("/{device_key:path}/calendars/{instance}")
async def calendar(
    device_key: Device, instance: Instance, user: CurrentUser, campus: Actors, site: SiteId = None
) -> Days:
    """Read the days of a calendar of a device."""
    return Days(days=await _ask(campus, device_key, site, "read_calendar", instance))


@schedules_router.put("/{device_key:path}/calendars/{instance}")
async def write_calendar(
    device_key: Device,
    instance: Instance,
    body: Days,
    user: Scheduler,
    campus: Actors,
    site: SiteId = None,
) -> Days:
    """Write the days of a calendar to a device; give what is read back."""
    of = await _site(campus, device_key, site)
    before = Days(days=await _at(of, "read_calendar", device_key, instance))
    after = Days(days=await _at(of, "write_calendar", device_key, instance, body.days))
    await campus.log(
        user.username,
        "write_device_calendar",
        f"{device_key}/calendar,{instance}",
        site=of.id,
        before=before.model_dump(mode="json")["days"],
        after=after.model_dump(mode="json")["days"],
    )
    return after


@schedules_router.get("/{device_key:path}")
async def schedules(
    device_key: Device,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List the schedules and calendars of a device."""
    found: list[str] = await _ask(campus, device_key, site, "schedules")
    shown = [{"object": each, "kind": each.partition(",")[0]} for each in found]
    return paged(shown, limit, cursor, lambda each: str(each["object"]))


# Upkeep


@router.post("/networks/{network_id}/time")
async def tell_network_time(
    network_id: Network, user: Discoverer, campus: Actors, site: SiteId = None
) -> Done:
    """Tell all devices of a network the time, UTC and local, now."""
    kind = "bacnet network"
    of = await site_with_bridge(campus, BRIDGE, "knows_network", network_id, kind, site)
    await of.call(BRIDGE, "synchronise", network_id, timeout=PATIENCE)
    await campus.log(user.username, "synchronise_time", network_id, site=of.id)
    return Done(target=network_id)


@router.post("/devices/{device_key:path}/time")
async def tell_device_time(device_key: Device, user: Discoverer, campus: Actors, site: SiteId = None) -> Done:
    """Tell a device the time, UTC and local, now."""
    of = await _site(campus, device_key, site)
    await of.call(BRIDGE, "synchronise", None, device_key, timeout=PATIENCE)
    await campus.log(user.username, "synchronise_time", device_key, site=of.id)
    return Done(target=device_key)


@router.post("/devices/{device_key:path}/restart", status_code=204)
async def restart(
    device_key: Device, body: RestartBody, user: Discoverer, campus: Actors, site: SiteId = None
) -> None:
    """Let a device start again, warm or cold."""
    of = await _site(campus, device_key, site)
    await _at(of, "restart", device_key, body.how, body.password)
    await campus.log(user.username, "restart_device", device_key, site=of.id, how=body.how.value)


@router.post("/devices/{device_key:path}/communication", status_code=204)
async def communication(
    device_key: Device, body: SpeechBody, user: Discoverer, campus: Actors, site: SiteId = None
) -> None:
    """Let a device tell nothing by itself for some minutes, or tell again; it goes on answering."""
    of = await _site(campus, device_key, site)
    await _at(of, "control_speech", device_key, body.speech, body.minutes, body.password)
    await campus.log(
        user.username,
        "control_device_communication",
        device_key,
        site=of.id,
        speech=body.speech.value,
        minutes=body.minutes,
    )


# Objects


@router.get("/devices/{device_key:path}/subscriptions")
async def subscriptions(
    device_key: Device,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List how changes of a device's points come: told by it (COV), or polled."""
    found = await _ask(campus, device_key, site, "subscriptions")
    return paged(found, limit, cursor, _point_id)


@router.post("/devices/{device_key:path}/objects", status_code=201)
async def create_object(
    device_key: Device, body: NewObject, user: Discoverer, campus: Actors, site: SiteId = None
) -> MadeObject:
    """Have a device make an object."""
    of = await _site(campus, device_key, site)
    made: str = await _at(
        of, "create_object", device_key, body.object_type, body.instance, body.name, body.description
    )
    await campus.log(
        user.username, "create_device_object", f"{device_key}/{made}", site=of.id, name=body.name
    )
    return MadeObject(object=made)


@router.delete("/devices/{device_key:path}/objects/{object_name}", status_code=204)
async def delete_object(
    device_key: Device, object_name: ObjectName, user: Discoverer, campus: Actors, site: SiteId = None
) -> None:
    """Have a device remove an object; a point that is bound to it becomes a fault."""
    of = await _site(campus, device_key, site)
    await _at(of, "delete_object", device_key, object_name)
    await campus.log(user.username, "delete_device_object", f"{device_key}/{object_name}", site=of.id)


def _point_id(each: Any) -> str:
    return str(each["point_id"] if isinstance(each, dict) else each.point_id)


async def _site(campus: Campus, device_key: str, site: str | None) -> SiteActors:
    return await site_with_bridge(campus, BRIDGE, "knows_device", device_key, "bacnet device", site)


async def _at(of: SiteActors, method: str, device_key: str, *args: Any) -> Any:
    return await of.call(BRIDGE, method, device_key, *args, timeout=PATIENCE)


async def _ask(campus: Campus, device_key: str, site: str | None, method: str, *args: Any) -> Any:
    return await _at(await _site(campus, device_key, site), method, device_key, *args)
