from typing import Any

import pytest

from tests.api.conftest import Served

SESSIONS = "/api/commissioning/sessions"
ITEMS = "/api/commissioning/items"
NEW = {"name": "AHU-1", "node_id": "1001", "note": "first"}


def made(served: Served) -> dict[str, Any]:
    answer = served.client.post(SESSIONS, json=NEW, headers=served.admin)
    assert answer.status_code == 201, answer.text
    session: dict[str, Any] = answer.json()
    return session


def post(served: Served, path: str, body: Any = None) -> Any:
    return served.client.post(path, json=body, headers=served.admin)


def test_a_device_is_commissioned_from_start_to_sign_off(served: Served) -> None:
    session = made(served)
    assert (session["state"], session["site"], session["created_by"]) == ("not_started", "north", "ana")
    assert session["progress"] == {
        "total": 6,
        "not_started": 6,
        "verified": 0,
        "failed": 0,
        "deferred": 0,
    }
    one = f"{SESSIONS}/{session['id']}"
    assert post(served, f"{one}/complete").status_code == 409
    assert post(served, f"{one}/start").json()["state"] == "in_progress"
    items = served.client.get(f"{one}/items", headers=served.admin).json()["items"]
    assert {each["kind"] for each in items} == {"read", "write"}
    for each in items:
        state = "failed" if each["kind"] == "write" else "verified"
        answer = served.client.put(
            f"{ITEMS}/{each['id']}", json={"state": state, "note": "21 °C"}, headers=served.admin
        )
        assert (answer.json()["state"], answer.json()["result_by"]) == (state, "ana")
    assert post(served, f"{one}/complete").json()["progress"]["failed"] == 1
    refused = post(served, f"{one}/sign-off", {"note": "ok"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert "failed" in refused.json()["error"]["message"]
    bare = post(served, f"{one}/sign-off", {"accept_failures": True})
    assert (bare.status_code, bare.json()["error"]["detail"][0]["field"]) == (422, "note")
    signed = post(served, f"{one}/sign-off", {"note": "valve on order", "accept_failures": True}).json()
    assert (signed["state"], signed["signed_off_by"], signed["accepted_failures"]) == ("signed_off", "ana", 1)
    assert served.client.delete(one, headers=served.admin).status_code == 409
    target = {"target": f"commission_session:{session['id']}"}
    entries = served.client.get("/api/audit", params=target, headers=served.admin).json()["items"]
    assert entries[0]["action"] == "sign_off_commission_session"
    assert entries[0]["detail"]["note"] == "valve on order"


def test_sessions_are_read_changed_listed_and_deleted(served: Served) -> None:
    first = made(served)
    assert post(served, SESSIONS, NEW).status_code == 409
    one = f"{SESSIONS}/{first['id']}"
    changed = served.client.put(one, json={"name": "New name"}, headers=served.admin).json()
    assert (changed["name"], changed["note"]) == ("New name", None)
    assert served.client.get(one, headers=served.admin).json() == changed
    point = post(served, SESSIONS, {"name": "Point", "node_id": "1001/analog-value-2"}).json()
    assert point["progress"]["total"] == 1
    page = served.client.get(SESSIONS, params={"limit": 1}, headers=served.admin).json()
    assert [each["id"] for each in page["items"]] == [point["id"]]
    rest = served.client.get(SESSIONS, params={"cursor": page["next_cursor"]}, headers=served.admin).json()
    assert [each["id"] for each in rest["items"]] == [first["id"]]
    for query, expected in (
        ({"node_id": "1001"}, [first["id"]]),
        ({"state": "completed"}, []),
        ({"site": "north", "state": "not_started"}, [point["id"], first["id"]]),
    ):
        items = served.client.get(SESSIONS, params=query, headers=served.admin).json()["items"]
        assert [each["id"] for each in items] == expected
    assert served.client.delete(one, headers=served.admin).status_code == 204
    assert served.client.get(one, headers=served.admin).status_code == 404


def test_items_are_filtered_and_added(served: Served) -> None:
    session = made(served)
    one = f"{SESSIONS}/{session['id']}"
    path = f"{one}/items"
    writes = served.client.get(path, params={"kind": "write"}, headers=served.admin).json()["items"]
    assert [each["node_id"] for each in writes] == ["1001/analog-value-1"]
    page = served.client.get(path, params={"limit": 4}, headers=served.admin).json()
    rest = served.client.get(path, params={"cursor": page["next_cursor"]}, headers=served.admin).json()
    assert len(page["items"] + rest["items"]) == 6
    able = {"readable": True, "alarmable": True}
    node = {"id": "1001/new", "node_type": "Point", "dis": "New", "parent_id": "1001", "capabilities": able}
    assert post(served, "/api/nodes", node).status_code == 201
    assert post(served, path).json()["progress"]["total"] == 7
    assert post(served, path, {"also": ["alarm"]}).json()["progress"]["total"] == 8
    item = served.client.get(f"{ITEMS}/1", headers=served.admin).json()
    assert (item["session_id"], item["state"]) == (session["id"], "not_started")


def test_who_may_not_is_refused(served: Served) -> None:
    session = made(served)
    viewer = served.login("vic", "viewer")
    one = f"{SESSIONS}/{session['id']}"
    assert served.client.get(one, headers=viewer).status_code == 200
    for method, path, body in (
        ("POST", SESSIONS, NEW),
        ("PUT", one, {"name": "x"}),
        ("DELETE", one, None),
        ("POST", f"{one}/start", None),
        ("POST", f"{one}/complete", None),
        ("POST", f"{one}/sign-off", {}),
        ("POST", f"{one}/items", None),
        ("PUT", f"{ITEMS}/1", {"state": "verified"}),
    ):
        answer = served.client.request(method, path, json=body, headers=viewer)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), path
        served.client.cookies.clear()
        assert served.client.request(method, path, json=body).status_code == 401
    assert served.client.get(one, headers=viewer).json() == session


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", SESSIONS, NEW | {"name": ""}, "name"),
        ("POST", SESSIONS, {"name": "x"}, "node_id"),
        ("POST", SESSIONS, NEW | {"state": "signed_off"}, "state"),
        ("PUT", f"{ITEMS}/1", {"state": "not_started"}, "state"),
        ("PUT", f"{ITEMS}/1", {"state": "verified", "note": "x" * 3000}, "note"),
        ("GET", f"{SESSIONS}?state=open", None, "state"),
        ("GET", f"{SESSIONS}?cursor=north~x", None, "cursor"),
    ],
)
def test_bad_input_names_the_field(served: Served, method: str, path: str, body: Any, field: str) -> None:
    made(served)
    answer = served.client.request(method, path, json=body, headers=served.admin)
    assert answer.status_code == 422
    assert answer.json()["error"]["detail"][0]["field"] == field


