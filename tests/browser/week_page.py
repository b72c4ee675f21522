"""A page with nothing but the editor of a week, and what it would write."""

import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from nicegui import ui

import api.web
from api.web.week import WeekEditor

WEEK = [
    {"weekday": 1, "time": "07:00", "value": 21.0},
    {"weekday": 1, "time": "18:00", "value": 16.0},
    {"weekday": 7, "time": "09:00", "value": None},
]
STATES = [{"weekday": 1, "time": "07:00", "value": True}]


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
