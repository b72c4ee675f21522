"""Table of `entities.db`."""

MIGRATIONS = (
    """
    CREATE TABLE entity (
        id TEXT PRIMARY KEY,
        entity_type TEXT NOT NULL,
        dis TEXT NOT NULL,
        parent_id TEXT REFERENCES entity (id) ON DELETE RESTRICT,
        tags TEXT NOT NULL,
        data TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX entity_by_type ON entity (entity_type, id);
    CREATE INDEX entity_by_parent ON entity (parent_id, id);
    """,
)
