"""Backups of one SQLite file: copied while it is in use, checked, described, numbered, pruned, put back.

A backup is `backups/<file>.<time>-<number>.bak` beside its file, and `.json` of the same name tells what it
should be (Manifest). The time is what the clock said (ms); the number only rises, so that a clock that was
set back or ahead doesn't change which is the newest. Names of older versions have no number: they come before
all that have one.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
from pydantic import ValidationError

from actors.backup.models import BackupFile, BackupState, Manifest
from actors.core.clock import Clock, now_ms
from actors.core.disk import sync_folder
from actors.core.errors import StorageError
from actors.core.sqlite import damage, plain_errors, set_aside

KEEP: Final = 7
"""Backups kept of each file, the newest."""
SLICE: Final = 1024
"""Pages copied at a time: 4 MB."""
_LONGEST: Final = 1.0
"""Seconds of rest after a slice at most."""

_NAME: Final = re.compile(r"(?P<file>[a-z0-9_]+\.db)\.(?P<time>\d{1,15})(?:-(?P<number>\d+))?\.bak")

Told = Callable[[BackupState, int, int], None]
"""Told after each slice with what is done, bytes copied and bytes in all. It may raise to end the copying."""


class Backup(NamedTuple):
    """A backup by its name; the larger of two is the newer one."""

    number: int
    time: int
    """When it was made (ms), by the clock of then."""
    path: Path

    @property
    def manifest(self) -> Path:
        """Give where its manifest is."""
        return self.path.with_suffix(".json")

    @property
    def file(self) -> str:
        """Give the name of the file that it is a copy of, such as `nodes.db`."""
        return self.path.name.split(".")[0] + ".db"


def named(path: Path) -> Backup | None:
    """Read what a backup's name says; None for what isn't a backup."""
    found = _NAME.fullmatch(path.name)
    return Backup(int(found["number"] or 0), int(found["time"]), path) if found else None


def backups(path: Path) -> list[Backup]:
    """List the backups of a file, newest first."""
    found = (named(each) for each in (path.parent / "backups").glob(f"{path.name}.*.bak"))
    return sorted((each for each in found if each is not None), reverse=True)


def told_of(backup: Backup) -> BackupFile:
    """Describe a backup for a list; without its manifest's words where it has none that can be read."""
    with contextlib.suppress(StorageError):
        if (manifest := read_manifest(backup)) is not None:
            fields = manifest.model_dump(include={"schema_version", "sha256", "program"})
            return BackupFile(
                path=str(backup.path), time=backup.time, size=backup.path.stat().st_size, **fields
            )
    return BackupFile(path=str(backup.path), time=backup.time, size=backup.path.stat().st_size)


