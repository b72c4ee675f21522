"""A scan of Modbus networks side by side: every unit id of each is asked, when somebody asks for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

from pydantic import BaseModel

from actors.core.errors import ConflictError, OpenCrateError
from actors.discovery.models import FoundDevice, FoundPoint
from bridges.config import ModbusDevice, Profile
from bridges.found import found_points, profile_points
from bridges.modbus.probe import ProbeStep, wanted_units
from bridges.modbus.tools import UnitTools
from bridges.profiles import shipped_profiles

Asked = Callable[[str, Sequence[int]], AsyncIterator[ProbeStep]]
"""Asks unit ids of a network, a step per id."""


class Progress(BaseModel):
    """How far a scan has come."""

    parts: dict[str, float] = {}
    """Part of each network that is done, 0 to 1."""

    @property
    def part(self) -> float:
        """Part of the whole that is done, 0 to 1."""
        return sum(self.parts.values()) / len(self.parts) if self.parts else 0.0


class Finding(BaseModel):
    """A unit that answered."""

    device: FoundDevice


class Findings(BaseModel):
    """What a scan has found."""

    devices: list[Finding] = []
    errors: dict[str, str] = {}
    """Networks that could not be asked, and why."""
    cancelled: bool = False


class Scan:
    """One scan of some networks."""

    def __init__(self, ask: Asked, configured: Collection[str]) -> None:
        """`configured` are ids of devices that a file names; others are known by their unit id."""
        self._ask, self._configured = ask, configured
        self._profiles: dict[str, Profile] = {}
        self.progress, self.found = Progress(), Findings()

    async def run(
        self, networks: Sequence[str], units: Sequence[int], profiles: Sequence[Profile]
    ) -> Findings:
        """Ask; `profiles` give what fits its points. After `cancel`, give what was found until then."""
        self._profiles = {each.profile: each for each in profiles}
        self.progress.parts = dict.fromkeys(networks, 0.0)
        async with asyncio.TaskGroup() as group:
            for network in networks:
                group.create_task(self._network(network, units))
        return self.found

    def cancel(self) -> None:
        """End before the next unit id."""
        self.found.cancelled = True

    async def _network(self, network: str, units: Sequence[int]) -> None:
        try:
            steps = self._ask(network, units)
            async with contextlib.aclosing(steps):  # type: ignore[type-var]
                while not self.found.cancelled:
                    step = await anext(steps, None)
                    if step is None:
                        break
                    self._take(step)
                    self.progress.parts[network] = step.done / step.total
        except OpenCrateError as error:
            self.found.errors[network] = str(error)

    def _take(self, step: ProbeStep) -> None:
        if step.found is None or step.unit is None:
            return
        device = step.found
        profile = self._profiles.get(step.profile or "")
        binding = {"network_id": device.network_id, "unit": step.unit}
        if profile is not None:
            limits = {"max_registers": profile.max_registers, "max_gap": profile.max_gap}
            binding |= {name: value for name, value in limits.items() if value is not None}
        update = {
            "device_key": device.device_key if device.device_key in self._configured else str(step.unit),
            "profile": step.profile or "",
            "note": step.note or "",
            "binding": binding,
            "points": None if profile is None else found_points(profile),
        }
        self.found.devices.append(Finding(device=device.model_copy(update=update)))


class UnitScans(UnitTools):
    """The part of the bridge that scans for the discovery engine; polling goes on meanwhile."""

    site: str
    _configured: Mapping[str, ModbusDevice]
    _scan: Scan | None = None

    async def scan(self, networks: Sequence[str], low: int, high: int) -> Findings:
        """Ask the unit ids from `low` to `high` of some networks, side by side, and give what was found.

        `cancel_scan` makes it give what it has found until then. Raises NotFoundError for a network,
        BadInputError for a unit id, and ConflictError while another scan runs.
        """
        units = wanted_units(range(low, high + 1))
        for network_id in networks:
            self._line(network_id)
        if self._scan is not None:
            raise ConflictError("scan", self.site, "one is running; wait for it or cancel it")
        self._scan = scan = Scan(self.probe, self._configured)
        try:
            profiles = await asyncio.to_thread(shipped_profiles, "modbus")
            return await scan.run(networks, units, profiles)
        finally:
            self._scan = None

    async def scan_progress(self) -> Progress | None:
        """Say how far the scan has come; None: none runs."""
        return self._scan.progress.model_copy(deep=True) if self._scan is not None else None

    async def scan_found(self, after: int) -> list[Finding]:
        """Give what the scan that runs has found, but for the first `after`."""
        return self._scan.found.devices[after:] if self._scan is not None else []

    async def cancel_scan(self) -> bool:
        """End the scan that runs; say whether there was one."""
        if self._scan is None:
            return False
        self._scan.cancel()
        return True

    async def profile_points(self, name: str) -> list[FoundPoint]:
        """Give the points of a profile that comes with the program. Raises BadInputError."""
        return await profile_points("modbus", name)
