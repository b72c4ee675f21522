"""Fault detection: rules, what they are bound to, and the faults that they find."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from actors.alarm.models import Severity
from actors.core.clock import Timestamp
from actors.core.values import PointValue
from actors.fdd.catalogue import BUILTINS, Role
from actors.node.models import NodeId

TagTerm = Annotated[str, Field(min_length=1, max_length=65, pattern=r"^-?[A-Za-z][A-Za-z0-9_-]*$")]
RoleName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e12, le=1e12)]
Seconds = Annotated[float, Field(ge=0, le=30 * 86_400)]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Condition(_Input):
    def roles(self) -> Sequence[Role]:
        """Give the points that the rule looks at."""
        return (Role(name="value"),)


def _bounded(low: float | None, high: float | None) -> None:
    if low is None and high is None:
        raise ValueError("low or high, or both")
    if low is not None and high is not None and low >= high:
        raise ValueError("low must lie below high")


class ThresholdCondition(_Condition):
    """A fault while the value is above `high` or below `low`, until past the deadband (point units)."""

    kind: Literal["threshold"] = "threshold"
    low: Number | None = None
    high: Number | None = None
    deadband: float = Field(default=0.0, ge=0, le=1e12)

    @model_validator(mode="after")
    def _limits(self) -> "ThresholdCondition":
        _bounded(self.low, self.high)
        return self


class StuckValueCondition(_Condition):
    """A fault when the value has moved by no more than `tolerance` for `window` seconds.

    With a point `enable`, only while that is on.
    """

    kind: Literal["stuck_value"] = "stuck_value"
    window: float = Field(ge=60, le=30 * 86_400, examples=[86_400])
    tolerance: float = Field(default=0.0, ge=0, le=1e12)

    def roles(self) -> Sequence[Role]:
        """Give the points that the rule looks at."""
        return Role(name="value"), Role(name="enable", required=False)


class ShortCyclingCondition(_Condition):
    """A fault when equipment starts more than `max_starts` times within `window` seconds."""

    kind: Literal["short_cycling"] = "short_cycling"
    max_starts: int = Field(ge=1, le=1000, examples=[6])
    window: float = Field(default=3600.0, ge=60, le=7 * 86_400)


class ScheduleDeviationCondition(_Condition):
    """A fault while the value differs from what its schedule says by more than `tolerance`.

    Without `schedule_id`, by the schedule that is assigned to the point.
    """

    kind: Literal["schedule_deviation"] = "schedule_deviation"
    schedule_id: int | None = Field(default=None, ge=1, lt=2**63)
    tolerance: float = Field(default=0.0, ge=0, le=1e12)


class DemandSensitiveCondition(_Condition):
    """A fault while the value is outside its limits though the demand is above, or below, `demand_limit`.

    Such as a fan below 20 % while its zone calls for cooling, or a pump that runs though nothing demands it.
    """

    kind: Literal["demand_sensitive"] = "demand_sensitive"
    demand_limit: Number
    demand: Literal["above", "below"] = "above"
    low: Number | None = None
    high: Number | None = None

    def roles(self) -> Sequence[Role]:
        """Give the points that the rule looks at."""
        return Role(name="value"), Role(name="demand")

    @model_validator(mode="after")
    def _limits(self) -> "DemandSensitiveCondition":
        _bounded(self.low, self.high)
        return self


class BuiltinCondition(_Condition):
    """A rule of the catalogue by its name; parameters that aren't given have their defaults."""

    kind: Literal["builtin"] = "builtin"
    name: str = Field(max_length=64, examples=["g36_fc8"])
    parameters: dict[str, Number] = {}

    def roles(self) -> Sequence[Role]:
        """Give the points that the rule looks at."""
        return BUILTINS[self.name].roles

    @model_validator(mode="after")
    def _known(self) -> "BuiltinCondition":
        builtin = BUILTINS.get(self.name)
        if builtin is None:
            raise ValueError(f"{self.name!r} is none of g36_fc1 to 15, apar_1 to 28, vpacc_...")
        known = {each.name: each for each in builtin.parameters}
        for name, value in self.parameters.items():
            if name not in known:
                raise ValueError(f"{self.name} has no parameter {name!r}, but {', '.join(known)}")
            low, high = known[name].low, known[name].high
            if not low <= value <= high:
                raise ValueError(f"{name} must lie between {low:g} and {high:g} {known[name].units}")
        return self


