"""One BACnet device: its clock and restarts, how its points' changes come, its schedules and calendars."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi import Request
from nicegui import ui

from api.web.days import CalendarEditor, ExceptionsEditor
from api.web.frame import Frame
from api.web.parts import anchor, badge, box, empty, heading, section, words
from api.web.session import ApiError
from api.web.week import DAYS, WeekEditor
from api.web.words import plural

WAIT: Final = 65.0
"""Seconds for what takes several questions to a slow device."""
MOST: Final = 200
"""Points that are named one by one."""
ACTS: Final = {
    "warmstart": "Restart, keeping its values",
    "coldstart": "Restart from the beginning",
    "disable-initiation": "Tell nothing for 15 minutes",
    "enable": "Tell again",
}
"""What a device can be asked to do; the first two are restarts."""

Act = Callable[[Awaitable[Any], str], Awaitable[bool]]


def device_link(device_key: str, site: str) -> str:
    """Give the address of a device's view."""
    return f"/device?{urlencode({'key': device_key, 'site': site})}"


async def device(frame: Frame, request: Request) -> None:
    """Show a device, and ask it for what engineers ask devices for."""
    key, site = request.query_params.get("key", ""), request.query_params.get("site", "")
    upkeep = f"/api/discovery/bacnet/devices/{quote(key, safe='')}"
    plans = f"/api/schedules/bacnet/{quote(key, safe='')}"
    try:
        told = await frame.session.all(f"{upkeep}/subscriptions", site=site)
    except ApiError as error:
        empty("search_off", "There is no such BACnet device", str(error))
        return
    with box("oc-head"):
        with box("oc-crumbs"), anchor("/health"):
            words("System health")
        heading(f"{frame.model.name(frame.model.key(key, site))} ({key})")
    with box("oc-stack"):
        said = words("", "oc-pad oc-muted")
        said.props["role"] = "status"

        async def act(call: Awaitable[Any], done: str) -> bool:
            said.set_text("Asking the device …")
            try:
                await call
            except ApiError as error:
                # The device didn't answer; the server did.
                frame.session.away = None
                said.set_text(str(error))
                return False
            said.set_text(done)
            return True

        if frame.session.may("manage_discovery"):
            _upkeep(frame, upkeep, site, act)
        _changes(told)
        await _plans(frame, plans, site, act)


def _upkeep(frame: Frame, path: str, site: str, act: Act) -> None:
    query = urlencode({"site": site})

    async def tell_time() -> None:
        await act(frame.session.post(f"{path}/time?{query}", None, WAIT), "It was told the time.")

    async def ask() -> None:
        what = str(wanted.value)
        route, body = request_of(what, str(password.value or ""))
        password.set_value("")
        await act(frame.session.post(f"{path}/{route}?{query}", body, WAIT), f"{ACTS[what]}: it agreed.")

    with box("oc-panel"):
        with box("oc-panel-head"):
            section("Upkeep")
        with box("oc-pad oc-asks"):
            ui.button("Set its clock", color=None, on_click=tell_time).classes("oc-act")
            wanted = ui.select(ACTS, value="warmstart", label="Ask it to").props("outlined dense")
            password = ui.input("Its password, if it has one", password=True).props(
                "outlined dense maxlength=20 autocomplete=off"
            )
            ui.button("Ask", color=None, on_click=ask).classes("oc-act")


def request_of(what: str, password: str) -> tuple[str, dict[str, Any]]:
    """Give the route and body of one of ACTS."""
    secret = {"password": password} if password else {}
    if what in ("warmstart", "coldstart"):
        return "restart", {"how": what} | secret
    minutes = {"minutes": 15} if what == "disable-initiation" else {}
    return "communication", {"speech": what} | minutes | secret


def _changes(told: list[dict[str, Any]]) -> None:
    polled = [each for each in told if not each["subscribed"]]
    with box("oc-panel"):
        with box("oc-panel-head"):
            section("How changes come")
            box("oc-grow")
            words(changes_words(len(told), len(polled)), "oc-muted")
        with box("oc-parts"):
            for each in polled[:MOST]:
                with box("oc-part"):
                    badge("degraded", "Polled", "sync")
                    with box("oc-grow"):
                        words(str(each["point_id"]), "name")
                        words(str(each["object"]), "oc-muted")


