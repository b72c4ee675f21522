"""Scanning and accepting over real stores, with a bridge that finds what it is told to."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from actors.alarm.models import LimitCondition, Severity
from actors.alarm.store import AlarmStore
from actors.bus.bus import EventBus
from actors.bus.events import EntityCreated, EntityDeleted, event_json
from actors.bus.frames import Frame
from actors.core.errors import BadInputError, ConflictError, NotFoundError, UnreachableError
from actors.discovery.engine import DiscoveryEngine
from actors.discovery.models import (
    AcceptRequest,
    DeviceState,
    DiscoveredDevice,
    FoundAlarm,
    FoundDevice,
    FoundPoint,
    PointChoice,
    Scan,
    ScanRequest,
    ScanState,
)
from actors.discovery.store import DiscoveryStore
from actors.node.models import Node, NodeType, ProtocolBinding
from actors.node.store import NodeStore
from tests.discovery.bridge import FakeBridge, Finding, Findings
from tests.support import InProcess

BACNET = ScanRequest(protocol="bacnet")
NAMES = {
    "analog-input-1": "VAV-3.ZN-T",
    "analog-output-1": "VAV-3.DPR",
    "analog-input-2": "VAV-4.ZN-T",
    "analog-output-2": "VAV-4.DPR",
    "binary-input-1": "FRZ-ALM",
}


def device(key: str = "1001", network: str = "ip", points: dict[str, str] | None = None) -> FoundDevice:
    return FoundDevice(
        network_id=network,
        protocol="bacnet",
        device_key=key,
        address=f"10.0.0.{int(key) % 250}",
        name=f"CTRL {key}",
        vendor="ACME",
        points=[
            FoundPoint(
                point_key=point,
                name=name,
                kind=point.rpartition("-")[0],
                units="degrees-celsius" if point.startswith("analog-input") else None,
                value=20.5 if point.startswith("analog") else False,
                writable="output" in point,
            )
            for point, name in (NAMES if points is None else points).items()
        ],
    )


class Flaky:
    """A store's handle that dies before or after one of its calls."""

    def __init__(self, target: Any) -> None:
        self.target, self.at = target, ""
        self.after = False

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            if name != self.at:
                return getattr(self.target, name)(*args)
            if self.after:
                getattr(self.target, name)(*args)
            raise UnreachableError("store", "killed")

        return call