Condition = Annotated[
    ThresholdCondition
    | StuckValueCondition
    | ShortCyclingCondition
    | ScheduleDeviationCondition
    | DemandSensitiveCondition
    | BuiltinCondition,
    Field(discriminator="kind"),
]


class NewRule(_Input):
    """A rule, and how it finds what it watches.

    `tags` select the nodes that the rule is for; `inputs` say by which tags each of the condition's points is
    found below such a node, where the condition's own choice doesn't fit.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Zone too warm",
                    "condition": {"kind": "threshold", "high": 27.0, "deadband": 0.5},
                    "severity": "medium",
                    "confirm": 1800,
                    "tags": ["zone", "temp", "-sp"],
                },
                {
                    "name": "AHU mixed air too cold",
                    "condition": {"kind": "builtin", "name": "g36_fc2"},
                    "severity": "high",
                    "confirm": 1800,
                    "tags": ["ahu"],
                },
            ]
        },
    )

    name: str = Field(min_length=1, max_length=100)
    description: str = Field(default="", max_length=1000)
    condition: Condition
    severity: Severity = Severity.MEDIUM
    message: str = Field(default="", max_length=500, description="Left out: the rule's name.")
    confirm: Seconds = Field(default=300.0, description="Seconds that it must hold before it is a fault.")
    tags: list[TagTerm] = Field(default=[], max_length=20)
    inputs: dict[RoleName, Annotated[list[TagTerm], Field(min_length=1, max_length=20)]] = {}
    enabled: bool = True

    @model_validator(mode="after")
    def _roles_exist(self) -> "NewRule":
        known = [each.name for each in self.condition.roles()]
        for name in self.inputs:
            if name not in known:
                raise ValueError(f"the condition has no input {name!r}, but {', '.join(known)}")
        return self


class Rule(NewRule):
    """A stored rule."""

    id: int
    site: str = ""


class Origin(StrEnum):
    """Where a binding comes from: a person, or the tags of nodes."""

    EXPLICIT = "explicit"
    AUTO = "auto"


class NewBinding(_Input):
    """What a rule watches: a node, and the point for each of the condition's inputs."""

    node_id: NodeId = Field(examples=["1001"])
    points: dict[RoleName, NodeId] = Field(
        examples=[{"supply_air_temp": "1001/analog-input-1", "mixed_air_temp": "1001/analog-input-2"}]
    )


class Binding(NewBinding):
    """A stored binding."""

    id: int
    site: str = ""
    rule_id: int
    origin: Origin


class Unbound(BaseModel):
    """A node that a rule is for but that it can't be bound to, and why."""

    rule_id: int
    node_id: str
    missing: list[str] = []
    """Inputs for which no point was found."""
    ambiguous: dict[str, list[str]] = {}
    """Inputs for which several points fit equally well."""


class AutoBindResult(BaseModel):
    """What binding by tags has done."""

    created: int = 0
    updated: int = 0
    removed: int = 0
    unbound: list[Unbound] = []


class RuleInForce(BaseModel):
    """An enabled rule with all that it is bound to."""

    rule: Rule
    bindings: list[Binding]


class FaultState(StrEnum):
    """Where a fault stands: open until its condition is over."""

    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"
    CLEARED = "cleared"


class Fault(BaseModel):
    """One fault, from raise to clear."""

    id: int
    site: str = ""
    rule_id: int
    node_id: str
    severity: Severity
    message: str
    state: FaultState
    evidence: dict[str, PointValue | None] = {}
    """Values of the inputs when it was raised."""
    raised_at: Timestamp
    acknowledged_at: Timestamp | None = None
    acknowledged_by: str | None = None
    note: str | None = None
    cleared_at: Timestamp | None = None


class FddSummary(BaseModel):
    """How many rules, bindings and open faults there are."""

    rules: int = 0
    enabled_rules: int = 0
    bindings: int = 0
    open: int = 0
    unacknowledged: int = 0
    by_severity: dict[Severity, int] = {}
    """Open faults."""
