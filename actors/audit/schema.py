"""Table of `audit.db`. Entries can be added and nothing else."""

MIGRATIONS = (
    """
    CREATE TABLE audit_entry (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        timestamp INTEGER NOT NULL,
        user TEXT NOT NULL,
        action TEXT NOT NULL,
        target TEXT NOT NULL,
        detail TEXT NOT NULL,
        hash TEXT NOT NULL
    ) STRICT;
    CREATE INDEX audit_by_user ON audit_entry (user, id);
    CREATE INDEX audit_by_action ON audit_entry (action, id);
    CREATE INDEX audit_by_target ON audit_entry (target, id);
    CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit_entry
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
    CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit_entry
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
    """,
    # Where the log ends, sealed (see anchor.py); empty until the store is opened for the first time.
    """
    CREATE TABLE audit_anchor (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        sealed TEXT NOT NULL
    ) STRICT;
    INSERT INTO audit_anchor VALUES (1, '');
    """,
)