class World:
    def __init__(self, folder: Path) -> None:
        self.discovery = DiscoveryStore(folder)
        self.nodes = NodeStore(folder)
        self.alarms = AlarmStore(folder)
        self.flaky = {
            "discovery": Flaky(self.discovery),
            "nodes": Flaky(self.nodes),
            "alarms": Flaky(self.alarms),
        }
        self.bacnet, self.modbus = FakeBridge(), FakeBridge()
        self.bus = EventBus("north")
        self.engines: list[DiscoveryEngine] = []
        self.nodes.create(Node(id="north", node_type=NodeType.SITE, dis="North"))
        self.nodes.create(Node(id="floor", node_type=NodeType.SPACE, dis="Floor", parent_id="north"))

    async def engine(self) -> DiscoveryEngine:
        engine = DiscoveryEngine(
            "north",
            InProcess(self.flaky["discovery"]),
            InProcess(self.flaky["nodes"]),
            InProcess(self.flaky["alarms"]),
            {"bacnet": InProcess(self.bacnet), "modbus": InProcess(self.modbus)},
            {"ip": "bacnet", "ip2": "bacnet", "mb": "modbus"},
            bus=InProcess(self.bus),
            round_=0.01,
            retry=0.01,
        )
        self.engines.append(engine)
        await engine.start()
        return engine

    def find(self, found: FoundDevice | None = None) -> DiscoveredDevice:
        return self.discovery.found(found or device())

    def made(self) -> set[str]:
        return set(self.nodes.ids()) - {"north", "floor"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    for engine in world.engines:
        await engine.stop()
    for store in (world.discovery, world.nodes, world.alarms):
        store.close()


async def ended(world: World, scan: Scan) -> Scan:
    async with asyncio.timeout(10):
        while (found := world.discovery.scan(scan.id)).state is ScanState.RUNNING:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return found


async def until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


# Scans


async def test_a_scan_tells_how_far_it_is_and_keeps_devices_as_they_come(world: World) -> None:
    engine = await world.engine()
    scan = await engine.scan(BACNET, "ana")
    assert (scan.state, scan.networks, scan.requested_by) == (ScanState.RUNNING, ["ip", "ip2"], "ana")
    world.bacnet.found.devices.append(Finding(device()))
    await until(lambda: world.discovery.scan(scan.id).device_count == 1)
    running = world.discovery.scan(scan.id)
    assert (running.progress, running.point_count) == (0.5, 5)
    assert [each.device_key for each in world.discovery.find()[0]] == ["1001"]
    world.bacnet.found.devices.append(Finding(device("1002")))
    world.bacnet.over.set()
    done = await ended(world, scan)
    assert (done.state, done.device_count, done.point_count, done.progress) == (ScanState.DONE, 2, 10, 1.0)
    assert world.bacnet.asked == [(["ip", "ip2"], 0, 4194302)]


async def test_nothing_is_scanned_unasked_and_one_protocol_at_a_time(world: World) -> None:
    engine = await world.engine()
    await asyncio.sleep(0.05)
    assert world.bacnet.asked == world.modbus.asked == []
    scan = await engine.scan(BACNET, "ana")
    with pytest.raises(ConflictError, match="one is running"):
        await engine.scan(BACNET, "bo")
    other = await engine.scan(ScanRequest(protocol="modbus", low=3, high=9), "bo")
    world.bacnet.over.set()
    world.modbus.over.set()
    assert {(await ended(world, each)).state for each in (scan, other)} == {ScanState.DONE}
    assert world.modbus.asked == [(["mb"], 3, 9)]


async def test_a_cancelled_scan_keeps_what_it_has_found(world: World) -> None:
    engine = await world.engine()
    scan = await engine.scan(BACNET, "ana")
    world.bacnet.found.devices.append(Finding(device()))
    ended_scan = await engine.cancel(scan.id)
    assert (ended_scan.state, ended_scan.device_count) == (ScanState.CANCELLED, 1)
    with pytest.raises(ConflictError, match="cancelled"):
        await engine.cancel(scan.id)
    with pytest.raises(NotFoundError):
        await engine.cancel(99)


async def test_a_scan_that_was_cut_off_is_failed_and_the_next_can_begin(world: World) -> None:
    first = await world.engine()
    scan = await first.scan(BACNET, "ana")
    world.bacnet.found.devices.append(Finding(device()))
    await until(lambda: world.discovery.scan(scan.id).device_count == 1)
    await first.stop()
    assert world.discovery.scan(scan.id).state is ScanState.RUNNING
    second = await world.engine()
    world.bacnet.found = Findings()
    world.bacnet.over.set()
    fresh = await second.scan(BACNET, "bo")
    old = world.discovery.scan(scan.id)
    assert (old.state, old.error, old.device_count) == (ScanState.FAILED, "interrupted", 1)
    assert (await ended(world, fresh)).state is ScanState.DONE


async def test_a_bridge_that_dies_fails_the_scan_with_its_reason(world: World) -> None:
    engine = await world.engine()
    scan = await engine.scan(BACNET, "ana")
    world.bacnet.fails = UnreachableError("bacnet@north", "it is restarting")
    world.bacnet.over.set()
    failed = await ended(world, scan)
    assert failed.state is ScanState.FAILED
    assert "restarting" in (failed.error or "")


async def test_networks_that_could_not_be_looked_at_are_named(world: World) -> None:
    engine = await world.engine()
    world.bacnet.over.set()
    world.bacnet.found.errors = {"ip2": "it is not open"}
    part = await ended(world, await engine.scan(BACNET, "ana"))
    assert (part.state, part.error) == (ScanState.DONE, "ip2: it is not open")
    none = await ended(world, await engine.scan(ScanRequest(protocol="bacnet", networks=["ip2"]), "ana"))
    assert none.state is ScanState.FAILED


async def test_one_device_that_can_not_be_kept_ends_no_scan(world: World) -> None:
    engine = await world.engine()
    twice = device("1")
    assert twice.points is not None
    twice.points += twice.points[:1]
    world.bacnet.found.devices += [Finding(twice), Finding(device("2"))]
    world.bacnet.over.set()
    done = await ended(world, await engine.scan(BACNET, "ana"))
    assert (done.state, done.device_count) == (ScanState.DONE, 1)
    assert (done.error or "").startswith("1: points")


async def test_a_scan_is_ended_also_when_the_store_was_away(world: World) -> None:
    engine = await world.engine()
    scan = await engine.scan(BACNET, "ana")
    world.flaky["discovery"].at = "finish_scan"
    world.bacnet.over.set()
    await asyncio.sleep(0.05)
    assert world.discovery.scan(scan.id).state is ScanState.RUNNING
    world.flaky["discovery"].at = ""
    assert (await ended(world, scan)).state is ScanState.DONE


@pytest.mark.parametrize(
    ("request_", "field_"),
    [
        (ScanRequest(protocol="bacnet", networks=["mb"]), "networks"),
        (ScanRequest(protocol="bacnet", low=9, high=3), "high"),
        (ScanRequest(protocol="modbus", high=300), "high"),
        (ScanRequest(protocol="modbus", low=0), "low"),
    ],
)
async def test_what_can_not_be_scanned_is_refused(world: World, request_: ScanRequest, field_: str) -> None:
    engine = await world.engine()
    with pytest.raises(BadInputError) as error:
        await engine.scan(request_, "ana")
    assert error.value.field == field_
    assert world.discovery.scans()[0] == []


async def test_finding_a_device_again_keeps_what_was_decided(world: World) -> None:
    engine = await world.engine()
    one, other = world.find(), world.find(device("1002"))
    await engine.accept(one.id, AcceptRequest(), "ana")
    world.discovery.ignore(other.id, "ana")
    world.bacnet.found.devices += [Finding(device()), Finding(device("1002"))]
    world.bacnet.over.set()
    await ended(world, await engine.scan(BACNET, "ana"))
    assert [each.state for each in world.discovery.find()[0]] == [DeviceState.ACCEPTED, DeviceState.IGNORED]


# Accepting


async def test_an_accepted_device_is_equipment_groups_and_points(world: World) -> None:
    engine = await world.engine()
    found = world.find()
    done = await engine.accept(found.id, AcceptRequest(parent_id="floor"), "ana")
    assert (done.state, done.changed_by, done.accepting_by) == (DeviceState.ACCEPTED, "ana", None)
    assert set(done.created_node_ids) == world.made()
    unit = world.nodes.get("1001")
    assert (unit.dis, unit.parent_id, unit.node_type) == ("CTRL 1001", "floor", NodeType.EQUIP)
    assert unit.protocol_binding == ProtocolBinding(
        protocol="bacnet", config={"device_instance": 1001, "network_id": "ip"}
    )
    vav = world.nodes.get("1001:vav-3")
    assert (vav.dis, vav.parent_id, vav.tags) == ("VAV-3", "1001", ["equip", "hvac", "vav"])
    temp = world.nodes.get("1001/analog-input-1")
    assert (temp.dis, temp.parent_id) == ("Zone Temperature", "1001:vav-3")
    assert {"zone", "air", "temp", "sensor", "point"} <= set(temp.tags)
    assert temp.properties["units"] == "degrees-celsius"
    assert temp.properties["object_name"] == "VAV-3.ZN-T"
    assert temp.protocol_binding == ProtocolBinding.bacnet(1001, "analog-input", 1, "ip")
    assert (temp.capabilities.historizable, temp.capabilities.writable) == (True, False)
    assert world.nodes.get("1001/analog-output-2").capabilities.schedulable
    assert world.nodes.get("1001/binary-input-1").parent_id == "1001"
    configs, _ = world.alarms.configs()
    assert {(each.node_id, each.condition.kind, each.message) for each in configs} == {
        ("1001/binary-input-1", "state", "Freeze Alarm"),
        ("1001/analog-input-1", "stale", "CTRL 1001 does not answer"),
    }
    assert world.bacnet.reloads == 1


async def test_a_unit_that_nobody_knows_is_refused_and_the_devices_own_stays(world: World) -> None:
    engine = await world.engine()
    own = [FoundPoint(point_key="analog-input-1", name="T", kind="analog-input", units="acme-degrees")]
    odd = world.find(device().model_copy(update={"points": own}))
    wrong = AcceptRequest(changes=[PointChoice(point_key="analog-input-1", units="degree-celsius")])
    for call in (engine.proposal(odd.id, wrong), engine.accept(odd.id, wrong, "ana")):
        with pytest.raises(BadInputError, match="degrees-celsius") as refused:
            await call
        assert refused.value.field == "changes.analog-input-1.units"
        assert refused.value.value == "degree-celsius"
    assert world.made() == set()
    none = AcceptRequest(changes=[PointChoice(point_key="analog-input-1", units="")])
    assert (await engine.proposal(odd.id, none)).points[0].units is None
    same = AcceptRequest(changes=[PointChoice(point_key="analog-input-1", units="acme-degrees")])
    assert (await engine.proposal(odd.id, same)).points[0].units == "acme-degrees"
    await engine.accept(odd.id, AcceptRequest(), "ana")
    [made] = [each for each in world.nodes.bound("bacnet") if each.node_type is NodeType.POINT]
    assert made.properties["units"] == "acme-degrees"


async def test_a_person_may_choose_otherwise(world: World) -> None:
    engine = await world.engine()
    found = world.find()
    request = AcceptRequest(
        name="Roof",
        node_id="roof",
        points=["analog-input-1", "analog-output-1"],
        changes=[
            PointChoice(
                point_key="analog-input-1",
                name="Hall",
                group="Hall Unit",
                units="degrees-fahrenheit",
                tags=["temp"],
                history=False,
            ),
            PointChoice(point_key="analog-output-1", group="", writable=False),
        ],
        alarms=False,
    )
    shown = await engine.proposal(found.id, request)
    assert [each.point_key for each in shown.points if each.chosen] == ["analog-input-1", "analog-output-1"]
    assert [(each.node_id, each.points) for each in shown.groups] == [("roof:hall-unit", 1)]
    await engine.accept(found.id, request, "ana")
    assert world.made() == {"roof", "roof:hall-unit", "roof/analog-input-1", "roof/analog-output-1"}
    hall = world.nodes.get("roof/analog-input-1")
    assert (hall.dis, hall.tags, hall.properties["units"]) == ("Hall", ["temp"], "degrees-fahrenheit")
    assert not hall.capabilities.historizable
    damper = world.nodes.get("roof/analog-output-1")
    assert (damper.parent_id, damper.capabilities.writable) == ("roof", False)
    assert world.alarms.configs()[0] == []


@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        ({"points": ["analog-input-9"]}, BadInputError, "analog-input-9"),
        ({"points": []}, ConflictError, "no point of it is chosen"),
        ({"changes": [{"point_key": "nobody"}]}, BadInputError, "nobody"),
        ({"changes": [{"point_key": "analog-input-1"}] * 2}, BadInputError, "once"),
        ({"parent_id": "nowhere"}, BadInputError, "nowhere"),
        ({"node_id": "floor"}, ConflictError, "floor"),
        ({"profile": "nobody"}, BadInputError, "nobody"),
    ],
)
async def test_what_can_not_be_accepted_changes_nothing(
    world: World, body: dict[str, Any], error: type[Exception], text: str
) -> None:
    engine = await world.engine()
    found = world.find()
    with pytest.raises(error, match=text):
        await engine.accept(found.id, AcceptRequest.model_validate(body), "ana")
    assert world.made() == set()
    assert world.alarms.configs()[0] == []
    assert world.discovery.accepting() == []
    assert world.discovery.get(found.id).state is DeviceState.DISCOVERED
    await engine.accept(found.id, AcceptRequest(), "ana")


