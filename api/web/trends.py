"""The trend chart: up to six points over time, with zoom, and where the history has holes."""

import json
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from actors.core.clock import from_iso, now_ms, to_iso
from api.web.frame import Frame
from api.web.parts import Choice, box, heading, words
from api.web.session import ApiError, point_path
from api.web.units import decimals, symbol
from api.web.words import group_of, plural, states_of

COLOURS: Final = ("#0a63b8", "#d06a1e", "#1f9d5f", "#7d55cc", "#d23a42", "#a67c00")
INK: Final = "#7b8794"
"""Colour of axes and words, legible in the light and in the dark theme."""
RANGES: Final = {1: "1 h", 6: "6 h", 24: "24 h", 168: "7 d"}
MOST: Final = 6
HISTORY: Final = "/api/history"
REDRAW: Final = 5
"""Rounds between two readings of the history."""

Item = dict[str, Any]
Line = list[list[Any]]


async def trends(frame: Frame, request: Request) -> None:
    """Show chosen points over time, with zoom."""
    points = frame.model.points
    chosen = [each for each in request.query_params.getlist("p") if each in points][:MOST]
    with box("oc-head"):
        heading("Trends")
    several = frame.model.several
    options = {
        key: (f"{frame.model.name(frame.model.key(point['site'], point['site']))} · " if several else "")
        + f"{frame.model.name(str(point['parent']))} · {point['dis']}"
        for key, point in sorted(points.items())
    }
    with box("oc-panel"):
        with box("oc-pad oc-trend-head"):
            picked = ui.select(options, value=chosen, multiple=True, with_input=True, label="Points").classes(
                "oc-grow"
            )
            picked.props(f"use-chips outlined max-values={MOST}")
            span = Choice(list(RANGES.items()), 1, lambda _: draw(), label="How far back")
        chart = ui.echart({"series": []}).classes("oc-chart")
        with box("oc-pad"):
            note = words("", "oc-muted")

    async def draw() -> None:
        ids = list(picked.value)[:MOST]
        end = now_ms()
        start = end - int(span.value) * 3_600_000
        try:
            lines = [await _line(frame, point_id, start, end) for point_id in ids]
            gaps = [await _gaps(frame, point_id, start, end) for point_id in ids]
        except ApiError as error:
            note.set_text(str(error))
            return
        why = sorted(
            {f"{str(gap['reason']).replace('_', ' ')} ({gap['kind']})" for mine in gaps for gap in mine}
        )
        told = f"{plural(sum(len(line) for line in lines), 'sample')}. Scroll in the chart to zoom."
        note.set_text(
            (f"{told} Shaded: {', '.join(why)}." if why else told) if ids else "Choose up to six points."
        )
        shown = [points[each] | {"shown": options[each]} for each in ids]
        chart.options.clear()
        chart.options.update(options_of(chart.id, shown, lines, gaps, (start, end)))
        chart.update()

    picked.on_value_change(draw)
    rounds = {"n": 0}

    async def refresh() -> None:
        rounds["n"] += 1
        if rounds["n"] % REDRAW == 1:
            await draw()

    frame.refreshers.append(refresh)


