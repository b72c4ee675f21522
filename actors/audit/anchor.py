"""Where the audit log ends, sealed with the installation's key: in its file, and in `audit.anchor` beside it.

The anchor in the file changes in the transaction of each entry, so it always names the last one. The one
outside is written after the commit: a crash in between leaves it behind, never ahead.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from actors.audit.models import Anchor
from actors.core.errors import StorageError
from actors.core.secrets import KEY_FILE, SecretLostError, Secrets

ANCHOR_FILE: Final = "audit.anchor"
UNKNOWN: Final = ": nobody can tell where the log ended"


class Anchors:
    """Seal and open the anchors of the audit log in one folder."""

    def __init__(self, folder: Path, *, make_key: bool = True) -> None:
        """Read the folder's key, or make one the first time. Raises StorageError, also without a key."""
        if not make_key and not (folder / KEY_FILE).exists():
            raise StorageError("audit", f"{folder / KEY_FILE} is missing{UNKNOWN}")
        self._secrets = Secrets(folder)
        self.path = folder / ANCHOR_FILE

    def seal(self, anchor: Anchor) -> str:
        """Give an anchor as it is kept."""
        return self._secrets.seal(anchor.model_dump_json())

    def open(self, where: str, sealed: str) -> Anchor:
        """Give back an anchor that is kept somewhere. Raises StorageError that names where."""
        try:
            return Anchor.model_validate_json(self._secrets.open(where, sealed.strip()))
        except SecretLostError as error:
            raise StorageError("audit", f"{where} can't be trusted: {error.reason}") from None
        except ValidationError:
            raise StorageError("audit", f"{where} can't be trusted: it holds something else") from None

    def outside(self, path: Path | None = None) -> Anchor | None:
        """Give the anchor beside the log, or a copy of it kept elsewhere; None where there is none.

        Raises StorageError.
        """
        path = path or self.path
        try:
            sealed = path.read_text()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError("audit", f"{path} can't be read: {error}") from error
        return self.open(str(path), sealed)

    def there(self, anchor: Anchor | None, path: Path | None = None) -> Anchor:
        """Give an anchor that must be there. Raises StorageError where it isn't."""
        if anchor is None:
            raise StorageError("audit", f"{path or self.path} is missing{UNKNOWN}")
        return anchor

    def put_outside(self, anchor: Anchor) -> None:
        """Write the anchor beside the log, whole or not at all. Raises StorageError."""
        part = self.path.with_suffix(".anchor.part")
        try:
            with part.open("w") as file:
                file.write(self.seal(anchor) + "\n")
                file.flush()
                os.fsync(file.fileno())
            part.rename(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise StorageError("audit", f"{self.path} can't be written: {error.strerror or error}") from error


def mark_restored(folder: Path) -> None:
    """Note beside the log that a backup took its place, so that what is missing is explained.

    Raises StorageError.
    """
    if not (folder / KEY_FILE).exists():
        return
    anchors = Anchors(folder)
    # One that can't be opened explains nothing: it stays as it is, and is told when the log is opened.
    with contextlib.suppress(StorageError):
        known = anchors.outside()
        if known is not None:
            anchors.put_outside(known.model_copy(update={"restored": True}))
