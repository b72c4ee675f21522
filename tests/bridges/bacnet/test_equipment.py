"""From a scan to values: devices that no file names, over real BACnet/IP on loopback."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from actors.alarm.store import AlarmStore
from actors.bus.bus import EventBus
from actors.bus.events import EntityCreated, event_json
from actors.bus.frames import Frame
from actors.core.errors import BadInputError
from actors.core.values import PointStatus
from actors.discovery.engine import DiscoveryEngine
from actors.discovery.models import AcceptRequest, FoundDevice, FoundPoint, ScanRequest, ScanState
from actors.discovery.store import DiscoveryStore
from actors.node.models import Node, NodeType, ProtocolBinding
from bridges.bacnet.binding import device_of
from bridges.bacnet.bridge import BacnetBridge
from tests.bridges.bacnet.conftest import Bench, until
from tests.support import InProcess

POINT = "1101/analog-input-1"


def equip(node_id: str = "1101", **config: Any) -> Node:
    binding = {"network_id": "ip", "device_instance": 1101} | config
    return Node(
        id=node_id,
        node_type=NodeType.EQUIP,
        dis="VAV",
        parent_id="north",
        protocol_binding=ProtocolBinding(protocol="bacnet", config=binding),
    )


def temperature() -> Node:
    return Node(
        id=POINT,
        node_type=NodeType.POINT,
        dis="Zone Temp",
        parent_id="1101",
        protocol_binding=ProtocolBinding.bacnet(1101, "analog-input", 1, "ip"),
    )


def test_the_binding_of_equipment_is_checked() -> None:
    assert device_of(equip(), ["ip"]).device_instance == 1101
    for config, field in (
        ({"network_id": "x"}, "network_id"),
        ({"device_instance": "many"}, "device_instance"),
        ({"device_instance": None}, "device_instance"),
        ({"interval": 0.1}, "interval"),
    ):
        with pytest.raises(BadInputError) as error:
            device_of(equip(**config), ["ip"])
        assert error.value.field == field


async def test_what_is_added_to_the_model_is_read_when_the_bus_tells(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridges.bacnet.bridge.RELOAD_WITHOUT_POINTS", 3600)
    bench.bus = EventBus("north")
    await bench.bridge([])
    bench.nodes.apply([equip(), temperature()])
    made = event_json(EntityCreated(entity_id=POINT, entity_type="Point"))
    await bench.bus.publish([Frame("entity_created", 1, b"[" + made + b"]")])
    await until(lambda: bench.value(POINT) is not None)


async def test_a_device_that_the_model_names_is_read_until_its_equipment_is_gone(bench: Bench) -> None:
    bridge = await bench.bridge([])
    bench.nodes.apply([equip(), temperature()])
    await bridge.reload()
    await until(lambda: bench.value(POINT) is not None)
    # Points that people left out are not brought in unasked.
    assert [each.id for each in bench.nodes.bound("bacnet")] == ["1101", POINT]
    [status] = await bridge.status()
    assert (status.device_key, status.state, status.points) == ("1101", "online", 1)
    bench.nodes.delete(POINT)
    bench.nodes.delete("1101")
    await bridge.reload()
    assert await bridge.status() == []
    assert bridge._running == bridge._by_process == {}


async def test_points_of_equipment_that_lost_its_binding_are_disabled(bench: Bench) -> None:
    bridge = await bench.bridge([])
    bench.nodes.apply([equip(), temperature()])
    await bridge.reload()
    await until(lambda: bench.value(POINT) is not None)
    bench.nodes.apply([equip(network_id="gone")])
    await bridge.reload()
    await until(lambda: bench.status(POINT) & PointStatus.DISABLED)
    assert any("network_id" in each for each in (await bridge.health()).reasons)


async def test_two_units_with_one_instance_are_named_and_the_first_is_read(bench: Bench) -> None:
    bridge = await bench.bridge([])
    bench.nodes.apply([equip(), equip("twin"), temperature()])
    await bridge.reload()
    await until(lambda: bench.value(POINT) is not None)
    assert [each.device_key for each in await bridge.status()] == ["1101"]
    assert any(each.startswith("twin: device 1101") for each in (await bridge.health()).reasons)


@pytest.fixture
async def engine(bench: Bench, tmp_path: Path) -> AsyncIterator[tuple[DiscoveryEngine, BacnetBridge, Any]]:
    bridge = await bench.bridge([])
    discovery, alarms = DiscoveryStore(tmp_path), AlarmStore(tmp_path)
    made = DiscoveryEngine(
        "north",
        InProcess(discovery),
        InProcess(bench.nodes),
        InProcess(alarms),
        {"bacnet": InProcess(bridge)},
        {"ip": "bacnet"},
        round_=0.1,
    )
    await made.start()
    yield made, bridge, discovery
    await made.stop()
    discovery.close()
    alarms.close()


async def test_a_device_is_found_accepted_read_and_read_again_after_a_restart(
    bench: Bench, engine: tuple[DiscoveryEngine, BacnetBridge, Any]
) -> None:
    discoverer, bridge, discovery = engine
    await until(lambda: all(each.is_open for each in bridge._networks.values()))
    scan = await discoverer.scan(ScanRequest(protocol="bacnet", low=1101, high=1103), "ana")
    await until(lambda: discovery.scan(scan.id).state is not ScanState.RUNNING)
    assert discovery.scan(scan.id).device_count == 3
    found = next(each for each in discovery.find()[0] if each.device_key == "1101")
    shown = await discoverer.proposal(found.id, AcceptRequest())
    assert shown.problems == []
    mode = next(each for each in shown.points if each.point_key == "multi-state-value-1")
    assert mode.states
    await discoverer.accept(found.id, AcceptRequest(), "ana")
    await until(lambda: bench.value(POINT) is not None)
    before = {each.id for each in bench.nodes.bound("bacnet")}
    assert len(before) == len(shown.points) + 1
    await bridge.stop()
    again = await bench.bridge([])
    await until(lambda: again._where.keys() == before - {"1101"})
    await until(lambda: again._devices["1101"].liveness.state == "online")
    assert await again.read(POINT) is not None


async def test_a_device_that_went_away_since_the_scan_is_down_until_it_comes_back(
    bench: Bench, engine: tuple[DiscoveryEngine, BacnetBridge, Any]
) -> None:
    discoverer, _, discovery = engine
    points = [FoundPoint(point_key="analog-input-1", kind="analog-input", name="ZN-T")]
    told = {"network_id": "ip", "protocol": "bacnet", "device_key": "1999", "address": "2001:99"}
    found = discovery.found(FoundDevice(**told, points=points))
    await discoverer.accept(found.id, AcceptRequest(), "ana")
    await until(lambda: bench.status("1999/analog-input-1") & PointStatus.DOWN, 60.0)
