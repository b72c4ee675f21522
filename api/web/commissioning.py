"""Commissioning: sessions, their items verified against the device, sign-off."""

from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui

from actors.core.clock import now_ms
from api.web.frame import Frame
from api.web.parts import anchor, badge, box, empty, heading, section, words
from api.web.session import ApiError
from api.web.words import ago, clock_time, plural, shown_value

PATIENCE: Final = 190.0
"""Seconds for several exchanges with a device that answers late."""
MOST: Final = 400
NEXT: Final = {"not_started": ("start", "Begin"), "in_progress": ("complete", "Complete")}


async def commissioning(frame: Frame, request: Request) -> None:
    """Show the list of sessions, or one of them."""
    session_id, site = request.query_params.get("session", ""), request.query_params.get("site")
    if session_id.isdecimal():
        await _session(frame, int(session_id), site)
    else:
        await _sessions(frame)


async def _sessions(frame: Frame) -> None:
    with box("oc-head"):
        heading("Commissioning")
    with box("oc-stack"):
        if frame.session.may("manage_commissioning"):
            _new(frame)
        listed = box("oc-panel")
    shown: dict[str, Any] = {}

    async def refresh() -> None:
        found = await frame.session.all("/api/commissioning/sessions", most=MOST)
        if shown.get("all") == found:
            return
        shown["all"] = found
        listed.clear()
        with listed:
            if not found:
                empty("fact_check", "No session yet", "Begin one for a device that was accepted.")
            for each in found:
                query = urlencode({"session": each["id"], "site": each["site"]})
                with anchor(f"/commissioning?{query}", "oc-found"):
                    badge(each["state"])
                    words(f"by {each['created_by']} {ago(each['created_at'], now_ms())}", "oc-muted side")
                    with box("wide"), box("name"):
                        words(each["name"])
                    words(_progress(each["progress"]), "wide")

    frame.refreshers.append(refresh)


def _progress(progress: dict[str, int]) -> str:
    told = f"{progress['verified']} of {plural(progress['total'], 'item')} verified"
    return f"{told}, {progress['failed']} failed" if progress["failed"] else told


def _new(frame: Frame) -> None:
    units = {
        key: frame.model.name(key) for key, each in frame.model.nodes.items() if each["node_type"] == "Equip"
    }
    with box("oc-panel"):
        with box("oc-panel-head"):
            section("New session")
        with box("oc-scan"):
            unit = ui.select(units, label="Equipment", with_input=True).props("outlined dense")

            async def create() -> None:
                if not unit.value:
                    ui.notify("Choose a piece of equipment", type="warning")
                    return
                body = {"name": units[unit.value], "node_id": unit.value}
                try:
                    made = await frame.session.post("/api/commissioning/sessions", body)
                except ApiError as error:
                    ui.notify(str(error), type="negative")
                    return
                query = urlencode({"session": made["id"], "site": made["site"]})
                ui.navigate.to(f"/commissioning?{query}")

            ui.button("Begin a session", color=None, on_click=create).classes("oc-main-act")


async def _session(frame: Frame, session_id: int, site: str | None) -> None:
    path, query = f"/api/commissioning/sessions/{session_id}", urlencode({"site": site}) if site else ""
    with box("oc-head"):
        with box("oc-crumbs"), anchor("/commissioning"):
            words("Commissioning")
        title = box("oc-line")
        box("oc-grow")
        acts = box("oc-line")
    listed = box("oc-panel")
    shown: dict[str, Any] = {}

    async def send(what: str, body: dict[str, Any] | None = None) -> None:
        try:
            await frame.session.post(f"{what}?{query}", body, PATIENCE)
        except ApiError as error:
            ui.notify(str(error), type="negative")
        await frame.refresh()

    async def verify(item: dict[str, Any], button: ui.button) -> None:
        button.disable()
        await send(f"/api/commissioning/items/{item['id']}/verify")

    async def verify_all(kinds: set[str]) -> None:
        for item in [
            each for each in shown["items"] if each["kind"] in kinds and each["state"] != "verified"
        ]:
            await send(f"/api/commissioning/items/{item['id']}/verify")

    async def refresh() -> None:
        session = await frame.session.get(path, site=site)
        items = await frame.session.all(f"{path}/items", most=MOST, site=site)
        if shown.get("session") == session and shown.get("items") == items:
            return
        shown["session"], shown["items"] = session, items
        title.clear()
        with title:
            heading(session["name"])
            badge(session["state"])
            words(_progress(session["progress"]), "oc-muted")
        open_ = session["state"] in {"in_progress", "completed"} and frame.session.may("manage_commissioning")
        acts.clear()
        with acts:
            if frame.session.may("manage_commissioning"):
                if session["state"] == "in_progress":
                    checks = {"read", "alarm", "schedule"}
                    ui.button(
                        "Verify all but writes", color=None, on_click=lambda: verify_all(checks)
                    ).classes("oc-act")
                if session["state"] in NEXT:
                    step, name = NEXT[session["state"]]
                    ui.button(name, color=None, on_click=lambda: send(f"{path}/{step}")).classes(
                        "oc-main-act"
                    )
                elif session["state"] == "completed":
                    failed = session["progress"]["failed"]
                    ui.button("Sign off", color=None, on_click=lambda: _sign_off(path, failed, send)).classes(
                        "oc-main-act"
                    )
        listed.clear()
        with listed:
            if session["signed_off_by"]:
                at = clock_time(session["signed_off_at"], frame.session.zone)
                words(
                    f"Signed off by {session['signed_off_by']}, {at}: {session['sign_off_note']}", "oc-told"
                )
            for item in items:
                _item(frame, item, open_, verify)

    frame.refreshers.append(refresh)


def _item(frame: Frame, item: dict[str, Any], may: bool, verify: Any) -> None:
    point = frame.model.points.get(item["node_id"])
    with box("oc-found"):
        badge(item["state"])
        with box("acts side oc-line"):
            if may and item["state"] != "verified":
                word = "Write and give back" if item["kind"] == "write" else "Verify"
                button = ui.button(word, color=None).classes("oc-act")
                button.on_click(lambda: verify(item, button))
        with box("wide"):
            with box("name"):
                words(f"{item['kind'].capitalize()} {item['dis']}")
            words(item["node_id"], "oc-muted")
        with box("wide"):
            words(item["note"] or (shown_value(point, point["value"]) if point else ""))
        words(
            f"{item['result_by']}, {ago(item['result_at'], now_ms() // 60_000 * 60_000)}"
            if item["result_by"]
            else "",
            "oc-muted wide",
        )


def _sign_off(path: str, failed: int, send: Any) -> None:
    with ui.dialog() as dialog, ui.card().classes("oc-dialog small"):
        with box("oc-dialog-head"):
            words("Sign off", "oc-title")
        with box("oc-dialog-body oc-fields"):
            words("Nothing of the session changes afterwards.", "oc-muted")
            note = ui.textarea("Note").props("outlined")
            accept = ui.checkbox(f"Accept {plural(failed, 'failed item')}") if failed else None

        async def done() -> None:
            dialog.close()
            body = {"note": note.value or "", "accept_failures": bool(accept and accept.value)}
            await send(f"{path}/sign-off", body)

        with box("oc-dialog-foot"):
            ui.button("Sign off", color=None, on_click=done).classes("oc-main-act")
            ui.button("Close", color=None, on_click=dialog.close).classes("oc-act")
    dialog.open()
