"""What a device that was found becomes: equipment, points, tags, bindings, history and alarms. Pure."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from actors.alarm.logic import describe
from actors.alarm.models import NewAlarmConfig, Severity, StaleCondition, StateCondition
from actors.core.errors import BadInputError, ConflictError
from actors.core.units import symbol, unit_name
from actors.discovery.models import (
    AcceptRequest,
    DiscoveredDevice,
    DiscoveredPoint,
    FoundPoint,
    Plan,
    PointChoice,
    Proposal,
    ProposedGroup,
    ProposedPoint,
    origin_of,
)
from actors.discovery.naming import common_prefix, device_name, groups, readable, slug
from actors.node.models import Node, NodeCapabilities, NodeType, ProtocolBinding
from actors.node.tagging import suggest_equip_tags, suggest_point_tags

AWAY_DELAY: Final = 60.0
"""Seconds that a device may be silent, once its points count as stale, before its alarm is raised."""
_NO_HISTORY: Final = ("string", "date", "time")
_ID: Final = re.compile(r"[^A-Za-z0-9._-]+")
_DEVICE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What bridges take as a device's id."""
_TELLS_TROUBLE: Final = frozenset({"alarm", "fault"})

BoundKey = tuple[Any, ...]


class Surroundings:
    """What the model of a site has already."""

    def __init__(self, site: str, taken: Collection[str], bound: Iterable[Node]) -> None:
        """Take the site's node id, the ids that are taken, and the nodes bound by the device's protocol."""
        self.site, self.taken = site, frozenset(taken)
        nodes = list(bound)
        units = {
            node.id: (str(config.get("network_id")), str(config.get("unit")))
            for node in nodes
            if node.node_type is NodeType.EQUIP and (config := _config(node))
        }
        self._by_binding: dict[BoundKey, list[str]] = {}
        for node in nodes:
            if node.node_type is not NodeType.EQUIP:
                key = bound_key(_protocol(node), _config(node), units)
                self._by_binding.setdefault(key, []).append(node.id)

    def bound_to(self, key: BoundKey) -> list[str]:
        """Give the points that stand for the same object or register."""
        return self._by_binding.get(key, [])


def bound_key(protocol: str, config: Mapping[str, Any], units: Mapping[str, tuple[str, str]]) -> BoundKey:
    """Give what bindings have in common that read the same; `units` are Modbus devices by their id."""
    if protocol == "bacnet":
        names = ("network_id", "device_instance", "object_type", "object_instance")
        return protocol, *(str(config.get(name)) for name in names)
    device = str(config.get("device_id"))
    place = units.get(device, (str(config.get("network_id")), device))
    names = ("register_type", "address", "bit", "mask")
    return protocol, *place, *(str(config.get(name)) for name in names)


def _config(node: Node) -> dict[str, Any]:
    return node.protocol_binding.config if node.protocol_binding else {}


def _protocol(node: Node) -> str:
    return node.protocol_binding.protocol if node.protocol_binding else ""


def with_profile(
    device: DiscoveredDevice, points: Sequence[DiscoveredPoint], profile: Sequence[FoundPoint] | None
) -> list[DiscoveredPoint]:
    """Give a device's points as a profile tells of them.

    Of BACnet the device says what there is, and the profile names and details it; of Modbus, where devices
    can't say what they have, the points are the profile's.
    """
    if profile is None:
        return list(points)
    told = {each.point_key: each for each in profile}
    if device.protocol == "modbus":
        read = {each.point_key: each for each in points}
        return [
            DiscoveredPoint.model_validate(
                each.model_dump()
                | {"id": read[key].id if key in read else 0, "device_id": device.id}
                | {"value": read[key].value if key in read else None}
            )
            for key, each in told.items()
        ]
    result = []
    for point in points:
        better = told.get(point.point_key)
        if better is None:
            result.append(point)
            continue
        fields = better.model_dump(exclude_defaults=True, exclude={"point_key", "kind", "value", "binding"})
        fields |= {"alarm": better.alarm, "properties": point.properties | better.properties}
        result.append(point.model_copy(update=fields))
    return result


