"""Devices that the model names, such as those accepted after a scan, besides those of the configuration."""

from typing import Any

import pytest

from actors.bus.bus import EventBus
from actors.bus.events import EntityCreated, event_json
from actors.bus.frames import Frame
from actors.core.errors import BadInputError
from actors.core.health import HealthState
from actors.core.values import PointStatus
from actors.node.models import Node, NodeType, ProtocolBinding
from bridges.modbus.binding import device_of
from tests.bridges.modbus.conftest import Bench, network, point, unit, until
from tests.bridges.modbus.device import Memory


def equipment(node_id: str, unit: Any = 2, network_id: Any = "line", **more: Any) -> Node:
    config = {"network_id": network_id, "unit": unit} | more
    return Node(
        id=node_id,
        node_type=NodeType.EQUIP,
        dis=node_id,
        protocol_binding=ProtocolBinding(protocol="modbus", config=config),
    )


async def test_equipment_with_a_binding_is_polled_followed_and_let_go(bench: Bench) -> None:
    device = await bench.device({unit: Memory(holding={0: unit}) for unit in (1, 2, 3)})
    bridge = await bench.bridge([network(device)], [unit()], [point("a")])
    await until(lambda: bench.points.value("meter/a") == 1.0)

    bench.nodes.nodes = [point("a"), equipment("pump"), point("a", device="pump", properties={"interval": 1})]
    await bridge.reload()
    await until(lambda: bench.points.value("pump/a") == 2.0)
    assert [each.device_key for each in await bridge.status()] == ["meter", "pump"]

    bench.nodes.nodes[1] = equipment("pump", unit=3)
    await bridge.reload()
    await until(lambda: bench.points.value("pump/a") == 3.0)
    assert (await bridge.status())[1].address == f"127.0.0.1:{device.port} unit 3"

    bench.nodes.nodes = [point("a"), point("a", device="pump")]
    await bridge.reload()
    await until(lambda: bench.points.status("pump/a") == PointStatus.DISABLED)
    asked = len([unit for unit, _ in device.requests if unit == 3])
    polls = len(device.requests)
    await until(lambda: len(device.requests) > polls + 2)
    assert len([unit for unit, _ in device.requests if unit == 3]) == asked
    assert [each.device_key for each in await bridge.status()] == ["meter"]


async def test_what_is_added_to_the_model_is_read_when_the_bus_tells(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridges.modbus.bridge.RELOAD_WITHOUT_POINTS", 3600)
    bench.bus = EventBus("north")
    device = await bench.device({unit: Memory(holding={0: unit}) for unit in (1, 2)})
    await bench.bridge([network(device)], [unit()], [point("a")])
    await until(lambda: bench.points.value("meter/a") == 1.0)
    bench.nodes.nodes = [point("a"), equipment("pump"), point("a", device="pump")]
    made = event_json(EntityCreated(entity_id="pump/a", entity_type="Point"))
    await bench.bus.publish([Frame("entity_created", 1, b"[" + made + b"]")])
    await until(lambda: bench.points.value("pump/a") == 2.0)


async def test_nothing_changes_for_devices_that_stay(bench: Bench) -> None:
    device = await bench.device({unit: Memory(holding={0: unit}) for unit in (1, 2)})
    bridge = await bench.bridge([network(device)], [unit()], [point("a"), equipment("pump")])
    await until(lambda: bench.points.value("meter/a") == 1.0)
    before = dict(bridge._units)
    await bridge.reload()
    assert bridge._units == before
    assert device.connections == 1


async def test_the_configuration_wins_over_the_model(bench: Bench) -> None:
    device = await bench.device({unit: Memory(holding={0: unit}) for unit in (1, 2)})
    await bench.bridge([network(device)], [unit()], [equipment("meter", unit=2), point("a")])
    await until(lambda: bench.points.value("meter/a") == 1.0)


async def test_equipment_whose_binding_is_wrong_is_named_in_the_health(bench: Bench) -> None:
    device = await bench.device({1: Memory(holding={0: 1})})
    nodes = [point("a"), equipment("pump", network_id="gone"), point("a", device="pump")]
    bridge = await bench.bridge([network(device)], [unit()], nodes)
    await until(lambda: bench.points.value("meter/a") == 1.0)
    health = await bridge.health()
    assert health.state is HealthState.DEGRADED
    assert "pump: network_id: 'gone' is not valid; expected a modbus network of this site: line" in (
        health.reasons
    )
    assert bench.points.status("pump/a") == PointStatus.DISABLED
    bench.nodes.nodes[1] = equipment("pump", unit=1)
    await bridge.reload()
    await until(lambda: bench.points.value("pump/a") == 1.0)
    assert (await bridge.health()).state is HealthState.HEALTHY


def test_a_binding_may_name_what_the_device_takes() -> None:
    node = equipment("pump", max_registers=16, max_gap=0, interval=30, profile="something")
    device = device_of(node, ["line"])
    assert (device.id, device.network, device.unit) == ("pump", "line", 2)
    assert (device.max_registers, device.max_gap, device.interval) == (16, 0, 30)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"unit": 256}, "unit"),
        ({"unit": "2"}, "unit"),
        ({"unit": None}, "unit"),
        ({"network_id": None}, "network_id"),
        ({"max_registers": 126}, "max_registers"),
        ({"max_gap": "x"}, "max_gap"),
        ({"interval": 0.1}, "interval"),
    ],
)
def test_a_wrong_binding_of_equipment_names_its_key(config: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInputError) as caught:
        device_of(equipment("pump", **config), ["line"])
    assert caught.value.field == field


def test_equipment_whose_id_can_be_no_device_is_refused() -> None:
    with pytest.raises(BadInputError, match="id"):
        device_of(equipment("a b/c"), ["line"])
