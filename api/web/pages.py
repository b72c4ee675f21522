"""The views: overview, equipment, trends, alarms, system health."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from nicegui import ui

from actors.core.clock import from_iso, now_ms, to_iso
from api.web.command import open_command
from api.web.frame import Frame, enter
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
    trend_link,
    words,
)
from api.web.session import ApiError
from api.web.units import symbol
from api.web.words import GROUPS, ago, clock_time, group_of, plural, shown_value

COLOURS = ("#0a63b8", "#b84a06", "#16794a", "#6a3fb5", "#b81d24", "#8a6100")
FIGURES = (("points", "Points"), ("active", "Active alarms"), ("unacknowledged", "Not yet seen"))
RANGES = {1: "1 h", 6: "6 h", 24: "24 h", 168: "7 d"}

View = Callable[[Frame, Request], Awaitable[None]]


def install(app: FastAPI, assets: str) -> None:
    """Add the views to the page."""
    views: tuple[tuple[str, View], ...] = (
        ("/", overview),
        ("/equipment", equipment),
        ("/trends", trends),
        ("/alarms", alarms),
        ("/health", health),
    )
    for path, view in views:
        _page(app, path, view, assets)


def _page(app: FastAPI, path: str, view: View, assets: str) -> None:
    @ui.page(path, title="OpenCrate Campus", response_timeout=20)
    async def show(request: Request) -> Response | None:
        frame = await enter(app, request, assets)
        if isinstance(frame, Response):
            return frame
        with frame.draw(path):
            await view(frame, request)
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
    cards: dict[str, ui.label] = {}
    numbers: dict[str, ui.label] = {}
    with figures:
        for key, what in (
            ("points", "Points"),
            ("active", "Active alarms"),
            ("unacknowledged", "Not yet seen"),
        ):
            with box("oc-figure"):
                words(what, "what")
                numbers[key] = words("–", "much")  # noqa: RUF001 - a dash as typographers set it
    units = [each for each in frame.model.nodes.values() if each["node_type"] == "Equip"]
    temps = [each for each in frame.model.points.values() if {"zone", "temp", "sensor"} <= set(each["tags"])]
    with zones:
        with box("oc-panel-head"):
            section("Zones")
        with box("oc-pad oc-zones"):
            for point in temps:
                with anchor(equipment_link(str(point["parent"])), "oc-zone"):
                    words(frame.model.name(str(point["parent"])), "name")
                    cards[str(point["id"])] = words("", "temp")
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
        if cards:
            answer = await frame.session.get("/api/points", ids=",".join(cards), limit=1000)
            for point in answer["items"]:
                set_text(cards[point["id"]], shown_value(point, point["value"]))

    frame.refreshers.append(refresh)


async def equipment(frame: Frame, request: Request) -> None:
    """Show the points below a node with live values, and command them."""
    node_id = request.query_params.get("id", "")
    node = frame.model.nodes.get(node_id)
    if node is None:
        empty("search_off", "There is no such equipment", "Choose one in the tree.")
        return
    with box("oc-head"):
        with box("oc-crumbs"):
            for step in frame.model.path(node_id)[:-1]:
                with anchor(equipment_link(str(step["id"]))):
                    words(str(step["dis"]))
        heading(str(node["dis"]))
    below = frame.model.below(node_id)
    points = [point for each in below for point in frame.model.points_of(each)][:400]
    rows: dict[str, tuple[ui.label, ui.element]] = {}
    if not points:
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

    async def refresh() -> None:
        ids = list(rows)
        for start in range(0, len(ids), 200):
            part = ",".join(ids[start : start + 200])
            answer = await frame.session.get("/api/points", ids=part, limit=1000)
            frame.model.take(answer["items"])
            for point in answer["items"]:
                value, flags = rows[point["id"]]
                set_text(value, shown_value(point, point["value"]))
                told = " ".join(point["status"])
                if flags.props.get("data-flags") != told:
                    flags.props["data-flags"] = told
                    flags.clear()
                    with flags:
                        for flag in point["status"]:
                            badge(flag)

    frame.refreshers.append(refresh)


def _row(frame: Frame, point: dict[str, Any], below: list[str]) -> tuple[ui.label, ui.element]:
    point_id = str(point["id"])
    with box("oc-point") as row:
        row.props["data-point"] = point_id
        with box("label"):
            name = str(point["dis"])
            words(name if len(below) == 1 else f"{frame.model.name(str(point['parent']))} {name}", "name")
            flags = box("badges")
        box("oc-spark")
        value = words("", "oc-value")
        with box("acts"):
            icon_button("show_chart", f"Trend of {name}", lambda: ui.navigate.to(trend_link([point_id])))
            if point["writable"]:
                icon_button(
                    "edit",
                    f"Command {name}",
                    lambda: open_command(frame, frame.model.points.get(point_id, point)),
                )
    return value, flags


async def trends(frame: Frame, request: Request) -> None:
    """Show chosen points over time, with zoom."""
    chosen = [each for each in request.query_params.getlist("p") if each in frame.model.points][:6]
    hours = {"value": 1}
    with box("oc-head"):
        heading("Trends")
    options = {
        key: f"{frame.model.name(str(point['parent']))} · {point['dis']}"
        for key, point in sorted(frame.model.points.items())
    }
    with box("oc-panel oc-pad"):
        picked = ui.select(options, value=chosen, multiple=True, with_input=True, label="Points").classes(
            "w-full"
        )
        picked.props("use-chips")
        span = ui.toggle(RANGES, value=1)
        chart = ui.echart(_chart([], [], 1)).style("height: min(60vh, 560px); width: 100%")
        note = words("", "oc-muted")

    async def draw() -> None:
        ids = list(picked.value)[:6]
        hours["value"] = int(span.value)
        if not ids:
            note.set_text("Choose up to six points.")
            return
        end = now_ms()
        start = end - hours["value"] * 3_600_000
        try:
            lines = [await _line(frame, point_id, start, end) for point_id in ids]
            gaps = [await _gaps(frame, point_id, start, end) for point_id in ids]
        except ApiError as error:
            note.set_text(str(error))
            return
        told = f"{plural(sum(len(line) for line in lines), 'sample')}; scroll in the chart to zoom"
        why = sorted({f"{gap['reason']} ({gap['kind']})" for mine in gaps for gap in mine})
        note.set_text(f"{told}; shaded: {', '.join(why)}" if why else told)
        chart.options.clear()
        shown = [frame.model.points[each] for each in ids]
        names = [options[each] for each in ids]
        units = [symbol(each.get("units")) for each in shown]
        chart.options.update(_chart(list(zip(names, units, strict=True)), lines, hours["value"], gaps))
        chart.update()

    picked.on_value_change(draw)
    span.on_value_change(draw)
    rounds = {"n": 0}

    async def refresh() -> None:
        rounds["n"] += 1
        if rounds["n"] % 5 == 1:
            await draw()

    frame.refreshers.append(refresh)


async def _line(frame: Frame, point_id: str, start: int, end: int) -> list[list[Any]]:
    path = f"/api/history/{point_id}"
    if end - start > 6 * 3_600_000:
        step = max(60, (end - start) // 2_000_000)
        answer = await frame.session.get(
            f"{path}/rollup", start=to_iso(start), end=to_iso(end), interval=step
        )
        return [[from_iso(each["start"]), each["avg"]] for each in answer["items"]]
    answer = await frame.session.get(path, start=to_iso(start), end=to_iso(end), limit=10_000)
    return [
        [from_iso(each["time"]), int(value) if isinstance(value, bool) else value]
        for each in answer["samples"]
        if not isinstance(value := each["value"], str)
    ]


async def _gaps(frame: Frame, point_id: str, start: int, end: int) -> list[dict[str, Any]]:
    """Give where the ledger knows of lost or late samples, inside the chart's range (ms)."""
    answer = await frame.session.get(f"/api/history/{point_id}/gaps", start=to_iso(start), end=to_iso(end))
    return [
        each
        | {
            "start": max(start, from_iso(each["start"])),
            "end": min(end, from_iso(each["end"]) if each["end"] else end),
        }
        for each in answer["items"]
    ]


