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
)
