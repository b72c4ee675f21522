"""The bridge against devices that are good, poor, dead and back."""

import asyncio
import logging
import struct
from typing import Any

import pytest

from actors.core.errors import (
    BadInputError,
    BridgeError,
    NotFoundError,
    UnreachableError,
    WriteFailedError,
    WriteUnsureError,
)
from actors.core.health import HealthState
from actors.core.values import PointStatus
from bridges.backoff import Backoff
from bridges.config import BacnetNetwork, DeviceStatus
from bridges.modbus import client
from bridges.modbus.bridge import ModbusBridge
from tests.bridges.modbus.conftest import SOON, Bench, network, point, unit, until
from tests.bridges.modbus.device import Memory, frame
from tests.support import InProcess

DOWN, FAULT, DISABLED = PointStatus.DOWN, PointStatus.FAULT, PointStatus.DISABLED


def meter(**more: Any) -> Memory:
    power = struct.unpack(">2H", struct.pack(">f", 12.5))
    return Memory(
        holding={0: 100, 1: power[1], 2: power[0], 3: 0x00F5, **dict.fromkeys(range(4, 30), 0)},
        input={0: 0xFFFF},
        coil={0: True},
        discrete={7: False},
        **more,
    )


POINTS = [
    point("count", address=0, scale=0.1, offset=5.0),
    point("power", address=1, data_type="float32", byte_order="big-endian-word-swap"),
    point("mode", address=3, mask=0x00F0, properties={"states": ["off", "on"]}),
    point("alarm", address=3, bit=2),
    point("level", "input", 0, "int16"),
    point("pump", "coil", 0, "bool"),
    point("door", "discrete", 7, "bool"),
]


def missed(bridge: ModbusBridge) -> list[DeviceStatus]:
    return [unit.status() for unit in bridge._units.values()]


async def test_all_kinds_of_points_arrive_in_one_frame_per_poll(bench: Bench) -> None:
    device = await bench.device({1: meter()})
    await bench.simple(device, POINTS)
    await until(lambda: bench.points.value("meter/door") is not None)
    values = {node.id.split("/")[1]: bench.points.value(node.id) for node in POINTS}
    assert values == {
        "count": 15.0,
        "power": 12.5,
        "mode": 15,
        "alarm": True,
        "level": -1.0,
        "pump": True,
        "door": False,
    }
    assert [len(each) for each in bench.points.frames[:1]] == [7]
    assert bench.told() == ["device_discovered"]
    assert [pdu[0] for _, pdu in device.requests[:4]] == [1, 2, 4, 3]


async def test_every_reading_is_recorded_and_each_interval_has_its_own_pace(bench: Bench) -> None:
    device = await bench.device({1: meter()})
    nodes = [point("slow", address=0, properties={"interval": 1.5}), point("quick", address=1)]
    await bench.simple(device, nodes)
    times: dict[str, set[int]] = {"meter/slow": set(), "meter/quick": set()}

    def recorded() -> bool:
        for rows in bench.points.recorded:
            for point_id, at in zip(rows.ids, rows.times, strict=True):
                times[point_id].add(at)
        return len(times["meter/slow"]) >= 2

    await until(recorded)
    assert len(times["meter/quick"]) >= 3
    # One more than the readings: a register is asked for when the identification was refused.
    assert sum(pdu[0] == 3 for _, pdu in device.requests) == sum(map(len, times.values())) + 1


async def test_a_device_goes_down_after_five_misses_and_comes_back(bench: Bench) -> None:
    device = await bench.device({1: meter()})
    bridge = await bench.simple(device, POINTS)
    await until(lambda: bench.points.value("meter/power") == 12.5)
    read_at = bench.points.get("meter/power").time
    await device.stop()
    await until(lambda: "device_down" in bench.told())
    await until(lambda: all(bench.points.status(node.id) & DOWN for node in POINTS))
    state = bench.points.get("meter/power")
    assert state.value == 12.5
    assert state.time is not None
    assert read_at is not None
    assert state.time - read_at < 1500
    (status,) = await bridge.status()
    assert (status.state, status.misses >= 5) == ("down", True)
    assert "connection refused" in (status.last_error or "")
    health = await bridge.health()
    assert health.state is HealthState.DOWN
    assert "meter is down: no connection" in health.reasons[0]
    await device.start()
    await until(lambda: not any(bench.points.status(node.id) for node in POINTS))
    assert bench.told() == ["device_discovered", "device_down", "device_recovered"]
    assert (await bridge.health()).state is HealthState.HEALTHY


