"""Two power meters on the building's load. Pure."""

import math
from dataclasses import dataclass

from bridges.simulator.controls import Unit

SHARES = (0.345, 0.33, 0.325)
"""Of the total power on each phase."""


@dataclass(slots=True)
class Meter:
    """A three-phase meter."""

    unit: Unit
    phase: float
    """Shifts its small wanderings against the other meter's, s."""
    energy: float
    """kWh imported since it was new."""
    peak: float = 0.0
    """Highest active power since the start, kW."""

    def step(self, power: float, elapsed: float, dt: float) -> None:
        """Measure `power` (W) for `dt` seconds, `elapsed` seconds after the start."""
        wander = math.sin((elapsed + self.phase) / 47) + 0.6 * math.sin((elapsed + self.phase) / 11.3)
        factor = 0.93 + 0.01 * wander
        self.energy += power * dt / 3.6e6
        self.peak = max(self.peak, power / 1000)
        apparent = power / factor
        values = {
            "active_power": power / 1000,
            "reactive_power": math.sqrt(apparent**2 - power**2) / 1000,
            "apparent_power": apparent / 1000,
            "power_factor": factor,
            "frequency": 50 + 0.012 * wander,
            "energy": self.energy,
            "energy_wh": self.energy * 1000,
            "energy_tenths": self.energy,
            "peak_power": self.peak,
            "temperature": 31 + 0.8 * wander + power / 40_000,
        }
        for number, share in enumerate(SHARES, 1):
            part = share * (1 + 0.01 * math.sin((elapsed + self.phase * number) / 31))
            voltage = 231.5 - power * part / 12_000 + 0.4 * math.sin((elapsed + 70 * number) / 83)
            values[f"voltage_{number}"] = voltage
            values[f"power_{number}"] = power * part / 1000
            values[f"current_{number}"] = apparent * part / voltage
        for key, value in values.items():
            self.unit.sense(key, value)
