"""Reports over HTTP."""

import pytest

from tests.api.conftest import Served

WEEKLY = {"name": "Weekly", "template": "weekly_alarms"}
SCHEDULE = {"timing": {"every": "week", "zone": "Europe/Vienna"}, "recipients": ["ops@example.org"]}


def test_a_report_lives_from_definition_to_document(served: Served) -> None:
    client, admin = served.client, served.admin
    made = client.post("/api/reports", json=WEEKLY, headers=admin)
    assert made.status_code == 201
    report = made.json()
    assert (report["created_by"], [each["kind"] for each in report["sections"]]) == (
        "ana",
        ["alarms", "faults"],
    )
    path = f"/api/reports/{report['id']}"
    schedule = client.post(f"{path}/schedules", json=SCHEDULE, headers=admin).json()
    assert schedule["next_run"].endswith("Z")
    assert client.get(f"{path}/schedules", headers=admin).json()["items"] == [schedule]
    off = client.put(
        f"/api/reports/schedules/{schedule['id']}", json=SCHEDULE | {"enabled": False}, headers=admin
    )
    assert off.json()["next_run"] is None
    assert client.get(f"/api/reports/schedules/{schedule['id']}", headers=admin).json() == off.json()
    store = served.campus.stores["reports"].target
    run = store.queue(report["id"], "ana", 0, 1000)
    assert client.get(f"/api/reports/executions/{run.id}/document", headers=admin).status_code == 409
    store.start_execution(run.id)
    store.finish(run.id, "<h1>Weekly</h1>")
    document = client.get(f"/api/reports/executions/{run.id}/document", headers=admin)
    assert (document.text, document.headers["content-type"]) == (
        "<h1>Weekly</h1>",
        "text/html; charset=utf-8",
    )
    assert "default-src 'none'" in document.headers["content-security-policy"]
    for path_ in (f"{path}/executions", "/api/reports/executions?state=done"):
        [execution] = client.get(path_, headers=admin).json()["items"]
        assert (execution["state"], execution["size"]) == ("done", 15)
    assert client.get(f"/api/reports/executions/{run.id}", headers=admin).json() == execution
    changed = client.put(path, json=WEEKLY | {"description": "for the board"}, headers=admin)
    assert changed.json()["description"] == "for the board"
    assert client.get("/api/reports?text=week", headers=admin).json()["items"] == [changed.json()]
    gone = client.delete(f"/api/reports/schedules/{schedule['id']}", headers=admin)
    assert gone.status_code == 204
    assert client.delete(path, headers=admin).status_code == 204
    assert client.get(path, headers=admin).status_code == 404
    assert client.get(f"/api/reports/executions/{run.id}", headers=admin).status_code == 404
    actions = [each["action"] for each in client.get("/api/audit", headers=admin).json()["items"]]
    assert set(actions) >= {
        "create_report",
        "create_report_schedule",
        "update_report_schedule",
        "update_report",
        "delete_report_schedule",
        "delete_report",
    }


def test_templates_are_listed(served: Served) -> None:
    found = served.client.get("/api/reports/templates", headers=served.admin).json()
    assert len(found) == 4
    assert all(each["sections"] for each in found)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x", "template": "none"}, "template"),
        ({"name": "x", "sections": [{"kind": "pie"}]}, "sections.0"),
        ({"name": "x", "template": "comfort", "secret": 1}, "secret"),
    ],
)
def test_bad_definitions_are_refused_by_field(served: Served, body: dict[str, object], field: str) -> None:
    answer = served.client.post("/api/reports", json=body, headers=served.admin)
    assert answer.status_code == 422
    assert field in answer.json()["error"]["detail"][0]["field"]
    assert served.client.get("/api/reports", headers=served.admin).json()["items"] == []


def test_names_are_unique_and_viewers_only_read(served: Served) -> None:
    client, admin = served.client, served.admin
    assert client.post("/api/reports", json=WEEKLY, headers=admin).status_code == 201
    assert client.post("/api/reports", json=WEEKLY, headers=admin).status_code == 409
    viewer = served.login("vic", "viewer")
    assert client.get("/api/reports", headers=viewer).status_code == 200
    assert client.post("/api/reports", json=WEEKLY, headers=viewer).status_code == 403
    assert client.delete("/api/reports/1", headers=viewer).status_code == 403
    assert client.get("/api/reports").status_code == 401
