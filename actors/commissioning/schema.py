"""Tables of `commissioning.db`, as the reference names them."""

MIGRATIONS = (
    """
    CREATE TABLE commission_session (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        node_id TEXT NOT NULL,
        name TEXT NOT NULL,
        note TEXT,
        state TEXT NOT NULL CHECK (state IN ('not_started', 'in_progress', 'completed', 'signed_off')),
        created_at INTEGER NOT NULL,
        created_by TEXT NOT NULL,
        started_at INTEGER,
        started_by TEXT,
        completed_at INTEGER,
        completed_by TEXT,
        signed_off_at INTEGER,
        signed_off_by TEXT,
        sign_off_note TEXT,
        accepted_failures INTEGER,
        CHECK ((state = 'not_started') = (started_by IS NULL)),
        CHECK ((state = 'signed_off') = (signed_off_by IS NOT NULL))
    ) STRICT;
    CREATE UNIQUE INDEX commission_session_open ON commission_session (node_id) WHERE state <> 'signed_off';
    CREATE INDEX commission_session_by_node ON commission_session (node_id, id);
    CREATE INDEX commission_session_by_state ON commission_session (state, id);
    CREATE TABLE commission_item (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        session_id INTEGER NOT NULL REFERENCES commission_session (id) ON DELETE CASCADE,
        node_id TEXT NOT NULL,
        dis TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('read', 'write', 'alarm', 'schedule')),
        state TEXT NOT NULL DEFAULT 'not_started'
            CHECK (state IN ('not_started', 'verified', 'failed', 'deferred')),
        note TEXT,
        attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
        result_at INTEGER,
        result_by TEXT,
        UNIQUE (session_id, node_id, kind),
        CHECK ((state = 'not_started') = (result_by IS NULL))
    ) STRICT;
    CREATE INDEX commission_item_by_session ON commission_item (session_id, state, id)
    """,
    # What was done to verify an item, and what is written for a test just now, so that it is given back after
    # a crash.
    """
    CREATE TABLE commission_check (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        item_id INTEGER NOT NULL REFERENCES commission_item (id) ON DELETE CASCADE,
        state TEXT NOT NULL CHECK (state IN ('verified', 'failed')),
        summary TEXT NOT NULL,
        steps TEXT NOT NULL,
        checked_at INTEGER NOT NULL,
        checked_by TEXT NOT NULL
    ) STRICT;
    CREATE INDEX commission_check_by_item ON commission_check (item_id, id);
    CREATE TABLE commission_write (
        node_id TEXT PRIMARY KEY,
        item_id INTEGER NOT NULL,
        priority INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 16),
        value TEXT NOT NULL,
        value_before TEXT NOT NULL,
        written_at INTEGER NOT NULL,
        written_by TEXT NOT NULL
    ) STRICT;
    """,
)
