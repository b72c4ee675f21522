"""The store of recipients, routing rules, shelvings and notifications."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import apsw
import ray

from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.core.sqlite import Durability, Row
from actors.core.store import Store, of_site, unique
from actors.notification.logic import LONGEST_RETRY, next_attempt
from actors.notification.models import (
    Hours,
    NewNotice,
    NewRecipient,
    NewRule,
    NewShelving,
    Notice,
    NoticeState,
    Recipient,
    Rule,
    Shelving,
    Tier,
)
from actors.notification.schema import MIGRATIONS

KEEP = 180 * 86_400_000
"""Milliseconds that notifications that are over stay in the log."""
KEEP_NOTICES = 200_000
PRUNE_EVERY = 1_000


class NotificationStore(Store):
    """Keep who is told of which alarms, what is shelved, and every notification.

    Rules, recipients and shelvings are configuration: each change moves the watch cell. A notification is
    queued under a key, so that a router that dies between queueing and acknowledging queues it once.
    """

    name: ClassVar[str] = "notifications"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL
    watched: ClassVar[bool] = True

    def opened(self) -> None:
        """Look at the log's length with the first notification."""
        self._unpruned = PRUNE_EVERY

    # Recipients

    @ray.method
    def create_recipient(self, new: NewRecipient) -> Recipient:
        """Add a recipient. Raises ConflictError for a name that is taken."""
        with self.transaction(), unique("recipient", new.name):
            row = self.one(
                "INSERT INTO recipient"
                " (name, kind, address, zone, quiet, quiet_severities, enabled, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                *_recipient_columns(new),
                self.clock(),
            )
            self.config_moved()
        return _recipient(row or {})

    @ray.method
    def update_recipient(self, recipient_id: int, new: NewRecipient) -> Recipient:
        """Replace a recipient. Raises NotFoundError, and ConflictError for a name that is taken."""
        with self.transaction(), unique("recipient", new.name):
            row = self.one(
                "UPDATE recipient SET name = ?, kind = ?, address = ?, zone = ?, quiet = ?,"
                " quiet_severities = ?, enabled = ? WHERE id = ? RETURNING *",
                *_recipient_columns(new),
                recipient_id,
            )
            if row is None:
                raise NotFoundError("recipient", recipient_id)
            self.config_moved()
        return _recipient(row)

    @ray.method
    def delete_recipient(self, recipient_id: int) -> Recipient:
        """Delete a recipient. Raises NotFoundError, and ConflictError while a rule names it."""
        with self.transaction():
            gone = self._recipient(recipient_id)
            try:
                self.run("DELETE FROM recipient WHERE id = ?", recipient_id)
            except apsw.ConstraintError:
                raise ConflictError("recipient", recipient_id, "routing rules name it") from None
            self.config_moved()
        return gone

    @ray.method
    def recipient(self, recipient_id: int) -> Recipient:
        """Give one recipient. Raises NotFoundError."""
        return self._recipient(recipient_id)

    @ray.method
    def recipients(
        self, kind: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[Recipient], str | None]:
        """Give recipients, of a kind. Raises BadInputError."""
        rows, after = self.page_of("SELECT * FROM recipient", {"kind = ?": kind}, limit, cursor)
        return [_recipient(row) for row in rows], after

    # Rules

    @ray.method
    def create_rule(self, new: NewRule) -> Rule:
        """Add a routing rule. Raises BadInputError for unknown recipients, ConflictError for a taken name."""
        with self.transaction(), unique("routing rule", new.name):
            self._check_recipients(new)
            row = self.one(
                "INSERT INTO routing_rule (name, position, severities, sites, tags, hours, zone, on_clear,"
                " stop, enabled, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                *_rule_columns(new),
                self.clock(),
            )
            rule_id = int(row["id"]) if row else 0
            self._put_tiers(rule_id, new)
            self.config_moved()
        return self._rule(rule_id)

    @ray.method
    def update_rule(self, rule_id: int, new: NewRule) -> Rule:
        """Replace a routing rule.

        Raises NotFoundError, BadInputError for unknown recipients, ConflictError for a taken name.
        """
        with self.transaction(), unique("routing rule", new.name):
            self._rule(rule_id)
            self._check_recipients(new)
            self.run(
                "UPDATE routing_rule SET name = ?, position = ?, severities = ?, sites = ?, tags = ?,"
                " hours = ?, zone = ?, on_clear = ?, stop = ?, enabled = ? WHERE id = ?",
                *_rule_columns(new),
                rule_id,
            )
            self.run("DELETE FROM routing_tier WHERE rule_id = ?", rule_id)
            self._put_tiers(rule_id, new)
            self.config_moved()
        return self._rule(rule_id)

    def _check_recipients(self, new: NewRule) -> None:
        for number, tier in enumerate(new.tiers):
            for recipient_id in tier.recipients:
                if self.one("SELECT 1 AS found FROM recipient WHERE id = ?", recipient_id) is None:
                    raise BadInputError(
                        f"tiers.{number}.recipients", recipient_id, "the id of a recipient that is there"
                    )

    def _put_tiers(self, rule_id: int, new: NewRule) -> None:
        for number, tier in enumerate(new.tiers, 1):
            self.run(
                "INSERT INTO routing_tier (rule_id, tier, after_seconds) VALUES (?, ?, ?)",
                rule_id,
                number,
                tier.after_seconds,
            )
            self.many(
                "INSERT INTO routing_tier_recipient (rule_id, tier, recipient_id) VALUES (?, ?, ?)",
                [(rule_id, number, each) for each in dict.fromkeys(tier.recipients)],
            )

    @ray.method
    def delete_rule(self, rule_id: int) -> Rule:
        """Delete a routing rule; what it has queued is sent all the same. Raises NotFoundError."""
        with self.transaction():
            gone = self._rule(rule_id)
            self.run("DELETE FROM routing_rule WHERE id = ?", rule_id)
            self.config_moved()
        return gone

    @ray.method
    def rule(self, rule_id: int) -> Rule:
        """Give one routing rule. Raises NotFoundError."""
        return self._rule(rule_id)

    @ray.method
    def rules(
        self, limit: int = 100, cursor: str | None = None, site: str | None = None
    ) -> tuple[list[Rule], str | None]:
        """Give routing rules in the order in which they were made; with `site` those for its alarms.

        Raises BadInputError.
        """
        rows, after = self.page_of("SELECT * FROM routing_rule", {of_site("sites"): site}, limit, cursor)
        return [self._with_tiers(row) for row in rows], after

    @ray.method
    def in_force(self) -> tuple[int, list[Rule], list[Recipient], list[Shelving]]:
        """Give the version, the enabled rules in order, all recipients and the shelvings that stand."""
        rules = self.all("SELECT * FROM routing_rule WHERE enabled ORDER BY position, id")
        recipients = self.all("SELECT * FROM recipient ORDER BY id")
        return (
            self.version(),
            [self._with_tiers(row) for row in rules],
            [_recipient(row) for row in recipients],
            self._standing(),
        )

    # Shelvings

    @ray.method
    def shelve(self, new: NewShelving, by: str) -> Shelving:
        """Keep alarms quiet for a while."""
        now = self.clock()
        with self.transaction():
            row = self.one(
                "INSERT INTO alarm_shelving (site, node_id, tag, reason, shelved_by, shelved_at, until)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
                new.site,
                new.node_id,
                new.tag,
                new.reason,
                by,
                now,
                now + new.duration * 1000,
            )
            self.config_moved()
        return Shelving.model_validate(row)

    @ray.method
    def unshelve(self, shelving_id: int) -> Shelving:
        """End a shelving before its time. Raises NotFoundError."""
        with self.transaction():
            row = self.one("DELETE FROM alarm_shelving WHERE id = ? RETURNING *", shelving_id)
            if row is None:
                raise NotFoundError("shelving", shelving_id)
            self.config_moved()
        return Shelving.model_validate(row)

    @ray.method
    def expire_shelvings(self) -> list[Shelving]:
        """End the shelvings whose time is over, and give them.

        One that a clock made that has been set back since then begins anew: it lasts as long as it was to,
        at most twice, and not until the old clock's time comes again.
        """
        with self.transaction():
            now = self.clock()
            self.run(
                "UPDATE alarm_shelving SET until = ?1 + (until - shelved_at), shelved_at = ?1"
                " WHERE shelved_at > ?1",
                now,
            )
            rows = self.all("DELETE FROM alarm_shelving WHERE until <= ? RETURNING *", now)
            if rows:
                self.config_moved()
        return [Shelving.model_validate(row) for row in rows]

    @ray.method
    def shelvings(
        self, limit: int = 100, cursor: str | None = None, site: str | None = None
    ) -> tuple[list[Shelving], str | None]:
        """Give the shelvings that stand; with `site` those for its alarms. Raises BadInputError."""
        standing = {"until > ?": self.clock(), "(site IS NULL OR site = ?)": site}
        rows, after = self.page_of("SELECT * FROM alarm_shelving", standing, limit, cursor)
        return [Shelving.model_validate(row) for row in rows], after

    def _standing(self) -> list[Shelving]:
        rows = self.all("SELECT * FROM alarm_shelving WHERE until > ? ORDER BY id", self.clock())
        return [Shelving.model_validate(row) for row in rows]

    # Notifications

    @ray.method
    def queue(self, notices: Sequence[NewNotice]) -> list[Notice]:
        """Queue notifications, all or none; one that is there under its key stays as it is.

        Raises NotFoundError for a recipient that is gone.
        """
        now = self.clock()
        found: list[Notice] = []
        with self.transaction():
            for new in notices:
                recipient = self._recipient(new.recipient_id)
                self.run(
                    "INSERT INTO notification_log (key, site, alarm_id, rule_id, tier, recipient_id,"
                    " recipient_name, kind, address, subject, state, created_at, next_attempt)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?) ON CONFLICT (key) DO NOTHING",
                    new.key,
                    new.site,
                    new.alarm_id,
                    new.rule_id,
                    new.tier,
                    recipient.id,
                    recipient.name,
                    recipient.kind.value,
                    recipient.address,
                    new.subject[:500],
                    now,
                    new.due_at,
                )
                row = self.one("SELECT * FROM notification_log WHERE key = ?", new.key)
                found.append(Notice.model_validate(row))
            self._unpruned += len(notices)
            if self._unpruned >= PRUNE_EVERY:
                self._prune()
        return found

    @ray.method
    def due(self, limit: int = 100) -> list[Notice]:
        """Give notifications that are to be sent now, oldest first."""
        rows = self.all(
            # A next attempt further away than any may be was put there by a clock that was ahead, and so was
            # that of a notification from the future.
            "SELECT * FROM notification_log WHERE state = 'queued' AND (next_attempt <= ?1"
            " OR (attempts > 0 AND next_attempt > ?1 + ?2) OR created_at > ?1 + ?2)"
            " ORDER BY next_attempt, id LIMIT ?3",
            self.clock(),
            LONGEST_RETRY,
            limit,
        )
        return [Notice.model_validate(row) for row in rows]

    @ray.method
    def attempted(self, notice_id: int, error: str | None = None) -> Notice:
        """Note how sending went: without an error it is sent, else tried again, 8 times at most.

        Raises NotFoundError, and ConflictError for a notification that is over.
        """
        now = self.clock()
        with self.transaction():
            before = self._notice(notice_id)
            if before.state is not NoticeState.QUEUED:
                raise ConflictError("notification", notice_id, f"it is {before.state.value} already")
            attempts = before.attempts + 1
            again = None if error is None else next_attempt(attempts, now)
            state = NoticeState.SENT if error is None else NoticeState.FAILED
            row = self.one(
                "UPDATE notification_log SET state = ?, attempts = ?, next_attempt = ?,"
                " finished_at = max(?, created_at), error = ? WHERE id = ? RETURNING *",
                (NoticeState.QUEUED if again is not None else state).value,
                attempts,
                again,
                None if again is not None else now,
                None if error is None else error[:1000],
                notice_id,
            )
        return Notice.model_validate(row)

    @ray.method
    def cancel(self, site: str, alarm_id: int) -> int:
        """Drop what is queued for an alarm that was acknowledged or cleared; give how many."""
        with self.transaction():
            return self.run(
                "UPDATE notification_log SET state = 'cancelled', next_attempt = NULL,"
                " finished_at = max(?, created_at) WHERE site = ? AND alarm_id = ? AND state = 'queued'",
                self.clock(),
                site,
                alarm_id,
            )

    @ray.method
    def log(
        self,
        site: str | None = None,
        alarm_id: int | None = None,
        recipient_id: int | None = None,
        state: NoticeState | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Notice], str | None]:
        """Give notifications, newest first. Raises BadInputError."""
        rows, after = self.page_of(
            "SELECT * FROM notification_log",
            {
                "site = ?": site,
                "alarm_id = ?": alarm_id,
                "recipient_id = ?": recipient_id,
                "state = ?": state,
            },
            limit,
            cursor,
            newest_first=True,
        )
        return [Notice.model_validate(row) for row in rows], after

    # Within

    def _prune(self) -> None:
        """Delete what is too old; what a clock made that was set back is as old as its neighbours."""
        self._unpruned = 0
        self.run(
            "DELETE FROM notification_log WHERE state <> 'queued' AND finished_at < ?1 AND id <"
            " (SELECT min(id) FROM notification_log WHERE created_at >= ?1 AND created_at <= ?2)",
            self.retention_time() - KEEP,
            self.clock(),
        )
        self.run(
            "DELETE FROM notification_log WHERE state <> 'queued'"
            " AND id <= (SELECT max(id) FROM notification_log) - ?",
            KEEP_NOTICES,
        )

    def _recipient(self, recipient_id: int) -> Recipient:
        row = self.one("SELECT * FROM recipient WHERE id = ?", recipient_id)
        if row is None:
            raise NotFoundError("recipient", recipient_id)
        return _recipient(row)

    def _rule(self, rule_id: int) -> Rule:
        row = self.one("SELECT * FROM routing_rule WHERE id = ?", rule_id)
        if row is None:
            raise NotFoundError("routing rule", rule_id)
        return self._with_tiers(row)

    def _with_tiers(self, row: Row) -> Rule:
        tiers = [
            Tier(
                after_seconds=tier["after_seconds"],
                recipients=[
                    each["recipient_id"]
                    for each in self.all(
                        "SELECT recipient_id FROM routing_tier_recipient WHERE rule_id = ? AND tier = ?"
                        " ORDER BY recipient_id",
                        row["id"],
                        tier["tier"],
                    )
                ],
            )
            for tier in self.all("SELECT * FROM routing_tier WHERE rule_id = ? ORDER BY tier", row["id"])
        ]
        lists = {name: json.loads(row[name]) for name in ("severities", "sites", "tags")}
        flags = {name: bool(row[name]) for name in ("on_clear", "stop", "enabled")}
        return Rule.model_validate(row | lists | flags | {"tiers": tiers, "hours": _hours(row["hours"])})

    def _notice(self, notice_id: int) -> Notice:
        row = self.one("SELECT * FROM notification_log WHERE id = ?", notice_id)
        if row is None:
            raise NotFoundError("notification", notice_id)
        return Notice.model_validate(row)


def _hours(text: str | None) -> Hours | None:
    return None if text is None else Hours.model_validate_json(text)


def _recipient_columns(new: NewRecipient) -> tuple[Any, ...]:
    return (
        new.name,
        new.kind.value,
        new.address,
        new.zone,
        None if new.quiet is None else new.quiet.model_dump_json(),
        json.dumps(new.quiet_severities),
        int(new.enabled),
    )


def _rule_columns(new: NewRule) -> tuple[Any, ...]:
    return (
        new.name,
        new.position,
        json.dumps(new.severities),
        json.dumps(new.sites),
        json.dumps(new.tags),
        None if new.hours is None else new.hours.model_dump_json(),
        new.zone,
        int(new.on_clear),
        int(new.stop),
        int(new.enabled),
    )


def _recipient(row: Row) -> Recipient:
    return Recipient.model_validate(
        row
        | {
            "quiet": _hours(row["quiet"]),
            "quiet_severities": json.loads(row["quiet_severities"]),
            "enabled": bool(row["enabled"]),
        }
    )
