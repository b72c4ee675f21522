import csv
import io
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from actors.core.clock import to_iso
from actors.core.errors import UnreachableError
from actors.history.gaps import EVERY, GapKind
from api import tables
from api.tables import Format, wanted
from tests.api.conftest import Served

P, Q = "1001/analog-value-1", "1001/analog-value-2"
START = 1_761_426_000_000
"""2025-10-25T23:00:00+02:00, an hour before a day of 25 hours in Berlin."""
MINUTE = 60_000
HOUR = 60 * MINUTE
CSV = {"Accept": "text/csv"}
PARQUET = {"Accept": "application/vnd.apache.parquet"}


@pytest.fixture
def full(served: Served) -> Served:
    served.history.load(P, START + np.arange(3000) * MINUTE, np.arange(3000) / 10)
    served.history.load(Q, [START, START + 1, START + 2, START + 3], [True, "=1+1", None, 7], [0, 4, 20, 0])
    return served


def get(served: Served, path: str, accept: dict[str, str] | None = None, **params: Any) -> Any:
    answer = served.client.get(f"/api/history/{path}", params=params, headers=served.admin | (accept or {}))
    assert answer.status_code == 200, answer.text
    return answer.json() if accept is None else answer


def test_days_of_a_zone_have_as_many_hours_as_its_clock_says(full: Served) -> None:
    day = {"start": to_iso(START + HOUR), "end": to_iso(START + 26 * HOUR), "zone": "Europe/Berlin"}
    [found] = get(full, f"{P}/rollup", interval="day", **day)["items"]
    assert (found["count"], found["first"], found["last"]) == (25 * 60, 6.0, 155.9)
    assert (found["start"], found["end"]) == ("2025-10-25T22:00:00.000Z", "2025-10-26T23:00:00.000Z")
    assert found["time_weighted_avg"] == pytest.approx(found["avg"])
    assert len(get(full, P, interval="hour", **day)["items"]) == 25
    assert [each["count"] for each in get(full, P, interval=21600, **day)["items"]] == [
        360,
        360,
        360,
        360,
        60,
    ]
    for wrong in ({"zone": "Mars"}, {"interval": "fortnight"}, {"interval": 0.5}, {"interval": "nan"}):
        answer = full.client.get(f"/api/history/{P}/rollup", params=day | wrong, headers=full.admin)
        assert answer.status_code == 422, answer.text
        assert next(iter(wrong)) in answer.text