async def test_a_device_that_is_down_from_the_start(bench: Bench) -> None:
    device = await bench.device({1: meter()})
    await device.stop()
    await bench.simple(device, POINTS)
    await until(lambda: bench.points.status("meter/count") == DOWN)
    assert bench.points.value("meter/count") is None
    await device.start()
    await until(lambda: bench.points.value("meter/count") == 15.0)
    assert bench.points.status("meter/count") == 0
    assert bench.told() == ["device_down", "device_discovered", "device_recovered"]


async def test_a_dead_unit_does_not_take_its_neighbour_or_another_network_down(bench: Bench) -> None:
    gateway = await bench.device({1: meter()})
    other = await bench.device({1: meter()})
    await bench.bridge(
        [network(gateway, "a", timeout=0.1), network(other, "b")],
        [unit("dead", "a", 9), unit("alive", "a", 1), unit("far", "b", 1)],
        [point("p", device="dead"), point("p", device="alive"), point("p", device="far")],
    )
    await until(lambda: bench.points.status("dead/p") == DOWN)
    assert bench.points.value("alive/p") == bench.points.value("far/p") == 100.0
    assert [
        (event.type, getattr(event, "device_key", "")) for event in bench.events if "down" in event.type
    ] == [("device_down", "dead")]


@pytest.mark.parametrize("code", [4, 10, 11])
async def test_a_unit_for_which_only_exceptions_of_no_use_come_is_down(bench: Bench, code: int) -> None:
    device = await bench.device({1: meter(exception=code)})
    await bench.simple(device, [point("p")])
    await until(lambda: bench.points.status("meter/p") == DOWN)
    assert f"({code})" in str(bench.events[-1])
    device.units[1].exception = None
    await until(lambda: bench.points.value("meter/p") == 100.0)


async def test_only_the_points_that_the_device_does_not_have_are_flagged(bench: Bench) -> None:
    device = await bench.device({1: Memory(holding={0: 1, 1: 2, 3: 4, 4: 5, 40: 6})})
    nodes = [point(f"r{address}", address=address) for address in (0, 1, 2, 3, 4, 40, 41)]
    bridge = await bench.simple(device, nodes)
    await until(lambda: bench.points.value("meter/r40") == 6.0)
    found = {node.id[6:]: (bench.points.value(node.id), bench.points.status(node.id)) for node in nodes}
    assert found == {
        "r0": (1.0, 0),
        "r1": (2.0, 0),
        "r2": (None, FAULT),
        "r3": (4.0, 0),
        "r4": (5.0, 0),
        "r40": (6.0, 0),
        "r41": (None, FAULT),
    }

    def asked() -> list[tuple[int, int]]:
        return [struct.unpack(">HH", pdu[1:5]) for _, pdu in device.requests if pdu[0] == 3]

    # It may still be finding out what the device has not.
    await until(lambda: sorted(asked()[-3:]) == [(0, 2), (3, 2), (40, 1)])
    device.requests.clear()
    await until(lambda: len(device.requests) >= 6)
    assert set(asked()) == {(0, 2), (3, 2), (40, 1)}
    health = await bridge.health()
    assert health.state is HealthState.DEGRADED
    assert "doesn't answer for 2 points" in health.reasons[0]
    assert bench.told() == ["device_discovered"]


async def test_a_device_that_comes_back_is_asked_again_for_what_it_refused(bench: Bench) -> None:
    device = await bench.device({1: Memory(holding={0: 1})})
    await bench.simple(device, [point("a"), point("b", address=1)])
    await until(lambda: bench.points.status("meter/b") == FAULT)
    await device.stop()
    await until(lambda: bench.points.status("meter/b") == FAULT | DOWN)
    device.units[1].holding[1] = 2
    await device.start()
    await until(lambda: bench.points.value("meter/b") == 2.0)
    assert bench.points.status("meter/b") == 0


