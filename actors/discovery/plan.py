"""The nodes and alarm configurations that a proposal makes. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from actors.alarm.logic import describe
from actors.alarm.models import NewAlarmConfig, Severity, StaleCondition, StateCondition
from actors.discovery.models import (
    AcceptRequest,
    DiscoveredDevice,
    DiscoveredPoint,
    Plan,
    PointChoice,
    Proposal,
    ProposedPoint,
    origin_of,
)
from actors.node.models import Node, NodeCapabilities, NodeType, ProtocolBinding

AWAY_DELAY: Final = 60.0
"""Seconds that a device may be silent, once its points count as stale, before its alarm is raised."""
_IP: Final = re.compile(r"\d+\.\d+\.\d+\.\d+(:\d+)?$")
_TELLS_TROUBLE: Final = frozenset({"alarm", "fault"})


def binding_of(device: DiscoveredDevice, point: DiscoveredPoint, node_id: str) -> dict[str, Any]:
    """Give how a point is read, for its node."""
    if point.binding is not None:
        return point.binding | {"device_id": node_id, "network_id": device.network_id}
    kind, _, instance = point.point_key.rpartition("-")
    return {
        "device_instance": _whole(device.device_key),
        "object_type": kind or point.kind,
        "object_instance": _whole(instance),
        "network_id": device.network_id,
    }


def _whole(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _device_binding(device: DiscoveredDevice) -> dict[str, Any]:
    """Give which device it is, for its equipment; of two with one instance the address says so."""
    if device.binding is not None:
        return device.binding
    config = {"device_instance": _whole(device.device_key), "network_id": device.network_id}
    # One behind a router, such as `2001:5`, can't be named by its address.
    return config | {"address": device.address} if device.conflict and _IP.match(device.address) else config


def plan_of(
    device: DiscoveredDevice,
    points: Sequence[DiscoveredPoint],
    proposal: Proposal,
    changes: Mapping[str, PointChoice],
    request: AcceptRequest,
) -> Plan:
    """Work out the nodes and alarm configurations of a proposal."""
    origin: dict[str, Any] = {"origin": origin_of(device.id)}
    about = {"protocol": device.protocol, "network": device.network_id, "vendor": device.vendor}
    about |= {"model": device.model, "firmware": device.firmware, "description": device.description}
    about |= {"location": device.location, "profile": proposal.profile}
    nodes = [
        Node(
            id=proposal.node_id,
            node_type=NodeType.EQUIP,
            dis=proposal.name,
            parent_id=proposal.parent_id,
            tags=proposal.tags,
            properties=origin | {key: value for key, value in about.items() if value},
            protocol_binding=ProtocolBinding(protocol=device.protocol, config=_device_binding(device)),
        )
    ]
    places = {each.name: each.node_id for each in proposal.groups}
    nodes += [
        Node(
            id=each.node_id,
            node_type=NodeType.EQUIP,
            dis=each.name,
            parent_id=proposal.node_id,
            tags=each.tags,
            properties=origin | {"device": proposal.node_id},
        )
        for each in proposal.groups
    ]
    alarms: list[NewAlarmConfig] = []
    for point, shown in zip(points, proposal.points, strict=True):
        if not shown.chosen:
            continue
        parent = places.get(shown.group[:200], proposal.node_id) if shown.group else proposal.node_id
        nodes.append(_node(device, point, shown, parent, proposal))
        wish = changes[point.point_key].alarms if point.point_key in changes else None
        if wish if wish is not None else request.alarms:
            alarms += _alarm(point, shown)
    first = next((each for each in proposal.points if each.chosen), None)
    if request.alarms and first is not None:
        alarms.append(
            NewAlarmConfig(
                node_id=first.node_id,
                condition=StaleCondition(delay=AWAY_DELAY),
                message=f"{proposal.name} does not answer",
            )
        )
    return Plan(nodes=nodes, alarms=alarms)


def _node(
    device: DiscoveredDevice, point: DiscoveredPoint, shown: ProposedPoint, parent: str, proposal: Proposal
) -> Node:
    properties: dict[str, Any] = point.properties | {
        "origin": origin_of(device.id),
        "device": proposal.node_id,
        "object_name": point.name,
    }
    more = {"units": shown.units, "states": point.states, "description": point.description}
    properties |= {key: value for key, value in more.items() if value}
    return Node(
        id=shown.node_id,
        node_type=NodeType.POINT,
        dis=shown.name,
        parent_id=parent,
        tags=shown.tags,
        properties=properties,
        capabilities=NodeCapabilities(
            readable=True,
            writable=shown.writable,
            historizable=shown.history,
            alarmable=True,
            schedulable=shown.writable,
        ),
        protocol_binding=ProtocolBinding(
            protocol=device.protocol, config=binding_of(device, point, proposal.node_id)
        ),
    )


def _alarm(point: DiscoveredPoint, shown: ProposedPoint) -> list[NewAlarmConfig]:
    """Give the alarms of a point: its profile's, else one where it says by itself that something is wrong."""
    if point.alarm is not None:
        return [NewAlarmConfig(node_id=shown.node_id, **point.alarm.model_dump())]
    binary = point.kind.startswith("binary") or isinstance(point.value, bool)
    if binary and not shown.writable and _TELLS_TROUBLE & set(shown.tags):
        condition = StateCondition(states=[True])
        return [
            NewAlarmConfig(
                node_id=shown.node_id, condition=condition, severity=Severity.HIGH, message=shown.name
            )
        ]
    return []


def alarms_by_point(plan: Plan) -> dict[str, list[str]]:
    """Give the alarms of each node in words."""
    names = {node.id: node.dis for node in plan.nodes}
    told: dict[str, list[str]] = {}
    for each in plan.alarms:
        text = each.message or describe(each.condition, names[each.node_id], None, None)
        told.setdefault(each.node_id, []).append(f"{each.severity.value}: {text}")
    return told