def propose(
    device: DiscoveredDevice,
    points: Sequence[DiscoveredPoint],
    request: AcceptRequest,
    around: Surroundings,
    profiled: Collection[str] = (),
) -> tuple[Proposal, Plan]:
    """Work out what a device becomes, and what a person should know first.

    `profiled` are keys of points that a profile has named, whose names stay. Raises BadInputError for what
    the request names and isn't there, and ConflictError for a node id that is taken.
    """
    changes = _changes(request, points)
    wanted = None if request.points is None else set(request.points)
    if wanted is not None and (strange := wanted - {each.point_key for each in points}):
        raise BadInputError("points", min(strange), f"keys of points of device {device.id}")
    node_id = _node_id(device, request, around)
    named = {each.point_key: each.name for each in points}
    grouped = groups({key: name for key, name in named.items() if key not in profiled})
    prefix = common_prefix(each for each in named.values() if each).rstrip("._:/ -")
    title = request.name or device.name or device_name(named.values()) or prefix or _title(device)
    proposed: list[ProposedPoint] = []
    for point in points:
        change = changes.get(point.point_key, PointChoice(point_key=point.point_key))
        group, rest = grouped.get(point.point_key, ("", point.name))
        proposed.append(
            _point(device, point, change, request, group if request.grouping else "", rest, profiled)
        )
    for point, each in zip(points, proposed, strict=True):
        each.node_id = f"{node_id}/{_ID.sub('-', point.point_key)}"
        key = bound_key(device.protocol, _binding(device, point, node_id), _units(device, node_id))
        each.bound_to = around.bound_to(key)
        each.chosen = not each.bound_to if wanted is None else point.point_key in wanted
    parent = request.parent_id or around.site
    found = _groups(node_id, proposed, around)
    tags = request.tags if request.tags is not None else sorted(suggest_equip_tags(title))
    proposal = Proposal(
        device_id=device.id,
        protocol=device.protocol,
        node_id=node_id,
        name=title[:200],
        parent_id=parent,
        tags=sorted(set(tags) | {"equip"}),
        profile=request.profile or device.profile,
        groups=found,
        points=proposed,
        problems=_problems(device, proposed, parent, around),
    )
    plan = _plan(device, list(points), proposal, changes, request)
    alarms = _alarms_by_point(plan)
    for each in proposed:
        each.alarms = alarms.get(each.node_id, [])
    return proposal, plan


def check(device: DiscoveredDevice, proposal: Proposal) -> None:
    """Refuse what can't become nodes. Raises ConflictError."""
    chosen = [each for each in proposal.points if each.chosen]
    bound = [each for each in chosen if each.bound_to]
    if bound:
        known = f"{bound[0].point_key} is {bound[0].bound_to[0]}"
        raise ConflictError(
            "device", device.id, f"{len(bound)} of the points are in the model already: {known}"
        )
    if not chosen:
        raise ConflictError("device", device.id, _why_none(device, proposal.points))


def _why_none(device: DiscoveredDevice, points: Sequence[ProposedPoint]) -> str:
    if points and all(each.bound_to for each in points):
        return f"all its points are in the model already, such as {points[0].bound_to[0]}"
    if points:
        return "no point of it is chosen"
    if device.protocol == "modbus":
        return "it can't say what it has, and no profile fits it: choose one"
    why = device.errors.get("object-list") or device.errors.get("device")
    return f"none of its points are known{f': {why}' if why else ''}; scan again"


def _problems(
    device: DiscoveredDevice, points: Sequence[ProposedPoint], parent: str, around: Surroundings
) -> list[str]:
    problems = []
    if not any(each.chosen for each in points):
        problems.append(_why_none(device, points))
    if parent not in around.taken:
        problems.append(f"there is no node {parent!r} to stand in")
    if device.conflict:
        problems.append(f"another device of network {device.network_id} has the key {device.device_key} too")
    if device.object_list_stale:
        problems.append("it has other objects than when it was scanned; scan again")
    problems += [device.note] if device.note else []
    problems += [f"{what}: {why}" for what, why in device.errors.items()]
    bound = sum(bool(each.bound_to) for each in points)
    if bound:
        problems.append(f"{bound} of {len(points)} points are in the model already")
    return problems


def _changes(request: AcceptRequest, points: Sequence[DiscoveredPoint]) -> dict[str, PointChoice]:
    known = {each.point_key for each in points}
    counts = Counter(each.point_key for each in request.changes)
    for key, count in counts.items():
        if key not in known:
            raise BadInputError("changes", key, "keys of the device's points")
        if count > 1:
            raise BadInputError("changes", key, "each point once")
    return {each.point_key: each for each in request.changes}


def _title(device: DiscoveredDevice) -> str:
    kind = " ".join(each for each in (device.vendor, device.model) if each)
    return f"{kind} {device.device_key}" if kind else f"Device {device.device_key}"


