"""Events of devices as alarms of ours, over real BACnet/IP on loopback."""

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bacpypes3.apdu import SimpleAckPDU
from bacpypes3.basetypes import (
    DateTime,
    Destination,
    EventTransitionBits,
    NotificationParameters,
    NotificationParametersOutOfRange,
    Recipient,
    StatusFlags,
    TimeStamp,
)
from bacpypes3.constructeddata import ListOf
from bacpypes3.errors import ExecutionError
from bacpypes3.object import NotificationClassObject
from bacpypes3.primitivedata import Date, ObjectIdentifier, Time, Unsigned

from actors.alarm.models import Alarm, AlarmState, Report, Severity
from actors.alarm.store import AlarmStore
from actors.bus.events import AlarmAcknowledged, AlarmCleared, AlarmRaised, Event, WatchMoved
from actors.core.errors import BadInputError, ConflictError, NotFoundError, UnreachableError
from bridges.bacnet import alarms as module
from bridges.bacnet.alarms import clear_left, device_of
from bridges.bacnet.bridge import BacnetBridge
from bridges.bacnet.events import Notification, from_stamp, is_late, read_notification, severity, to_stamp
from tests.bridges.bacnet.conftest import SOON, Bench, device, point, until
from tests.bridges.bacnet.eventful import UNSPECIFIED, Eventful, place, stamp
from tests.bridges.bacnet.rogues import Rogue, Rogues
from tests.support import InProcess

ACTIVE, ACKNOWLEDGED, CLEARED, CLOSED = AlarmState
ROOM, POINT = "analog-input,1", "7/analog-input-1"


class World:
    """A device with events, the store of alarms, and bridges between them."""

    def __init__(self, rogues: Rogues, lab: Bench, folder: Path) -> None:
        self.rogues, self.lab, self.told = rogues, lab, list[Event]()
        self.store = lab.alarms = AlarmStore(folder, self.told.append)
        self.device: Rogue = rogues.add(7, 11)
        self.events = Eventful(self.device)

    async def bridge(self, timeout: float = 3.0, **config: Any) -> BacnetBridge:
        nodes = [point("analog-input", 1, 7)]
        bridge = await self.lab.bridge([device(7, cov=False, **config)], nodes, timeout=timeout)
        await until(lambda: self.lab.value(POINT) == 1.0)
        follower = bridge._followers["7"]
        await until(lambda: not follower._must_ask and not follower._turn.locked())
        return bridge

    def alarms(self, *states: AlarmState) -> list[Alarm]:
        return self.store.find(list(states or AlarmState))[0]

    def last(self) -> Alarm | None:
        found = self.alarms()
        return found[0] if found else None

    def state(self) -> AlarmState | None:
        last = self.last()
        return last.state if last else None

    def steps(self) -> list[str]:
        return [each.event for each in reversed(self.store.history()[0])]


@pytest.fixture
def world(rogues: Rogues, lab: Bench, tmp_path: Path) -> Iterator[World]:
    world = World(rogues, lab, tmp_path)
    yield world
    world.store.close()


async def test_an_event_that_a_device_tells_is_an_alarm_of_its_point(world: World) -> None:
    bridge = await world.bridge()
    sent = await world.events.go(ROOM, "high-limit", messageText="Room\nis hot", priority=20)
    await until(lambda: world.state() is ACTIVE)
    alarm = world.last()
    assert alarm is not None
    assert (alarm.node_id, alarm.message, alarm.severity) == (POINT, "Room is hot", Severity.CRITICAL)
    assert (alarm.value, alarm.source) == (31.5, f"bacnet/ip/7/{ROOM}")

    await world.events.tell(sent)
    await world.events.tell(sent, confirmed=False)
    await world.events.go(ROOM, "normal")
    await until(lambda: world.state() is CLEARED)
    # A late copy raises nothing again.
    await world.events.tell(sent)
    seen = await bridge.acknowledge(alarm.id, "ana", "looked")
    assert (seen.state, seen.acknowledged_by, seen.note) == (CLOSED, "ana", "looked")
    assert world.events.acknowledged == [(ROOM, "high-limit", "ana"), (ROOM, "normal", "ana")]
    assert world.steps() == ["raised", "cleared", "acknowledged"]
    told = [type(each) for each in world.told if not isinstance(each, WatchMoved)]
    assert told == [AlarmRaised, AlarmCleared, AlarmAcknowledged]


