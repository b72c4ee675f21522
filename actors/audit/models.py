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


class AuditCheck(BaseModel):
    """Outcome of following the chain of hashes."""

    ok: bool
    entries: int
    first_broken: int | None = None
