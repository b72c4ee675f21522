"""Schedules over HTTP."""

import pytest

from tests.api.conftest import Served

SCHEDULE = {
    "name": "Office",
    "kind": "analog",
    "default_value": 16.0,
    "zone": "Europe/Vienna",
    "week": [{"weekday": 1, "time": "07:00", "value": 21.0}, {"weekday": 1, "time": "18:00", "value": 16.0}],
}
EXCEPTION = {"period": {"kind": "date", "month": 12, "day": 25}, "entries": [{"time": "00:00", "value": 5.0}]}
WRONG = {"time": "00:00", "value": True}
POINT = "1001/analog-value-1"


def test_a_schedule_from_start_to_end(served: Served) -> None:
    client, admin = served.client, served.admin
    made = client.post("/api/schedules", json=SCHEDULE, headers=admin)
    assert made.status_code == 201
    path = f"/api/schedules/{made.json()['id']}"
    monday = client.get(f"{path}/effective", params={"at": "2026-11-23T07:00:00+01:00"}, headers=admin).json()
    assert (monday["value"], monday["source"], monday["next_change"]) == (
        21.0,
        "week",
        "2026-11-23T17:00:00.000Z",
    )
    exception = client.post(f"{path}/exceptions", json=EXCEPTION, headers=admin)
    assert exception.status_code == 201
    mine = f"/api/schedules/exceptions/{exception.json()['id']}"
    assert client.put(mine, json=EXCEPTION | {"priority": 2}, headers=admin).json()["priority"] == 2
    assert len(client.get(f"{path}/exceptions", headers=admin).json()["items"]) == 1
    christmas = client.get(f"{path}/effective", params={"at": "2026-12-25T12:00:00Z"}, headers=admin).json()
    assert (christmas["value"], christmas["source"]) == (5.0, "exception")
    assigned = client.post(f"{path}/assignments", json={"node_id": POINT}, headers=admin)
    assert assigned.status_code == 201
    assert len(client.get(f"{path}/assignments", headers=admin).json()["items"]) == 1
    found = client.get("/api/schedules", params={"node_id": POINT}, headers=admin).json()["items"]
    assert [(each["name"], each["site"]) for each in found] == [("Office", "north")]
    steps = client.get(
        f"{path}/preview",
        params={"start": "2026-11-23T00:00:00+01:00", "end": "2026-11-24T00:00:00+01:00"},
        headers=admin,
    ).json()
    assert [each["value"] for each in steps] == [16.0, 21.0, 16.0]
    assert client.get(f"{path}/preview", headers=admin).status_code == 200
    changed = client.put(path, json=SCHEDULE | {"priority": 15}, headers=admin).json()
    assert (changed["priority"], changed["assignments"]) == (15, [POINT])
    assert client.delete(f"{path}/assignments/{POINT}", headers=admin).status_code == 204
    assert client.delete(mine, headers=admin).status_code == 204
    assert client.get(mine, headers=admin).status_code == 404
    assert client.delete(path, headers=admin).status_code == 204
    assert client.get(path, headers=admin).status_code == 404
    actions = {each["action"] for each in client.get("/api/audit", headers=admin).json()["items"]}
    assert actions >= {
        "create_schedule",
        "update_schedule",
        "delete_schedule",
        "create_schedule_exception",
        "update_schedule_exception",
        "delete_schedule_exception",
        "assign_schedule",
        "unassign_schedule",
    }


