"""The editors of a week and of days in headless Chromium: rows come and go, and Enter writes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.test_page import ARGUMENTS, PATIENCE, PHONE
from tests.browser.week_page import PLAN
from tests.cluster.system import environment, until
from tests.ports import free_port

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def _answers(base: str) -> bool:
    try:
        return httpx.get(f"{base}/analog").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    port = free_port()
    served = subprocess.Popen([sys.executable, "-m", "tests.browser.week_page", str(port)], env=environment())
    try:
        until(lambda: _answers(f"http://127.0.0.1:{port}"), 60, "the page")
        yield f"http://127.0.0.1:{port}"
    finally:
        served.terminate()
        served.wait(30)


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        page = chromium.new_page(viewport=PHONE)  # type: ignore[arg-type]
        page.set_default_timeout(PATIENCE)
        yield page
        chromium.close()


def written(page: Page, count: int) -> Any:
    """Give what was written, once it has so many entries."""
    said = page.locator("#said")
    until(lambda: len(json.loads(said.inner_text() or "[[]]")[0]) == count, 30, f"{count} entries")
    return json.loads(said.inner_text())


def test_a_week_is_edited_row_by_row_and_enter_writes_it(base: str, page: Page) -> None:
    page.goto(f"{base}/analog")
    page.get_by_label("Value, Monday 07:00").fill("22.5")
    page.get_by_label("Add a time on Tuesday").click()
    page.get_by_label("Value, Tuesday new").fill("20")
    page.get_by_label("Value, Tuesday new").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Tuesday: a row without a time")
    page.get_by_label("Time, Tuesday new").fill("06:15")
    page.get_by_label("Take 18:00 of Monday away").click()
    expect(page.get_by_label("Value, Monday 18:00")).to_have_count(0)
    page.get_by_label("Wednesday like Tuesday").click()
    page.get_by_label("Value, Wednesday 06:15").press("Enter")
    assert written(page, 4) == [
        [
            {"weekday": 1, "time": "07:00", "value": 22.5},
            {"weekday": 2, "time": "06:15", "value": 20.0},
            {"weekday": 3, "time": "06:15", "value": 20.0},
            {"weekday": 7, "time": "09:00", "value": None},
        ],
        15.0,
    ]
    expect(page.get_by_role("alert")).to_have_text("")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_states_are_chosen_and_the_button_writes_too(base: str, page: Page) -> None:
    page.goto(f"{base}/binary")
    page.get_by_label("Value, Monday 07:00").click()
    page.get_by_role("option", name="no value").click()
    expect(page.get_by_role("option")).to_have_count(0)
    page.get_by_label("Otherwise").click()
    page.get_by_role("option", name="on", exact=True).click()
    page.get_by_role("button", name="Write the week to the device").click()
    assert written(page, 1) == [[{"weekday": 1, "time": "07:00", "value": None}], True]


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()
    expect(page.get_by_role("option")).to_have_count(0)


def test_exceptions_are_edited_with_their_days_times_and_dates(base: str, page: Page) -> None:
    page.goto(f"{base}/days/exceptions")
    page.get_by_label("Value, exception 1 00:00").fill("10")
    page.get_by_role("button", name="Add exception").click()
    choose(page, "Kind, Exception 3", "Days of a week")
    choose(page, "Month, Exception 3", "odd months")
    choose(page, "Week, Exception 3", "last 7 days")
    choose(page, "Weekday, Exception 3", "Friday")
    choose(page, "Priority, Exception 3", "5")
    page.get_by_role("button", name="Add a time to exception 3").click()
    page.get_by_role("button", name="Write the exceptions to the device").click()
    expect(page.get_by_role("alert")).to_contain_text("Exception 3: a row without a time")
    page.get_by_label("Time, exception 3 new").fill("16:00")
    choose(page, "Calendar, Exception 2", "calendar,2")
    page.get_by_label("In force from").fill("2026-12-01")
    page.get_by_label("In force to").fill("")
    page.get_by_role("button", name="Write the exceptions to the device").click()
    _, wanted = written(page, 3)
    assert (wanted["starts_on"], wanted["ends_on"]) == ("2026-12-01", None)
    first, second, third = wanted["exceptions"]
    assert first == PLAN["exceptions"][0] | {"entries": [{"time": "00:00", "value": 10.0}]}  # type: ignore[index]
    assert second == {"priority": 16, "period": None, "calendar": "calendar,2", "entries": []}
    assert third == {
        "priority": 5,
        "period": {"kind": "week_n_day", "month": "odd", "week": "last", "weekday": 5},
        "calendar": None,
        "entries": [{"time": "16:00", "value": None}],
    }
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.get_by_label("Take exception 2 away").click()
    expect(page.get_by_label("Kind, Exception 3")).to_have_count(0)
    page.get_by_role("button", name="Write the exceptions to the device").click()
    assert written(page, 2)[1]["exceptions"] == [first, third]


def test_days_of_a_calendar_are_edited(base: str, page: Page) -> None:
    page.goto(f"{base}/days/calendar")
    page.get_by_label("End, Days 1").fill("2027-01-07")
    page.get_by_role("button", name="Add days").click()
    page.get_by_label("Year, Days 2").fill("1800")
    choose(page, "Day, Days 2", "last day")
    page.get_by_role("button", name="Write the days to the device").click()
    expect(page.get_by_role("alert")).to_contain_text("Days 2: year 1800 is not valid; expected 1900 to 2154")
    page.get_by_label("Year, Days 2").fill("2027")
    page.get_by_role("button", name="Write the days to the device").click()
    assert written(page, 2)[0] == [
        {"kind": "range", "start": "2026-12-24", "end": "2027-01-07"},
        {"kind": "date", "year": 2027, "month": None, "day": "last", "weekday": None},
    ]
