"""What is in the audit log when the log, or what was asked, is away."""

import time
from typing import Any

from actors.core.errors import UnreachableError
from tests.api.bodies import SCHEDULE
from tests.api.conftest import Served


class Away:
    """Stand before an actor; while `away`, calls are not answered, whether or not they are carried out."""

    def __init__(self, handle: Any, *, carried_out: bool) -> None:
        self.handle, self.carried_out, self.away = handle, carried_out, True

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.handle, name)
        if not self.away:
            return method
        outer = self

        class Method:
            def remote(self, *args: Any) -> Any:
                async def unanswered() -> None:
                    if outer.carried_out:
                        await method.remote(*args)
                    raise UnreachableError("it", "it is restarting")

                return unanswered()

        return Method()


def entries(served: Served, **params: str) -> list[dict[str, Any]]:
    answer = served.client.get("/api/audit", params=params, headers=served.admin)
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def soon(served: Served, **params: str) -> list[dict[str, Any]]:
    for _ in range(100):
        found = entries(served, **params)
        if found:
            return found
        time.sleep(0.05)
    return []


def test_a_change_is_logged_late_when_the_log_was_away(served: Served) -> None:
    served.admin  # noqa: B018 - makes the first admin
    served.campus.audit = away = Away(served.campus.audit, carried_out=False)
    answer = served.client.post("/api/schedules", json=SCHEDULE, headers=served.admin)
    assert answer.status_code == 201, answer.text
    away.away = False
    [entry] = soon(served, action="create_schedule")
    assert entry["detail"]["schedule"]["name"] == "Office"
    assert entry["detail"]["happened_at"].endswith("Z")
    assert not served.campus.trail.waiting


def test_a_change_that_nobody_answered_is_logged_as_such(served: Served) -> None:
    stores = served.campus.sites["north"].stores
    served.admin  # noqa: B018 - makes the first admin
    there = stores["schedules"]
    stores["schedules"] = Away(there, carried_out=True)
    assert served.client.post("/api/schedules", json=SCHEDULE, headers=served.admin).status_code == 503
    stores["schedules"] = there
    assert len(served.client.get("/api/schedules", headers=served.admin).json()["items"]) == 1
    [entry] = soon(served, action="unanswered")
    assert (entry["user"], entry["target"]) == ("ana", "POST /api/schedules")
    assert "restarting" in entry["detail"]["reason"]


def test_questions_that_nobody_answered_are_no_entry(served: Served) -> None:
    stores = served.campus.sites["north"].stores
    there, stores["schedules"] = stores["schedules"], Away(stores["schedules"], carried_out=True)
    answer = served.client.get("/api/schedules", headers=served.admin)
    stores["schedules"] = there
    assert answer.json()["unreachable_sites"] == ["north"]
    assert entries(served, action="unanswered") == []