def _band(gap: dict[str, Any]) -> list[dict[str, Any]]:
    """Shade an interval: red where samples are lost, grey where they came late."""
    colour = "rgba(184, 29, 36, 0.14)" if gap["kind"] == "lost" else "rgba(90, 90, 90, 0.12)"
    return [
        {"name": gap["reason"], "xAxis": gap["start"], "itemStyle": {"color": colour}},
        {"xAxis": gap["end"]},
    ]


def _broken(line: list[list[Any]], gaps: list[dict[str, Any]]) -> list[list[Any]]:
    """Break a line where nothing is known, so that it doesn't look as if there were."""
    holes = [[gap["start"] + 1, None] for gap in gaps if gap["kind"] == "lost"]
    return sorted([*line, *holes], key=lambda row: int(row[0])) if holes else line


def _chart(
    names: list[tuple[str, str]],
    lines: list[list[list[Any]]],
    hours: int,
    gaps: list[list[dict[str, Any]]] | None = None,
) -> dict[str, Any]:
    units = list(dict.fromkeys(unit for _, unit in names))
    return {
        "animation": False,
        "color": list(COLOURS),
        "grid": {"left": 56, "right": 56, "top": 40, "bottom": 76},
        "legend": {"top": 0, "type": "scroll"},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "time"},
        "yAxis": [
            {"type": "value", "scale": True, "name": unit, "position": "left" if index == 0 else "right"}
            for index, unit in enumerate(units[:2] or [""])
        ],
        "dataZoom": [{"type": "inside"}, {"type": "slider", "height": 22, "bottom": 12}],
        "series": [
            {
                "name": f"{name} {unit}".strip(),
                "type": "line",
                "showSymbol": False,
                "step": "end" if not unit else False,
                "yAxisIndex": min(1, units.index(unit)),
                "data": _broken(line, mine),
                "markArea": {"silent": True, "label": {"fontSize": 10}, "data": [_band(gap) for gap in mine]},
            }
            for (name, unit), line, mine in zip(names, lines, gaps or [[] for _ in lines], strict=True)
        ],
    }


