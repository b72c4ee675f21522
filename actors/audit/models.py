"""Entries of the audit log."""

from typing import Any

from pydantic import BaseModel

from actors.core.clock import Timestamp


class AuditEntry(BaseModel):
    """Who did what to what, when, and with what outcome.

    `hash` covers the entry and the hash of the one before.
    """

    id: int
    timestamp: Timestamp
    user: str
    action: str
    target: str
    detail: dict[str, Any] = {}
    hash: str


class Anchor(BaseModel):
    """Where the log ended when this was sealed."""

    entries: int
    hash: str
    """Of the last entry."""
    restored: bool = False
    """A backup took the log's place since then: what is missing is explained."""


class Loss(BaseModel):
    """An entry that notes that earlier ones were lost."""

    id: int
    reason: str
    missing: int | None = None
    """How many, where that is known."""
    explained: bool
    """By a backup that took the log's place."""


class AuditCheck(BaseModel):
    """Outcome of following the chain of hashes to where it is known to have ended."""

    ok: bool
    """Every entry fits, none is missing, and none was lost before without an explanation."""
    entries: int
    first_broken: int | None = None
    missing: int = 0
    """Entries that are missing at the end."""
    reason: str | None = None
    """What is wrong, or unknown, about the log's end."""
    losses: list[Loss] = []
    """What was lost before, as the log itself notes."""
