"""What a person says about a commissioning item, and about the session: dialogs."""

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from actors.core.clock import now_ms
from api.web.frame import Frame
from api.web.parts import badge, box, words
from api.web.session import ApiError, query_of
from api.web.words import ago, plural, shown_value, states_of

Item = dict[str, Any]
Say = Callable[[Item, str, str], Awaitable[bool]]
RESULTS = {"verified": "Verified", "failed": "Failed", "deferred": "Deferred"}


def _dialog(title: str) -> tuple[ui.dialog, ui.element, ui.element]:
    """Open a small dialog; give it with its body and its foot."""
    with ui.dialog() as dialog, ui.card().classes("oc-dialog small"):
        with box("oc-dialog-head"):
            words(title, "oc-title")
        body = box("oc-dialog-body oc-fields")
        foot = box("oc-dialog-foot")
    dialog.open()
    return dialog, body, foot


def _buttons(dialog: ui.dialog, foot: ui.element, name: str, done: Callable[[], Awaitable[None]]) -> None:
    with foot:
        ui.button(name, color=None, on_click=done).classes("oc-main-act")
        ui.button("Close", color=None, on_click=dialog.close).classes("oc-act")


def write(item: Item, point: Item | None, verify: Callable[[Item], Awaitable[bool]]) -> None:
    """Ask what is written for a test, and at which priority."""
    dialog, body, foot = _dialog(f"Write {item['dis']} and give it back")
    states = {"": "one that it hasn't now"} | {str(key): name for key, name in states_of(point or {}).items()}
    keys = {str(key): key for key in states_of(point or {})}
    with body:
        words("The equipment moves. The value is read back and given back at once.", "oc-muted")
        if point is not None:
            words(f"It has {shown_value(point, point['value'])} now.")
        value: Any
        if keys:
            value = ui.select(states, value="", label="Value").props("outlined")
        else:
            value = ui.number("Value", placeholder="a little more than it has now").props("outlined")
        priority = ui.select({each: str(each) for each in range(1, 17)}, value=8, label="Priority")
        priority.props("outlined")

    async def done() -> None:
        dialog.close()
        wanted = keys.get(value.value) if keys else value.value
        await verify({"priority": priority.value} | ({} if wanted is None else {"value": wanted}))

    _buttons(dialog, foot, "Write and give back", done)


def by_hand(item: Item, say: Say) -> None:
    """Ask for a result that no machine sees."""
    dialog, body, foot = _dialog(f"{item['kind'].capitalize()} {item['dis']}")
    with body:
        state = ui.select(RESULTS, value="deferred", label="Result").props("outlined")
        note = ui.textarea("Note", value="").props("outlined")

    async def done() -> None:
        dialog.close()
        await say(item, state.value, note.value or "")

    _buttons(dialog, foot, "Note it", done)


def defer(items: list[Item], say: Say) -> None:
    """Ask why what has no result yet is put off."""
    dialog, body, foot = _dialog(f"Defer {plural(len(items), 'item')}")
    with body:
        words("They can be verified until the session is signed off.", "oc-muted")
        note = ui.textarea("Note", value="").props("outlined")

    async def done() -> None:
        dialog.close()
        for item in items:
            if not await say(item, "deferred", note.value or ""):
                break

    _buttons(dialog, foot, "Defer", done)


async def show_checks(frame: Frame, item: Item) -> None:
    """Show every verification of an item with its steps, newest first."""
    try:
        path = f"/api/commissioning/items/{item['id']}/checks{query_of(site=item['site'])}"
        found = (await frame.session.get(path))["items"]
    except ApiError as error:
        ui.notify(str(error), type="negative")
        return
    point = frame.model.points.get(frame.model.key(item["node_id"], item["site"]), {"id": item["node_id"]})
    dialog, body, foot = _dialog(f"{item['kind'].capitalize()} {item['dis']}")
    with body:
        if not found:
            words(f"{item['result_by']} has given the result by hand: {item['note'] or 'no note'}")
        for check in found:
            with box("oc-line oc-wrap"):
                badge(check["state"])
                words(f"{check['checked_by']}, {ago(check['checked_at'], now_ms())}", "oc-muted")
            for step in check["steps"]:
                value = "" if step["value"] is None else f": {shown_value(point, step['value'])}"
                words(f"{step['what']}{value}", "" if step["ok"] else "oc-told bad")
    with foot:
        ui.button("Close", color=None, on_click=dialog.close).classes("oc-act")


def sign_off(path: str, failed: int, send: Callable[[str, Item], Awaitable[bool]]) -> None:
    """Ask for the note of a sign-off, and for failed items whether they are accepted."""
    dialog, body, foot = _dialog("Sign off")
    with body:
        words("Nothing of the session changes afterwards.", "oc-muted")
        note = ui.textarea("Note").props("outlined")
        accept = ui.checkbox(f"Accept {plural(failed, 'failed item')}") if failed else None

    async def done() -> None:
        dialog.close()
        body = {"note": note.value or "", "accept_failures": bool(accept and accept.value)}
        await send(f"{path}/sign-off", body)

    _buttons(dialog, foot, "Sign off", done)
