"""Commissioning: a session per device, with one item for each thing that must be verified."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from actors.core.clock import Timestamp
from actors.core.values import PointValue, StrictPointValue
from actors.node.models import NodeId
from actors.override.models import OPERATOR_PRIORITY


class SessionState(StrEnum):
    """Where a session stands; it only goes forward."""

    NOT_STARTED = "not_started"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    SIGNED_OFF = "signed_off"


class ItemState(StrEnum):
    """What is known of an item. Failed and deferred ones may be tried again."""

    NOT_STARTED = "not_started"
    VERIFIED = "verified"
    FAILED = "failed"
    DEFERRED = "deferred"


class ItemKind(StrEnum):
    """What is verified: that a value can be read, be written, raises its alarm, follows its schedule."""

    READ = "read"
    WRITE = "write"
    ALARM = "alarm"
    SCHEDULE = "schedule"


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SessionChange(_Input):
    """What may be edited of a session until it is signed off."""

    name: str = Field(min_length=1, max_length=200, examples=["AHU-1, after the controller was replaced"])
    note: str | None = Field(default=None, max_length=2000)


class NewSession(SessionChange):
    """A session for a device, or for anything else that points stand below."""

    node_id: NodeId = Field(examples=["1001"])
    also: list[Literal[ItemKind.ALARM, ItemKind.SCHEDULE]] = Field(default=[], max_length=2)
    """As of MoreItems."""


class MoreItems(_Input):
    """Kinds of which every point that could have one gets an item, also where none is configured."""

    also: list[Literal[ItemKind.ALARM, ItemKind.SCHEDULE]] = Field(default=[], max_length=2)


class Result(_Input):
    """What came of an item."""

    state: Literal[ItemState.VERIFIED, ItemState.FAILED, ItemState.DEFERRED]
    note: str | None = Field(default=None, max_length=2000, examples=["reads 21.4 °C, meter shows 21.5 °C"])


class SignOff(_Input):
    """The acceptance of a completed session. Failed items need `accept_failures` and a note."""

    note: str = Field(default="", max_length=2000, examples=["accepted with the owner present"])
    accept_failures: bool = False


class NewItem(_Input):
    """One thing to verify."""

    node_id: str
    dis: str
    kind: ItemKind


class Progress(BaseModel):
    """How many items of a session are in each state."""

    total: int = 0
    not_started: int = 0
    verified: int = 0
    failed: int = 0
    deferred: int = 0


class Session(BaseModel):
    """The commissioning of one device."""

    id: int
    site: str = ""
    node_id: str
    name: str
    note: str | None = None
    state: SessionState
    progress: Progress = Progress()
    created_at: Timestamp
    created_by: str
    started_at: Timestamp | None = None
    started_by: str | None = None
    completed_at: Timestamp | None = None
    completed_by: str | None = None
    signed_off_at: Timestamp | None = None
    signed_off_by: str | None = None
    sign_off_note: str | None = None
    accepted_failures: int | None = None
    """Failed items that were accepted at sign-off."""


class Item(BaseModel):
    """One thing to verify, and what came of it."""

    id: int
    site: str = ""
    session_id: int
    node_id: str
    dis: str
    kind: ItemKind
    state: ItemState
    note: str | None = None
    attempts: int = 0
    """How often a result was set."""
    result_at: Timestamp | None = None
    result_by: str | None = None


class VerifyRequest(_Input):
    """How an item is verified against the device; all may be left out."""

    low: float | None = Field(default=None, allow_inf_nan=False)
    """The least value that is plausible, in the point's unit; left out: by its unit."""
    high: float | None = Field(default=None, allow_inf_nan=False)
    value: StrictPointValue | None = None
    """What is written for a test; left out: one that differs a little from what is there."""
    priority: int = Field(default=OPERATOR_PRIORITY, ge=1, le=16)


class CheckStep(BaseModel):
    """One thing that was done to verify an item."""

    what: str
    value: PointValue | None = None
    ok: bool = True
    at: Timestamp


class NewCheck(BaseModel):
    """What came of verifying an item."""

    state: Literal[ItemState.VERIFIED, ItemState.FAILED]
    summary: str
    steps: list[CheckStep]


class Check(NewCheck):
    """A verification that was made, with who asked for it."""

    id: int
    item_id: int
    checked_at: Timestamp
    checked_by: str


class TrialWrite(BaseModel):
    """What is written to a point for a test, until it is given back."""

    node_id: str
    item_id: int
    priority: int
    value: PointValue
    value_before: PointValue | None
    written_at: Timestamp
    written_by: str
