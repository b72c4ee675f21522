"""Programs over HTTP."""

from actors.program.models import Cause, NewExecution, RunState
from tests.api.conftest import Served

READ = {"kind": "point_read", "id": "zone", "point": "1001/analog-value-2"}
WRITE = {"kind": "point_write", "id": "out", "point": "1001/analog-value-1", "value": "zone"}
PROGRAM = {"name": "Copy", "blocks": [READ, WRITE]}


def test_a_program_is_checked_saved_changed_and_deleted(served: Served) -> None:
    client, admin = served.client, served.admin
    assert client.post("/api/programs/check", json=PROGRAM, headers=admin).json() == {
        "ok": True,
        "problems": [],
    }
    made = client.post("/api/programs", json=PROGRAM, headers=admin)
    assert made.status_code == 201, made.text
    path = f"/api/programs/{made.json()['id']}"
    assert client.get(path, headers=admin).json() == made.json()
    changed = client.put(path, json=PROGRAM | {"priority": 9}, headers=admin).json()
    assert (changed["priority"], changed["version"]) == (9, 2)
    shadow = client.post(f"{path}/shadow", json={"shadow": True}, headers=admin).json()
    assert (shadow["shadow"], shadow["version"]) == (True, 3)
    [listed] = client.get("/api/programs?text=cop&enabled=true", headers=admin).json()["items"]
    assert (listed["id"], listed["site"]) == (made.json()["id"], "north")
    store = served.campus.sites["north"].stores["programs"].target
    run = NewExecution(version=3, cause=Cause.PERIOD, started_at=0, duration_us=5, state=RunState.SHADOW)
    store.log(listed["id"], [run] * 3)
    first = client.get(f"{path}/log?limit=2", headers=admin).json()
    rest = client.get(f"{path}/log?cursor={first['next_cursor']}", headers=admin).json()
    assert [each["id"] for each in (*first["items"], *rest["items"])] == [3, 2, 1]
    assert client.get(f"{path}/check", headers=admin).json()["ok"] is True
    assert client.delete(path, headers=admin).status_code == 204
    assert client.get(path, headers=admin).status_code == 404
    actions = {each["action"] for each in client.get("/api/audit", headers=admin).json()["items"]}
    assert actions >= {"create_program", "update_program", "shadow_program", "delete_program"}


def test_a_program_that_isnt_right_is_refused_with_its_block(served: Served) -> None:
    client, admin = served.client, served.admin
    for blocks, field in (
        ([READ | {"point": "gone"}], "blocks.zone"),
        ([READ, WRITE | {"point": "1001/analog-value-3"}], "blocks.out"),
        ([READ, WRITE | {"value": "nobody"}], "blocks.out"),
        ([READ, {"kind": "pid", "id": "p"}], "blocks.1"),
        ([], "blocks"),
    ):
        answer = client.post("/api/programs", json={"name": "x", "blocks": blocks}, headers=admin)
        assert answer.status_code == 422
        assert field in answer.json()["error"]["detail"][0]["field"], answer.text
    assert client.get("/api/programs", headers=admin).json()["items"] == []
    found = client.post(
        "/api/programs/check", json={"name": "x", "blocks": [READ | {"point": "gone"}]}, headers=admin
    ).json()
    assert found == {"ok": False, "problems": [{"block": "zone", "message": "there is no point 'gone'"}]}


def test_programs_page_by_page(served: Served) -> None:
    client, admin = served.client, served.admin
    for number in range(3):
        client.post(
            "/api/programs", json=PROGRAM | {"name": f"P{number}", "enabled": number != 1}, headers=admin
        )
    first = client.get("/api/programs?limit=2", headers=admin).json()
    rest = client.get("/api/programs", params={"cursor": first["next_cursor"]}, headers=admin).json()
    assert [each["name"] for each in (*first["items"], *rest["items"])] == ["P0", "P1", "P2"]
    assert client.get("/api/programs?cursor=x", headers=admin).status_code == 422
    off = client.get("/api/programs?enabled=false", headers=admin).json()["items"]
    assert [each["name"] for each in off] == ["P1"]


def test_names_are_unique_and_viewers_only_read(served: Served) -> None:
    client, admin = served.client, served.admin
    assert client.post("/api/programs", json=PROGRAM, headers=admin).status_code == 201
    assert client.post("/api/programs", json=PROGRAM, headers=admin).status_code == 409
    viewer = served.login("vic", "viewer")
    assert client.get("/api/programs/1", headers=viewer).status_code == 200
    for method, path, body in (
        ("POST", "/api/programs", PROGRAM),
        ("PUT", "/api/programs/1", PROGRAM),
        ("POST", "/api/programs/1/shadow", {"shadow": True}),
        ("DELETE", "/api/programs/1", None),
    ):
        assert client.request(method, path, json=body, headers=viewer).status_code == 403
    assert client.get("/api/programs").status_code == 401
    assert client.get("/api/programs/99", headers=admin).status_code == 404
