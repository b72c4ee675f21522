"""Discovery over HTTP."""

from actors.discovery.models import FoundDevice, FoundPoint
from tests.api.conftest import Served


def fill(served: Served) -> None:
    store = served.campus.sites["north"].stores["discovery"].target
    for key, address in (("1001", "10.0.0.1"), ("1001", "10.0.0.2"), ("1002", "10.0.0.3")):
        store.found(
            FoundDevice(
                network_id="ip",
                protocol="bacnet",
                device_key=key,
                address=address,
                points=[FoundPoint(point_key="analog-input-1", kind="analog-input", value=20.5)],
            )
        )


def test_devices_are_listed_looked_at_and_decided_about(served: Served) -> None:
    fill(served)
    client, admin = served.client, served.admin
    listed = client.get("/api/discovery/devices", params={"limit": 2}, headers=admin).json()
    assert [(each["device_key"], each["conflict"], each["site"]) for each in listed["items"]] == [
        ("1001", True, "north"),
        ("1001", True, "north"),
    ]
    rest = client.get("/api/discovery/devices", params={"cursor": listed["next_cursor"]}, headers=admin)
    assert [each["device_key"] for each in rest.json()["items"]] == ["1002"]
    assert client.get("/api/discovery/1", headers=admin).json()["address"] == "10.0.0.1"
    [point] = client.get("/api/discovery/1/points", headers=admin).json()["items"]
    assert (point["point_key"], point["value"]) == ("analog-input-1", 20.5)
    assert client.post("/api/discovery/2/ignore", headers=admin).json()["state"] == "ignored"
    assert client.post("/api/discovery/2/ignore", headers=admin).status_code == 409
    found = client.get("/api/discovery/devices?state=ignored", headers=admin).json()["items"]
    assert [each["id"] for each in found] == [2]
    assert client.post("/api/discovery/2/restore", headers=admin).json()["state"] == "discovered"
    assert client.delete("/api/discovery/2", headers=admin).status_code == 204
    assert client.get("/api/discovery/2", headers=admin).status_code == 404
    status = client.get("/api/discovery/status", headers=admin).json()["north"]
    assert status["devices"] == {"discovered": 2, "bound": 0, "accepted": 0, "ignored": 0}
    actions = {each["action"] for each in client.get("/api/audit", headers=admin).json()["items"]}
    assert {"ignore_device", "restore_device", "forget_device"} <= actions


def test_an_accepted_device_is_given_back_only_when_its_nodes_are_gone(served: Served) -> None:
    fill(served)
    client, admin = served.client, served.admin
    store = served.campus.sites["north"].stores["discovery"].target
    store.accept(3, ["1001"], "ana")
    assert client.post("/api/discovery/3/restore", headers=admin).status_code == 409
    store.release(3, [], "ana")
    store.accept(3, ["no-such-node"], "ana")
    assert client.post("/api/discovery/3/restore", headers=admin).json()["state"] == "discovered"


def test_scans_are_listed(served: Served) -> None:
    store = served.campus.sites["north"].stores["discovery"].target
    scan = store.begin_scan("bacnet", ["ip"], "ana")
    store.finish_scan(scan.id, 2, 30)
    client, admin = served.client, served.admin
    [listed] = client.get("/api/discovery/scans", headers=admin).json()["items"]
    assert (listed["state"], listed["device_count"], listed["site"]) == ("done", 2, "north")
    assert client.get(f"/api/discovery/scans/{scan.id}", headers=admin).json()["progress"] == 1.0
    assert client.get("/api/discovery/scans/99", headers=admin).status_code == 404


