"""Tables of `fdd.db`."""

MIGRATIONS = (
    """
    CREATE TABLE fdd_rule (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL COLLATE NOCASE,
        description TEXT NOT NULL,
        condition TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('threshold', 'stuck_value', 'short_cycling', 'schedule_deviation',
            'demand_sensitive', 'builtin')),
        severity TEXT NOT NULL CHECK (severity IN ('critical', 'high', 'medium', 'low')),
        message TEXT NOT NULL,
        confirm REAL NOT NULL CHECK (confirm >= 0),
        tags TEXT NOT NULL,
        inputs TEXT NOT NULL,
        enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        deleted INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1))
    ) STRICT;
    CREATE UNIQUE INDEX fdd_rule_by_name ON fdd_rule (name) WHERE NOT deleted;
    CREATE TABLE fdd_binding (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        rule_id INTEGER NOT NULL REFERENCES fdd_rule (id) ON DELETE CASCADE,
        node_id TEXT NOT NULL,
        points TEXT NOT NULL,
        origin TEXT NOT NULL CHECK (origin IN ('explicit', 'auto')),
        UNIQUE (rule_id, node_id)
    ) STRICT;
    CREATE INDEX fdd_binding_by_node ON fdd_binding (node_id);
    CREATE TABLE fdd_fault (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        rule_id INTEGER NOT NULL REFERENCES fdd_rule (id),
        node_id TEXT NOT NULL,
        severity TEXT NOT NULL,
        message TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('raised', 'acknowledged', 'cleared')),
        evidence TEXT NOT NULL,
        raised_at INTEGER NOT NULL,
        acknowledged_at INTEGER,
        acknowledged_by TEXT,
        note TEXT,
        cleared_at INTEGER,
        CHECK ((state = 'cleared') = (cleared_at IS NOT NULL)),
        CHECK (state <> 'raised' OR acknowledged_by IS NULL),
        CHECK (state <> 'acknowledged' OR acknowledged_by IS NOT NULL)
    ) STRICT;
    CREATE UNIQUE INDEX fdd_fault_open ON fdd_fault (rule_id, node_id) WHERE state <> 'cleared';
    CREATE INDEX fdd_fault_by_state ON fdd_fault (state, id);
    CREATE INDEX fdd_fault_by_rule ON fdd_fault (rule_id, id);
    CREATE INDEX fdd_fault_by_node ON fdd_fault (node_id, id);
    CREATE INDEX fdd_fault_by_time ON fdd_fault (raised_at)
    """,
)
