import pytest

from actors.node.tagging import suggest_equip_tags, suggest_point_tags, words


@pytest.mark.parametrize(
    ("name", "kind", "units", "wanted"),
    [
        ("Supply Air Temp", "analog-input", "degrees-celsius", {"supply", "air", "temp", "sensor"}),
        ("Zone Temp Setpoint", "analog-value", "degrees-celsius", {"zone", "air", "temp", "sp"}),
        ("AHU1.SAT_SP", "analog-value", None, {"supply", "air", "temp", "sp"}),
        ("DPR-CMD", "analog-output", "percent", {"damper", "cmd"}),
        ("ReheatValve", "analog-output", "percent", {"reheat", "valve", "cmd"}),
        ("Energy kWh", "holding", "kilowatt-hours", {"energy", "elec"}),
        ("Active Power", "holding", "kilowatts", {"power", "sensor"}),
        ("ZN CO2", "analog-input", "parts-per-million", {"zone", "co2", "sensor"}),
        ("Zone CO2", "analog-input", None, {"zone", "co2", "sensor"}),
        ("Garage CO", "analog-input", None, {"co", "sensor"}),
        ("Fan Status", "binary-input", None, {"fan", "status", "sensor"}),
    ],
)
def test_names_units_and_types_give_tags(name: str, kind: str, units: str | None, wanted: set[str]) -> None:
    assert wanted <= suggest_point_tags(name, kind, units)


def test_a_setpoint_is_no_sensor() -> None:
    assert "sensor" not in suggest_point_tags("Zone Temp Setpoint", "analog-input", "degrees-celsius")


def test_co2_is_not_co() -> None:
    assert "co" not in suggest_point_tags("Zone CO2", "analog-input", "parts-per-million")
    assert "co2" not in suggest_point_tags("Garage CO", "analog-input", "parts-per-million")


def test_equipment_is_known_by_its_name() -> None:
    assert {"ahu", "hvac", "equip"} <= suggest_equip_tags("AHU-1")
    assert suggest_equip_tags("Thing") == {"equip"}


def test_words_are_cut_at_cases_digits_and_marks() -> None:
    assert words("AHU1.SupplyAirTemp_SP") == ["ahu", "1", "supply", "air", "temp", "sp"]
