"""Programs: graphs of typed blocks, when they run, and what their runs did.

A block's inputs name other blocks; its kind decides which inputs and parameters it has.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from actors.core.clock import Timestamp
from actors.core.values import PointValue, StrictPointValue

BlockId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]
PointId = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Seconds = Annotated[float, Field(gt=0, le=7 * 86_400)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Block(_Input):
    id: BlockId
    label: str = Field(default="", max_length=100)


class PointRead(_Block):
    """A point's present value; `otherwise` is taken while it is stale, down or unknown."""

    kind: Literal["point_read"] = "point_read"
    point: PointId
    otherwise: StrictPointValue | None = None


class PointWrite(_Block):
    """Command a point with its input; where `enable` is false, relinquish it."""

    kind: Literal["point_write"] = "point_write"
    point: PointId
    value: BlockId
    enable: BlockId | None = None
    priority: int | None = Field(default=None, ge=1, le=16, description="The program's where left out.")


class VirtualPoint(_Block):
    """Set a virtual point to its input."""

    kind: Literal["virtual_point"] = "virtual_point"
    point: PointId
    value: BlockId


class Constant(_Block):
    """A fixed value."""

    kind: Literal["constant"] = "constant"
    value: StrictPointValue


class Math(_Block):
    """Arithmetic over two or more inputs; `abs`, `neg`, `sqrt` and `round` take one, `power` two."""

    kind: Literal["math"] = "math"
    op: Literal["add", "subtract", "multiply", "divide", "min", "max", "average", "power", "mod", "abs",
                "neg", "sqrt", "round"]  # fmt: skip
    inputs: list[BlockId] = Field(min_length=1, max_length=32)

    @model_validator(mode="after")
    def _count(self) -> "Math":
        one, two = {"abs", "neg", "sqrt", "round"}, {"subtract", "divide", "power", "mod"}
        if self.op in one and len(self.inputs) != 1:
            raise ValueError(f"{self.op} has one input")
        if self.op in two and len(self.inputs) != 2:
            raise ValueError(f"{self.op} has two inputs")
        return self


class Scale(_Block):
    """Map a range linearly to another one."""

    kind: Literal["scale"] = "scale"
    input: BlockId
    in_low: Number
    in_high: Number
    out_low: Number
    out_high: Number
    clamp: bool = True

    @model_validator(mode="after")
    def _wide(self) -> "Scale":
        if self.in_low == self.in_high:
            raise ValueError("in_low and in_high differ")
        return self


class RampLimit(_Block):
    """Follow an input no faster than so much per second."""

    kind: Literal["ramp_limit"] = "ramp_limit"
    input: BlockId
    up: float = Field(gt=0, allow_inf_nan=False, description="Units per second.")
    down: float = Field(gt=0, allow_inf_nan=False, description="Units per second.")


class Logic(_Block):
    """Boolean logic; `not` takes one input."""

    kind: Literal["logic"] = "logic"
    op: Literal["and", "or", "not", "xor", "nand", "nor"]
    inputs: list[BlockId] = Field(min_length=1, max_length=32)

    @model_validator(mode="after")
    def _count(self) -> "Logic":
        if (self.op == "not") != (len(self.inputs) == 1):
            raise ValueError("not has one input, all others two or more")
        return self


class Compare(_Block):
    """Compare two inputs; `deadband` is what the difference must shrink by to change back."""

    kind: Literal["compare"] = "compare"
    op: Literal["lt", "le", "eq", "ne", "ge", "gt"]
    left: BlockId
    right: BlockId
    deadband: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Select(_Block):
    """Give one of two inputs by a condition."""

    kind: Literal["select"] = "select"
    condition: BlockId
    when_true: BlockId
    when_false: BlockId


class Latch(_Block):
    """Set and reset; where both are true, `dominant` wins."""

    kind: Literal["latch"] = "latch"
    set: BlockId
    reset: BlockId
    dominant: Literal["set", "reset"] = "reset"


class OneShot(_Block):
    """True for some seconds after an input has become true."""

    kind: Literal["one_shot"] = "one_shot"
    input: BlockId
    seconds: Seconds


class Timing(_Block):
    """Delay on or off, moving average or rate of change (per second) over some seconds."""

    kind: Literal["timing"] = "timing"
    op: Literal["delay_on", "delay_off", "moving_average", "rate_of_change"]
    input: BlockId
    seconds: Seconds


