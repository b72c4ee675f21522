"""What the model of a site has already of a device that was found. Pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from actors.discovery.models import ORIGIN, DiscoveredDevice
from actors.node.models import Node, NodeType

BoundKey = tuple[Any, ...]
Places = Mapping[str, tuple[str, str]]
"""Network and unit of Modbus devices by their id."""


class Surroundings:
    """What the model of a site has already."""

    def __init__(
        self, site: str, taken: Collection[str], bound: Iterable[Node], units: Places | None = None
    ) -> None:
        """Take the site's node id, the ids that are taken, and the nodes bound by the device's protocol.

        `units` are the Modbus devices that the bridge knows, also those of the configuration, which have no
        node with a binding.
        """
        self.site, self.taken = site, frozenset(taken)
        nodes = list(bound)
        places = dict(units or {}) | {
            node.id: (str(config.get("network_id")), str(config.get("unit")))
            for node in nodes
            if node.node_type is NodeType.EQUIP and (config := _config(node))
        }
        self._by_binding: dict[BoundKey, list[str]] = {}
        self._devices: dict[BoundKey, str] = {}
        # Equipment says best what stands for a device, then points that name theirs.
        for node in sorted(nodes, key=lambda each: (each.node_type is not NodeType.EQUIP, not _named(each))):
            equip = node.node_type is NodeType.EQUIP
            if not equip:
                key = bound_key(_protocol(node), _config(node), places)
                self._by_binding.setdefault(key, []).append(node.id)
            if str(node.properties.get("origin")).startswith(ORIGIN):
                continue  # its device is accepted, or about to be
            stands = node.id if equip or _named(node) not in self.taken else _named(node)
            self._devices.setdefault(_device_key(node, places), stands)

    def bound_to(self, keys: Iterable[BoundKey]) -> list[str]:
        """Give the points that stand for the same object or register."""
        return [each for key in dict.fromkeys(keys) for each in self._by_binding.get(key, [])]

    def stands_for(self, device: DiscoveredDevice) -> str | None:
        """Give the node that stands for a device, else one read from it; None: nothing is bound to it."""
        found = (self._devices.get((device.protocol, *place)) for place in places_of(device))
        return next((each for each in found if each is not None), None)


def places_of(device: DiscoveredDevice) -> list[tuple[str, str]]:
    """Give where a device stands: its network and key, and where it is known by a name, its unit, too."""
    places = [(device.network_id, device.device_key)]
    if device.protocol == "modbus" and device.binding is not None and "unit" in device.binding:
        places.insert(0, (device.network_id, str(device.binding["unit"])))
    return places


def bound_key(protocol: str, config: Mapping[str, Any], units: Places) -> BoundKey:
    """Give what bindings have in common that read the same; `units` are Modbus devices by their id."""
    if protocol == "bacnet":
        names = ("network_id", "device_instance", "object_type", "object_instance")
        return protocol, *(str(config.get(name)) for name in names)
    names = ("register_type", "address", "bit", "mask")
    return protocol, *_place(config, units), *(str(config.get(name)) for name in names)


def _place(config: Mapping[str, Any], units: Places) -> tuple[str, str]:
    device = str(config.get("device_id"))
    return units.get(device, (str(config.get("network_id")), device))


def _device_key(node: Node, units: Places) -> BoundKey:
    """Give which device a node's binding means."""
    protocol, config = _protocol(node), _config(node)
    if protocol == "bacnet":
        return protocol, str(config.get("network_id")), str(config.get("device_instance"))
    if node.node_type is NodeType.EQUIP:
        return protocol, str(config.get("network_id")), str(config.get("unit"))
    return protocol, *_place(config, units)


def _named(node: Node) -> str:
    """Give the device that a point names, as its own or in its binding."""
    return str(node.properties.get("device") or _config(node).get("device_id") or "")


def _config(node: Node) -> dict[str, Any]:
    return node.protocol_binding.config if node.protocol_binding else {}


def _protocol(node: Node) -> str:
    return node.protocol_binding.protocol if node.protocol_binding else ""
