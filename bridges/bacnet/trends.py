"""What devices have logged of their objects (Trend Log and Multiple, ASHRAE 135-2020, 12.25 and 12.30)."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, Protocol

from bacpypes3.apdu import ReadRangeACK, ReadRangeRequest
from bacpypes3.basetypes import (
    DateTime,
    LogMultipleRecord,
    LogRecord,
    Range,
    RangeByPosition,
    RangeBySequenceNumber,
    RangeByTime,
)
from bacpypes3.constructeddata import ListOf
from bacpypes3.primitivedata import Date, ObjectIdentifier, PropertyIdentifier, Time

from actors.core.values import PointValue
from bridges.bacnet.clocks import DeviceClock, from_bacnet, host_zone, to_bacnet
from bridges.bacnet.network import UNREADABLE, DeviceError
from bridges.bacnet.values import to_point, to_status

log = logging.getLogger(__name__)

PER_RECORD: Final = 36
"""Octets of a record, on the large side."""
PER_MEMBER: Final = 8
"""Octets that each further member of a Trend Log Multiple adds to a record."""
MOST_RECORDS: Final = 200_000
"""Records of one log that are read for one hole."""
_VALUES: Final = frozenset(
    {"booleanValue", "realValue", "enumValue", "unsignedValue", "signedValue", "bitstringValue"}
)

Sample = tuple[int, PointValue, int]
"""Time in ms, value, status."""


class Asks(Protocol):
    """A device that can be asked."""

    async def objects(self) -> list[str]:
        """Give its object list."""

    async def ask(self, obj: str, prop: str, index: int | None = None) -> Any:
        """Read one property. Raises BridgeError."""

    async def request(self, request: Any, expected: type) -> Any:
        """Send a request, its destination filled in; give the answer. Raises BridgeError."""

    @property
    def max_apdu(self) -> int:
        """Octets that it accepts."""


@dataclass(frozen=True, slots=True)
class Source:
    """A log of an object: `trend-log,1`, or one of the members of `trend-log-multiple,1`, from 0."""

    name: str
    place: int = 0
    members: int = 1

    @property
    def multiple(self) -> bool:
        """Whether its records have the values of several objects."""
        return self.name.startswith("trend-log-multiple,")

    def at_once(self, max_apdu: int) -> int:
        """Give how many records fit an answer."""
        return max(1, (max_apdu - 30) // (PER_RECORD + PER_MEMBER * (self.members - 1)))


@dataclass(frozen=True, slots=True)
class Logged:
    """What a log has of a time: samples in order, and from when on it knows."""

    samples: list[Sample]
    since: int
    """From this time on nothing is missing of what the log was made to keep."""


async def find_logs(device: Asks, instance: int) -> dict[str, Source]:
    """Give the logs of a device's own present values by object, one for each. Raises BridgeError."""
    found: dict[str, Source] = {}
    names = [
        each for each in await device.objects() if each.startswith(("trend-log,", "trend-log-multiple,"))
    ]
    for name in sorted(names, key=lambda each: each.startswith("trend-log-multiple,")):
        try:
            listed = await device.ask(name, "log-device-object-property")
            members = list(listed) if name.startswith("trend-log-multiple,") else [listed]
            for place, of in enumerate(members):
                theirs = of.deviceIdentifier is not None and of.deviceIdentifier[1] != instance
                if not theirs and str(of.propertyIdentifier) == "present-value":
                    found.setdefault(str(of.objectIdentifier), Source(name, place, len(members)))
        except (DeviceError, AttributeError, TypeError, LookupError) as error:
            log.info("%s of %s doesn't say of what it is: %s", name, instance, error)
    return found


async def read_clock(device: Asks, zone: tzinfo | None = None) -> DeviceClock:
    """Ask a device for its time. Raises BridgeError, also where it doesn't know it."""
    date, time = await device.ask("device", "local-date"), await device.ask("device", "local-time")
    try:
        local = from_bacnet(date, time)
    except UNREADABLE as error:
        raise DeviceError("clock", f"its clock shows no time: {error}", "decode") from error
    return DeviceClock.read(local, datetime.now(UTC), zone or host_zone())


