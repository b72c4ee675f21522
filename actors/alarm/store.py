"""The store of alarms and of what raises them."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import ray
from pydantic import TypeAdapter

from actors.alarm.logic import after_acknowledge, after_clear, after_raise, after_report
from actors.alarm.models import (
    STANDING,
    Alarm,
    AlarmConfig,
    AlarmState,
    AlarmStep,
    AlarmSummary,
    Condition,
    NewAlarmConfig,
    Report,
    Reported,
    Severity,
)
from actors.alarm.schema import MIGRATIONS
from actors.bus.events import AlarmAcknowledged, AlarmCleared, AlarmRaised
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.core.sqlite import Durability, Row
from actors.core.store import Store, any_of
from actors.core.values import PointValue

CONDITION: TypeAdapter[Condition] = TypeAdapter(Condition)
LONGEST_SHELF = 30 * 86_400_000
"""Milliseconds that an alarm may be shelved."""


class AlarmStore(Store):
    """Keep alarms, their history and their configurations; tell the bus after each committed change.

    An alarm follows ISA-18.2: raised it is active, acknowledged by a person, cleared when its condition is
    over, and closed when both have happened. There is at most one alarm per configuration that isn't closed;
    if its condition comes back before anybody has acknowledged it, it is the same alarm again.
    """

    name: ClassVar[str] = "alarms"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL
    watched: ClassVar[bool] = True

    # Configurations

    @ray.method
    def create_config(self, new: NewAlarmConfig) -> AlarmConfig:
        """Add a configuration."""
        with self.transaction():
            row = self.one(
                "INSERT INTO alarm_config (node_id, condition, severity, message, enabled)"
                " VALUES (?, ?, ?, ?, ?) RETURNING *",
                *_columns(new),
            )
            self.config_moved()
        return _config(row or {})

    @ray.method
    def update_config(self, config_id: int, new: NewAlarmConfig) -> AlarmConfig:
        """Replace a configuration; from then on the file that it came from no longer changes it.

        Raises NotFoundError.
        """
        with self.transaction():
            row = self.one(
                "UPDATE alarm_config SET node_id = ?, condition = ?, severity = ?, message = ?, enabled = ?,"
                " edited = 1 WHERE id = ? AND NOT deleted RETURNING *",
                *_columns(new),
                config_id,
            )
            if row is None:
                raise NotFoundError("alarm configuration", config_id)
            self.config_moved()
        return _config(row)

    @ray.method
    def delete_config(self, config_id: int) -> None:
        """Delete a configuration; its alarm clears. Raises NotFoundError.

        The row stays, marked, so that the file that it came from doesn't bring it back.
        """
        with self.transaction():
            if not self.run("UPDATE alarm_config SET deleted = 1 WHERE id = ? AND NOT deleted", config_id):
                raise NotFoundError("alarm configuration", config_id)
            self.config_moved()

    @ray.method
    def apply_configs(self, configs: list[NewAlarmConfig], origin: str) -> int:
        """Bring in the configurations of a file or a device; give how many were new or changed.

        Doing it twice changes nothing; what a person has edited or deleted stays as it is. One that the
        origin no longer names is removed, unless it was edited. They are told apart by their point, their
        kind and, where a point has several of a kind, their order.
        """
        changed = 0
        named: dict[str, int] = {}
        with self.transaction():
            before = {
                row["origin_key"]: row
                for row in self.all("SELECT * FROM alarm_config WHERE origin = ?", origin)
            }
            for new in configs:
                key = f"{new.node_id}#{new.condition.kind}"
                if key in named:
                    named[key] += 1
                    key = f"{key}#{named[key]}"
                named[key] = 1
                changed += self._apply(before.get(key), new, origin, key)
            gone = [row["id"] for key, row in before.items() if key not in named and not row["edited"]]
            for config_id in gone:
                changed += self.run(
                    "UPDATE alarm_config SET deleted = 2 WHERE id = ? AND NOT deleted", config_id
                )
            if changed:
                self.config_moved()
        return changed

    def _apply(self, old: Row | None, new: NewAlarmConfig, origin: str, key: str) -> int:
        columns = _columns(new)
        if old is None:
            return self.run(
                "INSERT INTO alarm_config"
                " (node_id, condition, severity, message, enabled, origin, origin_key)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                *columns,
                origin,
                key,
            )
        # Deleted by a person (1) it stays away; gone from its origin (2) it may come back.
        names = ("node_id", "condition", "severity", "message", "enabled")
        same = columns == tuple(old[name] for name in names) and not old["deleted"]
        if old["edited"] or old["deleted"] == 1 or same:
            return 0
        return self.run(
            "UPDATE alarm_config SET node_id = ?, condition = ?, severity = ?, message = ?, enabled = ?,"
            " deleted = 0 WHERE id = ?",
            *columns,
            old["id"],
        )

    @ray.method
    def config(self, config_id: int) -> AlarmConfig:
        """Give one configuration. Raises NotFoundError."""
        row = self.one("SELECT * FROM alarm_config WHERE id = ? AND NOT deleted", config_id)
        if row is None:
            raise NotFoundError("alarm configuration", config_id)
        return _config(row)

    @ray.method
    def configs(
        self, node_id: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[AlarmConfig], str | None]:
        """Give configurations, all or those of a point. Raises BadInputError."""
        rows, after = self.page_of(
            "SELECT * FROM alarm_config",
            {"deleted = ?": 0, "node_id = ?": node_id},
            limit,
            cursor,
        )
        return [_config(row) for row in rows], after

    @ray.method
    def in_force(self) -> tuple[int, list[AlarmConfig]]:
        """Give all enabled configurations and the version that they are."""
        rows = self.all("SELECT * FROM alarm_config WHERE enabled AND NOT deleted ORDER BY id")
        return self.version(), [_config(row) for row in rows]

    # What happens to an alarm

    @ray.method
    def raise_alarm(
        self,
        node_id: str,
        severity: Severity,
        message: str,
        value: PointValue | None = None,
        config_id: int | None = None,
    ) -> Alarm:
        """Raise an alarm, or leave the one that stands as it is.

        Without a configuration, an alarm of the same node with the same message is the same.
        """
        now = self.clock()
        with self.transaction():
            old = self._open(node_id, message, config_id)
            if old is not None and old["state"] != AlarmState.CLEARED:
                return _alarm(old)
            if old is not None:
                row = self.one(
                    "UPDATE alarm SET state = ?, node_id = ?, severity = ?, message = ?, value = ?,"
                    " raised_at = ?, cleared_at = NULL WHERE id = ? RETURNING *",
                    after_raise(AlarmState(old["state"])).value,
                    node_id,
                    severity.value,
                    message,
                    json.dumps(value),
                    now,
                    old["id"],
                )
            else:
                row = self.one(
                    "INSERT INTO alarm"
                    " (config_id, node_id, severity, message, state, value, raised_at, shelved_until)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                    config_id,
                    node_id,
                    severity.value,
                    message,
                    after_raise(None).value,
                    json.dumps(value),
                    now,
                    self._shelf(self._last(config_id), now),
                )
            alarm = _alarm(row or {})
            self._step(alarm, "raised", now, value=value)
            self.publish(
                AlarmRaised(alarm_id=alarm.id, node_id=node_id, severity=severity.value, message=message)
            )
        return alarm

    def _open(self, node_id: str, message: str, config_id: int | None) -> Row | None:
        if config_id is not None:
            return self.one("SELECT * FROM alarm WHERE config_id = ? AND state <> 'closed'", config_id)
        return self.one(
            "SELECT * FROM alarm WHERE config_id IS NULL AND source IS NULL AND node_id = ? AND message = ?"
            " AND state <> 'closed'",
            node_id,
            message,
        )

    def _last(self, config_id: int | None) -> Row | None:
        return self.one("SELECT * FROM alarm WHERE config_id = ? ORDER BY id DESC LIMIT 1", config_id)

    @staticmethod
    def _shelf(last: Row | None, now: int) -> int | None:
        """Give until when alarms of an origin are shelved: the shelf outlives one occurrence."""
        until: int | None = last["shelved_until"] if last else None
        return until if until is not None and now < until <= now + LONGEST_SHELF else None

    @ray.method
    def report(self, reports: list[Report], by: str) -> list[Reported]:
        """Take how alarms of a device stand, as it says; give the last alarm of each source that has one.

        `by` is who has acknowledged what the device takes for seen. The same report twice changes nothing.
        """
        with self.transaction():
            for each in reports:
                self._report(each, by)
        rows = [self._last_of(each.source) for each in reports]
        return [_reported(row) for row in rows if row is not None]

    @ray.method
    def reported(self, prefix: str) -> list[Reported]:
        """Give the last alarm of each source that begins with `prefix`."""
        rows = self.all(
            "SELECT * FROM alarm WHERE id IN (SELECT max(id) FROM alarm"
            " WHERE source >= ? AND source < ? GROUP BY source) ORDER BY id",
            prefix,
            prefix + "\U0010ffff",
        )
        return [_reported(row) for row in rows]

    def _last_of(self, source: str) -> Row | None:
        return self.one("SELECT * FROM alarm WHERE source = ? ORDER BY id DESC LIMIT 1", source)

    def _report(self, report: Report, by: str) -> None:
        row = self._last_of(report.source)
        old = None if row is None or row["state"] == AlarmState.CLOSED else _alarm(row)
        state = after_report(
            old.state if old else None, standing=report.standing, acknowledged=report.acknowledged
        )
        detail = json.dumps(report.detail)
        if row is not None and row["detail"] != detail:
            self.run("UPDATE alarm SET detail = ? WHERE id = ?", detail, row["id"])
        if state is None:
            return
        stood = old is not None and old.state in STANDING
        was_seen = old is not None and old.state is AlarmState.ACKNOWLEDGED
        seen = state in (AlarmState.ACKNOWLEDGED, AlarmState.CLOSED)
        raised = old is None
        if report.standing and old is not None:
            other = (old.message, old.severity) != (report.message, report.severity)
            raised = not stood or other or (was_seen and not seen)
        if not raised and old is not None and old.state is state:
            return
        now = self.clock()
        alarm = self._set_reported(report, old, state, now, by, raised=raised)
        if raised:
            self._step(alarm, "raised", now, value=report.value)
            severity, message = alarm.severity.value, alarm.message
            self.publish(
                AlarmRaised(alarm_id=alarm.id, node_id=alarm.node_id, severity=severity, message=message)
            )
        if seen and not was_seen:
            self._step(alarm, "acknowledged", now, by=by)
            self.publish(AlarmAcknowledged(alarm_id=alarm.id, user=by))
        if not report.standing and (stood or old is None):
            self._step(alarm, "cleared", now, value=report.value)
            self.publish(AlarmCleared(alarm_id=alarm.id, node_id=alarm.node_id))

    def _set_reported(
        self, report: Report, old: Alarm | None, state: AlarmState, now: int, by: str, *, raised: bool
    ) -> Alarm:
        if old is None:
            made = self.one(
                "INSERT INTO alarm (source, node_id, severity, message, state, value, raised_at, detail,"
                " shelved_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                report.source,
                report.node_id,
                report.severity.value,
                report.message,
                state.value,
                json.dumps(report.value),
                now,
                json.dumps(report.detail),
                self._shelf(self._last_of(report.source), now),
            )
            old = _alarm(made or {})
        elif raised:
            self.run(
                "UPDATE alarm SET severity = ?, message = ?, value = ?, raised_at = ? WHERE id = ?",
                report.severity.value,
                report.message,
                json.dumps(report.value),
                now,
                old.id,
            )
        seen = state in (AlarmState.ACKNOWLEDGED, AlarmState.CLOSED)
        row = self.one(
            "UPDATE alarm SET state = ?, cleared_at = ?, acknowledged_at = ?, acknowledged_by = ?"
            " WHERE id = ? RETURNING *",
            state.value,
            None if report.standing else old.cleared_at or max(now, old.raised_at),
            (old.acknowledged_at or max(now, old.raised_at)) if seen else None,
            (old.acknowledged_by or by) if seen else None,
            old.id,
        )
        return _alarm(row or {})

    @ray.method
    def clear(self, alarm_id: int, value: PointValue | None = None) -> Alarm:
        """Say that the condition is over; a cleared one stays as it is. Raises NotFoundError."""
        now = self.clock()
        with self.transaction():
            old = self._get(alarm_id)
            state = after_clear(old.state)
            if state is old.state:
                return old
            row = self.one(
                "UPDATE alarm SET state = ?, cleared_at = max(?, raised_at) WHERE id = ? RETURNING *",
                state.value,
                now,
                alarm_id,
            )
            alarm = _alarm(row or {})
            self._step(alarm, "cleared", now, value=value)
            self.publish(AlarmCleared(alarm_id=alarm_id, node_id=alarm.node_id))
        return alarm

    @ray.method
    def acknowledge(self, alarm_id: int, by: str, note: str | None = None) -> Alarm:
        """Mark an alarm as seen; one that was seen already stays as it is. Raises NotFoundError."""
        return self._acknowledge(alarm_id, by, note)

    @ray.method
    def acknowledge_many(self, alarm_ids: list[int], by: str, note: str | None = None) -> list[Alarm]:
        """Mark several alarms as seen, all or none. Raises NotFoundError."""
        with self.transaction():
            return [self._acknowledge(alarm_id, by, note) for alarm_id in alarm_ids]

    def _acknowledge(self, alarm_id: int, by: str, note: str | None) -> Alarm:
        now = self.clock()
        with self.transaction():
            old = self._get(alarm_id)
            state = after_acknowledge(old.state)
            if state is old.state:
                return old
            row = self.one(
                "UPDATE alarm SET state = ?, acknowledged_at = max(?, raised_at), acknowledged_by = ?,"
                " note = coalesce(?, note) WHERE id = ? RETURNING *",
                state.value,
                now,
                by,
                note,
                alarm_id,
            )
            alarm = _alarm(row or {})
            self._step(alarm, "acknowledged", now, by=by)
            self.publish(AlarmAcknowledged(alarm_id=alarm_id, user=by))
        return alarm

    @ray.method
    def shelve(self, alarm_id: int, until: int, by: str, note: str | None = None) -> Alarm:
        """Keep an alarm, and later ones of its configuration, out of the way until a time.

        Raises NotFoundError, BadInputError for a time that is past or more than 30 days away, and
        ConflictError for an alarm that is closed.
        """
        now = self.clock()
        if not now < until <= now + LONGEST_SHELF:
            raise BadInputError("until", until, "a time within the next 30 days")
        return self._set_shelf(alarm_id, until, by, note)

    @ray.method
    def unshelve(self, alarm_id: int, by: str) -> Alarm:
        """Take an alarm off the shelf. Raises NotFoundError and ConflictError."""
        return self._set_shelf(alarm_id, None, by, None)

    def _set_shelf(self, alarm_id: int, until: int | None, by: str | None, note: str | None) -> Alarm:
        with self.transaction():
            old = self._get(alarm_id)
            if old.state is AlarmState.CLOSED and until is not None:
                raise ConflictError("alarm", alarm_id, "it is closed")
            if old.shelved_until == until:
                return old
            row = self.one(
                "UPDATE alarm SET shelved_until = ?, note = coalesce(?, note) WHERE id = ? RETURNING *",
                until,
                note,
                alarm_id,
            )
            alarm = _alarm(row or {})
            self._step(alarm, "shelved" if until else "unshelved", self.clock(), by=by)
        return alarm

    @ray.method
    def unshelve_due(self) -> list[int]:
        """Take all alarms off the shelf whose time is over; give their ids.

        A time further away than any shelf may be was set under a clock that was ahead: it is over too.
        """
        now = self.clock()
        rows = self.all(
            "SELECT id FROM alarm WHERE shelved_until <= ? OR shelved_until > ?", now, now + LONGEST_SHELF
        )
        with self.transaction():
            for row in rows:
                self._set_shelf(row["id"], None, None, None)
        return [row["id"] for row in rows]

    def _step(
        self, alarm: Alarm, event: str, at: int, *, by: str | None = None, value: PointValue | None = None
    ) -> None:
        self.run(
            "INSERT INTO alarm_history (alarm_id, node_id, severity, message, event, at, by, value)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            alarm.id,
            alarm.node_id,
            alarm.severity.value,
            alarm.message,
            event,
            at,
            by,
            json.dumps(value),
        )

    # Questions

    @ray.method
    def get(self, alarm_id: int) -> Alarm:
        """Give one alarm. Raises NotFoundError."""
        return self._get(alarm_id)

    def _get(self, alarm_id: int) -> Alarm:
        row = self.one("SELECT * FROM alarm WHERE id = ?", alarm_id)
        if row is None:
            raise NotFoundError("alarm", alarm_id)
        return _alarm(row)

    @ray.method
    def find(
        self,
        states: Sequence[AlarmState] | None = None,
        severity: Severity | None = None,
        node_id: str | None = None,
        shelved: bool | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Alarm], str | None]:
        """Give alarms, newest first: those that aren't closed, or those in `states`. Raises BadInputError.

        A shelf whose time is over hides nothing, even while nobody takes alarms off it (`unshelve_due`).
        """
        wanted = states or [AlarmState.ACTIVE, AlarmState.ACKNOWLEDGED, AlarmState.CLEARED]
        rows, after = self.page_of(
            "SELECT * FROM alarm",
            any_of("state", wanted, few=AlarmState.CLOSED not in wanted)
            | {
                "severity = ?": severity.value if severity else None,
                "node_id = ?": node_id,
                "ifnull(shelved_until, 0) > ?": self.clock() if shelved is True else None,
                "ifnull(shelved_until, 0) <= ?": self.clock() if shelved is False else None,
            },
            limit,
            cursor,
            newest_first=True,
        )
        return [_alarm(row) for row in rows], after

    @ray.method
    def standing(self) -> list[Alarm]:
        """Give all alarms whose condition holds: active and acknowledged ones."""
        rows = self.all("SELECT * FROM alarm WHERE state IN ('active', 'acknowledged') ORDER BY id")
        return [_alarm(row) for row in rows]

    @ray.method
    def summary(self) -> AlarmSummary:
        """Count alarms; shelved ones count as shelved only."""
        rows = self.all(
            "SELECT state, severity, ifnull(shelved_until, 0) > ? AS shelved, count(*) AS n FROM alarm"
            " WHERE state IN ('active', 'acknowledged', 'cleared') GROUP BY 1, 2, 3",
            self.clock(),
        )
        seen = [row for row in rows if not row["shelved"]]
        standing = ("active", "acknowledged")
        return AlarmSummary(
            active=sum(row["n"] for row in seen if row["state"] in standing),
            unacknowledged=sum(row["n"] for row in seen if row["state"] != "acknowledged"),
            shelved=sum(row["n"] for row in rows if row["shelved"]),
            by_severity={
                severity: sum(
                    row["n"]
                    for row in seen
                    if row["severity"] == severity.value and row["state"] != "acknowledged"
                )
                for severity in Severity
            },
        )

    @ray.method
    def history(
        self,
        alarm_id: int | None = None,
        node_id: str | None = None,
        start: int | None = None,
        end: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[AlarmStep], str | None]:
        """Give what happened to alarms, newest first, in [start, end) ms. Raises BadInputError."""
        rows, after = self.page_of(
            "SELECT * FROM alarm_history",
            {"alarm_id = ?": alarm_id, "node_id = ?": node_id, "at >= ?": start, "at < ?": end},
            limit,
            cursor,
            newest_first=True,
        )
        return [AlarmStep.model_validate(row | {"value": json.loads(row["value"])}) for row in rows], after


def _reported(row: Row) -> Reported:
    return Reported(alarm=_alarm(row), detail=json.loads(row["detail"] or "{}"))


def _columns(new: NewAlarmConfig) -> tuple[Any, ...]:
    condition = CONDITION.dump_json(new.condition).decode()
    return new.node_id, condition, new.severity.value, new.message, int(new.enabled)


def _config(row: Row) -> AlarmConfig:
    return AlarmConfig(
        id=row["id"],
        node_id=row["node_id"],
        condition=CONDITION.validate_json(row["condition"]),
        severity=Severity(row["severity"]),
        message=row["message"],
        enabled=bool(row["enabled"]),
    )


def _alarm(row: Row) -> Alarm:
    return Alarm.model_validate(row | {"value": json.loads(row["value"])})
