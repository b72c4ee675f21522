"""Webhooks over HTTP."""

import pytest

from tests.api.conftest import Served

ENDPOINT = {"name": "CMMS", "url": "https://cmms.example.org/hook", "secret": "s3cret-key"}


def test_an_endpoint_from_start_to_end_and_its_secret_never_shows(served: Served) -> None:
    client, admin = served.client, served.admin
    made = client.post("/api/webhooks", json=ENDPOINT, headers=admin)
    assert made.status_code == 201
    assert made.json()["has_secret"] is True
    path = f"/api/webhooks/{made.json()['id']}"
    changed = client.put(path, json={"name": "CMMS", "url": ENDPOINT["url"], "enabled": False}, headers=admin)
    assert (changed.json()["has_secret"], changed.json()["enabled"]) == (True, False)
    assert client.get(path, headers=admin).json() == changed.json()
    store = served.campus.stores["webhooks"].target
    delivery = store.queue(1, "north/1", "alarm_raised", "{}")
    store.attempted(delivery.id, 500, 10)
    [listed] = client.get(f"{path}/deliveries", headers=admin).json()["items"]
    assert (listed["state"], listed["status_code"], listed["error"]) == ("pending", 500, "HTTP 500")
    again = f"/api/webhooks/deliveries/{delivery.id}/redeliver"
    assert client.post(again, headers=admin).status_code == 409
    store.attempted(delivery.id, 404, 10)
    assert client.post(again, headers=admin).json()["state"] == "pending"
    found = client.get("/api/webhooks/deliveries?state=pending&event_type=alarm_raised", headers=admin)
    assert len(found.json()["items"]) == 1
    config = client.put("/api/webhooks/config", json={"paused": True}, headers=admin).json()
    assert config == client.get("/api/webhooks/config", headers=admin).json()
    assert config["paused"] is True
    assert client.delete(path, headers=admin).status_code == 204
    assert client.get(path, headers=admin).status_code == 404
    audit = client.get("/api/audit", headers=admin)
    assert {each["action"] for each in audit.json()["items"]} >= {
        "create_webhook",
        "update_webhook",
        "redeliver_webhook",
        "configure_webhooks",
        "delete_webhook",
    }
    for answer in (made, changed, audit):
        assert "s3cret" not in answer.text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "http://169.254.169.254/latest"}, "url"),
        ({"url": "https://u:p@example.org/"}, "url"),
        ({"kind": "carrier-pigeon"}, "kind"),
        ({"events": ["value_changed"]}, "events.0"),
        ({"name": ""}, "name"),
    ],
)
def test_bad_endpoints_are_refused_by_field(served: Served, change: dict[str, object], field: str) -> None:
    answer = served.client.post("/api/webhooks", json=ENDPOINT | change, headers=served.admin)
    assert (answer.status_code, answer.json()["error"]["detail"][0]["field"]) == (422, field)
    assert "s3cret" not in answer.text
    assert served.client.get("/api/webhooks", headers=served.admin).json()["items"] == []


def test_names_are_unique_networks_checked_and_viewers_only_read(served: Served) -> None:
    client, admin = served.client, served.admin
    assert client.post("/api/webhooks", json=ENDPOINT, headers=admin).status_code == 201
    assert client.post("/api/webhooks", json=ENDPOINT, headers=admin).status_code == 409
    wrong = client.put("/api/webhooks/config", json={"allowed_networks": ["10.0.0.1/8"]}, headers=admin)
    assert wrong.status_code == 422
    viewer = served.login("vic", "viewer")
    assert client.get("/api/webhooks", headers=viewer).status_code == 200
    assert client.post("/api/webhooks", json=ENDPOINT, headers=viewer).status_code == 403
    assert client.put("/api/webhooks/config", json={}, headers=viewer).status_code == 403
    assert client.get("/api/webhooks").status_code == 401
