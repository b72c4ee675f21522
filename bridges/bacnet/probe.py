"""Looking at what is on a network: who is there, and what each device says of itself and its objects.

Only when somebody asks. What one device or object refuses is noted with its reason and keeps no other back.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from bacpypes3.basetypes import ErrorType, ServicesSupported
from pydantic import BaseModel

from actors.core.errors import BridgeError
from actors.core.values import PointValue
from actors.discovery.models import FoundDevice, FoundPoint
from bridges.bacnet.kinds import BINARY, MULTI_STATE, OUTPUTS, READ_ONLY, carries_value
from bridges.bacnet.network import Announced, DeviceError, Network
from bridges.bacnet.scale import SCALED, scaled, to_factor
from bridges.bacnet.values import is_no_such, reason, state_texts, to_point, to_text
from bridges.tasks import end

log = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Devices of one network that are looked at side by side; polling goes on meanwhile."""
PER_OBJECT: Final = 180
"""Octets that an answer has for an object's properties, on the large side."""
PER_ELEMENT: Final = 13
"""Octets that an answer has for an element of the object list."""
LARGEST_GROUP: Final = 20
MOST_OBJECTS: Final = 20_000
"""Objects of one device that are looked at."""
WAIT: Final = 3.0
"""Seconds that devices get to say that they are there, for each of two calls."""
COMMANDABLE: Final = "priority-array[1]"
_DEVICE: Final = (
    "object-name",
    "vendor-name",
    "model-name",
    "firmware-revision",
    "application-software-version",
    "description",
    "location",
    "protocol-services-supported",
)


class Progress(BaseModel):
    """How far a scan has come."""

    devices: int = 0
    """Devices that have said that they are there."""
    devices_done: int = 0
    points: int = 0

    @property
    def part(self) -> float:
        """Part that is done, 0 to 1."""
        return self.devices_done / self.devices if self.devices else 0.0


class Finding(BaseModel):
    """A device as it tells of itself, with what the model of found devices has no room for."""

    device: FoundDevice
    vendor_id: int
    max_apdu: int
    segmentation: str
    software: str = ""
    description: str = ""
    location: str = ""
    services: list[str] = []
    """What it says it can do, such as `read-property-multiple`."""
    other_objects: dict[str, int] = {}
    """How many objects it has of types that no point can be bound to, such as `trend-log`."""
    commandable: list[str] = []
    """Keys of points that have a priority array."""
    states: dict[str, list[str]] = {}
    """Texts of the states of binary and multi-state points, by key."""
    errors: dict[str, str] = {}
    """Why something is missing: by point key, `object-list`, or `device`."""


class Findings(BaseModel):
    """What a scan has found."""

    devices: list[Finding] = []
    errors: dict[str, str] = {}
    """Networks that could not be looked at, and why."""
    cancelled: bool = False


Told = Callable[[Progress], None]


class Probe:
    """One scan of some networks side by side."""

    def __init__(self, networks: Sequence[Network], low: int, high: int, told: Told, wait: float) -> None:
        """Ask for instances from `low` to `high`; `told` hears of each step."""
        self._networks, self._low, self._high = networks, low, high
        self._told, self._wait = told, wait
        self.progress = Progress()
        self.found = Findings()
        self._task: asyncio.Task[None] | None = None

    async def run(self, known: Callable[[str], Iterable[str]] = lambda network: ()) -> Findings:
        """Scan; `known` gives addresses on a network that are asked directly too.

        After `cancel`, give what was found until then.
        """
        self._task = asyncio.create_task(self._scan(known))
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if not self._task.cancelled():
                await end([self._task])
                raise
            self.found.cancelled = True
        return self.found

    def cancel(self) -> None:
        """End the scan; `run` gives what was found until now."""
        if self._task is not None:
            self._task.cancel()

    async def _scan(self, known: Callable[[str], Iterable[str]]) -> None:
        async with asyncio.TaskGroup() as group:
            for network in self._networks:
                group.create_task(self._network(network, known))

    async def _network(self, network: Network, known: Callable[[str], Iterable[str]]) -> None:
        if not network.is_open:
            self.found.errors[network.config.id] = network.trouble or "it is not open"
            return
        there: dict[tuple[int, str], Announced] = {}
        # Twice: a broadcast and its answers get lost where many answer at once.
        for _ in range(2):
            for each in await network.who_is(self._low, self._high, self._wait):
                there[each.instance, each.address] = each
        answered = {address for _, address in there}
        missing = [each for each in known(network.config.id) if each not in answered]
        for answers in await asyncio.gather(
            *(network.who_is(self._low, self._high, self._wait, address=each, first=True) for each in missing)
        ):
            there |= {(each.instance, each.address): each for each in answers}
        self.progress.devices += len(there)
        self._told(self.progress)
        turns = asyncio.Semaphore(AT_ONCE)

        async def look(each: Announced) -> None:
            async with turns:
                finding = await Look(network, each).finding()
            self.found.devices.append(finding)
            self.progress.devices_done += 1
            self.progress.points += len(finding.device.points or ())
            self._told(self.progress)

        async with asyncio.TaskGroup() as group:
            for each in there.values():
                group.create_task(look(each))


