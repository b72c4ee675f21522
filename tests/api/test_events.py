"""The journal over HTTP."""

from typing import Any

from actors.bus.events import AlarmCleared, DeviceDown, event_json
from actors.bus.journal import Entry
from tests.api.conftest import Served


def fill(served: Served, count: int = 5) -> None:
    journal = served.campus.sites["north"].stores["journal"].target
    for number in range(count):
        event: Any = (
            AlarmCleared(alarm_id=number, node_id="1001/analog-value-2")
            if number % 2
            else DeviceDown(device_key="1001", protocol="bacnet", error="no answer")
        )
        journal.append([Entry(f"k{number}", event.type, event_json(event))])


def test_events_are_listed_in_pages_by_type_and_time(served: Served) -> None:
    fill(served)
    first = served.client.get("/api/events", params={"limit": 3}, headers=served.admin).json()
    assert [each["seq"] for each in first["items"]] == [1, 2, 3]
    assert first["items"][0] == {
        "type": "device_down",
        "device_key": "1001",
        "protocol": "bacnet",
        "error": "no answer",
        "site": "north",
        "seq": 1,
        "at": first["items"][0]["at"],
    }
    rest = served.client.get("/api/events", params={"cursor": first["next_cursor"]}, headers=served.admin)
    assert [each["seq"] for each in rest.json()["items"]] == [4, 5]
    some = served.client.get("/api/events", params={"types": "alarm_cleared"}, headers=served.admin)
    assert [each["seq"] for each in some.json()["items"]] == [2, 4]
    later = served.client.get(
        "/api/events", params={"start": "2100-01-01T00:00:00Z"}, headers=served.admin
    ).json()
    assert later["items"] == []


def test_a_durable_subscription_is_made_read_acknowledged_and_forgotten(served: Served) -> None:
    fill(served)
    client, admin = served.client, served.admin
    made = client.post("/api/events/subscriptions", json={"name": "cmms", "after": 1}, headers=admin)
    assert (made.status_code, made.json()["behind"]) == (201, 4)
    batch = client.get("/api/events/after/1", params={"limit": 2}, headers=admin).json()
    assert [each["seq"] for each in batch["events"]] == [2, 3]
    assert (batch["after"], batch["lost"], batch["site"]) == (3, 0, "north")
    seen = client.post("/api/events/subscriptions/cmms/acknowledge", json={"seq": 3}, headers=admin)
    assert seen.json()["acknowledged"] == 3
    listed = client.get("/api/events/subscriptions", headers=admin).json()["items"]
    assert [(each["name"], each["behind"], each["site"]) for each in listed] == [("cmms", 2, "north")]
    assert client.delete("/api/events/subscriptions/cmms", headers=admin).status_code == 204
    assert client.delete("/api/events/subscriptions/cmms", headers=admin).status_code == 404
    actions = [each["action"] for each in client.get("/api/audit", headers=admin).json()["items"]]
    assert {"subscribe_events", "unsubscribe_events"} <= set(actions)


def test_wrong_questions_are_answered_by_field(served: Served) -> None:
    client, admin = served.client, served.admin
    for path, params, field in (
        ("/api/events", {"types": "value_changed"}, "types"),
        ("/api/events", {"cursor": "north~x"}, "cursor"),
        ("/api/events", {"start": "2100-01-01T00:00:00Z", "end": "2000-01-01T00:00:00Z"}, "end"),
        ("/api/events/after/7", {}, "after"),
        ("/api/events/after/0", {"wait": 1000}, "wait"),
    ):
        answer = client.get(path, params=params, headers=admin)
        assert (answer.status_code, answer.json()["error"]["detail"][0]["field"]) == (422, field)
    assert client.get("/api/events").status_code == 401
    viewer = served.login("vic", "viewer")
    refused = client.post("/api/events/subscriptions", json={"name": "x"}, headers=viewer)
    assert refused.status_code == 403
    assert client.get("/api/events", headers=viewer).status_code == 200
