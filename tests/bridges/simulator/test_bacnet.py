"""The BACnet devices, seen by a real client on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio
from bacpypes3.apdu import ErrorRejectAbortNack, SubscribeCOVRequest, WritePropertyRequest
from bacpypes3.app import Application
from bacpypes3.constructeddata import Any as Any_
from bacpypes3.pdu import Address
from bacpypes3.primitivedata import Null, ObjectIdentifier, Real

from bridges.simulator import devices
from bridges.simulator.faults import FAULTS, parse
from bridges.simulator.program import Options, Simulator
from tests.bridges.simulator.support import IP, foreign_client
from tests.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

STARTING = parse("leaking-valve:vav-2")
REHEAT, SETPOINT, ZONE = "analog-output,2", "analog-value,1", "analog-input,1"


@dataclass
class World:
    """A simulator whose time the tests let pass, and a client."""

    simulator: Simulator
    client: Application
    addresses: dict[int, Address]

    async def read(self, device: int, obj: str, prop: str = "present-value", index: int | None = None) -> Any:
        request = self.client.read_property(self.addresses[device], ObjectIdentifier(obj), prop, index)
        return await asyncio.wait_for(request, 30)

    async def write(
        self, device: int, obj: str, value: Any, priority: int | None = None, prop: str = "present-value"
    ) -> None:
        obj_id = ObjectIdentifier(obj)
        request = self.client.write_property(self.addresses[device], obj_id, prop, value, priority=priority)
        await asyncio.wait_for(request, 30)

    def wait(self, minutes: float) -> None:
        """Let simulated minutes pass."""
        for _ in range(max(1, round(minutes * 3))):
            self.simulator.tick(20 / self.simulator.bacnet.speed)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    bacnet, modbus = free_port(socket.SOCK_DGRAM, IP), free_port(socket.SOCK_STREAM, IP)
    start = datetime(2026, 1, 14, 10)
    simulator = Simulator(Options(IP, bacnet, modbus, 10.0, 7, start, frozenset({STARTING})))
    await simulator.open()
    async with foreign_client(f"{IP}:{bacnet}") as client:
        found = await client.who_is(timeout=1.0)
        addresses = {each.iAmDeviceIdentifier[1]: each.pduSource for each in found}
        yield World(simulator, client, addresses)
    await simulator.close()


async def test_who_is_finds_all_devices(world: World) -> None:
    assert set(world.addresses) == {1000, 1001, *range(1101, 1109), 1201, 1900}


async def test_objects_are_those_of_the_profiles(world: World) -> None:
    for spec in devices.BACNET:
        identifier = f"device,{spec.instance}"
        assert await world.read(spec.instance, identifier, "object-name") == spec.name
        listed = [str(each) for each in await world.read(spec.instance, identifier, "object-list")]
        points = devices.profile(spec.profile).points
        assert [each for each in listed if not each.startswith(("device", "network-port"))] == [
            point.object for point in points
        ]


async def test_every_point_tells_its_name_units_and_value(world: World) -> None:
    wanted = ["object-name", "present-value", "status-flags"]
    for spec in devices.BACNET[:2]:
        for point in devices.profile(spec.profile).points:
            asked = [ObjectIdentifier(point.object), [*wanted, "units"] if point.units else wanted]
            got = await world.client.read_property_multiple(world.addresses[spec.instance], asked)
            values = {str(prop): value for _, prop, _, value in got}
            assert values["object-name"] == point.dis
            assert str(values.get("units", "")) == (point.units or "")
            assert list(values["status-flags"]) == [0, 0, 0, 0]
            assert float(values["present-value"]) == float(values["present-value"])


async def test_a_small_controller_refuses_an_answer_that_is_too_long(world: World) -> None:
    asked: list[Any] = []
    for point in devices.profile("vav-reheat").points:
        asked += [ObjectIdentifier(point.object), ["object-name", "description", "present-value"]]
    with pytest.raises(ErrorRejectAbortNack):
        await world.client.read_property_multiple(world.addresses[1101], asked)


async def test_a_command_wins_over_the_loop_and_gives_back(world: World) -> None:
    world.wait(1)
    assert (await world.read(1101, REHEAT, "priority-array", 16)).real is not None
    await world.write(1101, REHEAT, 100.0, 8)
    before = await world.read(1101, ZONE)
    world.wait(15)
    slots = await world.read(1101, REHEAT, "priority-array")
    assert len(slots) == 16
    assert slots[7].real == 100.0
    assert (await world.read(1101, REHEAT, "current-command-priority")).unsigned == 8
    assert await world.read(1101, "analog-input,2") > 30  # the coil is hot
    assert await world.read(1101, ZONE) > before + 1
    await world.write(1101, REHEAT, Null(()), 8)
    world.wait(1)
    assert await world.read(1101, REHEAT) == 0.0
    assert (await world.read(1101, REHEAT, "current-command-priority")).unsigned == 16


async def test_a_setpoint_moves_its_zone_within_two_minutes_of_real_time(world: World) -> None:
    before = await world.read(1104, ZONE)
    await world.write(1104, SETPOINT, 25.0, 8)
    world.wait(2 * world.simulator.bacnet.speed)
    assert await world.read(1104, ZONE) > before + 1.0
    await world.write(1104, SETPOINT, Null(()), 8)
    assert await world.read(1104, SETPOINT) == 21.5


async def test_what_a_controller_works_out_gives_way_even_to_a_schedule(world: World) -> None:
    fan, status = "binary-output,1", "binary-input,1"
    assert str(await world.read(1001, fan)) == "active"
    await world.write(1001, fan, "inactive", 16)
    world.wait(2)
    assert str(await world.read(1001, status)) == "inactive"
    await world.write(1001, fan, Null(()), 16)
    world.wait(3)
    assert str(await world.read(1001, status)) == "active"


@pytest.mark.parametrize(
    ("device", "obj", "value", "reason"),
    [
        (1101, ZONE, 30.0, "write-access-denied"),
        (1101, "analog-value,2", 30.0, "write-access-denied"),
        (1001, "binary-input,1", "inactive", "write-access-denied"),
        (1101, "multi-state-value,2", 2, "write-access-denied"),
        (1101, SETPOINT, 99.0, "value-out-of-range"),
        (1101, REHEAT, 100.5, "value-out-of-range"),
        (1101, "multi-state-value,1", 6, "value-out-of-range"),
        (1101, "multi-state-value,1", 0, "value-out-of-range"),
        (1001, "binary-output,1", 7, "value-out-of-range"),
        (1101, SETPOINT, float("nan"), "value-out-of-range"),
    ],
)
async def test_a_refused_write_says_why(world: World, device: int, obj: str, value: Any, reason: str) -> None:
    with pytest.raises(ErrorRejectAbortNack, match=reason):
        await world.write(device, obj, value, 8)


async def test_names_and_properties_that_are_not_there_cannot_be_written(world: World) -> None:
    with pytest.raises(ErrorRejectAbortNack, match="write-access-denied"):
        await world.write(1101, ZONE, "other", prop="object-name")
    request = WritePropertyRequest(
        objectIdentifier=ObjectIdentifier("binary-input,1"),
        propertyIdentifier="cov-increment",
        propertyValue=Any_(Real(1.0)),
        destination=world.addresses[1101],
    )
    with pytest.raises(ErrorRejectAbortNack, match="unknown-property"):
        await world.client.request(request)


@pytest.mark.parametrize(
    ("device", "obj", "value"),
    [
        (1105, SETPOINT, 23.0),
        (1105, REHEAT, 40.0),
        (1105, "multi-state-value,1", 3),
        (1001, "binary-output,1", "inactive"),
        (1900, "binary-value,1", "active"),
    ],
)
@pytest.mark.parametrize("confirmed", [False, True])
async def test_a_write_notifies_subscribers(
    world: World, device: int, obj: str, value: Any, confirmed: bool
) -> None:
    subscription = world.client.change_of_value(
        world.addresses[device], ObjectIdentifier(obj), None, confirmed, 30
    )
    async with subscription as changes:
        for _ in range(2):
            await asyncio.wait_for(changes.get_value(), 30)
        await world.write(device, obj, value, 8)
        prop, got = await asyncio.wait_for(changes.get_value(), 30)
        assert str(prop) == "present-value"
        assert got == value or str(got) == value
    await world.write(device, obj, Null(()), 8)


async def test_every_object_can_be_subscribed(world: World) -> None:
    for spec in (devices.BACNET[0], devices.BACNET[1], devices.BACNET[-2]):
        for point in devices.profile(spec.profile).points:
            subscription = world.client.change_of_value(
                world.addresses[spec.instance], ObjectIdentifier(point.object), None, False, 30
            )
            async with subscription as changes:
                prop, _ = await asyncio.wait_for(changes.get_value(), 30)
                assert str(prop) == "present-value"


async def test_a_subscription_without_lifetime_is_taken(world: World) -> None:
    def request(**more: Any) -> Any:
        return world.client.request(
            SubscribeCOVRequest(
                subscriberProcessIdentifier=77,
                monitoredObjectIdentifier=ObjectIdentifier(SETPOINT),
                destination=world.addresses[1106],
                **more,
            )
        )

    await request(issueConfirmedNotifications=False)
    await request()


async def test_a_simulated_input_drives_the_loop(world: World) -> None:
    await world.write(1107, ZONE, True, prop="out-of-service")
    await world.write(1107, ZONE, 12.0)
    world.wait(1)
    assert await world.read(1107, ZONE) == 12.0
    assert list(await world.read(1107, ZONE, "status-flags")) == [0, 0, 0, 1]
    assert await world.read(1107, REHEAT) == 100.0
    await world.write(1107, ZONE, False, prop="out-of-service")
    world.wait(1)
    assert await world.read(1107, ZONE) > 18


async def test_a_failed_sensor_is_flagged_and_told(world: World) -> None:
    switch = f"binary-value,{FAULTS.index(parse('failed-sensor:vav-6')) + 1}"
    address = world.addresses[1106]
    async with world.client.change_of_value(address, ObjectIdentifier(ZONE), None, False, 30) as changes:
        for _ in range(2):
            await asyncio.wait_for(changes.get_value(), 30)
        await world.write(1900, switch, "active", 8)
        world.wait(0.5)
        await asyncio.wait_for(changes.get_value(), 30)
        prop, flags = await asyncio.wait_for(changes.get_value(), 30)
        assert str(prop) == "status-flags"
        assert list(flags) == [0, 1, 0, 0]
    assert str(await world.read(1106, ZONE, "reliability")) == "no-sensor"
    await world.write(1900, switch, Null(()), 8)
    world.wait(0.5)
    assert list(await world.read(1106, ZONE, "status-flags")) == [0, 0, 0, 0]


async def test_a_dead_device_answers_nothing_until_it_lives_again(world: World) -> None:
    switch = f"binary-value,{FAULTS.index(parse('dead-device:vav-8')) + 1}"
    await world.write(1900, switch, "active", 8)
    world.wait(0.1)
    with pytest.raises(ErrorRejectAbortNack):
        await world.read(1108, ZONE)
    assert not await world.client.who_is(1108, 1108, timeout=0.5)
    assert await world.read(1107, ZONE)
    await world.write(1900, switch, Null(()), 8)
    world.wait(0.1)
    assert await world.read(1108, ZONE)


async def test_a_fault_given_at_the_start_can_be_switched_off(world: World) -> None:
    switch = f"binary-value,{FAULTS.index(STARTING) + 1}"
    assert str(await world.read(1900, switch)) == "active"
    assert STARTING in world.simulator.building.faults
    await world.write(1900, switch, "inactive", 8)
    world.wait(0.1)
    assert STARTING not in world.simulator.building.faults


async def test_a_subscriber_who_refuses_notifications_is_dropped(world: World) -> None:
    request = SubscribeCOVRequest(
        subscriberProcessIdentifier=78,
        monitoredObjectIdentifier=ObjectIdentifier(SETPOINT),
        issueConfirmedNotifications=True,
        lifetime=300,
        destination=world.addresses[1103],
    )
    await world.client.request(
        request
    )  # without a context of its own the client answers unknown-subscription
    await asyncio.sleep(0.3)
    assert not world.simulator.bacnet.devices["vav-3"]._cov_detections


async def test_the_speed_can_be_commanded(world: World) -> None:
    await world.write(1900, "analog-value,1", 0.0, 8)
    world.simulator.tick(0.1)
    before = world.simulator.building.elapsed
    world.simulator.tick(1.0)
    assert world.simulator.building.elapsed == before
    await world.write(1900, "analog-value,1", Null(()), 8)
    world.simulator.tick(0.1)
    assert world.simulator.bacnet.speed == 10.0
