"""A page with nothing but the editor of a week, or of days, and what it would write."""

import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from nicegui import ui

import api.web
from api.web.days import CalendarEditor, ExceptionsEditor
from api.web.week import WeekEditor

WEEK = [
    {"weekday": 1, "time": "07:00", "value": 21.0},
    {"weekday": 1, "time": "18:00", "value": 16.0},
    {"weekday": 7, "time": "09:00", "value": None},
]
STATES = [{"weekday": 1, "time": "07:00", "value": True}]


PLAN = {
    "kind": "analog",
    "starts_on": None,
    "ends_on": "2027-06-30",
    "exceptions": [
        {
            "priority": 3,
            "period": {"kind": "date", "year": None, "month": 12, "day": 25, "weekday": None},
            "calendar": None,
            "entries": [{"time": "00:00", "value": 12.0}],
        },
        {"priority": 16, "period": None, "calendar": "calendar,1", "entries": []},
    ],
}
DAYS = [{"kind": "range", "start": "2026-12-24", "end": "2027-01-06"}]


@ui.page("/days/{which}")
def days(which: str) -> None:
    """Show exceptions of a schedule, or days of a calendar."""
    ui.add_css(Path(api.web.__file__).with_name("static") / "page.css")

    async def save(wanted: Any) -> None:
        said.set_text(json.dumps([wanted["exceptions"] if which == "exceptions" else wanted, wanted]))

    if which == "exceptions":
        ExceptionsEditor(PLAN, ["calendar,1", "calendar,2"], save)
    else:
        CalendarEditor(DAYS, save)
    said = ui.label().props("id=said")


@ui.page("/{kind}")
def page(kind: str) -> None:
    """Show a week of a kind."""
    ui.add_css(Path(api.web.__file__).with_name("static") / "page.css")

    async def save(week: list[dict[str, Any]], default: Any) -> None:
        said.set_text(json.dumps([week, default]))

    week, default = (STATES, False) if kind == "binary" else (WEEK, 15.0)
    WeekEditor(kind, week, default, save)
    said = ui.label().props("id=said")


if __name__ == "__main__":
    app = FastAPI()
    ui.run_with(app)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