def test_a_range_comes_as_csv_in_pages(full: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.routers.history.PAGE", 700)
    answer = get(full, P, CSV, start=to_iso(START))
    assert answer.headers["content-type"].startswith("text/csv")
    assert 'filename="1001-analog-value-1.csv"' in answer.headers["content-disposition"]
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert rows[0] == ["id", "time", "value", "status"]
    assert [(row[1], row[2]) for row in rows[1:]] == [
        (to_iso(START + n * MINUTE), str(n / 10)) for n in range(3000)
    ]
    assert len(get(full, P, CSV, start=to_iso(START), limit=1000).text.splitlines()) == 1001
    last = get(full, P, CSV, limit=2).text.splitlines()
    assert [each.split(",")[2] for each in last[1:]] == ["299.8", "299.9"]
    other = list(csv.reader(io.StringIO(get(full, Q, CSV, start=to_iso(START)).text)))[1:]
    assert [row[2:] for row in other] == [["true", ""], ["=1+1", "fault"], ["", "fault down"], ["7", ""]]


def test_a_range_comes_as_parquet_with_types(full: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.routers.history.PAGE", 700)
    answer = get(full, P, PARQUET, start=to_iso(START))
    assert answer.headers["content-type"] == PARQUET["Accept"]
    table = pyarrow.parquet.read_table(io.BytesIO(answer.content))
    assert table.num_rows == 3000
    assert table["value"].to_pylist() == [n / 10 for n in range(3000)]
    assert [round(each.timestamp() * 1000) for each in table["time"].to_pylist()[:2]] == [
        START, START + MINUTE,
    ]  # fmt: skip
    body = {"ids": [Q, "nobody", P], "start": to_iso(START)}
    whole = full.client.post("/api/history/query", json=body, headers=full.admin | PARQUET)
    rows = pyarrow.parquet.read_table(io.BytesIO(whole.content)).to_pylist()
    assert len(rows) == 3004
    assert [(row["id"], row["value"], row["text"], row["status"]) for row in rows[:4]] == [
        (Q, 1.0, None, ""), (Q, None, "=1+1", "fault"), (Q, None, None, "fault down"), (Q, 7.0, None, ""),
    ]  # fmt: skip
    empty = full.client.post("/api/history/query", json={"ids": ["nobody"]}, headers=full.admin | PARQUET)
    assert pyarrow.parquet.read_table(io.BytesIO(empty.content)).num_rows == 0


def test_sums_come_as_files_too(full: Served) -> None:
    span = {"start": to_iso(START), "end": to_iso(START + 50 * HOUR), "interval": "day"}
    lines = get(full, P, CSV, **span).text.splitlines()
    assert lines[0].startswith("id,start,end,min,max,avg")
    assert len(lines) == 4
    body = {"ids": [P, Q, "nobody"], **span}
    answer = full.client.post("/api/history/query", json=body, headers=full.admin | PARQUET)
    table = pyarrow.parquet.read_table(io.BytesIO(answer.content))
    assert table["count"].to_pylist() == [180, 1440, 1380, 2]


def test_many_points_come_in_one_answer(full: Served) -> None:
    body = {"ids": [P, "nobody", Q], "limit": 2}
    items = full.client.post("/api/history/query", json=body, headers=full.admin).json()["items"]
    assert [each["id"] for each in items] == [P, "nobody", Q]
    assert [len(each["samples"]) for each in items] == [2, 0, 2]
    body |= {
        "interval": "day",
        "zone": "Asia/Kolkata",
        "start": to_iso(START),
        "end": to_iso(START + 50 * HOUR),
    }
    items = full.client.post("/api/history/query", json=body, headers=full.admin).json()["items"]
    assert [len(each["items"]) for each in items] == [3, 0, 1]
    wrong = full.client.post("/api/history/query", json=body | {"zone": "Mars"}, headers=full.admin)
    assert wrong.status_code == 422


def test_a_site_that_is_away_is_named(full: Served) -> None:
    class Away:
        def __getattr__(self, name: str) -> Any:
            raise UnreachableError("history_reader@north", "it is restarting")

    full.campus.sites["north"].engines["history_reader"] = Away()
    answer = full.client.post("/api/history/query", json={"ids": [P]}, headers=full.admin)
    assert answer.json() == {"items": [], "next_cursor": None, "unreachable_sites": ["north"]}
    for accept in ({}, CSV, PARQUET):
        answer = full.client.get(f"/api/history/{P}", headers=full.admin | accept)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "site_unreachable")


def test_gaps_say_what_happened_and_why(full: Served) -> None:
    full.history.note_gap(P, START + 100, START + 200, GapKind.LOST, "device down")
    full.history.note_gap(EVERY, START + 5 * MINUTE, START + 9 * MINUTE, GapKind.LOST, "host off")
    one, two = get(full, f"{P}/gaps")["items"]
    assert one == {
        "start": to_iso(START + 100), "end": to_iso(START + 200), "kind": "lost", "reason": "device down",
        "every_point": False, "samples": 0,
    }  # fmt: skip
    assert (two["kind"], two["reason"], two["every_point"], two["samples"]) == ("late", "host off", True, 3)
    assert get(full, f"{P}/gaps", end=to_iso(START + 50))["items"] == []
    answer = full.client.get("/api/history/nowhere/gaps", headers=full.admin)
    assert answer.status_code == 404


def test_how_a_point_is_recorded_is_changed_by_those_who_may_and_audited(full: Served) -> None:
    assert get(full, f"{P}/config")["mode"] == "every"
    body = {"mode": "interval", "interval": 900, "retention": 400}
    viewer = full.login("vera", "viewer")
    assert full.client.put(f"/api/history/{P}/config", json=body, headers=viewer).status_code == 403
    assert full.client.put(f"/api/history/{P}/config", json=body).status_code == 401
    assert full.client.put("/api/history/nowhere/config", json=body, headers=full.admin).status_code == 404
    for wrong in ({"mode": "interval"}, body | {"interval": 0}, body | {"retention": 0}, {"mode": "never"}):
        answer = full.client.put(f"/api/history/{P}/config", json=wrong, headers=full.admin)
        assert answer.status_code == 422
    made = full.client.put(f"/api/history/{P}/config", json=body, headers=full.admin).json()
    assert made == {"id": P, "increment": 0.0, "default_retention": 3653.0, **body}
    assert get(full, f"{P}/config") == made
    [entry] = full.client.get("/api/audit", params={"target": f"point:{P}"}, headers=full.admin).json()[
        "items"
    ]
    assert (entry["action"], entry["detail"]["interval"]) == ("configure_history", 900)


def test_the_default_retention_is_told_changed_and_audited(full: Served) -> None:
    assert get(full, "retention")["items"] == [{"site": "north", "days": 3653.0}]
    answer = full.client.put("/api/history/retention", json={"days": None}, headers=full.admin)
    assert answer.json() == {"days": None}
    assert get(full, "retention")["items"] == [{"site": "north", "days": None}]
    viewer = full.login("vera", "viewer")
    assert full.client.put("/api/history/retention", json={"days": 9}, headers=viewer).status_code == 403
    assert full.client.put("/api/history/retention", json={"days": 0}, headers=full.admin).status_code == 422


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Format.JSON),
        ("*/*", Format.JSON),
        ("text/csv", Format.CSV),
        ("text/*;q=0.5, application/json;q=0.4", Format.CSV),
        ("text/csv;q=0.1, application/vnd.apache.parquet", Format.PARQUET),
        ("image/png, text/csv;q=nonsense", Format.JSON),
    ],
)
def test_what_is_accepted_decides_the_format(accept: str, expected: Format) -> None:
    class Asked:
        headers = {"accept": accept}  # noqa: RUF012

    assert wanted(Asked()) is expected  # type: ignore[arg-type]


def test_a_large_file_goes_by_the_disk(full: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_IN_MEMORY", 1_000)
    monkeypatch.setattr(tables, "_BLOCK", 1_000)
    answer = get(full, P, PARQUET, start=to_iso(START))
    assert pyarrow.parquet.read_table(io.BytesIO(answer.content)).num_rows == 3000
