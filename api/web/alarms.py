"""The alarm list: what stands, where and since when; acknowledge and shelve."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from actors.core.clock import now_ms
from api.web.frame import Frame
from api.web.parts import anchor, badge, box, empty, equipment_link, heading, icon_button, trend_link, words
from api.web.session import ApiError
from api.web.words import SEVERITIES, ago, clock_time, shown_value

SHELVES: Final = {3600: "1 hour", 28_800: "8 hours", 86_400: "1 day", 604_800: "1 week"}
UNSEEN: Final = frozenset({"active", "cleared"})
"""States in which nobody has acknowledged the alarm."""

Act = Callable[[str, dict[str, Any] | None], Awaitable[None]]


async def alarms(frame: Frame, request: Request) -> None:
    """List alarms; acknowledge and shelve them."""
    with box("oc-head"):
        heading("Alarms")
        box("oc-grow")
        every = ui.button("Acknowledge all", color=None).classes("oc-act")
    listed = box("oc-panel")
    shown: dict[str, Any] = {"key": None, "items": []}

    async def act(path: str, body: dict[str, Any] | None) -> None:
        try:
            await frame.session.post(f"/api/alarms/{path}", body)
        except ApiError as error:
            ui.notify(str(error), type="negative")
        await frame.refresh()

    async def acknowledge_all() -> None:
        waiting = [each for each in shown["items"] if each["state"] in UNSEEN]
        if waiting:
            refs = [{"site": each["site"], "id": each["id"]} for each in waiting]
            await act("acknowledge", {"alarms": refs})

    every.on_click(acknowledge_all)

    async def refresh() -> None:
        items = sorted(await frame.session.all("/api/alarms", most=500), key=urgency)
        key = [
            (each["site"], each["id"], each["state"], each["shelved_until"], _since(each)) for each in items
        ]
        if key == shown["key"]:
            return
        shown["key"], shown["items"] = key, items
        waits = any(each["state"] in UNSEEN for each in items)
        every.set_enabled(waits and frame.session.may("acknowledge_alarms"))
        listed.clear()
        with listed:
            if not items:
                empty("task_alt", "No alarms", "Nothing stands and nothing waits to be seen.", good=True)
            for alarm in items:
                _row(frame, alarm, act)

    frame.refreshers.append(refresh)


def urgency(alarm: dict[str, Any]) -> tuple[bool, bool, int]:
    """Give the key that puts first what waits for somebody: shelved last, then seen ones, then by severity.

    Equal ones stay as they came, newest first.
    """
    rank = list(SEVERITIES).index(alarm["severity"])
    return bool(alarm["shelved_until"]), alarm["state"] not in UNSEEN, rank


def _since(alarm: dict[str, Any]) -> str:
    return ago(alarm["raised_at"], now_ms() // 60_000 * 60_000)


def _row(frame: Frame, alarm: dict[str, Any], act: Act) -> None:
    unseen, shelved = alarm["state"] in UNSEEN, alarm["shelved_until"]
    node_id = frame.model.key(str(alarm["node_id"]), str(alarm["site"]))
    with box(f"oc-alarm {alarm['severity'] if unseen and not shelved else 'calm'}"):
        with box("sev"):
            badge(alarm["severity"])
        with box("body"):
            words(alarm["message"] or "Alarm", "text")
            with box("where"):
                _where(frame, alarm)
        with box("when"):
            words(clock_time(alarm["raised_at"], frame.session.zone, now_ms()))
            words(_since(alarm), "oc-muted")
        with box("state"):
            for line in _state(frame, alarm):
                words(line, "oc-muted")
        with box("acts oc-line"):
            if node_id in frame.model.points:
                icon_button("show_chart", "Trend", lambda: ui.navigate.to(trend_link([node_id])))
            if frame.session.may("shelve_alarms"):
                _shelf(alarm, act)
            if unseen and frame.session.may("acknowledge_alarms"):
                ref = {"alarms": [{"site": alarm["site"], "id": alarm["id"]}]}
                button = ui.button("Acknowledge", color=None, on_click=lambda: act("acknowledge", ref))
                button.classes("oc-main-act")


def _where(frame: Frame, alarm: dict[str, Any]) -> None:
    """Say where it is: equipment and point, and the value that raised it."""
    node_id = frame.model.key(str(alarm["node_id"]), str(alarm["site"]))
    place, point = frame.model.equipment_of(node_id), frame.model.points.get(node_id)
    named = frame.model.name(place) if place else str(alarm["node_id"])
    if point and place != node_id:
        named += f" · {frame.model.name(node_id)}"
    with anchor(equipment_link(place) if place else "/alarms"):
        words(named)
    if point and alarm["value"] is not None:
        words(f"raised at {shown_value(point, alarm['value'])}", "oc-muted")


def _state(frame: Frame, alarm: dict[str, Any]) -> list[str]:
    zone, now = frame.session.zone, now_ms()
    told = ["Cleared" if alarm["cleared_at"] else "Active"]
    if alarm["acknowledged_by"]:
        told.append(f"seen by {alarm['acknowledged_by']}")
    if alarm["shelved_until"]:
        told.append(f"shelved until {clock_time(alarm['shelved_until'], zone, now)}")
    return told


def _shelf(alarm: dict[str, Any], act: Act) -> None:
    """Offer to keep an alarm out of the way for a while, or to bring it back."""
    path = f"{alarm['id']}/{{}}?site={alarm['site']}"
    if alarm["shelved_until"]:
        icon_button("unarchive", "Take off the shelf", lambda: act(path.format("unshelve"), None))
        return
    with icon_button("snooze", "Shelve", lambda: None), ui.menu():
        for seconds, name in SHELVES.items():
            ui.menu_item(
                f"Shelve for {name}",
                lambda seconds=seconds: act(path.format("shelve"), {"duration": seconds}),
            )
