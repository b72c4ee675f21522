"""Tables of `energy.db`, as the reference names them."""

MIGRATIONS = (
    """
    CREATE TABLE utility_rate (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        kind TEXT NOT NULL CHECK (kind IN ('flat', 'time_of_use', 'tiered', 'demand')),
        currency TEXT NOT NULL,
        unit TEXT NOT NULL,
        tariff TEXT NOT NULL
    ) STRICT;
    CREATE TABLE energy_meter (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        node_id TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('electric', 'gas', 'water', 'steam', 'heat', 'cooling')),
        unit TEXT NOT NULL,
        reading TEXT NOT NULL CHECK (reading IN ('power', 'counter')),
        rollover REAL CHECK (rollover > 0),
        multiplier REAL NOT NULL CHECK (multiplier > 0),
        parent_id INTEGER REFERENCES energy_meter (id),
        rate_id INTEGER REFERENCES utility_rate (id),
        CHECK (rollover IS NULL OR reading = 'counter'),
        CHECK (parent_id <> id)
    ) STRICT;
    CREATE INDEX energy_meter_by_node ON energy_meter (node_id);
    CREATE INDEX energy_meter_by_parent ON energy_meter (parent_id);
    CREATE INDEX energy_meter_by_rate ON energy_meter (rate_id);
    CREATE TABLE energy_baseline (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        meter_id INTEGER NOT NULL REFERENCES energy_meter (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        degree_days TEXT NOT NULL CHECK (degree_days IN ('heating', 'cooling')),
        base_temperature REAL NOT NULL,
        interval TEXT NOT NULL CHECK (interval IN ('hourly', 'daily', 'monthly')),
        start INTEGER NOT NULL,
        end INTEGER NOT NULL,
        observations TEXT NOT NULL,
        slope REAL NOT NULL,
        intercept REAL NOT NULL,
        n INTEGER NOT NULL,
        r2 REAL NOT NULL,
        cv_rmse REAL NOT NULL,
        nmbe REAL NOT NULL,
        acceptable INTEGER CHECK (acceptable IN (0, 1)),
        created_at INTEGER NOT NULL,
        UNIQUE (meter_id, name),
        CHECK (start < end)
    ) STRICT;
    CREATE TABLE energy_rollup (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        meter_id INTEGER NOT NULL REFERENCES energy_meter (id) ON DELETE CASCADE,
        period TEXT NOT NULL CHECK (period IN ('day', 'month')),
        start INTEGER NOT NULL,
        end INTEGER NOT NULL,
        consumption REAL NOT NULL,
        peak REAL,
        peak_at INTEGER,
        load_factor REAL,
        cost TEXT,
        currency TEXT,
        coverage REAL NOT NULL CHECK (coverage BETWEEN 0 AND 1),
        final INTEGER NOT NULL CHECK (final IN (0, 1)),
        updated_at INTEGER NOT NULL,
        UNIQUE (meter_id, period, start),
        CHECK (start < end),
        CHECK ((cost IS NULL) = (currency IS NULL))
    ) STRICT;
    CREATE INDEX energy_rollup_by_time ON energy_rollup (period, start)
    """,
)
