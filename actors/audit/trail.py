"""The way to the audit log, which may be away for a while."""

import asyncio
import contextlib
import json
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Final

from actors.audit.logic import masked
from actors.core.clock import Clock, now_ms, to_iso
from actors.core.errors import OpenCrateError, StorageError, UnreachableError

log = logging.getLogger(__name__)

QUEUE: Final = "audit.queue"
"""The name of the file in which entries wait, in the folder of the campus or site."""
MOST: Final = 10_000
"""Entries that wait at most; past them, changes fail."""
SHARE: Final = 100
"""A file that couldn't be written is tried again when a hundredth of what waits has come since."""
AGAIN: Final = 1.0
"""Seconds between two tries."""

Entry = tuple[str, str, str, dict[str, Any]]
"""(user, action, target, detail)"""
Add = Callable[[str, str, str, dict[str, Any]], Awaitable[Any]]


class Trail:
    """Hand entries to the audit log; while it takes none they wait here, and go there as soon as it does.

    What is to be logged has been done already, so it is neither failed nor forgotten for the log's sake. An
    entry that waited says when it happened (`happened_at`), and may be there twice if its answer was lost or
    this process was killed before all were there.
    Once the log has refused a first time, what waits is in a file too, with secrets masked: it outlives this
    process. Where the file can't be written, or without one, those that wait are lost with the process.
    """

    def __init__(self, add: Add, clock: Clock = now_ms, *, queue_file: Path | None = None) -> None:
        """Take what writes one entry: (user, action, target, detail)."""
        self._add, self._clock = add, clock
        self._waiting: deque[Entry] = deque()
        self._file = None if queue_file is None else _QueueFile(queue_file)
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many entries wait."""
        return len(self._waiting)

    def start(self) -> None:
        """Go on with what waited when the last process ended."""
        if self._file is not None:
            self._waiting.extendleft(reversed(self._file.read()))
        if self._waiting:
            self._begin()

    async def add(self, user: str, action: str, target: str, detail: dict[str, Any]) -> None:
        """Write an entry, or keep it for later. Raises UnreachableError when too many wait."""
        if not self._waiting:
            try:
                await self._add(user, action, target, detail)
            except (UnreachableError, StorageError) as error:
                log.error("the audit log takes no entries, they wait: %s", error)
                self._keep()
            else:
                return
        if len(self._waiting) >= MOST:
            raise UnreachableError("audit@campus", f"{MOST} entries wait for it already")
        self.later(user, action, target, detail)

    def later(self, user: str, action: str, target: str, detail: dict[str, Any]) -> None:
        """Write an entry without waiting for it; past the bound the oldest that waits is only logged."""
        if len(self._waiting) >= MOST:
            _give_up(self._waiting.popleft())
        entry = user, action, target, detail | {"happened_at": to_iso(self._clock())}
        self._waiting.append(entry)
        if self._file is not None and self._file.in_use:
            self._file.append(entry, self._waiting)
        self._begin()

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send())

    def _keep(self) -> None:
        """Put what waits, and from now on what will, into the file too."""
        if self._file is not None and not self._file.in_use:
            self._file.begin(self._waiting)

    async def _send(self) -> None:
        said = ""
        while self._waiting:
            entry = self._waiting[0]
            try:
                await self._add(*entry)
            except Exception as error:
                self._keep()
                # To the end, so that one which it never takes holds up no other.
                if self._is_first(entry):
                    self._waiting.rotate(-1)
                reason = f"{type(error).__name__}: {error}"[:200]
                if not isinstance(error, OpenCrateError) and reason != said:
                    log.error("an entry didn't reach the audit log, it waits: %s", reason)
                    said = reason
                await asyncio.sleep(AGAIN)
            else:
                if self._is_first(entry):
                    self._waiting.popleft()
        if self._file is not None:
            self._file.remove()
        log.info("the audit log has all entries")

    def _is_first(self, entry: Entry) -> bool:
        """Tell whether an entry is still the first: past the bound it may have been given up meanwhile."""
        return bool(self._waiting) and self._waiting[0] is entry

    async def close(self, wait: float = 5.0) -> None:
        """Write what waits, for at most `wait` seconds; the rest stays in the file for the next start."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await asyncio.shield(task)
            task.cancel()
        if self._waiting and self._file is not None and self._file.begin(self._waiting):
            log.warning("%d entries wait for the audit log until the next start", len(self._waiting))
            return
        for entry in self._waiting:
            _give_up(entry)


class _QueueFile:
    """Entries that wait, a line of JSON each. What can't be written is logged once and is in memory only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.in_use = path.exists()
        self._lines = 0
        self._failing = False
        self._missed = 0

    def read(self) -> list[Entry]:
        """Give what an earlier process left, and hold just that; lines that are no entries are left out.

        So none is added to a line that was cut off by the end of that process.
        """
        if not self.in_use:
            return []
        found: list[Entry] = []
        try:
            lines = self._path.read_text(errors="replace").splitlines()
        except OSError as error:
            log.error("%s can't be read: %s", self._path, error.strerror)
            return []
        for line in lines[-MOST:]:
            try:
                user, action, target, detail = json.loads(line)
                found.append((str(user), str(action), str(target), dict(detail)))
            except (ValueError, TypeError):
                log.error("%s has a line that is no entry, of %d characters", self._path, len(line))
        self.begin(found)
        return found

    def begin(self, entries: Collection[Entry]) -> bool:
        """Hold exactly these entries from now on. Tells whether they are on the disk."""
        fresh = self._path.with_suffix(".new")
        self.in_use, self._missed = True, 0
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lines = self._write(fresh, "w", entries)
            fresh.replace(self._path)
        except OSError as error:
            return self._failed(error)
        self._failing = False
        return True

    def append(self, entry: Entry, all_of_them: Collection[Entry]) -> None:
        """Hold this entry too; the file begins anew with all where it may end in half a line, or is long.

        Where many wait that isn't tried with each: it holds up all else that this process does.
        """
        self._missed += self._failing
        if self._failing and self._missed * SHARE < len(all_of_them):
            return
        if self._failing or self._lines >= 2 * MOST:
            self.begin(all_of_them)
            return
        try:
            self._lines += self._write(self._path, "a", [entry])
        except OSError as error:
            self._failed(error)

    def remove(self) -> None:
        """Hold nothing any more."""
        self.in_use = self._failing = False
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            self._failed(error)

    def _write(self, path: Path, mode: str, entries: Iterable[Entry]) -> int:
        lines = [json.dumps([*rest, masked(detail)], default=str) + "\n" for *rest, detail in entries]
        with path.open(mode) as file:
            path.chmod(0o600)
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        return len(lines)

    def _failed(self, error: OSError) -> bool:
        if not self._failing:
            log.error("entries that wait for the audit log are in memory only: %s: %s",
                      self._path, error.strerror)  # fmt: skip
        self._failing = True
        return False


def _give_up(entry: Entry) -> None:
    """Log an entry without its details, which may hold a secret that the audit log would have masked."""
    user, action, target, detail = entry
    log.error("not in the audit log: %s %s by %s at %s", action, target, user, detail.get("happened_at"))
