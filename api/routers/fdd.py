"""Fault detection: rules, what they are bound to, faults."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from actors.alarm.models import Severity
from actors.core.clock import Timestamp
from actors.fdd.catalogue import BUILTINS, Builtin
from actors.fdd.models import (
    AutoBindResult,
    Binding,
    Fault,
    FaultState,
    FddSummary,
    NewBinding,
    NewRule,
    Rule,
)
from actors.node.models import Node
from api.deps import (
    Acknowledger,
    Actors,
    Campus,
    CurrentUser,
    Cursor,
    FddEditor,
    Limit,
    Page,
    Part,
    SiteActors,
    SiteId,
    from_sites,
    one_site,
    over_sites,
    site_with,
)
from api.records import Records

router = APIRouter(prefix="/api/fdd", tags=["fault detection"])

Id = Annotated[int, Path(ge=1, lt=2**63)]
IdFilter = Annotated[int | None, Query(ge=1, lt=2**63)]
Time = Annotated[Timestamp | None, Query(description="ISO 8601 with zone.")]
Kind = Literal[
    "threshold", "stuck_value", "short_cycling", "schedule_deviation", "demand_sensitive", "builtin"
]

RULES = Records("fdd", "rule", audited="fdd_rule")


class FaultNote(BaseModel):
    """A remark for those who look later."""

    model_config = ConfigDict(extra="forbid")

    note: str | None = Field(default=None, max_length=500, examples=["valve actuator is on order"])


async def _fault_site(campus: Campus, fault_id: int, site: str | None) -> SiteActors:
    return await site_with(campus, "fdd", "fault", fault_id, site)


async def _named(of: SiteActors, binding: NewBinding) -> list[Node]:
    """Give the nodes that a binding names, as far as they are there."""
    nodes: list[Node] = await of.call("nodes", "get_many", [binding.node_id, *binding.points.values()])
    return nodes


@router.get("/builtins")
async def builtins(user: CurrentUser) -> list[Builtin]:
    """List the built-in rules with their inputs and parameters."""
    return list(BUILTINS.values())


class CampusSummary(FddSummary):
    """The same over several sites; those that can't be reached are not in it."""

    unreachable_sites: list[str] = Field(default=[])


@router.get("/summary")
async def summary(user: CurrentUser, campus: Actors, site: SiteId = None) -> CampusSummary:
    """Count rules, bindings and open faults over all sites, or of one."""
    parts, away = await from_sites(campus.chosen(site), "fdd", "summary")
    return CampusSummary(
        rules=sum(each.rules for each in parts),
        enabled_rules=sum(each.enabled_rules for each in parts),
        bindings=sum(each.bindings for each in parts),
        open=sum(each.open for each in parts),
        unacknowledged=sum(each.unacknowledged for each in parts),
        by_severity={one: sum(each.by_severity[one] for each in parts) for one in Severity},
        unreachable_sites=away,
    )


