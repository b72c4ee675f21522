import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.bus.bus import EventBus
from actors.bus.events import DeviceDiscovered
from actors.bus.frames import event_frame
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
from actors.override.logic import array_of
from actors.override.models import Override, PriorityArray, WriteRequest
from actors.override.store import OverrideStore
from actors.point.models import PointConfig, empty_frame
from actors.point.store import PointStore
from tests.support import InProcess


class Clock:
    now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


class Quiet:
    def values(self, *columns: Any) -> None: ...
    def statuses(self, *columns: Any) -> None: ...


class Register:
    """A device without a priority array."""

    def __init__(self) -> None:
        self.value: PointValue | None = 5.0
        self.fails = False
        self.deaf = False
        """It takes what it is sent, but its answers are lost."""
        self.written: list[PointValue | None] = []

    async def write(self, point_id: str, value: PointValue | None) -> PointValue | None:
        if self.fails:
            raise WriteFailedError(point_id, "illegal data value (3)")
        self.written.append(value)
        self.value = value
        if self.deaf:
            raise WriteUnsureError(point_id, "no answer within 2 s")
        return value


class Controller:
    """A device with a priority array of its own."""

    def __init__(self) -> None:
        self.slots: list[PointValue | None] = [None] * 16
        self.fails = False
        self.deaf = False
        self.commandable = True
        self.takes: dict[PointValue, PointValue] = {}
        """What it holds for what it is sent, where that differs."""
        self.hangs: dict[str, asyncio.Event] = {}

    async def write(self, point_id: str, value: PointValue | None, priority: int) -> PointValue | None:
        if self.fails or (value is None and not self.commandable):
            raise WriteFailedError(point_id, "write-access-denied")
        self.slots[priority - 1] = None if value is None else self.takes.get(value, value)
        if self.deaf:
            raise WriteUnsureError(point_id, "no answer within 3 s")
        return next((slot for slot in self.slots if slot is not None), 20.0)

    async def priority_array(self, point_id: str) -> PriorityArray:
        if point_id in self.hangs:
            await self.hangs[point_id].wait()
        if self.deaf:
            raise BridgeError("d", "no answer within 3 s")
        if not self.commandable:
            raise ConflictError("point", point_id, "it has no priority array: unknown-property")
        return PriorityArray(id=point_id, slots=self.slots, relinquish_default=20.0)


class Site:
    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.nodes = NodeStore(folder)
        self.points = PointStore("north", Quiet(), lambda frame: None, self.clock)
        self.overrides = OverrideStore(folder, clock=self.clock)
        self.register, self.controller = Register(), Controller()
        able = NodeCapabilities(readable=True, writable=True)
        modbus = ProtocolBinding.modbus("d", "holding", 1, "uint16")
        bacnet = ProtocolBinding.bacnet(1, "analog-output", 1, "ip")
        for point_id, binding, capabilities in (
            ("d/m", modbus, able),
            ("d/b", bacnet, able),
            ("d/b2", bacnet, able),
            ("d/ro", bacnet, NodeCapabilities(readable=True)),
            ("v", None, able),
        ):
            virtual = binding is None
            self.nodes.create(
                Node(
                    id=point_id,
                    node_type=NodeType.VIRTUAL_POINT if virtual else NodeType.POINT,
                    dis=point_id,
                    properties={"relinquish_default": 1.0},
                    capabilities=capabilities,
                    protocol_binding=binding,
                )
            )
        self.points.configure([PointConfig(id="d/m"), PointConfig(id="d/b")])
        frame = empty_frame()
        frame.add("d/m", 5.0, 1)
        frame.add("d/b", 20.0, 1)
        self.points.set_many(frame.encode())
        self.engine = self.restarted()

    def restarted(self, bus: Any = None) -> CommandEngine:
        return CommandEngine(
            "north",
            InProcess(self.nodes),
            InProcess(self.points),
            InProcess(self.overrides),
            {"modbus": InProcess(self.register), "bacnet": InProcess(self.controller)},
            bus=bus,
            clock=self.clock,
        )


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    yield site
    site.nodes.close()
    site.overrides.close()


