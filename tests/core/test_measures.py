"""What actors measure has a listed name, and tells what happened."""

from pathlib import Path

from actors.bus.bus import EventBus
from actors.bus.frames import Frame
from actors.core.metrics import COUNTERS, GAUGES, Measure
from actors.history.store import HistoryStore
from actors.point.feed import HistoryFeed
from actors.point.models import empty_frame
from actors.point.store import PointStore
from bridges.config import DeviceStatus
from bridges.measures import device_measures


class Quiet:
    def values(self, *columns: object) -> None: ...
    def statuses(self, *columns: object) -> None: ...


async def test_a_bus_tells_what_waits_and_what_was_lost_also_of_who_left() -> None:
    bus = EventBus("north")
    token = await bus.subscribe("slow", capacity=2)
    await bus.publish([Frame("value_changed", 1, b"[{}]")] * 5)
    told = {each.name: each.value for each in bus.measures()}
    assert told == {
        "opencrate_bus_events_total": 5,
        "opencrate_bus_queued_events": 2,
        "opencrate_bus_lagged_events_total": 3,
    }
    await bus.unsubscribe("slow", token)
    told = {each.name: each.value for each in bus.measures()}
    assert (told["opencrate_bus_queued_events"], told["opencrate_bus_lagged_events_total"]) == (0, 3)
    assert told.keys() <= GAUGES.keys() | COUNTERS.keys()


def test_stores_tell_samples_points_and_what_waits(tmp_path: Path) -> None:
    frame = empty_frame()
    frame.add("a", 20.0, 1_700_000_000_000)
    frame.add("b", 21.0, 1_700_000_000_000)
    history = HistoryStore(tmp_path)
    history.append(frame.encode())
    history.append(frame.encode())
    assert history.measures() == [Measure("opencrate_samples_total", 2)]
    history.close()
    points = PointStore("north", Quiet(), HistoryFeed(lambda frame: None, tmp_path / "queue"))
    told = {each.name: each.value for each in points.measures()}
    assert told == {"opencrate_points": 0, "opencrate_history_queue_frames": 0}


def test_a_device_that_was_never_polled_has_no_poll_time() -> None:
    status = DeviceStatus(device_key="1001", protocol="bacnet", network_id="ip", state="online", reads=3)
    told = device_measures([(status, None), (status.model_copy(update={"device_key": "2"}), 0.25)])
    assert Measure("opencrate_device_up", 1.0, "1001") in told
    assert [each for each in told if each.name == "opencrate_poll_seconds"] == [
        Measure("opencrate_poll_seconds", 0.25, "2")
    ]
