"""The store of fault detection: rules, bindings, faults."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import ray
from pydantic import TypeAdapter

from actors.alarm.models import Severity
from actors.bus.events import FddFaultCleared, FddFaultRaised
from actors.core.errors import ConflictError, NotFoundError
from actors.core.sqlite import Durability, Row
from actors.core.store import Store, any_of, unique
from actors.core.values import PointValue
from actors.fdd.logic import after_acknowledge, bindings_for, check_binding, misfits
from actors.fdd.models import (
    AutoBindResult,
    Binding,
    Condition,
    Fault,
    FaultState,
    FddSummary,
    NewBinding,
    NewRule,
    Origin,
    Rule,
    RuleInForce,
)
from actors.fdd.schema import MIGRATIONS
from actors.node.models import Node

CONDITION: TypeAdapter[Condition] = TypeAdapter(Condition)


class FddStore(Store):
    """Keep fault rules, what they are bound to, and faults; tell the bus after each committed change.

    There is at most one open fault per rule and node. A fault is raised, may be acknowledged, and is cleared
    when its condition is over, or when its rule is disabled or deleted or no longer bound to the node: nobody
    would clear it after that.
    """

    name: ClassVar[str] = "fdd"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL
    watched: ClassVar[bool] = True

    # Rules

    @ray.method
    def create_rule(self, new: NewRule) -> Rule:
        """Add a rule. Raises ConflictError for a name that is taken."""
        with self.transaction(), unique("rule", new.name):
            row = self.one(
                "INSERT INTO fdd_rule (name, description, condition, kind, severity, message, confirm, tags,"
                " inputs, enabled) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                *_columns(new),
            )
            self.config_moved()
        return _rule(row or {})

    @ray.method
    def update_rule(self, rule_id: int, new: NewRule) -> Rule:
        """Replace a rule; disabling it clears its faults.

        Raises NotFoundError, and ConflictError for a name that is taken or a condition whose inputs the
        rule's bindings don't have.
        """
        with self.transaction(), unique("rule", new.name):
            self._rule(rule_id)
            for binding in self._bindings(rule_id):
                missing, unknown = misfits(new.condition, binding.points)
                if missing or unknown:
                    wrong = ", ".join(missing) if missing else f"no {', '.join(unknown)}"
                    raise ConflictError(
                        "rule",
                        rule_id,
                        f"it would need {wrong} of {binding.node_id}: delete binding {binding.id} first",
                    )
            row = self.one(
                "UPDATE fdd_rule SET name = ?, description = ?, condition = ?, kind = ?, severity = ?,"
                " message = ?, confirm = ?, tags = ?, inputs = ?, enabled = ? WHERE id = ? RETURNING *",
                *_columns(new),
                rule_id,
            )
            if not new.enabled:
                self._clear_all(rule_id)
            self.config_moved()
        return _rule(row or {})

    @ray.method
    def delete_rule(self, rule_id: int) -> None:
        """Delete a rule and its bindings; its faults clear and stay in the history. Raises NotFoundError."""
        with self.transaction():
            self._rule(rule_id)
            self._clear_all(rule_id)
            self.run("DELETE FROM fdd_binding WHERE rule_id = ?", rule_id)
            self.run("UPDATE fdd_rule SET deleted = 1 WHERE id = ?", rule_id)
            self.config_moved()

    @ray.method
    def rule(self, rule_id: int) -> Rule:
        """Give one rule. Raises NotFoundError."""
        return self._rule(rule_id)

    def _rule(self, rule_id: int) -> Rule:
        row = self.one("SELECT * FROM fdd_rule WHERE id = ? AND NOT deleted", rule_id)
        if row is None:
            raise NotFoundError("rule", rule_id)
        return _rule(row)

    @ray.method
    def rules(
        self,
        kind: str | None = None,
        enabled: bool | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Rule], str | None]:
        """Give rules: of a kind, enabled or not, with a text in their name. Raises BadInputError."""
        rows, after = self.page_of(
            "SELECT * FROM fdd_rule",
            {
                "deleted = ?": 0,
                "kind = ?": kind,
                "enabled = ?": enabled,
                "instr(lower(name), lower(?))": text,
            },
            limit,
            cursor,
        )
        return [_rule(row) for row in rows], after

    @ray.method
    def in_force(self) -> tuple[int, list[RuleInForce]]:
        """Give the version of the configuration, and all enabled rules with their bindings."""
        rules = [
            RuleInForce(rule=_rule(row), bindings=self._bindings(row["id"]))
            for row in self.all("SELECT * FROM fdd_rule WHERE enabled AND NOT deleted ORDER BY id")
        ]
        return self.version(), rules

    # Bindings

    @ray.method
    def bind(self, rule_id: int, new: NewBinding, nodes: Sequence[Node]) -> Binding:
        """Bind a rule to a node; `nodes` are those that are there of all that the binding names.

        Raises NotFoundError, BadInputError, and ConflictError for a node that it is bound to already.
        """
        with self.transaction():
            check_binding(self._rule(rule_id).condition, new, nodes)
            old = self.one(
                "SELECT id FROM fdd_binding WHERE rule_id = ? AND node_id = ?", rule_id, new.node_id
            )
            if old is not None:
                raise ConflictError("binding", old["id"], f"the rule is bound to {new.node_id} already")
            binding = self._insert_binding(rule_id, new, Origin.EXPLICIT)
            self.config_moved()
        return binding

    def _insert_binding(self, rule_id: int, new: NewBinding, origin: Origin) -> Binding:
        row = self.one(
            "INSERT INTO fdd_binding (rule_id, node_id, points, origin) VALUES (?, ?, ?, ?) RETURNING *",
            rule_id,
            new.node_id,
            json.dumps(new.points),
            origin.value,
        )
        return _binding(row or {})

    @ray.method
    def update_binding(
        self, rule_id: int, binding_id: int, new: NewBinding, nodes: Sequence[Node]
    ) -> Binding:
        """Replace the points of a binding; from then on its tags no longer change it.

        Raises NotFoundError, BadInputError, and ConflictError for another node.
        """
        with self.transaction():
            check_binding(self._rule(rule_id).condition, new, nodes)
            old = self._binding(rule_id, binding_id)
            if old.node_id != new.node_id:
                raise ConflictError("binding", binding_id, f"it is of {old.node_id}; add another one")
            row = self.one(
                "UPDATE fdd_binding SET points = ?, origin = 'explicit' WHERE id = ? RETURNING *",
                json.dumps(new.points),
                binding_id,
            )
            self.config_moved()
        return _binding(row or {})

    @ray.method
    def unbind(self, rule_id: int, binding_id: int) -> None:
        """Delete a binding; its fault clears. Raises NotFoundError."""
        with self.transaction():
            self._unbind(self._binding(rule_id, binding_id))
            self.config_moved()

    def _unbind(self, binding: Binding) -> None:
        self._clear_all(binding.rule_id, binding.node_id)
        self.run("DELETE FROM fdd_binding WHERE id = ?", binding.id)

    @ray.method
    def binding(self, rule_id: int, binding_id: int) -> Binding:
        """Give one binding. Raises NotFoundError."""
        return self._binding(rule_id, binding_id)

    def _binding(self, rule_id: int, binding_id: int) -> Binding:
        row = self.one("SELECT * FROM fdd_binding WHERE id = ? AND rule_id = ?", binding_id, rule_id)
        if row is None:
            raise NotFoundError("binding", binding_id)
        return _binding(row)

    @ray.method
    def bindings(
        self, rule_id: int, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[Binding], str | None]:
        """Give what a rule is bound to. Raises NotFoundError, BadInputError."""
        self._rule(rule_id)
        rows, after = self.page_of("SELECT * FROM fdd_binding", {"rule_id = ?": rule_id}, limit, cursor)
        return [_binding(row) for row in rows], after

    def _bindings(self, rule_id: int) -> list[Binding]:
        rows = self.all("SELECT * FROM fdd_binding WHERE rule_id = ? ORDER BY id", rule_id)
        return [_binding(row) for row in rows]

    @ray.method
    def auto_bind(self, nodes: Sequence[Node], rule_id: int | None = None) -> AutoBindResult:
        """Bind one rule, or all, by the tags of `nodes`, all that there are; doing it twice changes nothing.

        Bindings by tags whose node no longer fits are deleted; those made by people stay as they are.
        Raises NotFoundError.
        """
        result = AutoBindResult()
        with self.transaction():
            rules = (
                [self._rule(rule_id)]
                if rule_id is not None
                else [_rule(row) for row in self.all("SELECT * FROM fdd_rule WHERE NOT deleted ORDER BY id")]
            )
            for rule in rules:
                self._auto_bind(rule, nodes, result)
            if result.created or result.updated or result.removed:
                self.config_moved()
        return result

    def _auto_bind(self, rule: Rule, nodes: Sequence[Node], result: AutoBindResult) -> None:
        found, unbound = bindings_for(rule, nodes)
        wanted = {each.node_id: each for each in found}
        standing = {each.node_id: each for each in self._bindings(rule.id)}
        for node_id, new in wanted.items():
            old = standing.get(node_id)
            if old is None:
                self._insert_binding(rule.id, new, Origin.AUTO)
                result.created += 1
            elif old.origin is Origin.AUTO and old.points != new.points:
                self.run("UPDATE fdd_binding SET points = ? WHERE id = ?", json.dumps(new.points), old.id)
                result.updated += 1
        for node_id, old in standing.items():
            if old.origin is Origin.AUTO and node_id not in wanted:
                self._unbind(old)
                result.removed += 1
        explicit = {node_id for node_id, old in standing.items() if old.origin is Origin.EXPLICIT}
        result.unbound += [each for each in unbound if each.node_id not in explicit]

    # Faults

    @ray.method
    def raise_fault(
        self,
        rule_id: int,
        node_id: str,
        evidence: dict[str, PointValue | None] | None = None,
        message: str = "",
    ) -> Fault:
        """Raise a fault, or leave the one that is open as it is; without a message it has the rule's.

        Raises NotFoundError, and ConflictError for a rule that is disabled or not bound to the node.
        """
        with self.transaction():
            rule = self._rule(rule_id)
            old = self.one(
                "SELECT * FROM fdd_fault WHERE rule_id = ? AND node_id = ? AND state <> 'cleared'",
                rule_id,
                node_id,
            )
            if old is not None:
                return _fault(old)
            bound = self.one("SELECT 1 FROM fdd_binding WHERE rule_id = ? AND node_id = ?", rule_id, node_id)
            if not rule.enabled or bound is None:
                reason = f"it isn't bound to {node_id}" if rule.enabled else "it is disabled"
                raise ConflictError("rule", rule_id, reason)
            row = self.one(
                "INSERT INTO fdd_fault (rule_id, node_id, severity, message, state, evidence, raised_at)"
                " VALUES (?, ?, ?, ?, 'raised', ?, ?) RETURNING *",
                rule_id,
                node_id,
                rule.severity.value,
                message or rule.message or rule.name,
                json.dumps(evidence or {}),
                self.clock(),
            )
            fault = _fault(row or {})
            self.publish(
                FddFaultRaised(
                    fault_id=fault.id,
                    rule_id=rule_id,
                    node_id=node_id,
                    severity=fault.severity.value,
                    message=fault.message,
                )
            )
        return fault

    @ray.method
    def clear_fault(self, fault_id: int) -> Fault:
        """Say that the condition is over; a fault that was cleared stays as it is. Raises NotFoundError."""
        with self.transaction():
            fault = self._fault(fault_id)
            return fault if fault.state is FaultState.CLEARED else self._clear(fault)

    def _clear(self, fault: Fault) -> Fault:
        row = self.one(
            "UPDATE fdd_fault SET state = 'cleared', cleared_at = max(?, raised_at) WHERE id = ? RETURNING *",
            self.clock(),
            fault.id,
        )
        self.publish(FddFaultCleared(fault_id=fault.id, rule_id=fault.rule_id, node_id=fault.node_id))
        return _fault(row or {})

    def _clear_all(self, rule_id: int, node_id: str | None = None) -> None:
        for row in self.all(
            "SELECT * FROM fdd_fault WHERE rule_id = ?1 AND (?2 IS NULL OR node_id = ?2)"
            " AND state <> 'cleared' ORDER BY id",
            rule_id,
            node_id,
        ):
            self._clear(_fault(row))

    @ray.method
    def acknowledge(self, fault_id: int, by: str, note: str | None = None) -> Fault:
        """Mark a fault as seen; one that was seen already stays as it is.

        Raises NotFoundError, and ConflictError for a fault that is over.
        """
        with self.transaction():
            fault = self._fault(fault_id)
            state = after_acknowledge(fault_id, fault.state)
            if state is fault.state:
                return fault
            row = self.one(
                "UPDATE fdd_fault SET state = ?, acknowledged_at = max(?, raised_at),"
                " acknowledged_by = ?, note = ? WHERE id = ? RETURNING *",
                state.value,
                self.clock(),
                by,
                note,
                fault_id,
            )
        return _fault(row or {})

    @ray.method
    def fault(self, fault_id: int) -> Fault:
        """Give one fault. Raises NotFoundError."""
        return self._fault(fault_id)

    def _fault(self, fault_id: int) -> Fault:
        row = self.one("SELECT * FROM fdd_fault WHERE id = ?", fault_id)
        if row is None:
            raise NotFoundError("fault", fault_id)
        return _fault(row)

    @ray.method
    def faults(
        self,
        states: Sequence[FaultState] | None = None,
        severity: Severity | None = None,
        node_id: str | None = None,
        rule_id: int | None = None,
        start: int | None = None,
        end: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Fault], str | None]:
        """Give faults, newest first: those that are open, or those in `states`, raised in [start, end) ms.

        Raises BadInputError.
        """
        wanted = states or [FaultState.RAISED, FaultState.ACKNOWLEDGED]
        rows, after = self.page_of(
            "SELECT * FROM fdd_fault",
            any_of("state", wanted, few=FaultState.CLEARED not in wanted)
            | {
                "severity = ?": severity.value if severity else None,
                "node_id = ?": node_id,
                "rule_id = ?": rule_id,
                "raised_at >= ?": start,
                "raised_at < ?": end,
            },
            limit,
            cursor,
            newest_first=True,
        )
        return [_fault(row) for row in rows], after

    @ray.method
    def summary(self) -> FddSummary:
        """Count rules, bindings and open faults."""
        rules = self.one("SELECT count(*) AS n, total(enabled) AS on_ FROM fdd_rule WHERE NOT deleted") or {}
        bindings = self.one("SELECT count(*) AS n FROM fdd_binding") or {}
        rows = self.all(
            "SELECT state, severity, count(*) AS n FROM fdd_fault WHERE state IN ('raised', 'acknowledged')"
            " GROUP BY 1, 2"
        )
        return FddSummary(
            rules=rules["n"],
            enabled_rules=int(rules["on_"]),
            bindings=bindings["n"],
            open=sum(row["n"] for row in rows),
            unacknowledged=sum(row["n"] for row in rows if row["state"] == FaultState.RAISED),
            by_severity={
                each: sum(row["n"] for row in rows if row["severity"] == each.value) for each in Severity
            },
        )


def _columns(new: NewRule) -> tuple[Any, ...]:
    return (
        new.name,
        new.description,
        CONDITION.dump_json(new.condition).decode(),
        new.condition.kind,
        new.severity.value,
        new.message,
        float(new.confirm),
        json.dumps(new.tags),
        json.dumps(new.inputs),
        int(new.enabled),
    )


def _rule(row: Row) -> Rule:
    return Rule(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        condition=CONDITION.validate_json(row["condition"]),
        severity=Severity(row["severity"]),
        message=row["message"],
        confirm=row["confirm"],
        tags=json.loads(row["tags"]),
        inputs=json.loads(row["inputs"]),
        enabled=bool(row["enabled"]),
    )


def _binding(row: Row) -> Binding:
    return Binding.model_validate(row | {"points": json.loads(row["points"])})


def _fault(row: Row) -> Fault:
    return Fault.model_validate(row | {"evidence": json.loads(row["evidence"])})
