"""The building's model as the page holds it: sites, spaces, equipment and what every point is."""

from collections import defaultdict
from typing import Any

from api.web.session import Session

Item = dict[str, Any]


class Model:
    """What there is, by id; loaded in a few requests and again every minute."""

    def __init__(self) -> None:
        self.nodes: dict[str, Item] = {}
        self.children: dict[str, list[str]] = {}
        self.roots: list[str] = []
        self.points: dict[str, Item] = {}
        """All points with what is known of them; their values are of the time they were loaded."""

    async def load(self, session: Session) -> None:
        """Read everything. Raises ApiError, and then keeps what it had."""
        nodes: dict[str, Item] = {}
        for kind in ("Site", "Space", "Equip"):
            for node in await session.all("/api/nodes", type=kind):
                nodes[str(node["id"])] = node
        points = await session.all("/api/points")
        children: dict[str, list[str]] = defaultdict(list)
        roots = []
        for node_id, node in nodes.items():
            parent = node.get("parent_id")
            if parent in nodes:
                children[str(parent)].append(node_id)
            else:
                roots.append(node_id)
        for below in [*children.values(), roots]:
            below.sort(key=lambda each: _order(nodes[each]))
        self.nodes, self.children, self.roots = nodes, dict(children), roots
        self.points = {str(point["id"]): point for point in points}

    def take(self, points: list[Item]) -> None:
        """Take newer values of points."""
        for point in points:
            self.points.setdefault(str(point["id"]), {}).update(point)

    def name(self, node_id: str) -> str:
        """Give a node's or point's display name; what is not known is shown by its id."""
        known = self.nodes.get(node_id) or self.points.get(node_id) or {}
        return str(known.get("dis") or node_id)

    def equipment_of(self, node_id: str) -> str | None:
        """Give the equipment (or space, site) that a point stands under, or the node itself."""
        if node_id in self.nodes:
            return node_id
        parent = (self.points.get(node_id) or {}).get("parent")
        if parent in self.nodes:
            return str(parent)
        before = node_id.rpartition("/")[0]
        return before if before in self.nodes else None

    def path(self, node_id: str) -> list[Item]:
        """Give the nodes from the root down to this one. A loop in the data ends the walk."""
        walk: list[Item] = []
        seen: set[str] = set()
        at: str | None = node_id
        while at is not None and at in self.nodes and at not in seen:
            seen.add(at)
            walk.append(self.nodes[at])
            at = self.nodes[at].get("parent_id")
        return walk[::-1]

    def below(self, node_id: str) -> list[str]:
        """Give a node and everything under it, in the tree's order."""
        found, waiting = [], [node_id]
        while waiting:
            at = waiting.pop()
            found.append(at)
            waiting += [each for each in reversed(self.children.get(at, [])) if each not in found]
        return found

    def points_of(self, node_id: str) -> list[Item]:
        """Give the points directly under a node."""
        return [point for point in self.points.values() if point.get("parent") == node_id]


def _order(node: Item) -> tuple[int, list[tuple[int, Any]]]:
    kind = {"Site": 0, "Space": 1, "Equip": 2}.get(str(node.get("node_type")), 3)
    return kind, natural(str(node.get("dis") or node["id"]))


def natural(text: str) -> list[tuple[int, Any]]:
    """Give a key that sorts `VAV-10` after `VAV-9`."""
    parts: list[tuple[int, Any]] = []
    run = ""
    for char in text.casefold():
        if run and char.isdecimal() != run[-1].isdecimal():
            parts.append((0, int(run)) if run.isdecimal() else (1, run))
            run = ""
        run += char
    if run:
        parts.append((0, int(run)) if run.isdecimal() else (1, run))
    return parts
