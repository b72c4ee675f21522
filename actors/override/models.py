"""Commands to points: slots of the priority array, overrides with an expiry."""

from pydantic import BaseModel, ConfigDict, Field

from actors.core.clock import Timestamp
from actors.core.values import PointValue, StrictPointValue

OPERATOR_PRIORITY = 8
"""Manual operator (ASHRAE 135, table 19-1)."""


class WriteRequest(BaseModel):
    """What a person or an engine wants a point to be."""

    model_config = ConfigDict(extra="forbid")

    value: StrictPointValue
    priority: int = Field(default=OPERATOR_PRIORITY, ge=1, le=16)
    duration: float | None = Field(default=None, gt=0, le=31_536_000)
    """Seconds after which the slot is relinquished; none means that it stays."""
    note: str | None = Field(default=None, max_length=500)


class RelinquishRequest(BaseModel):
    """Which slot to give back."""

    model_config = ConfigDict(extra="forbid")

    priority: int = Field(default=OPERATOR_PRIORITY, ge=1, le=16)


class Override(BaseModel):
    """A slot that was commanded here and is not yet relinquished."""

    id: int
    node_id: str
    priority: int
    value: PointValue
    by: str
    at: Timestamp
    expires_at: Timestamp | None = None
    note: str | None = None


class PriorityArray(BaseModel):
    """The 16 slots of a point (ASHRAE 135, 19.2), what is in force, and since which slot."""

    id: str
    slots: list[PointValue | None] = Field(min_length=16, max_length=16)
    """Slot 1 first; none means relinquished."""
    relinquish_default: PointValue | None = None
    active_priority: int | None = None
    present_value: PointValue | None = None


class WriteResult(BaseModel):
    """What the device says after a write."""

    id: str
    priority: int
    old_value: PointValue | None
    written: PointValue | None
    value: PointValue | None
    """As read back from the device: not `written` when a higher priority is in force."""
    override_id: int | None = None
    expires_at: Timestamp | None = None
