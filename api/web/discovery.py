"""Discovery: scan networks, see what was found, look at what a device would become, accept or ignore it."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui

from actors.core.clock import now_ms
from api.web.frame import Frame
from api.web.parts import anchor, badge, box, empty, equipment_link, heading, section, set_text, words
from api.web.session import ApiError
from api.web.words import ago, plural, shown_value

PATIENCE: Final = 130.0
"""Seconds for a device with thousands of points."""
MOST: Final = 500
"""Devices and points that the page shows at once."""

Act = Callable[[str, dict[str, Any] | None], Awaitable[bool]]


async def discovery(frame: Frame, request: Request) -> None:
    """Show the list of devices, or one of them."""
    device_id, site = request.query_params.get("id", ""), request.query_params.get("site")
    if device_id.isdecimal():
        await _device(frame, int(device_id), site)
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
        box("oc-grow")
        every = ui.button("Accept all new", color=None).classes("oc-act")
        every.set_visibility(False)
    with box("oc-stack"):
        scans = box("oc-panel")
        listed = box("oc-panel")
    with scans:
        with box("oc-panel-head"):
            section("Scan")
        with box("oc-scan"):
            await _ask(frame, act)
        running = box("")
    shown: dict[str, Any] = {}

    every.on_click(lambda: _accept_all(frame, shown["devices"]))

    async def refresh() -> None:
        newest = await _newest(frame)
        if shown.get("scans") != newest:
            shown["scans"] = newest
            running.clear()
            with running:
                for scan in newest:
                    _scan(scan, may, act)
        found = await frame.session.all("/api/discovery/devices", most=MOST)
        if shown.get("devices") == found:
            return
        shown["devices"] = found
        every.set_visibility(may and any(each["state"] == "discovered" for each in found))
        listed.clear()
        with listed:
            if not found:
                empty(
                    "travel_explore", "No device was found yet", "Scan a network. Nothing is scanned unasked."
                )
            for device in sorted(found, key=lambda each: each["state"] != "discovered"):
                _row(device, may, act)

    frame.refreshers.append(refresh)


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


async def _accept_all(frame: Frame, devices: list[dict[str, Any]]) -> None:
    """Accept what is new and alone with its key, as it is proposed, and say what came of it."""
    fresh = [each for each in devices if each["state"] == "discovered" and not each["conflict"]]
    for site in sorted({each["site"] for each in fresh}):
        wanted = [{"id": each["id"]} for each in fresh if each["site"] == site]
        # A few at a time: each is whole by itself, and none waits too long for its answer.
        for start in range(0, len(wanted), 10):
            try:
                path = "/api/discovery/accept?" + urlencode({"site": site})
                answer = await frame.session.post(path, {"devices": wanted[start : start + 10]}, PATIENCE)
            except ApiError as error:
                ui.notify(str(error), type="negative")
                break
            for why in answer["refused"].values():
                ui.notify(why, type="warning")
            await frame.refresh()
    ui.notify("Done")


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


def _row(device: dict[str, Any], may: bool, act: Act) -> None:
    query = urlencode({"site": device["site"]})
    with box("oc-found"):
        badge("conflict" if device["conflict"] else device["state"])
        with box("acts side oc-line"):
            _acts(device, query, may, act)
        with box("wide"):
            with anchor(f"/discovery?id={device['id']}&{query}"), box("name"):
                words(device["name"] or f"Device {device['device_key']}")
            words(
                f"{device['protocol']} {device['device_key']} at {device['address']}, {device['network_id']}",
                "oc-muted",
            )
        with box("wide"):
            words(" ".join(each for each in (device["vendor"], device["model"]) if each) or "maker not told")
            words(plural(device["point_count"], "point"), "oc-muted")
        words(f"seen {ago(device['last_seen'], now_ms() // 60_000 * 60_000)}", "oc-muted wide")


def _acts(device: dict[str, Any], query: str, may: bool, act: Act) -> None:
    if not may or device["accepting_by"]:
        return
    for state, verb, name in (("discovered", "ignore", "Ignore"), ("ignored", "restore", "Bring back")):
        if device["state"] == state:
            path = f"{device['id']}/{verb}?{query}"
            ui.button(name, color=None, on_click=lambda path=path: act(path, None)).classes("oc-act")


async def _device(frame: Frame, device_id: int, site: str | None) -> None:
    query = urlencode({"site": site}) if site else ""
    act = _acting(frame)
    try:
        device = await frame.session.get(f"/api/discovery/{device_id}", site=site)
        proposal = await frame.session.get(f"/api/discovery/{device_id}/proposal", site=site)
    except ApiError as error:
        empty("search_off", str(error))
        return
    accepted = device["state"] == "accepted"
    with box("oc-head"):
        with box("oc-crumbs"), anchor("/discovery"):
            words("Discovery")
        heading(device["name"] or f"Device {device['device_key']}")
        badge(device["state"])
    chosen = {each["point_key"]: each["chosen"] for each in proposal["points"]}
    with box("oc-stack"):
        with box("oc-panel"):
            with box("oc-panel-head"):
                section("Device")
            with box("oc-parts"):
                for name in (
                    "address",
                    "network_id",
                    "vendor",
                    "model",
                    "firmware",
                    "location",
                    "description",
                ):
                    if device[name]:
                        with box("oc-part"):
                            words(name.removesuffix("_id").capitalize(), "oc-muted")
                            words(str(device[name]))
            for problem in [] if accepted else proposal["problems"]:
                words(problem, "oc-told bad")
        if accepted:
            with box("oc-panel oc-pad"), anchor(equipment_link(device["created_node_ids"][0])):
                words("It is in the model: open its equipment")
            return
        shown: dict[str, Any] = {}

        async def accept() -> None:
            body = {
                "name": shown["name"].value or None,
                "parent_id": shown["parent"].value,
                "points": [key for key, wanted in chosen.items() if wanted],
            }
            if await act(f"{device_id}/accept?{query}", body):
                ui.navigate.to(equipment_link(proposal["node_id"]))

        def told() -> None:
            set_text(shown["count"], f"{sum(chosen.values())} of {plural(len(chosen), 'point')}")

        _choices(frame, proposal, shown, accept)
        told()
        with box("oc-panel"):
            _points(proposal, chosen, told)


def _choices(
    frame: Frame, proposal: dict[str, Any], shown: dict[str, Any], accept: Callable[[], Awaitable[None]]
) -> None:
    """Offer name and place; keep the fields in `shown`."""
    with box("oc-panel"):
        with box("oc-panel-head"):
            section("What it becomes")
        with box("oc-scan"):
            shown["name"] = ui.input("Name", value=proposal["name"]).props("outlined dense")
            places = {
                key: frame.model.name(key)
                for key, each in frame.model.nodes.items()
                if each["node_type"] in {"Site", "Space", "Equip"}
            }
            places.setdefault(proposal["parent_id"], proposal["parent_id"])
            shown["parent"] = ui.select(
                places, value=proposal["parent_id"], label="Stands in", with_input=True
            ).props("outlined dense")
            shown["count"] = words("", "oc-muted")
            if frame.session.may("manage_discovery"):
                ui.button("Accept", color=None, on_click=accept).classes("oc-main-act")


def _points(proposal: dict[str, Any], chosen: dict[str, bool], told: Callable[[], None]) -> None:
    groups = {each["name"]: each["node_id"] for each in proposal["groups"]}
    with box("oc-panel-head"):
        section("Points")
        box("oc-grow")
        words(", ".join(groups) if groups else "no groups", "oc-muted oc-clip")
    for point in proposal["points"][:MOST]:
        with box("oc-found"):

            def choose(event: Any, key: str = point["point_key"]) -> None:
                chosen[key] = bool(event.value)
                told()

            ui.checkbox(point["group"] or "Device", value=point["chosen"], on_change=choose).set_enabled(
                not point["bound_to"]
            )
            words(shown_value(point, point["value"]), "side")
            with box("wide"):
                with box("name"):
                    words(point["name"])
                words(f"{point['object_name']} · {point['point_key']}", "oc-muted")
            with box("wide"):
                words(" ".join(each for each in point["tags"] if each != "point"), "oc-muted")
                for alarm in point["alarms"]:
                    words(f"alarm, {alarm}", "oc-muted")
            words(
                f"is {point['bound_to'][0]} already" if point["bound_to"] else point["error"], "oc-muted wide"
            )
    if len(proposal["points"]) > MOST:
        words(f"and {len(proposal['points']) - MOST} more, which are accepted too", "oc-told")
