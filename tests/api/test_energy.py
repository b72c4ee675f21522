"""Energy over HTTP."""

import pytest

from actors.energy.models import NewRollup
from tests.api.conftest import Served

POINT = "1001/analog-value-2"
RATE = {"name": "Grid", "currency": "EUR", "tariff": {"kind": "flat", "price": "0.25"}}
METER = {"name": "Main", "node_id": POINT}
OBSERVED = [{"degree_days": x, "consumption": 100 + 3 * x} for x in (50, 200, 350)]
BASELINE = {
    "meter_id": 1,
    "name": "2025",
    "base_temperature": 15.5,
    "start": "2025-01-01T00:00:00Z",
    "end": "2026-01-01T00:00:00Z",
    "observations": OBSERVED,
}


def test_rates_meters_and_baselines_from_start_to_end(served: Served) -> None:
    client, admin = served.client, served.admin
    for what, body, change in (
        ("rates", RATE, {"currency": "CHF"}),
        ("meters", METER, {"multiplier": 0.1}),
        ("baselines", BASELINE, {"base_temperature": 16.0}),
    ):
        made = client.post(f"/api/energy/{what}", json=body, headers=admin)
        assert made.status_code == 201, made.text
        path = f"/api/energy/{what}/{made.json()['id']}"
        assert client.get(path, headers=admin).json()["name"] == body["name"]
        changed = client.put(path, json=body | change, headers=admin)
        assert changed.status_code == 200, changed.text
        assert {key: changed.json()[key] for key in change} == change
        assert client.post(f"/api/energy/{what}", json=body, headers=admin).status_code == 409
        assert len(client.get(f"/api/energy/{what}", headers=admin).json()["items"]) == 1
    assert client.get("/api/energy/baselines/1", headers=admin).json()["slope"] == pytest.approx(3.0)
    for what in ("baselines", "meters", "rates"):
        assert client.delete(f"/api/energy/{what}/1", headers=admin).status_code == 204
        assert client.get(f"/api/energy/{what}/1", headers=admin).status_code == 404
    actions = {each["action"] for each in client.get("/api/audit", headers=admin).json()["items"]}
    assert actions >= {
        f"{verb}_{what}" for verb in ("create", "update", "delete") for what in ("rate", "meter", "baseline")
    }


def test_consumption_summary_and_export(served: Served) -> None:
    client, admin = served.client, served.admin
    client.post("/api/energy/meters", json=METER, headers=admin)
    store = served.campus.sites["north"].stores["energy"].target
    day = 86_400_000
    store.put_rollups(
        [
            NewRollup.model_validate(
                {
                    "meter_id": 1,
                    "period": "day",
                    "start": n * day,
                    "end": (n + 1) * day,
                    "consumption": 10.0 + n,
                    "final": True,
                    "cost": "2.50",
                    "currency": "EUR",
                }
            )
            for n in range(3)
        ]
    )
    items = client.get("/api/energy/consumption", headers=admin).json()["items"]
    assert [each["consumption"] for each in items] == [10.0, 11.0, 12.0]
    summary = client.get("/api/energy/summary", headers=admin).json()
    assert summary["totals"][0]["consumption"] == 33.0
    assert float(summary["costs"]["EUR"]) == 7.5
    export = client.get("/api/energy/export", headers=admin)
    assert export.headers["content-type"].startswith("text/csv")
    assert len(export.text.splitlines()) == 4


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("rates", RATE | {"currency": "euro"}, "currency"),
        ("meters", METER | {"multiplier": 0}, "multiplier"),
        ("meters", METER | {"rate_id": 9}, "rate_id"),
        ("baselines", BASELINE | {"observations": OBSERVED[:1]}, "observations"),
    ],
)
def test_bad_input_is_refused_by_field(
    served: Served, path: str, body: dict[str, object], field: str
) -> None:
    served.client.post("/api/energy/meters", json=METER, headers=served.admin)
    answer = served.client.post(f"/api/energy/{path}", json=body, headers=served.admin)
    assert (answer.status_code, answer.json()["error"]["detail"][0]["field"]) == (422, field), answer.text


def test_viewers_only_read(served: Served) -> None:
    viewer = served.login("vic", "viewer")
    for what, body in (("rates", RATE), ("meters", METER), ("baselines", BASELINE)):
        assert served.client.get(f"/api/energy/{what}", headers=viewer).status_code == 200
        assert served.client.post(f"/api/energy/{what}", json=body, headers=viewer).status_code == 403
        assert served.client.get(f"/api/energy/{what}").status_code == 401
