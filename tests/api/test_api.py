import contextlib
import json
from concurrent.futures import CancelledError
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.websockets import WebSocketDisconnect

from actors.alarm.models import Severity
from api.app import create_app
from api.deps import current_user
from api.middleware import MAX_BODY, Limits
from tests.api.conftest import PASSWORD, Served

POINT = "1001/analog-value-1"
PUBLIC = {
    ("GET", "/api/auth/setup"),
    ("POST", "/api/auth/setup"),
    ("POST", "/api/auth/login"),
    ("GET", "/api/system/health"),
    ("GET", "/docs"),
    ("GET", "/docs/oauth2-redirect"),
    ("GET", "/redoc"),
}


def routes(served: Served) -> list[tuple[str, APIRoute]]:
    found: list[tuple[str, APIRoute]] = []

    def walk(items: Any) -> None:
        for each in items:
            if isinstance(each, APIRoute):
                found.extend((method, each) for method in sorted(each.methods))
            elif hasattr(each, "original_router"):
                walk(each.original_router.routes)

    walk(served.client.app.routes)  # type: ignore[attr-defined]
    return found


def depends_on_user(dependant: Any) -> bool:
    return dependant.call is current_user or any(depends_on_user(each) for each in dependant.dependencies)


def test_every_route_but_a_few_needs_a_login(served: Served) -> None:
    listed = routes(served)
    assert len(listed) > 40
    for method, route in listed:
        public = (method, route.path) in PUBLIC
        assert public != depends_on_user(route.dependant), f"{method} {route.path}"


def test_without_a_token_nothing_is_told(served: Served) -> None:
    served.admin  # noqa: B018 - makes the first admin
    served.client.cookies.clear()
    for method, route in routes(served):
        if (method, route.path) in PUBLIC:
            continue
        path = route.path.replace(":path", "").replace("{", "").replace("}", "")
        answer = served.client.request(method, path, json={})
        assert answer.status_code == 401, f"{method} {path}"
        assert answer.json()["error"]["code"] == "unauthorized"


def test_the_cookie_alone_commands_nothing(served: Served) -> None:
    served.admin  # noqa: B018 - makes the first admin, whose login sets the cookie
    assert served.client.cookies.get("opencrate_token")
    assert served.client.post(f"/api/points/{POINT}/write", json={"value": 1.0}).status_code == 401


def test_a_viewer_changes_nothing(served: Served) -> None:
    viewer = served.login("vic", "viewer")
    writes = {
        ("POST", f"/api/points/{POINT}/write"): {"value": 1.0},
        ("POST", f"/api/points/{POINT}/relinquish"): {"priority": 8},
        ("POST", "/api/nodes"): {"id": "x", "node_type": "Space", "dis": "X"},
        ("PATCH", "/api/nodes/1001"): {"dis": "Y"},
        ("DELETE", "/api/nodes/1001"): {},
        ("POST", "/api/alarms/configs"): {"node_id": POINT, "condition": {"kind": "stale"}},
        ("POST", "/api/alarms/1/acknowledge"): {},
        ("POST", "/api/alarms/1/shelve"): {"duration": 60},
        ("POST", "/api/users"): {"username": "eve", "password": PASSWORD},
        ("DELETE", "/api/users/1"): {},
        ("POST", "/api/system/backup"): {},
        ("DELETE", "/api/overrides/1"): {},
    }
    for (method, path), body in writes.items():
        answer = served.client.request(method, path, json=body, headers=viewer)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), path
    assert served.client.get(f"/api/points/{POINT}", headers=viewer).json()["value"] == 20.0


@pytest.mark.parametrize("path", [POINT, POINT.replace("/", "%2F")])
def test_a_point_by_its_id_raw_or_encoded(served: Served, path: str) -> None:
    answer = served.client.get(f"/api/points/{path}", headers=served.admin).json()
    assert {"id", "site", "value", "status", "time", "units"} <= answer.keys()
    assert (answer["id"], answer["time"]) == (POINT, "2023-11-14T22:13:20.000Z")
    array = served.client.get(f"/api/points/{path}/priority-array", headers=served.admin)
    assert array.json()["slots"] == [None] * 16


