"""The simulator as a process: start, errors, stop, profiles."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridges.modbus.binding import from_binding
from bridges.modbus.registers import Register
from bridges.simulator import bindings, cli, devices
from bridges.simulator.__main__ import app
from bridges.simulator.faults import FAULTS
from tests.bridges.simulator.support import IP
from tests.ports import free_port

ROOT = Path(__file__).parents[3]


def _start(*more: str, ports: tuple[int, int] | None = None) -> "subprocess.Popen[str]":
    bacnet, modbus = ports or (free_port(socket.SOCK_DGRAM, IP), free_port(socket.SOCK_STREAM, IP))
    command = [sys.executable, "-m", "bridges.simulator", "--bacnet-port", str(bacnet)]
    command += ["--modbus-port", str(modbus), *more]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_ready_and_stops_on_a_signal(number: int) -> None:
    process = _start()
    assert process.stdout is not None
    assert process.stdout.readline().startswith("READY ")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(("taken", "word"), [(0, "BACnet/IP"), (1, "Modbus")])
def test_a_port_in_use_is_one_clear_line(taken: int, word: str) -> None:
    kind = (socket.SOCK_DGRAM, socket.SOCK_STREAM)[taken]
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind((IP, 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        ports = [free_port(socket.SOCK_DGRAM, IP), free_port(socket.SOCK_STREAM, IP)]
        ports[taken] = other.getsockname()[1]
        process = _start(ports=(ports[0], ports[1]))
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.startswith(f"error: {word}")
    assert err.count("\n") == 1


def test_it_ends_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = _start("--parent-pid", str(parent.pid))
    assert process.stdout is not None
    assert process.stdout.readline().startswith("READY ")
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert process.wait(5) == 0


def test_a_wrong_fault_lists_the_right_ones() -> None:
    result = CliRunner().invoke(app, ["--fault", "rotten-duct:vav-1"])
    assert result.exit_code == 2
    assert "stuck-damper:vav-3" in result.stderr


@pytest.mark.parametrize("ip", ["nonsense", "127.0.0.300"])
def test_a_wrong_address_is_said(ip: str) -> None:
    result = CliRunner().invoke(app, ["--ip", ip])
    assert result.exit_code == 1
    assert ip in result.stderr


def test_the_list_names_devices_points_and_faults() -> None:
    result = CliRunner().invoke(app, ["--list"], env={"COLUMNS": "160"})
    assert result.exit_code == 0
    for text in (
        "VAV-8: BACnet device 1108",
        "Supply Air Temp",
        "Hot Water Pump Drive",
        "float32",
        *map(str, FAULTS),
    ):
        assert text in result.stdout


@pytest.mark.parametrize("spec", devices.BACNET, ids=lambda spec: spec.unit)
def test_every_bacnet_point_is_bound(spec: devices.BacnetSpec) -> None:
    points = devices.profile(spec.profile).points
    bound = set(bindings.BACNET[spec.profile])
    switches = (
        {f"binary-value,{at}" for at in range(1, len(FAULTS) + 1)} if spec.profile == "simulator" else set()
    )
    assert {point.object for point in points} == bound | switches
    assert len({point.dis for point in points}) == len(points)
    for point in points:
        use, _ = bindings.BACNET[spec.profile].get(point.object or "", ("set", ""))
        assert bool(point.writable) == (use != "in")
        assert (point.relinquish_default is not None) == bool(point.writable)


def test_the_switches_are_in_the_order_of_the_faults() -> None:
    points = {point.object: point for point in devices.profile("simulator").points}
    for number, fault in enumerate(FAULTS, 1):
        assert (points[f"binary-value,{number}"].description or "").startswith(f"{fault}: ")


@pytest.mark.parametrize("spec", devices.MODBUS, ids=lambda spec: spec.unit)
def test_every_modbus_point_is_bound_and_none_overlap(spec: devices.ModbusSpec) -> None:
    points = devices.profile(spec.profile).points
    assert {point.id for point in points} == set(bindings.MODBUS[spec.profile])
    taken: set[tuple[str, int]] = set()
    for point in points:
        register: Register = from_binding(point.model_dump() | {"register_type": point.register})
        if register.bit is None:
            place = {(register.type, register.address + at) for at in range(register.count)}
            assert not place & taken
            taken |= place


def test_the_default_speed_is_that_of_the_profile() -> None:
    speed = next(point for point in devices.profile("simulator").points if point.object == "analog-value,1")
    assert speed.relinquish_default == cli.SPEED


def test_there_are_enough_points() -> None:
    counts = [len(devices.profile(spec.profile).points) for spec in (*devices.BACNET, *devices.MODBUS)]
    assert sum(counts) > 300
