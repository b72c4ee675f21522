"""Verification over real stores and the real command engine, with devices that can go wrong at any step."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from actors.alarm.models import LimitCondition, NewAlarmConfig, StaleCondition, StateCondition
from actors.alarm.store import AlarmStore
from actors.commissioning.engine import CommissioningEngine
from actors.commissioning.models import Item, ItemKind, ItemState, MoreItems, NewSession, VerifyRequest
from actors.commissioning.store import CommissioningStore
from actors.commissioning.trials import NOTE, Trials
from actors.commissioning.verify import trial
from actors.core.errors import (
    BadInputError,
    BridgeError,
    ConflictError,
    NotFoundError,
    UnreachableError,
    WriteFailedError,
    WriteUnsureError,
)
from actors.core.values import PointStatus, PointValue
from actors.node.models import Node, NodeCapabilities, NodeType, ProtocolBinding
from actors.node.store import NodeStore
from actors.override.engine import CommandEngine
from actors.override.models import PriorityArray, WriteRequest
from actors.override.store import OverrideStore
from actors.point.models import PointConfig, empty_frame
from actors.point.store import PointStore
from actors.schedule.models import Kind, NewSchedule
from actors.schedule.store import ScheduleStore
from tests.support import InProcess

ANY = VerifyRequest()


class Quiet:
    def values(self, *columns: Any) -> None: ...
    def statuses(self, *columns: Any) -> None: ...


class Controller:
    """A BACnet device with one commandable object, or one that isn't."""

    def __init__(self) -> None:
        self.slots: list[PointValue | None] = [None] * 16
        self.default: PointValue = 20.0
        self.plain: PointValue | None = None
        """The value of an object without priority array."""
        self.written: list[tuple[PointValue | None, int]] = []
        self.fail: dict[str, Exception] = {}
        self.takes = True

    @property
    def value(self) -> PointValue:
        if self.plain is not None:
            return self.plain
        return next((slot for slot in self.slots if slot is not None), self.default)

    async def read(self, point_id: str) -> PointValue:
        if "read" in self.fail:
            raise self.fail["read"]
        return self.value

    async def write(self, point_id: str, value: PointValue | None, priority: int = 16) -> PointValue:
        step = "relinquish" if value is None else "write"
        if step in self.fail:
            raise self.fail[step]
        self.written.append((value, priority))
        if self.takes:
            if self.plain is not None:
                if value is None:
                    raise WriteFailedError(point_id, "write-access-denied")
                self.plain = value
            else:
                self.slots[priority - 1] = value
        if "after" in self.fail and value is not None:
            raise self.fail["after"]
        return self.value

    async def priority_array(self, point_id: str) -> PriorityArray:
        if self.plain is not None:
            raise ConflictError("point", point_id, "it has no priority array: unknown-property")
        active = next((at for at, slot in enumerate(self.slots, 1) if slot is not None), None)
        return PriorityArray(id=point_id, slots=self.slots, active_priority=active)


class Register:
    """A Modbus register: it keeps what it was sent last."""

    def __init__(self) -> None:
        self.value: PointValue = 5.0

    async def read(self, point_id: str) -> PointValue:
        return self.value

    async def write(self, point_id: str, value: PointValue) -> PointValue:
        self.value = value
        return value


