"""Commissioning: sessions, their items verified against the device, sign-off."""

from collections.abc import Collection
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui

from actors.core.clock import now_ms
from api.web.frame import Frame
from api.web.items import by_hand, defer, show_checks, sign_off, write
from api.web.parts import anchor, badge, box, empty, heading, icon_button, section, set_text, words
from api.web.progress import Work
from api.web.rows import Rows
from api.web.session import ApiError, id_of, query_of, site_of
from api.web.words import ago, clock_time, plural, shown_value

PATIENCE: Final = 190.0
"""Seconds for several exchanges with a device that answers late."""
MOST: Final = 2000
ROWS: Final = 200
"""Items that are shown at once; a search finds the others."""
CHECKS: Final = frozenset({"read", "alarm", "schedule"})
"""What can be verified without anything moving."""
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
            alarms = ui.checkbox("An alarm for each point")
            alarms.tooltip("Also points that have no alarm get an item for one")

            async def create() -> None:
                if not unit.value:
                    ui.notify("Choose a piece of equipment", type="warning")
                    return
                name, also = units[unit.value], ["alarm"] if alarms.value else []
                body = {"name": name, "node_id": id_of(unit.value), "also": also}
                try:
                    path = "/api/commissioning/sessions" + query_of(site=site_of(unit.value))
                    made = await frame.session.post(path, body, PATIENCE)
                except ApiError as error:
                    ui.notify(str(error), type="negative")
                    return
                query = urlencode({"session": made["id"], "site": made["site"]})
                ui.navigate.to(f"/commissioning?{query}")

            ui.button("Begin a session", color=None, on_click=create).classes("oc-main-act")


async def _session(frame: Frame, session_id: int, site: str | None) -> None:
    try:
        await frame.session.get(f"/api/commissioning/sessions/{session_id}", site=site)
    except ApiError as error:
        empty("search_off", str(error))
        return
    view = _View(frame, session_id, site)
    frame.refreshers.append(view.refresh)