async def test_the_strongest_slot_wins_at_a_device_without_an_array(site: Site) -> None:
    await site.engine.write("d/m", WriteRequest(value=10.0, priority=12), "ana")
    await site.engine.write("d/m", WriteRequest(value=7.0, priority=8), "ana")
    result = await site.engine.write("d/m", WriteRequest(value=9.0, priority=14), "bob")
    assert (result.written, result.value) == (9.0, 7.0)
    array = await site.engine.priority_array("d/m")
    assert (array.slots[7], array.slots[11], array.slots[13], array.active_priority) == (7.0, 10.0, 9.0, 8)
    await site.engine.relinquish("d/m", 8, "ana")
    assert site.register.value == 10.0
    for priority in (12, 14):
        await site.engine.relinquish("d/m", priority, "ana")
    assert site.register.value == 1.0


async def test_a_write_that_the_device_refuses_leaves_nothing_noted(site: Site) -> None:
    site.register.fails = site.controller.fails = True
    for point_id, reason in (("d/m", "illegal data value"), ("d/b", "write-access-denied")):
        with pytest.raises(WriteFailedError, match=reason):
            await site.engine.write(point_id, WriteRequest(value=3.0), "ana")
    assert site.overrides.everything() == []


async def test_a_refused_write_keeps_the_note_of_the_one_before(site: Site) -> None:
    await site.engine.write("d/b", WriteRequest(value=3.0, duration=60), "ana")
    [before] = site.overrides.everything()
    site.controller.fails = True
    with pytest.raises(WriteFailedError):
        await site.engine.write("d/b", WriteRequest(value=4.0), "bob")
    assert site.overrides.everything() == [before]


@pytest.mark.parametrize(("sent", "held"), [(120.0, 100.0), (1, "unlock"), ("07:30:15.25", "07:30:15")])
async def test_an_override_ends_also_where_the_device_took_it_otherwise(
    site: Site, sent: PointValue, held: PointValue
) -> None:
    site.controller.takes = {sent: held}
    result = await site.engine.write("d/b", WriteRequest(value=sent, duration=60), "ana")
    assert (result.written, result.value) == (sent, held)
    [noted] = site.overrides.everything()
    assert (noted.value, noted.by, noted.id) == (held, "ana", result.override_id)
    site.clock.now += 60_000
    await site.engine.expire()
    assert site.controller.slots[7] is None
    assert site.overrides.everything() == []


async def test_a_command_under_a_stronger_one_is_noted_as_it_was_sent(site: Site) -> None:
    await site.engine.write("d/b", WriteRequest(value=30.0, priority=5), "ana")
    await site.engine.write("d/b", WriteRequest(value=25.0, priority=9), "ana")
    assert [each.value for each in site.overrides.everything()] == [30.0, 25.0]


async def test_a_device_whose_slots_can_not_be_read_keeps_its_command(site: Site) -> None:
    site.controller.commandable = False
    site.controller.takes = {120.0: 100.0}
    result = await site.engine.write("d/b", WriteRequest(value=120.0), "ana")
    assert result.value == 100.0
    assert [each.value for each in site.overrides.everything()] == [120.0]


async def test_an_override_ends_on_time_and_again_until_the_device_takes_it(site: Site) -> None:
    await site.engine.write("d/b", WriteRequest(value=30.0, duration=60), "ana")
    await site.engine.expire()
    assert site.controller.slots[7] == 30.0
    site.clock.now += 60_000
    site.controller.fails = True
    await site.engine.expire()
    assert (await site.engine.health()).state == "degraded"
    site.controller.fails = False
    site.engine._retry_at.clear()
    await site.engine.expire()
    assert site.controller.slots[7] is None
    assert site.overrides.everything() == []
    assert (await site.engine.health()).state == "healthy"


async def test_an_override_ends_also_after_a_restart(site: Site) -> None:
    await site.engine.write("d/m", WriteRequest(value=30.0, duration=60), "ana")
    site.clock.now += 61_000
    await site.restarted().expire()
    assert site.register.value == 1.0


