"""The building's model as the page holds it: sites, spaces, equipment and what every point is."""

from collections import defaultdict
from typing import Any

from api.web.session import Session, id_of, key_of

Item = dict[str, Any]


class Model:
    """What there is, by key; loaded in a few requests and again every minute.

    A key is an id, and where there are several sites, which may number alike, an id with its site. All items
    here are named by keys: their `id`, `parent_id` and `parent`.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Item] = {}
        self.children: dict[str, list[str]] = {}
        self.roots: list[str] = []
        self.points: dict[str, Item] = {}
        """All points with what is known of them; their values are of the time they were loaded."""
        self.sites: dict[str, Item] = {}
        self.away: set[str] = set()
        """Sites that can't be reached; of those that were loaded before, all is kept."""

    async def load(self, session: Session) -> None:
        """Read everything. Raises ApiError, and then keeps what it had."""
        sites = {str(each["id"]): each for each in await session.all("/api/sites")}
        read = [
            await session.all("/api/nodes", type="Site"),
            await session.all("/api/nodes", type="Space"),
            await session.all("/api/nodes", type="Equip"),
            await session.all("/api/points"),
        ]
        if (len(sites) > 1) != self.several:
            self.nodes, self.points = {}, {}
        self.sites = sites
        self.away = {each for each, site in sites.items() if not site["reachable"]}
        nodes = {key: node for key, node in self.nodes.items() if node["site"] in self.away}
        for node in (each for part in read[:3] for each in part):
            named = self._named(node)
            nodes[named["id"]] = named
        for each in self.away:
            if self.key(each, each) not in nodes:
                site = {"id": each, "site": each, "node_type": "Site", "dis": sites[each]["name"]}
                nodes[self.key(each, each)] = self._named(site)
        points = {key: point for key, point in self.points.items() if point.get("site") in self.away}
        points |= {named["id"]: named for named in map(self._named, read[3])}
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
        self.nodes, self.children, self.roots, self.points = nodes, dict(children), roots, points

    def shape(self) -> tuple[Any, ...]:
        """Give what differs from before when there are other nodes or points, or they are named otherwise."""
        nodes = {key: (node.get("dis"), node.get("parent_id")) for key, node in self.nodes.items()}
        points = {key: (point.get("dis"), point.get("parent")) for key, point in self.points.items()}
        return nodes, points, frozenset(self.away)

    @property
    def several(self) -> bool:
        """Whether there is more than one site."""
        return len(self.sites) > 1

    def key(self, node_id: str, site: str) -> str:
        """Give the key of a node or point of a site."""
        return key_of(node_id, site if self.several else None)

    def _named(self, item: Item) -> Item:
        """Name an item of the API's by keys."""
        changed = {
            name: self.key(str(item[name]), str(item["site"]))
            for name in ("id", "parent_id", "parent")
            if item.get(name) is not None
        }
        return item | changed

    def take(self, points: list[Item]) -> None:
        """Take newer values of points."""
        for point in map(self._named, points):
            self.points.setdefault(point["id"], {}).update(point)

    def name(self, node_id: str) -> str:
        """Give a node's or point's display name; what is not known is shown by its id."""
        known = self.nodes.get(node_id) or self.points.get(node_id) or {}
        return str(known.get("dis") or id_of(node_id))

    def equipment_of(self, node_id: str) -> str | None:
        """Give the equipment (or space, site) that a point stands under, or the node itself."""
        if node_id in self.nodes:
            return node_id
        parent = (self.points.get(node_id) or {}).get("parent")
        if parent in self.nodes:
            return str(parent)
        before = id_of(node_id).rpartition("/")[0] + node_id[len(id_of(node_id)) :]
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
