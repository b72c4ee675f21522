"""The engine that scans networks and makes nodes of what was found, when a person asks for it."""

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Any, Final

from actors.bus.client import follow
from actors.bus.events import MODEL_CHANGES
from actors.core.errors import BadInputError, ConflictError, NotFoundError, OpenCrateError, UnreachableError
from actors.core.health import Health, HealthState
from actors.core.remote import answered
from actors.discovery.bound import Surroundings
from actors.discovery.models import (
    Acceptance,
    AcceptRequest,
    DeviceState,
    DiscoveredDevice,
    DiscoveredPoint,
    FoundPoint,
    Plan,
    Proposal,
    Scan,
    ScanRequest,
    origin_of,
)
from actors.discovery.proposal import check, propose, with_profile
from actors.discovery.scanning import Scanner
from actors.node.models import Node

log = logging.getLogger(__name__)

CALL_TIMEOUT: Final = 10.0
APPLY_TIMEOUT: Final = 60.0
"""Seconds for what has a device's thousands of points in it."""
ROUND: Final = 1.0
"""Seconds between two looks at how far a scan has come."""
PAGE: Final = 1000
DELETED: Final = "discovery"
"""Who gave a device back whose nodes were deleted; who deleted them is in the audit log."""
MOVES: Final = (*MODEL_CHANGES, "device_discovered")
"""Events after which another device may be in the model, or none of it any more."""
RETRY: Final = 5.0
"""Seconds after which what was cut off is tried again."""


