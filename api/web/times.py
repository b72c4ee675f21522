"""Times of a day, and the values that hold from them on, as a person edits them."""

import math
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from nicegui import ui

from api.web.parts import box, icon_button, words

MOST: Final = 100
"""Times of one day."""
NOTHING: Final = "none"
_TIME: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?")
_STATES: Final = {"true": "on", "false": "off", NOTHING: "no value"}

Item = dict[str, Any]


def value_of(kind: str, given: Any) -> float | int | bool | None:
    """Give a value of a schedule's kind as it was entered; nothing is no value. Raises ValueError."""
    if given is None or given in ("", NOTHING):
        return None
    if kind == "binary":
        return given in (True, "true")
    number = float(given)
    if kind == "analog":
        if math.isfinite(number):
            return number
        raise ValueError("a number, or nothing for no value")
    if not math.isfinite(number) or number < 1 or number != int(number):
        raise ValueError("a state from 1, or nothing for no value")
    return int(number)


def times_of(kind: str, name: str, rows: list[Item]) -> list[Item]:
    """Give times and values as they were entered, in order. Raises ValueError with `name` and time."""
    entries: list[Item] = []
    times: set[str] = set()
    for row in sorted(rows, key=lambda each: str(each["time"] or "")):
        at = str(row["time"] or "")
        if not _TIME.fullmatch(at):
            raise ValueError(f"{name}: {at or 'a row without a time'}; expected a time such as 07:30")
        at = at.removesuffix(":00") if len(at) > 5 else at
        if at in times:
            raise ValueError(f"{name}: {at} is there twice; expected each time once")
        times.add(at)
        try:
            value = value_of(kind, row["value"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} {at}: {row['value']} is not valid; expected {error}") from None
        entries.append({"time": at, "value": value})
    return entries


def value_field(kind: str, row: Item, label: str, save: Callable[[], Awaitable[None]]) -> None:
    """Show `row["value"]` for editing; Enter saves."""

    def revalue(event: Any) -> None:
        row["value"] = event.value

    given = row["value"]
    shown: ui.element
    if kind == "binary":
        value = NOTHING if given is None else str(given).lower()
        shown = ui.select(_STATES, value=value, on_change=revalue)
    else:
        shown = ui.number(value=given, placeholder="no value", on_change=revalue)
    shown.props("outlined dense").props["aria-label"] = label
    shown.on("keydown.enter", save)


class Times:
    """Rows of times and values, each with a button that takes it away; Enter saves."""

    def __init__(self, kind: str, name: str, rows: list[Item], save: Callable[[], Awaitable[None]]) -> None:
        """Show rows; their list is what is edited. `name` is for those who don't see where they stand."""
        self._kind, self._name, self._save = kind, name, save
        self.rows = rows
        self._box = box("")
        self._draw()

    def add(self) -> None:
        """Add an empty row, unless there are too many."""
        if len(self.rows) < MOST:
            self.replace([*self.rows, {"time": "", "value": None}])

    def replace(self, rows: list[Item]) -> None:
        """Show other rows."""
        self.rows[:] = rows
        self._draw()

    def _draw(self) -> None:
        self._box.clear()
        with self._box:
            for row in self.rows:
                self._row(row)
            if not self.rows:
                words("as otherwise", "oc-muted")

    def _row(self, row: Item) -> None:
        def retime(event: Any) -> None:
            row["time"] = event.value

        at = row["time"] or "new"
        with box("oc-line"):
            time = ui.input(value=row["time"], on_change=retime).props("type=time step=1 outlined dense")
            time.props["aria-label"] = f"Time, {self._name} {at}"
            time.on("keydown.enter", self._save)
            value_field(self._kind, row, f"Value, {self._name} {at}", self._save)
            icon_button("close", f"Take {at} of {self._name} away", partial(self._remove, row))

    def _remove(self, row: Item) -> None:
        self.replace([each for each in self.rows if each is not row])
