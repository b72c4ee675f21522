"""Rules of alarms: when a point is in alarm, and how an alarm goes from state to state. Pure."""

from dataclasses import dataclass
from typing import Literal, assert_never

from actors.alarm.models import (
    AlarmState,
    Condition,
    FaultCondition,
    LimitCondition,
    StaleCondition,
    StateCondition,
)
from actors.core.values import PointStatus, PointValue

NOT_READ = PointStatus.DOWN | PointStatus.DISABLED | PointStatus.FAULT
"""Flags with which a value says nothing: neither raises nor clears a limit or state alarm."""


Side = Literal["high", "low"]
"""Which of its limits a value is past."""


def side_of(condition: Condition, value: PointValue | None, before: Side | None = None) -> Side | None:
    """Say which limit a value is past; within both it stays as it was `before`."""
    if not isinstance(condition, LimitCondition) or isinstance(value, str) or value is None:
        return before
    if condition.high is not None and value > condition.high:
        return "high"
    return "low" if condition.low is not None and value < condition.low else before


def is_off_normal(
    condition: Condition,
    value: PointValue | None,
    status: int,
    *,
    was: bool,
    held: bool = True,
    side: Side | None = None,
) -> bool:
    """Tell whether a point is in the condition; `was` is what it was before, `held` whether for its delay.

    Limits hold through the deadband (ASHRAE 135-2020, 13.3.6), but not while the delay still runs, and only
    the limit that was passed: `side` says which, None that it isn't known. Without a value that can be judged
    it stays as it was.
    """
    match condition:
        case LimitCondition():
            if status & NOT_READ or isinstance(value, str) or value is None:
                return was
            slack = condition.deadband if was and held else 0.0
            above, below = 0.0 if side == "low" else slack, 0.0 if side == "high" else slack
            high = condition.high is not None and value > condition.high - above
            low = condition.low is not None and value < condition.low + below
            return high or low
        case StateCondition():
            return was if status & NOT_READ or value is None else value in condition.states
        case StaleCondition():
            return bool(status & (PointStatus.STALE | PointStatus.DOWN))
        case FaultCondition():
            return bool(status & PointStatus.FAULT)
        case _:
            assert_never(condition)


def describe(condition: Condition, name: str, value: PointValue | None, units: str | None) -> str:
    """Say in words what is wrong, for an alarm whose configuration has no message."""
    shown = f"{value:.1f}" if isinstance(value, float) else f"{value}"
    unit = f" {units}" if units and units != "no-units" else ""
    match condition:
        case LimitCondition(high=high, low=low):
            number = isinstance(value, int | float)
            if high is not None and number and float(value or 0) > high:
                return f"{name} is {shown}{unit}, above {high:g}{unit}"
            below = low is not None and number and float(value or 0) < low
            bound = f"below {low:g}{unit}" if below else "outside its limits"
            return f"{name} is {shown}{unit}, {bound}"
        case StateCondition():
            return f"{name} is {shown}"
        case StaleCondition():
            return f"{name} has had no reading for too long"
        case FaultCondition():
            return f"{name} reports a fault"
        case _:
            assert_never(condition)


@dataclass(slots=True)
class Watch:
    """What is known of one configuration's condition: for how long it has held, whether it counts."""

    condition: Condition
    raised: bool = False
    """Whether the alarm stands: what the store was last told, and has confirmed."""
    off_normal: bool = False
    since: float | None = None
    """Since when it holds but is not yet raised; seconds of a clock that doesn't jump."""
    side: Side | None = None
    """Which limit was passed, where that is known."""

    def judge(self, value: PointValue | None, status: int, now: float) -> None:
        """Take a point's value and flags."""
        was, held = self.off_normal or self.raised, self.raised or self.wanted(now)
        self.off_normal = is_off_normal(self.condition, value, status, was=was, held=held, side=self.side)
        if not self.off_normal:
            self.since = self.side = None
            return
        if not status & NOT_READ:
            self.side = side_of(self.condition, value, self.side)
        if not self.raised and self.since is None:
            self.since = now

    def wanted(self, now: float) -> bool:
        """Tell whether the alarm should stand: the condition holds, and has held for its delay."""
        if not self.off_normal:
            return False
        return self.raised or (self.since is not None and now - self.since >= self.condition.delay)


def after_raise(state: AlarmState | None) -> AlarmState:
    """Give the state after the condition has come (ISA-18.2, 5.5): an alarm that stands is left as it is."""
    return AlarmState.ACKNOWLEDGED if state is AlarmState.ACKNOWLEDGED else AlarmState.ACTIVE


def after_clear(state: AlarmState) -> AlarmState:
    """Give the state after the condition is over: nobody needs to see again what was acknowledged."""
    return {AlarmState.ACTIVE: AlarmState.CLEARED, AlarmState.ACKNOWLEDGED: AlarmState.CLOSED}.get(
        state, state
    )


def after_acknowledge(state: AlarmState) -> AlarmState:
    """Give the state after a person has seen the alarm."""
    return {AlarmState.ACTIVE: AlarmState.ACKNOWLEDGED, AlarmState.CLEARED: AlarmState.CLOSED}.get(
        state, state
    )


def after_report(state: AlarmState | None, *, standing: bool, acknowledged: bool | None) -> AlarmState | None:
    """Give the state after a device has said how its alarm stands; None: there is none and need not be.

    `state` is that of the alarm that isn't closed. What a device doesn't ask to acknowledge (`acknowledged`
    is None) stays seen or unseen here. One that came and went while nobody looked is still to be seen.
    """
    if state in (None, AlarmState.CLOSED) and not standing and acknowledged is not False:
        return None
    seen = state is AlarmState.ACKNOWLEDGED if acknowledged is None else acknowledged
    if standing:
        return AlarmState.ACKNOWLEDGED if seen else AlarmState.ACTIVE
    return AlarmState.CLOSED if seen else AlarmState.CLEARED
