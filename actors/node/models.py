"""The node model: one hierarchy for every physical and logical object of a building."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from actors.core.values import PointValue, StatusFlags

NodeId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/ -]*$")]
"""Points: `1001/analog-input-1`; equipment: `1001`; sites and spaces: chosen by the user."""

Tag = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]


class NodeType(StrEnum):
    """Kinds of nodes."""

    SITE = "Site"
    SPACE = "Space"
    EQUIP = "Equip"
    POINT = "Point"
    VIRTUAL_POINT = "VirtualPoint"


class NodeCapabilities(BaseModel):
    """What a node supports."""

    model_config = ConfigDict(extra="forbid")

    readable: bool = False
    writable: bool = False
    historizable: bool = False
    alarmable: bool = False
    schedulable: bool = False


class ProtocolBinding(BaseModel):
    """How a node maps to a field device. `config` is the protocol's own."""

    model_config = ConfigDict(extra="forbid")

    protocol: str = Field(min_length=1, max_length=32)
    config: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _legacy(cls, value: Any) -> Any:
        """Take the older tagged form too: `{"Bacnet": {"device_instance": 1001, ...}}`."""
        if isinstance(value, dict) and len(value) == 1:
            tag, config = next(iter(value.items()))
            if tag.lower() in {"bacnet", "modbus", "virtual"} and (
                isinstance(config, dict) or config is None
            ):
                return {"protocol": tag.lower(), "config": config or {}}
        if isinstance(value, dict) and "type" in value and "protocol" not in value:
            rest = {key: item for key, item in value.items() if key != "type"}
            return {"protocol": str(value["type"]).lower(), "config": rest}
        return value

    @classmethod
    def bacnet(
        cls, device_instance: int, object_type: str, object_instance: int, network_id: str, **more: Any
    ) -> "ProtocolBinding":
        """Bind to a BACnet object."""
        config = {
            "device_instance": device_instance,
            "object_type": object_type,
            "object_instance": object_instance,
            "network_id": network_id,
        }
        return cls(protocol="bacnet", config=config | more)

    @classmethod
    def modbus(
        cls,
        device_id: str,
        register_type: str,
        address: int,
        data_type: str,
        byte_order: str = "big-endian",
        **more: Any,
    ) -> "ProtocolBinding":
        """Bind to a Modbus register (zero-based protocol address)."""
        config = {
            "device_id": device_id,
            "register_type": register_type,
            "address": address,
            "data_type": data_type,
            "byte_order": byte_order,
        }
        return cls(protocol="modbus", config=config | more)

    @classmethod
    def virtual_binding(cls, **config: Any) -> "ProtocolBinding":
        """Bind to nothing outside: the value is calculated or set here."""
        return cls(protocol="virtual", config=config)


def _sorted(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else value


class Node(BaseModel):
    """One object of the building."""

    model_config = ConfigDict(extra="forbid")

    id: NodeId
    node_type: NodeType
    dis: str = Field(min_length=1, max_length=200)
    parent_id: NodeId | None = None
    value: PointValue | None = None
    status: StatusFlags = 0
    tags: Annotated[list[Tag], BeforeValidator(_sorted)] = []
    """A set: no tag twice, sorted."""
    refs: dict[str, NodeId] = {}
    properties: dict[str, Any] = {}
    capabilities: NodeCapabilities = NodeCapabilities()
    protocol_binding: ProtocolBinding | None = None

    @model_validator(mode="after")
    def _tags_are_a_set(self) -> "Node":
        self.tags = sorted(set(self.tags))
        return self


class NodeChange(BaseModel):
    """Fields of a node to change; those left out stay."""

    model_config = ConfigDict(extra="forbid")

    dis: str | None = Field(default=None, min_length=1, max_length=200)
    parent_id: NodeId | None = None
    tags: list[Tag] | None = None
    refs: dict[str, NodeId] | None = None
    properties: dict[str, Any] | None = None
    capabilities: NodeCapabilities | None = None
    protocol_binding: ProtocolBinding | None = None


class NodeTree(BaseModel):
    """A node with everything below it."""

    node: Node
    children: "list[NodeTree]" = []


Protocol = Literal["bacnet", "modbus", "virtual"]


class ApplyResult(BaseModel):
    """What applying a set of nodes has done."""

    created: list[str] = []
    updated: list[str] = []
