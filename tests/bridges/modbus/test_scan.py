"""Scans for the discovery engine: networks side by side, bindings and points of what fits."""

import asyncio

import pytest

from actors.core.errors import BadInputError, ConflictError, NotFoundError
from bridges.found import found_points, profile_points
from bridges.profiles import shipped_profiles
from tests.bridges.modbus.conftest import Bench, network, unit
from tests.bridges.modbus.device import Memory, frame


async def test_units_of_a_network_are_found_with_their_bindings(bench: Bench) -> None:
    device = await bench.device({1: Memory(holding={0: 1}), 7: Memory()})
    bridge = await bench.bridge([network(device)], [unit()], [])
    scanning = asyncio.create_task(bridge.scan(["line"], 1, 9))
    await asyncio.sleep(0)
    with pytest.raises(ConflictError, match="one is running"):
        await bridge.scan(["line"], 1, 2)
    found = await scanning
    assert (found.cancelled, found.errors) == (False, {})
    # A unit that a file names keeps its name; others are known by their id.
    assert [each.device.device_key for each in found.devices] == ["meter", "7"]
    assert [each.device.binding for each in found.devices] == [
        {"network_id": "line", "unit": 1},
        {"network_id": "line", "unit": 7},
    ]
    assert await bridge.scan_progress() is None
    assert await bridge.scan_found(0) == []


async def test_a_scan_is_cancelled_and_gives_what_it_has(bench: Bench) -> None:
    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        return frame(transaction, unit, Memory(holding={0: 1}).answer(pdu) or b"") if unit == 1 else None

    bridge = await bench.bridge([network(await bench.device({}, behave))], [], [])
    assert not await bridge.cancel_scan()
    scanning = asyncio.create_task(bridge.scan(["line"], 1, 200))
    async with asyncio.timeout(30):
        while not await bridge.scan_found(0):  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)
    progress = await bridge.scan_progress()
    assert progress is not None
    assert 0 < progress.part < 1
    assert await bridge.cancel_scan()
    found = await scanning
    assert (found.cancelled, [each.device.device_key for each in found.devices]) == (True, ["1"])


async def test_what_can_not_be_scanned_is_refused(bench: Bench) -> None:
    bridge = await bench.bridge([network(await bench.device({}))], [], [])
    with pytest.raises(NotFoundError):
        await bridge.scan(["nobody"], 1, 2)
    with pytest.raises(BadInputError):
        await bridge.scan(["line"], 1, 256)
    with pytest.raises(BadInputError):
        await bridge.scan(["line"], 5, 4)


async def test_a_network_without_connection_is_named(bench: Bench) -> None:
    device = await bench.device({1: Memory()})
    bridge = await bench.bridge([network(device)], [], [])
    await device.stop()
    found = await bridge.scan(["line"], 1, 3)
    assert found.devices == []
    assert set(found.errors) == {"line"}


@pytest.mark.parametrize("protocol", ["bacnet", "modbus"])
def test_every_profile_becomes_points(protocol: str) -> None:
    for profile in shipped_profiles(protocol):
        points = found_points(profile)
        assert len({each.point_key for each in points}) == len(points) == len(profile.points)
        assert all((each.binding is None) == (protocol == "bacnet") for each in points)


async def test_a_profile_is_found_by_its_name() -> None:
    assert await profile_points("modbus", "vfd")
    with pytest.raises(BadInputError, match="vfd"):
        await profile_points("modbus", "nobody")
