"""The engine that verifies commissioning items against the live device."""

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Any, Final

from actors.alarm.models import AlarmConfig
from actors.commissioning.models import (
    Check,
    CheckStep,
    Item,
    ItemKind,
    ItemState,
    MoreItems,
    NewCheck,
    NewSession,
    Session,
    TrialWrite,
    VerifyRequest,
)
from actors.commissioning.verify import alarm_fault, fault_of, range_of, schedule_fits, trial
from actors.core.clock import Clock, now_ms
from actors.core.errors import (
    BadInputError,
    ConflictError,
    NotFoundError,
    OpenCrateError,
    UnreachableError,
    WriteUnsureError,
)
from actors.core.health import Health, HealthState
from actors.core.remote import answered
from actors.core.values import PointValue
from actors.node.models import Node
from actors.override.logic import protocol_of, same
from actors.override.models import Override, PriorityArray, WriteRequest, WriteResult
from actors.schedule.models import Effective, Schedule

log = logging.getLogger(__name__)

CALL_TIMEOUT: Final = 10.0
DEVICE_TIMEOUT: Final = 35.0
HOLD: Final = 120.0
"""Seconds after which what is written for a test ends by itself, whatever has died."""
RETRY: Final = 10.0
"""Seconds after which what could not be given back is tried again."""
PAGE: Final = 1000
NOTE: Final = "commissioning test"


