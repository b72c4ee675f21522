"""The store of programs, their runs and what they remember."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import ray
from pydantic import TypeAdapter

from actors.bus.events import Changed
from actors.core.errors import BadInputError, NotFoundError
from actors.core.sqlite import Durability, Row
from actors.core.store import Store, unique
from actors.program.logic import check, refuse
from actors.program.models import (
    Block,
    Execution,
    NewExecution,
    NewProgram,
    Program,
    RunState,
    SavedState,
    Trigger,
    Written,
)
from actors.program.schema import MIGRATIONS

BLOCKS: TypeAdapter[list[Block]] = TypeAdapter(list[Block])
TRIGGER: TypeAdapter[Trigger] = TypeAdapter(Trigger)
WRITES: TypeAdapter[list[Written]] = TypeAdapter(list[Written])

CHANNEL = "programs"
"""The change channel that names the program that was saved or deleted."""
LARGEST_STATE = 1_000_000
"""Characters of what one program may remember."""
LONGEST_MESSAGES = 100


class ProgramStore(Store):
    """Keep programs, the last 100 runs of each, and the state that their blocks remember.

    A program that isn't right is not saved. Each change gives it a new version, goes over the change channel
    `programs`, and moves the watch cell. Runs are written once per run and lost at worst with the disk.
    """

    name: ClassVar[str] = "programs"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL
    watched: ClassVar[bool] = True

    # Programs

    @ray.method
    def create(self, new: NewProgram, by: str) -> Program:
        """Save a new program.

        Raises BadInputError that names the block at fault, and ConflictError for a name that is taken.
        """
        refuse(check(new))
        now = self.clock()
        with self.transaction(), unique("program", new.name):
            row = self.one(
                "INSERT INTO program (name, description, blocks, trigger, priority, enabled, shadow,"
                " version, created_at, updated_at, updated_by) VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)"
                " RETURNING *",
                *_columns(new),
                now,
                now,
                by,
            )
            program = _program(row or {})
            self._changed(program.id)
        return program

    @ray.method
    def update(self, program_id: int, new: NewProgram, by: str) -> Program:
        """Replace a program. Raises NotFoundError, BadInputError, ConflictError for a name that is taken."""
        refuse(check(new))
        with self.transaction(), unique("program", new.name):
            row = self.one(
                "UPDATE program SET name = ?, description = ?, blocks = ?, trigger = ?, priority = ?,"
                " enabled = ?, shadow = ?, version = version + 1, updated_at = ?, updated_by = ?"
                " WHERE id = ? RETURNING *",
                *_columns(new),
                self.clock(),
                by,
                program_id,
            )
            if row is None:
                raise NotFoundError("program", program_id)
            self._changed(program_id)
        return _program(row)

    @ray.method
    def set_shadow(self, program_id: int, shadow: bool, by: str) -> Program:
        """Let a program run without writing, or write again. Raises NotFoundError."""
        with self.transaction():
            row = self.one(
                "UPDATE program SET shadow = ?, version = version + 1, updated_at = ?, updated_by = ?"
                " WHERE id = ? RETURNING *",
                int(shadow),
                self.clock(),
                by,
                program_id,
            )
            if row is None:
                raise NotFoundError("program", program_id)
            self._changed(program_id)
        return _program(row)

    @ray.method
    def delete(self, program_id: int) -> Program:
        """Delete a program with its runs and state. Raises NotFoundError."""
        with self.transaction():
            row = self.one("DELETE FROM program WHERE id = ? RETURNING *", program_id)
            if row is None:
                raise NotFoundError("program", program_id)
            self._changed(program_id)
        return _program(row)

    def _changed(self, program_id: int) -> None:
        self.config_moved()
        self.publish(Changed(channel=CHANNEL, key=str(program_id)))

    @ray.method
    def get(self, program_id: int) -> Program:
        """Give one program. Raises NotFoundError."""
        return self._get(program_id)

    def _get(self, program_id: int) -> Program:
        row = self.one("SELECT * FROM program WHERE id = ?", program_id)
        if row is None:
            raise NotFoundError("program", program_id)
        return _program(row)

    @ray.method
    def find(
        self,
        enabled: bool | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Program], str | None]:
        """Give programs, with a text in their name or description. Raises BadInputError."""
        rows, after = self.page_of(
            "SELECT * FROM program",
            {"enabled = ?": enabled, "instr(lower(name || ' ' || description), lower(?))": text},
            limit,
            cursor,
        )
        return [_program(row) for row in rows], after

    @ray.method
    def in_force(self) -> tuple[int, list[Program]]:
        """Give the version of the configuration and all enabled programs."""
        rows = self.all("SELECT * FROM program WHERE enabled ORDER BY id")
        return self.version(), [_program(row) for row in rows]

    # Runs

    @ray.method
    def log(self, program_id: int, runs: Sequence[NewExecution]) -> None:
        """Add runs to a program's log; only the last 100 stay. Raises NotFoundError."""
        with self.transaction():
            self._get(program_id)
            self.many(
                "INSERT INTO program_execution (program_id, version, cause, started_at, duration_us, state,"
                " writes, messages, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        program_id,
                        run.version,
                        run.cause.value,
                        run.started_at,
                        run.duration_us,
                        run.state.value,
                        WRITES.dump_json(run.writes).decode(),
                        json.dumps([each[:1000] for each in run.messages[:LONGEST_MESSAGES]]),
                        run.error,
                    )
                    for run in runs
                ],
            )

    @ray.method
    def executions(
        self,
        program_id: int,
        state: RunState | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Execution], str | None]:
        """Give a program's runs, newest first. Raises NotFoundError and BadInputError."""
        self._get(program_id)
        rows, after = self.page_of(
            "SELECT * FROM program_execution",
            {"program_id = ?": program_id, "state = ?": state},
            limit,
            cursor,
            newest_first=True,
        )
        return [_execution(row) for row in rows], after

    # What blocks remember

    @ray.method
    def save_state(self, program_id: int, version: int, state: dict[str, Any]) -> None:
        """Keep what a program's blocks remember, of one version. Raises NotFoundError and BadInputError."""
        text = json.dumps(state)
        if len(text) > LARGEST_STATE:
            raise BadInputError("state", len(text), f"at most {LARGEST_STATE} characters of JSON")
        with self.transaction():
            self._get(program_id)
            self.run(
                "INSERT INTO program_state (program_id, version, state, saved_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (program_id) DO UPDATE SET version = excluded.version,"
                " state = excluded.state, saved_at = excluded.saved_at",
                program_id,
                version,
                text,
                self.clock(),
            )

    @ray.method
    def state(self, program_id: int) -> SavedState | None:
        """Give what a program's blocks remembered last, or None. Raises NotFoundError."""
        self._get(program_id)
        row = self.one("SELECT * FROM program_state WHERE program_id = ?", program_id)
        return None if row is None else SavedState.model_validate(row | {"state": json.loads(row["state"])})


def _columns(new: NewProgram) -> tuple[Any, ...]:
    return (
        new.name,
        new.description,
        BLOCKS.dump_json(new.blocks).decode(),
        TRIGGER.dump_json(new.trigger).decode(),
        new.priority,
        int(new.enabled),
        int(new.shadow),
    )


def _program(row: Row) -> Program:
    return Program.model_validate(
        row
        | {
            "blocks": BLOCKS.validate_json(row["blocks"]),
            "trigger": TRIGGER.validate_json(row["trigger"]),
            "enabled": bool(row["enabled"]),
            "shadow": bool(row["shadow"]),
        }
    )


def _execution(row: Row) -> Execution:
    return Execution.model_validate(
        row | {"writes": json.loads(row["writes"]), "messages": json.loads(row["messages"])}
    )