async def test_a_device_that_passes_from_state_to_state_keeps_one_alarm(world: World) -> None:
    bridge = await world.bridge()
    await world.events.go(ROOM, "high-limit")
    await until(lambda: world.state() is ACTIVE)
    assert world.last().message == "input 1: high limit"  # type: ignore[union-attr]
    await bridge.acknowledge(1, "ana")
    assert world.state() is ACKNOWLEDGED
    await world.events.go(ROOM, "low-limit", priority=130)
    await until(lambda: world.state() is ACTIVE)
    await world.events.go(ROOM, "fault")
    await until(lambda: world.last().message == "input 1: fault")  # type: ignore[union-attr]
    await bridge.acknowledge(1, "ana")
    assert [each[1] for each in world.events.acknowledged] == ["high-limit", "low-limit", "fault"]
    await world.events.go(ROOM, "normal")
    # The return to normal is to be acknowledged too.
    await until(lambda: world.state() is CLEARED)
    await bridge.acknowledge(1, "ana")
    assert world.state() is CLOSED
    assert len(world.alarms()) == 1


async def test_what_a_device_refuses_is_said_and_ours_stays(world: World) -> None:
    bridge = await world.bridge(timeout=SOON)
    await world.events.go(ROOM, "high-limit")
    await until(lambda: world.state() is ACTIVE)
    world.events.refuses = "invalid-time-stamp"
    with pytest.raises(ConflictError, match="7 doesn't take the acknowledgement: invalid-time-stamp"):
        await bridge.acknowledge(1, "ana")
    assert world.state() is ACTIVE
    world.rogues.unplug(world.device)
    with pytest.raises(UnreachableError, match="device 7"):
        await bridge.acknowledge(1, "ana")
    assert world.state() is ACTIVE
    with pytest.raises(NotFoundError):
        await bridge.acknowledge(99, "ana")
    world.rogues.plug(world.device)
    world.events.refuses = None
    await until(lambda: bridge._devices["7"].liveness.misses == 0)
    assert (await bridge.acknowledge(1, "ana")).state is ACKNOWLEDGED


async def test_an_acknowledgement_elsewhere_shows_as_ours(world: World) -> None:
    await world.bridge()
    await world.events.go(ROOM, "high-limit")
    await until(lambda: world.state() is ACTIVE)
    await world.events.seen_elsewhere(ROOM)
    await until(lambda: world.state() is ACKNOWLEDGED)
    assert world.last().acknowledged_by == "device 7"  # type: ignore[union-attr]
    await world.events.go(ROOM, "normal")
    await until(lambda: world.state() is CLEARED)
    await world.events.seen_elsewhere(ROOM)
    await until(lambda: world.state() is CLOSED)


async def test_what_a_device_asks_nobody_to_acknowledge_is_ours_to_acknowledge(world: World) -> None:
    world.events.asks = [0, 0, 0]
    bridge = await world.bridge()
    await world.events.go(ROOM, "offnormal")
    await until(lambda: world.state() is ACTIVE)
    await bridge.acknowledge(1, "ana")
    await world.events.go(ROOM, "normal")
    await until(lambda: world.state() is CLOSED)
    assert world.events.acknowledged == []
    assert world.last().acknowledged_by == "ana"  # type: ignore[union-attr]


