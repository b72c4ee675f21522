"""How the page says things: values, states, times, durations, groups of points, names of priorities."""

import math
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from actors.core.clock import from_iso
from actors.core.values import PointValue
from api.web.units import decimals, symbol

_TEXTS: Final = (
    "characterstring",
    "date",
    "time",
    "datetime",
    "date-pattern",
    "time-pattern",
    "datetime-pattern",
    "octetstring",
    "bitstring",
)
"""BACnet objects whose value is a text, by the key that their points have, such as `date-value-1`."""

NO_VALUE: Final = "–"  # noqa: RUF001 - a dash as typographers set it
"""Shown where there is no value."""

PRIORITIES: Final[dict[int, str]] = {
    1: "Manual life safety",
    2: "Automatic life safety",
    3: "Available",
    4: "Available",
    5: "Critical equipment control",
    6: "Minimum on/off",
    7: "Available",
    8: "Manual operator",
    9: "Available",
    10: "Available",
    11: "Available",
    12: "Available",
    13: "Available",
    14: "Available",
    15: "Available",
    16: "Schedule, default",
}
"""Names of the 16 priorities (ASHRAE 135, table 19-1); 16 is where this system's schedules write."""

FLAGS: Final[dict[str, tuple[str, str, str]]] = {
    "alarm": ("Alarm", "notifications_active", "The value is outside its limits or in an alarm state"),
    "down": ("Down", "cloud_off", "The device does not answer; this is the last value it gave"),
    "fault": ("Fault", "error", "The device says that this reading is not reliable"),
    "stale": ("Stale", "history_toggle_off", "No reading for longer than three poll intervals"),
    "overridden": ("Overridden", "pan_tool", "The device says that the value is held by hand"),
    "disabled": ("Disabled", "block", "The point is no longer read"),
}
"""Status flags, worst first: word, icon, what it means."""

SEVERITIES: Final[dict[str, tuple[str, str]]] = {
    "critical": ("Critical", "crisis_alert"),
    "high": ("High", "error"),
    "medium": ("Medium", "warning"),
    "low": ("Low", "info"),
}
"""Severities, worst first: word, icon."""

GROUPS: Final = ("Sensors", "Setpoints", "Commands", "Status")


def kind_of(point: dict[str, Any]) -> str:
    """Tell how a point's value is entered and shown: `analog`, `binary`, `multistate` or `text`."""
    value, states, name = point.get("value"), point.get("states"), str(point.get("id", "")).lower()
    if isinstance(value, bool):
        return "binary"
    if isinstance(value, str) or (value is None and any(f"/{each}-value-" in name for each in _TEXTS)):
        return "text"
    if "/binary-" in name:
        return "binary"
    if states:
        return "binary" if value is None and len(states) == 2 and "/multi-state" not in name else "multistate"
    return "multistate" if "/multi-state" in name else "analog"


def states_of(point: dict[str, Any]) -> dict[PointValue, str]:
    """Give the states of a binary or multi-state point with their words, in order; empty for others."""
    kind, texts = kind_of(point), point.get("states") or []
    if kind == "binary":
        return {False: texts[0], True: texts[1]} if len(texts) >= 2 else {False: "Off", True: "On"}
    if kind == "multistate":
        return {number: str(text) for number, text in enumerate(texts, 1)}
    return {}


def number(value: float, units: str | None = None) -> str:
    """Write a number with the decimals of its unit and thin spaces between thousands."""
    if not math.isfinite(value):
        return NO_VALUE
    shown = f"{value:,.{decimals(units, value)}f}".replace(",", "\u2009")
    # -0.0 is no colder than 0.0.
    return shown.removeprefix("-") if not any(digit in "123456789" for digit in shown) else shown


def value_of(point: dict[str, Any], value: PointValue | None = None) -> str:
    """Write a point's value (or another one of the same point) without its unit."""
    shown = point.get("value") if value is None else value
    if shown is None:
        return NO_VALUE
    states = states_of(point)
    if states and not isinstance(shown, str):
        return states.get(shown) or str(shown)
    if isinstance(shown, bool):
        return "On" if shown else "Off"
    if isinstance(shown, int | float):
        return number(float(shown), point.get("units"))
    return shown or NO_VALUE


def with_unit(point: dict[str, Any], value: PointValue | None = None) -> str:
    """Write a point's value (or another one) with its unit."""
    text = value_of(point, value)
    unit = symbol(point.get("units")) if text != NO_VALUE and not states_of(point) else ""
    return f"{text}\u202f{unit}" if unit else text


def shown_value(point: dict[str, Any], value: PointValue | None) -> str:
    """Write a value of a point as people read it, a dash for none."""
    return NO_VALUE if value is None else with_unit(point, value)


def group_of(point: dict[str, Any]) -> str:
    """Tell under which heading of the equipment view a point stands, by its tags, else by its kind."""
    tags, name = set(point.get("tags") or []), str(point.get("id", "")).lower()
    if "cmd" in tags:
        return "Commands"
    if "sp" in tags:
        return "Setpoints"
    discrete = kind_of(point) != "analog"
    if not tags & {"sensor"}:
        if "-output-" in name:
            return "Commands"
        if point.get("writable"):
            return "Commands" if discrete else "Setpoints"
    return "Status" if discrete else "Sensors"


def worst(flags: list[str]) -> str | None:
    """Give the flag that matters most."""
    return next((flag for flag in FLAGS if flag in flags), None)


def span(seconds: float) -> str:
    """Write a duration in its largest one or two units: `3 min`, `2 h 05 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        return f"{hours} h {minutes % 60:02d} min" if minutes % 60 else f"{hours} h"
    return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"


def ago(time: str | None, now: int) -> str:
    """Write how long ago a time was; `now` in ms. A clock that runs ahead reads `just now`."""
    if not time:
        return "never"
    seconds = (now - from_iso(time)) / 1000
    return "just now" if seconds < 2 else f"{span(seconds)} ago"


def until(time: str, now: int) -> str:
    """Write how long it is until a time."""
    seconds = (from_iso(time) - now) / 1000
    return "now" if seconds <= 0 else f"in {span(seconds)}"


def clock_time(time: str | None, zone: tzinfo = UTC, now: int | None = None) -> str:
    """Write a time of day in the user's zone, with its date unless `now` is the same day."""
    if not time:
        return NO_VALUE
    moment = datetime.fromtimestamp(from_iso(time) / 1000, zone)
    if now is not None and datetime.fromtimestamp(now / 1000, zone).date() == moment.date():
        return f"{moment:%H:%M:%S}"
    return f"{moment:%d %b %H:%M:%S}"


def plural(count: int, word: str, words: str | None = None) -> str:
    """Write a count with its noun."""
    return f"{count} {word if count == 1 else words or word + 's'}"
