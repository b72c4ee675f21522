"""What the page decides by itself, without a browser; the rest is in tests/browser."""

from typing import Any

import pytest

from api.web.alarms import urgency
from api.web.pages import comfort, device_words, host_rows
from api.web.registers import cells, summary
from api.web.trends import bands, options_of


def gap(start: int, end: int, kind: str = "lost") -> dict[str, Any]:
    return {"start": start, "end": end, "kind": kind, "reason": "device down"}


def spans(gaps: list[list[dict[str, Any]]]) -> list[tuple[int, int]]:
    return [(begin["xAxis"], end["xAxis"]) for begin, end in bands(gaps)]


def test_a_hole_of_several_points_is_shaded_once() -> None:
    assert spans([[gap(10, 20)], [gap(15, 30)], [gap(40, 50)]]) == [(10, 30), (40, 50)]
    assert spans([[gap(10, 20)], [gap(10, 20, "late")]]) == [(10, 20), (10, 20)]
    assert spans([[], []]) == []


def test_a_line_is_broken_where_samples_are_lost_and_drawn_in_steps_where_people_command() -> None:
    sensor = {
        "id": "a/analog-input-1",
        "tags": ["sensor"],
        "units": "degrees-celsius",
        "shown": "A </script>",
    }
    setpoint = {"id": "a/analog-value-1", "tags": ["sp"], "units": "percent", "shown": "B"}
    lines = [[[1, 20.0], [9, 21.0]], [[1, 5.0]]]
    options = options_of(7, [sensor, setpoint], lines, [[gap(3, 8)], []], (0, 10))
    first, second = options["series"]
    assert first["data"] == [[1, 20.0], [4, None], [9, 21.0]]
    assert (first["step"], second["step"]) == (False, "end")
    assert (first["yAxisIndex"], second["yAxisIndex"]) == (0, 1)
    assert (options["xAxis"]["min"], options["xAxis"]["max"]) == (0, 10)
    assert "oc.tooltip(7, " in options["tooltip"][":formatter"]
    assert "</script>" not in options["tooltip"][":formatter"]


def test_a_chart_of_nothing_has_an_axis() -> None:
    assert len(options_of(1, [], [], [], (0, 1))["yAxis"]) == 1


@pytest.mark.parametrize(
    ("value", "setpoint", "status", "word"),
    [
        (21.5, 21.5, [], "good"),
        (22.5, 21.5, [], "good"),
        (23.0, 21.5, [], "warm"),
        (24.0, 21.5, [], "hot"),
        (20.0, 21.5, [], "cool"),
        (19.0, 21.5, [], "cold"),
        (21.5, None, [], None),
        (None, 21.5, [], None),
        (21.5, 21.5, ["down"], "off"),
    ],
)
def test_a_zone_is_coloured_by_its_distance_from_the_setpoint(
    value: float | None, setpoint: float | None, status: list[str], word: str | None
) -> None:
    assert comfort({"value": value, "status": status}, setpoint) == word


def test_what_waits_for_somebody_is_listed_first() -> None:
    def alarm(name: str, severity: str, state: str = "active", shelved: str | None = None) -> dict[str, Any]:
        return {"name": name, "severity": severity, "state": state, "shelved_until": shelved}

    items = [
        alarm("shelved", "critical", shelved="2026-01-01T00:00:00.000Z"),
        alarm("seen", "critical", "acknowledged"),
        alarm("low", "low"),
        alarm("gone but unseen", "high", "cleared"),
        alarm("worst", "critical"),
    ]
    names = [each["name"] for each in sorted(items, key=urgency)]
    assert names == ["worst", "gone but unseen", "low", "seen", "shelved"]


def test_a_device_is_told_with_its_answers_and_errors() -> None:
    device = {
        "protocol": "modbus",
        "address": "10.0.0.5:502 unit 3",
        "points": 1,
        "state": "online",
        "last_seen": None,
        "answer_ms": 12.345,
        "errors": 2,
        "last_error": "no answer within 2 s",
    }
    told = "modbus 10.0.0.5:502 unit 3, 1 point, heard now, answers in 12.3 ms, 2 errors"
    assert device_words(device, 0) == told
    down = device | {"state": "down"}
    told = "modbus 10.0.0.5:502 unit 3, 1 point, heard never, 2 errors: no answer within 2 s"
    assert device_words(down, 0) == told


def test_a_host_that_is_away_is_told_with_its_sites_and_since_when() -> None:
    here = {
        "name": "head-1",
        "role": "head",
        "sites": [],
        "address": "10.0.0.1",
        "version": "0.1.0",
        "reachable": True,
        "reason": None,
        "last_contact": None,
    }
    away = here | {
        "name": "box-7",
        "role": "building",
        "sites": ["north", "south"],
        "address": None,
        "version": None,
        "reachable": False,
        "reason": "no answer",
        "last_contact": "1970-01-01T00:00:10.000Z",
    }
    assert host_rows([here, away], 70_000) == [
        ("head-1", "online", "head at 10.0.0.1, version 0.1.0"),
        (
            "box-7",
            "down",
            "north, south at an unknown address, version unknown, heard 1 min ago: no answer",
        ),
    ]


def test_registers_are_shown_in_each_byte_order() -> None:
    values = {
        "float32": {"big-endian": 12.5, "little-endian": None, "big-endian-word-swap": 2.3458903e-41},
        "uint16": {"big-endian": 16712.0, "little-endian": 18497.0},
    }
    there = {"address": 3, "raw": 0x4148, "error": None, "hex": "4148", "text": "AH", "values": values}
    assert cells(there, "float32") == ["3", "4148", "16712", "AH", "12.5", "2.34589e-41", "", ""]
    assert cells(there, "uint16") == ["3", "4148", "16712", "AH", "16712", "", "", "18497"]
    assert cells(there, "uint64") == ["3", "4148", "16712", "AH", "", "", "", ""]
    bit = {"address": 3, "raw": 1, "error": None, "hex": None, "text": None, "values": {}}
    assert cells(bit, "float32") == ["3", "", "1", "", "", "", "", ""]
    gone = bit | {"raw": None, "error": "illegal data address (2)"}
    assert cells(gone, "float32") == ["3", "", "illegal data address (2)", "", "", "", "", ""]


def test_what_came_of_a_look_is_said() -> None:
    assert summary(20, 0, 1) == "20 of 20 read, in 1 request."
    assert summary(20, 2, 5) == "18 of 20 read, in 5 requests. The device doesn't give the others."
