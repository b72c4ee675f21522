"""Whatever comes over the wire: nothing crashes, nothing wrong is taken for a value, nothing piles up.

`OPENCRATE_WIRE=20000` makes a long run of it, `OPENCRATE_WIRE_SEED=7` another one.
"""

import asyncio
import gc
import logging
import os
import random
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU
from pymodbus.pdu import ModbusPDU

from bridges.config import ModbusNetwork
from bridges.modbus.client import RECONNECT_PAUSE, ModbusLine, NoAnswerError, RefusedError
from bridges.modbus.framing import Inbox, StrictRtuFramer, StrictSocketFramer
from tests.bridges.modbus.conftest import Bench, network, point, unit, until
from tests.bridges.modbus.device import Memory, frame

ROUNDS = int(os.environ.get("OPENCRATE_WIRE", "300"))
SEED = int(os.environ.get("OPENCRATE_WIRE_SEED", "1"))
UNIT, TRANSACTION = 7, 0x1234
GOOD = b"\x03\x04\x00\x01\x00\x02"


def rtu(unit_id: int, pdu: bytes) -> bytes:
    body = bytes([unit_id]) + pdu
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


def tcp(data: bytes) -> tuple[int, ModbusPDU | None]:
    return StrictSocketFramer(Inbox()).handleFrame(data, UNIT, TRANSACTION)


def serial(data: bytes) -> tuple[int, ModbusPDU | None]:
    return StrictRtuFramer(Inbox()).handleFrame(data, UNIT, 0)


PDUS = st.one_of(
    st.binary(max_size=253),
    st.builds(lambda function, rest: bytes([function]) + rest, st.integers(0, 255), st.binary(max_size=252)),
    st.builds(lambda body: b"\x2b\x0e" + body, st.binary(max_size=60)),
    st.builds(lambda body: b"\x18" + body, st.binary(max_size=70)),
    st.builds(lambda body: b"\x08" + body, st.binary(max_size=6)),
)


@given(st.binary(max_size=600))
@example(struct.pack(">HHH", TRANSACTION, 0, 2) + bytes([UNIT, 0x2B]))
def test_bytes_over_tcp_are_never_more_than_skipped(data: bytes) -> None:
    used, _ = tcp(data)
    assert 0 <= used <= len(data)


@given(st.binary(max_size=600))
@example(bytes([UNIT, 0x2B]))
@example(bytes([UNIT, 0x18, 0]))
def test_bytes_over_a_serial_line_are_never_more_than_skipped(data: bytes) -> None:
    used, _ = serial(data)
    assert 0 <= used <= len(data)


@given(st.integers(0, 0xFFFF), st.integers(0, 255), PDUS)
def test_an_answer_over_tcp_is_one_to_this_request_or_none(
    transaction: int, unit_id: int, pdu: bytes
) -> None:
    _, answer = tcp(frame(transaction, unit_id, pdu))
    if answer is not None:
        assert (transaction, unit_id) == (TRANSACTION, UNIT)
        assert pdu[0] == answer.function_code


@given(st.integers(0, 255), PDUS)
def test_an_answer_over_a_serial_line_is_of_this_unit_or_none(unit_id: int, pdu: bytes) -> None:
    _, answer = serial(rtu(unit_id, pdu))
    if answer is not None:
        assert unit_id == UNIT


@given(PDUS)
def test_whatever_this_unit_answers_can_be_taken_or_skipped(pdu: bytes) -> None:
    for framed, take in ((frame(TRANSACTION, UNIT, pdu), tcp), (rtu(UNIT, pdu), serial)):
        used, _ = take(framed)
        assert used <= len(framed)


@given(st.lists(st.integers(1, 12), max_size=12), st.binary(max_size=40))
def test_an_answer_in_pieces_behind_late_ones_is_found(cuts: list[int], late: bytes) -> None:
    data = frame(TRANSACTION - 1, UNIT, b"\x03" + bytes([len(late)]) + late) + frame(TRANSACTION, UNIT, GOOD)
    framer, kept, answer = StrictSocketFramer(Inbox()), b"", None
    for cut in [*cuts, len(data)]:
        piece, data = data[:cut], data[cut:]
        kept += piece
        used, found = framer.handleFrame(kept, UNIT, TRANSACTION)
        kept = kept[used:]
        answer = answer or found
    assert answer is not None
    assert list(answer.registers) == [1, 2]


