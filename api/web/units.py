"""Symbols and decimals of the engineering units that points carry (BACnet names, ASHRAE 135, clause 21)."""

from typing import Final

from actors.core.units import SYMBOLS, symbol

__all__ = ["SYMBOLS", "decimals", "symbol"]

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