class World:
    def __init__(self, folder: Path) -> None:
        self.nodes, self.alarms, self.schedules = NodeStore(folder), AlarmStore(folder), ScheduleStore(folder)
        self.points = PointStore("north", Quiet(), lambda frame: None)
        self.overrides, self.commissioning = OverrideStore(folder), CommissioningStore(folder)
        self.controller, self.register = Controller(), Register()
        self.engines: list[CommissioningEngine] = []
        able = NodeCapabilities(readable=True, writable=True, alarmable=True, schedulable=True)
        units = {"units": "degrees-celsius"}
        self.nodes.create(Node(id="d", node_type=NodeType.EQUIP, dis="D"))
        for point_id, binding in (
            ("d/b", ProtocolBinding.bacnet(1, "analog-output", 1, "ip")),
            ("d/m", ProtocolBinding.modbus("d", "holding", 1, "float32")),
        ):
            self.nodes.create(
                Node(
                    id=point_id,
                    node_type=NodeType.POINT,
                    dis=point_id,
                    parent_id="d",
                    capabilities=able,
                    properties=units,
                    protocol_binding=binding,
                )
            )
        self.points.configure([PointConfig(id="d/b"), PointConfig(id="d/m")])
        self.see(20.0)
        new = NewSession(name="D", node_id="d", also=[ItemKind.ALARM, ItemKind.SCHEDULE])
        session = self.commissioning.create(new, self.nodes.subtree("d"), "ana")
        self.session = self.commissioning.start(session.id, "ana")
        self.bridges = {"bacnet": InProcess(self.controller), "modbus": InProcess(self.register)}
        handles = (InProcess(self.nodes), InProcess(self.points), InProcess(self.overrides))
        self.commands = CommandEngine("north", *handles, self.bridges)

    def see(self, value: PointValue, status: int = 0) -> None:
        frame = empty_frame()
        for point_id in ("d/b", "d/m"):
            frame.add(point_id, value, 1_700_000_000_000 + len(self.engines), status)
        self.points.set_many(frame.encode())

    def item(self, kind: ItemKind, point: str = "d/b") -> Item:
        found, _ = self.commissioning.items(self.session.id, kind=kind, node_id=point)
        return found[0]

    def engine(self) -> CommissioningEngine:
        engine = CommissioningEngine(
            "north",
            InProcess(self.commissioning),
            InProcess(self.nodes),
            InProcess(self.points),
            InProcess(self.alarms),
            InProcess(self.schedules),
            InProcess(self.overrides),
            InProcess(self.commands),
            self.bridges,
            retry=0.01,
        )
        self.engines.append(engine)
        return engine


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    for engine in world.engines:
        await engine.stop()
    for store in (world.nodes, world.alarms, world.schedules, world.overrides, world.commissioning):
        store.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


# Reading


async def test_a_plausible_reading_is_verified_with_user_time_and_values(world: World) -> None:
    item = world.item(ItemKind.READ)
    check = await world.engine().verify(item.id, ANY, "ana")
    assert (check.state, check.summary, check.checked_by) == (ItemState.VERIFIED, "reads 20", "ana")
    assert [(each.what, each.value) for each in check.steps] == [
        ("read from the device", 20.0),
        ("the value is plausible and its status is good", 20.0),
    ]
    after = world.item(ItemKind.READ)
    assert (after.state, after.result_by, after.note, after.attempts) == ("verified", "ana", "reads 20", 1)
    assert world.commissioning.checks(item.id)[0] == [check]
    with pytest.raises(ConflictError, match="verified"):
        await world.engine().verify(item.id, ANY, "ana")


@pytest.mark.parametrize(
    ("value", "status", "request_", "why"),
    [
        (-3276.8, 0, ANY, "below -50"),
        (20.0, 0, VerifyRequest(low=21.0), "below 21"),
        (20.0, 0, VerifyRequest(high=19.0), "above 19"),
        (20.0, PointStatus.FAULT, ANY, "fault"),
        (20.0, PointStatus.DOWN, ANY, "down"),
    ],
)
async def test_a_reading_that_can_not_be_right_fails(
    world: World, value: float, status: int, request_: VerifyRequest, why: str
) -> None:
    world.controller.default = value
    world.see(value, int(status))
    check = await world.engine().verify(world.item(ItemKind.READ).id, request_, "ana")
    assert check.state is ItemState.FAILED
    assert why in check.summary


