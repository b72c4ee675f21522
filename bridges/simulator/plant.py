"""The boiler plant with two condensing boilers, and the drive of its hot water pump. Pure."""

from dataclasses import dataclass, field

from bridges.simulator.controls import Loop, Timer, Unit, between, clamp, lag, toward

BOILER = 50_000.0
"""W of each boiler at full fire."""
WATER = 4186.0
"""J/(kg·K)."""
GAS = 10.0
"""Heat in a cubic metre of natural gas, kWh."""
PUMP_POWER = 1500.0
MOTOR_CURRENT, MOTOR_HERTZ = 3.4, 50.0
"""Of the pump motor at full load: A per phase, and its rated frequency."""
SPEED = 75.0
"""Speed reference (%) that the drive starts with."""


@dataclass(slots=True)
class Drive:
    """A variable frequency drive on hot water pump 1."""

    unit: Unit
    speed: float = SPEED
    """Output, % of the motor's rated speed."""
    hours: float = 18_204.0
    energy: float = 20_417.0
    """kWh since it was new."""
    heatsink: float = 38.0
    faults: set[str] = field(default_factory=set)
    resets: int = 0

    @property
    def tripped(self) -> bool:
        """Tell whether it has switched off by itself."""
        return "drive-fault" in self.faults

    @property
    def power(self) -> float:
        """Electric power, W."""
        return (PUMP_POWER * (self.speed / 100) ** 3 + 40) if self.speed > 0.5 else 25.0

    def step(self, permitted: bool, dt: float) -> None:
        """Ramp to the speed reference for `dt` seconds; `permitted` is the plant's hardwired start."""
        unit = self.unit
        run = permitted and unit.given("run", 1.0) >= 0.5 and not self.tripped
        reference = clamp(unit.given("speed_reference", SPEED), 0.0, 100.0)
        ramp = dt * 100 / unit.given("ramp_time", 20.0) if not self.tripped else 100.0
        self.speed = toward(self.speed, reference if run else 0.0, ramp)
        share, turning = self.speed / 100, self.speed > 0.5
        self.hours += dt / 3600 if turning else 0.0
        self.energy += self.power * dt / 3.6e6
        self.heatsink = lag(self.heatsink, 28 + 22 * share**2, dt, 400.0)
        at_reference = run and abs(self.speed - reference) < 0.5
        bits = (1, turning, turning, self.tripped, 0, 0, 0, self.heatsink > 75, at_reference, 1)
        unit.sensed.update(
            output_frequency=MOTOR_HERTZ * share,
            output_speed=self.speed,
            motor_rpm=1450 * share,
            motor_current=MOTOR_CURRENT * (0.35 + 0.65 * share**2) if turning else 0.0,
            motor_torque=100 * share**2,
            motor_power=self.power / 1000,
            output_voltage=400 * share,
            bus_voltage=565 - 6 * share,
            heatsink_temp=self.heatsink,
            fault_code=2310.0 if self.tripped else 0.0,
            status_word=float(sum(1 << at for at, bit in enumerate(bits) if bit)),
            running=float(turning),
            tripped=float(self.tripped),
            at_reference=float(at_reference),
            overheated=float(self.heatsink > 75),
            run_hours=self.hours,
            energy=self.energy,
            run=unit.given("run", 1.0),
            speed_reference=unit.given("speed_reference", SPEED),
            ramp_time=unit.given("ramp_time", 20.0),
        )


