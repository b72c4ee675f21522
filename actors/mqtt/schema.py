"""Tables of `mqtt.db`."""

MIGRATIONS = (
    """
    CREATE TABLE mqtt_broker (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        host TEXT NOT NULL,
        port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
        client_id TEXT NOT NULL UNIQUE,
        username TEXT,
        secret TEXT,
        tls TEXT NOT NULL,
        keepalive INTEGER NOT NULL CHECK (keepalive BETWEEN 5 AND 3600),
        status_topic TEXT NOT NULL,
        sites TEXT NOT NULL,
        tags TEXT NOT NULL,
        enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        created_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE mqtt_topic_pattern (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        broker_id INTEGER NOT NULL REFERENCES mqtt_broker (id) ON DELETE CASCADE,
        event TEXT NOT NULL,
        template TEXT NOT NULL,
        qos INTEGER NOT NULL CHECK (qos BETWEEN 0 AND 2),
        retain INTEGER NOT NULL CHECK (retain IN (0, 1)),
        enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        UNIQUE (broker_id, event, template)
    ) STRICT;
    """,
)
