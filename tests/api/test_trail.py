"""The way to the audit log while it is away."""

import asyncio
import errno
import json
from pathlib import Path
from typing import Any

import pytest

from actors.audit import trail as module
from actors.audit.trail import Trail
from actors.core.errors import UnreachableError
from tests.api.conftest import Served

POINT = "1001/analog-value-1"


class Log:
    def __init__(self) -> None:
        self.away = True
        self.entries: list[tuple[Any, ...]] = []

    async def add(self, *entry: Any) -> None:
        if self.away or entry[2] == "poison":
            raise UnreachableError("audit@campus", "it is restarting")
        self.entries.append(entry)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.001)


async def test_entries_wait_for_the_log_and_say_when_they_happened() -> None:
    log = Log()
    trail = Trail(log.add, lambda: 0)
    for target in ("a", "poison", "b"):
        await trail.add("ana", "write", target, {"value": 1})
    await asyncio.sleep(0.02)
    assert (trail.waiting, log.entries) == (3, [])
    log.away = False
    await trail.close(0.2)
    assert [entry[2] for entry in log.entries] in (["a", "b"], ["b", "a"])
    assert log.entries[0][3] == {"value": 1, "happened_at": "1970-01-01T00:00:00.000Z"}
    assert trail.waiting == 1


async def test_an_entry_that_breaks_the_way_to_the_log_holds_up_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    taken: list[str] = []

    async def add(user: str, action: str, target: str, detail: dict[str, Any]) -> None:
        if target == "broken" and not taken:
            raise RuntimeError("the store is gone")
        taken.append(target)

    trail = Trail(add)
    trail.later("bacnet 10.0.0.1", "write", "broken", {})
    await asyncio.sleep(0.02)
    trail.later("bacnet 10.0.0.1", "write", "b", {})
    await asyncio.sleep(0.02)
    await trail.close(0.2)
    assert (sorted(taken), trail.waiting) == (["b", "broken"], 0)
    assert "the store is gone" in caplog.text


async def test_past_a_bound_a_change_fails_rather_than_being_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    trail = Trail(Log().add)
    for _ in range(2):
        await trail.add("ana", "write", "a", {})
    with pytest.raises(UnreachableError, match="2 entries wait"):
        await trail.add("ana", "write", "a", {})
    await trail.close(0.0)


def test_a_write_while_the_audit_log_restarts_is_answered_and_logged_later(served: Served) -> None:
    admin, audit, log = served.admin, served.campus.audit, Log()
    served.campus.audit = type("Handle", (), {"add": type("Method", (), {"remote": log.add})})()
    body = {"value": 21.0}
    answer = served.client.post(f"/api/points/{POINT}/write", json=body, headers=admin)
    assert answer.status_code == 200, answer.text
    health = {each["name"]: each for each in served.client.get("/api/system/health").json()["components"]}
    assert health["api@campus"]["reasons"] == ["1 entries wait for the audit log"]
    served.campus.audit = audit
    for _ in range(200):
        served.client.get("/api/system/info", headers=admin)
        if not served.campus.trail.waiting:
            break
    found = served.client.get("/api/audit?action=write", headers=admin).json()["items"]
    assert [each["target"] for each in found] == [POINT]
    assert "happened_at" in found[0]["detail"]


def lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_what_waits_outlives_the_process_with_secrets_masked(tmp_path: Path) -> None:
    log, file = Log(), tmp_path / "north" / "audit.queue"
    killed = Trail(log.add, lambda: 0, queue_file=file)
    killed.start()
    await killed.add("ana", "write", "a", {"value": 1, "password": "hunter2"})
    await killed.add("ana", "write", "b", {"value": 2})
    assert killed._task is not None
    killed._task.cancel()
    assert "hunter2" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    log.away = False
    following = Trail(log.add, queue_file=file)
    following.start()
    following.later("ana", "write", "c", {})
    await following.close(1.0)
    assert [(target, detail.get("value")) for _, _, target, detail in log.entries] == [
        ("a", 1),
        ("b", 2),
        ("c", None),
    ]
    assert {entry[3]["happened_at"] for entry in log.entries[:2]} == {"1970-01-01T00:00:00.000Z"}
    assert not file.exists()


async def test_an_ordered_end_leaves_what_waits_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "audit.queue"
    trail = Trail(Log().add, queue_file=file)
    trail.later("ana", "write", "a", {})
    trail.later("ana", "write", "b", {})
    await trail.close(0.0)
    assert sorted(entry[2] for entry in lines(file)) == ["a", "b"]


