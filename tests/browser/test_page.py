"""The operator page in headless Chromium, over the product as its users start it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.cluster.system import ADMIN, System, until

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.timeout(600)]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 30_000


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("page") / "data", "--demo").wait_up()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield chromium
        chromium.close()


class Visit:
    """A fresh browser profile that notes every address asked for and every error of a script."""

    def __init__(self, system: System, browser: Browser, size: dict[str, int]) -> None:
        self.base = f"http://127.0.0.1:{system.port}"
        self.context = browser.new_context(viewport=size)  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.elsewhere: list[str] = []
        self.page.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        if not url.startswith((self.base, self.base.replace("http", "ws"), "data:", "blob:")):
            self.elsewhere.append(url)

    def login(self) -> Page:
        self.page.goto(f"{self.base}/login")
        self.page.fill("#username", ADMIN["username"])
        self.page.fill("#password", ADMIN["password"])
        self.page.click("#submit")
        self.page.wait_for_selector(".oc-main h1")
        return self.page

    def see(self, path: str) -> Page:
        self.page.goto(self.base + path)
        self.page.wait_for_selector(".oc-main h1")
        return self.page


@pytest.fixture(scope="module")
def admin(system: System, browser: Browser) -> System:
    """Make the first admin at the page, as a person does."""
    visit = Visit(system, browser, WIDE)
    visit.page.goto(visit.base)
    expect(visit.page.locator("#title")).to_have_text("Set up this campus")
    visit.page.fill("#username", ADMIN["username"])
    visit.page.fill("#password", ADMIN["password"])
    visit.page.fill("#again", ADMIN["password"])
    visit.page.click("#submit")
    visit.page.wait_for_selector(".oc-main h1")
    visit.context.close()
    system.login(**ADMIN)
    until(lambda: sum(each["value"] is not None for each in system.points()) > 300, 180, "points have values")
    return system


@pytest.fixture(params=[WIDE, PHONE], ids=["wide", "phone"])
def visit(request: pytest.FixtureRequest, admin: System, browser: Browser) -> Iterator[Visit]:
    visit = Visit(admin, browser, request.param)
    yield visit
    assert visit.elsewhere == []
    visit.context.close()


def test_a_wrong_password_is_told(visit: Visit) -> None:
    visit.page.goto(f"{visit.base}/login")
    visit.page.fill("#username", "ana")
    visit.page.fill("#password", "not the password")
    visit.page.click("#submit")
    expect(visit.page.locator("#told")).to_contain_text("wrong")


def test_without_a_login_every_view_leads_to_the_login_page(visit: Visit) -> None:
    for path in ("/", "/alarms", "/equipment?id=1101"):
        visit.page.goto(visit.base + path)
        assert "/login" in visit.page.url


def test_every_view_fits_the_screen(visit: Visit) -> None:
    visit.login()
    for path in (
        "/",
        "/equipment?id=1101",
        "/trends?p=1101%2Fanalog-input-1",
        "/alarms",
        "/health",
        "/registers",
        "/device?key=1001&site=north",
    ):
        page = visit.see(path)
        page.wait_for_timeout(1000)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= page.viewport_size["width"], path  # type: ignore[index]


def test_the_tree_leads_to_equipment_with_live_values(visit: Visit) -> None:
    page = visit.login()
    if page.viewport_size == PHONE:
        page.get_by_label("Open the menu").click()
    page.locator(".oc-tree").get_by_text("AHU-1", exact=True).click()
    page.wait_for_url("**/equipment?id=1001")
    value = page.locator("[data-point='1001/analog-input-1'] .oc-value")
    expect(value).to_contain_text("°C", timeout=PATIENCE)


def test_a_setpoint_is_commanded_and_relinquished(visit: Visit, admin: System) -> None:
    visit.login()
    page = visit.see("/equipment?id=1104")
    page.get_by_label("Command Zone Setpoint").click()
    dialog = page.locator(".oc-dialog")
    dialog.get_by_label("Value in °C").fill("23.5")
    dialog.get_by_role("button", name="Write").click()
    expect(dialog.locator(".oc-outcome")).to_contain_text("reads back 23.5", timeout=PATIENCE)
    expect(dialog.locator(".oc-slots")).to_contain_text("in force")
    slots = admin.get("/api/points/1104/analog-value-1/priority-array")["slots"]
    assert slots[7] == 23.5
    dialog.get_by_role("button", name="Relinquish").click()
    expect(dialog.locator(".oc-outcome")).to_contain_text("relinquished", timeout=PATIENCE)
    assert admin.get("/api/points/1104/analog-value-1/priority-array")["slots"][7] is None


def test_a_trend_is_drawn(visit: Visit) -> None:
    visit.login()
    page = visit.see("/trends?p=1101%2Fanalog-input-1&p=1101%2Fanalog-value-1")
    expect(page.locator(".oc-main canvas").first).to_be_visible()
    expect(page.locator(".oc-main")).to_contain_text("samples", timeout=PATIENCE)


def test_an_alarm_is_seen_and_acknowledged(visit: Visit, admin: System) -> None:
    point = "1105/analog-input-1"
    body = {"node_id": point, "condition": {"kind": "limit", "high": 1.0}, "message": "Zone on fire"}
    config = admin.post("/api/alarms/configs", body)
    visit.login()
    page = visit.see("/alarms")
    row = page.locator(".oc-alarm").filter(has_text="Zone on fire")
    row.get_by_role("button", name="Acknowledge").click(timeout=PATIENCE)
    expect(row).to_contain_text("seen by ana", timeout=PATIENCE)
    admin.http.delete(f"/api/alarms/configs/{config['id']}")
    expect(row).to_have_count(0, timeout=PATIENCE)


def test_an_alarm_is_shelved_and_comes_back(visit: Visit, admin: System) -> None:
    body = {
        "node_id": "1106/analog-input-1",
        "condition": {"kind": "limit", "high": 1.0},
        "message": "Shelf me",
    }
    config = admin.post("/api/alarms/configs", body)
    visit.login()
    page = visit.see("/alarms")
    row = page.locator(".oc-alarm").filter(has_text="Shelf me")
    expect(row).to_contain_text("VAV-6 · Zone Temp", timeout=PATIENCE)
    row.get_by_label("Shelve").click()
    page.get_by_text("Shelve for 1 hour").click()
    expect(row).to_contain_text("shelved until", timeout=PATIENCE)
    row.get_by_label("Take off the shelf").click()
    expect(row).not_to_contain_text("shelved", timeout=PATIENCE)
    # Nothing lies over anything else.
    boxes = [box for part in row.locator("> *").all() if (box := part.bounding_box())]
    for number, one in enumerate(boxes):
        for other in boxes[number + 1 :]:
            apart = (
                one["x"] + one["width"] <= other["x"] + 1
                or other["x"] + other["width"] <= one["x"] + 1
                or one["y"] + one["height"] <= other["y"] + 1
                or other["y"] + other["height"] <= one["y"] + 1
            )
            assert apart, (one, other)
    row.get_by_role("button", name="Acknowledge").click()
    expect(row).to_contain_text("seen by ana", timeout=PATIENCE)
    admin.http.delete(f"/api/alarms/configs/{config['id']}")
    expect(row).to_have_count(0, timeout=PATIENCE)


def test_health_shows_components_and_devices(visit: Visit) -> None:
    visit.login()
    page = visit.see("/health")
    expect(page.locator(".oc-main")).to_contain_text("history@north", timeout=PATIENCE)
    expect(page.locator(".oc-main")).to_contain_text("Boiler Plant")


def test_registers_of_a_modbus_unit_are_read(visit: Visit) -> None:
    visit.login()
    page = visit.see("/registers")
    page.get_by_label("Table").click()
    page.get_by_role("option", name="Input registers").click()
    page.get_by_role("button", name="Read").click()
    expect(page.get_by_role("status").filter(has_text="read, in")).to_be_visible()
    expect(page.locator(".oc-table tbody tr")).to_have_count(20)
    page.get_by_label("Address, from 0").fill("60000")
    page.get_by_role("button", name="Read").click()
    expect(page.locator(".oc-table tbody tr").first).to_contain_text("illegal data address (2)")


def test_a_bacnet_device_is_reached_from_the_health_view_and_told_the_time(visit: Visit) -> None:
    visit.login()
    page = visit.see("/health")
    page.get_by_role("link", name="AHU-1 (1001)").click()
    page.wait_for_url("**/device?key=1001&site=*")
    main = page.locator(".oc-main")
    expect(main).to_contain_text("points told by the device", timeout=PATIENCE)
    page.get_by_role("button", name="Set its clock").click()
    expect(page.get_by_role("status").filter(has_text="It was told the time")).to_be_visible()
    # The simulated devices have no such service.
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="unrecognized-service")).to_be_visible()
    page = visit.see("/equipment?id=1001")
    page.get_by_role("link", name="Device: schedules, calendars, clock").click()
    page.wait_for_url("**/device?key=1001&site=*")


def test_discovery_offers_scans_and_shows_what_was_found(visit: Visit, admin: System) -> None:
    visit.login()
    page = visit.see("/discovery")
    page.get_by_role("button", name="Scan", exact=True).click()
    row = page.locator(".oc-found").filter(has_text="bacnet 1001 at")
    expect(row).to_be_visible(timeout=2 * PATIENCE)
    row.get_by_role("link").click()
    main = page.locator(".oc-main")
    # The demo's campus.yaml has all its points, so that nothing is left to accept.
    expect(main).to_contain_text("points are in the model already", timeout=PATIENCE)
    expect(main).to_contain_text("Supply Air Temp")


def test_a_session_is_begun_and_its_items_verified(visit: Visit, admin: System) -> None:
    made = admin.post("/api/commissioning/sessions", {"name": "VAV-2 test", "node_id": "1102"})
    visit.login()
    page = visit.see("/commissioning")
    page.get_by_text("VAV-2 test").click()
    page.get_by_role("button", name="Begin", exact=True).click(timeout=PATIENCE)
    row = page.locator(".oc-found").filter(has_text="1102/analog-input-1").filter(has_text="Read")
    row.get_by_role("button", name="Verify").click(timeout=PATIENCE)
    expect(row).to_contain_text("Verified", timeout=PATIENCE)
    expect(row).to_contain_text("reads")
    admin.http.delete(f"/api/commissioning/sessions/{made['id']}")
