"""What scans have found: devices, their points, and the scans themselves."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from actors.core.clock import Timestamp
from actors.core.values import PointValue, StrictPointValue

Protocol = Literal["bacnet", "modbus"]
Key = Annotated[str, Field(min_length=1, max_length=100)]
Text = Annotated[str, Field(max_length=500)]


class DeviceState(StrEnum):
    """What people have decided about a device."""

    DISCOVERED = "discovered"
    ACCEPTED = "accepted"
    IGNORED = "ignored"


class FoundPoint(BaseModel):
    """A point as a device tells of it: an object, or a register."""

    model_config = ConfigDict(extra="forbid")

    point_key: Key
    """Of BACnet "analog-input-1", of Modbus "holding-100"."""
    name: Text = ""
    description: Text = ""
    kind: Key
    units: str | None = Field(default=None, max_length=64)
    value: StrictPointValue | None = None
    writable: bool = False


class FoundDevice(BaseModel):
    """A device as a scan has found it."""

    model_config = ConfigDict(extra="forbid")

    network_id: Key
    protocol: Protocol
    device_key: Key
    """Of BACnet the device instance, of Modbus the configured name or unit id."""
    address: Key
    name: Text = ""
    vendor: Text = ""
    model: Text = ""
    firmware: Text = ""
    points: list[FoundPoint] | None = Field(default=None, max_length=20_000)
    """None: its points were not read this time."""


class DiscoveredDevice(BaseModel):
    """A device that was found, and what was decided about it."""

    id: int
    network_id: str
    protocol: Protocol
    device_key: str
    address: str
    name: str
    vendor: str
    model: str
    firmware: str
    state: DeviceState
    object_list_stale: bool
    """It has other objects than when its points were read."""
    point_count: int
    conflict: bool
    """Another device of this network says that it has the same key."""
    created_node_ids: list[str]
    first_seen: Timestamp
    last_seen: Timestamp
    changed_by: str | None
    changed_at: Timestamp | None


class DiscoveredPoint(BaseModel):
    """A point of a device that was found."""

    id: int
    device_id: int
    point_key: str
    name: str
    description: str
    kind: str
    units: str | None
    value: PointValue | None
    writable: bool


class ScanState(StrEnum):
    """How far a scan has come."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Scan(BaseModel):
    """A scan that somebody asked for."""

    id: int
    protocol: Protocol
    networks: list[str]
    state: ScanState
    requested_by: str
    started_at: Timestamp
    finished_at: Timestamp | None
    progress: float
    """Part that is done, 0 to 1."""
    device_count: int
    point_count: int
    error: str | None


class DiscoverySummary(BaseModel):
    """Numbers of devices by state, and the newest scan of each protocol."""

    devices: dict[DeviceState, int]
    conflicts: int
    stale: int
    scans: list[Scan]
