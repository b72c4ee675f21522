"""How commissioning reaches the actors of a site and its devices, and notes what it has done."""

from collections.abc import Mapping
from typing import Any, Final

from actors.commissioning.models import CheckStep, ItemState, NewCheck
from actors.core.clock import Clock
from actors.core.errors import ConflictError, OpenCrateError, UnreachableError
from actors.core.remote import answered
from actors.core.values import PointValue
from actors.node.models import Node
from actors.override.logic import protocol_of

CALL_TIMEOUT: Final = 10.0
DEVICE_TIMEOUT: Final = 35.0


class Steps:
    """What was done to verify an item, as it goes along."""

    def __init__(self, clock: Clock) -> None:
        """Begin with nothing done."""
        self._clock = clock
        self.all: list[CheckStep] = []

    def add(self, what: str, value: PointValue | None = None, *, ok: bool = True) -> None:
        """Note one thing that was done."""
        self.all.append(CheckStep(what=what[:500], value=value, ok=ok, at=self._clock()))

    def check(self, good: str) -> NewCheck:
        """Sum it up: what went wrong, else what is good."""
        bad = [each.what for each in self.all if not each.ok]
        state = ItemState.FAILED if bad else ItemState.VERIFIED
        return NewCheck(state=state, summary="; ".join(bad) if bad else good, steps=self.all)


class Reach:
    """The actors of a site, and the devices behind its bridges."""

    def __init__(self, site: str, handles: Mapping[str, Any], bridges: Mapping[str, Any]) -> None:
        """Take handles by name, and bridges by protocol."""
        self.site, self._handles, self._bridges = site, handles, dict(bridges)

    async def call(self, actor: str, method: str, *args: Any, timeout: float = CALL_TIMEOUT) -> Any:
        """Call an actor by its name. Raises what it raises, and UnreachableError."""
        call = getattr(self._handles[actor], method).remote(*args)
        return await answered(f"{actor}@{self.site}", call, timeout)

    async def try_read(self, node: Node, steps: Steps, what: str) -> PointValue | None:
        """Read a point from its device; a device that doesn't answer is a step that failed."""
        try:
            value = await self.read(node)
        except OpenCrateError as error:
            self.is_the_device(error, node)
            steps.add(f"{what}: {error}", ok=False)
            return None
        steps.add(f"{what} from the device", value)
        return value

    async def read(self, node: Node) -> PointValue | None:
        """Read a point from its device now. Raises what the bridge raises."""
        protocol = protocol_of(node)
        if protocol == "virtual":
            return (await self.present(node.id))[0]
        if protocol not in self._bridges:
            raise ConflictError("point", node.id, f"this site has no {protocol} network")
        read = self._bridges[protocol].read.remote(node.id)
        value: PointValue | None = await answered(f"{protocol}@{self.site}", read, DEVICE_TIMEOUT)
        return value

    def is_the_device(self, error: OpenCrateError, node: Node) -> None:
        """Raise what isn't the device's fault: an actor that doesn't answer."""
        if isinstance(error, UnreachableError) and error.what.endswith(f"@{self.site}"):
            raise error

    async def present(self, point_id: str) -> tuple[PointValue | None, int]:
        """Give a point's last known value and its status flags."""
        rows = await self.call("points", "snapshot", [point_id])
        return (rows[0][1], rows[0][2]) if rows else (None, 0)


def shown(value: PointValue | None) -> str:
    """Write a value in a sentence."""
    return "nothing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