async def test_points_that_are_in_the_model_already_are_told_and_left_out(world: World) -> None:
    engine = await world.engine()
    world.nodes.create(
        Node(
            id="old/zone",
            node_type=NodeType.POINT,
            dis="Zone",
            protocol_binding=ProtocolBinding.bacnet(1001, "analog-input", 1, "ip"),
        )
    )
    found = world.find()
    shown = await engine.proposal(found.id, AcceptRequest())
    first = shown.points[0]
    assert (first.bound_to, first.chosen) == (["old/zone"], False)
    assert "1 of 5 points are in the model already" in shown.problems
    with pytest.raises(ConflictError, match="old/zone"):
        await engine.accept(found.id, AcceptRequest(points=["analog-input-1"]), "ana")
    await engine.accept(found.id, AcceptRequest(), "ana")
    assert "1001/analog-input-1" not in world.made()


async def test_two_people_accept_at_the_same_time(world: World) -> None:
    engine = await world.engine()
    found = world.find()
    answers = await asyncio.gather(
        engine.accept(found.id, AcceptRequest(), "ana"),
        engine.accept(found.id, AcceptRequest(name="Other"), "bo"),
        return_exceptions=True,
    )
    assert isinstance(answers[0], DiscoveredDevice)
    assert isinstance(answers[1], ConflictError)
    assert "accepted" in str(answers[1])
    assert world.nodes.get("1001").dis == "CTRL 1001"


