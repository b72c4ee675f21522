"""What the model of a site has already of a device that was found. Pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from actors.node.models import Node, NodeType

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
