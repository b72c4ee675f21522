"""BACnet for engineers over HTTP: what goes to the bridge, what comes back, who may, what is noted."""

from typing import Any

import pytest

from actors.alarm.models import Alarm, Report, Severity
from actors.core.errors import ConflictError, NotFoundError, WriteFailedError
from actors.schedule.models import Kind, Period
from bridges.bacnet.network import DeviceError, SilentError
from bridges.bacnet.objects import Subscription
from bridges.bacnet.schedules import DeviceSchedule
from bridges.bacnet.upkeep import Restart, Speech
from tests.api.bodies import BODIES, DEVICE_DAYS, DEVICE_SCHEDULE
from tests.api.conftest import Served
from tests.support import InProcess

POINT = "1001/analog-value-1"


class FakeBridge:
    """Takes what the API asks of the bridge."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.asked: list[tuple[Any, ...]] = []
        self.fails: Exception | None = None
        self.schedule = DeviceSchedule(kind=Kind.ANALOG, default_value=15.0)
        self.days: list[Period] = []

    def _note(self, *what: Any) -> None:
        if self.fails is not None:
            raise self.fails
        self.asked.append(what)

    async def acknowledge(self, alarm_id: int, by: str, note: str | None) -> Alarm:
        self._note("acknowledge", alarm_id, by, note)
        return self.served.alarms.acknowledge(alarm_id, by, note)

    async def knows_device(self, device_key: str) -> None:
        if device_key not in ("1001", "room/1"):
            raise NotFoundError("device", device_key)

    async def knows_network(self, network_id: str) -> None:
        if network_id != "ip":
            raise NotFoundError("network", network_id)

    async def schedules(self, device_key: str) -> list[str]:
        return ["schedule,2", "schedule,1", "calendar,1"]

    async def read_schedule(self, device_key: str, instance: int) -> DeviceSchedule:
        self._note("read_schedule", device_key, instance)
        return self.schedule

    async def write_schedule(self, device_key: str, instance: int, wanted: DeviceSchedule) -> DeviceSchedule:
        self._note("write_schedule", device_key, instance)
        self.schedule = wanted
        return wanted

    async def read_calendar(self, device_key: str, instance: int) -> list[Period]:
        self._note("read_calendar", device_key, instance)
        return self.days

    async def write_calendar(self, device_key: str, instance: int, days: list[Period]) -> list[Period]:
        self._note("write_calendar", device_key, instance)
        self.days = days
        return days

    async def synchronise(self, network_id: str | None = None, device_key: str | None = None) -> None:
        self._note("time", network_id, device_key)

    async def restart(self, device_key: str, how: Restart, password: str | None = None) -> None:
        self._note("restart", device_key, how.value, password)

    async def control_speech(
        self, device_key: str, speech: Speech, minutes: int | None = None, password: str | None = None
    ) -> None:
        self._note("speech", device_key, speech.value, minutes, password)

    async def create_object(self, device_key: str, kind: str, *more: Any) -> str:
        self._note("create", device_key, kind, *more)
        return f"{kind},7"

    async def delete_object(self, device_key: str, obj: str) -> None:
        self._note("delete", device_key, obj)

    async def subscriptions(self, device_key: str) -> list[Subscription]:
        return [Subscription(point_id=f"{n}", object="x", subscribed=False, told=False) for n in (1, 2)]


@pytest.fixture
def bridge(served: Served) -> FakeBridge:
    bridge = FakeBridge(served)
    served.campus.sites["north"].bridges["bacnet"] = InProcess(bridge)
    return bridge


def audited(served: Served) -> list[tuple[str, str, str]]:
    items = served.client.get("/api/audit", headers=served.admin).json()["items"]
    return [(each["user"], each["action"], each["target"]) for each in items]


def raised(served: Served, number: int) -> int:
    report = Report(
        source=f"bacnet/ip/1001/analog-value,{number}",
        node_id=POINT,
        severity=Severity.HIGH,
        message="too hot",
        standing=True,
        acknowledged=False,
    )
    return served.alarms.report([report], "device")[0].alarm.id


def test_an_alarm_of_a_device_is_acknowledged_there_too(served: Served, bridge: FakeBridge) -> None:
    alarm_id = raised(served, 1)
    path = f"/api/alarms/{alarm_id}/acknowledge"
    bridge.fails = ConflictError(
        "alarm", alarm_id, "1001 doesn't take the acknowledgement: invalid-time-stamp"
    )
    answer = served.client.post(path, json={}, headers=served.admin)
    assert answer.status_code == 409
    assert "invalid-time-stamp" in answer.json()["error"]["message"]
    shown = served.client.get(f"/api/alarms/{alarm_id}", headers=served.admin).json()
    assert (shown["state"], shown["source"]) == ("active", "bacnet/ip/1001/analog-value,1")
    bridge.fails = None
    answer = served.client.post(path, json={"note": "ok"}, headers=served.admin)
    assert (answer.json()["state"], answer.json()["site"]) == ("acknowledged", "north")
    # Once seen, the device isn't asked again.
    assert served.client.post(path, headers=served.admin).status_code == 200
    assert bridge.asked == [("acknowledge", alarm_id, "ana", "ok")]
    assert ("ana", "acknowledge_alarm", POINT) in audited(served)


def test_several_alarms_go_to_their_devices_and_to_us(served: Served, bridge: FakeBridge) -> None:
    device = raised(served, 1)
    ours = served.alarms.raise_alarm(POINT, Severity.LOW, "by us").id
    answer = served.client.post("/api/alarms/acknowledge", json={"ids": [ours, device]}, headers=served.admin)
    assert {each["state"] for each in answer.json()["items"]} == {"acknowledged"}
    assert [each[1] for each in bridge.asked] == [device]
    assert {"acknowledge_alarm", "acknowledge_alarms"} <= {each[1] for each in audited(served)}


SCHEDULES = "/api/schedules/bacnet/1001"
DEVICE = "/api/discovery/bacnet/devices/1001"


def test_schedules_and_calendars_of_a_device_are_read_and_written(served: Served, bridge: FakeBridge) -> None:
    client, admin = served.client, served.admin
    listed = client.get(SCHEDULES, params={"limit": 2}, headers=admin).json()
    assert [each["object"] for each in listed["items"]] == ["calendar,1", "schedule,1"]
    assert client.get(f"{SCHEDULES}/schedules/1", headers=admin).json()["default_value"] == 15.0
    written = client.put(f"{SCHEDULES}/schedules/1", json=DEVICE_SCHEDULE, headers=admin)
    assert written.json()["week"] == DEVICE_SCHEDULE["week"]
    days = client.put(f"{SCHEDULES}/calendars/1", json={"days": DEVICE_DAYS}, headers=admin)
    assert days.json() == client.get(f"{SCHEDULES}/calendars/1", headers=admin).json()
    assert days.json()["days"][0]["month"] == 12
    entries = client.get("/api/audit", headers=admin).json()["items"]
    found = {each["action"]: each for each in entries}
    assert found["write_device_schedule"]["target"] == "1001/schedule,1"
    assert found["write_device_schedule"]["detail"]["before"]["default_value"] == 15.0
    assert found["write_device_calendar"]["detail"]["before"] == []

    bridge.fails = WriteFailedError("1001/schedule,1", "write-access-denied")
    refused = client.put(f"{SCHEDULES}/schedules/1", json=DEVICE_SCHEDULE, headers=admin)
    assert (refused.status_code, refused.json()["error"]["detail"]["reason"]) == (409, "write-access-denied")
    wrong = client.put(f"{SCHEDULES}/schedules/1", json={"kind": "analog", "week": [1]}, headers=admin)
    assert wrong.status_code == 422


def test_clocks_restarts_and_silence(served: Served, bridge: FakeBridge) -> None:
    client, admin = served.client, served.admin
    assert client.post("/api/discovery/bacnet/networks/ip/time", headers=admin).json()["target"] == "ip"
    assert client.post(f"{DEVICE}/time", headers=admin).status_code == 200
    assert client.post(f"{DEVICE}/restart", json={"password": "pssst"}, headers=admin).status_code == 204
    silent = {"speech": "disable-initiation", "minutes": 5, "password": "pssst"}
    assert client.post(f"{DEVICE}/communication", json=silent, headers=admin).status_code == 204
    assert bridge.asked == [
        ("time", "ip", None),
        ("time", None, "1001"),
        ("restart", "1001", "warmstart", "pssst"),
        ("speech", "1001", "disable-initiation", 5, "pssst"),
    ]
    told = client.get("/api/audit", headers=admin)
    assert {"synchronise_time", "restart_device", "control_device_communication"} <= {
        each["action"] for each in told.json()["items"]
    }
    assert "pssst" not in told.text
    bridge.fails = DeviceError("1001", "password-failure", "error")
    refused = client.post(f"{DEVICE}/restart", json={"password": "wrong"}, headers=admin)
    assert refused.status_code == 409
    assert "password-failure" in refused.json()["error"]["message"]
    assert "wrong" not in refused.text
    bridge.fails = SilentError("1001", "no answer within 3 s")
    assert client.post(f"{DEVICE}/restart", json={}, headers=admin).status_code == 503
    too_long = client.post(f"{DEVICE}/restart", json={"password": "x" * 21}, headers=admin)
    assert (too_long.status_code, "xxx" in too_long.text) == (422, False)


def test_objects_are_made_and_removed_and_subscriptions_listed(served: Served, bridge: FakeBridge) -> None:
    client, admin = served.client, served.admin
    made = client.post(f"{DEVICE}/objects", json={"object_type": "analog-value"}, headers=admin)
    assert (made.status_code, made.json()) == (201, {"object": "analog-value,7"})
    assert client.delete(f"{DEVICE}/objects/analog-value,7", headers=admin).status_code == 204
    assert bridge.asked == [
        ("create", "1001", "analog-value", None, None, None),
        ("delete", "1001", "analog-value,7"),
    ]
    actions = {each[1]: each[2] for each in audited(served)}
    assert actions["create_device_object"] == actions["delete_device_object"] == "1001/analog-value,7"
    first = client.get(f"{DEVICE}/subscriptions?limit=1", headers=admin).json()
    assert [each["point_id"] for each in first["items"]] == ["1"]


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("operator", 403)])
def test_who_may_not_change_devices(served: Served, bridge: FakeBridge, role: str, status: int) -> None:
    user = served.login("otto", role)
    for path in (f"{DEVICE}/time", f"{DEVICE}/restart", f"{DEVICE}/objects", f"{DEVICE}/communication"):
        body = BODIES.get(("POST", path.replace("1001", "{device_key}")))
        assert served.client.post(path, json=body, headers=user).status_code == status
    assert served.client.get(f"{DEVICE}/subscriptions", headers=user).status_code == 200
    assert bridge.asked == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/schedules/bacnet/9", 404),
        ("GET", "/api/schedules/bacnet/room%2F1", 200),
        ("GET", "/api/schedules/bacnet/1001/schedules/x", 422),
        ("GET", "/api/schedules/bacnet/1001/schedules/4194303", 422),
        ("GET", "/api/schedules/bacnet/1001?site=south", 404),
        ("POST", "/api/discovery/bacnet/networks/nowhere/time", 404),
        ("GET", "/api/discovery/bacnet/devices/9/subscriptions", 404),
    ],
)
def test_wrong_questions(served: Served, bridge: FakeBridge, method: str, path: str, status: int) -> None:
    assert served.client.request(method, path, headers=served.admin).status_code == status


def test_without_a_bridge_there_is_no_device(served: Served) -> None:
    assert served.client.get(SCHEDULES, headers=served.admin).status_code == 404
