"""Rules of legacy records: how one reads as a node of today."""

from typing import Any, Final

from actors.core.errors import BadInputError
from actors.entity.models import Entity

NODE_TYPES: Final = {
    "site": "Site",
    "building": "Site",
    "space": "Space",
    "zone": "Space",
    "floor": "Space",
    "room": "Space",
    "equip": "Equip",
    "equipment": "Equip",
    "device": "Equip",
    "point": "Point",
    "sensor": "Point",
    "cmd": "Point",
    "sp": "Point",
    "virtual_point": "VirtualPoint",
    "virtualpoint": "VirtualPoint",
}
"""Kinds of node by the older names."""

_WRITABLE: Final = frozenset({"writable", "cmd", "sp"})


def as_node(entity: Entity) -> dict[str, Any]:
    """Give a record as the fields of a node; markers become tags, values become properties.

    Tags that end in `Ref` become references. The binding, in the older tagged form or today's, is taken as it
    is: the node model reads both. Raises BadInputError for a type that no kind of node stands for.
    """
    kind = NODE_TYPES.get(entity.entity_type.lower())
    if kind is None:
        known = ", ".join(sorted(NODE_TYPES))
        raise BadInputError("entity_type", entity.entity_type, f"one of {known}")
    markers = sorted(name for name, value in entity.tags.items() if value is None or value is True)
    refs = {
        name: str(value).removeprefix("@")
        for name, value in entity.tags.items()
        if name.endswith("Ref") and isinstance(value, str) and value
    }
    values = {
        name: value
        for name, value in entity.tags.items()
        if name not in refs and value is not None and value is not True
    }
    binding = entity.data.get("protocol_binding") or entity.data.get("binding")
    point = kind in {"Point", "VirtualPoint"}
    writable = point and (kind == "VirtualPoint" or bool(_WRITABLE & set(markers)))
    more = {key: value for key, value in entity.data.items() if key not in {"binding", "protocol_binding"}}
    return {
        "id": entity.id,
        "node_type": kind,
        "dis": entity.dis,
        "parent_id": entity.parent_id,
        "tags": markers,
        "refs": refs,
        "properties": values | more,
        "capabilities": {
            "readable": point,
            "writable": writable,
            "historizable": point,
            "alarmable": point,
            "schedulable": writable,
        },
        "protocol_binding": binding,
    }
