import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from actors.alarm.models import LimitCondition, StateCondition
from actors.node.models import NodeType
from api.config import ConfigFileError, load
from bridges.config import AlarmDefaults
from bridges.model import alarm_configs, site_nodes
from bridges.profiles import load_profile, shipped

GOOD = """\
campus: Test
sites:
  - id: north
    dis: North
    spaces:
      - {id: room, parent: floor}
      - {id: floor, dis: Floor 1}
    networks:
      - {id: ip, protocol: bacnet, port: 47809}
      - {id: mb, protocol: modbus, host: 127.0.0.1, port: 5020}
    devices:
      - {device_instance: 1001, network: ip}
      - {device_instance: 1101, network: ip, profile: vav-reheat, space: room,
         points: [{object: "analog-input,1", dis: My Zone Temp}]}
      - id: meter
        network: mb
        unit: 3
        interval: 5
        points:
          - {id: power, register: holding, address: 10, data_type: float32, scale: 0.1,
             alarm: {high: 50, deadband: 1}}
          - {id: relay, register: coil, address: 0, data_type: bool, writable: true, alarm: {state: true}}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "campus.yaml"
    path.write_text(text)
    return path


def test_a_good_file_becomes_the_nodes_of_its_site(tmp_path: Path) -> None:
    campus = load(write(tmp_path, GOOD))
    site = campus.config.sites[0]
    nodes = {
        node.id: node for node in site_nodes("north", "North", site.spaces, site.devices, campus.profiles)
    }
    order = list(nodes)
    for node in nodes.values():
        assert node.parent_id is None or order.index(node.parent_id) < order.index(node.id)
    assert nodes["1001"].node_type == NodeType.EQUIP
    assert nodes["1101"].parent_id == "room"
    assert nodes["1101/analog-input-1"].dis == "My Zone Temp"
    power = nodes["meter/power"]
    assert power.protocol_binding is not None
    assert power.protocol_binding.config["scale"] == 0.1
    assert (power.properties["interval"], power.capabilities.writable) == (5.0, False)
    assert nodes["meter/relay"].capabilities.writable
    assert nodes["1101/analog-output-1"].capabilities.writable
    configs = {config.node_id: config.condition for config in alarm_configs(site.devices, campus.profiles)}
    assert configs["meter/power"] == LimitCondition(high=50, deadband=1)
    assert configs["meter/relay"] == StateCondition(states=[True])


@pytest.mark.parametrize("name", shipped())
def test_the_profiles_that_come_with_the_program_are_good(name: str) -> None:
    assert load_profile(name, Path()).profile == name


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("port: 47809", "prot: 47809", 9, "sites[0].networks[0].prot: unknown key; did you mean port?"),
        ("port: 47809", "port: 99999", 9, "sites[0].networks[0].port: 99999 is not valid"),
        ("network: mb", "network: mc", 16, "there is no network 'mc'; known: ip, mb"),
        ("id: meter", "id: '1001'", 15, "the id '1001' is taken"),
        ("space: room", "space: attic", 13, "there is no space or equipment 'attic'"),
        ("profile: vav-reheat", "profile: nope", 13, "there is no profile 'nope'"),
        ("profile: vav-reheat", "profile: vfd", 13, "this profile is for modbus"),
        ("register: holding", "register: holdin", 20, "'holdin' is not valid"),
        ("id: north", "id: campus", 3, "taken by the campus itself"),
        ("dis: North", "\tdis: North", 4, "tabs"),
        ("unit: 3", "unit: [3]", 17, "sites[0].devices[2].unit"),
        ("deadband: 1", "deadband: -1", 21, "-1 is not valid"),
        ("dis: North\n", "dis: North\n    dis: Again\n", 5, "duplicate key"),
        (
            "    networks:",
            "   networks:",
            8,
            "doesn't fit in with what begins at line 3",
        ),
        ("dis: North", "dis: 'North", 4, "is never closed"),
        ("id: mb, protocol: modbus", "id: mb, protocol: bacnet-sc", 10, "'bacnet-sc' is no protocol of ours"),
        ("port: 47809", "transport: sc", 9, "BACnet over 'sc' is not offered"),
        ("port: 47809", "baudrate: 9600", 9, "baudrate: this key doesn't belong here"),
        ("port: 47809", "address: 'fe80::1/64'", 9, "BACnet over IPv6 is not offered"),
        ("port: 47809", "address: 10.0.0.300/24", 9, "'10.0.0.300/24' is no address with prefix length"),
        ("port: 47809", "address: 10.0.0.3", 9, "write 10.0.0.3/24"),
        ("port: 47809", "bbmd: 'bbmd:99999'", 9, "'bbmd:99999' is no IPv4 address"),
        ("port: 47809", "bbmd: '10.0.0.5:x'", 9, "x is no UDP port"),
        ("1001, network: ip", "1001, network: mb", 12, "a bacnet device, 'mb' speaks modbus"),
        ("id: mb, ", "id: ip, ", 10, "network 'ip' is there twice"),
        ("id: relay, ", "id: power, ", 22, "points[1].id: 'power' is there twice"),
        ("register: coil", "register: discrete", 22, "writable: nothing can write a discrete input"),
        ("data_type: bool", "data_type: int32", 22, "data_type: 'int32' is not valid: bool for a coil"),
        ("address: 10,", "address: 65535,", 20, "address: 65535 is not valid: at most 65534"),
        ("high: 50", "high: 50, low: 60", 21, "alarm: low plus the deadband must lie below high"),
        ("analog-input,1", "analog-inptu,1", 14, "object: 'analog-inptu' is no object type"),
        ("profile: vav-reheat", "profile: .", 13, "is a folder, not a file"),
        ('object: "analog-input,1"', "id: a, register: coil, address: 1", 14, "needs object"),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_key(
    tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigFileError) as caught:
        load(path)
    text = str(caught.value)
    assert says in text
    assert any(each.startswith(f"{path}:{line}:") for each in text.splitlines()), text


@pytest.mark.parametrize(
    "content", [b"", b"- a\n- b\n", b"\xff\xfe", b"just words", b"a: [", b"x: !!python/none 1\n"]
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "campus.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigFileError, match=r"campus\.yaml:"):
        load(path)


def test_a_file_that_isnt_there_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigFileError, match="can't be read"):
            load(path)


@pytest.mark.parametrize(
    ("second", "fits"),
    [
        ("{id: b, register: holding, address: 11, data_type: uint32}", False),
        ("{id: b, register: holding, address: 12, data_type: uint32}", True),
        ("{id: b, register: input, address: 11, data_type: uint32}", True),
        ("{id: b, register: holding, address: 11, data_type: uint16}", True),
        ("{id: b, register: holding, address: 10, data_type: int64}", True),
    ],
    ids=["torn", "behind it", "another table", "a word of it", "it is part of a wider one"],
)
def test_values_that_share_only_some_registers_are_refused(tmp_path: Path, second: str, fits: bool) -> None:
    path = write(tmp_path, GOOD + f"          - {second}\n")
    if fits:
        load(path)
        return
    with pytest.raises(ConfigFileError, match=r"points\[2\].address: b \(uint32, 11 to 12\) and power"):
        load(path)


def test_all_errors_are_named_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("port: 47809", "prot: 1").replace("unit: 3", "unit: 999")
    with pytest.raises(ConfigFileError) as caught:
        load(write(tmp_path, text))
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    "alarm",
    [
        {"high": 30, "states": [1]},
        {"state": True, "states": [True]},
        {"deadband": 1},
        {"high": 20, "low": 19, "deadband": 1},
        {"high": math.inf},
        {"states": []},
    ],
)
def test_an_alarm_that_says_two_things_or_nothing_is_refused(alarm: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AlarmDefaults.model_validate(alarm)


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("fingerprint", "{address: 1, values: [1]}", "fingerprint.register: this key is needed"),
        ("fingerprint", "{register: coil, address: 1, values: [1]}", "fingerprint.register"),
        ("fingerprint", "{register: input, address: 1, values: []}", "fingerprint.values"),
        ("identified_by", "[{model: X}]", "vendor: this key is needed"),
        ("max_registers", "126", "max_registers: 126 is not valid"),
        ("max_gap", "-1", "max_gap: -1 is not valid"),
    ],
)
def test_what_a_profile_says_of_its_devices_is_checked(
    tmp_path: Path, key: str, text: str, says: str
) -> None:
    points = "points:\n  - {id: a, register: holding, address: 0}\n"
    (tmp_path / "my.yaml").write_text(f"profile: my\ndis: Mine\nprotocol: modbus\n{key}: {text}\n{points}")
    with pytest.raises(ConfigFileError) as caught:
        load_profile("my.yaml", tmp_path)
    assert says in str(caught.value)


def test_what_is_for_modbus_is_refused_in_a_bacnet_profile(tmp_path: Path) -> None:
    points = 'points:\n  - {object: "analog-input,1"}\n'
    (tmp_path / "my.yaml").write_text(
        f"profile: my\ndis: Mine\nprotocol: bacnet\nmax_registers: 16\n{points}"
    )
    with pytest.raises(ConfigFileError, match="max_registers is for modbus profiles only"):
        load_profile("my.yaml", tmp_path)


@pytest.mark.parametrize(("transport", "fits"), [("tcp", True), ("rtu-over-tcp", False)])
def test_unit_0_is_the_broadcast_address_of_a_serial_line(tmp_path: Path, transport: str, fits: bool) -> None:
    text = GOOD.replace("port: 5020", f"port: 5020, transport: {transport}").replace("unit: 3", "unit: 0")
    if fits:
        load(write(tmp_path, text))
        return
    with pytest.raises(ConfigFileError, match=r":17: .*unit: unit 0 is none of a serial line: 1 to 247"):
        load(write(tmp_path, text))


def test_a_unit_in_a_profile_is_one_of_the_standard(tmp_path: Path) -> None:
    text = "profile: my\ndis: Mine\nprotocol: bacnet\npoints:\n- {object: 'analog-input,1', units: {unit}}\n"
    (tmp_path / "my.yaml").write_text(text.replace("{unit}", "degree-celsius"))
    with pytest.raises(ConfigFileError, match=r"units.*degrees-celsius"):
        load_profile("my.yaml", tmp_path)
    for given, units in (("kW", "kilowatts"), ("48", "kilowatts"), ("300", "300"), ("''", None)):
        (tmp_path / "my.yaml").write_text(text.replace("{unit}", given))
        assert load_profile("my.yaml", tmp_path).points[0].units == units
