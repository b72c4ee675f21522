"""All events, as the reference names them.

The same JSON goes to WebSocket, MQTT, webhooks and the journal.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from actors.core.clock import Timestamp
from actors.core.values import PointValue, StatusFlags


class Event(BaseModel):
    """What has happened at a site. The bus gives `site` and `seq`, a number that only rises."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    site: str = ""
    seq: int = 0


class ValueChanged(Event):
    """A point has a new value."""

    type: Literal["value_changed"] = "value_changed"
    node_id: str
    value: PointValue | None
    timestamp: Timestamp


class StatusChanged(Event):
    """A point's status flags have changed."""

    type: Literal["status_changed"] = "status_changed"
    node_id: str
    old_status: StatusFlags
    new_status: StatusFlags


class AlarmRaised(Event):
    """A point has gone into alarm."""

    type: Literal["alarm_raised"] = "alarm_raised"
    alarm_id: int
    node_id: str
    severity: str
    message: str


class AlarmCleared(Event):
    """The condition of an alarm is over."""

    type: Literal["alarm_cleared"] = "alarm_cleared"
    alarm_id: int
    node_id: str


class AlarmAcknowledged(Event):
    """A person has seen an alarm."""

    type: Literal["alarm_acknowledged"] = "alarm_acknowledged"
    alarm_id: int
    user: str


class ScheduleWritten(Event):
    """A schedule has commanded a point."""

    type: Literal["schedule_written"] = "schedule_written"
    schedule_id: int
    node_id: str
    value: PointValue | None


class EntityCreated(Event):
    """A node or an entity record is new."""

    type: Literal["entity_created"] = "entity_created"
    entity_id: str
    entity_type: str


class EntityUpdated(Event):
    """A node or an entity record has changed."""

    type: Literal["entity_updated"] = "entity_updated"
    entity_id: str
    changed_fields: list[str]


class EntityDeleted(Event):
    """A node or an entity record is gone."""

    type: Literal["entity_deleted"] = "entity_deleted"
    entity_id: str


MODEL_CHANGES: Final = ("entity_created", "entity_updated", "entity_deleted")
"""Types of the events that tell of other nodes than before."""


class DeviceDiscovered(Event):
    """A device has answered for the first time."""

    type: Literal["device_discovered"] = "device_discovered"
    device_key: str
    protocol: str
    network_id: str


class DeviceDown(Event):
    """A device has not answered several times in a row."""

    type: Literal["device_down"] = "device_down"
    device_key: str
    protocol: str
    error: str


class DeviceRecovered(Event):
    """A device that was down answers again."""

    type: Literal["device_recovered"] = "device_recovered"
    device_key: str
    protocol: str


class DeviceAccepted(Event):
    """A discovered device has become part of the model."""

    type: Literal["device_accepted"] = "device_accepted"
    device_key: str
    created_node_ids: list[str]


class DiscoveryScanComplete(Event):
    """A scan that a user asked for is over."""

    type: Literal["discovery_scan_complete"] = "discovery_scan_complete"
    protocol: str
    device_count: int
    point_count: int


class DeviceMonitorCycle(Event):
    """The BACnet monitor loop has looked at every device once."""

    type: Literal["device_monitor_cycle"] = "device_monitor_cycle"
    checked_count: int
    online_count: int
    offline_count: int


class ObjectListChanged(Event):
    """A BACnet device has other objects than before."""

    type: Literal["object_list_changed"] = "object_list_changed"
    device_key: str
    old_count: int
    new_count: int


class FddFaultRaised(Event):
    """A fault rule has found a fault."""

    type: Literal["fdd_fault_raised"] = "fdd_fault_raised"
    fault_id: int
    rule_id: int
    node_id: str
    severity: str
    message: str


class FddFaultCleared(Event):
    """The condition of a fault is over."""

    type: Literal["fdd_fault_cleared"] = "fdd_fault_cleared"
    fault_id: int
    rule_id: int
    node_id: str


AnyEvent = Annotated[
    ValueChanged
    | StatusChanged
    | AlarmRaised
    | AlarmCleared
    | AlarmAcknowledged
    | ScheduleWritten
    | EntityCreated
    | EntityUpdated
    | EntityDeleted
    | DeviceDiscovered
    | DeviceDown
    | DeviceRecovered
    | DeviceAccepted
    | DiscoveryScanComplete
    | DeviceMonitorCycle
    | ObjectListChanged
    | FddFaultRaised
    | FddFaultCleared,
    Field(discriminator="type"),
]

ANY_EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


def _types() -> tuple[str, ...]:
    schema: dict[str, Any] = ANY_EVENT.json_schema()
    return tuple(schema["discriminator"]["mapping"])


EVENT_TYPES = _types()
"""The names of all 18 events."""

HIGH_RATE = frozenset({"value_changed", "status_changed"})
"""Events that travel in columns and are never journaled."""


class WatchMoved(BaseModel):
    """A store's configuration has a new version: moves the watch cell `cell`.

    Not an event; nobody keeps it.
    """

    model_config = ConfigDict(frozen=True)

    cell: str
    version: int


class Changed(BaseModel):
    """A record has changed, such as a program: goes to those who follow the change channel `channel`."""

    model_config = ConfigDict(frozen=True)

    channel: str
    key: str


def change_type(channel: str) -> str:
    """Give the frame type under which a change channel is subscribed to."""
    return f"change:{channel}"


def event_json(event: Event) -> bytes:
    """Give an event as JSON without what the bus adds to it."""
    return event.model_dump_json(exclude={"site", "seq"}).encode()
