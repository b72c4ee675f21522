"""Local control as field controllers do it: PI loops, actuators and sensors with their lags. Pure."""

import math
import random
from dataclasses import dataclass, field


def seeded(name: str) -> random.Random:
    """Give random numbers that are always the same for the same name."""
    return random.Random(name)  # noqa: S311 - noise, not secrets


def clamp(value: float, low: float, high: float) -> float:
    """Keep `value` within `low` and `high`."""
    return low if value < low else min(value, high)


def toward(value: float, target: float, most: float) -> float:
    """Move `value` to `target` by no more than `most` (an actuator's stroke, a drive's ramp)."""
    return value + clamp(target - value, -most, most)


def lag(value: float, target: float, dt: float, tau: float) -> float:
    """Let `value` follow `target` with time constant `tau` (s); exact for any `dt` (s)."""
    return target + (value - target) * math.exp(-dt / tau)


def between(value: float, x: tuple[float, float], y: tuple[float, float]) -> float:
    """Give the point on the line through (x[0], y[0]) and (x[1], y[1]), held at its ends."""
    share = clamp((value - x[0]) / (x[1] - x[0]), 0.0, 1.0)
    return y[0] + share * (y[1] - y[0])


@dataclass(slots=True)
class Loop:
    """A PI loop with output 0 to 100 % that stops integrating at its ends (no windup)."""

    gain: float
    """% per unit of error."""
    reset: float
    """Integral time, s."""
    integral: float = 0.0

    def step(self, error: float, dt: float) -> float:
        """Give the output (%) for an error that calls for more output when it is positive."""
        wanted = self.gain * error + self.integral
        drive = self.gain * error * dt / self.reset
        if 0.0 < wanted < 100.0 or (wanted >= 100.0 and drive < 0) or (wanted <= 0.0 and drive > 0):
            self.integral = clamp(self.integral + drive, -100.0, 100.0)
        return clamp(self.gain * error + self.integral, 0.0, 100.0)


@dataclass(slots=True)
class Timer:
    """Tells that something has been true for some time without a break."""

    after: float
    """Seconds until it tells."""
    held: float = 0.0

    def step(self, condition: bool, dt: float) -> bool:
        """Tell whether `condition` has been true for `after` seconds."""
        self.held = min(self.held + dt, self.after) if condition else 0.0
        return self.held >= self.after


@dataclass(slots=True)
class Unit:
    """One controller: what it senses, what its loops put out, and what somebody commands over them.

    Values are floats; binary values are 0 and 1, states count from 1.
    """

    name: str
    sensed: dict[str, float] = field(default_factory=dict)
    """What its sensors and its own arithmetic say."""
    loops: dict[str, float] = field(default_factory=dict)
    """What its loops want to put out."""
    commanded: dict[str, float] = field(default_factory=dict)
    """Outputs and setpoints that somebody has in hand: they win over the loops."""
    failed: set[str] = field(default_factory=set)
    """Sensors that have failed: their value is the last good one."""
    held: dict[str, float] = field(default_factory=dict)
    """Inputs that are out of service, with the value that somebody simulates."""

    def put(self, key: str, value: float) -> float:
        """Put out what the loop wants; give what is really in force."""
        self.loops[key] = value
        return self.commanded.get(key, value)

    def given(self, key: str, default: float) -> float:
        """Give a setpoint: what somebody wrote, else `default`."""
        return self.commanded.get(key, default)

    def sense(self, key: str, value: float) -> None:
        """Show a measured value, unless its sensor has failed or somebody simulates it."""
        if key in self.held:
            self.sensed[key] = self.held[key]
        elif key not in self.failed:
            self.sensed[key] = value
