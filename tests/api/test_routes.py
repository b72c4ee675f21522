"""What holds for every route: permissions, lists, audit."""

from typing import Any

import pytest

from api.app import every_route, permission_of
from tests.api.bodies import BODIES, filled
from tests.api.conftest import Served

OWN = {
    ("POST", "/api/auth/setup"),
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/logout"),
    ("POST", "/api/auth/refresh"),
    ("POST", "/api/auth/password"),
}
"""Changes of one's own session and password: a login is enough, or is what is asked for."""
QUESTIONS = {("POST", "/api/history/query"), ("POST", "/api/programs/check")}
"""They change nothing; what they ask doesn't fit into an address."""
WITHOUT_SITE = {
    "/api/users",
    "/api/audit",
    "/api/reports",
    "/api/reports/executions",
    "/api/reports/{report_id}/schedules",
    "/api/reports/{report_id}/executions",
    "/api/notifications/recipients",
    "/api/mqtt/brokers/{broker_id}/patterns",
    "/api/webhooks/deliveries",
    "/api/webhooks/{endpoint_id}/deliveries",
    "/api/export/backfills",
    "/api/export/targets/{target_id}/state",
    "/api/discovery/modbus/profiles",
    "/api/discovery/profiles",
}
"""Lists of the campus whose records belong to no site."""


def operations(served: Served) -> dict[tuple[str, str], dict[str, Any]]:
    document = served.client.app.openapi()  # type: ignore[attr-defined]
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_change_needs_a_permission_and_the_document_says_which(served: Served) -> None:
    documented = operations(served)
    routes = [
        (method, route.path.replace(":path", ""), permission_of(route.dependant))
        for route in every_route(served.client.app.routes)  # type: ignore[attr-defined]
        for method in route.methods
        if route.include_in_schema
    ]
    assert len(routes) > 150
    for method, path, permission in routes:
        assert documented[method, path].get("x-permission") == (permission and permission.value)
        if method != "GET" and (method, path) not in OWN | QUESTIONS:
            assert permission is not None, f"{method} {path}"


def lists(served: Served) -> dict[str, set[str]]:
    """Give the lists with the names in their query."""
    found = {}
    for (method, path), operation in operations(served).items():
        content = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
        if method == "GET" and content.get("schema", {}).get("$ref", "").endswith("/Page"):
            found[path] = {each["name"] for each in operation.get("parameters", [])}
    return found


def test_every_list_has_pages_and_can_be_of_one_site(served: Served) -> None:
    found = lists(served)
    assert len(found) > 40
    for path, names in found.items():
        assert {"limit", "cursor"} <= names, path
        assert ("site" in names) == (path not in WITHOUT_SITE), path


@pytest.fixture
def filled_up(served: Served) -> Served:
    for (method, path), body in BODIES.items():
        if method == "POST" and not path.startswith("/api/auth"):
            served.client.post(filled(path), json=body, headers=served.admin)
    return served


