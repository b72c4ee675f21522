"""The built-in rules by name: what they look at, and what can be set. Pure data, SI units.

Sources: ASHRAE Guideline 36-2021, 5.16.14 (fault conditions FC#1 to FC#15 of air handling units with their
variables and default thresholds); NISTIR 7365 (AHU Performance Assessment Rules, APAR, rules 1 to 28, and VAV
Box Performance Assessment Control Charts, VPACC). Limits of VPACC depend on the box: ours are a start.
"""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict


class Parameter(BaseModel):
    """One number that can be set for a built-in rule."""

    model_config = ConfigDict(frozen=True)

    name: str
    default: float
    units: str
    low: float
    high: float
    meaning: str


class Role(BaseModel):
    """One point that a rule looks at, and the tags by which it is found."""

    model_config = ConfigDict(frozen=True)

    name: str
    tags: tuple[str, ...] = ()
    required: bool = True


class Builtin(BaseModel):
    """A built-in rule."""

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    source: str
    equipment: Literal["ahu", "vav"]
    roles: tuple[Role, ...]
    parameters: tuple[Parameter, ...]


_ROLES: Final = {
    each.name: each
    for each in (
        Role(name="supply_air_temp", tags=("supply", "air", "temp", "-sp")),
        Role(name="supply_air_temp_sp", tags=("supply", "air", "temp", "sp")),
        Role(name="mixed_air_temp", tags=("mixed", "air", "temp", "-sp")),
        Role(name="return_air_temp", tags=("return", "air", "temp", "-sp")),
        Role(name="outside_air_temp", tags=("outside", "air", "temp", "-sp")),
        Role(name="heat_cmd", tags=("heat", "valve")),
        Role(name="cool_cmd", tags=("cool", "valve")),
        Role(name="damper_cmd", tags=("damper",)),
        Role(name="fan_speed", tags=("fan", "speed")),
        Role(name="duct_pressure", tags=("static", "pressure", "-sp")),
        Role(name="duct_pressure_sp", tags=("static", "pressure", "sp")),
        Role(name="cool_coil_entering_temp", tags=("cool", "entering", "temp")),
        Role(name="cool_coil_leaving_temp", tags=("cool", "leaving", "temp")),
        Role(name="heat_coil_entering_temp", tags=("heat", "entering", "temp")),
        Role(name="heat_coil_leaving_temp", tags=("heat", "leaving", "temp")),
        Role(name="occupied", tags=("occ",)),
        Role(name="air_flow", tags=("air", "flow", "-sp")),
        Role(name="air_flow_sp", tags=("air", "flow", "sp")),
        Role(name="zone_temp", tags=("zone", "temp", "-sp")),
        Role(name="zone_heat_sp", tags=("zone", "temp", "heat", "sp")),
        Role(name="zone_cool_sp", tags=("zone", "temp", "cool", "sp")),
        Role(name="discharge_air_temp", tags=("discharge", "air", "temp", "-sp")),
        Role(name="discharge_air_temp_sp", tags=("discharge", "air", "temp", "sp")),
    )
}

_PARAMETERS: Final = {
    name: Parameter(name=name, default=default, units=units, low=low, high=high, meaning=meaning)
    for name, default, units, low, high, meaning in (
        ("supply_fan_rise", 1.0, "K", 0, 10, "rise over the supply fan"),
        ("return_fan_rise", 1.0, "K", 0, 10, "rise over the return fan"),
        (
            "min_temp_difference",
            6.0,
            "K",
            0,
            30,
            "of outside and return air to judge by",
        ),
        ("error_supply_temp", 1.0, "K", 0, 10, "error of the sensor"),
        ("error_return_temp", 1.0, "K", 0, 10, "error of the sensor"),
        ("error_mixed_temp", 3.0, "K", 0, 10, "error of the sensor"),
        ("error_outside_temp", 1.0, "K", 0, 10, "error of the sensor; 3 K for one of the whole site"),
        ("error_coil_entering_temp", 1.0, "K", 0, 10, "error of the sensor"),
        ("error_coil_leaving_temp", 1.0, "K", 0, 10, "error of the sensor"),
        ("error_air_flow", 30.0, "%", 0, 100, "error of the air flow measurement"),
        ("error_fan_speed", 5.0, "%", 0, 100, "error of the fan speed"),
        ("error_duct_pressure", 25.0, "Pa", 0, 1000, "error of the duct static pressure"),
        ("min_outside_air", 20.0, "%", 0, 100, "least share of outside air"),
        ("max_mode_changes", 7.0, "1/h", 1, 120, "most changes of operating state within an hour"),
        ("mode_delay", 1800.0, "s", 0, 86400, "without judgement after a change of operating state"),
        ("temp_threshold", 2.0, "K", 0, 10, "error of temperatures"),
        ("flow_threshold", 30.0, "%", 0, 100, "error of the share of outside air"),
        ("valve_threshold", 5.0, "%", 0, 50, "how near to fully open or closed counts as such"),
        ("damper_threshold", 5.0, "%", 0, 50, "how near to fully open or closed counts as such"),
        ("changeover_temp", 15.0, "degC", -20, 40, "of outside air, ends cooling with it alone"),
        ("expected_error", 0.0, "", -1e6, 1e6, "mean of the error"),
        ("error_deviation", 1.0, "", 1e-6, 1e6, "standard deviation of the error"),
        ("slack", 3.0, "", 0, 100, "deviations that are not summed up"),
        ("sum_limit", 1000.0, "", 0, 1e6, "sum from which it is a fault"),
    )
}

