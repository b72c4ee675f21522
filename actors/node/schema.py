"""Tables of `nodes.db`, as the reference names them."""

MIGRATIONS = (
    """
    CREATE TABLE node (
        id TEXT PRIMARY KEY,
        node_type TEXT NOT NULL CHECK (node_type IN ('Site', 'Space', 'Equip', 'Point', 'VirtualPoint')),
        dis TEXT NOT NULL,
        parent_id TEXT REFERENCES node (id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX node_parent ON node (parent_id, id);
    CREATE INDEX node_by_type ON node (node_type, id);
    CREATE TABLE node_tag (
        node_id TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
        tag TEXT NOT NULL,
        PRIMARY KEY (node_id, tag)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX node_tag_by_tag ON node_tag (tag, node_id);
    CREATE TABLE node_ref (
        node_id TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        target_id TEXT NOT NULL,
        PRIMARY KEY (node_id, name)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX node_ref_by_target ON node_ref (target_id);
    CREATE TABLE node_property (
        node_id TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (node_id, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE node_capability (
        node_id TEXT PRIMARY KEY REFERENCES node (id) ON DELETE CASCADE,
        readable INTEGER NOT NULL,
        writable INTEGER NOT NULL,
        historizable INTEGER NOT NULL,
        alarmable INTEGER NOT NULL,
        schedulable INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE protocol_binding (
        node_id TEXT PRIMARY KEY REFERENCES node (id) ON DELETE CASCADE,
        protocol TEXT NOT NULL,
        config TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX protocol_binding_by_protocol ON protocol_binding (protocol, node_id)
    """,
)
