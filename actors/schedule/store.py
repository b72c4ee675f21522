"""The store of schedules, calendars and the points that they command."""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any, ClassVar

import ray
from pydantic import TypeAdapter

from actors.bus.events import ScheduleWritten
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.core.sqlite import Durability, Row
from actors.core.store import Store, unique
from actors.core.values import PointValue
from actors.schedule import logic
from actors.schedule.models import (
    Assignment,
    Calendar,
    CalendarEntry,
    Effective,
    Kind,
    NewCalendar,
    NewException,
    NewSchedule,
    Period,
    Schedule,
    ScheduleException,
    Step,
    TimeValue,
    WeekEntry,
    check_value,
)
from actors.schedule.schema import MIGRATIONS

PERIOD: TypeAdapter[Period] = TypeAdapter(Period)
ENTRIES: TypeAdapter[list[TimeValue]] = TypeAdapter(list[TimeValue])


class ScheduleStore(Store):
    """Keep schedules with their weeks, exceptions and assignments, and calendars.

    Each change moves the watch cell. What is in force is computed here as well as in the engine, by the same
    rules, so that the API answers while the engine is away.
    """

    name: ClassVar[str] = "schedules"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL
    watched: ClassVar[bool] = True

    # Schedules

    @ray.method
    def create(self, new: NewSchedule) -> Schedule:
        """Add a schedule with its week. Raises ConflictError for a name that is taken."""
        now = self.clock()
        with self.transaction(), unique("schedule", new.name):
            row = self.one(
                "INSERT INTO schedule (name, description, kind, default_value, zone, starts_on, ends_on,"
                " priority, enabled, updated_at, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " RETURNING id",
                *_columns(new),
                now,
                now,
            )
            schedule_id = int(row["id"]) if row else 0
            self._put_week(schedule_id, new)
            self.config_moved()
        return self._get(schedule_id)

    @ray.method
    def update(self, schedule_id: int, new: NewSchedule) -> Schedule:
        """Replace a schedule and its week; exceptions and assignments stay.

        Raises NotFoundError, ConflictError for a name that is taken, and BadInputError for a kind that
        the values of its exceptions are not of.
        """
        with self.transaction(), unique("schedule", new.name):
            for exception in self._get(schedule_id).exceptions:
                _check_entries("kind", new.kind, exception.entries)
            self.run(
                "UPDATE schedule SET name = ?, description = ?, kind = ?, default_value = ?, zone = ?,"
                " starts_on = ?, ends_on = ?, priority = ?, enabled = ?, updated_at = ? WHERE id = ?",
                *_columns(new),
                self.clock(),
                schedule_id,
            )
            self.run("DELETE FROM schedule_entry WHERE schedule_id = ?", schedule_id)
            self._put_week(schedule_id, new)
            self.config_moved()
        return self._get(schedule_id)

    def _put_week(self, schedule_id: int, new: NewSchedule) -> None:
        self.many(
            "INSERT INTO schedule_entry (schedule_id, weekday, time, value) VALUES (?, ?, ?, ?)",
            [(schedule_id, each.weekday, each.time, json.dumps(each.value)) for each in new.week],
        )

    @ray.method
    def delete(self, schedule_id: int) -> Schedule:
        """Delete a schedule with its exceptions and assignments. Raises NotFoundError."""
        with self.transaction():
            gone = self._get(schedule_id)
            self.run("DELETE FROM schedule WHERE id = ?", schedule_id)
            self.config_moved()
        return gone

    @ray.method
    def get(self, schedule_id: int) -> Schedule:
        """Give one schedule. Raises NotFoundError."""
        return self._get(schedule_id)

    @ray.method
    def find(
        self,
        enabled: bool | None = None,
        node_id: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Schedule], str | None]:
        """Give schedules: of a state, that command a point, with a text in the name. Raises BadInputError."""
        rows, after = self.page_of(
            "SELECT * FROM schedule",
            {
                "enabled = ?": enabled,
                "id IN (SELECT schedule_id FROM schedule_assignment WHERE node_id = ?)": node_id,
                "instr(lower(name), lower(?))": text,
            },
            limit,
            cursor,
        )
        return [self._whole(row) for row in rows], after

    @ray.method
    def in_force(self) -> tuple[int, list[Schedule], list[Calendar]]:
        """Give the version, all enabled schedules and all calendars."""
        rows = self.all("SELECT * FROM schedule WHERE enabled ORDER BY id")
        return self.version(), [self._whole(row) for row in rows], list(self._calendars().values())

    @ray.method
    def effective(self, schedule_id: int, at: int | None = None) -> Effective:
        """Give what a schedule gives at a time (ms; now where left out).

        Raises NotFoundError, and BadInputError for a time past 2154.
        """
        moment = self.clock() if at is None else at
        return logic.effective(self._get(schedule_id), self._calendars(), moment)

    @ray.method
    def preview(self, schedule_id: int, start: int, end: int) -> list[Step]:
        """Give a schedule's values over [start, end) ms. Raises NotFoundError and BadInputError."""
        return logic.preview(self._get(schedule_id), self._calendars(), start, end)

    # Exceptions

    @ray.method
    def create_exception(self, schedule_id: int, new: NewException) -> ScheduleException:
        """Add an exception. Raises NotFoundError, and BadInputError for its values or its calendar."""
        with self.transaction():
            self._check_exception(self._get(schedule_id), new)
            row = self.one(
                "INSERT INTO schedule_exception (name, priority, period, calendar_id, entries, schedule_id)"
                " VALUES (?, ?, ?, ?, ?, ?) RETURNING *",
                *_exception_columns(new),
                schedule_id,
            )
            self.config_moved()
        return _exception(row or {})

    @ray.method
    def update_exception(self, exception_id: int, new: NewException) -> ScheduleException:
        """Replace an exception. Raises NotFoundError, and BadInputError for its values or its calendar."""
        with self.transaction():
            before = self._exception(exception_id)
            self._check_exception(self._get(before.schedule_id), new)
            row = self.one(
                "UPDATE schedule_exception SET name = ?, priority = ?, period = ?, calendar_id = ?,"
                " entries = ? WHERE id = ? RETURNING *",
                *_exception_columns(new),
                exception_id,
            )
            self.config_moved()
        return _exception(row or {})

    def _check_exception(self, schedule: Schedule, new: NewException) -> None:
        _check_entries("entries", schedule.kind, new.entries)
        logic.check_days("period", [new.period])
        if new.calendar_id is not None:
            found = self.one("SELECT 1 AS found FROM calendar WHERE id = ?", new.calendar_id)
            if found is None:
                raise BadInputError("calendar_id", new.calendar_id, "the id of a calendar that is there")

    @ray.method
    def delete_exception(self, exception_id: int) -> ScheduleException:
        """Delete an exception. Raises NotFoundError."""
        with self.transaction():
            gone = self._exception(exception_id)
            self.run("DELETE FROM schedule_exception WHERE id = ?", exception_id)
            self.config_moved()
        return gone

    @ray.method
    def exception(self, exception_id: int) -> ScheduleException:
        """Give one exception. Raises NotFoundError."""
        return self._exception(exception_id)

    # Calendars

    @ray.method
    def create_calendar(self, new: NewCalendar) -> Calendar:
        """Add a calendar. Raises ConflictError for a taken name, BadInputError for days of no year."""
        logic.check_days("entries.period", [each.period for each in new.entries])
        with self.transaction(), unique("calendar", new.name):
            row = self.one(
                "INSERT INTO calendar (name, description) VALUES (?, ?) RETURNING id",
                new.name,
                new.description,
            )
            calendar_id = int(row["id"]) if row else 0
            self._put_entries(calendar_id, new)
            self.config_moved()
        return self._calendar(calendar_id)

    @ray.method
    def update_calendar(self, calendar_id: int, new: NewCalendar) -> Calendar:
        """Replace a calendar.

        Raises NotFoundError, ConflictError for a name that is taken, and BadInputError for days of no year.
        """
        logic.check_days("entries.period", [each.period for each in new.entries])
        with self.transaction(), unique("calendar", new.name):
            changed = self.run(
                "UPDATE calendar SET name = ?, description = ? WHERE id = ?",
                new.name,
                new.description,
                calendar_id,
            )
            if not changed:
                raise NotFoundError("calendar", calendar_id)
            self.run("DELETE FROM calendar_entry WHERE calendar_id = ?", calendar_id)
            self._put_entries(calendar_id, new)
            self.config_moved()
        return self._calendar(calendar_id)

    def _put_entries(self, calendar_id: int, new: NewCalendar) -> None:
        self.many(
            "INSERT INTO calendar_entry (calendar_id, period, label) VALUES (?, ?, ?)",
            [(calendar_id, PERIOD.dump_json(each.period).decode(), each.label) for each in new.entries],
        )

    @ray.method
    def delete_calendar(self, calendar_id: int) -> Calendar:
        """Delete a calendar. Raises NotFoundError, and ConflictError while an exception names it."""
        with self.transaction():
            gone = self._calendar(calendar_id)
            names = self.all(
                "SELECT DISTINCT schedule.name FROM schedule_exception JOIN schedule"
                " ON schedule.id = schedule_id WHERE calendar_id = ? ORDER BY 1",
                calendar_id,
            )
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                reason = f"exceptions of the schedule {names[0]['name']!r}{more} name it; delete them first"
                raise ConflictError("calendar", calendar_id, reason)
            self.run("DELETE FROM calendar WHERE id = ?", calendar_id)
            self.config_moved()
        return gone

    @ray.method
    def calendar(self, calendar_id: int) -> Calendar:
        """Give one calendar. Raises NotFoundError."""
        return self._calendar(calendar_id)

    @ray.method
    def calendars(self, limit: int = 100, cursor: str | None = None) -> tuple[list[Calendar], str | None]:
        """Give calendars. Raises BadInputError."""
        rows, after = self.page_of("SELECT * FROM calendar", {}, limit, cursor)
        return [self._with_entries(row) for row in rows], after

    # Assignments

    @ray.method
    def assign(self, schedule_id: int, node_id: str) -> Assignment:
        """Let a schedule command a point; twice changes nothing. Raises NotFoundError."""
        with self.transaction():
            self._get(schedule_id)
            fresh = self.run(
                "INSERT INTO schedule_assignment (schedule_id, node_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
                schedule_id,
                node_id,
            )
            if fresh:
                self.config_moved()
        return self._assignment(schedule_id, node_id)

    @ray.method
    def unassign(self, schedule_id: int, node_id: str) -> Assignment:
        """Let a schedule command a point no longer. Raises NotFoundError."""
        with self.transaction():
            gone = self._assignment(schedule_id, node_id)
            self.run(
                "DELETE FROM schedule_assignment WHERE schedule_id = ? AND node_id = ?", schedule_id, node_id
            )
            self.config_moved()
        return gone

    @ray.method
    def assignments(self, schedule_id: int) -> list[Assignment]:
        """Give the points that a schedule commands. Raises NotFoundError."""
        self._get(schedule_id)
        rows = self.all(
            "SELECT * FROM schedule_assignment WHERE schedule_id = ? ORDER BY node_id", schedule_id
        )
        return [_assignment(row) for row in rows]

    @ray.method
    def record_written(self, schedule_id: int, node_id: str, value: PointValue | None) -> Assignment:
        """Note that a schedule has commanded a point, and tell the bus. Raises NotFoundError."""
        with self.transaction():
            row = self.one(
                "UPDATE schedule_assignment SET written_value = ?, written_at = ?"
                " WHERE schedule_id = ? AND node_id = ? RETURNING *",
                json.dumps(value),
                self.clock(),
                schedule_id,
                node_id,
            )
            if row is None:
                raise NotFoundError("assignment", f"{schedule_id} to {node_id}")
            self.publish(ScheduleWritten(schedule_id=schedule_id, node_id=node_id, value=value))
        return _assignment(row)

    # Within

    def _get(self, schedule_id: int) -> Schedule:
        row = self.one("SELECT * FROM schedule WHERE id = ?", schedule_id)
        if row is None:
            raise NotFoundError("schedule", schedule_id)
        return self._whole(row)

    def _whole(self, row: Row) -> Schedule:
        week = self.all(
            "SELECT weekday, time, value FROM schedule_entry WHERE schedule_id = ? ORDER BY weekday, time",
            row["id"],
        )
        exceptions = self.all(
            "SELECT * FROM schedule_exception WHERE schedule_id = ? ORDER BY priority, id", row["id"]
        )
        nodes = self.all(
            "SELECT node_id FROM schedule_assignment WHERE schedule_id = ? ORDER BY node_id", row["id"]
        )
        return Schedule(
            id=row["id"],
            name=row["name"],
            description=row["description"],
            kind=Kind(row["kind"]),
            default_value=json.loads(row["default_value"]),
            zone=row["zone"],
            starts_on=date.fromisoformat(row["starts_on"]) if row["starts_on"] else None,
            ends_on=date.fromisoformat(row["ends_on"]) if row["ends_on"] else None,
            priority=row["priority"],
            enabled=bool(row["enabled"]),
            week=[
                WeekEntry(weekday=each["weekday"], time=each["time"], value=json.loads(each["value"]))
                for each in week
            ],
            exceptions=[_exception(each) for each in exceptions],
            assignments=[each["node_id"] for each in nodes],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )

    def _exception(self, exception_id: int) -> ScheduleException:
        row = self.one("SELECT * FROM schedule_exception WHERE id = ?", exception_id)
        if row is None:
            raise NotFoundError("schedule exception", exception_id)
        return _exception(row)

    def _calendars(self) -> dict[int, Calendar]:
        rows = self.all("SELECT * FROM calendar ORDER BY id")
        return {row["id"]: self._with_entries(row) for row in rows}

    def _calendar(self, calendar_id: int) -> Calendar:
        row = self.one("SELECT * FROM calendar WHERE id = ?", calendar_id)
        if row is None:
            raise NotFoundError("calendar", calendar_id)
        return self._with_entries(row)

    def _with_entries(self, row: Row) -> Calendar:
        rows = self.all("SELECT * FROM calendar_entry WHERE calendar_id = ? ORDER BY id", row["id"])
        entries = [
            CalendarEntry(period=PERIOD.validate_json(each["period"]), label=each["label"]) for each in rows
        ]
        return Calendar(id=row["id"], name=row["name"], description=row["description"], entries=entries)

    def _assignment(self, schedule_id: int, node_id: str) -> Assignment:
        row = self.one(
            "SELECT * FROM schedule_assignment WHERE schedule_id = ? AND node_id = ?", schedule_id, node_id
        )
        if row is None:
            raise NotFoundError("assignment", f"{schedule_id} to {node_id}")
        return _assignment(row)


def _check_entries(field: str, kind: Kind, entries: Sequence[TimeValue]) -> None:
    for entry in entries:
        try:
            check_value(kind, entry.value)
        except ValueError as error:
            raise BadInputError(field, entry.value, f"values that fit: {error}") from None


def _columns(new: NewSchedule) -> tuple[Any, ...]:
    return (
        new.name,
        new.description,
        new.kind.value,
        json.dumps(new.default_value),
        new.zone,
        new.starts_on.isoformat() if new.starts_on else None,
        new.ends_on.isoformat() if new.ends_on else None,
        new.priority,
        int(new.enabled),
    )


def _exception_columns(new: NewException) -> tuple[Any, ...]:
    period = None if new.period is None else PERIOD.dump_json(new.period).decode()
    return new.name, new.priority, period, new.calendar_id, ENTRIES.dump_json(new.entries).decode()


def _exception(row: Row) -> ScheduleException:
    return ScheduleException.model_validate(
        row
        | {
            "period": None if row["period"] is None else PERIOD.validate_json(row["period"]),
            "entries": ENTRIES.validate_json(row["entries"]),
        }
    )


def _assignment(row: Row) -> Assignment:
    return Assignment.model_validate(row | {"written_value": json.loads(row["written_value"] or "null")})
