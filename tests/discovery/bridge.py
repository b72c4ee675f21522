"""A bridge that finds what it is told to."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace

from actors.core.errors import BadInputError
from actors.discovery.models import FoundDevice, FoundPoint


@dataclass
class Finding:
    device: FoundDevice


@dataclass
class Findings:
    devices: list[Finding] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    cancelled: bool = False


@dataclass
class Progress:
    part: float


class FakeBridge:
    """Finds the devices that are put into it, until it is told that there are no more."""

    def __init__(self) -> None:
        self.found = Findings()
        self.over = asyncio.Event()
        self.asked: list[tuple[list[str], int, int]] = []
        self.fails: Exception | None = None
        self.reloads = 0
        self.runs = False
        self.units: dict[str, dict[str, int]] = {}
        """By network, the units of devices that the bridge knows."""
        self.profiles: dict[str, list[FoundPoint]] = {}

    async def scan(self, networks: list[str], low: int, high: int) -> Findings:
        self.asked.append((networks, low, high))
        self.runs = True
        try:
            await self.over.wait()
        finally:
            self.runs = False
        if self.fails:
            raise self.fails
        return self.found

    async def scan_progress(self) -> Progress:
        return Progress(0.5)

    async def scan_found(self, after: int) -> list[Finding]:
        return self.found.devices[after:]

    async def cancel_scan(self) -> bool:
        if not self.runs:
            return False
        self.found.cancelled = True
        self.over.set()
        return True

    async def networks(self) -> list[SimpleNamespace]:
        if self.fails:
            raise self.fails
        return [SimpleNamespace(id=network, units=units) for network, units in self.units.items()]

    async def profile_points(self, name: str) -> list[FoundPoint]:
        if name not in self.profiles:
            raise BadInputError("profile", name, "one of " + ", ".join(self.profiles))
        return self.profiles[name]

    async def reload(self) -> None:
        self.reloads += 1
