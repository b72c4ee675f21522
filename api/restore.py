"""Bringing back what was: backups of a data folder that isn't in use, and the check of its audit log."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import apsw

from actors.audit.logic import follow
from actors.audit.models import AuditCheck
from actors.core import sqlite
from actors.core.clock import to_iso
from actors.core.errors import AlreadyOwnedError, BadInputError, NotFoundError, StorageError


class Backup(NamedTuple):
    """A backup of a store's file: `store` is the actor's name, such as `nodes@north`; time in ms."""

    store: str
    time: int
    size: int
    path: Path


class Restored(NamedTuple):
    """What was done for one store; `aside` is where its file was moved to, if there was one."""

    backup: Backup
    aside: Path | None


def backups(data: Path) -> list[Backup]:
    """List all backups of a data folder by store, newest first."""
    found = [
        Backup(f"{path.name.split('.')[0]}@{path.parent.parent.name}", sqlite.backup_time(path), size, path)
        for path in data.glob("*/backups/*.db.*.bak")
        if path.name.split(".")[-2].isdigit() and (size := path.stat().st_size)
    ]
    return sorted(found, key=lambda each: (each.store, -each.time))


def choose(found: Sequence[Backup], stores: Sequence[str], at: int | None) -> list[Backup]:
    """Give the newest backup of each of some stores (all where none is named), not newer than `at` (ms).

    Raises NotFoundError naming the store that has none.
    """
    named = list(dict.fromkeys(stores)) or sorted({each.store for each in found})
    if not named:
        raise NotFoundError("backup", "in this data folder")
    chosen = []
    for store in named:
        fitting = [each for each in found if each.store == store and (at is None or each.time <= at)]
        if not fitting:
            when = "" if at is None else f" from before {to_iso(at)}"
            raise NotFoundError("backup", f"{store}{when}")
        chosen.append(max(fitting, key=lambda each: each.time))
    return chosen


def restore(data: Path, chosen: Sequence[Backup], told: Callable[[Restored], None]) -> None:
    """Put backups in the place of their stores' files, which are moved aside and never deleted.

    All backups are checked before the first file is touched. Raises BadInputError while the data folder is in
    use, and StorageError for a backup that isn't sound.
    """
    try:
        handle = sqlite.lock(data / "opencrate", "opencrate")
    except AlreadyOwnedError as error:
        raise BadInputError(
            "--data", str(data), f"a data folder that isn't in use: {error.reason}"
        ) from error
    try:
        for backup in chosen:
            wrong = sqlite.damage(backup.path)
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
        aside = sqlite.set_aside(path, "replaced") if path.exists() else None
        with sqlite.plain_errors(name):
            sqlite.put_back(backup.path, path)
        wrong = sqlite.damage(path)
        if wrong is not None:
            raise StorageError(name, f"{path} is not sound after it was restored: {wrong}")
    finally:
        owned.close()
    return Restored(backup, aside)


def verify_audit(data: Path) -> AuditCheck:
    """Follow the hashes of a data folder's audit log, which may be in use. Raises StorageError."""
    path = data / "campus" / "audit.db"
    if not path.exists():
        raise NotFoundError("audit log", str(path))
    with sqlite.plain_errors("audit"):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(5000)
            connection.row_trace = sqlite.as_dict
            return follow(connection.execute("SELECT * FROM audit_entry ORDER BY id"))
        finally:
            connection.close()