async def test_a_device_that_takes_only_short_requests_is_read_all_the_same(bench: Bench) -> None:
    device = await bench.device({1: Memory(holding={each: each for each in range(100)}, longest=20)})
    nodes = [point(f"r{address}", address=address) for address in range(100)]
    await bench.simple(device, nodes)
    await until(lambda: all(bench.points.value(f"meter/r{each}") == float(each) for each in range(100)))


async def test_registers_that_are_met_with_silence_do_not_take_the_device_down(bench: Bench) -> None:
    device = await bench.device({1: Memory(holding={0: 1, 1: 2, 30: 3, 31: 4}, silent={31})})
    nodes = [point(f"r{address}", address=address) for address in (0, 1, 30, 31)]
    await bench.bridge([network(device, timeout=0.05)], [unit()], nodes)
    await until(lambda: bench.points.status("meter/r31") == FAULT)
    assert [bench.points.value(f"meter/r{each}") for each in (0, 1, 30)] == [1.0, 2.0, 3.0]
    assert bench.told() == ["device_discovered"]


async def test_a_busy_device_is_asked_again(bench: Bench) -> None:
    device = await bench.device({1: meter(busy=2)})
    await bench.simple(device, [point("p"), point("q", address=1)])
    await until(lambda: bench.points.value("meter/p") == 100.0)
    assert [pdu for _, pdu in device.requests[:3]] == [b"\x03\x00\x00\x00\x02"] * 3
    assert bench.told() == ["device_discovered"]


async def test_a_connection_that_is_back_brings_all_its_units_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RECONNECT_PAUSE", 0.02)
    device = await bench.device({1: meter(), 2: meter()})
    await device.stop()
    bridge = await bench.bridge(
        [network(device)],
        [unit("a", unit=1), unit("b", unit=2)],
        [point("p", device="a"), point("p", device="b")],
        Backoff(first=60, early=60, limit=60),
    )
    await until(lambda: [status.misses for status in missed(bridge)] == [1, 1])
    await device.start()
    await asyncio.sleep(0.03)
    assert await bridge.read("a/p") == 100.0
    await until(lambda: bench.points.value("b/p") == 100.0)


async def test_a_unit_that_always_answers_as_another_one_gives_no_value(bench: Bench) -> None:
    async def behave(transaction: int, asked: int, pdu: bytes) -> bytes | None:
        return frame(transaction, asked + 1, b"\x03\x02\x00\x63")

    device = await bench.device({}, behave)
    await bench.bridge([network(device, timeout=SOON)], [unit()], [point("p")])
    await until(lambda: bench.points.status("meter/p") == DOWN)
    assert bench.points.value("meter/p") is None


async def test_a_restarted_point_store_gets_all_points_and_last_values_again(bench: Bench) -> None:
    device = await bench.device({1: meter()})
    dead = await bench.device({1: meter()})
    await bench.bridge(
        [network(device), network(dead, "b")],
        [unit(), unit("dead", "b")],
        [*POINTS, point("p", device="dead")],
    )
    await until(lambda: bench.points.value("dead/p") == 100.0)
    await dead.stop()
    await until(lambda: bench.points.status("dead/p") == DOWN)
    bench.points.restart()
    await until(lambda: bench.points.value("meter/power") == 12.5)
    await until(lambda: bench.points.status("dead/p") == DOWN)
    assert bench.points.value("dead/p") == 100.0


async def test_readings_wait_while_the_point_store_is_away(bench: Bench) -> None:
    device = await bench.device({1: meter()})
    bridge = await bench.simple(device, [point("p")])
    await until(lambda: bench.points.value("meter/p") == 100.0)
    bench.points.away = True
    before = len(device.requests)
    await until(lambda: len(device.requests) >= before + 3)
    await until(lambda: bridge._outbox.trouble is not None)
    assert (await bridge.health()).state is HealthState.DEGRADED
    bench.points.away = False
    await until(lambda: sum(len(each) for each in bench.points.recorded) >= 4)
    times = [at for each in bench.points.recorded for at in each.times]
    # The first poll also asks for the identification and, as it is refused, for a register: no readings.
    assert len(set(times)) >= len(device.requests) - 3


