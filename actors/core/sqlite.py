"""Open, lock, check and migrate one SQLite file (https://sqlite.org/wal.html)."""

import contextlib
import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

import apsw

from actors.core.clock import now_ms, to_iso
from actors.core.errors import AlreadyOwnedError, NewerFileError, StorageError

log = logging.getLogger(__name__)

Row = dict[str, Any]
Bindings = Sequence[Any] | dict[str, Any]


class Durability(StrEnum):
    """What a power cut may cost: nothing committed (`FULL`), or the last commits (`NORMAL`)."""

    FULL = "FULL"
    NORMAL = "NORMAL"


@contextlib.contextmanager
def plain_errors(name: str) -> Iterator[None]:
    """Turn errors of SQLite into StorageError; let constraint violations pass for the caller to explain."""
    try:
        yield
    except apsw.ConstraintError:
        raise
    except apsw.FullError as error:
        raise StorageError(name, "the disk is full; nothing was changed") from error
    except apsw.Error as error:
        raise StorageError(name, f"{type(error).__name__}: {error}") from error


def lock(path: Path, name: str) -> IO[str]:
    """Own `path` until the answer is closed or the process ends.

    Raises AlreadyOwnedError naming the owner's process.
    """
    lock_path = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = lock_path.open("a+")
    except OSError as error:
        raise StorageError(name, f"{path.parent} can't be written: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.seek(0)
        owner = handle.read().strip() or "unknown"
        handle.close()
        raise AlreadyOwnedError(name, f"{path} is already open in process {owner}") from error
    handle.seek(0)
    handle.truncate()
    handle.write(str(os.getpid()))
    handle.flush()
    return handle


def as_dict(cursor: apsw.Cursor, row: tuple[Any, ...]) -> Row:
    """Give a row as a dict by column name (an apsw row trace)."""
    return {column[0]: value for column, value in zip(cursor.get_description(), row, strict=True)}


def connect(path: Path, durability: Durability) -> apsw.Connection:
    """Open `path` in WAL mode with foreign keys on. Rows come as dicts."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5000)
    for pragma in ("journal_mode=WAL", f"synchronous={durability}", "foreign_keys=ON", "trusted_schema=OFF"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.row_trace = as_dict
    return connection


def damage(path: Path) -> str | None:
    """Say what is wrong with a file, or None for a sound or an absent one."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    connection: apsw.Connection | None = None
    try:
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(5000)
        found = [row[0] for row in connection.execute("PRAGMA quick_check(5)")]
    except (apsw.NotADBError, apsw.CorruptError) as error:
        return str(error)
    finally:
        if connection is not None:
            connection.close()
    return None if found == ["ok"] else "; ".join(map(str, found))


def set_aside(path: Path, why: str = "damaged") -> Path:
    """Rename a file that is damaged or replaced, and its WAL; never delete them. Gives the new name."""
    stamp = to_iso(now_ms()).replace(":", "").replace("-", "")
    target = path.with_name(f"{path.name}.{why}-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.{why}-{stamp}-{number}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(target.with_name(target.name + suffix))
    return target


def migrate(
    connection: apsw.Connection,
    path: Path,
    name: str,
    migrations: Sequence[str],
    copy: Callable[[Path], Path],
) -> None:
    """Bring the schema to the newest version: each step in one transaction that also sets `user_version`.

    A file that isn't new is copied by `copy` before the first step. Raises NewerFileError for a file that
    this program is too old for. A step may hold several statements, divided by `;`.
    """
    version = int(connection.pragma("user_version"))
    if version > len(migrations):
        raise NewerFileError(
            name, f"{path} has version {version}; this program knows {len(migrations)}: use the newer program"
        )
    if 0 < version < len(migrations):
        log.info(
            "%s: version %d of %d, copied to %s first",
            path,
            version,
            len(migrations),
            copy(path),
        )
    for number, step in enumerate(migrations[version:], version + 1):
        with connection:
            connection.execute(step).fetchall()
            connection.execute(f"PRAGMA user_version={number}").fetchall()