async def test_what_happened_before_the_first_contact_is_asked_for_in_parts(world: World) -> None:
    world.events.most = 1
    for number in (1, 2, 3):
        world.events.become(f"analog-input,{number}", "high-limit")
    world.events.become("analog-input,3", "normal")
    await world.bridge()
    await until(lambda: len(world.alarms()) == 3)
    found = {each.source.rpartition("/")[2]: each for each in world.alarms()}  # type: ignore[union-attr]
    assert [found[f"analog-input,{number}"].state for number in (1, 2, 3)] == [ACTIVE, ACTIVE, CLEARED]
    # Objects that are no points belong to their device.
    assert [found[f"analog-input,{number}"].node_id for number in (1, 2)] == [POINT, "7"]
    assert found[ROOM].severity is Severity.CRITICAL


async def test_a_restart_of_ours_finds_alarms_as_they_were_and_what_has_changed(world: World) -> None:
    first = await world.bridge()
    # As urgent as the device says when it is asked.
    await world.events.go(ROOM, "high-limit", messageText="Room is hot", priority=20)
    await world.events.go("analog-input,2", "low-limit", priority=20)
    await until(lambda: len(world.alarms(ACTIVE)) == 2)
    await first.stop()
    before = world.alarms()
    events = list(world.told)
    second = await world.bridge()
    assert (world.alarms(), world.told) == (before, events)
    await second.stop()
    world.events.become(ROOM, "normal")
    await world.events.seen_elsewhere(ROOM, tell=False)
    world.events.become("analog-input,2", "normal")
    third = await world.bridge()
    await until(lambda: {each.state for each in world.alarms()} == {CLOSED, CLEARED})
    assert len(world.alarms()) == 2
    low = world.alarms(CLEARED)[0]
    await third.acknowledge(low.id, "ana")
    assert [each[1] for each in world.events.acknowledged] == ["low-limit", "normal"]


async def test_a_device_that_comes_back_is_asked(world: World) -> None:
    bridge = await world.bridge(timeout=SOON)
    world.rogues.unplug(world.device)
    await until(lambda: bridge._devices["7"].liveness.misses)
    world.events.become(ROOM, "high-limit")
    world.rogues.plug(world.device)
    await until(lambda: world.state() is ACTIVE)


async def test_a_device_is_asked_on_a_period(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.2)
    await world.bridge()
    world.events.become(ROOM, "high-limit")
    await until(lambda: world.state() is ACTIVE)
    await world.events.seen_elsewhere(ROOM, tell=False)
    await until(lambda: world.state() is ACKNOWLEDGED)


async def test_a_device_without_event_information_is_asked_for_its_alarms(world: World) -> None:
    world.events.information = False
    world.events.become(ROOM, "high-limit")
    bridge = await world.bridge()
    await until(lambda: world.state() is ACTIVE)
    with pytest.raises(ConflictError, match=f"it doesn't say when {ROOM} went to high-limit"):
        await bridge.acknowledge(1, "ana")
    await world.events.go(ROOM, "high-limit")
    await until(lambda: "to-offnormal" in world.store.reported("bacnet/")[0].detail)
    await bridge.acknowledge(1, "ana")
    assert world.state() is ACKNOWLEDGED
    world.events.become(ROOM, "normal")
    bridge._followers["7"].came()
    await until(lambda: world.state() is CLOSED)


async def test_a_device_that_only_tells_is_believed(world: World) -> None:
    world.events.information = world.events.summary = False
    bridge = await world.bridge()
    assert bridge._devices["7"].able.events == "none"
    await world.events.go(ROOM, "high-limit")
    await until(lambda: world.state() is ACTIVE)
    await world.events.seen_elsewhere(ROOM)
    await until(lambda: world.state() is ACKNOWLEDGED)
    # Its clock was set back.
    world.events.now = world.events.now.replace(year=2020)
    world.events.asks = [0, 0, 0]
    await world.events.go(ROOM, "normal")
    await until(lambda: world.state() is CLOSED)


