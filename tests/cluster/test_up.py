"""`opencrate up --demo`, used and abused as a person would."""

import os
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.processes import alive
from tests.cluster.conftest import Demo
from tests.cluster.system import ADMIN, OPENCRATE, System, environment, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SETPOINT_NAME = "Zone Setpoint"


@pytest.fixture(scope="module")
def system(demo: Demo) -> System:
    until(lambda: len(fresh(demo.system)) >= 150, 180, "150 points have fresh values")
    return demo.system


def age(point: dict[str, object]) -> float:
    return time.time() - datetime.fromisoformat(str(point["time"])).astimezone(UTC).timestamp()


def fresh(running: System) -> list[dict[str, object]]:
    return [each for each in running.points() if each["time"] and age(each) < 60 and not each["status"]]


def setpoint(running: System, equip: str) -> str:
    return next(
        each["id"]
        for each in running.points()
        if each["id"].startswith(f"{equip}/") and each["dis"].endswith(SETPOINT_NAME) and each["writable"]
    )


def test_values_move(system: System) -> None:
    first = {each["id"]: each["value"] for each in system.points()}
    until(
        lambda: sum(each["value"] != first.get(each["id"]) for each in system.points()) > 20,
        60,
        "more than 20 values have changed",
    )


def test_a_setpoint_is_written_at_a_priority_read_back_and_relinquished(system: System) -> None:
    point = setpoint(system, "1102")
    before = system.get(f"/api/points/{point}")["value"]
    wrote = system.post(f"/api/points/{point}/write", {"value": before + 1.5, "priority": 8})
    assert wrote["value"] == pytest.approx(before + 1.5)
    array = system.get(f"/api/points/{point}/priority-array")
    assert array["slots"][7] == pytest.approx(before + 1.5)
    assert array["active_priority"] == 8
    assert system.get(f"/api/points/{point}")["value"] == pytest.approx(before + 1.5)
    assert point in [each["node_id"] for each in system.get("/api/overrides")["items"]]
    system.post(f"/api/points/{point}/relinquish", {"priority": 8})
    assert system.get(f"/api/points/{point}/priority-array")["slots"][7] is None
    entries = system.get("/api/audit", target=point)["items"]
    assert {each["user"] for each in entries} == {ADMIN["username"]}


def test_an_override_ends_by_itself(system: System) -> None:
    point = setpoint(system, "1103")
    system.post(f"/api/points/{point}/write", {"value": 23.0, "priority": 8, "duration": 2})
    until(
        lambda: system.get(f"/api/points/{point}/priority-array")["slots"][7] is None,
        20,
        "the slot is given back",
    )


def test_a_modbus_register_is_commanded_and_read_back(system: System) -> None:
    drive = [each for each in system.points() if each["id"].startswith("drive-1/") and each["writable"]]
    reference = next(each for each in drive if isinstance(each["value"], float))
    system.post(f"/api/points/{reference['id']}/write", {"value": 31.0, "priority": 8})
    assert system.get(f"/api/points/{reference['id']}")["value"] == pytest.approx(31.0)
    assert system.get(f"/api/points/{reference['id']}/priority-array")["slots"][7] == pytest.approx(31.0)
    system.post(f"/api/points/{reference['id']}/relinquish", {"priority": 8})


def test_an_alarm_rises_is_acknowledged_and_clears(system: System) -> None:
    point = next(each for each in system.points() if each["dis"].endswith("Zone Temp"))
    config = system.post(
        "/api/alarms/configs",
        {
            "node_id": point["id"],
            "severity": "high",
            "condition": {"kind": "limit", "high": point["value"] - 5},
        },
    )

    def mine(**params: object) -> list[dict[str, object]]:
        return [
            each
            for each in system.get("/api/alarms", node_id=point["id"], **params)["items"]
            if each["config_id"] == config["id"]
        ]

    alarm = until(mine, 120, "the alarm is raised")[0]
    assert alarm["state"] == "active"
    assert "alarm" in system.get(f"/api/points/{point['id']}")["status"]
    seen = system.post(f"/api/alarms/{alarm['id']}/acknowledge", {"note": "on my way"})
    assert (seen["state"], seen["acknowledged_by"]) == ("acknowledged", ADMIN["username"])
    answer = system.http.put(
        f"/api/alarms/configs/{config['id']}",
        json={"node_id": point["id"], "severity": "high", "condition": {"kind": "limit", "high": 60.0}},
    )
    assert answer.status_code == 200, answer.text
    until(lambda: not mine(), 180, "the alarm leaves the list")


