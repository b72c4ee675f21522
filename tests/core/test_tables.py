"""The tables of every store, against the reference; no question reads a table that grows from end to end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.alarm.models import AlarmState, Severity
from actors.bus.journal import JOURNALED
from actors.commissioning.models import ItemKind, ItemState, SessionState
from actors.core.store import Store
from actors.energy.models import MeterKind, Period
from actors.export.models import BackfillState
from actors.fdd.models import FaultState
from actors.notification.models import NoticeState
from actors.program.models import RunState
from actors.report.models import ExecutionState
from actors.webhook.models import DeliveryState
from tests.crash.cases import CASES
from tests.crash.worker import Outbox

OF_EVERY_STORE = {"config_version", "event_outbox", "retention_clock"}

TABLES: dict[str, set[str]] = {
    # Named by the reference.
    "nodes": {"node", "node_tag", "node_ref", "node_property", "node_capability", "protocol_binding"},
    "discovery": {"discovered_device", "discovered_point", "discovery_accept", "discovery_scan"},
    "notifications": {
        "recipient",
        "routing_rule",
        "routing_tier",
        "routing_tier_recipient",
        "alarm_shelving",
        "notification_log",
    },
    "mqtt": {"mqtt_broker", "mqtt_topic_pattern"},
    "commissioning": {"commission_session", "commission_item", "commission_check", "commission_write"},
    "reports": {"report_definition", "report_schedule", "report_execution"},
    "energy": {"utility_rate", "energy_meter", "energy_baseline", "energy_rollup"},
    "webhooks": {"webhook_endpoint", "webhook_delivery", "webhook_config"},
    # Told by the reference without names.
    "history": {"series", "frame", "chunk", "gap", "state"},
    "alarms": {"alarm_config", "alarm", "alarm_history"},
    "schedules": {
        "schedule",
        "schedule_entry",
        "schedule_exception",
        "schedule_assignment",
        "calendar",
        "calendar_entry",
    },
    "entities": {"entity"},
    "programs": {"program", "program_execution", "program_state"},
    "fdd": {"fdd_rule", "fdd_binding", "fdd_fault"},
    "export": {"export_target", "export_state", "export_status", "export_backfill"},
    "users": {"role", "role_permission", "user", "signing_key", "revoked_token"},
    "audit": {"audit_entry", "audit_anchor"},
    "overrides": {"override"},
    "journal": {"journal_event", "journal_subscriber"},
}

GROWING = {
    "alarm",
    "alarm_history",
    "commission_item",
    "discovered_point",
    "energy_rollup",
    "export_state",
    "fdd_fault",
    "journal_event",
    "notification_log",
    "program_execution",
    "report_execution",
    "webhook_delivery",
}
"""Tables that get rows as long as a building runs, or a row for each of its points."""

NOON = 1_700_000_000_000


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    stores: list[Store] = []

    def open_store(name: str) -> Any:
        store = CASES[name].plain(tmp_path, Outbox())
        stores.append(store)
        return store

    yield open_store
    for store in stores:
        store.close()


def test_every_store_is_listed() -> None:
    assert set(TABLES) == set(CASES)


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_tables_have_their_names_and_are_strict(name: str, opened: Callable[[str], Any]) -> None:
    found = [
        row
        for row in opened(name).all("PRAGMA table_list")
        if row["schema"] == "main" and row["type"] == "table" and not row["name"].startswith("sqlite_")
    ]
    assert {row["name"] for row in found} == TABLES[name] | OF_EVERY_STORE
    assert [row["name"] for row in found if not row["strict"]] == []


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_foreign_key_has_an_index(name: str, opened: Callable[[str], Any]) -> None:
    """Else deleting a parent reads all rows of the child."""
    store = opened(name)
    assert store.one("PRAGMA foreign_keys") == {"foreign_keys": 1}
    for table in TABLES[name]:
        keys: dict[int, list[str]] = {}
        for row in store.all(f"PRAGMA foreign_key_list({table})"):
            keys.setdefault(row["id"], []).append(row["from"])
        indices = [
            [each["name"] for each in store.all(f"PRAGMA index_info({index['name']})")]
            for index in store.all(f"PRAGMA index_list({table})")
            if not index["partial"]
        ]
        indices.append([row["name"] for row in store.all(f"PRAGMA table_info({table})") if row["pk"] == 1])
        for columns in keys.values():
            if (table, columns) in NEVER_DELETED:
                continue
            assert any(set(index[: len(columns)]) == set(columns) for index in indices), f"{table} {columns}"


NEVER_DELETED = [("gap", ["series_id"]), ("user", ["role"]), ("report_execution", ["schedule_id"])]
"""Whose parents stay, or are few."""

QUESTIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("alarms", "configs", {"node_id": "n"}),
    ("alarms", "in_force", {}),
    ("alarms", "find", {}),
    ("alarms", "find", {"states": [AlarmState.ACTIVE]}),
    ("alarms", "find", {"states": [AlarmState.CLOSED]}),
    ("alarms", "find", {"states": list(AlarmState)}),
    ("alarms", "find", {"severity": Severity.HIGH}),
    ("alarms", "find", {"node_id": "n"}),
    ("alarms", "find", {"shelved": True}),
    ("alarms", "standing", {}),
    ("alarms", "summary", {}),
    ("alarms", "unshelve_due", {}),
    ("alarms", "history", {}),
    ("alarms", "history", {"alarm_id": 1}),
    ("alarms", "history", {"node_id": "n"}),
    ("alarms", "history", {"start": NOON, "end": NOON + 1}),
    ("alarms", "raise_alarm", {"node_id": "n", "severity": Severity.LOW, "message": "m"}),
    ("commissioning", "find", {"node_id": "n"}),
    ("commissioning", "find", {"state": SessionState.IN_PROGRESS}),
    ("energy", "rollups", {}),
    ("energy", "rollups", {"meter_id": 1}),
    ("energy", "rollups", {"kind": MeterKind.GAS}),
    ("energy", "rollups", {"period": Period.DAY, "start": NOON, "end": NOON + 1}),
    ("energy", "summary", {}),
    ("energy", "summary", {"start": NOON, "end": NOON + 1}),
    ("export", "backfills", {"target_id": 1}),
    ("export", "backfills", {"state": BackfillState.QUEUED}),
    ("fdd", "faults", {}),
    ("fdd", "faults", {"states": [FaultState.CLEARED]}),
    ("fdd", "faults", {"node_id": "n"}),
    ("fdd", "faults", {"rule_id": 1}),
    ("fdd", "faults", {"start": NOON, "end": NOON + 1}),
    ("fdd", "summary", {}),
    ("journal", "read", {"after": 0}),
    ("journal", "read", {"after": 0, "types": [JOURNALED[0]]}),
    ("journal", "read", {"after": 0, "types": list(JOURNALED[:3])}),
    ("journal", "replay", {}),
    ("journal", "replay", {"start": NOON, "end": NOON + 1}),
    ("journal", "replay", {"types": [JOURNALED[0]]}),
    ("journal", "subscriptions", {}),
    ("journal", "_prune", {}),
    ("notifications", "log", {}),
    ("notifications", "log", {"site": "s", "alarm_id": 1}),
    ("notifications", "log", {"recipient_id": 1}),
    ("notifications", "log", {"state": NoticeState.FAILED}),
    ("notifications", "due", {}),
    ("notifications", "cancel", {"site": "s", "alarm_id": 1}),
    ("notifications", "_prune", {}),
    ("overrides", "due", {}),
    ("overrides", "find", {"node_id": "n"}),
    ("reports", "executions", {}),
    ("reports", "executions", {"report_id": 1}),
    ("reports", "executions", {"state": ExecutionState.QUEUED}),
    ("reports", "take_due", {}),
    ("reports", "abandon", {}),
    ("webhooks", "deliveries", {}),
    ("webhooks", "deliveries", {"endpoint_id": 1}),
    ("webhooks", "deliveries", {"state": DeliveryState.FAILED}),
    ("webhooks", "deliveries", {"event_type": "alarm_raised"}),
    ("webhooks", "due", {}),
    ("webhooks", "_prune", {}),
]
MADE: list[tuple[str, Callable[[Any], object]]] = [
    ("commissioning", lambda store: store.items(1)),
    ("commissioning", lambda store: store.items(1, ItemState.FAILED, ItemKind.READ, "n")),
    ("discovery", lambda store: store.points(1)),
    ("discovery", lambda store: store.summary()),
    ("export", lambda store: store.state(1)),
    ("export", lambda store: store.status(1)),
    ("export", lambda store: store.cursors(1, "north")),
    ("programs", lambda store: store.executions(1)),
    ("programs", lambda store: store.executions(1, RunState.FAILED)),
    ("energy", lambda store: store.delete_meter(1)),
    ("reports", lambda store: store.delete(1)),
    ("webhooks", lambda store: store.delete(1)),
]
"""Questions about record 1."""


def plans(store: Store, ask: Callable[[], object]) -> list[tuple[str, str]]:
    """Run `ask` and give each statement that it ran, with each line of its plan."""
    ran: list[tuple[str, Any]] = []

    def note(cursor: object, sql: str, values: Any) -> bool:
        ran.append((sql, values))
        return True

    store.db.exec_trace = note
    try:
        ask()
    finally:
        store.db.exec_trace = None
    kinds = ("SELECT", "UPDATE", "DELETE", "INSERT")
    return [
        (sql, row["detail"])
        for sql, values in ran
        if sql.lstrip().upper().startswith(kinds)
        for row in store.all(f"EXPLAIN QUERY PLAN {sql}", *(values or ()))
    ]


def scans(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Give what reads a growing table wholly."""
    return [(sql, line) for sql, line in found if line.startswith("SCAN") and line.split()[1] in GROWING]


@pytest.mark.parametrize(("name", "method", "asked"), QUESTIONS)
def test_no_question_reads_a_growing_table_wholly(
    name: str, method: str, asked: dict[str, Any], opened: Callable[[str], Any]
) -> None:
    store = opened(name)
    found = plans(store, lambda: getattr(store, method)(**asked))
    assert found
    assert scans(found) == []
    for column in ("node_id", "alarm_id", "rule_id", "endpoint_id", "recipient_id", "target_id", "meter_id"):
        if column in asked and method != "raise_alarm":
            assert any(f"{column}=?" in line for _, line in found), f"no index for {column}: {found}"


@pytest.mark.parametrize(("name", "ask"), MADE)
def test_no_question_about_a_record_reads_a_growing_table_wholly(
    name: str, ask: Callable[[Any], object], opened: Callable[[str], Any]
) -> None:
    store = opened(name)
    CASES[name].make(store, 1)
    assert scans(plans(store, lambda: ask(store))) == []


def test_a_scan_is_seen(opened: Callable[[str], Any]) -> None:
    store = opened("alarms")
    assert scans(plans(store, lambda: store.all("SELECT * FROM alarm WHERE message = ?", "x")))
