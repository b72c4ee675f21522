"""Which units there are on a Modbus network: one small question to each id, when somebody asks for it."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final

from pydantic import BaseModel

from actors.core.errors import BadInputError
from actors.discovery.models import FoundDevice, FoundPoint
from bridges.checks import point_key
from bridges.config import PointProfile, Profile
from bridges.modbus.binding import check_unit
from bridges.modbus.client import ModbusLine, NoAnswerError, NotConnectedError, RefusedError
from bridges.modbus.matching import Place, by_identity, by_registers, places
from bridges.modbus.registers import RegisterType
from bridges.modbus.services import Identity, identify
from bridges.model import is_writable

UNITS: Final = range(1, 248)
"""Ids that a unit may have (MODBUS over Serial Line V1.02, 2.2)."""
TIMEOUT: Final = 0.5
"""Seconds that a unit gets for its answer; most have no unit behind them, and cost all of it."""
IDENTITY_TIMEOUT: Final = 1.0
UNLIKELY: Final = (233, 239, 241)
"""Ids that hardly anybody gives: a TCP device that answers to all of them doesn't look at the id."""
NOBODY: Final = frozenset({10, 11})
"""Exceptions of a gateway behind which there is no such unit."""
_FAILURE: Final = 4
"""What some servers say for a unit that they don't have, and some units for a register."""
_QUESTIONS: Final[tuple[RegisterType, ...]] = ("holding", "input")


class ProbeStep(BaseModel):
    """How far a probe has come, and what it found last."""

    done: int
    """Ids that are done, of `total`."""
    total: int
    unit: int | None = None
    """The id that was asked last."""
    found: FoundDevice | None = None
    profile: str | None = None
    """Name of the profile that fits what was found."""
    note: str | None = None
    """What else there is to say, such as that a device answers to every id."""


def wanted_units(units: Iterable[int] | None) -> list[int]:
    """Give the ids to ask, each once, in order; all of 1 to 247 if none are named. Raises BadInputError."""
    if units is None:
        return list(UNITS)
    named = list(units)
    for each in named:
        check_unit(each)
    if not named:
        raise BadInputError("units", named, "at least one unit id")
    return sorted(set(named))


class Probe:
    """A probe of one network; `run` is to be iterated, and ends early when it is closed or cancelled.

    The line is had for one question at a time, so that polling goes on meanwhile.
    """

    def __init__(
        self,
        line: ModbusLine,
        units: Sequence[int],
        known: Mapping[int, str],
        profiles: Sequence[Profile],
        timeout: float = TIMEOUT,
    ) -> None:
        """`known` gives the ids of configured devices by unit; `profiles` are tried on what is found."""
        self._line, self._units, self._known, self._timeout = line, units, known, timeout
        self._profiles = [each for each in profiles if each.protocol == "modbus"]

    async def run(self) -> AsyncIterator[ProbeStep]:
        """Ask each id. Raises NotConnectedError when there is no connection to ask over."""
        units, note = list(self._units), None
        if self._line.config.transport == "tcp" and len(units) > len(UNLIKELY) and await self._any_id():
            units = [each for each in self._known if each in units] or units[:1]
            note = "it answers to every unit id: one device, not many"
        for done, unit in enumerate(units, start=1):
            step = ProbeStep(done=done, total=len(units), unit=unit)
            if await self._is_there(unit):
                step.found, step.profile = await self._describe(unit)
                step.note = note
            yield step

    async def _any_id(self) -> bool:
        for unit in UNLIKELY:
            if unit in self._known or not await self._is_there(unit):
                return False
        return True

    async def _is_there(self, unit: int) -> bool:
        """Tell whether a unit answers; an exception is an answer, unless a gateway gives it."""
        for kind in _QUESTIONS:
            try:
                async with self._line.turn(unit, doubtful=True):
                    await self._line.read(unit, kind, 0, 1, self._timeout, silence_counts=False)
            except NotConnectedError:
                raise
            except NoAnswerError:
                return False
            except RefusedError as error:
                if error.code in NOBODY:
                    return False
                if error.code == _FAILURE:
                    continue
            return True
        return False

    async def _describe(self, unit: int) -> tuple[FoundDevice, str | None]:
        identity = Identity()
        try:
            if not self._line.loses_step:
                async with self._line.turn(unit):
                    identity = await identify(self._line, unit, max(self._timeout, IDENTITY_TIMEOUT))
        except (RefusedError, NoAnswerError):
            # Most devices don't know the question, and some answer nothing more after it.
            if not await self._is_there(unit):
                self._line.lost_step("it was there before")
        profile = by_identity(self._profiles, identity) or await self._by_registers(unit)
        found = FoundDevice(
            network_id=self._line.config.id,
            protocol="modbus",
            device_key=self._known.get(unit, str(unit)),
            address=f"{self._line.address} unit {unit}",
            name=identity.application or identity.product,
            vendor=identity.vendor or (profile.vendor or "" if profile else ""),
            model=identity.model or identity.product_code or (profile.model or "" if profile else ""),
            firmware=identity.revision,
            points=[_point(each) for each in profile.points] if profile else None,
        )
        return found, profile.profile if profile else None

    async def _by_registers(self, unit: int) -> Profile | None:
        words: dict[Place, int] = {}
        for kind, address in places(self._profiles):
            try:
                async with self._line.turn(unit):
                    (words[kind, address],) = await self._line.read(unit, kind, address, 1, self._timeout)
            except RefusedError:
                continue
            except NoAnswerError:
                # It answered a moment ago: a unit that meets an unknown register with silence.
                break
        return by_registers(self._profiles, words)


def _point(point: PointProfile) -> FoundPoint:
    """Tell of a point as the profile has it; its value is read once it is accepted."""
    return FoundPoint(
        point_key=point_key(point),
        name=point.dis or point_key(point),
        description=point.description or f"{point.register} {point.address}",
        kind=point.register or "",
        units=point.units,
        writable=is_writable(point),
    )