async def test_no_file_is_made_while_the_log_takes_entries(tmp_path: Path) -> None:
    log, file = Log(), tmp_path / "audit.queue"
    log.away = False
    trail = Trail(log.add, queue_file=file)
    trail.start()
    await trail.add("ana", "write", "a", {})
    trail.later("ana", "write", "b", {})
    await trail.close(1.0)
    assert ([entry[2] for entry in log.entries], file.exists()) == (["a", "b"], False)


async def test_a_line_that_was_cut_off_costs_no_other(tmp_path: Path) -> None:
    log, file = Log(), tmp_path / "audit.queue"
    log.away = False
    file.write_text('["ana", "write", "a", {}]\n{"b": 1}\n["ana", "wri')
    trail = Trail(log.add, queue_file=file)
    trail.start()
    await trail.close(1.0)
    assert [entry[2] for entry in log.entries] == ["a"]


async def test_what_is_added_after_a_line_that_was_cut_off_is_an_entry(tmp_path: Path) -> None:
    log, file = Log(), tmp_path / "audit.queue"
    file.write_bytes(b'["ana", "write", "a", {}]\n\xff\x00\n["ana", "wri')
    trail = Trail(log.add, queue_file=file)
    trail.start()
    trail.later("ana", "write", "b", {})
    # As it is when this process is killed now.
    assert [entry[2] for entry in lines(file)] == ["a", "b"]
    log.away = False
    await trail.close(1.0)
    assert sorted(entry[2] for entry in log.entries) == ["a", "b"]


async def test_an_entry_of_another_make_can_be_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MOST", 1)
    file = tmp_path / "audit.queue"
    file.write_text('["ana", "write", "a", {}]\n')
    trail = Trail(Log().add, queue_file=file)
    trail.start()
    trail.later("ana", "write", "b", {})
    assert "not in the audit log: write a by ana" in caplog.text
    await trail.close(0.0)
    assert [entry[2] for entry in lines(file)] == ["b"]


async def test_an_entry_given_up_while_it_is_sent_takes_no_other_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    taken: list[str] = []
    may, sending = asyncio.Event(), asyncio.Event()

    async def add(user: str, action: str, target: str, detail: dict[str, Any]) -> None:
        sending.set()
        await may.wait()
        taken.append(target)

    trail = Trail(add)
    trail.later("ana", "write", "a", {})
    await sending.wait()
    for target in "bc":
        trail.later("ana", "write", target, {})
    may.set()
    await trail.close(1.0)
    assert taken == ["a", "b", "c"]


async def test_a_full_disk_while_many_wait_is_not_tried_with_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, begun = 0, asyncio.Event()

    def full(descriptor: int) -> None:
        nonlocal tried
        tried += 1
        begun.set()
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "audit.queue"
    trail = Trail(Log().add, queue_file=file)
    for number in range(1000):
        trail.later("ana", "write", str(number), {})
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", full)
        await trail.add("ana", "write", "first", {})
        await begun.wait()
        tried = 0
        for number in range(100):
            trail.later("ana", "write", f"more {number}", {})
    assert tried < 15
    for number in range(20):
        trail.later("ana", "write", f"last {number}", {})
    assert len(lines(file)) == 1121
    await trail.close(0.0)


async def test_a_full_disk_is_told_once_and_the_file_begins_anew_when_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "audit.queue"
    trail = Trail(Log().add, queue_file=file)
    await trail.add("ana", "write", "a", {})
    await asyncio.sleep(0.02)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", full)
        for target in "bc":
            await trail.add("ana", "write", target, {})
    assert caplog.text.count("in memory only") == 1
    await trail.add("ana", "write", "d", {})
    assert sorted(entry[2] for entry in lines(file)) == ["a", "b", "c", "d"]
    await trail.close(0.0)


async def test_the_file_stays_short_though_one_entry_is_never_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    log, file = Log(), tmp_path / "audit.queue"
    log.away = False
    trail = Trail(log.add, queue_file=file)
    trail.later("ana", "write", "poison", {})
    for number in range(100):
        trail.later("ana", "write", str(number), {})
        await asyncio.sleep(0.003)
    assert len(lines(file)) <= 21
    await trail.close(0.1)
    assert [entry[2] for entry in lines(file)] == ["poison"]
