"""Readable names and groups of equipment, suggested from the names that devices give their objects. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

_EQUIPMENT: Final = (
    "AHU|RTU|MAU|DOAS|ERU|ERV|HRU|CRAC|CRAH|FCU|VAV|CAV|FPB|FPTU|UH|CUH|UV|HP|WSHP|EF|SF|RF|TF|FAN|PUMP|CHWP|"
    "CWP|HWP|P|CH|CHLR|CHILLER|BLR|BOILER|CT|TOWER|HX|MTR|METER|EM|PM|VFD|VSD|ZONE|ZN|ROOM|RM"
)
"""Words that people begin an equipment's designation with."""

_DESIGNATION: Final = re.compile(
    rf"(?P<kind>{_EQUIPMENT})[-_ ]?(?P<number>\d+(?:[-_]\d+(?=[._:/ \-]))*[A-Z]?)(?P<rest>[._:/ \-]+.+)",
    re.IGNORECASE,
)
"""`VAV-3.ZN-T`, `VAV_3_ZN_T`, `AHU1 SAT`, `VAV-2-11/DPR`; a number of a designation is no point's name."""

_CUT: Final = re.compile(rf"(?:^|(?<=[._:/ \-]))(?:{_EQUIPMENT})[-_ ]?(?:\d+[-_])*$", re.IGNORECASE)
"""The beginning of a designation at the end of a prefix, which belongs to the names."""

_STRONG: Final = re.compile(r"[./:\\']+")
"""Marks between an equipment and its point in most systems' names."""

_SMALLEST_GROUP: Final = 2

_WHOLE: Final[Mapping[str, str]] = {
    "SAT": "Supply Air Temperature",
    "RAT": "Return Air Temperature",
    "MAT": "Mixed Air Temperature",
    "OAT": "Outside Air Temperature",
    "DAT": "Discharge Air Temperature",
    "EAT": "Exhaust Air Temperature",
    "LAT": "Leaving Air Temperature",
    "ZAT": "Zone Air Temperature",
    "ZNT": "Zone Temperature",
    "ZT": "Zone Temperature",
    "RMT": "Room Temperature",
    "OAH": "Outside Air Humidity",
    "RAH": "Return Air Humidity",
    "SAH": "Supply Air Humidity",
    "OARH": "Outside Air Humidity",
    "RARH": "Return Air Humidity",
    "ZNH": "Zone Humidity",
    "DSP": "Duct Static Pressure",
    "SASP": "Supply Air Static Pressure",
    "BSP": "Building Static Pressure",
    "SAF": "Supply Air Flow",
    "RAF": "Return Air Flow",
    "OAF": "Outside Air Flow",
    "SAFLOW": "Supply Air Flow",
    "CHWST": "Chilled Water Supply Temperature",
    "CHWRT": "Chilled Water Return Temperature",
    "HWST": "Hot Water Supply Temperature",
    "HWRT": "Hot Water Return Temperature",
    "CWST": "Condenser Water Supply Temperature",
    "CWRT": "Condenser Water Return Temperature",
    "SATSP": "Supply Air Temperature Setpoint",
    "DATSP": "Discharge Air Temperature Setpoint",
    "ZNTSP": "Zone Temperature Setpoint",
}
"""What a whole name, or the start of one, stands for."""

_WORDS: Final[Mapping[str, str]] = {
    "SA": "Supply Air",
    "RA": "Return Air",
    "MA": "Mixed Air",
    "OA": "Outside Air",
    "EA": "Exhaust Air",
    "DA": "Discharge Air",
    "ZN": "Zone",
    "RM": "Room",
    "SP": "Setpoint",
    "SPT": "Setpoint",
    "STPT": "Setpoint",
    "SETPT": "Setpoint",
    "TMP": "Temperature",
    "TEMP": "Temperature",
    "RH": "Humidity",
    "HUM": "Humidity",
    "PRES": "Pressure",
    "PRESS": "Pressure",
    "STAT": "Static",
    "DP": "Differential Pressure",
    "FLW": "Flow",
    "FLO": "Flow",
    "CFM": "Air Flow",
    "CLG": "Cooling",
    "HTG": "Heating",
    "RHT": "Reheat",
    "CHW": "Chilled Water",
    "HW": "Hot Water",
    "HHW": "Hot Water",
    "CW": "Condenser Water",
    "CHWS": "Chilled Water Supply",
    "CHWR": "Chilled Water Return",
    "HWS": "Hot Water Supply",
    "HWR": "Hot Water Return",
    "VLV": "Valve",
    "DPR": "Damper",
    "DMPR": "Damper",
    "DMP": "Damper",
    "SF": "Supply Fan",
    "RF": "Return Fan",
    "EF": "Exhaust Fan",
    "SPD": "Speed",
    "VFD": "Drive",
    "VSD": "Drive",
    "CMD": "Command",
    "STS": "Status",
    "SS": "Start Stop",
    "EN": "Enable",
    "ENA": "Enable",
    "ALM": "Alarm",
    "FLT": "Fault",
    "OCC": "Occupancy",
    "UNOCC": "Unoccupied",
    "EFF": "Effective",
    "MIN": "Minimum",
    "MAX": "Maximum",
    "POS": "Position",
    "FB": "Feedback",
    "FDBK": "Feedback",
    "ECON": "Economizer",
    "FRZ": "Freeze",
    "FILT": "Filter",
    "LVL": "Level",
    "ACT": "Actual",
    "KW": "Power kW",
    "KWH": "Energy kWh",
}
"""What a word of a name stands for, wherever it is."""

