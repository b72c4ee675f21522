"""Tags suggested from names, object types and units, in the manner of Project Haystack (https://project-haystack.org)."""

import re
from collections.abc import Iterable
from typing import Final

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")

_KEPT_WHOLE: Final = {"kwh": ("energy", "elec"), "kw": ("power", "elec"), "co2": ("co2",), "hz": ("freq",)}
"""Spellings that would fall apart when names are cut into words."""

_MEANS: Final[dict[str, tuple[str, ...]]] = {
    "supply": ("supply",),
    "sup": ("supply",),
    "discharge": ("discharge",),
    "disch": ("discharge",),
    "return": ("return",),
    "ret": ("return",),
    "exhaust": ("exhaust",),
    "mixed": ("mixed",),
    "mix": ("mixed",),
    "outdoor": ("outside",),
    "outside": ("outside",),
    "oa": ("outside", "air"),
    "zone": ("zone",),
    "zn": ("zone",),
    "room": ("zone",),
    "space": ("zone",),
    "air": ("air",),
    "water": ("water",),
    "steam": ("steam",),
    "gas": ("gas",),
    "temp": ("temp",),
    "temperature": ("temp",),
    "tmp": ("temp",),
    "humidity": ("humidity",),
    "rh": ("humidity",),
    "pressure": ("pressure",),
    "press": ("pressure",),
    "static": ("static",),
    "dp": ("pressure", "delta"),
    "flow": ("flow",),
    "airflow": ("air", "flow"),
    "flw": ("flow",),
    "cfm": ("air", "flow"),
    "co": ("co",),
    "sat": ("supply", "air", "temp"),
    "dat": ("discharge", "air", "temp"),
    "rat": ("return", "air", "temp"),
    "mat": ("mixed", "air", "temp"),
    "oat": ("outside", "air", "temp"),
    "zat": ("zone", "air", "temp"),
    "znt": ("zone", "air", "temp"),
    "zt": ("zone", "air", "temp"),
    "sp": ("sp",),
    "setpoint": ("sp",),
    "stpt": ("sp",),
    "setpt": ("sp",),
    "set": (),
    "command": ("cmd",),
    "cmd": ("cmd",),
    "enable": ("enable",),
    "damper": ("damper",),
    "dpr": ("damper",),
    "dmpr": ("damper",),
    "valve": ("valve",),
    "vlv": ("valve",),
    "fan": ("fan",),
    "pump": ("pump",),
    "cooling": ("cool",),
    "clg": ("cool",),
    "cool": ("cool",),
    "heating": ("heat",),
    "htg": ("heat",),
    "heat": ("heat",),
    "reheat": ("reheat", "heat"),
    "rht": ("reheat", "heat"),
    "chw": ("chilled", "water"),
    "hw": ("hot", "water"),
    "hws": ("hot", "water", "supply"),
    "hwr": ("hot", "water", "return"),
    "chws": ("chilled", "water", "supply"),
    "chwr": ("chilled", "water", "return"),
    "chilled": ("chilled",),
    "hot": ("hot",),
    "condenser": ("condenser",),
    "occ": ("occ",),
    "occupancy": ("occ",),
    "occupied": ("occ",),
    "speed": ("speed",),
    "spd": ("speed",),
    "vfd": ("vfd",),
    "vsd": ("vfd",),
    "drive": ("vfd",),
    "frequency": ("freq",),
    "freq": ("freq",),
    "status": ("status",),
    "sts": ("status",),
    "alarm": ("alarm",),
    "alm": ("alarm",),
    "fault": ("fault",),
    "filter": ("filter",),
    "level": ("level",),
    "position": ("position",),
    "pos": ("position",),
    "power": ("power",),
    "energy": ("energy",),
    "demand": ("power",),
    "voltage": ("volt",),
    "volt": ("volt",),
    "volts": ("volt",),
    "current": ("current",),
    "amps": ("current",),
    "torque": ("torque",),
    "factor": ("pf",),
    "pf": ("pf",),
    "economizer": ("economizer",),
    "econ": ("economizer",),
    "lighting": ("lights",),
    "lights": ("lights",),
    "run": ("run",),
    "mode": ("mode",),
    "effective": ("effective",),
    "boiler": ("boiler",),
}

