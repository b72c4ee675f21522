"""Rules of the audit log: the chain of hashes, and what is never written down."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from actors.audit.models import AuditCheck

GENESIS: Final = "0" * 64
"""The hash before the first entry."""

MASK: Final = "***"
_SECRET: Final = ("password", "secret", "token", "authorization", "api_key", "private_key", "credential")


def looks_secret(name: str) -> bool:
    """Tell whether a field of this name may hold a secret."""
    return any(word in name.lower() for word in _SECRET)


def masked(detail: Any) -> Any:
    """Give a detail with everything that looks like a secret hidden, at any depth."""
    if isinstance(detail, dict):
        return {str(key): MASK if looks_secret(str(key)) else masked(value) for key, value in detail.items()}
    if isinstance(detail, list | tuple):
        return [masked(each) for each in detail]
    return detail


def entry_hash(before: str, *entry: int | str) -> str:
    """Give the SHA-256 over an entry and the hash of the one before it, in hex.

    An entry is its id, timestamp (ms), user, action, target and detail (JSON), in this order.
    """
    content = json.dumps([before, *entry], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


HASHED: Final = ("id", "timestamp", "user", "action", "target", "detail")
"""The columns of an entry that its hash covers, in order."""


def follow(entries: Iterable[Mapping[str, Any]]) -> AuditCheck:
    """Follow the chain of hashes over all entries in order of their ids; name the first that doesn't fit."""
    before, count = GENESIS, 0
    for entry in entries:
        told = entry_hash(before, *(entry[column] for column in HASHED))
        if entry["id"] != count + 1 or told != entry["hash"]:
            return AuditCheck(ok=False, entries=count, first_broken=entry["id"])
        before, count = entry["hash"], count + 1
    return AuditCheck(ok=True, entries=count)