_LAST: Final[Mapping[str, str]] = {
    "T": "Temperature",
    "V": "Valve",
    "D": "Damper",
    "H": "Humidity",
    "P": "Pressure",
    "F": "Flow",
    "S": "Status",
    "ST": "Status",
    "C": "Command",
    "SPEED": "Speed",
}
"""What a short word stands for at the end of a name, or before what is set or commanded."""

_ENDS: Final = frozenset({"SP", "SPT", "STPT", "SETPT", "CMD", "STS", "ALM", "FB", "FDBK", "POS"})


def tokens(name: str) -> list[str]:
    """Cut a name at its marks and where words written together meet: `CLG-V` into CLG and V."""
    return re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+\d*|\d+", name)


def readable(name: str) -> str:
    """Write out the abbreviations of an object's name: `ZN-T` is Zone Temperature, `CLG-V` Cooling Valve.

    A name in which nothing is known stays as it is, but for marks in the place of spaces.
    """
    plain = name.strip()
    parts = tokens(plain.replace("CO2", "Co2"))
    said: list[str] = []
    known = False
    for at, part in enumerate(parts):
        # Small letters make words, which say what they mean; only Temp and its like are written out.
        word = part.upper() if part.isupper() or len(parts) == 1 else part
        rest = [each.upper() for each in parts[at + 1 :]]
        ends = not rest or rest[0] in _ENDS
        meaning = _WHOLE.get(word) or _WORDS.get(word) or (_LAST.get(word) if ends and said else None)
        known = known or meaning is not None
        said.append("CO2" if part == "Co" else meaning or (part if not part.isupper() else part.capitalize()))
    if not known:
        return re.sub(r"[_\s]+", " ", plain)
    text = " ".join(said).replace("CO2 2", "CO2")
    # Two words may say the same: "Zone Temperature Temperature".
    return re.sub(r"\b(\w+)( \1\b)+", r"\1", text)


def designation(name: str) -> tuple[str, str] | None:
    """Give the equipment that a name begins with, written one way, and the rest: `("VAV-3", "ZN-T")`."""
    found = _DESIGNATION.fullmatch(name.strip())
    if found is None:
        return None
    rest = found["rest"].strip("._:/ -")
    return (f"{found['kind'].upper()}-{found['number'].upper().replace('_', '-')}", rest) if rest else None


def common_prefix(names: Iterable[str]) -> str:
    """Give what all names begin with, up to a mark between words: `AHU-1.` of `AHU-1.SAT` and `AHU-1.RAT`."""
    listed = list(names)
    if len(listed) < _SMALLEST_GROUP:
        return ""
    first, last = min(listed), max(listed)
    size = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    mark = max((first.rfind(each, 0, size) for each in ".:/_ -"), default=-1)
    # All of a name is no prefix, nor is a part of a designation.
    prefix = first[: mark + 1] if all(len(each) > mark + 1 for each in listed) else ""
    return _CUT.sub("", prefix)


def groups(names: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Give for each point (key to object name) its equipment, "" for none, and its name there.

    An equipment needs two points at least: by a designation in front (`VAV-3`), else by what stands before a
    strong mark (`.`, `/`, `:`), where there are several such. What all names of a device begin with says
    nothing about a point.
    """
    prefix = common_prefix(each for each in names.values() if each)
    bare = {key: name.removeprefix(prefix) if name else "" for key, name in names.items()}
    found = {key: designation(name) for key, name in bare.items()}
    counts = Counter(each[0] for each in found.values() if each)
    heads = {key: _head(name) for key, name in bare.items() if not found[key]}
    before = Counter(each[0] for each in heads.values() if each)
    several = sum(count >= _SMALLEST_GROUP for count in before.values()) > 1
    result: dict[str, tuple[str, str]] = {}
    for key, name in bare.items():
        one, head = found[key], heads.get(key)
        if one and counts[one[0]] >= _SMALLEST_GROUP:
            result[key] = one
        elif head and several and before[head[0]] >= _SMALLEST_GROUP:
            result[key] = head
        else:
            result[key] = ("", name)
    if len({group for group, _ in result.values()}) == 1:
        # All of a device's points in one group: that is the device.
        return {key: ("", name) for key, (_, name) in result.items()}
    return result


def device_name(names: Iterable[str]) -> str:
    """Give the one equipment whose designation all names begin with, else ""."""
    found = {(each := designation(name)) and each[0] for name in names if name}
    return (found.pop() or "") if len(found) == 1 else ""


def _head(name: str) -> tuple[str, str] | None:
    parts = _STRONG.split(name, maxsplit=1)
    return (parts[0].strip(), parts[1].strip()) if len(parts) == 2 and all(parts) else None


def slug(text: str) -> str:
    """Make a part of a node's id of a name: `Meter Room 1` gives `meter-room-1`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "x"
