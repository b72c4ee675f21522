"""What engineers do with the units of a bridge's networks, configured or not: look, ask, search."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from actors.core.errors import BadInputError, BridgeError, ConflictError, NotFoundError
from bridges.config import NetworkStatus, Profile
from bridges.modbus.binding import check_unit
from bridges.modbus.blocks import MAX_BITS, MAX_REGISTERS
from bridges.modbus.browse import Look, check_range, read_range, seen
from bridges.modbus.client import ModbusLine, NoAnswerError, RefusedError, as_told
from bridges.modbus.probe import TIMEOUT, Probe, ProbeStep, wanted_units
from bridges.modbus.registers import BIT_TYPES, RegisterType
from bridges.modbus.services import Identity, clear_counters, diagnose, exchange, identify, read_fifo
from bridges.modbus.unit import Unit
from bridges.profiles import shipped_profiles

LONGEST_TIMEOUT: Final = 10.0
"""Seconds that a probe may wait for each unit id."""
MOST_EXCHANGED: Final = 121
"""Registers that one exchange can write (MODBUS Application Protocol V1.1b3, 6.17)."""
Answer = TypeVar("Answer")


class UnitTools:
    """The part of the bridge that engineers use; it shares lines with the polling."""

    _lines: dict[str, ModbusLine]
    _units: dict[str, Unit]
    _probed: dict[str, bool]
    """Networks that are being probed, each with whether the probe goes on."""

    async def networks(self) -> list[NetworkStatus]:
        """List the networks in order of their ids, with their devices."""
        return [
            NetworkStatus(
                id=network_id,
                protocol="modbus",
                transport=line.config.transport,
                address=line.address,
                units={
                    key: unit.device.unit
                    for key, unit in self._units.items()
                    if unit.device.network == network_id
                },
            )
            for network_id, line in sorted(self._lines.items())
        ]

    async def browse(
        self, network_id: str, unit: int, register_type: RegisterType, address: int, count: int
    ) -> Look:
        """Read any registers of any unit now, for a person who looks at them; nothing else changes.

        Raises NotFoundError for a network that isn't there, BadInputError for a range that can't be asked
        for, and BridgeError when the unit doesn't answer.
        """
        line = self._line(network_id)
        check_unit(unit)
        check_range(register_type, address, count)
        most = MAX_BITS if register_type in BIT_TYPES else self._most_registers(network_id, unit)
        try:
            found, requests = await read_range(line, unit, register_type, address, count, most)
        except (RefusedError, NoAnswerError) as error:
            raise as_told(error) from error
        return Look(
            network_id=network_id,
            unit=unit,
            register_type=register_type,
            address=address,
            count=count,
            registers=seen(register_type, address, found),
            requests=requests,
        )

    async def probe(
        self,
        network_id: str,
        units: Iterable[int] | None = None,
        profiles: Sequence[Profile] | None = None,
        timeout: float = TIMEOUT,
    ) -> AsyncIterator[ProbeStep]:
        """Ask unit ids of a network (all of 1 to 247 if none are named) whether somebody is there.

        Gives a step per id, with what was found. `profiles` are matched with what a unit says of itself; left
        out, those that come with the program. `timeout`, in seconds, is for each id. Ends before the next id
        when the iterator is closed, or by `cancel_probe`; polling goes on meanwhile. Raises NotFoundError,
        BadInputError, ConflictError while this network is being probed, and BridgeError without a connection.
        """
        line, wanted = self._line(network_id), wanted_units(units)
        if not 0 < timeout <= LONGEST_TIMEOUT:
            raise BadInputError("timeout", timeout, f"seconds, more than 0 and at most {LONGEST_TIMEOUT:g}")
        if network_id in self._probed:
            raise ConflictError("modbus network", network_id, "a probe of it is under way")
        self._probed[network_id] = True
        try:
            if profiles is None:
                profiles = await asyncio.to_thread(shipped_profiles, "modbus")
            here = [each.device for each in self._units.values() if each.device.network == network_id]
            known = {device.unit: device.id for device in here}
            async for step in Probe(line, wanted, known, profiles, timeout).run():
                yield step
                if not self._probed[network_id]:
                    break
        except NoAnswerError as error:
            raise BridgeError(error.device, error.reason) from error
        finally:
            del self._probed[network_id]

    async def cancel_probe(self, network_id: str) -> bool:
        """End the probe of a network before its next id. Tells whether there was one."""
        under_way = network_id in self._probed
        if under_way:
            self._probed[network_id] = False
        return under_way

    async def ask_identity(self, network_id: str, unit: int) -> Identity:
        """Ask any unit who it is (function 43). Raises NotFoundError, BadInputError and BridgeError."""
        return await self._service(network_id, unit, lambda line: identify(line, unit, line.config.timeout))

    async def diagnose(self, network_id: str, unit: int) -> dict[str, int | str]:
        """Read a unit's counters (function 8); of one that it doesn't give, its reason.

        Raises NotFoundError, BadInputError and BridgeError.
        """
        return await self._service(network_id, unit, lambda line: diagnose(line, unit))

    async def read_fifo(self, network_id: str, unit: int, address: int) -> list[int]:
        """Read a queue of a unit (function 24). Raises NotFoundError, BadInputError and BridgeError."""
        check_range("holding", address, 1)
        return await self._service(network_id, unit, lambda line: read_fifo(line, unit, address))

    async def clear_counters(self, network_id: str, unit: int) -> None:
        """Set a unit's counters and diagnostic register to 0 (function 8).

        Raises NotFoundError, BadInputError and BridgeError.
        """
        await self._service(network_id, unit, lambda line: clear_counters(line, unit))

    async def exchange(
        self, network_id: str, unit: int, address: int, values: list[int], read_address: int, read_count: int
    ) -> list[int]:
        """Write registers of any unit, then read others, as one step (function 23); gives what was read.

        No priority decides and nothing is converted: for registers that are no points. After a BridgeError
        it isn't known whether the unit took the values, unless its reason is an exception of Modbus.
        Raises NotFoundError, BadInputError (nothing was sent) and BridgeError.
        """
        if not 1 <= len(values) <= MOST_EXCHANGED:
            raise BadInputError("values", len(values), f"1 to {MOST_EXCHANGED} registers")
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0xFFFF:
                raise BadInputError("values", value, "whole numbers from 0 to 65535")
        if not 1 <= read_count <= MAX_REGISTERS:
            raise BadInputError("read_count", read_count, f"1 to {MAX_REGISTERS} registers")
        check_range("holding", address, len(values))
        check_range("holding", read_address, read_count)
        return await self._service(
            network_id, unit, lambda line: exchange(line, unit, (read_address, read_count), address, values)
        )

    async def _service(
        self, network_id: str, unit: int, call: Callable[[ModbusLine], Awaitable[Answer]]
    ) -> Answer:
        line = self._line(network_id)
        check_unit(unit)
        try:
            async with line.turn(unit):
                return await call(line)
        except (RefusedError, NoAnswerError) as error:
            raise as_told(error) from error

    def _line(self, network_id: str) -> ModbusLine:
        if network_id not in self._lines:
            raise NotFoundError("modbus network", network_id)
        return self._lines[network_id]

    def _most_registers(self, network_id: str, unit: int) -> int:
        """Give the registers that a unit takes at once, as far as it is known."""
        for each in self._units.values():
            if (each.device.network, each.device.unit) == (network_id, unit):
                return each.device.max_registers
        return MAX_REGISTERS
