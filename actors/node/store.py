"""The node store: the model of a building."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import ray

from actors.bus.events import EntityCreated, EntityDeleted, EntityUpdated
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.core.sqlite import Durability, Row
from actors.core.store import MAX_PAGE, Store
from actors.core.units import known_unit
from actors.core.values import plain_json
from actors.node.logic import allowed_parents, matches_tags, may_stand_below
from actors.node.models import (
    ApplyResult,
    Node,
    NodeCapabilities,
    NodeChange,
    NodeTree,
    NodeType,
    ProtocolBinding,
)
from actors.node.schema import MIGRATIONS
from actors.node.tagging import suggest_equip_tags, suggest_point_tags

POINTS = frozenset({NodeType.POINT, NodeType.VIRTUAL_POINT})

MAX_LEVELS = 32
"""Levels that a site's nodes may stand below one another."""

SUBTREE = """
    WITH RECURSIVE below (id, depth) AS (
        SELECT id, 0 FROM node WHERE id = ?
        UNION ALL
        SELECT node.id, depth + 1 FROM node JOIN below ON node.parent_id = below.id
    )
    SELECT id FROM below ORDER BY depth, id
"""

ANCESTORS = """
    WITH RECURSIVE above (id, parent_id, height) AS (
        SELECT id, parent_id, 0 FROM node WHERE id = ?
        UNION ALL
        SELECT node.id, node.parent_id, height + 1 FROM node JOIN above ON node.id = above.parent_id
    )
    SELECT id FROM above WHERE height > 0 ORDER BY height
"""


