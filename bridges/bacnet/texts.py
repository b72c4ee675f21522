"""Dates, times, octets and bits as texts, and back (ASHRAE 135-2020, clause 20.2). Pure."""

import re
from collections.abc import Callable
from datetime import date
from typing import Any, Final

from bacpypes3.basetypes import DateTime
from bacpypes3.primitivedata import BitString, Date, OctetString, Time

ANY: Final = 255
"""What is left open, shown as `*`."""
MONTHS: Final = {13: "odd", 14: "even"}
"""Names of months beyond the twelfth, which stand for several."""
DAYS: Final = {32: "last", 33: "odd", 34: "even"}
"""Names of days beyond the 31st."""
_MONTHS: Final = MONTHS | {ANY: "*"}
_DAYS: Final = DAYS | {ANY: "*"}
_WEEKDAYS: Final = dict(enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), 1))
_LAST_YEAR: Final = 1900 + ANY - 1
_DATE: Final = re.compile(
    r"(\d{4}|\*)-(\d\d|odd|even|\*)-(\d\d|last|odd|even|\*)(?: (mon|tue|wed|thu|fri|sat|sun))?", re.ASCII
)
_TIME: Final = re.compile(r"(\d\d|\*):(\d\d|\*):(\d\d|\*)(?:\.(\d\d))?", re.ASCII)


def show_date(raw: Any) -> str:
    """Give `2026-11-24`; what is left open is `*`, which `odd`, `even` and `last` stand for too.

    A day of the week is named where the date leaves something open: `*-12-* mon`.
    """
    year, month, day, weekday = raw
    parts = ["*" if year == ANY else f"{1900 + year}", _MONTHS.get(month, f"{month:02}")]
    text = "-".join([*parts, _DAYS.get(day, f"{day:02}")])
    is_one_day = year != ANY and month not in _MONTHS and day not in _DAYS
    return text if is_one_day or weekday not in _WEEKDAYS else f"{text} {_WEEKDAYS[weekday]}"


def show_time(raw: Any) -> str:
    """Give `07:30:15`, with hundredths where there are any; what is left open is `*`."""
    text = ":".join("*" if part == ANY else f"{part:02}" for part in raw[:3])
    return f"{text}.{raw[3]:02}" if raw[3] not in (0, ANY) else text


SHOW: Final[dict[type, Callable[[Any], str]]] = {
    DateTime: lambda raw: f"{show_date(raw.date)} {show_time(raw.time)}",
    Date: show_date,
    Time: show_time,
    OctetString: lambda raw: str(raw.hex()),
    BitString: lambda raw: "".join("1" if bit else "0" for bit in raw),
}
"""How values of these types are shown."""


def _date(text: str, is_open: bool) -> Any:
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError
    year, month, day, weekday = found.groups()
    if not is_open:
        at = date(int(year), int(month), int(day))
        if weekday or not 1900 <= at.year <= _LAST_YEAR:
            raise ValueError
        return Date((at.year - 1900, at.month, at.day, at.isoweekday()))
    numbers = (_part(month, _MONTHS, 1, 12), _part(day, _DAYS, 1, 31), _part(weekday or "*", _WEEKDAYS, 0, 0))
    return Date((ANY if year == "*" else _within(int(year), 1900, _LAST_YEAR) - 1900, *numbers))


def _time(text: str, is_open: bool) -> Any:
    found = _TIME.fullmatch(text)
    if found is None or ("*" in text and not is_open):
        raise ValueError
    *parts, hundredths = found.groups()
    hour, minute, second = (_part(part, {}, 0, most) for part, most in zip(parts, (23, 59, 59), strict=True))
    return Time((hour, minute, second, ANY if second == ANY else int(hundredths or 0)))


def _both(text: str, is_open: bool) -> Any:
    day, _, time = text.rpartition(" ")
    return DateTime(date=_date(day, is_open), time=_time(time, is_open))


def _part(text: str, names: dict[int, str], least: int, most: int) -> int:
    if text == "*":
        return ANY
    if not text.isdigit():
        return next(number for number, name in names.items() if name == text)
    return _within(int(text), least, most)


def _within(number: int, least: int, most: int) -> int:
    if not least <= number <= most:
        raise ValueError
    return number


READ: Final[dict[str, tuple[Callable[[str], Any], str]]] = {
    "date-value": (lambda text: _date(text, False), "a date such as 2026-11-24"),
    "time-value": (lambda text: _time(text, False), "a time such as 07:30:15"),
    "datetime-value": (lambda text: _both(text, False), "a date and time such as 2026-11-24 07:30:15"),
    "date-pattern-value": (lambda text: _date(text, True), "a date such as 2026-*-last or *-12-* mon"),
    "time-pattern-value": (lambda text: _time(text, True), "a time such as 07:*:00"),
    "datetime-pattern-value": (lambda text: _both(text, True), "a date and time such as *-12-* mon 07:*:00"),
    "octetstring-value": (
        lambda text: OctetString(bytes.fromhex(text)),
        "pairs of hexadecimal digits such as 01ff",
    ),
    "bitstring-value": (lambda text: BitString([int(each) for each in text]), "bits such as 0110"),
}
"""By type of object: how a text becomes its value (ValueError where it can't), and what is expected.

Some take more than what is shown; `values.to_bacnet` refuses what isn't shown again as it was given.
"""
