"""What a device that was found becomes: equipment, points, tags, bindings, history and alarms. Pure."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

from actors.core.errors import BadInputError, ConflictError
from actors.core.units import known_unit, symbol, unit_name
from actors.discovery.bound import Surroundings, bound_key, places_of
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
)
from actors.discovery.naming import common_prefix, device_name, groups, readable, slug
from actors.discovery.plan import alarms_by_point, binding_of, plan_of
from actors.node.tagging import suggest_equip_tags, suggest_point_tags

_NO_HISTORY: Final = ("string", "date", "time")
_ID: Final = re.compile(r"[^A-Za-z0-9._-]+")
_DEVICE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What bridges take as a device's id."""


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
        binding = binding_of(device, point, node_id)
        keys = [bound_key(device.protocol, binding, {node_id: place}) for place in places_of(device)]
        each.bound_to = around.bound_to(keys)
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
    plan = plan_of(device, list(points), proposal, changes, request)
    alarms = alarms_by_point(plan)
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
        why = "it can't say what it has, and no profile fits it"
        return f"{why}: choose one, or list its registers in campus.yaml"
    reason = device.errors.get("object-list") or device.errors.get("device")
    return f"none of its points are known{f': {reason}' if reason else ''}; scan again"


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
    units = _units(change, point)
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


def _units(change: PointChoice, point: DiscoveredPoint) -> str | None:
    """Give a point's unit: a person's must be known; what the device says stays as it is."""
    if change.units is None or change.units == point.units:
        return unit_name(point.units)
    try:
        return known_unit(change.units)
    except ValueError as error:
        field = f"changes.{point.point_key}.units"
        raise BadInputError(field, change.units, str(error)) from None


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