async def test_a_device_that_does_not_answer_is_a_result_and_an_actor_is_not(world: World) -> None:
    item = world.item(ItemKind.READ)
    world.controller.fail["read"] = BridgeError("1", "no answer within 3 s")
    check = await world.engine().verify(item.id, ANY, "ana")
    assert (check.state, "no answer within 3 s" in check.summary) == (ItemState.FAILED, True)
    world.controller.fail["read"] = UnreachableError("bacnet@north", "it is restarting")
    with pytest.raises(UnreachableError):
        await world.engine().verify(item.id, ANY, "ana")
    assert world.item(ItemKind.READ).attempts == 1
    world.controller.fail.clear()
    assert (await world.engine().verify(item.id, ANY, "bo")).state is ItemState.VERIFIED


async def test_what_can_not_be_verified_is_refused(world: World) -> None:
    engine = world.engine()
    with pytest.raises(NotFoundError):
        await engine.verify(99, ANY, "ana")
    with pytest.raises(BadInputError, match="at most high"):
        await engine.verify(world.item(ItemKind.READ).id, VerifyRequest(low=2.0, high=1.0), "ana")
    world.nodes.delete("d/b")
    check = await engine.verify(world.item(ItemKind.READ).id, ANY, "ana")
    assert "gone" in check.summary


# Writing


async def test_a_write_is_read_back_and_relinquished(world: World) -> None:
    check = await world.engine().verify(world.item(ItemKind.WRITE).id, VerifyRequest(priority=12), "ana")
    assert (check.state, check.summary) == (ItemState.VERIFIED, "took 21 and was given back to 20")
    assert world.controller.written == [(21.0, 12), (None, 12)]
    assert [(each.what, each.value) for each in check.steps] == [
        ("read before from the device", 20.0),
        ("wrote at priority 12", 21.0),
        ("read back", 21.0),
        ("relinquished priority 12", 20.0),
    ]
    assert world.overrides.everything() == world.commissioning.writing() == []


async def test_a_register_that_keeps_what_it_is_sent_gets_its_value_back(world: World) -> None:
    check = await world.engine().verify(world.item(ItemKind.WRITE, "d/m").id, VerifyRequest(value=9.0), "ana")
    assert check.state is ItemState.VERIFIED
    assert world.register.value == 5.0
    assert world.overrides.everything() == world.commissioning.writing() == []


async def test_an_object_without_priority_array_gets_its_value_back(world: World) -> None:
    world.controller.plain = 18.0
    check = await world.engine().verify(world.item(ItemKind.WRITE).id, ANY, "ana")
    assert (check.state, world.controller.plain) == (ItemState.VERIFIED, 18.0)
    assert world.overrides.everything() == world.commissioning.writing() == []


async def test_a_device_that_refuses_or_ignores_a_write_fails(world: World) -> None:
    item = world.item(ItemKind.WRITE)
    world.controller.fail["write"] = WriteFailedError("d/b", "write-access-denied")
    check = await world.engine().verify(item.id, ANY, "ana")
    assert (check.state, "write-access-denied" in check.summary) == (ItemState.FAILED, True)
    world.controller.fail.clear()
    world.controller.takes = False
    check = await world.engine().verify(item.id, ANY, "ana")
    assert (check.state, check.summary) == (ItemState.FAILED, "reads back 20 instead")
    assert world.overrides.everything() == world.commissioning.writing() == []


async def test_it_is_given_back_also_when_the_answer_was_lost(world: World) -> None:
    world.controller.fail["after"] = WriteUnsureError("d/b", "no answer within 3 s")
    check = await world.engine().verify(world.item(ItemKind.WRITE).id, ANY, "ana")
    assert (check.state, "may have taken it" in check.summary) == (ItemState.FAILED, True)
    assert world.controller.slots == [None] * 16
    assert world.commissioning.writing() == []


async def test_what_can_not_be_given_back_is_said_and_tried_again(world: World) -> None:
    engine = world.engine()
    await engine.start()
    world.controller.fail["relinquish"] = WriteFailedError("d/b", "device-busy")
    item = world.item(ItemKind.WRITE)
    check = await engine.verify(item.id, ANY, "ana")
    assert (check.state, "NOT given back yet" in check.summary) == (ItemState.FAILED, True)
    assert "device-busy" in (await engine.health()).reasons[0]
    with pytest.raises(ConflictError):
        await engine.verify(item.id, ANY, "ana")
    # It would end by itself too.
    [override] = world.overrides.everything()
    assert override.expires_at is not None
    world.controller.fail.clear()
    await until(lambda: world.commissioning.writing() == [])
    assert world.controller.slots == [None] * 16
    assert (await engine.health()).reasons == []
    assert (await engine.verify(item.id, ANY, "ana")).state is ItemState.VERIFIED


