"""The air handler: economizer, coils, supply fan, and their control. Pure.

Control after ASHRAE Guideline 36-2021, 5.16 (supply air temperature reset by outdoor air, economizer first).
"""

from dataclasses import dataclass, field

from bridges.simulator.controls import Loop, Timer, Unit, between, clamp, lag, toward
from bridges.simulator.vav import AUTO, DRIFT_RATE, LEAK, OCCUPIED, UNOCCUPIED
from bridges.simulator.weather import Conditions
from bridges.simulator.zones import AIR

FAN_PRESSURE, FAN_DROP = 900.0, 25.0
"""Of the fan at full speed: Pa without flow, and Pa lost inside per (m³/s)²."""

CHILLED_WATER = 7.0
DRIFT_END = 20.0
"""Where a drifting supply air sensor ends, K too high."""
FAN_POWER = 7500.0
"""W at full speed."""


@dataclass(slots=True)
class Ahu:
    """One air handler: its controller, actuators and air states (°C, Pa, m³/s, %)."""

    unit: Unit
    speed: float = 60.0
    damper: float = 20.0
    heating: float = 0.0
    cooling: float = 0.0
    mixed: float = 18.0
    heated: float = 18.0
    supply: float = 15.0
    returned: float = 22.0
    pressure: float = 200.0
    flow: float = 1.0
    drift: float = 0.0
    heat: float = 0.0
    """Heat that it takes from the hot water, W."""
    cold: float = 0.0
    """Heat that it gives to the chilled water, W."""
    frozen: bool = False
    economizing: bool = False
    faults: set[str] = field(default_factory=set)
    _fan: Loop = field(default_factory=lambda: Loop(0.3, 30.0, 55.0))
    _heat: Loop = field(default_factory=lambda: Loop(3.0, 180.0))
    _cool: Loop = field(default_factory=lambda: Loop(2.5, 180.0))
    _timers: dict[str, Timer] = field(
        default_factory=lambda: {
            "fan_alarm": Timer(60.0),
            "damper_alarm": Timer(300.0),
            "coil_alarm": Timer(900.0),
            "filter_alarm": Timer(300.0),
            "freeze": Timer(120.0),
        }
    )

    @property
    def runs(self) -> bool:
        """Tell whether the fan moves air."""
        return self.speed > 5.0

    @property
    def power(self) -> float:
        """Electric power of the fan, W."""
        return FAN_POWER * (self.speed / 100) ** 3 + (120.0 if self.runs else 0.0)

    def is_occupied(self, by_schedule: bool) -> bool:
        """Tell the mode in force: what somebody commands, else the controller's own schedule."""
        command = int(self.unit.given("occupancy_command", AUTO))
        return by_schedule if command == AUTO else command != UNOCCUPIED

    def step(
        self,
        outside: Conditions,
        opening: float,
        back: float,
        water: tuple[float, float],
        mode: bool,
        dt: float,
    ) -> None:
        """Control and move air for `dt` seconds.

        `opening` is the sum of the boxes' (m³/s per √Pa), `back` the return air temperature, `water` the hot
        water's temperature and share of design flow, `mode` whether it is occupied.
        """
        self.returned = lag(self.returned, back, dt, 60.0)
        self._sense(outside, dt)
        fan = self._run_fan(opening, dt)
        self._temper(outside, fan, mode, dt)
        self._mix(outside, water, dt)
        self._watch(fan, dt)
        self.unit.sensed["occupancy_mode"] = float(OCCUPIED - 1 if mode else UNOCCUPIED - 1)

    def _sense(self, outside: Conditions, dt: float) -> None:
        unit = self.unit
        drifting = "drifting-sensor" in self.faults
        self.drift = min(self.drift + DRIFT_RATE * dt, DRIFT_END) if drifting else 0.0
        failed = unit.failed
        failed.add("supply_temp") if "failed-sensor" in self.faults else failed.discard("supply_temp")
        unit.sense("supply_temp", self.supply + self.drift)
        unit.sense("outdoor_temp", outside.temperature)
        unit.sense("outdoor_humidity", outside.humidity)
        unit.sense("return_temp", self.returned)

    def _run_fan(self, opening: float, dt: float) -> bool:
        unit = self.unit
        on = unit.put("fan_command", 1.0) >= 0.5
        wanted = unit.given("static_setpoint", 250.0)
        error = (wanted - self.pressure) / wanted * 100
        told = unit.put("fan_speed", clamp(self._fan.step(error, dt), 20.0, 100.0) if on else 0.0)
        works = on and "fan-failure" not in self.faults
        self.speed = toward(self.speed, told if works else 0.0, dt * 100 / 40)
        free = FAN_PRESSURE * (self.speed / 100) ** 2
        self.pressure = lag(self.pressure, free / (1 + FAN_DROP * opening**2), dt, 6.0)
        self.flow = opening * self.pressure**0.5
        unit.sense("static_pressure", self.pressure)
        unit.sense("supply_airflow", 1000 * self.flow)
        unit.sensed["fan_status"] = float(self.runs)
        unit.sense("fan_power", self.power / 1000)
        return on

    def _temper(self, outside: Conditions, fan: bool, occupied: bool, dt: float) -> None:
        """Sequence heating valve, economizer and cooling valve on one supply air temperature setpoint."""
        unit = self.unit
        reset = between(outside.temperature, (10, 20), (17.0, 13.0)) if occupied else 17.0
        setpoint = unit.put("supply_setpoint", reset)
        supply, running = unit.sensed["supply_temp"], fan and self.runs
        cool = self._cool.step(supply - setpoint if running else -10.0, dt)
        heat = self._heat.step(setpoint - 0.7 - supply if running else -10.0, dt)
        margin = 1.0 if self.economizing else 2.0
        self.economizing = outside.temperature < min(21.0, self.returned) - margin
        least = 20.0 if occupied else 10.0
        if self.economizing and heat < 1:
            damper, valve = between(cool, (0, 50), (least, 100)), between(cool, (50, 100), (0, 100))
        else:
            damper, valve = least, cool
        if not running:
            damper = valve = heat = 0.0
        if self.frozen:
            damper, heat = 0.0, 100.0
        damper, heat, valve = (
            unit.put("damper", damper),
            unit.put("heating", heat),
            unit.put("cooling", valve),
        )
        stuck = "stuck-damper" in self.faults
        self.damper = 100.0 if stuck else toward(self.damper, damper, dt * 100 / 90)
        self.heating = toward(self.heating, heat, dt * 100 / 90)
        self.cooling = toward(self.cooling, valve, dt * 100 / 90)
        unit.sensed["economizer"] = float(self.economizing and damper > least + 1)
        unit.sense("damper_position", self.damper)

    def _mix(self, outside: Conditions, water: tuple[float, float], dt: float) -> None:
        unit, fresh = self.unit, self.damper / 100
        mixed = fresh * outside.temperature + (1 - fresh) * self.returned
        self.mixed = lag(self.mixed, mixed, dt, 15.0)
        through = max(self.heating, LEAK * 0.7 if "leaking-valve" in self.faults else 0.0) / 100
        rise = 0.55 * through * water[1] * max(0.0, water[0] - self.mixed)
        fall = 0.75 * self.cooling / 100 * max(0.0, self.mixed + rise - CHILLED_WATER)
        self.heated = lag(self.heated, self.mixed + rise, dt, 25.0)
        warmed = 1.2 * (self.speed / 100) ** 2
        arriving = self.mixed + rise - fall + warmed if self.runs else self.returned
        self.supply = lag(self.supply, arriving, dt, 25.0 if self.runs else 900.0)
        self.heat, self.cold = rise * self.flow * AIR, fall * self.flow * AIR
        unit.sense("mixed_temp", self.mixed)
        unit.sense("heated_temp", self.heated)

    def _watch(self, fan: bool, dt: float) -> None:
        unit, timers = self.unit, self._timers
        dirty = 6.0 if "dirty-filter" in self.faults else 1.0
        drop = 55.0 * dirty * (self.flow / 3.0) ** 2
        unit.sense("filter_pressure", drop)
        told = unit.commanded.get("damper", unit.loops["damper"])
        heat = unit.commanded.get("heating", unit.loops["heating"])
        leaks = self.runs and heat < 1 and self.heating < 1 and self.heated - self.mixed > 2.5
        alarms = {
            "fan_alarm": fan and not self.runs,
            "damper_alarm": abs(told - self.damper) > 20,
            "coil_alarm": leaks,
            "filter_alarm": self.runs and drop > 3 * 55.0 * (self.flow / 3.0) ** 2,
        }
        for key, condition in alarms.items():
            unit.sensed[key] = float(timers[key].step(condition, dt))
        cold = self.runs and self.heated < (8.0 if self.frozen else 4.0)
        self.frozen = timers["freeze"].step(cold, dt)
        unit.sensed["freeze_alarm"] = float(self.frozen)
