"""Rules of discovery: what may be decided about a device."""

from typing import Final

from actors.discovery.models import DeviceState

_MAY: Final[dict[DeviceState, frozenset[DeviceState]]] = {
    DeviceState.DISCOVERED: frozenset({DeviceState.ACCEPTED, DeviceState.IGNORED}),
    DeviceState.BOUND: frozenset({DeviceState.ACCEPTED, DeviceState.IGNORED}),
    DeviceState.IGNORED: frozenset({DeviceState.DISCOVERED}),
    # An accepted device has nodes: whoever wants it out of the model deletes those first.
    DeviceState.ACCEPTED: frozenset({DeviceState.DISCOVERED}),
}


def refusal(now: DeviceState, then: DeviceState, *, has_nodes: bool = False) -> str | None:
    """Say why a device may not go from one state to another, or None when it may."""
    if then not in _MAY[now]:
        return f"it is {now.value} and can't become {then.value}"
    if now is DeviceState.ACCEPTED and has_nodes:
        return "its nodes are in the model; delete them first"
    return None
