"""From configuration and profiles to the nodes of a site and their alarm configurations. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from actors.alarm.models import NewAlarmConfig, Severity
from actors.node.models import Node, NodeCapabilities, NodeType, ProtocolBinding
from bridges.checks import point_key
from bridges.config import (
    BacnetDevice,
    DeviceConfig,
    ModbusDevice,
    PointProfile,
    Profile,
    SpaceConfig,
)

ORIGIN = "campus.yaml"


def site_nodes(
    site_id: str,
    site_dis: str,
    spaces: Sequence[SpaceConfig],
    devices: Iterable[DeviceConfig],
    profiles: Mapping[str, Profile],
) -> list[Node]:
    """Give a site's nodes, each after its parent: site, spaces, equipment, points.

    A BACnet device without profile and points is only its equipment: the bridge asks it for its objects.
    """
    origin = {"origin": ORIGIN}
    nodes = [Node(id=site_id, node_type=NodeType.SITE, dis=site_dis, tags=["site"], properties=origin)]
    nodes += [
        Node(
            id=space.id,
            node_type=NodeType.SPACE,
            dis=space.dis or space.id,
            parent_id=space.parent or site_id,
            tags=["space", *space.tags],
            properties=origin,
        )
        for space in _parents_first(spaces)
    ]
    equipment: list[Node] = []
    points: list[Node] = []
    for device in devices:
        profile = profiles.get(device.profile) if device.profile else None
        equipment.append(_equip(device, profile, site_id))
        points += [_point(device, profile, point) for point in device_points(device, profile)]
    known = {node.id for node in nodes}
    while equipment:
        # Equipment may stand in other equipment, in any order.
        ready = [node for node in equipment if node.parent_id in known] or equipment
        nodes += ready
        known |= {node.id for node in ready}
        equipment = [node for node in equipment if node.id not in known]
    return nodes + points


def _parents_first(spaces: Sequence[SpaceConfig]) -> list[SpaceConfig]:
    ordered: list[SpaceConfig] = []
    waiting = list(spaces)
    ids = {space.id for space in spaces}
    while waiting:
        placed = {space.id for space in ordered}
        ready = [
            s for s in waiting if s.parent is None or s.parent in placed or s.parent not in ids
        ] or waiting
        ordered += ready
        waiting = [space for space in waiting if space not in ready]
    return ordered


def device_points(device: DeviceConfig, profile: Profile | None) -> list[PointProfile]:
    """Give a device's points: those of its profile, with its own added or in their place."""
    points = {point_key(point): point for point in (profile.points if profile else [])}
    by_object = {point.object: key for key, point in points.items() if point.object}
    for point in device.points or []:
        replaced = by_object.get(point.object) if point.object else None
        if replaced and replaced != point_key(point):
            del points[replaced]
        points[point_key(point)] = point
    return list(points.values())


def _equip(device: DeviceConfig, profile: Profile | None, site_id: str) -> Node:
    properties: dict[str, object] = {"origin": ORIGIN, "protocol": device.protocol, "network": device.network}
    if profile:
        properties["profile"] = profile.profile
    if isinstance(device, BacnetDevice):
        properties["device_instance"] = device.device_instance
    return Node(
        id=device.id,
        node_type=NodeType.EQUIP,
        dis=device.dis or (profile.dis if profile else device.id),
        parent_id=device.space or site_id,
        tags=["equip", *device.tags, *(profile.tags if profile else [])],
        properties=properties,
    )


def is_writable(point: PointProfile) -> bool:
    """Tell whether a point can be commanded: as it says, else outputs can and everything else can't."""
    if point.writable is not None:
        return point.writable
    return point.object is not None and point.object.partition(",")[0].endswith("-output")


def _point(device: DeviceConfig, profile: Profile | None, point: PointProfile) -> Node:
    key = point_key(point)
    writable = is_writable(point)
    properties: dict[str, object] = {"origin": ORIGIN, "device": device.id}
    if profile:
        properties["profile"] = profile.profile
    for name in ("units", "states", "description", "cov_increment", "relinquish_default"):
        value = getattr(point, name)
        if value is not None:
            properties[name] = value
    interval = point.interval or device.interval
    if interval is not None:
        properties["interval"] = interval
    return Node(
        id=f"{device.id}/{key}",
        node_type=NodeType.POINT,
        dis=point.dis or key,
        parent_id=device.id,
        tags=list(point.tags),
        properties=properties,
        capabilities=NodeCapabilities(
            readable=True, writable=writable, historizable=True, alarmable=True, schedulable=writable
        ),
        protocol_binding=_binding(device, point),
    )


def _binding(device: DeviceConfig, point: PointProfile) -> ProtocolBinding:
    if isinstance(device, ModbusDevice):
        more = {
            name: value
            for name, value in (
                ("scale", point.scale),
                ("offset", point.offset),
                ("bit", point.bit),
                ("mask", point.mask),
                ("length", point.length),
                ("absent", point.absent),
                ("network_id", device.network),
            )
            if value is not None
        }
        return ProtocolBinding.modbus(
            device.id, point.register or "", point.address or 0, point.data_type, point.byte_order, **more
        )
    kind, _, instance = (point.object or "").partition(",")
    return ProtocolBinding.bacnet(device.device_instance, kind, int(instance), device.network)


def alarm_configs(devices: Iterable[DeviceConfig], profiles: Mapping[str, Profile]) -> list[NewAlarmConfig]:
    """Give the alarm configurations that profiles and devices name."""
    return [
        NewAlarmConfig(
            node_id=f"{device.id}/{point_key(point)}",
            condition=point.alarm.condition(),
            severity=Severity(point.alarm.severity),
            message=point.alarm.message,
        )
        for device in devices
        for point in device_points(device, profiles.get(device.profile) if device.profile else None)
        if point.alarm is not None
    ]
