"""Devices, stores and bridges for tests, on free loopback ports, all gone afterwards."""

import asyncio
import os
import pty
import tty
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from actors.bus.bus import EventBus
from actors.bus.events import Event
from actors.history.gaps import GapNotes, are_notes, decode_notes
from actors.node.models import Node, NodeCapabilities, NodeType, ProtocolBinding
from actors.point.models import PointConfig, PointFrame, PointState, SetAnswer, decode_frame
from actors.point.store import PointStore
from bridges.backoff import Backoff
from bridges.config import ModbusDevice, ModbusNetwork
from bridges.modbus.bridge import ModbusBridge
from tests.bridges.modbus.device import Device, Memory
from tests.support import InProcess

QUICK = Backoff(first=0.02, limit=0.1)
# s; what the bridge waits for an answer where a test's device gives none. Everywhere else it waits longer, so
# that a busy machine isn't taken for a silent device.
SOON = 1.0


def point(
    point_id: str,
    register_type: str = "holding",
    address: int = 0,
    data_type: str = "uint16",
    device: str = "meter",
    properties: dict[str, Any] | None = None,
    **more: Any,
) -> Node:
    """Give a point node as the configuration makes it."""
    return Node(
        id=f"{device}/{point_id}",
        node_type=NodeType.POINT,
        dis=point_id,
        properties=properties or {},
        capabilities=NodeCapabilities(readable=True, historizable=True),
        protocol_binding=ProtocolBinding.modbus(device, register_type, address, data_type, **more),
    )


class Nodes:
    """The part of the node store that a bridge uses."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.away = False

    def bound(self, protocol: str) -> list[Node]:
        if self.away:
            raise ConnectionError("the node store is away")
        return [
            node
            for node in self.nodes
            if node.protocol_binding and node.protocol_binding.protocol == protocol
        ]


class _Changes:
    def values(self, ids: list[str], values: list[Any], times: list[int]) -> None: ...

    def statuses(self, ids: list[str], old: list[int], new: list[int]) -> None: ...


class Points:
    """The real point store, that can be away and can be restarted."""

    def __init__(self) -> None:
        self.frames: list[PointFrame] = []
        self.away = False
        self.recorded: list[PointFrame] = []
        self.gaps: list[GapNotes] = []
        self.restart()

    def restart(self) -> None:
        self.store = PointStore("north", _Changes(), self._record)

    def _record(self, frame: bytes) -> None:
        if are_notes(frame):
            self.gaps.append(decode_notes(frame))
        else:
            self.recorded.append(decode_frame(frame))

    def lost(self, notes: bytes) -> None:
        self._there()
        self.store.lost(notes)

    def configure(self, points: list[PointConfig]) -> None:
        self._there()
        self.store.configure(points)

    def forget(self, ids: list[str]) -> None:
        self._there()
        self.store.forget(ids)

    def set_if_changed(self, frame: bytes) -> SetAnswer:
        self._there()
        self.frames.append(decode_frame(frame))
        return self.store.set_if_changed(frame)

    def get(self, point_id: str) -> PointState:
        return self.store.get(point_id)

    def value(self, point_id: str) -> Any:
        known = self.store.get_many([point_id])
        return known[0].value if known else None

    def status(self, point_id: str) -> int:
        known = self.store.get_many([point_id])
        return known[0].status if known else 0

    def _there(self) -> None:
        if self.away:
            raise ConnectionError("the point store is away")


class Bench:
    """A bridge with its devices and stores."""

    def __init__(self) -> None:
        self.points = Points()
        self.nodes = Nodes([])
        self.events: list[Event] = []
        self.bus: EventBus | None = None
        self.bridges: list[ModbusBridge] = []
        self.devices: list[Device] = []

    async def device(self, units: dict[int, Memory], behaviour: Any = None) -> Device:
        device = Device(units, behaviour)
        await device.start()
        self.devices.append(device)
        return device

    async def bridge(
        self,
        networks: list[ModbusNetwork],
        devices: list[ModbusDevice],
        nodes: list[Node],
        backoff: Backoff = QUICK,
    ) -> ModbusBridge:
        self.nodes.nodes = nodes
        bridge = ModbusBridge(
            "north",
            networks,
            devices,
            InProcess(self.nodes),
            InProcess(self.points),
            self.events.append,
            bus=InProcess(self.bus) if self.bus is not None else None,
            backoff=backoff,
        )
        self.bridges.append(bridge)
        await bridge.start()
        return bridge

    async def simple(self, device: Device, nodes: list[Node], **config: Any) -> ModbusBridge:
        """Start a bridge to one unit of one device."""
        return await self.bridge([network(device)], [unit(**config)], nodes)

    def told(self) -> list[str]:
        return [event.type for event in self.events]


def network(device: Device, network_id: str = "line", timeout: float = 3.0, **config: Any) -> ModbusNetwork:
    """Give the configuration of a connection to a device."""
    return ModbusNetwork(id=network_id, host="127.0.0.1", port=device.port, timeout=timeout, **config)


def unit(device_id: str = "meter", network_id: str = "line", unit: int = 1, **config: Any) -> ModbusDevice:
    """Give the configuration of a unit; its own points don't matter here."""
    interval = config.pop("interval", 0.5)
    return ModbusDevice(
        id=device_id, network=network_id, unit=unit, profile="none", interval=interval, **config
    )


async def until(condition: Callable[[], bool], timeout: float = 30.0) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    for bridge in bench.bridges:
        await bridge.stop()
    for device in bench.devices:
        await device.stop()


@pytest.fixture
async def pair() -> AsyncIterator[tuple[str, str]]:
    """Give the paths of two serial ports with a cable between them."""
    ends = [pty.openpty() for _ in range(2)]
    loop = asyncio.get_running_loop()
    for master, slave in ends:
        tty.setraw(master)
        tty.setraw(slave)
        os.set_blocking(master, False)
    (one, _), (other, _) = ends
    loop.add_reader(one, lambda: os.write(other, os.read(one, 4096)))
    loop.add_reader(other, lambda: os.write(one, os.read(other, 4096)))
    yield os.ttyname(ends[0][1]), os.ttyname(ends[1][1])
    for master, slave in ends:
        loop.remove_reader(master)
        os.close(master)
        os.close(slave)


def serial(path: str, timeout: float = 3.0) -> ModbusNetwork:
    return ModbusNetwork(id="bus", transport="rtu", device=path, timeout=timeout, parity="N")
