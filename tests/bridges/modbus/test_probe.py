"""Finding units by asking every id."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from actors.core.errors import BadInputError, BridgeError, ConflictError, NotFoundError
from bridges.config import ModbusNetwork, PointProfile, Profile
from bridges.modbus.bridge import ModbusBridge
from bridges.modbus.matching import by_identity, by_registers, places
from bridges.modbus.probe import ProbeStep
from bridges.modbus.services import Identity
from tests.bridges.modbus.conftest import Bench, network, point, serial, unit, until
from tests.bridges.modbus.device import Behaviour, Memory, frame


def profile(name: str, **more: Any) -> Profile:
    points = [
        PointProfile(
            id="power", dis="Power", register="input", address=52, data_type="float32", units="watts"
        ),
        PointProfile(id="reset", register="coil", address=1, data_type="bool", writable=True),
    ]
    return Profile(profile=name, dis=name, protocol="modbus", points=points, **more)


ACME = profile(
    "acme-x",
    vendor="Acme",
    model="X1",
    identified_by=[{"vendor": "acme*", "model": "x1*"}],
    fingerprint={"register": "holding", "address": 11, "values": [340, 341]},
)


async def steps(bridge: ModbusBridge, **how: Any) -> list[ProbeStep]:
    how = {"network_id": "line", "profiles": [ACME], "timeout": 0.4} | how
    return [step async for step in bridge.probe(**how)]


def units(found: list[ProbeStep]) -> list[int | None]:
    return [step.unit for step in found if step.found]


async def test_units_behind_a_gateway_are_found_with_progress(bench: Bench) -> None:
    device = await bench.device({1: Memory(holding={0: 1}), 7: Memory(), 9: Memory(functions=set())})
    bridge = await bench.bridge([network(device, timeout=1.0)], [unit()], [])
    found = await steps(bridge, units=range(1, 11))
    assert [(step.done, step.total, step.unit) for step in found] == [(at, 10, at) for at in range(1, 11)]
    assert units(found) == [1, 7, 9]
    first, second = found[0].found, found[6].found
    assert first
    assert second
    assert (first.device_key, second.device_key) == ("meter", "7")
    assert second.address == f"127.0.0.1:{device.port} unit 7"
    assert (second.network_id, second.protocol, second.points) == ("line", "modbus", None)
    assert device.connections == 1


@pytest.mark.parametrize("code", [10, 11, 4])
async def test_what_a_gateway_says_for_an_empty_id_is_no_unit(bench: Bench, code: int) -> None:
    device = await bench.device({3: Memory(exception=code), 4: Memory(exception=6)})
    bridge = await bench.bridge([network(device, timeout=1.0)], [], [])
    assert units(await steps(bridge, units=[3, 4])) == [4]


async def test_a_unit_that_fails_for_one_table_only_is_there(bench: Bench) -> None:
    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        return frame(transaction, unit, b"\x83\x04" if pdu[0] == 3 else bytes([pdu[0] | 0x80, 1]))

    bridge = await bench.bridge([network(await bench.device({}, behave), timeout=1.0)], [], [])
    assert units(await steps(bridge, units=[5])) == [5]


async def test_a_tcp_device_that_answers_to_every_id_is_one_device(bench: Bench) -> None:
    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        return frame(transaction, unit, Memory(holding={0: 1}).answer(pdu) or b"")

    bridge = await bench.bridge([network(await bench.device({}, behave), timeout=1.0)], [], [])
    found = await steps(bridge)
    assert [(step.unit, step.total, step.note) for step in found] == [
        (1, 1, "it answers to every unit id: one device, not many")
    ]
    await bridge.stop()
    bridge = await bench.bridge([network(bench.devices[0], timeout=1.0)], [unit(unit=5)], [])
    assert units(await steps(bridge)) == [5]


def says(identity: bytes, registers: dict[int, int] | None = None) -> Behaviour:
    memory = Memory(holding={0: 0} | (registers or {}))

    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        if pdu[0] == 43 and identity:
            return frame(transaction, unit, b"\x2b\x0e\x02\x01\x00\x00" + identity)
        return frame(transaction, unit, memory.answer(pdu) or b"")

    return behave


async def test_a_profile_is_found_by_what_the_unit_says_of_itself(bench: Bench) -> None:
    device = await bench.device({}, says(b"\x03\x00\x08Acme Inc\x01\x05X1-3P\x02\x032.1"))
    bridge = await bench.bridge([network(device, timeout=1.0)], [], [])
    (step,) = await steps(bridge, units=[5])
    assert step.profile == "acme-x"
    found = step.found
    assert found
    assert (found.vendor, found.model, found.firmware) == ("Acme Inc", "X1-3P", "2.1")
    told = [(each.point_key, each.name, each.kind, each.units, each.writable) for each in found.points or []]
    assert told == [
        ("power", "Power", "input", "watts", False),
        ("reset", "reset", "coil", None, True),
    ]


async def test_a_profile_is_found_by_a_register_where_the_unit_says_nothing(bench: Bench) -> None:
    device = await bench.device({}, says(b"", {11: 341}))
    bridge = await bench.bridge([network(device, timeout=1.0)], [], [])
    (step,) = await steps(bridge, units=[5])
    assert step.profile == "acme-x"
    assert step.found
    assert (step.found.vendor, step.found.model) == ("Acme", "X1")


async def test_profiles_that_come_with_the_program_are_tried_unless_others_are_given(bench: Bench) -> None:
    device = await bench.device({}, says(b"\x02\x00\x09OpenCrate\x01\x07SIM-VFD"))
    bridge = await bench.bridge([network(device, timeout=1.0)], [], [])
    (step,) = await steps(bridge, units=[5], profiles=None)
    assert step.profile == "vfd"


async def test_a_probe_ends_when_it_is_cancelled_or_closed(bench: Bench) -> None:
    device = await bench.device({})
    bridge = await bench.bridge([network(device, timeout=1.0)], [], [])
    assert not await bridge.cancel_probe("line")
    seen = []
    async for step in bridge.probe("line", profiles=[], timeout=0.02):
        seen.append(step)
        if step.done == 3:
            assert await bridge.cancel_probe("line")
    assert [step.done for step in seen] == [1, 2, 3]
    probe: AsyncIterator[ProbeStep] = bridge.probe("line", profiles=[], timeout=0.02)
    await anext(probe)
    with pytest.raises(ConflictError, match="under way"):
        await anext(bridge.probe("line"))
    await probe.aclose()  # type: ignore[attr-defined]
    asked = len(device.requests)
    await asyncio.sleep(0.1)
    assert len(device.requests) == asked
    assert len(await steps(bridge, units=[1])) == 1


async def test_a_cancelled_task_leaves_the_network_free(bench: Bench) -> None:
    device = await bench.device({})
    bridge = await bench.bridge([network(device, timeout=1.0)], [], [])
    task = asyncio.create_task(steps(bridge, timeout=1.0))
    await until(lambda: len(device.requests) > 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not bridge._probed)
    assert units(await steps(bridge, units=[1])) == []


async def test_polling_goes_on_meanwhile_over_the_same_connection(bench: Bench) -> None:
    device = await bench.device({1: Memory(holding={0: 5})})
    bridge = await bench.bridge([network(device, timeout=1.0)], [unit()], [point("a")])
    await until(lambda: bench.points.value("meter/a") == 5.0)
    polls = len([pdu for unit, pdu in device.requests if unit == 1])
    found = await steps(bridge, units=range(2, 32), timeout=0.05)
    assert units(found) == []
    assert len([pdu for unit, pdu in device.requests if unit == 1]) > polls
    assert device.connections == 1


async def test_a_probe_without_a_connection_says_why(bench: Bench) -> None:
    device = await bench.device({})
    await device.stop()
    bridge = await bench.bridge([network(device, timeout=1.0)], [], [])
    with pytest.raises(BridgeError, match="connection refused") as caught:
        await steps(bridge)
    assert type(caught.value) is BridgeError


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"network_id": "nowhere"}, NotFoundError),
        ({"units": [256]}, BadInputError),
        ({"units": []}, BadInputError),
        ({"timeout": 0}, BadInputError),
        ({"timeout": 60}, BadInputError),
    ],
)
async def test_what_can_not_be_probed_is_refused(
    bench: Bench, how: dict[str, Any], error: type[Exception]
) -> None:
    device = await bench.device({})
    bridge = await bench.bridge([network(device, timeout=1.0)], [], [])
    with pytest.raises(error):
        await steps(bridge, **how)
    assert device.requests == []
    assert bridge._probed == {}


def simulated(unit_id: int) -> SimDevice:
    return SimDevice(id=unit_id, simdata=[SimData(0, count=50, values=unit_id, datatype=DataType.REGISTERS)])


IDENTITY = {"VendorName": "Acme", "ProductCode": "X1", "MajorMinorRevision": "2.1"}


async def test_pymodbus_units_on_a_serial_line_are_found(bench: Bench, pair: tuple[str, str]) -> None:
    known = ModbusDeviceIdentification(info_name=IDENTITY)  # type: ignore[no-untyped-call]
    server = ModbusSerialServer(
        [simulated(2), simulated(5)], framer=FramerType.RTU, port=pair[0], baudrate=19200, identity=known
    )
    await server.serve_forever(background=True)
    bridge = await bench.bridge([serial(pair[1], timeout=1.0)], [], [])
    found = await steps(bridge, network_id="bus", units=range(1, 7), timeout=0.5)
    await server.shutdown()
    assert units(found) == [2, 5]
    assert {step.profile for step in found if step.found} == {"acme-x"}


@pytest.mark.parametrize("transport", ["tcp", "rtu-over-tcp"])
async def test_pymodbus_units_behind_tcp_are_found(bench: Bench, transport: Any) -> None:
    framer = FramerType.SOCKET if transport == "tcp" else FramerType.RTU
    server = ModbusTcpServer([simulated(2), simulated(5)], address=("127.0.0.1", 0), framer=framer)
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    config = ModbusNetwork(id="line", transport=transport, host="127.0.0.1", port=port, timeout=1.0)
    bridge = await bench.bridge([config], [], [])
    found = await steps(bridge, units=range(1, 7), timeout=0.5)
    await server.shutdown()
    assert units(found) == [2, 5]


def test_the_profile_whose_model_says_most_fits_best() -> None:
    one = profile("any", identified_by=[{"vendor": "acme"}])
    two = profile("x", identified_by=[{"vendor": "other"}, {"vendor": "ACME", "model": "x*"}])
    three = profile("x1", identified_by=[{"vendor": "Acme", "model": "X1?"}])
    every = [one, two, three]
    assert by_identity(every, Identity(vendor="Acme", model="X12")) is three
    assert by_identity(every, Identity(vendor="Acme", product_code="X123")) is two
    assert by_identity(every, Identity(vendor="Acme", product="Y")) is one
    assert by_identity(every, Identity(vendor="Acme")) is one
    assert by_identity(every, Identity(vendor="Nobody", model="X1")) is None
    assert by_identity(every, Identity()) is None


def test_a_register_that_fits_several_profiles_says_nothing() -> None:
    other = profile("other", fingerprint={"register": "holding", "address": 11, "values": [341]})
    assert places([ACME, other, profile("none")]) == [("holding", 11)]
    assert by_registers([ACME, other], {("holding", 11): 340}) is ACME
    assert by_registers([ACME, other], {("holding", 11): 341}) is None
    assert by_registers([ACME, other], {}) is None


async def test_units_behind_what_loses_step_over_the_identification_are_all_found(bench: Bench) -> None:
    lost: list[int] = []
    memory = Memory(holding={0: 1})

    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        if pdu[0] == 43:
            lost.append(device.connections)
            return frame(transaction, unit, bytes([43 | 0x80, 1]))
        answer = memory.answer(pdu) if unit < 4 and device.connections not in lost else None
        return answer and frame(transaction, unit, answer)

    device = await bench.device({}, behave)
    bridge = await bench.bridge([network(device)], [], [])
    assert units(await steps(bridge, units=range(1, 6))) == [1, 2, 3]
    assert lost == [1]
    assert device.connections == 2
