"""The bridge against the simulated building: read, imported, commanded, subscribed, lost and found."""

import asyncio
import socket
import time

import pytest

from actors.core.errors import (
    BadInputError,
    ConflictError,
    NotFoundError,
    UnreachableError,
    WriteFailedError,
    WriteUnsureError,
)
from actors.core.health import HealthState
from actors.core.values import PointStatus
from actors.node.models import ProtocolBinding
from bridges.bacnet.bridge import BacnetBridge
from bridges.config import ModbusNetwork
from bridges.simulator import devices
from tests.bridges.bacnet.conftest import SOON, Bench, device, point, until
from tests.support import InProcess

DOWN, FAULT, DISABLED = PointStatus.DOWN, PointStatus.FAULT, PointStatus.DISABLED
ZONE, SETPOINT, REHEAT = "1101/analog-input-1", "1101/analog-value-1", "1101/analog-output-2"
POINTS = [point("analog-input"), point("analog-value"), point("analog-output", 2)]


async def test_values_of_a_small_controller_arrive(bench: Bench) -> None:
    kinds = [("analog-input", each) for each in range(1, 6)]
    kinds += [("analog-value", each) for each in range(1, 9)]
    kinds += [("analog-output", 1), ("analog-output", 2), ("multi-state-value", 1), ("binary-input", 1)]
    nodes = [point(*kind) for kind in kinds]
    bridge = await bench.bridge([device(cov=False)], nodes)
    await until(lambda: all(bench.value(node.id) is not None for node in nodes))
    assert bench.value(SETPOINT) == 21.5
    assert isinstance(bench.value(ZONE), float)
    assert isinstance(bench.value("1101/multi-state-value-1"), int)
    assert isinstance(bench.value("1101/binary-input-1"), bool)
    assert not any(bench.status(node.id) for node in nodes)
    (status,) = await bridge.status()
    assert (status.state, status.points, status.cov_points) == ("online", len(nodes), 0)
    assert (status.vendor, status.firmware, status.errors) == (devices.VENDOR, devices.FIRMWARE, 0)
    assert (status.answer_ms or 0) > 0
    assert (status.answer_ms_max or 0) >= (status.answer_ms_p95 or 0) > 0
    assert (status.poll_ms or 0) > 0
    assert {each.name for each in bridge.measures()} >= {"opencrate_device_answer_seconds"}
    assert bench.told() == ["device_discovered"]
    assert (await bridge.health()).state is HealthState.HEALTHY


async def test_a_poll_goes_on(bench: Bench) -> None:
    await bench.bridge([device(cov=False)], POINTS)
    await until(lambda: bench.value(ZONE) is not None)
    bench.object("vav-1", "analog-input,1").presentValue = 33.0
    await until(lambda: bench.value(ZONE) == 33.0)


async def test_an_object_that_is_not_there_flags_only_its_point(bench: Bench) -> None:
    bridge = await bench.bridge([device(cov=False)], [*POINTS, point("analog-input", 77)])
    await until(lambda: bench.status("1101/analog-input-77") == FAULT)
    await until(lambda: bench.value(ZONE) is not None)
    assert bench.status(ZONE) == 0
    health = await bridge.health()
    assert health.state is HealthState.DEGRADED
    assert "1101/analog-input-77: unknown-object" in health.reasons[0]
    (status,) = await bridge.status()
    assert status.error_kinds == {"unknown-object": status.errors}


async def test_a_broken_sensor_is_flagged_and_stays_so_after_a_read(bench: Bench) -> None:
    bridge = await bench.bridge([device(cov=False)], POINTS)
    await until(lambda: bench.value(ZONE) is not None)
    bench.object("vav-1", "analog-input,1").set_fault(True)
    await until(lambda: bench.status(ZONE) == FAULT)
    await bridge.read(ZONE)
    await bridge._outbox.drained(1)
    assert bench.status(ZONE) == FAULT


async def test_a_device_without_nodes_tells_its_objects(bench: Bench) -> None:
    await bench.bridge([device()])
    await until(lambda: len(bench.nodes.bound("bacnet")) > 10, 30)
    setpoint = bench.nodes.get(SETPOINT)
    assert (setpoint.dis, setpoint.parent_id) == ("Zone Setpoint", "1101")
    assert setpoint.properties["units"] == "degrees-celsius"
    assert setpoint.properties["origin"] == "device"
    assert setpoint.properties["device"] == "1101"
    assert setpoint.capabilities.writable
    assert not bench.nodes.get(ZONE).capabilities.writable
    states = {
        node.id: node.properties["states"]
        for node in bench.nodes.bound("bacnet")
        if "states" in node.properties
    }
    assert states
    assert all(isinstance(text, str) for texts in states.values() for text in texts)
    await until(lambda: bench.value(SETPOINT) == 21.5)


