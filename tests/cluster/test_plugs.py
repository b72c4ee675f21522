"""Pulled plugs, one after the other on one campus; each leaves a row of the table that is printed at the end.

`make plugs` runs them (they are deselected otherwise); OPENCRATE_PLUG_SECONDS is how long the link is cut.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.campus import RISES, SITE, TABLE, HostedCampus, Row
from tests.cluster.system import OPENCRATE, environment, until

CUT = float(os.environ.get("OPENCRATE_PLUG_SECONDS", "600"))
SEED = int(os.environ.get("OPENCRATE_PLUG_SEED", "1"))

pytestmark = [pytest.mark.cluster, pytest.mark.plugs, pytest.mark.timeout(1200 + 2 * CUT)]


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    found: list[Row] = []
    yield found
    print("\n\n" + "\n".join([TABLE, *map(str, found)]))


def started(folder: Path, *, slow: bool = False) -> HostedCampus:
    made = HostedCampus(folder, slow=slow)
    try:
        made.raise_head()
        made.login()
        made.join()
        made.until_there()
        made.until_fresh()
        until(lambda: f"is up on {SITE}" in made.joined.said(), RISES, "the building is up")
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


def settle(campus: HostedCampus, rows: list[Row], plug: str, since: float, lasted: float, heal: float) -> Row:
    """Check all that must be true after a plug, and write its row."""
    campus.until_fresh()
    time.sleep(12)  # a sample more, so that the ledger's last gap has an end
    holes = campus.check_history(since)
    campus.check_overrides(since)
    again = campus.check_alarms()
    row = Row(plug, lasted, holes, heal, f"{again} events came twice" if again else "")
    rows.append(row)
    print(f"\n{row}")
    return row


def test_the_link_is_cut_for_long(campus: HostedCampus, rows: list[Row]) -> None:
    since = time.time()
    campus.command(duration=CUT / 2)
    campus.lan.cut(campus.building)
    campus.until_away()
    time.sleep(CUT)
    campus.lan.heal(campus.building)
    heal = campus.until_there()
    assert settle(campus, rows, "link cut", since, time.time() - since, heal).holes == []


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
    assert settle(campus, rows, "flapping link", since, time.time() - since, heal).holes == []


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
    assert settle(campus, rows, "head killed", since, time.time() - since, heal).holes == []


def test_the_building_is_killed(campus: HostedCampus, rows: list[Row]) -> None:
    since = time.time()
    campus.command(duration=10)
    campus.building.power_off()
    campus.until_away()
    campus.building.power_on()
    campus.join()
    heal = campus.until_there()
    campus.overrides = [(ends, time.time()) for ends, _ in campus.overrides]
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
    campus.head.power_off()
    campus.building.power_off()
    campus.building.power_on()
    before = campus.joined.said().count(", alone.")
    campus.join()
    until(lambda: campus.joined.said().count(", alone.") > before, RISES, "the building runs alone")
    campus.head.power_on()
    heal = head_back(campus)
    settle(campus, rows, "both off, building back first", since, time.time() - since, heal)


def test_the_heads_disk_is_lost(campus: HostedCampus, rows: list[Row]) -> None:
    campus.post("/api/system/backup", None)
    backups = campus.head_data / "campus" / "backups"
    until(lambda: list(backups.glob("users.db.*.bak")), 60, "a backup of the head's stores")
    since = time.time()
    campus.head.power_off()
    kept = campus.folder / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(backups, kept)
    token = (campus.head_data / "ray-token").read_text()
    shutil.rmtree(campus.head_data)
    backups.parent.mkdir(parents=True)
    shutil.copytree(kept, backups)
    (campus.head_data / "ray-token").touch(mode=0o600)
    (campus.head_data / "ray-token").write_text(token)
    subprocess.run(
        [OPENCRATE, "restore", "--yes", "--data", str(campus.head_data)],
        env=environment(),
        check=True,
        timeout=120,
    )
    campus.head.power_on()
    heal = head_back(campus)
    settle(campus, rows, "head's disk lost, restored from backup", since, time.time() - since, heal)


def test_the_building_gets_a_new_machine(campus: HostedCampus, rows: list[Row]) -> None:
    since = time.time()
    campus.replace()
    campus.until_away()
    campus.join()
    heal = campus.until_there()
    row = settle(campus, rows, "new machine with the copied files", since, time.time() - since, heal)
    assert len(row.holes) <= 1


def test_both_in_turn(campus: HostedCampus, rows: list[Row]) -> None:
    since = time.time()
    campus.building.power_off()
    campus.building.power_on()
    campus.head.power_off()
    campus.head.power_on()
    campus.join()
    heal = head_back(campus)
    settle(campus, rows, "building's host, then head killed", since, time.time() - since, heal)


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
