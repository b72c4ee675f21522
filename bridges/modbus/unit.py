"""One Modbus unit: polled, watched, written to."""

import asyncio
import logging
import math
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from actors.bus.events import DeviceDiscovered, DeviceDown, DeviceRecovered, Event
from actors.core.clock import Clock
from actors.core.errors import (
    BadInputError,
    BridgeError,
    NotFoundError,
    UnreachableError,
    WriteFailedError,
    WriteUnsureError,
)
from actors.core.values import PointValue
from bridges.backoff import DEFAULT_BACKOFF, Backoff, Change, Liveness
from bridges.config import DeviceStatus, ModbusDevice
from bridges.modbus.blocks import Block, single
from bridges.modbus.client import (
    ModbusLine,
    NoAnswerError,
    NotConnectedError,
    RefusedError,
    as_told,
    kind_of,
)
from bridges.modbus.commands import Commands, prepare
from bridges.modbus.plan import Plan, Wanted
from bridges.modbus.registers import Reading, Register, decode
from bridges.modbus.rows import Fresh, Rows
from bridges.modbus.services import identify
from bridges.outbox import FaultLog, Outbox
from bridges.timing import AnswerTimes

log = logging.getLogger(__name__)

BUSY: Final = frozenset({4, 5, 6})
"""Exceptions that ask for patience: failure, acknowledge, busy. They are retried at once."""
UNANSWERED: Final = BUSY | {10, 11}
"""Exceptions that say nothing of the register; the last two are a gateway's, of a dead unit behind it."""
BUSY_PAUSE: Final = 0.2
BUSY_TRIES: Final = 3
SHORT_TIMEOUT: Final = 0.5
"""Seconds that a check of a device that is down waits, so that it doesn't hold up its neighbours."""
CHECK_BEFORE_DOWN: Final = 6.0
"""Longest wait between checks of a device that is silent but not yet down.

It is flagged within 45 s; where many of one line are silent at once, they take turns, and it takes longer.
"""
SETTLE: Final = 0.3
"""Seconds that a device gets to take over a written value that doesn't read back at once."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What a unit acts on besides its line."""

    outbox: Outbox
    publish: Callable[[Event], None]
    clock: Clock
    faults: FaultLog
    backoff: Backoff = DEFAULT_BACKOFF
    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random


