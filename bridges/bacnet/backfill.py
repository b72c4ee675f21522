"""Filling the holes of the history from what devices have logged themselves."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from actors.core.clock import Clock
from actors.core.errors import BridgeError, NotFoundError
from actors.history.gaps import GapKind, GapReason, no_gaps
from actors.history.models import Gap
from actors.point.models import empty_frame
from bridges.bacnet.device import Device
from bridges.bacnet.trends import Source, find_logs, read_clock, read_log
from bridges.outbox import FaultLog

log = logging.getLogger(__name__)

SETTLE: Final = 20.0
"""Seconds after a device has come, in which the gap ledger hears what was not read, and until when."""
AGAIN: Final = 300.0
"""Seconds after which a device that could not be read to the end is asked again."""
FARTHEST: Final = 30 * 86_400_000
"""Milliseconds back to which holes are filled."""
CALL_TIMEOUT: Final = 30.0


class Backfill:
    """Fill a device's holes once it has come, also after a start of ours, with what it has logged.

    A hole is filled with one frame, all of it or nothing, and only if history has nothing in it: however
    often this is tried, no sample comes twice. The ledger is told that it was filled.
    """

    def __init__(self, history: Any, points: Any, clock: Clock, faults: FaultLog) -> None:
        """Take the handles of the stores; without history nothing is filled."""
        self._history, self._points, self._clock, self._faults = history, points, clock, faults
        self._logs: dict[str, dict[str, Source]] = {}
        self.filled = 0
        """Samples that were recorded this way since the start."""

    async def follow(self, device: Device, sleep: Callable[[float], Any] = asyncio.sleep) -> None:
        """Fill a device's holes each time that it has come, until cancelled."""
        if self._history is None:
            return
        while True:
            await device.came.wait()
            device.came.clear()
            await sleep(SETTLE)
            try:
                await self.fill(device)
            except BridgeError as error:
                self._faults.tell(device.device.id, "trend logs", error.reason)
                await self._again(device, sleep)
            except Exception as error:
                # Whatever a dead or restarting store raises; the device's log waits.
                self._faults.tell(device.device.id, "backfill", f"{type(error).__name__}: {error}"[:200])
                await self._again(device, sleep)

    async def _again(self, device: Device, sleep: Callable[[float], Any]) -> None:
        await sleep(AGAIN)
        device.came.set()

    async def fill(self, device: Device) -> int:
        """Fill a device's holes now; give how many samples. Raises BridgeError and what Ray raises."""
        holes = {point_id: holes for point_id in device.names() if (holes := await self._holes(point_id))}
        if not holes:
            return 0
        key = device.device.id
        if key not in self._logs:
            self._logs[key] = await find_logs(device, device.device.device_instance)
        logs = self._logs[key]
        names = device.names()
        if not any(names.get(point_id) in logs for point_id in holes):
            return 0
        clock = await read_clock(device)
        count = 0
        for point_id, found in holes.items():
            source = logs.get(names.get(point_id, ""))
            if source is None:
                continue
            for hole in found:
                count += await self._fill(device, point_id, source, hole, clock)
        if count:
            self.filled += count
            log.info("%s has told %d samples of its trend logs", key, count)
        return count

    def forget(self, device: Device) -> None:
        """Ask a device again which logs it has, before it is next needed."""
        self._logs.pop(device.device.id, None)

    async def _holes(self, point_id: str) -> list[Gap]:
        now = self._clock()
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                found: list[Gap] = await self._history.gaps.remote(point_id, now - FARTHEST, now)
        except NotFoundError:
            return []  # nothing was ever recorded of it
        return [each for each in found if each.kind is GapKind.LOST and each.end is not None]

    async def _fill(self, device: Device, point_id: str, source: Source, hole: Gap, clock: Any) -> int:
        if hole.end is None:
            return 0
        kind = device.names()[point_id].partition(",")[0]
        start, end = hole.start, hole.end
        logged = await read_log(device, source, kind, start, end, clock)
        if not logged.samples:
            return 0
        frame, notes = empty_frame(), no_gaps()
        for at, kept, status in logged.samples:
            value = device.in_units(point_id, kept)
            if value is not None:
                frame.add(point_id, value, at, status)
        if not len(frame):
            return 0
        reason = GapReason(hole.reason) if hole.reason in set(GapReason) else GapReason.BRIDGE_DOWN
        notes.add(point_id, max(start, logged.since), end, GapKind.BACKFILLED, reason)
        async with asyncio.timeout(CALL_TIMEOUT):
            await self._points.late.remote(frame.encode())
            await self._points.lost.remote(notes.encode())
        return len(frame)
