"""Rules of the hierarchy: what may stand below what."""

from collections.abc import Sequence

from actors.node.models import NodeType

_ABOVE: dict[NodeType, frozenset[NodeType]] = {
    NodeType.SITE: frozenset({NodeType.SITE}),
    NodeType.SPACE: frozenset({NodeType.SITE, NodeType.SPACE}),
    NodeType.EQUIP: frozenset({NodeType.SITE, NodeType.SPACE, NodeType.EQUIP}),
    NodeType.POINT: frozenset({NodeType.SITE, NodeType.SPACE, NodeType.EQUIP}),
    NodeType.VIRTUAL_POINT: frozenset({NodeType.SITE, NodeType.SPACE, NodeType.EQUIP}),
}


def may_stand_below(child: NodeType, parent: NodeType) -> bool:
    """Tell whether a `child` may have a parent of type `parent`: nothing stands below a point."""
    return parent in _ABOVE[child]


def allowed_parents(child: NodeType) -> str:
    """Name the types that a node may stand below, for people."""
    return ", ".join(each.value for each in NodeType if each in _ABOVE[child])


def matches_tags(tags: frozenset[str], query: Sequence[str]) -> bool:
    """Tell whether tags have all of `query`, and none written with a minus: `["ahu", "-fault"]`."""
    return all((each[1:] not in tags) if each.startswith("-") else (each in tags) for each in query)
