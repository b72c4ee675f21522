"""Days as a person edits them: the exceptions of a schedule, and the days of a calendar (135-2020, 21)."""

from calendar import month_name
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

from nicegui import ui

from api.web.parts import box, icon_button, words
from api.web.times import Item, Times, times_of
from api.web.week import DAYS

ANY: Final = "any"
_ODD: Final = ("odd", "even")
CHOICES: Final[dict[str, dict[str, str]]] = {
    "month": {ANY: "any month"}
    | {str(n): name for n, name in enumerate(month_name) if n}
    | {each: f"{each} months" for each in _ODD},
    "day": {ANY: "any day"}
    | {str(n): str(n) for n in range(1, 32)}
    | {each: f"{each} days" for each in _ODD}
    | {"last": "last day"},
    "week": {ANY: "any week"}
    | {str(n): f"days {7 * n - 6} to {min(7 * n, 31)}" for n in range(1, 6)}
    | {
        "last": "last 7 days",
        "second_last": "7 days before the last 7",
        "third_last": "7 days before the last 14",
        "fourth_last": "7 days before the last 21",
    },
    "weekday": {ANY: "any day of the week"} | {str(n): day for n, day in enumerate(DAYS, 1)},
}
"""What the parts of a pattern can be, and how they read."""
PARTS: Final[dict[str, tuple[str, ...]]] = {
    "date": ("year", "month", "day", "weekday"),
    "range": ("start", "end"),
    "week_n_day": ("month", "week", "weekday"),
    "calendar": ("calendar",),
}
"""What a row of each kind asks for."""
_KINDS: Final = {
    "date": "Date or pattern",
    "range": "From and to",
    "week_n_day": "Days of a week",
    "calendar": "Calendar",
}


def row_of(period: Item | None, calendar: str | None = None) -> Item:
    """Give a period, or a calendar, as a row: each part as it is entered."""
    if period is None:
        return {"kind": "calendar", "calendar": calendar or ""}
    kind = str(period["kind"])
    return {"kind": kind} | {part: _shown(part, period.get(part)) for part in PARTS[kind]}


def _shown(part: str, value: Any) -> Any:
    if part in CHOICES:
        return ANY if value is None else str(value)
    return value if part == "year" else value or ""


def period_of(name: str, row: Item) -> tuple[Item | None, str | None]:
    """Give a row's period, or its calendar. Raises ValueError, which starts with the row's `name`."""
    if row["kind"] == "calendar":
        if not row["calendar"]:
            raise ValueError(f"{name}: no calendar; expected one of the device's")
        return None, str(row["calendar"])
    period: Item = {"kind": row["kind"]}
    for part in PARTS[row["kind"]]:
        given = row.get(part)
        if part in CHOICES:
            period[part] = None if given in (None, ANY) else int(given) if given.isdigit() else given
        elif part == "year":
            period[part] = _year(name, given)
        else:
            period[part] = given or None
    return period, None


def _year(name: str, given: Any) -> int | None:
    if given in (None, ""):
        return None
    given = float(given)
    if not given.is_integer() or not 1900 <= given <= 2154:
        raise ValueError(f"{name}: year {given:g} is not valid; expected 1900 to 2154, or nothing for any")
    return int(given)


def exceptions_of(kind: str, rows: Sequence[Item]) -> list[Item]:
    """Give the exceptions of rows with `times`. Raises ValueError, which says in which row."""
    found = []
    for number, row in enumerate(rows, 1):
        name = f"Exception {number}"
        period, calendar = period_of(name, row)
        found.append(
            {
                "priority": int(row["priority"]),
                "period": period,
                "calendar": calendar,
                "entries": times_of(kind, name, row["times"]),
            }
        )
    return found


SHOWN: Final = 25
"""Rows at once; each has many parts, and the page stands still for all while they are made."""


