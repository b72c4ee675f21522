"""One Modbus connection, shared by its units.

What pymodbus 3.16 takes for an answer is not enough for a building: it accepts a late one, one with
transaction id 0, one of another function, and a short one. Here an answer counts only when transaction, unit,
function and length are those of the request. It also waits out the whole time-out when the connection breaks,
and says of a failed connect only that it failed.
"""

import asyncio
import logging
import os
import secrets
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU

from actors.core.errors import BridgeError, DeviceRefusedError
from bridges.config import ModbusNetwork
from bridges.modbus.framing import LONGEST_FRAME, Inbox, StrictRtuFramer, StrictSocketFramer
from bridges.modbus.registers import BIT_TYPES, Masked, RegisterType

# It logs every foreign or late frame and every failed connect as an error of its own; we say what matters.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
log = logging.getLogger(__name__)

EXCEPTION_NAMES: Final = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    7: "negative acknowledge",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
"""Of the MODBUS Application Protocol V1.1b3, section 7."""

RECONNECT_PAUSE: Final = 1.5
"""Seconds in which a failed connect is not tried again: all units of a dead gateway share one wait."""

SILENT_UNTIL_CLOSED: Final = 3
"""Time-outs in a row, with nothing coming in, after which a TCP connection is opened anew.

The other end may have forgotten it without a word.
"""

WRONG_UNTIL_CLOSED: Final = 6
"""Requests in a row without their answer, though something comes in, after which it is opened anew, too.

Some servers lose step over a request that they don't know, and then answer what nobody asked.
"""

ALIVE: Final = 60.0
"""Seconds since the last answer after which nobody is there whom doubtful units could hold up."""
FREE: Final = 0.5
"""Time for which a doubtful unit leaves the line to others, as a part of the time that it had it."""
_TRANSACTIONS: Final = 65_000
"""Transaction ids of pymodbus."""
_SILENCE: Final = "no answer"
_READ_FUNCTIONS: Final[dict[str, int]] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
_READ: Final = struct.Struct(">BHH")
"""Function, first register or bit, and how many."""
_AWAY: Final = frozenset((10, 11))
"""Exceptions by which a gateway says that it has no way to a device, or no answer of it."""
Client = AsyncModbusTcpClient | AsyncModbusSerialClient
Call = Callable[[Client], Awaitable[ModbusPDU]]


class RefusedError(BridgeError):
    """The device answered with a Modbus exception; `code` says which."""

    def __init__(self, device: str, code: int) -> None:
        super().__init__(device, exception_name(code))
        self.args, self.code = (device, code), code


class NoAnswerError(BridgeError):
    """Nothing came in time, or what came can't be the answer."""


class NotConnectedError(NoAnswerError):
    """There is no connection to ask over."""


def as_told(error: BridgeError) -> BridgeError:
    """Give an error as others know it: a refusal is an answer, but a gateway's word of silence is none."""
    if isinstance(error, RefusedError) and error.code not in _AWAY:
        return DeviceRefusedError(error.device, error.reason)
    return BridgeError(error.device, error.reason)


def kind_of(error: BridgeError) -> str:
    """Name the kind of an error, for counting: the exception's name, or what is wrong with the answer."""
    if isinstance(error, NotConnectedError):
        return "no connection"
    if isinstance(error, NoAnswerError):
        return "no answer" if error.reason.startswith(_SILENCE) else "wrong answer"
    return error.reason


def exception_name(code: int) -> str:
    """Name a Modbus exception as operators look it up: `illegal data address (2)`."""
    return f"{EXCEPTION_NAMES.get(code, 'exception')} ({code})"


