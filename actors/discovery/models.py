"""What scans have found: devices, their points, and the scans themselves."""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from actors.alarm.models import Condition, NewAlarmConfig, Severity
from actors.core.clock import Timestamp
from actors.core.values import PlainJson, PointValue, StrictPointValue
from actors.node.models import Node, NodeId, Tag

Protocol = Literal["bacnet", "modbus"]
Key = Annotated[str, Field(min_length=1, max_length=100)]
Text = Annotated[str, Field(max_length=500)]


class DeviceState(StrEnum):
    """What people have decided about a device."""

    DISCOVERED = "discovered"
    BOUND = "bound"
    """Nothing was decided here, but the model reads it already: by `campus.yaml`, or bound by hand."""
    ACCEPTED = "accepted"
    IGNORED = "ignored"


class FoundAlarm(BaseModel):
    """An alarm that a profile has for a point."""

    model_config = ConfigDict(extra="forbid")

    condition: Condition
    severity: Severity = Severity.MEDIUM
    message: Text = ""


class PointDetail(BaseModel):
    """What more is known of a point."""

    states: list[Text] = Field(default=[], max_length=1000)
    """Texts of its states, the first one first: off and on, or state 1."""
    tags: list[Key] = Field(default=[], max_length=100)
    binding: PlainJson | None = None
    """How to read it, in its protocol's own words; None: its key says it (BACnet)."""
    properties: PlainJson = {}
    """What its node gets besides, such as `cov_increment`."""
    alarm: FoundAlarm | None = None
    error: Text = ""
    """Why something of it is missing."""


class FoundPoint(PointDetail):
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

    def detail(self) -> PointDetail:
        """Give what has no column of its own."""
        return PointDetail.model_validate(self.model_dump(include=set(PointDetail.model_fields)))


class DeviceDetail(BaseModel):
    """What more is known of a device."""

    description: Text = ""
    location: Text = ""
    note: Text = ""
    """What a person should know, such as that it answers to every unit id."""
    profile: Text = ""
    """Name of the profile that fits it."""
    binding: PlainJson | None = None
    """How to find it, for its equipment's node; None: its key says it (BACnet)."""
    errors: dict[str, Text] = {}
    """Why something is missing: by `device` or `object-list`."""


class FoundDevice(DeviceDetail):
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

    def detail(self) -> DeviceDetail:
        """Give what has no column of its own."""
        return DeviceDetail.model_validate(self.model_dump(include=set(DeviceDetail.model_fields)))


class DiscoveredDevice(DeviceDetail):
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
    bound_to: str | None = None
    """The node of the model that stands for it, else one that is read from it."""
    accepting_by: str | None = None
    """Who is accepting it just now, or was when that was cut off: it will be finished or undone."""
    first_seen: Timestamp
    last_seen: Timestamp
    changed_by: str | None
    changed_at: Timestamp | None


class DiscoveredPoint(PointDetail):
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


class ScanRequest(BaseModel):
    """Which networks to look at."""

    model_config = ConfigDict(extra="forbid")

    protocol: Protocol
    networks: list[Key] = Field(default=[], max_length=100)
    """Ids of networks; none: all of this protocol."""
    low: int | None = Field(default=None, ge=0, le=4194302)
    """The lowest device instance (BACnet) or unit id (Modbus) to ask for."""
    high: int | None = Field(default=None, ge=0, le=4194302)


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


class PointChoice(BaseModel):
    """What a person wants otherwise of a point than is proposed; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    point_key: Key
    name: str | None = Field(default=None, min_length=1, max_length=200)
    group: str | None = Field(default=None, max_length=100)
    """Name of the equipment that it belongs to; empty: the device itself."""
    units: str | None = Field(default=None, max_length=64)
    tags: list[Tag] | None = Field(default=None, max_length=100)
    writable: bool | None = None
    history: bool | None = None
    alarms: bool | None = None


class AcceptRequest(BaseModel):
    """How a device becomes nodes; all may be left out, for what is proposed."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["AHU-1"])
    node_id: NodeId | None = None
    """Id of its equipment's node."""
    parent_id: NodeId | None = None
    """The space, equipment or site that it stands in; left out: the site."""
    tags: list[Tag] | None = Field(default=None, max_length=100)
    points: list[Key] | None = Field(default=None, max_length=20_000)
    """Keys of the points that are wanted; left out: all that aren't bound elsewhere."""
    changes: list[PointChoice] = Field(default=[], max_length=20_000)
    profile: Key | None = None
    """Name of a profile that comes with the program; left out: the one that was found to fit."""
    grouping: bool = True
    """Whether points that share a designation get equipment of their own."""
    history: bool = True
    alarms: bool = True


class ProposedPoint(BaseModel):
    """A point as it would be made."""

    point_key: str
    node_id: str
    name: str
    object_name: str
    group: str
    kind: str
    units: str | None
    symbol: str
    tags: list[str]
    states: list[str]
    value: PointValue | None
    writable: bool
    history: bool
    alarms: list[str]
    """In words."""
    bound_to: list[str]
    """Nodes that stand for it already."""
    chosen: bool
    error: str


class ProposedGroup(BaseModel):
    """A piece of equipment as it would be made."""

    node_id: str
    name: str
    tags: list[str]
    points: int


class Proposal(BaseModel):
    """What accepting a device would make."""

    device_id: int
    protocol: Protocol
    node_id: str
    name: str
    parent_id: str
    tags: list[str]
    profile: str
    groups: list[ProposedGroup]
    points: list[ProposedPoint]
    problems: list[str]
    """What keeps it from being accepted, and what a person should know."""


class Plan(BaseModel):
    """What accepting a device makes, worked out before anything is made."""

    nodes: list[Node]
    alarms: list[NewAlarmConfig] = []


class Acceptance(BaseModel):
    """A device that is being accepted."""

    device_id: int
    requested_by: str
    begun_at: Timestamp
    plan: Plan


ORIGIN: Final = "discovery:"


def origin_of(device_id: int) -> str:
    """Give the mark of all that a device has become, in nodes' properties and on alarm configurations."""
    return f"{ORIGIN}{device_id}"
