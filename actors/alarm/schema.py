"""Tables of `alarms.db`."""

MIGRATIONS = (
    """
    CREATE TABLE alarm_config (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        node_id TEXT NOT NULL,
        condition TEXT NOT NULL,
        severity TEXT NOT NULL,
        message TEXT NOT NULL,
        enabled INTEGER NOT NULL,
        origin TEXT,
        origin_key TEXT,
        edited INTEGER NOT NULL DEFAULT 0,
        deleted INTEGER NOT NULL DEFAULT 0,
        UNIQUE (origin, origin_key)
    ) STRICT;
    CREATE INDEX alarm_config_by_node ON alarm_config (node_id);
    CREATE TABLE alarm (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        config_id INTEGER REFERENCES alarm_config (id),
        node_id TEXT NOT NULL,
        severity TEXT NOT NULL,
        message TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('active', 'acknowledged', 'cleared', 'closed')),
        value TEXT NOT NULL,
        raised_at INTEGER NOT NULL,
        cleared_at INTEGER,
        acknowledged_at INTEGER,
        acknowledged_by TEXT,
        note TEXT,
        shelved_until INTEGER
    ) STRICT;
    CREATE UNIQUE INDEX alarm_open_by_config ON alarm (config_id) WHERE state <> 'closed';
    CREATE INDEX alarm_by_state ON alarm (state, id);
    CREATE INDEX alarm_by_node ON alarm (node_id, id);
    CREATE TABLE alarm_history (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        alarm_id INTEGER NOT NULL REFERENCES alarm (id),
        node_id TEXT NOT NULL,
        severity TEXT NOT NULL,
        message TEXT NOT NULL,
        event TEXT NOT NULL,
        at INTEGER NOT NULL,
        by TEXT,
        value TEXT NOT NULL
    ) STRICT;
    CREATE INDEX alarm_history_by_alarm ON alarm_history (alarm_id, id);
    CREATE INDEX alarm_history_by_node ON alarm_history (node_id, id);
    CREATE TABLE config_version (version INTEGER NOT NULL) STRICT;
    INSERT INTO config_version VALUES (0);
    """,
    # Alarms stay for ever: no question of the engine may read them all.
    """
    CREATE INDEX alarm_by_config ON alarm (config_id, id);
    CREATE INDEX alarm_shelved ON alarm (shelved_until) WHERE shelved_until IS NOT NULL;
    CREATE INDEX alarm_history_by_time ON alarm_history (at, id);
    """,
    # Alarms that a device has raised itself, and what is needed to acknowledge them there.
    """
    ALTER TABLE alarm ADD COLUMN source TEXT;
    ALTER TABLE alarm ADD COLUMN detail TEXT;
    CREATE UNIQUE INDEX alarm_open_by_source ON alarm (source) WHERE source IS NOT NULL AND state <> 'closed';
    CREATE INDEX alarm_by_source ON alarm (source, id) WHERE source IS NOT NULL;
    """,
)