class NodeStore(Store):
    """Keep the nodes of a site: sites, spaces, equipment, points, with tags, refs, properties and bindings.

    Reads come from a cache of all nodes that is filled at start and changed only after a commit. Values and
    status of points are the point store's; here they are always empty. Events follow each commit.
    """

    name: ClassVar[str] = "nodes"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL

    def opened(self) -> None:
        """Fill the cache."""
        self._cache: dict[str, Node] = {node.id: node for node in self._read_all()}
        self._children: dict[str | None, set[str]] = {}
        for node in self._cache.values():
            self._children.setdefault(node.parent_id, set()).add(node.id)

    def _read_all(self) -> Iterable[Node]:
        tags = _grouped(self.all("SELECT node_id, tag FROM node_tag ORDER BY node_id, tag"))
        refs = _grouped(self.all("SELECT node_id, name, target_id FROM node_ref"))
        properties = _grouped(self.all("SELECT node_id, name, value FROM node_property"))
        capabilities = _grouped(self.all("SELECT * FROM node_capability"))
        bindings = _grouped(self.all("SELECT node_id, protocol, config FROM protocol_binding"))
        for row in self.all("SELECT * FROM node"):
            key = row["id"]
            [capability] = capabilities.get(key, [{}])
            binding = bindings.get(key)
            yield Node(
                id=key,
                node_type=NodeType(row["node_type"]),
                dis=row["dis"],
                parent_id=row["parent_id"],
                tags=[each["tag"] for each in tags.get(key, [])],
                refs={each["name"]: each["target_id"] for each in refs.get(key, [])},
                properties={each["name"]: json.loads(each["value"]) for each in properties.get(key, [])},
                capabilities=NodeCapabilities(
                    **{k: bool(v) for k, v in capability.items() if k != "node_id"}
                ),
                protocol_binding=ProtocolBinding(
                    protocol=binding[0]["protocol"], config=json.loads(binding[0]["config"])
                )
                if binding
                else None,
            )

    # Changes

    @ray.method
    def create(self, node: Node) -> Node:
        """Add a node.

        Raises ConflictError for an id that is taken, BadInputError for a parent that can't be and for a unit
        that isn't known.
        """
        if node.id in self._cache:
            raise ConflictError("node", node.id, "there is a node with this id already")
        node = _with_unit(_bare(node))
        self._check_parent(node.id, node.node_type, node.parent_id, self._cache)
        with self.transaction():
            self._insert(node)
            self.publish(EntityCreated(entity_id=node.id, entity_type=node.node_type))
        self._remember(node)
        return node

    @ray.method
    def update(self, node_id: str, change: NodeChange) -> Node:
        """Change the fields of a node that `change` names; a unit that it has may stay, as a maker's own.

        Raises NotFoundError, BadInputError.
        """
        old = self._get(node_id)
        given = change.model_dump(exclude_unset=True)
        for name in ("dis", "tags", "refs", "properties", "capabilities"):
            if name in given and given[name] is None:
                raise BadInputError(name, None, "a value; leave the field out to keep what it is")
        new = Node.model_validate(old.model_dump() | given)
        if new.properties.get("units") != old.properties.get("units"):
            new = _with_unit(new)
        changed = [name for name in given if getattr(old, name) != getattr(new, name)]
        if not changed:
            return old
        if "parent_id" in changed:
            self._check_parent(node_id, new.node_type, new.parent_id, self._cache)
        with self.transaction():
            self._rewrite(new)
            self.publish(EntityUpdated(entity_id=node_id, changed_fields=sorted(changed)))
        self._remember(new)
        return new

    @ray.method
    def delete(self, node_id: str, recursive: bool = False) -> list[str]:
        """Delete a node, with `recursive` everything below it too; give the ids, root first.

        Raises NotFoundError, and ConflictError for a node with children when not `recursive`.
        """
        self._get(node_id)
        ids = [row["id"] for row in self.all(SUBTREE, node_id)]
        if len(ids) > 1 and not recursive:
            raise ConflictError(
                "node", node_id, f"{len(ids) - 1} nodes stand below it; delete them first, or all"
            )
        with self.transaction():
            for each in reversed(ids):
                self.run("DELETE FROM node WHERE id = ?", each)
            for each in ids:
                self.publish(EntityDeleted(entity_id=each))
        for each in ids:
            node = self._cache.pop(each)
            self._children.get(node.parent_id, set()).discard(each)
            self._children.pop(each, None)
        return ids

    @ray.method
    def apply(self, nodes: list[Node], origin: str | None = None) -> ApplyResult:
        """Bring in what a configuration or a device says, all or nothing; applying it twice changes nothing.

        New nodes are created, with suggested tags added. Of those that are here, binding, capabilities and
        properties are renewed (properties merged); name, tags, place and refs stay as people have edited
        them. With `origin` the nodes are taken as they are, tags and all, and those that are here must be of
        this origin (a property). Raises BadInputError, and ConflictError for a node of another origin.
        """
        result = ApplyResult()
        after = dict(self._cache)
        fresh: list[Node] = []
        with self.transaction():
            for given in nodes:
                node = _bare(given)
                old = after.get(node.id)
                if old is not None and origin is not None and old.properties.get("origin") != origin:
                    raise ConflictError("node", node.id, "there is a node with this id already")
                if old is None:
                    if origin is None:
                        node = node.model_copy(update={"tags": sorted({*node.tags, *_suggest(node)})})
                    self._check_parent(node.id, node.node_type, node.parent_id, after)
                    self._insert(node)
                    self.publish(EntityCreated(entity_id=node.id, entity_type=node.node_type))
                    result.created.append(node.id)
                else:
                    update = {
                        "protocol_binding": node.protocol_binding,
                        "capabilities": node.capabilities,
                        "properties": old.properties | node.properties,
                    }
                    node = old.model_copy(update=update)
                    changed = sorted(name for name, value in update.items() if getattr(old, name) != value)
                    if not changed:
                        continue
                    self._rewrite(node)
                    self.publish(EntityUpdated(entity_id=node.id, changed_fields=changed))
                    result.updated.append(node.id)
                after[node.id] = node
                fresh.append(node)
        for node in fresh:
            self._remember(node)
        return result

    # Questions

    @ray.method
    def get(self, node_id: str) -> Node:
        """Give one node. Raises NotFoundError."""
        return self._get(node_id)

    @ray.method
    def find(
        self,
        node_type: NodeType | Sequence[NodeType] | None = None,
        tags: Sequence[str] = (),
        parent_id: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Node], str | None]:
        """Give nodes in order of id: of some types, with tags ("-tag": without), below a parent, with a text.

        Raises BadInputError for a limit out of range.
        """
        wanted = text.casefold() if text else None
        types = (node_type,) if isinstance(node_type, NodeType) else node_type
        pool: Iterable[str] = self._cache if parent_id is None else self._children.get(parent_id, set())

        def fits(node: Node) -> bool:
            return (
                (types is None or node.node_type in types)
                and (not tags or matches_tags(frozenset(node.tags), tags))
                and (not wanted or wanted in node.dis.casefold() or wanted in node.id.casefold())
            )

        return self._page(pool, limit, cursor, fits)

    def _page(
        self, pool: Iterable[str], limit: int, cursor: str | None, fits: Callable[[Node], bool]
    ) -> tuple[list[Node], str | None]:
        if not 1 <= limit <= MAX_PAGE:
            raise BadInputError("limit", limit, f"1 to {MAX_PAGE}")
        found: list[Node] = []
        for key in sorted(key for key in pool if cursor is None or key > cursor):
            node = self._cache[key]
            if fits(node):
                found.append(node)
                if len(found) > limit:
                    break
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    @ray.method
    def children(
        self, node_id: str, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[Node], str | None]:
        """Give the nodes right below one. Raises NotFoundError, BadInputError."""
        self._get(node_id)
        return self._page(self._children.get(node_id, set()), limit, cursor, lambda node: True)

    @ray.method
    def subtree(self, node_id: str) -> list[Node]:
        """Give a node and everything below it, level by level. Raises NotFoundError."""
        self._get(node_id)
        return [self._cache[row["id"]] for row in self.all(SUBTREE, node_id)]

    @ray.method
    def tree(self, node_id: str | None = None) -> list[NodeTree]:
        """Give a node with everything below it, or all roots. Raises NotFoundError."""
        if node_id is not None:
            self._get(node_id)
        roots = [node_id] if node_id is not None else sorted(self._children.get(None, set()))
        return [self._branch(each) for each in roots]

    def _branch(self, node_id: str) -> NodeTree:
        below = sorted(self._children.get(node_id, set()))
        return NodeTree(node=self._cache[node_id], children=[self._branch(each) for each in below])

    @ray.method
    def ancestors(self, node_id: str) -> list[Node]:
        """Give what a node stands below, its parent first. Raises NotFoundError."""
        self._get(node_id)
        return [self._cache[row["id"]] for row in self.all(ANCESTORS, node_id)]

    @ray.method
    def bound(self, protocol: str) -> list[Node]:
        """Give all nodes that are bound by a protocol, in order of their ids."""
        return [
            self._cache[key]
            for key in sorted(self._cache)
            if (binding := self._cache[key].protocol_binding) is not None and binding.protocol == protocol
        ]

    @ray.method
    def get_many(self, ids: list[str]) -> list[Node]:
        """Give those of some nodes that are there."""
        return [self._cache[each] for each in ids if each in self._cache]

    @ray.method
    def ids(self) -> list[str]:
        """Give the ids of all nodes."""
        return sorted(self._cache)

    # Within

    def _get(self, node_id: str) -> Node:
        node = self._cache.get(node_id)
        if node is None:
            raise NotFoundError("node", node_id)
        return node

    def _check_parent(
        self, node_id: str, node_type: NodeType, parent_id: str | None, known: dict[str, Node]
    ) -> None:
        if parent_id is None:
            return
        parent = known.get(parent_id)
        if parent is None:
            raise BadInputError("parent_id", parent_id, "the id of a node that is there")
        if not may_stand_below(node_type, parent.node_type):
            raise BadInputError(
                "parent_id", parent_id, f"a {allowed_parents(node_type)}; this is a {parent.node_type.value}"
            )
        above: Node | None = parent
        height = self._height(node_id)
        while above is not None:
            height += 1
            if above.id == node_id:
                raise BadInputError("parent_id", parent_id, "a node that doesn't stand below this one")
            if height >= MAX_LEVELS:
                raise BadInputError("parent_id", parent_id, f"a place within {MAX_LEVELS} levels")
            above = known.get(above.parent_id) if above.parent_id else None

    def _height(self, node_id: str) -> int:
        """Give how many levels stand below a node."""
        levels, here = 0, self._children.get(node_id, set())
        while here:
            levels += 1
            here = {below for each in here for below in self._children.get(each, set())}
        return levels

    def _check_plain(self, node: Node) -> None:
        """Refuse free data that could be kept and not given back: every list with the node would fail."""
        config = node.protocol_binding.config if node.protocol_binding else {}
        for field, data in (("properties", node.properties), ("protocol_binding.config", config)):
            try:
                plain_json(data)
            except ValueError as error:
                raise BadInputError(field, None, str(error)) from None

    def _insert(self, node: Node) -> None:
        self._check_plain(node)
        self.run(
            "INSERT INTO node (id, node_type, dis, parent_id) VALUES (?, ?, ?, ?)",
            node.id,
            node.node_type.value,
            node.dis,
            node.parent_id,
        )
        self._insert_parts(node)

    def _rewrite(self, node: Node) -> None:
        self._check_plain(node)
        self.run("UPDATE node SET dis = ?, parent_id = ? WHERE id = ?", node.dis, node.parent_id, node.id)
        for table in ("node_tag", "node_ref", "node_property", "node_capability", "protocol_binding"):
            self.run(f"DELETE FROM {table} WHERE node_id = ?", node.id)  # noqa: S608 - names from the line above
        self._insert_parts(node)

    def _insert_parts(self, node: Node) -> None:
        self.many("INSERT INTO node_tag (node_id, tag) VALUES (?, ?)", [(node.id, tag) for tag in node.tags])
        self.many(
            "INSERT INTO node_ref (node_id, name, target_id) VALUES (?, ?, ?)",
            [(node.id, name, target) for name, target in node.refs.items()],
        )
        self.many(
            "INSERT INTO node_property (node_id, name, value) VALUES (?, ?, ?)",
            [(node.id, name, json.dumps(value)) for name, value in node.properties.items()],
        )
        able = node.capabilities
        self.run(
            "INSERT INTO node_capability (node_id, readable, writable, historizable, alarmable, schedulable)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            node.id,
            int(able.readable),
            int(able.writable),
            int(able.historizable),
            int(able.alarmable),
            int(able.schedulable),
        )
        if node.protocol_binding is not None:
            self.run(
                "INSERT INTO protocol_binding (node_id, protocol, config) VALUES (?, ?, ?)",
                node.id,
                node.protocol_binding.protocol,
                json.dumps(node.protocol_binding.config),
            )

    def _remember(self, node: Node) -> None:
        old = self._cache.get(node.id)
        if old is not None:
            self._children.get(old.parent_id, set()).discard(node.id)
        self._cache[node.id] = node
        self._children.setdefault(node.parent_id, set()).add(node.id)


def _grouped(rows: list[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["node_id"], []).append(row)
    return groups


def _bare(node: Node) -> Node:
    """Leave out what the point store keeps."""
    return node.model_copy(update={"value": None, "status": 0})


def _with_unit(node: Node) -> Node:
    """Give the unit that a person has written by its name. Raises BadInputError for one that isn't known.

    With nodes that aren't points the property is anybody's own, such as how many flats a floor has.
    """
    given = node.properties.get("units")
    if given is None or node.node_type not in POINTS:
        return node
    try:
        name = known_unit(given)
    except ValueError as error:
        raise BadInputError("properties.units", given, str(error)) from None
    return node.model_copy(update={"properties": node.properties | {"units": name or ""}})


def _suggest(node: Node) -> set[str]:
    if node.node_type in POINTS:
        binding: dict[str, Any] = node.protocol_binding.config if node.protocol_binding else {}
        kind = binding.get("object_type") or binding.get("register_type")
        units = node.properties.get("units")
        return suggest_point_tags(node.dis, str(kind) if kind else None, str(units) if units else None)
    return suggest_equip_tags(node.dis) if node.node_type == NodeType.EQUIP else set()
