"""Table of `overrides.db`."""

MIGRATIONS = (
    """
    CREATE TABLE override (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        node_id TEXT NOT NULL,
        priority INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 16),
        value TEXT NOT NULL,
        by TEXT NOT NULL,
        at INTEGER NOT NULL,
        expires_at INTEGER,
        note TEXT,
        UNIQUE (node_id, priority)
    ) STRICT;
    CREATE INDEX override_by_expiry ON override (expires_at) WHERE expires_at IS NOT NULL;
    """,
)
