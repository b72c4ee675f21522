"""How a component says how it is."""

import socket
from enum import StrEnum

from pydantic import BaseModel, Field

from actors.core.clock import Timestamp, now_ms


class HealthState(StrEnum):
    """What a component is able to do now."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


class Health(BaseModel):
    """One component's state, with the reasons when it isn't healthy."""

    name: str
    state: HealthState = HealthState.HEALTHY
    reasons: list[str] = []
    pid: int | None = None
    host: str = Field(default_factory=socket.gethostname)
    """The machine on which the component runs."""
    time: Timestamp = Field(default_factory=now_ms)
    """When it said so, by that machine's clock."""
