"""The bridge against the simulated building, over real BACnet/IP on loopback."""

import asyncio
import os
import select
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.core.errors import BadInputError, NotFoundError, WriteFailedError
from actors.core.values import PointStatus
from actors.node.models import Node, NodeType
from actors.node.store import NodeStore
from actors.point.store import PointStore
from bridges.backoff import Backoff
from bridges.bacnet.bridge import BacnetBridge
from bridges.config import BacnetDevice, BacnetNetwork
from bridges.model import site_nodes
from bridges.profiles import load_profile
from tests.ports import free_port
from tests.support import InProcess

SETPOINT = "1101/analog-value-1"


class Changes:
    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def values(self, ids: list[str], values: list[Any], times: list[int]) -> None:
        self.seen += zip(ids, values, strict=True)

    def statuses(self, ids: list[str], old: list[int], new: list[int]) -> None: ...


class Simulator:
    def __init__(self, port: int) -> None:
        self.port = port
        command = [sys.executable, "-m", "bridges.simulator", "--parent-pid", str(os.getpid())]
        ports = [
            "--speed",
            "30",
            "--bacnet-port",
            str(port),
            "--modbus-port",
            str(free_port(socket.SOCK_STREAM, "127.0.0.2")),
        ]
        self.process = subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 60)[0]
        assert self.process.stdout.readline().startswith("READY")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    running = Simulator(free_port(socket.SOCK_DGRAM, "127.0.0.2"))
    yield running
    running.stop()


class Site:
    def __init__(self, folder: Path, port: int, devices: list[BacnetDevice], **more: Any) -> None:
        self.nodes = NodeStore(folder)
        self.changes, self.events = Changes(), list[Any]()
        self.points = PointStore("north", self.changes, lambda frame: None)
        network = BacnetNetwork(
            id="ip",
            address="127.0.0.1/8",
            port=free_port(socket.SOCK_DGRAM, "127.0.0.1"),
            bbmd=f"127.0.0.2:{port}",
            ttl=60,
            timeout=0.6,
            retries=0,
        )
        profiles = {each.profile: load_profile(each.profile, folder) for each in devices if each.profile}
        self.nodes.apply(site_nodes("north", "North", [], devices, profiles))
        self.bridge = BacnetBridge(
            "north",
            [network],
            devices,
            InProcess(self.nodes),
            InProcess(self.points),
            self.events.append,
            **more,
        )

    def known(self) -> int:
        return sum(row[1] is not None for row in self.points.snapshot())


async def until(check: Callable[[], Any], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 - nothing to wait for but the outcome
            await asyncio.sleep(0.05)


def device(instance: int, **more: Any) -> BacnetDevice:
    return BacnetDevice.model_validate({"device_instance": instance, "network": "ip"} | more)


@pytest.fixture
async def site(tmp_path: Path, simulator: Simulator) -> AsyncIterator[Site]:
    site = Site(tmp_path, simulator.port, [device(1101, profile="vav-reheat"), device(1201)])
    await site.bridge.start()
    yield site
    await site.bridge.stop()
    site.nodes.close()


async def test_points_of_a_profile_and_objects_that_the_device_tells(site: Site) -> None:
    await until(lambda: site.known() >= 40)
    told = site.nodes.get("1201/binary-output-1")
    assert told.node_type is NodeType.POINT
    assert told.capabilities.writable
    assert told.properties["states"]
    assert "Boiler" in told.dis or told.dis
    status = {each.device_key: each for each in await site.bridge.status()}
    assert status["1101"].state == "online"
    assert status["1101"].model == "SIM-VAV-RH"
    assert {each.type for each in site.events} >= {"device_discovered"}


async def test_a_setpoint_is_written_read_back_and_relinquished(site: Site) -> None:
    await until(lambda: site.known() >= 20)
    before = (await site.bridge.priority_array(SETPOINT)).present_value
    assert await site.bridge.write(SETPOINT, 24.5, 8) == 24.5
    array = await site.bridge.priority_array(SETPOINT)
    assert (array.slots[7], array.active_priority, array.present_value) == (24.5, 8, 24.5)
    await site.bridge.write(SETPOINT, 26.0, 10)
    assert await site.bridge.read(SETPOINT) == 24.5
    await site.bridge.write(SETPOINT, None, 8)
    assert await site.bridge.write(SETPOINT, None, 10) == before
    assert site.points.get(SETPOINT).value == before


async def test_the_devices_own_reason_comes_back(site: Site) -> None:
    await until(lambda: site.known() >= 20)
    with pytest.raises(WriteFailedError, match="write-access-denied"):
        await site.bridge.write("1101/analog-input-1", 20.0, 8)
    with pytest.raises(BadInputError):
        await site.bridge.write(SETPOINT, "warm", 8)
    with pytest.raises(NotFoundError):
        await site.bridge.write("1101/analog-value-999", 1.0, 8)


async def test_changes_come_by_notification(site: Site) -> None:
    await until(lambda: site.bridge._devices["1101"].status().cov_points == 21)
    await site.bridge.write(SETPOINT, 27.0, 8)
    site.changes.seen.clear()
    # The next reading is most of a minute away: what moves now was told by the device.
    await until(lambda: any(key.startswith("1101/") and key != SETPOINT for key, _ in site.changes.seen), 15)
    await site.bridge.write(SETPOINT, None, 8)


async def test_a_wrong_binding_is_named_and_hurts_nobody_else(site: Site) -> None:
    await until(lambda: site.known() >= 20)
    wrong = site.nodes.get(SETPOINT).model_dump() | {"id": "1101/odd", "dis": "Odd"}
    wrong["protocol_binding"]["config"]["object_type"] = "trend-log"
    site.nodes.create(Node.model_validate(wrong))
    await site.bridge.reload()
    health = await site.bridge.health()
    assert any("trend-log" in reason for reason in health.reasons)
    assert await site.bridge.read(SETPOINT) is not None


async def test_a_device_that_dies_is_down_flagged_and_back(tmp_path: Path) -> None:
    simulator = Simulator(free_port(socket.SOCK_DGRAM, "127.0.0.2"))
    quick = Backoff(first=0.1, limit=0.3, early=0.3)
    devices = [device(1101, profile="vav-reheat", interval=1.0)]
    site = Site(tmp_path, simulator.port, devices, backoff=quick)
    await site.bridge.start()
    try:
        await until(lambda: site.known() >= 20)
        value = site.points.get(SETPOINT).value
        simulator.stop()
        await until(lambda: any(each.type == "device_down" for each in site.events), 40)
        await until(lambda: site.points.get(SETPOINT).status & PointStatus.DOWN)
        assert site.points.get(SETPOINT).value == value
        assert (await site.bridge.health()).state == "down"
        simulator = Simulator(simulator.port)
        await until(lambda: any(each.type == "device_recovered" for each in site.events), 60)
        await until(lambda: not site.points.get(SETPOINT).status & PointStatus.DOWN)
    finally:
        await site.bridge.stop()
        simulator.stop()
        site.nodes.close()


async def test_a_port_that_is_taken_is_said(tmp_path: Path, simulator: Simulator) -> None:
    site = Site(tmp_path, simulator.port, [device(1101, profile="vav-reheat")])
    network = next(iter(site.bridge._networks.values()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", network.config.port))
        await site.bridge.start()
        await until(lambda: network.trouble and "in use" in network.trouble)
        assert any("in use" in reason for reason in (await site.bridge.health()).reasons)
        await site.bridge.stop()
    site.nodes.close()
