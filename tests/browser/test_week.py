"""The editor of a week in headless Chromium: rows come and go, and Enter writes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.test_page import ARGUMENTS, PATIENCE, PHONE
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
    page.get_by_label("Take 18:00 on Monday away").click()
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
