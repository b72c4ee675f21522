"""Alarms and the configurations that raise them."""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from actors.core.clock import Timestamp
from actors.core.values import PointValue


class Severity(StrEnum):
    """How much an alarm matters."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class _Condition(BaseModel):
    model_config = ConfigDict(extra="forbid")

    delay: float = Field(default=0.0, ge=0, le=86_400)
    """Seconds that the condition must hold before the alarm is raised."""


class LimitCondition(_Condition):
    """In alarm above `high` or below `low` (point units), until past the deadband (ASHRAE 135, 13.3.6)."""

    kind: Literal["limit"] = "limit"
    high: float | None = Field(default=None, allow_inf_nan=False)
    low: float | None = Field(default=None, allow_inf_nan=False)
    deadband: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _in_order(self) -> "LimitCondition":
        if self.high is None and self.low is None:
            raise ValueError("a limit alarm needs high or low")
        if self.high is not None and self.low is not None and self.low + 2 * self.deadband > self.high:
            raise ValueError("low plus the deadband must lie below high less the deadband")
        return self


class StateCondition(_Condition):
    """In alarm while the value is one of `states` (true and false, or multi-state numbers)."""

    kind: Literal["state"] = "state"
    states: list[bool | int | str] = Field(min_length=1)


class StaleCondition(_Condition):
    """In alarm while the point has had no reading for too long, or its device is down."""

    kind: Literal["stale"] = "stale"


class FaultCondition(_Condition):
    """In alarm while the point's fault flag is set."""

    kind: Literal["fault"] = "fault"


Condition = Annotated[
    LimitCondition | StateCondition | StaleCondition | FaultCondition, Field(discriminator="kind")
]


class NewAlarmConfig(BaseModel):
    """When a point is in alarm, and how much it matters."""

    model_config = ConfigDict(extra="forbid")

    node_id: str = Field(min_length=1, max_length=200)
    condition: Condition
    severity: Severity = Severity.MEDIUM
    message: str = Field(default="", max_length=500)
    enabled: bool = True


class AlarmConfig(NewAlarmConfig):
    """A stored configuration."""

    id: int


class AlarmState(StrEnum):
    """Where an alarm stands. It leaves the list of active ones when it is cleared and acknowledged."""

    ACTIVE = "active"
    ACKNOWLEDGED = "acknowledged"
    CLEARED = "cleared"
    CLOSED = "closed"


STANDING: Final = frozenset({AlarmState.ACTIVE, AlarmState.ACKNOWLEDGED})
"""What is wrong is so still, whether somebody has seen it or not."""


class Alarm(BaseModel):
    """One alarm, from raise to close."""

    id: int
    config_id: int | None
    source: str | None = None
    """What of a device raised it, such as `bacnet/ip/1101/analog-input,1`; left out: we ourselves."""
    node_id: str
    site: str = ""
    severity: Severity
    message: str
    state: AlarmState
    value: PointValue | None = None
    raised_at: Timestamp
    cleared_at: Timestamp | None = None
    acknowledged_at: Timestamp | None = None
    acknowledged_by: str | None = None
    note: str | None = None
    shelved_until: Timestamp | None = None


class Report(BaseModel):
    """How something of a device stands, as the device says; `source` is what, the same each time."""

    source: str = Field(min_length=1, max_length=200)
    node_id: str = Field(min_length=1, max_length=200)
    severity: Severity
    message: str = Field(max_length=500)
    value: PointValue | None = None
    standing: bool
    """Whether its condition holds."""
    acknowledged: bool | None = None
    """Whether the device takes it for seen; None: it asks nobody to say so, and ours stays as it is."""
    detail: dict[str, str] = {}
    """What the reporter needs later, to acknowledge it there and to know what was told already."""


class Reported(BaseModel):
    """The last alarm of a source, with what its reporter has kept of it."""

    alarm: Alarm
    detail: dict[str, str]


class AlarmStep(BaseModel):
    """One entry of the alarm history: what happened to which alarm, when, by whom."""

    id: int
    alarm_id: int
    node_id: str
    severity: Severity
    message: str
    event: Literal["raised", "cleared", "acknowledged", "shelved", "unshelved"]
    at: Timestamp
    by: str | None = None
    value: PointValue | None = None


class AlarmSummary(BaseModel):
    """How many alarms are in each state, and unacknowledged ones by severity."""

    active: int
    unacknowledged: int
    shelved: int
    by_severity: dict[Severity, int]
