"""Tables of `export.db`."""

MIGRATIONS = (
    """
    CREATE TABLE export_target (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        kind TEXT NOT NULL CHECK (kind IN ('influxdb', 'postgresql')),
        connection TEXT NOT NULL,
        secret TEXT,
        selection TEXT NOT NULL,
        batch_size INTEGER NOT NULL CHECK (batch_size BETWEEN 1 AND 50000),
        live INTEGER NOT NULL CHECK (live IN (0, 1)),
        enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        created_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE export_state (
        target_id INTEGER NOT NULL REFERENCES export_target (id) ON DELETE CASCADE,
        site TEXT NOT NULL,
        point_id TEXT NOT NULL,
        cursor INTEGER NOT NULL,
        rows_sent INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (target_id, site, point_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE export_status (
        target_id INTEGER PRIMARY KEY REFERENCES export_target (id) ON DELETE CASCADE,
        rows_sent INTEGER NOT NULL DEFAULT 0,
        last_success INTEGER,
        last_failure INTEGER,
        last_error TEXT,
        failures INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE export_backfill (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        target_id INTEGER NOT NULL REFERENCES export_target (id) ON DELETE CASCADE,
        state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
        range_start INTEGER NOT NULL,
        range_end INTEGER NOT NULL,
        reached INTEGER NOT NULL,
        rows_sent INTEGER NOT NULL DEFAULT 0,
        requested_by TEXT NOT NULL,
        requested_at INTEGER NOT NULL,
        finished_at INTEGER,
        error TEXT,
        CHECK (range_start < range_end),
        CHECK (reached BETWEEN range_start AND range_end)
    ) STRICT;
    CREATE INDEX export_backfill_by_target ON export_backfill (target_id, id);
    """,
)
