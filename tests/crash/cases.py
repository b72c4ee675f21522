"""For every store: how record number n is made and deleted, and which records a file holds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.alarm.models import LimitCondition, NewAlarmConfig
from actors.alarm.store import AlarmStore
from actors.audit.store import AuditStore
from actors.bus.journal import Entry, JournalStore
from actors.commissioning.models import NewSession
from actors.core.store import Store
from actors.discovery.models import FoundDevice
from actors.energy.models import NewMeter
from actors.entity.models import NewEntity
from actors.export.models import NewTarget
from actors.fdd.models import NewRule as NewFddRule
from actors.history.store import HistoryStore
from actors.mqtt.models import NewBroker
from actors.node.models import Node, NodeCapabilities, NodeType
from actors.node.store import NodeStore
from actors.notification.models import NewRecipient
from actors.override.store import OverrideStore
from actors.point.models import empty_frame
from actors.program.models import NewProgram
from actors.report.models import NewReport, TemplateName
from actors.schedule.models import NewSchedule
from actors.user.models import NewUser
from actors.user.store import UserStore
from actors.webhook.models import NewEndpoint
from api.stores import CAMPUS_STORES, SITE_STORES

START = 1_700_000_000_000


@dataclass(frozen=True)
class Case:
    """One store under test. `found` gives the numbers of the records that it holds."""

    plain: Callable[..., Store]
    make: Callable[[Any, int], object]
    found: Callable[[Any], set[int]]
    drop: Callable[[Any, int], object] | None = None
    """None: the store deletes nothing, such as the audit log."""
    event: str | None = None
    """The event that making a record publishes."""


def _numbers(store: Store, sql: str) -> set[int]:
    return {int(row["n"]) for row in store.all(sql)}


def _named(table: str, column: str = "name") -> Callable[[Store], set[int]]:
    return lambda store: _numbers(store, f"SELECT substr({column}, 2) AS n FROM {table}")


def _drop_named(method: str, table: str) -> Callable[[Any, int], object]:
    def drop(store: Any, number: int) -> object:
        row = store.one(f"SELECT id FROM {table} WHERE name = ?", f"r{number}")
        return getattr(store, method)(row["id"])

    return drop


def _override(store: Any, number: int) -> object:
    return store.put(f"p{number}", 8, number, "ana")


def _frame(store: Any, number: int) -> object:
    frame = empty_frame()
    for point in range(10):
        frame.add(f"p{point}", float(number), START + number * 1000)
    return store.append(frame.encode())


def _samples(store: Any) -> set[int]:
    """Give the frames that are there for every point: half a frame would be a hole."""
    per_point = [
        {(each.time - START) // 1000 for each in series.samples}
        for series in store.read_many([f"p{point}" for point in range(10)], None, None, 100_000)
    ]
    whole = set.intersection(*per_point)
    assert whole == set.union(*per_point), "a frame is there in part"
    return whole


def _point(number: int) -> Node:
    able = NodeCapabilities(readable=True)
    return Node(id=f"e{number}/p", node_type=NodeType.POINT, dis="P", capabilities=able)


PROGRAM = [{"kind": "constant", "id": "c", "value": 1.0}]
INFLUX = {"kind": "influxdb", "url": "https://i.example.org", "database": "d"}

CASES: dict[str, Case] = {
    "nodes": Case(
        NodeStore,
        lambda store, n: store.create(Node(id=f"r{n}", node_type=NodeType.SPACE, dis="R")),
        _named("node", "id"),
        lambda store, n: store.delete(f"r{n}"),
        "entity_created",
    ),
    "entities": Case(
        SITE_STORES["entities"],
        lambda store, n: store.create(NewEntity(id=f"r{n}", entity_type="space", dis="R")),
        _named("entity", "id"),
        lambda store, n: store.delete(f"r{n}"),
        "entity_created",
    ),
    "alarms": Case(
        AlarmStore,
        lambda store, n: store.create_config(
            NewAlarmConfig(node_id=f"r{n}", condition=LimitCondition(high=1))
        ),
        lambda store: _numbers(store, "SELECT substr(node_id, 2) AS n FROM alarm_config WHERE NOT deleted"),
        lambda store, n: store.delete_config(
            store.one("SELECT id FROM alarm_config WHERE node_id = ?", f"r{n}")["id"]
        ),
    ),
    "history": Case(HistoryStore, _frame, _samples),
    "overrides": Case(
        OverrideStore,
        _override,
        _named("override", "node_id"),
        lambda store, n: store.remove(f"p{n}", 8),
    ),
    "users": Case(
        UserStore,
        lambda store, n: store.create(NewUser(username=f"r{n}", password="correct horse battery")),
        _named("user", "username"),
        lambda store, n: store.delete(store.one("SELECT id FROM user WHERE username = ?", f"r{n}")["id"]),
    ),
    "audit": Case(
        AuditStore,
        lambda store, n: store.add("ana", "crash", f"r{n}", {}),
        # The log notes by itself when it was restored.
        lambda store: _numbers(store, "SELECT substr(target, 2) AS n FROM audit_entry WHERE user = 'ana'"),
    ),
    "journal": Case(
        JournalStore,
        lambda store, n: store.append([Entry(f"r{n}", "alarm_cleared", b'{"alarm_id":1,"node_id":"x"}')]),
        _named("journal_event", "key"),
    ),
    "discovery": Case(
        SITE_STORES["discovery"],
        lambda store, n: store.found(
            FoundDevice(network_id="ip", protocol="bacnet", device_key=f"r{n}", address="a", points=[])
        ),
        _named("discovered_device", "device_key"),
        lambda store, n: store.forget(
            store.one("SELECT id FROM discovered_device WHERE device_key = ?", f"r{n}")["id"]
        ),
        "device_discovered",
    ),
    "schedules": Case(
        SITE_STORES["schedules"],
        lambda store, n: store.create(NewSchedule.model_validate({"name": f"r{n}", "kind": "analog"})),
        _named("schedule"),
        _drop_named("delete", "schedule"),
    ),
    "programs": Case(
        SITE_STORES["programs"],
        lambda store, n: store.create(NewProgram.model_validate({"name": f"r{n}", "blocks": PROGRAM}), "ana"),
        _named("program"),
        _drop_named("delete", "program"),
    ),
    "commissioning": Case(
        SITE_STORES["commissioning"],
        lambda store, n: store.create(NewSession(name=f"r{n}", node_id=f"r{n}"), [_point(n)], "ana"),
        _named("commission_session", "node_id"),
        lambda store, n: store.delete(
            store.one("SELECT id FROM commission_session WHERE node_id = ?", f"r{n}")["id"]
        ),
    ),
    "fdd": Case(
        SITE_STORES["fdd"],
        lambda store, n: store.create_rule(
            NewFddRule.model_validate({"name": f"r{n}", "condition": {"kind": "threshold", "high": 1.0}})
        ),
        lambda store: _numbers(store, "SELECT substr(name, 2) AS n FROM fdd_rule WHERE NOT deleted"),
        lambda store, n: store.delete_rule(
            store.one("SELECT id FROM fdd_rule WHERE name = ? AND NOT deleted", f"r{n}")["id"]
        ),
    ),
    "energy": Case(
        SITE_STORES["energy"],
        lambda store, n: store.create_meter(NewMeter(name=f"r{n}", node_id="meter-1/energy")),
        _named("energy_meter"),
        _drop_named("delete_meter", "energy_meter"),
    ),
    "reports": Case(
        CAMPUS_STORES["reports"],
        lambda store, n: store.create(NewReport(name=f"r{n}", template=TemplateName.COMFORT), "ana"),
        _named("report_definition"),
        _drop_named("delete", "report_definition"),
    ),
    "notifications": Case(
        CAMPUS_STORES["notifications"],
        lambda store, n: store.create_recipient(
            NewRecipient.model_validate({"name": f"r{n}", "kind": "email", "address": "a@example.org"})
        ),
        _named("recipient"),
        _drop_named("delete_recipient", "recipient"),
    ),
    "mqtt": Case(
        CAMPUS_STORES["mqtt"],
        lambda store, n: store.create(NewBroker.model_validate({"name": f"r{n}", "host": "m"})),
        _named("mqtt_broker"),
        _drop_named("delete", "mqtt_broker"),
    ),
    "webhooks": Case(
        CAMPUS_STORES["webhooks"],
        lambda store, n: store.create(
            NewEndpoint.model_validate({"name": f"r{n}", "url": "https://w.example.org", "secret": "x"})
        ),
        _named("webhook_endpoint"),
        _drop_named("delete", "webhook_endpoint"),
    ),
    "export": Case(
        CAMPUS_STORES["export"],
        lambda store, n: store.create(
            NewTarget.model_validate({"name": f"r{n}", "connection": INFLUX, "password": "x"})
        ),
        _named("export_target"),
        _drop_named("delete", "export_target"),
    ),
}
"""By the names of the actors."""
