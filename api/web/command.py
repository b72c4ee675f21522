"""The dialog that commands a point: value, priority, for how long; and its priority array."""

from typing import Any

from nicegui import ui

from api.web.frame import Frame
from api.web.parts import box, icon_button, set_state, words
from api.web.session import ApiError, point_path
from api.web.units import symbol
from api.web.words import PRIORITIES, kind_of, shown_value

DURATIONS = {900: "15 minutes", 3600: "1 hour", 14_400: "4 hours", 86_400: "1 day", 0: "Until relinquished"}


async def open_command(frame: Frame, point: dict[str, Any]) -> None:  # noqa: PLR0915 - one dialog, told in order
    """Show the dialog for a point."""
    point_id = str(point["id"])
    with ui.dialog() as dialog, ui.card().classes("oc-dialog"):
        with box("oc-dialog-head"):
            with box("oc-grow"):
                words(
                    f"{frame.model.name(str(point.get('parent')))} · {point.get('dis') or point_id}",
                    "oc-title",
                )
                now = words("", "oc-muted")
            icon_button("close", "Close", dialog.close)
        with box("oc-dialog-body"):
            with box("oc-command"):
                with box("oc-fields"):
                    entry = _entry(point)
                    priority = ui.select(
                        {level: f"{level} · {name}" for level, name in PRIORITIES.items()},
                        value=8,
                        label="Priority",
                    ).props("outlined")
                    duration = ui.select(DURATIONS, value=3600, label="For how long").props("outlined")
                slots = box("oc-slots")
            outcome = box("oc-outcome oc-hidden")
            outcome.props["role"] = "status"
            with outcome:
                said_words = words("", "oc-grow")
        with box("oc-dialog-foot"):
            send = ui.button("Write", color=None).classes("oc-main-act")
            give = ui.button("Relinquish", color=None).classes("oc-act")

        def tell(text: str, kind: str) -> None:
            said_words.set_text(text)
            outcome.classes(remove="oc-hidden")
            set_state(outcome, ("good", "bad", "note"), kind)

        async def show() -> None:
            try:
                fresh = await frame.session.get(point_path(point_id))
                now.set_text(f"Now {shown_value(fresh, fresh.get('value'))}")
                array = await frame.session.get(point_path(point_id, "/priority-array"))
            except ApiError as error:
                if error.code == "conflict":
                    _plain(slots)
                    give.disable()
                else:
                    tell(str(error), "bad")
                return
            slots.clear()
            with slots:
                for level, value in enumerate(array["slots"], 1):
                    _slot(point, str(level), PRIORITIES[level], value, level == array["active_priority"])
                default = array["relinquish_default"]
                _slot(point, "", "Relinquish default", default, array["active_priority"] is None)

        async def act(path: str, body: dict[str, Any], said: str) -> None:
            tell("Sending …", "note")
            send.disable()
            try:
                answer = await frame.session.post(point_path(point_id, path), body)
            except ApiError as error:
                tell(str(error), "bad")
            else:
                tell(f"{said}. The device reads back {shown_value(point, answer['value'])}", "good")
            send.enable()
            await show()
            await frame.refresh()

        async def write() -> None:
            if entry.value is None or entry.value == "":
                tell("Enter a value first.", "note")
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
            tell("Your role may look but not command.", "note")
    dialog.open()
    await show()


def _plain(slots: ui.element) -> None:
    """Say what a command means at a point whose device has no priority array for it."""
    slots.clear()
    with slots, box("oc-pad oc-muted"):
        words("The device has no priorities for this point: it keeps what is written until the next write.")


def _slot(point: dict[str, Any], number: str, name: str, value: Any, force: bool) -> None:
    """Show one level of the priority array; `force` is the one that counts."""
    with box("oc-slot" + (" set" if value is not None else "") + (" force" if force else "")):
        words(number, "n")
        words(name, "oc-clip")
        shown = "" if value is None else shown_value(point, value)
        words(f"{shown} · in force" if force and shown else shown, "oc-value")


def _entry(point: dict[str, Any]) -> Any:
    """Make the field for a value, by the kind of point."""
    kind, value, states = kind_of(point), point.get("value"), point.get("states") or []
    if kind == "binary":
        texts = states if len(states) == 2 else ["Off", "On"]
        return ui.select({False: texts[0], True: texts[1]}, value=bool(value), label="Value").props(
            "outlined"
        )
    if kind == "multistate" and states:
        options = dict(enumerate(states, 1))
        return ui.select(options, value=value if value in options else None, label="Value").props("outlined")
    if kind == "text":
        return ui.input("Value", value=str(value or "")).props("outlined")
    unit = symbol(point.get("units"))
    label = f"Value in {unit}" if unit else "Value"
    number = value if isinstance(value, int | float) else None
    return ui.number(label, value=None if number is None else round(float(number), 3)).props("outlined")
