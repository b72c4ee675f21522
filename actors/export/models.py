"""Where samples are exported to, which ones, and how far that has come."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from actors.core.clock import Timestamp
from actors.core.fields import TagFilter

Name = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Host = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=253,
        pattern=r"^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])$",
    ),
]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
"""A PostgreSQL name that needs no quotes (PostgreSQL 4.1.1)."""


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class InfluxTarget(_Input):
    """InfluxDB by its HTTP line protocol; version 1 takes a database, version 2 organisation and bucket."""

    kind: Literal["influxdb"] = "influxdb"
    url: AnyHttpUrl
    database: Word | None = None
    username: Word | None = None
    org: Word | None = None
    bucket: Word | None = None
    measurement: Word = "opencrate"

    @model_validator(mode="after")
    def _one_version(self) -> "InfluxTarget":
        if self.url.username or self.url.password:
            raise ValueError("a url without user and password; the password is a field of its own")
        old, new = self.database is not None, self.org is not None and self.bucket is not None
        if old == new or (old and (self.org or self.bucket)):
            raise ValueError("either database (version 1), or org and bucket (version 2)")
        return self


class PostgresTarget(_Input):
    """A table of a PostgreSQL database with the columns site, point_id, time, value, text_value, status."""

    kind: Literal["postgresql"] = "postgresql"
    host: Host
    port: int = Field(default=5432, ge=1, le=65_535)
    database: Word
    username: Word
    schema_name: Identifier = "public"
    table: Identifier = "opencrate_sample"
    tls: Literal["disable", "require", "verify-full"] = "verify-full"


Connection = Annotated[InfluxTarget | PostgresTarget, Field(discriminator="kind")]


class Selection(_Input):
    """Which points are exported: all, or those of sites, of a list, or with tags ("-tag": without)."""

    sites: list[Word] = Field(default=[], max_length=500)
    ids: list[Word] = Field(default=[], max_length=5000)
    tags: list[TagFilter] = Field(default=[], max_length=20)


class NewTarget(_Input):
    """A target to be made. On a change, `password` left out keeps the one that is there."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Plant historian",
                    "connection": {
                        "kind": "influxdb",
                        "url": "https://influx.example.org:8086",
                        "org": "campus",
                        "bucket": "opencrate",
                    },
                    "password": "a token",
                    "selection": {"tags": ["temp"]},
                }
            ]
        },
    )

    name: Name
    connection: Connection
    password: SecretStr | None = Field(default=None, max_length=4096)
    """Of InfluxDB 2 the token."""
    selection: Selection = Selection()
    batch_size: int = Field(default=5000, ge=1, le=50_000)
    live: bool = True
    """Send samples as they come; without it only backfills are sent."""
    enabled: bool = True


class Target(BaseModel):
    """A target, without its secret."""

    id: int
    name: str
    connection: Connection
    has_password: bool
    selection: Selection
    batch_size: int
    live: bool
    enabled: bool
    created_at: Timestamp


class OpenTarget(BaseModel):
    """A target with its password, for the publisher alone."""

    target: Target
    password: SecretStr | None
    trouble: str | None = None
    """Why the password can't be read."""


class TargetStatus(BaseModel):
    """How the export to a target goes."""

    target_id: int
    points: int
    rows_sent: int
    oldest_cursor: Timestamp | None
    """Up to where every point has been sent."""
    last_success: Timestamp | None
    last_failure: Timestamp | None
    last_error: str | None
    failures: int
    """In a row."""


class PointCursor(BaseModel):
    """How far one point has been sent: everything up to `cursor` has arrived."""

    site: str
    point_id: str
    cursor: Timestamp
    rows_sent: int


class BackfillState(StrEnum):
    """How far a backfill has come."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class NewBackfill(_Input):
    """A range of history to be sent again."""

    start: Timestamp
    end: Timestamp

    @model_validator(mode="after")
    def _in_order(self) -> "NewBackfill":
        if self.start >= self.end:
            raise ValueError("an end after the start")
        return self


class Backfill(BaseModel):
    """A backfill and its progress."""

    id: int
    target_id: int
    state: BackfillState
    range_start: Timestamp
    range_end: Timestamp
    reached: Timestamp
    progress: float
    """Part of the range that has been sent, 0 to 1."""
    rows_sent: int
    requested_by: str
    requested_at: Timestamp
    finished_at: Timestamp | None
    error: str | None


def plain(target: NewTarget) -> dict[str, Any]:
    """Give a target as it may be logged: without its secret."""
    return target.model_dump(mode="json", exclude={"password"})
