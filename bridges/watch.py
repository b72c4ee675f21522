"""Telling a bridge that the model has changed, so that it needn't look again and again."""

import asyncio
from typing import Any, Final

from actors.bus.client import follow
from actors.bus.events import MODEL_CHANGES

GATHER: Final = 0.5
"""Seconds in which changes that come together, such as those of a device's nodes, are seen as one."""


class ModelWatch:
    """Wake a bridge when nodes of its site are made, changed or deleted.

    The bus only tells when to look; what there is comes from the node store. Who has no bus, or lost it,
    looks by the clock.
    """

    def __init__(self, site: str, name: str, bus: Any) -> None:
        """Take the handle of a site's bus, None for nobody to follow; `name` tells who follows."""
        self._site, self._name, self._bus = site, name, bus
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Follow the bus until cancelled."""
        if self._bus is None:
            return
        async for _ in follow(self._bus, self._name, MODEL_CHANGES, site=self._site):
            self._moved.set()

    async def changed(self, within: float) -> None:
        """Wait until nodes have changed since the last call, `within` seconds at most."""
        try:
            async with asyncio.timeout(within):
                await self._moved.wait()
                await asyncio.sleep(GATHER)
        except TimeoutError:
            pass
        self._moved.clear()
