"""The store of report definitions, their schedules and what came of them."""

from collections.abc import Sequence
from typing import ClassVar

import ray
from pydantic import TypeAdapter

from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.core.sqlite import Durability, Row
from actors.core.store import Store, unique
from actors.report.logic import covered, may_become, next_run, sections_of
from actors.report.models import (
    ExecutionState,
    NewReport,
    NewReportSchedule,
    Report,
    ReportExecution,
    ReportSchedule,
    Section,
    Timing,
)
from actors.report.schema import MIGRATIONS

SECTIONS: TypeAdapter[list[Section]] = TypeAdapter(list[Section])
TIMING: TypeAdapter[Timing] = TypeAdapter(Timing)
RECIPIENTS: TypeAdapter[list[str]] = TypeAdapter(list[str])

KEEP_EXECUTIONS = 100
"""Executions kept of each definition."""
LONGEST_DOCUMENT = 20_000_000
"""Characters of one document."""

EXECUTION = (
    "SELECT id, definition_id, schedule_id, state, requested_by, requested_at, started_at, finished_at,"
    " range_start, range_end, error, coalesce(octet_length(document), 0) AS size FROM report_execution"
)


class ReportStore(Store):
    """Keep report definitions, schedules and executions.

    Deleting a definition deletes its schedules and executions. An execution that was running when the process
    died stays `running`; whoever makes reports calls `abandon` when it starts.
    """

    name: ClassVar[str] = "reports"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL
    watched: ClassVar[bool] = True

    # Definitions

    @ray.method
    def create(self, new: NewReport, by: str) -> Report:
        """Add a definition. Raises ConflictError for a name that is taken."""
        now = self.clock()
        with self.transaction(), unique("report", new.name):
            row = self.one(
                "INSERT INTO report_definition"
                " (name, description, template, sections, created_by, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
                *_columns(new),
                by,
                now,
                now,
            )
            self.config_moved()
        return _report(row or {})

    @ray.method
    def update(self, report_id: int, new: NewReport) -> Report:
        """Replace a definition. Raises NotFoundError, and ConflictError for a name that is taken."""
        with self.transaction(), unique("report", new.name):
            row = self.one(
                "UPDATE report_definition SET name = ?, description = ?, template = ?, sections = ?,"
                " updated_at = ? WHERE id = ? RETURNING *",
                *_columns(new),
                self.clock(),
                report_id,
            )
            if row is None:
                raise NotFoundError("report", report_id)
            self.config_moved()
        return _report(row)

    @ray.method
    def delete(self, report_id: int) -> Report:
        """Delete a definition with its schedules and executions. Raises NotFoundError."""
        with self.transaction():
            row = self.one("DELETE FROM report_definition WHERE id = ? RETURNING *", report_id)
            if row is None:
                raise NotFoundError("report", report_id)
            self.config_moved()
        return _report(row)

    @ray.method
    def get(self, report_id: int) -> Report:
        """Give one definition. Raises NotFoundError."""
        return self._get(report_id)

    def _get(self, report_id: int) -> Report:
        row = self.one("SELECT * FROM report_definition WHERE id = ?", report_id)
        if row is None:
            raise NotFoundError("report", report_id)
        return _report(row)

    @ray.method
    def find(
        self,
        template: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Report], str | None]:
        """Give definitions, of a template or with a text in their name. Raises BadInputError."""
        rows, after = self.page_of(
            "SELECT * FROM report_definition",
            {"template = ?": template, "instr(lower(name), lower(?))": text},
            limit,
            cursor,
        )
        return [_report(row) for row in rows], after

    # Schedules

    @ray.method
    def create_schedule(self, report_id: int, new: NewReportSchedule) -> ReportSchedule:
        """Add a schedule to a definition. Raises NotFoundError."""
        with self.transaction():
            self._get(report_id)
            row = self.one(
                "INSERT INTO report_schedule (definition_id, timing, recipients, enabled, next_run)"
                " VALUES (?, ?, ?, ?, ?) RETURNING *",
                report_id,
                *self._schedule_columns(new),
            )
            self.config_moved()
        return _schedule(row or {})

    @ray.method
    def update_schedule(self, schedule_id: int, new: NewReportSchedule) -> ReportSchedule:
        """Replace a schedule; its next run is computed anew. Raises NotFoundError."""
        with self.transaction():
            row = self.one(
                "UPDATE report_schedule SET timing = ?, recipients = ?, enabled = ?, next_run = ?"
                " WHERE id = ? RETURNING *",
                *self._schedule_columns(new),
                schedule_id,
            )
            if row is None:
                raise NotFoundError("report schedule", schedule_id)
            self.config_moved()
        return _schedule(row)

    @ray.method
    def delete_schedule(self, schedule_id: int) -> ReportSchedule:
        """Delete a schedule; executions that it caused stay. Raises NotFoundError."""
        with self.transaction():
            row = self.one("DELETE FROM report_schedule WHERE id = ? RETURNING *", schedule_id)
            if row is None:
                raise NotFoundError("report schedule", schedule_id)
            self.config_moved()
        return _schedule(row)

    @ray.method
    def schedule(self, schedule_id: int) -> ReportSchedule:
        """Give one schedule. Raises NotFoundError."""
        row = self.one("SELECT * FROM report_schedule WHERE id = ?", schedule_id)
        if row is None:
            raise NotFoundError("report schedule", schedule_id)
        return _schedule(row)

    @ray.method
    def schedules(self, report_id: int) -> list[ReportSchedule]:
        """Give the schedules of a definition. Raises NotFoundError."""
        self._get(report_id)
        rows = self.all("SELECT * FROM report_schedule WHERE definition_id = ? ORDER BY id", report_id)
        return [_schedule(row) for row in rows]

    @ray.method
    def in_force(self) -> tuple[int, list[ReportSchedule]]:
        """Give the version of the configuration and all enabled schedules."""
        rows = self.all("SELECT * FROM report_schedule WHERE enabled ORDER BY id")
        return self.version(), [_schedule(row) for row in rows]

    @ray.method
    def take_due(self) -> list[ReportExecution]:
        """Queue an execution for each schedule whose time has come, and set its next run.

        Runs that were missed while nobody asked are made once, not once each. A next run that was set under a
        clock that was ahead is brought back to the next one by the present clock.
        """
        now = self.clock()
        queued: list[ReportExecution] = []
        with self.transaction():
            for row in self.all("SELECT * FROM report_schedule WHERE enabled AND next_run > ?", now):
                if row["next_run"] > (following := next_run(_schedule(row).timing, now)):
                    self.run("UPDATE report_schedule SET next_run = ? WHERE id = ?", following, row["id"])
            due = self.all(
                "SELECT * FROM report_schedule WHERE enabled AND next_run <= ? ORDER BY next_run, id", now
            )
            for row in due:
                schedule = _schedule(row)
                start, end = covered(schedule.timing, row["next_run"])
                self.run(
                    "UPDATE report_schedule SET next_run = ?, last_run = ? WHERE id = ?",
                    next_run(schedule.timing, now),
                    row["next_run"],
                    schedule.id,
                )
                queued.append(self._queue(schedule.definition_id, "schedule", start, end, schedule.id))
        return queued

    # Executions

    @ray.method
    def queue(self, report_id: int, by: str, start: int, end: int) -> ReportExecution:
        """Note that a report is to be made over [start, end) ms. Raises NotFoundError, BadInputError."""
        if start >= end:
            raise BadInputError("end", end, "a time after start")
        with self.transaction():
            self._get(report_id)
            return self._queue(report_id, by, start, end, None)

    def _queue(
        self, report_id: int, by: str, start: int, end: int, schedule_id: int | None
    ) -> ReportExecution:
        row = self.one(
            "INSERT INTO report_execution"
            " (definition_id, schedule_id, state, requested_by, requested_at, range_start, range_end)"
            " VALUES (?, ?, 'queued', ?, ?, ?, ?) RETURNING id",
            report_id,
            schedule_id,
            by,
            self.clock(),
            start,
            end,
        )
        # Those that are still to be made are never pruned.
        self.run(
            "DELETE FROM report_execution WHERE definition_id = ?1 AND state IN ('done', 'failed')"
            " AND id NOT IN (SELECT id FROM report_execution WHERE definition_id = ?1"
            " ORDER BY id DESC LIMIT ?2)",
            report_id,
            KEEP_EXECUTIONS,
        )
        return self._execution(row["id"] if row else 0)

    @ray.method
    def start_execution(self, execution_id: int) -> ReportExecution:
        """Note that a report is being made. Raises NotFoundError and ConflictError."""
        with self.transaction():
            self._move(execution_id, ExecutionState.RUNNING)
            self.run(
                "UPDATE report_execution SET started_at = max(?, requested_at) WHERE id = ?",
                self.clock(),
                execution_id,
            )
            return self._execution(execution_id)

    @ray.method
    def finish(self, execution_id: int, document: str) -> ReportExecution:
        """Keep the document (HTML) of a report. Raises NotFoundError, ConflictError, BadInputError."""
        if not 0 < len(document) <= LONGEST_DOCUMENT:
            raise BadInputError("document", len(document), f"1 to {LONGEST_DOCUMENT} characters")
        with self.transaction():
            self._move(execution_id, ExecutionState.DONE, document=document)
            return self._execution(execution_id)

    @ray.method
    def fail(self, execution_id: int, error: str) -> ReportExecution:
        """Note why a report was not made. Raises NotFoundError and ConflictError."""
        with self.transaction():
            self._move(execution_id, ExecutionState.FAILED, error=error[:1000] or "unknown")
            return self._execution(execution_id)

    @ray.method
    def abandon(self) -> int:
        """Fail executions that were running when their maker died; give how many."""
        with self.transaction():
            return self.run(
                "UPDATE report_execution SET state = 'failed', error = 'interrupted',"
                " finished_at = max(?, started_at) WHERE state = 'running'",
                self.clock(),
            )

    @ray.method
    def execution(self, execution_id: int) -> ReportExecution:
        """Give one execution. Raises NotFoundError."""
        return self._execution(execution_id)

    @ray.method
    def document(self, execution_id: int) -> str:
        """Give the document of an execution. Raises NotFoundError, and ConflictError when there is none."""
        row = self.one("SELECT state, document FROM report_execution WHERE id = ?", execution_id)
        if row is None:
            raise NotFoundError("report execution", execution_id)
        if row["document"] is None:
            raise ConflictError("report execution", execution_id, f"it is {row['state']}, not done")
        return str(row["document"])

    @ray.method
    def executions(
        self,
        report_id: int | None = None,
        state: ExecutionState | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[ReportExecution], str | None]:
        """Give executions, newest first. Raises BadInputError."""
        rows, after = self.page_of(
            EXECUTION,
            {"definition_id = ?": report_id, "state = ?": state},
            limit,
            cursor,
            newest_first=True,
        )
        return [ReportExecution.model_validate(row) for row in rows], after

    # Within

    def _execution(self, execution_id: int) -> ReportExecution:
        row = self.one(EXECUTION + " WHERE id = ?", execution_id)
        if row is None:
            raise NotFoundError("report execution", execution_id)
        return ReportExecution.model_validate(row)

    def _move(
        self,
        execution_id: int,
        state: ExecutionState,
        *,
        document: str | None = None,
        error: str | None = None,
    ) -> None:
        before = self._execution(execution_id).state
        if not may_become(before, state):
            reason = f"it is {before.value} and can't become {state.value}"
            raise ConflictError("report execution", execution_id, reason)
        finished = None if state is ExecutionState.RUNNING else self.clock()
        self.run(
            "UPDATE report_execution SET state = ?, document = ?, error = ?,"
            " finished_at = max(?, ifnull(started_at, requested_at)) WHERE id = ?",
            state.value,
            document,
            error,
            finished,
            execution_id,
        )

    def _schedule_columns(self, new: NewReportSchedule) -> tuple[str, str, int, int | None]:
        following = next_run(new.timing, self.clock()) if new.enabled else None
        return (
            TIMING.dump_json(new.timing).decode(),
            RECIPIENTS.dump_json(list(new.recipients)).decode(),
            int(new.enabled),
            following,
        )


def _columns(new: NewReport) -> tuple[str, str, str, str]:
    sections = sections_of(new.template, new.sections)
    return new.name, new.description, new.template.value, SECTIONS.dump_json(sections).decode()


def _report(row: Row) -> Report:
    return Report.model_validate(row | {"sections": SECTIONS.validate_json(row["sections"])})


def _schedule(row: Row) -> ReportSchedule:
    return ReportSchedule.model_validate(
        row
        | {
            "timing": TIMING.validate_json(row["timing"]),
            "recipients": RECIPIENTS.validate_json(row["recipients"]),
            "enabled": bool(row["enabled"]),
        }
    )