class Unit:
    """Keep one device's points fresh and say how it is.

    While it answers, it is polled on a steady grid. While it doesn't, one small question at a time goes out
    with backoff; the answer to any question, also an exception, shows that it lives. What it doesn't answer
    though it lives, is cut down to the points at fault, which are flagged.
    """

    def __init__(self, device: ModbusDevice, line: ModbusLine, effects: Effects) -> None:
        """Nothing happens before `assign` and `run`."""
        self.device = device
        self.liveness = Liveness(effects.backoff)
        self._line, self._to = line, effects
        self._commands = Commands(line, device.unit, device.write_by)
        self._points: dict[str, Wanted] = {}
        self._rows = Rows(effects.outbox, effects.clock)
        self._plan = self._fresh_plan()
        self._wake = asyncio.Event()
        self._identified = False
        self._slowest: float | None = None
        self._times = AnswerTimes()
        self._errors = Counter[str]()
        self._unconnected = False
        self.poll_seconds: float | None = None
        """How long the last poll took."""
        self._status = DeviceStatus(
            device_key=device.id,
            protocol="modbus",
            network_id=device.network,
            address=f"{line.address} unit {device.unit}",
        )

    @property
    def refused(self) -> dict[str, str]:
        """Points that the device doesn't answer for, with its reason."""
        return {point_id: refusal.reason for point_id, refusal in self._plan.refused.items()}

    def assign(self, points: dict[str, Wanted]) -> None:
        """Take these points, and only these; their last values stay.

        Everything is read anew if they differ.
        """
        if points == self._points:
            return
        self._points = dict(points)
        self._rows.keep_only(points)
        self._plan = self._fresh_plan()
        if self.liveness.state == "down":
            self._rows.flag_down(self._points)
        self._wake.set()

    def line_connected(self) -> None:
        """Check at once if it was the connection that was missing."""
        if self.liveness.misses and self._unconnected:
            self.liveness.retry_at = 0.0
            self._wake.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            try:
                await self._sleep()
                await self.step()
            except Exception:
                self._to.faults.tell(self.device.id, "poll failed", "unexpected error", exc_info=True)
                await asyncio.sleep(1.0)

    async def step(self) -> None:
        """Check the device if it was silent, then poll what is due if it answers."""
        if self.liveness.misses:
            if not await self._check():
                return
            self._plan.hurry(self._to.monotonic())
        began = time.perf_counter()
        await self._poll()
        self.poll_seconds = time.perf_counter() - began

    async def write(self, point_id: str, value: PointValue) -> PointValue | None:
        """Write, read back, tell the point store, give what was read back.

        Raises NotFoundError, BadInputError and UnreachableError (nothing was sent), and WriteFailedError with
        the device's reason.
        After a time-out or a broken connection it is not known whether the device took the value, and one
        that reads back something else has changed all the same: that is a WriteUnsureError. Also tried while
        the device is down. Writing the same value twice is harmless.
        """
        register = self._register(point_id)
        if not register.is_writable:
            raise BadInputError(
                "point", point_id, f"a holding register or a coil; an {register.type} is read only"
            )
        command = prepare(register, value)
        reading = await self._commanded(point_id, lambda: self._commands.send(command))
        if not command.holds(reading):
            # Some devices take a value over in their own cycle.
            await asyncio.sleep(SETTLE)
            reading = await self._commanded(point_id, lambda: self._commands.read_back(command))
        self._rows.take_one(point_id, reading)
        if not command.holds(reading):
            reason = f"it reads back {reading.value} instead of {command.wanted.value}"
            raise WriteUnsureError(point_id, reason)
        return reading.value

    async def _commanded(self, point_id: str, send: Callable[[], Awaitable[Reading]]) -> Reading:
        for left in range(self._retries(), -1, -1):
            try:
                async with self._line.turn(self.device.unit):
                    await self._reach(again=left < self._retries())
                    reading = await send()
            except NoAnswerError as error:
                self._failed("write failed", error)
                if not left:
                    raise WriteUnsureError(point_id, error.reason) from error
            except RefusedError as error:
                self._failed("write refused", error)
                raise WriteFailedError(point_id, error.reason) from error
            else:
                self._heard()
                return reading
        raise AssertionError("unreachable")  # pragma: no cover

    async def _reach(self, *, again: bool) -> None:
        """See that there is a connection. Raises UnreachableError, but NoAnswerError where a try was sent."""
        try:
            await self._line.reach(self.device.unit)
        except NotConnectedError as error:
            if again:
                raise
            self._failed("write failed", error)
            raise UnreachableError(self.device.id, error.reason) from error

    async def read(self, point_id: str) -> PointValue | None:
        """Read one point now and tell the point store. Raises NotFoundError and BridgeError."""
        register = self._register(point_id)
        try:
            words = await self._fetch(single((point_id, register)))
        except (RefusedError, NoAnswerError) as error:
            told = as_told(error)
            raise type(told)(self.device.id, told.reason) from error
        self._heard()
        reading = decode(register, words)
        self._rows.take_one(point_id, reading)
        return reading.value

    def status(self) -> DeviceStatus:
        """Say how the device is."""
        told: dict[str, object] = {
            "state": self.liveness.state,
            "misses": self.liveness.misses,
            "points": len(self._points),
            "poll_ms": None if self.poll_seconds is None else round(1000 * self.poll_seconds, 3),
            "error_kinds": dict(self._errors),
        }
        return self._status.model_copy(update=told | self._times.told())

    def _register(self, point_id: str) -> Register:
        wanted = self._points.get(point_id)
        if wanted is None:
            raise NotFoundError("point", point_id)
        return wanted.register

    @property
    def _doubtful(self) -> bool:
        """Whether the next request may well go unanswered."""
        return self.liveness.misses > 0 or not self.liveness.seen

    def _patience(self) -> float | None:
        """Give the time-out of the next request; None for that of the line.

        A device that is down gets less, so that it doesn't hold up its neighbours, but now and then all of
        it, or one that has become slow would never be heard again. So do three in four requests to each of
        several that are silent at once.
        """
        short = min(SHORT_TIMEOUT, self._line.config.timeout)
        if self.liveness.state == "down":
            slow = self._slowest is None or self._slowest * 3 > SHORT_TIMEOUT
            return short if self.liveness.misses % (2 if slow else 8) else None
        crowded = self._doubtful and self._line.doubtful > 1
        return short if crowded and self.liveness.misses % 4 != 3 else None

    def _retries(self) -> int:
        """A device that doesn't answer is asked once at a time: repeating holds up its neighbours."""
        return 0 if self._doubtful else self._line.config.retries

    def _fresh_plan(self) -> Plan:
        now = self._to.monotonic()
        # A neighbour that dies holds the line for one time-out, and must not make us late.
        hold = 1.1 * self._line.config.timeout if self._line.shared else 0.0
        return Plan(self._points, self.device.max_gap, self.device.max_registers, now, hold)

    async def _sleep(self) -> None:
        """Wait until something is due, or somebody wakes us."""
        while True:
            self._wake.clear()
            due = self.liveness.retry_at if self.liveness.misses and self._points else self._plan.next_due()
            wait = due - self._to.monotonic()
            if wait <= 0:
                return
            try:
                # Not wait_for: in Python 3.11 it swallows a cancellation that meets the wake-up.
                async with asyncio.timeout(None if math.isinf(wait) else wait):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _check(self) -> bool:
        """Ask a device that was silent one small question."""
        probe = self._plan.probe()
        if probe is None:
            return True
        return await self._answers(probe, self._patience())

    async def _answers(self, probe: Block, timeout: float | None) -> bool:
        """Ask for `probe`; count the answer, or the miss."""
        try:
            await self._ask(probe, timeout)
        except RefusedError as error:
            if error.code in UNANSWERED:
                return self._missed(error)
        except NoAnswerError as error:
            return self._missed(error)
        self._heard()
        return True

    async def _poll(self) -> None:
        """Read what is due, and send it as one frame; stop when the device turns out to be silent."""
        now = self._to.monotonic()
        waiting = deque(self._plan.take_due(now))
        plan, fresh = self._plan, Fresh(self._rows)
        while waiting and plan is self._plan:
            block = waiting.popleft()
            try:
                words = await self._fetch(block)
            except NotConnectedError as error:
                self._missed(error)
                break
            except (RefusedError, NoAnswerError) as error:
                if isinstance(error, RefusedError) and error.code not in UNANSWERED:
                    self._heard()
                    parts, gone = plan.refuse(block, error.reason, now, self._to.chance())
                    waiting.extendleft(reversed(parts))
                else:
                    probe = plan.probe(beside=block) if self.liveness.seen else None
                    if probe is None:
                        self._missed(error)
                        break
                    if not await self._answers(probe, None):
                        break
                    gone = plan.silent(block, error.reason, now, self._to.chance())
                self._rows.fault(gone)
                continue
            self._heard()
            plan.answered(block)
            fresh.take_soon(block, words)
        if fresh.send() and not self._identified:
            await self._identify()

    async def _fetch(self, block: Block) -> list[int]:
        """Read a block, again after a time-out or while the device is busy.

        The line is free for others in between.
        """
        retries, busy = self._retries(), BUSY_TRIES - 1
        while True:
            try:
                return await self._ask(block, self._patience())
            except NotConnectedError:
                raise
            except NoAnswerError:
                if not retries:
                    raise
                retries -= 1
            except RefusedError as error:
                if error.code not in BUSY or not busy:
                    raise
                busy -= 1
                await asyncio.sleep(BUSY_PAUSE)

    async def _ask(self, block: Block, timeout: float | None) -> list[int]:
        unit = self.device.unit
        async with self._line.turn(unit, doubtful=self._doubtful):
            start = time.monotonic()
            try:
                words = await self._line.read(unit, block.type, block.address, block.count, timeout)
            except RefusedError as error:
                place = f"{block.type} {block.address} to {block.address + block.count - 1}"
                self._failed("exception", error, f" for {place}")
                raise
            except NoAnswerError as error:
                self._failed("no answer", error)
                raise
            took = time.monotonic() - start
        self._times.add(took)
        self._slowest = took if self._slowest is None else max(took, 0.9 * self._slowest)
        self._status.reads += 1
        return words

    def _heard(self) -> None:
        """Take any answer as a sign of life."""
        self._status.last_seen = self._to.clock()
        for change in self.liveness.answered():
            if change is Change.DISCOVERED:
                self._to.publish(
                    DeviceDiscovered(
                        device_key=self.device.id, protocol="modbus", network_id=self.device.network
                    )
                )
            elif change is Change.RECOVERED:
                if self._to.faults.due(self.device.id, "answers again"):
                    log.info("%s answers again", self.device.id)
                self._to.publish(DeviceRecovered(device_key=self.device.id, protocol="modbus"))
                # It may have another firmware or configuration now: what it refused is asked for again.
                self._plan = self._fresh_plan()
                self._identified = self._status.vendor is None
                self._wake.set()

    def _missed(self, error: BridgeError) -> bool:
        """Count a check or poll without an answer; gives False, as nobody is there."""
        now = self._to.monotonic()
        self._unconnected = isinstance(error, NotConnectedError)
        changes = self.liveness.missed(now, error.reason, self._to.chance())
        if self.liveness.state != "down":
            self.liveness.retry_at = min(self.liveness.retry_at, now + CHECK_BEFORE_DOWN)
        if Change.DOWN in changes:
            if self._to.faults.due(self.device.id, "is down"):
                log.error("%s is down: %s", self.device.id, error.reason)
            self._to.publish(DeviceDown(device_key=self.device.id, protocol="modbus", error=error.reason))
            self._rows.flag_down(self._points)
        return False

    def _failed(self, kind: str, error: BridgeError, where: str = "") -> None:
        self._status.errors += 1
        self._status.last_error = error.reason + where
        self._errors[kind_of(error)] += 1
        self._to.faults.tell(self.device.id, kind, error.reason + where)

    async def _identify(self) -> None:
        """Ask once for vendor and model; most devices don't know the question, and that is fine.

        Some servers lose step over it, and answer nothing more over this connection: what doesn't identify
        itself is asked for a register, and if that fails, the connection is opened anew and nobody behind it
        asked again.
        """
        self._identified = True
        if self._line.loses_step:
            return
        patience = min(1.0, self._line.config.timeout)
        async with self._line.turn(self.device.unit):
            try:
                found = await identify(self._line, self.device.unit, patience)
            except BridgeError as error:
                log.info("%s doesn't identify itself: %s", self.device.id, error.reason)
                await self._keeps_step(patience)
                return
        self._status.vendor = found.vendor or None
        self._status.model = found.model or found.product_code or None
        self._status.firmware = found.revision or None

    async def _keeps_step(self, timeout: float) -> None:
        """Open the connection anew, and remember it, where a register can't be read over it any more."""
        probe = self._plan.probe()
        if probe is None:
            return
        try:
            await self._line.read(self.device.unit, probe.type, probe.address, probe.count, timeout)
        except RefusedError:
            return
        except NoAnswerError as error:
            self._line.lost_step(error.reason)
