"""The Modbus units, seen by a real client on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from bridges.config import PointProfile
from bridges.simulator import devices
from bridges.simulator.faults import parse
from bridges.simulator.modbus import Server
from bridges.simulator.physics import Building
from tests.bridges.simulator.support import IP
from tests.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

TYPE = AsyncModbusTcpClient.DATATYPE


@dataclass
class World:
    building: Building
    client: AsyncModbusTcpClient

    async def words(self, unit: int, register: str, address: int, count: int) -> Any:
        read = {"holding": self.client.read_holding_registers, "input": self.client.read_input_registers}
        return await read[register](address, count=count, device_id=unit)

    async def value(self, unit: int, name: str) -> float:
        """Read a point as its profile says, decoded by pymodbus rather than by our own codec."""
        point = _point(unit, name)
        kind = TYPE[point.data_type.upper()]
        answer = await self.words(unit, str(point.register), point.address or 0, kind.value[1])
        order = "little" if point.byte_order == "big-endian-word-swap" else "big"
        raw = self.client.convert_from_registers(answer.registers, kind, word_order=order)
        assert isinstance(raw, int | float)
        return raw * point.scale


def _point(unit: int, name: str) -> PointProfile:
    profile = devices.profile(devices.MODBUS[unit - 1].profile)
    return next(point for point in profile.points if point.id == name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    port = free_port(socket.SOCK_STREAM, IP)
    building = Building(3, datetime(2026, 7, 15, 13))
    server = Server(IP, port, building)
    await server.serve_forever(background=True)
    client = AsyncModbusTcpClient(IP, port=port, timeout=0.5, retries=0)
    await client.connect()
    yield World(building, client)
    client.close()
    await server.shutdown()


@pytest.mark.parametrize("unit", [1, 2])
async def test_a_meter_adds_up_in_every_data_type(world: World, unit: int) -> None:
    total = await world.value(unit, "active-power")
    phases = [await world.value(unit, f"active-power-l{phase}") for phase in (1, 2, 3)]
    assert sum(phases) == pytest.approx(total, rel=0.01)
    for phase, power in enumerate(phases, 1):
        volts, amps = [await world.value(unit, f"{kind}-l{phase}") for kind in ("voltage", "current")]
        factor = await world.value(unit, "power-factor")
        assert 215 < volts < 240
        assert volts * amps * factor / 1000 == pytest.approx(power, rel=0.01)
    kilowatt_hours = await world.value(unit, "energy")
    assert await world.value(unit, "energy-wh") / 1000 == pytest.approx(kilowatt_hours, rel=1e-5)
    assert await world.value(unit, "energy-tenths") == pytest.approx(kilowatt_hours, abs=0.2)
    assert await world.value(unit, "frequency-hundredths") == pytest.approx(50, abs=0.1)
    assert await world.value(unit, "power-factor-thousandths") == pytest.approx(factor, abs=0.001)


async def test_the_main_meter_sees_the_plant_and_the_rest(world: World) -> None:
    main, plant = [await world.value(unit, "active-power") for unit in (1, 2)]
    assert main > plant > 1
    before = await world.value(1, "energy-wh")
    world.building.step(600)
    assert await world.value(1, "energy-wh") - before == pytest.approx(main * 1000 / 6, rel=0.25)


async def test_the_pump_follows_the_speed_reference(world: World) -> None:
    plant = world.building.units["boiler-plant"]
    flow = plant.sensed["flow"]
    await world.client.write_register(1, 3000, device_id=3)
    assert (await world.words(3, "holding", 1, 1)).registers == [3000]
    world.building.step(60)
    assert await world.value(3, "output-frequency") == pytest.approx(15.0)
    assert plant.sensed["flow"] < 0.6 * flow
    await world.client.write_register(1, 7500, device_id=3)
    world.building.step(60)
    assert await world.value(3, "output-speed") == pytest.approx(75.0)


async def test_the_drive_starts_and_stops_by_coil_and_by_register(world: World) -> None:
    await world.client.write_coil(0, False, device_id=3)
    assert await world.value(3, "run-command") == 0
    world.building.step(60)
    assert await world.value(3, "output-speed") == 0
    bits = await world.client.read_discrete_inputs(0, count=4, device_id=3)
    assert bits.bits[:4] == [False, False, False, False]
    assert world.building.units["boiler-plant"].sensed["pump_1_status"] == 0
    await world.client.write_register(0, 1, device_id=3)
    world.building.step(60)
    bits = await world.client.read_discrete_inputs(0, count=4, device_id=3)
    assert bits.bits[:4] == [False, True, True, False]
    assert (await world.client.read_coils(0, count=2, device_id=3)).bits[:2] == [True, False]
    status = int(await world.value(3, "status-word"))
    assert status & 0b1111 == 0b0111


async def test_a_tripped_drive_says_so(world: World) -> None:
    world.building.set_faults(frozenset({parse("drive-fault:drive-1")}))
    world.building.step(10)
    assert await world.value(3, "fault-code") == 2310
    assert int(await world.value(3, "status-word")) & 0b1000
    assert (await world.client.read_discrete_inputs(0, count=1, device_id=3)).bits[0]
    await world.client.write_coil(1, True, device_id=3)
    world.building.step(10)
    assert (await world.client.read_discrete_inputs(0, count=1, device_id=3)).bits[0]
    world.building.set_faults(frozenset())
    world.building.step(60)
    assert not (await world.client.read_discrete_inputs(0, count=1, device_id=3)).bits[0]


@pytest.mark.parametrize(
    ("register", "value", "code"), [(1, 10001, 3), (0, 2, 3), (2, 5, 3), (100, 1, 2), (3, 0, 2)]
)
async def test_a_refused_write_names_its_exception(
    world: World, register: int, value: int, code: int
) -> None:
    answer = await world.client.write_register(register, value, device_id=3)
    assert answer.exception_code == code


async def test_refused_reads(world: World) -> None:
    assert (await world.words(1, "holding", 99, 1)).exception_code == 2
    assert (await world.words(1, "holding", 150, 20)).exception_code == 2
    assert (await world.words(1, "input", 0, 1)).exception_code == 2
    assert (await world.words(9, "holding", 0, 1)).exception_code == 11
    assert (await world.words(1, "holding", 100, 59)).registers


async def test_masked_and_combined_writes(world: World) -> None:
    await world.client.write_register(1, 0x1000, device_id=3)
    await world.client.mask_write_register(address=1, and_mask=0xFF00, or_mask=0x0034, device_id=3)
    answer = await world.client.readwrite_registers(
        read_address=0, read_count=3, write_address=2, values=[250], device_id=3
    )
    assert answer.registers == [1, 0x1034, 250]
    await world.client.write_registers(1, [7500, 200], device_id=3)


async def test_each_unit_has_its_own_identity(world: World) -> None:
    for spec in devices.MODBUS:
        answer = await world.client.read_device_information(read_code=2, object_id=0, device_id=spec.id)
        assert answer.information[0] == b"OpenCrate"
        assert answer.information[1].decode() == devices.profile(spec.profile).model
        assert answer.information[6].decode() == spec.name


async def test_a_dead_unit_answers_nothing_until_it_lives_again(world: World) -> None:
    world.building.set_faults(frozenset({parse("dead-device:meter-2")}))
    with pytest.raises(ModbusIOException):
        await world.words(2, "input", 0, 2)
    await asyncio.sleep(0)
    if not world.client.connected:
        await world.client.connect()
    assert (await world.words(1, "holding", 100, 2)).registers
    world.building.set_faults(frozenset())
    assert (await world.words(2, "input", 0, 2)).registers