async def test_a_device_that_was_forgotten_meanwhile_is_not_found(world: World) -> None:
    engine = await world.engine()
    found = world.find()
    world.discovery.forget(found.id)
    with pytest.raises(NotFoundError):
        await engine.accept(found.id, AcceptRequest(), "ana")


async def test_a_device_is_given_back_with_its_alarms_when_its_nodes_are_deleted(world: World) -> None:
    engine = await world.engine()
    found = world.find()
    await engine.accept(found.id, AcceptRequest(), "ana")
    with pytest.raises(ConflictError, match="delete them first"):
        await engine.release(found.id, "ana")
    assert len(world.alarms.configs()[0]) == 2
    world.nodes.delete("1001", recursive=True)
    assert (await engine.release(found.id, "ana")).state is DeviceState.DISCOVERED
    assert world.alarms.configs()[0] == []
    await engine.accept(found.id, AcceptRequest(), "ana")
    assert len(world.alarms.configs()[0]) == 2


STEPS = [
    ("discovery", "begin_accept"),
    ("nodes", "apply"),
    ("alarms", "apply_configs"),
    ("discovery", "accept"),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("store", "method"), STEPS)
async def test_a_crash_at_any_step_leaves_all_or_nothing(
    world: World, store: str, method: str, after: bool
) -> None:
    first = await world.engine()
    found = world.find()
    world.flaky[store].at, world.flaky[store].after = method, after
    with pytest.raises(UnreachableError):
        await first.accept(found.id, AcceptRequest(), "ana")
    await first.stop()
    world.flaky[store].at = ""
    pending = world.discovery.accepting()
    if pending:
        for attempt in (world.discovery.ignore, lambda key, by: world.discovery.forget(key)):
            with pytest.raises(ConflictError, match="ana is accepting it"):
                attempt(found.id, "bo")
        with pytest.raises(ConflictError, match="ana is accepting it"):
            world.discovery.begin_accept(found.id, pending[0].plan, "bo")
    second = await world.engine()
    await until(lambda: not world.discovery.accepting() and second._ready.is_set())
    await second.recover()
    known = world.discovery.get(found.id)
    if (method, after) == ("begin_accept", False):
        assert known.state is DeviceState.DISCOVERED
        assert world.made() == set()
        assert world.alarms.configs()[0] == []
    else:
        assert (known.state, known.changed_by) == (DeviceState.ACCEPTED, "ana")
        assert set(known.created_node_ids) == world.made()
        assert len(world.made()) == 8
        assert len(world.alarms.configs()[0]) == 2