async def test_points_follow_the_model(bench: Bench) -> None:
    device = await bench.device({1: meter()})
    bridge = await bench.simple(device, [point("a"), point("b", address=1), point("c", device="gone")])
    await until(lambda: bench.points.value("meter/b") is not None)
    assert bench.points.status("gone/c") == DISABLED
    bench.nodes.nodes = [point("a"), point("d", address=3), point("bad", scale=0)]
    await bridge.reload()
    await until(lambda: bench.points.value("meter/d") == 245.0)
    assert set(bench.points.store.ids()) == {"meter/a", "meter/d", "meter/bad"}
    assert bench.points.status("meter/bad") == FAULT
    health = await bridge.health()
    assert health.reasons == ["meter/bad: scale: 0 is not valid; expected a number other than 0"]
    with pytest.raises(BadInputError, match="scale"):
        await bridge.read("meter/bad")


async def test_polling_goes_on_while_the_node_store_is_away(bench: Bench) -> None:
    device = await bench.device({1: meter()})
    bridge = await bench.simple(device, [point("a")])
    await until(lambda: bench.points.value("meter/a") is not None)
    bench.nodes.away = True
    with pytest.raises(ConnectionError):
        await bridge.reload()
    before = len(device.requests)
    await until(lambda: len(device.requests) > before)


async def test_vendor_and_model_are_asked_for_once_and_not_needed(bench: Bench) -> None:
    device = await bench.device({1: meter()})
    bridge = await bench.simple(device, [point("a")])
    await until(lambda: sum(pdu[0] == 3 for _, pdu in device.requests) >= 3)
    assert sum(pdu[0] == 43 for _, pdu in device.requests) == 1
    (status,) = await bridge.status()
    assert (status.state, status.vendor, status.points) == ("online", None, 1)
    assert status.address == f"127.0.0.1:{device.port} unit 1"


async def test_statistics_tell_how_fast_it_answers_and_what_went_wrong(bench: Bench) -> None:
    memory = meter(busy=1)
    device = await bench.device({1: memory})
    nodes = [point("a"), point("none", address=500)]
    bridge = await bench.bridge([network(device, timeout=SOON)], [unit()], nodes)
    await until(lambda: missed(bridge)[0].reads >= 3)
    memory.silent = {0}
    with pytest.raises(BridgeError):
        await bridge.read("meter/a")
    (status,) = await bridge.status()
    assert status.error_kinds == {
        "server device busy (6)": 1,
        "illegal data address (2)": 1,
        "no answer": status.errors - 2,
    }
    assert 0 < (status.answer_ms or 0) <= (status.answer_ms_max or 0)
    assert 0 < (status.answer_ms_p95 or 0) <= (status.answer_ms_max or 0)
    assert (status.poll_ms or 0) > 0
    told = {each.name: each.value for each in bridge.measures()}
    assert told["opencrate_device_answer_seconds"] > 0
    assert told["opencrate_device_errors_total"] >= 3


async def test_a_device_that_comes_back_is_asked_again_who_it_is(bench: Bench) -> None:
    told = {"revision": b"1.0"}
    memory = meter()

    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        if pdu[0] != 43:
            return await device.behave(transaction, unit, pdu)
        text = told["revision"]
        objects = b"\x00\x04acme\x01\x02X1\x02" + bytes([len(text)]) + text
        return frame(transaction, unit, b"\x2b\x0e\x02\x01\x00\x00\x03" + objects)

    device = await bench.device({1: memory}, behave)
    bridge = await bench.simple(device, [point("a")])
    await until(lambda: missed(bridge)[0].firmware == "1.0")
    assert (missed(bridge)[0].vendor, missed(bridge)[0].model) == ("acme", "X1")
    await device.stop()
    await until(lambda: missed(bridge)[0].state == "down")
    told["revision"] = b"2.0"
    await device.start()
    await until(lambda: missed(bridge)[0].firmware == "2.0")


