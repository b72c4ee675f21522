"""A device with events: it tells of them, says how they stand, and takes acknowledgements."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

from bacpypes3.apdu import (
    ConfirmedEventNotificationRequest,
    GetAlarmSummaryACK,
    GetEventInformationACK,
    SimpleAckPDU,
    UnconfirmedEventNotificationRequest,
)
from bacpypes3.basetypes import (
    DateTime,
    EventTransitionBits,
    GetAlarmSummaryAlarmSummary,
    GetEventInformationEventSummary,
    NotificationParameters,
    NotificationParametersOutOfRange,
    TimeStamp,
)
from bacpypes3.errors import ExecutionError, UnrecognizedService
from bacpypes3.primitivedata import Date, ObjectIdentifier, Time

from bridges.bacnet.clocks import to_bacnet
from bridges.bacnet.events import from_stamp
from tests.bridges.bacnet.rogues import Rogue

UNSPECIFIED = TimeStamp(dateTime=DateTime(date=Date((255,) * 4), time=Time((255,) * 4)))


def stamp(at: datetime) -> TimeStamp:
    date, time = to_bacnet(at)
    return TimeStamp(dateTime=DateTime(date=Date(date), time=Time(time)))


def place(state: str) -> int:
    return {"normal": 2, "fault": 1}.get(state, 0)


class One:
    """The events of one object."""

    def __init__(self) -> None:
        self.state = "normal"
        self.states = ["offnormal", "fault", "normal"]
        self.acked = [1, 1, 1]
        self.stamps = [UNSPECIFIED] * 3


class Eventful:
    """Play the events of a device."""

    def __init__(self, app: Rogue, *, information: bool = True, summary: bool = True) -> None:
        self.app, self.information, self.summary = app, information, summary
        self.objects: dict[str, One] = {}
        self.asks = [1, 1, 1]
        self.now = datetime(2026, 11, 24, 10)
        self.acknowledged: list[tuple[str, str, str]] = []
        """Object, state and by whom, of what was acknowledged."""
        self.refuses: str | None = None
        self.most = 100
        """Entries in one answer."""
        app.do_GetEventInformationRequest = self.tell_information
        app.do_GetAlarmSummaryRequest = self.tell_summary
        app.do_AcknowledgeAlarmRequest = self.acknowledge

    def become(self, obj: str, state: str) -> tuple[str, One]:
        """Change an object's event state; tell nobody."""
        one = self.objects.setdefault(obj, One())
        before, one.state = one.state, state
        self.now += timedelta(seconds=1)
        at = place(state)
        one.states[at], one.stamps[at], one.acked[at] = state, stamp(self.now), 1 - self.asks[at]
        known = self.app.get_object_id(ObjectIdentifier(obj))
        if known is not None:
            known.eventState = state
        return before, one

    async def go(self, obj: str, state: str, **more: Any) -> Any:
        """Change an object's event state and tell it; give the notification."""
        before, one = self.become(obj, state)
        return await self.tell(self.made(obj, before, state, one.stamps[place(state)], **more))

    def made(
        self, obj: str, before: str | None, state: str, at: TimeStamp, notify: str = "alarm", **more: Any
    ) -> dict[str, Any]:
        fields = {
            "processIdentifier": 1,
            "initiatingDeviceIdentifier": self.app.device_object.objectIdentifier,
            "eventObjectIdentifier": ObjectIdentifier(obj),
            "timeStamp": at,
            "notificationClass": 1,
            "priority": 100,
            "eventType": "out-of-range",
            "notifyType": notify,
            "toState": state,
        }
        if before is not None:
            values = NotificationParametersOutOfRange(
                exceedingValue=31.5, statusFlags=[1, 0, 0, 0], deadband=1.0, exceededLimit=30.0
            )
            fields |= {
                "ackRequired": bool(self.asks[place(state)]),
                "fromState": before,
                "eventValues": NotificationParameters(outOfRange=values),
            }
        return fields | more

    async def tell(self, fields: dict[str, Any], *, confirmed: bool = True) -> dict[str, Any]:
        kind = ConfirmedEventNotificationRequest if confirmed else UnconfirmedEventNotificationRequest
        sent = self.app.request(kind(**fields, destination=self.app.client))
        if confirmed:
            await asyncio.wait_for(sent, 5)
        else:
            await sent
        return fields

    async def seen_elsewhere(self, obj: str, *, tell: bool = True) -> None:
        """Let somebody else acknowledge all of an object's events."""
        one = self.objects[obj]
        one.acked = [1, 1, 1]
        self.now += timedelta(seconds=1)
        if tell:
            await self.tell(self.made(obj, None, one.state, stamp(self.now), notify="ack-notification"))

    async def tell_information(self, apdu: Any) -> None:
        if not self.information:
            raise UnrecognizedService
        listed = [
            GetEventInformationEventSummary(
                objectIdentifier=ObjectIdentifier(obj),
                eventState=one.state,
                acknowledgedTransitions=EventTransitionBits(one.acked),
                eventTimeStamps=one.stamps,
                notifyType="alarm",
                eventEnable=EventTransitionBits([1, 1, 1]),
                eventPriorities=[20, 100, 200],
            )
            for obj, one in self.objects.items()
            if one.state != "normal" or one.acked != [1, 1, 1]
        ]
        last = apdu.lastReceivedObjectIdentifier
        names = [each.objectIdentifier for each in listed]
        rest = listed[names.index(last) + 1 :] if last in names else listed
        answer = GetEventInformationACK(
            listOfEventSummaries=rest[: self.most], moreEvents=len(rest) > self.most, context=apdu
        )
        await self.app.response(answer)

    async def tell_summary(self, apdu: Any) -> None:
        if not self.summary:
            raise UnrecognizedService
        listed = [
            GetAlarmSummaryAlarmSummary(
                objectIdentifier=ObjectIdentifier(obj),
                alarmState=one.state,
                acknowledgedTransitions=EventTransitionBits(one.acked),
            )
            for obj, one in self.objects.items()
            if one.state != "normal"
        ]
        await self.app.response(GetAlarmSummaryACK(listOfAlarmSummaries=listed, context=apdu))

    async def acknowledge(self, apdu: Any) -> None:
        if self.refuses is not None:
            raise ExecutionError("services", self.refuses)
        obj, state = str(apdu.eventObjectIdentifier), str(apdu.eventStateAcknowledged)
        one, at = self.objects[obj], place(state)
        if one.states[at] != state:
            raise ExecutionError("services", "invalid-event-state")
        if from_stamp(apdu.timeStamp) != from_stamp(one.stamps[at]):
            raise ExecutionError("services", "invalid-time-stamp")
        one.acked[at] = 1
        self.acknowledged.append((obj, state, str(apdu.acknowledgmentSource)))
        await self.app.response(SimpleAckPDU(context=apdu))
