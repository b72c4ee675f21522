"""One connection: what counts as an answer, and what an error says."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bridges.modbus.client import ModbusLine, NoAnswerError, NotConnectedError, RefusedError
from bridges.modbus.registers import Masked
from tests.bridges.modbus.conftest import SOON, Bench, network, until
from tests.bridges.modbus.device import Device, Memory, frame

ONE = {1: Memory(holding={0: 10, 1: 11}, input={5: 50}, coil={0: True, 1: False}, discrete={9: True})}


@asynccontextmanager
async def line(device: Device, timeout: float = SOON) -> AsyncIterator[ModbusLine]:
    connection = ModbusLine(network(device, timeout=timeout))
    try:
        yield connection
    finally:
        connection.close()


async def ask(connection: ModbusLine, count: int = 2) -> list[int]:
    async with connection.turn(1):
        return await connection.read(1, "holding", 0, count)


async def test_reads_all_four_kinds(bench: Bench) -> None:
    device = await bench.device(ONE)
    async with line(device) as connection:
        assert await connection.read(1, "holding", 0, 2) == [10, 11]
        assert await connection.read(1, "input", 5, 1) == [50]
        assert await connection.read(1, "coil", 0, 2) == [1, 0]
        assert await connection.read(1, "discrete", 9, 1) == [1]
    assert device.connections == 1


async def test_writes_by_the_function_that_fits(bench: Bench) -> None:
    memory = Memory(holding={0: 0, 1: 0, 2: 0xFFFF}, coil={3: False, 4: False})
    device = await bench.device({1: memory})
    async with line(device) as connection:
        await connection.write_coil(1, 3, True)
        await connection.write_coil(1, 4, True, many=True)
        await connection.write_registers(1, 0, [5])
        await connection.write_registers(1, 0, [6, 7])
        await connection.mask_register(1, 2, Masked(0xFF0F, 0x0050))
    assert [pdu[0] for _, pdu in device.requests] == [5, 15, 6, 16, 22]
    assert (memory.holding, memory.coil) == ({0: 6, 1: 7, 2: 0xFF5F}, {3: True, 4: True})


async def test_an_exception_has_its_name(bench: Bench) -> None:
    async with line(await bench.device(ONE)) as connection:
        with pytest.raises(RefusedError, match=r"illegal data address \(2\)") as caught:
            await connection.read(1, "holding", 500, 1)
        assert caught.value.code == 2
        assert await ask(connection) == [10, 11]


async def test_a_refused_connection_says_so_and_is_not_tried_by_every_unit(bench: Bench) -> None:
    device = await bench.device(ONE)
    await device.stop()
    async with line(device) as connection:
        for unit in (1, 2):
            with pytest.raises(NotConnectedError, match="connection refused"):
                await connection.read(unit, "holding", 0, 1)


Answer = Callable[[int, int, bytes], bytes | None]


def wrong(answer: Answer) -> Callable[[int, int, bytes], Awaitable[bytes | None]]:
    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        return answer(transaction, unit, pdu)

    return behave


GOOD = b"\x03\x04\x00\x01\x00\x02"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda t, u, p: None, "no answer within 1 s"),
        (lambda t, u, p: frame(t, u + 1, GOOD), "unit 2 answered in its place"),
        (lambda t, u, p: frame(t + 1, u, GOOD), "late, or with another request's transaction id"),
        (lambda t, u, p: frame(0, u, GOOD), "late, or with another request's transaction id"),
        (lambda t, u, p: frame(t, u, GOOD[:4]), "can't be read"),
        (lambda t, u, p: frame(t, u, b"\x03\x02\x00\x01"), "answered 1 of 2 registers"),
        (lambda t, u, p: frame(t, u, b"\x03\x06" + bytes(6)), "answered 3 of 2 registers"),
        (lambda t, u, p: frame(t, u, b"\x03\x03\x00\x01\x00"), "answered 1 of 2 registers"),
        (lambda t, u, p: frame(t, u, b"\x04" + GOOD[1:]), "answered function 4 when asked for 3"),
        (lambda t, u, p: frame(t, u, b"\x84\x02"), "answered function 4 when asked for 3"),
        (lambda t, u, p: frame(t, u, b"\x83"), "can't be read"),
        (lambda t, u, p: frame(t, u, b"\x63" + GOOD[1:]), "can't be read"),
        (lambda t, u, p: frame(t, u, GOOD)[:-2], "cut short"),
        (lambda t, u, p: b"HTTP/1.1 400 Bad Request\r\n\r\n", "isn't Modbus TCP"),
        (lambda t, u, p: b"", "connection was closed"),
    ],
)
async def test_what_is_not_the_answer_is_not_taken_for_one(bench: Bench, answer: Answer, reason: str) -> None:
    device = await bench.device({}, wrong(answer))
    async with line(device) as connection:
        with pytest.raises(NoAnswerError) as caught:
            await ask(connection)
        assert reason in caught.value.reason


async def test_a_late_answer_is_not_taken_for_the_next_one(bench: Bench) -> None:
    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        (address,) = struct.unpack(">H", pdu[1:3])
        if address == 7:
            await asyncio.sleep(SOON + 0.3)
        return frame(transaction, unit, b"\x03\x02" + struct.pack(">H", address))

    async with line(await bench.device({}, behave)) as connection:
        with pytest.raises(NoAnswerError, match="no answer within"):
            await connection.read(1, "holding", 7, 1)
        assert await connection.read(1, "holding", 8, 1) == [8]
        assert await connection.read(1, "holding", 9, 1) == [9]


async def test_a_late_answer_is_not_taken_for_one_over_the_next_connection(bench: Bench) -> None:
    seen: list[int] = []

    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        seen.append(transaction)
        return b"" if len(seen) % 3 == 0 else frame(transaction, unit, b"\x03\x04" + pdu[1:5])

    device = await bench.device({}, behave)
    async with line(device) as connection:
        for _ in range(8):
            await ask(connection)
    assert device.connections > 3
    assert len(set(seen)) == len(seen)


async def test_a_cancelled_request_leaves_no_answer_for_the_next(bench: Bench) -> None:
    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        await asyncio.sleep(0.05)
        return frame(transaction, unit, b"\x03\x02" + pdu[1:3])

    async with line(await bench.device({}, behave)) as connection:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.read(1, "holding", 7, 1), 0.02)
        assert await connection.read(1, "holding", 8, 1) == [8]


async def test_a_connection_that_the_device_closed_while_idle_is_opened_again(bench: Bench) -> None:
    device = await bench.device(ONE)
    async with line(device) as connection:
        assert await ask(connection) == [10, 11]
        device.hang_up()
        assert await ask(connection) == [10, 11]
        await asyncio.sleep(0.02)
        device.hang_up()
        await asyncio.sleep(0.02)
        assert await ask(connection) == [10, 11]
    assert device.connections == 3


async def test_a_connection_on_which_nothing_comes_any_more_is_given_up(bench: Bench) -> None:
    device = await bench.device({})
    async with line(device, timeout=0.1) as connection:
        for _ in range(4):
            with pytest.raises(NoAnswerError):
                await ask(connection)
        # The system connects before the device's own task hears of it.
        await until(lambda: device.connections == 2)


async def test_a_connection_on_which_only_other_answers_come_is_given_up(bench: Bench) -> None:
    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        return frame(transaction ^ (0x100 if device.connections == 1 else 0), unit, GOOD)

    device = await bench.device({}, behave)
    async with line(device, timeout=0.5) as connection:
        for _ in range(6):
            with pytest.raises(NoAnswerError, match="another request's transaction id"):
                await ask(connection)
        assert await ask(connection) == [1, 2]


async def test_a_broken_connection_ends_the_wait_at_once(bench: Bench) -> None:
    device = await bench.device({}, wrong(lambda t, u, p: b""))
    async with line(device, timeout=30) as connection, asyncio.timeout(2):
        with pytest.raises(NotConnectedError, match="closed"):
            await ask(connection)


async def test_requests_take_turns(bench: Bench) -> None:
    busy = 0

    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        nonlocal busy
        busy += 1
        assert busy == 1
        await asyncio.sleep(0.001)
        busy -= 1
        return frame(transaction, unit, b"\x03\x02" + pdu[1:3])

    async with line(await bench.device({}, behave)) as connection:

        async def one(address: int) -> list[int]:
            async with connection.turn(1):
                return await connection.read(1, "holding", address, 1)

        assert await asyncio.gather(*(one(each) for each in range(20))) == [[each] for each in range(20)]


async def test_one_that_answers_waits_for_one_doubtful_unit_at_most(bench: Bench) -> None:
    order: list[int] = []
    first = asyncio.Event()

    async def take(unit: int, *, doubtful: bool) -> None:
        async with connection.turn(unit, doubtful=doubtful):
            order.append(unit)
            await first.wait()

    async with line(await bench.device(ONE)) as connection:
        tasks = [asyncio.create_task(take(unit, doubtful=True)) for unit in (11, 12, 13, 14)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert connection.doubtful == 4
        tasks += [asyncio.create_task(take(unit, doubtful=False)) for unit in (1, 2)]
        await asyncio.sleep(0)
        first.set()
        await asyncio.gather(*tasks)
        assert order == [11, 1, 2, 12, 13, 14]
        assert connection.doubtful == 0


async def test_while_others_answer_doubtful_units_leave_the_line_to_them_for_a_while(bench: Bench) -> None:
    async with line(await bench.device({1: ONE[1]})) as connection:
        for _ in range(2):
            async with connection.turn(9, doubtful=True):
                with pytest.raises(NoAnswerError):
                    await connection.read(9, "holding", 0, 1)
        # Nobody answers: nobody has to be let in.
        assert connection._doubt_until <= time.monotonic()
        await ask(connection)
        async with connection.turn(9, doubtful=True):
            began = time.monotonic()
            with pytest.raises(NoAnswerError):
                await connection.read(9, "holding", 0, 1)
            took = time.monotonic() - began
        assert connection._doubt_until >= began + 1.5 * took
        waiting = asyncio.create_task(connection.turn(9, doubtful=True).__aenter__())
        await asyncio.sleep(0)
        assert await ask(connection) == [10, 11]
        assert not waiting.done()
        waiting.cancel()


async def test_unit_255_may_answer_as_0_as_both_name_the_device_itself(bench: Bench) -> None:
    device = await bench.device({}, wrong(lambda t, u, p: frame(t, 0, GOOD)))
    async with line(device) as connection:
        assert await connection.read(255, "holding", 0, 2) == [1, 2]
