"""The store of MQTT brokers and their topics."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import ray

from actors.core import secrets
from actors.core.errors import NotFoundError
from actors.core.sqlite import Durability, Row
from actors.core.store import Store, of_site, unique
from actors.mqtt.logic import DEFAULTS, check_template
from actors.mqtt.models import Broker, NewBroker, NewPattern, OpenBroker, Pattern, Secrets, Tls
from actors.mqtt.schema import MIGRATIONS


class MqttStore(Store):
    """Keep brokers with their sealed secrets, and the topics under which each gets which events.

    A new broker gets the usual topics. Changes move the watch cell, so that the publisher takes them up
    without a restart.
    """

    name: ClassVar[str] = "mqtt"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL
    watched: ClassVar[bool] = True

    def opened(self) -> None:
        """Read the key that seals secrets."""
        self._secrets = secrets.Secrets(self.path.parent)

    # Brokers

    @ray.method
    def create(self, new: NewBroker) -> Broker:
        """Add a broker with the usual topics.

        Raises BadInputError for its status topic, ConflictError for a name or client id that is taken.
        """
        check_template(new.status_topic)
        with self.transaction(), unique("broker", new.name):
            row = self.one(
                "INSERT INTO mqtt_broker (name, host, port, username, tls, keepalive, status_topic, sites,"
                " tags, enabled, client_id, secret, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                *_columns(new),
                new.client_id or "",
                self._sealed(new, Secrets()),
                self.clock(),
            )
            broker_id = int(row["id"]) if row else 0
            if new.client_id is None:
                self.run(
                    "UPDATE mqtt_broker SET client_id = ? WHERE id = ?", f"opencrate-{broker_id}", broker_id
                )
            self.many(
                "INSERT INTO mqtt_topic_pattern (broker_id, event, template, qos, retain, enabled)"
                " VALUES (?, ?, ?, ?, ?, 1)",
                [(broker_id, event, text, qos, int(retain)) for event, text, qos, retain in DEFAULTS],
            )
            self.config_moved()
        return _broker(self._row(broker_id))

    @ray.method
    def update(self, broker_id: int, new: NewBroker) -> Broker:
        """Replace a broker; secrets and a client id left out stay, its topics too.

        Raises NotFoundError, BadInputError, and ConflictError for a name or client id that is taken.
        """
        check_template(new.status_topic)
        with self.transaction(), unique("broker", new.name):
            before = self._row(broker_id)
            kept = Secrets.model_validate_json(before["secret"] or "{}")
            row = self.one(
                "UPDATE mqtt_broker SET name = ?, host = ?, port = ?, username = ?, tls = ?, keepalive = ?,"
                " status_topic = ?, sites = ?, tags = ?, enabled = ?, client_id = coalesce(?, client_id),"
                " secret = ? WHERE id = ? RETURNING *",
                *_columns(new),
                new.client_id,
                self._sealed(new, kept),
                broker_id,
            )
            self.config_moved()
        return _broker(row or {})

    @ray.method
    def delete(self, broker_id: int) -> Broker:
        """Delete a broker with its topics. Raises NotFoundError."""
        with self.transaction():
            row = self.one("DELETE FROM mqtt_broker WHERE id = ? RETURNING *", broker_id)
            if row is None:
                raise NotFoundError("broker", broker_id)
            self.config_moved()
        return _broker(row)

    @ray.method
    def get(self, broker_id: int) -> Broker:
        """Give one broker. Raises NotFoundError."""
        return _broker(self._row(broker_id))

    @ray.method
    def find(
        self,
        enabled: bool | None = None,
        limit: int = 100,
        cursor: str | None = None,
        site: str | None = None,
    ) -> tuple[list[Broker], str | None]:
        """Give brokers; with `site` those that get its events. Raises BadInputError."""
        rows, after = self.page_of(
            "SELECT * FROM mqtt_broker", {"enabled = ?": enabled, of_site("sites"): site}, limit, cursor
        )
        return [_broker(row) for row in rows], after

    @ray.method
    def in_force(self) -> tuple[int, list[OpenBroker]]:
        """Give the version and all enabled brokers with their secrets and enabled topics.

        For the publisher alone. A secret that can't be read is said in the broker's `trouble`.
        """
        found = []
        for row in self.all("SELECT * FROM mqtt_broker WHERE enabled ORDER BY id"):
            sealed = Secrets.model_validate_json(row["secret"] or "{}")
            opened: dict[str, str | None] = {"password": None, "private_key": None}
            trouble = None
            for name in opened:
                text = getattr(sealed, name)
                if text is None:
                    continue
                try:
                    opened[name] = self._secrets.open(f"the {name} of {row['name']}", text)
                except secrets.SecretLostError as error:
                    trouble = str(error)
            patterns = [each for each in self._patterns(row["id"]) if each.enabled]
            found.append(
                OpenBroker.model_validate(
                    opened | {"broker": _broker(row), "patterns": patterns, "trouble": trouble}
                )
            )
        return self.version(), found

    # Topics

    @ray.method
    def create_pattern(self, broker_id: int, new: NewPattern) -> Pattern:
        """Add a topic to a broker. Raises NotFoundError, BadInputError, ConflictError for one there is."""
        check_template(new.template, new.event)
        with self.transaction(), unique("topic", new.template):
            self._row(broker_id)
            row = self.one(
                "INSERT INTO mqtt_topic_pattern (broker_id, event, template, qos, retain, enabled)"
                " VALUES (?, ?, ?, ?, ?, ?) RETURNING *",
                broker_id,
                *_pattern_columns(new),
            )
            self.config_moved()
        return _pattern(row or {})

    @ray.method
    def update_pattern(self, pattern_id: int, new: NewPattern) -> Pattern:
        """Replace a topic. Raises NotFoundError, BadInputError, ConflictError for one there is."""
        check_template(new.template, new.event)
        with self.transaction(), unique("topic", new.template):
            row = self.one(
                "UPDATE mqtt_topic_pattern SET event = ?, template = ?, qos = ?, retain = ?, enabled = ?"
                " WHERE id = ? RETURNING *",
                *_pattern_columns(new),
                pattern_id,
            )
            if row is None:
                raise NotFoundError("topic", pattern_id)
            self.config_moved()
        return _pattern(row)

    @ray.method
    def delete_pattern(self, pattern_id: int) -> Pattern:
        """Delete a topic. Raises NotFoundError."""
        with self.transaction():
            row = self.one("DELETE FROM mqtt_topic_pattern WHERE id = ? RETURNING *", pattern_id)
            if row is None:
                raise NotFoundError("topic", pattern_id)
            self.config_moved()
        return _pattern(row)

    @ray.method
    def pattern(self, pattern_id: int) -> Pattern:
        """Give one topic. Raises NotFoundError."""
        row = self.one("SELECT * FROM mqtt_topic_pattern WHERE id = ?", pattern_id)
        if row is None:
            raise NotFoundError("topic", pattern_id)
        return _pattern(row)

    @ray.method
    def patterns(self, broker_id: int) -> list[Pattern]:
        """Give the topics of a broker. Raises NotFoundError."""
        self._row(broker_id)
        return self._patterns(broker_id)

    # Within

    def _patterns(self, broker_id: int) -> list[Pattern]:
        rows = self.all("SELECT * FROM mqtt_topic_pattern WHERE broker_id = ? ORDER BY id", broker_id)
        return [_pattern(row) for row in rows]

    def _row(self, broker_id: int) -> Row:
        row = self.one("SELECT * FROM mqtt_broker WHERE id = ?", broker_id)
        if row is None:
            raise NotFoundError("broker", broker_id)
        return row

    def _sealed(self, new: NewBroker, kept: Secrets) -> str:
        for name in ("password", "private_key"):
            secret = getattr(new, name)
            if secret is not None:
                kept = kept.model_copy(update={name: self._secrets.seal(secret.get_secret_value())})
        return kept.model_dump_json()


def _columns(new: NewBroker) -> tuple[Any, ...]:
    return (
        new.name,
        new.host,
        new.port,
        new.username,
        new.tls.model_dump_json(),
        new.keepalive,
        new.status_topic,
        json.dumps(new.sites),
        json.dumps(new.tags),
        int(new.enabled),
    )


def _pattern_columns(new: NewPattern) -> tuple[Any, ...]:
    return new.event, new.template, new.qos, int(new.retain), int(new.enabled)


def _broker(row: Row) -> Broker:
    sealed = Secrets.model_validate_json(row["secret"] or "{}")
    return Broker.model_validate(
        row
        | {
            "tls": Tls.model_validate_json(row["tls"]),
            "has_password": sealed.password is not None,
            "has_private_key": sealed.private_key is not None,
            "sites": json.loads(row["sites"]),
            "tags": json.loads(row["tags"]),
            "enabled": bool(row["enabled"]),
        }
    )


def _pattern(row: Row) -> Pattern:
    return Pattern.model_validate(row | {"retain": bool(row["retain"]), "enabled": bool(row["enabled"])})
