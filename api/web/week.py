"""The week of a schedule as a person edits it: rows of times and values for each day."""

import math
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from nicegui import ui

from api.web.parts import box, icon_button, words

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
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


def week_of(kind: str, days: list[list[Item]]) -> list[Item]:
    """Give the entries of seven days of rows, in order. Raises ValueError, which names day and time."""
    entries: list[Item] = []
    for number, (day, rows) in enumerate(zip(DAYS, days, strict=True), 1):
        times: set[str] = set()
        for row in sorted(rows, key=lambda each: str(each["time"] or "")):
            at = str(row["time"] or "")
            if not _TIME.fullmatch(at):
                raise ValueError(f"{day}: {at or 'a row without a time'}; expected a time such as 07:30")
            at = at.removesuffix(":00") if len(at) > 5 else at
            if at in times:
                raise ValueError(f"{day}: {at} is there twice; expected each time once")
            times.add(at)
            try:
                value = value_of(kind, row["value"])
            except (TypeError, ValueError) as error:
                raise ValueError(f"{day} {at}: {row['value']} is not valid; expected {error}") from None
            entries.append({"weekday": number, "time": at, "value": value})
    return entries


class WeekEditor:
    """Times and values of each day, with rows to add and to take away; Enter saves, as the button does."""

    def __init__(
        self, kind: str, week: list[Item], default: Any, save: Callable[[list[Item], Any], Awaitable[None]]
    ) -> None:
        """Show a week and what holds otherwise; `save` takes both as they are wanted."""
        self._kind, self._save = kind, save
        self._days: list[list[Item]] = [
            [dict(each) for each in week if each["weekday"] == number] for number in range(1, 8)
        ]
        self._default: Item = {"value": default}
        self._boxes: list[ui.element] = []
        with box("oc-week"):
            for number, day in enumerate(DAYS):
                with box("oc-day"):
                    with box("oc-line"):
                        words(day, "oc-grow")
                        if number:
                            like = f"{day} like {DAYS[number - 1]}"
                            icon_button("content_copy", like, partial(self._copy, number))
                        icon_button("add", f"Add a time on {day}", partial(self._add, number))
                    self._boxes.append(box(""))
                    self._draw(number)
            with box("oc-day"), box("oc-line"):
                words("Otherwise", "oc-grow")
                self._value(self._default, "Otherwise")
        self._wrong = words("", "oc-told bad")
        self._wrong.props["role"] = "alert"
        ui.button("Write the week to the device", color=None, on_click=self.save).classes("oc-main-act")

    async def save(self) -> None:
        """Have the week written, or say what is wrong with it."""
        try:
            week = week_of(self._kind, self._days)
            default = value_of(self._kind, self._default["value"])
        except (TypeError, ValueError) as error:
            self._wrong.set_text(str(error))
            return
        self._wrong.set_text("")
        await self._save(week, default)

    def _draw(self, number: int) -> None:
        self._boxes[number].clear()
        with self._boxes[number]:
            for row in self._days[number]:
                self._row(number, row)
            if not self._days[number]:
                words("as otherwise", "oc-muted")

    def _row(self, number: int, row: Item) -> None:
        def retime(event: Any) -> None:
            row["time"] = event.value

        day, at = DAYS[number], row["time"] or "new"
        with box("oc-line"):
            time = ui.input(value=row["time"], on_change=retime).props("type=time step=1 outlined dense")
            time.props["aria-label"] = f"Time, {day} {at}"
            time.on("keydown.enter", self.save)
            self._value(row, f"Value, {day} {at}")
            icon_button("close", f"Take {at} on {day} away", partial(self._remove, number, row))

    def _value(self, row: Item, label: str) -> None:
        def revalue(event: Any) -> None:
            row["value"] = event.value

        given = row["value"]
        shown: ui.element
        if self._kind == "binary":
            value = NOTHING if given is None else str(given).lower()
            shown = ui.select(_STATES, value=value, on_change=revalue)
        else:
            shown = ui.number(value=given, placeholder="no value", on_change=revalue)
        shown.props("outlined dense").props["aria-label"] = label
        shown.on("keydown.enter", self.save)

    def _add(self, number: int) -> None:
        if len(self._days[number]) < MOST:
            self._days[number].append({"time": "", "value": None})
            self._draw(number)

    def _copy(self, number: int) -> None:
        self._days[number] = [
            {"time": each["time"], "value": each["value"]} for each in self._days[number - 1]
        ]
        self._draw(number)

    def _remove(self, number: int, row: Item) -> None:
        self._days[number] = [each for each in self._days[number] if each is not row]
        self._draw(number)
