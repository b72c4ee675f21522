"""Tables of `history.db`."""

MIGRATIONS = (
    """
    CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        point_id TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE sample (
        series_id INTEGER NOT NULL REFERENCES series (id),
        time INTEGER NOT NULL,
        value ANY,
        status INTEGER NOT NULL,
        PRIMARY KEY (series_id, time)
    ) STRICT, WITHOUT ROWID;
    """,
    # What is in `sample` is packed when the file is opened; then the table goes.
    """
    ALTER TABLE series ADD COLUMN mode TEXT NOT NULL DEFAULT 'every'
        CHECK (mode IN ('every', 'cov', 'interval'));
    ALTER TABLE series ADD COLUMN interval REAL CHECK (interval > 0);
    ALTER TABLE series ADD COLUMN increment REAL NOT NULL DEFAULT 0 CHECK (increment >= 0);
    ALTER TABLE series ADD COLUMN retention REAL CHECK (retention > 0);
    CREATE TABLE frame (
        id INTEGER PRIMARY KEY,
        count INTEGER NOT NULL CHECK (count > 0),
        body BLOB NOT NULL
    ) STRICT;
    CREATE TABLE chunk (
        id INTEGER PRIMARY KEY,
        series_id INTEGER NOT NULL REFERENCES series (id),
        first_time INTEGER NOT NULL,
        last_time INTEGER NOT NULL CHECK (last_time >= first_time),
        count INTEGER NOT NULL CHECK (count > 0),
        min REAL,
        max REAL,
        sum REAL,
        first REAL,
        last REAL,
        integral REAL,
        kind INTEGER,
        status INTEGER,
        cells BLOB,
        times BLOB NOT NULL,
        numbers BLOB NOT NULL,
        kinds BLOB CHECK (kinds IS NOT NULL OR kind IS NOT NULL),
        statuses BLOB CHECK (statuses IS NOT NULL OR status IS NOT NULL),
        texts BLOB,
        UNIQUE (series_id, first_time)
    ) STRICT;
    CREATE TABLE gap (
        id INTEGER PRIMARY KEY,
        series_id INTEGER REFERENCES series (id),
        start_time INTEGER NOT NULL,
        end_time INTEGER CHECK (end_time >= start_time),
        kind TEXT NOT NULL CHECK (kind IN ('lost', 'late', 'backfilled')),
        reason TEXT NOT NULL,
        noted_at INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX gap_by_series ON gap (ifnull(series_id, 0), start_time, reason);
    CREATE TABLE state (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        packed INTEGER NOT NULL,
        alive_at INTEGER,
        boot TEXT,
        stopped INTEGER NOT NULL CHECK (stopped IN (0, 1)),
        retention REAL CHECK (retention > 0)
    ) STRICT;
    INSERT INTO state (id, packed, stopped, retention) VALUES (1, 0, 0, 3653);
    """,
)