def test_lists_page_by_page(served: Served) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        answer = served.client.get("/api/points", params=params, headers=served.admin).json()
        assert answer.keys() == {"items", "next_cursor", "unreachable_sites"}
        seen += [each["id"] for each in answer["items"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert seen == [f"1001/analog-value-{number}" for number in range(1, 6)]


def test_a_command_is_read_back_noted_and_audited(served: Served) -> None:
    body = {"value": 25.5, "priority": 8, "duration": 600, "note": "too cold"}
    answer = served.client.post(f"/api/points/{POINT}/write", json=body, headers=served.admin).json()
    assert (answer["old_value"], answer["written"], answer["value"]) == (20.0, 25.5, 25.5)
    [override] = served.client.get("/api/overrides", headers=served.admin).json()["items"]
    assert (override["node_id"], override["by"], override["note"]) == (POINT, "ana", "too cold")
    entries = served.client.get("/api/audit", params={"target": POINT}, headers=served.admin).json()["items"]
    assert entries[0]["detail"]["old_value"] == 20.0
    assert served.client.delete(f"/api/overrides/{override['id']}", headers=served.admin).status_code == 200
    assert served.client.get("/api/overrides", headers=served.admin).json()["items"] == []
    assert served.client.get("/api/audit/verify", headers=served.admin).json()["ok"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "value"),
        ({"value": None}, "value"),
        ({"value": [1]}, "value"),
        ({"value": 1, "priority": 0}, "priority"),
        ({"value": 1, "priority": 17}, "priority"),
        ({"value": 1, "duration": -1}, "duration"),
        ({"value": 1, "extra": 1}, "extra"),
        ({"value": 10**400}, "value"),
    ],
)
def test_bad_commands_name_the_field_and_change_nothing(
    served: Served, body: dict[str, Any], field: str
) -> None:
    answer = served.client.post(f"/api/points/{POINT}/write", json=body, headers=served.admin)
    assert answer.status_code == 422
    assert answer.json()["error"]["detail"][0]["field"].startswith(field)
    assert served.points.get(POINT).value == 20.0


