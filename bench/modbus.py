"""A poll of a Modbus device beside bare pymodbus reading the same blocks."""

import asyncio
import itertools
import logging
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from actors.point.models import PointFrame
from bench.results import Progress, Result, Scale, at_least, median
from bridges.config import ModbusDevice, ModbusNetwork
from bridges.modbus.client import ModbusLine
from bridges.modbus.plan import Wanted
from bridges.modbus.registers import Register
from bridges.modbus.unit import Effects, Unit
from bridges.outbox import FaultLog

FLOATS, WORDS = 500, 1000
REGISTERS: Final = 2 * FLOATS + WORDS
INTERVAL: Final = 10.0
POLLS: Final = 40
"""Polls in a row that are timed at once."""


class Counting:
    """Stands for the outbox, and counts the rows that it is given."""

    def __init__(self) -> None:
        self.rows = 0

    def put(self, frame: PointFrame) -> None:
        """Take a frame."""
        self.rows += len(frame)


def poll(folder: Path, scale: Scale, progress: Progress) -> Iterator[Result]:
    """Measure polls of 1,500 points, of which 500 are floats, over loopback to another process."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.modbus"], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            port = int((server.stdout or sys.stdin).readline())
            ours, bare, decoded = asyncio.run(_measure(port, scale, progress))
        finally:
            server.kill()
    ratio = median([one / other for one, other in zip(ours, bare, strict=True)])
    beside = median([one / other for one, other in zip(ours, decoded, strict=True)])
    yield Result(
        "Modbus poll, 2,000 registers with 1,500 points",
        f"{median(ours):,.0f} registers/s",
        f"{median(bare):,.0f} registers/s (bare pymodbus, the same blocks, not decoded)",
        f"{ratio:.2f}",
        "0.95",
        at_least(ratio, 0.95),
        [
            "ours gives each point its value, scaled, with time and status, in a frame; where bare pymodbus"
            f" makes numbers of its registers, too, by convert_from_registers, the ratio is {beside:.2f}"
        ],
    )


async def _measure(port: int, scale: Scale, progress: Progress) -> tuple[list[float], ...]:
    client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=5, retries=0)
    await client.connect()
    line = ModbusLine(ModbusNetwork(id="line", host="127.0.0.1", port=port, timeout=5))
    outbox, clock = Counting(), itertools.count(0.0, INTERVAL)
    sink: Any = outbox
    effects = Effects(
        sink, lambda event: None, lambda: 0, FaultLog(logging.getLogger()), monotonic=lambda: next(clock)
    )
    unit = Unit(ModbusDevice(id="meter", network="line", unit=1, profile="none"), line, effects)
    points = {f"f{at}": Wanted(Register("holding", 2 * at, "float32"), INTERVAL) for at in range(FLOATS)}
    for at in range(WORDS):
        points[f"w{at}"] = Wanted(Register("holding", 2 * FLOATS + at, "uint16", scale=0.1), INTERVAL)
    unit.assign(points)
    spans = [(start, min(124, REGISTERS - start)) for start in range(0, REGISTERS, 124)]

    async def bare() -> None:
        for start, count in spans:
            await client.read_holding_registers(start, count=count, device_id=1)

    async def decoded() -> None:
        for start, count in spans:
            words = (await client.read_holding_registers(start, count=count, device_id=1)).registers
            width = 2 if start < 2 * FLOATS else 1
            kind = client.DATATYPE.FLOAT32 if width == 2 else client.DATATYPE.UINT16
            for at in range(0, count - count % width, width):
                client.convert_from_registers(list(words[at : at + width]), kind)

    ways: list[Callable[[], Awaitable[None]]] = [unit.step, bare, decoded]
    found: tuple[list[float], ...] = ([], [], [])
    rounds, polls = scale.of(3 * scale.runs, 1), scale.of(POLLS, 2)
    for number in range(-1, rounds):
        progress(max(0, number), rounds, "Modbus poll")
        for way, rates in zip(ways, found, strict=True):
            begin = time.perf_counter()
            for _ in range(polls):
                await way()
            if number >= 0:
                rates.append(polls * REGISTERS / (time.perf_counter() - begin))
    if outbox.rows < rounds * polls * len(points):
        raise RuntimeError(f"only {outbox.rows} rows came of {rounds * polls} polls")
    client.close()
    line.close()
    return found


async def serve() -> None:
    """Serve the registers until killed; prints the port."""
    floats = struct.pack(f">{FLOATS}f", *(round(20 + 0.37 * at, 2) for at in range(FLOATS)))
    words = [*struct.unpack(f">{2 * FLOATS}H", floats), *range(WORDS)]
    data = SimData(0, values=words, datatype=DataType.REGISTERS)
    server = ModbusTcpServer([SimDevice(id=1, simdata=[data])], address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    transport: Any = server.transport
    print(transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
