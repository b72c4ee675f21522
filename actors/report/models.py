"""Reports: what is in them, when they are made, and what came of it."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from actors.core.clock import Timestamp
from actors.core.fields import EMAIL, TagFilter, ZoneName


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Email = Annotated[
    str,
    StringConstraints(
        max_length=254,
        pattern=EMAIL,
    ),
]
Id = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Selection(_Input):
    """Which points: those of a list, with tags ("-tag": without), below a parent, of a device.

    Several conditions are joined by "and"; a list stands for itself.
    """

    site: str | None = Field(default=None, max_length=64)
    ids: list[Id] = Field(default=[], max_length=500)
    tags: list[TagFilter] = Field(default=[], max_length=20)
    parent_id: Id | None = None
    device: Id | None = None

    @model_validator(mode="after")
    def _something(self) -> "Selection":
        if not (self.ids or self.tags or self.parent_id or self.device):
            raise ValueError("at least one of ids, tags, parent_id, device")
        if self.ids and (self.tags or self.parent_id or self.device):
            raise ValueError("either ids, or tags with parent_id and device")
        return self


class _Section(_Input):
    title: str = Field(default="", max_length=200)


class TrendSection(_Section):
    """A chart of points over the report's range."""

    kind: Literal["trend"] = "trend"
    points: Selection
    interval: float | None = Field(
        default=None, ge=1, le=31 * 86_400, description="Seconds; chosen if left out."
    )


class StatisticsSection(_Section):
    """Minimum, average, maximum and coverage of points."""

    kind: Literal["statistics"] = "statistics"
    points: Selection


class AlarmSection(_Section):
    """Alarms of the range, by severity and point."""

    kind: Literal["alarms"] = "alarms"
    site: str | None = Field(default=None, max_length=64)
    severities: list[Literal["critical", "high", "medium", "low"]] = Field(default=[], max_length=5)


class EnergySection(_Section):
    """Consumption, demand and cost of meters."""

    kind: Literal["energy"] = "energy"
    meters: list[int] = Field(default=[], max_length=200)
    compare: Literal["none", "previous", "year_before"] = "none"


class PointsSection(_Section):
    """Present values and status of points."""

    kind: Literal["points"] = "points"
    points: Selection


class FaultSection(_Section):
    """Equipment faults of the range."""

    kind: Literal["faults"] = "faults"
    site: str | None = Field(default=None, max_length=64)


class TextSection(_Section):
    """A text of one's own."""

    kind: Literal["text"] = "text"
    text: str = Field(min_length=1, max_length=10_000)


Section = Annotated[
    TrendSection
    | StatisticsSection
    | AlarmSection
    | EnergySection
    | PointsSection
    | FaultSection
    | TextSection,
    Field(discriminator="kind"),
]


class TemplateName(StrEnum):
    """Where a definition's sections come from."""

    DAILY_OPERATIONS = "daily_operations"
    WEEKLY_ALARMS = "weekly_alarms"
    MONTHLY_ENERGY = "monthly_energy"
    COMFORT = "comfort"
    CUSTOM = "custom"


class NewReport(_Input):
    """A report definition to be made; without sections it gets those of its template."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "Weekly alarms", "template": "weekly_alarms"}]},
    )

    name: str = Field(min_length=1, max_length=100)
    description: str = Field(default="", max_length=1000)
    template: TemplateName = TemplateName.CUSTOM
    sections: list[Section] = Field(default=[], max_length=30)

    @model_validator(mode="after")
    def _has_sections(self) -> "NewReport":
        if self.template is TemplateName.CUSTOM and not self.sections:
            raise ValueError("a custom report needs at least one section")
        return self


class Report(BaseModel):
    """A report definition."""

    id: int
    name: str
    description: str
    template: TemplateName
    sections: list[Section]
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp


class Template(BaseModel):
    """A template and the sections that it brings."""

    name: TemplateName
    title: str
    sections: list[Section]


class _Timing(_Input):
    at: TimeOfDay = "06:00"
    zone: ZoneName = "UTC"


class Daily(_Timing):
    """Every day at a time; covers the day before."""

    every: Literal["day"] = "day"


class Weekly(_Timing):
    """Every week on a day (1 is Monday); covers the seven days before."""

    every: Literal["week"] = "week"
    weekday: int = Field(default=1, ge=1, le=7)


class Monthly(_Timing):
    """Every month on a day, or on the last one where the month is shorter; covers the month before."""

    every: Literal["month"] = "month"
    day: int = Field(default=1, ge=1, le=31)


Timing = Annotated[Daily | Weekly | Monthly, Field(discriminator="every")]


class NewReportSchedule(_Input):
    """When a report is made, and to whom it is sent."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "timing": {"every": "week", "weekday": 1, "at": "06:00", "zone": "Europe/Vienna"},
                    "recipients": ["ops@example.org"],
                }
            ]
        },
    )

    timing: Timing
    recipients: list[Email] = Field(default=[], max_length=50)
    enabled: bool = True


class ReportSchedule(NewReportSchedule):
    """A schedule with its times."""

    id: int
    definition_id: int
    next_run: Timestamp | None
    last_run: Timestamp | None


class ExecutionState(StrEnum):
    """How far an execution has come."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class ReportExecution(BaseModel):
    """One making of a report; the document itself is asked for apart."""

    id: int
    definition_id: int
    schedule_id: int | None
    state: ExecutionState
    requested_by: str
    requested_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    range_start: Timestamp
    range_end: Timestamp
    error: str | None
    size: int
    """Characters of the document."""
