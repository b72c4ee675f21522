"""Zones as thermal masses, and the people in them. Pure.

A zone is one well-mixed node: C dT/dt = UA (To - T) + m cp (Ts - T) + gains, solved exactly over each step,
so that no step is too long to be stable (ASHRAE Handbook of Fundamentals, chapter 19, lumped capacitance).
"""

import itertools
import math
from dataclasses import dataclass
from datetime import datetime

from bridges.simulator.controls import between, clamp, lag, seeded
from bridges.simulator.weather import Conditions

AIR = 1206.0
"""Heat capacity of air, J/(m³·K)."""

DAY_PROFILE = (
    (7.0, 0.0),
    (9.0, 0.9),
    (11.8, 1.0),
    (12.6, 0.45),
    (13.5, 0.95),
    (16.3, 0.9),
    (18.5, 0.05),
    (20.0, 0.0),
)
"""Share of the people who are in, by hour of a working day."""


def presence(when: datetime, shift: float = 0.0) -> float:
    """Give the share of people who are in (0 to 1); weekends are nearly empty. `shift` is in hours."""
    hour = when.hour + when.minute / 60 + when.second / 3600 - shift
    share = 0.0
    for (start, low), (end, high) in itertools.pairwise(DAY_PROFILE):
        if start <= hour < end:
            share = between(hour, (start, end), (low, high))
    return share if when.weekday() < 5 else 0.04 * share


def is_occupied(when: datetime) -> bool:
    """Tell whether the building's own time schedule says occupied: working days, 6:00 to 19:00."""
    return when.weekday() < 5 and 6 <= when.hour < 19


@dataclass(slots=True)
class Zone:
    """One zone's constants and state."""

    area: float
    """m²."""
    azimuth: float
    """Where its windows look, degrees from north."""
    people_at_most: int
    shift: float
    """Hours by which its people come later than others."""
    temperature: float = 21.5
    co2: float = 480.0
    people: int = 0
    electric: float = 0.0
    """Lights and plugs, W."""

    def live(self, when: datetime) -> None:
        """Let people come and go."""
        share = presence(when, self.shift)
        self.people = round(self.people_at_most * share)
        self.electric = self.area * (1.2 + 9.0 * math.sqrt(share))

    def step(self, outside: Conditions, airflow: float, supply: float, fresh: float, dt: float) -> None:
        """Balance heat and CO2 over `dt` s: airflow (m³/s) at `supply` °C, `fresh` of it outdoor air."""
        loss = 0.55 * self.area
        carried = airflow * AIR
        gains = 75.0 * self.people + self.electric + self._solar(outside)
        total = loss + carried
        target = (loss * outside.temperature + carried * supply + gains) / total
        self.temperature = lag(self.temperature, target, dt, 11_000.0 * self.area / total)
        volume = 3.0 * self.area
        change = airflow * fresh + volume * 0.15 / 3600
        steady = 420.0 + 5.2 * self.people / change
        self.co2 = lag(self.co2, min(steady, 5000.0), dt, volume / change)

    def _solar(self, outside: Conditions) -> float:
        irradiance, azimuth = outside.sun
        facing = 0.25 + 0.75 * clamp(math.cos(math.radians(azimuth - self.azimuth)), 0.0, 1.0)
        return 0.035 * self.area * irradiance * facing


def make_zones(seed: int) -> list[Zone]:
    """Give the eight zones of the building: four sides on two floors, no two alike."""
    rng = seeded(f"zones {seed}")
    return [
        Zone(
            area=rng.uniform(85, 115),
            azimuth=90.0 * (number % 4),
            people_at_most=rng.randint(6, 11),
            shift=rng.uniform(-0.4, 0.5),
            temperature=rng.uniform(21.0, 22.5),
        )
        for number in range(8)
    ]