@pytest.mark.parametrize("tells", [True, False])
async def test_a_device_without_a_clock_raises_again(world: World, tells: bool) -> None:
    world.events.information = world.events.summary = tells
    world.events.asks = [0, 0, 0]
    await world.bridge()
    for before, state, wanted in (
        ("normal", "high-limit", 1),
        ("high-limit", "normal", 0),
        ("normal", "high-limit", 1),
    ):
        _, one = world.events.become(ROOM, state)
        one.stamps = [UNSPECIFIED] * 3
        await world.events.tell(world.events.made(ROOM, before, state, UNSPECIFIED, priority=20))
        await until(lambda wanted=wanted: len(world.alarms(ACTIVE)) == wanted)  # type: ignore[misc]
    assert world.steps() == ["raised", "cleared", "raised"]


async def test_a_device_that_counts_anew_after_a_restart_is_asked(world: World) -> None:
    await world.bridge()
    for state, number in (("high-limit", 1), ("normal", 2), ("high-limit", 1)):
        before, one = world.events.become(ROOM, state)
        one.stamps[place(state)] = TimeStamp(sequenceNumber=Unsigned(number))
        await world.events.tell(world.events.made(ROOM, before, state, one.stamps[place(state)]))
        await until(lambda state=state: world.state() is (CLEARED if state == "normal" else ACTIVE))  # type: ignore[misc]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
async def test_a_value_that_is_no_number_is_left_out(world: World, value: float) -> None:
    await world.bridge()
    wrong = NotificationParametersOutOfRange(
        exceedingValue=value, statusFlags=[1, 0, 0, 0], deadband=1.0, exceededLimit=30.0
    )
    await world.events.go(ROOM, "high-limit", eventValues=NotificationParameters(outOfRange=wrong))
    await until(lambda: world.state() is ACTIVE)
    alarm = world.last()
    assert alarm is not None
    assert alarm.value == 1.0  # the point's own


def read(value: int, priority: int = 1) -> Notification:
    params = SimpleNamespace(_choice="unsignedRange", unsignedRange=SimpleNamespace(exceedingValue=value))
    return read_notification(
        SimpleNamespace(
            initiatingDeviceIdentifier=("device", 7),
            notifyType="alarm",
            eventObjectIdentifier=ROOM,
            toState="high-limit",
            fromState="normal",
            timeStamp=TimeStamp(sequenceNumber=Unsigned(1)),
            priority=priority,
            messageText=None,
            ackRequired=True,
            eventValues=params,
        )
    )


def test_a_whole_number_that_is_too_large_is_left_out() -> None:
    assert [read(each).value for each in (2**53, 2**53 + 1, 2**20000)] == [2**53, None, None]


@pytest.mark.parametrize("priority", [256, 2**64])
def test_an_event_of_a_priority_that_there_is_not_is_refused(priority: int) -> None:
    assert read(1, 255).priority == 255
    with pytest.raises(ValueError, match="priority above 255"):
        read(1, priority)


async def test_a_device_that_makes_up_objects_fills_no_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_EVENTS", 2)
    bridge = await world.bridge()
    follower = bridge._followers["7"]
    for number in range(1, 6):
        await world.events.go(f"analog-input,{number}", "high-limit")
    follower.came()
    await until(lambda: not follower._waiting and not follower._must_ask)
    assert len(world.alarms()) == len(follower._details) == 2
    # What is known goes on.
    await world.events.go(ROOM, "normal")
    await until(lambda: len(world.alarms(CLEARED)) == 1)


async def test_alarms_of_a_device_whose_events_are_no_longer_wanted_clear(world: World) -> None:
    bridge = await world.bridge()
    await world.events.go(ROOM, "high-limit")
    await until(lambda: world.state() is ACTIVE)
    await bridge.stop()
    await world.lab.bridge([device(7, cov=False, events="off")], [point("analog-input", 1, 7)])
    await until(lambda: world.state() is CLEARED)


