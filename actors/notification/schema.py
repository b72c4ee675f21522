"""Tables of `notifications.db`."""

MIGRATIONS = (
    """
    CREATE TABLE recipient (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        kind TEXT NOT NULL CHECK (kind IN ('email', 'sms', 'webhook')),
        address TEXT NOT NULL,
        zone TEXT NOT NULL,
        quiet TEXT,
        quiet_severities TEXT NOT NULL,
        enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        created_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE routing_rule (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        position INTEGER NOT NULL,
        severities TEXT NOT NULL,
        sites TEXT NOT NULL,
        tags TEXT NOT NULL,
        hours TEXT,
        zone TEXT NOT NULL,
        on_clear INTEGER NOT NULL CHECK (on_clear IN (0, 1)),
        stop INTEGER NOT NULL CHECK (stop IN (0, 1)),
        enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        created_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX routing_rule_by_position ON routing_rule (position, id);
    CREATE TABLE routing_tier (
        rule_id INTEGER NOT NULL REFERENCES routing_rule (id) ON DELETE CASCADE,
        tier INTEGER NOT NULL CHECK (tier >= 1),
        after_seconds INTEGER NOT NULL CHECK (after_seconds >= 0),
        PRIMARY KEY (rule_id, tier)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE routing_tier_recipient (
        rule_id INTEGER NOT NULL,
        tier INTEGER NOT NULL,
        recipient_id INTEGER NOT NULL REFERENCES recipient (id) ON DELETE RESTRICT,
        PRIMARY KEY (rule_id, tier, recipient_id),
        FOREIGN KEY (rule_id, tier) REFERENCES routing_tier (rule_id, tier) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX routing_tier_by_recipient ON routing_tier_recipient (recipient_id);
    CREATE TABLE alarm_shelving (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        site TEXT,
        node_id TEXT,
        tag TEXT,
        reason TEXT NOT NULL,
        shelved_by TEXT NOT NULL,
        shelved_at INTEGER NOT NULL,
        until INTEGER NOT NULL,
        CHECK (site IS NOT NULL OR node_id IS NOT NULL OR tag IS NOT NULL)
    ) STRICT;
    CREATE INDEX alarm_shelving_by_end ON alarm_shelving (until);
    CREATE TABLE notification_log (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        site TEXT NOT NULL,
        alarm_id INTEGER NOT NULL,
        rule_id INTEGER,
        tier INTEGER NOT NULL,
        recipient_id INTEGER,
        recipient_name TEXT NOT NULL,
        kind TEXT NOT NULL,
        address TEXT NOT NULL,
        subject TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'failed', 'cancelled')),
        attempts INTEGER NOT NULL DEFAULT 0,
        created_at INTEGER NOT NULL,
        next_attempt INTEGER,
        finished_at INTEGER,
        error TEXT,
        CHECK ((next_attempt IS NOT NULL) = (state = 'queued'))
    ) STRICT;
    CREATE INDEX notification_log_due ON notification_log (next_attempt, id) WHERE state = 'queued';
    CREATE INDEX notification_log_by_alarm ON notification_log (site, alarm_id, id);
    CREATE INDEX notification_log_by_recipient ON notification_log (recipient_id, id);
    """,
    """
    CREATE INDEX notification_log_by_state ON notification_log (state, id);
    CREATE INDEX notification_log_over ON notification_log (finished_at) WHERE finished_at IS NOT NULL;
    """,
)