class DaysEditor:
    """Rows of days to add, to change and to take away."""

    noun, _nouns, _most = "Days", "days", 1000
    _kinds: tuple[str, ...] = ("date", "range", "week_n_day")

    def __init__(self, rows: list[Item], write: Callable[[Any], Awaitable[None]]) -> None:
        """Show rows; `write` takes what is `wanted` when the button is pressed."""
        self.rows, self._write = rows, write
        self._first = 0
        self._box = box("oc-days")
        self._draw()
        with box("oc-line oc-wrap"):
            ui.button(f"Add {self.noun.lower()}", icon="add", color=None, on_click=self._add).classes(
                "oc-act"
            )
        self._wrong = words("", "oc-told bad")
        self._wrong.props["role"] = "alert"
        ui.button(f"Write the {self._nouns} to the device", color=None, on_click=self.save).classes(
            "oc-main-act"
        )

    def wanted(self) -> Any:
        """Give what the rows say. Raises ValueError, which says in which row."""
        raise NotImplementedError

    async def save(self) -> None:
        """Have what is wanted written, or say what is wrong with it."""
        try:
            wanted = self.wanted()
        except (TypeError, ValueError) as error:
            self._wrong.set_text(str(error))
            return
        self._wrong.set_text("")
        await self._write(wanted)

    def _draw(self) -> None:
        self._box.clear()
        shown = self.rows[self._first : self._first + SHOWN]
        with self._box:
            for number, row in enumerate(shown, self._first + 1):
                with box("oc-span"):
                    self._row(f"{self.noun} {number}", row)
            if not self.rows:
                words("none", "oc-muted")
            if len(self.rows) > SHOWN:
                self._turns(f"{self._first + 1} to {self._first + len(shown)} of {len(self.rows)}")

    def _turns(self, told: str) -> None:
        """Say which rows are shown, with buttons to those before and after."""
        with box("oc-line"):
            words(told, "oc-grow oc-muted")
            for icon, label, first in (
                ("chevron_left", f"{self._nouns.capitalize()} before", self._first - SHOWN),
                ("chevron_right", f"{self._nouns.capitalize()} after", self._first + SHOWN),
            ):
                icon_button(icon, label, partial(self.turn, first)).set_enabled(0 <= first < len(self.rows))

    def turn(self, first: int) -> None:
        """Show the rows from `first` on."""
        self._first = first
        self._draw()

    def _row(self, name: str, row: Item) -> None:
        with box("oc-line"):
            words(name, "oc-grow")
            self._more(name, row)
            icon_button("close", f"Take {name.lower()} away", partial(self._remove, row))
        with box("oc-line oc-wrap"):
            kinds = {kind: _KINDS[kind] for kind in self._kinds}
            chosen = ui.select(kinds, value=row["kind"], on_change=partial(self._change_kind, row))
            chosen.props("outlined dense").props["aria-label"] = f"Kind, {name}"
            for part in PARTS[row["kind"]]:
                self._part(name, row, part)

    def _more(self, name: str, row: Item) -> None:
        """Show what a row has beside its days."""

    def _part(self, name: str, row: Item, part: str) -> None:
        def change(event: Any) -> None:
            row[part] = event.value

        shown: ui.element
        if part in CHOICES:
            shown = ui.select(CHOICES[part], value=row[part], on_change=change)
        elif part == "year":
            shown = ui.number(value=row[part], placeholder="any year", format="%d", on_change=change)
        elif part == "calendar":
            shown = ui.select(self._calendars(row), value=row[part] or None, on_change=change)
        else:
            shown = ui.input(value=row[part], on_change=change).props("type=date")
        shown.props("outlined dense").props["aria-label"] = f"{part.capitalize()}, {name}"

    def _calendars(self, row: Item) -> list[str]:
        return [row["calendar"]] if row["calendar"] else []

    def _fresh(self) -> Item:
        return row_of({"kind": "date"})

    def _add(self) -> None:
        if len(self.rows) < self._most:
            self.rows.append(self._fresh())
            self._turn_to_last()

    def _turn_to_last(self) -> None:
        self.turn((len(self.rows) - 1) // SHOWN * SHOWN)

    def _remove(self, row: Item) -> None:
        self.rows = [each for each in self.rows if each is not row]
        if self._first and self._first >= len(self.rows):
            self._turn_to_last()
        else:
            self._draw()

    def _change_kind(self, row: Item, event: Any) -> None:
        kept = {key: row[key] for key in ("priority", "times") if key in row}
        fresh = row_of(None if event.value == "calendar" else {"kind": event.value})
        row.clear()
        row.update(fresh | kept)
        self._draw()


class CalendarEditor(DaysEditor):
    """The days of a calendar."""

    def __init__(self, days: list[Item], save: Callable[[list[Item]], Awaitable[None]]) -> None:
        """Show days; `save` takes them as they are wanted."""
        super().__init__([row_of(each) for each in days], save)

    def wanted(self) -> list[Item | None]:
        """Give the days."""
        return [period_of(f"{self.noun} {number}", row)[0] for number, row in enumerate(self.rows, 1)]


class ExceptionsEditor(DaysEditor):
    """The exceptions of a schedule, and from when to when it is in force."""

    noun, _nouns, _most = "Exception", "exceptions", 255
    _kinds = ("date", "range", "week_n_day", "calendar")

    def __init__(
        self, schedule: Item, calendars: Sequence[str], save: Callable[[Item], Awaitable[None]]
    ) -> None:
        """Show them; `save` takes what of the schedule is wanted otherwise."""
        self._kind, self._known = str(schedule["kind"]), list(calendars)
        self._force: Item = {part: schedule[part] or "" for part in ("starts_on", "ends_on")}
        with box("oc-line oc-wrap"):
            words("In force from")
            self._date("starts_on", "In force from")
            words("to")
            self._date("ends_on", "In force to")
            words("An empty date is open.", "oc-muted")
        rows = [
            row_of(each["period"], each["calendar"])
            | {"priority": str(each["priority"]), "times": [dict(entry) for entry in each["entries"]]}
            for each in schedule["exceptions"]
        ]
        super().__init__(rows, save)

    def wanted(self) -> Item:
        """Give exceptions and dates."""
        dates = {part: given or None for part, given in self._force.items()}
        return {"exceptions": exceptions_of(self._kind, self.rows)} | dates

    def _date(self, part: str, label: str) -> None:
        def change(event: Any) -> None:
            self._force[part] = event.value

        shown = ui.input(value=self._force[part], on_change=change).props("type=date outlined dense")
        shown.props["aria-label"] = label

    def _calendars(self, row: Item) -> list[str]:
        return sorted({*self._known, *super()._calendars(row)})

    def _fresh(self) -> Item:
        return super()._fresh() | {"priority": "16", "times": []}

    def _row(self, name: str, row: Item) -> None:
        super()._row(name, row)
        with box("oc-day"):
            times = Times(self._kind, name.lower(), row["times"], self.save)
            add = ui.button(f"Add a time to {name.lower()}", icon="add", color=None, on_click=times.add)
            add.classes("oc-act")

    def _more(self, name: str, row: Item) -> None:
        def change(event: Any) -> None:
            row["priority"] = event.value

        words("Priority", "oc-muted")
        numbers = {str(number): str(number) for number in range(1, 17)}
        chosen = ui.select(numbers, value=row["priority"], on_change=change).props("outlined dense")
        chosen.props["aria-label"] = f"Priority, {name}"