@given(st.integers(0, len(rtu(UNIT, GOOD)) * 8 - 1))
def test_one_wrong_bit_on_a_serial_line_never_gives_a_value(bit: int) -> None:
    wrong = bytearray(rtu(UNIT, GOOD))
    wrong[bit // 8] ^= 1 << bit % 8
    assert serial(bytes(wrong))[1] is None


class Liar:
    """Answers each request with one of many wrong things, until it is told to behave."""

    def __init__(self, honest: Callable[[int, int, bytes], Awaitable[bytes | None]]) -> None:
        self.chance, self.honest = random.Random(SEED), honest
        self.lies, self.last = 0, b""
        self.behaves = False

    async def behave(self, transaction: int, unit_id: int, pdu: bytes) -> bytes | None:
        right = await self.honest(transaction, unit_id, pdu) or b""
        if self.behaves:
            return right
        self.lies += 1
        last, self.last = self.last, right
        chance = self.chance
        lies: list[bytes | None] = [
            None,
            b"",
            chance.randbytes(chance.randrange(1, 400)),
            right[: chance.randrange(1, len(right))],
            right + chance.randbytes(chance.randrange(1, 30)),
            last or None,
            frame(transaction, unit_id ^ 1, right[7:]),
            frame(transaction, unit_id, bytes([chance.randrange(256)]) + right[8:]),
            frame(transaction, unit_id, right[7:-2]),
            frame(transaction, unit_id, right[7:] + b"\0\0"),
            frame(transaction, unit_id, bytes([pdu[0] | 0x80, chance.randrange(256)])),
            struct.pack(">HHHB", transaction, 0, 0xFFFF, unit_id) + right[7:],
            struct.pack(">HHHB", transaction, 1, len(right) - 6, unit_id) + right[7:],
            b"\0" * chance.randrange(1, 9000),
            self.flipped(right),
        ]
        return chance.choice(lies)

    def flipped(self, right: bytes) -> bytes:
        """Change a byte of the head: one of the value nobody could tell from a right one."""
        wrong = bytearray(right)
        wrong[self.chance.randrange(8)] ^= self.chance.randrange(1, 256)
        return bytes(wrong)


MEMORY = {at: 1000 + at for at in range(40)}


async def test_a_line_to_a_lying_device_gives_right_values_or_says_why_not(bench: Bench) -> None:
    device = await bench.device({1: Memory(holding=dict(MEMORY))})
    liar = Liar(device.behave)
    device.behaviour = liar.behave
    line = ModbusLine(network(device, timeout=0.02))
    wrong, right = 0, 0
    for number in range(ROUNDS):
        address = number % 30
        try:
            async with line.turn(1):
                words = await line.read(1, "holding", address, 4)
        except (NoAnswerError, RefusedError):
            wrong += 1
        else:
            right += 1
            assert words == [1000 + address + at for at in range(4)]
    assert wrong > right
    liar.behaves = True
    line.config = network(device, timeout=2.0)
    line.close()
    # A connect that failed a moment ago is not tried again at once.
    await asyncio.sleep(RECONNECT_PAUSE)
    async with line.turn(1):
        assert await line.read(1, "holding", 0, 2) == [1000, 1001]
    line.close()


async def test_a_bridge_to_a_lying_device_recovers_and_logs_each_kind_once_a_minute(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    device = await bench.device({1: Memory(holding=dict(MEMORY)), 2: Memory(holding=dict(MEMORY))})
    liar = Liar(device.behave)
    device.behaviour = liar.behave
    nodes = [point(f"r{at}", address=at, device=meter) for meter in ("one", "two") for at in range(0, 40, 7)]
    before, began = asyncio.all_tasks(), time.monotonic()
    bridge = await bench.bridge([network(device, timeout=0.05)], [unit("one"), unit("two", unit=2)], nodes)
    await until(lambda: liar.lies > min(ROUNDS // 3, 2000), timeout=100.0)
    lines = [record.getMessage() for record in caplog.records]
    kinds = [each.split(": ")[:2] if " is down" not in each else [each.split(": ")[0]] for each in lines]
    minutes = 1 + int(time.monotonic() - began) // 60
    assert max(Counter(map(tuple, kinds)).values()) <= minutes, lines
    known = {node.id: bench.points.value(node.id) for node in nodes}
    assert {node_id: value for node_id, value in known.items() if value is not None}.items() <= {
        node.id: 1000.0 + int(node.id.partition("r")[2]) for node in nodes
    }.items()
    liar.behaves = True
    await until(
        lambda: all(
            bench.points.value(node.id) is not None and bench.points.status(node.id) == 0 for node in nodes
        ),
        timeout=60.0,
    )
    await bridge.stop()
    await device.stop()
    await asyncio.sleep(0.02)
    gc.collect()
    assert asyncio.all_tasks() - before == set()


async def test_what_nobody_asked_for_does_not_pile_up() -> None:
    flood = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(400):
            writer.write(frame(9, 1, b"\x03" + bytes(200)))
            await writer.drain()
        flood.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    line = ModbusLine(ModbusNetwork(id="line", host="127.0.0.1", port=port, timeout=0.3))
    with pytest.raises(NoAnswerError):
        async with line.turn(1):
            await line.read(1, "holding", 0, 1)
    await asyncio.wait_for(flood.wait(), 20)
    await asyncio.sleep(0.05)
    assert line._client is None or len(line._client.ctx.recv_buffer) <= line._client.ctx.max_buffer_size
    line.close()
    server.close()
    await server.wait_closed()
