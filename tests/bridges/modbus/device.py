"""A Modbus TCP device written from the specification, that can be told to misbehave."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType

Behaviour = Callable[[int, int, bytes], Awaitable[bytes | None]]
"""Takes transaction id, unit and request PDU; gives the bytes to send, or None for silence."""


def frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    """Wrap a PDU for Modbus TCP."""
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


@dataclass
class Memory:
    """The registers and bits of one unit; an address that isn't there is illegal."""

    holding: dict[int, int] = field(default_factory=dict)
    input: dict[int, int] = field(default_factory=dict)
    coil: dict[int, bool] = field(default_factory=dict)
    discrete: dict[int, bool] = field(default_factory=dict)
    functions: set[int] = field(default_factory=lambda: {1, 2, 3, 4, 5, 6, 15, 16, 22})
    longest: int = 125
    stuck: set[int] = field(default_factory=set)
    """Holding registers that take no write and don't say so."""
    silent: set[int] = field(default_factory=set)
    """Registers for which it doesn't answer at all."""
    busy: int = 0
    """Requests that it still turns away with exception 6."""
    exception: int | None = None
    """Answer everything with this exception."""

    def answer(self, pdu: bytes) -> bytes | None:
        """Give the response PDU."""
        function = pdu[0]
        code = self.exception
        if code is None and self.busy:
            self.busy -= 1
            code = 6
        if code is None and function not in self.functions:
            code = 1
        if code is None:
            answer = self._read(pdu) if function < 5 else self._write(pdu)
            if answer is None or answer:
                return answer
            code = 2
        return bytes([function | 0x80, code])

    def _read(self, pdu: bytes) -> bytes | None:
        function, address, count = struct.unpack(">BHH", pdu)
        table = (self.coil, self.discrete, self.holding, self.input)[function - 1]
        wanted = range(address, address + count)
        if self.silent & set(wanted):
            return None
        if any(each not in table for each in wanted) or (function > 2 and count > self.longest):
            return b""
        values = [table[each] for each in wanted]
        if function > 2:
            return bytes([function, 2 * count]) + struct.pack(f">{count}H", *values)
        packed = bytearray((count + 7) // 8)
        for at, bit in enumerate(values):
            packed[at // 8] |= int(bit) << at % 8
        return bytes([function, len(packed)]) + bytes(packed)

    def _write(self, pdu: bytes) -> bytes | None:
        if pdu[0] == 23:
            address, count, at, written = struct.unpack(">HHHH", pdu[1:9])
            words = struct.unpack(f">{written}H", pdu[10:])
            stored = [self._store(at + number, word) for number, word in enumerate(words)]
            if not all(stored):
                return b""
            read = self._read(struct.pack(">BHH", 3, address, count))
            return bytes([23]) + read[1:] if read else read
        function, address, second = struct.unpack(">BHH", pdu[:5])
        if function in (5, 15):
            if address not in self.coil:
                return b""
            self.coil[address] = second == 0xFF00 if function == 5 else bool(pdu[6] & 1)
            return pdu[:5]
        if function == 22:
            (put,) = struct.unpack(">H", pdu[5:7])
            words = [self.holding.get(address, 0) & second | put & ~second]
        elif function == 6:
            words = [second]
        else:
            words = list(struct.unpack(f">{second}H", pdu[6:]))
        stored = [self._store(address + at, word) for at, word in enumerate(words)]
        if not all(stored):
            return b""
        return pdu[:5] if function == 16 else pdu

    def _store(self, address: int, word: int) -> bool:
        if address in self.holding and address not in self.stuck:
            self.holding[address] = word
        return address in self.holding


class Device:
    """A Modbus TCP server with some units on a free loopback port."""

    def __init__(self, units: dict[int, Memory], behaviour: Behaviour | None = None) -> None:
        self.units = units
        self.behaviour: Behaviour = behaviour or self.behave
        self.requests: list[tuple[int, bytes]] = []
        """Unit and PDU of every request."""
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None] | None] = set()

    async def behave(self, transaction: int, unit: int, pdu: bytes) -> bytes | None:
        """Answer as a good device does; a unit that isn't there is silent."""
        memory = self.units.get(unit)
        answer = memory.answer(pdu) if memory else None
        return None if answer is None else frame(transaction, unit, answer)

    async def start(self) -> None:
        """Listen, on the same port as the last time."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and all connections."""
        if self._server:
            self._server.close()
            await self._server.wait_closed()
            while self._tasks:
                # Again and again: a connection that was just accepted shows up after the first time.
                self.hang_up()
                await asyncio.sleep(0.005)
        self._server = None

    def hang_up(self) -> None:
        """Close all connections, but not the port."""
        for writer in list(self._writers):
            writer.close()

    async def __aenter__(self) -> "Device":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        self._tasks.add(asyncio.current_task())
        try:
            while True:
                header = await reader.readexactly(7)
                transaction, _, length, unit = struct.unpack(">HHHB", header)
                pdu = await reader.readexactly(length - 1)
                self.requests.append((unit, pdu))
                answer = await self.behaviour(transaction, unit, pdu)
                if answer == b"":
                    break
                if answer is not None:
                    writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            self._tasks.discard(asyncio.current_task())
            writer.close()
