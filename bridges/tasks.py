"""Ending tasks for sure."""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN = 2.0
"""Seconds that a cancelled task gets to end before it is cancelled once more."""


async def end(tasks: Iterable[asyncio.Task[Any]], again: float = AGAIN) -> None:
    """Cancel tasks until they have ended, whatever they end with.

    Once isn't enough: up to Python 3.11 `asyncio.wait_for`, which the protocol libraries use, loses a
    cancellation that arrives together with the answer it waits for, and the task goes on.
    """
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        done, waiting = await asyncio.wait(waiting, timeout=again)
        for task in done:
            if not task.cancelled():
                task.exception()
