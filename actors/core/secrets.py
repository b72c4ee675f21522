"""Secrets at rest: passwords and tokens of other systems, sealed with a key that lies beside the databases.

Fernet (AES-128-CBC with HMAC-SHA256, https://github.com/fernet/spec) with the id of the key before
it, so that a lost or changed key is told from a damaged text. Whoever gets a copy of a database without
`secret.key` reads no secret; whoever gets both reads all, so the key file belongs to the program's user
alone (mode 0600).
"""

import hashlib
import os
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

from actors.core.disk import sync_folder
from actors.core.errors import OpenCrateError, StorageError

KEY_FILE: Final = "secret.key"
_VERSION: Final = "v1"


class SecretLostError(OpenCrateError):
    """A sealed secret can't be read with this installation's key: it has to be entered again."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field, self.reason = field, reason

    def __str__(self) -> str:
        return f"{self.field} can't be read ({self.reason}); enter it again"


class Secrets:
    """Seal and open the secrets of the stores in one folder."""

    def __init__(self, folder: Path) -> None:
        """Read the folder's key; the first time, make one. Raises StorageError."""
        key = _read_or_make(folder / KEY_FILE)
        try:
            self._fernet = Fernet(key)
        except ValueError as error:
            raise StorageError(KEY_FILE, f"{folder / KEY_FILE} is no key: {error}") from error
        self._id = hashlib.sha256(key).hexdigest()[:8]

    def seal(self, secret: str) -> str:
        """Give a secret as it may be written to a database: version, id of the key, ciphertext."""
        return f"{_VERSION}:{self._id}:{self._fernet.encrypt(secret.encode()).decode()}"

    def open(self, field: str, sealed: str) -> str:
        """Give back what was sealed. Raises SecretLostError that names `field`."""
        version, _, rest = sealed.partition(":")
        key_id, _, token = rest.partition(":")
        if version != _VERSION or not token:
            raise SecretLostError(field, "it was not sealed by this program")
        if key_id != self._id:
            raise SecretLostError(field, f"it was sealed with another {KEY_FILE}")
        try:
            return self._fernet.decrypt(token.encode()).decode()
        except InvalidToken:
            raise SecretLostError(field, "it is damaged") from None


def _read_or_make(path: Path) -> bytes:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # Another store of the folder may do the same now: the link takes place for one of them only.
            part = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
            part.touch(mode=0o600)
            with part.open("wb") as file:
                file.write(Fernet.generate_key())
                file.flush()
                # What is sealed with it reaches the disk at once, so the key has to be there before.
                os.fsync(file.fileno())
            try:
                os.link(part, path)
            except FileExistsError:
                pass
            finally:
                part.unlink()
            sync_folder(path.parent)
        return path.read_bytes().strip()
    except OSError as error:
        raise StorageError(KEY_FILE, f"{path} can't be read or made: {error.strerror}") from error