@pytest.mark.parametrize("point", ["d/b", "d/m"])
async def test_a_crash_in_the_middle_is_given_back_at_the_next_start(world: World, point: str) -> None:
    first = world.engine()
    wrote = asyncio.Event()

    async def die(node: Node, write: Any, steps: Any) -> None:
        await Trials._try_write(trials, node, write, steps)
        wrote.set()
        await asyncio.Event().wait()

    async def nothing(node: Node, write: Any, steps: Any) -> None:
        """A process that is killed gives nothing back."""

    trials = first._trials
    trials._try_write, trials._try_restore = die, nothing  # type: ignore[method-assign]
    task = asyncio.create_task(first.verify(world.item(ItemKind.WRITE, point).id, ANY, "ana"))
    await wrote.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (world.controller.slots[7], world.register.value) == (
        (21.0, 5.0) if point == "d/b" else (None, 6.0)
    )
    assert [each.node_id for each in world.commissioning.writing()] == [point]
    await world.engine().start()
    await until(lambda: world.commissioning.writing() == [])
    assert (world.controller.slots[7], world.register.value) == (None, 5.0)
    assert world.overrides.everything() == []


async def test_a_command_that_came_after_a_crash_is_left_alone(world: World) -> None:
    first = world.engine()

    async def nothing(node: Node, write: Any, steps: Any) -> None:
        """A process that is killed gives nothing back."""

    first._trials._try_restore = nothing  # type: ignore[method-assign]
    await first.verify(world.item(ItemKind.WRITE).id, ANY, "ana")
    assert [each.note for each in world.overrides.everything()] == [NOTE]
    await world.commands.write("d/b", WriteRequest(value=30.0), "bo")
    assert not await world.engine().recover()
    assert world.controller.slots[7] == 30.0
    assert world.commissioning.writing() == []


async def test_nobody_is_overwritten_by_a_test(world: World) -> None:
    engine = world.engine()
    item = world.item(ItemKind.WRITE)
    await world.commands.write("d/b", WriteRequest(value=25.0, priority=5), "bo")
    with pytest.raises(ConflictError, match="priority 5 is in force"):
        await engine.verify(item.id, VerifyRequest(priority=8), "ana")
    with pytest.raises(ConflictError, match="slot 5 is in use"):
        await engine.verify(item.id, VerifyRequest(priority=5), "ana")
    assert world.controller.written == [(25.0, 5)]
    assert world.item(ItemKind.WRITE).attempts == 0
    check = await engine.verify(item.id, VerifyRequest(priority=4), "ana")
    assert (check.state, world.controller.value) == (ItemState.VERIFIED, 25.0)


@pytest.mark.parametrize(
    ("before", "states", "units", "expected"),
    [
        (True, None, None, False),
        (2, ["a", "b"], None, 1),
        (1, ["a", "b"], None, 2),
        (7, None, None, 8),
        (20.0, None, "percent", 21.0),
        (99.5, None, "percent", 98.5),
    ],
)
def test_what_is_written_for_a_test_lies_next_to_what_is_there(
    before: PointValue, states: list[str] | None, units: str | None, expected: PointValue
) -> None:
    properties = {"states": states, "units": units}
    node = Node(id="p", node_type=NodeType.POINT, dis="P", properties=properties)
    assert trial(node, before, None) == expected
    with pytest.raises(BadInputError, match="doesn't have now"):
        trial(node, before, before)
    with pytest.raises(BadInputError):
        trial(node, None, None)


# Alarms and schedules


