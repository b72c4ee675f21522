"""Scans of a site's networks: what a bridge finds is kept as it comes, and how far it is."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from actors.core.errors import BadInputError, ConflictError, NotFoundError, OpenCrateError, UnreachableError
from actors.core.remote import answered
from actors.discovery.models import FoundDevice, Scan, ScanRequest, ScanState

log = logging.getLogger(__name__)

CALL_TIMEOUT: Final = 10.0
KEEP_TIMEOUT: Final = 60.0
"""Seconds for what has a device's thousands of points in it."""
SCAN_TIMEOUT: Final = 4 * 3600.0
"""Seconds that a scan may take; it tells how far it is, and can be cancelled."""
HIGHEST: Final = {"bacnet": 4194302, "modbus": 247}
"""The highest device instance, and the highest unit id."""
LOWEST: Final = {"bacnet": 0, "modbus": 1}

Call = Callable[..., Awaitable[Any]]
"""Calls a store or a bridge by its name, then the method and what it takes."""


@dataclass(frozen=True)
class Asked:
    """What a scan looks at."""

    networks: list[str]
    low: int
    high: int


@dataclass
class _Tally:
    """What came of a scan until now."""

    seen: int = 0
    """Devices that were taken from the bridge, of which some could not be kept."""
    devices: int = 0
    points: int = 0
    wrong: dict[str, str] = field(default_factory=dict)


def _outcome(scan: Scan, found: Any, tally: _Tally) -> tuple[ScanState, str | None]:
    """Give how a scan has ended, and what there is to say of it."""
    wrong = "; ".join(f"{what}: {why}" for what, why in (found.errors | tally.wrong).items()) or None
    if found.cancelled:
        return ScanState.CANCELLED, wrong
    if found.errors and set(scan.networks) <= found.errors.keys():
        return ScanState.FAILED, wrong
    return ScanState.DONE, wrong


