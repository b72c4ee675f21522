import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.core.units import BY_NUMBER, SYMBOLS, known_unit, symbol, unit_name
from actors.discovery.naming import common_prefix, designation, device_name, groups, readable, slug
from actors.node.tagging import suggest_point_tags


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SAT", "Supply Air Temperature"),
        ("RAT", "Return Air Temperature"),
        ("ZN-T", "Zone Temperature"),
        ("ZN-T-SP", "Zone Temperature Setpoint"),
        ("CLG-V", "Cooling Valve"),
        ("HTG_VLV_CMD", "Heating Valve Command"),
        ("SF-S", "Supply Fan Status"),
        ("OA-DPR-POS", "Outside Air Damper Position"),
        ("DAT-SP", "Discharge Air Temperature Setpoint"),
        ("ZN-CO2", "Zone CO2"),
        ("FRZ-ALM", "Freeze Alarm"),
        ("SupplyAirTempSP", "Supply Air Temp Setpoint"),
        ("Supply_Air_Temp", "Supply Air Temp"),
        ("Zone Temp", "Zone Temp"),
        ("AI_1", "AI 1"),
        ("T1", "T1"),
        ("", ""),
    ],
)
def test_abbreviations_are_written_out(name: str, said: str) -> None:
    assert readable(name) == said


def test_what_is_written_out_is_tagged() -> None:
    assert {"zone", "air", "temp", "sensor"} <= suggest_point_tags(readable("ZN-T"), "analog-input")
    assert {"cool", "valve", "cmd"} <= suggest_point_tags(readable("CLG-V"), "analog-output")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("VAV-3.ZN-T", ("VAV-3", "ZN-T")),
        ("VAV_3_ZN_T", ("VAV-3", "ZN_T")),
        ("vav3 zn-t", ("VAV-3", "zn-t")),
        ("AHU1/SAT", ("AHU-1", "SAT")),
        ("VAV-2-11.DPR", ("VAV-2-11", "DPR")),
        ("VAV-3", None),
        ("SAT", None),
        ("VAVX-3.T", None),
    ],
)
def test_a_designation_in_front_names_the_equipment(name: str, found: tuple[str, str] | None) -> None:
    assert designation(name) == found


def grouped(*names: str) -> list[tuple[str, str]]:
    return list(groups(dict(zip(map(str, range(len(names))), names, strict=True))).values())


def test_points_with_one_designation_are_grouped() -> None:
    assert grouped("VAV-3.ZN-T", "VAV_3_DPR", "VAV-4.ZN-T", "VAV-4.DPR", "OAT", "AHU1/SAT") == [
        ("VAV-3", "ZN-T"),
        ("VAV-3", "DPR"),
        ("VAV-4", "ZN-T"),
        ("VAV-4", "DPR"),
        ("", "OAT"),
        ("", "AHU1/SAT"),
    ]


def test_what_all_names_begin_with_says_nothing() -> None:
    assert grouped("B1.VAV-3.T", "B1.VAV-3.H", "B1.VAV-4.T", "B1.VAV-4.H")[0] == ("VAV-3", "T")
    assert grouped("AHU-1.SAT", "AHU-1.RAT") == [("", "SAT"), ("", "RAT")]
    assert common_prefix(["AHU-1.SAT", "AHU-1.RAT"]) == "AHU-1."
    assert device_name(["AHU-1.SAT", "AHU-1.RAT"]) == "AHU-1"
    assert common_prefix(["SAT", "SAT-SP"]) == common_prefix(["SAT"]) == common_prefix([]) == ""


def test_a_prefix_does_not_cut_a_designation() -> None:
    assert [each[0] for each in grouped("VAV-31.T", "VAV-31.H", "VAV-32.T", "VAV-32.H")] == [
        "VAV-31",
        "VAV-31",
        "VAV-32",
        "VAV-32",
    ]
    assert [each[0] for each in grouped("VAV-3-1.T", "VAV-3-1.H", "VAV-3-2.T", "VAV-3-2.H")] == [
        "VAV-3-1",
        "VAV-3-1",
        "VAV-3-2",
        "VAV-3-2",
    ]


def test_rooms_before_a_strong_mark_are_groups_where_there_are_several() -> None:
    assert grouped("Kitchen.T", "Kitchen.H", "Hall.T", "Hall.H", "Lone")[2:] == [
        ("Hall", "T"),
        ("Hall", "H"),
        ("", "Lone"),
    ]
    assert {each[0] for each in grouped("Kitchen.T", "Kitchen.H", "Lone")} == {""}


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=30), max_size=20))
def test_any_names_are_grouped_and_said(names: dict[str, str]) -> None:
    found = groups(names)
    assert found.keys() == names.keys()
    for _, rest in found.values():
        readable(rest)


@given(st.text(max_size=100))
def test_a_slug_fits_into_an_id(text: str) -> None:
    assert 1 <= len(slug(text)) <= 60
    assert slug(text).replace("-", "a").isalnum()


def test_every_unit_of_the_standard_has_a_symbol() -> None:
    assert set(BY_NUMBER) == set(range(254))
    assert set(BY_NUMBER.values()) <= SYMBOLS.keys()


@pytest.mark.parametrize(
    ("given_", "name", "sign"),
    [
        (62, "degrees-celsius", "°C"),
        ("62", "degrees-celsius", "°C"),
        ("Degrees Celsius", "degrees-celsius", "°C"),
        ("kWh", "kilowatt-hours", "kWh"),
        ("84", "cubic-feet-per-minute", "cfm"),
        ("47808", "47808", "47808"),
        (None, None, ""),
        ("", None, ""),
    ],
)
def test_units_are_known_by_name_number_and_symbol(
    given_: str | int | None, name: str | None, sign: str
) -> None:
    assert unit_name(given_) == name
    assert symbol(unit_name(given_)) == sign


@pytest.mark.parametrize(
    ("given_", "name"),
    [
        ("°C", "degrees-celsius"),
        ("Kilowatt Hours", "kilowatt-hours"),
        (62, "degrees-celsius"),
        ("512", "512"),
        ("47808", "47808"),
        ("no-units", "no-units"),
        ("", None),
        (None, None),
    ],
)
def test_a_unit_that_a_person_writes_is_known(given_: object, name: str | None) -> None:
    assert known_unit(given_) == name


@pytest.mark.parametrize(
    ("given_", "right"),
    [
        ("degree-celsius", "degrees-celsius"),
        ("celsius", "degrees-celsius"),
        ("KWH", "kWh"),
        ("kilowats", "kilowatts"),
        ("furlongs", "degrees-celsius, percent, kW"),
        ("65536", "a unit of the standard"),
        ("²", "a unit of the standard"),
        (True, "a unit of the standard"),
        (6.2, "a unit of the standard"),
        ({"kW": 1}, "a unit of the standard"),
        ("x" * 100_000, "a unit of the standard"),
    ],
)
def test_another_unit_is_refused_with_those_like_it(given_: object, right: str) -> None:
    with pytest.raises(ValueError, match="a unit of the standard") as refused:
        known_unit(given_)
    assert right in str(refused.value)
