"""Pulled plugs, one after the other on one campus; each leaves a row of the table that is printed at the end.

`make plugs` runs them (they are deselected otherwise); OPENCRATE_PLUG_SECONDS is how long the link is cut.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.cluster.campus import POINT, RISES, TABLE, TWO, HostedCampus, Row, seconds, write_token
from tests.cluster.system import OPENCRATE, environment, until

CUT = float(os.environ.get("OPENCRATE_PLUG_SECONDS", "600"))
HEALS = 2.0
"""Seconds within which the first call after a healed link is answered."""
SEED = int(os.environ.get("OPENCRATE_PLUG_SEED", "1"))

pytestmark = [pytest.mark.cluster, pytest.mark.plugs, pytest.mark.timeout(1200 + 2 * CUT)]


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    found: list[Row] = []
    yield found
    print("\n\n" + "\n".join([TABLE, *map(str, found)]))


def started(folder: Path, *, slow: bool = False, sites: Mapping[str, float] | None = None) -> HostedCampus:
    made = HostedCampus(folder, slow=slow, sites=sites)
    try:
        made.raise_head()
        made.login()
        for each in made.buildings.values():
            made.join(building=each)
            until(lambda at=each: f"is up on {at.site}" in at.joined.said(), RISES, f"{each.site} is up")
        made.until_there()
        made.until_fresh()
        made.make_noise()
        made.follow()
    except BaseException:
        made.close()
        raise
    return made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostedCampus]:
    made = started(tmp_path_factory.mktemp("plugs"))
    yield made
    made.close()


@pytest.fixture
def campus(shared: HostedCampus) -> HostedCampus:
    """A campus that is whole: what the test before has pulled is plugged in again."""
    shared.until_there()
    shared.until_fresh()
    return shared


def settle(
    campus: HostedCampus, rows: list[Row], plug: str, since: float, lasted: float, heal: float, note: str = ""
) -> Row:
    """Check all that must be true after a plug, and write its row."""
    campus.until_fresh()
    campus.until_whole()
    time.sleep(12)  # a sample more, so that the ledger's last gap has an end
    holes = [each for building in campus.buildings.values() for each in campus.check_history(since, building)]
    campus.check_overrides(since)
    again = campus.check_alarms()
    told = [*([note] if note else []), *([f"{again} events came twice"] if again else [])]
    row = Row(plug, lasted, holes, heal, ", ".join(told), again)
    rows.append(row)
    print(f"\n{row}", flush=True)
    return row


def test_the_link_is_cut_for_long(campus: HostedCampus, rows: list[Row]) -> None:
    since = time.time()
    campus.command(duration=CUT / 2)
    campus.lan.cut(campus.building)
    campus.until_away()
    time.sleep(CUT)
    campus.lan.heal(campus.building)
    heal = campus.until_there()
    row = settle(campus, rows, "link cut", since, time.time() - since, heal)
    assert (row.holes, row.again) == ([], 0)
    assert heal < HEALS


def test_the_link_flaps(campus: HostedCampus, rows: list[Row]) -> None:
    chance = random.Random(SEED)
    since = time.time()
    campus.command(duration=15)
    for _ in range(10):
        campus.lan.cut(campus.building)
        time.sleep(chance.uniform(1, 8))
        campus.lan.heal(campus.building)
        time.sleep(chance.uniform(1, 8))
    heal = campus.until_there()
    row = settle(campus, rows, "flapping link", since, time.time() - since, heal)
    assert (row.holes, row.again) == ([], 0)


def head_back(campus: HostedCampus) -> float:
    """Raise the head again; give how long after its API answers the building is reached."""
    campus.raise_head()
    campus.login()
    heal = campus.until_there()
    campus.follow()
    return heal


def test_the_head_is_killed(campus: HostedCampus, rows: list[Row]) -> None:
    since = time.time()
    campus.command(duration=10)
    campus.head.power_off()
    time.sleep(5)
    campus.head.power_on()
    heal = head_back(campus)
    row = settle(campus, rows, "head killed", since, time.time() - since, heal)
    assert row.holes == []


def test_the_building_is_killed(campus: HostedCampus, rows: list[Row]) -> None:
    since = time.time()
    campus.command(duration=10)
    campus.building.power_off()
    campus.until_away()
    campus.building.power_on()
    campus.join()
    heal = campus.until_there()
    campus.excuse_overrides()
    row = settle(campus, rows, "building's host killed", since, time.time() - since, heal)
    assert len(row.holes) <= 1


ACTORS = (
    "ModbusBridge",
    "HistoryStore",
    "NodeStore",
    "EventBus",
    "AlarmEngine",
    "PointStore",
    "OverrideStore",
    "CommandEngine",
    "AlarmStore",
    "JournalStore",
    "BacnetBridge",
    "ScheduleStore",
)


def test_actors_are_killed_while_cut_off(campus: HostedCampus, rows: list[Row]) -> None:
    since = time.time()
    campus.command(duration=100)
    campus.lan.cut(campus.building)
    campus.until_away()
    for each in ACTORS:
        campus.kill_actor(f"ray::{each}")
        time.sleep(12)
    assert "alone" not in campus.joined.said()
    campus.lan.heal(campus.building)
    heal = campus.until_there()
    row = settle(campus, rows, f"{len(ACTORS)} actors killed while cut off", since, time.time() - since, heal)
    assert row.holes == []
    until(lambda: campus.building.pids("ray::ModbusBridge"), RISES, "the bridge itself is back")


def test_the_building_starts_while_the_head_is_away(campus: HostedCampus, rows: list[Row]) -> None:
    since = time.time()
    campus.command(duration=10)
    campus.head.power_off()
    campus.building.power_off()
    campus.building.power_on()
    before = campus.joined.said().count(", alone.")
    campus.join()
    until(lambda: campus.joined.said().count(", alone.") > before, RISES, "the building runs alone")
    campus.head.power_on()
    campus.excuse_overrides()
    heal = head_back(campus)
    row = settle(campus, rows, "both off, building back first", since, time.time() - since, heal)
    assert len(row.holes) <= 1


def test_the_heads_disk_is_lost(campus: HostedCampus, rows: list[Row]) -> None:
    campus.post("/api/system/backup", None)
    backups = campus.head_data / "campus" / "backups"
    until(lambda: list(backups.glob("users.db.*.bak")), 60, "a backup of the head's stores")
    since = time.time()
    campus.command(duration=10)
    campus.head.power_off()
    kept = campus.folder / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(backups, kept)
    token = (campus.head_data / "ray-token").read_text()
    shutil.rmtree(campus.head_data)
    backups.parent.mkdir(parents=True)
    shutil.copytree(kept, backups)
    write_token(campus.head_data, token)
    subprocess.run(
        [OPENCRATE, "restore", "--yes", "--data", str(campus.head_data)],
        env=environment(),
        check=True,
        timeout=120,
    )
    campus.head.power_on()
    heal = head_back(campus)
    row = settle(campus, rows, "head's disk lost, restored from backup", since, time.time() - since, heal)
    assert len(row.holes) <= 1, "Ray ends on a host that its head doesn't know: all actors rise once more"


def test_what_rays_head_knew_is_lost(campus: HostedCampus, rows: list[Row]) -> None:
    since = time.time()
    campus.command(duration=10)
    campus.head.power_off()
    shutil.rmtree(campus.head_data / "gcs")
    campus.head.power_on()
    heal = head_back(campus)
    row = settle(campus, rows, "head killed, its gcs/ lost", since, time.time() - since, heal)
    assert len(row.holes) <= 1, "as above"


def test_the_command_up_is_killed(campus: HostedCampus, rows: list[Row]) -> None:
    since = time.time()
    campus.command(duration=10)
    campus.up.signal(signal.SIGKILL)
    campus.up.wait(20)
    heal = head_back(campus)
    row = settle(campus, rows, "`opencrate up` alone killed", since, time.time() - since, heal)
    assert row.holes == []


def test_the_command_join_is_killed(campus: HostedCampus, rows: list[Row]) -> None:
    since = time.time()
    campus.command(duration=10)
    before = campus.joined.said().count("is up on")
    campus.joined.signal(signal.SIGKILL)
    campus.joined.wait(20)
    time.sleep(2)
    campus.join()
    until(lambda: campus.joined.said().count("is up on") > before, RISES, "the building is up again")
    heal = campus.until_there()
    campus.excuse_overrides()
    row = settle(campus, rows, "`opencrate join` alone killed", since, time.time() - since, heal)
    assert len(row.holes) <= 1, "the next one ends what was left, and raises it again"


def test_the_building_gets_a_new_machine(campus: HostedCampus, rows: list[Row]) -> None:
    since = time.time()
    campus.command(duration=10)
    campus.replace()
    campus.until_away()
    campus.join()
    heal = campus.until_there()
    campus.excuse_overrides()
    row = settle(campus, rows, "new machine with the copied files", since, time.time() - since, heal)
    assert len(row.holes) <= 1
    assert row.again == 0


def test_both_in_turn(campus: HostedCampus, rows: list[Row]) -> None:
    since = time.time()
    campus.command(duration=10)
    campus.building.power_off()
    campus.building.power_on()
    campus.head.power_off()
    campus.head.power_on()
    campus.join()
    heal = head_back(campus)
    campus.excuse_overrides()
    row = settle(campus, rows, "building's host, then head killed", since, time.time() - since, heal)
    assert len(row.holes) <= 2, "off, and the way back from running alone"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostedCampus]:
    """Two buildings, one whose clock is ahead of the head's and one whose clock is behind."""
    made = started(tmp_path_factory.mktemp("two"), sites={"north": 90.0, "south": -90.0})
    yield made
    made.close()