_STATE: Final = "heat_cmd cool_cmd damper_cmd"
"""What the operating state of an air handling unit is told from."""

_G36: Final = (
    (
        1,
        "Duct static pressure is too low with the fan at full speed",
        "duct_pressure duct_pressure_sp fan_speed",
        "error_duct_pressure error_fan_speed",
    ),
    (
        2,
        "Mixed air is too cold; it should be between outside and return air",
        "mixed_air_temp return_air_temp outside_air_temp fan_speed",
        "error_mixed_temp error_return_temp error_outside_temp",
    ),
    (
        3,
        "Mixed air is too warm; it should be between outside and return air",
        "mixed_air_temp return_air_temp outside_air_temp fan_speed",
        "error_mixed_temp error_return_temp error_outside_temp",
    ),
    (4, "Too many changes of operating state", _STATE, "max_mode_changes"),
    (
        5,
        "Supply air is too cold; it should be warmer than mixed air",
        f"supply_air_temp mixed_air_temp {_STATE}",
        "supply_fan_rise error_supply_temp error_mixed_temp mode_delay",
    ),
    (
        6,
        "The share of outside air is too low or too high; it should be the minimum",
        f"mixed_air_temp return_air_temp outside_air_temp {_STATE}",
        "min_temp_difference min_outside_air error_air_flow mode_delay",
    ),
    (
        7,
        "Supply air is too cold in full heating",
        f"supply_air_temp supply_air_temp_sp {_STATE}",
        "error_supply_temp mode_delay",
    ),
    (
        8,
        "Supply and mixed air should be about equally warm",
        f"supply_air_temp mixed_air_temp {_STATE}",
        "supply_fan_rise error_supply_temp error_mixed_temp mode_delay",
    ),
    (
        9,
        "Outside air is too warm for free cooling without mechanical cooling",
        f"outside_air_temp supply_air_temp_sp {_STATE}",
        "supply_fan_rise error_outside_temp error_supply_temp mode_delay",
    ),
    (
        10,
        "Outside and mixed air should be about equally warm",
        f"mixed_air_temp outside_air_temp {_STATE}",
        "error_mixed_temp error_outside_temp mode_delay",
    ),
    (
        11,
        "Outside air is too cold for mechanical cooling with outside air alone",
        f"outside_air_temp supply_air_temp_sp {_STATE}",
        "supply_fan_rise error_outside_temp error_supply_temp mode_delay",
    ),
    (
        12,
        "Supply air is too warm; it should be colder than mixed air",
        f"supply_air_temp mixed_air_temp {_STATE}",
        "supply_fan_rise error_supply_temp error_mixed_temp mode_delay",
    ),
    (
        13,
        "Supply air is too warm in full cooling",
        f"supply_air_temp supply_air_temp_sp {_STATE}",
        "error_supply_temp mode_delay",
    ),
    (
        14,
        "Temperature drop over an inactive cooling coil",
        f"cool_coil_entering_temp cool_coil_leaving_temp {_STATE}",
        "supply_fan_rise error_coil_entering_temp error_coil_leaving_temp mode_delay",
    ),
    (
        15,
        "Temperature rise over an inactive heating coil",
        f"heat_coil_entering_temp heat_coil_leaving_temp {_STATE}",
        "supply_fan_rise error_coil_entering_temp error_coil_leaving_temp mode_delay",
    ),
)

_T: Final = "temp_threshold valve_threshold damper_threshold mode_delay"

