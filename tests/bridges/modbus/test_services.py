"""Identification, diagnostics, queues and write-then-read, against pymodbus and hand-made devices."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pymodbus import FramerType
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from bridges.config import ModbusNetwork
from bridges.modbus.client import ModbusLine, NoAnswerError, RefusedError
from bridges.modbus.services import (
    COUNTERS,
    Identity,
    clear_counters,
    count,
    diagnose,
    echo,
    exchange,
    identify,
    read_fifo,
)
from tests.bridges.modbus.conftest import Bench, network, serial
from tests.bridges.modbus.device import Behaviour, Memory, frame

IDENTITY = {
    "VendorName": "acme",
    "ProductCode": "X1",
    "MajorMinorRevision": "1.2",
    "VendorUrl": "example.org",
    "ProductName": "Meter",
    "ModelName": "X1-3",
    "UserApplicationName": "Main switchboard",
}
WHOLE = Identity("acme", "X1", "1.2", "example.org", "Meter", "X1-3", "Main switchboard")


def simulated() -> SimDevice:
    words = SimData(0, count=50, values=7, datatype=DataType.REGISTERS)
    return SimDevice(id=1, simdata=[words])


@asynccontextmanager
async def opened(config: ModbusNetwork) -> AsyncIterator[ModbusLine]:
    line = ModbusLine(config)
    try:
        yield line
    finally:
        line.close()


@pytest.fixture(params=["tcp", "rtu", "rtu-over-tcp"])
async def line(request: pytest.FixtureRequest, pair: tuple[str, str]) -> AsyncIterator[ModbusLine]:
    """Give a connection to a pymodbus server over each transport."""
    known = ModbusDeviceIdentification(info_name=IDENTITY)  # type: ignore[no-untyped-call]
    server: ModbusTcpServer | ModbusSerialServer
    if request.param == "rtu":
        server = ModbusSerialServer(
            [simulated()], framer=FramerType.RTU, port=pair[0], baudrate=19200, identity=known
        )
        await server.serve_forever(background=True)
        config = serial(pair[1], timeout=2.0)
    else:
        framer = FramerType.SOCKET if request.param == "tcp" else FramerType.RTU
        server = ModbusTcpServer([simulated()], address=("127.0.0.1", 0), framer=framer, identity=known)
        await server.serve_forever(background=True)
        port = server.transport.sockets[0].getsockname()[1]
        config = ModbusNetwork(id="line", transport=request.param, host="127.0.0.1", port=port, timeout=2.0)
    async with opened(config) as connection:
        yield connection
    await server.shutdown()


async def test_a_unit_says_who_made_it(line: ModbusLine) -> None:
    assert await identify(line, 1, 2.0) == WHOLE


async def test_diagnostics(line: ModbusLine) -> None:
    assert await echo(line, 1)
    await clear_counters(line, 1)
    assert await count(line, 1, "checksum_errors") == 0
    told = await diagnose(line, 1)
    assert list(told) == list(COUNTERS)
    assert isinstance(told["bus_messages"], int)


async def test_write_then_read_as_one_step(line: ModbusLine) -> None:
    assert await exchange(line, 1, (9, 3), 10, [21, 22]) == [7, 21, 22]
    with pytest.raises(RefusedError, match=r"illegal data address \(2\)"):
        await exchange(line, 1, (500, 1), 10, [5])


def fixed(*answers: bytes) -> Behaviour:
    """Answer with these PDUs, one after another."""
    left = list(answers)

    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        return frame(transaction, unit, left.pop(0)) if left else None

    return behave


async def test_a_queue_is_read(bench: Bench) -> None:
    device = await bench.device({}, fixed(struct.pack(">BHHHHH", 24, 8, 3, 5, 6, 7), b"\x98\x03"))
    async with opened(network(device, timeout=0.6)) as connection:
        assert await read_fifo(connection, 1, 0x04DE) == [5, 6, 7]
        with pytest.raises(RefusedError, match=r"illegal data value \(3\)"):
            await read_fifo(connection, 1, 0x04DE)
    assert device.requests[0] == (1, bytes.fromhex("1804DE"))


@pytest.mark.parametrize(
    "answer", [b"\x18\x00\x08\x00\x03\x00\x05", b"\x18\x00\x02\x00\x00\x00\x01\x00", b"\x18\x00", b"\x18"]
)
async def test_a_queue_that_is_cut_short_is_no_answer(bench: Bench, answer: bytes) -> None:
    async with opened(network(await bench.device({}, fixed(answer)), timeout=0.6)) as connection:
        if len(answer) == 8:
            assert await read_fifo(connection, 1, 0) == []
            return
        with pytest.raises(NoAnswerError):
            await read_fifo(connection, 1, 0)


def part(more: int, following: int, objects: dict[int, bytes], kind: int = 2) -> bytes:
    told = b"".join(bytes([key, len(text)]) + text for key, text in objects.items())
    return bytes([43, 14, kind, 0x82, more, following, len(objects)]) + told


async def test_an_identification_in_several_parts_is_put_together(bench: Bench) -> None:
    device = await bench.device(
        {},
        fixed(
            part(0xFF, 2, {0: b"acme", 1: b"X1 "}), part(0xFF, 5, {2: b"1.2"}), part(0, 0, {5: b"X1\xb3\0"})
        ),
    )
    async with opened(network(device, timeout=0.6)) as connection:
        assert await identify(connection, 1, 1.0) == Identity("acme", "X1", "1.2", model="X1³")
    assert [pdu[-1] for _, pdu in device.requests] == [0, 2, 5]


async def test_a_unit_that_has_only_the_basic_identification(bench: Bench) -> None:
    device = await bench.device({}, fixed(b"\xab\x03", part(0, 0, {0: b"acme"}, kind=1)))
    async with opened(network(device, timeout=0.6)) as connection:
        assert await identify(connection, 1, 1.0) == Identity("acme")


async def test_an_identification_without_end_is_cut_off(bench: Bench) -> None:
    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        return frame(transaction, unit, part(0xFF, pdu[-1] + 1, {pdu[-1]: b"again"}))

    device = await bench.device({}, behave)
    async with opened(network(device, timeout=0.6)) as connection:
        assert (await identify(connection, 1, 1.0)).vendor == "again"
    assert len(device.requests) == 8


async def test_an_identification_that_goes_round_ends(bench: Bench) -> None:
    device = await bench.device({}, fixed(*[part(0xFF, 0, {0: b"acme"})] * 3))
    async with opened(network(device, timeout=0.6)) as connection:
        assert (await identify(connection, 1, 1.0)).vendor == "acme"
    assert len(device.requests) == 1


async def test_a_unit_without_a_service_says_so(bench: Bench) -> None:
    device = await bench.device({1: Memory(holding={0: 1})})
    async with opened(network(device, timeout=0.6)) as connection:
        with pytest.raises(RefusedError, match=r"illegal function \(1\)"):
            await identify(connection, 1, 1.0)
        with pytest.raises(RefusedError, match=r"illegal function \(1\)"):
            await echo(connection, 1)
        assert set((await diagnose(connection, 1)).values()) == {"illegal function (1)"}
        with pytest.raises(NoAnswerError, match="no answer"):
            await diagnose(connection, 9)
    assert len([unit for unit, _ in device.requests if unit == 9]) == 1


async def test_a_diagnostic_answer_of_another_kind_is_none(bench: Bench) -> None:
    async with opened(
        network(await bench.device({}, fixed(b"\x08\x00\x0c\x00\x05")), timeout=0.6)
    ) as connection:
        with pytest.raises(NoAnswerError, match="none to the diagnostic"):
            await count(connection, 1, "bus_messages")
    async with opened(
        network(await bench.device({}, fixed(b"\x08\x00\x00\x00\x05")), timeout=0.6)
    ) as connection:
        assert not await echo(connection, 1)


async def test_a_read_with_too_few_registers_is_none(bench: Bench) -> None:
    async with opened(network(await bench.device({}, fixed(b"\x17\x02\x00\x05")), timeout=0.6)) as connection:
        with pytest.raises(NoAnswerError, match="answered 1 of 2 registers"):
            await exchange(connection, 1, (0, 2), 0, [5])
    await asyncio.sleep(0)
