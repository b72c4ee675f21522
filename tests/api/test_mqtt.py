"""MQTT settings over HTTP."""

import pytest

from tests.api.conftest import Served

BROKER = {"name": "Plant", "host": "mqtt.example.org", "username": "oc", "password": "s3cret-password"}
TOPIC = {"event": "alarm_raised", "template": "plant/{severity}/{node_id}", "qos": 1}


def test_a_broker_and_its_topics_from_start_to_end(served: Served) -> None:
    client, admin = served.client, served.admin
    made = client.post("/api/mqtt/brokers", json=BROKER, headers=admin)
    assert made.status_code == 201
    path = f"/api/mqtt/brokers/{made.json()['id']}"
    changed = client.put(path, json={"name": "Plant", "host": "other.example.org"}, headers=admin)
    assert (changed.json()["has_password"], changed.json()["host"]) == (True, "other.example.org")
    assert client.get(path, headers=admin).json() == changed.json()
    assert len(client.get(f"{path}/patterns", headers=admin).json()["items"]) == 5
    topic = client.post(f"{path}/patterns", json=TOPIC, headers=admin)
    assert topic.status_code == 201
    mine = f"/api/mqtt/patterns/{topic.json()['id']}"
    assert client.put(mine, json=TOPIC | {"qos": 2}, headers=admin).json()["qos"] == 2
    assert client.get(mine, headers=admin).json()["retain"] is False
    assert client.post(f"{path}/patterns", json=TOPIC, headers=admin).status_code == 409
    assert client.delete(mine, headers=admin).status_code == 204
    assert client.get(mine, headers=admin).status_code == 404
    assert client.get("/api/mqtt/brokers?enabled=true", headers=admin).json()["items"] == [changed.json()]
    assert client.delete(path, headers=admin).status_code == 204
    assert client.get(path, headers=admin).status_code == 404
    audit = client.get("/api/audit", headers=admin)
    assert {each["action"] for each in audit.json()["items"]} >= {
        "create_mqtt_broker",
        "update_mqtt_broker",
        "delete_mqtt_broker",
        "create_mqtt_topic",
        "update_mqtt_topic",
        "delete_mqtt_topic",
    }
    for answer in (made, changed, audit):
        assert "s3cret" not in answer.text


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/mqtt/brokers", BROKER | {"host": "a b"}, "host"),
        ("/api/mqtt/brokers", BROKER | {"port": 70000}, "port"),
        ("/api/mqtt/brokers", BROKER | {"status_topic": "a/#"}, "status_topic"),
        ("/api/mqtt/brokers/1/patterns", TOPIC | {"template": "a/{nobody}"}, "template"),
        ("/api/mqtt/brokers/1/patterns", TOPIC | {"event": "alarm_acknowledged"}, "event"),
        ("/api/mqtt/brokers/1/patterns", TOPIC | {"qos": 3}, "qos"),
    ],
)
def test_bad_settings_are_refused_by_field(
    served: Served, path: str, body: dict[str, object], field: str
) -> None:
    answer = served.client.post(path, json=body, headers=served.admin)
    assert (answer.status_code, answer.json()["error"]["detail"][0]["field"]) == (422, field)
    assert "s3cret" not in answer.text


def test_names_are_unique_and_viewers_only_read(served: Served) -> None:
    client, admin = served.client, served.admin
    assert client.post("/api/mqtt/brokers", json=BROKER, headers=admin).status_code == 201
    assert client.post("/api/mqtt/brokers", json=BROKER, headers=admin).status_code == 409
    viewer = served.login("vic", "viewer")
    assert client.get("/api/mqtt/brokers", headers=viewer).status_code == 200
    assert client.post("/api/mqtt/brokers", json=BROKER, headers=viewer).status_code == 403
    assert client.post("/api/mqtt/brokers/1/patterns", json=TOPIC, headers=viewer).status_code == 403
    assert client.get("/api/mqtt/brokers").status_code == 401
