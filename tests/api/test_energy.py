import csv
import io
from typing import Any

import pytest

from actors.energy.models import NewRollup, Period
from tests.api.conftest import Served

METERS = "/api/energy/meters"
RATES = "/api/energy/rates"
BASELINES = "/api/energy/baselines"
DAY = 86_400_000
START = 20_454 * DAY
METER = {"name": "Main", "node_id": "1001/analog-value-2", "rollover": 100000}
RATE = {
    "name": "City",
    "currency": "EUR",
    "tariff": {
        "kind": "time_of_use",
        "zone": "Europe/Vienna",
        "periods": [{"start": "08:00", "end": "20:00", "price": "0.30"}],
        "otherwise": 0.2,
    },
}
BASELINE = {
    "meter_id": 1,
    "name": "2025",
    "base_temperature": 15.5,
    "start": "2025-01-01T00:00:00Z",
    "end": "2026-01-01T00:00:00Z",
    "observations": [{"degree_days": x, "consumption": 100 + 2 * x} for x in (10, 20, 30)],
}


def call(served: Served, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    answer = served.client.request(method, path, json=body, headers=served.admin)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def actions(served: Served, target: str) -> list[str]:
    items = call(served, "GET", f"/api/audit?target={target}")["items"]
    return [each["action"] for each in items]


def with_days(served: Served, days: int = 3) -> None:
    call(served, "POST", METERS, METER, 201)
    served.campus.sites["north"].stores["energy"].target.put_rollups(
        [
            NewRollup(
                meter_id=1,
                period=Period.DAY,
                start=START + n * DAY,
                end=START + (n + 1) * DAY,
                consumption=10.5,
                cost="2.10",  # type: ignore[arg-type]
                currency="EUR",
                final=True,
            )
            for n in range(days)
        ]
    )


def test_rates_keep_their_prices_exactly(served: Served) -> None:
    made = call(served, "POST", RATES, RATE, 201)
    assert (made["site"], made["unit"], made["tariff"]["otherwise"]) == ("north", "kWh", "0.2")
    call(served, "POST", RATES, RATE, 409)
    one = f"{RATES}/{made['id']}"
    assert call(served, "GET", one) == made
    flat = {"name": "Flat", "currency": "EUR", "tariff": {"kind": "flat", "price": "0.123456"}}
    second = call(served, "POST", RATES, flat, 201)
    assert [each["id"] for each in call(served, "GET", f"{RATES}?kind=flat")["items"]] == [second["id"]]
    page = call(served, "GET", f"{RATES}?limit=1")
    rest = call(served, "GET", f"{RATES}?cursor={page['next_cursor']}")
    assert [each["name"] for each in page["items"] + rest["items"]] == ["City", "Flat"]
    assert call(served, "PUT", one, RATE | {"currency": "CHF"})["currency"] == "CHF"
    call(served, "POST", METERS, METER | {"rate_id": made["id"]}, 201)
    call(served, "DELETE", one, status=409)
    call(served, "DELETE", f"{RATES}/{second['id']}", status=204)
    call(served, "GET", f"{RATES}/{second['id']}", status=404)
    assert actions(served, f"rate:{second['id']}") == ["delete_rate", "create_rate"]
    assert actions(served, f"rate:{made['id']}") == ["update_rate", "create_rate"]


def test_meters_are_made_changed_listed_and_deleted(served: Served) -> None:
    made = call(served, "POST", METERS, METER, 201)
    assert (made["reading"], made["multiplier"], made["site"]) == ("counter", 1.0, "north")
    call(served, "POST", METERS, METER, 409)
    one = f"{METERS}/{made['id']}"
    sub = call(served, "POST", METERS, METER | {"name": "Floor", "parent_id": made["id"]}, 201)
    found = call(served, "GET", f"{METERS}?parent_id={made['id']}")["items"]
    assert [each["id"] for each in found] == [sub["id"]]
    assert call(served, "GET", f"{METERS}?kind=gas")["items"] == []
    page = call(served, "GET", f"{METERS}?limit=1")
    rest = call(served, "GET", f"{METERS}?cursor={page['next_cursor']}")
    assert [each["id"] for each in page["items"] + rest["items"]] == [made["id"], sub["id"]]
    circle = call(served, "PUT", one, METER | {"parent_id": sub["id"]}, 422)
    assert circle["error"]["detail"][0]["field"] == "parent_id"
    call(served, "PUT", one, METER | {"node_id": "nowhere"}, 404)
    assert call(served, "PUT", one, METER | {"multiplier": 0.1})["multiplier"] == 0.1
    call(served, "DELETE", one, status=409)
    call(served, "DELETE", f"{METERS}/{sub['id']}", status=204)
    call(served, "DELETE", one, status=204)
    call(served, "GET", one, status=404)
    assert actions(served, f"meter:{made['id']}") == ["delete_meter", "update_meter", "create_meter"]


def test_baselines_are_computed_and_judged(served: Served) -> None:
    call(served, "POST", METERS, METER, 201)
    made = call(served, "POST", BASELINES, BASELINE, 201)
    assert (round(made["slope"], 6), round(made["intercept"], 6)) == (2.0, 100.0)
    assert (made["acceptable"], made["n"], made["interval"]) == (True, 3, "monthly")
    call(served, "POST", BASELINES, BASELINE, 409)
    one = f"{BASELINES}/{made['id']}"
    assert call(served, "GET", one) == made
    assert call(served, "GET", f"{one}/observations") == [
        {"degree_days": float(x), "consumption": float(100 + 2 * x)} for x in (10, 20, 30)
    ]
    assert call(served, "PUT", one, BASELINE | {"name": "old"})["name"] == "old"
    assert [each["name"] for each in call(served, "GET", f"{BASELINES}?meter_id=1")["items"]] == ["old"]
    assert call(served, "GET", f"{BASELINES}?meter_id=2")["items"] == []
    same = [{"degree_days": 5, "consumption": 5}] * 3
    refused = call(served, "PUT", one, BASELINE | {"observations": same}, 422)
    assert refused["error"]["detail"][0]["field"] == "observations"
    call(served, "DELETE", one, status=204)
    call(served, "GET", one, status=404)
    assert actions(served, f"baseline:{made['id']}") == [
        "delete_baseline",
        "update_baseline",
        "create_baseline",
    ]


def test_consumption_is_listed_summed_up_and_exported(served: Served) -> None:
    with_days(served)
    path = "/api/energy/consumption"
    page = call(served, "GET", f"{path}?limit=2")
    rest = call(served, "GET", f"{path}?cursor={page['next_cursor']}")
    days = page["items"] + rest["items"]
    assert [(each["consumption"], each["cost"], each["site"]) for each in days] == [
        (10.5, "2.10", "north")
    ] * 3
    assert days[0]["start"] == "2026-01-01T00:00:00.000Z"
    times = "start=2026-01-02T00:00:00Z&end=2026-01-03T00:00:00Z"
    assert len(call(served, "GET", f"{path}?{times}")["items"]) == 1
    for query in ("period=month", "kind=gas", "meter_id=2"):
        assert call(served, "GET", f"{path}?{query}")["items"] == []
    summary = call(served, "GET", "/api/energy/summary")
    assert summary == {
        "totals": [{"kind": "electric", "unit": "kWh", "meters": 1, "consumption": 31.5}],
        "costs": {"EUR": "6.30"},
        "partial": False,
        "unreachable_sites": [],
    }
    assert call(served, "GET", f"/api/energy/summary?{times}")["costs"] == {"EUR": "2.10"}
    answer = served.client.get(f"/api/energy/export?{times}", headers=served.admin)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "energy-day.csv" in answer.headers["content-disposition"]
    [row] = csv.DictReader(io.StringIO(answer.text))
    assert (row["meter"], row["consumption"], row["cost"], row["currency"]) == ("Main", "10.5", "2.10", "EUR")


def test_who_may_not_is_refused(served: Served) -> None:
    with_days(served)
    call(served, "POST", RATES, RATE, 201)
    call(served, "POST", BASELINES, BASELINE, 201)
    viewer = served.login("vic", "viewer")
    assert served.client.get("/api/energy/summary", headers=viewer).status_code == 200
    for method, path, body in (
        ("POST", METERS, METER),
        ("PUT", f"{METERS}/1", METER),
        ("DELETE", f"{METERS}/1", None),
        ("POST", RATES, RATE),
        ("PUT", f"{RATES}/1", RATE),
        ("DELETE", f"{RATES}/1", None),
        ("POST", BASELINES, BASELINE),
        ("PUT", f"{BASELINES}/1", BASELINE),
        ("DELETE", f"{BASELINES}/1", None),
    ):
        answer = served.client.request(method, path, json=body, headers=viewer)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), path
        served.client.cookies.clear()
        assert served.client.request(method, path, json=body).status_code == 401
    served.client.cookies.clear()
    assert served.client.get("/api/energy/export").status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (METERS, METER | {"rollover": -1}, "rollover"),
        (METERS, METER | {"kind": "magic"}, "kind"),
        (METERS, METER | {"rate_id": 9}, "rate_id"),
        (METERS, METER | {"parent_id": 9}, "parent_id"),
        (RATES, RATE | {"currency": "euro"}, "currency"),
        (RATES, RATE | {"tariff": {"kind": "flat", "price": -1}}, "tariff.flat.price"),
        (RATES, RATE | {"tariff": {"kind": "flat", "price": 1, "zone": "Mars"}}, "tariff.flat.zone"),
        (BASELINES, BASELINE | {"observations": []}, "observations"),
        (BASELINES, BASELINE | {"start": "2027-01-01"}, "start"),
    ],
)
def test_bad_input_names_the_field(served: Served, path: str, body: Any, field: str) -> None:
    call(served, "POST", METERS, METER | {"name": "first"}, 201)
    answer = call(served, "POST", path, body, 422)
    assert answer["error"]["detail"][0]["field"] == field


def test_what_is_not_there_is_not_found(served: Served) -> None:
    for method, path, body in (
        ("POST", METERS, METER | {"node_id": "nowhere"}),
        ("GET", f"{METERS}/9", None),
        ("PUT", f"{METERS}/9", METER),
        ("DELETE", f"{METERS}/9", None),
        ("PUT", f"{RATES}/9", RATE),
        ("DELETE", f"{RATES}/9", None),
        ("PUT", f"{BASELINES}/9", BASELINE),
        ("GET", f"{BASELINES}/9/observations", None),
        ("GET", "/api/energy/export?site=south", None),
    ):
        answer = call(served, method, path, body, 404)
        assert answer["error"]["code"] == "not_found", path