class Scanner:
    """Have scans made by the bridges, one per protocol at a time.

    One that is cancelled or cut off keeps what it has found.
    """

    def __init__(
        self,
        site: str,
        call: Call,
        bridge: Call,
        bridges: Mapping[str, Any],
        networks: Mapping[str, str],
        *,
        round_: float,
        retry: float,
    ) -> None:
        """Take the ways to call stores and bridges, and the protocol of each of the site's networks.

        `round_` are the seconds between two looks at how far a scan is, `retry` those after which its end is
        noted again.
        """
        self.site = site
        self._call, self._bridge, self._bridges, self._networks = call, bridge, bridges, networks
        self._round, self._retry = round_, retry
        self._scans: dict[int, asyncio.Task[None]] = {}
        self._cancelled: set[int] = set()

    def asked(self, request: ScanRequest) -> Asked:
        """Give the networks and the range that a request means. Raises BadInputError."""
        low, high = _range(request)
        return Asked(self._asked(request), low, high)

    def _asked(self, request: ScanRequest) -> list[str]:
        here = [name for name, protocol in self._networks.items() if protocol == request.protocol]
        if not here or request.protocol not in self._bridges:
            known = ", ".join(sorted(set(self._networks.values()))) or "none"
            raise BadInputError("protocol", request.protocol, f"one that this site has networks of: {known}")
        for name in request.networks:
            if name not in here:
                raise BadInputError(
                    "networks", name, f"{request.protocol} networks of this site: {', '.join(here)}"
                )
        return list(dict.fromkeys(request.networks)) or here

    async def begin(self, protocol: str, asked: Asked, by: str) -> Scan:
        """Begin a scan; returns at once. Raises ConflictError while one of this protocol runs."""
        scan: Scan = await self._call("discovery", "begin_scan", protocol, asked.networks, by)
        task = asyncio.create_task(self._scan(scan, asked.low, asked.high))
        self._scans[scan.id] = task
        task.add_done_callback(lambda _: self._scans.pop(scan.id, None))
        return scan

    async def stop(self) -> None:
        """End what runs here; the scans are noted as failed with the next start."""
        tasks = list(self._scans.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def cancel(self, scan_id: int) -> Scan:
        """End a scan; what it has found is kept. Raises NotFoundError, ConflictError for one that is over."""
        scan: Scan = await self._call("discovery", "scan", scan_id)
        if scan.state is not ScanState.RUNNING:
            raise ConflictError("scan", scan_id, f"it is {scan.state.value}")
        task = self._scans.get(scan_id)
        if task is None:
            raise ConflictError("scan", scan_id, "it was cut off and will be failed in a moment")
        self._cancelled.add(scan_id)
        await self.end(scan.protocol)
        await asyncio.wait({task}, timeout=CALL_TIMEOUT / 2)
        ended: Scan = await self._call("discovery", "scan", scan_id)
        return ended

    async def end(self, protocol: str) -> None:
        """Tell a bridge to end its scan; one that doesn't hear it is logged."""
        try:
            await self._bridge(protocol, "cancel_scan")
        except OpenCrateError as error:
            log.warning("the %s bridge was not told to end its scan: %s", protocol, error)

    async def _scan(self, scan: Scan, low: int, high: int) -> None:
        """Have a scan made and keep what it finds; it is finished in any case."""
        state: ScanState = ScanState.FAILED
        why: str | None = "interrupted"
        tally = _Tally()
        bridge = self._bridges[scan.protocol]
        name = f"{scan.protocol}@{self.site}"
        working = asyncio.ensure_future(
            answered(name, bridge.scan.remote(scan.networks, low, high), SCAN_TIMEOUT)
        )
        try:
            while not working.done():
                await asyncio.wait({working}, timeout=self._round)
                if not working.done():
                    await self._follow(scan, tally)
            found = working.result()
            await self._keep(found.devices[tally.seen :], tally)
            state, why = _outcome(scan, found, tally)
        except OpenCrateError as error:
            log.error("scan %d failed: %s", scan.id, error)
            why = str(error)
        except Exception as error:
            log.exception("scan %d failed", scan.id)
            why = f"{type(error).__name__}: {error}"
        finally:
            working.cancel()
            self._cancelled.discard(scan.id)
        await self._finish(scan.id, tally, state, why)

    async def _follow(self, scan: Scan, tally: _Tally) -> None:
        """Keep what the scan has found since the last look, and how far it is."""
        if scan.id in self._cancelled:
            # Told again: the scan may not have begun when it was told first.
            await self.end(scan.protocol)
        try:
            progress = await self._bridge(scan.protocol, "scan_progress")
            fresh = await self._bridge(scan.protocol, "scan_found", tally.seen)
        except UnreachableError:
            return  # busy, or dead: then the scan itself ends with an error
        await self._keep(fresh, tally)
        if progress is not None:
            part = min(max(progress.part, 0.0), 0.99)
            await self._call("discovery", "scan_progress", scan.id, part, tally.devices, tally.points)

    async def _keep(self, found: Sequence[Any], tally: _Tally) -> None:
        for each in found:
            device: FoundDevice = each.device
            tally.seen += 1
            try:
                await self._call("discovery", "found", device, timeout=KEEP_TIMEOUT)
            except BadInputError as error:
                # What one device says of itself must not end the scan of all others.
                log.error("device %s can't be kept: %s", device.device_key, error)
                tally.wrong[device.device_key] = str(error)
                continue
            tally.devices += 1
            tally.points += len(device.points or ())

    async def _finish(self, scan_id: int, tally: _Tally, state: ScanState, why: str | None) -> None:
        """Note how a scan has ended, and go on trying while the store is away: else none could follow."""
        while True:
            try:
                await self._call(
                    "discovery", "finish_scan", scan_id, tally.devices, tally.points, state, why and why[:500]
                )
            except (ConflictError, NotFoundError):
                return  # noted already: the first answer was lost
            except OpenCrateError as error:
                log.error("the end of scan %d is not noted yet: %s", scan_id, error)
                await asyncio.sleep(self._retry)
            else:
                return


def _range(request: ScanRequest) -> tuple[int, int]:
    least, most = LOWEST[request.protocol], HIGHEST[request.protocol]
    low = least if request.low is None else request.low
    high = most if request.high is None else request.high
    if not least <= low <= most:
        raise BadInputError("low", low, f"{least} to {most}")
    if not low <= high <= most:
        raise BadInputError("high", high, f"{low} to {most}")
    return low, high
