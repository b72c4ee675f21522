"""Handles of actors that rise after those who need them."""

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from actors.core.errors import UnreachableError
from actors.core.names import actor_name, find
from actors.core.peer import Peer

log = logging.getLogger(__name__)

MEET_AGAIN: Final = 1.0
"""Seconds between two looks for an actor that rises later."""


class Later:
    """Give an actor's handle when it is called: looked up at Ray's head once, and kept.

    The head may be away for hours, and then the look-up waits as long. So whoever has a Later calls it soon
    after its start, in a thread, while the head is there. What is kept holds for the life of the process: the
    actors of a site rise and end together.
    """

    def __init__(self, name: str, site: str, stand_in: Any = None, mark: Path | None = None) -> None:
        """Take the actor's name (`alarms`); on a host of its own, who stands in for it, and the mark."""
        self._name, self._site, self._stand_in, self._mark = name, site, stand_in, mark
        self._handle: Any = None
        self._looking = threading.Lock()

    def __call__(self) -> Any:
        """Give the handle; may wait for the head. Raises UnreachableError, at once while another waits."""
        if self._handle is not None:
            return self._handle
        if not self._looking.acquire(blocking=False):
            reason = "it is being looked for: it rises, or the head that knows it is away"
            raise UnreachableError(actor_name(self._name, self._site), reason)
        try:
            handle = find(self._name, self._site)
            # Ray asks the head where an actor is with the first call to it.
            handle.health.remote()
            if self._mark is not None:
                handle = Peer(self._name, handle, self._stand_in, self._mark)
            self._handle = handle
        finally:
            self._looking.release()
        return self._handle

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_looking"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _looking=threading.Lock())


async def meet(look_up: Callable[[], Any]) -> None:
    """Look an actor up until it is there, in a thread: later the head that knows it may be away."""
    while True:
        try:
            await asyncio.to_thread(look_up)
        except Exception as error:
            # Not there yet, or whatever Ray raises without its head.
            log.debug("not met yet: %s", error)
            await asyncio.sleep(MEET_AGAIN)
        else:
            return