def test_a_calendar_from_start_to_end(served: Served) -> None:
    client, admin = served.client, served.admin
    body = {"name": "Holidays", "entries": [{"period": {"kind": "date", "month": 1, "day": 1}}]}
    made = client.post("/api/schedules/calendars", json=body, headers=admin)
    assert made.status_code == 201
    path = f"/api/schedules/calendars/{made.json()['id']}"
    assert client.get(path, headers=admin).json() == made.json()
    assert client.put(path, json={"name": "H"}, headers=admin).json()["entries"] == []
    assert len(client.get("/api/schedules/calendars", headers=admin).json()["items"]) == 1
    client.post("/api/schedules", json=SCHEDULE, headers=admin)
    by_calendar = {"calendar_id": made.json()["id"], "entries": []}
    assert client.post("/api/schedules/1/exceptions", json=by_calendar, headers=admin).status_code == 201
    assert client.delete(path, headers=admin).status_code == 409
    assert client.delete("/api/schedules/exceptions/1", headers=admin).status_code == 204
    assert client.delete(path, headers=admin).status_code == 204


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/schedules", SCHEDULE | {"zone": "Mars/Base"}, "zone"),
        ("/api/schedules", SCHEDULE | {"week": [{"weekday": 1, "time": "7", "value": 1}]}, "week.0.time"),
        ("/api/schedules/1/exceptions", EXCEPTION | {"priority": 17}, "priority"),
        (
            "/api/schedules/1/exceptions",
            EXCEPTION | {"entries": [{"time": "00:00", "value": True}]},
            "entries",
        ),
        ("/api/schedules/1/exceptions", {"calendar_id": 9}, "calendar_id"),
        ("/api/schedules/1/assignments", {"node_id": "1001/analog-value-3"}, "node_id"),
    ],
)
def test_bad_input_is_refused_by_field(
    served: Served, path: str, body: dict[str, object], field: str
) -> None:
    client, admin = served.client, served.admin
    client.post("/api/schedules", json=SCHEDULE, headers=admin)
    answer = client.post(path, json=body, headers=admin)
    assert (answer.status_code, answer.json()["error"]["detail"][0]["field"]) == (422, field), answer.text


def test_times_without_a_calendar_are_refused(served: Served) -> None:
    client, admin = served.client, served.admin
    client.post("/api/schedules", json=SCHEDULE, headers=admin)
    for path, params, field in (
        ("effective", {"at": "9999-12-31T23:59:59Z"}, "at"),
        ("effective", {"at": "2026-11-23T07:00:00"}, "at"),
        ("preview", {"start": "9999-12-31T00:00:00Z", "end": "9999-12-31T01:00:00Z"}, "start"),
        ("preview", {"start": "2026-11-23T07:00:00Z", "end": "2026-11-23T07:00:00Z"}, "end"),
    ):
        answer = client.get(f"/api/schedules/1/{path}", params=params, headers=admin)
        assert (answer.status_code, answer.json()["error"]["detail"][0]["field"]) == (422, field), answer.text


def test_lists_page_by_page_and_by_filter(served: Served) -> None:
    client, admin = served.client, served.admin
    for number in range(3):
        body = SCHEDULE | {"name": f"S{number}", "enabled": number != 1}
        client.post("/api/schedules", json=body, headers=admin)
        client.post("/api/schedules/calendars", json={"name": f"C{number}"}, headers=admin)
    for path in ("/api/schedules", "/api/schedules/calendars"):
        first = client.get(path, params={"limit": 2}, headers=admin).json()
        rest = client.get(path, params={"cursor": first["next_cursor"]}, headers=admin).json()
        assert [each["id"] for each in (*first["items"], *rest["items"])] == [1, 2, 3]
        assert rest["next_cursor"] is None
        assert client.get(path, params={"cursor": "x"}, headers=admin).status_code == 422
    off = client.get("/api/schedules?enabled=false&text=s", headers=admin).json()["items"]
    assert [each["name"] for each in off] == ["S1"]


def test_unknown_points_names_twice_and_missing_permissions(served: Served) -> None:
    client, admin = served.client, served.admin
    assert client.post("/api/schedules", json=SCHEDULE, headers=admin).status_code == 201
    assert client.post("/api/schedules", json=SCHEDULE, headers=admin).status_code == 409
    unknown = client.post("/api/schedules/1/assignments", json={"node_id": "gone"}, headers=admin)
    assert unknown.status_code == 404
    viewer = served.login("vic", "viewer")
    assert client.get("/api/schedules/1/effective", headers=viewer).status_code == 200
    for method, path, body in (
        ("POST", "/api/schedules", SCHEDULE),
        ("PUT", "/api/schedules/1", SCHEDULE),
        ("DELETE", "/api/schedules/1", None),
        ("POST", "/api/schedules/1/exceptions", EXCEPTION),
        ("POST", "/api/schedules/1/assignments", {"node_id": POINT}),
        ("POST", "/api/schedules/calendars", {"name": "x"}),
    ):
        assert client.request(method, path, json=body, headers=viewer).status_code == 403
    assert client.get("/api/schedules").status_code == 401