async def test_a_fault_is_logged_once_a_minute(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    device = await bench.device({})
    await bench.bridge([network(device, timeout=0.02)], [unit()], [point("a")])
    await until(lambda: len(device.requests) > 8)
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 2, lines
    assert "no answer within 0.02 s" in lines[0]
    assert "meter is down" in lines[1]


async def test_stop_leaves_nothing_running(bench: Bench) -> None:
    before = asyncio.all_tasks()
    device = await bench.device({1: meter()})
    bridge = await bench.simple(device, POINTS)
    await until(lambda: bench.points.value("meter/door") is not None)
    await bridge.stop()
    await device.stop()
    await asyncio.sleep(0.02)
    assert asyncio.all_tasks() - before == set()


async def test_a_bridge_without_modbus_devices_is_healthy() -> None:
    bacnet = BacnetNetwork(id="ip")
    bridge = ModbusBridge("north", [bacnet], [], InProcess(None), InProcess(None))
    assert (await bridge.health()).state is HealthState.HEALTHY
    assert await bridge.status() == []


async def test_a_device_on_a_network_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadInputError, match="nowhere"):
        ModbusBridge("north", [], [unit(network_id="nowhere")], InProcess(None), InProcess(None))


async def test_read_asks_the_device_now(bench: Bench) -> None:
    device = await bench.device({1: meter()})
    bridge = await bench.simple(device, [point("p"), point("q", address=900)], interval=60)
    await until(lambda: bench.points.value("meter/p") == 100.0)
    device.units[1].holding[0] = 7
    assert await bridge.read("meter/p") == 7.0
    await until(lambda: bench.points.value("meter/p") == 7.0)
    with pytest.raises(BridgeError, match=r"illegal data address \(2\)"):
        await bridge.read("meter/q")
    with pytest.raises(NotFoundError):
        await bridge.read("meter/nothing")


async def test_write_reads_back_and_updates_the_point_store_at_once(bench: Bench) -> None:
    memory = meter()
    device = await bench.device({1: memory})
    bridge = await bench.simple(device, POINTS, interval=60)
    await until(lambda: bench.points.value("meter/door") is not None)
    assert await bridge.write("meter/power", 21.3, 8) == pytest.approx(21.3, rel=1e-6)
    assert bench.points.value("meter/power") == pytest.approx(21.3, rel=1e-6)
    assert await bridge.write("meter/count", 7.5) == 7.5
    assert await bridge.write("meter/pump", False) is False
    assert await bridge.write("meter/mode", 3) == 3
    assert await bridge.write("meter/alarm", False) is False
    assert (memory.holding[0], memory.coil[0], memory.holding[3]) == (25, False, 0x0031)
    writes = [pdu[0] for _, pdu in device.requests if pdu[0] in (5, 6, 15, 16, 22)]
    assert writes == [16, 6, 5, 22, 22]


async def test_a_device_without_mask_write_keeps_its_other_bits(bench: Bench) -> None:
    memory = meter(functions={1, 2, 3, 4, 16})
    device = await bench.device({1: memory})
    bridge = await bench.simple(device, POINTS, interval=60)

    def asked() -> list[int]:
        return [pdu[0] for _, pdu in device.requests]

    # It reads all once more when it has asked who it is; discrete inputs come last.
    await until(lambda: 43 in asked() and asked()[-1] == 2)
    device.requests.clear()
    assert await bridge.write("meter/alarm", False) is False
    assert await bridge.write("meter/mode", 1) == 1
    assert memory.holding[3] == 0x0011
    assert asked() == [22, 3, 6, 16, 3, 3, 16, 3]


@pytest.mark.parametrize(
    ("point_id", "value", "field"),
    [
        ("meter/level", 1, "point"),
        ("meter/door", True, "point"),
        ("meter/count", 1e9, "value"),
        ("meter/count", "on", "value"),
        ("meter/pump", 5, "value"),
        ("meter/mode", 16, "value"),
        ("meter/power", None, "value"),
    ],
)
async def test_what_can_not_be_written_is_refused_before_anything_is_sent(
    bench: Bench, point_id: str, value: Any, field: str
) -> None:
    device = await bench.device({1: meter()})
    bridge = await bench.simple(device, POINTS, interval=60)
    await until(lambda: bench.points.value("meter/door") is not None)
    with pytest.raises(BadInputError) as caught:
        await bridge.write(point_id, value)
    assert caught.value.field == field
    assert all(pdu[0] in (1, 2, 3, 4, 43) for _, pdu in device.requests)


