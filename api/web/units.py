"""Symbols and decimals of the engineering units that points carry (BACnet names, ASHRAE 135, clause 21)."""

from typing import Final

SYMBOLS: Final[dict[str, str]] = {
    "degrees-celsius": "°C",
    "degrees-fahrenheit": "°F",
    "degrees-kelvin": "K",
    "delta-degrees-kelvin": "K",
    "delta-degrees-fahrenheit": "Δ°F",
    "degree-days-celsius": "°C·d",
    "degree-days-fahrenheit": "°F·d",
    "percent": "%",
    "percent-relative-humidity": "% RH",
    "percent-per-second": "%/s",
    "parts-per-million": "ppm",
    "parts-per-billion": "ppb",
    "pascals": "Pa",
    "hectopascals": "hPa",
    "kilopascals": "kPa",
    "millibars": "mbar",
    "bars": "bar",
    "pounds-force-per-square-inch": "psi",
    "inches-of-water": "inH₂O",
    "centimeters-of-water": "cmH₂O",
    "millimeters-of-water": "mmH₂O",
    "liters-per-second": "L/s",
    "liters-per-minute": "L/min",
    "liters-per-hour": "L/h",
    "cubic-meters-per-second": "m³/s",
    "cubic-meters-per-minute": "m³/min",
    "cubic-meters-per-hour": "m³/h",
    "cubic-feet-per-minute": "cfm",
    "us-gallons-per-minute": "gpm",
    "cubic-meters": "m³",
    "cubic-feet": "ft³",
    "liters": "L",
    "us-gallons": "gal",
    "watts": "W",
    "kilowatts": "kW",
    "megawatts": "MW",
    "horsepower": "hp",
    "btus-per-hour": "BTU/h",
    "kilo-btus-per-hour": "kBTU/h",
    "tons-refrigeration": "TR",
    "watt-hours": "Wh",
    "kilowatt-hours": "kWh",
    "megawatt-hours": "MWh",
    "joules": "J",
    "kilojoules": "kJ",
    "megajoules": "MJ",
    "gigajoules": "GJ",
    "btus": "BTU",
    "therms": "therm",
    "volt-amperes": "VA",
    "kilovolt-amperes": "kVA",
    "megavolt-amperes": "MVA",
    "volt-amperes-reactive": "var",
    "kilovolt-amperes-reactive": "kvar",
    "kilovolt-amperes-reactive-hours": "kvarh",
    "kilovolt-ampere-hours": "kVAh",
    "volts": "V",
    "millivolts": "mV",
    "kilovolts": "kV",
    "amperes": "A",
    "milliamperes": "mA",
    "ohms": "Ω",
    "kilohms": "kΩ",
    "hertz": "Hz",
    "kilohertz": "kHz",
    "power-factor": "PF",
    "revolutions-per-minute": "rpm",
    "meters": "m",
    "centimeters": "cm",
    "millimeters": "mm",
    "feet": "ft",
    "inches": "in",
    "square-meters": "m²",
    "square-feet": "ft²",
    "meters-per-second": "m/s",
    "kilometers-per-hour": "km/h",
    "feet-per-minute": "ft/min",
    "miles-per-hour": "mph",
    "milliseconds": "ms",
    "seconds": "s",
    "minutes": "min",
    "hours": "h",
    "days": "d",
    "lux": "lx",
    "luxes": "lx",
    "watts-per-square-meter": "W/m²",
    "joules-per-kilogram-dry-air": "J/kg",
    "kilojoules-per-kilogram-dry-air": "kJ/kg",
    "kilograms": "kg",
    "kilograms-per-second": "kg/s",
    "kilograms-per-hour": "kg/h",
    "grams-of-water-per-kilogram-dry-air": "g/kg",
    "grams-per-cubic-meter": "g/m³",
    "micrograms-per-cubic-meter": "µg/m³",
    "milligrams-per-cubic-meter": "mg/m³",
    "newton-meters": "N·m",
    "degrees-angular": "°",
    "decibels": "dB",
    "decibels-a": "dB(A)",
    "no-units": "",
}

_DECIMALS: Final[dict[str, int]] = {
    "degrees-celsius": 1,
    "degrees-fahrenheit": 1,
    "degrees-kelvin": 1,
    "delta-degrees-kelvin": 1,
    "percent": 0,
    "percent-relative-humidity": 0,
    "parts-per-million": 0,
    "pascals": 0,
    "kilopascals": 1,
    "liters-per-second": 0,
    "cubic-feet-per-minute": 0,
    "revolutions-per-minute": 0,
    "hertz": 2,
    "power-factor": 2,
    "volts": 1,
    "amperes": 1,
    "kilowatts": 1,
    "kilovolt-amperes": 1,
    "kilovolt-amperes-reactive": 1,
    "kilowatt-hours": 0,
    "watt-hours": 0,
    "hours": 0,
    "inches-of-water": 2,
}


def symbol(units: str | None) -> str:
    """Give the symbol of a unit; one that is not known is shown by its own name."""
    if not units:
        return ""
    return SYMBOLS.get(units, units.replace("-", " "))


def decimals(units: str | None, value: float) -> int:
    """Give how many decimals a value is shown with: fixed by unit, so that a changing value keeps its width.

    Small values in a unit without its own rule keep three significant digits.
    """
    fixed = _DECIMALS.get(units or "")
    size = abs(value)
    if fixed is not None:
        # 0.4 L/s of hot water is not "0 L/s".
        return fixed if fixed or size >= 10 or size == round(size) else 1
    if size >= 1000 or size == round(size):
        return 0
    if size >= 100:
        return 1
    return 2 if size >= 1 or size == 0 else 3
