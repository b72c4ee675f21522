"""The priority array (ASHRAE 135-2020, 19.2): 16 slots, the lowest number in force wins. Pure."""

from collections.abc import Iterable

from actors.core.values import PointValue
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