def test_every_actor_comes_back_after_kill_9_and_health_tells(system: System) -> None:
    names = sorted(name for name, each in system.components().items() if each["pid"] and "@" in name)
    assert len(names) >= 12
    took: dict[str, float] = {}
    for name in names:
        pid = int(system.components()[name]["pid"])
        if pid == system.process.pid:
            continue
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        until(
            lambda name=name, pid=pid: system.components()[name]["pid"] != pid,
            60,
            f"health saw that {name} died",
        )
        until(
            lambda name=name: system.components()[name]["state"] in {"healthy", "degraded"},
            60,
            f"{name} is back",
        )
        took[name] = time.monotonic() - killed
    slowest = max(took, key=lambda name: took[name])
    print(f"\n{len(took)} actors killed; the last to be back was {slowest} after {took[slowest]:.1f} s")
    until(lambda: len(fresh(system)) >= 150, 180, "all points are fresh again")


def test_every_acknowledged_change_is_in_the_journal_once_whoever_is_killed(system: System) -> None:
    system.post("/api/events/subscriptions", {"name": "test"})
    begun = system.get("/api/events/subscriptions")["items"][-1]["acknowledged"]
    made: list[str] = []
    for round_, name in enumerate(("bus@north", "nodes@north", "journal@north")):
        pid = int(system.components()[name]["pid"])
        for number in range(12):
            if number == 4:
                os.kill(pid, signal.SIGKILL)
            node = {
                "id": f"kept-{round_}-{number}",
                "node_type": "Space",
                "dis": "Kept",
                "parent_id": "north",
            }
            answer = system.http.post("/api/nodes", json=node)
            assert answer.status_code in {201, 503}, answer.text
            if answer.status_code == 201:
                made.append(node["id"])
        until(lambda name=name, pid=pid: system.components()[name]["pid"] != pid, 60, f"{name} is back")
    assert len(made) >= 20

    def journaled() -> list[dict[str, object]]:
        answer = system.get("/api/events/after/" + str(begun), types=["entity_created"], limit=1000)
        return [each for each in answer["events"] if str(each["entity_id"]).startswith("kept-")]

    until(lambda: {each["entity_id"] for each in journaled()} >= set(made), 120, "all are journaled")
    found = [each["entity_id"] for each in journaled()]
    assert len(found) == len(set(found)), "each once"
    every = system.get(f"/api/events/after/{begun}", limit=1000)["events"]
    assert [each["seq"] for each in every] == list(range(begun + 1, begun + 1 + len(every))), "no holes"


def test_a_viewer_can_write_nothing(system: System) -> None:
    system.post("/api/users", {"username": "vic", "password": "only looking on", "role": "viewer"})
    answer = system.http.post("/api/auth/login", json={"username": "vic", "password": "only looking on"})
    viewer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    point = setpoint(system, "1101")
    refused = system.http.post(f"/api/points/{point}/write", json={"value": 30.0}, headers=viewer)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")


def test_a_second_up_on_the_same_data_is_refused_with_the_reason(system: System) -> None:
    done = subprocess.run(
        [OPENCRATE, "up", "--demo", "--data", str(system.data)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert done.returncode == 2
    assert f"in use by another `opencrate up` (process {system.process.pid})" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stop_leaves_no_process_and_a_start_finds_everything_also_after_kill_9_of_the_command(
    tmp_path: Path,
) -> None:
    first = System(tmp_path / "data", "--demo").wait_up()
    try:
        first.setup()
        until(lambda: len(fresh(first)) >= 150, 180, "150 points have fresh values")
        first.post(
            "/api/nodes", {"id": "room-9", "node_type": "Space", "dis": "Room 9", "parent_id": "north"}
        )
        point = first.points()[0]["id"]
        samples = first.get(f"/api/history/{point}")["samples"]
        assert samples
        family = first.family()
    finally:
        code = first.stop()
    assert code == 0, first.log.read_text()
    until(lambda: not alive(family), 60, "all processes have ended")
    assert not list((tmp_path / "data").glob("*/*.db-wal"))
    second = System(tmp_path / "data", "--demo").wait_up()
    try:
        second.login(**ADMIN)
        assert second.get("/api/nodes/room-9")["dis"] == "Room 9"
        kept = {each["time"] for each in second.get(f"/api/history/{point}")["samples"]}
        assert {each["time"] for each in samples} <= kept
        family = second.family()
    finally:
        second.process.kill()
        second.process.wait()
    third = System(tmp_path / "data", "--demo").wait_up()
    try:
        third.login(**ADMIN)
        assert third.get("/api/nodes/room-9")["dis"] == "Room 9"
        assert not alive(family)
        family = third.family()
    finally:
        third.stop(signal.SIGINT)
    until(lambda: not alive(family), 60, "all processes have ended")
