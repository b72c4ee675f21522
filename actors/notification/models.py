"""Who is told of which alarms, when, and what came of it."""

import re
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from actors.core.clock import Timestamp
from actors.core.fields import EMAIL, TagFilter, ZoneName

SeverityName = Literal["critical", "high", "medium", "low"]
SiteName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Hours(_Input):
    """Hours of some weekdays (1 is Monday); one that ends before it begins goes over midnight.

    From and to the same time is the whole day. After midnight the day on which it began counts.
    """

    start: TimeOfDay
    end: TimeOfDay
    weekdays: list[Annotated[int, Field(ge=1, le=7)]] = Field(default=[1, 2, 3, 4, 5, 6, 7], min_length=1)


class RecipientKind(StrEnum):
    """How a recipient is reached."""

    EMAIL = "email"
    SMS = "sms"
    WEBHOOK = "webhook"


_ADDRESS = {
    RecipientKind.EMAIL: (
        EMAIL,
        "an email address",
    ),
    RecipientKind.SMS: (r"^\+[1-9]\d{6,14}$", "a phone number in international form, such as +43660123456"),
    RecipientKind.WEBHOOK: (r"^[1-9]\d{0,17}$", "the id of a webhook"),
}


class NewRecipient(_Input):
    """Somebody who is told of alarms. In quiet hours only of those of `quiet_severities`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Ana",
                    "kind": "email",
                    "address": "ana@example.org",
                    "zone": "Europe/Vienna",
                    "quiet": {"start": "22:00", "end": "06:00"},
                }
            ]
        },
    )

    name: str = Field(min_length=1, max_length=100)
    kind: RecipientKind
    address: str = Field(min_length=1, max_length=254)
    zone: ZoneName = "UTC"
    quiet: Hours | None = None
    quiet_severities: list[SeverityName] = Field(default=["critical"], max_length=4)
    enabled: bool = True

    @model_validator(mode="after")
    def _reachable(self) -> "NewRecipient":
        pattern, expected = _ADDRESS[self.kind]
        if not re.fullmatch(pattern, self.address):
            raise ValueError(f"address: {expected}")
        return self


class Recipient(NewRecipient):
    """A recipient."""

    id: int
    created_at: Timestamp


class Tier(_Input):
    """Who is told when an alarm has stood unacknowledged for so many seconds."""

    after_seconds: int = Field(ge=0, le=7 * 86_400)
    recipients: list[Annotated[int, Field(ge=1, lt=2**63)]] = Field(min_length=1, max_length=100)


class NewRule(_Input):
    """Which alarms go to whom. Lists that are empty don't filter; tiers escalate."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Critical to the engineer on duty",
                    "severities": ["critical"],
                    "tiers": [
                        {"after_seconds": 0, "recipients": [1]},
                        {"after_seconds": 900, "recipients": [2]},
                    ],
                }
            ]
        },
    )

    name: str = Field(min_length=1, max_length=100)
    position: int = Field(default=100, ge=0, le=1_000_000)
    """Rules are looked at in this order."""
    severities: list[SeverityName] = Field(default=[], max_length=4)
    sites: list[SiteName] = Field(default=[], max_length=500)
    tags: list[TagFilter] = Field(default=[], max_length=20)
    hours: Hours | None = None
    zone: ZoneName = "UTC"
    tiers: list[Tier] = Field(min_length=1, max_length=10)
    on_clear: bool = False
    """Tell the same people when the alarm is over."""
    stop: bool = False
    """No rule after this one is looked at for an alarm that fits."""
    enabled: bool = True

    @model_validator(mode="after")
    def _escalates(self) -> "NewRule":
        times = [tier.after_seconds for tier in self.tiers]
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError("tiers: each later than the one before")
        return self


class Rule(NewRule):
    """A routing rule."""

    id: int
    created_at: Timestamp


class NewShelving(_Input):
    """Alarms of a site, a node or a tag to be kept quiet for a while; conditions are joined by "and"."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"node_id": "1001", "reason": "filter change", "duration": 7200}]},
    )

    site: SiteName | None = None
    node_id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    tag: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")] | None = None
    reason: str = Field(min_length=1, max_length=500)
    duration: int = Field(ge=60, le=30 * 86_400, description="Seconds.")

    @model_validator(mode="after")
    def _something(self) -> "NewShelving":
        if self.site is None and self.node_id is None and self.tag is None:
            raise ValueError("at least one of site, node_id, tag")
        return self


class Shelving(BaseModel):
    """A shelving that stands."""

    id: int
    site: str | None
    node_id: str | None
    tag: str | None
    reason: str
    shelved_by: str
    shelved_at: Timestamp
    until: Timestamp


class Fact(BaseModel):
    """What rules look at in an alarm."""

    site: str
    node_id: str
    severity: SeverityName
    tags: frozenset[str] = frozenset()


class NoticeState(StrEnum):
    """How far a notification has come."""

    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"
    CANCELLED = "cancelled"


class NewNotice(BaseModel):
    """A notification to be queued; `key` is the same when the same one is queued again."""

    key: str
    site: str
    alarm_id: int
    rule_id: int | None
    tier: int
    recipient_id: int
    subject: str
    due_at: int


class Notice(BaseModel):
    """A notification to one recipient."""

    id: int
    key: str
    site: str
    alarm_id: int
    rule_id: int | None
    tier: int
    recipient_id: int | None
    recipient_name: str
    kind: RecipientKind
    address: str
    subject: str
    state: NoticeState
    attempts: int
    created_at: Timestamp
    next_attempt: Timestamp | None
    finished_at: Timestamp | None
    error: str | None