async def test_a_write_that_fails_gives_the_devices_own_reason(bench: Bench) -> None:
    memory = Memory(holding={0: 1, 1: 2}, stuck={1})
    device = await bench.device({1: memory})
    nodes = [point("p"), point("stuck", address=1), point("none", address=2), point("x", device="gone")]
    bridge = await bench.bridge([network(device, timeout=SOON)], [unit(interval=60)], nodes)
    await until(lambda: bench.points.value("meter/p") == 1.0)
    with pytest.raises(WriteFailedError, match=r"illegal data address \(2\)"):
        await bridge.write("meter/none", 5)
    with pytest.raises(WriteUnsureError, match=r"reads back 2\.0 instead of 5\.0"):
        await bridge.write("meter/stuck", 5)
    with pytest.raises(WriteFailedError, match="not configured"):
        await bridge.write("gone/x", 5)
    with pytest.raises(NotFoundError):
        await bridge.write("meter/nothing", 5)
    device.units.clear()
    with pytest.raises(WriteUnsureError, match=f"no answer within {SOON:g} s"):
        await bridge.write("meter/p", 5)
    await device.stop()
    with pytest.raises(UnreachableError, match="meter can't be reached: no connection to"):
        await bridge.write("meter/p", 5)
    assert memory.holding == {0: 1, 1: 2}


async def test_a_write_after_whose_try_nobody_can_be_reached_is_unsure(bench: Bench) -> None:
    device = await bench.device({1: Memory(holding={0: 1}, functions={3, 6})})
    bridge = await bench.simple(device, [point("p")], interval=60)
    await until(lambda: bench.points.value("meter/p") == 1.0)
    await until(lambda: [pdu[0] for _, pdu in device.requests][-2:] == [43, 3])

    async def gone_when_written(transaction: int, number: int, pdu: bytes) -> bytes | None:
        if pdu[0] != 6:
            return await device.behave(transaction, number, pdu)
        assert device._server is not None
        device._server.close()
        return b""

    device.behaviour = gone_when_written
    with pytest.raises(WriteUnsureError, match="connection"):
        await bridge.write("meter/p", 5)


async def test_two_writes_to_bits_of_one_register_at_once_both_stay(bench: Bench) -> None:
    memory = Memory(holding={0: 0}, functions={3, 6})
    device = await bench.device({1: memory})
    bridge = await bench.simple(device, [point(f"b{bit}", bit=bit) for bit in range(16)], interval=60)
    await until(lambda: bench.points.value("meter/b15") is False)
    await asyncio.gather(*(bridge.write(f"meter/b{bit}", True) for bit in range(16)))
    assert memory.holding[0] == 0xFFFF


async def test_a_poll_that_was_under_way_does_not_undo_a_write(bench: Bench) -> None:
    memory = Memory(holding={0: 1, 100: 2})
    gate = asyncio.Event()

    async def behave(transaction: int, asked: int, pdu: bytes) -> bytes | None:
        if pdu[0] == 3 and pdu[1:3] == b"\x00\x64" and bench.points.value("meter/p") is not None:
            gate.set()
            await asyncio.sleep(0.05)
        return frame(transaction, asked, memory.answer(pdu) or b"")

    device = await bench.device({}, behave)
    bridge = await bench.simple(device, [point("p"), point("late", address=100)])
    await until(lambda: bench.points.value("meter/p") == 1.0)
    gate.clear()
    await gate.wait()
    assert await bridge.write("meter/p", 9) == 9.0
    await asyncio.sleep(0.1)
    assert bench.points.value("meter/p") == 9.0
    assert bench.points.frames[-1].values[0] == 9.0