@router.get("/rules")
async def rules(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    kind: Kind | None = None,
    enabled: bool | None = None,
    text: Annotated[str | None, Query(max_length=100, description="In the name.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List rules."""
    return await RULES.listed(campus, site, limit, cursor, kind, enabled, text)


@router.post("/rules", status_code=201)
async def create_rule(body: NewRule, user: FddEditor, campus: Actors, site: SiteId = None) -> Rule:
    """Add a rule. It watches nothing until it is bound."""
    made: Rule = await RULES.create(campus, user, one_site(campus, site), body)
    return made


@router.get("/rules/{rule_id}")
async def rule(rule_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None) -> Rule:
    """Give one rule."""
    found: Rule = await RULES.one(campus, rule_id, site)
    return found


@router.put("/rules/{rule_id}")
async def update_rule(
    rule_id: Id, body: NewRule, user: FddEditor, campus: Actors, site: SiteId = None
) -> Rule:
    """Replace a rule; disabling it clears its faults."""
    of = await RULES.site(campus, rule_id, site)
    after: Rule = await RULES.update(campus, user, of, rule_id, body)
    return after


@router.delete("/rules/{rule_id}", status_code=204)
async def delete_rule(rule_id: Id, user: FddEditor, campus: Actors, site: SiteId = None) -> None:
    """Delete a rule with its bindings; its faults clear and stay in the history."""
    await RULES.delete(campus, user, await RULES.site(campus, rule_id, site), rule_id)


@router.get("/rules/{rule_id}/bindings")
async def bindings(
    rule_id: Id,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List what a rule is bound to."""
    of = await RULES.site(campus, rule_id, site)

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        found, following = await of.call("fdd", "bindings", rule_id, most, after)
        return [each.model_copy(update={"site": of.id}) for each in found], following

    return await over_sites([of], limit, cursor, read)


@router.post("/rules/{rule_id}/bindings", status_code=201)
async def bind(
    rule_id: Id, body: NewBinding, user: FddEditor, campus: Actors, site: SiteId = None
) -> Binding:
    """Bind a rule to a node and its points."""
    of = await RULES.site(campus, rule_id, site)
    made: Binding = await of.call("fdd", "bind", rule_id, body, await _named(of, body))
    await campus.log(
        user.username,
        "create_fdd_binding",
        f"fdd_rule:{rule_id}",
        site=of.id,
        binding=made.model_dump(mode="json"),
    )
    return made.model_copy(update={"site": of.id})


@router.put("/rules/{rule_id}/bindings/{binding_id}")
async def update_binding(
    rule_id: Id, binding_id: Id, body: NewBinding, user: FddEditor, campus: Actors, site: SiteId = None
) -> Binding:
    """Replace the points of a binding."""
    of = await RULES.site(campus, rule_id, site)
    before: Binding = await of.call("fdd", "binding", rule_id, binding_id)
    after: Binding = await of.call("fdd", "update_binding", rule_id, binding_id, body, await _named(of, body))
    await campus.log(
        user.username,
        "update_fdd_binding",
        f"fdd_rule:{rule_id}",
        site=of.id,
        before=before.model_dump(mode="json"),
        after=after.model_dump(mode="json"),
    )
    return after.model_copy(update={"site": of.id})


@router.delete("/rules/{rule_id}/bindings/{binding_id}", status_code=204)
async def unbind(rule_id: Id, binding_id: Id, user: FddEditor, campus: Actors, site: SiteId = None) -> None:
    """Delete a binding; its fault clears."""
    of = await RULES.site(campus, rule_id, site)
    before: Binding = await of.call("fdd", "binding", rule_id, binding_id)
    await of.call("fdd", "unbind", rule_id, binding_id)
    await campus.log(
        user.username,
        "delete_fdd_binding",
        f"fdd_rule:{rule_id}",
        site=of.id,
        binding=before.model_dump(mode="json"),
    )


@router.post("/auto-bind")
async def auto_bind(
    user: FddEditor, campus: Actors, site: SiteId = None, rule_id: IdFilter = None
) -> AutoBindResult:
    """Bind one rule, or all of a site, to nodes by tags; say what could not be bound and why."""
    of = one_site(campus, site) if rule_id is None else await RULES.site(campus, rule_id, site)
    nodes: list[Node] = await of.call("nodes", "get_many", await of.call("nodes", "ids"))
    done: AutoBindResult = await of.call("fdd", "auto_bind", nodes, rule_id)
    await campus.log(
        user.username,
        "auto_bind_fdd",
        f"fdd_rule:{rule_id}" if rule_id is not None else "fdd_rules",
        site=of.id,
        created=done.created,
        updated=done.updated,
        removed=done.removed,
        unbound=len(done.unbound),
    )
    return done


@router.get("/faults")
async def faults(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    state: Annotated[list[FaultState] | None, Query(description="Left out: all but cleared.")] = None,
    severity: Severity | None = None,
    node_id: Annotated[str | None, Query(max_length=200)] = None,
    rule_id: IdFilter = None,
    start: Time = None,
    end: Time = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List faults, newest first, raised from `start` to `end`; with `state=cleared` the history."""

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        found, following = await of.call(
            "fdd", "faults", state, severity, node_id, rule_id, start, end, most, after
        )
        return [each.model_copy(update={"site": of.id}) for each in found], following

    return await over_sites(campus.chosen(site), limit, cursor, read)


@router.get("/faults/{fault_id}")
async def fault(fault_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None) -> Fault:
    """Give one fault."""
    of = await _fault_site(campus, fault_id, site)
    found: Fault = await of.call("fdd", "fault", fault_id)
    return found.model_copy(update={"site": of.id})


@router.post("/faults/{fault_id}/acknowledge")
async def acknowledge(
    fault_id: Id, user: Acknowledger, campus: Actors, body: FaultNote | None = None, site: SiteId = None
) -> Fault:
    """Mark a fault as seen."""
    of = await _fault_site(campus, fault_id, site)
    note = body.note if body else None
    seen: Fault = await of.call("fdd", "acknowledge", fault_id, user.username, note)
    await campus.log(
        user.username,
        "acknowledge_fault",
        f"fdd_fault:{fault_id}",
        site=of.id,
        node_id=seen.node_id,
        rule_id=seen.rule_id,
        note=note,
    )
    return seen.model_copy(update={"site": of.id})