def read_manifest(backup: Backup) -> Manifest | None:
    """Give what a backup should be; None where there is no manifest. Raises StorageError."""
    try:
        return Manifest.model_validate_json(backup.manifest.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise StorageError(backup.path.name, f"{backup.manifest} can't be read: {error}") from error


def sha256(path: Path) -> str:
    """Give the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unsound(backup: Backup) -> str | None:
    """Say why a backup must not be used, or None: it differs from its manifest, or SQLite finds it damaged.

    A backup without a manifest, made by an older version, is checked by SQLite alone.
    """
    try:
        manifest = read_manifest(backup)
        if manifest is not None:
            size = backup.path.stat().st_size
            if size != manifest.size:
                return f"it was changed after it was made: {size} bytes, {manifest.size} in its manifest"
            if (found := sha256(backup.path)) != manifest.sha256:
                return f"it was changed after it was made: SHA-256 {found}, {manifest.sha256} in its manifest"
        return damage(backup.path)
    except StorageError as error:
        return error.reason
    except (OSError, apsw.Error) as error:
        return str(error)


def _nobody(state: BackupState, done: int, size: int) -> None:
    """Tell nobody."""


def back_up(path: Path, *, keep: int = KEEP, clock: Clock = now_ms, told: Told = _nobody) -> Path:
    """Copy a file that may be in use, check the copy, describe it, prune old ones; give its path.

    The copy is what the file was when this began: it is read in one transaction over a connection of its own,
    slice by slice, so that the owner's calls go on meanwhile in its own process, whatever they commit or roll
    back. (SQLite starts a backup over that reads through the writing connection of a WAL file whenever a
    transaction is rolled back.) After each slice this rests as long as the slice took, to leave the disk to
    others. Runs as long as it takes: not for a loop that must not wait.

    The copy and its manifest get their names last, so that a crash leaves parts that the next run removes.
    Raises StorageError; then no copy and no part of one is left.
    """
    store, folder = path.stem, path.parent / "backups"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in (*folder.glob(f"{path.name}.*.part"), *folder.glob(f"{path.name}.*.part-journal")):
            left.unlink()
        known = backups(path)
        number = known[0].number + 1 if known else 1
        target = folder / f"{path.name}.{clock():014d}-{number:06d}.bak"
        part, described = target.with_suffix(".part"), target.with_suffix(".json.part")
        try:
            version = _copy(path, part, told)
            size = part.stat().st_size
            told(BackupState.CHECKING, size, size)
            _check(store, part)
            manifest = Manifest(
                name=target.name,
                store=store,
                schema_version=version,
                size=size,
                sha256=sha256(part),
                time=named(target).time,  # type: ignore[union-attr]
                program=importlib.metadata.version("opencrate-campus"),
            )
            with described.open("w") as file:
                file.write(manifest.model_dump_json(indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            # A crash in between leaves a manifest alone, which the next pruning removes.
            described.rename(target.with_suffix(".json"))
            part.rename(target)
            sync_folder(folder)
        except BaseException:
            _remove(part, part.with_name(part.name + "-journal"), described)
            raise
        prune(path, keep)
    except OSError as error:
        raise StorageError(store, f"no backup was made: {error.strerror or error}") from error
    return target


def _copy(path: Path, part: Path, told: Told) -> int:
    """Write a copy of what a file is now; give its schema's version."""
    with plain_errors(path.stem), contextlib.ExitStack() as stack:
        source = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        stack.callback(source.close)
        source.set_busy_timeout(5000)
        target = apsw.Connection(str(part))
        stack.callback(target.close)
        source.execute("BEGIN")
        version = int(source.pragma("user_version"))
        if version == 0:
            raise StorageError(path.stem, f"{path} has no tables: it is being put back or was never filled")
        size: Any = source.pragma("page_size")
        job = target.backup("main", source, "main")
        try:
            while not job.done:
                began = time.monotonic()
                job.step(SLICE)
                told(BackupState.COPYING, (job.page_count - job.remaining) * size, job.page_count * size)
                if not job.done:
                    time.sleep(min(time.monotonic() - began, _LONGEST))
        finally:
            job.close(True)
        source.execute("COMMIT")
        target.execute("PRAGMA journal_mode=DELETE").fetchall()
        return version


def _check(store: str, part: Path) -> None:
    with plain_errors(store):
        wrong = damage(part)
    if wrong:
        raise StorageError(store, f"the copy is not sound: {wrong}")


def _remove(*parts: Path) -> None:
    """Remove what is left of a failure, which is told, whatever comes of this."""
    for each in parts:
        with contextlib.suppress(OSError):
            each.unlink()


def prune(path: Path, keep: int) -> None:
    """Delete all but the newest backups of a file with their manifests, and manifests without a backup."""
    for old in backups(path)[keep:]:
        old.path.unlink(missing_ok=True)
    for manifest in (path.parent / "backups").glob(f"{path.name}.*.json"):
        if not manifest.with_suffix(".bak").exists():
            manifest.unlink(missing_ok=True)


def put_back(backup: Path, path: Path, why: str) -> Path | None:
    """Make `path` a copy of a backup; the file that is there is moved aside under `why`. Gives where to.

    The copy is written and checked under another name first, so that a full disk or a crash leaves the file
    that is there. Raises StorageError.
    """
    part = path.with_name(path.name + ".restoring")
    parts = (part, part.with_name(part.name + "-journal"))
    try:
        for each in parts:
            each.unlink(missing_ok=True)
        with plain_errors(path.stem):
            source = apsw.Connection(str(backup), flags=apsw.SQLITE_OPEN_READONLY)
            target = apsw.Connection(str(part))
            try:
                with target.backup("main", source, "main") as job:
                    job.step(-1)
            finally:
                source.close()
                target.close()
        _check(path.stem, part)
        aside = set_aside(path, why) if path.exists() else None
        part.rename(path)
        sync_folder(path.parent)
    except BaseException as error:
        _remove(*parts)
        if isinstance(error, OSError):
            raise StorageError(path.stem, f"{backup} can't be put back: {error.strerror or error}") from error
        raise
    return aside


def restore_newest(path: Path) -> tuple[Path | None, Path | None]:
    """Put the newest sound backup in the place of a damaged or missing file, which is moved aside.

    Gives the backup, or None where there is none, and where the file was moved to. Raises StorageError.
    """
    for candidate in backups(path):
        if unsound(candidate) is None:
            return candidate.path, put_back(candidate.path, path, "damaged")
    return None, set_aside(path) if path.exists() else None