async def test_an_alarm_is_verified_when_it_would_be_raised(world: World) -> None:
    engine, item = world.engine(), world.item(ItemKind.ALARM)
    none = await engine.verify(item.id, ANY, "ana")
    assert (none.state, none.summary) == (ItemState.FAILED, "it has no alarm configuration")
    off = world.alarms.create_config(
        NewAlarmConfig(node_id="d/b", condition=LimitCondition(high=30.0), enabled=False)
    )
    assert "switched off" in (await engine.verify(item.id, ANY, "ana")).summary
    wrong = world.alarms.create_config(NewAlarmConfig(node_id="d/b", condition=StateCondition(states=[True])))
    assert "never be that" in (await engine.verify(item.id, ANY, "ana")).summary
    world.alarms.delete_config(wrong.id)
    limits = LimitCondition(high=30.0, low=10.0, delay=60.0)
    world.alarms.update_config(off.id, NewAlarmConfig(node_id="d/b", condition=limits))
    world.alarms.create_config(NewAlarmConfig(node_id="d/b", condition=StaleCondition()))
    good = await engine.verify(item.id, ANY, "ana")
    assert (good.state, good.summary) == (ItemState.VERIFIED, "2 alarms would be raised")
    assert "after 60 s" in good.steps[0].what


async def test_a_schedule_is_verified_when_it_commands_the_point_in_its_kind(world: World) -> None:
    engine, item = world.engine(), world.item(ItemKind.SCHEDULE)
    assert "no schedule" in (await engine.verify(item.id, ANY, "ana")).summary
    wrong = world.schedules.create(
        NewSchedule(name="Fans", kind=Kind.BINARY, default_value=False, zone="UTC")
    )
    world.schedules.assign(wrong.id, "d/b")
    assert "it is binary" in (await engine.verify(item.id, ANY, "ana")).summary
    world.schedules.unassign(wrong.id, "d/b")
    right = world.schedules.create(NewSchedule(name="Heat", kind=Kind.ANALOG, default_value=19.0, zone="UTC"))
    world.schedules.assign(right.id, "d/b")
    good = await engine.verify(item.id, ANY, "ana")
    assert (good.state, good.steps[0].value) == (ItemState.VERIFIED, 19.0)


async def test_items_are_for_what_points_can_do_and_what_they_have(world: World) -> None:
    engine = world.engine()
    world.nodes.create(Node(id="e", node_type=NodeType.EQUIP, dis="E"))
    able = NodeCapabilities(readable=True, writable=True, alarmable=True, schedulable=True)
    world.nodes.create(
        Node(id="e/1", node_type=NodeType.VIRTUAL_POINT, dis="One", parent_id="e", capabilities=able)
    )
    session = await engine.create(NewSession(name="E", node_id="e"), "ana")

    def kinds() -> list[str]:
        return [each.kind.value for each in world.commissioning.items(session.id)[0]]

    assert kinds() == ["read", "write"]
    world.alarms.create_config(
        NewAlarmConfig(node_id="e/1", condition=LimitCondition(high=30.0), enabled=False)
    )
    elsewhere = NewAlarmConfig(node_id="d/b", condition=LimitCondition(high=30.0))
    world.alarms.create_config(elsewhere)
    assert (await engine.add_items(session.id, MoreItems())).progress.total == 3
    plan = world.schedules.create(NewSchedule(name="Heat", kind=Kind.ANALOG, default_value=19.0, zone="UTC"))
    world.schedules.assign(plan.id, "e/1")
    assert (await engine.add_items(session.id, MoreItems())).progress.total == 4
    assert kinds() == ["read", "write", "alarm", "schedule"]


async def test_items_of_what_is_not_configured_are_made_when_asked_for(world: World) -> None:
    engine = world.engine()
    more = await engine.add_items(world.session.id, MoreItems(also=[ItemKind.ALARM]))
    assert more.progress.total == 8
    with pytest.raises(NotFoundError):
        await engine.create(NewSession(name="X", node_id="nothing"), "ana")
    with pytest.raises(NotFoundError):
        await engine.add_items(99, MoreItems())