def changes_words(points: int, polled: int) -> str:
    """Say how many of a device's points are told by it."""
    if not points:
        return "it has no points"
    return f"{points - polled} of {plural(points, 'point')} told by the device, {polled} polled"


async def _plans(frame: Frame, path: str, site: str, act: Act) -> None:
    with box("oc-panel"):
        with box("oc-panel-head"):
            section("Schedules and calendars")
        try:
            listed = await frame.session.all(path, site=site)
        except ApiError as error:
            frame.session.away = None
            words(str(error), "oc-pad oc-muted")
            return
        if not listed:
            words("The device has none.", "oc-pad oc-muted")
            return
        names = [str(each["object"]) for each in listed]
        with box("oc-pad oc-asks"):
            chosen = ui.select(names, value=names[0], label="Object").props("outlined dense")
            read = ui.button("Read", color=None).classes("oc-act")
        shown = box("oc-pad")

    async def show() -> None:
        route = f"{path}/{route_of(str(chosen.value))}"
        found: dict[str, Any] = {}

        async def ask() -> None:
            found.update(await frame.session.get(route, site=site))

        if await act(ask(), f"{chosen.value} as the device has it."):
            shown.clear()  # now, not before the answer: two may be on their way
            with shown:
                for line in lines_of(found):
                    words(line)
                if frame.session.may("manage_schedules"):
                    calendars = [name for name in names if name.startswith("calendar,")]
                    _edit(frame, f"{route}?{urlencode({'site': site})}", found, calendars, act, show)

    read.on_click(show)


def _edit(
    frame: Frame,
    route: str,
    found: dict[str, Any],
    calendars: list[str],
    act: Act,
    again: Callable[[], Awaitable[None]],
) -> None:
    """Offer a schedule's week and its exceptions, or a calendar's days, for editing, each by itself."""

    async def write(changes: dict[str, Any]) -> None:
        if await act(frame.session.put(route, found | changes, WAIT), "Written."):
            await again()

    async def write_week(week: list[dict[str, Any]], default: Any) -> None:
        await write({"week": week, "default_value": default})

    async def write_days(days: list[dict[str, Any]]) -> None:
        await write({"days": days})

    if "days" in found:
        with ui.expansion("Change the days").classes("oc-grow"):
            CalendarEditor(found["days"], write_days)
        return
    with ui.expansion("Change the week").classes("oc-grow"):
        WeekEditor(found["kind"], found["week"], found["default_value"], write_week)
    with ui.expansion("Change exceptions and dates").classes("oc-grow"):
        ExceptionsEditor(found, calendars, write)


def route_of(obj: str) -> str:
    """Give the end of the route of `schedule,1` or `calendar,1`."""
    kind, _, instance = obj.partition(",")
    return f"{kind}s/{instance}"


def lines_of(found: dict[str, Any]) -> list[str]:
    """Say what a schedule or a calendar has, in lines."""
    if "days" in found:
        return [period_words(each) for each in found["days"]] or ["no days"]
    lines = [f"Otherwise {_said(found['default_value'])}"]
    for number, name in enumerate(DAYS, 1):
        times = [each for each in found["week"] if each["weekday"] == number]
        if times:
            lines.append(f"{name}: {_times(times)}")
    for each in found["exceptions"]:
        when = each["calendar"] or period_words(each["period"])
        lines.append(f"Priority {each['priority']}, {when}: {_times(each['entries']) or 'as otherwise'}")
    return lines


def period_words(period: dict[str, Any]) -> str:
    """Say which days a period has: its parts that aren't left open."""
    parts = [f"{name} {value}" for name, value in period.items() if name != "kind" and value is not None]
    return ", ".join(parts) or "every day"


def _times(entries: list[dict[str, Any]]) -> str:
    return ", ".join(f"{each['time']} {_said(each['value'])}" for each in entries)


def _said(value: Any) -> str:
    return "no value" if value is None else str(value)
