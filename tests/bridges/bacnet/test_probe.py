"""Scans over real BACnet/IP on loopback: of the simulated building, and of devices that misbehave."""

import asyncio
import socket
from typing import Any

import pytest
from bacpypes3.primitivedata import ObjectIdentifier

from actors.core.errors import BadInputError, ConflictError, NotFoundError
from bridges.bacnet.probe import Findings, Progress
from bridges.simulator import devices as simulated
from tests.bridges.bacnet.conftest import Bench, device, until
from tests.bridges.bacnet.rogues import Rogues
from tests.bridges.simulator.support import IP
from tests.ports import free_port


def keys(found: Findings) -> list[tuple[str, str]]:
    return [(each.device.device_key, each.device.address) for each in found.devices]


async def opened(bench: Bench, **network: Any) -> Any:
    bridge = await bench.bridge([], **network)
    await until(lambda: all(each.is_open for each in bridge._networks.values()))
    return bridge


async def test_a_building_is_found_with_all_that_it_tells(bench: Bench) -> None:
    bridge = await opened(bench)
    heard: list[tuple[int, int, int]] = []

    def progress(state: Progress) -> None:
        heard.append((state.devices, state.devices_done, state.points))

    found = await bridge.scan(progress=progress, wait=1.0)
    by_key = {each.device.device_key: each for each in found.devices}
    assert len(by_key) == len(found.devices) == len(simulated.BACNET) + 1
    assert (found.cancelled, found.errors) == (False, {})
    vav = by_key["1101"]
    assert (vav.device.vendor, vav.device.model) == (simulated.VENDOR, "SIM-VAV-RH")
    assert (vav.device.firmware, vav.device.network_id) == (simulated.FIRMWARE, "ip")
    assert (vav.vendor_id, vav.errors) == (simulated.VENDOR_ID, {})
    assert {"read-property", "read-property-multiple", "subscribe-cov"} <= set(vav.services)
    points = {each.point_key: each for each in vav.device.points or []}
    setpoint = points["analog-value-1"]
    assert (setpoint.name, setpoint.kind, setpoint.units) == (
        "Zone Setpoint",
        "analog-value",
        "degrees-celsius",
    )
    assert (setpoint.value, setpoint.writable) == (21.5, True)
    assert "analog-value-1" in vav.commandable
    assert not points["analog-input-1"].writable
    assert "analog-input-1" not in vav.commandable
    assert vav.states["multi-state-value-1"]
    assert heard[0][1] == 0
    assert heard[-1] == (
        len(found.devices),
        len(found.devices),
        sum(len(p.device.points or []) for p in found.devices),
    )
    assert await bridge.scan_progress() is None


async def test_a_scan_keeps_to_its_range(bench: Bench) -> None:
    bridge = await opened(bench)
    found = await bridge.scan(["ip"], 1102, 1103, wait=1.0)
    assert [
        each.device.device_key for each in sorted(found.devices, key=lambda each: each.device.device_key)
    ] == [
        "1102",
        "1103",
    ]


async def test_poor_devices_are_found_too_and_say_what_is_missing(rogues: Rogues, lab: Bench) -> None:
    rogues.add(7, 11, 30, max_apdu=128, largest=128, no_list=True)
    rogues.add(8, 12, 5, no_multiple=True, broken=frozenset({"analog-input,2"}))
    rogues.add(9, 13, 5, all_or_nothing=True, broken=frozenset({"analog-input,4"}))
    rogues.add(10, 14, 2, extra=(ObjectIdentifier((200, 1)),), no_multiple=True)
    bridge = await opened(lab)
    found = await bridge.scan(low=1, high=100, wait=1.0)
    by_key = {each.device.device_key: each for each in found.devices}
    assert sorted(by_key) == ["10", "7", "8", "9"]
    small = by_key["7"]
    assert [each.value for each in small.device.points or []] == [float(number) for number in range(1, 31)]
    assert (small.max_apdu, small.errors, small.other_objects) == (128, {}, {"network-port": 1})
    for key, broken in (("8", "analog-input-2"), ("9", "analog-input-4")):
        finding = by_key[key]
        assert len(finding.device.points or []) == 5
        assert finding.errors == {broken: "internal-error"}
    own = {each.point_key: each for each in by_key["10"].device.points or []}["200-1"]
    assert (own.kind, own.value, own.writable) == ("200", 7.5, False)


async def test_two_devices_with_one_instance_are_both_found(rogues: Rogues, lab: Bench) -> None:
    rogues.add(7, 11)
    rogues.add(7, 12)
    bridge = await opened(lab)
    found = await bridge.scan(low=1, high=100, wait=1.0)
    assert sorted(keys(found)) == [("7", "200:11"), ("7", "200:12")]


