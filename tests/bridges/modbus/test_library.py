"""The profiles of makers' devices that come with the program, against what the makers' documents say."""

from pathlib import Path
from typing import Any

import pytest

from actors.core.values import PointStatus
from api.config import load
from bridges.config import ModbusDevice, PointProfile, Profile
from bridges.modbus.binding import from_binding
from bridges.modbus.matching import by_identity, by_registers
from bridges.modbus.registers import Reading, Register, decode
from bridges.modbus.services import Identity
from bridges.profiles import load_profile, shipped
from tests.bridges.modbus.conftest import Bench, point, until
from tests.bridges.modbus.device import Memory

OURS = "OpenCrate"
IEM3255 = [0x6945, 0x4D33, 0x3235, 0x3520, *[0x2020] * 16]
"""A model as such a meter gives it."""
MAKERS = [
    profile
    for profile in (load_profile(name, Path()) for name in shipped())
    if profile.protocol == "modbus" and profile.vendor != OURS
]


def of(name: str) -> Profile:
    return next(profile for profile in MAKERS if profile.profile == name)


def point_of(profile: str, point_id: str) -> PointProfile:
    return next(point for point in of(profile).points if point.id == point_id)


def register_of(each: PointProfile) -> Register:
    return from_binding(each.model_dump() | {"register_type": each.register})


def test_there_are_meters_and_drives_of_several_makers() -> None:
    assert {profile.vendor for profile in MAKERS} >= {
        "ABB",
        "Carlo Gavazzi",
        "Danfoss",
        "Eastron",
        "Schneider Electric",
        "Siemens",
    }


@pytest.mark.parametrize("profile", MAKERS, ids=lambda profile: profile.profile)
def test_each_says_where_its_registers_are_from_and_what_they_measure(profile: Profile) -> None:
    assert profile.vendor
    assert profile.model
    assert profile.source
    assert profile.vendor.split()[0] in profile.source
    for each in profile.points:
        assert each.dis
        assert each.tags
        number = each.data_type not in {"bool", "string"} and each.scale != 1.0
        assert each.units or not number, each.id
    longest = max(
        from_binding(each.model_dump() | {"register_type": each.register}).count for each in profile.points
    )
    assert longest <= (profile.max_registers or 125)


@pytest.mark.parametrize(
    ("profile", "point_id", "words", "expected"),
    [
        # "to request: Amps 1 Start address=0006, No. of registers=0002", floats high word first
        ("eastron-sdm630", "current-l1", (6, [0x41BC, 0xCCCD]), 23.6),
        ("eastron-sdm630", "energy", (342, [0x42C8, 0x0000]), 100.0),
        ("schneider-iem3x55", "active-power", (3059, [0x4148, 0x0000]), 12.5),
        ("schneider-iem3x55", "energy-import", (3203, [0, 0, 0, 1234]), 1234.0),
        (
            "schneider-iem3x55",
            "meter-model",
            (49, [0x6945, 0x4D33, 0x3235, 0x3520] + [0x2020] * 16),
            "iEM3255",
        ),
        ("abb-b23-b24", "voltage-l1", (0x5B00, [0, 2305]), 230.5),
        ("abb-b23-b24", "active-power", (0x5B14, [0xFFFF, 0xFF9C]), -1.0),
        ("abb-b23-b24", "energy-import", (0x5000, [0, 0, 1, 0]), 655.36),
        # words lowest first
        ("carlo-gavazzi-em340", "active-power", (0x28, [0x3039, 0x0000]), 1234.5),
        ("carlo-gavazzi-em340", "active-power-l1", (0x12, [0xFFF6, 0xFFFF]), -1.0),
        ("carlo-gavazzi-em340", "frequency", (0x33, [500]), 50.0),
        ("siemens-pac4200", "energy-import-tariff-1", (801, [0x40FE, 0x2400, 0, 0]), 123456.0),
        # "if the actual output current is 5.24 A, the value is 524"; "2000 Hex => 50 %"
        ("danfoss-fc102", "motor-current", (16139, [0, 524]), 5.24),
        ("danfoss-fc102", "main-actual-value", (50209, [0x2000]), 50.0),
        ("abb-ach580", "reference-1", (1, [20000]), 100.0),
        ("abb-ach580", "fault", (3, [0x0008]), True),
        ("schneider-tesys-tera", "voltage-l1-l2", (5514, [0, 4005]), 400.5),
    ],
)
def test_a_value_is_where_and_what_the_makers_document_says(
    profile: str, point_id: str, words: tuple[int, list[int]], expected: Any
) -> None:
    found = point_of(profile, point_id)
    register = register_of(found)
    assert found.address == words[0]
    assert register.count == len(words[1])
    assert decode(register, words[1]) == Reading(expected, 0)


def test_abb_meters_have_numbers_for_what_they_can_not_measure() -> None:
    for point_id, words in (
        ("voltage-l2", [0xFFFF, 0xFFFF]),
        ("active-power-l2", [0x7FFF, 0xFFFF]),
        ("power-factor-l2", [0x7FFF]),
        ("energy-export", [0xFFFF] * 4),
    ):
        found = point_of("abb-b23-b24", point_id)
        register = register_of(found)
        assert decode(register, words) == Reading(None, int(PointStatus.FAULT))


def test_devices_are_matched_by_what_they_say_of_themselves() -> None:
    iem = by_identity(MAKERS, Identity(vendor="Schneider Electric", product_code="METSEIEM3155"))
    assert iem is of("schneider-iem3x55")
    assert by_identity(MAKERS, Identity(vendor="Schneider Electric", product_code="METSEPM5560")) is None


def test_devices_are_matched_by_a_register() -> None:
    assert by_registers(MAKERS, {("holding", 49): 0x6945}) is of("schneider-iem3x55")
    assert by_registers(MAKERS, {("holding", 35168): 0x4232}) is of("abb-b23-b24")


def test_a_device_takes_the_limits_of_its_profile_unless_it_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "campus.yaml"
    path.write_text(
        """\
campus: Test
sites:
  - id: north
    networks:
      - {id: mb, protocol: modbus, host: 127.0.0.1}
    devices:
      - {id: one, network: mb, unit: 1, profile: carlo-gavazzi-em340}
      - {id: two, network: mb, unit: 2, profile: carlo-gavazzi-em340, max_registers: 20, max_gap: 3}
      - {id: three, network: mb, unit: 3, profile: siemens-pac4200}
      - {id: four, network: mb, unit: 4, profile: vfd}
"""
    )
    devices = load(path).config.sites[0].devices
    limits = [(each.max_registers, each.max_gap) for each in devices if isinstance(each, ModbusDevice)]
    assert limits == [(50, 10), (20, 3), (125, 0), (125, 10)]


async def test_a_meter_that_takes_50_registers_is_read_in_requests_of_at_most_50(bench: Bench) -> None:
    profile = of("carlo-gavazzi-em340")
    memory = Memory(input=dict.fromkeys(range(82), 0) | {0x28: 12345}, longest=50)
    device = await bench.device({1: memory})
    nodes = [
        point(
            each.id or "",
            each.register or "",
            each.address or 0,
            each.data_type,
            byte_order=each.byte_order,
            scale=each.scale,
        )
        for each in profile.points
    ]
    bridge = await bench.simple(device, nodes, max_registers=profile.max_registers)
    await until(lambda: bench.points.value("meter/active-power") == 1234.5)
    assert (await bridge.status())[0].errors == 0
