"""Events of devices as alarms of ours, acknowledged both ways."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from bacpypes3.apdu import (
    AcknowledgeAlarmRequest,
    AddListElementRequest,
    GetAlarmSummaryACK,
    GetAlarmSummaryRequest,
    GetEventInformationACK,
    GetEventInformationRequest,
    SimpleAckPDU,
)
from bacpypes3.basetypes import DateTime, Destination, EventState, Recipient, TimeStamp
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.constructeddata import ListOf
from bacpypes3.primitivedata import CharacterString, Date, ObjectIdentifier, Time
from pydantic import ValidationError

from actors.alarm.models import STANDING, Alarm, AlarmState, Report, Reported
from actors.core.errors import BadInputError, BridgeError, ConflictError, UnreachableError
from actors.core.remote import answered
from bridges.bacnet.clocks import to_bacnet
from bridges.bacnet.device import Device
from bridges.bacnet.events import (
    ALL,
    TRANSITIONS,
    Detail,
    Notification,
    Said,
    acknowledged,
    from_stamp,
    is_dated,
    is_known,
    is_late,
    open_transitions,
    read_alarm,
    read_summary,
    severity,
    to_stamp,
    transition,
    with_notification,
    with_said,
    words,
)
from bridges.bacnet.network import UNREADABLE, DeviceError, SilentError
from bridges.outbox import FaultLog

log = logging.getLogger(__name__)

EVERY: Final = 300.0
"""Seconds between two questions to a device how its events stand."""
AGAIN: Final = 10.0
"""Seconds after which a store that was away is tried again."""
MOST_WAITING: Final = 1_000
"""Notifications of a device that wait; past them it is asked instead."""
MOST_EVENTS: Final = 10_000
"""Objects of a device that have alarms; events of more are left out, as a device may make objects up."""
CALL_TIMEOUT: Final = 10.0
EMPTY: Final = "invalid-tag"
"""What the library makes of an answer without content."""
PROCESS: Final = 1
"""The number by which devices know us as somebody to tell (process identifier)."""


def source_of(network: str, instance: int, obj: str = "") -> str:
    """Give the source of alarms of an object, or what those of a device begin with."""
    return f"bacnet/{network}/{instance}/{obj}"


class DeviceAlarms:
    """Make one device's events alarms of ours, and take acknowledgements to it.

    What the device tells by itself is taken at once, and what the status flags of its points say leads to a
    question: of all events, or of the object where the device can't tell of all. At first contact, whenever
    it is back, and on a period it is asked how its events stand, which rights what was missed on either side:
    notifications that were lost, acknowledgements given elsewhere, times when this process or the store of
    alarms was away. What is known of each object is kept with its alarm in that store. The same notification
    twice changes nothing.

    A notification counts as kept, and is confirmed to the device, once that store has committed what it
    makes; until then it waits here, and the device may send it again. What the store refuses for good is
    dropped with an error in the log, so that it keeps nothing else waiting.
    """

    def __init__(self, device: Device, alarms: Callable[[], Any], faults: FaultLog) -> None:
        """Take a device, and how to find the store of alarms."""
        self.device, self._alarms, self._faults = device, alarms, faults
        self._known: dict[str, Reported] | None = None
        self._details: dict[str, Detail] = {}
        self._waiting: deque[tuple[Notification, asyncio.Future[bool]]] = deque()
        self._must_ask = True
        self._flagged: dict[str, bool] = {}
        """Objects whose status flags have changed: whether they say that an event stands."""
        device.on_alarm = self.flagged
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._names: dict[str, str] = {}
        self._asking: dict[str, str] = {}
        self._nodes: dict[str, str] = {}
        device.on_come.append(self.came)

    @property
    def _prefix(self) -> str:
        config = self.device.device
        return source_of(config.network, config.device_instance)

    def came(self) -> None:
        """Take that the device answers after it was silent, or has started again."""
        self._must_ask = True
        self._wake.set()

    def forget(self) -> None:
        """Ask again what the device calls its objects and what they ask for, before that is next needed."""
        for each in (self._names, self._asking, self._nodes):
            each.clear()

    def notified(self, note: Notification) -> asyncio.Future[bool]:
        """Take a notification; doesn't wait. Gives whether it is kept, once that is known."""
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append((note, kept))
        else:
            self._must_ask = True
            kept.set_result(False)
        self._wake.set()
        return kept

    def flagged(self, obj: str, standing: bool) -> None:
        """Take that an object's status flags say something else of its event; doesn't wait."""
        self._flagged[obj] = standing
        self._wake.set()

    async def run(self) -> None:
        """Follow the device until cancelled."""
        while True:
            pause = EVERY
            try:
                await self.step()
            except SilentError as error:
                self._faults.tell(self.device.device.id, "events", error.reason)
                pause = AGAIN
            except BridgeError as error:
                self._faults.tell(self.device.device.id, "events", error.reason)
            except Exception as error:
                # Whatever a dead or restarting store raises; what the device has told waits here.
                reason = f"{type(error).__name__}: {error}"[:200]
                self._faults.tell(self.device.device.id, "alarms", reason)
                pause = AGAIN
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            if not self._wake.is_set():
                self._must_ask = True
            elif pause == AGAIN:
                await asyncio.sleep(AGAIN / 10)  # however much is told meanwhile
            self._wake.clear()

    async def step(self) -> None:
        """Take what was told, and ask if that is due. Raises BridgeError and what Ray raises."""
        async with self._turn:
            await self._load()
            while self._waiting:
                note, kept = self._waiting[0]
                await self._keep(note)
                self._waiting.popleft()
                if not kept.done():
                    kept.set_result(True)
            flags, self._flagged = self._flagged, {}
            flagged = self._news(flags)
            if flagged and self.device.able.events == "none" and not self._must_ask:
                await self._look(flagged)
            elif flagged:
                self._must_ask = True
            if self._must_ask and self.device.liveness.state == "online":
                self._must_ask = False
                try:
                    await self._ask()
                except BaseException:
                    self._must_ask = True
                    raise

    def _news(self, flags: Mapping[str, bool]) -> list[str]:
        """Give the objects whose flags say something else of an event than their alarm."""
        known = self._known or {}
        stands = {obj for obj, last in known.items() if last.alarm.state in STANDING}
        return [obj for obj, standing in flags.items() if standing != (obj in stands)]

    async def _look(self, objects: Iterable[str]) -> None:
        """Read how objects stand of a device that can't say it of all. Raises SilentError."""
        for obj in objects:
            said = await self._own(obj)
            if said is not None and self._has_room(obj):
                await self._report([await self._of_said(said)])

    async def acknowledge(self, alarm: Alarm, by: str, note: str | None) -> Alarm:
        """Acknowledge an alarm at the device, and then ours.

        Raises UnreachableError where the device doesn't answer and ConflictError with its reason; then ours
        isn't acknowledged either. If only the answer was lost, the device says so when it is next asked.
        """
        obj = (alarm.source or "").removeprefix(self._prefix)
        name = self.device.device.id
        async with self._turn:
            await self._load()
            try:
                detail = await self._now(obj)
                for state, stamp in open_transitions(detail):
                    await self._send_acknowledgement(obj, state, stamp, by)
            except SilentError as error:
                raise UnreachableError(f"device {name}", error.reason) from error
            except BridgeError as error:
                self.came()
                reason = f"{name} doesn't take the acknowledgement: {error.reason}"
                raise ConflictError("alarm", alarm.id, reason) from error
            seen: Alarm = await self._call("acknowledge", alarm.id, by, note)
            await self._report([await self._made(obj, detail | {"acked": ALL})])
        return seen

    # What the device says

    async def _keep(self, note: Notification) -> None:
        """Have the store keep what a notification makes, unless it can never be kept."""
        try:
            report = await self._taken(note) if self._has_room(note.object) else None
        except ValidationError as error:
            self._dropped(note.object, str(error.errors()[0]["msg"]))
            return
        if report is not None:
            await self._report([report])

    def _dropped(self, obj: str, reason: str) -> None:
        log.error("%s: its event of %s is dropped: %s", self.device.device.id, obj, reason[:200])

    async def _taken(self, note: Notification) -> Report | None:
        detail = self._details.get(note.object, {})
        if note.is_ack:
            # It doesn't tell what else is to be acknowledged: the device knows.
            self._must_ask = True
            if detail.get("state") != note.state or self._tells:
                return None
            return await self._made(note.object, detail | {"acked": ALL})
        if note.before == note.state == "normal":
            return None  # such as a full log
        if is_known(detail, note):
            # Either a late copy or, from a device that counts its events anew, another one: it knows.
            self._must_ask |= self._tells and detail.get("state") != note.state
            return None
        self._must_ask |= self._tells and not is_dated(note.stamp)
        if is_late(detail, note) and self._tells:
            self._must_ask = True
            return None
        return await self._made(note.object, with_notification(detail, note), note)

    def _has_room(self, obj: str, more: int = 0) -> bool:
        """Tell whether an object may have an alarm, besides those that are known and `more` new ones."""
        fits = obj in self._details or len(self._details) + more < MOST_EVENTS
        if not fits:
            reason = f"{obj} and maybe others: more than {MOST_EVENTS} objects of it have events"
            self._faults.tell(self.device.device.id, "too many events", reason)
        return fits

    @property
    def _tells(self) -> bool:
        """Whether the device is known to say how its events stand."""
        return self.device.able.events in ("information", "summary")

    async def _made(self, obj: str, detail: Detail, note: Notification | None = None) -> Report:
        """Make the report of an object. Back to normal it is as severe as it was, in the same words."""
        last = (self._known or {}).get(obj)
        standing = detail["state"] != "normal"
        urgent = str(note.priority) if note is not None else detail.get("priority", "255")
        told = severity(int(urgent))
        if last is not None and (
            not standing or (note is None and last.detail.get("state") == detail["state"])
        ):
            message = last.alarm.message
            told = told if standing else last.alarm.severity
        else:
            name = await self._name_of(obj)
            before = (note.before if note else None) or detail.get("offnormal", "offnormal")
            text = note.text if note is not None and standing else ""
            message = words(name, detail["state"] if standing else before, text)
        node_id = await self._node_of(obj)
        value = note.value if note is not None and note.value is not None else self.device.value_of(node_id)
        return Report(
            source=self._prefix + obj,
            node_id=node_id,
            severity=told,
            message=message,
            value=value,
            standing=standing,
            acknowledged=acknowledged(detail),
            detail=detail | {"priority": urgent} if standing else detail,
        )

    async def _ask(self) -> None:
        """Ask how all events stand. Raises BridgeError."""
        if self.device.device.events == "register":
            await self._register()
        listed = await self._listed()
        if listed is None:
            await self._clear_deleted()
            await self._look(self._news(self.device.flags()))
            return
        reports: list[Report] = []
        for said in listed:
            if said.state == "normal" and said.acked == ALL:
                continue
            if self._has_room(said.object, len(reports)):
                reports.append(await self._of_said(said))
        named = {each.object for each in listed}
        for obj, last in (self._known or {}).items():
            if last.alarm.state is AlarmState.CLOSED or obj in named:
                continue
            reports.append(await self._of_said(await self._unlisted(obj)))
        await self._report(reports)

    async def _clear_deleted(self) -> None:
        """Clear alarms of objects that a device which can't say how its events stand no longer has."""
        for obj, last in list((self._known or {}).items()):
            if last.alarm.state is AlarmState.CLOSED:
                continue
            try:
                await self.device.ask(obj, "object-name")
            except DeviceError as error:
                if "unknown-object" in error.reason:
                    await self._report([await self._of_said(Said(obj, "normal", ALL))])

    async def _of_said(self, said: Said) -> Report:
        asks = await self._asks(said.object) if "1" in said.acked else None
        detail = with_said(self._details.get(said.object, {}), said, asks)
        if said.priorities:
            detail["priority"] = str(said.priorities[transition(said.state)])
        return await self._made(said.object, detail)

    async def _listed(self) -> list[Said] | None:
        """Give all objects with an event that stands or isn't acknowledged; None: it can't say."""
        able = self.device.able
        if able.events in ("unknown", "information"):
            try:
                found = await self._information()
            except DeviceError as error:
                if not _is_unknown(error):
                    raise
            else:
                able.events = "information"
                return found
        if able.events != "none":
            try:
                answer = await self.device.request(GetAlarmSummaryRequest(), GetAlarmSummaryACK)
                listed = answer.listOfAlarmSummaries
            except DeviceError as error:
                # The library can't decode an empty list. Objects that aren't listed are asked themselves.
                if error.reason != EMPTY and not _is_unknown(error):
                    raise
                listed = () if error.reason == EMPTY else None
            if listed is not None:
                able.events = "summary"
                return _readable(read_alarm, listed, self.device.device.id)
        able.events = "none"
        return None

    async def _information(self) -> list[Said]:
        found: dict[str, Said] = {}
        request = GetEventInformationRequest()
        while True:
            answer = await self.device.request(request, GetEventInformationACK)
            part = _readable(read_summary, answer.listOfEventSummaries, self.device.device.id)
            fresh = [each for each in part if each.object not in found]
            found |= {each.object: each for each in fresh}
            if not answer.moreEvents or not fresh or len(found) >= MOST_EVENTS:
                return list(found.values())
            last = ObjectIdentifier(fresh[-1].object)
            request = GetEventInformationRequest(lastReceivedObjectIdentifier=last)

    async def _unlisted(self, obj: str) -> Said:
        """Say how an object stands that the device doesn't list: as it should, if that lists all events."""
        if self.device.able.events == "summary":
            # That lists no object that is back to normal, acknowledged or not.
            found = await self._own(obj)
            if found is not None:
                return found
        return Said(obj, "normal", ALL)

    async def _own(self, obj: str) -> Said | None:
        """Read an object's own properties; None where it doesn't have them. Raises SilentError."""
        found = await self.device.describe(obj, ("event-state", "acked-transitions", "event-time-stamps"))
        try:
            acked = "".join("1" if bit else "0" for bit in found["acked-transitions"])
            stamps = tuple(from_stamp(each) for each in found.get("event-time-stamps", ()))
            return Said(obj, str(found["event-state"]), acked, stamps or None)
        except UNREADABLE:
            return None

    async def _now(self, obj: str) -> Detail:
        """Give how an object stands at this moment. Raises BridgeError."""
        detail = self._details.get(obj, {})
        listed = await self._listed()
        if listed is None:
            said = await self._own(obj)
            return detail if said is None else with_said(detail, said, None)
        said = next((each for each in listed if each.object == obj), None) or await self._unlisted(obj)
        if said.stamps is None and (own := await self._own(obj)) is not None:
            said = own
        return with_said(detail, said, None)

    async def _send_acknowledgement(self, obj: str, state: str, stamp: str | None, by: str) -> None:
        if stamp is None:
            raise DeviceError(self.device.device.id, f"it doesn't say when {obj} went to {state}", "decode")
        date, time = to_bacnet(datetime.now())
        request = AcknowledgeAlarmRequest(
            acknowledgingProcessIdentifier=PROCESS,
            eventObjectIdentifier=ObjectIdentifier(obj),
            eventStateAcknowledged=EventState(state),
            timeStamp=to_stamp(stamp),
            acknowledgmentSource=CharacterString(by),
            timeOfAcknowledgment=TimeStamp(dateTime=DateTime(date=Date(date), time=Time(time))),
        )
        await self.device.request(request, SimpleAckPDU)

    async def _asks(self, obj: str) -> str | None:
        """Read which transitions of an object are to be acknowledged; None: it doesn't say."""
        if obj not in self._asking:
            try:
                number = int(await self.device.ask(obj, "notification-class"))
                bits = await self.device.ask(f"notification-class,{number}", "ack-required")
                digits = "".join("1" if bit else "0" for bit in bits)
            except (DeviceError, *UNREADABLE):
                return None
            if len(digits) != len(TRANSITIONS):
                return None
            self._asking[obj] = digits
        return self._asking[obj]

    async def _name_of(self, obj: str) -> str:
        if obj not in self._names:
            try:
                self._names[obj] = str(await self.device.ask(obj, "object-name"))[:100]
            except BridgeError:
                return obj
        return self._names[obj]

    async def _node_of(self, obj: str) -> str:
        """Give the point of an object, or of the one that an event enrollment watches; else the device."""
        point_id = self.device.point_of(obj)
        if point_id is None and obj.startswith("event-enrollment,"):
            if obj not in self._nodes:
                try:
                    watched = await self.device.ask(obj, "object-property-reference")
                    self._nodes[obj] = str(watched.objectIdentifier)
                except (BridgeError, *UNREADABLE):
                    return self.device.device.id
            point_id = self.device.point_of(self._nodes[obj])
        return point_id or self.device.device.id

    async def _register(self) -> None:
        """Have ourselves told of the device's events. Raises SilentError; what it refuses is logged."""
        ours = ObjectIdentifier(f"device,{self.device.network.config.device_instance}")
        try:
            names = await self.device.objects()
        except (DeviceError, *UNREADABLE) as error:
            self._faults.tell(self.device.device.id, "recipient", f"its object list: {error}"[:200])
            return
        for name in names:
            if not name.startswith("notification-class,"):
                continue
            try:
                listed = await self.device.ask(name, "recipient-list")
                if any(each.recipient.device == ours for each in listed or ()):
                    continue
                us = Destination(
                    validDays=[1] * 7,
                    fromTime=Time((0, 0, 0, 0)),
                    toTime=Time((23, 59, 59, 99)),
                    recipient=Recipient(device=ours),
                    processIdentifier=PROCESS,
                    issueConfirmedNotifications=True,
                    transitions=[1, 1, 1],
                )
                await self._add_recipient(name, listed or (), us)
                log.info("%s of %s tells us of its events", name, self.device.device.id)
            except (DeviceError, *UNREADABLE) as error:
                reason = f"{name} doesn't take us as a recipient: {error}"[:200]
                self._faults.tell(self.device.device.id, "recipient", reason)

    async def _add_recipient(self, name: str, listed: Sequence[Any], us: Destination) -> None:
        """Add us to a class's recipients; write the list with us where the device can't add to lists."""
        request = AddListElementRequest(
            objectIdentifier=ObjectIdentifier(name),
            propertyIdentifier="recipient-list",
            listOfElements=AnyValue(ListOf(Destination)([us])),
        )
        try:
            await self.device.request(request, SimpleAckPDU)
        except DeviceError as error:
            if error.kind != "reject":
                raise
            whole = ListOf(Destination)([*listed, us])
            await self.device.network.write(
                self.device.device.id, self.device.located(), name, whole, None, "recipient-list"
            )

    # The store

    async def _load(self) -> None:
        if self._known is not None:
            return
        found: list[Reported] = await self._call("reported", self._prefix)
        self._known, self._details = {}, {}
        self._remember(found)

    async def _report(self, reports: list[Report]) -> None:
        """Have the store take reports; one that it refuses for good is dropped and spoils no other."""
        if not reports:
            return
        try:
            self._remember(await self._call("report", reports, f"device {self.device.device.id}"))
        except BadInputError as error:
            if len(reports) == 1:
                self._dropped(reports[0].source.removeprefix(self._prefix), str(error))
                return
            for each in reports:
                await self._report([each])

    def _remember(self, found: list[Reported]) -> None:
        known = self._known if self._known is not None else {}
        for each in found:
            obj = (each.alarm.source or "").removeprefix(self._prefix)
            known[obj], self._details[obj] = each, each.detail

    async def _call(self, method: str, *args: Any) -> Any:
        return await _called(self._alarms, method, *args)


