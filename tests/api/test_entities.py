"""Legacy records over HTTP."""

from tests.api.conftest import Served

RECORD = {
    "id": "1001/ao-1",
    "entity_type": "point",
    "dis": "Damper",
    "tags": {"damper": None, "cmd": None},
    "data": {"binding": {"Bacnet": {"device_instance": 1001}}},
}


def test_a_record_from_start_to_end(served: Served) -> None:
    client, admin = served.client, served.admin
    made = client.post("/api/entities", json=RECORD, headers=admin)
    assert made.status_code == 201
    assert client.post("/api/entities", json=RECORD, headers=admin).status_code == 409
    for path in ("/api/entities/1001/ao-1", "/api/entities/1001%2Fao-1"):
        assert client.get(path, headers=admin).json() == made.json()
    node = client.get("/api/entities/1001/ao-1/node", headers=admin).json()
    assert (node["node_type"], node["protocol_binding"]["protocol"], node["capabilities"]["writable"]) == (
        "Point",
        "bacnet",
        True,
    )
    changed = client.patch("/api/entities/1001/ao-1", json={"dis": "Outside air damper"}, headers=admin)
    assert changed.json()["dis"] == "Outside air damper"
    [listed] = client.get("/api/entities?tag=damper&entity_type=point", headers=admin).json()["items"]
    assert (listed["id"], listed["site"]) == ("1001/ao-1", "north")
    assert client.get("/api/entities?tag=none", headers=admin).json()["items"] == []
    assert client.delete("/api/entities/1001/ao-1", headers=admin).status_code == 204
    assert client.get("/api/entities/1001/ao-1", headers=admin).status_code == 404
    actions = {each["action"] for each in client.get("/api/audit", headers=admin).json()["items"]}
    assert {"create_entity", "update_entity", "delete_entity"} <= actions


def test_a_record_that_could_not_be_shown_is_not_kept(served: Served) -> None:
    client, admin = served.client, served.admin
    kept = client.post("/api/entities", json=RECORD, headers=admin)
    assert kept.status_code == 201
    for wrong in (
        b'{"id": "x", "entity_type": "equip", "dis": "X", "data": {"x": "\\ud800"}}',
        b'{"id": "x", "entity_type": "equip", "dis": "X", "data": {"x": NaN}}',
        b'{"id": "x", "entity_type": "equip", "dis": "X", "tags": {"x": 1e999}}',
        b'{"id": "x", "entity_type": "equip", "dis": "\\ud800"}',
    ):
        answer = client.post(
            "/api/entities", content=wrong, headers=admin | {"Content-Type": "application/json"}
        )
        assert answer.status_code in {400, 422}, wrong
    [listed] = client.get("/api/entities", headers=admin).json()["items"]
    assert listed == kept.json() | {"site": "north"}


def test_lists_page_by_page_and_by_filter(served: Served) -> None:
    client, admin = served.client, served.admin
    for number in range(3):
        body = {"id": f"e{number}", "entity_type": "equip", "dis": f"E{number}"}
        client.post("/api/entities", json=body | ({"parent_id": "e0"} if number else {}), headers=admin)
    first = client.get("/api/entities?limit=2", headers=admin).json()
    rest = client.get("/api/entities", params={"cursor": first["next_cursor"]}, headers=admin).json()
    assert [each["id"] for each in (*first["items"], *rest["items"])] == ["e0", "e1", "e2"]
    below = client.get("/api/entities?parent_id=e0&text=E2", headers=admin).json()["items"]
    assert [each["id"] for each in below] == ["e2"]
    assert client.delete("/api/entities/e0", headers=admin).status_code == 409


def test_bad_input_unknown_types_and_missing_permissions(served: Served) -> None:
    client, admin = served.client, served.admin
    for change, field in (
        ({"id": ""}, "id"),
        ({"id": "../x"}, "id"),
        ({"entity_type": "a b"}, "entity_type"),
        ({"parent_id": "gone"}, "parent_id"),
        ({"more": 1}, "more"),
    ):
        answer = client.post("/api/entities", json=RECORD | change, headers=admin)
        assert (answer.status_code, answer.json()["error"]["detail"][0]["field"]) == (422, field)
    assert client.post("/api/entities", json=RECORD | {"entity_type": "wormhole"}, headers=admin).is_success
    assert client.get("/api/entities/1001/ao-1/node", headers=admin).status_code == 422
    viewer = served.login("vic", "viewer")
    assert client.get("/api/entities", headers=viewer).status_code == 200
    assert client.post("/api/entities", json=RECORD, headers=viewer).status_code == 403
    assert client.patch("/api/entities/1001/ao-1", json={"dis": "x"}, headers=viewer).status_code == 403
    assert client.delete("/api/entities/1001/ao-1", headers=viewer).status_code == 403
    assert client.get("/api/entities").status_code == 401
