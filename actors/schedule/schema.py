"""Tables of `schedules.db`."""

MIGRATIONS = (
    """
    CREATE TABLE schedule (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        description TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('analog', 'binary', 'multistate')),
        default_value TEXT NOT NULL,
        zone TEXT NOT NULL,
        starts_on TEXT,
        ends_on TEXT,
        priority INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 16),
        enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE schedule_entry (
        schedule_id INTEGER NOT NULL REFERENCES schedule (id) ON DELETE CASCADE,
        weekday INTEGER NOT NULL CHECK (weekday BETWEEN 1 AND 7),
        time TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (schedule_id, weekday, time)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE calendar (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        description TEXT NOT NULL
    ) STRICT;
    CREATE TABLE calendar_entry (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        calendar_id INTEGER NOT NULL REFERENCES calendar (id) ON DELETE CASCADE,
        period TEXT NOT NULL,
        label TEXT NOT NULL
    ) STRICT;
    CREATE INDEX calendar_entry_by_calendar ON calendar_entry (calendar_id, id);
    CREATE TABLE schedule_exception (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        schedule_id INTEGER NOT NULL REFERENCES schedule (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        priority INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 16),
        period TEXT,
        calendar_id INTEGER REFERENCES calendar (id) ON DELETE RESTRICT,
        entries TEXT NOT NULL,
        CHECK ((period IS NULL) <> (calendar_id IS NULL))
    ) STRICT;
    CREATE INDEX schedule_exception_by_schedule ON schedule_exception (schedule_id, priority, id);
    CREATE INDEX schedule_exception_by_calendar ON schedule_exception (calendar_id);
    CREATE TABLE schedule_assignment (
        schedule_id INTEGER NOT NULL REFERENCES schedule (id) ON DELETE CASCADE,
        node_id TEXT NOT NULL,
        written_value TEXT,
        written_at INTEGER,
        PRIMARY KEY (schedule_id, node_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX schedule_assignment_by_node ON schedule_assignment (node_id);
    """,
)
