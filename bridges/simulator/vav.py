"""A VAV box with hot water reheat and its controller. Pure.

Sequence: dual maximum with heating, as ASHRAE Guideline 36-2021, 5.6; alarms after 5.6.6.
"""

import math
from dataclasses import dataclass, field

from bridges.simulator.controls import Loop, Timer, Unit, between, clamp, lag, toward
from bridges.simulator.zones import AIR, Zone

DESIGN_PRESSURE = 250.0
"""Duct static pressure (Pa) at which an open damper passes the design airflow."""

AUTO, OCCUPIED, UNOCCUPIED, BYPASS, STANDBY = 1, 2, 3, 4, 5
"""States of an occupancy command; a mode is one less (it has no Auto)."""

HALF_BAND = {OCCUPIED: 0.5, BYPASS: 0.5, STANDBY: 1.5, UNOCCUPIED: 2.5}
"""How far (K) the effective setpoints lie to either side of the zone setpoint."""

SETPOINT = 21.5
STUCK = 6.0
LEAK = 45.0
DRIFT_RATE, DRIFT_END = 0.5 / 60, 15.0
"""Of a drifting sensor: K per second, and where it ends."""


@dataclass(frozen=True, slots=True)
class Supply:
    """What comes to a box from the air handler and the boiler plant."""

    pressure: float
    temperature: float
    fresh: float
    """Share of outdoor air in it."""
    fan_runs: bool
    water: float
    """Hot water supply temperature, °C."""
    water_flow: float
    """Share of the design flow that the pump can give, 0 to 1."""


@dataclass(slots=True)
class Vav:
    """One box, its actuators and its loops. Airflows are in L/s."""

    unit: Unit
    zone: Zone
    damper: float = 40.0
    valve: float = 0.0
    airflow: float = 120.0
    discharge: float = 15.0
    drift: float = 0.0
    heat: float = 0.0
    """Heat that it takes from the hot water, W."""
    faults: set[str] = field(default_factory=set)
    _cooling: Loop = field(default_factory=lambda: Loop(30.0, 900.0))
    _heating: Loop = field(default_factory=lambda: Loop(35.0, 900.0))
    _low_airflow: Timer = field(default_factory=lambda: Timer(300.0))
    _leaking: Timer = field(default_factory=lambda: Timer(900.0))

    @property
    def most(self) -> float:
        """Design airflow, L/s."""
        return 5.0 * self.zone.area

    @property
    def opening(self) -> float:
        """Airflow (m³/s) per square root of the duct pressure (Pa) with the damper as it stands."""
        free: float = (self.damper / 100.0) ** 1.3
        return 0.001 * self.most * free / math.sqrt(DESIGN_PRESSURE)

    def mode(self, occupied: bool) -> int:
        """Give the occupancy mode in force; a setpoint that somebody commands calls for comfort (bypass)."""
        wanted = int(self.unit.given("occupancy_command", AUTO))
        if wanted != AUTO:
            return wanted
        if occupied:
            return OCCUPIED
        return BYPASS if "zone_setpoint" in self.unit.commanded else UNOCCUPIED

    def step(self, supply: Supply, occupied: bool, dt: float) -> None:
        """Sense, control and move for `dt` seconds."""
        self._sense(dt)
        mode = self.mode(occupied)
        wanted = self._control(mode, dt)
        self._move(supply, wanted, dt)
        self._watch(supply, wanted, dt)
        self.unit.sensed["occupancy_mode"] = mode - 1
        self.unit.sensed["occupied"] = float(self.zone.people > 0)

    def _sense(self, dt: float) -> None:
        drifting = "drifting-sensor" in self.faults
        self.drift = min(self.drift + DRIFT_RATE * dt, DRIFT_END) if drifting else 0.0
        failed = self.unit.failed
        failed.add("zone_temp") if "failed-sensor" in self.faults else failed.discard("zone_temp")
        self.unit.sense("zone_temp", self.zone.temperature + self.drift)
        self.unit.sense("co2", self.zone.co2)

    def _control(self, mode: int, dt: float) -> float:
        """Work the loops; give the airflow setpoint."""
        unit, half = self.unit, HALF_BAND[mode]
        setpoint = unit.given("zone_setpoint", SETPOINT)
        heat_below, cool_above = setpoint - half, setpoint + half
        temperature: float = unit.sensed["zone_temp"]
        cooling = self._cooling.step(temperature - cool_above, dt)
        heating = self._heating.step(heat_below - temperature, dt)
        least = unit.given("min_airflow", 120.0) * (0.35 if mode == UNOCCUPIED else 1.0)
        least = between(self.zone.co2, (900, 1200), (least, max(least, 0.6 * self.most)))
        most = max(least, unit.given("max_airflow", 500.0) / 500.0 * self.most)
        wanted = least + cooling / 100 * (most - least)
        warm = max(least, 0.5 * self.most)
        wanted = max(wanted, between(heating, (50, 100), (least, warm)))
        airflow = unit.put("airflow_setpoint", wanted)
        unit.put("reheat_valve", clamp(2 * heating, 0.0, 100.0))
        unit.sensed.update(
            heating_setpoint=heat_below,
            cooling_setpoint=cool_above,
            vav_mode=1.0 if heating > 1 else 3.0 if cooling > 1 else 2.0,
            cooling_loop=cooling,
            heating_loop=heating,
        )
        return airflow

    def _move(self, supply: Supply, wanted: float, dt: float) -> None:
        unit = self.unit
        error = (wanted - self.airflow) / self.most * 100
        # From where it is told to be, so that the loop goes on without a bump after a command.
        told = unit.commanded.get("damper_command", unit.loops.get("damper_command", self.damper))
        command = unit.put("damper_command", clamp(told + clamp(error * dt / 40, -5.0, 5.0), 0.0, 100.0))
        self.damper = STUCK if "stuck-damper" in self.faults else toward(self.damper, command, dt * 100 / 90)
        valve = unit.commanded.get("reheat_valve", unit.loops["reheat_valve"])
        self.valve = toward(self.valve, valve, dt * 100 / 90)
        self.airflow = lag(self.airflow, 1000 * self.opening * supply.pressure**0.5, dt, 8.0)
        carried = 0.001 * self.airflow * AIR
        through = max(self.valve, LEAK if "leaking-valve" in self.faults else 0.0) / 100
        rise = 0.5 * through * supply.water_flow * max(0.0, supply.water - supply.temperature)
        self.heat = rise * carried
        # Without air the box takes the temperature of the ceiling around it.
        arriving = supply.temperature + rise if self.airflow > 5 else self.zone.temperature
        self.discharge = lag(self.discharge, arriving, dt, 30.0)
        unit.sense("discharge_temp", self.discharge)
        unit.sense("airflow", self.airflow)
        unit.sense("damper_position", self.damper)

    def _watch(self, supply: Supply, wanted: float, dt: float) -> None:
        low = supply.fan_runs and self.airflow < 0.7 * wanted
        shut = self.unit.commanded.get("reheat_valve", self.unit.loops["reheat_valve"]) < 1 and self.valve < 1
        warm = supply.fan_runs and shut and self.discharge - supply.temperature > 3
        self.unit.sensed["low_airflow"] = float(self._low_airflow.step(low, dt))
        self.unit.sensed["leaking_valve"] = float(self._leaking.step(warm, dt))
