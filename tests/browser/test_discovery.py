"""From an unknown network to a commissioned device, at the page, over devices that no file names."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.browser.test_page import ARGUMENTS, PATIENCE, PHONE, WIDE, Visit
from tests.cluster.system import System, environment, until
from tests.ports import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.timeout(600)]

CONFIG = """
campus: Unknown
sites:
  - id: north
    dis: North Building
    networks:
      - {{id: ip, protocol: bacnet, address: 127.0.0.1/8, port: {own}, bbmd: "127.0.0.2:{bacnet}", ttl: 60}}
      - {{id: meters, protocol: modbus, transport: tcp, host: 127.0.0.2, port: {modbus}}}
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder: Path = tmp_path_factory.mktemp("unknown")
    bacnet, modbus = free_port(socket.SOCK_DGRAM), free_port()
    own = free_port(socket.SOCK_DGRAM)
    config = folder / "campus.yaml"
    config.write_text(CONFIG.format(own=own, bacnet=bacnet, modbus=modbus))
    command = [sys.executable, "-m", "bridges.simulator", "--bacnet-port", str(bacnet)]
    with (folder / "simulator.out").open("w") as out:
        devices = subprocess.Popen(
            [*command, "--modbus-port", str(modbus)], stdout=out, stderr=out, env=environment()
        )
    running = System(folder / "data", "--config", str(config)).wait_up()
    running.setup()
    yield running
    running.stop()
    devices.terminate()
    devices.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(system: System, browser: Browser) -> Iterator[Visit]:
    visit = Visit(system, browser, WIDE)
    visit.login()
    yield visit
    visit.context.close()


@pytest.fixture(scope="module")
def found(system: System) -> dict[str, int]:
    """Scan; give the devices' ids by their keys."""
    answer = system.http.post("/api/discovery/scan", json={"protocol": "bacnet"})
    assert answer.status_code == 202, answer.text
    path = f"/api/discovery/scans/{answer.json()['id']}"
    until(lambda: system.get(path)["state"] == "done", 120, "the scan ends")
    devices = system.get("/api/discovery/devices", limit=1000)["items"]
    return {each["device_key"]: each["id"] for each in devices}