async def test_what_can_not_be_finished_after_a_crash_is_undone(world: World) -> None:
    first = await world.engine()
    found = world.find()
    world.flaky["nodes"].at = "apply"
    with pytest.raises(UnreachableError):
        await first.accept(found.id, AcceptRequest(parent_id="floor"), "ana")
    await first.stop()
    world.nodes.delete("floor")
    world.flaky["nodes"].at = ""
    await world.engine()
    await until(lambda: not world.discovery.accepting())
    known = world.discovery.get(found.id)
    assert (known.state, known.accepting_by) == (DeviceState.DISCOVERED, None)
    assert set(world.nodes.ids()) == {"north"}
    assert world.alarms.configs()[0] == []


async def test_a_refused_last_step_takes_back_what_was_made(world: World) -> None:
    engine = await world.engine()
    found = world.find()
    apply = world.alarms.apply_configs

    def refuse(configs: Any, origin: str) -> int:
        if configs:
            raise BadInputError("configs", origin, "nothing today")
        return apply(configs, origin)

    world.alarms.apply_configs = refuse  # type: ignore[method-assign]
    with pytest.raises(BadInputError, match="nothing today"):
        await engine.accept(found.id, AcceptRequest(), "ana")
    assert world.made() == set()
    assert world.discovery.get(found.id).state is DeviceState.DISCOVERED
    world.alarms.apply_configs = apply  # type: ignore[method-assign]
    await engine.accept(found.id, AcceptRequest(), "ana")


