"""Export targets over HTTP."""

import json

import pytest

from tests.api.conftest import Served

TARGET = {
    "name": "Historian",
    "connection": {"kind": "postgresql", "host": "db.example.org", "database": "hist", "username": "oc"},
    "password": "s3cret-password",
    "selection": {"tags": ["temp"]},
}


def test_a_target_from_start_to_end_and_its_secret_never_shows(served: Served) -> None:
    client, admin = served.client, served.admin
    said: list[str] = []

    def call(method: str, path: str, status: int, body: object = None) -> dict[str, object]:
        answer = client.request(method, path, json=body, headers=admin)
        said.append(answer.text)
        assert answer.status_code == status, answer.text
        found: dict[str, object] = answer.json() if answer.text else {}
        return found

    made = call("POST", "/api/export/targets", 201, TARGET)
    path = f"/api/export/targets/{made['id']}"
    assert made["has_password"] is True
    without = {key: value for key, value in TARGET.items() if key != "password"}
    assert call("PUT", path, 200, without | {"batch_size": 100})["has_password"] is True
    assert call("POST", f"{path}/pause", 200)["enabled"] is False
    assert call("POST", f"{path}/resume", 200)["enabled"] is True
    store = served.campus.stores["export"].target
    store.sent(made["id"], [("north", "p1", 5000, 2), ("north", "p2", 4000, 2)])
    assert call("GET", f"{path}/status", 200)["points"] == 2
    first = call("GET", f"{path}/state?limit=1", 200)
    rest = call("GET", f"{path}/state?cursor={first['next_cursor']}", 200)
    assert [each["point_id"] for each in (*first["items"], *rest["items"])] == ["p1", "p2"]  # type: ignore[misc]
    reset = call("POST", f"{path}/reset", 200, {"to": "1970-01-01T00:00:01Z"})
    assert reset["oldest_cursor"] == "1970-01-01T00:00:01.000Z"
    fill = {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}
    run = call("POST", f"{path}/backfill", 201, fill)
    assert (run["state"], run["progress"]) == ("queued", 0.0)
    assert len(call("GET", "/api/export/backfills?state=queued", 200)["items"]) == 1  # type: ignore[arg-type]
    call("POST", f"/api/export/backfills/{run['id']}/retry", 409)
    assert call("POST", f"/api/export/backfills/{run['id']}/cancel", 200)["state"] == "cancelled"
    call("GET", "/api/export/targets", 200)
    call("DELETE", path, 204)
    call("GET", path, 404)
    audit = call("GET", "/api/audit", 200)
    actions = {each["action"] for each in audit["items"]}  # type: ignore[attr-defined]
    assert actions >= {
        "create_export_target",
        "update_export_target",
        "pause_export_target",
        "resume_export_target",
        "reset_export_target",
        "backfill_export_target",
        "cancel_backfill",
        "delete_export_target",
    }
    assert "s3cret" not in json.dumps(said)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": " "}, "name"),
        ({"connection": {"kind": "oracle"}}, "connection"),
        ({"connection": TARGET["connection"] | {"host": "a b"}}, "host"),  # type: ignore[operator]
        ({"connection": TARGET["connection"] | {"table": "x;y"}}, "table"),  # type: ignore[operator]
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_targets_are_refused_by_field_and_show_no_secret(
    served: Served, change: dict[str, object], field: str
) -> None:
    answer = served.client.post("/api/export/targets", json=TARGET | change, headers=served.admin)
    assert answer.status_code == 422
    assert field in answer.json()["error"]["detail"][0]["field"]
    assert "s3cret" not in answer.text
    assert served.client.get("/api/export/targets", headers=served.admin).json()["items"] == []


@pytest.mark.parametrize("missing", ["name", "connection"])
def test_an_answer_to_a_body_that_lacks_a_field_shows_no_secret(served: Served, missing: str) -> None:
    body = {key: value for key, value in TARGET.items() if key != missing}
    answer = served.client.post("/api/export/targets", json=body, headers=served.admin)
    assert answer.status_code == 422
    assert "s3cret" not in answer.text
    short = served.client.post(
        "/api/users", json={"username": "x", "password": "s3cret"}, headers=served.admin
    )
    assert short.status_code == 422
    assert "s3cret" not in short.text


def test_a_backfill_ends_after_it_starts_and_viewers_only_read(served: Served) -> None:
    client, admin = served.client, served.admin
    assert client.post("/api/export/targets", json=TARGET, headers=admin).status_code == 201
    assert client.post("/api/export/targets", json=TARGET, headers=admin).status_code == 409
    body = {"start": "2026-02-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}
    assert client.post("/api/export/targets/1/backfill", json=body, headers=admin).status_code == 422
    viewer = served.login("vic", "viewer")
    assert client.get("/api/export/targets", headers=viewer).status_code == 200
    assert client.post("/api/export/targets", json=TARGET, headers=viewer).status_code == 403
    assert client.post("/api/export/targets/1/pause", headers=viewer).status_code == 403
    assert client.get("/api/export/targets").status_code == 401