async def test_a_command_goes_to_its_slot_and_back(bench: Bench) -> None:
    bridge = await bench.bridge([device()], POINTS)
    await until(lambda: bench.value(SETPOINT) is not None)
    assert await bridge.write(SETPOINT, 23.0, 8) == 23.0
    assert bench.value(SETPOINT) == 23.0
    assert await bridge.write(SETPOINT, 19, 10) == 23.0
    array = await bridge.priority_array(SETPOINT)
    assert (array.slots[7], array.slots[9], array.active_priority) == (23.0, 19.0, 8)
    assert (array.relinquish_default, array.present_value) == (21.5, 23.0)
    assert await bridge.write(SETPOINT, None, 8) == 19.0
    assert await bridge.write(SETPOINT, None, 10) == 21.5
    array = await bridge.priority_array(SETPOINT)
    assert (array.slots, array.active_priority) == ([None] * 16, None)


async def test_slots_have_the_type_of_their_object(bench: Bench) -> None:
    nodes = [
        point("binary-output", device=1001, properties={"states": ["Off", "On"]}),
        point("multi-state-value", device=1001, properties={"states": ["Auto", "Occupied", "Unoccupied"]}),
    ]
    bridge = await bench.bridge([device(1001)], nodes)
    await until(lambda: all(bench.value(node.id) is not None for node in nodes))
    assert await bridge.write(nodes[0].id, False, 8) is False
    assert (await bridge.priority_array(nodes[0].id)).slots[7] is False
    assert await bridge.write(nodes[1].id, 2, 8) == 2
    assert (await bridge.priority_array(nodes[1].id)).slots[7] == 2
    with pytest.raises(BadInputError, match="1 to 3"):
        await bridge.write(nodes[1].id, 4, 8)


async def test_what_a_device_refuses_is_told_in_its_own_words(bench: Bench) -> None:
    bridge = await bench.bridge([device()], POINTS)
    await until(lambda: bench.value(ZONE) is not None)
    with pytest.raises(WriteFailedError) as caught:
        await bridge.write(ZONE, 20.0, 8)
    assert (caught.value.point_id, caught.value.reason) == (ZONE, "write-access-denied")
    with pytest.raises(ConflictError, match="priority array"):
        await bridge.priority_array(ZONE)
    with pytest.raises(BadInputError) as bad:
        await bridge.write(SETPOINT, True, 8)
    assert bad.value.field == "value"
    with pytest.raises(BadInputError, match="priority"):
        await bridge.write(SETPOINT, 20.0, 17)
    with pytest.raises(NotFoundError):
        await bridge.write("1101/nothing", 20.0, 8)


async def test_a_change_is_told_before_the_next_poll(bench: Bench) -> None:
    bridge = await bench.bridge([device(interval=600)], POINTS)
    units = bridge._devices["1101"]
    await until(lambda: units.status().cov_points == len(POINTS))
    await until(lambda: bench.value(ZONE) is not None)
    reads, began = units.status().reads, time.monotonic()
    bench.object("vav-1", "analog-input,1").presentValue = 35.0
    await until(lambda: bench.value(ZONE) == 35.0, 5)
    assert time.monotonic() - began < 2
    assert units.status().reads == reads


async def test_a_notification_from_another_device_is_not_taken(bench: Bench) -> None:
    nodes = [point("analog-input", device=each) for each in (1101, 1102)]
    bridge = await bench.bridge([device(1101, interval=600), device(1102, interval=600)], nodes)
    await until(lambda: all(bench.value(node.id) is not None for node in nodes))
    await until(lambda: all(each.status().cov_points for each in bridge._devices.values()))
    # As after a restart: the subscription that 1102 still holds has the number that 1101's has now.
    numbers = {each.device.id: number for number, each in bridge._by_process.items()}
    bridge._by_process[numbers["1102"]] = bridge._devices["1101"]
    before = bench.value("1101/analog-input-1")
    bench.object("vav-2", "analog-input,1").presentValue = 44.0
    await asyncio.sleep(0.5)
    assert bench.value("1101/analog-input-1") == before


