"""One device that was found: what it is, what it becomes, and what a person wants otherwise."""

import contextlib
from typing import Any, Final

from nicegui import ui

from api.web.frame import Frame
from api.web.parts import (
    anchor,
    badge,
    box,
    empty,
    equipment_link,
    heading,
    icon_button,
    section,
    set_text,
    words,
)
from api.web.rows import Rows
from api.web.session import ApiError, id_of, query_of
from api.web.units import SYMBOLS
from api.web.words import plural, shown_value

PATIENCE: Final = 130.0
"""Seconds for a device with thousands of points."""
ROWS: Final = 100
"""Points that are shown at once; a search finds the others."""
TOLD: Final = ("address", "network_id", "vendor", "model", "firmware", "location", "description")

Item = dict[str, Any]


async def found_device(frame: Frame, device_id: int, site: str | None) -> None:
    """Show a device, and what accepting it would make."""
    try:
        device = await frame.session.get(f"/api/discovery/{device_id}", site=site)
    except ApiError as error:
        empty("search_off", str(error))
        return
    accepted = device["state"] == "accepted"
    with box("oc-head"):
        with box("oc-crumbs"), anchor("/discovery"):
            words("Discovery")
        heading(device["name"] or f"Device {device['device_key']}")
        badge(device["state"])
    with box("oc-stack"):
        with box("oc-panel"):
            with box("oc-panel-head"):
                section("Device")
            with box("oc-parts"):
                for name in TOLD:
                    if device[name]:
                        with box("oc-part"):
                            words(name.removesuffix("_id").capitalize(), "oc-muted")
                            words(str(device[name]))
            problems = box("")
        place = site or next(iter(frame.model.sites), "")
        stands = device["created_node_ids"][0] if accepted else device["bound_to"]
        if stands and device["state"] in {"accepted", "bound"}:
            with box("oc-panel oc-pad"), anchor(equipment_link(frame.model.key(stands, place))):
                words("It is in the model: open its equipment")
        if accepted:
            return
        await _Becoming(frame, device, site, problems).begin()


