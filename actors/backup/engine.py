"""The engine that backs up a site's stores, and the campus's."""

import asyncio
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.backup import files
from actors.backup.models import BackupFile, BackupJob, BackupState, StoreBackup
from actors.core.clock import Clock, now_ms
from actors.core.errors import OpenCrateError, StorageError
from actors.core.health import Health, HealthState
from actors.core.host import HostFacts, facts
from actors.core.remote import answered

log = logging.getLogger(__name__)

LOOK = 60.0
"""Seconds between two looks at what is due."""
PATIENCE = 60.0
"""Seconds that a store may take to say which backups there are."""


class BackupScheduler:
    """Copy every store's file when its newest backup is older than `every` seconds; keep the newest `keep`.

    Copies are made here, in a thread, and not by the store: it answers meanwhile, however large its file is.
    What is due is read from the backups that there are, so that a restart neither forgets nor repeats one.
    One store after the other; one that fails is tried again at the next look, and makes this degraded
    meanwhile. A clock that was set back does no harm: a backup of the future counts as too old.
    """

    def __init__(
        self,
        site: str,
        folder: Path | str,
        stores: Mapping[str, Any],
        *,
        every: float = 86_400.0,
        keep: int = files.KEEP,
        clock: Clock = now_ms,
    ) -> None:
        """Take the stores' handles by name; their files are `<name>.db` in `folder`, on this host."""
        self.site = site
        self._folder = Path(folder)
        self._stores, self._every, self._keep, self._clock = dict(stores), every, keep, clock
        self._trouble: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self._asked: asyncio.Task[None] | None = None
        self._one = asyncio.Lock()
        self._job: BackupJob | None = None
        self._stopping = threading.Event()

    async def start(self) -> None:
        """Begin; returns at once. A second call changes nothing."""
        if self._task is None:
            self._stopping.clear()
            self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """End the loop, and a copy that is being made after its slice; no part of it is left."""
        self._stopping.set()
        tasks = [each for each in (self._task, self._asked) if each is not None]
        self._task = self._asked = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with self._one:
            pass

    async def health(self) -> Health:
        """Say which stores could not be backed up."""
        reasons = [f"{name} was not backed up: {why}" for name, why in sorted(self._trouble.items())]
        state = HealthState.DEGRADED if reasons else HealthState.HEALTHY
        return Health(name="backups", state=state, reasons=reasons, pid=os.getpid())

    async def facts(self) -> HostFacts:
        """Tell what this host is like: clock, versions, room on the disk."""
        return facts(self._folder, self._clock)

    async def begin(self) -> BackupJob:
        """Begin to copy every store, or join the copying that was asked for before; returns at once."""
        if self._asked is None or self._asked.done():
            job = self._new(self._stores)
            self._asked = asyncio.ensure_future(self._work(job))
            self._job = job
        return await self.job() or self._new([])

    async def job(self) -> BackupJob | None:
        """Say how far the last backups are, or those that are being made; None before the first."""
        return None if self._job is None else self._job.model_copy(deep=True)

    async def step(self) -> list[str]:
        """Back up what is due; give the names of the stores that were copied."""
        due: list[str] = []
        for name, store in self._stores.items():
            try:
                if await self._is_due(name, store):
                    due.append(name)
            except OpenCrateError as error:
                self._note(name, error)
        if not due:
            return []
        job = self._new(due)
        if self._job is None or not self._job.running:
            self._job = job
        await self._work(job)
        return [name for name, each in zip(due, job.stores, strict=True) if each.state is BackupState.DONE]

    def _new(self, names: Sequence[str] | Mapping[str, Any]) -> BackupJob:
        stores = [StoreBackup(store=f"{name}@{self.site}") for name in names]
        return BackupJob(site=self.site, running=True, started_at=self._clock(), stores=stores)

    async def _work(self, job: BackupJob) -> None:
        try:
            async with self._one:
                for each in job.stores:
                    await self._copy(each)
        finally:
            job.running, job.ended_at = False, self._clock()

    async def _copy(self, item: StoreBackup) -> None:
        name = item.store.partition("@")[0]

        def told(state: BackupState, copied: int, size: int) -> None:
            if self._stopping.is_set():
                raise StorageError(name, "the system is stopping")
            item.state, item.copied, item.size = state, copied, size

        try:
            # A store that answers has its file in place: it isn't being put back just now.
            await self._found(name, self._stores[name])
            path = self._folder / f"{name}.db"
            copying = asyncio.ensure_future(
                asyncio.to_thread(files.back_up, path, keep=self._keep, clock=self._clock, told=told)
            )
            try:
                item.path = str(await asyncio.shield(copying))
            except asyncio.CancelledError:
                # The thread ends after its slice; whoever comes next must not meet it.
                await asyncio.gather(copying, return_exceptions=True)
                raise
        except OpenCrateError as error:
            item.state, item.error = BackupState.FAILED, str(error)
            self._note(name, error)
        else:
            item.state = BackupState.DONE
            self._trouble.pop(name, None)

    def _note(self, name: str, error: OpenCrateError) -> None:
        if name not in self._trouble:
            log.error("%s@%s was not backed up: %s", name, self.site, error)
        self._trouble[name] = str(error)

    async def _found(self, name: str, store: Any) -> list[BackupFile]:
        found: list[BackupFile] = await answered(f"{name}@{self.site}", store.backups.remote(), PATIENCE)
        return found

    async def _is_due(self, name: str, store: Any) -> bool:
        now = self._clock()
        found = await self._found(name, store)
        return not any(0 <= now - each.time < self._every * 1000 for each in found)

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
