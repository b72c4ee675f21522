from typing import Any

import pytest

from tests.api.conftest import Served

RULES = "/api/fdd/rules"
FAULTS = "/api/fdd/faults"
POINT = "1001/analog-value-2"
RULE = {
    "name": "Too warm",
    "condition": {"kind": "threshold", "high": 27.0},
    "severity": "high",
    "tags": ["zone"],
}
BINDING = {"node_id": "1001", "points": {"value": POINT}}


def call(served: Served, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    answer = served.client.request(method, path, json=body, headers=served.admin)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def fault(served: Served, rule_id: int, node_id: str = "1001") -> int:
    raised: int = served.campus.sites["north"].stores["fdd"].target.raise_fault(rule_id, node_id).id
    return raised


def test_rules_are_made_read_changed_listed_and_deleted(served: Served) -> None:
    made = call(served, "POST", RULES, RULE, 201)
    assert (made["site"], made["enabled"], made["confirm"]) == ("north", True, 300.0)
    call(served, "POST", RULES, RULE, 409)
    one = f"{RULES}/{made['id']}"
    assert call(served, "GET", one) == made
    builtin = {"name": "FC8", "condition": {"kind": "builtin", "name": "g36_fc8"}, "enabled": False}
    second = call(served, "POST", RULES, builtin, 201)
    changed = call(served, "PUT", one, RULE | {"confirm": 60})
    assert changed["confirm"] == 60.0
    page = call(served, "GET", f"{RULES}?limit=1")
    rest = call(served, "GET", f"{RULES}?cursor={page['next_cursor']}")
    assert [each["id"] for each in page["items"] + rest["items"]] == [made["id"], second["id"]]
    for query, expected in (("kind=builtin", [2]), ("enabled=true", [1]), ("text=warm", [1])):
        assert [each["id"] for each in call(served, "GET", f"{RULES}?{query}")["items"]] == expected
    call(served, "DELETE", one, status=204)
    call(served, "GET", one, status=404)
    entries = call(served, "GET", f"/api/audit?target=fdd_rule:{made['id']}")["items"]
    assert [each["action"] for each in entries] == ["delete_fdd_rule", "update_fdd_rule", "create_fdd_rule"]
    assert entries[1]["detail"]["before"]["confirm"] == 300.0


def test_rules_are_bound_by_hand_and_by_tags(served: Served) -> None:
    made = call(served, "POST", RULES, RULE, 201)
    path = f"{RULES}/{made['id']}/bindings"
    binding = call(served, "POST", path, BINDING, 201)
    assert (binding["origin"], binding["rule_id"], binding["site"]) == ("explicit", made["id"], "north")
    call(served, "POST", path, BINDING, 409)
    wrong = call(served, "POST", path, BINDING | {"points": {"value": "nowhere"}}, 422)
    assert wrong["error"]["detail"][0]["field"] == "points.value"
    other = BINDING | {"points": {"value": "1001/analog-value-3"}}
    changed = call(served, "PUT", f"{path}/{binding['id']}", other)
    assert changed["points"] == other["points"]
    call(served, "PATCH", f"/api/nodes/{POINT}", {"tags": ["zone"]})
    assert call(served, "POST", "/api/fdd/auto-bind") == {
        "created": 1,
        "updated": 0,
        "removed": 0,
        "unbound": [],
    }
    found = call(served, "GET", path)["items"]
    assert [(each["node_id"], each["origin"]) for each in found] == [("1001", "explicit"), (POINT, "auto")]
    assert call(served, "POST", f"/api/fdd/auto-bind?rule_id={made['id']}")["created"] == 0
    call(served, "POST", "/api/fdd/auto-bind?rule_id=9", status=404)
    call(served, "DELETE", f"{path}/{binding['id']}", status=204)
    call(served, "DELETE", f"{path}/{binding['id']}", status=404)
    entries = call(served, "GET", f"/api/audit?target=fdd_rule:{made['id']}")["items"]
    assert [each["action"] for each in entries] == [
        "delete_fdd_binding",
        "auto_bind_fdd",
        "update_fdd_binding",
        "create_fdd_binding",
        "create_fdd_rule",
    ]


def test_faults_are_listed_acknowledged_and_counted(served: Served) -> None:
    made = call(served, "POST", RULES, RULE, 201)
    path = f"{RULES}/{made['id']}/bindings"
    call(served, "POST", path, BINDING, 201)
    call(served, "POST", path, {"node_id": POINT, "points": {"value": POINT}}, 201)
    first, second = fault(served, made["id"]), fault(served, made["id"], POINT)
    operator = served.login("otto", "operator")
    seen = served.client.post(f"{FAULTS}/{first}/acknowledge", json={"note": "known"}, headers=operator)
    assert (seen.json()["state"], seen.json()["acknowledged_by"]) == ("acknowledged", "otto")
    assert call(served, "POST", f"{FAULTS}/{second}/acknowledge")["note"] is None
    served.campus.sites["north"].stores["fdd"].target.clear_fault(second)
    late = call(served, "POST", f"{FAULTS}/{second}/acknowledge", status=409)
    assert "cleared" in late["error"]["message"]
    for query, expected in (
        ("", [first]),
        ("?state=cleared", [second]),
        ("?state=cleared&state=acknowledged&limit=1", [second]),
        (f"?node_id={POINT}", []),
        ("?severity=low", []),
        (f"?rule_id={made['id']}", [first]),
        ("?start=2999-01-01T00:00:00Z", []),
    ):
        assert [each["id"] for each in call(served, "GET", f"{FAULTS}{query}")["items"]] == expected
    assert call(served, "GET", f"{FAULTS}/{first}")["site"] == "north"
    summary = call(served, "GET", "/api/fdd/summary")
    assert (summary["rules"], summary["bindings"], summary["open"]) == (1, 2, 1)
    assert (summary["unacknowledged"], summary["by_severity"]["high"]) == (0, 1)
    [entry] = call(served, "GET", f"/api/audit?target=fdd_fault:{first}")["items"]
    assert (entry["user"], entry["detail"]["note"]) == ("otto", "known")


def test_the_catalogue_is_there_to_choose_from(served: Served) -> None:
    found = {each["name"]: each for each in call(served, "GET", "/api/fdd/builtins")}
    assert {"g36_fc1", "g36_fc15", "apar_28", "vpacc_zone_temp"} <= found.keys()
    assert found["g36_fc1"]["source"].endswith("FC#1")
    assert {each["name"] for each in found["g36_fc4"]["parameters"]} == {"max_mode_changes"}


def test_who_may_not_is_refused(served: Served) -> None:
    made = call(served, "POST", RULES, RULE, 201)
    one = f"{RULES}/{made['id']}"
    call(served, "POST", f"{one}/bindings", BINDING, 201)
    number = fault(served, made["id"])
    viewer = served.login("vic", "viewer")
    assert served.client.get(f"{FAULTS}/{number}", headers=viewer).status_code == 200
    for method, path, body in (
        ("POST", RULES, RULE),
        ("PUT", one, RULE),
        ("DELETE", one, None),
        ("POST", f"{one}/bindings", BINDING),
        ("PUT", f"{one}/bindings/1", BINDING),
        ("DELETE", f"{one}/bindings/1", None),
        ("POST", "/api/fdd/auto-bind", None),
        ("POST", f"{FAULTS}/{number}/acknowledge", {}),
    ):
        answer = served.client.request(method, path, json=body, headers=viewer)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), path
        served.client.cookies.clear()
        assert served.client.request(method, path, json=body).status_code == 401
    assert call(served, "GET", f"{FAULTS}/{number}")["state"] == "raised"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (RULES, RULE | {"name": ""}, "name"),
        (RULES, RULE | {"condition": {"kind": "magic"}}, "condition"),
        (RULES, RULE | {"condition": {"kind": "builtin", "name": "fc99"}}, "condition.builtin"),
        (RULES, RULE | {"confirm": -1}, "confirm"),
        (RULES, RULE | {"tags": ["no tag"]}, "tags.0"),
        (RULES, RULE | {"extra": 1}, "extra"),
        (f"{RULES}/1/bindings", BINDING | {"points": {}}, "points"),
    ],
)
def test_bad_input_names_the_field(served: Served, path: str, body: Any, field: str) -> None:
    call(served, "POST", RULES, RULE, 201)
    answer = call(served, "POST", path, body, 422)
    assert answer["error"]["detail"][0]["field"] == field
    assert len(call(served, "GET", RULES)["items"]) == 1


def test_what_is_not_there_is_not_found(served: Served) -> None:
    for method, path, body in (
        ("GET", f"{RULES}/9", None),
        ("PUT", f"{RULES}/9", RULE),
        ("DELETE", f"{RULES}/9", None),
        ("GET", f"{RULES}/9/bindings", None),
        ("POST", f"{RULES}/9/bindings", BINDING),
        ("GET", f"{FAULTS}/9", None),
        ("POST", f"{FAULTS}/9/acknowledge", {}),
        ("POST", f"{RULES}?site=south", RULE),
    ):
        answer = call(served, method, path, body, 404)
        assert answer["error"]["code"] == "not_found", path