class _View:
    """One session: its items, what is done to them, and what is done to it."""

    def __init__(self, frame: Frame, session_id: int, site: str | None) -> None:
        self.frame = frame
        self.path, self.query = f"/api/commissioning/sessions/{session_id}", query_of(site=site)
        self._site = site
        self._may = frame.session.may("manage_commissioning")
        self.session: dict[str, Any] = {}
        self.items: dict[int, dict[str, Any]] = {}
        self._under_way: set[int] = set()
        self._head: Any = None
        with box("oc-head"):
            with box("oc-crumbs"), anchor("/commissioning"):
                words("Commissioning")
            self._title = box("oc-line oc-wrap")
            box("oc-grow")
            self._acts = box("oc-line oc-wrap")
        with box("oc-panel"):
            with box("oc-bulk"):
                self._text = ui.input(placeholder="Search", on_change=self._draw).props(
                    "outlined dense clearable"
                )
                states = {"": "All items", "open": "Not verified", "failed": "Failed", "write": "Writes"}
                self._state = ui.select(states, value="", label="Show", on_change=self._draw).props(
                    "outlined dense"
                )
                self._count = words("", "oc-muted")
            self._work = Work("Progress of the verification")
            self._signed = words("", "oc-told")
            self._rows = Rows(box(""), lambda item: item["id"], self._item)
            self._more = words("", "oc-told")

    async def refresh(self) -> None:
        """Show what has changed."""
        self.session = await self.frame.session.get(self.path, site=self._site)
        found = await self.frame.session.all(f"{self.path}/items", most=MOST, site=self._site)
        self.items = {each["id"]: each for each in found}
        self._draw()

    def _draw(self) -> None:
        if not self.session:
            return
        self._draw_head()
        wanted = [each for each in self.items.values() if self._fits(each)]
        shown = wanted[:ROWS]
        told = f"{len(wanted)} of {plural(len(self.items), 'item')}" if len(wanted) < len(self.items) else ""
        set_text(self._count, told)
        self._rows.show(shown, lambda item: (item["id"] in self._under_way, self._open()))
        rest = len(wanted) - len(shown)
        set_text(self._more, f"and {rest} more: search for them" if rest else "")
        self._more.set_visibility(bool(rest))

    def _fits(self, item: dict[str, Any]) -> bool:
        chosen, text = self._state.value, (self._text.value or "").lower()
        if chosen == "open" and item["state"] == "verified":
            return False
        if (chosen == "failed" and item["state"] != "failed") or (
            chosen == "write" and item["kind"] != "write"
        ):
            return False
        return text in f"{item['kind']} {item['dis']} {item['node_id']}".lower()

    def _open(self) -> bool:
        return self._may and self.session["state"] in {"in_progress", "completed"}

    def _draw_head(self) -> None:
        session = self.session
        if self._head == session:
            return
        self._head = session
        self._title.clear()
        with self._title:
            heading(session["name"])
            badge(session["state"])
            words(_progress(session["progress"]), "oc-muted")
        signed = session["signed_off_by"]
        self._signed.set_visibility(bool(signed))
        if signed:
            at = clock_time(session["signed_off_at"], self.frame.session.zone)
            set_text(self._signed, f"Signed off by {signed}, {at}: {session['sign_off_note']}")
        self._acts.clear()
        if self._may:
            with self._acts:
                self._draw_acts(session)

    def _draw_acts(self, session: dict[str, Any]) -> None:
        step = session["state"]
        if step == "in_progress":
            verify = ui.button("Verify all but writes", color=None, on_click=lambda: self.verify_all(CHECKS))
            verify.classes("oc-act")
            if session["progress"]["not_started"]:
                ui.button(
                    "Defer the rest", color=None, on_click=lambda: defer(self._rest(), self.result_of)
                ).classes("oc-act")
        if step in NEXT:
            verb, name = NEXT[step]
            left = session["progress"]["not_started"] if step == "in_progress" else 0
            act = ui.button(name, color=None, on_click=lambda: self.send(f"{self.path}/{verb}"))
            act.classes("oc-main-act").set_enabled(not left)
            if left:
                with act:
                    ui.tooltip(f"{plural(left, 'item')} without a result")
        elif step == "completed":
            failed = session["progress"]["failed"]
            ui.button(
                "Sign off", color=None, on_click=lambda: sign_off(self.path, failed, self.send)
            ).classes("oc-main-act")

    def _rest(self) -> list[dict[str, Any]]:
        return [each for each in self.items.values() if each["state"] == "not_started"]

    def _item(self, item: dict[str, Any]) -> None:
        point = self.frame.model.points.get(self.frame.model.key(item["node_id"], item["site"]))
        busy = item["id"] in self._under_way
        badge(item["state"])
        with box("acts side oc-line"):
            if busy:
                words("Verifying …", "oc-muted")
            elif self._open() and item["state"] != "verified":
                word = "Test write" if item["kind"] == "write" else "Verify"
                ui.button(word, color=None, on_click=lambda: self.ask(item, point)).classes("oc-act")
                hand = f"Result of {item['kind']} {item['dis']} by hand"
                icon_button("edit_note", hand, lambda: by_hand(item, self.result_of))
            if item["attempts"]:
                told = f"What was done to verify {item['kind']} {item['dis']}"
                icon_button("history", told, lambda: show_checks(self.frame, item))
        with box("wide"):
            with box("name"):
                words(f"{item['kind'].capitalize()} {item['dis']}")
            words(item["node_id"], "oc-muted")
        with box("wide"):
            words(item["note"] or (shown_value(point, point["value"]) if point else ""))
        by = item["result_by"]
        words(f"{by}, {ago(item['result_at'], now_ms() // 60_000 * 60_000)}" if by else "", "oc-muted wide")

    async def send(self, what: str, body: dict[str, Any] | None = None) -> bool:
        """Ask the API for a step; a refusal is shown."""
        try:
            await self.frame.session.post(f"{what}{self.query}", body, PATIENCE)
        except ApiError as error:
            ui.notify(str(error), type="negative")
            return False
        finally:
            await self.frame.refresh()
        return True

    async def ask(self, item: dict[str, Any], point: dict[str, Any] | None) -> None:
        """Verify an item; for one that moves equipment, ask first with what."""
        if item["kind"] == "write":
            write(item, point, lambda body: self.verify(item["id"], body))
        else:
            await self.verify(item["id"])

    async def verify(self, item_id: int, body: dict[str, Any] | None = None) -> bool:
        """Verify an item, unless that is under way."""
        if item_id in self._under_way:
            return True
        self._under_way.add(item_id)
        self._draw()
        try:
            return await self.send(f"/api/commissioning/items/{item_id}/verify", body)
        finally:
            self._under_way.discard(item_id)
            self._draw()

    async def verify_all(self, kinds: Collection[str]) -> None:
        """Verify what can be without moving anything; others can be clicked meanwhile."""
        wanted = [
            each["id"]
            for each in self.items.values()
            if each["kind"] in kinds and each["state"] != "verified"
        ]

        async def step(item_id: int) -> bool:
            item = self.items.get(item_id)
            if item is not None and item["state"] != "verified":
                await self.verify(item_id)
            return self._open()

        await self._work.run("Verifying", wanted, step)

    async def result_of(self, item: dict[str, Any], state: str, note: str) -> bool:
        """Note a result that a person has found."""
        try:
            path = f"/api/commissioning/items/{item['id']}{self.query}"
            await self.frame.session.put(path, {"state": state, "note": note or None})
        except ApiError as error:
            ui.notify(str(error), type="negative")
            return False
        await self.frame.refresh()
        return True