@pytest.mark.parametrize(
    ("write_by", "has", "functions"),
    [
        ("auto", {3, 6, 16}, [6, 3]),
        ("multiple", {3, 6, 16}, [16, 3]),
        ("multiple", {3, 6}, [16, 6, 3]),
        ("exchange", {3, 6, 16, 23}, [23]),
        ("exchange", {3, 6, 16}, [23, 6, 3]),
    ],
)
async def test_a_device_says_by_which_function_its_registers_are_written(
    bench: Bench, write_by: str, has: set[int], functions: list[int]
) -> None:
    memory = Memory(holding={0: 1}, functions=has)
    device = await bench.device({1: memory})
    bridge = await bench.simple(device, [point("a")], write_by=write_by, interval=60)
    await until(lambda: bench.points.value("meter/a") == 1.0)
    await until(lambda: [pdu[0] for _, pdu in device.requests][-2:] == [43, 3])
    device.requests.clear()
    assert await bridge.write("meter/a", 5.0) == 5.0
    assert memory.holding[0] == 5
    assert [pdu[0] for _, pdu in device.requests] == functions
    device.requests.clear()
    assert await bridge.write("meter/a", 6.0) == 6.0
    # What the device doesn't have isn't tried again.
    assert [pdu[0] for _, pdu in device.requests] == functions[-2:]


async def test_an_exchange_that_the_device_refuses_is_no_write(bench: Bench) -> None:
    memory = Memory(holding={0: 1}, functions={3, 16, 23})
    device = await bench.device({1: memory})
    nodes = [point("a"), point("b", address=9, data_type="uint32"), point("c", address=0, mask=0xF0)]
    bridge = await bench.simple(device, nodes, write_by="exchange", interval=60)
    await until(lambda: bench.points.value("meter/a") == 1.0)
    with pytest.raises(WriteFailedError, match=r"illegal data address \(2\)"):
        await bridge.write("meter/b", 5.0)
    # Bits are changed by reading and writing all the same.
    assert await bridge.write("meter/c", 3.0) == 3.0
    assert memory.holding[0] == 0x31


async def test_many_dead_units_do_not_hold_up_the_living_one(bench: Bench) -> None:
    device = await bench.device({1: Memory(holding={0: 7})})
    units = [unit("meter"), *(unit(f"dead-{at}", unit=at) for at in range(2, 12))]
    nodes = [point("a"), *(point("a", device=each.id) for each in units[1:])]
    bridge = await bench.bridge([network(device, timeout=0.1)], units, nodes)
    await until(lambda: bench.points.value("meter/a") == 7.0)
    device.requests.clear()
    await until(lambda: sum(unit == 1 for unit, _ in device.requests) >= 8)
    between = "".join("L" if unit == 1 else "d" for unit, _ in device.requests).split("L")
    # A poll of the living unit comes due every 0.4 s, in which dead ones get 0.1 s of each 0.15 s.
    assert max(len(each) for each in between) <= 8
    await until(lambda: sum(each.state == "down" for each in missed(bridge)) == 10, timeout=60.0)
    assert missed(bridge)[0].errors == 0


async def test_a_server_that_loses_step_over_the_identification_is_read_and_not_asked_again(
    bench: Bench,
) -> None:
    memory = Memory(holding={0: 7, 1: 8})
    lost: list[int] = []

    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        if pdu[0] == 43:
            lost.append(device.connections)
            return frame(transaction, unit, bytes([43 | 0x80, 1]))
        shift = 0x100 if device.connections in lost else 0
        return frame(transaction ^ shift, unit, memory.answer(pdu) or b"")

    device = await bench.device({}, behave)
    nodes = [point("a", address=0), point("b", address=1, device="other")]
    bridge = await bench.bridge([network(device)], [unit(), unit("other", unit=2)], nodes)
    await until(lambda: bench.points.value("meter/a") == 7 and bench.points.value("other/b") == 8)
    frames = len(bench.points.frames)
    await until(lambda: len(bench.points.frames) > frames + 4)
    assert lost == [1]
    assert device.connections == 2
    assert {status.state for status in await bridge.status()} == {"online"}
    assert "device_down" not in bench.told()
