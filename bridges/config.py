"""Networks and devices of a site, as `campus.yaml` names them."""

import ipaddress
import warnings
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from actors.alarm.models import Condition, LimitCondition, StateCondition
from actors.core.clock import Timestamp
from actors.core.units import known_unit
from bridges.modbus.registers import ByteOrder, DataType, RegisterType

Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Interval = Annotated[float, Field(ge=0.5, le=3600)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _udp_address(text: str) -> str:
    """Take `192.168.1.20` or `192.168.1.20:47808`, and BACnet's `2001:5` (network and station)."""
    host, _, port = text.partition(":")
    if host.isdigit() and port:
        return text
    try:
        ipaddress.IPv4Address(host)
    except ValueError as error:
        raise ValueError(f"{text!r} is no IPv4 address such as 192.168.1.20:47808 ({error})") from None
    if port and not (port.isdecimal() and 1 <= int(port) <= 65535):
        raise ValueError(f"{port} is no UDP port")
    return text


UdpAddress = Annotated[str, AfterValidator(_udp_address)]


def _own_address(text: str) -> str:
    """Take `192.168.1.10/24`."""
    try:
        version = ipaddress.ip_interface(text).version
    except ValueError:
        raise ValueError(f"{text!r} is no address with prefix length such as 192.168.1.10/24") from None
    if version != 4:
        raise ValueError("BACnet over IPv6 is not offered; give this host's IPv4 address")
    if "/" not in text:
        raise ValueError(f"the prefix length is missing: write {text}/24, or what this network has")
    return text


def _transport(text: str) -> str:
    if text != "ip":
        raise ValueError(
            f"BACnet over {text!r} is not offered: only ip, also as a foreign device of a BBMD (key bbmd);"
            " a router brings other networks in"
        )
    return text


class ServedAs(_Strict):
    """A point that is served to others as a certain object."""

    point: str = Field(min_length=1, max_length=200)
    object: str = Field(
        pattern=r"^(analog-value|binary-value|multi-state-value|characterstring-value),[0-9]{1,7}$"
    )

    @model_validator(mode="after")
    def _is_object(self) -> "ServedAs":
        if int(self.object.partition(",")[2]) > HIGHEST_INSTANCE:
            raise ValueError(f"the instance of an object is {HIGHEST_INSTANCE} at most")
        return self


ServedPoint = Annotated[str, Field(min_length=1, max_length=200)] | ServedAs
HIGHEST_INSTANCE = 4194302


class BacnetNetwork(_Strict):
    """One BACnet/IP port of this host, a normal or a foreign device behind a BBMD (ASHRAE 135, annex J)."""

    protocol: Literal["bacnet"] = "bacnet"
    id: Identifier
    transport: Annotated[str, AfterValidator(_transport)] = "ip"
    address: Annotated[str, AfterValidator(_own_address)] = "0.0.0.0/0"
    """Own address with its prefix length, such as `192.168.1.10/24`; left out: that of the default route."""
    port: Port = 47808
    bbmd: UdpAddress | None = None
    """Register as a foreign device here; left out: a normal device, found by broadcast."""
    ttl: int = Field(default=300, ge=10, le=65535)
    """Seconds that a foreign device registration holds; renewed before."""
    device_instance: int = Field(default=4194000, ge=0, le=4194302)
    """Our own device instance on this network."""
    timeout: float = Field(default=3.0, gt=0, le=60)
    """Seconds to wait for an answer (APDU time-out)."""
    retries: int = Field(default=1, ge=0, le=5)
    time_sync: float | None = Field(default=None, ge=0.25, le=168)
    """Hours between two broadcasts of the time; left out: devices are told it only when somebody asks."""
    serve: list[ServedPoint] = []
    """Points of this site that our own device serves here: by id, or `#outdoor` for all with that tag."""


class ModbusNetwork(_Strict):
    """One Modbus connection: a TCP server or gateway, or a serial line."""

    protocol: Literal["modbus"] = "modbus"
    id: Identifier
    transport: Literal["tcp", "rtu", "rtu-over-tcp"] = "tcp"
    host: str | None = None
    port: Port = 502
    device: str | None = None
    """Serial device, such as `/dev/ttyUSB0` (RTU)."""
    baudrate: int = 19200
    parity: Literal["N", "E", "O"] = "E"
    stopbits: Literal[1, 2] = 1
    timeout: float = Field(default=2.0, gt=0, le=60)
    retries: int = Field(default=1, ge=0, le=5)

    @model_validator(mode="after")
    def _has_its_end(self) -> "ModbusNetwork":
        if self.transport == "rtu" and not self.device:
            raise ValueError("an rtu network needs device, such as /dev/ttyUSB0")
        if self.transport != "rtu" and not self.host:
            raise ValueError(f"a {self.transport} network needs host")
        return self


NetworkConfig = Annotated[BacnetNetwork | ModbusNetwork, Field(discriminator="protocol")]


class AlarmDefaults(_Strict):
    """An alarm of a point, as a profile or `campus.yaml` names it: limits, or states."""

    high: float | None = Field(default=None, allow_inf_nan=False)
    low: float | None = Field(default=None, allow_inf_nan=False)
    deadband: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    state: bool | None = None
    states: list[bool | int | str] | None = Field(default=None, min_length=1)
    delay: float = Field(default=0.0, ge=0, le=86_400)
    severity: Literal["critical", "high", "medium", "low"] = "medium"
    message: str = Field(default="", max_length=500)

    @model_validator(mode="after")
    def _is_one(self) -> "AlarmDefaults":
        named = [self.high is not None or self.low is not None, self.state is not None]
        if sum([*named, self.states is not None]) != 1:
            raise ValueError("an alarm has limits (high, low), or state, or states: one of them")
        if self.high is not None and self.low is not None and self.low + 2 * self.deadband > self.high:
            raise ValueError("low plus the deadband must lie below high less the deadband")
        return self

    @model_validator(mode="after")
    def _is_condition(self) -> "AlarmDefaults":
        try:
            self.condition()
        except ValidationError as error:
            raise ValueError(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from None
        return self

    def condition(self) -> Condition:
        """Give the alarm condition that this stands for."""
        if self.state is not None or self.states is not None:
            states = self.states if self.states is not None else [bool(self.state)]
            return StateCondition(states=states, delay=self.delay)
        return LimitCondition(high=self.high, low=self.low, deadband=self.deadband, delay=self.delay)


# Files say `register`; that it hides ABCMeta's method of this name harms nobody.
warnings.filterwarnings("ignore", 'Field name "register"', UserWarning)


class PointProfile(_Strict):
    """One point of a profile: a BACnet object or a Modbus register."""

    id: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    dis: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = None
    units: Annotated[str | None, BeforeValidator(known_unit)] = None
    tags: list[str] = []
    states: list[str] | None = None
    writable: bool | None = None
    cov_increment: float | None = Field(default=None, ge=0)
    relinquish_default: float | int | bool | None = None
    interval: Interval | None = None
    alarm: AlarmDefaults | None = None
    object: str | None = Field(default=None, pattern=r"^[a-z0-9-]+,[0-9]+$")
    register: RegisterType | None = None
    address: int | None = Field(default=None, ge=0, le=65535)
    data_type: DataType = "uint16"
    length: int | None = Field(default=None, ge=1, le=123)
    """Registers of a string."""
    absent: int | None = Field(default=None, ge=-(2**63), lt=2**64)
    """Raw number by which the device says that it has no value, such as 0x8000."""
    byte_order: ByteOrder = "big-endian"
    scale: float = 1.0
    offset: float = 0.0
    bit: int | None = Field(default=None, ge=0, le=63)
    mask: int | None = Field(default=None, ge=1, lt=2**64)

    @model_validator(mode="after")
    def _is_bound(self) -> "PointProfile":
        if (self.object is None) == (self.register is None):
            raise ValueError("a point needs either object (BACnet) or register and address (Modbus)")
        if self.register is not None and (self.address is None or self.id is None):
            raise ValueError("a Modbus point needs id, register and address")
        if self.scale == 0:
            raise ValueError("scale must not be 0")
        return self


class Identification(_Strict):
    """What a Modbus device says of itself by function 43; `*` stands for any text, case doesn't matter."""

    vendor: str = Field(min_length=1, max_length=100)
    model: str = Field(default="*", min_length=1, max_length=100)
    """Its model name, product name or product code."""


class Fingerprint(_Strict):
    """A register that tells a kind of Modbus device from others, for the many that don't know function 43."""

    # An explicit default: else pydantic takes ABCMeta's method of this name for one.
    register: Literal["holding", "input"] = Field(...)
    address: int = Field(ge=0, le=65535)
    values: list[Annotated[int, Field(ge=0, le=65535)]] = Field(min_length=1)
    """Raw numbers of which it holds one."""


class Profile(_Strict):
    """What a kind of device looks like: its points with names, units, tags, alarm limits and bindings."""

    profile: Identifier
    dis: str
    protocol: Literal["bacnet", "modbus"]
    description: str | None = None
    vendor: str | None = None
    model: str | None = None
    source: str | None = None
    """Where the points are from: the maker's document, with its number and revision."""
    tags: list[str] = []
    identified_by: list[Identification] = []
    """Of which one must fit for a device found by a scan to get this profile (Modbus)."""
    fingerprint: Fingerprint | None = None
    max_registers: int | None = Field(default=None, ge=1, le=125)
    """Registers that such a device takes in one request (Modbus); left out: 125."""
    max_gap: int | None = Field(default=None, ge=0, le=124)
    points: list[PointProfile] = Field(min_length=1)

    @model_validator(mode="after")
    def _only_modbus(self) -> "Profile":
        if self.protocol != "modbus":
            for name in ("identified_by", "fingerprint", "max_registers", "max_gap"):
                if getattr(self, name):
                    raise ValueError(f"{name} is for modbus profiles only")
        return self


class _Device(_Strict):
    id: Identifier
    """Id of its equipment node."""
    network: Identifier
    dis: str | None = Field(default=None, min_length=1, max_length=200)
    space: str | None = None
    """Id of the space (or equipment) that it stands in."""
    tags: list[str] = []
    profile: str | None = None
    """Name of a profile that comes with the program, or the path of a profile file."""
    points: list[PointProfile] | None = None
    """Points in place of, or besides, those of the profile."""
    interval: Interval | None = None
    """Longest time between two readings of a point, in seconds."""


class BacnetDevice(_Device):
    """One BACnet device.

    Without profile and points, all its objects that have a present value become points.
    """

    protocol: Literal["bacnet"] = "bacnet"
    id: Identifier = ""
    """Left out: its device instance."""
    device_instance: int = Field(ge=0, le=4194302)
    address: UdpAddress | None = None
    """Where it is; left out: found by Who-Is."""
    cov: bool = True
    """Subscribe to changes where the device offers it."""
    events: Literal["listen", "register", "off"] = "listen"
    """Its events become alarms, those that it tells or has when asked; `register` has it tell us all."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, dict) and not value.get("id") and "device_instance" in value:
            return value | {"id": str(value["device_instance"])}
        return value


class ModbusDevice(_Device):
    """One Modbus unit. It needs a profile or points: Modbus devices can't say what they have."""

    protocol: Literal["modbus"] = "modbus"
    unit: int = Field(default=1, ge=0, le=255)
    max_gap: int = Field(default=10, ge=0, le=124)
    """Registers nobody asked for that may be read along to save a request; 0 if the device refuses them."""
    max_registers: int = Field(default=125, ge=1, le=125)
    write_by: Literal["auto", "multiple", "exchange"] = "auto"
    """How registers are written: by function 6 or 16, whichever fits; always by 16; or by 23, which writes
    and reads back in one request."""

    @model_validator(mode="after")
    def _has_points(self) -> "ModbusDevice":
        if not self.profile and not self.points:
            raise ValueError("a Modbus device needs profile or points")
        return self


DeviceConfig = BacnetDevice | ModbusDevice


class DeviceStatus(BaseModel):
    """How a device is, as its bridge sees it."""

    device_key: str
    """Equipment id, such as `1001`."""
    protocol: str
    network_id: str
    state: Literal["unknown", "online", "down"] = "unknown"
    address: str | None = None
    points: int = 0
    cov_points: int = 0
    reads: int = 0
    errors: int = 0
    misses: int = 0
    last_seen: Timestamp | None = None
    last_error: str | None = None
    vendor: str | None = None
    model: str | None = None
    firmware: str | None = None
    answer_ms: float | None = None
    """Mean time of its last hundred answers; 95th percentile and longest below."""
    answer_ms_p95: float | None = None
    answer_ms_max: float | None = None
    poll_ms: float | None = None
    """How long its last poll took."""
    trouble: str | None = None
    """What is wrong although it answers, such as a second device with its instance."""
    error_kinds: dict[str, int] = {}
    """Errors by kind, such as `illegal data address (2)` or `no answer`."""


class NetworkStatus(BaseModel):
    """A network of a Modbus bridge, and the devices on it."""

    id: str
    protocol: str
    transport: str
    address: str
    units: dict[str, int] = {}
    """Unit id of each of its devices."""


class SpaceConfig(_Strict):
    """A floor, a zone or a room."""

    id: Identifier
    dis: str | None = Field(default=None, min_length=1, max_length=200)
    parent: Identifier | None = None
    """Id of the space that it is part of; left out: the site."""
    tags: list[str] = []
