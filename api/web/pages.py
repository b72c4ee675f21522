"""The views: overview, equipment, system health; and where all views are."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from nicegui import ui

from actors.core.clock import now_ms
from api.findings import SKEW
from api.web.alarms import alarms
from api.web.bacnet import device, device_link
from api.web.command import open_command
from api.web.commissioning import commissioning
from api.web.discovery import discovery
from api.web.frame import Frame, enter
from api.web.model import Model
from api.web.parts import (
    anchor,
    badge,
    box,
    empty,
    equipment_link,
    heading,
    icon_button,
    section,
    set_state,
    set_text,
    trend_link,
    words,
)
from api.web.registers import registers
from api.web.session import ApiError, id_of, site_of
from api.web.trends import trends
from api.web.watch import ModelWatch
from api.web.words import FLAGS, GROUPS, ago, group_of, plural, shown_value, worst

FIGURES = (("points", "Points"), ("active", "Active alarms"), ("unacknowledged", "Not yet acknowledged"))
COMFORT = ("cold", "cool", "good", "warm", "hot", "off")

AWAY = ("Not known now", "This building can't be reached. Come back when it is there again.")
WELL = frozenset({"healthy", "online"})

View = Callable[[Frame, Request], Awaitable[None]]


def install(app: FastAPI, assets: str) -> None:
    """Add the views to the page."""
    watch = ModelWatch(app)
    views: tuple[tuple[str, View], ...] = (
        ("/", overview),
        ("/equipment", equipment),
        ("/trends", trends),
        ("/alarms", alarms),
        ("/discovery", discovery),
        ("/commissioning", commissioning),
        ("/health", health),
        ("/registers", registers),
        ("/device", device),
    )
    for path, view in views:
        _page(app, path, view, assets, watch)


def _page(app: FastAPI, path: str, view: View, assets: str, watch: ModelWatch) -> None:
    @ui.page(path, title="OpenCrate Campus", response_timeout=20)
    async def show(request: Request) -> Response | None:
        frame = await enter(app, request, assets, watch)
        if isinstance(frame, Response):
            return frame
        with frame.draw(path):
            content = box("")
        with content:
            await view(frame, request)

        async def redraw() -> None:
            frame.refreshers.clear()
            content.clear()
            with content:
                await view(frame, request)

        if view in OF_MODEL:
            frame.redraw = redraw
        await frame.refresh()
        return None


async def overview(frame: Frame, request: Request) -> None:
    """Show what matters at a glance: sites, alarms, zones."""
    with box("oc-head"):
        heading("Overview")
    with box("oc-stack"):
        figures = box("oc-figures")
        zones = box("oc-panel")
        listed = box("oc-panel")
    cards: dict[str, tuple[ui.element, ui.label, ui.label]] = {}
    numbers: dict[str, ui.label] = {}
    plates: dict[str, ui.element] = {}
    with figures:
        for key, what in FIGURES:
            with box("oc-figure") as plates[key]:
                words(what, "what")
                numbers[key] = words("–", "much")  # noqa: RUF001 - a dash as typographers set it
    units = [each for each in frame.model.nodes.values() if each["node_type"] == "Equip"]
    temps = [each for each in frame.model.points.values() if {"zone", "temp", "sensor"} <= set(each["tags"])]
    setpoints = {
        each["parent"]: each["id"]
        for each in frame.model.points.values()
        if {"zone", "temp", "sp"} <= set(each["tags"]) and each["writable"]
    }
    zones.set_visibility(bool(temps))
    with zones:
        with box("oc-panel-head"):
            section("Zones")
        with box("oc-pad oc-zones"):
            for point in temps:
                with anchor(equipment_link(str(point["parent"])), "oc-zone") as card:
                    words(frame.model.name(str(point["parent"])), "name")
                    cards[str(point["id"])] = card, words("", "temp"), words("", "say")
    with listed:
        with box("oc-panel-head"):
            section("Equipment")
        with box("oc-units"):
            for unit in units:
                with anchor(equipment_link(str(unit["id"])), "oc-unit"):
                    words(str(unit["dis"]), "name")
                    words(plural(len(frame.model.points_of(str(unit["id"]))), "point"), "oc-muted")

    async def refresh() -> None:
        summary = await frame.session.get("/api/alarms/summary")
        set_text(numbers["points"], str(len(frame.model.points)))
        set_text(numbers["active"], str(summary["active"]))
        set_text(numbers["unacknowledged"], str(summary["unacknowledged"]))
        set_state(plates["active"], ("bad", "ok"), "bad" if summary["active"] else "ok")
        set_state(plates["unacknowledged"], ("bad", "ok"), "bad" if summary["unacknowledged"] else "ok")
        await _fresh(frame, [*cards, *setpoints.values()])
        for point_id, (card, temp, say) in cards.items():
            point = frame.model.points[point_id]
            setpoint = frame.model.points.get(str(setpoints.get(point["parent"])), {})
            set_text(temp, shown_value(point, point["value"]))
            wanted = setpoint.get("value")
            set_text(say, "" if wanted is None else f"Setpoint {shown_value(setpoint, wanted)}")
            set_state(card, COMFORT, comfort(point, wanted))

    frame.refreshers.append(refresh)


def comfort(point: dict[str, Any], setpoint: Any) -> str | None:
    """Tell how a zone is, by its distance from the setpoint in degrees; none where it isn't known."""
    value = point["value"]
    if {"down", "fault", "stale", "disabled"} & set(point["status"]):
        return "off"
    if not isinstance(value, int | float) or not isinstance(setpoint, int | float):
        return None
    away = value - setpoint
    for limit, word in ((-2, "cold"), (-1, "cool"), (1, "good"), (2, "warm")):
        if away < limit or (away == limit and word == "good"):
            return word
    return "hot"


