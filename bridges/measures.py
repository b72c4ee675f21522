"""What bridges of every protocol measure of their devices."""

from collections.abc import Iterable

from actors.core.metrics import Measure
from bridges.config import DeviceStatus


def device_measures(devices: Iterable[tuple[DeviceStatus, float | None]]) -> list[Measure]:
    """Give the measures of some devices, each with how long its last poll took (s; None: not polled yet)."""
    found = []
    for status, poll_seconds in devices:
        key = status.device_key
        found += [
            Measure("opencrate_device_up", float(status.state == "online"), key),
            Measure("opencrate_device_reads_total", status.reads, key),
            Measure("opencrate_device_errors_total", status.errors, key),
        ]
        if status.answer_ms is not None:
            found.append(Measure("opencrate_device_answer_seconds", status.answer_ms / 1000, key))
        if poll_seconds is not None:
            found.append(Measure("opencrate_poll_seconds", poll_seconds, key))
    return found