async def test_a_dead_device_goes_down_and_comes_back_with_its_subscriptions(bench: Bench) -> None:
    bridge = await bench.bridge([device()], POINTS, timeout=SOON)
    unit = bridge._devices["1101"]
    await until(lambda: unit.status().cov_points == len(POINTS) and bench.value(SETPOINT) == 21.5)
    app = bench.simulator.bacnet.devices["vav-1"]
    app.play_dead(True)
    await until(lambda: "device_down" in bench.told(), 30)
    await until(lambda: all(bench.status(node.id) & DOWN for node in POINTS))
    assert bench.value(SETPOINT) == 21.5
    (status,) = await bridge.status()
    assert (status.state, status.misses >= 5) == ("down", True)
    health = await bridge.health()
    assert health.state is HealthState.DOWN
    assert health.reasons[0].startswith("1101 is down: no answer")
    with pytest.raises((UnreachableError, WriteFailedError), match="no answer"):
        await bridge.write(SETPOINT, 22.0, 8)
    app.play_dead(False)
    await until(lambda: "device_recovered" in bench.told(), 30)
    await until(lambda: not any(bench.status(node.id) for node in POINTS))
    await until(lambda: unit.status().cov_points == len(POINTS))


async def test_a_write_to_a_device_that_just_died_is_not_answered(bench: Bench) -> None:
    bridge = await bench.bridge([device(interval=600, cov=False)], POINTS, timeout=SOON)
    await until(lambda: bench.value(SETPOINT) is not None)
    bench.simulator.bacnet.devices["vav-1"].play_dead(True)
    with pytest.raises(WriteUnsureError, match=f"no answer within {SOON:g} s"):
        await bridge.write(SETPOINT, 22.0, 8)


async def test_a_device_that_was_never_found_is_unreachable(bench: Bench) -> None:
    bridge = await bench.bridge([device(4711)], [point("analog-value", device=4711)], timeout=SOON)
    await until(lambda: "device_down" in bench.told(), 30)
    with pytest.raises(UnreachableError, match="Who-Is 4711"):
        await bridge.write("4711/analog-value-1", 1.0, 8)


async def test_the_other_devices_do_not_wait_for_a_dead_one(bench: Bench) -> None:
    bench.simulator.bacnet.devices["vav-2"].play_dead(True)
    nodes = [point("analog-input", device=each) for each in (1101, 1102)]
    await bench.bridge([device(1102, cov=False), device(cov=False)], nodes, timeout=SOON)
    await until(lambda: bench.value(ZONE) is not None)
    await until(lambda: bench.status("1102/analog-input-1") & DOWN, 30)
    bench.object("vav-1", "analog-input,1").presentValue = 31.0
    await until(lambda: bench.value(ZONE) == 31.0)


async def test_a_device_whose_objects_can_not_be_made_nodes_keeps_no_other_waiting(bench: Bench) -> None:
    bridge = await bench.bridge([device(cov=False), device(1102, cov=False)])
    bench.nodes.delete("1101")
    await until(lambda: bench.value("1102/analog-input-1") is not None, 30)
    assert bench.value(ZONE) is None
    assert not any("node store" in reason for reason in (await bridge.health()).reasons)


async def test_points_follow_the_model_and_a_bad_binding_harms_no_other(bench: Bench) -> None:
    odd = point("analog-input", 9)
    odd.protocol_binding = ProtocolBinding(protocol="bacnet", config={"device_instance": "what"})
    wrong = point("file", 3)
    other = point("analog-input", device=1105)
    other.parent_id = "1101"
    bridge = await bench.bridge([device(cov=False)], [*POINTS, odd, wrong, other])
    await until(lambda: bench.value(ZONE) is not None)
    await until(lambda: bench.status(wrong.id) == FAULT)
    assert bench.status(other.id) == DISABLED
    assert any("file,3" in reason for reason in (await bridge.health()).reasons)
    bench.nodes.delete(ZONE)
    await bridge.reload()
    await until(lambda: ZONE not in bench.points.ids())


async def test_a_port_that_is_taken_is_named(bench: Bench) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        bridge = await bench.bridge([device()], POINTS, port=port)
        await asyncio.sleep(0.2)
        assert any(f"127.0.0.1:{port}" in reason for reason in (await bridge.health()).reasons)


async def test_a_bridge_without_bacnet_devices_is_healthy() -> None:
    line = ModbusNetwork(id="line", host="127.0.0.1")
    bridge = BacnetBridge("north", [line], [], InProcess(None), InProcess(None))
    assert (await bridge.health()).state is HealthState.HEALTHY
    assert await bridge.status() == []


async def test_a_device_on_a_network_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadInputError, match="ip"):
        BacnetBridge("north", [], [device()], InProcess(None), InProcess(None))