async def alarms(frame: Frame, request: Request) -> None:
    """List alarms; acknowledge them."""
    with box("oc-head"):
        heading("Alarms")
        box("oc-grow")
        every = ui.button("Acknowledge all").props("outline")
    listed = box("oc-panel")
    shown: dict[str, Any] = {"key": None, "items": []}

    async def acknowledge(items: list[dict[str, Any]]) -> None:
        refs = [{"site": each["site"], "id": each["id"]} for each in items]
        if not refs:
            return
        try:
            await frame.session.post("/api/alarms/acknowledge", {"alarms": refs})
        except ApiError as error:
            ui.notify(str(error), type="negative")
        await frame.refresh()

    async def acknowledge_all() -> None:
        await acknowledge([each for each in shown["items"] if each["state"] in {"active", "cleared"}])

    every.on_click(acknowledge_all)
    if not frame.session.may("acknowledge_alarms"):
        every.disable()

    async def refresh() -> None:
        items = await frame.session.all("/api/alarms", most=500)
        key = [(each["site"], each["id"], each["state"], each["shelved_until"]) for each in items]
        if key == shown["key"]:
            return
        shown["key"], shown["items"] = key, items
        listed.clear()
        with listed:
            if not items:
                empty("task_alt", "No alarms", "Nothing stands and nothing waits to be seen.", good=True)
            for alarm in items:
                _alarm(frame, alarm, acknowledge)

    frame.refreshers.append(refresh)


def _alarm(
    frame: Frame, alarm: dict[str, Any], acknowledge: Callable[[list[dict[str, Any]]], Awaitable[None]]
) -> None:
    with box("oc-alarm oc-pad oc-line oc-wrap"):
        badge(alarm["severity"])
        with box("oc-grow"):
            place = frame.model.equipment_of(alarm["node_id"])
            with anchor(equipment_link(place) if place else "/alarms"):
                words(alarm["message"], "name")
            since = clock_time(alarm["raised_at"], frame.session.zone, now_ms())
            by = f", seen by {alarm['acknowledged_by']}" if alarm["acknowledged_by"] else ""
            words(f"{alarm['state'].capitalize()} since {since}{by}", "oc-muted")
        if alarm["state"] in {"active", "cleared"} and frame.session.may("acknowledge_alarms"):
            ui.button("Acknowledge", on_click=lambda: acknowledge([alarm])).props("unelevated dense")


async def health(frame: Frame, request: Request) -> None:
    """Show how every component and device is."""
    with box("oc-head"):
        heading("System health")
    components = box("oc-panel")
    devices = box("oc-panel")
    shown: dict[str, Any] = {}

    async def refresh() -> None:
        found = (await frame.session.get("/api/system/health"))["components"]
        told = (await frame.session.get("/api/system/devices"))["items"]
        key = [(each["name"], each["state"], each["reasons"]) for each in found]
        if shown.get("components") != key:
            shown["components"] = key
            _list(components, "Components", [(c["name"], c["state"], "; ".join(c["reasons"])) for c in found])
        rows = [
            (
                f"{frame.model.name(each['device_key'])} ({each['device_key']})",
                each["state"],
                f"{each['protocol']} {each['address'] or ''}, {plural(each['points'], 'point')}, "
                f"heard {ago(each['last_seen'], now_ms()) if each['state'] != 'online' else 'now'}"
                + (f": {each['last_error']}" if each["state"] == "down" else ""),
            )
            for each in told
        ]
        if shown.get("devices") != rows:
            shown["devices"] = rows
            _list(devices, "Devices", rows)

    frame.refreshers.append(refresh)


def _list(panel: ui.element, title: str, rows: list[tuple[str, str, str]]) -> None:
    panel.clear()
    with panel:
        with box("oc-panel-head"):
            section(title)
        for name, state, more in rows:
            with box("oc-pad oc-line oc-wrap"):
                badge(state)
                words(name, "name")
                words(more, "oc-muted oc-grow")
