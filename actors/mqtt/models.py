"""MQTT brokers and the topics under which events are published."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from actors.core.clock import Timestamp
from actors.core.fields import TagFilter

EventName = Literal["value_changed", "alarm_raised", "alarm_cleared", "device_down", "device_discovered"]
"""The events that the publisher follows, as the reference names them."""
Host = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=253,
        pattern=r"^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[?[0-9A-Fa-f]*:[0-9A-Fa-f:.]+\]?)$",
    ),
]
ClientId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Template = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Qos = Literal[0, 1, 2]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Tls(_Input):
    """How the connection is secured; certificates are PEM texts, and their private key is a secret."""

    mode: Literal["off", "verify", "insecure"] = "verify"
    """`insecure` encrypts without knowing who is at the other end."""
    ca: str | None = Field(default=None, max_length=100_000)
    certificate: str | None = Field(default=None, max_length=100_000)

    @model_validator(mode="after")
    def _fits(self) -> "Tls":
        for name in ("ca", "certificate"):
            text = getattr(self, name)
            if text is None:
                continue
            if self.mode == "off":
                raise ValueError(f"{name} is of no use with mode off")
            if "-----BEGIN CERTIFICATE-----" not in text:
                raise ValueError(f"{name} is a PEM certificate")
        return self


class NewBroker(_Input):
    """A broker to be made. On a change, `password` and `private_key` left out keep what is there."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Plant broker",
                    "host": "mqtt.example.org",
                    "username": "opencrate",
                    "password": "a password",
                }
            ]
        },
    )

    name: str = Field(min_length=1, max_length=100)
    host: Host
    port: int = Field(default=8883, ge=1, le=65_535)
    client_id: ClientId | None = Field(default=None, description="Made from the id where it is left out.")
    username: str | None = Field(default=None, min_length=1, max_length=200)
    password: SecretStr | None = Field(default=None, max_length=1000)
    private_key: SecretStr | None = Field(default=None, max_length=20_000)
    tls: Tls = Tls()
    keepalive: int = Field(default=30, ge=5, le=3600, description="Seconds.")
    status_topic: Template = "opencrate/status"
    """Where the last will and the publisher's own state go, retained."""
    sites: list[Annotated[str, StringConstraints(min_length=1, max_length=64)]] = Field(
        default=[], max_length=500
    )
    tags: list[TagFilter] = Field(default=[], max_length=20)
    enabled: bool = True

    @model_validator(mode="after")
    def _private(self) -> "NewBroker":
        if self.password is not None and self.tls.mode == "off" and self.port == 8883:
            raise ValueError("port 8883 is for TLS; use 1883 with mode off")
        return self


class Broker(BaseModel):
    """A broker, without its secrets."""

    id: int
    name: str
    host: str
    port: int
    client_id: str
    username: str | None
    has_password: bool
    has_private_key: bool
    tls: Tls
    keepalive: int
    status_topic: str
    sites: list[str]
    tags: list[str]
    enabled: bool
    created_at: Timestamp


class NewPattern(_Input):
    """Under which topic an event is published; `{...}` names its fields."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "event": "value_changed",
                    "template": "opencrate/{site}/{device_id}/{point_id}/value",
                    "qos": 0,
                    "retain": True,
                }
            ]
        },
    )

    event: EventName
    template: Template
    qos: Qos = 0
    retain: bool = False
    enabled: bool = True


class Pattern(NewPattern):
    """A pattern of a broker."""

    id: int
    broker_id: int


class Secrets(BaseModel):
    """What is sealed of a broker."""

    password: str | None = None
    private_key: str | None = None


class OpenBroker(BaseModel):
    """A broker with its secrets and patterns, for the publisher alone."""

    broker: Broker
    password: SecretStr | None
    private_key: SecretStr | None
    patterns: list[Pattern]
    trouble: str | None = None
