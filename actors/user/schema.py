"""Tables of `users.db`."""

MIGRATIONS = (
    """
    CREATE TABLE role (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    CREATE TABLE role_permission (
        role TEXT NOT NULL REFERENCES role (name),
        permission TEXT NOT NULL,
        PRIMARY KEY (role, permission)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE user (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        username TEXT NOT NULL COLLATE NOCASE UNIQUE,
        role TEXT NOT NULL REFERENCES role (name),
        full_name TEXT NOT NULL,
        password_hash TEXT NOT NULL,
        enabled INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        last_login INTEGER,
        epoch INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE signing_key (key TEXT NOT NULL) STRICT;
    CREATE TABLE revoked_token (
        jti TEXT PRIMARY KEY,
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
)