class Look:
    """Ask one device for what it is and has."""

    def __init__(self, network: Network, there: Announced) -> None:
        """Ask nothing yet."""
        self._network, self._there = network, there
        self._multiple = True
        self._largest = there.max_apdu
        self._errors: dict[str, str] = {}

    async def finding(self) -> Finding:
        """Give what the device tells; what is missing is among its errors."""
        there = self._there
        device = FoundDevice(
            network_id=self._network.config.id,
            protocol="bacnet",
            device_key=str(there.instance),
            address=there.address,
        )
        finding = Finding(
            device=device, vendor_id=there.vendor, max_apdu=there.max_apdu, segmentation=there.segmentation
        )
        try:
            await self._itself(finding)
            await self._objects(finding)
        except BridgeError as error:
            self._errors["device"] = error.reason
        except Exception as error:
            # One device that says what nobody expected must not end the scan of all others.
            log.exception("%s can't be looked at", there.instance)
            self._errors["device"] = f"{type(error).__name__}: {error}"[:200]
        finding.errors = self._errors
        _complete(finding)
        return finding

    async def _itself(self, finding: Finding) -> None:
        name = f"device,{self._there.instance}"
        told = (await self._ask({name: _DEVICE}))[name]
        device = finding.device
        device.name = to_text(told.get("object-name"))
        device.vendor, device.model = to_text(told.get("vendor-name")), to_text(told.get("model-name"))
        device.firmware = to_text(told.get("firmware-revision"))
        finding.software = to_text(told.get("application-software-version"))
        finding.description, finding.location = (
            to_text(told.get("description")),
            to_text(told.get("location")),
        )
        services = told.get("protocol-services-supported")
        if isinstance(services, ServicesSupported):
            finding.services = [each for each in str(services).split(";") if each]
            self._multiple = "read-property-multiple" in finding.services or self._multiple

    async def _objects(self, finding: Finding) -> None:
        try:
            listed = await self._list()
        except DeviceError as error:
            self._errors["object-list"] = error.reason
            return
        kept = [name for name in dict.fromkeys(listed) if carries_value(name.partition(",")[0])]
        kinds = Counter(name.partition(",")[0] for name in dict.fromkeys(listed))
        finding.other_objects = {
            kind: count for kind, count in kinds.items() if not carries_value(kind) and kind != "device"
        }
        if len(kept) > MOST_OBJECTS:
            self._errors["object-list"] = f"{len(kept)} objects, of which {MOST_OBJECTS} were looked at"
            kept = kept[:MOST_OBJECTS]
        told = await self._ask({name: _properties(name.partition(",")[0]) for name in kept})
        finding.device.points = [self._point(finding, name, told[name]) for name in kept]

    def _point(self, finding: Finding, name: str, told: dict[str, Any]) -> FoundPoint:
        kind, key = name.partition(",")[0], name.replace(",", "-")
        raw = told.get("present-value")
        value, fault = to_point(kind, raw)
        if kind in SCALED and value is not None:
            value = _in_units(value, told.get("scale"))
        if fault and key not in self._errors:
            self._errors[key] = reason(raw)
        commandable = COMMANDABLE in told and not _is_missing(told[COMMANDABLE])
        if commandable:
            finding.commandable.append(key)
        texts = told.get("state-text")
        if kind in BINARY:
            texts = [told.get("inactive-text"), told.get("active-text")]
        if isinstance(texts, list) and (states := state_texts(kind, texts)):
            finding.states[key] = states
        return FoundPoint(
            point_key=key,
            name=to_text(told.get("object-name")),
            description=to_text(told.get("description")),
            kind=kind,
            units=to_text(told.get("units"), 64) or None,
            value=value,
            writable=commandable or kind in OUTPUTS or (kind.endswith("-value") and kind not in READ_ONLY),
        )

    async def _list(self) -> list[str]:
        """Give the object list: whole, else some elements at once, else one by one."""
        name = f"device,{self._there.instance}"
        try:
            return [str(each) for each in await self._read(name, "object-list")]
        except DeviceError as error:
            log.info("%s gives its object list in parts: %s", self._there.instance, error.reason)
        count = int(await self._read(name, "object-list", 0))
        count = min(count, MOST_OBJECTS)
        listed: list[str] = []
        step = max(1, (self._largest - 20) // PER_ELEMENT)
        for start in range(1, count + 1, step):
            wanted = [f"object-list[{index}]" for index in range(start, min(start + step, count + 1))]
            told = (await self._ask({name: wanted}))[name]
            listed += [str(each) for each in told.values() if not isinstance(each, ErrorType)]
        return listed

    async def _ask(self, wanted: dict[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
        """Read properties of objects, many at once where the device can; what it refuses is an ErrorType."""
        told: dict[str, dict[str, Any]] = {name: {} for name in wanted}
        names = list(wanted)
        while names:
            step = min(LARGEST_GROUP, max(1, (self._largest - 10) // PER_OBJECT)) if self._multiple else 1
            part, names = names[:step], names[step:]
            await self._part({name: wanted[name] for name in part}, told)
        return told

    async def _part(self, wanted: dict[str, Sequence[str]], told: dict[str, dict[str, Any]]) -> None:
        if not self._multiple:
            for name, props in wanted.items():
                await self._one_by_one(name, props, told)
            return
        try:
            found = await self._network.read_many(
                str(self._there.instance), self._there.address, list(wanted.items())
            )
        except DeviceError as error:
            if error.kind == "reject" and "unrecognized-service" in error.reason:
                self._multiple = False
            elif error.kind == "abort" and len(wanted) > 1:
                self._largest = max(50, self._largest // 2)
            for half in _halves(wanted):
                if half is wanted:
                    [(name, props)] = wanted.items()
                    await self._one_by_one(name, props, told)
                else:
                    await self._part(half, told)
            return
        for (name, prop), value in found.items():
            if name in told:
                told[name][prop] = value

    async def _one_by_one(self, name: str, props: Sequence[str], told: dict[str, dict[str, Any]]) -> None:
        for prop in props:
            plain, _, index = prop.partition("[")
            try:
                told[name][prop] = await self._read(name, plain, int(index[:-1]) if index else None)
            except DeviceError as error:
                told[name][prop] = ErrorType(errorClass="property", errorCode="other")
                if is_no_such(error.reason):
                    del told[name][prop]
                elif prop == "present-value":
                    self._errors[name.replace(",", "-")] = error.reason

    async def _read(self, name: str, prop: str, index: int | None = None) -> Any:
        return await self._network.read(str(self._there.instance), self._there.address, name, prop, index)


def _complete(finding: Finding) -> None:
    """Give the device and its points what they have room for of all that was told."""
    device, errors = finding.device, finding.errors
    device.description, device.location = finding.description, finding.location
    device.errors = {what: errors[what] for what in ("device", "object-list") if what in errors}
    for point in device.points or ():
        point.states = finding.states.get(point.point_key, [])
        point.error = errors.get(point.point_key, "")


def _halves(wanted: dict[str, Sequence[str]]) -> list[dict[str, Sequence[str]]]:
    if len(wanted) == 1:
        return [wanted]
    items = list(wanted.items())
    half = len(items) // 2
    return [dict(items[:half]), dict(items[half:])]


def _properties(kind: str) -> tuple[str, ...]:
    props = ["object-name", "description", "present-value"]
    if kind in BINARY:
        props += ["active-text", "inactive-text"]
    elif kind in MULTI_STATE:
        props.append("state-text")
    elif kind not in READ_ONLY:
        props.append("units")
    if kind in SCALED:
        props.append("scale")
    if not kind.endswith("-input"):
        props.append(COMMANDABLE)
    return tuple(props)


def _in_units(value: PointValue, scale: Any) -> PointValue | None:
    if scale is None or _is_missing(scale):
        return value
    try:
        return scaled(value, to_factor(scale))
    except ValueError:
        return None


def _is_missing(value: Any) -> bool:
    """Tell whether an object has no such property; one that can't be read for another reason is there."""
    return isinstance(value, ErrorType) and is_no_such(str(value.errorCode))
