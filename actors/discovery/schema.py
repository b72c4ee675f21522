"""Tables of `discovery.db`, version by version."""

MIGRATIONS = (
    """
    CREATE TABLE discovered_device (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        protocol TEXT NOT NULL,
        device_key TEXT NOT NULL,
        address TEXT NOT NULL,
        name TEXT NOT NULL DEFAULT '',
        state TEXT NOT NULL DEFAULT 'discovered' CHECK (state IN ('discovered', 'accepted', 'ignored')),
        first_seen INTEGER NOT NULL,
        last_seen INTEGER NOT NULL,
        UNIQUE (protocol, device_key, address)
    ) STRICT;
    CREATE TABLE discovered_point (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        device_id INTEGER NOT NULL REFERENCES discovered_device (id) ON DELETE CASCADE,
        point_key TEXT NOT NULL,
        name TEXT NOT NULL DEFAULT '',
        kind TEXT NOT NULL,
        units TEXT,
        value TEXT,
        UNIQUE (device_id, point_key)
    ) STRICT;
    """,
    """
    ALTER TABLE discovered_device ADD COLUMN vendor TEXT NOT NULL DEFAULT '';
    ALTER TABLE discovered_device ADD COLUMN model TEXT NOT NULL DEFAULT '';
    ALTER TABLE discovered_device ADD COLUMN firmware TEXT NOT NULL DEFAULT '';
    ALTER TABLE discovered_point ADD COLUMN writable INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE discovered_point ADD COLUMN description TEXT NOT NULL DEFAULT '';
    """,
    """
    ALTER TABLE discovered_device ADD COLUMN network_id TEXT NOT NULL DEFAULT 'default';
    CREATE UNIQUE INDEX discovered_device_by_key
        ON discovered_device (network_id, protocol, device_key, address);
    CREATE INDEX discovered_device_by_state ON discovered_device (state, id);
    """,
    """
    ALTER TABLE discovered_device ADD COLUMN object_list_stale INTEGER NOT NULL DEFAULT 0
        CHECK (object_list_stale IN (0, 1));
    """,
    # One device may stand on two networks at the same address, which the first version's UNIQUE forbids; and
    # what a device has become, and scans, are kept from here on.
    """
    CREATE TABLE discovered_device_next (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        network_id TEXT NOT NULL DEFAULT 'default',
        protocol TEXT NOT NULL,
        device_key TEXT NOT NULL,
        address TEXT NOT NULL,
        name TEXT NOT NULL DEFAULT '',
        vendor TEXT NOT NULL DEFAULT '',
        model TEXT NOT NULL DEFAULT '',
        firmware TEXT NOT NULL DEFAULT '',
        state TEXT NOT NULL DEFAULT 'discovered' CHECK (state IN ('discovered', 'accepted', 'ignored')),
        object_list_stale INTEGER NOT NULL DEFAULT 0 CHECK (object_list_stale IN (0, 1)),
        created_node_ids TEXT NOT NULL DEFAULT '[]',
        first_seen INTEGER NOT NULL,
        last_seen INTEGER NOT NULL,
        changed_by TEXT,
        changed_at INTEGER,
        UNIQUE (network_id, protocol, device_key, address)
    ) STRICT;
    INSERT INTO discovered_device_next (id, network_id, protocol, device_key, address, name, vendor, model,
        firmware, state, object_list_stale, first_seen, last_seen)
        SELECT id, network_id, protocol, device_key, address, name, vendor, model, firmware, state,
            object_list_stale, first_seen, last_seen FROM discovered_device;
    CREATE TABLE discovered_point_next (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        device_id INTEGER NOT NULL REFERENCES discovered_device_next (id) ON DELETE CASCADE,
        point_key TEXT NOT NULL,
        name TEXT NOT NULL DEFAULT '',
        description TEXT NOT NULL DEFAULT '',
        kind TEXT NOT NULL,
        units TEXT,
        value TEXT,
        writable INTEGER NOT NULL DEFAULT 0 CHECK (writable IN (0, 1)),
        UNIQUE (device_id, point_key)
    ) STRICT;
    INSERT INTO discovered_point_next
        (id, device_id, point_key, name, description, kind, units, value, writable)
        SELECT id, device_id, point_key, name, description, kind, units, value, writable
        FROM discovered_point;
    DROP TABLE discovered_point;
    DROP TABLE discovered_device;
    ALTER TABLE discovered_device_next RENAME TO discovered_device;
    ALTER TABLE discovered_point_next RENAME TO discovered_point;
    CREATE INDEX discovered_device_by_state ON discovered_device (state, id);
    CREATE INDEX discovered_device_by_key ON discovered_device (network_id, protocol, device_key);
    CREATE TABLE discovery_scan (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        protocol TEXT NOT NULL,
        networks TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed', 'cancelled')),
        requested_by TEXT NOT NULL,
        started_at INTEGER NOT NULL,
        finished_at INTEGER,
        progress REAL NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
        device_count INTEGER NOT NULL DEFAULT 0,
        point_count INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        CHECK ((finished_at IS NULL) = (state = 'running'))
    ) STRICT;
    CREATE UNIQUE INDEX discovery_scan_running ON discovery_scan (protocol) WHERE state = 'running';
    """,
    # What more is known of devices and points, as JSON; and who is accepting what, so that it is finished or
    # undone after a crash.
    """
    ALTER TABLE discovered_device ADD COLUMN detail TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE discovered_point ADD COLUMN detail TEXT NOT NULL DEFAULT '{}';
    CREATE TABLE discovery_accept (
        device_id INTEGER PRIMARY KEY REFERENCES discovered_device (id),
        requested_by TEXT NOT NULL,
        begun_at INTEGER NOT NULL,
        plan TEXT NOT NULL
    ) STRICT;
    """,
    # Which node of the model stands for a device that nobody has accepted.
    "ALTER TABLE discovered_device ADD COLUMN bound_to TEXT",
)
