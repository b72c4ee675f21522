"""`python -m bench.field`: 100 BACnet devices and 50 Modbus units, all alive and with dead ones among them.

Both bridges run in one process with stores that only note what arrives; the devices are in two other ones.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from actors.history.gaps import are_notes
from actors.node.models import Node, NodeCapabilities, NodeType, ProtocolBinding
from actors.point.models import PointConfig, SetAnswer, decode_frame
from bench.bacnet import free_udp_port, network
from bench.controllers import ADDRESS, FIRST
from bench.peers import free_port
from bench.results import median, percentile
from bridges.bacnet.bridge import BacnetBridge
from bridges.config import BacnetDevice, ModbusDevice, ModbusNetwork
from bridges.modbus.bridge import ModbusBridge

DEVICES, UNITS, POINTS = 100, 50, 50
OWN: Final = 20
"""Units that are a TCP server each; the others are behind two gateways, 15 each."""
GATEWAYS: Final = 2
DEAD_DEVICES, DEAD_OWN, DEAD_BEHIND = 10, 4, 2
"""How many don't answer in the second run; the last of them behind each gateway."""
INTERVAL: Final = 10.0
TIMEOUT: Final = 1.0
RISES, SETTLES = 90.0, 20.0
"""Seconds that all may take to be read once, and that pass then until readings are watched."""


class _Method:
    def __init__(self, call: Any) -> None:
        self._call = call

    async def remote(self, *args: Any) -> Any:
        return self._call(*args)