def _is_unknown(error: DeviceError) -> bool:
    return error.kind == "reject" and "unrecognized-service" in error.reason


def _readable(read: Callable[[Any], Said], listed: Any, device: str) -> list[Said]:
    """Read entries one by one, so that one that makes no sense spoils no other."""
    found: list[Said] = []
    for each in listed or ():
        try:
            found.append(read(each))
        except UNREADABLE as error:
            log.info("an event of %s that can't be read: %s", device, error)
    return found


async def clear_left(alarms: Callable[[], Any], devices: Collection[tuple[str, int]]) -> None:
    """Clear alarms of all but these devices, whose events are followed. Raises UnreachableError."""
    found: list[Reported] = await _called(alarms, "reported", "bacnet/")
    over = [
        Report(
            source=each.alarm.source or "",
            node_id=each.alarm.node_id,
            severity=each.alarm.severity,
            message=each.alarm.message,
            standing=False,
            detail=each.detail,
        )
        for each in found
        if each.alarm.state in STANDING and device_of(each.alarm.source or "") not in devices
    ]
    if over:
        await _called(alarms, "report", over, "bacnet")


async def _called(alarms: Callable[[], Any], method: str, *args: Any) -> Any:
    # Looking an actor up may wait for another host: nobody else is to wait for that.
    store = await asyncio.to_thread(alarms)
    return await answered("alarms", getattr(store, method).remote(*args), CALL_TIMEOUT)


def device_of(source: str) -> tuple[str, int] | None:
    """Give network and instance of the device of a source; None for what is no source of ours."""
    protocol, _, rest = source.partition("/")
    network, _, rest = rest.partition("/")
    instance = rest.partition("/")[0]
    return (network, int(instance)) if protocol == "bacnet" and instance.isdecimal() else None
