"""The dialog that commands a point: value, priority, for how long; and its priority array."""

from typing import Any

from nicegui import ui

from api.web.frame import Frame
from api.web.parts import box, words
from api.web.session import ApiError, point_path
from api.web.units import symbol
from api.web.words import PRIORITIES, kind_of, shown_value

DURATIONS = {900: "15 minutes", 3600: "1 hour", 14_400: "4 hours", 86_400: "1 day", 0: "Until relinquished"}


async def open_command(frame: Frame, point: dict[str, Any]) -> None:  # noqa: PLR0915 - one dialog, told in order
    """Show the dialog for a point."""
    point_id = str(point["id"])
    with ui.dialog() as dialog, ui.card().classes("oc-dialog"):
        words(str(point.get("dis") or point_id), "oc-value")
        now = words("", "oc-muted")
        entry = _entry(point)
        priority = ui.select(
            {level: f"{level} · {name}" for level, name in PRIORITIES.items()}, value=8, label="Priority"
        ).classes("w-full")
        duration = ui.select(DURATIONS, value=3600, label="For how long").classes("w-full")
        outcome = words("", "oc-outcome")
        outcome.props["role"] = "status"
        with box("oc-line"):
            send = ui.button("Write").props("unelevated")
            give = ui.button("Relinquish").props("outline")
            ui.button("Close", on_click=dialog.close).props("flat")
        slots = box("oc-slots")

        async def show() -> None:
            try:
                array = await frame.session.get(point_path(point_id, "/priority-array"))
                fresh = await frame.session.get(point_path(point_id))
            except ApiError as error:
                outcome.set_text(str(error))
                return
            now.set_text(f"Now {shown_value(fresh, fresh.get('value'))}")
            slots.clear()
            with slots:
                for level, value in enumerate(array["slots"], 1):
                    if value is None:
                        continue
                    force = " · in force" if level == array["active_priority"] else ""
                    words(f"{level} · {PRIORITIES[level]}: {shown_value(point, value)}{force}", "oc-slot")
                words(f"Relinquish default: {shown_value(point, array['relinquish_default'])}", "oc-slot")

        async def act(path: str, body: dict[str, Any], said: str) -> None:
            outcome.set_text("Sending …")
            send.disable()
            try:
                answer = await frame.session.post(point_path(point_id, path), body)
            except ApiError as error:
                outcome.set_text(str(error))
            else:
                outcome.set_text(f"{said}. The device reads back {shown_value(point, answer['value'])}")
            send.enable()
            await show()
            await frame.refresh()

        async def write() -> None:
            if entry.value is None or entry.value == "":
                outcome.set_text("Enter a value first.")
                return
            body: dict[str, Any] = {"value": entry.value, "priority": priority.value}
            if duration.value:
                body["duration"] = duration.value
            await act("/write", body, f"Written at priority {priority.value}")

        async def relinquish() -> None:
            await act("/relinquish", {"priority": priority.value}, f"Priority {priority.value} relinquished")

        send.on_click(write)
        give.on_click(relinquish)
        if not frame.session.may("write_points"):
            send.disable()
            give.disable()
            outcome.set_text("Your role may look but not command.")
    dialog.open()
    await show()


def _entry(point: dict[str, Any]) -> Any:
    """Make the field for a value, by the kind of point."""
    kind, value, states = kind_of(point), point.get("value"), point.get("states") or []
    if kind == "binary":
        texts = states if len(states) == 2 else ["Off", "On"]
        return ui.select({False: texts[0], True: texts[1]}, value=bool(value), label="Value").classes(
            "w-full"
        )
    if kind == "multistate" and states:
        options = dict(enumerate(states, 1))
        return ui.select(options, value=value if value in options else None, label="Value").classes("w-full")
    if kind == "text":
        return ui.input("Value", value=str(value or "")).classes("w-full")
    unit = symbol(point.get("units"))
    label = f"Value in {unit}" if unit else "Value"
    number = value if isinstance(value, int | float) else None
    return ui.number(label, value=None if number is None else round(float(number), 3)).classes("w-full")
