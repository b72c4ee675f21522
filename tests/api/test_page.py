"""What the page decides by itself, without a browser; the rest is in tests/browser."""

import asyncio
from datetime import date
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from nicegui import Client, core, ui
from nicegui.page import page

from actors.schedule.models import DatePattern, DateRange, WeekNDay
from api.web.alarms import urgency
from api.web.bacnet import changes_words, device_link, lines_of, request_of, route_of
from api.web.days import CHOICES, SHOWN, CalendarEditor, period_of, row_of
from api.web.model import Model
from api.web.pages import comfort, device_of, device_row, device_words, host_rows
from api.web.registers import cells, summary
from api.web.session import ApiError, Session, point_path, site_of
from api.web.times import value_of
from api.web.trends import bands, options_of
from api.web.week import week_of
from api.web.words import kind_of


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
        "clock_skew_s": 1.9,
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
        "clock_skew_s": -90.0,
    }
    assert host_rows([here, away], 70_000) == [
        ("head-1", "online", "head at 10.0.0.1, version 0.1.0"),
        (
            "box-7",
            "down",
            "north, south at an unknown address, version unknown, clock 90.0 s behind the head's,"
            " heard 1 min ago: no answer",
        ),
    ]


class Lists:
    """A session of which only lists are asked."""

    def __init__(self, sites: dict[str, bool]) -> None:
        self.sites = sites

    async def all(self, path: str, **params: Any) -> list[dict[str, Any]]:
        if path == "/api/sites":
            return [
                {"id": each, "name": f"{each} Building", "reachable": there}
                for each, there in self.sites.items()
            ]
        there = [each for each, there in self.sites.items() if there]
        if path == "/api/points":
            return [
                {"id": "1001/temp", "site": each, "parent": "1001", "dis": f"Temp of {each}", "value": 1.0}
                for each in there
            ]
        kind = params["type"]
        if kind == "Space":
            return []
        is_site = kind == "Site"
        return [
            {
                "id": each if is_site else "1001",
                "site": each,
                "node_type": kind,
                "parent_id": None if is_site else each,
                "dis": f"{each} Building" if is_site else f"AHU of {each}",
            }
            for each in there
        ]


async def loaded(model: Model, **sites: bool) -> Model:
    await model.load(Lists(sites))  # type: ignore[arg-type]
    return model


async def test_buildings_that_number_alike_are_both_in_the_tree() -> None:
    model = await loaded(Model(), north=True, south=True)
    assert model.roots == ["north@north", "south@south"]
    assert model.children["south@south"] == ["1001@south"]
    assert (model.name("1001@north"), model.name("1001@south")) == ("AHU of north", "AHU of south")
    assert [each["id"] for each in model.points_of("1001@south")] == ["1001/temp@south"]
    assert model.equipment_of("1001/new@south") == "1001@south"
    model.take([{"id": "1001/temp", "site": "south", "parent": "1001", "value": 2.0}])
    assert (model.points["1001/temp@north"]["value"], model.points["1001/temp@south"]["value"]) == (1.0, 2.0)
    assert model.name("9/x@south") == "9/x"


async def test_a_device_is_told_with_its_building_where_there_are_several() -> None:
    device = {
        "device_key": "1001",
        "site": "south",
        "protocol": "bacnet",
        "address": "10.0.0.9",
        "points": 2,
        "state": "down",
        "last_seen": None,
        "last_error": "silent",
        "answer_ms": None,
        "errors": 0,
    }
    model = await loaded(Model(), north=True, south=True)
    told = "bacnet 10.0.0.9, 2 points, heard never: silent"
    assert device_row(model, device, 0) == ("AHU of south (1001)", "down", f"south: {told}")
    model = await loaded(Model(), south=True)
    assert device_row(model, device, 0) == ("AHU of south (1001)", "down", told)


async def test_one_building_is_named_by_ids_alone() -> None:
    model = await loaded(Model(), north=True)
    assert (model.roots, list(model.points)) == (["north"], ["1001/temp"])


async def test_a_building_that_is_away_stays_in_the_tree() -> None:
    model = await loaded(await loaded(Model(), north=True, south=True), north=True, south=False)
    assert model.away == {"south"}
    assert model.children["south@south"] == ["1001@south"], "what was known before is kept"
    assert "1001/temp@south" in model.points
    fresh = await loaded(Model(), north=True, south=False)
    assert fresh.roots == ["north@north", "south@south"]
    assert fresh.name("south@south") == "south Building"
    assert fresh.points_of("1001@south") == []


