"""RTU over a serial line (a pair of pseudo-terminals) and over TCP, with pymodbus as the other end."""

import asyncio
import os
import pty
import struct
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from pymodbus import FramerType
from pymodbus.framer.rtu import FramerRTU
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from bridges.config import ModbusNetwork
from bridges.modbus.client import ModbusLine, NoAnswerError, NotConnectedError, RefusedError
from tests.bridges.modbus.conftest import SOON, Bench, point, serial, unit, until
from tests.ports import free_port


def simulated(unit_id: int) -> SimDevice:
    words = SimData(0, count=50, values=unit_id, datatype=DataType.REGISTERS)
    bits = SimData(0, values=[False] * 32, datatype=DataType.BITS)
    return SimDevice(id=unit_id, simdata=([bits], [bits], [words], [words]))


@pytest.fixture
async def wire() -> AsyncIterator[tuple[int, str]]:
    """Give the far end as a descriptor, the near end as a path."""
    far, near = pty.openpty()
    for end in (far, near):
        tty.setraw(end)
    os.set_blocking(far, False)
    yield far, os.ttyname(near)
    os.close(far)
    os.close(near)


async def test_units_on_a_serial_line_are_polled_and_written(bench: Bench, pair: tuple[str, str]) -> None:
    server = ModbusSerialServer(
        [simulated(1), simulated(2)], framer=FramerType.RTU, port=pair[0], baudrate=19200
    )
    await server.serve_forever(background=True)
    try:
        nodes = [point("p", device="one"), point("p", "input", 7, device="two"), point("p", device="dead")]
        devices = [unit("one", "bus", 1), unit("two", "bus", 2), unit("dead", "bus", 9)]
        bridge = await bench.bridge([serial(pair[1])], devices, nodes)
        await until(lambda: (bench.points.value("one/p"), bench.points.value("two/p")) == (1.0, 2.0))
        assert await bridge.write("one/p", 77) == 77.0
        await until(lambda: "device_down" in bench.told(), 10)
        assert [status.state for status in await bridge.status()] == ["online", "online", "down"]
        await bridge.stop()
    finally:
        await server.shutdown()


async def test_rtu_over_tcp(bench: Bench) -> None:
    port = free_port()
    server = ModbusTcpServer([simulated(3)], framer=FramerType.RTU, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    try:
        network = ModbusNetwork(id="gw", transport="rtu-over-tcp", host="127.0.0.1", port=port)
        bridge = await bench.bridge([network], [unit("m", "gw", 3)], [point("p", device="m")])
        await until(lambda: bench.points.value("m/p") == 3.0)
        assert await bridge.write("m/p", 5) == 5.0
        await bridge.stop()
    finally:
        await server.shutdown()


def rtu(unit_id: int, pdu: bytes) -> bytes:
    body = bytes([unit_id]) + pdu
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


@asynccontextmanager
async def line(path: str, timeout: float = SOON) -> AsyncIterator[ModbusLine]:
    connection = ModbusLine(serial(path, timeout))
    try:
        yield connection
    finally:
        connection.close()


@asynccontextmanager
async def answering(far: int, answers: Iterator[tuple[float, bytes]]) -> AsyncIterator[list[bytes]]:
    """Answer each request with the next (delay in s, bytes)."""
    loop, requests = asyncio.get_running_loop(), list[bytes]()

    def take() -> None:
        requests.append(os.read(far, 4096))
        delay, data = next(answers, (0.0, b""))
        if data:
            loop.call_later(delay, os.write, far, data)

    loop.add_reader(far, take)
    yield requests
    loop.remove_reader(far)


async def read(connection: ModbusLine, unit_id: int, address: int) -> list[int]:
    async with connection.turn(unit_id):
        return await connection.read(unit_id, "holding", address, 1)


def word(number: int) -> bytes:
    return b"\x03\x02" + struct.pack(">H", number)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (rtu(2, word(5)), "unit 2 answered in its place"),
        (rtu(1, word(5))[:-1] + b"\xff", "wrong checksum"),
        (rtu(1, word(5))[:-3], "cut short"),
        (rtu(1, b"\x03\x04\x00\x01\x00\x02"), "answered 2 of 1 registers"),
        (rtu(1, b"\x04\x02\x00\x05"), "answered function 4 when asked for 3"),
    ],
)
async def test_what_is_not_the_answer_is_not_taken_for_one(
    wire: tuple[int, str], answer: bytes, reason: str
) -> None:
    far, path = wire
    async with line(path) as connection, answering(far, iter([(0.0, answer)])):
        with pytest.raises(NoAnswerError) as caught:
            await read(connection, 1, 0)
        assert reason in caught.value.reason


async def test_an_exception_comes_through(wire: tuple[int, str]) -> None:
    far, path = wire
    async with line(path) as connection, answering(far, iter([(0.0, rtu(1, b"\x83\x02"))])):
        with pytest.raises(RefusedError, match="illegal data address"):
            await read(connection, 1, 0)


async def test_a_late_answer_is_not_taken_for_the_next_one_of_that_unit(wire: tuple[int, str]) -> None:
    far, path = wire
    # The late one comes after the next request would go out, and before that one is answered.
    answers = iter([(SOON + 0.3, rtu(1, word(7))), (0.0, rtu(2, word(2))), (SOON * 0.6, rtu(1, word(8)))])
    async with line(path) as connection, answering(far, answers):
        with pytest.raises(NoAnswerError, match="no answer"):
            await read(connection, 1, 7)
        assert await read(connection, 2, 0) == [2]
        assert await read(connection, 1, 8) == [8]


async def test_a_serial_port_that_is_not_there_says_so() -> None:
    async with line("/dev/no-such-port") as connection:
        with pytest.raises(NotConnectedError, match="no such file"):
            await connection.read(1, "holding", 0, 1)


async def test_a_slow_line_gets_the_time_that_its_bytes_take(wire: tuple[int, str]) -> None:
    far, path = wire
    config = serial(path, 0.05).model_copy(update={"baudrate": 1200})
    connection = ModbusLine(config)
    words = struct.pack(">60H", *range(60))
    try:
        async with answering(far, iter([(0.5, rtu(1, b"\x03\x78" + words))])), connection.turn(1):
            assert await connection.read(1, "holding", 0, 60) == list(range(60))
    finally:
        connection.close()