def test_what_is_not_there_is_not_found(served: Served) -> None:
    for method, path, body in (
        ("POST", SESSIONS, NEW | {"node_id": "nowhere"}),
        ("GET", f"{SESSIONS}/9", None),
        ("PUT", f"{SESSIONS}/9", {"name": "x"}),
        ("DELETE", f"{SESSIONS}/9", None),
        ("POST", f"{SESSIONS}/9/start", None),
        ("GET", f"{SESSIONS}/9/items", None),
        ("PUT", f"{ITEMS}/9", {"state": "verified"}),
        ("GET", f"{SESSIONS}?site=south", None),
    ):
        answer = served.client.request(method, path, json=body, headers=served.admin)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), path


def test_items_are_verified_against_the_device(served: Served) -> None:
    session = made(served)
    one = f"{SESSIONS}/{session['id']}"
    items = served.client.get(f"{one}/items", headers=served.admin).json()["items"]
    virtual = {each["kind"]: each for each in items if each["node_id"] == "1001/analog-value-1"}
    read = f"{ITEMS}/{virtual['read']['id']}"
    assert post(served, f"{read}/verify").status_code == 409
    post(served, f"{one}/start")
    refused = post(served, f"{read}/verify", {"low": "x"})
    assert (refused.status_code, refused.json()["error"]["detail"][0]["field"]) == (422, "low")
    low = post(served, f"{read}/verify", {"low": 90.0}).json()
    assert (low["state"], "below 90" in low["summary"]) == ("failed", True)
    good = post(served, f"{read}/verify").json()
    assert (good["state"], good["checked_by"], good["steps"][0]["value"]) == ("verified", "ana", 20.0)
    write = f"{ITEMS}/{virtual['write']['id']}"
    done = post(served, f"{write}/verify", {"value": 30.0, "priority": 12}).json()
    assert [each["what"] for each in done["steps"]][1:3] == ["wrote at priority 12", "read back"]
    assert served.client.get("/api/overrides", headers=served.admin).json()["items"] == []
    listed = served.client.get(f"{read}/checks", headers=served.admin).json()["items"]
    assert [each["state"] for each in listed] == ["verified", "failed"]
    assert served.client.get(read, headers=served.admin).json()["result_by"] == "ana"
    actions = [
        each["action"] for each in served.client.get("/api/audit", headers=served.admin).json()["items"]
    ]
    assert actions.count("verify_commission_item") == 3
    operator = served.login("otto", "viewer")
    assert served.client.post(f"{read}/verify", headers=operator).status_code == 403