def test_a_key_gives_the_route() -> None:
    assert [site_of(each) for each in ("1001/temp", "1001/temp@south")] == [None, "south"]
    assert point_path("1001/temp", "/write") == "/api/points/1001%2Ftemp/write"
    assert (
        point_path("1001/temp@south", "/gaps", "/api/history") == "/api/history/1001%2Ftemp/gaps?site=south"
    )


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


def test_a_devices_schedule_is_told_in_lines() -> None:
    found = {
        "default_value": None,
        "week": [
            {"weekday": 1, "time": "07:00", "value": 21.0},
            {"weekday": 1, "time": "18:00", "value": None},
        ],
        "exceptions": [
            {"priority": 3, "calendar": "calendar,1", "period": None, "entries": []},
            {
                "priority": 10,
                "calendar": None,
                "period": {"kind": "date", "year": None, "month": 12, "day": 25},
                "entries": [{"time": "00:00", "value": False}],
            },
        ],
    }
    assert lines_of(found) == [
        "Otherwise no value",
        "Monday: 07:00 21.0, 18:00 no value",
        "Priority 3, calendar,1: as otherwise",
        "Priority 10, month 12, day 25: 00:00 False",
    ]
    assert lines_of({"days": []}) == ["no days"]
    assert lines_of({"days": [{"kind": "date", "month": None}]}) == ["every day"]


def test_a_device_is_asked_by_the_right_routes() -> None:
    assert request_of("coldstart", "") == ("restart", {"how": "coldstart"})
    silent = {"speech": "disable-initiation", "minutes": 15, "password": "x"}
    assert request_of("disable-initiation", "x") == ("communication", silent)
    assert request_of("enable", "") == ("communication", {"speech": "enable"})
    assert route_of("schedule,12") == "schedules/12"
    assert device_link("room/1", "north") == "/device?key=room%2F1&site=north"
    assert changes_words(0, 0) == "it has no points"
    assert changes_words(3, 1) == "2 of 3 points told by the device, 1 polled"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
async def test_what_is_no_json_is_refused_in_words(value: object) -> None:
    session = Session(FastAPI(), "token")
    with pytest.raises(ApiError, match="That can't be sent") as refused:
        await session.put("/api/anything", {"value": value})
    assert (refused.value.status, refused.value.is_away, session.away) == (422, False, None)
    await session.close()


def test_a_week_is_what_its_rows_say_in_order() -> None:
    days: list[list[dict[str, Any]]] = [[] for _ in range(7)]
    days[0] = [{"time": "18:00:00", "value": None}, {"time": "07:30", "value": 21}]
    days[6] = [{"time": "09:00:15", "value": "19.5"}]
    assert week_of("analog", days) == [
        {"weekday": 1, "time": "07:30", "value": 21.0},
        {"weekday": 1, "time": "18:00", "value": None},
        {"weekday": 7, "time": "09:00:15", "value": 19.5},
    ]


