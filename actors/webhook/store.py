"""The store of webhook endpoints and deliveries."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import ray

from actors.core.errors import ConflictError, NotFoundError
from actors.core.secrets import SecretLostError, Secrets
from actors.core.sqlite import Durability, Row
from actors.core.store import Store, of_site, unique
from actors.webhook.logic import RETRY_AFTER, check_url, may_retry, next_attempt
from actors.webhook.models import (
    Delivery,
    DeliveryState,
    DueDelivery,
    Endpoint,
    NewEndpoint,
    OpenEndpoint,
    WebhookConfig,
)
from actors.webhook.schema import MIGRATIONS

KEEP_DELIVERIES = 100_000
"""Deliveries that are over and kept at most."""
PRUNE_EVERY = 1_000


class WebhookStore(Store):
    """Keep endpoints with their sealed secrets, and every delivery until it is over and beyond.

    A delivery is one event to one endpoint; the same event twice makes no second one, so whoever dies between
    taking an event and acknowledging it queues it again without harm.
    """

    name: ClassVar[str] = "webhooks"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL
    watched: ClassVar[bool] = True

    def opened(self) -> None:
        """Read the key that seals secrets."""
        self._secrets = Secrets(self.path.parent)
        self._unpruned = PRUNE_EVERY

    # Endpoints

    @ray.method
    def create(self, new: NewEndpoint) -> Endpoint:
        """Add an endpoint. Raises BadInputError for its address, ConflictError for a name that is taken."""
        check_url(new.url, self._config().allowed_networks)
        with self.transaction(), unique("webhook", new.name):
            row = self.one(
                "INSERT INTO webhook_endpoint"
                " (name, kind, url, events, severities, tags, sites, enabled, secret, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                *_columns(new),
                self._sealed(new),
                self.clock(),
            )
            self.config_moved()
        return _endpoint(row or {})

    @ray.method
    def update(self, endpoint_id: int, new: NewEndpoint) -> Endpoint:
        """Replace an endpoint; a secret left out stays.

        Raises NotFoundError, BadInputError for its address, ConflictError for a name that is taken.
        """
        check_url(new.url, self._config().allowed_networks)
        with self.transaction(), unique("webhook", new.name):
            row = self.one(
                "UPDATE webhook_endpoint SET name = ?, kind = ?, url = ?, events = ?, severities = ?,"
                " tags = ?, sites = ?, enabled = ?, secret = coalesce(?, secret) WHERE id = ? RETURNING *",
                *_columns(new),
                self._sealed(new),
                endpoint_id,
            )
            if row is None:
                raise NotFoundError("webhook", endpoint_id)
            self.config_moved()
        return _endpoint(row)

    @ray.method
    def delete(self, endpoint_id: int) -> Endpoint:
        """Delete an endpoint with its deliveries. Raises NotFoundError."""
        with self.transaction():
            row = self.one("DELETE FROM webhook_endpoint WHERE id = ? RETURNING *", endpoint_id)
            if row is None:
                raise NotFoundError("webhook", endpoint_id)
            self.config_moved()
        return _endpoint(row)

    @ray.method
    def get(self, endpoint_id: int) -> Endpoint:
        """Give one endpoint. Raises NotFoundError."""
        return _endpoint(self._row(endpoint_id))

    @ray.method
    def find(
        self,
        kind: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        site: str | None = None,
    ) -> tuple[list[Endpoint], str | None]:
        """Give endpoints, of a kind; with `site` those that get its events. Raises BadInputError."""
        rows, after = self.page_of(
            "SELECT * FROM webhook_endpoint", {"kind = ?": kind, of_site("sites"): site}, limit, cursor
        )
        return [_endpoint(row) for row in rows], after

    @ray.method
    def config(self) -> WebhookConfig:
        """Give what holds for all endpoints."""
        return self._config()

    @ray.method
    def set_config(self, config: WebhookConfig) -> WebhookConfig:
        """Replace what holds for all endpoints."""
        with self.transaction():
            self.run(
                "UPDATE webhook_config SET paused = ?, timeout_seconds = ?, allowed_networks = ?,"
                " keep_days = ?",
                int(config.paused),
                config.timeout_seconds,
                json.dumps(config.allowed_networks),
                config.keep_days,
            )
            self.config_moved()
        return config

    @ray.method
    def in_force(self) -> tuple[int, WebhookConfig, list[OpenEndpoint]]:
        """Give the version, what holds for all, and the enabled endpoints with their secrets.

        For the dispatcher alone. A secret that can't be read is said in the endpoint's `trouble`.
        """
        found = []
        for row in self.all("SELECT * FROM webhook_endpoint WHERE enabled ORDER BY id"):
            secret, trouble = None, None
            if row["secret"] is not None:
                try:
                    secret = self._secrets.open(f"the secret of {row['name']}", row["secret"])
                except SecretLostError as error:
                    trouble = str(error)
            opened = {"endpoint": _endpoint(row), "secret": secret, "trouble": trouble}
            found.append(OpenEndpoint.model_validate(opened))
        return self.version(), self._config(), found

    # Deliveries

    @ray.method
    def queue(self, endpoint_id: int, event_key: str, event_type: str, payload: str) -> Delivery:
        """Queue an event for an endpoint; the same event twice is queued once. Raises NotFoundError."""
        now = self.clock()
        with self.transaction():
            self._row(endpoint_id)
            self.run(
                "INSERT INTO webhook_delivery"
                " (endpoint_id, event_key, event_type, payload, state, created_at, next_attempt)"
                " VALUES (?1, ?2, ?3, ?4, 'pending', ?5, ?5) ON CONFLICT (endpoint_id, event_key) DO NOTHING",
                endpoint_id,
                event_key,
                event_type,
                payload,
                now,
            )
            self._unpruned += 1
            if self._unpruned >= PRUNE_EVERY:
                self._prune()
            row = self.one(
                "SELECT * FROM webhook_delivery WHERE endpoint_id = ? AND event_key = ?",
                endpoint_id,
                event_key,
            )
        return _delivery(row or {})

    @ray.method
    def due(self, limit: int = 100) -> list[DueDelivery]:
        """Give deliveries that are to be tried now, oldest first; none while paused."""
        if self._config().paused:
            return []
        rows = self.all(
            "SELECT webhook_delivery.* FROM webhook_delivery JOIN webhook_endpoint AS endpoint"
            " ON endpoint.id = endpoint_id WHERE state = 'pending' AND endpoint.enabled"
            # What is further away than any attempt may be was put there by a clock that was ahead.
            " AND (next_attempt <= ?1 OR next_attempt > ?1 + ?2)"
            " ORDER BY next_attempt, webhook_delivery.id LIMIT ?3",
            self.clock(),
            max(RETRY_AFTER),
            limit,
        )
        return [DueDelivery(delivery=_delivery(row), payload=row["payload"]) for row in rows]

    @ray.method
    def attempted(
        self,
        delivery_id: int,
        status_code: int | None,
        duration_ms: int,
        error: str | None = None,
    ) -> Delivery:
        """Note how an attempt went: 2xx delivers, what may help is tried again, else it has failed.

        Raises NotFoundError, and ConflictError for a delivery that is over.
        """
        now = self.clock()
        with self.transaction():
            before = self._delivery(delivery_id)
            if before.state is not DeliveryState.PENDING:
                raise ConflictError("delivery", delivery_id, f"it is {before.state.value} already")
            attempts = before.attempts + 1
            done = status_code is not None and 200 <= status_code < 300
            again = None if done or not may_retry(status_code) else next_attempt(attempts, now)
            state = DeliveryState.DELIVERED if done else DeliveryState.FAILED
            row = self.one(
                "UPDATE webhook_delivery SET state = ?, attempts = ?, next_attempt = ?,"
                " finished_at = max(?, created_at), status_code = ?, duration_ms = ?, error = ?"
                " WHERE id = ? RETURNING *",
                (DeliveryState.PENDING if again is not None else state).value,
                attempts,
                again,
                None if again is not None else now,
                status_code,
                duration_ms,
                None if done else (error or f"HTTP {status_code}")[:1000],
                delivery_id,
            )
        return _delivery(row or {})

    @ray.method
    def redeliver(self, delivery_id: int) -> Delivery:
        """Let a delivery that is over be tried again from the start. Raises NotFoundError, ConflictError."""
        with self.transaction():
            before = self._delivery(delivery_id)
            if before.state is DeliveryState.PENDING:
                raise ConflictError("delivery", delivery_id, "it is still pending")
            row = self.one(
                "UPDATE webhook_delivery SET state = 'pending', attempts = 0, next_attempt = ?,"
                " finished_at = NULL, error = NULL WHERE id = ? RETURNING *",
                self.clock(),
                delivery_id,
            )
        return _delivery(row or {})

    @ray.method
    def deliveries(
        self,
        endpoint_id: int | None = None,
        state: DeliveryState | None = None,
        event_type: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Delivery], str | None]:
        """Give deliveries, newest first. Raises BadInputError."""
        rows, after = self.page_of(
            "SELECT * FROM webhook_delivery",
            {"endpoint_id = ?": endpoint_id, "state = ?": state, "event_type = ?": event_type},
            limit,
            cursor,
            newest_first=True,
        )
        return [_delivery(row) for row in rows], after

    # Within

    def _prune(self) -> None:
        """Delete what is too old; what a clock made that was set back is as old as its neighbours."""
        self._unpruned = 0
        self.run(
            "DELETE FROM webhook_delivery WHERE state <> 'pending' AND finished_at < ?1 AND id <"
            " (SELECT min(id) FROM webhook_delivery WHERE created_at >= ?1 AND created_at <= ?2)",
            self.retention_time() - self._config().keep_days * 86_400_000,
            self.clock(),
        )
        self.run(
            "DELETE FROM webhook_delivery WHERE state <> 'pending'"
            " AND id <= (SELECT max(id) FROM webhook_delivery) - ?",
            KEEP_DELIVERIES,
        )

    def _config(self) -> WebhookConfig:
        row = self.one("SELECT * FROM webhook_config") or {}
        return WebhookConfig(
            paused=bool(row["paused"]),
            timeout_seconds=row["timeout_seconds"],
            allowed_networks=json.loads(row["allowed_networks"]),
            keep_days=row["keep_days"],
        )

    def _row(self, endpoint_id: int) -> Row:
        row = self.one("SELECT * FROM webhook_endpoint WHERE id = ?", endpoint_id)
        if row is None:
            raise NotFoundError("webhook", endpoint_id)
        return row

    def _delivery(self, delivery_id: int) -> Delivery:
        row = self.one("SELECT * FROM webhook_delivery WHERE id = ?", delivery_id)
        if row is None:
            raise NotFoundError("delivery", delivery_id)
        return _delivery(row)

    def _sealed(self, new: NewEndpoint) -> str | None:
        return None if new.secret is None else self._secrets.seal(new.secret.get_secret_value())


def _columns(new: NewEndpoint) -> tuple[Any, ...]:
    lists = (new.events, new.severities, new.tags, new.sites)
    return (new.name, new.kind.value, new.url, *(json.dumps(each) for each in lists), int(new.enabled))


def _endpoint(row: Row) -> Endpoint:
    lists = {name: json.loads(row[name]) for name in ("events", "severities", "tags", "sites")}
    more = {"has_secret": row["secret"] is not None, "enabled": bool(row["enabled"])}
    return Endpoint.model_validate(row | lists | more)


def _delivery(row: Row) -> Delivery:
    return Delivery.model_validate(row)
