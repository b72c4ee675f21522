"""What gets through of all that comes over a connection: the answer to the last request, and nothing else."""

import struct
from collections.abc import Callable
from typing import Final

from pymodbus.exceptions import ModbusException
from pymodbus.framer.rtu import FramerRTU
from pymodbus.framer.socket import FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse, ReadInputRegistersResponse

LONGEST_FRAME: Final = 260
_READS: Final[dict[int, type[ModbusPDU]]] = {3: ReadHoldingRegistersResponse, 4: ReadInputRegistersResponse}


class Inbox:
    """What the framers tell the request that waits."""

    def __init__(self) -> None:
        self.noted: str | None = None
        self.fail: Callable[[str], None] = self.note

    def note(self, reason: str) -> None:
        """Keep why something that came was skipped; it explains the time-out that follows."""
        self.noted = reason


class StrictSocketFramer(FramerSocket):
    """Modbus TCP frames, of which only the answer to the last request gets through."""

    def __init__(self, inbox: Inbox) -> None:
        super().__init__(DecodePDU(False))
        self._inbox = inbox

    def handleFrame(  # noqa: N802
        self, data: bytes, exp_devid: int, exp_tid: int
    ) -> tuple[int, ModbusPDU | None]:
        """Give the bytes that were used, and the answer if it is there."""
        used = 0
        while len(data) - used >= self.MIN_SIZE:
            _, protocol, length = struct.unpack_from(">HHH", data, used)
            if protocol or not 2 <= length <= LONGEST_FRAME:
                self._inbox.fail("it answers with something that isn't Modbus TCP")
                return len(data), None
            size, unit, transaction, body = self.decode(data[used:])
            if not size:
                self._inbox.note("its answer was cut short")
                break
            used += size
            if transaction != exp_tid:
                self._inbox.note("it answers late, or with another request's transaction id")
            elif unit != exp_devid and {unit, exp_devid} != {0, 255}:  # both name the TCP device itself
                self._inbox.note(f"unit {unit} answered in its place")
            elif (answer := _decoded(self, body)) is None:
                self._inbox.fail("its answer can't be read")
            else:
                answer.dev_id, answer.transaction_id = exp_devid, transaction
                return used, answer
        return used, None


class StrictRtuFramer(FramerRTU):
    """RTU frames, of which only those of the unit that was asked get through."""

    def __init__(self, inbox: Inbox) -> None:
        super().__init__(DecodePDU(False))
        self._inbox = inbox

    def handleFrame(  # noqa: N802
        self, data: bytes, exp_devid: int, exp_tid: int
    ) -> tuple[int, ModbusPDU | None]:
        """Give the bytes that were used, and the answer if it is there."""
        try:
            used, unit, _, body = self.decode(data)
        except (LookupError, ValueError, ModbusException, struct.error):
            self._inbox.note("its answer can't be read")
            return len(data), None
        if not used:
            self._inbox.note("its answer was cut short")
        elif not body:
            self._inbox.note("its answer came with a wrong checksum")
        elif unit != exp_devid:
            self._inbox.note(f"unit {unit} answered in its place")
        elif (answer := _decoded(self, body)) is None:
            self._inbox.fail("its answer can't be read")
        else:
            answer.dev_id = unit
            return used, answer
        return used, None


def _decoded(framer: FramerSocket | FramerRTU, body: bytes) -> ModbusPDU | None:
    if len(body) > 2 and body[0] in _READS and body[1] == len(body) - 2 and not body[1] % 2:
        # Nearly all answers are of this kind, and pymodbus decodes them register by register.
        answer: ModbusPDU = _READS[body[0]]()
        answer.registers = struct.unpack_from(f">{body[1] // 2}H", body, 2)
        return answer
    try:
        return framer.decoder.decode(body) if body else None
    except (LookupError, ValueError, ModbusException, struct.error):
        return None
