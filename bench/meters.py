"""`python -m bench.meters`: Modbus TCP meters whose values move, cheaper to run than what reads them."""

import argparse
import asyncio
import contextlib
import functools
import math
import struct
import time

REGISTERS = 100
"""Holding registers of each unit from 0 on, a float32 in each two."""
HEADER = struct.Struct(">HHHB")
"""Transaction, protocol, length of what follows, unit (Modbus TCP)."""
READ = struct.Struct(">BHH")
"""Function, first register and count (function 3)."""


def registers(unit: int, at: float) -> bytes:
    """Give all registers of a unit: each value goes up and down within some minutes."""
    slow = at / 30.0 + unit
    values = (round(20.0 + 5.0 * math.sin(slow + number), 2) for number in range(REGISTERS // 2))
    return struct.pack(f">{REGISTERS // 2}f", *values)


async def serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silent: frozenset[int] = frozenset()
) -> None:
    """Answer reads of holding registers; all else is an illegal function (exception 1).

    Units that are `silent` answer nothing.
    """
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            transaction, _, length, unit = HEADER.unpack(await reader.readexactly(HEADER.size))
            request = await reader.readexactly(length - 1)
            if unit in silent:
                continue
            function, first, count = READ.unpack(request.ljust(READ.size, b"\0")[: READ.size])
            if function != 3 or first + count > REGISTERS:
                pdu = bytes([function | 0x80, 1 if function != 3 else 2])
            else:
                data = registers(unit, time.time())[2 * first : 2 * (first + count)]
                pdu = bytes([function, len(data)]) + data
            writer.write(struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu)
            await writer.drain()
    writer.close()


async def run(ports: list[int], silent: frozenset[int]) -> None:
    """Serve until killed."""
    servers = [
        await asyncio.start_server(functools.partial(serve, silent=silent), "127.0.0.1", port)
        for port in ports
    ]
    print("READY", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("ports", type=int, nargs="+")
    parser.add_argument("--silent", type=int, nargs="*", default=[])
    chosen = parser.parse_args()
    asyncio.run(run(chosen.ports, frozenset(chosen.silent)))
