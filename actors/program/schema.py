"""Tables of `programs.db`."""

MIGRATIONS = (
    """
    CREATE TABLE program (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        description TEXT NOT NULL,
        blocks TEXT NOT NULL,
        trigger TEXT NOT NULL,
        priority INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 16),
        enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        shadow INTEGER NOT NULL CHECK (shadow IN (0, 1)),
        version INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        updated_by TEXT NOT NULL
    ) STRICT;
    CREATE TABLE program_execution (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        program_id INTEGER NOT NULL REFERENCES program (id) ON DELETE CASCADE,
        version INTEGER NOT NULL,
        cause TEXT NOT NULL CHECK (cause IN ('period', 'change', 'person')),
        started_at INTEGER NOT NULL,
        duration_us INTEGER NOT NULL CHECK (duration_us >= 0),
        state TEXT NOT NULL CHECK (state IN ('done', 'failed', 'shadow')),
        writes TEXT NOT NULL,
        messages TEXT NOT NULL,
        error TEXT
    ) STRICT;
    CREATE INDEX program_execution_by_program ON program_execution (program_id, id);
    CREATE TRIGGER program_execution_prune AFTER INSERT ON program_execution BEGIN
        DELETE FROM program_execution WHERE program_id = NEW.program_id AND id <= (
            SELECT id FROM program_execution WHERE program_id = NEW.program_id
            ORDER BY id DESC LIMIT 1 OFFSET 100);
    END;
    CREATE TABLE program_state (
        program_id INTEGER PRIMARY KEY REFERENCES program (id) ON DELETE CASCADE,
        version INTEGER NOT NULL,
        state TEXT NOT NULL,
        saved_at INTEGER NOT NULL
    ) STRICT;
    """,
)
