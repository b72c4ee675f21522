"""Looking at registers of a device as they are now."""

import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.core.errors import BadInputError, BridgeError, DeviceRefusedError, NotFoundError
from bridges.modbus.bridge import ModbusBridge
from bridges.modbus.browse import MOST_REQUESTS, NOT_ASKED, Look, seen
from bridges.modbus.registers import ByteOrder
from tests.bridges.modbus.conftest import Bench, network, point, unit
from tests.bridges.modbus.device import Device, Memory

MISSING = "illegal data address (2)"


async def bridge_to(bench: Bench, device: Device, **config: Any) -> ModbusBridge:
    return await bench.bridge([network(device, timeout=0.6)], [unit(**config)], [])


def raws(look: Look) -> list[int | str | None]:
    return [each.raw if each.error is None else each.error for each in look.registers]


async def test_a_range_is_shown_as_every_data_type(bench: Bench) -> None:
    device = await bench.device({1: Memory(holding={10: 0x4148, 11: 0, 12: 0x1234, 13: 0xFFFF})})
    bridge = await bridge_to(bench, device)
    look = await bridge.browse("line", 1, "holding", 10, 4)
    first, _, third, last = look.registers
    assert (look.requests, [each.address for each in look.registers]) == (1, [10, 11, 12, 13])
    assert (first.raw, first.hex, first.text) == (0x4148, "4148", "AH")
    assert first.values["float32"]["big-endian"] == 12.5
    assert first.values["float32"]["big-endian-word-swap"] == pytest.approx(2.3e-41, rel=0.1)
    assert first.values["uint16"] == {"big-endian": 0x4148, "little-endian": 0x4841}
    assert first.values["int64"]["big-endian"] == 0x4148_0000_1234_FFFF
    assert third.values["bcd16"] == {"big-endian": 1234.0, "little-endian": 3412.0}
    assert set(third.values["uint32"]) == set(get_args(ByteOrder))
    assert (last.text, last.values["int16"]["big-endian"]) == ("..", -1.0)
    assert last.values["bcd16"]["big-endian"] is None
    assert "uint32" not in last.values
    Look.model_validate_json(look.model_dump_json())


async def test_bits_are_shown_as_bits(bench: Bench) -> None:
    device = await bench.device({1: Memory(coil={0: True, 1: False, 2: True})})
    look = await (await bridge_to(bench, device)).browse("line", 1, "coil", 0, 3)
    assert [(each.raw, each.values) for each in look.registers] == [(1, {}), (0, {}), (1, {})]


async def test_registers_that_are_missing_are_named_and_the_others_shown(bench: Bench) -> None:
    words = {at: at for at in range(40)}
    del words[7], words[30]
    device = await bench.device({1: Memory(holding=words)})
    look = await (await bridge_to(bench, device)).browse("line", 1, "holding", 0, 40)
    assert raws(look) == [MISSING if at in (7, 30) else at for at in range(40)]
    assert "uint32" not in look.registers[6].values


async def test_a_range_of_a_device_that_takes_little_at_once(bench: Bench) -> None:
    device = await bench.device({1: Memory(holding={at: at for at in range(100)}, longest=16)})
    look = await (await bridge_to(bench, device, max_registers=16)).browse("line", 1, "holding", 0, 100)
    assert raws(look) == list(range(100))
    assert look.requests == 7


async def test_a_unit_that_nobody_configured_can_be_looked_at(bench: Bench) -> None:
    device = await bench.device({9: Memory(input={0: 5})})
    assert raws(await (await bridge_to(bench, device)).browse("line", 9, "input", 0, 1)) == [5]


async def test_a_range_that_isnt_there_costs_a_bounded_number_of_requests(bench: Bench) -> None:
    device = await bench.device({1: Memory()})
    look = await (await bridge_to(bench, device)).browse("line", 1, "input", 0, 500)
    assert look.requests == len(device.requests) == MOST_REQUESTS
    assert {each.error for each in look.registers} == {MISSING, NOT_ASKED}
    assert len(look.registers) == 500


async def test_a_unit_that_is_silent_or_not_behind_the_gateway_is_told(bench: Bench) -> None:
    device = await bench.device({1: Memory(exception=11)})
    bridge = await bridge_to(bench, device)
    with pytest.raises(BridgeError, match=r"gateway target device failed to respond \(11\)") as away:
        await bridge.browse("line", 1, "holding", 0, 10)
    assert type(away.value) is BridgeError
    with pytest.raises(BridgeError, match="no answer within") as caught:
        await bridge.browse("line", 2, "holding", 0, 10)
    assert type(caught.value) is BridgeError


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ((256, "holding", 0, 1), "unit"),
        ((True, "holding", 0, 1), "unit"),
        ((1, "file", 0, 1), "register_type"),
        ((1, "holding", -1, 1), "address"),
        ((1, "holding", 65536, 1), "address"),
        ((1, "holding", 0, 0), "count"),
        ((1, "holding", 0, 501), "count"),
        ((1, "coil", 0, 2001), "count"),
        ((1, "input", 65530, 7), "count"),
    ],
)
async def test_what_can_not_be_asked_for_is_refused(bench: Bench, args: Any, field: str) -> None:
    device = await bench.device({1: Memory()})
    bridge = await bridge_to(bench, device)
    with pytest.raises(BadInputError) as caught:
        await bridge.browse("line", *args)
    assert caught.value.field == field
    with pytest.raises(NotFoundError):
        await bridge.browse("nowhere", 1, "holding", 0, 1)
    assert device.requests == []


async def test_polling_goes_on_while_somebody_looks(bench: Bench) -> None:
    device = await bench.device({1: Memory(holding={0: 1}), 2: Memory()})
    bridge = await bench.bridge([network(device, timeout=0.6)], [unit()], [point("a")])
    await bridge.browse("line", 2, "holding", 0, 500)
    order = [unit for unit, _ in device.requests]
    first = order.index(2)
    assert 1 in order[first:]
    assert bench.points.value("meter/a") == 1.0


@given(st.lists(st.integers(0, 0xFFFF) | st.just("gone"), max_size=12))
def test_whatever_was_read_can_be_shown(found: list[int | str]) -> None:
    shown = seen("holding", 0, found)
    assert [each.raw for each in shown] == [None if isinstance(each, str) else each for each in found]
    for row in shown:
        for told in row.values.values():
            assert all(value is None or math.isfinite(float(value)) for value in told.values())


async def test_services_of_any_unit(bench: Bench) -> None:
    device = await bench.device({1: Memory(functions={3})})
    bridge = await bridge_to(bench, device)
    assert (await bridge.diagnose("line", 1))["bus_messages"] == "illegal function (1)"
    with pytest.raises(DeviceRefusedError, match=r"illegal function \(1\)"):
        await bridge.ask_identity("line", 1)
    with pytest.raises(DeviceRefusedError, match=r"illegal function \(1\)"):
        await bridge.read_fifo("line", 1, 0)
    with pytest.raises(BadInputError):
        await bridge.read_fifo("line", 1, 65536)
    with pytest.raises(NotFoundError):
        await bridge.diagnose("nowhere", 1)