async def _fresh(frame: Frame, ids: list[str]) -> None:
    """Bring the model's values of these points up to date. Raises ApiError."""
    plain = list(dict.fromkeys(map(id_of, ids)))
    for start in range(0, len(plain), 200):
        part = ",".join(plain[start : start + 200])
        answer = await frame.session.get("/api/points", ids=part, limit=1000)
        frame.model.take(answer["items"])


async def equipment(frame: Frame, request: Request) -> None:
    """Show the points below a node with live values, and command them."""
    node_id = request.query_params.get("id", "")
    node = frame.model.nodes.get(node_id)
    if node is None and site_of(node_id) in frame.model.away:
        empty("cloud_off", *AWAY)
        return
    if node is None:
        empty("search_off", "There is no such equipment", "Choose one in the tree.")
        return
    with box("oc-head"):
        with box("oc-crumbs"):
            for step in frame.model.path(node_id)[:-1]:
                with anchor(equipment_link(str(step["id"]))):
                    words(str(step["dis"]))
        heading(str(node["dis"]))
        box("oc-grow")
        linked = box("oc-line")
    below = frame.model.below(node_id)
    points = [point for each in below for point in frame.model.points_of(each)][:400]
    rows: dict[str, tuple[ui.element, ui.label, ui.element]] = {}
    if not points:
        if node["site"] in frame.model.away:
            empty("cloud_off", *AWAY)
        else:
            empty("sensors_off", "No points here", "They appear when the device has answered.")
    with box("oc-groups"):
        for group in GROUPS:
            mine = [point for point in points if group_of(point) == group]
            if mine:
                with box("oc-panel oc-group"):
                    with box("oc-panel-head"):
                        section(group)
                    for point in mine:
                        rows[str(point["id"])] = _row(frame, point, below)

    asked = False

    async def refresh() -> None:
        nonlocal asked
        await _fresh(frame, list(rows))
        for point_id, (row, value, flags) in rows.items():
            point = frame.model.points[point_id]
            set_text(value, shown_value(point, point["value"]))
            set_state(row, tuple(FLAGS), worst(point["status"]))
            told = " ".join(point["status"])
            if flags.props.get("data-flags") != told:
                flags.props["data-flags"] = told
                flags.clear()
                with flags:
                    for flag in point["status"]:
                        badge(flag, tip=FLAGS[flag][2] if flag in FLAGS else None)
        # Last, as a bridge that is away keeps this waiting.
        if not asked:
            asked = True
            await _link_device(frame, node, linked)

    frame.refreshers.append(refresh)


async def _link_device(frame: Frame, node: dict[str, Any], within: ui.element) -> None:
    """Link the BACnet device that a piece of equipment is, or is a part of, if there is one."""
    try:
        told = await frame.session.all("/api/system/devices", site=node["site"])
    except ApiError:
        return  # the health view has the link, too
    key = device_of(node, told)
    if key is not None:
        with within, anchor(device_link(key, str(node["site"])), "oc-act"):
            words("Device: schedules, calendars, clock")


def device_of(node: dict[str, Any], devices: list[dict[str, Any]]) -> str | None:
    """Give the key of the BACnet device that equipment is or belongs to, of those that the bridges know."""
    known = {str(each["device_key"]) for each in devices if each["protocol"] == "bacnet"}
    own = (id_of(str(node["id"])), str((node.get("properties") or {}).get("device")))
    return next((each for each in own if each in known), None)


