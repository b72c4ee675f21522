"""Rules of the audit log: the chain of hashes, and what is never written down."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from actors.audit.models import Anchor, AuditCheck, Loss

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


SYSTEM: Final = "system"
"""Whose entries this program makes by itself."""
LOST: Final = "audit_entries_lost"
"""Action of the entry that notes that others were lost before it."""


def follow(
    entries: Iterable[Mapping[str, Any]], last: Anchor | None = None, before: Sequence[Anchor] = ()
) -> AuditCheck:
    """Follow the chain of hashes over all entries in order of their ids; name the first that doesn't fit.

    `last` says where the chain must end, `before` what it must have come through.
    """
    hashes = {anchor.entries: GENESIS for anchor in (*before, *([last] if last else []))}
    previous, count = GENESIS, 0
    losses: list[Loss] = []
    for entry in entries:
        told = entry_hash(previous, *(entry[column] for column in HASHED))
        if entry["id"] != count + 1 or told != entry["hash"]:
            return AuditCheck(ok=False, entries=count, first_broken=entry["id"], losses=losses)
        previous, count = entry["hash"], count + 1
        if count in hashes:
            hashes[count] = previous
        if entry["user"] == SYSTEM and entry["action"] == LOST:
            losses.append(Loss.model_validate({"id": count} | json.loads(entry["detail"])))
    found = AuditCheck(ok=all(each.explained for each in losses), entries=count, losses=losses)
    for anchor in (*([last] if last else []), *before):
        wrong = against(anchor, count, hashes[anchor.entries])
        if wrong is not None:
            found = found.model_copy(update=wrong | {"ok": found.ok and anchor.restored})
            break
    if found.reason is None and last is not None and last.entries < count:
        reason = "it and what follows were added by other means than this program"
        found = found.model_copy(update={"ok": False, "first_broken": last.entries + 1, "reason": reason})
    return found


def against(anchor: Anchor, entries: int, found: str) -> dict[str, Any] | None:
    """Say what is wrong with a log of so many entries, given where it ended before, or None.

    `found` is the hash of the entry at the anchor.
    """
    if anchor.entries > entries:
        missing = anchor.entries - entries
        noun = "entry is" if missing == 1 else "entries are"
        restored = " since a backup took its place" if anchor.restored else ""
        return {"missing": missing, "reason": f"{missing} {noun} missing at the end{restored}"}
    if anchor.entries and found != anchor.hash:
        reason = "the log was replaced: this is not the entry that was sealed"
        return {"reason": reason, "first_broken": anchor.entries}
    return None
