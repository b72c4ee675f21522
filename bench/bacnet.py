"""A poll of a BACnet device beside bare bacpypes3 reading the same points."""

import asyncio
import itertools
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

from bacpypes3.pdu import Address
from bacpypes3.primitivedata import ObjectIdentifier

from actors.core.errors import BridgeError
from actors.point.models import PointFrame
from bench.controllers import ADDRESS, FIRST
from bench.results import Progress, Result, Scale, at_least, median
from bridges.backoff import DEFAULT_BACKOFF
from bridges.bacnet.contact import Effects
from bridges.bacnet.cov import Object
from bridges.bacnet.device import Device
from bridges.bacnet.network import Network
from bridges.config import BacnetDevice, BacnetNetwork
from bridges.outbox import FaultLog

POINTS: Final = 50
INTERVAL: Final = 10.0
POLLS: Final = 20
"""Polls in a row that are timed at once."""


class Counting:
    """Stands for the outbox, and counts the rows that it is given."""

    def __init__(self) -> None:
        self.rows = 0

    def put(self, frame: PointFrame) -> None:
        """Take a frame."""
        self.rows += len(frame)


def free_udp_port(address: str) -> int:
    """Give a UDP port of an address that nobody has now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def network(port: int, timeout: float = 3.0) -> BacnetNetwork:
    """Give the configuration of a network behind the controllers' router."""
    own = free_udp_port("127.0.0.1")
    return BacnetNetwork(id="ip", address="127.0.0.1/8", port=own, bbmd=f"{ADDRESS}:{port}", timeout=timeout)


def poll(folder: Path, scale: Scale, progress: Progress) -> Iterator[Result]:
    """Measure polls of 50 analog values with their status flags, over loopback to another process."""
    os.environ["HOME"] = str(folder)  # BAC0 keeps a folder there
    port = free_udp_port(ADDRESS)
    command = [sys.executable, "-m", "bench.controllers", str(port), "--points", str(POINTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            (server.stdout or sys.stdin).readline()
            ours, bare = asyncio.run(_measure(port, scale, progress))
        finally:
            server.kill()
    ratio = median([one / other for one, other in zip(ours, bare, strict=True)])
    yield Result(
        f"BACnet poll, {POINTS} points",
        f"{median(ours):,.0f} points/s",
        f"{median(bare):,.0f} points/s (bare bacpypes3, ReadPropertyMultiple of the same points)",
        f"{ratio:.2f}",
        "0.95",
        at_least(ratio, 0.95),
        ["both read present value and status flags, in requests of as many objects, over one socket"],
    )


async def _measure(port: int, scale: Scale, progress: Progress) -> tuple[list[float], list[float]]:
    net = Network(network(port))
    await net.open()
    outbox, clock = Counting(), itertools.count(0.0, INTERVAL)
    sink: Any = outbox
    effects = Effects(
        sink,
        lambda event: None,
        lambda: 0,
        FaultLog(logging.getLogger()),
        DEFAULT_BACKOFF,
        monotonic=lambda: next(clock),
    )
    device = Device(BacnetDevice(device_instance=FIRST, network="ip", cov=False), net, effects)
    names = [f"analog-value,{at}" for at in range(1, POINTS + 1)]
    device.assign({name: Object(name, INTERVAL / 2) for name in names})
    for _ in range(20):
        try:
            await device.step()
            break
        except BridgeError:
            await asyncio.sleep(0.5)  # the router takes us in a moment
    address, group = Address(device.located()), device.able.group
    wanted: list[list[Any]] = []
    for at in range(0, POINTS, group):
        part: list[Any] = []
        for name in names[at : at + group]:
            part += ObjectIdentifier(name), ["present-value", "status-flags"]
        wanted.append(part)

    async def bare() -> None:
        for part in wanted:
            answer = await net._app.read_property_multiple(address, part)
            if len(answer) != len(part):
                raise RuntimeError(f"{len(answer)} values came instead of {len(part)}")

    rounds, polls = scale.of(3 * scale.runs, 1), scale.of(POLLS, 2)
    ways: list[Callable[[], Awaitable[None]]] = [device.step, bare]
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(-1, rounds):
        progress(max(0, number), rounds, "BACnet poll")
        for way, rates in zip(ways, found, strict=True):
            begin = time.perf_counter()
            for _ in range(polls):
                await way()
            if number >= 0:
                rates.append(polls * POINTS / (time.perf_counter() - begin))
    await net.close()
    if outbox.rows < rounds * polls * POINTS:
        raise RuntimeError(f"only {outbox.rows} rows came of {rounds * polls} polls")
    return found
