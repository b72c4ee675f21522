"""Backups of stores and how their making goes."""

from enum import StrEnum

from pydantic import BaseModel

from actors.core.clock import Timestamp


class Manifest(BaseModel):
    """What a backup was when it was made; it lies beside it as JSON."""

    name: str
    """The backup's file name."""
    store: str
    schema_version: int
    size: int
    """Bytes."""
    sha256: str
    time: Timestamp
    program: str
    """Version of the program that made it."""


class BackupFile(BaseModel):
    """A backup of one store, checked when it was written."""

    path: str
    time: Timestamp
    size: int
    """Bytes."""
    schema_version: int | None = None
    sha256: str | None = None
    program: str | None = None
    """These three are None for a backup without manifest, made by an older version."""


class BackupState(StrEnum):
    """How far the backup of one store is."""

    WAITING = "waiting"
    COPYING = "copying"
    CHECKING = "checking"
    DONE = "done"
    FAILED = "failed"


class StoreBackup(BaseModel):
    """The backup of one store that is being made."""

    store: str
    """The actor's name, such as `nodes@north`."""
    state: BackupState = BackupState.WAITING
    copied: int = 0
    """Bytes."""
    size: int = 0
    """Bytes in all; 0 before it begins."""
    path: str | None = None
    """Where the copy is, once it is done."""
    error: str | None = None


class BackupJob(BaseModel):
    """Backups of a site's stores, or the campus's, made one after the other."""

    site: str
    running: bool
    started_at: Timestamp
    ended_at: Timestamp | None = None
    stores: list[StoreBackup]