@pytest.mark.parametrize(
    ("kind", "rows", "says"),
    [
        (
            "analog",
            [{"time": "", "value": 1}],
            "Tuesday: a row without a time; expected a time such as 07:30",
        ),
        ("analog", [{"time": "24:00", "value": 1}], "Tuesday: 24:00; expected a time"),
        ("analog", [{"time": "7:00", "value": 1}], "Tuesday: 7:00; expected a time"),
        ("analog", [{"time": "07:00", "value": 1}, {"time": "07:00:00", "value": 2}], "07:00 is there twice"),
        (
            "analog",
            [{"time": "07:00", "value": float("inf")}],
            "Tuesday 07:00: inf is not valid; expected a number",
        ),
        (
            "multistate",
            [{"time": "07:00", "value": 0}],
            "Tuesday 07:00: 0 is not valid; expected a state from 1",
        ),
        ("multistate", [{"time": "07:00", "value": 1.5}], "1.5 is not valid"),
    ],
)
def test_a_week_that_can_not_be_is_refused_with_its_day(
    kind: str, rows: list[dict[str, Any]], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        week_of(kind, [[], rows, [], [], [], [], []])


@pytest.mark.parametrize(
    ("point", "kind"),
    [
        ({"id": "1101/date-value-1", "value": None}, "text"),
        ({"id": "1101/datetime-pattern-value-1"}, "text"),
        ({"id": "1101/characterstring-value-1", "value": "on"}, "text"),
        ({"id": "1101/analog-value-1", "value": None}, "analog"),
        ({"id": "1101/binary-value-1", "value": None}, "binary"),
        ({"id": "1101/multi-state-value-1", "value": None}, "multistate"),
    ],
)
def test_a_point_without_a_value_is_entered_as_its_object_says(point: dict[str, Any], kind: str) -> None:
    assert kind_of(point) == kind


PERIODS = st.one_of(
    st.builds(
        DatePattern,
        year=st.none() | st.integers(1900, 2154),
        month=st.none() | st.integers(1, 12) | st.sampled_from(["odd", "even"]),
        day=st.none() | st.integers(1, 31) | st.sampled_from(["odd", "even", "last"]),
        weekday=st.none() | st.integers(1, 7),
    ),
    st.builds(DateRange, start=st.dates(max_value=date(2000, 1, 1)) | st.none(), end=st.none()),
    st.builds(DateRange, start=st.none(), end=st.dates() | st.none()),
    st.builds(
        WeekNDay,
        month=st.none() | st.integers(1, 12) | st.sampled_from(["odd", "even"]),
        week=st.none()
        | st.integers(1, 5)
        | st.sampled_from(["last", "second_last", "third_last", "fourth_last"]),
        weekday=st.none() | st.integers(1, 7),
    ),
)


@given(PERIODS)
def test_a_period_is_shown_in_fields_and_comes_back(period: DatePattern | DateRange | WeekNDay) -> None:
    sent = period.model_dump(mode="json")
    row = row_of(sent)
    assert all(row[part] in CHOICES[part] for part in row if part in CHOICES)
    assert period_of("Days 1", row) == (sent, None)


def test_a_calendar_is_shown_in_a_field_and_comes_back() -> None:
    assert period_of("Exception 1", row_of(None, "calendar,3")) == (None, "calendar,3")
    with pytest.raises(ValueError, match="Exception 1: no calendar"):
        period_of("Exception 1", row_of(None))


async def test_of_many_days_some_are_shown_at_once_and_all_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core, "loop", asyncio.get_running_loop())
    written: list[list[dict[str, Any]]] = []

    async def save(days: list[dict[str, Any]]) -> None:
        written.append(days)

    days = [
        {"kind": "date", "year": 1900 + n, "month": 1, "day": 1, "weekday": None} for n in range(2 * SHOWN)
    ]
    client = Client(page("/days"))
    with client:
        editor = CalendarEditor(days, save)

        def shown() -> list[str]:
            found = [each for each in client.elements.values() if isinstance(each, ui.label)]
            return [each.text for each in found if each.text.startswith("Days ")]

        assert shown() == [f"Days {n}" for n in range(1, SHOWN + 1)]
        editor._add()
        assert shown() == [f"Days {2 * SHOWN + 1}"]
        editor._remove(editor.rows[-1])
        assert shown() == [f"Days {n}" for n in range(SHOWN + 1, 2 * SHOWN + 1)]
        editor.turn(0)
        editor.rows[0]["year"] = 2000
        editor._remove(editor.rows[1])
        await editor.save()
    client.delete()
    assert written == [[days[0] | {"year": 2000}, *days[2:]]]


@pytest.mark.parametrize("year", [1899, 2155, 2026.5, float("inf"), float("nan")])
def test_a_year_that_can_not_be_is_refused_with_its_row(year: float) -> None:
    with pytest.raises(ValueError, match=r"Days 3: year .* is not valid; expected 1900 to 2154"):
        period_of("Days 3", row_of({"kind": "date"}) | {"year": year})


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("analog", 21, 21.0),
        ("analog", "", None),
        ("analog", None, None),
        ("binary", "true", True),
        ("binary", False, False),
        ("binary", "none", None),
        ("multistate", 2.0, 2),
    ],
)
def test_a_value_is_entered_by_the_kind_of_its_schedule(kind: str, given: Any, value: Any) -> None:
    found = value_of(kind, given)
    assert (found, type(found)) == (value, type(value))


def test_equipment_leads_to_the_bacnet_device_that_it_is_or_is_a_part_of() -> None:
    devices = [{"device_key": "1001", "protocol": "bacnet"}, {"device_key": "meter", "protocol": "modbus"}]
    assert device_of({"id": "1001", "properties": {}}, devices) == "1001"
    assert device_of({"id": "1001:vav-3", "properties": {"device": "1001"}}, devices) == "1001"
    assert device_of({"id": "meter", "properties": {}}, devices) is None
    assert device_of({"id": "floor"}, devices) is None
