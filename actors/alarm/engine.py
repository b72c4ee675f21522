"""The engine that raises and clears alarms."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ray.exceptions import RayTaskError

from actors.alarm.logic import Watch, describe, side_of
from actors.alarm.models import Alarm, AlarmConfig
from actors.bus.client import follow, follow_config
from actors.core.clock import Clock, now_ms
from actors.core.errors import NotFoundError, OpenCrateError
from actors.core.health import Health, HealthState
from actors.core.values import PointStatus, PointValue

log = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two looks at delays that run."""
STALE_CHECK = 30.0
"""Seconds between two checks for stale points and shelves, and of all values and alarm flags."""
CALL_TIMEOUT = 10.0


class AlarmEngine:
    """Watch the values of a site's points and raise and clear alarms by the configurations of the store.

    Follows the bus. When it starts, and whenever the bus says that something was missed, it reads
    configurations, standing alarms and values from the stores: an alarm that came or went meanwhile is raised
    or cleared then. A delay that ran when this actor died begins again. What a store didn't take is tried
    again with the next tick. Raising twice is harmless.
    """

    def __init__(
        self,
        site: str,
        bus: Any,
        alarms: Any,
        points: Any,
        *,
        nodes: Any = None,
        clock: Clock = now_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the handles; `nodes` gives points their names in messages."""
        self.site = site
        self._bus, self._alarms, self._points, self._nodes = bus, alarms, points, nodes
        self._clock, self._monotonic = clock, monotonic
        self._configs: dict[int, AlarmConfig] = {}
        self._watches: dict[int, Watch] = {}
        self._standing: dict[int, Alarm] = {}
        """Alarms whose condition holds, by their configuration."""
        self._told: set[str] = set()
        """Points of which a device says itself that they are in alarm."""
        self._by_node: dict[str, list[int]] = {}
        self._values: dict[str, tuple[PointValue | None, int]] = {}
        self._version: int | None = None
        self._units: dict[str, str | None] = {}
        self._trouble: str | None = "it has not read the stores yet"
        self._must_read = True
        self._work = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; returns at once. A second call changes nothing."""
        if not self._tasks:
            runs: list[Awaitable[None]] = [self._follow(), self._tick(), self._follow_configs()]
            self._tasks = [asyncio.ensure_future(run) for run in runs]

    async def stop(self) -> None:
        """End the loops."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def health(self) -> Health:
        """Say whether alarms are watched."""
        if self._trouble is None:
            return Health(name="alarm_engine", pid=os.getpid())
        return Health(
            name="alarm_engine", state=HealthState.DEGRADED, reasons=[self._trouble], pid=os.getpid()
        )

    async def resync(self) -> None:
        """Read everything from the stores and act on it. Raises what their handles raise."""
        async with self._work:
            self._version, configs = await self._call(self._alarms.in_force)
            standing: list[Alarm] = await self._call(self._alarms.standing)
            before, self._configs = self._configs, {config.id: config for config in configs}
            self._told = {alarm.node_id for alarm in standing if alarm.source is not None}
            self._standing, over = {}, []
            for alarm in standing:
                config = None if alarm.config_id is None else self._configs.get(alarm.config_id)
                if config is not None and config.node_id == alarm.node_id:
                    self._standing[config.id] = alarm
                elif alarm.config_id is not None:
                    over.append(alarm.id)
            self._watches = {
                each.id: self._kept(each, before.get(each.id), self._standing.get(each.id))
                for each in configs
            }
            self._by_node = {}
            for config in configs:
                self._by_node.setdefault(config.node_id, []).append(config.id)
            snapshot = await self._call(self._points.snapshot, sorted(self._by_node))
            # A point store that restarted knows nothing yet of what wasn't read since: that clears nothing.
            self._values = {row[0]: (row[1], row[2]) for row in snapshot if row[3] is not None or row[2]}
            self._units = {row[0]: row[4] for row in snapshot}
            self._must_read = False
            self._judge(self._values)
            for alarm_id in over:
                await self._call(self._alarms.clear, alarm_id)
            await self._settle()
            await self._flags()

    def _kept(self, config: AlarmConfig, before: AlarmConfig | None, alarm: Alarm | None) -> Watch:
        """Give a configuration's watch; a delay that runs goes on when point and condition are the same."""
        old, raised = self._watches.get(config.id), alarm is not None
        same = before is not None and before.node_id == config.node_id
        if old is not None and same and old.condition == config.condition:
            old.raised = raised
            return old
        side = None if alarm is None else side_of(config.condition, alarm.value)
        return Watch(config.condition, raised=raised, off_normal=raised, side=side)

    async def take(
        self, values: Iterable[tuple[str, Any, int]], statuses: Iterable[tuple[str, int, int]]
    ) -> None:
        """Take what the bus brought, and act on it."""
        async with self._work:
            touched: dict[str, None] = {}
            unflagged = False
            for node_id, value, _ in values:
                if node_id in self._by_node:
                    self._values[node_id] = (value, self._values.get(node_id, (None, 0))[1])
                    touched[node_id] = None
            for node_id, _, new in statuses:
                if node_id in self._by_node:
                    self._values[node_id] = (self._values.get(node_id, (None, 0))[0], new)
                    touched[node_id] = None
                    unflagged |= not new & PointStatus.ALARM
            if touched:
                self._judge(touched)
                await self._settle()
                if unflagged:
                    await self._flags()

    async def step(self) -> None:
        """Act on delays that are over; read the stores when something may have been missed."""
        if self._must_read:
            await self.resync()
            return
        async with self._work:
            await self._settle()

    async def check_stale(self) -> None:
        """Flag stale points, take alarms off the shelf whose time is over, and read the stores.

        A point store that restarted begins without flags and tells nobody that the old ones are gone.
        """
        await self._call(self._points.check_stale, self._clock())
        await self._call(self._alarms.unshelve_due)
        await self.resync()

    def _judge(self, nodes: Iterable[str]) -> None:
        now = self._monotonic()
        for node_id in nodes:
            value, status = self._values.get(node_id, (None, 0))
            for config_id in self._by_node.get(node_id, ()):
                self._watches[config_id].judge(value, status, now)

    async def _settle(self) -> None:
        """Raise and clear what should be; what fails stays to be done, and holds up no other."""
        now = self._monotonic()
        changed: set[str] = set()
        refused: Exception | None = None
        for config_id, watch in self._watches.items():
            if watch.wanted(now) == watch.raised:
                continue
            try:
                await self._settle_one(config_id, watch, wanted=not watch.raised)
            except (OpenCrateError, RayTaskError) as error:
                # The store answers, but won't have this one.
                refused = refused or error
            else:
                changed.add(self._configs[config_id].node_id)
        if changed:
            await self._flag(changed)
        if refused is not None:
            raise refused

    async def _settle_one(self, config_id: int, watch: Watch, *, wanted: bool) -> None:
        config = self._configs[config_id]
        value = self._values.get(config.node_id, (None, 0))[0]
        if wanted:
            message = config.message or await self._describe(config, value)
            self._standing[config_id] = await self._call(
                self._alarms.raise_alarm, config.node_id, config.severity, message, value, config_id
            )
        elif config_id in self._standing:
            await self._call(self._alarms.clear, self._standing[config_id].id, value)
            del self._standing[config_id]
        watch.raised = wanted

    async def _describe(self, config: AlarmConfig, value: PointValue | None) -> str:
        name = config.node_id
        if self._nodes is not None:
            try:
                node = await self._call(self._nodes.get, config.node_id)
                parent = await self._call(self._nodes.get, node.parent_id) if node.parent_id else None
                name = f"{parent.dis} {node.dis}" if parent else node.dis
            except NotFoundError:
                pass
            except Exception as error:
                # An alarm with a poorer name is better than one that waits for the node store.
                log.warning("no name for %s: %s", config.node_id, error)
        return describe(config.condition, name, value, self._units.get(config.node_id))

    async def _flag(self, nodes: Iterable[str]) -> None:
        on = self._told | {self._configs[each].node_id for each in self._standing if each in self._configs}
        wanted = set(nodes)
        if wanted & on:
            await self._call(self._points.set_flag, sorted(wanted & on), int(PointStatus.ALARM), True)
        if wanted - on:
            await self._call(self._points.set_flag, sorted(wanted - on), int(PointStatus.ALARM), False)

    async def _flags(self) -> None:
        """Make every point's alarm flag say whether an alarm stands."""
        on = self._told | {self._configs[each].node_id for each in self._standing if each in self._configs}
        snapshot = await self._call(self._points.snapshot)
        wrong = [row[0] for row in snapshot if bool(row[2] & PointStatus.ALARM) != (row[0] in on)]
        if wrong:
            await self._flag(wrong)

    # Loops catch, steps raise

    async def _follow(self) -> None:
        types = ["value_changed", "status_changed"]
        async for delivery in follow(self._bus, "alarm_engine", types, site=self.site):
            if delivery.resync:
                self._must_read = True
            await self._try(self.step() if self._must_read else self._take(delivery))

    async def _take(self, delivery: Any) -> None:
        await self.take(delivery.values(), delivery.statuses())

    async def _tick(self) -> None:
        checked = self._monotonic()
        while True:
            await asyncio.sleep(TICK)
            await self._try(self.step())
            if self._monotonic() - checked >= STALE_CHECK:
                checked = self._monotonic()
                await self._try(self.check_stale())

    async def _follow_configs(self) -> None:
        versions = follow_config(self._bus, "alarms", lambda: self._call(self._alarms.config_version))
        async for version in versions:
            if version != self._version:
                await self._try(self.resync())

    async def _try(self, step: Awaitable[None]) -> None:
        try:
            await step
        except Exception as error:
            # Whatever a dead or restarting store raises: nothing may end the watch over a building.
            reason = f"{type(error).__name__}: {error}"[:300]
            if self._trouble is None:
                log.error("alarms are not settled: %s", reason)
            self._trouble = reason
            self._must_read = True
        else:
            if not self._must_read:
                self._trouble = None

    async def _call(self, method: Any, *args: Any) -> Any:
        async with asyncio.timeout(CALL_TIMEOUT):
            return await method.remote(*args)
