"""Tables of `webhooks.db`."""

MIGRATIONS = (
    """
    CREATE TABLE webhook_endpoint (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        kind TEXT NOT NULL CHECK (kind IN ('generic', 'slack', 'teams', 'pagerduty', 'ntfy')),
        url TEXT NOT NULL,
        secret TEXT,
        events TEXT NOT NULL,
        severities TEXT NOT NULL,
        tags TEXT NOT NULL,
        sites TEXT NOT NULL,
        enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        created_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE webhook_delivery (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        endpoint_id INTEGER NOT NULL REFERENCES webhook_endpoint (id) ON DELETE CASCADE,
        event_key TEXT NOT NULL,
        event_type TEXT NOT NULL,
        payload TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
        attempts INTEGER NOT NULL DEFAULT 0,
        created_at INTEGER NOT NULL,
        next_attempt INTEGER,
        finished_at INTEGER,
        status_code INTEGER,
        duration_ms INTEGER,
        error TEXT,
        UNIQUE (endpoint_id, event_key),
        CHECK ((next_attempt IS NOT NULL) = (state = 'pending'))
    ) STRICT;
    CREATE INDEX webhook_delivery_due ON webhook_delivery (next_attempt, id) WHERE state = 'pending';
    CREATE INDEX webhook_delivery_by_state ON webhook_delivery (state, id);
    CREATE TABLE webhook_config (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        paused INTEGER NOT NULL CHECK (paused IN (0, 1)),
        timeout_seconds REAL NOT NULL,
        allowed_networks TEXT NOT NULL,
        keep_days INTEGER NOT NULL
    ) STRICT;
    INSERT INTO webhook_config VALUES (1, 0, 10.0, '[]', 30);
    """,
    """
    CREATE INDEX webhook_delivery_by_endpoint ON webhook_delivery (endpoint_id, id);
    CREATE INDEX webhook_delivery_by_type ON webhook_delivery (event_type, id);
    CREATE INDEX webhook_delivery_over ON webhook_delivery (finished_at) WHERE finished_at IS NOT NULL;
    """,
)