class ModbusLine:
    """Talk to the units behind one connection, one request at a time.

    Whoever asks does so within `turn`, for as long as nobody else may come in between: a request, or the
    steps of a write. A call is one attempt, but for a connection that turns out to be closed: devices close
    idle ones, so it is opened again and the request sent once more. Cancelling a call is safe: its answer is
    not taken for another.
    """

    def __init__(
        self,
        config: ModbusNetwork,
        on_connected: Callable[[], None] = lambda: None,
        *,
        shared: bool = False,
    ) -> None:
        """Nothing is opened before the first request.

        `on_connected` hears of every new connection; `shared` says that there is more than one unit.
        """
        self.config = config
        self.shared = shared
        self._lock = asyncio.Lock()
        self._on_connected = on_connected
        self._client: Client | None = None
        self._inbox = Inbox()
        self._waiting = False
        self._failed: tuple[float, str] | None = None
        self._silent = self._wrong = 0
        self._settled: dict[int, float] = {}
        self.doubtful = 0
        """Doubtful units that have a turn, or wait for one."""
        self.loses_step = False
        """Whether it was lost after it was asked for its identification, which it must not be again."""
        self._doubt = asyncio.Lock()
        self._doubt_until = 0.0
        self._heard = -ALIVE
        """When anybody answered."""
        self._transaction = secrets.randbelow(_TRANSACTIONS)
        """Last transaction id: it goes on over connections, as gateways send late answers to the next one."""

    @property
    def address(self) -> str:
        """Where it goes: `192.168.1.20:502`, or `/dev/ttyUSB0`."""
        return self.config.device or "" if self._is_serial else f"{self.config.host}:{self.config.port}"

    @property
    def _is_serial(self) -> bool:
        return self.config.transport == "rtu"

    @asynccontextmanager
    async def turn(self, unit: int, *, doubtful: bool = False) -> AsyncIterator[None]:
        """Have the line for a request to `unit`, or for several that belong together.

        A `doubtful` unit is one that was silent the last time, or never heard: it may cost a whole time-out.
        Only one such waits among the others, and while others answer, the line is free of them for half as
        long as the last one took: many dead units hold up the living ones hardly more than one does.

        RTU frames carry no transaction id: an answer that comes after its time-out looks like the one to the
        next request to that unit. So such a unit is left alone for as long again, while others have the line.
        """
        wait = self._settled.pop(unit, 0.0) - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        if not doubtful:
            async with self._lock:
                yield
            return
        self.doubtful += 1
        try:
            async with self._doubt:
                await asyncio.sleep(max(0.0, self._doubt_until - time.monotonic()))
                async with self._lock:
                    began = time.monotonic()
                    try:
                        yield
                    finally:
                        now = time.monotonic()
                        others = began - self._heard < ALIVE
                        self._doubt_until = now + (FREE * (now - began) if others else 0.0)
        finally:
            self.doubtful -= 1

    async def read(
        self,
        unit: int,
        kind: RegisterType,
        address: int,
        count: int,
        timeout: float | None = None,
        *,
        silence_counts: bool = True,
    ) -> list[int]:
        """Read registers, or bits as 0 and 1.

        Silence doesn't count against the connection where nobody is expected (`silence_counts` false).
        Raises RefusedError with the device's exception, NoAnswerError, NotConnectedError.
        """

        function, bits = _READ_FUNCTIONS[kind], kind in BIT_TYPES
        question = _READ.pack(function, address, count)
        size = (count + 7) // 8 if bits else 2 * count
        answer = await self.ask(
            unit, function, lambda client: _exchange(client, unit, question), timeout, size, silence_counts
        )
        got, wanted = (len(answer.bits), 8 * size) if bits else (len(answer.registers), count)
        if got != wanted:
            self._suspect(unit)
            raise NoAnswerError(
                self.name(unit), f"it answered {got} of {wanted} {'bits' if bits else 'registers'}"
            )
        return [int(bit) for bit in answer.bits[:count]] if bits else list(answer.registers)

    async def write_coil(self, unit: int, address: int, on: bool, *, many: bool = False) -> None:
        """Write one coil, by function 5, or as a list of one by function 15. Raises as `read` does."""
        if many:
            await self.ask(unit, 15, lambda client: client.write_coils(address, [on], device_id=unit))
        else:
            await self.ask(unit, 5, lambda client: client.write_coil(address, on, device_id=unit))

    async def write_registers(self, unit: int, address: int, words: list[int], *, many: bool = False) -> None:
        """Write one register by function 6, several (or `many`) by function 16. Raises as `read` does."""
        if many or len(words) > 1:
            await self.ask(unit, 16, lambda client: client.write_registers(address, words, device_id=unit))
        else:
            await self.ask(unit, 6, lambda client: client.write_register(address, words[0], device_id=unit))

    async def mask_register(self, unit: int, address: int, masked: Masked) -> None:
        """Change some bits of one register by function 22. Raises as `read` does."""
        await self.ask(
            unit,
            22,
            lambda client: client.mask_write_register(
                address=address, and_mask=masked.keep, or_mask=masked.put, device_id=unit
            ),
        )

    def close(self) -> None:
        """Close the connection; a later request opens it again."""
        self._lost(False)
        client, self._client = self._client, None
        if client is not None:
            self._transaction = client.ctx.next_tid or self._transaction
            client.close()

    def lost_step(self, reason: str) -> None:
        """Open the connection anew before the next request, and remember not to ask for identifications."""
        self.loses_step = True
        self.close()
        log.warning(
            "%s was lost after it was asked for its identification, which is not asked for again: %s",
            self.address,
            reason,
        )

    async def ask(
        self,
        unit: int,
        function: int,
        call: Call,
        timeout: float | None = None,
        size: int = 8,
        silence_counts: bool = True,
    ) -> ModbusPDU:
        """Send a request of any function; `size` is about the bytes of its answer. Raises as `read` does."""
        timeout = self.config.timeout if timeout is None else timeout
        if self._is_serial:
            # At low rates the bytes alone take their time: 11 bits each, both frames.
            timeout += (size + 16) * 11 / self.config.baudrate
        reused = self._client is not None and self._client.connected
        try:
            return await self._attempt(unit, function, call, timeout, silence_counts)
        except NotConnectedError:
            if not reused:
                raise
            return await self._attempt(unit, function, call, timeout, silence_counts)

    async def reach(self, unit: int) -> None:
        """Connect unless there is a connection. Raises NotConnectedError; nothing was sent then."""
        await self._connected(unit)

    async def _attempt(
        self, unit: int, function: int, call: Call, timeout: float, silence_counts: bool
    ) -> ModbusPDU:
        client = await self._connected(unit)
        if self._is_serial:
            # Between frames the line is silent for 3.5 characters (MODBUS over Serial Line V1.02, 2.5.1.1).
            await asyncio.sleep(max(3.5 * 11 / self.config.baudrate, 0.00175))
        client.ctx.comm_params.timeout_connect = timeout
        self._inbox.noted = None
        self._waiting = True
        try:
            answer = await call(client)
        except (ModbusException, OSError) as error:
            self._suspect(unit)
            if not client.connected:
                raise NotConnectedError(self.name(unit), "the connection was closed") from error
            reason = self._inbox.noted or f"{_SILENCE} within {timeout:.3g} s"
            if silence_counts:
                self._silent = self._silent + 1 if self._inbox.noted is None else 0
                self._wrong += 1
            spent = self._silent >= SILENT_UNTIL_CLOSED or self._wrong >= WRONG_UNTIL_CLOSED
            if spent and not self._is_serial:
                self.close()
            raise NoAnswerError(self.name(unit), reason) from error
        except asyncio.CancelledError:
            self._suspect(unit)
            raise
        finally:
            self._waiting = False
        self._silent, self._wrong, self._heard = 0, 0, time.monotonic()
        if answer.function_code & 0x7F != function:
            self._suspect(unit)
            reason = f"it answered function {answer.function_code & 0x7F} when asked for {function}"
            raise NoAnswerError(self.name(unit), reason)
        if answer.isError():
            raise RefusedError(self.name(unit), answer.exception_code)
        return answer

    async def _connected(self, unit: int) -> Client:
        if self._client is not None and self._client.connected:
            return self._client
        self.close()
        if self._failed is not None and time.monotonic() - self._failed[0] < RECONNECT_PAUSE:
            raise NotConnectedError(self.name(unit), self._failed[1])
        client = self._new_client()
        context = client.ctx
        self._client = client
        try:
            context.transport, _ = await asyncio.wait_for(context.call_create(), self.config.timeout)
        except TimeoutError:
            self._refused(unit, f"no connection to {self.address} within {self.config.timeout:g} s")
        except (OSError, ValueError) as error:
            self._refused(unit, f"no connection to {self.address}: {_said(error)}")
        self._failed, self._silent, self._wrong = None, 0, 0
        context.next_tid = self._transaction
        self._on_connected()
        return client

    def _refused(self, unit: int, reason: str) -> None:
        self._failed = (time.monotonic(), reason)
        self.close()
        raise NotConnectedError(self.name(unit), reason)

    def _new_client(self) -> Client:
        """Make a client without reconnecting and retries of its own: both would act behind our back."""
        config = self.config
        client: Client
        if self._is_serial:
            client = AsyncModbusSerialClient(
                config.device or "",
                framer=FramerType.RTU,
                baudrate=config.baudrate,
                parity=config.parity,
                stopbits=config.stopbits,
                timeout=config.timeout,
                retries=0,
                reconnect_delay=0,
                trace_connect=self._lost,
            )
        else:
            client = AsyncModbusTcpClient(
                config.host or "",
                port=config.port,
                timeout=config.timeout,
                retries=0,
                reconnect_delay=0,
                trace_connect=self._lost,
            )
        client.set_max_no_responses(sys.maxsize)
        self._inbox = Inbox()
        self._inbox.fail = self._fail
        over_tcp = config.transport == "tcp"
        client.ctx.framer = StrictSocketFramer(self._inbox) if over_tcp else StrictRtuFramer(self._inbox)
        # A late answer and the right one may come in one piece; pymodbus would drop both.
        client.ctx.max_buffer_size = 16 * LONGEST_FRAME
        return client

    def _lost(self, connected: bool) -> None:
        if not connected:
            self._fail("the connection was closed")

    def _fail(self, reason: str) -> None:
        """End the request that waits at once."""
        self._inbox.noted = reason
        if self._waiting and self._client is not None and not self._client.ctx.response_future.done():
            self._client.ctx.response_future.set_exception(ModbusException(reason))

    def _suspect(self, unit: int) -> None:
        """Remember that an answer of this unit may still be on its way."""
        if self.config.transport != "tcp":
            self._settled[unit] = time.monotonic() + self.config.timeout

    def name(self, unit: int) -> str:
        """Name a unit behind this connection, as errors do."""
        return f"{self.address} unit {unit}"


async def _exchange(client: Client, unit: int, request: bytes) -> ModbusPDU:
    """Send a request, ready to travel, and give its answer; raises TimeoutError without one.

    For reads, which are nearly all requests: pymodbus's own way takes about twice the processor time.
    """
    context = client.ctx
    context.request_dev_id, context.request_transaction_id = unit, context.getNextTID()
    answer: asyncio.Future[ModbusPDU] = asyncio.get_running_loop().create_future()
    context.response_future = answer
    context.send(context.framer.encode(request, unit, context.request_transaction_id))
    expiry = answer.get_loop().call_later(context.comm_params.timeout_connect, _expire, answer)
    try:
        return await answer
    finally:
        expiry.cancel()


def _expire(answer: asyncio.Future[ModbusPDU]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


def _said(error: Exception) -> str:
    """Give the system's own words: `Connection refused`, not asyncio's sentence around them."""
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__