@dataclass(slots=True)
class Plant:
    """Boilers, loop and pumps with their controller."""

    unit: Unit
    drive: Drive
    supply: float = 65.0
    returned: float = 58.0
    fire: float = 0.0
    """Firing rate of both boilers together, 0 to 200 %."""
    second: float = 0.0
    """Speed of pump 2 (standby, without a drive), %."""
    flow: float = 2.0
    faults: set[str] = field(default_factory=set)
    _loop: Loop = field(default_factory=lambda: Loop(4.0, 300.0, 20.0))
    _unproven: Timer = field(default_factory=lambda: Timer(60.0))

    @property
    def strength(self) -> float:
        """Share of the design flow that the pumps can give to a coil, 0 to 1."""
        return clamp(max(self.drive.speed, self.second) / 50, 0.0, 1.0)

    @property
    def power(self) -> float:
        """Electric power of boilers and pump 2 (the drive has its own), W."""
        return 80 + 3 * self.fire + PUMP_POWER * (self.second / 100) ** 3

    def step(self, outside: float, load: float, opening: float, dt: float) -> None:
        """Fire and pump for `dt` seconds against `load` (W); `opening` is the mean valve opening (0 to 1)."""
        unit = self.unit
        setpoint = unit.put("supply_setpoint", between(outside, (-10, 20), (75.0, 58.0)))
        enabled = unit.put("enable", 1.0) >= 0.5
        self._pump(enabled, opening, dt)
        self._burn(setpoint, enabled, dt)
        heat = self.fire / 100 * BOILER
        loss = 25.0 * (self.supply - 20.0)
        self.supply = clamp(self.supply + (heat - load - loss) * dt / 2.5e6, 5.0, 110.0)
        drop = load / (max(self.flow, 0.05) * WATER)
        self.returned = lag(self.returned, max(self.supply - drop - 1.0, 5.0), dt, 60.0)
        efficiency = between(self.returned, (30, 75), (0.98, 0.87))
        unit.sense("supply_temp", self.supply)
        unit.sense("return_temp", self.returned)
        unit.sense("outdoor_temp", outside)
        unit.sense("load", load / 1000)
        unit.sense("gas_flow", heat / 1000 / efficiency / GAS)
        unit.sensed["efficiency"] = 100 * efficiency
        unit.sensed["plant_mode"] = (
            1.0 if not enabled else 2.0 if self.fire < 1 else 3.0 if self.fire <= 100 else 4.0
        )

    def _pump(self, enabled: bool, opening: float, dt: float) -> None:
        unit = self.unit
        first = unit.put("pump_1_command", float(enabled)) >= 0.5
        self.drive.step(first, dt)
        unproven = self._unproven.step(enabled and self.drive.speed < 5, dt)
        second = unit.put("pump_2_command", float(unproven)) >= 0.5
        self.second = toward(self.second, 80.0 if second else 0.0, dt * 100 / 10)
        speed = max(self.drive.speed, self.second) / 100
        self.flow = 3.5 * speed * (0.3 + 0.7 * opening)
        unit.sense("flow", self.flow)
        unit.sense("pressure", 120 * speed**2 * (1 - 0.3 * opening))
        unit.sensed["pump_1_status"] = float(self.drive.speed > 5)
        unit.sensed["pump_2_status"] = float(self.second > 5)
        unit.sensed["pump_alarm"] = float(unproven)

    def _burn(self, setpoint: float, enabled: bool, dt: float) -> None:
        unit, locked = self.unit, "boiler-failure" in self.faults
        flows = self.flow > 0.2
        wanted = 2 * self._loop.step(setpoint - self.supply if enabled and flows else -20.0, dt)
        fires = 0.0
        for number, wish in ((1, clamp(wanted, 0, 100)), (2, clamp(wanted - 100, 0, 100))):
            on = unit.put(f"boiler_{number}_command", float(enabled and (number == 1 or wish > 0))) >= 0.5
            rate = unit.put(f"boiler_{number}_rate", wish if on else 0.0)
            # The safety chain of a boiler stands over every command: no flow or too hot, no flame.
            burns = on and flows and not locked and self.supply < 95 and rate > 0
            unit.sensed[f"boiler_{number}_status"] = float(burns)
            unit.sensed[f"boiler_{number}_alarm"] = float(locked)
            fires += rate if burns else 0.0
        self.fire = toward(self.fire, fires, dt * 200 / 60)
