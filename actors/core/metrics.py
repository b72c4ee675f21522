"""What Prometheus is told: measures that plain classes give, and the time that stores' calls take.

A plain class has a method `measures()` and knows nothing of Ray. `Meters` sends what it gives through Ray's
metrics, with the labels `site` and `actor`; Ray's node shows them, with the prefix `ray_`, on its metrics
port.
"""

import functools
import inspect
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

log = logging.getLogger(__name__)

EVERY: Final = 5.0
"""Seconds between two readings of an actor's measures."""

CALL_SECONDS: Final = "opencrate_store_call_seconds"
BOUNDARIES: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper ends of the histogram's classes, in seconds."""

GAUGES: Final = {
    "opencrate_bus_queued_events": "Events that wait for the bus's subscribers, of all together.",
    "opencrate_history_queue_frames": "Frames of readings that wait in memory for history.",
    "opencrate_points": "Points that the point store keeps.",
    "opencrate_poll_seconds": "How long the last poll of a device took.",
    "opencrate_device_answer_seconds": "Mean time of the last hundred answers of a device.",
    "opencrate_device_up": "1 for a device that answers, 0 for one that is down or not known yet.",
}
COUNTERS: Final = {
    "opencrate_bus_events_total": "Events that the bus handed out.",
    "opencrate_bus_lagged_events_total": "Events that subscribers lost because they fell behind.",
    "opencrate_samples_total": "Samples that history took.",
    "opencrate_device_reads_total": "Answers of a device.",
    "opencrate_device_errors_total": "Errors of a device.",
}
"""Their number since the actor started; Prometheus makes rates of them."""
DEVICE: Final = "device"
"""The label of what is measured per device."""


class Measure(NamedTuple):
    """One number of an actor, of a device of it where `device` is named."""

    name: str
    value: float
    device: str = ""


class Meters:
    """Send one actor's measures; a counter's steps are told, since Ray's counters are added to."""

    def __init__(self, full_name: str) -> None:
        """Take whose they are, such as `history@north`."""
        actor, _, site = full_name.partition("@")
        self._labels = {"actor": actor, "site": site}
        self._made: dict[str, Any] = {}
        self._told: dict[tuple[str, str], float] = {}

    def send(self, measures: Iterable[Measure]) -> None:
        """Send them now. Raises ValueError for a name that isn't listed here."""
        # Ray's metrics must not be imported by whoever only measures.
        from ray.util.metrics import Counter, Gauge  # noqa: PLC0415

        for name, value, device in measures:
            labels = self._labels | {DEVICE: device}
            if name in GAUGES:
                self._of(name, GAUGES[name], Gauge).set(value, labels)
            elif name in COUNTERS:
                step = value - self._told.get((name, device), 0.0)
                self._told[name, device] = value
                if step > 0:
                    self._of(name, COUNTERS[name], Counter).inc(step, labels)
            else:
                raise ValueError(f"{name} is no measure of actors.core.metrics")

    def _of(self, name: str, what: str, kind: Any) -> Any:
        if name not in self._made:
            self._made[name] = kind(name, description=what, tag_keys=("actor", "site", DEVICE))
        return self._made[name]

    def observe(self, seconds: float) -> None:
        """Tell how long a call took."""
        from ray.util.metrics import Histogram  # noqa: PLC0415

        if CALL_SECONDS not in self._made:
            self._made[CALL_SECONDS] = Histogram(
                CALL_SECONDS,
                description="How long calls to stores took.",
                boundaries=list(BOUNDARIES),
                tag_keys=("actor", "site"),
            )
        self._made[CALL_SECONDS].observe(seconds, self._labels)


def measured(plain: type, meters_of: Callable[[Any], Meters | None]) -> dict[str, Any]:
    """Give a sync class's public methods with their time taken.

    A fault of the metrics is logged, and is none of the call.
    """
    return {
        name: _timed(method, meters_of)
        for name, method in inspect.getmembers(plain, inspect.isfunction)
        if not name.startswith("_") and name not in {"measures", "health"}
    }


def _timed(method: Any, meters_of: Callable[[Any], Meters | None]) -> Any:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(self, *args, **kwargs)
        finally:
            meters = meters_of(self)
            if meters is not None:
                try:
                    meters.observe(time.perf_counter() - began)
                except Exception:
                    log.exception("a call's time could not be told")

    return call
