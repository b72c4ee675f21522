"""Backups of stores and how their making goes."""

from pydantic import BaseModel

from actors.core.clock import Timestamp


class BackupFile(BaseModel):
    """A backup of one store, checked when it was written."""

    path: str
    time: Timestamp
    size: int
    """Bytes."""