async def test_a_store_that_comes_back_finishes_it_without_a_restart(world: World) -> None:
    engine = await world.engine()
    found = world.find()
    world.flaky["alarms"].at = "apply_configs"
    with pytest.raises(UnreachableError):
        await engine.accept(found.id, AcceptRequest(), "ana")
    await until(lambda: engine._trouble is not None)
    assert (await engine.health()).state.value == "degraded"
    world.flaky["alarms"].at = ""
    await until(lambda: world.discovery.get(found.id).state is DeviceState.ACCEPTED)
    await until(lambda: engine._trouble is None)


async def test_two_devices_with_one_key_are_not_both_accepted(world: World) -> None:
    engine = await world.engine()
    one = world.find()
    twin = world.find(device().model_copy(update={"address": "10.9.9.9"}))
    shown = await engine.proposal(twin.id, AcceptRequest())
    assert any("has the key 1001 too" in each for each in shown.problems)
    await engine.accept(one.id, AcceptRequest(), "ana")
    # The bridge reads neither unless it is told which one was chosen.
    binding = world.nodes.get("1001").protocol_binding
    assert binding is not None
    assert binding.config == {"device_instance": 1001, "network_id": "ip", "address": one.address}
    with pytest.raises(ConflictError):
        await engine.accept(twin.id, AcceptRequest(), "ana")


async def test_one_behind_a_router_with_the_instance_of_another_is_bound_by_that(world: World) -> None:
    engine = await world.engine()
    routed = world.find(device().model_copy(update={"address": "2001:5"}))
    world.find()
    await engine.accept(routed.id, AcceptRequest(), "ana")
    binding = world.nodes.get("1001").protocol_binding
    assert binding is not None
    assert binding.config == {"device_instance": 1001, "network_id": "ip"}


async def test_one_instance_on_two_networks_becomes_two_units(world: World) -> None:
    engine = await world.engine()
    one, other = world.find(), world.find(device(network="ip2"))
    await engine.accept(one.id, AcceptRequest(), "ana")
    await engine.accept(other.id, AcceptRequest(), "ana")
    assert {"1001", "ip2-1001", "ip2-1001/analog-input-1"} <= world.made()


async def test_five_thousand_points_in_one_device(world: World) -> None:
    engine = await world.engine()
    points = {f"analog-value-{number}": f"FCU-{number // 10}.ZN-T{number}" for number in range(5000)}
    found = world.find(device(points=points))
    done = await engine.accept(found.id, AcceptRequest(), "ana")
    assert len(done.created_node_ids) == 5501
    assert len(world.nodes.subtree("1001")) == 5501


# Modbus and profiles


def registers(count: int = 2) -> list[FoundPoint]:
    return [
        FoundPoint(
            point_key=f"power-{number}",
            name=f"Power {number}",
            kind="input",
            units="kilowatts",
            tags=["elec"],
            binding={"register_type": "input", "address": number, "data_type": "float32"},
            alarm=FoundAlarm(condition=LimitCondition(high=50.0), severity=Severity.LOW, message="too much"),
        )
        for number in range(count)
    ]


def meter(points: list[FoundPoint] | None, profile: str = "") -> FoundDevice:
    return FoundDevice(
        network_id="mb",
        protocol="modbus",
        device_key="5",
        address="10.0.0.9:502 unit 5",
        points=points,
        profile=profile,
        binding={"network_id": "mb", "unit": 5},
    )


async def test_a_modbus_unit_becomes_what_its_profile_says(world: World) -> None:
    engine = await world.engine()
    found = world.find(meter(registers(), "sdm"))
    await engine.accept(found.id, AcceptRequest(name="Main Meter"), "ana")
    unit = world.nodes.get("mb-5")
    assert unit.protocol_binding == ProtocolBinding(protocol="modbus", config={"network_id": "mb", "unit": 5})
    assert unit.properties["profile"] == "sdm"
    point = world.nodes.get("mb-5/power-1")
    assert point.protocol_binding is not None
    assert point.protocol_binding.config == {
        "device_id": "mb-5",
        "network_id": "mb",
        "register_type": "input",
        "address": 1,
        "data_type": "float32",
    }
    assert (point.dis, "elec" in point.tags) == ("Power 1", True)
    limits = [each for each in world.alarms.configs()[0] if each.message == "too much"]
    assert [each.node_id for each in limits] == ["mb-5/power-0", "mb-5/power-1"]
    again = await engine.proposal(found.id, AcceptRequest(node_id="x"))
    assert [each.bound_to for each in again.points] == [["mb-5/power-0"], ["mb-5/power-1"]]


