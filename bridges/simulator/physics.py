"""The simulated building: zones, air handler, boxes, boiler plant, meters. Pure: no clock, no I/O, seeded.

The same seed, start, commands and steps always give the same values.
"""

from datetime import datetime, timedelta

from bridges.simulator.ahu import Ahu
from bridges.simulator.controls import Unit
from bridges.simulator.electric import Meter
from bridges.simulator.faults import AHU, DRIVE, METERS, PLANT, VAVS, Fault
from bridges.simulator.plant import Drive, Plant
from bridges.simulator.vav import Supply, Vav
from bridges.simulator.weather import Conditions, Weather
from bridges.simulator.zones import is_occupied, make_zones

LONGEST_STEP = 5.0
"""Seconds; longer steps are parted, because the loops need to look this often."""
SETTLING = 2 * 3600.0
"""Seconds that a new building runs before its start, so that nobody sees it wake up."""
BASE_LOAD = 3500.0
"""Servers, lifts, outdoor lights, W."""
CHILLER_COP = 3.4
SITE = "simulator"
"""The unit that stands for the building itself."""


class Building:
    """All units of the building by name, and the one way to let time pass."""

    def __init__(self, seed: int, start: datetime) -> None:
        self.weather = Weather(seed)
        self.start = start - timedelta(seconds=SETTLING)
        self.elapsed = 0.0
        self.faults: frozenset[Fault] = frozenset()
        names = (AHU, *VAVS, PLANT, *METERS, DRIVE, SITE)
        self.units = {name: Unit(name) for name in names}
        self.vavs = [Vav(self.units[name], zone) for name, zone in zip(VAVS, make_zones(seed), strict=True)]
        self.ahu = Ahu(self.units[AHU])
        self.drive = Drive(self.units[DRIVE])
        self.plant = Plant(self.units[PLANT], self.drive)
        self.meters = [
            Meter(self.units[METERS[0]], 0.0, 512_340.0),
            Meter(self.units[METERS[1]], 999.0, 98_120.0),
        ]
        self.step(SETTLING)

    @property
    def now(self) -> datetime:
        """Simulated local time."""
        return self.start + timedelta(seconds=self.elapsed)

    @property
    def outside(self) -> Conditions:
        """The weather now."""
        return self.weather.at(self.now)

    def set_faults(self, faults: frozenset[Fault]) -> None:
        """Let exactly these faults be there from now on."""
        self.faults = faults
        parts: dict[str, Vav | Ahu | Plant | Drive] = {AHU: self.ahu, PLANT: self.plant, DRIVE: self.drive}
        parts |= dict(zip(VAVS, self.vavs, strict=True))
        for name, part in parts.items():
            part.faults = {fault.kind for fault in faults if fault.target == name}

    def is_dead(self, name: str) -> bool:
        """Tell whether a device is to answer nothing."""
        return Fault("dead-device", name) in self.faults

    def step(self, dt: float) -> None:
        """Let `dt` seconds pass."""
        parts = max(1, round(dt / LONGEST_STEP + 0.499))
        for _ in range(parts):
            self._step(dt / parts)

    def _step(self, dt: float) -> None:
        self.elapsed += dt
        now = self.now
        outside, ahu, plant = self.weather.at(now), self.ahu, self.plant
        occupied = ahu.is_occupied(is_occupied(now))
        water = (plant.supply, plant.strength)
        supply = Supply(ahu.pressure, ahu.supply, ahu.damper / 100, ahu.runs, *water)
        for vav in self.vavs:
            vav.zone.live(now)
            vav.step(supply, occupied, dt)
            vav.zone.step(outside, vav.airflow / 1000, vav.discharge, supply.fresh, dt)
        flow = sum(vav.airflow for vav in self.vavs) + 1e-6
        back = sum(vav.airflow * vav.zone.temperature for vav in self.vavs) / flow
        back = back if flow > 10 else sum(vav.zone.temperature for vav in self.vavs) / len(self.vavs)
        ahu.step(outside, sum(vav.opening for vav in self.vavs), back, water, occupied, dt)
        load = ahu.heat + sum(vav.heat for vav in self.vavs)
        valves = (ahu.heating + sum(vav.valve for vav in self.vavs)) / 100 / (1 + len(self.vavs))
        plant.step(outside.temperature, load, valves, dt)
        self._measure(outside, dt)

    def _measure(self, outside: Conditions, dt: float) -> None:
        equipment = self.ahu.power + self.ahu.cold / CHILLER_COP + self.plant.power + self.drive.power
        total = equipment + BASE_LOAD + sum(vav.zone.electric for vav in self.vavs)
        self.meters[0].step(total, self.elapsed, dt)
        self.meters[1].step(equipment, self.elapsed, dt)
        self.units[AHU].sense("return_co2", sum(vav.zone.co2 for vav in self.vavs) / len(self.vavs))
        now = self.now
        self.units[SITE].sensed.update(
            outdoor_temp=outside.temperature,
            outdoor_humidity=outside.humidity,
            solar=outside.sun[0],
            hour=now.hour + now.minute / 60,
            day=float(now.isoweekday()),
            people=float(sum(vav.zone.people for vav in self.vavs)),
            power=total / 1000,
            occupied=float(is_occupied(now)),
        )
