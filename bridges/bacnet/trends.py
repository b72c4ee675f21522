"""What devices have logged of their own objects (Trend Log, ASHRAE 135-2020, 12.25)."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, Protocol

from bacpypes3.apdu import ReadRangeACK, ReadRangeRequest
from bacpypes3.basetypes import (
    DateTime,
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
class Logged:
    """What a log has of a time: samples in order, and from when on it knows."""

    samples: list[Sample]
    since: int
    """From this time on nothing is missing of what the log was made to keep."""


async def find_logs(device: Asks, instance: int) -> dict[str, str]:
    """Give the logs of a device's own present values: the log's name by the object's. Raises BridgeError."""
    found: dict[str, str] = {}
    for name in await device.objects():
        if not name.startswith("trend-log,"):
            continue
        try:
            of = await device.ask(name, "log-device-object-property")
            theirs = of.deviceIdentifier is not None and of.deviceIdentifier[1] != instance
            if theirs or str(of.propertyIdentifier) != "present-value":
                continue
            found.setdefault(str(of.objectIdentifier), name)
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


async def read_log(device: Asks, name: str, kind: str, start: int, end: int, clock: DeviceClock) -> Logged:
    """Read what a log has of the time between `start` and `end` (ms, both excluded), of an object of a kind.

    By time; from a device that can't do that, all of the log by position. Raises BridgeError.
    """
    try:
        return await _by_time(device, name, kind, start, end, clock)
    except DeviceError as error:
        log.info("%s is read from its beginning: %s", name, error.reason)
    return await _by_position(device, name, kind, start, end, clock)


async def _by_time(device: Asks, name: str, kind: str, start: int, end: int, clock: DeviceClock) -> Logged:
    date, time = to_bacnet(clock.to_local(start))
    count = max(1, (device.max_apdu - 30) // PER_RECORD)
    reference = DateTime(date=Date(date), time=Time(time))
    wanted = Range(byTime=RangeByTime(referenceTime=reference, count=count))
    samples: list[Sample] = []
    since: int | None = None
    for _ in range(MOST_RECORDS):
        answer = await _range(device, name, wanted)
        records = _records(answer)
        first, last = bool(answer.resultFlags[0]), bool(answer.resultFlags[1])
        fresh, latest = _samples(records, kind, start, end, clock)
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
    device: Asks, name: str, kind: str, start: int, end: int, clock: DeviceClock
) -> Logged:
    count = max(1, (device.max_apdu - 30) // PER_RECORD)
    samples: list[Sample] = []
    since, position = end, 1
    while position <= MOST_RECORDS:
        wanted = Range(byPosition=RangeByPosition(referenceIndex=position, count=count))
        answer = await _range(device, name, wanted)
        records = _records(answer)
        fresh, latest = _samples(records, kind, start, end, clock)
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


def _records(answer: Any) -> list[Any]:
    try:
        if not answer.itemCount:
            return []
        return list(answer.itemData.cast_out(ListOf(LogRecord)))
    except UNREADABLE as error:
        raise DeviceError("log", f"records that can't be read: {error}"[:200], "decode") from error


def _times(records: list[Any], clock: DeviceClock) -> Iterator[tuple[int, Any]]:
    for record in records:
        try:
            yield clock.to_ms(from_bacnet(record.timestamp.date, record.timestamp.time)), record
        except UNREADABLE:
            continue  # a time that is no time: nothing can be made of this record


def _samples(
    records: list[Any], kind: str, start: int, end: int, clock: DeviceClock
) -> tuple[list[Sample], int]:
    """Give the samples among records, and the time of the last record."""
    found: list[Sample] = []
    latest = start
    for at, record in _times(records, clock):
        latest = max(latest, at)
        choice = getattr(record.logDatum, "_choice", None)
        if choice not in _VALUES or not start < at < end:
            continue
        raw = getattr(record.logDatum, choice)
        value, fault = to_point(kind, raw)
        if value is not None and not fault:
            found.append((at, value, to_status(record.statusFlags)))
    return found, latest
