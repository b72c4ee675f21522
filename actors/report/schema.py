"""Tables of `reports.db`."""

MIGRATIONS = (
    """
    CREATE TABLE report_definition (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        description TEXT NOT NULL,
        template TEXT NOT NULL
            CHECK (template IN ('daily_operations', 'weekly_alarms', 'monthly_energy', 'comfort', 'custom')),
        sections TEXT NOT NULL,
        created_by TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE report_schedule (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        definition_id INTEGER NOT NULL REFERENCES report_definition (id) ON DELETE CASCADE,
        timing TEXT NOT NULL,
        recipients TEXT NOT NULL,
        enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        next_run INTEGER,
        last_run INTEGER
    ) STRICT;
    CREATE INDEX report_schedule_by_definition ON report_schedule (definition_id, id);
    CREATE INDEX report_schedule_due ON report_schedule (next_run) WHERE enabled;
    CREATE TABLE report_execution (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        definition_id INTEGER NOT NULL REFERENCES report_definition (id) ON DELETE CASCADE,
        schedule_id INTEGER REFERENCES report_schedule (id) ON DELETE SET NULL,
        state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed')),
        requested_by TEXT NOT NULL,
        requested_at INTEGER NOT NULL,
        started_at INTEGER,
        finished_at INTEGER,
        range_start INTEGER NOT NULL,
        range_end INTEGER NOT NULL,
        document TEXT,
        error TEXT,
        CHECK (range_start < range_end),
        CHECK ((document IS NOT NULL) = (state = 'done')),
        CHECK ((error IS NOT NULL) = (state = 'failed'))
    ) STRICT;
    CREATE INDEX report_execution_by_definition ON report_execution (definition_id, id);
    CREATE INDEX report_execution_by_schedule ON report_execution (schedule_id);
    CREATE INDEX report_execution_by_state ON report_execution (state, id);
    """,
)
