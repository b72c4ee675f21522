"""Rules of fault detection's own records: what a rule is bound to, and how a fault goes on. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from actors.core.errors import BadInputError, ConflictError
from actors.fdd.catalogue import BUILTINS
from actors.fdd.models import BuiltinCondition, Condition, FaultState, NewBinding, Rule, Unbound
from actors.node.logic import matches_tags
from actors.node.models import Node, NodeType

POINTS: Final = frozenset({NodeType.POINT, NodeType.VIRTUAL_POINT})


def parameters_of(condition: BuiltinCondition) -> dict[str, float]:
    """Give all parameters of a built-in rule: those that were set, the others with their defaults."""
    defaults = {each.name: each.default for each in BUILTINS[condition.name].parameters}
    return defaults | condition.parameters


def misfits(condition: Condition, points: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Give the inputs that a binding lacks, and those that the condition doesn't have."""
    roles = condition.roles()
    missing = [role.name for role in roles if role.required and role.name not in points]
    known = {role.name for role in roles}
    return missing, [name for name in points if name not in known]


def check_binding(condition: Condition, binding: NewBinding, nodes: Iterable[Node]) -> None:
    """Let a binding be made; `nodes` are those that are there of all that it names. Raises BadInputError."""
    there = {node.id: node for node in nodes}
    if binding.node_id not in there:
        raise BadInputError("node_id", binding.node_id, "the id of a node that is there")
    missing, unknown = misfits(condition, binding.points)
    if missing or unknown:
        names = ", ".join(role.name + ("" if role.required else " (optional)") for role in condition.roles())
        raise BadInputError("points", sorted(binding.points), f"points for {names}")
    for role, point_id in binding.points.items():
        node = there.get(point_id)
        if node is None or node.node_type not in POINTS:
            raise BadInputError(f"points.{role}", point_id, "the id of a point that is there")


def after_acknowledge(fault_id: int, state: FaultState) -> FaultState:
    """Give the state after a person has seen a fault. Raises ConflictError for one that is over."""
    if state is FaultState.CLEARED:
        raise ConflictError(
            "fault", fault_id, f"it is {state.value} and can't become {FaultState.ACKNOWLEDGED.value}"
        )
    return FaultState.ACKNOWLEDGED


@dataclass
class _Tree:
    """Nodes by id and by parent."""

    nodes: dict[str, Node]
    below: dict[str, list[Node]] = field(default_factory=dict)

    @classmethod
    def of(cls, nodes: Iterable[Node]) -> "_Tree":
        tree = cls({node.id: node for node in nodes})
        for key in sorted(tree.nodes):
            node = tree.nodes[key]
            if node.parent_id is not None:
                tree.below.setdefault(node.parent_id, []).append(node)
        return tree

    def circles(self, node: Node) -> Iterator[list[Node]]:
        """Give the nodes below one, level by level, then those right below each of its ancestors."""
        seen = {node.id}
        level = self.below.get(node.id, [])
        while level:
            yield level
            seen.update(each.id for each in level)
            level = [child for each in level for child in self.below.get(each.id, []) if child.id not in seen]
        seen = {node.id}
        above = self.nodes.get(node.parent_id or "")
        while above is not None and above.id not in seen:
            seen.add(above.id)
            yield self.below.get(above.id, [])
            above = self.nodes.get(above.parent_id or "")


def bindings_for(rule: Rule, nodes: Iterable[Node]) -> tuple[list[NewBinding], list[Unbound]]:
    """Give what a rule binds to by its tags, and the nodes to which it can't be bound.

    A point with the rule's tags is itself the input `value`. Other inputs are the nearest points with the
    input's tags: below the node level by level, then right below each of its ancestors, so that an outside
    air sensor may stand with the building. Several on the same level are ambiguous: an optional input is then
    left out, for a required one nothing is bound. A rule without tags binds nothing.
    """
    if not rule.tags:
        return [], []
    tree = _Tree.of(nodes)
    bindings: list[NewBinding] = []
    unbound: list[Unbound] = []
    for key in sorted(tree.nodes):
        node = tree.nodes[key]
        if not matches_tags(frozenset(node.tags), rule.tags):
            continue
        points: dict[str, str] = {}
        problem = Unbound(rule_id=rule.id, node_id=node.id)
        for role in rule.condition.roles():
            query = rule.inputs.get(role.name) or role.tags
            if role.name == "value" and node.node_type in POINTS and role.name not in rule.inputs:
                points[role.name] = node.id
                continue
            found = _nearest(tree, node, query) if query else []
            if len(found) == 1:
                points[role.name] = found[0]
            elif role.required and found:
                problem.ambiguous[role.name] = found
            elif role.required:
                problem.missing.append(role.name)
        if problem.missing or problem.ambiguous:
            unbound.append(problem)
        else:
            bindings.append(NewBinding(node_id=node.id, points=points))
    return bindings, unbound


def _nearest(tree: _Tree, node: Node, query: Sequence[str]) -> list[str]:
    for circle in tree.circles(node):
        found = [
            each.id
            for each in circle
            if each.id != node.id and each.node_type in POINTS and matches_tags(frozenset(each.tags), query)
        ]
        if found:
            return found
    return []