async def test_a_modbus_unit_without_profile_needs_one(world: World) -> None:
    engine = await world.engine()
    found = world.find(meter(None))
    with pytest.raises(ConflictError, match="choose one"):
        await engine.accept(found.id, AcceptRequest(), "ana")
    world.modbus.profiles["sdm"] = registers()
    shown = await engine.proposal(found.id, AcceptRequest(profile="sdm"))
    assert (shown.profile, len(shown.points)) == ("sdm", 2)
    await engine.accept(found.id, AcceptRequest(profile="sdm"), "ana")
    assert {"mb-5/power-0", "mb-5/power-1"} <= world.made()


async def test_a_bacnet_profile_names_the_objects_that_are_there(world: World) -> None:
    engine = await world.engine()
    found = world.find()
    world.bacnet.profiles["vav"] = [
        FoundPoint(
            point_key="analog-input-1",
            name="Room Temp",
            kind="analog-input",
            alarm=FoundAlarm(condition=LimitCondition(high=30.0)),
        ),
        FoundPoint(point_key="analog-input-77", name="Not there", kind="analog-input"),
    ]
    await engine.accept(found.id, AcceptRequest(profile="vav"), "ana")
    assert world.nodes.get("1001/analog-input-1").dis == "Room Temp"
    assert "1001/analog-input-77" not in world.made()
    assert any(each.condition.kind == "limit" for each in world.alarms.configs()[0])


async def test_a_device_whose_nodes_are_deleted_can_be_accepted_again_by_itself(world: World) -> None:
    engine = await world.engine()
    kept, gone = world.find(), world.find(device("1002"))
    for each in (kept, gone):
        await engine.accept(each.id, AcceptRequest(), "ana")
    world.nodes.delete("1001/analog-input-1")
    world.nodes.delete("1002", recursive=True)
    deleted = EntityDeleted(entity_id="1002")
    await world.bus.publish([Frame("entity_deleted", 1, b"[" + event_json(deleted) + b"]")])
    await until(lambda: world.discovery.get(gone.id).state is DeviceState.DISCOVERED)
    found = world.discovery.get(gone.id)
    assert (found.created_node_ids, found.changed_by) == ([], "discovery")
    assert world.discovery.get(kept.id).state is DeviceState.ACCEPTED
    assert {each.node_id.partition("/")[0] for each in world.alarms.configs()[0]} == {"1001"}
    await engine.accept(gone.id, AcceptRequest(), "ana")
    assert await engine.release_gone() == []


async def test_what_was_deleted_while_the_engine_was_away_is_given_back_at_its_start(world: World) -> None:
    first = await world.engine()
    found = world.find()
    await first.accept(found.id, AcceptRequest(), "ana")
    await first.stop()
    world.nodes.delete("1001", recursive=True)
    world.flaky["nodes"].at = "ids"
    await world.engine()
    await asyncio.sleep(0.03)
    world.flaky["nodes"].at = ""
    await until(lambda: world.discovery.get(found.id).state is DeviceState.DISCOVERED)


def a_unit(key: str, unit: int) -> FoundDevice:
    return FoundDevice(
        network_id="mb",
        protocol="modbus",
        device_key=key,
        address=f"10.0.0.9 unit {unit}",
        binding={"network_id": "mb", "unit": unit},
    )


def register(node_id: str, device_id: str, **more: Any) -> Node:
    binding = ProtocolBinding.modbus(device_id, "holding", 0, "uint16", **more)
    return Node(id=node_id, node_type=NodeType.POINT, dis="P", parent_id="north", protocol_binding=binding)