_APAR: Final = (
    (1, "Heating: supply air is colder than mixed air", "supply_air_temp mixed_air_temp", "supply_fan_rise"),
    (
        2,
        "Heating: the share of outside air isn't the minimum",
        "mixed_air_temp return_air_temp outside_air_temp",
        "min_temp_difference min_outside_air flow_threshold",
    ),
    (
        3,
        "Heating: the valve is fully open and supply air is below its setpoint",
        "supply_air_temp supply_air_temp_sp",
        "",
    ),
    (4, "Heating: the valve is fully open", "", ""),
    (
        5,
        "Free cooling: outside air is too warm",
        "outside_air_temp supply_air_temp_sp",
        "supply_fan_rise",
    ),
    (
        6,
        "Free cooling: supply air is warmer than return air",
        "supply_air_temp return_air_temp",
        "return_fan_rise",
    ),
    (
        7,
        "Free cooling: supply and mixed air aren't equally warm",
        "supply_air_temp mixed_air_temp",
        "supply_fan_rise",
    ),
    (
        8,
        "Cooling, outside air only: outside air is too cold",
        "outside_air_temp supply_air_temp_sp",
        "supply_fan_rise",
    ),
    (
        9,
        "Cooling, outside air only: outside air is above the changeover temperature",
        "outside_air_temp",
        "changeover_temp",
    ),
    (
        10,
        "Cooling, outside air only: outside and mixed air aren't equally warm",
        "outside_air_temp mixed_air_temp",
        "",
    ),
    (
        11,
        "Cooling, outside air only: supply air is warmer than mixed air",
        "supply_air_temp mixed_air_temp",
        "supply_fan_rise",
    ),
    (
        12,
        "Cooling, outside air only: supply air is warmer than return air",
        "supply_air_temp return_air_temp",
        "return_fan_rise",
    ),
    (
        13,
        "Cooling, outside air only: the valve is fully open and supply air is above its setpoint",
        "supply_air_temp supply_air_temp_sp",
        "",
    ),
    (14, "Cooling, outside air only: the valve is fully open", "", ""),
    (
        15,
        "Cooling, minimum outside air: outside air is below the changeover temperature",
        "outside_air_temp",
        "changeover_temp",
    ),
    (
        16,
        "Cooling, minimum outside air: supply air is warmer than mixed air",
        "supply_air_temp mixed_air_temp",
        "supply_fan_rise",
    ),
    (
        17,
        "Cooling, minimum outside air: supply air is warmer than return air",
        "supply_air_temp return_air_temp",
        "return_fan_rise",
    ),
    (
        18,
        "Cooling, minimum outside air: the share of outside air isn't the minimum",
        "mixed_air_temp return_air_temp outside_air_temp",
        "min_temp_difference min_outside_air flow_threshold",
    ),
    (
        19,
        "Cooling, minimum outside air: the valve is fully open and supply air is above its setpoint",
        "supply_air_temp supply_air_temp_sp",
        "",
    ),
    (20, "Cooling, minimum outside air: the valve is fully open", "", ""),
    (21, "Heating and cooling at once, dampers between their ends", "", ""),
    (22, "Heating and cooling at once", "", ""),
    (23, "Heating with more than the minimum of outside air", "", ""),
    (24, "Cooling with dampers between their ends", "", ""),
    (25, "Supply air is off its setpoint", "supply_air_temp supply_air_temp_sp", ""),
    (
        26,
        "Mixed air is colder than both return and outside air",
        "mixed_air_temp return_air_temp outside_air_temp",
        "",
    ),
    (
        27,
        "Mixed air is warmer than both return and outside air",
        "mixed_air_temp return_air_temp outside_air_temp",
        "",
    ),
    (28, "Too many changes of mode", "", "max_mode_changes"),
)

_VPACC: Final = (
    ("air_flow", "Air flow is off its setpoint to one side", "air_flow air_flow_sp"),
    ("air_flow_absolute", "Air flow is off its setpoint, to either side", "air_flow air_flow_sp"),
    ("zone_temp", "The zone is outside its setpoints", "zone_temp zone_heat_sp zone_cool_sp"),
    (
        "discharge_temp",
        "Discharge air is off its setpoint while reheating",
        "discharge_air_temp discharge_air_temp_sp",
    ),
)


def _builtin(
    name: str, title: str, source: str, equipment: Literal["ahu", "vav"], roles: str, parameters: str
) -> Builtin:
    return Builtin(
        name=name,
        title=title,
        source=source,
        equipment=equipment,
        roles=(
            *(_ROLES[each] for each in roles.split()),
            _ROLES["occupied"].model_copy(update={"required": False}),
        ),
        parameters=tuple(_PARAMETERS[each] for each in parameters.split()),
    )


BUILTINS: Final[dict[str, Builtin]] = {
    each.name: each
    for each in (
        *(
            _builtin(
                f"g36_fc{number}",
                title,
                f"ASHRAE Guideline 36-2021, 5.16.14, FC#{number}",
                "ahu",
                roles,
                parameters,
            )
            for number, title, roles, parameters in _G36
        ),
        *(
            _builtin(
                f"apar_{number}",
                title,
                f"NISTIR 7365, APAR rule {number}",
                "ahu",
                f"{roles} {_STATE}",
                f"{parameters} {_T}",
            )
            for number, title, roles, parameters in _APAR
        ),
        *(
            _builtin(
                f"vpacc_{name}",
                title,
                "NISTIR 7365, VPACC",
                "vav",
                roles,
                "expected_error error_deviation slack sum_limit",
            )
            for name, title, roles in _VPACC
        ),
    )
}
"""All built-in rules by name: `g36_fc1` to `g36_fc15`, `apar_1` to `apar_28`, `vpacc_...`."""
