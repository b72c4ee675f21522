"""BACnet for engineers over HTTP: what goes to the bridge, what comes back, who may, what is noted."""

from typing import Any

import pytest

from actors.alarm.models import Alarm, Report, Severity
from actors.core.errors import ConflictError
from tests.api.conftest import Served
from tests.support import InProcess

POINT = "1001/analog-value-1"


class FakeBridge:
    """Takes what the API asks of the bridge."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.asked: list[tuple[Any, ...]] = []
        self.fails: Exception | None = None

    def _note(self, *what: Any) -> None:
        if self.fails is not None:
            raise self.fails
        self.asked.append(what)

    async def acknowledge(self, alarm_id: int, by: str, note: str | None) -> Alarm:
        self._note("acknowledge", alarm_id, by, note)
        return self.served.alarms.acknowledge(alarm_id, by, note)


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
