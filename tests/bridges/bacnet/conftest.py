"""A simulated building, stores and bridges for tests, on free loopback ports, all gone afterwards."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.alarm.store import AlarmStore
from actors.bus.bus import EventBus
from actors.bus.events import Event
from actors.history.store import HistoryStore
from actors.node.models import Node, NodeCapabilities, NodeType, ProtocolBinding
from actors.node.store import NodeStore
from actors.point.store import PointStore
from bridges.backoff import Backoff
from bridges.bacnet.bridge import BacnetBridge
from bridges.config import BacnetDevice, BacnetNetwork
from bridges.simulator.program import Options, Simulator
from tests.bridges.bacnet.rogues import Rogues
from tests.bridges.simulator.support import IP
from tests.ports import free_port
from tests.support import InProcess

QUICK = Backoff(first=0.05, limit=0.2)
# s; what the bridge waits for an answer where a test's device gives none. Everywhere else it waits longer, so
# that a busy machine isn't taken for a silent device.
SOON = 1.0


def point(
    kind: str, instance: int = 1, device: int = 1101, properties: dict[str, Any] | None = None, **more: Any
) -> Node:
    """Give a point node as the configuration makes it."""
    return Node(
        id=f"{device}/{kind}-{instance}",
        node_type=NodeType.POINT,
        dis=f"{kind} {instance}",
        parent_id=str(device),
        properties=properties or {},
        capabilities=NodeCapabilities(readable=True, historizable=True),
        protocol_binding=ProtocolBinding.bacnet(device, kind, instance, "ip", **more),
    )


def device(instance: int = 1101, **config: Any) -> BacnetDevice:
    """Give the configuration of a device, polled every half second."""
    interval = config.pop("interval", 0.5)
    return BacnetDevice(device_instance=instance, network="ip", interval=interval, **config)


class _Changes:
    def values(self, ids: list[str], values: list[Any], times: list[int]) -> None: ...

    def statuses(self, ids: list[str], old: list[int], new: list[int]) -> None: ...


class Bench:
    """A building, a bridge to it, and real stores."""

    def __init__(self, simulator: Simulator, nodes: NodeStore) -> None:
        self.simulator, self.nodes = simulator, nodes
        self.points = PointStore("north", _Changes(), lambda frame: None)
        self.history: HistoryStore | None = None
        self.alarms: AlarmStore | None = None
        self.events: list[Event] = []
        self.bus: EventBus | None = None
        self.bridges: list[BacnetBridge] = []

    def network(self, **config: Any) -> BacnetNetwork:
        config = {"timeout": 3.0, "retries": 0, "port": free_port(socket.SOCK_DGRAM, "127.0.0.1")} | config
        bbmd = f"{IP}:{self.simulator.options.bacnet_port}"
        return BacnetNetwork(id="ip", address="127.0.0.1/8", bbmd=bbmd, **config)

    async def bridge(
        self,
        devices: list[BacnetDevice],
        points: list[Node] | None = None,
        networks: list[BacnetNetwork] | None = None,
        **network: Any,
    ) -> BacnetBridge:
        site = Node(id="north", node_type=NodeType.SITE, dis="North")
        equips = [
            Node(id=each.id, node_type=NodeType.EQUIP, dis=each.id, parent_id="north") for each in devices
        ]
        self.nodes.apply([site, *equips, *(points or [])])
        bridge = BacnetBridge(
            "north",
            networks or [self.network(**network)],
            devices,
            InProcess(self.nodes),
            InProcess(self.points),
            self.events.append,
            history=InProcess(self.history) if self.history is not None else None,
            alarms=(lambda: InProcess(self.alarms)) if self.alarms is not None else None,
            bus=InProcess(self.bus) if self.bus is not None else None,
            backoff=QUICK,
        )
        self.bridges.append(bridge)
        await bridge.start()
        return bridge

    def object(self, unit: str, name: str) -> Any:
        """Give an object of the building itself, such as `analog-input,1` of `vav-1`."""
        app = self.simulator.bacnet.devices[unit]
        return next(each for each in app.objectIdentifier.values() if str(each.objectIdentifier) == name)

    def value(self, point_id: str) -> Any:
        known = self.points.get_many([point_id])
        return known[0].value if known else None

    def status(self, point_id: str) -> int:
        known = self.points.get_many([point_id])
        return known[0].status if known else 0

    def told(self) -> list[str]:
        return [event.type for event in self.events]


async def until(condition: Callable[[], Any], timeout: float = 30.0) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[NodeStore]:
    store = NodeStore(tmp_path)
    yield store
    store.close()


@pytest.fixture
async def bench(nodes: NodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    # BAC0 keeps a folder in the home of the user.
    monkeypatch.setenv("HOME", str(tmp_path))
    ports = free_port(socket.SOCK_DGRAM, IP), free_port(socket.SOCK_STREAM, IP)
    simulator = Simulator(Options(IP, *ports, 10.0, 7, datetime(2026, 1, 14, 10), frozenset()))
    await simulator.open()
    bench = Bench(simulator, nodes)
    yield bench
    for bridge in bench.bridges:
        await bridge.stop()
    await simulator.close()


@pytest.fixture
async def rogues() -> AsyncIterator[Rogues]:
    rogues = Rogues(free_port(socket.SOCK_DGRAM, IP))
    await rogues.opened()
    yield rogues
    rogues.close()


@pytest.fixture
async def lab(
    rogues: Rogues, nodes: NodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    monkeypatch.setenv("HOME", str(tmp_path))
    simulator: Any = SimpleNamespace(options=SimpleNamespace(bacnet_port=rogues.port))
    bench = Bench(simulator, nodes)
    yield bench
    for bridge in bench.bridges:
        await bridge.stop()