@pytest.mark.parametrize(("information", "summary"), [(True, True), (False, True), (False, False)])
async def test_status_flags_lead_to_events_of_which_the_device_tells_nothing(
    world: World, information: bool, summary: bool
) -> None:
    world.events.information, world.events.summary = information, summary
    room = world.device.get_object_id(ObjectIdentifier(ROOM))
    room.ackedTransitions = EventTransitionBits([1, 1, 1])
    await world.bridge()
    world.events.become(ROOM, "high-limit")
    await asyncio.sleep(0.2)
    assert world.state() is None
    room.statusFlags = StatusFlags([1, 0, 0, 0])
    await until(lambda: world.state() is ACTIVE)
    assert world.last().message == "input 1: high limit"  # type: ignore[union-attr]
    world.events.become(ROOM, "normal")
    room.statusFlags = StatusFlags([0, 0, 0, 0])
    await until(lambda: world.state() in (CLEARED, CLOSED))
    # It rises again, though nobody has seen that it was over.
    world.events.become(ROOM, "low-limit")
    room.statusFlags = StatusFlags([1, 0, 0, 0])
    await until(lambda: world.state() is ACTIVE)
    assert world.last().message == "input 1: low limit"  # type: ignore[union-attr]


async def test_flags_that_changed_while_we_were_away_are_seen_at_the_start(world: World) -> None:
    world.events.information = world.events.summary = False
    room = world.device.get_object_id(ObjectIdentifier(ROOM))
    room.ackedTransitions = EventTransitionBits([1, 1, 1])
    world.events.become(ROOM, "high-limit")
    room.statusFlags = StatusFlags([1, 0, 0, 0])
    first = await world.bridge()
    await until(lambda: world.state() is ACTIVE)
    await first.stop()
    world.events.become(ROOM, "normal")
    room.statusFlags = StatusFlags([0, 0, 0, 0])
    await world.bridge()
    await until(lambda: world.state() in (CLEARED, CLOSED))


async def test_the_alarm_of_a_deleted_object_clears_though_its_device_only_tells(world: World) -> None:
    world.events.information = world.events.summary = False
    bridge = await world.bridge()
    await world.events.go(ROOM, "high-limit")
    await until(lambda: world.state() is ACTIVE)
    bridge._followers["7"].came()
    await until(lambda: not bridge._followers["7"]._must_ask)
    assert world.state() is ACTIVE
    world.device.delete_object(world.device.get_object_id(ObjectIdentifier(ROOM)))
    bridge._followers["7"].came()
    await until(lambda: world.state() is CLOSED)


def add_class(world: World, *recipients: Destination) -> NotificationClassObject:
    made = NotificationClassObject(
        objectIdentifier=("notification-class", 1),
        objectName="alarms",
        notificationClass=1,
        priority=[20, 100, 200],
        ackRequired=[1, 1, 1],
        recipientList=list(recipients),
    )
    world.device.add_object(made)
    return made


async def test_a_bridge_registers_as_a_recipient_once_and_only_where_it_is_told_to(world: World) -> None:
    added: list[Any] = []
    listed = add_class(world)

    async def add(apdu: Any) -> None:
        added.extend(apdu.listOfElements.cast_out(ListOf(Destination)))
        listed.recipientList = list(added)
        await world.device.response(SimpleAckPDU(context=apdu))

    world.device.do_AddListElementRequest = add
    listening = await world.bridge()
    await listening.stop()
    assert added == []
    bridge = await world.bridge(events="register")
    await until(lambda: added)
    assert str(added[0].recipient.device) == "device,4194000"
    bridge._followers["7"].came()
    await until(lambda: not bridge._followers["7"]._must_ask)
    assert len(added) == 1


async def test_where_a_device_adds_nothing_to_lists_the_list_is_written_with_us(world: World) -> None:
    other = Destination(
        validDays=[1] * 7,
        fromTime=Time((0, 0, 0, 0)),
        toTime=Time((23, 59, 59, 99)),
        recipient=Recipient(device=ObjectIdentifier("device,99")),
        processIdentifier=5,
        issueConfirmedNotifications=False,
        transitions=[1, 0, 0],
    )
    listed = add_class(world, other)
    await world.bridge(events="register")
    await until(lambda: len(listed.recipientList) == 2)
    found = [str(each.recipient.device) for each in listed.recipientList]
    assert found == ["device,99", "device,4194000"]


