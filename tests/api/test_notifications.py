"""Notifications over HTTP."""

import pytest

from actors.notification.models import NewNotice
from tests.api.conftest import Served

ANA = {"name": "Ana", "kind": "email", "address": "ana@example.org"}
RULE = {"name": "Critical", "severities": ["critical"], "tiers": [{"after_seconds": 0, "recipients": [1]}]}
SHELVING = {"node_id": "1001", "reason": "filter change", "duration": 600}


def test_recipients_rules_shelvings_and_the_log(served: Served) -> None:
    client, admin = served.client, served.admin
    base = "/api/notifications"
    ana = client.post(f"{base}/recipients", json=ANA, headers=admin)
    assert ana.status_code == 201
    assert client.get(f"{base}/recipients/1", headers=admin).json() == ana.json()
    changed = client.put(f"{base}/recipients/1", json=ANA | {"zone": "Europe/Vienna"}, headers=admin)
    assert changed.json()["zone"] == "Europe/Vienna"
    made = client.post(f"{base}/rules", json=RULE, headers=admin)
    assert made.status_code == 201
    assert client.get(f"{base}/rules/1", headers=admin).json() == made.json()
    assert client.put(f"{base}/rules/1", json=RULE | {"stop": True}, headers=admin).json()["stop"] is True
    assert client.delete(f"{base}/recipients/1", headers=admin).status_code == 409
    for what in ("recipients", "rules"):
        assert len(client.get(f"{base}/{what}", headers=admin).json()["items"]) == 1
    shelved = client.post(f"{base}/shelvings", json=SHELVING, headers=admin)
    assert (shelved.status_code, shelved.json()["shelved_by"]) == (201, "ana")
    assert client.get(f"{base}/shelvings", headers=admin).json()["items"] == [shelved.json()]
    assert client.delete(f"{base}/shelvings/1", headers=admin).status_code == 204
    assert client.delete(f"{base}/shelvings/1", headers=admin).status_code == 404
    served.campus.stores["notifications"].target.queue(
        [
            NewNotice(
                key="k", site="north", alarm_id=7, rule_id=1, tier=1, recipient_id=1, subject="hot", due_at=0
            )
        ]
    )
    [logged] = client.get(f"{base}/log?alarm_id=7&state=queued", headers=admin).json()["items"]
    assert (logged["recipient_name"], logged["address"]) == ("Ana", "ana@example.org")
    assert client.get(f"{base}/log?site=south", headers=admin).json()["items"] == []
    assert client.delete(f"{base}/rules/1", headers=admin).status_code == 204
    assert client.delete(f"{base}/recipients/1", headers=admin).status_code == 204
    assert client.get(f"{base}/rules/1", headers=admin).status_code == 404
    actions = {each["action"] for each in client.get("/api/audit", headers=admin).json()["items"]}
    assert actions >= {
        "create_recipient",
        "update_recipient",
        "delete_recipient",
        "create_routing_rule",
        "update_routing_rule",
        "delete_routing_rule",
        "shelve_alarms",
        "unshelve_alarms",
    }


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("recipients", ANA | {"kind": "pigeon"}, "kind"),
        ("recipients", ANA | {"zone": "Mars/Base"}, "zone"),
        ("rules", RULE | {"tiers": []}, "tiers"),
        ("rules", RULE, "tiers.0.recipients"),
        ("shelvings", SHELVING | {"duration": 1}, "duration"),
    ],
)
def test_bad_input_is_refused_by_field(
    served: Served, path: str, body: dict[str, object], field: str
) -> None:
    answer = served.client.post(f"/api/notifications/{path}", json=body, headers=served.admin)
    assert (answer.status_code, answer.json()["error"]["detail"][0]["field"]) == (422, field)


def test_an_address_is_of_its_kind_and_viewers_only_read(served: Served) -> None:
    client, admin = served.client, served.admin
    wrong = client.post("/api/notifications/recipients", json=ANA | {"address": "nobody"}, headers=admin)
    assert wrong.status_code == 422
    assert "an email address" in wrong.text
    viewer = served.login("vic", "viewer")
    for path, body in (("recipients", ANA), ("rules", RULE), ("shelvings", SHELVING)):
        assert client.get(f"/api/notifications/{path}", headers=viewer).status_code == 200
        assert client.post(f"/api/notifications/{path}", json=body, headers=viewer).status_code == 403
        assert client.get(f"/api/notifications/{path}").status_code == 401
