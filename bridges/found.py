"""Profiles as what a scan finds: the points that a kind of device has, with bindings and alarms."""

import asyncio
from typing import Literal

from actors.alarm.models import Severity
from actors.core.errors import BadInputError
from actors.discovery.models import FoundAlarm, FoundPoint
from bridges.checks import point_key
from bridges.config import PointProfile, Profile
from bridges.model import is_writable
from bridges.profiles import shipped_profiles

_IN_NODE = ("cov_increment", "relinquish_default", "interval")
_IN_BINDING = ("scale", "offset", "bit", "mask", "length", "absent")


def found_points(profile: Profile) -> list[FoundPoint]:
    """Give the points of a profile; values are read once they are in the model. Pure."""
    return [_point(each) for each in profile.points]


def _point(point: PointProfile) -> FoundPoint:
    alarm = None
    if point.alarm is not None:
        alarm = FoundAlarm(
            condition=point.alarm.condition(),
            severity=Severity(point.alarm.severity),
            message=point.alarm.message,
        )
    binding = None
    if point.register is not None:
        binding = {
            "register_type": point.register,
            "address": point.address,
            "data_type": point.data_type,
            "byte_order": point.byte_order,
        }
        more = {name: getattr(point, name) for name in _IN_BINDING}
        binding |= {name: value for name, value in more.items() if value is not None}
    own = {name: getattr(point, name) for name in _IN_NODE}
    kind = point.register or (point.object or "").partition(",")[0]
    key = point_key(point) if point.object is None else point.object.replace(",", "-")
    return FoundPoint(
        point_key=key,
        name=point.dis or key,
        description=point.description or "",
        kind=kind,
        units=point.units,
        writable=is_writable(point),
        states=point.states or [],
        tags=point.tags,
        binding=binding,
        properties={name: value for name, value in own.items() if value is not None},
        alarm=alarm,
    )


async def profile_points(protocol: Literal["bacnet", "modbus"], name: str) -> list[FoundPoint]:
    """Give the points of a profile that comes with the program. Raises BadInputError."""
    profiles = await asyncio.to_thread(shipped_profiles, protocol)
    for profile in profiles:
        if profile.profile == name:
            return found_points(profile)
    known = ", ".join(sorted(each.profile for each in profiles))
    raise BadInputError("profile", name, f"a {protocol} profile: {known}")
