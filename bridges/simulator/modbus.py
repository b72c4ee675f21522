"""The Modbus side: a TCP server with the units' register maps, made from their profiles."""

from typing import Any, Final

from pymodbus.constants import ExcCodes
from pymodbus.exceptions import NoSuchIdException
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import SimData, SimDevice
from pymodbus.simulator.simcore import SimCore

from bridges.config import PointProfile
from bridges.modbus.binding import from_binding
from bridges.modbus.registers import Register, decode, encode
from bridges.simulator import bindings, devices
from bridges.simulator.controls import Unit
from bridges.simulator.devices import ModbusSpec
from bridges.simulator.physics import Building

TABLES: Final = {1: "coil", 2: "discrete", 3: "holding", 4: "input", 5: "coil", 6: "holding"}
TABLES.update({15: "coil", 16: "holding", 22: "holding", 23: "holding"})
"""By function code."""

RANGES: Final = {
    "run": (0.0, 1.0),
    "reset": (0.0, 1.0),
    "speed_reference": (0.0, 100.0),
    "ramp_time": (1.0, 600.0),
}
"""What the drive takes; all else is an illegal data value (exception 3)."""


class Bank:
    """The registers of one unit.

    Every address between a table's first and last one can be read; those without a point hold 0.
    """

    def __init__(self, spec: ModbusSpec, unit: Unit) -> None:
        self.unit = unit
        self.words: dict[str, dict[int, int]] = {}
        self.points: list[tuple[Register, str]] = []
        self.writable: dict[tuple[str, int], tuple[Register, str]] = {}
        keys = bindings.MODBUS[spec.profile]
        for point in devices.profile(spec.profile).points:
            register, key = _register(point), keys[point.id or ""]
            if register.bit is None:
                self.points.append((register, key))
            if point.writable:
                self.writable[register.type, register.address] = (register, key)
        for register, _ in self.points:
            table = self.words.setdefault(register.type, {})
            table.update((register.address + at, 0) for at in range(register.count))
        for name, table in self.words.items():
            self.words[name] = dict.fromkeys(range(min(table), max(table) + 1), 0)

    def refresh(self) -> None:
        """Encode what the unit senses."""
        for register, key in self.points:
            value = self.unit.sensed.get(key, 0.0)
            words = [int(value)] if register.type in {"coil", "discrete"} else encode(register, value)
            self.words[register.type].update(enumerate(words, register.address))

    def read(self, table: str, address: int, count: int) -> list[int] | ExcCodes:
        """Give registers or bits; an address that the unit doesn't have is exception 2."""
        words = self.words.get(table, {})
        if not all(at in words for at in range(address, address + count)):
            return ExcCodes.ILLEGAL_ADDRESS
        return [words[at] for at in range(address, address + count)]

    def write(self, table: str, address: int, values: list[int]) -> ExcCodes | None:
        """Take registers or bits, all or none; exception 2 where nothing can be written, 3 out of range."""
        taken: dict[str, float] = {}
        for at, word in enumerate(values, address):
            found = self.writable.get((table, at))
            if found is None:
                return ExcCodes.ILLEGAL_ADDRESS
            register, key = found
            value = float(decode(register, [word]).value or 0.0)
            low, high = RANGES[key]
            if not low <= value <= high:
                return ExcCodes.ILLEGAL_VALUE
            taken[key] = value
        taken.pop(
            "reset", None
        )  # acts once and is 0 again: a drive that still has its fault trips again at once
        self.unit.commanded.update(taken)
        self.unit.sensed.update(taken)
        return None


def _register(point: PointProfile) -> Register:
    return from_binding(point.model_dump() | {"register_type": point.register})


class Banks(SimCore):
    """All units, in place of pymodbus's own memory."""

    def __init__(self, building: Building) -> None:
        self.building = building
        self.banks = {spec.id: Bank(spec, building.units[spec.unit]) for spec in devices.MODBUS}

    def device_ids(self) -> list[int]:
        """Give the unit ids."""
        return list(self.banks)

    async def async_getValues(  # noqa: N802 - pymodbus calls it so
        self, device_id: int, func_code: int, address: int, count: int = 1
    ) -> list[int] | list[bool] | ExcCodes:
        """Read."""
        bank = self._bank(device_id)
        bank.refresh()
        values = bank.read(TABLES[func_code], address, count)
        if TABLES[func_code] in {"coil", "discrete"} and isinstance(values, list):
            return [bool(value) for value in values]
        return values

    async def async_setValues(  # noqa: N802 - pymodbus calls it so
        self, device_id: int, func_code: int, address: int, values: list[int] | list[bool]
    ) -> ExcCodes | None:
        """Write."""
        return self._bank(device_id).write(TABLES[func_code], address, [int(value) for value in values])

    def _bank(self, device_id: int) -> Bank:
        if device_id not in self.banks:
            raise NoSuchIdException(f"no unit {device_id}")
        return self.banks[device_id]


class _Handler(ServerRequestHandler):
    """Keeps silent for dead units, and names each unit (pymodbus knows one identity per process)."""

    async def handle_request(self) -> None:
        server: Server = self.server
        request = self.last_pdu
        unit = None if request is None else server.units.get(request.dev_id)
        if unit is not None:
            if server.building.is_dead(unit.unit):
                return
            server.control.Identity.update(_identity(unit))
        await super().handle_request()  # type: ignore[no-untyped-call]


class Server(ModbusTcpServer):
    """The TCP server of all units."""

    def __init__(self, ip: str, port: int, building: Building) -> None:
        # pymodbus wants its own memory first; ours takes its place below.
        unused = SimDevice(id=1, simdata=[SimData(0)])
        super().__init__([unused], address=(ip, port))
        self.context = Banks(building)
        self.building = building
        self.units = {spec.id: spec for spec in devices.MODBUS}

    def callback_new_connection(self) -> Any:
        """Handle a client's connection."""
        return _Handler(self, self.trace_packet, self.trace_pdu, self.trace_connect)  # type: ignore[no-untyped-call]


def _identity(spec: ModbusSpec) -> ModbusDeviceIdentification:
    profile = devices.profile(spec.profile)
    return ModbusDeviceIdentification(  # type: ignore[no-untyped-call]
        info_name={
            "VendorName": devices.VENDOR,
            "ProductCode": profile.model or "",
            "MajorMinorRevision": devices.FIRMWARE,
            "ProductName": profile.dis,
            "ModelName": profile.model or "",
            "UserApplicationName": spec.name,
        }
    )