def _node_id(device: DiscoveredDevice, request: AcceptRequest, around: Surroundings) -> str:
    """Give the id of the equipment: the device instance (BACnet), or network and unit (Modbus)."""
    if request.node_id is not None:
        if request.node_id in around.taken:
            raise ConflictError("node", request.node_id, "there is a node with this id already")
        if not _DEVICE_ID.fullmatch(request.node_id):
            raise BadInputError("node_id", request.node_id, "at most 64 letters, digits, dots, dashes and _")
        return request.node_id
    long = _ID.sub("-", f"{device.network_id}-{device.device_key}").strip("-._")[:56] or "device"
    first = device.device_key if device.protocol == "bacnet" else long
    return _untaken([first, long], around.taken)


def _untaken(names: Sequence[str], taken: Collection[str]) -> str:
    for name in names:
        if name not in taken:
            return name
    number = 2
    while f"{names[-1]}-{number}" in taken:
        number += 1
    return f"{names[-1]}-{number}"


def _point(
    device: DiscoveredDevice,
    point: DiscoveredPoint,
    change: PointChoice,
    request: AcceptRequest,
    group: str,
    rest: str,
    profiled: Collection[str],
) -> ProposedPoint:
    given = point.name if point.point_key in profiled else readable(rest)
    name = change.name or given or point.point_key
    units = unit_name(change.units if change.units is not None else point.units)
    tags = set(point.tags) | suggest_point_tags(name, point.kind, units)
    recordable = not isinstance(point.value, str) and not any(each in point.kind for each in _NO_HISTORY)
    return ProposedPoint(
        point_key=point.point_key,
        node_id="",
        name=name[:200],
        object_name=point.name,
        group=change.group if change.group is not None else group,
        kind=point.kind,
        units=units,
        symbol=symbol(units),
        tags=sorted(change.tags if change.tags is not None else tags),
        states=point.states,
        value=point.value,
        writable=change.writable if change.writable is not None else point.writable,
        history=change.history if change.history is not None else request.history and recordable,
        alarms=[],
        bound_to=[],
        chosen=True,
        error=point.error,
    )


def _groups(node_id: str, points: Sequence[ProposedPoint], around: Surroundings) -> list[ProposedGroup]:
    counts = Counter(each.group for each in points if each.chosen and each.group)
    taken = set(around.taken)
    found = []
    for name, count in counts.items():
        key = _untaken([f"{node_id}:{slug(name)}"], taken)
        taken.add(key)
        found.append(
            ProposedGroup(
                node_id=key, name=name[:200], tags=sorted({"equip"} | suggest_equip_tags(name)), points=count
            )
        )
    return found


def _binding(device: DiscoveredDevice, point: DiscoveredPoint, node_id: str) -> dict[str, Any]:
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


def _units(device: DiscoveredDevice, node_id: str) -> dict[str, tuple[str, str]]:
    return {node_id: (device.network_id, device.device_key)}


def _plan(
    device: DiscoveredDevice,
    points: Sequence[DiscoveredPoint],
    proposal: Proposal,
    changes: Mapping[str, PointChoice],
    request: AcceptRequest,
) -> Plan:
    origin: dict[str, Any] = {"origin": origin_of(device.id)}
    about = {"protocol": device.protocol, "network": device.network_id, "vendor": device.vendor}
    about |= {"model": device.model, "firmware": device.firmware, "description": device.description}
    about |= {"location": device.location, "profile": proposal.profile}
    config = device.binding or {"device_instance": _whole(device.device_key), "network_id": device.network_id}
    nodes = [
        Node(
            id=proposal.node_id,
            node_type=NodeType.EQUIP,
            dis=proposal.name,
            parent_id=proposal.parent_id,
            tags=proposal.tags,
            properties=origin | {key: value for key, value in about.items() if value},
            protocol_binding=ProtocolBinding(protocol=device.protocol, config=config),
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
            protocol=device.protocol, config=_binding(device, point, proposal.node_id)
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


def _alarms_by_point(plan: Plan) -> dict[str, list[str]]:
    names = {node.id: node.dis for node in plan.nodes}
    told: dict[str, list[str]] = {}
    for each in plan.alarms:
        text = each.message or describe(each.condition, names[each.node_id], None, None)
        told.setdefault(each.node_id, []).append(f"{each.severity.value}: {text}")
    return told
