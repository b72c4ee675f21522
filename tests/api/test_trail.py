"""The way to the audit log while it is away."""

import asyncio
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
