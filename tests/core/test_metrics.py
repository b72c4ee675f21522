"""Measures without Ray: what is sent, and that a call is never worse for being timed."""

from typing import Any

import pytest

from actors.core import metrics
from actors.core.metrics import Measure, Meters, measured


class Made:
    """Stands in for Ray's metric classes."""

    def __init__(self, name: str, **_: Any) -> None:
        self.name = name
        made.append(self)
        self.told: list[tuple[float, dict[str, str]]] = []

    def set(self, value: float, labels: dict[str, str]) -> None:
        self.told.append((value, labels))

    def inc(self, value: float, labels: dict[str, str]) -> None:
        self.set(value, labels)

    observe = inc


made: list[Made] = []


@pytest.fixture(autouse=True)
def _ray(monkeypatch: pytest.MonkeyPatch) -> None:
    made.clear()
    for kind in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(f"ray.util.metrics.{kind}", Made)


def test_a_counter_is_told_its_steps_and_a_gauge_its_value() -> None:
    meters = Meters("bacnet@north")
    for reads, up in ((5, 1.0), (5, 0.0), (9, 0.0)):
        meters.send(
            [
                Measure("opencrate_device_reads_total", reads, "1001"),
                Measure("opencrate_device_up", up, "1001"),
            ]
        )
    labels = {"actor": "bacnet", "site": "north", "device": "1001"}
    told = {each.name: each.told for each in made}
    assert told["opencrate_device_reads_total"] == [(5, labels), (4, labels)]
    assert [value for value, _ in told["opencrate_device_up"]] == [1.0, 0.0, 0.0]


def test_a_measure_that_is_not_listed_is_refused() -> None:
    with pytest.raises(ValueError, match="opencrate_pionts"):
        Meters("points@north").send([Measure("opencrate_pionts", 1)])


class Kept:
    def add(self, number: int) -> int:
        if number < 0:
            raise ValueError(number)
        return number + 1

    def measures(self) -> list[Measure]:
        return []

    def _inner(self) -> None: ...


def test_calls_are_timed_and_go_on_when_metrics_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    meters = Meters("kept@north")
    members = measured(Kept, lambda self: meters)
    assert members.keys() == {"add"}
    store = type("Timed", (Kept,), members)()
    assert store.add(1) == 2
    with pytest.raises(ValueError, match="-1"):
        store.add(-1)
    [histogram] = made
    assert histogram.name == metrics.CALL_SECONDS
    assert [labels for _, labels in histogram.told] == [{"actor": "kept", "site": "north"}] * 2

    def broken(seconds: float) -> None:
        raise RuntimeError("no metrics today")

    monkeypatch.setattr(meters, "observe", broken)
    assert store.add(2) == 3