async def test_a_slot_that_somebody_else_changed_is_left_alone(site: Site) -> None:
    await site.engine.write("d/b", WriteRequest(value=30.0, duration=60), "ana")
    site.controller.slots[7] = 33.0
    site.clock.now += 61_000
    await site.engine.expire()
    assert site.controller.slots[7] == 33.0
    assert site.overrides.everything() == []


async def test_a_virtual_point_holds_what_is_in_force(site: Site) -> None:
    await site.engine.refresh()
    assert site.points.get("v").value == 1.0
    await site.engine.write("v", WriteRequest(value=4.0), "ana")
    assert site.points.get("v").value == 4.0
    assert site.points.get("v").status & PointStatus.OVERRIDDEN
    await site.engine.relinquish("v", 8, "ana")
    assert site.points.get("v").value == 1.0
    assert not site.points.get("v").status & PointStatus.OVERRIDDEN


async def test_a_point_store_that_restarted_gets_virtual_points_and_flags_again(site: Site) -> None:
    await site.engine.write("v", WriteRequest(value=4.0), "ana")
    site.points._points.clear()
    await site.engine.refresh()
    assert site.points.get("v").value == 4.0
    assert site.points.get("v").status & PointStatus.OVERRIDDEN


async def test_a_device_that_was_down_is_sent_again_what_is_in_force(site: Site) -> None:
    await site.engine.write("d/m", WriteRequest(value=7.0), "ana")
    site.register.written.clear()
    await site.engine.reassert("d")
    assert site.register.written == [7.0]


@pytest.mark.parametrize("point_id", ["d/m", "d/b"])
async def test_a_write_whose_answer_was_lost_is_given_back_also_after_a_restart(
    site: Site, point_id: str
) -> None:
    site.register.deaf = site.controller.deaf = True
    with pytest.raises(WriteUnsureError):
        await site.engine.write(point_id, WriteRequest(value=30.0, duration=3600), "ana")
    await site.engine.expire()
    assert (await site.engine.health()).state == "degraded"
    site.register.deaf = site.controller.deaf = False
    await site.restarted().expire()
    assert site.controller.slots[7] is None
    assert site.register.value in {5.0, 1.0}
    assert site.overrides.everything() == []


@pytest.mark.parametrize("point_id", ["d/m", "d/b"])
async def test_a_write_whose_answer_was_lost_gives_way_to_the_one_before(site: Site, point_id: str) -> None:
    await site.engine.write(point_id, WriteRequest(value=25.0), "ana")
    [before] = site.overrides.everything()
    site.register.deaf = site.controller.deaf = True
    with pytest.raises(WriteUnsureError):
        await site.engine.write(point_id, WriteRequest(value=30.0), "bob")
    assert site.overrides.everything() == [before]
    site.register.deaf = site.controller.deaf = False
    await site.engine.expire()
    assert 25.0 in {site.controller.slots[7], site.register.value}
    assert site.overrides.everything() == [before]
    assert site.engine._doubts == {}


async def test_a_bridge_that_does_not_answer_leaves_the_slot_to_be_given_back(site: Site) -> None:
    async def gone(*args: Any) -> None:
        raise UnreachableError("bacnet@north", "it is restarting")

    site.controller.write = gone  # type: ignore[method-assign]
    with pytest.raises(UnreachableError):
        await site.engine.write("d/b", WriteRequest(value=30.0), "ana")
    [noted] = site.overrides.everything()
    assert noted.expires_at == site.clock.now


async def test_one_slow_device_makes_no_other_override_late(site: Site) -> None:
    for point_id in ("d/b", "d/b2"):
        await site.engine.write(point_id, WriteRequest(value=30.0, duration=60), "ana")
    site.controller.hangs["d/b"] = asyncio.Event()
    site.clock.now += 60_000
    first = asyncio.create_task(site.engine.expire())
    await until(lambda: [each.node_id for each in site.overrides.everything()] == ["d/b"])
    await site.engine.expire()  # what is under way isn't begun twice
    site.controller.hangs["d/b"].set()
    await first
    assert site.overrides.everything() == []