def test_clocks_are_apart(two: HostedCampus, rows: list[Row]) -> None:
    since = time.time()
    two.command(duration=15)
    told = {each["name"]: each["clock_skew_s"] for each in two.get("/api/system/hosts")["items"]}
    assert told["head"] == 0
    for building in two.buildings.values():
        assert abs(told[building.site] - building.ahead) < 2, told
        state = two.get(f"/api/points/{POINT}", site=building.site)
        assert abs(building.now() - seconds(state["time"])) < TWO, "a time of the building's own clock"
    said = two.head.start(
        [str(OPENCRATE), "doctor", "--data", str(two.head_data)], two.folder / "doctor.out", environment()
    )
    said.wait(60)
    skews = re.findall(r"the clock is (?:89|90)\.\d s (ahead of|behind)", said.said())
    assert sorted(skews) == ["ahead of", "behind"], said.said()
    two.lan.cut(two.building)
    away = two.until_away()
    two.login()
    time.sleep(20)
    two.lan.heal(two.building)
    heal = two.until_there()
    note = f"said to be away after {away:.1f} s"
    row = settle(two, rows, "clocks 90 s apart, link cut", since, time.time() - since, heal, note)
    assert (row.holes, row.again) == ([], 0)


def test_one_of_two_buildings_is_cut(two: HostedCampus, rows: list[Row]) -> None:
    two.until_there()
    since = time.time()
    answer = two.request("GET", f"/api/points/{POINT}")
    assert answer.status_code == 422
    assert "one of north, south" in answer.text
    two.longest = 0.0
    two.lan.cut(two.building)
    two.until_away()
    slowest = two.longest
    two.longest = 0.0
    refused: list[str] = []
    ends = time.monotonic() + min(CUT, 60)
    while time.monotonic() < ends:
        for path in ("/api/points", "/api/alarms", "/api/nodes", "/api/sites", "/api/system/hosts"):
            page = two.get(path, limit=100)
            assert page["unreachable_sites"] == ["north"], path
            assert page["items"], path
        state = two.request("GET", f"/api/points/{POINT}", params={"site": "south"})
        if state.status_code != 200:
            refused.append(state.text)
        assert two.request("GET", f"/api/points/{POINT}", params={"site": "north"}).status_code == 503
        time.sleep(0.5)
    assert refused == []
    note = f"longest request {slowest:.1f} s until it was known, {two.longest:.1f} s then"
    two.lan.heal(two.building)
    heal = two.until_there()
    row = settle(two, rows, "one of two buildings cut", since, time.time() - since, heal, note)
    assert (row.holes, row.again) == ([], 0)
    assert heal < HEALS


def test_a_slow_link(tmp_path: Path, rows: list[Row]) -> None:
    campus = started(tmp_path, slow=True)
    try:
        since = time.time()
        campus.command(duration=20)
        time.sleep(60)
        slowest = campus.longest
        row = settle(campus, rows, "slow link (200 ms, 1 % loss)", since, time.time() - since, 0.0)
        row.note = f"longest request {slowest:.1f} s"
        assert row.holes == []
        campus.joined.signal(signal.SIGTERM)
        assert campus.joined.wait(120) == 0, campus.joined.said()
    finally:
        campus.close()
