"""What an answer says of a body that it refuses: the value, but nowhere a secret."""

import json
from typing import Any

import pytest

from actors.audit.logic import looks_secret
from api.app import every_route
from api.errors import is_secretive
from tests.api.bodies import BODIES
from tests.api.conftest import Served

SECRET = "hunter2hunter2"
ROUTES = (
    "/api/users",
    "/api/mqtt/brokers",
    "/api/webhooks",
    "/api/notifications/recipients",
    "/api/export/targets",
)


def wrong(body: Any) -> list[Any]:
    """Give bodies with a secret in each place where it doesn't belong."""
    if isinstance(body, dict):
        places = [body | {key: told} for key in body for told in (SECRET, [SECRET], {"x": SECRET})]
        within = [body | {key: each} for key, value in body.items() for each in wrong(value)]
        return [*places, *within, body | {"passwrd": SECRET}, body | {SECRET[:3]: {"kind": SECRET}}]
    if isinstance(body, list):
        return [[*body, SECRET], [{"kind": SECRET}], *([each] for item in body for each in wrong(item))]
    return [SECRET, SECRET * 100]


@pytest.mark.parametrize("path", ROUTES)
def test_no_value_of_a_body_with_secrets_is_answered(served: Served, path: str) -> None:
    good = next(body for (method, at), body in BODIES.items() if (method, at) == ("POST", path))
    refused = 0
    for body in [*wrong(good), SECRET, [SECRET], {"x": SECRET}]:
        answer = served.client.post(path, json=body, headers=served.admin)
        if answer.status_code == 422:
            refused += 1
            assert SECRET not in answer.text
            assert all(each["value"] is None for each in answer.json()["error"]["detail"])
    assert refused > len(good)


def test_a_body_that_is_no_json_is_not_said_again(served: Served) -> None:
    for path in ("/api/users", "/api/nodes"):
        for kind in ("text/plain", "application/json", "application/x-www-form-urlencoded"):
            headers = served.admin | {"Content-Type": kind}
            answer = served.client.post(path, content=f"password={SECRET}", headers=headers)
            assert answer.status_code in (400, 422)
            assert SECRET not in answer.text
        assert SECRET not in served.client.post(path, json=SECRET, headers=served.admin).text


def test_every_route_that_takes_a_secret_hides_what_it_is_given(served: Served) -> None:
    document = served.client.app.openapi()  # type: ignore[attr-defined]
    found = 0
    for route in every_route(served.client.app.routes):  # type: ignore[attr-defined]
        for method in route.methods:
            operation = document["paths"].get(route.path.replace(":path", ""), {}).get(method.lower(), {})
            text = json.dumps(operation.get("requestBody", {}))
            name = text.rpartition("#/components/schemas/")[2].partition('"')[0]
            fields = document["components"]["schemas"].get(name, {}).get("properties", {})
            if any(map(looks_secret, fields)):
                found += 1
                assert is_secretive(method, route.path, route)
    assert found > 8


def test_elsewhere_the_value_is_said(served: Served) -> None:
    answer = served.client.post(
        "/api/nodes", json={"id": "x", "node_type": "Rome", "dis": "X"}, headers=served.admin
    )
    detail = answer.json()["error"]["detail"]
    assert [(each["field"], each["value"]) for each in detail] == [("node_type", "Rome")]
    assert "'Rome' is not valid" in answer.json()["error"]["message"]
    node = {
        "id": "x",
        "node_type": "Point",
        "dis": "X",
        "parent_id": "north",
        "properties": {"units": "u" * 5000},
    }
    answer = served.client.post("/api/nodes", json=node, headers=served.admin)
    assert answer.json()["error"]["detail"][0]["field"] == "properties.units"
    assert len(answer.text) < 1000
