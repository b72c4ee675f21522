"""What stands around every view: header, menu with the site tree, connection banner, the 2-second round."""

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, unquote

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse
from nicegui import ui

from api.web.model import Model
from api.web.parts import NODE_ICONS, anchor, box, equipment_link, icon_button, set_state, set_text, words
from api.web.session import THEME_COOKIE, TOKEN_COOKIE, ZONE_COOKIE, ApiError, Session, names_of
from api.web.watch import ModelWatch

log = logging.getLogger(__name__)

ROUND = 2.0
"""Seconds between two rounds of fresh values."""
MODEL_ROUNDS = 30
"""Rounds between two readings of the model, of which nothing was heard to have changed."""
SETTLED = 3
"""Rounds after a change of the model in which it is read once more."""

NAV = (
    ("/", "Overview", "dashboard"),
    ("/alarms", "Alarms", "notifications"),
    ("/trends", "Trends", "show_chart"),
    ("/discovery", "Discovery", "travel_explore"),
    ("/commissioning", "Commissioning", "fact_check"),
    ("/health", "System health", "monitor_heart"),
)

Refresh = Callable[[], Awaitable[None]]


class Frame:
    """One browser tab: its session, the model, and the frame around the view."""

    def __init__(self, session: Session, campus: str, assets: str, watch: ModelWatch, *, dark: bool) -> None:
        """Hold what a tab needs; `draw` shows it."""
        self._watch, self._version = watch, watch.version()
        self._looks: set[int] = set()
        """Rounds in which the model is read again."""
        self.session, self.campus, self.assets, self.dark = session, campus, assets, dark
        self.model = Model()
        self.refreshers: list[Refresh] = []
        self.redraw: Refresh | None = None
        """Shows the view anew, where it is made of the model; only called when that has changed."""
        self._roots: list[dict[str, Any]] | None = None
        self._rounds = 0
        self._busy = False

    def draw(self, here: str) -> ui.element:
        """Show the frame; give the element in which the view goes."""
        ui.add_head_html(f'<link rel="stylesheet" href="{self.assets}/page.css">')
        ui.add_head_html(f'<link rel="icon" href="{self.assets}/logo.svg" type="image/svg+xml">')
        ui.add_head_html(f'<script src="{self.assets}/page.js"></script>')
        mode = ui.dark_mode(value=self.dark)
        with box("oc-shell"):
            with box("oc-top", "header"):
                icon_button("menu", "Open the menu", lambda: ui.run_javascript("oc.menu(true)"), "oc-menu")
                with box("oc-brand"):
                    logo = box("", "img")
                    logo.props["src"], logo.props["alt"] = f"{self.assets}/logo.svg", ""
                    words(self.campus, "oc-clip")
                box("oc-grow")
                with anchor("/alarms", "oc-bell") as self._ring:
                    ui.icon("notifications")
                    self._bell = words("…")
                self._ring.props["aria-label"] = "Alarms"

                def turn() -> None:
                    mode.toggle()
                    ui.run_javascript(f"oc.theme({str(bool(mode.value)).lower()})")

                icon_button("contrast", "Light or dark", turn)
                words(str(self.session.user.get("username", "")), "oc-user-name oc-hide-small")
                with anchor("/logout", "oc-line"):
                    ui.icon("logout")
                    ui.tooltip("Sign out")
            scrim = box("oc-scrim")
            scrim.on("click", js_handler="() => oc.menu(false)")
            with box("oc-side", "nav"):
                with box("oc-nav"):
                    for path, name, icon in NAV:
                        with anchor(path, "on" if path == here else ""):
                            ui.icon(icon)
                            words(name)
                self._branches = box("oc-tree")
                self._tree()
            with box("oc-main", "main") as main, box("oc-away oc-hidden") as self._away:
                ui.icon("cloud_off")
                self._why = words("")
        ui.timer(ROUND, self._round)
        return main

    def _tree(self) -> None:
        def branch(node_id: str) -> dict[str, Any]:
            node = self.model.nodes[node_id]
            below = [branch(each) for each in self.model.children.get(node_id, [])]
            icon = NODE_ICONS.get(str(node["node_type"]), "help")
            away = node["node_type"] == "Site" and node["site"] in self.model.away
            label = self.model.name(node_id) + (" (away)" if away else "")
            return {"id": node_id, "label": label, "icon": icon, "children": below}

        roots = [branch(each) for each in self.model.roots]
        if roots == self._roots:
            return
        self._roots = roots
        self._branches.clear()
        with self._branches:
            tree = ui.tree(roots, on_select=lambda event: self._go(event.value))
            tree.expand()

    def _go(self, node_id: str | None) -> None:
        if node_id:
            ui.navigate.to(equipment_link(node_id))

    async def refresh(self) -> None:
        """Bring the view and the bell up to date."""
        away: list[str] = []
        try:
            await self._follow_model()
            for each in self.refreshers:
                await each()
            summary = await self.session.get("/api/alarms/summary")
            waiting, active = int(summary["unacknowledged"]), int(summary["active"])
            told = f"{waiting} new" if waiting else f"{active} active" if active else "No alarms"
            set_text(self._bell, told)
            set_state(self._ring, ("ringing", "seen"), "ringing" if waiting else "seen" if active else None)
            away = summary["unreachable_sites"]
        except ApiError as error:
            log.info("a round of the page failed: %s", error)
        why = self.session.away or (
            f"{names_of([*map(self._site, away)])} can't be reached" if away else None
        )
        set_text(self._why, f"{why}. What you see may be old." if why else "")
        self._away.classes(remove="oc-hidden") if why else self._away.classes(add="oc-hidden")

    async def _follow_model(self) -> None:
        """Read the model when it has changed, and now and then."""
        if (version := self._watch.version()) != self._version:
            self._version = version
            # Once more a little later: points come when the bridge has seen their nodes.
            self._looks |= {self._rounds, self._rounds + SETTLED}
        if self._rounds in self._looks or (self._rounds and self._rounds % MODEL_ROUNDS == 0):
            await self.reload()
        self._looks = {each for each in self._looks if each > self._rounds}
        self._rounds += 1

    async def reload(self) -> None:
        """Read the model now, and draw again what is made of it and has changed. Raises ApiError."""
        before = self.model.shape()
        await self.model.load(self.session)
        self._tree()
        if self.redraw is not None and self.model.shape() != before:
            await self.redraw()

    def _site(self, site_id: str) -> str:
        return str(self.model.sites.get(site_id, {}).get("name", site_id))

    async def _round(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            await self.refresh()
        finally:
            self._busy = False


async def enter(app: FastAPI, request: Request, assets: str, watch: ModelWatch) -> Frame | RedirectResponse:
    """Let a person with a valid token in; send all others to the login page, and back here afterwards."""
    token = request.cookies.get(TOKEN_COOKIE)
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = f"/login?next={quote(path, safe='')}"
    if not token:
        return RedirectResponse(target, status_code=303)
    session = Session(app, token, unquote(request.cookies.get(ZONE_COOKIE) or "") or None)
    dark = request.cookies.get(THEME_COOKIE) == "dark"
    frame = Frame(session, app.state.campus.name, assets, watch, dark=dark)
    try:
        session.user = await session.get("/api/auth/me")
        await frame.model.load(session)
    except ApiError as error:
        if error.status == 401:
            await session.close()
            return RedirectResponse(f"{target}&expired=1", status_code=303)
        log.warning("the page has no model: %s", error)
    client = ui.context.client

    def expired() -> None:
        client.run_javascript(f"location.assign({json.dumps(f'{target}&expired=1')})")

    session.on_expired = expired
    client.on_delete(session.close)
    return frame
