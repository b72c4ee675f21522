"""Discovery: scan networks, see what was found, decide about many devices at once."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui

from actors.core.clock import now_ms
from api.web.found import found_device
from api.web.frame import Frame
from api.web.parts import anchor, badge, box, empty, heading, section, set_text, words
from api.web.progress import Work
from api.web.rows import Rows
from api.web.session import ApiError, query_of
from api.web.words import ago, plural

PATIENCE: Final = 130.0
"""Seconds for a device with thousands of points."""
MOST: Final = 5000
"""Devices that the page knows of."""
AT_ONCE: Final = 1000
"""Devices that one request may put aside."""
ROWS: Final = 100
"""Devices that are shown at once; a search finds the others."""
STATES: Final = {
    "": "All",
    "discovered": "New",
    "bound": "Bound already",
    "accepted": "In the model",
    "ignored": "Ignored",
}

Act = Callable[[str, dict[str, Any] | None], Awaitable[bool]]
Key = tuple[str, int]


async def discovery(frame: Frame, request: Request) -> None:
    """Show the list of devices, or one of them."""
    device_id, site = request.query_params.get("id", ""), request.query_params.get("site")
    if device_id.isdecimal():
        await found_device(frame, int(device_id), site)
    else:
        await _devices(frame)


def _acting(frame: Frame) -> Act:
    async def act(path: str, body: dict[str, Any] | None = None) -> bool:
        try:
            await frame.session.post(f"/api/discovery/{path}", body, PATIENCE)
        except ApiError as error:
            ui.notify(str(error), type="negative")
            return False
        await frame.refresh()
        return True

    return act


async def _devices(frame: Frame) -> None:
    may = frame.session.may("manage_discovery")
    act = _acting(frame)
    with box("oc-head"):
        heading("Discovery")
    with box("oc-stack"):
        with box("oc-panel"):
            with box("oc-panel-head"):
                section("Scan")
            with box("oc-scan"):
                await _ask(frame, act)
            running = Rows(
                box(""), lambda scan: (scan["site"], scan["id"]), lambda scan: _scan(scan, may, act), ""
            )
        found = _Found(frame, may, act)

    async def refresh() -> None:
        running.show(await _newest(frame), lambda scan: now_ms() // 60_000)
        await found.refresh()

    frame.refreshers.append(refresh)


class _Found:
    """The devices that were found: filtered, chosen, decided about."""

    def __init__(self, frame: Frame, may: bool, act: Act) -> None:
        self._frame, self._may, self._act = frame, may, act
        self._devices: dict[Key, dict[str, Any]] = {}
        self._chosen: set[Key] = set()
        with box("oc-panel"):
            with box("oc-bulk"):
                self._text = ui.input(placeholder="Search", on_change=self._draw).props(
                    "outlined dense clearable"
                )
                self._state = ui.select(STATES, value="", label="Show", on_change=self._draw).props(
                    "outlined dense"
                )
                self._count = words("", "oc-muted")
                box("oc-grow")
                self._all = ui.checkbox("Choose all", on_change=lambda event: self._choose_all(event.value))
                self._accept = ui.button("Accept", color=None, on_click=self.accept).classes("oc-main-act")
                self._ignore = ui.button("Ignore", color=None, on_click=self.ignore).classes("oc-act")
                for each in (self._all, self._accept, self._ignore):
                    each.set_visibility(may)
            self._work = Work("Progress of accepting")
            self._none = box("")
            with self._none:
                empty(
                    "travel_explore", "No device was found yet", "Scan a network. Nothing is scanned unasked."
                )
            self._rows = Rows(box(""), _key, self._row)
            self._more = words("", "oc-told")

    async def refresh(self) -> None:
        """Show what has changed."""
        found = await self._frame.session.all("/api/discovery/devices", most=MOST)
        # What is new comes first; the rest stays in the order in which it was found.
        found.sort(key=lambda each: each["state"] != "discovered")
        self._devices = {_key(each): each for each in found}
        self._chosen = {each for each in self._chosen if each in self._devices and _open(self._devices[each])}
        self._draw()

    def _wanted(self) -> list[dict[str, Any]]:
        state, text = self._state.value, (self._text.value or "").lower()
        return [
            each
            for each in self._devices.values()
            if (not state or each["state"] == state) and text in _searched(each)
        ]

    def _draw(self) -> None:
        wanted = self._wanted()
        shown = wanted[:ROWS]
        known = len(self._devices)
        self._none.set_visibility(not known)
        chosen = f", {len(self._chosen)} chosen" if self._chosen else ""
        told = (
            plural(known, "device") if len(wanted) == known else f"{len(wanted)} of {plural(known, 'device')}"
        )
        set_text(self._count, f"{told}{chosen}")
        for button in (self._accept, self._ignore):
            button.set_enabled(bool(self._chosen) and not self._work.going)
        self._rows.show(shown, lambda each: (_key(each) in self._chosen, now_ms() // 60_000))
        rest = len(wanted) - len(shown)
        set_text(self._more, f"and {rest} more: search for them; Choose all takes them too" if rest else "")
        self._more.set_visibility(bool(rest))

    def _choose_all(self, value: bool) -> None:
        mine = {_key(each) for each in self._wanted() if _open(each)}
        self._chosen = self._chosen | mine if value else self._chosen - mine
        self._draw()

    def _choose(self, key: Key, value: bool) -> None:
        (self._chosen.add if value else self._chosen.discard)(key)
        self._draw()

    def _row(self, device: dict[str, Any]) -> None:
        query = urlencode({"site": device["site"]})
        name = device["name"] or f"Device {device['device_key']}"
        with box("oc-line"):
            if self._may and _open(device):
                key = _key(device)
                tick = ui.checkbox(
                    value=key in self._chosen, on_change=lambda event: self._choose(key, event.value)
                )
                tick.props["aria-label"] = f"Choose {name}"
            # Once it is decided which of two is meant, that is what counts.
            undecided = device["state"] == "discovered"
            badge("conflict" if device["conflict"] and undecided else device["state"])
        with box("acts side oc-line"):
            _acts(device, query, self._may, self._act)
        with box("wide"):
            with anchor(f"/discovery?id={device['id']}&{query}"), box("name"):
                words(name)
            words(
                f"{device['protocol']} {device['device_key']} at {device['address']}, {device['network_id']}",
                "oc-muted",
            )
        with box("wide"):
            words(" ".join(each for each in (device["vendor"], device["model"]) if each) or "maker not told")
            words(plural(device["point_count"], "point"), "oc-muted")
        words(f"seen {ago(device['last_seen'], now_ms() // 60_000 * 60_000)}", "oc-muted wide")

    async def accept(self) -> None:
        """Accept what is chosen as it is proposed, one after the other, and say what came of it."""
        refused: list[str] = []
        accepted = 0
        # Others may forget a device meanwhile.
        names = {key: self._devices[key]["name"] or key[1] for key in self._devices}

        async def step(key: Key) -> bool:
            nonlocal accepted
            site, device_id = key
            try:
                path = f"/api/discovery/{device_id}/accept{query_of(site=site)}"
                await self._frame.session.post(path, {}, PATIENCE)
            except ApiError as error:
                refused.append(f"{names[key]}: {error}")
                if error.is_away:
                    return False
            else:
                accepted += 1
            self._chosen.discard(key)
            return True

        # In the order of the list, not in that of the set.
        await self._work.run("Accepting", [each for each in self._devices if each in self._chosen], step)
        self._all.set_value(False)
        await self._frame.refresh()
        with contextlib.suppress(ApiError):  # the next round reads the model again
            await self._frame.reload()
        self._tell(f"{plural(accepted, 'device')} accepted", refused)

    async def ignore(self) -> None:
        """Put what is chosen aside."""
        done, refused = 0, list[str]()
        parts = [
            (site, ids[at : at + AT_ONCE])
            for site in sorted({site for site, _ in self._chosen})
            for ids in [sorted(device_id for of, device_id in self._chosen if of == site)]
            for at in range(0, len(ids), AT_ONCE)
        ]
        for site, ids in parts:
            try:
                answer = await self._frame.session.post(
                    f"/api/discovery/ignore{query_of(site=site)}", {"ids": ids}, PATIENCE
                )
            except ApiError as error:
                ui.notify(str(error), type="negative")
                break
            done += len(answer["changed"])
            refused.extend(answer["refused"].values())
        self._chosen.clear()
        self._all.set_value(False)
        await self._frame.refresh()
        self._tell(f"{plural(done, 'device')} ignored", refused)

    def _tell(self, done: str, refused: list[str]) -> None:
        self._draw()
        if not refused:
            ui.notify(done)
            return
        more = f"; and {len(refused) - 3} more" if len(refused) > 3 else ""
        told = "; ".join(refused[:3])
        ui.notify(
            f"{done}, {len(refused)} refused: {told}{more}",
            type="warning",
            timeout=15_000,
            close_button="Close",
        )


def _key(device: dict[str, Any]) -> Key:
    return device["site"], device["id"]


def _open(device: dict[str, Any]) -> bool:
    """Tell whether it can be decided about together with others: of two with one key a person chooses."""
    return device["state"] == "discovered" and not device["conflict"] and not device["accepting_by"]


def _searched(device: dict[str, Any]) -> str:
    names = ("name", "device_key", "address", "vendor", "model", "network_id", "location", "description")
    return " ".join(str(device[name]) for name in names).lower()


async def _ask(frame: Frame, act: Act) -> None:
    """Offer the networks that can be scanned."""
    if not frame.session.may("manage_discovery"):
        words("Your role may look, not scan.", "oc-muted")
        return
    try:
        networks = await frame.session.all("/api/discovery/networks")
    except ApiError as error:
        words(str(error), "oc-muted")
        return
    if not networks:
        words("There is no network to scan.", "oc-muted")
        return
    choice = _networks(networks)

    async def begin() -> None:
        site, protocol, network = choice.value
        body = {"protocol": protocol, "networks": [network] if network else []}
        await act("scan?" + urlencode({"site": site}), body)

    ui.button("Scan", color=None, on_click=begin).classes("oc-main-act")


def _networks(networks: list[dict[str, Any]]) -> ui.select:
    sites = {each["site"] for each in networks}
    options: dict[Any, str] = {}
    for site in sorted(sites):
        here = [each for each in networks if each["site"] == site]
        where = f"{site}: " if len(sites) > 1 else ""
        for protocol in sorted({each["protocol"] for each in here}):
            name = {"bacnet": "BACnet", "modbus": "Modbus"}.get(protocol, protocol)
            mine = [each["id"] for each in here if each["protocol"] == protocol]
            options[site, protocol, ""] = f"{where}all {name} networks"
            if len(mine) > 1:
                options |= {(site, protocol, each): f"{where}{name} {each}" for each in mine}
    return ui.select(options, value=next(iter(options)), label="Network").props("outlined dense")


async def _newest(frame: Frame) -> list[dict[str, Any]]:
    """Give the newest scan of each protocol and site."""
    status = await frame.session.get("/api/discovery/status")
    return [scan | {"site": site} for site, each in status.items() for scan in each["scans"]]


def _scan(scan: dict[str, Any], may: bool, act: Act) -> None:
    runs = scan["state"] == "running"
    found = f"{plural(scan['device_count'], 'device')}, {plural(scan['point_count'], 'point')}"
    told = f"{scan['protocol']} on {', '.join(scan['networks'])}: {found}"
    with box("oc-scan"):
        words(
            f"{told}, {scan['state']}"
            if runs
            else f"{told}, {scan['state']} {ago(scan['finished_at'], now_ms())}"
        )
        if runs:
            bar = ui.linear_progress(scan["progress"], show_value=False).classes("bar")
            bar.props["aria-label"] = "Progress of the scan"
            if may:
                path = f"scans/{scan['id']}/cancel?" + urlencode({"site": scan["site"]})
                ui.button("Cancel", color=None, on_click=lambda: act(path, None)).classes("oc-act")
    if scan["error"]:
        words(scan["error"], "oc-told bad")


def _acts(device: dict[str, Any], query: str, may: bool, act: Act) -> None:
    if not may or device["accepting_by"]:
        return
    for state, verb, name in (
        ("discovered", "ignore", "Ignore"),
        ("bound", "ignore", "Ignore"),
        ("ignored", "restore", "Bring back"),
    ):
        if device["state"] == state:
            path = f"{device['id']}/{verb}?{query}"
            ui.button(name, color=None, on_click=lambda path=path: act(path, None)).classes("oc-act")
