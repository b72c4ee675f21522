"""Webhooks: where events are posted to, which ones, and what came of it."""

import ipaddress
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from actors.core.clock import Timestamp
from actors.core.fields import TagFilter

EventName = Literal[
    "alarm_raised",
    "alarm_cleared",
    "alarm_acknowledged",
    "device_down",
    "device_recovered",
    "fdd_fault_raised",
    "fdd_fault_cleared",
]
"""The events that the dispatcher follows, as the reference names them."""
SeverityName = Literal["critical", "high", "medium", "low"]
ALL_EVENTS: tuple[EventName, ...] = EventName.__args__  # type: ignore[attr-defined]


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError("a network such as 10.1.0.0/16 or fd00::/8, without host bits") from None


Network = Annotated[str, StringConstraints(max_length=64), AfterValidator(_network)]


class EndpointKind(StrEnum):
    """What stands at the other end; it decides how an event is written."""

    GENERIC = "generic"
    SLACK = "slack"
    TEAMS = "teams"
    PAGERDUTY = "pagerduty"
    NTFY = "ntfy"


class NewEndpoint(BaseModel):
    """An endpoint to be made. On a change, `secret` left out keeps the one that is there.

    Lists that are empty don't filter.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "CMMS",
                    "url": "https://cmms.example.org/hooks/opencrate",
                    "secret": "shared secret",
                    "events": ["alarm_raised", "alarm_cleared"],
                    "severities": ["critical", "high"],
                }
            ]
        },
    )

    name: str = Field(min_length=1, max_length=100)
    kind: EndpointKind = EndpointKind.GENERIC
    url: str = Field(min_length=1, max_length=2000)
    secret: SecretStr | None = Field(default=None, min_length=1, max_length=1000)
    """Of a generic endpoint the key of its signature, of PagerDuty the routing key, of ntfy a token."""
    events: list[EventName] = Field(default=list(ALL_EVENTS), min_length=1, max_length=20)
    severities: list[SeverityName] = Field(default=[], max_length=5)
    tags: list[TagFilter] = Field(default=[], max_length=20)
    sites: list[Annotated[str, StringConstraints(min_length=1, max_length=64)]] = Field(
        default=[], max_length=500
    )
    enabled: bool = True


class Endpoint(BaseModel):
    """An endpoint, without its secret."""

    id: int
    name: str
    kind: EndpointKind
    url: str
    has_secret: bool
    events: list[EventName]
    severities: list[SeverityName]
    tags: list[str]
    sites: list[str]
    enabled: bool
    created_at: Timestamp


class OpenEndpoint(BaseModel):
    """An endpoint with its secret, for the dispatcher alone."""

    endpoint: Endpoint
    secret: SecretStr | None
    trouble: str | None = None


class WebhookConfig(BaseModel):
    """What holds for all endpoints."""

    model_config = ConfigDict(extra="forbid")

    paused: bool = False
    """Nothing is sent while it is set; deliveries wait."""
    timeout_seconds: float = Field(default=10.0, ge=1, le=60)
    allowed_networks: list[Network] = Field(default=[], max_length=100)
    """Private networks that may be posted to; all others are refused."""
    keep_days: int = Field(default=30, ge=1, le=3650)
    """How long deliveries that are over stay in the log."""


class DeliveryState(StrEnum):
    """How far a delivery has come."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Delivery(BaseModel):
    """One event on its way to one endpoint."""

    id: int
    endpoint_id: int
    event_key: str
    event_type: str
    state: DeliveryState
    attempts: int
    created_at: Timestamp
    next_attempt: Timestamp | None
    finished_at: Timestamp | None
    status_code: int | None
    duration_ms: int | None
    error: str | None


class DueDelivery(BaseModel):
    """A delivery that is to be tried now, with what is to be posted."""

    delivery: Delivery
    payload: str
