"""Nodes of the objects of a device for which nobody has chosen points."""

import logging
from collections.abc import Sequence
from typing import Any

from actors.node.models import Node, NodeCapabilities, NodeType, ProtocolBinding
from bridges.bacnet.device import Device
from bridges.bacnet.kinds import ANALOG, BINARY, MULTI_STATE, OUTPUTS, READ_ONLY, WHOLE, WITH_VALUE
from bridges.bacnet.values import state_texts, to_text

log = logging.getLogger(__name__)


async def nodes_of(device: Device) -> list[Node]:
    """Make nodes of all objects of a device that have a present value. Raises BridgeError."""
    nodes: list[Node] = []
    for name in await device.objects():
        kind, _, instance = name.partition(",")
        if kind in WITH_VALUE and await device.has(name, "present-value"):
            nodes.append(await _node(device, kind, int(instance)))
    return nodes


async def _node(device: Device, kind: str, instance: int) -> Node:
    name = f"{kind},{instance}"
    props = ["object-name", "description"]
    props += ["active-text", "inactive-text"] if kind in BINARY else []
    props += ["state-text"] if kind in MULTI_STATE else []
    props += ["units"] if kind in ANALOG | WHOLE else []
    found = await device.describe(name, props)
    writable = kind in OUTPUTS or (kind.endswith("-value") and kind not in READ_ONLY)
    properties: dict[str, Any] = {"origin": "device", "device": device.device.id}
    for key in ("units", "description"):
        if text := to_text(found.get(key)):
            properties[key] = text
    if "active-text" in found and "inactive-text" in found:
        texts: Sequence[Any] = (found["inactive-text"], found["active-text"])
    else:
        texts = found.get("state-text") or ()
    if states := state_texts(kind, texts):
        properties["states"] = states
    return Node(
        id=f"{device.device.id}/{kind}-{instance}",
        node_type=NodeType.POINT,
        dis=to_text(found.get("object-name"), 200) or f"{kind}-{instance}",
        parent_id=device.device.id,
        properties=properties,
        capabilities=NodeCapabilities(
            readable=True, writable=writable, historizable=True, alarmable=True, schedulable=writable
        ),
        protocol_binding=ProtocolBinding.bacnet(
            device.device.device_instance, kind, instance, device.device.network
        ),
    )
