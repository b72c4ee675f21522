"""The engine that verifies commissioning items against the live device."""

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Any, Final

from actors.alarm.models import AlarmConfig
from actors.commissioning.models import (
    Check,
    Item,
    ItemKind,
    MoreItems,
    NewCheck,
    NewSession,
    Session,
    VerifyRequest,
)
from actors.commissioning.reach import Reach, Steps, shown
from actors.commissioning.trials import Trials
from actors.commissioning.verify import alarm_fault, fault_of, range_of, schedule_fits
from actors.core.clock import Clock, now_ms
from actors.core.errors import (
    NotFoundError,
)
from actors.core.health import Health, HealthState
from actors.node.models import Node
from actors.schedule.models import Effective, Schedule

log = logging.getLogger(__name__)

RETRY: Final = 10.0
"""Seconds after which what could not be given back is tried again."""
PAGE: Final = 1000


class CommissioningEngine:
    """Verify items against the device: read it, write to it and give it back, look at alarms and schedules.

    What is written for a test is noted before it goes to the device, ends by itself after two minutes, and is
    given back at once when the test is over, whatever went wrong in it. What could not be given back, or was
    cut off by a crash, is tried again until the device has taken it; until then no other test of the point
    begins.
    """

    def __init__(
        self,
        site: str,
        commissioning: Any,
        nodes: Any,
        points: Any,
        alarms: Any,
        schedules: Any,
        overrides: Any,
        commands: Any,
        bridges: Mapping[str, Any],
        clock: Clock = now_ms,
        *,
        retry: float = RETRY,
    ) -> None:
        """Take the handles of stores, of the command engine, and of the bridges by protocol."""
        self.site = site
        handles = {
            "commissioning": commissioning,
            "nodes": nodes,
            "points": points,
            "alarms": alarms,
            "schedules": schedules,
            "overrides": overrides,
            "commands": commands,
        }
        self._reach = Reach(site, handles, bridges)
        self._call = self._reach.call
        self._trials = Trials(self._reach, clock)
        self._clock, self._retry = clock, retry
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; returns at once. A second call changes nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the loop. What is written ends by itself, and is given back with the next start."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def health(self) -> Health:
        """Say what could not be given back."""
        reasons = [
            f"{point_id} is not given back after a test: {why}"
            for point_id, why in self._trials.trouble.items()
        ]
        state = HealthState.DEGRADED if reasons else HealthState.HEALTHY
        return Health(name="commissioning_engine", state=state, reasons=reasons, pid=os.getpid())

    # Sessions

    async def create(self, new: NewSession, by: str) -> Session:
        """Add a session with the items that a node's points need now.

        Raises NotFoundError, BadInputError when there is nothing to verify, and ConflictError for a node with
        an open session.
        """
        nodes, configured = await self._needs(new.node_id)
        made: Session = await self._call("commissioning", "create", new, nodes, by, configured)
        return made

    async def add_items(self, session_id: int, more: MoreItems) -> Session:
        """Add the items that have become necessary since, such as for new points and alarms.

        Raises NotFoundError, and ConflictError for a session that is completed.
        """
        session: Session = await self._call("commissioning", "get", session_id)
        nodes, configured = await self._needs(session.node_id)
        done: Session = await self._call(
            "commissioning", "add_items", session_id, nodes, configured, more.also
        )
        return done

    async def _needs(self, node_id: str) -> tuple[list[Node], dict[ItemKind, list[str]]]:
        """Give a node with all below it, and which of these have alarms and schedules."""
        nodes: list[Node] = await self._call("nodes", "subtree", node_id)
        alarms: list[AlarmConfig] = await self._all("alarms", "configs", None)
        schedules: list[Schedule] = await self._all("schedules", "find", None, None, None)
        alarmed = {each.node_id for each in alarms}
        scheduled = {each for schedule in schedules for each in schedule.assignments}
        mine = [node.id for node in nodes]
        return nodes, {
            ItemKind.ALARM: [each for each in mine if each in alarmed],
            ItemKind.SCHEDULE: [each for each in mine if each in scheduled],
        }

    async def _all(self, store: str, method: str, *filters: Any) -> list[Any]:
        """Give a store's whole list, page by page."""
        found: list[Any] = []
        cursor: str | None = None
        while True:
            part, cursor = await self._call(store, method, *filters, PAGE, cursor)
            found += part
            if cursor is None:
                return found

    # Verifying

    async def verify(self, item_id: int, request: VerifyRequest, by: str) -> Check:
        """Verify an item and keep what came of it as its result.

        Raises NotFoundError, ConflictError for an item that takes no result now, or a point that can't be
        tested at this priority, BadInputError for what the request asks, and UnreachableError when an actor
        of the site doesn't answer; then nothing is kept. What the device does wrong is a result.
        """
        item: Item = await self._call("commissioning", "may_verify", item_id)
        steps = Steps(self._clock)
        try:
            node: Node = await self._call("nodes", "get", item.node_id)
        except NotFoundError:
            steps.add("its node is gone from the model", ok=False)
            return await self._record(item, steps.check(""), by)
        if item.kind is ItemKind.READ:
            done = await self._verify_read(node, request, steps)
        elif item.kind is ItemKind.WRITE:
            done = await self._trials.verify(item, node, request, steps, by)
        elif item.kind is ItemKind.ALARM:
            done = await self._verify_alarm(node, steps)
        else:
            done = await self._verify_schedule(node, steps)
        return await self._record(item, done, by)

    async def recover(self) -> bool:
        """Give back what tests that were cut off have written; tells whether something is left."""
        return await self._trials.recover()

    async def _record(self, item: Item, check: NewCheck, by: str) -> Check:
        kept: Check = await self._call("commissioning", "record", item.id, check, by)
        return kept

    # Reading

    async def _verify_read(self, node: Node, request: VerifyRequest, steps: Steps) -> NewCheck:
        within = range_of(node, request.low, request.high)
        value = await self._reach.try_read(node, steps, "read")
        if value is None and not steps.all[-1].ok:
            return steps.check("")
        _, status = await self._reach.present(node.id)
        why = fault_of(node, value, status, within)
        steps.add(why or "the value is plausible and its status is good", value, ok=why is None)
        return steps.check(f"reads {shown(value)}")

    # Alarms and schedules

    async def _verify_alarm(self, node: Node, steps: Steps) -> NewCheck:
        configs: list[AlarmConfig]
        configs, _ = await self._call("alarms", "configs", node.id)
        if not configs:
            steps.add("it has no alarm configuration", ok=False)
        value, _ = await self._reach.present(node.id)
        enabled = [each for each in configs if each.enabled]
        if configs and not enabled:
            steps.add("its alarm configurations are all switched off", ok=False)
        for each in enabled:
            told, why = alarm_fault(each, value)
            delay = f" after {each.condition.delay:g} s" if each.condition.delay else ""
            steps.add(f"{each.severity.value} alarm {told}{delay}{f': {why}' if why else ''}", ok=why is None)
        return steps.check(f"{_count(len(enabled), 'alarm')} would be raised")

    async def _verify_schedule(self, node: Node, steps: Steps) -> NewCheck:
        found: list[Schedule]
        found, _ = await self._call("schedules", "find", True, node.id)
        if not found:
            steps.add("no schedule that is switched on commands it", ok=False)
        value, _ = await self._reach.present(node.id)
        for each in found:
            now: Effective = await self._call("schedules", "effective", each.id)
            fits = schedule_fits(each.kind, value)
            why = "" if fits else f", but it is {each.kind.value} and the point has {shown(value)}"
            steps.add(f"schedule {each.name!r} gives {shown(now.value)} now{why}", now.value, ok=fits)
        return steps.check(f"commanded by {_count(len(found), 'schedule')}")

    # The loop catches, steps raise

    async def _run(self) -> None:
        while True:
            try:
                left = await self.recover()
            except Exception as error:
                # Whatever a dead or restarting store raises: it is tried again until all is given back.
                log.error("what tests wrote can't be looked up yet: %s: %s", type(error).__name__, error)
                left = True
            if not left:
                await self._trials.wake.wait()
                self._trials.wake.clear()
            await asyncio.sleep(self._retry)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
