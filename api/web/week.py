"""The week of a schedule as a person edits it: rows of times and values for each day."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from nicegui import ui

from api.web.parts import box, icon_button, words
from api.web.times import Item, Times, times_of, value_field, value_of

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def week_of(kind: str, days: list[list[Item]]) -> list[Item]:
    """Give the entries of seven days of rows, in order. Raises ValueError, which names day and time."""
    return [
        {"weekday": number} | entry
        for number, (day, rows) in enumerate(zip(DAYS, days, strict=True), 1)
        for entry in times_of(kind, day, rows)
    ]


class WeekEditor:
    """Times and values of each day, with rows to add and to take away; Enter saves, as the button does."""

    def __init__(
        self, kind: str, week: list[Item], default: Any, save: Callable[[list[Item], Any], Awaitable[None]]
    ) -> None:
        """Show a week and what holds otherwise; `save` takes both as they are wanted."""
        self._kind, self._save = kind, save
        self._default: Item = {"value": default}
        self._days: list[Times] = []
        with box("oc-week"):
            for number, day in enumerate(DAYS):
                with box("oc-day"):
                    with box("oc-line"):
                        words(day, "oc-grow")
                        if number:
                            like = f"{day} like {DAYS[number - 1]}"
                            icon_button("content_copy", like, partial(self._copy, number))
                        icon_button("add", f"Add a time on {day}", partial(self._add, number))
                    rows = [dict(each) for each in week if each["weekday"] == number + 1]
                    self._days.append(Times(kind, day, rows, self.save))
            with box("oc-day"), box("oc-line"):
                words("Otherwise", "oc-grow")
                value_field(kind, self._default, "Otherwise", self.save)
        self._wrong = words("", "oc-told bad")
        self._wrong.props["role"] = "alert"
        ui.button("Write the week to the device", color=None, on_click=self.save).classes("oc-main-act")

    async def save(self) -> None:
        """Have the week written, or say what is wrong with it."""
        try:
            week = week_of(self._kind, [day.rows for day in self._days])
            default = value_of(self._kind, self._default["value"])
        except (TypeError, ValueError) as error:
            self._wrong.set_text(str(error))
            return
        self._wrong.set_text("")
        await self._save(week, default)

    def _add(self, number: int) -> None:
        self._days[number].add()

    def _copy(self, number: int) -> None:
        self._days[number].replace(
            [{"time": each["time"], "value": each["value"]} for each in self._days[number - 1].rows]
        )
