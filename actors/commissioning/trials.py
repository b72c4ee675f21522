"""Writes for a test: noted before they go to a device, and given back whatever goes wrong."""

import asyncio
import logging
from typing import Any, Final

from actors.commissioning.models import Item, NewCheck, TrialWrite, VerifyRequest
from actors.commissioning.reach import DEVICE_TIMEOUT, Reach, Steps, shown
from actors.commissioning.verify import trial
from actors.core.clock import Clock
from actors.core.errors import (
    BadInputError,
    ConflictError,
    NotFoundError,
    OpenCrateError,
    UnreachableError,
    WriteUnsureError,
)
from actors.core.values import PointValue
from actors.node.models import Node
from actors.override.logic import protocol_of, same
from actors.override.models import Override, PriorityArray, WriteRequest, WriteResult

log = logging.getLogger(__name__)

HOLD: Final = 120.0
"""Seconds after which what is written for a test ends by itself, whatever has died."""
NOTE: Final = "commissioning test"


class Trials:
    """Write to points for a test, read back, and give back.

    What could not be given back, or was cut off by a crash, is tried again by `recover`; until then no other
    test of the point begins.
    """

    def __init__(self, reach: Reach, clock: Clock) -> None:
        """Begin with no test under way."""
        self._reach, self._clock = reach, clock
        self._under_way: set[str] = set()
        """Points that a test writes to now."""
        self.trouble: dict[str, str] = {}
        """By point, why it is not given back."""
        self.wake = asyncio.Event()
        """Set when a test has ended: something may be left to give back."""

    async def verify(self, item: Item, node: Node, request: VerifyRequest, steps: Steps, by: str) -> NewCheck:
        """Write to a point, read back and give back.

        Raises ConflictError for a point that can't be tested at this priority, and BadInputError.
        """
        before = await self._reach.try_read(node, steps, "read before")
        if not steps.all[-1].ok:
            return steps.check("")
        value = trial(node, before, request.value)
        try:
            await self._slot_is_free(node, request.priority)
        except (BadInputError, ConflictError):
            raise
        except OpenCrateError as error:
            self._reach.is_the_device(error, node)
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
            await self._reach.call("commissioning", "begin_write", write)
            try:
                await self._try_write(node, write, steps)
            finally:
                await self._try_restore(node, write, steps)
        finally:
            self._under_way.discard(node.id)
            self.wake.set()
        return steps.check(f"took {shown(value)} and was given back to {shown(before)}")

    async def _slot_is_free(self, node: Node, priority: int) -> None:
        """Refuse a test that would overwrite somebody's command, or would not show. Raises ConflictError."""
        try:
            array: PriorityArray = await self._reach.call(
                "commands", "priority_array", node.id, timeout=DEVICE_TIMEOUT
            )
        except ConflictError as error:
            if "no priority array" not in str(error):
                raise
            noted: list[Override] = await self._reach.call("overrides", "of", node.id)
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

    async def _try_write(self, node: Node, write: TrialWrite, steps: Steps) -> None:
        request = WriteRequest(value=write.value, priority=write.priority, duration=HOLD, note=NOTE)
        try:
            done: WriteResult = await self._reach.call(
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
        steps.add("read back" if good else f"reads back {shown(done.value)} instead", done.value, ok=good)

    async def _try_restore(self, node: Node, write: TrialWrite, steps: Steps) -> None:
        """Give a point back, whatever happened; what fails is said, noted, and tried again."""
        try:
            value = await self._restore(node, write)
        except Exception as error:
            self.trouble[node.id] = str(error)[:300]
            steps.add(
                f"NOT given back yet: {error}; it ends by itself within {HOLD:g} s and is tried again",
                ok=False,
            )
            return
        self.trouble.pop(node.id, None)
        good = write.value_before is None or (value is not None and same(value, write.value_before))
        told = f"relinquished priority {write.priority}"
        # A value of the process goes its own way; that the test's value is gone is what counts.
        gone = value is None or not same(value, write.value)
        steps.add(told if good else f"{told}; it has {shown(value)} now", value, ok=good or gone)

    async def _restore(self, node: Node, write: TrialWrite) -> PointValue | None:
        """Relinquish what a test wrote, if it is there still; where that stays, write what was there before.

        Raises what commands and bridge raise; the note is kept then.
        """
        noted: list[Override] = await self._reach.call("overrides", "of", node.id)
        ours = [
            each
            for each in noted
            if each.priority == write.priority and each.note == NOTE and same(each.value, write.value)
        ]
        if ours:
            await self._command("relinquish", node.id, write.priority, write.written_by)
        value = await self._reach.read(node)
        others = len(noted) > len(ours)
        held = value is not None and same(value, write.value)
        if held and not others and write.value_before is not None and not await self._has_array(node):
            # Nothing is in force and no default is known: then a device keeps what it was sent last.
            request = WriteRequest(
                value=write.value_before, priority=write.priority, duration=HOLD, note=NOTE
            )
            await self._command("write", node.id, request, write.written_by)
            await self._command("relinquish", node.id, write.priority, write.written_by)
            value = await self._reach.read(node)
        await self._reach.call("commissioning", "end_write", node.id)
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
        return await self._reach.call("commands", method, *args, timeout=DEVICE_TIMEOUT)

    async def recover(self) -> bool:
        """Give back what tests that were cut off have written; tells whether something is left."""
        left = False
        waiting: list[TrialWrite] = await self._reach.call("commissioning", "writing")
        for write in waiting:
            if write.node_id in self._under_way:
                continue
            try:
                node: Node = await self._reach.call("nodes", "get", write.node_id)
                await self._restore(node, write)
            except NotFoundError:
                log.error("%s is gone: what a test wrote ends by itself", write.node_id)
                await self._reach.call("commissioning", "end_write", write.node_id)
            except OpenCrateError as error:
                left = True
                if self.trouble.get(write.node_id) != str(error)[:300]:
                    log.error("%s is not given back after a test: %s", write.node_id, error)
                self.trouble[write.node_id] = str(error)[:300]
                continue
            self.trouble.pop(write.node_id, None)
            log.warning("%s is given back: a test of it was cut off", write.node_id)
        return left