class DiscoveryEngine:
    """Scan a site's networks, and make nodes of devices that were found; nothing happens unasked.

    A scan runs in the bridge of its protocol, one per protocol at a time; what it finds is kept as it comes,
    so that a scan which is cancelled or cut off keeps what it has found. One that was running when this actor
    or the bridge died is failed.

    To accept a device changes three stores, each a file of its own. What is to be made is noted first, then
    the nodes are made in one transaction, then the alarm configurations, then the device is accepted and the
    note removed. A crash in between leaves the note, and it is gone on with when this actor is back; each
    step can be done twice. When a step is refused, all is undone. So a device never stays half accepted.
    """

    def __init__(
        self,
        site: str,
        discovery: Any,
        nodes: Any,
        alarms: Any,
        bridges: Mapping[str, Any],
        networks: Mapping[str, str],
        *,
        bus: Any = None,
        round_: float = ROUND,
        retry: float = RETRY,
    ) -> None:
        """Take the stores' handles, `bridges` by protocol, and the protocol of each of the site's networks.

        A bridge offers `scan(networks, low, high)`, which gives all that it found (`devices`, each with a
        FoundDevice in `device`; `errors` by network; `cancelled`), and while it runs `scan_progress()` (with
        `part`, 0 to 1), `scan_found(after)` and `cancel_scan()`; also `profile_points(name)` and `reload()`.
        Without a `bus`, that nodes are deleted is only seen at the start.
        """
        self.site, self._bus = site, bus
        self._discovery, self._nodes, self._alarms = discovery, nodes, alarms
        self._bridges, self._networks = dict(bridges), dict(networks)
        self._round, self._retry = round_, retry
        self._scanner = Scanner(
            site, self._call, self._bridge, self._bridges, networks, round_=round_, retry=retry
        )
        self._turn = asyncio.Lock()
        self._trouble: str | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()

    async def start(self) -> None:
        """Begin; returns at once. A second call changes nothing."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._follow_model())]

    async def stop(self) -> None:
        """End what runs here. A scan is noted as failed with the next start."""
        tasks = self._tasks
        self._tasks = []
        for task in tasks:
            task.cancel()
        await self._scanner.stop()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def health(self) -> Health:
        """Say what could not be finished."""
        reasons = [self._trouble] if self._trouble else []
        state = HealthState.DEGRADED if reasons else HealthState.HEALTHY
        return Health(name="discovery_engine", state=state, reasons=reasons, pid=os.getpid())

    async def networks(self) -> dict[str, str]:
        """Give the networks that can be scanned, each with its protocol."""
        return {name: protocol for name, protocol in self._networks.items() if protocol in self._bridges}

    # Scans

    async def scan(self, request: ScanRequest, by: str) -> Scan:
        """Begin a scan; returns at once.

        Raises BadInputError for networks and ranges that can't be asked, and ConflictError while a scan of
        this protocol runs.
        """
        asked = self._scanner.asked(request)
        try:
            # Scans of an earlier life are failed first.
            async with asyncio.timeout(CALL_TIMEOUT):
                await self._ready.wait()
        except TimeoutError as error:
            reason = self._trouble or "it is starting"
            raise UnreachableError(f"discovery_engine@{self.site}", reason) from error
        return await self._scanner.begin(request.protocol, asked, by)

    async def cancel(self, scan_id: int) -> Scan:
        """End a scan; what it has found is kept. Raises NotFoundError, ConflictError for one that is over."""
        return await self._scanner.cancel(scan_id)

    # Accepting

    async def proposal(self, device_id: int, request: AcceptRequest) -> Proposal:
        """Say what accepting a device would make. Raises NotFoundError, BadInputError, ConflictError."""
        device: DiscoveredDevice = await self._call("discovery", "get", device_id)
        return (await self._propose(device, request))[0]

    async def _propose(self, device: DiscoveredDevice, request: AcceptRequest) -> tuple[Proposal, Plan]:
        points: list[DiscoveredPoint] = await self._call(
            "discovery", "all_points", device.id, timeout=APPLY_TIMEOUT
        )
        profile = await self._profile(device.protocol, request.profile)
        bound: list[Node] = await self._call("nodes", "bound", device.protocol, timeout=APPLY_TIMEOUT)
        taken: list[str] = await self._call("nodes", "ids")
        try:
            units = await self._units(device.protocol)
        except OpenCrateError as error:
            log.info("the units of %s are not known now: %s", self.site, error)
            units = {}
        around = Surroundings(self.site, taken, bound, units)
        profiled = {each.point_key for each in profile or ()}
        if profile is None and device.protocol == "modbus":
            profiled = {each.point_key for each in points}
        whole = with_profile(device, points, profile)
        return await asyncio.to_thread(propose, device, whole, request, around, profiled)

    async def _profile(self, protocol: str, name: str | None) -> list[FoundPoint] | None:
        if name is None:
            return None
        if protocol not in self._bridges:
            raise BadInputError("profile", name, f"nothing: this site has no {protocol} network")
        found: list[FoundPoint] = await self._bridge(protocol, "profile_points", name, timeout=APPLY_TIMEOUT)
        return found

    async def accept(self, device_id: int, request: AcceptRequest, by: str) -> DiscoveredDevice:
        """Make nodes of a device, with tags, bindings, groups, history and alarm defaults; all or nothing.

        Whether it answers now isn't asked: one that has gone since the scan becomes nodes that are down until
        it is back. Raises NotFoundError, BadInputError and ConflictError; then nothing has changed. After
        UnreachableError it is finished or undone as soon as the stores answer.
        """
        async with self._turn:
            device: DiscoveredDevice = await self._call("discovery", "get", device_id)
            proposal, plan = await self._propose(device, request)
            undecided = device.state in (DeviceState.DISCOVERED, DeviceState.BOUND)
            if undecided and device.accepting_by is None:
                # Who is accepted has its points in the model: then the store's refusal says more.
                check(device, proposal)
            self._wake.set()
            await self._call("discovery", "begin_accept", device_id, plan, by, timeout=APPLY_TIMEOUT)
            return await self._go_on(device, plan, by)

    async def _go_on(self, device: DiscoveredDevice, plan: Plan, by: str) -> DiscoveredDevice:
        """Do what is noted for a device. Where a step is refused, undo all and raise why."""
        origin = origin_of(device.id)
        try:
            await self._call("nodes", "apply", plan.nodes, origin, timeout=APPLY_TIMEOUT)
            await self._call("alarms", "apply_configs", plan.alarms, origin, timeout=APPLY_TIMEOUT)
            made = [node.id for node in plan.nodes]
            done: DiscoveredDevice = await self._call(
                "discovery", "accept", device.id, made, by, timeout=APPLY_TIMEOUT
            )
        except UnreachableError:
            raise
        except OpenCrateError:
            await self._undo(device.id, plan)
            raise
        await self._tell_bridge(device.protocol)
        return done

    async def _undo(self, device_id: int, plan: Plan) -> None:
        """Take back what was made of a device, alarms first; the note goes last."""
        origin = origin_of(device_id)
        await self._call("alarms", "apply_configs", [], origin, timeout=APPLY_TIMEOUT)
        there: list[Node] = await self._call("nodes", "get_many", [node.id for node in plan.nodes])
        for node in reversed(there):
            if node.properties.get("origin") != origin:
                continue
            try:
                await self._call("nodes", "delete", node.id, timeout=APPLY_TIMEOUT)
            except NotFoundError:
                continue
            except ConflictError:
                log.warning("%s stays: people have put something below it", node.id)
        await self._call("discovery", "abort_accept", device_id)

    async def release(self, device_id: int, by: str) -> DiscoveredDevice:
        """Make an accepted device whose nodes are deleted one to decide about again.

        Its alarm configurations go with it. Raises NotFoundError, and ConflictError while nodes are there.
        """
        async with self._turn:
            device: DiscoveredDevice = await self._call("discovery", "get", device_id)
            there: list[Node] = await self._call("nodes", "get_many", device.created_node_ids)
            if device.state is DeviceState.ACCEPTED and not there:
                await self._call("alarms", "apply_configs", [], origin_of(device_id))
            still = [node.id for node in there]
            done: DiscoveredDevice = await self._call("discovery", "release", device_id, still, by)
        await self._tell_bridge(device.protocol)
        return done

    async def release_gone(self) -> list[int]:
        """Make those accepted devices ones to decide about again of which no node is left; give their ids.

        Their alarm configurations go with them. A device of which some nodes were deleted stays accepted.
        """
        released: list[int] = []
        there = set(await self._call("nodes", "ids"))
        cursor: str | None = None
        while True:
            devices: list[DiscoveredDevice]
            devices, cursor = await self._call(
                "discovery", "find", DeviceState.ACCEPTED, None, None, None, None, PAGE, cursor
            )
            for device in devices:
                if there.isdisjoint(device.created_node_ids):
                    try:
                        await self.release(device.id, DELETED)
                    except (ConflictError, NotFoundError) as error:
                        log.info("device %d is not given back: %s", device.id, error)
                    else:
                        released.append(device.id)
            if cursor is None:
                return released

    async def note_bound(self) -> int:
        """Note which devices the model reads already, accepted or not; give of how many that has changed.

        Raises UnreachableError at the end where a bridge can't say what it reads by the configuration: what
        is noted of its protocol stays until it can.
        """
        taken, changed = await self._call("nodes", "ids"), 0
        silent: OpenCrateError | None = None
        for protocol in self._bridges:
            bound: list[Node] = await self._call("nodes", "bound", protocol, timeout=APPLY_TIMEOUT)
            try:
                around = Surroundings(self.site, taken, bound, await self._units(protocol))
            except OpenCrateError as error:
                silent = error
                continue
            cursor: str | None = None
            while True:
                devices: list[DiscoveredDevice]
                devices, cursor = await self._call(
                    "discovery", "find", None, protocol, None, None, None, PAGE, cursor
                )
                found = {each.id: around.stands_for(each) for each in devices}
                moved = {each.id: found[each.id] for each in devices if each.bound_to != found[each.id]}
                if moved:
                    changed += await self._call("discovery", "note_bound", moved)
                if cursor is None:
                    break
        if silent is not None:
            raise silent
        return changed

    async def _units(self, protocol: str) -> dict[str, tuple[str, str]]:
        """Give where the devices stand that the Modbus bridge knows. Raises UnreachableError."""
        if protocol != "modbus" or protocol not in self._bridges:
            return {}
        networks = await self._bridge(protocol, "networks")
        return {name: (each.id, str(unit)) for each in networks for name, unit in each.units.items()}

    async def _tell_bridge(self, protocol: str) -> None:
        """Have the model read again now; a bridge that doesn't hear it does so within a minute."""
        try:
            await self._bridge(protocol, "reload")
        except (OpenCrateError, KeyError) as error:
            log.info("the %s bridge will see the model later: %s", protocol, error)

    async def recover(self) -> bool:
        """Finish or undo what was cut off; tells whether something is left."""
        async with self._turn:
            waiting: list[Acceptance] = await self._call("discovery", "accepting", timeout=APPLY_TIMEOUT)
            for each in waiting:
                device: DiscoveredDevice = await self._call("discovery", "get", each.device_id)
                try:
                    await self._go_on(device, each.plan, each.requested_by)
                except UnreachableError:
                    raise
                except OpenCrateError as error:
                    log.error("device %d was not accepted after all: %s", device.id, error)
                else:
                    log.info("device %d is accepted: what was cut off is finished", device.id)
        return bool(await self._call("discovery", "accepting"))

    # The loop catches, steps raise

    async def _run(self) -> None:
        fresh = True
        while True:
            try:
                if fresh:
                    for protocol in self._bridges:
                        await self._scanner.end(protocol)
                    failed = await self._call("discovery", "abandon_scans")
                    if failed:
                        log.warning("%d scans were cut off", failed)
                    fresh = False
                    self._ready.set()
                left = await self.recover()
                self._trouble = None
            except Exception as error:
                # Whatever a dead or restarting store raises: it is tried again until all is finished.
                self._trouble = f"{type(error).__name__}: {error}"[:300]
                log.error("discovery can't go on yet: %s", self._trouble)
                left = True
            if not left:
                await self._wake.wait()
                self._wake.clear()
            await asyncio.sleep(self._retry)

    async def _follow_model(self) -> None:
        """Give devices back when their nodes are deleted, and note which are bound; at the start, too."""
        await self._ready.wait()
        await self._try_model()
        if self._bus is None:
            return
        async for delivery in follow(self._bus, "discovery_engine", MOVES, site=self.site):
            if delivery.resync or delivery.low_rate():
                # A device's nodes go one by one.
                await asyncio.sleep(self._round)
                await self._try_model()

    async def _try_model(self) -> None:
        while True:
            try:
                released = await self.release_gone()
                await self.note_bound()
            except Exception as error:
                # Whatever a dead or restarting store raises: it is tried again until it is known.
                log.error("what the model has of found devices isn't known yet: %s", error)
                await asyncio.sleep(self._retry)
                continue
            if released:
                log.info("devices %s have no nodes any more and can be accepted again", released)
            return

    # Calls

    async def _call(self, store: str, method: str, *args: Any, timeout: float = CALL_TIMEOUT) -> Any:
        handle = {"discovery": self._discovery, "nodes": self._nodes, "alarms": self._alarms}[store]
        return await answered(f"{store}@{self.site}", getattr(handle, method).remote(*args), timeout)

    async def _bridge(self, protocol: str, method: str, *args: Any, timeout: float = CALL_TIMEOUT) -> Any:
        method_of = getattr(self._bridges[protocol], method)
        return await answered(f"{protocol}@{self.site}", method_of.remote(*args), timeout)
