"""A store whose file is as large as a test wants."""

import os
from pathlib import Path
from typing import ClassVar

from actors.core.store import Store


class Large(Store):
    """Keep blobs."""

    name: ClassVar[str] = "large"
    migrations: ClassVar[tuple[str, ...]] = (
        "CREATE TABLE blob (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT",
    )

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._next = 0

    def add(self, body: bytes) -> None:
        """Keep a blob, made distinct by a number."""
        self._next += 1
        self.run("INSERT INTO blob (body) VALUES (?)", b"%d " % self._next + body)

    def count(self) -> int:
        """Count the blobs."""
        return int(self.all("SELECT count(*) AS n FROM blob")[0]["n"])


def fill(store: Large, megabytes: int) -> None:
    """Make the file this large at least."""
    store.db.execute("PRAGMA synchronous=OFF").fetchall()
    body = os.urandom(1 << 20)
    with store.transaction():
        for number in range(megabytes):
            store.run("INSERT INTO blob (id, body) VALUES (NULL, ?)", body + b"%d" % number)
    store.db.execute("PRAGMA synchronous=FULL").fetchall()
