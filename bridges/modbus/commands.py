"""How a value gets into a device: which Modbus function, and what it falls back to."""

from dataclasses import dataclass

from bridges.modbus.client import ModbusLine, NoAnswerError, NotConnectedError, RefusedError
from bridges.modbus.registers import (
    Masked,
    Reading,
    Register,
    decode,
    encode,
    encode_partial,
    joined,
    parted,
    same,
)
from bridges.modbus.services import exchange

_ILLEGAL_FUNCTION = 1


@dataclass(frozen=True, slots=True)
class Command:
    """A value as it will travel, and what must read back."""

    register: Register
    words: list[int]
    """The register words, or the one bit; of a point with bit or mask not used."""
    masked: Masked | None
    wanted: Reading

    def holds(self, got: Reading) -> bool:
        """Tell whether the device has taken it."""
        return same(self.register, self.wanted, got)


def prepare(register: Register, value: object) -> Command:
    """Encode a value. Raises BadInputError when the register can't hold it."""
    if not register.is_partial:
        words = encode(register, value)
        return Command(register, words, None, decode(register, words))
    masked = encode_partial(register, value)
    return Command(register, [], masked, decode(register, parted(masked.put, register.count)))


class Commands:
    """Send commands to one unit, remembering which functions it doesn't have.

    A device may have only the functions for one register (5, 6) or only those for many (15, 16); the other is
    tried when it refuses one as an illegal function. All calls are made within the line's turn, and raise
    what the line raises.
    """

    def __init__(self, line: ModbusLine, unit: int, write_by: str = "auto") -> None:
        """`write_by` is that of the device's configuration."""
        self._line, self._unit = line, unit
        self._exchanges = write_by == "exchange"
        self._many: set[bool] = {False, True} if write_by == "multiple" else set()
        """Kinds (coil: True, register: False) that are written as lists of one."""
        self._has_mask = True

    async def send(self, command: Command) -> Reading:
        """Write, and give what reads back."""
        register = command.register
        if self._exchanges and command.masked is None and register.type == "holding":
            try:
                return decode(register, await self._exchange(register, command.words))
            except RefusedError as error:
                if error.code != _ILLEGAL_FUNCTION:
                    raise
                self._exchanges = False
        if command.masked is None:
            await self._write(command.register, command.words)
        else:
            await self._change(command.register, command.masked)
        return await self.read_back(command)

    async def read_back(self, command: Command) -> Reading:
        """Give what the device has now."""
        return decode(command.register, await self._read(command.register))

    async def _read(self, register: Register) -> list[int]:
        return await self._line.read(self._unit, register.type, register.address, register.count)

    async def _exchange(self, register: Register, words: list[int]) -> list[int]:
        where = (register.address, register.count)
        return await exchange(self._line, self._unit, where, register.address, words)

    async def _write(self, register: Register, words: list[int]) -> None:
        coil = register.type == "coil"
        # A value wider than one register is never written in pieces: the device could act on half of it.
        many = coil in self._many or len(words) > 1
        try:
            await self._write_by(register, words, many=many)
        except RefusedError as error:
            if error.code != _ILLEGAL_FUNCTION or len(words) > 1:
                raise
            await self._write_by(register, words, many=not many)
            self._many ^= {coil}

    async def _write_by(self, register: Register, words: list[int], *, many: bool) -> None:
        if register.type == "coil":
            await self._line.write_coil(self._unit, register.address, bool(words[0]), many=many)
        else:
            await self._line.write_registers(self._unit, register.address, words, many=many)

    async def _change(self, register: Register, masked: Masked) -> None:
        """Change some bits, by function 22 if the device has it.

        Without it the registers are read, changed and written: nobody else of ours comes in between, but a
        change that the device itself makes in that moment is undone.
        """
        if self._has_mask and register.count == 1:
            try:
                await self._line.mask_register(self._unit, register.address, masked)
            except NotConnectedError:
                raise
            except (RefusedError, NoAnswerError) as error:
                # Some devices meet a function that they don't know with silence.
                if isinstance(error, RefusedError) and error.code != _ILLEGAL_FUNCTION:
                    raise
            else:
                return
        old = joined(await self._read(register))
        await self._write(register, parted(old & masked.keep | masked.put, register.count))
        if register.count == 1:
            self._has_mask = False