def test_wrong_questions_and_missing_permissions(served: Served) -> None:
    client, admin = served.client, served.admin
    for path in (
        "/api/discovery/devices?state=lost",
        "/api/discovery/devices?cursor=x",
        "/api/discovery/devices?protocol=knx",
        "/api/discovery/0",
    ):
        assert client.get(path, headers=admin).status_code == 422, path
    fill(served)
    viewer = served.login("vic", "viewer")
    assert client.get("/api/discovery/devices", headers=viewer).status_code == 200
    assert client.post("/api/discovery/1/ignore", headers=viewer).status_code == 403
    assert client.delete("/api/discovery/1", headers=viewer).status_code == 403
    assert client.get("/api/discovery/devices").status_code == 401


def test_a_scan_is_begun_followed_and_cancelled(served: Served) -> None:
    client, admin = served.client, served.admin
    assert client.get("/api/discovery/networks", headers=admin).json()["items"] == [
        {"id": "ip", "protocol": "bacnet", "site": "north"}
    ]
    begun = client.post("/api/discovery/scan", json={"protocol": "bacnet"}, headers=admin)
    assert (begun.status_code, begun.json()["state"], begun.json()["networks"]) == (202, "running", ["ip"])
    busy = client.post("/api/discovery/scan", json={"protocol": "bacnet"}, headers=admin)
    assert (busy.status_code, "one is running" in busy.json()["error"]["message"]) == (409, True)
    one = f"/api/discovery/scans/{begun.json()['id']}"
    assert client.get(one, headers=admin).json()["state"] == "running"
    ended = client.post(f"{one}/cancel", headers=admin)
    assert (ended.status_code, ended.json()["state"]) == (200, "cancelled")
    assert client.post(f"{one}/cancel", headers=admin).status_code == 409
    for body, field in (
        ({"protocol": "modbus"}, "protocol"),
        ({"protocol": "bacnet", "networks": ["x"]}, "networks"),
        ({"protocol": "bacnet", "low": 5, "high": 1}, "high"),
        ({"protocol": "knx"}, "protocol"),
    ):
        refused = client.post("/api/discovery/scan", json=body, headers=admin)
        assert (refused.status_code, refused.json()["error"]["detail"][0]["field"]) == (422, field)
    actions = {each["action"] for each in client.get("/api/audit", headers=admin).json()["items"]}
    assert {"begin_scan", "cancel_scan"} <= actions


def test_a_device_is_proposed_accepted_and_given_back(served: Served) -> None:
    fill(served)
    client, admin = served.client, served.admin
    shown = client.get("/api/discovery/3/proposal", headers=admin).json()
    assert (shown["node_id"], shown["parent_id"], len(shown["points"])) == ("1002", "north", 1)
    body = {"name": "VAV", "changes": [{"point_key": "analog-input-1", "name": "Zone Temp"}]}
    done = client.post("/api/discovery/3/accept", json=body, headers=admin).json()
    assert (done["state"], done["created_node_ids"]) == ("accepted", ["1002", "1002/analog-input-1"])
    node = client.get("/api/nodes/1002/analog-input-1", headers=admin).json()
    assert (node["dis"], node["parent_id"]) == ("Zone Temp", "1002")
    again = client.post("/api/discovery/3/accept", headers=admin)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert client.post("/api/discovery/3/restore", headers=admin).status_code == 409
    assert client.delete("/api/nodes/1002?recursive=true", headers=admin).status_code < 300
    assert client.post("/api/discovery/3/restore", headers=admin).json()["state"] == "discovered"
    [entry] = [
        each
        for each in client.get("/api/audit", headers=admin).json()["items"]
        if each["action"] == "accept_device"
    ]
    assert (entry["user"], entry["detail"]["nodes"]) == ("ana", 2)


def test_several_are_accepted_and_each_is_answered_for(served: Served) -> None:
    fill(served)
    client, admin = served.client, served.admin
    body = {"devices": [{"id": 3}, {"id": 99}, {"id": 1, "parent_id": "nowhere"}]}
    answer = client.post("/api/discovery/accept", json=body, headers=admin).json()
    assert [each["id"] for each in answer["accepted"]] == [3]
    assert set(answer["refused"]) == {"99", "1"}
    assert "nowhere" in answer["refused"]["1"]


