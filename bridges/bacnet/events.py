"""What devices say of their events, and what that makes of what is known (ASHRAE 135-2020, 13.2 to 13.9).

Pure but for the library's types. What is known of one object is a dict of texts, kept with its alarm: `state`
(`high-limit`), `offnormal` (the last such state), per transition its time stamp (`to-offnormal`), `acked` and
`asks` with a digit per transition: whether it is acknowledged, and whether that is asked for.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bacpypes3.basetypes import DateTime, TimeStamp
from bacpypes3.primitivedata import Date, Time, Unsigned

from actors.alarm.models import Severity
from actors.core.values import PointValue
from bridges.bacnet.clocks import from_bacnet
from bridges.bacnet.values import to_text
from bridges.numbers import shortest

TRANSITIONS: Final = ("to-offnormal", "to-fault", "to-normal")
ALL: Final = "111"
_SEQUENCES: Final = 65536
_LEAST: Final = 255
"""The least urgent priority."""
_OPEN: Final = 255
"""What stands for an unspecified part of a date or a time."""
_LARGEST: Final = 2**53
"""Whole numbers up to this are exact for whoever reads JSON."""
_URGENT: Final = ((63, Severity.CRITICAL), (127, Severity.HIGH), (191, Severity.MEDIUM))
"""Priorities up to which an event is so severe (ASHRAE 135-2020, annex M: life safety first)."""
LONGEST_TEXT: Final = 300

Detail = dict[str, str]


@dataclass(frozen=True, slots=True)
class Notification:
    """A change of an event state that a device tells of, or (`is_ack`) that somebody has acknowledged one."""

    device: int
    object: str
    state: str
    before: str | None
    stamp: str
    priority: int
    text: str
    is_ack: bool
    asks: bool
    value: PointValue | None


@dataclass(frozen=True, slots=True)
class Said:
    """How an object's events stand, as its device says when it is asked; None: it doesn't say."""

    object: str
    state: str
    acked: str
    stamps: tuple[str, ...] | None = None
    priorities: tuple[int, ...] | None = None


def transition(state: str) -> int:
    """Give the place of the transition that leads to a state among TRANSITIONS."""
    return {"normal": 2, "fault": 1}.get(state, 0)


def severity(priority: int) -> Severity:
    """Give the severity of an event's priority, from 0 (life safety) to 255."""
    return next((severity for most, severity in _URGENT if priority <= most), Severity.LOW)


def words(name: str, state: str, text: str = "") -> str:
    """Say what is wrong: in the device's own words where it gave any."""
    return text or f"{name}: {state.replace('-', ' ')}"


def read_notification(apdu: Any) -> Notification:
    """Read a notification. Raises one of UNREADABLE for what makes no sense."""
    kind, instance = apdu.initiatingDeviceIdentifier
    if str(kind) != "device":
        raise ValueError(f"an event of {kind},{instance}")
    is_ack = str(apdu.notifyType) == "ack-notification"
    return Notification(
        device=int(instance),
        object=str(apdu.eventObjectIdentifier),
        state=str(apdu.toState),
        before=None if apdu.fromState is None else str(apdu.fromState),
        stamp=from_stamp(apdu.timeStamp),
        priority=_priority(apdu.priority),
        text=to_text(apdu.messageText, LONGEST_TEXT),
        is_ack=is_ack,
        asks=bool(apdu.ackRequired),
        value=None if is_ack else _value(apdu.eventValues),
    )


def read_summary(each: Any) -> Said:
    """Read an entry of GetEventInformation. Raises one of UNREADABLE."""
    return Said(
        object=str(each.objectIdentifier),
        state=str(each.eventState),
        acked=_digits(each.acknowledgedTransitions),
        stamps=tuple(from_stamp(stamp) for stamp in each.eventTimeStamps),
        priorities=tuple(_priority(priority) for priority in each.eventPriorities),
    )


def read_alarm(each: Any) -> Said:
    """Read an entry of GetAlarmSummary. Raises one of UNREADABLE."""
    return Said(str(each.objectIdentifier), str(each.alarmState), _digits(each.acknowledgedTransitions))


def is_known(detail: Detail, note: Notification) -> bool:
    """Tell whether a notification has been taken already.

    A device without a clock stamps all its events alike: there only the state tells one from the next.
    """
    if detail.get(TRANSITIONS[transition(note.state)]) != note.stamp:
        return False
    return is_dated(note.stamp) or detail.get("state") == note.state


def is_dated(stamp: str) -> bool:
    """Tell whether a time stamp tells one event from another: no part of it is left open."""
    kind, _, rest = stamp.partition(" ")
    return kind == "number" or str(_OPEN) not in rest.split(",")


