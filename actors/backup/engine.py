"""The engine that backs up a site's stores, and the campus's."""

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Any

from actors.backup.models import BackupFile
from actors.core.clock import Clock, now_ms
from actors.core.errors import OpenCrateError
from actors.core.health import Health, HealthState
from actors.core.remote import answered

log = logging.getLogger(__name__)

LOOK = 60.0
"""Seconds between two looks at what is due."""
PATIENCE = 600.0
"""Seconds that one store's backup may take."""


class BackupScheduler:
    """Have every store copied when its newest backup is older than `every` seconds, the newest `keep` kept.

    What is due is read from the backups that there are, so that a restart neither forgets nor repeats one.
    One store after the other; one that fails is tried again at the next look, and makes this degraded
    meanwhile. A clock that was set back does no harm: a backup of the future counts as too old.
    """

    def __init__(
        self,
        site: str,
        stores: Mapping[str, Any],
        *,
        every: float = 86_400.0,
        keep: int = 7,
        clock: Clock = now_ms,
    ) -> None:
        """Take the stores' handles by name."""
        self.site = site
        self._stores, self._every, self._keep, self._clock = dict(stores), every, keep, clock
        self._trouble: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; returns at once. A second call changes nothing."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """End the loop; a copy that is being made is finished by its store."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def health(self) -> Health:
        """Say which stores could not be backed up."""
        reasons = [f"{name} was not backed up: {why}" for name, why in sorted(self._trouble.items())]
        state = HealthState.DEGRADED if reasons else HealthState.HEALTHY
        return Health(name="backups", state=state, reasons=reasons, pid=os.getpid())

    async def step(self) -> list[str]:
        """Back up what is due; give the names of the stores that were copied."""
        done = []
        for name, store in self._stores.items():
            try:
                if await self._is_due(name, store):
                    await self._ask(name, store.backup.remote(self._keep))
                    done.append(name)
            except OpenCrateError as error:
                if name not in self._trouble:
                    log.error("%s@%s was not backed up: %s", name, self.site, error)
                self._trouble[name] = str(error)
            else:
                self._trouble.pop(name, None)
        return done

    async def _is_due(self, name: str, store: Any) -> bool:
        found: list[BackupFile] = await self._ask(name, store.backups.remote())
        now = self._clock()
        return not any(0 <= now - each.time < self._every * 1000 for each in found)

    async def _ask(self, name: str, reference: Any) -> Any:
        return await answered(f"{name}@{self.site}", reference, PATIENCE)

    async def _run(self) -> None:
        # A start is busy enough, and a store that was just migrated has a copy.
        while True:
            await asyncio.sleep(LOOK)
            try:
                done = await self.step()
            except Exception:
                log.exception("backups of %s failed", self.site)
            else:
                if done:
                    log.info("backed up %s of %s", ", ".join(done), self.site)