class Store:
    """Stands for the node store and the point store, and notes when each point was read."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes
        self.read: dict[str, list[int]] = defaultdict(list)

    def __getattr__(self, name: str) -> _Method:
        return _Method(getattr(self, f"_{name}"))

    def _bound(self, protocol: str) -> list[Node]:
        bound = [(each, each.protocol_binding) for each in self._nodes]
        return [each for each, binding in bound if binding and binding.protocol == protocol]

    def _configure(self, configs: list[PointConfig]) -> None: ...

    def _forget(self, ids: list[str]) -> None: ...

    def _lost(self, notes: bytes) -> None: ...

    def _set_if_changed(self, frame: bytes) -> SetAnswer:
        if are_notes(frame):
            return SetAnswer(accepted=0, changed=0)
        rows = decode_frame(frame)
        for point_id, at, status in zip(rows.ids, rows.times, rows.statuses, strict=True):
            if not status:
                self.read[point_id].append(at)
        return SetAnswer(accepted=len(rows), changed=len(rows))


def _point(point_id: str, binding: ProtocolBinding) -> Node:
    able = NodeCapabilities(readable=True, historizable=True)
    return Node(
        id=point_id, node_type=NodeType.POINT, dis=point_id, capabilities=able, protocol_binding=binding
    )


@contextlib.contextmanager
def _process(module: str, *arguments: object) -> Iterator[None]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            (process.stdout or sys.stdin).readline()
            yield
        finally:
            process.kill()


def _told(name: str, store: Store, live: list[str], start: int, end: int) -> None:
    """Print how far apart the readings of living points were, in s."""
    ages: list[float] = []
    unread = 0
    for point_id in live:
        times = [at for at in sorted(set(store.read[point_id])) if start <= at <= end]
        unread += len(times) < 2
        ages += [(after - before) / 1000 for before, after in pairwise(times)]
    if not ages:
        print(f"  {name}: nothing was read")
        return
    late = sum(age > INTERVAL for age in ages)
    print(
        f"  {name}: {len(live)} living points, {unread} not read twice; apart median {median(ages):.2f} s,"
        f" p95 {percentile(ages, 0.95):.2f} s, longest {max(ages):.2f} s;"
        f" {late} of {len(ages)} more than {INTERVAL:g} s"
    )


async def _run(seconds: float, dead: bool) -> None:
    bac_port, ports = free_udp_port(ADDRESS), [free_port() for _ in range(OWN + GATEWAYS)]
    dead_devices, dead_own, dead_behind = (DEAD_DEVICES, DEAD_OWN, DEAD_BEHIND) if dead else (0, 0, 0)
    behind = (UNITS - OWN) // GATEWAYS
    networks = [
        ModbusNetwork(id=f"line-{at}", host="127.0.0.1", port=port, timeout=TIMEOUT)
        for at, port in enumerate(ports)
    ]
    placed = [(f"line-{at}", 1) for at in range(OWN)]
    placed += [(f"line-{OWN + gateway}", 2 + at) for gateway in range(GATEWAYS) for at in range(behind)]
    # Behind each gateway the last units are silent; of the others the last servers aren't there.
    silent = range(2 + behind - dead_behind, 2 + behind)
    gone = {f"line-{at}" for at in range(OWN - dead_own, OWN)}
    units = [
        ModbusDevice(id=f"meter-{line}-{unit}", network=line, unit=unit, profile="none", interval=INTERVAL)
        for line, unit in placed
    ]
    devices = [
        BacnetDevice(device_instance=FIRST + at, network="ip", interval=INTERVAL, cov=False)
        for at in range(DEVICES)
    ]
    nodes, live_bac, live_mod = list[Node](), list[str](), list[str]()
    for at, device in enumerate(devices):
        for number in range(1, POINTS + 1):
            point_id = f"{device.id}/{number}"
            binding = ProtocolBinding.bacnet(device.device_instance, "analog-value", number, "ip")
            nodes.append(_point(point_id, binding))
            if at < DEVICES - dead_devices:
                live_bac.append(point_id)
    for unit in units:
        for number in range(POINTS):
            point_id = f"{unit.id}/{number}"
            binding = ProtocolBinding.modbus(unit.id, "holding", 2 * number, "float32")
            nodes.append(_point(point_id, binding))
            if unit.network not in gone and unit.unit not in silent:
                live_mod.append(point_id)
    served = [port for at, port in enumerate(ports) if f"line-{at}" not in gone]
    controllers = (bac_port, "--count", DEVICES, "--points", POINTS, "--dead", dead_devices)
    with (
        _process("bench.controllers", *controllers),
        _process("bench.meters", *served, "--silent", *silent),
    ):
        store = Store(nodes)
        bacnet = BacnetBridge("field", [network(bac_port)], devices, store, store)
        modbus = ModbusBridge("field", networks, units, store, store)
        began = time.monotonic()
        await asyncio.gather(bacnet.start(), modbus.start())
        live = live_bac + live_mod
        missing = len(live)
        for _ in range(round(RISES / 0.2)):
            missing = sum(point_id not in store.read for point_id in live)
            if not missing:
                break
            await asyncio.sleep(0.2)
        print(f"  all living points read once after {time.monotonic() - began:.1f} s, {missing} missing")
        await asyncio.sleep(SETTLES)
        start, cpu = time.time_ns() // 1_000_000, time.process_time()
        await asyncio.sleep(seconds)
        end, cpu = time.time_ns() // 1_000_000, time.process_time() - cpu
        _told("BACnet", store, live_bac, start, end)
        _told("Modbus", store, live_mod, start, end)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"  both bridges: {cpu / seconds:.0%} of a core, {peak:.0f} MiB at most")
        began = time.monotonic()
        found = await bacnet.scan(low=FIRST, high=FIRST + DEVICES - 1)
        objects = sum(len(each.device.points or ()) for each in found.devices)
        took = time.monotonic() - began
        print(f"  scan while polling: {len(found.devices)} devices, {objects} points in {took:.1f} s")
        await asyncio.gather(bacnet.stop(), modbus.stop())


def main() -> None:
    """Run with all alive, then with dead ones."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0, help="how long readings are watched")
    seconds = parser.parse_args().seconds
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = home  # BAC0 keeps a folder there
        for dead in (False, True):
            told = (
                f"{DEAD_DEVICES} of {DEVICES} BACnet devices,"
                f" {DEAD_OWN + GATEWAYS * DEAD_BEHIND} of {UNITS} Modbus units dead"
            )
            print(told if dead else "all alive", flush=True)
            asyncio.run(_run(seconds, dead))


if __name__ == "__main__":
    main()
