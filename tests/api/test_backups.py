"""Backups on demand."""

import time
from pathlib import Path
from typing import Any

from tests.api.conftest import Served


def progress(served: Served) -> dict[str, Any]:
    answer = served.client.get("/api/system/backup", headers=served.admin).json()
    assert answer["unreachable_sites"] == []
    return {each["site"]: each for each in answer["items"]}


def test_a_backup_on_demand_shows_its_progress_and_is_listed(served: Served) -> None:
    assert progress(served) == {}
    begun = served.client.post("/api/system/backup", headers=served.admin)
    assert begun.status_code == 202
    assert [(each["site"], each["running"]) for each in begun.json()["items"]] == [
        ("campus", True),
        ("north", True),
    ]
    while any(each["running"] for each in progress(served).values()):
        time.sleep(0.01)
    stores = [each for job in progress(served).values() for each in job["stores"]]
    assert {each["state"] for each in stores} == {"done"}
    assert len(stores) == 19, "all that have a file, and the journal"
    assert all(each["copied"] == each["size"] > 0 and Path(each["path"]).exists() for each in stores)
    listed = served.client.get("/api/system/backups", headers=served.admin).json()["items"]
    assert {each["store"] for each in listed} == {each["store"] for each in stores}
    assert all(len(each["sha256"]) == 64 for each in listed)
    entries = served.client.get("/api/audit", params={"action": "backup"}, headers=served.admin).json()
    assert entries["items"][0]["detail"] == {"sites": ["campus", "north"]}


def test_who_may_not_manage_users_sees_no_backups(served: Served) -> None:
    viewer = served.login("vic", "viewer")
    for method, path in (("POST", "backup"), ("GET", "backup"), ("GET", "backups")):
        assert served.client.request(method, f"/api/system/{path}", headers=viewer).status_code == 403