class _Becoming:
    """What a device becomes, with what a person wants otherwise; the engine works out each change anew."""

    def __init__(self, frame: Frame, device: Item, site: str | None, problems: ui.element) -> None:
        self._frame, self._device, self._site, self._problems = frame, device, site, problems
        self._path, self._query = f"/api/discovery/{device['id']}", query_of(site=site)
        self._may = frame.session.may("manage_discovery")
        self._changes: dict[str, Item] = {}
        """By point key, what is wanted otherwise."""
        self._left_out: set[str] = set()
        self._proposal: Item = {}

    async def begin(self) -> None:
        """Ask for the proposal, and show it."""
        try:
            self._proposal = await self._frame.session.get(f"{self._path}/proposal", site=self._site)
        except ApiError as error:
            empty("search_off", str(error))
            return
        await self._choices()
        with box("oc-panel"):
            with box("oc-bulk"):
                section("Points")
                self._text = ui.input(placeholder="Search", on_change=self._draw).props(
                    "outlined dense clearable"
                )
                every = ui.checkbox("All", value=True, on_change=lambda event: self._choose_all(event.value))
                every.set_visibility(self._may)
                self._count = words("", "oc-muted")
            self._listed = box("oc-parts")
            self._groups = Rows(self._listed, lambda group: group["node_id"], self._group, "oc-part")
            self._rows = Rows(box(""), lambda point: point["point_key"], self._point)
            self._more = words("", "oc-told")
        self._draw()

    async def _choices(self) -> None:
        """Offer name, place, profile and what to make."""
        model = self._frame.model
        places = {
            key: f"{model.name(key)}"
            for key, each in model.nodes.items()
            if each["node_type"] in {"Site", "Space", "Equip"} and self._site in {None, each["site"]}
        }
        own = model.key(self._proposal["parent_id"], self._site or next(iter(model.sites), ""))
        places.setdefault(own, self._proposal["parent_id"])
        with box("oc-panel"):
            with box("oc-panel-head"):
                section("What it becomes")
            with box("oc-scan"):
                self._name = ui.input("Name", value=self._proposal["name"]).props("outlined dense")
                self._parent = ui.select(places, value=own, label="Stands in", with_input=True).props(
                    "outlined dense"
                )
                self._profile = ui.select(
                    await self._profiles(),
                    value="",
                    label="Profile",
                    with_input=True,
                    on_change=self._other_profile,
                ).props("outlined dense")
                self._grouping = ui.checkbox("Groups", value=True, on_change=self._again)
                self._history = ui.checkbox("History", value=True, on_change=self._again)
                self._alarms = ui.checkbox("Alarms", value=True, on_change=self._again)
                for field in (self._profile, self._grouping, self._history, self._alarms):
                    field.set_enabled(self._may)
                if self._may:
                    ui.button("Accept", color=None, on_click=self.accept).classes("oc-main-act")

    async def _profiles(self) -> dict[str, str]:
        fits = self._device["profile"]
        offered = {"": f"{fits} (found to fit)" if fits else "none"}
        try:
            found = await self._frame.session.all(
                f"/api/discovery/profiles?protocol={self._device['protocol']}"
            )
        except ApiError as error:
            ui.notify(str(error), type="warning")
            return offered
        return offered | {each["profile"]: f"{each['dis']} ({each['points']} points)" for each in found}

    def _request(self) -> Item:
        """Give what the engine is asked."""
        points = [each["point_key"] for each in self._proposal["points"] if self._chosen(each)]
        known = {each["point_key"] for each in self._proposal["points"]}
        return {
            "name": self._name.value or None,
            "parent_id": id_of(self._parent.value) if self._parent.value else None,
            "points": points,
            "changes": [{"point_key": key} | each for key, each in self._changes.items() if key in known],
            "profile": self._profile.value or None,
            "grouping": self._grouping.value,
            "history": self._history.value,
            "alarms": self._alarms.value,
        }

    async def _other_profile(self) -> None:
        # Its points are others, and so would be what is wanted otherwise of them.
        self._changes.clear()
        self._left_out.clear()
        await self._again()

    async def _again(self) -> bool:
        """Have it worked out anew; a refusal is shown and changes nothing."""
        # Another profile may have other points: which are wanted is said by those that are left out.
        asked = {key: value for key, value in self._request().items() if key != "points"}
        try:
            self._proposal = await self._frame.session.post(
                f"{self._path}/proposal{self._query}", asked, PATIENCE
            )
        except ApiError as error:
            ui.notify(str(error), type="negative")
            return False
        self._draw()
        return True

    def _chosen(self, point: Item) -> bool:
        return not point["bound_to"] and point["point_key"] not in self._left_out

    def _draw(self) -> None:
        points = self._proposal["points"]
        text = (self._text.value or "").lower()
        wanted = [
            each
            for each in points
            if text in f"{each['name']} {each['object_name']} {each['point_key']} {each['group']}".lower()
        ]
        set_text(self._count, f"{sum(map(self._chosen, points))} of {plural(len(points), 'point')} chosen")
        self._listed.set_visibility(bool(self._proposal["groups"]))
        self._groups.show(self._proposal["groups"])
        self._rows.show(wanted[:ROWS], self._chosen)
        rest = len(wanted) - ROWS
        set_text(self._more, f"and {rest} more: search for them" if rest > 0 else "")
        self._more.set_visibility(rest > 0)
        self._problems.clear()
        with self._problems:
            for problem in self._proposal["problems"]:
                words(problem, "oc-told bad")

    def _group(self, group: Item) -> None:
        with box("oc-grow"):
            words(group["name"], "name")
            words(plural(group["points"], "point"), "oc-muted")
        if self._may:
            icon_button("edit", f"Rename {group['name']}", lambda: self._rename(group["name"]))

    def _point(self, point: Item) -> None:
        key = point["point_key"]
        tick = ui.checkbox(
            point["group"] or "Device",
            value=self._chosen(point),
            on_change=lambda event: self._choose([key], event.value),
        )
        tick.props["aria-label"] = f"Make {point['name']}"
        tick.set_enabled(self._may and not point["bound_to"])
        with box("side oc-line acts"):
            words(shown_value(point, point["value"]))
            if self._may:
                icon_button("edit", f"Change {point['name']}", lambda: self._change(point))
        with box("wide"):
            with box("name"):
                words(point["name"])
            words(f"{point['object_name']} · {key}", "oc-muted")
        with box("wide"):
            words(" ".join(each for each in point["tags"] if each != "point"), "oc-muted")
            for alarm in point["alarms"]:
                words(f"alarm, {alarm}", "oc-muted")
        told = "" if point["history"] else "no history"
        words(
            f"is {point['bound_to'][0]} already" if point["bound_to"] else point["error"] or told,
            "oc-muted wide",
        )

    def _choose(self, keys: list[str], value: bool) -> None:
        (self._left_out.difference_update if value else self._left_out.update)(keys)
        self._draw()

    def _choose_all(self, value: bool) -> None:
        text = (self._text.value or "").lower()
        self._choose(
            [
                each["point_key"]
                for each in self._proposal["points"]
                if text in f"{each['name']} {each['object_name']} {each['point_key']} {each['group']}".lower()
            ],
            value,
        )

    def _rename(self, group: str) -> None:
        with ui.dialog() as dialog, ui.card().classes("oc-dialog small"):
            with box("oc-dialog-head"):
                words(f"Rename {group}", "oc-title")
            with box("oc-dialog-body oc-fields"):
                name = ui.input("Name", value=group).props("outlined maxlength=100")
                words("Empty: its points stand under the device itself.", "oc-muted")

            async def done() -> None:
                dialog.close()
                before = dict(self._changes)
                for each in self._proposal["points"]:
                    if each["group"] == group:
                        key = each["point_key"]
                        self._changes[key] = self._changes.get(key, {}) | {
                            "group": (name.value or "").strip()
                        }
                if not await self._again():
                    self._changes = before

            with box("oc-dialog-foot"):
                ui.button("Rename", color=None, on_click=done).classes("oc-main-act")
                ui.button("Close", color=None, on_click=dialog.close).classes("oc-act")
        dialog.open()

    def _change(self, point: Item) -> None:
        key = point["point_key"]
        units = {"": "none"} | {each: f"{each} ({sign})" if sign else each for each, sign in SYMBOLS.items()}
        units.setdefault(point["units"] or "", str(point["units"]))
        with ui.dialog() as dialog, ui.card().classes("oc-dialog small"):
            with box("oc-dialog-head"):
                words(f"{point['object_name']} · {key}", "oc-title")
            with box("oc-dialog-body oc-fields"):
                name = ui.input("Name", value=point["name"]).props("outlined maxlength=200")
                group = ui.input("Group", value=point["group"], placeholder="the device itself").props(
                    "outlined maxlength=100"
                )
                unit = ui.select(units, value=point["units"] or "", label="Unit", with_input=True).props(
                    "outlined"
                )
                tags = ui.input("Tags", value=" ".join(point["tags"])).props("outlined")
                history = ui.checkbox("History", value=point["history"])
                writable = ui.checkbox("Can be written", value=point["writable"])

            async def done() -> None:
                dialog.close()
                now = {
                    "name": (name.value or "").strip() or point["name"],
                    "group": (group.value or "").strip(),
                    "units": unit.value or "",
                    "tags": (tags.value or "").replace(",", " ").split(),
                    "history": bool(history.value),
                    "writable": bool(writable.value),
                }
                was = point | {"units": point["units"] or ""}
                changed = {each: value for each, value in now.items() if value != was[each]}
                before = self._changes.get(key)
                self._changes[key] = (before or {}) | changed
                if not await self._again():
                    self._changes[key] = before or {}

            with box("oc-dialog-foot"):
                ui.button("Change", color=None, on_click=done).classes("oc-main-act")
                ui.button("Close", color=None, on_click=dialog.close).classes("oc-act")
        dialog.open()

    async def accept(self) -> None:
        """Make it all, and show the equipment."""
        try:
            done = await self._frame.session.post(
                f"{self._path}/accept{self._query}", self._request(), PATIENCE
            )
        except ApiError as error:
            ui.notify(str(error), type="negative")
            return
        with contextlib.suppress(ApiError):  # it is made; the next view reads the model again
            await self._frame.reload()
        place = self._site or next(iter(self._frame.model.sites), "")
        ui.navigate.to(equipment_link(self._frame.model.key(done["created_node_ids"][0], place)))