def test_a_device_is_changed_accepted_and_shown_to_others(
    visit: Visit, system: System, found: dict[str, int]
) -> None:
    other = visit.context.new_page()
    other.goto(f"{visit.base}/")
    tree = other.locator(".oc-tree")
    expect(tree).to_contain_text("North Building", timeout=PATIENCE)
    page = visit.see(f"/discovery?id={found['1104']}&site=north")
    page.get_by_role("button", name="Change Zone Temp", exact=True).click()
    dialog = page.locator(".oc-dialog")
    dialog.get_by_label("Name").fill("Hall Temperature")
    dialog.get_by_label("Group").fill("Hall")
    dialog.get_by_label("Tags").fill("zone, temp, sensor")
    dialog.get_by_role("button", name="Change").click()
    expect(page.locator(".oc-found").filter(has_text="Hall Temperature")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("checkbox", name="Make Airflow", exact=True).click()
    expect(page.locator(".oc-main")).to_contain_text("20 of 21 points chosen")
    page.get_by_role("button", name="Accept", exact=True).click()
    page.wait_for_url("**/equipment?id=1104")
    expect(tree).to_contain_text("Hall", timeout=PATIENCE)
    made = system.get("/api/nodes/1104/analog-input-1")
    assert (made["dis"], made["parent_id"], made["tags"]) == (
        "Hall Temperature",
        "1104:hall",
        ["sensor", "temp", "zone"],
    )
    assert system.http.get("/api/nodes/1104/analog-input-3").status_code == 404
    assert system.http.delete("/api/nodes/1104?recursive=true").status_code == 200
    until(
        lambda: system.get(f"/api/discovery/{found['1104']}")["state"] == "discovered", 30, "it is given back"
    )
    expect(tree).not_to_contain_text("Hall", timeout=PATIENCE)


def test_many_are_searched_chosen_accepted_and_put_aside(
    visit: Visit, system: System, found: dict[str, int]
) -> None:
    page = visit.see("/discovery")
    page.get_by_placeholder("Search").fill("VAV-7")
    expect(page.locator(".oc-found")).to_have_count(1, timeout=PATIENCE)
    page.get_by_role("checkbox", name="Choose VAV-7").click()
    page.get_by_placeholder("Search").fill("VAV-8")
    page.get_by_role("checkbox", name="Choose all").click()
    expect(page.locator(".oc-main")).to_contain_text("2 chosen", timeout=PATIENCE)
    page.get_by_role("button", name="Accept", exact=True).click()
    expect(page.get_by_text("2 devices accepted")).to_be_visible(timeout=2 * PATIENCE)
    page.get_by_placeholder("Search").fill("Boiler")
    page.get_by_role("checkbox", name="Choose Boiler Plant").click()
    page.locator(".oc-bulk").get_by_role("button", name="Ignore").click()
    expect(page.locator(".oc-found")).to_contain_text("Ignored", timeout=PATIENCE)
    states = {each["id"]: each["state"] for each in system.get("/api/discovery/devices")["items"]}
    assert [states[found[key]] for key in ("1107", "1108", "1201")] == ["accepted", "accepted", "ignored"]


def test_a_device_is_commissioned_with_a_write_that_is_given_back(
    visit: Visit, system: System, found: dict[str, int]
) -> None:
    system.post(f"/api/discovery/{found['1103']}/accept")
    until(lambda: _known(system, "1103/analog-value-1"), 60, "it is read")
    before = system.get("/api/points/1103%2Fanalog-value-1")["value"]
    page = visit.see("/commissioning")
    page.get_by_label("Equipment").click()
    page.get_by_role("option", name="VAV-3", exact=True).click()
    page.get_by_role("button", name="Begin a session").click()
    page.wait_for_url("**/commissioning?session=*")
    page.get_by_role("button", name="Begin", exact=True).click()
    page.get_by_role("button", name="Verify all but writes").click()
    # Others can be clicked meanwhile.
    row = _item(page, "Write", "1103/analog-value-1")
    row.get_by_role("button", name="Test write").click()
    page.locator(".oc-dialog").get_by_role("button", name="Write and give back").click()
    expect(row).to_contain_text("was given back", timeout=PATIENCE)
    expect(row).to_contain_text("Verified")
    assert system.get("/api/points/1103%2Fanalog-value-1")["value"] == before
    array = system.get("/api/points/1103%2Fanalog-value-1/priority-array")
    assert array["slots"][7] is None
    last = _item(page, "Read", "1103/multi-state-value-3")
    expect(last).to_contain_text("Verified", timeout=2 * PATIENCE)
    page.get_by_role("button", name="Defer the rest").click()
    page.locator(".oc-dialog").get_by_label("Note").fill("another day")
    page.locator(".oc-dialog").get_by_role("button", name="Defer").click()
    page.get_by_role("button", name="Complete").click(timeout=2 * PATIENCE)
    page.get_by_role("button", name="Sign off").click(timeout=PATIENCE)
    dialog = page.locator(".oc-dialog")
    dialog.get_by_label("Note").fill("with the owner")
    if dialog.get_by_role("checkbox").count():
        dialog.get_by_role("checkbox").click()
    dialog.get_by_role("button", name="Sign off").click()
    expect(page.locator(".oc-main")).to_contain_text("Signed off by ana", timeout=PATIENCE)


def test_the_views_fit_a_phone(system: System, browser: Browser, found: dict[str, int]) -> None:
    visit = Visit(system, browser, PHONE)
    visit.login()
    for path in ("/discovery", f"/discovery?id={found['1105']}&site=north", "/commissioning"):
        page = visit.see(path)
        page.wait_for_timeout(1000)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], path
    visit.context.close()


def _known(system: System, point_id: str) -> bool:
    return any(each["id"] == point_id and each["value"] is not None for each in system.points())


def _item(page: Page, kind: str, point_id: str) -> Locator:
    return page.locator(".oc-found").filter(has_text=point_id).filter(has_text=kind)