async def test_what_was_bound_by_hand_is_shown_as_bound(world: World) -> None:
    """Both protocols, by equipment, by a point alone, and by the configuration; until the nodes are gone."""
    by_equip, by_config, nobody = (world.find(a_unit(str(unit), unit)) for unit in (3, 4, 5))
    by_point = world.find(device())
    world.modbus.units = {"mb": {"meter": 4}}
    engine = await world.engine()
    pump = ProtocolBinding(protocol="modbus", config={"network_id": "mb", "unit": 3})
    world.nodes.create(
        Node(id="pump", node_type="Equip", dis="Pump", parent_id="north", protocol_binding=pump)
    )
    world.nodes.create(register("flow", "pump"))
    world.nodes.create(register("power", "meter", network_id="mb"))
    alone = ProtocolBinding.bacnet(1001, "analog-input", 1, "ip")
    world.nodes.create(
        Node(id="room", node_type="Point", dis="Room", parent_id="north", protocol_binding=alone)
    )
    made = EntityCreated(entity_id="room", entity_type="Point")
    await world.bus.publish([Frame("entity_created", 1, b"[" + event_json(made) + b"]")])
    wanted = {by_equip.id: "pump", by_config.id: "power", by_point.id: "room"}
    # One protocol is noted after the other.
    await until(lambda: {each: world.discovery.get(each).bound_to for each in wanted} == wanted)
    assert {world.discovery.get(each).state for each in wanted} == {DeviceState.BOUND}
    assert world.discovery.get(nobody.id).state is DeviceState.DISCOVERED
    assert {each.id for each in world.discovery.find(DeviceState.BOUND)[0]} == {
        by_equip.id,
        by_config.id,
        by_point.id,
    }
    assert [each.id for each in world.discovery.find(DeviceState.DISCOVERED)[0]] == [nobody.id]
    assert world.discovery.summary().devices[DeviceState.BOUND] == 3

    # Nobody has decided about it: the rest of its points can still be accepted, or it can be put aside.
    assert world.discovery.ignore(by_config.id, "ana").state is DeviceState.IGNORED
    assert world.discovery.restore(by_config.id, "ana").state is DeviceState.BOUND
    accepted = await engine.accept(by_point.id, AcceptRequest(), "ana")
    assert accepted.state is DeviceState.ACCEPTED

    world.nodes.delete("pump")
    world.nodes.delete("flow")
    await engine.note_bound()
    await until(lambda: world.discovery.get(by_equip.id).state is DeviceState.DISCOVERED)


async def test_a_register_that_the_configuration_reads_is_told_as_bound(world: World) -> None:
    """Whether the unit was found before it was named in the configuration, or after that."""
    points = [
        FoundPoint(
            point_key="holding-0",
            name="P",
            kind="holding",
            binding={"register_type": "holding", "address": 0},
        )
    ]
    world.modbus.units = {"mb": {"meter": 4}}
    world.nodes.create(register("power", "meter", network_id="mb"))
    engine = await world.engine()
    for key in ("4", "meter"):
        found = world.find(a_unit(key, 4).model_copy(update={"points": points}))
        shown = await engine.proposal(found.id, AcceptRequest())
        assert [each.bound_to for each in shown.points] == [["power"]]
    world.modbus.fails = UnreachableError("modbus", "gone")
    found = world.find(a_unit("meter", 4).model_copy(update={"points": points}))
    assert [each.bound_to for each in (await engine.proposal(found.id, AcceptRequest())).points] == [
        ["power"]
    ]


async def test_what_is_bound_by_the_configuration_stays_so_while_the_bridge_is_away(world: World) -> None:
    by_config, by_point = world.find(a_unit("4", 4)), world.find(device())
    world.modbus.units = {"mb": {"meter": 4}}
    world.nodes.create(register("power", "meter", network_id="mb"))
    first = await world.engine()
    await until(lambda: world.discovery.get(by_config.id).bound_to == "power")
    await first.stop()
    world.modbus.fails = UnreachableError("modbus", "it is restarting")
    engine = await world.engine()
    alone = ProtocolBinding.bacnet(1001, "analog-input", 1, "ip")
    world.nodes.create(
        Node(id="room", node_type="Point", dis="Room", parent_id="north", protocol_binding=alone)
    )
    with pytest.raises(UnreachableError):
        await engine.note_bound()
    assert world.discovery.get(by_config.id).bound_to == "power"
    # What the other bridge reads is noted all the same.
    await until(lambda: world.discovery.get(by_point.id).bound_to == "room")
    # Once it answers, nobody has to change the model for that to be seen.
    world.modbus.fails, world.modbus.units = None, {}
    await until(lambda: world.discovery.get(by_config.id).bound_to is None)