class _Steps:
    """What was done to verify an item, as it goes along."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.all: list[CheckStep] = []

    def add(self, what: str, value: PointValue | None = None, *, ok: bool = True) -> None:
        self.all.append(CheckStep(what=what[:500], value=value, ok=ok, at=self._clock()))

    def check(self, good: str) -> NewCheck:
        bad = [each.what for each in self.all if not each.ok]
        state = ItemState.FAILED if bad else ItemState.VERIFIED
        return NewCheck(state=state, summary="; ".join(bad) if bad else good, steps=self.all)


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
        self._handles = {
            "commissioning": commissioning,
            "nodes": nodes,
            "points": points,
            "alarms": alarms,
            "schedules": schedules,
            "overrides": overrides,
            "commands": commands,
        }
        self._bridges, self._clock, self._retry = dict(bridges), clock, retry
        self._under_way: set[str] = set()
        """Points that a test writes to now."""
        self._trouble: dict[str, str] = {}
        self._wake = asyncio.Event()
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
            f"{point_id} is not given back after a test: {why}" for point_id, why in self._trouble.items()
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
        steps = _Steps(self._clock)
        try:
            node: Node = await self._call("nodes", "get", item.node_id)
        except NotFoundError:
            steps.add("its node is gone from the model", ok=False)
            return await self._record(item, steps.check(""), by)
        if item.kind is ItemKind.READ:
            done = await self._verify_read(node, request, steps)
        elif item.kind is ItemKind.WRITE:
            done = await self._verify_write(item, node, request, steps, by)
        elif item.kind is ItemKind.ALARM:
            done = await self._verify_alarm(node, steps)
        else:
            done = await self._verify_schedule(node, steps)
        return await self._record(item, done, by)

    async def _record(self, item: Item, check: NewCheck, by: str) -> Check:
        kept: Check = await self._call("commissioning", "record", item.id, check, by)
        return kept

    # Reading

    async def _verify_read(self, node: Node, request: VerifyRequest, steps: _Steps) -> NewCheck:
        within = range_of(node, request.low, request.high)
        value = await self._try_read(node, steps, "read")
        if value is None and not steps.all[-1].ok:
            return steps.check("")
        _, status = await self._present(node.id)
        why = fault_of(node, value, status, within)
        steps.add(why or "the value is plausible and its status is good", value, ok=why is None)
        return steps.check(f"reads {_shown(value)}")

    async def _try_read(self, node: Node, steps: _Steps, what: str) -> PointValue | None:
        """Read a point from its device; a device that doesn't answer is a step that failed."""
        try:
            value = await self._read(node)
        except OpenCrateError as error:
            self._is_the_device(error, node)
            steps.add(f"{what}: {error}", ok=False)
            return None
        steps.add(f"{what} from the device", value)
        return value

    async def _read(self, node: Node) -> PointValue | None:
        protocol = protocol_of(node)
        if protocol == "virtual":
            return (await self._present(node.id))[0]
        if protocol not in self._bridges:
            raise ConflictError("point", node.id, f"this site has no {protocol} network")
        read = self._bridges[protocol].read.remote(node.id)
        value: PointValue | None = await answered(f"{protocol}@{self.site}", read, DEVICE_TIMEOUT)
        return value

    def _is_the_device(self, error: OpenCrateError, node: Node) -> None:
        """Raise what isn't the device's fault: an actor that doesn't answer."""
        if isinstance(error, UnreachableError) and error.what.endswith(f"@{self.site}"):
            raise error

    async def _present(self, point_id: str) -> tuple[PointValue | None, int]:
        rows = await self._call("points", "snapshot", [point_id])
        return (rows[0][1], rows[0][2]) if rows else (None, 0)

    # Writing

    async def _verify_write(
        self, item: Item, node: Node, request: VerifyRequest, steps: _Steps, by: str
    ) -> NewCheck:
        before = await self._try_read(node, steps, "read before")
        if not steps.all[-1].ok:
            return steps.check("")
        value = trial(node, before, request.value)
        try:
            await self._slot_is_free(node, request.priority)
        except (BadInputError, ConflictError):
            raise
        except OpenCrateError as error:
            self._is_the_device(error, node)
            steps.add(f"priority array: {error}", ok=False)
            return steps.check("")
        write = TrialWrite(
            node_id=node.id,
            item_id=item.id,
            priority=request.priority,
            value=value,
            value_before=before,
            written_at=self._clock(),
            written_by=by,
        )
        self._under_way.add(node.id)
        try:
            await self._call("commissioning", "begin_write", write)
            try:
                await self._try_write(node, write, steps)
            finally:
                await self._try_restore(node, write, steps)
        finally:
            self._under_way.discard(node.id)
            self._wake.set()
        return steps.check(f"took {_shown(value)} and was given back to {_shown(before)}")

    async def _slot_is_free(self, node: Node, priority: int) -> None:
        """Refuse a test that would overwrite somebody's command, or would not show. Raises ConflictError."""
        try:
            array: PriorityArray = await self._call(
                "commands", "priority_array", node.id, timeout=DEVICE_TIMEOUT
            )
        except ConflictError as error:
            if "no priority array" not in str(error):
                raise
            noted: list[Override] = await self._call("overrides", "of", node.id)
            if noted:
                reason = f"{noted[0].by} commands it at priority {noted[0].priority}; relinquish that first"
                raise ConflictError("point", node.id, reason) from None
            return
        if array.slots[priority - 1] is not None:
            reason = f"its slot {priority} is in use; choose another priority"
            raise ConflictError("point", node.id, reason)
        if array.active_priority is not None and array.active_priority < priority:
            reason = (
                f"priority {array.active_priority} is in force: what is written at {priority} would not show"
            )
            raise ConflictError("point", node.id, reason)

    async def _try_write(self, node: Node, write: TrialWrite, steps: _Steps) -> None:
        request = WriteRequest(value=write.value, priority=write.priority, duration=HOLD, note=NOTE)
        try:
            done: WriteResult = await self._call(
                "commands", "write", node.id, request, write.written_by, timeout=DEVICE_TIMEOUT
            )
        except OpenCrateError as error:
            unsure = (
                "; it may have taken it" if isinstance(error, WriteUnsureError | UnreachableError) else ""
            )
            steps.add(f"write at priority {write.priority}: {error}{unsure}", write.value, ok=False)
            return
        steps.add(f"wrote at priority {write.priority}", write.value)
        good = done.value is not None and same(done.value, write.value)
        steps.add("read back" if good else f"reads back {_shown(done.value)} instead", done.value, ok=good)

    async def _try_restore(self, node: Node, write: TrialWrite, steps: _Steps) -> None:
        """Give a point back, whatever happened; what fails is said, noted, and tried again."""
        try:
            value = await self._restore(node, write)
        except Exception as error:
            self._trouble[node.id] = str(error)[:300]
            steps.add(
                f"NOT given back yet: {error}; it ends by itself within {HOLD:g} s and is tried again",
                ok=False,
            )
            return
        self._trouble.pop(node.id, None)
        good = write.value_before is None or (value is not None and same(value, write.value_before))
        told = f"relinquished priority {write.priority}"
        # A value of the process goes its own way; that the test's value is gone is what counts.
        gone = value is None or not same(value, write.value)
        steps.add(told if good else f"{told}; it has {_shown(value)} now", value, ok=good or gone)

    async def _restore(self, node: Node, write: TrialWrite) -> PointValue | None:
        """Relinquish what a test wrote, if it is there still; where that stays, write what was there before.

        Raises what commands and bridge raise; the note is kept then.
        """
        noted: list[Override] = await self._call("overrides", "of", node.id)
        ours = [
            each
            for each in noted
            if each.priority == write.priority and each.note == NOTE and same(each.value, write.value)
        ]
        if ours:
            await self._command("relinquish", node.id, write.priority, write.written_by)
        value = await self._read(node)
        others = len(noted) > len(ours)
        held = value is not None and same(value, write.value)
        if held and not others and write.value_before is not None and not await self._has_array(node):
            # Nothing is in force and no default is known: then a device keeps what it was sent last.
            request = WriteRequest(
                value=write.value_before, priority=write.priority, duration=HOLD, note=NOTE
            )
            await self._command("write", node.id, request, write.written_by)
            await self._command("relinquish", node.id, write.priority, write.written_by)
            value = await self._read(node)
        await self._call("commissioning", "end_write", node.id)
        return value

    async def _has_array(self, node: Node) -> bool:
        """Tell whether the device itself holds a priority array, and so goes back by itself."""
        if protocol_of(node) != "bacnet":
            return protocol_of(node) == "virtual"
        try:
            await self._command("priority_array", node.id)
        except ConflictError:
            return False
        return True

    async def _command(self, method: str, *args: Any) -> Any:
        return await self._call("commands", method, *args, timeout=DEVICE_TIMEOUT)

    async def recover(self) -> bool:
        """Give back what tests that were cut off have written; tells whether something is left."""
        left = False
        waiting: list[TrialWrite] = await self._call("commissioning", "writing")
        for write in waiting:
            if write.node_id in self._under_way:
                continue
            try:
                node: Node = await self._call("nodes", "get", write.node_id)
                await self._restore(node, write)
            except NotFoundError:
                log.error("%s is gone: what a test wrote ends by itself", write.node_id)
                await self._call("commissioning", "end_write", write.node_id)
            except OpenCrateError as error:
                left = True
                if self._trouble.get(write.node_id) != str(error)[:300]:
                    log.error("%s is not given back after a test: %s", write.node_id, error)
                self._trouble[write.node_id] = str(error)[:300]
                continue
            self._trouble.pop(write.node_id, None)
            log.warning("%s is given back: a test of it was cut off", write.node_id)
        return left

    # Alarms and schedules

    async def _verify_alarm(self, node: Node, steps: _Steps) -> NewCheck:
        configs: list[AlarmConfig]
        configs, _ = await self._call("alarms", "configs", node.id)
        if not configs:
            steps.add("it has no alarm configuration", ok=False)
        value, _ = await self._present(node.id)
        enabled = [each for each in configs if each.enabled]
        if configs and not enabled:
            steps.add("its alarm configurations are all switched off", ok=False)
        for each in enabled:
            told, why = alarm_fault(each, value)
            delay = f" after {each.condition.delay:g} s" if each.condition.delay else ""
            steps.add(f"{each.severity.value} alarm {told}{delay}{f': {why}' if why else ''}", ok=why is None)
        return steps.check(f"{_count(len(enabled), 'alarm')} would be raised")

    async def _verify_schedule(self, node: Node, steps: _Steps) -> NewCheck:
        found: list[Schedule]
        found, _ = await self._call("schedules", "find", True, node.id)
        if not found:
            steps.add("no schedule that is switched on commands it", ok=False)
        value, _ = await self._present(node.id)
        for each in found:
            now: Effective = await self._call("schedules", "effective", each.id)
            fits = schedule_fits(each.kind, value)
            why = "" if fits else f", but it is {each.kind.value} and the point has {_shown(value)}"
            steps.add(f"schedule {each.name!r} gives {_shown(now.value)} now{why}", now.value, ok=fits)
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
                await self._wake.wait()
                self._wake.clear()
            await asyncio.sleep(self._retry)

    async def _call(self, actor: str, method: str, *args: Any, timeout: float = CALL_TIMEOUT) -> Any:
        call = getattr(self._handles[actor], method).remote(*args)
        return await answered(f"{actor}@{self.site}", call, timeout)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _shown(value: PointValue | None) -> str:
    return "nothing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