def pages(served: Served, path: str, limit: int) -> list[Any]:
    items: list[Any] = []
    cursor = None
    while True:
        params = {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
        answer = served.client.get(path, params=params, headers=served.admin)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["items"]) <= limit
        items += answer.json()["items"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return items


MOVING = {"/api/audit", "/api/system/bus", "/api/system/hosts", "/api/sites"}
"""Lists that asking changes, or that show times."""


def test_every_list_is_the_same_in_pages_of_one(filled_up: Served) -> None:
    longer = 0
    for path in lists(filled_up):
        target = filled(path)
        if path in MOVING or filled_up.client.get(target, headers=filled_up.admin).status_code == 404:
            continue
        whole = pages(filled_up, target, 1000)
        longer += len(whole) > 1
        assert pages(filled_up, target, 1) == whole, path
    assert longer >= 5


OF_OLD_SITES = {"/api/system/backups", "/api/notifications/log"}


def test_an_unknown_site_is_said(served: Served) -> None:
    for (method, path), operation in operations(served).items():
        names = {each["name"] for each in operation.get("parameters", [])}
        if method == "GET" and "{" not in path and "site" in names and path not in OF_OLD_SITES:
            answer = served.client.get(path, params={"site": "nowhere"}, headers=served.admin)
            assert answer.status_code == 404, f"{path}: {answer.text}"


CHANGES = [
    each
    for each in BODIES
    if not each[1].startswith("/api/auth") and each not in QUESTIONS and "acknowledge" not in each[1]
]


def test_every_change_is_audited(served: Served) -> None:
    """Each change that is answered with 2xx is one more entry at least."""

    def count() -> int:
        return len(pages(served, "/api/audit", 1000))

    silent, done = [], 0
    before = count()
    for method, path in CHANGES:
        answer = served.client.request(method, filled(path), json=BODIES[method, path], headers=served.admin)
        after = count()
        if answer.status_code < 300:
            done += 1
            if after <= before:
                silent.append(f"{method} {path}")
        before = after
    assert silent == []
    assert done > 50


@pytest.mark.parametrize(
    ("path", "body", "there"),
    [
        ("/api/mqtt/brokers", {"name": "x", "host": "m", "sites": ["north"]}, True),
        ("/api/mqtt/brokers", {"name": "x", "host": "m", "sites": []}, True),
        ("/api/mqtt/brokers", {"name": "x", "host": "m", "sites": ["south"]}, False),
        ("/api/webhooks", {"name": "x", "url": "https://w.example.org", "sites": ["south", "north"]}, True),
        ("/api/webhooks", {"name": "x", "url": "https://w.example.org", "sites": ["south"]}, False),
        ("/api/notifications/shelvings", {"site": "north", "reason": "r", "duration": 60}, True),
        ("/api/notifications/shelvings", {"tag": "temp", "reason": "r", "duration": 60}, True),
        ("/api/notifications/shelvings", {"site": "south", "reason": "r", "duration": 60}, False),
    ],
)
def test_what_is_for_a_site_is_listed_by_it(
    served: Served, path: str, body: dict[str, Any], there: bool
) -> None:
    assert served.client.post(path, json=body, headers=served.admin).status_code == 201
    assert len(served.client.get(path, headers=served.admin).json()["items"]) == 1
    found = served.client.get(path, params={"site": "north"}, headers=served.admin).json()["items"]
    assert len(found) == int(there)


def test_rules_and_targets_are_listed_by_site(served: Served) -> None:
    for path in ("/api/notifications/recipients", "/api/notifications/rules", "/api/export/targets"):
        assert served.client.post(path, json=BODIES["POST", path], headers=served.admin).status_code == 201
    for path in ("/api/notifications/rules", "/api/export/targets"):
        found = served.client.get(path, params={"site": "north"}, headers=served.admin).json()["items"]
        assert len(found) == 1


def test_a_report_is_asked_for(served: Served) -> None:
    client, admin = served.client, served.admin
    client.post("/api/reports", json=BODIES["POST", "/api/reports"], headers=admin)
    times = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    made = client.post("/api/reports/1/run", json=times, headers=admin)
    assert (made.status_code, made.json()["state"], made.json()["requested_by"]) == (201, "queued", "ana")
    assert client.get("/api/reports/1/executions", headers=admin).json()["items"] == [made.json()]
    turned = {"start": times["end"], "end": times["start"]}
    assert client.post("/api/reports/1/run", json=turned, headers=admin).status_code == 422
    assert client.post("/api/reports/9/run", json=times, headers=admin).status_code == 404


def test_one_override_is_looked_at(served: Served) -> None:
    client, admin = served.client, served.admin
    client.post("/api/points/1001/analog-value-1/write", json={"value": 1.0}, headers=admin)
    [listed] = client.get("/api/overrides", headers=admin).json()["items"]
    assert client.get(f"/api/overrides/{listed['id']}", headers=admin).json() == listed
    assert client.get("/api/overrides/99", headers=admin).status_code == 404