class Pid(_Block):
    """Proportional, integral and derivative control with output limits; integral stops at the limits."""

    kind: Literal["pid"] = "pid"
    measured: BlockId
    setpoint: BlockId
    enable: BlockId | None = None
    action: Literal["direct", "reverse"] = "reverse"
    gain: float = Field(ge=0, allow_inf_nan=False, description="Output per unit of error.")
    integral_seconds: float = Field(default=0, ge=0, le=86_400, description="0: none.")
    derivative_seconds: float = Field(default=0, ge=0, le=86_400)
    low: Number = 0.0
    high: Number = 100.0

    @model_validator(mode="after")
    def _wide(self) -> "Pid":
        if self.low >= self.high:
            raise ValueError("low is below high")
        return self


class AlarmTrigger(_Block):
    """Raise an alarm while an input is true."""

    kind: Literal["alarm_trigger"] = "alarm_trigger"
    input: BlockId
    point: PointId
    severity: Literal["critical", "high", "medium", "low"] = "medium"
    message: str = Field(min_length=1, max_length=300)


class Log(_Block):
    """Write an input to the run's messages whenever it has changed."""

    kind: Literal["log"] = "log"
    input: BlockId
    message: str = Field(default="", max_length=300)


class Script(_Block):
    """An expression or a few statements over named inputs, sandboxed; the variable `result` is its output."""

    kind: Literal["script"] = "script"
    inputs: dict[Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,30}$")], BlockId] = Field(
        default={}, max_length=32
    )
    source: str = Field(min_length=1, max_length=10_000)
    output: Literal["number", "boolean", "text"] = "number"


Block = Annotated[
    PointRead
    | PointWrite
    | VirtualPoint
    | Constant
    | Math
    | Scale
    | RampLimit
    | Logic
    | Compare
    | Select
    | Latch
    | OneShot
    | Timing
    | Pid
    | AlarmTrigger
    | Log
    | Script,
    Field(discriminator="kind"),
]


class Periodic(_Input):
    """Run every so many seconds."""

    on: Literal["period"] = "period"
    seconds: float = Field(default=1.0, ge=0.1, le=86_400)


class OnChange(_Input):
    """Run when one of these points has changed; left out: those that the program reads."""

    on: Literal["change"] = "change"
    points: list[PointId] = Field(default=[], max_length=500)


Trigger = Annotated[Periodic | OnChange, Field(discriminator="on")]


class NewProgram(_Input):
    """A program to be saved."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Warm-up",
                    "blocks": [
                        {"kind": "point_read", "id": "zone", "point": "1101/analog-input-1"},
                        {"kind": "constant", "id": "limit", "value": 18.0},
                        {"kind": "compare", "id": "cold", "op": "lt", "left": "zone", "right": "limit"},
                        {"kind": "constant", "id": "full", "value": 100.0},
                        {
                            "kind": "point_write",
                            "id": "valve",
                            "point": "1101/analog-output-2",
                            "value": "full",
                            "enable": "cold",
                        },
                    ],
                }
            ]
        },
    )

    name: str = Field(min_length=1, max_length=100)
    description: str = Field(default="", max_length=2000)
    blocks: list[Block] = Field(min_length=1, max_length=500)
    trigger: Trigger = Periodic()
    priority: int = Field(default=10, ge=1, le=16)
    enabled: bool = True
    shadow: bool = False
    """Compute and log what it would write, and write nothing."""


class Program(NewProgram):
    """A program as it is kept; `version` rises with each change."""

    id: int
    version: int
    created_at: Timestamp
    updated_at: Timestamp
    updated_by: str


class Problem(BaseModel):
    """What is wrong with a program, and at which of its blocks."""

    block: str | None
    message: str


class Cause(StrEnum):
    """Why a program ran."""

    PERIOD = "period"
    CHANGE = "change"
    PERSON = "person"


class RunState(StrEnum):
    """How a run ended; `shadow` wrote nothing."""

    DONE = "done"
    FAILED = "failed"
    SHADOW = "shadow"


class Written(BaseModel):
    """A value that a run wrote, or in shadow would have written; None relinquishes."""

    point: str
    value: PointValue | None
    priority: int


class NewExecution(BaseModel):
    """A run to be logged."""

    version: int
    cause: Cause
    started_at: Timestamp
    duration_us: int = Field(ge=0)
    state: RunState
    writes: list[Written] = []
    messages: list[str] = []
    error: str | None = None


class Execution(NewExecution):
    """A run of a program."""

    id: int
    program_id: int


class SavedState(BaseModel):
    """What a program's blocks remember over a restart, of one version of it."""

    version: int
    state: dict[str, Any]
    saved_at: Timestamp
