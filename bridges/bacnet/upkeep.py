"""Keeping devices right: their clocks, restarts, and whether they speak (ASHRAE 135-2020, clause 16)."""

from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from typing import Any, Final

from bacpypes3.apdu import (
    DeviceCommunicationControlRequest,
    ReinitializeDeviceRequest,
    SimpleAckPDU,
    TimeSynchronizationRequest,
    UTCTimeSynchronizationRequest,
)
from bacpypes3.basetypes import DateTime
from bacpypes3.primitivedata import Date, Time

from actors.core.errors import BadInputError
from bridges.bacnet.clocks import to_bacnet
from bridges.bacnet.device import Device

LONGEST_SILENCE: Final = 1440
"""Minutes for which a device may be told to be silent; for ever is never asked for."""
LONGEST_PASSWORD: Final = 20


class Restart(StrEnum):
    """How a device is to start again."""

    COLD = "coldstart"
    WARM = "warmstart"


class Speech(StrEnum):
    """Whether a device may speak."""

    ENABLE = "enable"
    DISABLE_INITIATION = "disable-initiation"
    """It answers, but tells nothing by itself."""


def time_requests(now: datetime, zone: tzinfo) -> list[Any]:
    """Give the requests that tell the time (aware) to whom they are sent: UTC, and that of a zone."""
    requests = []
    for kind, at in (
        (UTCTimeSynchronizationRequest, now.astimezone(UTC)),
        (TimeSynchronizationRequest, now.astimezone(zone)),
    ):
        date, time = to_bacnet(at)
        requests.append(kind(time=DateTime(date=Date(date), time=Time(time))))
    return requests


async def restart(device: Device, how: Restart, password: str | None) -> None:
    """Let a device start again. Raises BadInputError and BridgeError, with the device's reason."""
    request = ReinitializeDeviceRequest(reinitializedStateOfDevice=how.value)
    if password is not None:
        request.password = _checked(password)
    await device.request(request, SimpleAckPDU)


async def control(device: Device, speech: Speech, minutes: int | None, password: str | None) -> None:
    """Let a device tell nothing by itself for some minutes, or tell again. Raises as `restart` does.

    That it doesn't even answer is not asked for (the standard has dropped it): nobody could take it back.
    """
    if speech is Speech.DISABLE_INITIATION and (minutes is None or not 1 <= minutes <= LONGEST_SILENCE):
        raise BadInputError("minutes", minutes, f"1 to {LONGEST_SILENCE}, after which it speaks again")
    request = DeviceCommunicationControlRequest(enableDisable=speech.value)
    if minutes is not None and speech is Speech.DISABLE_INITIATION:
        request.timeDuration = minutes
    if password is not None:
        request.password = _checked(password)
    await device.request(request, SimpleAckPDU)


def _checked(password: str) -> str:
    if not 1 <= len(password) <= LONGEST_PASSWORD:
        raise BadInputError("password", "***", f"1 to {LONGEST_PASSWORD} characters")
    return password