def _row(frame: Frame, point: dict[str, Any], below: list[str]) -> tuple[ui.element, ui.label, ui.element]:
    point_id = str(point["id"])
    with box("oc-point") as row:
        row.props["data-point"] = point_id
        with box("label"):
            name = str(point["dis"])
            words(name if len(below) == 1 else f"{frame.model.name(str(point['parent']))} {name}", "name")
            flags = box("badges")
        value = words("", "oc-value")
        with box("acts"):
            icon_button("show_chart", f"Trend of {name}", lambda: ui.navigate.to(trend_link([point_id])))
            if point["writable"]:
                icon_button(
                    "edit",
                    f"Command {name}",
                    lambda: open_command(frame, frame.model.points.get(point_id, point)),
                )
    return row, value, flags


async def health(frame: Frame, request: Request) -> None:
    """Show how every host, device and component is; hosts only where there are several."""
    with box("oc-head"):
        heading("System health")
        box("oc-grow")
        if frame.session.may("manage_discovery"):
            with anchor("/registers", "oc-act"):
                words("Modbus registers")
    with box("oc-stack"):
        hosts = box("oc-panel")
        devices = box("oc-panel")
        components = box("oc-panel")
    shown: dict[str, Any] = {}

    async def refresh() -> None:
        found = (await frame.session.get("/api/system/health"))["components"]
        told = (await frame.session.get("/api/system/devices"))["items"]
        machines = host_rows((await frame.session.get("/api/system/hosts"))["items"], now_ms())
        hosts.set_visibility(len(machines) > 1)
        if shown.get("hosts") != machines:
            shown["hosts"] = machines
            _list(hosts, "Hosts", machines)
        key = [(each["name"], each["state"], each["reasons"]) for each in found]
        if shown.get("components") != key:
            shown["components"] = key
            _list(components, "Components", [(c["name"], c["state"], "; ".join(c["reasons"])) for c in found])
        rows = [device_row(frame.model, each, now_ms()) for each in told]
        if shown.get("devices") != rows:
            shown["devices"] = rows
            links = {
                row[0]: device_link(each["device_key"], each["site"])
                for row, each in zip(rows, told, strict=True)
                if each["protocol"] == "bacnet"
            }
            _list(devices, "Devices", rows, links)

    frame.refreshers.append(refresh)


def device_row(model: Model, device: dict[str, Any], now: int) -> tuple[str, str, str]:
    """Give a device as (name, state, what is known of it); `now` in ms."""
    name = model.name(model.key(device["device_key"], device["site"]))
    site = f"{device['site']}: " if model.several else ""
    return f"{name} ({device['device_key']})", device["state"], site + device_words(device, now)


def device_words(device: dict[str, Any], now: int) -> str:
    """Say what is known of a device; `now` in ms."""
    online = device["state"] == "online"
    parts = [f"{device['protocol']} {device['address'] or ''}", plural(device["points"], "point")]
    parts.append("heard now" if online else f"heard {ago(device['last_seen'], now)}")
    if online and device["answer_ms"] is not None:
        parts.append(f"answers in {device['answer_ms']:.3g} ms")
    if device["errors"]:
        parts.append(plural(device["errors"], "error"))
    why = f": {device['last_error']}" if device["state"] == "down" else ""
    return ", ".join(parts) + why


def host_rows(hosts: list[dict[str, Any]], now: int) -> list[tuple[str, str, str]]:
    """Give the campus's machines as (name, state, what is known of it); `now` in ms."""
    rows = []
    for each in hosts:
        heard = "" if each["reachable"] else f", heard {ago(each['last_contact'], now)}"
        runs = ", ".join(each["sites"]) or each["role"]
        more = f"{runs} at {each['address'] or 'an unknown address'}, version {each['version'] or 'unknown'}"
        skew = each["clock_skew_s"] or 0.0
        if abs(skew) > SKEW:
            more += f", clock {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the head's"
        why = f": {each['reason']}" if each["reason"] else ""
        rows.append((each["name"], "online" if each["reachable"] else "down", f"{more}{heard}{why}"))
    return rows


def _list(
    panel: ui.element, title: str, rows: list[tuple[str, str, str]], links: dict[str, str] | None = None
) -> None:
    panel.clear()
    with panel:
        well = sum(state in WELL for _, state, _ in rows)
        with box("oc-panel-head"):
            section(title)
            box("oc-grow")
            words(f"{well} of {len(rows)} well", "oc-muted")
        with box("oc-parts"):
            # What is not well comes first; the rest stays in its order.
            for name, state, more in sorted(rows, key=lambda row: row[1] in WELL):
                with box("oc-part"):
                    badge(state)
                    with box("oc-grow"):
                        link = (links or {}).get(name)
                        with anchor(link) if link else box():
                            words(name, "name")
                        if more:
                            words(more, "oc-muted")


OF_MODEL = (overview, equipment)
"""Views that are made of the model and show nothing that a person is filling in."""