def is_late(detail: Detail, note: Notification) -> bool:
    """Tell whether a notification seems to be older than what is known; a clock may have been set back."""
    return any(_before(note.stamp, detail[each]) for each in TRANSITIONS if each in detail)


def with_notification(detail: Detail, note: Notification) -> Detail:
    """Give what is known after a change of state."""
    place = transition(note.state)
    acked, asks = detail.get("acked", ALL), detail.get("asks", "000")
    now = detail | {
        "state": note.state,
        TRANSITIONS[place]: note.stamp,
        "acked": _put(acked, place, not note.asks),
        "asks": _put(asks, place, note.asks),
    }
    return now if note.state == "normal" else now | {"offnormal": note.state} if place == 0 else now


def with_said(detail: Detail, said: Said, asks: str | None) -> Detail:
    """Give what is known after the device was asked; `asks` are its notification class's, where known."""
    asked = asks or detail.get("asks", "000")
    # What is not acknowledged is asked for, whatever else was said.
    asked = "".join(
        "1" if ack == "0" or ask == "1" else "0" for ack, ask in zip(said.acked, asked, strict=True)
    )
    now = detail | {"state": said.state, "acked": said.acked, "asks": asked}
    if transition(said.state) == 0:
        now["offnormal"] = said.state
    for name, stamp in zip(TRANSITIONS, said.stamps or (), strict=False):
        now[name] = stamp
    return now


def acknowledged(detail: Detail) -> bool | None:
    """Tell whether the device takes all for seen; None: it doesn't ask for that."""
    if "0" in detail.get("acked", ALL):
        return False
    return True if "1" in detail.get("asks", "000") else None


def open_transitions(detail: Detail) -> list[tuple[str, str | None]]:
    """Give what is still to be acknowledged: the state that was come to, and its time stamp if known."""
    states = (detail.get("offnormal", "offnormal"), "fault", "normal")
    acked = detail.get("acked", ALL)
    return [(states[place], detail.get(TRANSITIONS[place])) for place in range(3) if acked[place] == "0"]


# Time stamps as texts: `datetime 126,11,24,2,10,0,0,0`, `time 10,0,0,0`, `number 17`


def from_stamp(stamp: Any) -> str:
    """Give a time stamp as text, exactly. Raises one of UNREADABLE."""
    if stamp.dateTime is not None:
        parts = (*stamp.dateTime.date, *stamp.dateTime.time)
        return "datetime " + ",".join(str(int(part)) for part in parts)
    if stamp.time is not None:
        return "time " + ",".join(str(int(part)) for part in stamp.time)
    return f"number {int(stamp.sequenceNumber)}"


def to_stamp(text: str) -> Any:
    """Give the time stamp of a text that `from_stamp` made."""
    kind, _, rest = text.partition(" ")
    if kind == "number":
        return TimeStamp(sequenceNumber=Unsigned(int(rest)))
    parts = tuple(int(part) for part in rest.split(","))
    if kind == "time":
        return TimeStamp(time=Time(parts))
    return TimeStamp(dateTime=DateTime(date=Date(parts[:4]), time=Time(parts[4:])))


def _before(stamp: str, other: str) -> bool:
    kind, _, rest = stamp.partition(" ")
    if kind != other.partition(" ")[0]:
        return False
    if kind == "number":
        behind = (int(other.partition(" ")[2]) - int(rest)) % _SEQUENCES
        return 0 < behind < _SEQUENCES // 2
    if kind == "time":
        return False  # of which day, it doesn't say
    one, two = _moment(stamp), _moment(other)
    return one is not None and two is not None and one < two


def _moment(stamp: str) -> datetime | None:
    parts = tuple(int(part) for part in stamp.partition(" ")[2].split(","))
    try:
        return from_bacnet(parts[:4], parts[4:])
    except ValueError:
        return None  # unspecified: it has never happened


def _priority(given: Any) -> int:
    priority = int(given)
    if not 0 <= priority <= _LEAST:
        raise ValueError("a priority above 255")
    return priority


def _digits(bits: Any) -> str:
    found = "".join("1" if bit else "0" for bit in bits)
    if len(found) != len(TRANSITIONS):
        raise ValueError(f"{len(found)} transitions")
    return found


def _put(digits: str, place: int, on: object) -> str:
    return digits[:place] + ("1" if on else "0") + digits[place + 1 :]


def _value(values: Any) -> PointValue | None:
    """Give the value that made the event, where the notification has it as a number that a point can have."""
    choice = getattr(values, "_choice", None)
    given = getattr(values, choice, None) if choice else None
    for name in ("exceedingValue", "referenceValue"):
        value = getattr(given, name, None)
        if isinstance(value, float) and math.isfinite(value):
            return shortest(value)
        if isinstance(value, int) and abs(value) <= _LARGEST:
            return int(value)
    return None
