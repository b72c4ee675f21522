"""What the measurement of several sites stands on; nothing is timed here."""

import asyncio
import os
from pathlib import Path

from pymodbus.client import AsyncModbusTcpClient

from api.config import load
from bench.meters import REGISTERS, serve
from bench.sites import campus_yaml, cpu_seconds, memory


def test_the_sites_are_an_ordinary_campus(tmp_path: Path) -> None:
    path = tmp_path / "campus.yaml"
    path.write_text(campus_yaml(3, 2, 5020))
    sites = load(path).config.sites
    assert [site.id for site in sites] == ["s0", "s1", "s2"]
    assert [sum(len(each.points or ()) for each in site.devices) for site in sites] == [100] * 3
    ids = [device.id for site in sites for device in site.devices]
    assert len(set(ids)) == len(ids), "a point's id alone says which site it is of"


async def test_a_meter_is_read_by_pymodbus() -> None:
    ended = asyncio.Event()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)
        await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    answer = await client.read_holding_registers(0, count=REGISTERS, device_id=3)
    values = client.convert_from_registers(answer.registers, client.DATATYPE.FLOAT32)
    assert isinstance(values, list)
    assert len(values) == REGISTERS // 2
    assert all(15.0 <= float(each) <= 25.0 for each in values)
    assert (await client.read_holding_registers(1, count=REGISTERS, device_id=3)).exception_code == 2
    assert (await client.read_coils(0, count=1, device_id=3)).exception_code == 1
    client.close()
    await ended.wait()
    server.close()
    await server.wait_closed()


def test_what_a_process_takes_is_read_from_the_kernel() -> None:
    assert cpu_seconds(os.getpid()) > 0
    assert memory(os.getpid()) > 2**20
    assert (cpu_seconds(2**22 + 1), memory(2**22 + 1)) == (0.0, 0)
