"""Modbus for engineers over HTTP, with a device on loopback."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bridges.config import ModbusDevice, ModbusNetwork
from bridges.modbus.bridge import ModbusBridge
from tests.api.conftest import Served
from tests.bridges.modbus.device import Device, Memory, frame
from tests.support import InProcess

REGISTERS = "/api/discovery/modbus/networks/line/units/7/registers"


@pytest.fixture
def device() -> Iterator[Device]:
    """Give a device that lives in a thread of its own, as the application has its own loop."""
    memory = Memory(holding={0: 0x4148, 1: 0, 2: 7}, coil={0: True}, functions={1, 3, 4})
    device = Device({7: memory})
    loop = asyncio.new_event_loop()
    loop.run_until_complete(device.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield device
    asyncio.run_coroutine_threadsafe(device.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def modbus(served: Served, device: Device) -> Served:
    site = served.campus.sites["north"]
    networks = [
        ModbusNetwork(id="line", host="127.0.0.1", port=device.port, timeout=0.5),
        ModbusNetwork(id="bus", transport="rtu", device="/dev/null", timeout=0.5),
    ]
    meter = ModbusDevice(id="meter", network="line", unit=7, profile="none")
    bridge = ModbusBridge("north", networks, [meter], site.nodes, site.points)
    site.bridges["modbus"] = InProcess(bridge)
    return served


def test_networks_are_listed_with_their_units(modbus: Served, device: Device) -> None:
    first = modbus.client.get("/api/discovery/modbus/networks?limit=1", headers=modbus.admin).json()
    assert [(each["id"], each["transport"], each["units"]) for each in first["items"]] == [("bus", "rtu", {})]
    rest = modbus.client.get(
        "/api/discovery/modbus/networks", params={"cursor": first["next_cursor"]}, headers=modbus.admin
    ).json()
    assert rest["items"] == [
        {
            "id": "line",
            "protocol": "modbus",
            "transport": "tcp",
            "address": f"127.0.0.1:{device.port}",
            "units": {"meter": 7},
            "site": "north",
        }
    ]


def test_registers_are_read_live_in_every_way(modbus: Served) -> None:
    answer = modbus.client.get(REGISTERS, params={"address": 0, "count": 4}, headers=modbus.admin)
    assert answer.status_code == 200, answer.text
    look = answer.json()
    assert look["requests"] > 1
    assert [(each["raw"], each["error"]) for each in look["registers"]] == [
        (0x4148, None),
        (0, None),
        (7, None),
        (None, "illegal data address (2)"),
    ]
    assert look["registers"][0]["values"]["float32"]["big-endian"] == 12.5
    coils = {"address": 0, "count": 1, "register_type": "coil", "site": "north"}
    answer = modbus.client.get(REGISTERS, params=coils, headers=modbus.admin)
    assert [each["raw"] for each in answer.json()["registers"]] == [1]


def test_services_that_the_unit_does_not_have_are_told(modbus: Served) -> None:
    units = "/api/discovery/modbus/networks/line/units/7"
    for path in ("identification", "fifo?address=0"):
        answer = modbus.client.get(f"{units}/{path}", headers=modbus.admin)
        assert answer.status_code == 409
        assert "illegal function (1)" in answer.json()["error"]["message"]
    answer = modbus.client.get(f"{units}/diagnostics", headers=modbus.admin)
    assert answer.json()["counters"]["bus_messages"] == "illegal function (1)"


def test_a_unit_that_is_not_there_is_told(modbus: Served) -> None:
    answer = modbus.client.get(REGISTERS.replace("/7/", "/9/"), params={"address": 0}, headers=modbus.admin)
    assert answer.status_code == 503
    assert "no answer within 0.5 s" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (REGISTERS, 422),
        (f"{REGISTERS}?address=65536", 422),
        (f"{REGISTERS}?address=65535&count=2", 422),
        (f"{REGISTERS}?address=0&count=501", 422),
        (f"{REGISTERS}?address=0&register_type=file", 422),
        (f"{REGISTERS}?address=0&site=south", 404),
        (f"{REGISTERS}?address=0".replace("line", "nowhere"), 404),
        (f"{REGISTERS}?address=0".replace("/7/", "/256/"), 422),
        ("/api/discovery/modbus/networks?cursor=x", 422),
        ("/api/discovery/modbus/profiles/none", 404),
        ("/api/discovery/modbus/profiles/..%2Fpower-meter-abcd", 404),
        ("/api/discovery/modbus/profiles/ahu", 404),
    ],
)
def test_wrong_questions(modbus: Served, path: str, status: int) -> None:
    assert modbus.client.get(path, headers=modbus.admin).status_code == status


def test_a_network_of_several_sites_needs_the_site(modbus: Served) -> None:
    sites = modbus.campus.sites
    sites["south"] = sites["north"]
    try:
        answer = modbus.client.get(f"{REGISTERS}?address=0", headers=modbus.admin)
    finally:
        del sites["south"]
    assert answer.status_code == 422
    assert answer.json()["error"]["detail"][0]["field"] == "site"


def test_a_site_that_is_away_is_said_not_hidden(modbus: Served) -> None:
    modbus.campus.sites["north"].leave("its link is cut")
    answer = modbus.client.get(f"{REGISTERS}?address=0", headers=modbus.admin)
    assert answer.status_code == 503
    listed = modbus.client.get("/api/discovery/modbus/networks", headers=modbus.admin).json()
    assert listed == {"items": [], "next_cursor": None, "unreachable_sites": ["north"]}


def test_only_those_who_manage_discovery_may_cause_traffic(modbus: Served) -> None:
    viewer = modbus.login("vic", "viewer")
    units = "/api/discovery/modbus/networks/line/units/7"
    for path in ("registers?address=0", "identification", "diagnostics", "fifo?address=0"):
        assert modbus.client.get(f"{units}/{path}", headers=viewer).status_code == 403
    assert modbus.client.get("/api/discovery/modbus/networks", headers=viewer).status_code == 200
    assert modbus.client.get("/api/discovery/modbus/networks").status_code == 401


UNIT = "/api/discovery/modbus/networks/line/units/7"
WRITE = {"address": 0, "values": [1, 2], "read_address": 1, "read_count": 2}


def logged(modbus: Served, action: str) -> list[dict[str, Any]]:
    items = modbus.client.get("/api/audit", params={"action": action}, headers=modbus.admin).json()["items"]
    return [each["detail"] for each in items]


def test_registers_are_written_and_read_in_one_step_and_that_is_logged(
    modbus: Served, device: Device
) -> None:
    refused = modbus.client.post(f"{UNIT}/exchange", json=WRITE, headers=modbus.admin)
    assert refused.status_code == 409
    assert "illegal function (1)" in refused.text
    device.units[7].functions.add(23)
    answer = modbus.client.post(f"{UNIT}/exchange", json=WRITE, headers=modbus.admin)
    assert answer.json() == {"address": 1, "values": [2, 7]}
    assert device.units[7].holding == {0: 1, 1: 2, 2: 7}
    for wrong in ({"values": []}, {"values": [70000]}, {"read_count": 126}, {"address": 65535}):
        answer = modbus.client.post(f"{UNIT}/exchange", json=WRITE | wrong, headers=modbus.admin)
        assert answer.status_code == 422, answer.text
    assert device.units[7].holding == {0: 1, 1: 2, 2: 7}
    newest, oldest = logged(modbus, "exchange_modbus_registers")
    assert newest == {"site": "north", "address": 0, "values": [1, 2]}
    assert "illegal function (1)" in oldest["error"]


def test_counters_are_cleared_and_that_is_logged(modbus: Served, device: Device) -> None:
    assert modbus.client.post(f"{UNIT}/diagnostics/clear", headers=modbus.admin).status_code == 409
    assert logged(modbus, "clear_modbus_counters") == []

    async def behave(transaction: int, unit: int, pdu: bytes) -> bytes | None:
        return frame(transaction, unit, pdu)

    device.behaviour = behave
    assert modbus.client.post(f"{UNIT}/diagnostics/clear", headers=modbus.admin).status_code == 204
    assert device.requests[-1] == (7, bytes.fromhex("08000a0000"))
    assert logged(modbus, "clear_modbus_counters") == [{"site": "north"}]


def test_an_exchange_needs_the_permission_to_write_and_to_look(modbus: Served) -> None:
    operator, viewer = modbus.login("olga", "operator"), modbus.login("vic", "viewer")
    assert modbus.client.post(f"{UNIT}/exchange", json=WRITE, headers=operator).status_code == 403
    for path, body in (("exchange", WRITE), ("diagnostics/clear", None)):
        assert modbus.client.post(f"{UNIT}/{path}", json=body, headers=viewer).status_code == 403


def test_profiles_are_listed_with_their_source(served: Served) -> None:
    listed = served.client.get("/api/discovery/modbus/profiles", headers=served.admin).json()["items"]
    [meter] = [each for each in listed if each["profile"] == "eastron-sdm630"]
    assert meter["vendor"] == "Eastron"
    assert "SDM630-Modbus MID V2" in meter["source"]
    answer = served.client.get("/api/discovery/modbus/profiles/eastron-sdm630", headers=served.admin)
    assert len(answer.json()["points"]) == meter["points"]
