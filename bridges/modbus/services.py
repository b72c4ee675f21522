"""What Modbus units offer besides their registers: identification, diagnostics, queues, two steps in one.

All are calls within the line's turn and raise what the line raises; many devices have none of them.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.diag_message import (
    ClearCountersRequest,
    DiagnosticBase,
    ReturnBusCommunicationErrorCountRequest,
    ReturnBusExceptionErrorCountRequest,
    ReturnBusMessageCountRequest,
    ReturnDeviceBusCharacterOverrunCountRequest,
    ReturnDeviceBusyCountRequest,
    ReturnDeviceMessageCountRequest,
    ReturnDeviceNAKCountRequest,
    ReturnDeviceNoResponseCountRequest,
    ReturnDiagnosticRegisterRequest,
)

from bridges.modbus.client import Client, ModbusLine, NoAnswerError, NotConnectedError, RefusedError

BASIC, REGULAR = 1, 2
"""Kinds of identification (function 43, MEI type 14)."""
_OBJECTS: Final = ("vendor", "product_code", "revision", "url", "product", "model", "application")
"""By their number in the identification."""
_PARTS: Final = 8
"""Answers of which one identification may consist; a device that never ends is cut off."""
_ILLEGAL_VALUE: Final = 3
_MORE: Final = 0xFF
ECHO: Final = bytes.fromhex("A55A")

COUNTERS: Final[dict[str, type[DiagnosticBase]]] = {
    "bus_messages": ReturnBusMessageCountRequest,
    "checksum_errors": ReturnBusCommunicationErrorCountRequest,
    "exceptions": ReturnBusExceptionErrorCountRequest,
    "messages": ReturnDeviceMessageCountRequest,
    "no_response": ReturnDeviceNoResponseCountRequest,
    "nak": ReturnDeviceNAKCountRequest,
    "busy": ReturnDeviceBusyCountRequest,
    "overruns": ReturnDeviceBusCharacterOverrunCountRequest,
    "register": ReturnDiagnosticRegisterRequest,
}
"""Sub-functions of function 8 that only read."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a unit says of itself; empty texts where it says nothing."""

    vendor: str = ""
    product_code: str = ""
    revision: str = ""
    url: str = ""
    product: str = ""
    model: str = ""
    application: str = ""


async def identify(line: ModbusLine, unit: int, timeout: float) -> Identity:
    """Read the regular identification by function 43, or the basic one of a unit that has no other.

    Each of its answers gets `timeout` seconds.
    """
    try:
        found = await _objects(line, unit, REGULAR, timeout)
    except RefusedError as error:
        if error.code != _ILLEGAL_VALUE:
            raise
        found = await _objects(line, unit, BASIC, timeout)
    return Identity(**{name: found[at] for at, name in enumerate(_OBJECTS) if at in found})


async def _objects(line: ModbusLine, unit: int, kind: int, timeout: float) -> dict[int, str]:
    found: dict[int, str] = {}
    following = 0
    for _ in range(_PARTS):
        call = partial(_ask_objects, unit=unit, kind=kind, first=following)
        answer: Any = await line.ask(unit, 43, call, timeout, size=128)
        told: dict[int, Any] = getattr(answer, "information", {})
        found |= {key: _text(text) for key, text in told.items() if isinstance(text, bytes | bytearray)}
        if getattr(answer, "more_follows", 0) != _MORE or answer.next_object_id <= following:
            break
        following = answer.next_object_id
    return found


def _ask_objects(client: Client, unit: int, kind: int, first: int) -> Awaitable[ModbusPDU]:
    return client.read_device_information(read_code=kind, object_id=first, device_id=unit)


def _text(raw: bytes | bytearray) -> str:
    told = bytes(raw).decode("latin-1")
    return "".join(each if each.isprintable() else " " for each in told).strip()[:64]


async def echo(line: ModbusLine, unit: int, timeout: float | None = None) -> bool:
    """Tell whether a unit gives back what it is sent (function 8, sub-function 0)."""
    answer = await line.ask(unit, 8, lambda client: client.diag_query_data(ECHO, device_id=unit), timeout)
    return _answers(answer, 0) and _number(answer) == int.from_bytes(ECHO, "big")


async def count(line: ModbusLine, unit: int, counter: str, timeout: float | None = None) -> int:
    """Read one of `COUNTERS` (function 8)."""
    request = COUNTERS[counter]
    answer = await line.ask(unit, 8, lambda client: client.execute(False, request(dev_id=unit)), timeout)
    number = _number(answer)
    if not _answers(answer, request.sub_function_code) or number is None:
        raise NoAnswerError(line.name(unit), "its answer is none to the diagnostic that was asked for")
    return number


async def clear_counters(line: ModbusLine, unit: int) -> None:
    """Set a unit's counters and its diagnostic register to 0 (function 8, sub-function 10)."""
    await line.ask(unit, 8, lambda client: client.execute(False, ClearCountersRequest(dev_id=unit)))


async def diagnose(line: ModbusLine, unit: int, timeout: float | None = None) -> dict[str, int | str]:
    """Read all counters; of one that the unit doesn't give, its reason.

    Raises NoAnswerError when it gives no answer to the first of them.
    """
    told: dict[str, int | str] = {}
    for name in COUNTERS:
        try:
            told[name] = await count(line, unit, name, timeout)
        except NotConnectedError:
            raise
        except RefusedError as error:
            told[name] = error.reason
        except NoAnswerError as error:
            if not told:
                raise
            told[name] = error.reason
    return told


async def read_fifo(line: ModbusLine, unit: int, address: int) -> list[int]:
    """Read a queue of up to 31 registers (function 24); the unit keeps them."""
    answer: Any = await line.ask(
        unit, 24, lambda client: client.read_fifo_queue(address=address, device_id=unit), size=66
    )
    return list(getattr(answer, "values", []))


async def exchange(
    line: ModbusLine, unit: int, read: tuple[int, int], address: int, words: list[int]
) -> list[int]:
    """Write registers, then read others (`read`: address and count), as one step (function 23)."""
    answer = await line.ask(
        unit,
        23,
        lambda client: client.readwrite_registers(
            read_address=read[0],
            read_count=read[1],
            write_address=address,
            values=words,
            device_id=unit,
        ),
        size=2 * (read[1] + len(words)),
    )
    if len(answer.registers) != read[1]:
        raise NoAnswerError(line.name(unit), f"it answered {len(answer.registers)} of {read[1]} registers")
    return list(answer.registers)


def _answers(answer: ModbusPDU, sub_function: int) -> bool:
    return bool(answer.sub_function_code == sub_function)


def _number(answer: ModbusPDU) -> int | None:
    """Give the one register of a diagnostic answer."""
    message: Any = getattr(answer, "message", None)
    if isinstance(message, bytes) and len(message) == 2:
        return int.from_bytes(message, "big")
    return message if isinstance(message, int) else None