async def read_log(
    device: Asks, log_of: Source, kind: str, start: int, end: int, clock: DeviceClock
) -> Logged:
    """Read what a log has of the time between `start` and `end` (ms, both excluded), of an object of a kind.

    By time; from a device that can't do that, all of the log by position. Raises BridgeError.
    """
    try:
        return await _by_time(device, log_of, kind, start, end, clock)
    except DeviceError as error:
        log.info("%s is read from its beginning: %s", log_of.name, error.reason)
    return await _by_position(device, log_of, kind, start, end, clock)


async def _by_time(
    device: Asks, log_of: Source, kind: str, start: int, end: int, clock: DeviceClock
) -> Logged:
    date, time = to_bacnet(clock.to_local(start))
    count = log_of.at_once(device.max_apdu)
    reference = DateTime(date=Date(date), time=Time(time))
    wanted = Range(byTime=RangeByTime(referenceTime=reference, count=count))
    samples: list[Sample] = []
    since: int | None = None
    for _ in range(MOST_RECORDS):
        answer = await _range(device, log_of.name, wanted)
        records = _records(answer, log_of)
        first, last = bool(answer.resultFlags[0]), bool(answer.resultFlags[1])
        fresh, latest = _samples(records, log_of, kind, start, end, clock)
        samples += fresh
        if since is None:
            # What is before the first record of the log is not known.
            earliest = min((at for at, _ in _times(records, clock)), default=start)
            since = max(start, earliest) if first else start
        if last or not records or latest >= end or answer.firstSequenceNumber is None:
            break
        after = int(answer.firstSequenceNumber) + len(records)
        wanted = Range(bySequenceNumber=RangeBySequenceNumber(referenceSequenceNumber=after, count=count))
    return Logged(sorted(samples), start if since is None else since)


async def _by_position(
    device: Asks, log_of: Source, kind: str, start: int, end: int, clock: DeviceClock
) -> Logged:
    count = log_of.at_once(device.max_apdu)
    samples: list[Sample] = []
    since, position = end, 1
    while position <= MOST_RECORDS:
        wanted = Range(byPosition=RangeByPosition(referenceIndex=position, count=count))
        answer = await _range(device, log_of.name, wanted)
        records = _records(answer, log_of)
        fresh, latest = _samples(records, log_of, kind, start, end, clock)
        samples += fresh
        since = min([since, *(at for at, _ in _times(records, clock))])
        if bool(answer.resultFlags[1]) or not records or latest >= end:
            break
        position += len(records)
    return Logged(sorted(samples), max(start, since))


async def _range(device: Asks, name: str, wanted: Range) -> Any:
    request = ReadRangeRequest(
        objectIdentifier=ObjectIdentifier(name), propertyIdentifier=PropertyIdentifier("log-buffer")
    )
    request.range = wanted
    return await device.request(request, ReadRangeACK)


def _records(answer: Any, log_of: Source) -> list[Any]:
    try:
        if not answer.itemCount:
            return []
        return list(answer.itemData.cast_out(ListOf(LogMultipleRecord if log_of.multiple else LogRecord)))
    except UNREADABLE as error:
        raise DeviceError("log", f"records that can't be read: {error}"[:200], "decode") from error


def _times(records: list[Any], clock: DeviceClock) -> Iterator[tuple[int, Any]]:
    for record in records:
        try:
            yield clock.to_ms(from_bacnet(record.timestamp.date, record.timestamp.time)), record
        except UNREADABLE:
            continue  # a time that is no time: nothing can be made of this record


def _samples(
    records: list[Any], log_of: Source, kind: str, start: int, end: int, clock: DeviceClock
) -> tuple[list[Sample], int]:
    """Give the samples among records, and the time of the last record."""
    found: list[Sample] = []
    latest = start
    for at, record in _times(records, clock):
        latest = max(latest, at)
        datum = _datum(record, log_of)
        choice = getattr(datum, "_choice", None)
        if choice not in _VALUES or not start < at < end:
            continue
        value, fault = to_point(kind, getattr(datum, choice))
        if value is not None and not fault:
            found.append((at, value, to_status(getattr(record, "statusFlags", None))))
    return found, latest


def _datum(record: Any, log_of: Source) -> Any:
    """Give a record's value of the object that is meant; None where it has none, such as of a log's start."""
    if not log_of.multiple:
        return record.logDatum
    values = list(record.logData.logData or ())
    return values[log_of.place] if log_of.place < len(values) else None
