"""Outdoor conditions by time of year and day. Pure: the same seed and time always give the same weather."""

import math
from dataclasses import dataclass
from datetime import datetime

from bridges.simulator.controls import seeded

LATITUDE = math.radians(48.0)
MEAN, SEASON, DAY = 10.5, 10.0, 4.2
"""Yearly mean, seasonal and daily amplitude of the air temperature (K); a continental climate."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What it is like outside."""

    temperature: float
    """Dry-bulb air temperature, °C."""
    humidity: float
    """Relative humidity, %."""
    sun: tuple[float, float]
    """Global irradiance on the horizontal (W/m²) and the sun's azimuth (degrees from north, clockwise)."""


class Weather:
    """A seeded climate: season and day as cosines, fronts as waves of 3 to 9 days with seeded phases."""

    def __init__(self, seed: int) -> None:
        rng = seeded(f"weather {seed}")
        self._waves = [
            (days * rng.uniform(0.9, 1.1), size, rng.uniform(0, math.tau))
            for days, size in ((3.1, 1.2), (5.3, 1.8), (8.7, 2.0))
        ]
        self._clouds = [(hours, rng.uniform(0, math.tau)) for hours in (61.0, 23.0, 7.3)]

    def at(self, when: datetime) -> Conditions:
        """Give the weather at a local time."""
        days = when.toordinal() + (when.hour + when.minute / 60 + when.second / 3600) / 24
        hour = days % 1 * 24
        year = when.timetuple().tm_yday / 365.25
        front = sum(size * math.sin(math.tau * days / period + phase) for period, size, phase in self._waves)
        clear = self._clear(days * 24)
        season = -math.cos(math.tau * (year - 20 / 365.25))
        day = math.cos(math.tau * (hour - 15.5) / 24)
        temperature = MEAN + SEASON * season + DAY * (0.5 + 0.5 * clear) * day + front
        humidity = min(98.0, max(20.0, 68 - 16 * day * clear - 8 * season + 12 * (1 - clear)))
        irradiance, azimuth = _sun(year, hour)
        return Conditions(temperature, humidity, (irradiance * (0.25 + 0.75 * clear), azimuth))

    def _clear(self, hours: float) -> float:
        waves = sum(math.sin(math.tau * hours / period + phase) for period, phase in self._clouds)
        return min(1.0, max(0.0, 0.55 + 0.3 * waves))


def _sun(year: float, hour: float) -> tuple[float, float]:
    """Give clear-sky irradiance on the horizontal (W/m²) and azimuth (degrees from north).

    Haurwitz (1945): 1098 cos(z) exp(-0.057 / cos(z)); declination by Cooper (1969). `hour` is solar time.
    """
    declination = math.radians(23.45) * math.sin(math.tau * (year * 365.25 + 284) / 365)
    angle = math.radians(15 * (hour - 12))
    up = math.sin(LATITUDE) * math.sin(declination)
    up += math.cos(LATITUDE) * math.cos(declination) * math.cos(angle)
    east = -math.cos(declination) * math.sin(angle)
    north = math.sin(declination) * math.cos(LATITUDE)
    north -= math.cos(declination) * math.sin(LATITUDE) * math.cos(angle)
    azimuth = math.degrees(math.atan2(east, north)) % 360
    return (1098 * up * math.exp(-0.057 / up), azimuth) if up > 0.01 else (0.0, azimuth)