async def test_a_device_that_hides_its_object_list_is_asked_for_its_events(world: World) -> None:
    plain = world.device.do_ReadPropertyRequest

    async def read(apdu: Any) -> None:
        if str(apdu.propertyIdentifier) == "object-list":
            raise ExecutionError("property", "read-access-denied")
        await plain(apdu)

    world.device.do_ReadPropertyRequest = read
    world.events.become(ROOM, "high-limit")
    await world.bridge(events="register")
    await until(lambda: world.state() is ACTIVE)


async def test_events_that_are_not_ours_or_make_no_sense_change_nothing(world: World) -> None:
    bridge = await world.bridge()
    other = Eventful(world.rogues.add(8, 12))
    other.app.client = world.device.client
    # Somebody else in its name; a device that isn't ours; no alarm at all; no device.
    in_its_name = other.made(ROOM, "normal", "high-limit", stamp(other.now))
    in_its_name["initiatingDeviceIdentifier"] = world.device.device_object.objectIdentifier
    await other.tell(in_its_name)
    await other.go(ROOM, "high-limit")
    await world.events.tell(world.events.made("trend-log,1", "normal", "normal", stamp(other.now)))
    nothing = world.events.made(ROOM, "normal", "high-limit", stamp(other.now))
    with pytest.raises(BaseException, match="inconsistent-parameters"):
        await world.events.tell(nothing | {"initiatingDeviceIdentifier": ("analog-input", 7)})
    await until(lambda: not bridge._followers["7"]._waiting)
    assert world.alarms() == []


async def test_events_wait_while_the_store_of_alarms_is_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.2)
    bridge = await world.bridge()
    store, away = world.store, Rogue  # anything that is no store
    world.lab.alarms = away  # type: ignore[assignment]
    told = [asyncio.create_task(world.events.go(ROOM, state)) for state in ("high-limit", "low-limit")]
    follower = bridge._followers["7"]
    await until(lambda: len(follower._waiting) == 2)
    # Nothing is confirmed that isn't kept.
    assert [each.done() for each in told] == [False, False]
    world.lab.alarms = store
    await asyncio.gather(*told)
    assert world.steps() == ["raised", "raised"]


async def test_an_event_that_can_not_be_kept_in_time_is_not_confirmed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.2)
    monkeypatch.setattr("bridges.bacnet.network.CONFIRM_WITHIN", 0.3)
    await world.bridge()
    store = world.store
    world.lab.alarms = Rogue  # type: ignore[assignment]
    with pytest.raises(BaseException, match="operational-problem"):
        await world.events.go(ROOM, "high-limit", priority=20)
    world.lab.alarms = store
    await until(lambda: world.state() is ACTIVE)
    # The device tells it again, as it was not confirmed: it is the same one.
    one = world.events.objects[ROOM]
    await world.events.tell(world.events.made(ROOM, "normal", "high-limit", one.stamps[0], priority=20))
    assert world.steps() == ["raised"]


async def test_an_event_of_a_device_that_is_sought_is_not_confirmed(world: World) -> None:
    bridge = await world.bridge()
    found = bridge._devices["7"]
    # As after it was silent: it may have moved.
    where, found.address = found.address, None
    with pytest.raises(BaseException, match="operational-problem"):
        await world.events.go(ROOM, "high-limit")
    assert world.alarms() == []
    found.address = where
    one = world.events.objects[ROOM]
    await world.events.tell(world.events.made(ROOM, "normal", "high-limit", one.stamps[0]))
    assert world.state() is ACTIVE


async def test_more_than_can_wait_is_not_confirmed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.bridge()
    monkeypatch.setattr(module, "MOST_WAITING", 0)
    with pytest.raises(BaseException, match="operational-problem"):
        await world.events.go(ROOM, "high-limit")
    # But the device was asked then.
    await until(lambda: world.state() is ACTIVE)