_EQUIP: Final[dict[str, tuple[str, ...]]] = {
    "ahu": ("ahu", "hvac"),
    "rtu": ("rtu", "hvac"),
    "vav": ("vav", "hvac"),
    "fcu": ("fcu", "hvac"),
    "mau": ("mau", "hvac"),
    "doas": ("doas", "hvac"),
    "boiler": ("boiler", "hvac"),
    "blr": ("boiler", "hvac"),
    "chiller": ("chiller", "hvac"),
    "ch": ("chiller", "hvac"),
    "tower": ("coolingTower", "hvac"),
    "pump": ("pump",),
    "fan": ("fan",),
    "meter": ("meter",),
    "drive": ("vfd",),
    "vfd": ("vfd",),
    "vsd": ("vfd",),
    "ups": ("ups", "elec"),
    "heat": (),
    "exchanger": ("heatExchanger",),
    "lighting": ("lights",),
    "plant": ("plant",),
    "hot": ("hot",),
    "chilled": ("chilled",),
    "water": ("water",),
    "gas": ("gas",),
    "unit": (),
    "fire": ("fire",),
}

_UNITS: Final[dict[str, tuple[str, ...]]] = {
    "degrees-celsius": ("temp",),
    "degrees-fahrenheit": ("temp",),
    "degrees-kelvin": ("temp",),
    "percent-relative-humidity": ("humidity",),
    "parts-per-million": ("concentration",),
    "pascals": ("pressure",),
    "kilopascals": ("pressure",),
    "inches-of-water": ("pressure",),
    "bars": ("pressure",),
    "liters-per-second": ("flow",),
    "cubic-feet-per-minute": ("flow",),
    "cubic-meters-per-hour": ("flow",),
    "kilowatts": ("power",),
    "watts": ("power",),
    "kilowatt-hours": ("energy",),
    "watt-hours": ("energy",),
    "volts": ("volt", "elec"),
    "amperes": ("current", "elec"),
    "hertz": ("freq",),
}


def words(name: str) -> list[str]:
    """Cut a name into lower-case words: `"AHU1.SupplyAirTemp_SP"` into ahu, 1, supply, air, temp, sp."""
    return [word.lower() for word in _WORDS.findall(name)]


def _known(name: str, dictionary: dict[str, tuple[str, ...]]) -> set[str]:
    lower = name.lower()
    tags: set[str] = set()
    for spelling, meaning in _KEPT_WHOLE.items():
        if re.search(rf"(?<![a-z]){spelling}(?![a-z])", lower):
            tags.update(meaning)
    # Of CO2 its letters alone would be another gas.
    for word in words(re.sub(r"(?i)(?<![a-z])co2(?![a-z])", " ", name)):
        tags.update(dictionary.get(word, ()))
    return tags


def suggest_equip_tags(name: str) -> set[str]:
    """Suggest tags for equipment from its name: `"AHU-1"` gives ahu, equip, hvac."""
    return {"equip"} | _known(name, _EQUIP)


def suggest_point_tags(name: str, object_type: str | None = None, units: str | None = None) -> set[str]:
    """Suggest tags for a point: "Supply Air Temp" of an analog input gives air, sensor, supply, temp.

    What a point does (sensor, sp, cmd) comes from its name, else from its object or register type.
    """
    tags = {"point"} | _known(name, _MEANS)
    if units:
        tags.update(_UNITS.get(units, ()))
    if "zone" in tags and "temp" in tags:
        tags.add("air")
    if not tags & {"sp", "cmd"}:
        tags.update(_role(object_type, tags))
    return tags


def _role(object_type: str | None, tags: Iterable[str]) -> set[str]:
    kind = object_type or ""
    if kind.endswith("-output") or kind == "coil":
        return {"cmd"}
    if kind.endswith("-input") or kind in {"input", "discrete"}:
        return {"sensor"}
    return (
        set()
        if "enable" in tags
        else {"sensor"}
        if {"status", "temp", "flow", "power"} & set(tags)
        else set()
    )