async def _line(frame: Frame, point_id: str, start: int, end: int) -> Line:
    if end - start > 6 * 3_600_000:
        step = max(60, (end - start) // 2_000_000)
        answer = await frame.session.get(
            point_path(point_id, "/rollup", HISTORY), start=to_iso(start), end=to_iso(end), interval=step
        )
        return [[from_iso(each["start"]), each["avg"]] for each in answer["items"]]
    path = point_path(point_id, under=HISTORY)
    answer = await frame.session.get(path, start=to_iso(start), end=to_iso(end), limit=10_000)
    return [
        [from_iso(each["time"]), int(value) if isinstance(value, bool) else value]
        for each in answer["samples"]
        if not isinstance(value := each["value"], str)
    ]


async def _gaps(frame: Frame, point_id: str, start: int, end: int) -> list[Item]:
    """Give where the ledger knows of lost or late samples, inside the chart's range (ms)."""
    path = point_path(point_id, "/gaps", HISTORY)
    answer = await frame.session.get(path, start=to_iso(start), end=to_iso(end))
    return [
        each
        | {
            "start": max(start, from_iso(each["start"])),
            "end": min(end, from_iso(each["end"]) if each["end"] else end),
        }
        for each in answer["items"]
    ]


def bands(gaps: list[list[Item]]) -> list[list[Item]]:
    """Shade where samples are lost (red) or came late (grey), once where points share a hole."""
    shaded: list[list[Item]] = []
    for kind, colour in (("lost", "rgba(184, 29, 36, 0.14)"), ("late", "rgba(90, 90, 90, 0.12)")):
        spans = sorted(
            (gap["start"], gap["end"])
            for mine in gaps
            for gap in mine
            if (gap["kind"] == "lost") == (kind == "lost")
        )
        merged: list[list[int]] = []
        for start, end in spans:
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        shaded += [
            [{"xAxis": start, "itemStyle": {"color": colour}}, {"xAxis": end}] for start, end in merged
        ]
    return shaded


def _broken(line: Line, gaps: list[Item]) -> Line:
    """Break a line where nothing is known, so that it doesn't look as if there were."""
    holes = [[gap["start"] + 1, None] for gap in gaps if gap["kind"] == "lost"]
    return sorted([*line, *holes], key=lambda row: int(row[0])) if holes else line


def _told(point: Item, line: Line) -> Item:
    """Give what the tooltip must know to write a value of this point as the rest of the page does."""
    states = {str(int(value)): text for value, text in states_of(point).items() if not isinstance(value, str)}
    known = [abs(row[1]) for row in line if row[1] is not None]
    return {
        "name": point["shown"],
        "unit": symbol(point.get("units")),
        "decimals": decimals(point.get("units"), max(known, default=0.0)) if not states else 0,
        "states": states or None,
    }


def options_of(
    chart: int, points: list[Item], lines: list[Line], gaps: list[list[Item]], reach: tuple[int, int]
) -> Item:
    """Give the chart's options: one line per point (`shown` is its name), one axis per unit, at most two.

    `reach` is the range that was asked for, in ms: a line that begins later shows how far the history goes.
    """
    units = list(dict.fromkeys(symbol(point.get("units")) for point in points))
    told = {f"s{number}": _told(*pair) for number, pair in enumerate(zip(points, lines, strict=True))}
    shaded = bands(gaps)
    return {
        "animation": False,
        "color": list(COLOURS),
        "grid": {"left": 56, "right": 56 if len(units) > 1 else 20, "top": 56, "bottom": 76},
        "legend": {"top": 4, "type": "scroll", "textStyle": {"color": INK}},
        "tooltip": {
            "trigger": "axis",
            "confine": True,
            ":formatter": f"oc.tooltip({chart}, {_script(told)})",
        },
        "xAxis": {
            "type": "time",
            "min": reach[0],
            "max": reach[1],
            "axisLine": {"onZero": False},
            "axisLabel": {"hideOverlap": True, "color": INK},
        },
        "yAxis": [
            {
                "type": "value",
                "scale": True,
                "boundaryGap": ["6%", "6%"],
                "name": unit,
                "position": "left" if index == 0 else "right",
                "axisLabel": {"color": INK},
                "nameTextStyle": {"color": INK},
                "splitLine": {"show": index == 0, "lineStyle": {"color": "rgba(123, 135, 148, 0.25)"}},
            }
            for index, unit in enumerate(units[:2] or [""])
        ],
        "dataZoom": [{"type": "inside"}, {"type": "slider", "height": 22, "bottom": 12}],
        "series": [
            {
                "id": f"s{number}",
                "name": point["shown"],
                "type": "line",
                "showSymbol": False,
                "connectNulls": False,
                "step": "end" if group_of(point) != "Sensors" else False,
                "yAxisIndex": min(1, units.index(symbol(point.get("units")))),
                "data": _broken(line, mine),
                "markArea": {"silent": True, "data": shaded if number == 0 else []},
            }
            for number, (point, line, mine) in enumerate(zip(points, lines, gaps, strict=True))
        ],
    }


def _script(told: Item) -> str:
    """Write data into a script; `<` can't end one."""
    return json.dumps(told).replace("<", "\\u003c")
