"""Rules of verification: what is plausible, what is written for a test, what would raise an alarm. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from actors.alarm.logic import describe, is_off_normal
from actors.alarm.models import AlarmConfig, Condition, FaultCondition, LimitCondition, StaleCondition
from actors.core.errors import BadInputError, ConflictError
from actors.core.values import LONGEST_TEXT, PointStatus, PointValue, flag_names
from actors.node.models import Node
from actors.schedule.models import Kind

BAD: Final = PointStatus.FAULT | PointStatus.DOWN | PointStatus.DISABLED | PointStatus.STALE
"""Flags with which a value isn't to be relied on."""

PLAUSIBLE: Final[Mapping[str, tuple[float, float]]] = {
    "degrees-celsius": (-50.0, 150.0),
    "degrees-fahrenheit": (-58.0, 302.0),
    "degrees-kelvin": (223.0, 423.0),
    "percent": (0.0, 100.0),
    "percent-relative-humidity": (0.0, 100.0),
    "parts-per-million": (0.0, 10_000.0),
    "hertz": (0.0, 400.0),
    "power-factor": (-1.0, 1.0),
    "volts": (0.0, 1_000.0),
    "revolutions-per-minute": (0.0, 20_000.0),
}
"""Values in buildings, by unit; outside them a sensor is open, shorted or scaled wrongly."""

Range = tuple[float | None, float | None]


def range_of(node: Node, low: float | None, high: float | None) -> Range:
    """Give what is plausible for a point: what a person says, else what its unit says."""
    if low is not None and high is not None and low > high:
        raise BadInputError("low", low, f"at most high, which is {high}")
    least, most = PLAUSIBLE.get(str(node.properties.get("units")), (None, None))
    return least if low is None else low, most if high is None else high


def fault_of(node: Node, value: PointValue | None, status: int, within: Range) -> str | None:
    """Say what is wrong with a reading, or None."""
    if status & BAD:
        return f"it is flagged {', '.join(flag_names(status & BAD))}"
    if value is None:
        return "it has no value"
    states = node.properties.get("states")
    if isinstance(states, list) and states and isinstance(value, int) and not isinstance(value, bool):
        return None if 1 <= value <= len(states) else f"state {value} is none of its {len(states)}"
    return None if isinstance(value, bool | str) else _outside(value, *within)


def _outside(value: float, low: float | None, high: float | None) -> str | None:
    if low is not None and value < low:
        return f"{value:g} is below {low:g}, which isn't plausible"
    if high is not None and value > high:
        return f"{value:g} is above {high:g}, which isn't plausible"
    return None


def trial(node: Node, before: PointValue | None, wanted: PointValue | None) -> PointValue:
    """Give what is written for a test: what a person says, else a value next to what is there.

    Raises BadInputError where nothing can be found, or where what is wanted is there already, and
    ConflictError for a text that may be longer than what is known of it: it couldn't be given back.
    """
    if isinstance(before, str) and len(before) >= LONGEST_TEXT:
        reason = f"its text has {LONGEST_TEXT} characters or more and couldn't be given back; test it by hand"
        raise ConflictError("point", node.id, reason)
    if wanted is not None:
        if before is not None and type(before) is type(wanted) and before == wanted:
            raise BadInputError("value", wanted, "a value that the point doesn't have now, so that it shows")
        return wanted
    states = node.properties.get("states")
    if isinstance(before, bool):
        return not before
    if isinstance(before, int):
        count = len(states) if isinstance(states, list) else 0
        return before % count + 1 if count > 1 else before + 1
    if isinstance(before, float):
        _, most = PLAUSIBLE.get(str(node.properties.get("units")), (None, None))
        return before - 1.0 if most is not None and before + 1.0 > most else before + 1.0
    raise BadInputError("value", None, "what to write: the point's own value says nothing")


def alarm_fault(config: AlarmConfig, value: PointValue | None) -> tuple[str, str | None]:
    """Say in words when a configuration raises its alarm, and what keeps it from ever doing so, or None."""
    condition = config.condition
    if isinstance(condition, StaleCondition | FaultCondition):
        status = PointStatus.STALE if isinstance(condition, StaleCondition) else PointStatus.FAULT
        raises = is_off_normal(condition, value, int(status), was=False)
        return (
            f"raised when the point is {flag_names(status)[0]}",
            None if raises else "it is not raised then",
        )
    trials = _trials(condition)
    for each in trials:
        if not is_off_normal(condition, each, 0, was=False):
            return f"raised at {each}", "it is not raised then"
    told = "raised at " + ", ".join(describe(condition, "it", each, None) for each in trials)
    if value is not None and not all(_alike(each, value) for each in trials):
        return told, f"the point's value is {value!r}, which can never be that"
    return told, None


def _trials(condition: Condition) -> Sequence[PointValue]:
    if isinstance(condition, LimitCondition):
        past = max(1.0, condition.deadband)
        values = []
        if condition.high is not None:
            values.append(condition.high + past)
        if condition.low is not None:
            values.append(condition.low - past)
        return values
    return list(getattr(condition, "states", []))


def _alike(one: PointValue, other: PointValue) -> bool:
    """Tell whether two values are of one kind: texts, true and false, or numbers."""
    kinds = [
        str if isinstance(each, str) else bool if isinstance(each, bool) else float for each in (one, other)
    ]
    return kinds[0] is kinds[1]


def schedule_fits(kind: Kind, value: PointValue | None) -> bool:
    """Tell whether a schedule gives values that a point with such a value takes."""
    if value is None:
        return True
    if isinstance(value, str):
        return False
    if isinstance(value, bool):
        return kind is Kind.BINARY
    return kind is Kind.MULTISTATE if isinstance(value, int) else kind is Kind.ANALOG