async def test_a_setpoint_that_is_not_commandable_goes_back_to_its_default(site: Site) -> None:
    site.controller.commandable = False
    await site.engine.write("d/b", WriteRequest(value=30.0, duration=60), "ana")
    site.clock.now += 61_000
    await site.engine.expire()
    assert site.controller.slots[7] == 1.0
    assert site.overrides.everything() == []
    await site.engine.write("d/b", WriteRequest(value=30.0), "ana")
    await site.engine.relinquish("d/b", 8, "ana")
    assert site.overrides.everything() == []


async def test_an_override_whose_node_is_gone_is_forgotten_after_a_day_and_stops_nobody(site: Site) -> None:
    await site.engine.write("d/b", WriteRequest(value=30.0, duration=60), "ana")
    await site.engine.write("d/m", WriteRequest(value=7.0), "ana")
    site.nodes.delete("d/b")
    site.clock.now += 61_000
    await site.engine.expire()
    assert "no node 'd/b'" in (await site.engine.health()).reasons[0]
    site.register.written.clear()
    await site.engine.reassert("d")
    assert site.register.written == [7.0]
    site.clock.now += 86_400_000
    site.engine._retry_at.clear()
    await site.engine.expire()
    assert [each.node_id for each in site.overrides.everything()] == ["d/m"]
    assert (await site.engine.health()).state == "healthy"


async def test_a_device_is_sent_what_is_in_force_when_the_engine_or_its_bridge_starts(site: Site) -> None:
    site.overrides.put("d/m", 8, 7.0, "ana")  # noted, and then the engine was killed
    bus = EventBus("north")
    engine = site.restarted(InProcess(bus))
    await engine.start()
    await until(lambda: site.register.written == [7.0])
    found = DeviceDiscovered(device_key="d", protocol="modbus", network_id="n")
    await bus.publish([event_frame(found)])
    await until(lambda: site.register.written == [7.0, 7.0])
    await engine.stop()


async def test_a_relinquish_that_is_killed_halfway_is_still_noted(site: Site) -> None:
    await site.engine.write("d/m", WriteRequest(value=7.0), "ana")

    async def killed(*args: Any) -> None:
        assert [each.value for each in site.overrides.everything()] == [7.0]
        raise UnreachableError("modbus@north", "it is restarting")

    site.register.write = killed  # type: ignore[method-assign]
    with pytest.raises(UnreachableError):
        await site.engine.relinquish("d/m", 8, "ana")
    assert [each.value for each in site.overrides.everything()] == [7.0]


async def test_what_cannot_be_commanded_is_refused(site: Site) -> None:
    with pytest.raises(NotFoundError):
        await site.engine.write("nope", WriteRequest(value=1.0), "ana")
    with pytest.raises(ConflictError, match="read only"):
        await site.engine.write("d/ro", WriteRequest(value=1.0), "ana")


@given(
    st.dictionaries(st.integers(1, 16), st.floats(allow_nan=False)), st.none() | st.floats(allow_nan=False)
)
def test_the_lowest_number_is_in_force(slots: dict[int, float], default: float | None) -> None:
    overrides = [
        Override(id=level, node_id="p", priority=level, value=value, by="ana", at=0)
        for level, value in slots.items()
    ]
    array = array_of("p", overrides, default)
    if slots:
        assert array.active_priority == min(slots)
        assert array.present_value == slots[min(slots)]
    else:
        assert (array.active_priority, array.present_value) == (None, default)
    assert [value for value in array.slots if value is not None] == [slots[key] for key in sorted(slots)]


def test_overrides_page_by_page(site: Site) -> None:
    for level in range(1, 6):
        site.overrides.put("p", level, True, "ana")
    first, cursor = site.overrides.find(limit=3)
    rest, _ = site.overrides.find(limit=3, cursor=cursor)
    assert [each.priority for each in first + rest] == [1, 2, 3, 4, 5]
    with pytest.raises(BadInputError):
        site.overrides.find(limit=5000)