def test_a_read_only_point_refuses_with_its_reason(served: Served) -> None:
    answer = served.client.post(
        "/api/points/1001/analog-value-2/write", json={"value": 1.0}, headers=served.admin
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert "read only" in answer.json()["error"]["message"]


def test_history_in_samples_and_rollups(served: Served) -> None:
    samples = served.client.get(f"/api/history/{POINT}", headers=served.admin).json()["samples"]
    assert samples == [{"time": "2023-11-14T22:13:20.000Z", "value": 20.0, "status": []}]
    times = {"start": "2023-11-14T22:00:00Z", "end": "2023-11-14T23:00:00Z", "interval": 3600}
    [rollup] = served.client.get(f"/api/history/{POINT}/rollup", params=times, headers=served.admin).json()[
        "items"
    ]
    assert (rollup["avg"], rollup["count"]) == (20.0, 1)
    both = {"ids": [POINT, "1001/analog-value-2"]}
    items = served.client.post("/api/history/query", json=both, headers=served.admin).json()["items"]
    assert [each["samples"][0]["value"] for each in items] == [20.0, 21.0]
    wrong = served.client.get(f"/api/history/{POINT}", params={"start": "yesterday"}, headers=served.admin)
    assert wrong.status_code == 422


def test_an_alarm_from_configuration_to_close(served: Served) -> None:
    body = {"node_id": POINT, "condition": {"kind": "limit", "high": 10.0}, "severity": "high"}
    made = served.client.post("/api/alarms/configs", json=body, headers=served.admin)
    assert made.status_code == 201
    alarm = served.alarms.raise_alarm(POINT, Severity.HIGH, "too warm", 20.0, made.json()["id"])
    operator = served.login("otto", "operator")
    assert served.client.get("/api/alarms/summary", headers=operator).json()["unacknowledged"] == 1
    seen = served.client.post(f"/api/alarms/{alarm.id}/acknowledge", json={"note": "ok"}, headers=operator)
    assert (seen.json()["state"], seen.json()["acknowledged_by"]) == ("acknowledged", "otto")
    served.alarms.clear(alarm.id)
    assert served.client.get("/api/alarms", headers=operator).json()["items"] == []
    assert served.client.get(f"/api/alarms/{alarm.id}", headers=operator).json()["state"] == "closed"
    steps = served.client.get("/api/alarms/history", headers=operator).json()["items"]
    assert [each["event"] for each in steps] == ["cleared", "acknowledged", "raised"]
    gone = served.client.delete(f"/api/alarms/configs/{made.json()['id']}", headers=served.admin)
    assert gone.status_code == 204


def test_nodes_made_changed_and_deleted(served: Served) -> None:
    new = {"id": "room/1", "node_type": "Space", "dis": "Room 1", "parent_id": "north", "tags": ["room"]}
    assert served.client.post("/api/nodes", json=new, headers=served.admin).status_code == 201
    assert served.client.post("/api/nodes", json=new, headers=served.admin).status_code == 409
    changed = served.client.patch("/api/nodes/room/1", json={"dis": "Hall"}, headers=served.admin)
    assert changed.json()["dis"] == "Hall"
    tagged = served.client.get("/api/nodes/by-tag/room", headers=served.admin).json()["items"]
    assert [each["id"] for each in tagged] == ["room/1"]
    below = served.client.get("/api/nodes/north/children", headers=served.admin).json()["items"]
    assert [each["id"] for each in below] == ["1001", "room/1"]
    tree = served.client.get("/api/nodes/north/hierarchy", headers=served.admin).json()
    assert len(tree["children"][0]["children"]) == 5
    assert served.client.delete("/api/nodes/1001", headers=served.admin).status_code == 409
    assert served.client.delete("/api/nodes/room/1", headers=served.admin).json() == {"deleted": ["room/1"]}


GARBAGE: list[Any] = [None, [], "x", 1, {"a": {"b": [1]}}, {"value": {"x": 1}}, {"id": "\u0000"}]


def test_garbage_is_never_an_error_of_ours(served: Served) -> None:
    queries = ["", "?limit=x&cursor=~~&start=1&end=%00&interval=-1&site=%FF&type=?&ids=,,&state=q"]
    for method, route in routes(served):
        if route.path in {"/api/system/backup", "/api/auth/logout", "/api/auth/refresh"}:
            continue
        for part in (
            "zzz",
            "%00",
            "%ED%A0%80",
            "-1",
            "9" * 40,
            "a" * 3000,
            "%2F%2F",
            "'; DROP TABLE node;--",
        ):
            path = route.path
            while "{" in path:
                before, _, rest = path.partition("{")
                path = before + part + rest.partition("}")[2]
            for query in queries:
                answer = served.client.request(
                    method, path + query, json=GARBAGE[len(part) % len(GARBAGE)], headers=served.admin
                )
                assert answer.status_code < 500, f"{method} {path}{query}: {answer.text[:200]}"
            if "{" not in route.path:
                break
    for body in (b"\xff\xfe", b"{", b"[" * 1000, b'{"value": NaN}'):
        answer = served.client.post(
            f"/api/points/{POINT}/write",
            content=body,
            headers=served.admin | {"Content-Type": "application/json"},
        )
        assert answer.status_code in {400, 422}, body


def test_too_large_a_body_is_refused(served: Served) -> None:
    answer = served.client.post("/api/auth/login", content=b"x" * (MAX_BODY + 1))
    assert answer.status_code == 413
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_logins_are_limited_more_tightly_than_the_rest() -> None:
    now = 0.0
    limits = Limits(lambda: now)
    tries = [limits.allows("10.0.0.1", login=True) for _ in range(20)]
    assert tries == [True] * 10 + [False] * 10
    assert limits.allows("10.0.0.2", login=True)
    assert limits.allows("10.0.0.1", login=False)
    now = 6.1
    assert limits.allows("10.0.0.1", login=True)
    burst = sum(limits.allows("10.0.0.3", login=False) for _ in range(1000))
    assert burst == 300


def test_health_needs_no_login_and_names_what_is_down(served: Served) -> None:
    class Dead:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("dead")

    served.campus.sites["north"].history = Dead()
    answer = served.client.get("/api/system/health").json()
    states = {each["name"]: each["state"] for each in answer["components"]}
    assert states["history@north"] == "down"
    assert states["nodes@north"] == "healthy"
    assert answer["state"] == "degraded"


def test_events_come_over_the_web_socket_by_filter(served: Served) -> None:
    # Leaving cancels a connection that is still open; that is the test client's way.
    with contextlib.suppress(CancelledError), served.client.websocket_connect("/ws") as socket:
        socket.send_json({"token": "wrong"})
        assert socket.receive_json()["type"] == "error"
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()
    token = served.admin["Authorization"].removeprefix("Bearer ")
    with contextlib.suppress(CancelledError), served.client.websocket_connect("/ws") as socket:
        socket.send_json({"type": "auth", "token": token})
        assert socket.receive_json() == {"type": "ready", "user": "ana"}
        socket.send_json({"type": "subscribe", "types": ["nonsense"]})
        assert socket.receive_json()["type"] == "error"
        socket.send_json({"type": "subscribe", "types": ["value_changed"], "subtree": "1001"})
        assert socket.receive_json()["type"] == "subscribed"


def test_cors_is_closed_unless_opened(served: Served) -> None:
    asked = {"Origin": "http://elsewhere", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in served.client.options("/api/points", headers=asked).headers
    opened = create_app(served.campus, cors_origins=["http://elsewhere"])
    assert any("CORS" in str(each) for each in opened.user_middleware)


@pytest.mark.parametrize("data", [{"x": "\ud800"}, {"x": [1, {"y": "\udfff"}]}, {"x": float("nan")}])
@pytest.mark.parametrize("field", ["properties", "protocol_binding"])
def test_free_data_that_could_not_be_given_back_is_refused(
    served: Served, field: str, data: dict[str, object]
) -> None:
    client, admin = served.client, served.admin
    headers = admin | {"Content-Type": "application/json"}
    value = data if field == "properties" else {"protocol": "virtual", "config": data}
    body = {"id": "room-9", "node_type": "Space", "dis": "Room 9", "parent_id": "north", field: value}
    made = client.post("/api/nodes", content=json.dumps(body), headers=headers)
    changed = client.patch("/api/nodes/1001", content=json.dumps({field: value}), headers=headers)
    for answer in (made, changed):
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"]["detail"][0]["field"].startswith(field)
    assert client.get("/api/nodes/room-9", headers=admin).status_code == 404
    assert client.get("/api/nodes", headers=admin).status_code == 200
    assert client.get("/api/nodes/north/hierarchy", headers=admin).status_code == 200
