"""Bringing back what was: backups of a data folder that isn't in use, and the check of its audit log."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from actors.audit.anchor import Anchors, mark_restored
from actors.audit.logic import follow
from actors.audit.models import Anchor, AuditCheck
from actors.backup import files
from actors.core import sqlite
from actors.core.clock import to_iso
from actors.core.errors import AlreadyOwnedError, BadInputError, NotFoundError, StorageError


class Backup(NamedTuple):
    """A backup of a store's file: `store` is the actor's name, such as `nodes@north`."""

    store: str
    of: files.Backup

    @property
    def path(self) -> Path:
        """Give where it is."""
        return self.of.path

    @property
    def time(self) -> int:
        """Give when it was made (ms), by the clock of then."""
        return self.of.time

    @property
    def size(self) -> int:
        """Give its size in bytes."""
        return self.path.stat().st_size


class Restored(NamedTuple):
    """What was done for one store; `aside` is where its file was moved to, if there was one."""

    backup: Backup
    aside: Path | None


def backups(data: Path) -> list[Backup]:
    """List all backups of a data folder by store, newest first: by their numbers, whatever the clock said."""
    found = sorted(
        (each for path in data.glob("*/backups/*.db.*.bak") if (each := files.named(path)) is not None),
        reverse=True,
    )
    listed = [
        Backup(f"{each.file.removesuffix('.db')}@{each.path.parent.parent.name}", each)
        for each in found
        if each.path.stat().st_size
    ]
    return sorted(listed, key=lambda each: each.store)


def choose(found: Sequence[Backup], stores: Sequence[str], at: int | None) -> list[Backup]:
    """Give the newest backup of each of some stores (all where none is named), not newer than `at` (ms).

    `found` is as `backups` gives it. Raises NotFoundError naming the store that has none.
    """
    named = list(dict.fromkeys(stores)) or sorted({each.store for each in found})
    if not named:
        raise NotFoundError("backup", "in this data folder")
    chosen = []
    for store in named:
        fitting = (each for each in found if each.store == store and (at is None or each.time <= at))
        newest = next(fitting, None)
        if newest is None:
            when = "" if at is None else f" from before {to_iso(at)}"
            raise NotFoundError("backup", f"{store}{when}")
        chosen.append(newest)
    return chosen


def restore(data: Path, chosen: Sequence[Backup], told: Callable[[Restored], None]) -> None:
    """Put backups in the place of their stores' files, which are moved aside and never deleted.

    All backups are checked, against their manifests too, before the first file is touched. Raises
    BadInputError while the data folder is in use, and StorageError for a backup that isn't sound.
    """
    try:
        handle = sqlite.lock(data / "opencrate", "opencrate")
    except AlreadyOwnedError as error:
        raise BadInputError(
            "--data", str(data), f"a data folder that isn't in use: {error.reason}"
        ) from error
    try:
        for backup in chosen:
            wrong = files.unsound(backup.of)
            if wrong is not None:
                raise StorageError(backup.store, f"{backup.path} is not sound: {wrong}; nothing was changed")
        for backup in chosen:
            told(_restore_one(backup))
    finally:
        handle.close()


def _restore_one(backup: Backup) -> Restored:
    name = backup.store.partition("@")[0]
    path = backup.path.parent.parent / f"{name}.db"
    owned = sqlite.lock(path, name)
    try:
        aside = files.put_back(backup.path, path, "replaced")
        if name == "audit":
            mark_restored(path.parent)
    finally:
        owned.close()
    return Restored(backup, aside)


def verify_audit(data: Path, anchor: Path | None = None) -> AuditCheck:
    """Follow the hashes of a data folder's audit log, which may be in use, to where it must end.

    `anchor` is a copy of `audit.anchor` that was kept elsewhere: what was in the log then must be there.
    Raises NotFoundError and StorageError.
    """
    path = data / "campus" / "audit.db"
    if not path.exists():
        raise NotFoundError("audit log", str(path))
    with sqlite.plain_errors("audit"):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(5000)
            connection.row_trace = sqlite.as_dict
            return _verified(connection, path, anchor)
        finally:
            connection.close()


def _verified(connection: apsw.Connection, path: Path, copy: Path | None) -> AuditCheck:
    wrong: str | None = None
    inside: Anchor | None = None
    before: list[Anchor] = []
    try:
        anchors = Anchors(path.parent, make_key=False)
        # Read first: it is never ahead of the file, which may get entries meanwhile.
        outside = anchors.outside()
        connection.execute("BEGIN")
        inside = _inside(connection, path, anchors)
        if inside is not None or outside is not None:
            before = [anchors.there(outside)]
        if copy is not None:
            before.append(anchors.there(anchors.outside(copy), copy))
    except StorageError as error:
        wrong = error.reason
    entries: Any = connection.execute("SELECT * FROM audit_entry ORDER BY id")
    found = follow(entries, inside, before)
    return found if wrong is None else found.model_copy(update={"ok": False, "reason": wrong})


def _inside(connection: apsw.Connection, path: Path, anchors: Anchors) -> Anchor | None:
    """Give the anchor in the file; None in one that no version with anchors has opened yet."""
    if connection.pragma("user_version") == 1:
        return None
    rows: Any = connection.execute("SELECT sealed FROM audit_anchor").fetchall()
    if not rows:
        raise StorageError("audit", f"the anchor in {path} is gone")
    sealed = rows[0]["sealed"]
    return anchors.open(f"the anchor in {path}", sealed) if sealed else None
