"""Rules of points: values in, decision out."""

from actors.core.values import PointValue
from actors.node.models import Node
from actors.point.models import PointConfig


def has_changed(old: PointValue | None, new: PointValue | None, increment: float) -> bool:
    """Tell whether `new` differs from `old` by at least `increment` (ASHRAE 135, 13.1.4); 0 means at all.

    A change of type, such as from a number to nothing, always counts.
    """
    if old is None or new is None or isinstance(old, bool | str) or isinstance(new, bool | str):
        return old is not new and (type(old) is not type(new) or old != new)
    return new != old if increment <= 0 else abs(new - old) >= increment


def point_config(node: Node, interval: float, *, disabled: bool = False) -> PointConfig:
    """Give what the point store must know of a point; `interval` in seconds."""
    units, increment = node.properties.get("units"), node.properties.get("cov_increment")
    return PointConfig(
        id=node.id,
        units=units if isinstance(units, str) else None,
        cov_increment=float(increment) if isinstance(increment, int | float) and increment >= 0 else 0.0,
        interval=interval,
        record=node.capabilities.historizable,
        disabled=disabled,
    )