async def test_what_the_store_refuses_for_good_keeps_nothing_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = await world.bridge()
    take = world.store.report

    def picky(reports: list[Report], by: str) -> Any:
        if any("pest" in each.message for each in reports):
            raise BadInputError("message", "pest", "something else")
        return take(reports, by)

    monkeypatch.setattr(world.store, "report", picky)
    await world.events.go("analog-input,2", "high-limit", messageText="pest")
    await world.events.go(ROOM, "high-limit", messageText="x" * 200)
    assert [each.message for each in world.alarms()] == ["x" * 200]
    assert not bridge._followers["7"]._waiting
    errors = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert len(errors) == 1
    assert errors[0].startswith("7: its event of analog-input,2 is dropped: message: 'pest'")


async def test_a_report_that_the_store_refuses_spoils_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = world.store.report

    def picky(reports: list[Report], by: str) -> Any:
        if any(each.source.endswith("analog-input,2") for each in reports):
            raise BadInputError("source", "analog-input,2", "another one")
        return take(reports, by)

    monkeypatch.setattr(world.store, "report", picky)
    world.events.become("analog-input,2", "high-limit")
    world.events.become(ROOM, "high-limit")
    await world.bridge()
    await until(lambda: world.state() is ACTIVE)
    assert [each.source for each in world.alarms()] == [f"bacnet/ip/7/{ROOM}"]


async def test_alarms_of_devices_that_are_gone_clear(world: World) -> None:
    bridge = await world.bridge()
    await world.events.go(ROOM, "high-limit")
    await until(lambda: world.state() is ACTIVE)
    await clear_left(lambda: InProcess(world.store), bridge._by_instance)
    assert world.state() is ACTIVE
    await bridge.stop()
    empty = await world.lab.bridge([])
    await until(lambda: world.state() is CLEARED)
    assert (await empty.acknowledge(1, "ana")).state is CLOSED


async def test_a_device_whose_events_are_nobodys_affair_is_not_asked(world: World) -> None:
    world.events.become(ROOM, "high-limit")
    await world.lab.bridge([device(7, cov=False, events="off")], [point("analog-input", 1, 7)])
    await until(lambda: world.lab.value(POINT) == 1.0)
    assert "GetEventInformationRequest" not in world.device.asked


@pytest.mark.parametrize(
    "stamped",
    [
        TimeStamp(sequenceNumber=Unsigned(65535)),
        TimeStamp(time=Time((10, 11, 12, 99))),
        TimeStamp(dateTime=DateTime(date=Date((126, 11, 24, 2)), time=Time((255, 255, 255, 255)))),
    ],
)
def test_time_stamps_are_kept_exactly(stamped: Any) -> None:
    text = from_stamp(stamped)
    assert from_stamp(to_stamp(text)) == text
    assert str(to_stamp(text)) == str(stamped)


@pytest.mark.parametrize(
    ("known", "told", "late"),
    [
        ("number 5", "number 4", True),
        ("number 65535", "number 0", False),
        ("number 5", "time 1,2,3,4", False),
        ("time 9,0,0,0", "time 8,0,0,0", False),
        ("datetime 126,11,24,2,9,0,0,0", "datetime 126,11,24,2,8,59,59,99", True),
        ("datetime 126,11,24,2,9,0,0,0", "datetime 126,11,24,2,9,0,0,0", False),
        ("datetime 255,255,255,255,255,255,255,255", "datetime 126,11,24,2,9,0,0,0", False),
    ],
)
def test_what_is_older_than_what_is_known_is_late(known: str, told: str, late: bool) -> None:
    note = Notification(7, ROOM, "high-limit", "normal", told, 1, "", is_ack=False, asks=True, value=None)
    assert is_late({"to-normal": known}, note) is late


def test_priorities_are_severities_in_four_steps() -> None:
    found = [severity(each).value for each in (0, 63, 64, 127, 128, 191, 192, 255)]
    assert found == ["critical"] * 2 + ["high"] * 2 + ["medium"] * 2 + ["low"] * 2


def test_a_source_names_its_device() -> None:
    assert device_of("bacnet/ip/7/analog-input,1") == ("ip", 7)
    assert device_of("modbus/ip/7/x") is None
    assert device_of("bacnet/ip") is None