def test_what_a_person_wants_otherwise_is_shown_and_made_only_when_accepted(served: Served) -> None:
    fill(served)
    client, admin = served.client, served.admin
    change = {
        "point_key": "analog-input-1",
        "name": "Hall",
        "units": "percent",
        "tags": ["hall"],
        "group": "G",
    }
    shown = client.post("/api/discovery/3/proposal", json={"changes": [change]}, headers=admin).json()
    [point] = shown["points"]
    assert (point["name"], point["units"], point["tags"], point["group"]) == (
        "Hall",
        "percent",
        ["hall"],
        "G",
    )
    assert [each["name"] for each in shown["groups"]] == ["G"]
    assert client.get("/api/nodes/1002", headers=admin).status_code == 404
    wrong = client.post(
        "/api/discovery/3/proposal", json={"changes": [change | {"point_key": "x"}]}, headers=admin
    )
    assert (wrong.status_code, wrong.json()["error"]["detail"][0]["field"]) == (422, "changes")
    assert client.post("/api/discovery/3/proposal", json={"name": ""}, headers=admin).status_code == 422


def test_profiles_are_listed_of_each_protocol(served: Served) -> None:
    client, admin = served.client, served.admin
    every = client.get("/api/discovery/profiles", headers=admin).json()["items"]
    assert {each["protocol"] for each in every} == {"bacnet", "modbus"}
    modbus = client.get("/api/discovery/profiles?protocol=modbus&limit=2", headers=admin).json()
    assert len(modbus["items"]) == 2
    assert modbus["next_cursor"]
    assert {each["protocol"] for each in modbus["items"]} == {"modbus"}
    assert client.get("/api/discovery/profiles?protocol=knx", headers=admin).status_code == 422


def test_several_are_put_aside_and_brought_back(served: Served) -> None:
    fill(served)
    client, admin = served.client, served.admin
    done = client.post("/api/discovery/ignore", json={"ids": [1, 3, 3, 99]}, headers=admin).json()
    assert (done["changed"], set(done["refused"])) == ([1, 3], {"99"})
    again = client.post("/api/discovery/ignore", json={"ids": [3, 2]}, headers=admin).json()
    assert (again["changed"], "ignored" in again["refused"]["3"]) == ([2], True)
    back = client.post("/api/discovery/restore", json={"ids": [1, 2]}, headers=admin).json()
    assert back == {"changed": [1, 2], "refused": {}}
    entries = client.get("/api/audit", headers=admin).json()["items"]
    assert sum(each["action"] == "ignore_device" for each in entries) == 3
    for body in ({"ids": []}, {"ids": [0]}, {"ids": ["x"]}, {}):
        assert client.post("/api/discovery/ignore", json=body, headers=admin).status_code == 422


def test_an_operator_may_look_and_not_accept(served: Served) -> None:
    fill(served)
    operator = served.login("otto", "operator")
    client = served.client
    assert client.get("/api/discovery/3/proposal", headers=operator).status_code == 200
    for path in ("scan", "accept", "ignore", "restore", "3/proposal", "3/accept", "scans/1/cancel"):
        assert client.post(f"/api/discovery/{path}", json={}, headers=operator).status_code == 403


def test_a_site_that_is_away_is_said_so(served: Served) -> None:
    fill(served)
    client, admin = served.client, served.admin
    served.campus.sites["north"].leave("cut off")
    for path in ("scan", "3/accept"):
        answer = client.post(
            f"/api/discovery/{path}", json={"protocol": "bacnet"} if path == "scan" else None, headers=admin
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "site_unreachable")
    many = client.post(
        "/api/discovery/accept", json={"devices": [{"id": 1}, {"id": 3}]}, headers=admin
    ).json()
    assert (many["accepted"], set(many["refused"])) == ([], {"1", "3"})
    assert client.post("/api/discovery/ignore", json={"ids": [1, 3]}, headers=admin).status_code == 503
