"""From the binding of equipment to a device: every key checked. Pure."""

from collections.abc import Collection

from pydantic import ValidationError

from actors.core.errors import BadInputError
from actors.node.models import Node
from bridges.config import BacnetDevice

_MORE = ("address", "cov", "events", "interval")


def device_of(node: Node, networks: Collection[str]) -> BacnetDevice:
    """Read the BACnet binding of equipment: `network_id`, `device_instance`, what else a device has.

    Raises BadInputError that names the key.
    """
    config = node.protocol_binding.config if node.protocol_binding else {}
    network = config.get("network_id")
    if network not in networks:
        known = ", ".join(sorted(networks)) or "none"
        raise BadInputError("network_id", network, f"a bacnet network of this site: {known}")
    own = {key: config[key] for key in _MORE if config.get(key) is not None}
    try:
        return BacnetDevice(
            id=node.id, network=network, device_instance=config.get("device_instance", -1), **own
        )
    except ValidationError as error:
        fault = error.errors()[0]
        key = str(fault["loc"][0])
        raise BadInputError(key, config.get(key, node.id), str(fault["msg"])) from None
