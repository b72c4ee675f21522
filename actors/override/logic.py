"""The priority array (ASHRAE 135-2020, 19.2): 16 slots, the lowest number in force wins. Pure."""

from collections.abc import Iterable

from actors.core.values import PointValue
from actors.node.models import Node
from actors.override.models import Override, PriorityArray

LEVELS = 16


def array_of(
    point_id: str, overrides: Iterable[Override], relinquish_default: PointValue | None
) -> PriorityArray:
    """Give the priority array that a point's commanded slots make."""
    slots: list[PointValue | None] = [None] * LEVELS
    for each in overrides:
        slots[each.priority - 1] = each.value
    active = active_priority(slots)
    return PriorityArray(
        id=point_id,
        slots=slots,
        relinquish_default=relinquish_default,
        active_priority=active,
        present_value=relinquish_default if active is None else slots[active - 1],
    )


def active_priority(slots: list[PointValue | None]) -> int | None:
    """Give the number of the slot in force, or None."""
    return next((number for number, value in enumerate(slots, 1) if value is not None), None)


def protocol_of(node: Node) -> str:
    """Give the protocol that a point is commanded by; `virtual` without one."""
    if node.protocol_binding is None:
        return "virtual"
    return node.protocol_binding.protocol


def default_of(node: Node) -> PointValue | None:
    """Give what is in force when nothing is commanded, where that is known."""
    value = node.properties.get("relinquish_default")
    return value if isinstance(value, bool | int | float | str) else None


def same(left: PointValue | None, right: PointValue) -> bool:
    """Tell whether a slot still holds what was written; devices keep analog values as 32-bit floats."""
    if left is None:
        return False
    if isinstance(left, str) or isinstance(right, str):
        return left == right
    return abs(float(left) - float(right)) <= 1e-5 * max(1.0, abs(float(right)))
