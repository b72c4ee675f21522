"""One device whose network is played: what poor devices do, and what is made of it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bacpypes3.basetypes import StatusFlags
from bacpypes3.pdu import Address
from bacpypes3.primitivedata import Real

from actors.bus.events import Event
from actors.core.clock import now_ms
from actors.core.values import PointStatus
from actors.point.models import PointFrame
from bridges.bacnet.contact import Effects
from bridges.bacnet.cov import Object
from bridges.bacnet.device import Device
from bridges.bacnet.network import Announced, DeviceError
from bridges.config import BacnetDevice, BacnetNetwork
from bridges.outbox import FaultLog
from tests.bridges.bacnet.conftest import QUICK, until

GOOD = StatusFlags([0, 0, 0, 0])


class Played:
    """A network with one device, as poor as a test wants it."""

    is_open, trouble = True, None
    config = BacnetNetwork(id="ip")

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.largest = 100
        """Objects that fit one answer; 0: it can't read several."""
        self.tells_itself = True
        self.takes_cov: str | None = None
        """Why it refuses a subscription."""

    async def find(self, instance: int) -> list[Announced]:
        raise AssertionError("its address is configured")

    async def read(self, device: str, address: str, obj: str, prop: str, index: int | None = None) -> Any:
        self.requests.append(("read", (obj, prop)))
        if obj.startswith("device,"):
            if not self.tells_itself:
                raise DeviceError(device, "unknown-property", "error")
            return 1476
        return Real(5.0) if prop == "present-value" else GOOD

    async def read_many(
        self, device: str, address: str, wanted: Sequence[tuple[str, Sequence[str]]]
    ) -> dict[tuple[str, str], Any]:
        self.requests.append(("read_many", len(wanted)))
        if not self.largest:
            raise DeviceError(device, "reject: unrecognized-service", "reject")
        if len(wanted) > self.largest:
            raise DeviceError(device, "abort: buffer-overflow", "abort")
        values = {(obj, "present-value"): Real(5.0) for obj, _ in wanted}
        return values | {(obj, "status-flags"): GOOD for obj, _ in wanted}

    async def subscribe(self, device: str, address: str, obj: str, process: int, lifetime: int) -> None:
        self.requests.append(("subscribe", obj))
        if self.takes_cov:
            raise DeviceError(device, self.takes_cov, self.takes_cov.partition(":")[0])

    def count(self, kind: str) -> int:
        return sum(each == kind for each, _ in self.requests)


class Sink:
    """What an outbox was given."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Any, int, int]] = {}

    def put(self, frame: PointFrame) -> None:
        for key, *row in zip(frame.ids, frame.values, frame.times, frame.statuses, strict=True):
            self.rows[key] = (row[0], row[1], row[2])


@asynccontextmanager
async def running(
    network: Played, points: int = 5, interval: float = 0.5, *, cov: bool = False
) -> AsyncIterator[tuple[Device, Sink, list[Event]]]:
    sink, events = Sink(), list[Event]()
    config = BacnetDevice(device_instance=7, network="ip", address="10.0.0.7", cov=cov)
    faults = FaultLog(logging.getLogger(__name__))
    effects: Any = Effects(sink, events.append, now_ms, faults, QUICK)  # type: ignore[arg-type]
    device = Device(config, network, effects)  # type: ignore[arg-type]
    device.assign({f"7/{each}": Object(f"analog-input,{each}", interval) for each in range(points)})
    task = asyncio.create_task(device.run())
    try:
        yield device, sink, events
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_device_that_does_not_tell_about_itself_is_read_in_small_parts() -> None:
    network = Played()
    network.tells_itself = False
    async with running(network, 40) as (device, sink, events):
        await until(lambda: len(sink.rows) == 40)
        assert device.status().state == "online"
        assert max(each for kind, each in network.requests if kind == "read_many") == 15
    assert [event.type for event in events] == ["device_discovered"]


async def test_a_group_that_does_not_fit_is_halved_and_this_is_remembered() -> None:
    network = Played()
    network.largest = 6
    async with running(network, 40) as (_, sink, _):
        await until(lambda: len(sink.rows) == 40)
        network.requests.clear()
        await until(lambda: network.count("read_many") >= 8)
        assert max(each for kind, each in network.requests if kind == "read_many") <= 6


async def test_a_device_that_can_not_read_several_is_read_one_by_one() -> None:
    network = Played()
    network.largest = 0
    async with running(network) as (_, sink, _):
        await until(lambda: len(sink.rows) == 5)
        assert network.count("read_many") == 1
        assert {row[0] for row in sink.rows.values()} == {5.0}


async def test_a_device_without_cov_is_asked_once_and_polled() -> None:
    network = Played()
    network.takes_cov = "reject: unrecognized-service"
    async with running(network, cov=True) as (device, sink, _):
        await until(lambda: len(sink.rows) == 5)
        await asyncio.sleep(0.2)
        assert network.count("subscribe") == 1
        assert device.status().cov_points == 0


async def test_an_object_that_refuses_a_subscription_is_polled_in_peace() -> None:
    network = Played()
    network.takes_cov = "error: no-space-to-add-list-element"
    async with running(network, cov=True) as (device, sink, _):
        await until(lambda: len(sink.rows) == 5)
        await asyncio.sleep(0.2)
        assert network.count("subscribe") == 5
        assert device.status().state == "online"


async def test_subscriptions_that_are_lost_with_the_service_leave_no_busy_loop() -> None:
    network = Played()
    async with running(network, interval=600, cov=True) as (device, _, _):
        await until(lambda: device.status().cov_points == 5)
        network.takes_cov = "reject: unrecognized-service"
        for each in device._points.values():
            each.renew = 0.0
        device._wake.set()
        await until(lambda: device.status().cov_points == 0)
        steps = 0
        step = device.step

        async def counted() -> None:
            nonlocal steps
            steps += 1
            await step()

        device.step = counted  # type: ignore[method-assign]
        await asyncio.sleep(0.3)
        assert steps <= 1


async def test_the_same_points_again_do_not_wake_a_silent_device() -> None:
    async with running(Played()) as (device, sink, _):
        await until(lambda: len(sink.rows) == 5)
        device._wake.clear()
        device.assign({f"7/{each}": Object(f"analog-input,{each}", 0.5) for each in range(5)})
        assert not device._wake.is_set()
        device.assign({f"7/{each}": Object(f"analog-input,{each}", 0.5) for each in range(6)})
        assert device._wake.is_set()


async def test_what_is_no_value_keeps_the_last_one_and_its_time() -> None:
    async with running(Played(), interval=600) as (device, sink, _):
        await until(lambda: len(sink.rows) == 5)
        before = sink.rows["7/1"]
        await asyncio.sleep(0.01)
        device.notified(Address("10.0.0.7"), "analog-input,1", Real(float("nan")), GOOD)
        assert sink.rows["7/1"] == (5.0, before[1], PointStatus.FAULT)


async def test_a_stop_at_the_moment_of_a_wake_up_is_not_forgotten() -> None:
    async with running(Played(), interval=600) as (device, sink, _):
        await until(lambda: len(sink.rows) == 5)
        await asyncio.sleep(0.05)
        # The context ends the task in the same turn of the loop.
        device._wake.set()
