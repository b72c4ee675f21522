"""The way to the audit log, which may be away for a while."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from actors.core.clock import Clock, now_ms, to_iso
from actors.core.errors import OpenCrateError, StorageError, UnreachableError

log = logging.getLogger(__name__)

MOST: Final = 10_000
"""Entries that wait at most; past them, changes fail."""
AGAIN: Final = 1.0
"""Seconds between two tries."""

Add = Callable[[str, str, str, dict[str, Any]], Awaitable[Any]]


class Trail:
    """Hand entries to the audit log; while it takes none they wait here, and go there as soon as it does.

    What is to be logged has been done already, so it is neither failed nor forgotten for the log's sake. An
    entry that waited says when it happened (`happened_at`), and may be there twice if its answer was lost.
    Those that wait are lost when this process is killed.
    """

    def __init__(self, add: Add, clock: Clock = now_ms) -> None:
        """Take what writes one entry: (user, action, target, detail)."""
        self._add, self._clock = add, clock
        self._waiting: deque[tuple[str, str, str, dict[str, Any]]] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many entries wait."""
        return len(self._waiting)

    async def add(self, user: str, action: str, target: str, detail: dict[str, Any]) -> None:
        """Write an entry, or keep it for later. Raises UnreachableError when too many wait."""
        if not self._waiting:
            try:
                await self._add(user, action, target, detail)
            except (UnreachableError, StorageError) as error:
                log.error("the audit log takes no entries, they wait: %s", error)
            else:
                return
        if len(self._waiting) >= MOST:
            raise UnreachableError("audit@campus", f"{MOST} entries wait for it already")
        self.later(user, action, target, detail)

    def later(self, user: str, action: str, target: str, detail: dict[str, Any]) -> None:
        """Write an entry without waiting for it; past the bound the oldest that waits is only logged."""
        if len(self._waiting) >= MOST:
            _give_up(self._waiting.popleft())
        self._waiting.append((user, action, target, detail | {"happened_at": to_iso(self._clock())}))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        said = ""
        while self._waiting:
            try:
                await self._add(*self._waiting[0])
            except Exception as error:
                # To the end, so that one which it never takes holds up no other.
                self._waiting.rotate(-1)
                reason = f"{type(error).__name__}: {error}"[:200]
                if not isinstance(error, OpenCrateError) and reason != said:
                    log.error("an entry didn't reach the audit log, it waits: %s", reason)
                    said = reason
                await asyncio.sleep(AGAIN)
            else:
                self._waiting.popleft()
        log.info("the audit log has all entries")

    async def close(self, wait: float = 5.0) -> None:
        """Write what waits, for at most `wait` seconds."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await asyncio.shield(task)
            task.cancel()
        for entry in self._waiting:
            _give_up(entry)


def _give_up(entry: tuple[str, str, str, dict[str, Any]]) -> None:
    """Log an entry without its details, which may hold a secret that the audit log would have masked."""
    user, action, target, detail = entry
    log.error("not in the audit log: %s %s by %s at %s", action, target, user, detail["happened_at"])