async def test_a_device_that_falls_silent_is_found_with_its_reason(rogues: Rogues, lab: Bench) -> None:
    rogues.add(7, 11, delay=5.0)
    rogues.add(8, 12)
    bridge = await opened(lab)
    found = await bridge.scan(low=1, high=100, wait=1.0)
    by_key = {each.device.device_key: each for each in found.devices}
    assert by_key["7"].errors == {"device": "no answer within 3 s"}
    assert by_key["7"].device.points is None
    assert len(by_key["8"].device.points or []) == 3


async def test_a_cancelled_scan_gives_what_it_has(rogues: Rogues, lab: Bench) -> None:
    rogues.add(7, 11, 2)
    rogues.add(8, 12, 400, no_multiple=True, delay=0.05)
    bridge = await opened(lab)
    scan = asyncio.create_task(bridge.scan(low=1, high=100, wait=0.3))
    await until(lambda: bridge._probe and bridge._probe.progress.devices_done == 1)
    assert (await bridge.scan_progress()).devices == 2
    with pytest.raises(ConflictError):
        await bridge.scan()
    assert await bridge.cancel_scan()
    found = await scan
    assert found.cancelled
    assert keys(found) == [("7", "200:11")]
    assert not await bridge.cancel_scan()
    # The next one is free to run.
    assert not (await bridge.scan(low=7, high=7, wait=1.0)).cancelled


async def test_a_scan_whose_caller_gives_up_ends(rogues: Rogues, lab: Bench) -> None:
    rogues.add(8, 12, 400, no_multiple=True, delay=0.05)
    bridge = await opened(lab)
    scan = asyncio.create_task(bridge.scan(low=1, high=100, wait=0.2))
    await asyncio.sleep(1.0)
    scan.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scan
    assert await bridge.scan_progress() is None
    assert not any("probe" in str(task.get_coro()) for task in asyncio.all_tasks())


async def test_networks_are_scanned_side_by_side(rogues: Rogues, lab: Bench) -> None:
    more = Rogues(free_port(socket.SOCK_DGRAM, IP))
    await more.opened()
    try:
        rogues.add(7, 11)
        more.add(7, 11)
        first = lab.network()
        second = lab.network().model_copy(update={"id": "other", "bbmd": f"{IP}:{more.port}"})
        shut = lab.network(port=first.port).model_copy(update={"id": "shut"})
        bridge = await lab.bridge([], networks=[first, second, shut])
        await until(lambda: bridge._networks["ip"].is_open and bridge._networks["other"].is_open)
        await until(lambda: "in use" in (bridge._networks["shut"].trouble or ""))
        found = await bridge.scan(low=1, high=100, wait=1.0)
        assert sorted(each.device.network_id for each in found.devices) == ["ip", "other"]
        assert "in use" in found.errors["shut"]
    finally:
        more.close()


async def test_a_device_that_no_broadcast_reaches_is_asked_at_its_address(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11)
    bridge = await lab.bridge([device(7, address="200:11")])
    await until(lambda: [each.address for each in bridge._devices.values()] == ["200:11"])

    async def only_when_asked(apdu: Any) -> None:
        # Broadcasts do come through the router: those are the ones that got lost.
        if apdu.pduDestination.is_localstation:
            app.i_am(address=apdu.pduSource)

    app.do_WhoIsRequest = only_when_asked
    found = await bridge.scan(low=1, high=100, wait=1.0)
    assert keys(found) == [("7", "200:11")]


async def test_who_has_an_object(rogues: Rogues, lab: Bench) -> None:
    rogues.add(7, 11, 2)
    rogues.add(8, 12, 5)
    bridge = await opened(lab)
    assert [each.instance for each in await bridge.who_has("ip", obj="analog-input,1", wait=1.0)] == [7, 8]
    (found,) = await bridge.who_has("ip", name="input 5", wait=1.0)
    assert (found.instance, found.address, found.object) == (8, "200:12", "analog-input,5")
    assert await bridge.who_has("ip", name="nothing", wait=0.2) == []


async def test_what_can_not_be_asked_for_is_refused(rogues: Rogues, lab: Bench) -> None:
    bridge = await opened(lab)
    for low, high in ((-1, 5), (5, 4), (0, 4194303)):
        with pytest.raises(BadInputError):
            await bridge.scan(low=low, high=high)
    with pytest.raises(NotFoundError):
        await bridge.scan(["nowhere"])
    with pytest.raises(NotFoundError):
        await bridge.who_has("nowhere", name="x")
    for asked in ({}, {"name": "x", "obj": "analog-input,1"}, {"obj": "what"}):
        with pytest.raises(BadInputError):
            await bridge.who_has("ip", **asked)
