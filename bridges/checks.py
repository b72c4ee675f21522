"""What is wrong with the points of a device or profile, before any device is asked. Pure."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Literal

from actors.core.errors import BadInputError
from bridges.bacnet.kinds import WITH_VALUE, carries_value
from bridges.config import PointProfile
from bridges.modbus.binding import from_binding
from bridges.modbus.registers import Register

Where = tuple[str | int, ...]


def point_problems(
    protocol: Literal["bacnet", "modbus"], points: Sequence[PointProfile]
) -> Iterator[tuple[Where, str]]:
    """Give what is wrong with a list of points: the place in the list, and words."""
    seen: dict[str, int] = {}
    registers: list[tuple[int, Register]] = []
    for number, point in enumerate(points):
        where: Where = (number,)
        if (point.object is not None) != (protocol == "bacnet"):
            needs = "object" if protocol == "bacnet" else "register and address"
            yield where, f"a point of a {protocol} device needs {needs}"
            continue
        key = point_key(point)
        if key in seen:
            yield (*where, "id" if point.id else "object"), f"{key!r} is there twice"
        seen[key] = number
        if point.object is not None:
            kind = point.object.partition(",")[0]
            if not carries_value(kind):
                yield (*where, "object"), _no_such_kind(kind)
            continue
        try:
            register = from_binding(point.model_dump() | {"register_type": point.register})
        except BadInputError as error:
            yield (
                (*where, error.field),
                f"{error.value!r} is not valid: {error.expected}",
            )
            continue
        if point.writable and not register.is_writable:
            yield (*where, "writable"), f"nothing can write {_article(register.type)} of a Modbus device"
        registers.append((number, register))
    yield from _torn(points, registers)


def _no_such_kind(kind: str) -> str:
    close = difflib.get_close_matches(kind, sorted(WITH_VALUE), 1)
    hint = f"did you mean {close[0]}?" if close else "known: " + ", ".join(sorted(WITH_VALUE))
    return f"{kind!r} is no object type with a present value that a point can carry; {hint}"


def _article(kind: str) -> str:
    return {"input": "an input register", "discrete": "a discrete input"}.get(kind, kind)


def _torn(
    points: Sequence[PointProfile], registers: Sequence[tuple[int, Register]]
) -> Iterator[tuple[Where, str]]:
    """Find values that share some registers but not all: one of the two has a wrong address or type.

    A value within another one is good: bits of a status word, the high word of a counter.
    """
    ordered = sorted(registers, key=lambda item: (item[1].type, item[1].address, item[1].count))
    for at, (number, register) in enumerate(ordered):
        end = register.address + register.count
        for other, later in ordered[at + 1 :]:
            if later.type != register.type or later.address >= end:
                break
            if register.address < later.address and end < later.address + later.count:
                yield (
                    (max(number, other), "address"),
                    f"{_span(points[other], later)} and {_span(points[number], register)} overlap",
                )


def _span(point: PointProfile, register: Register) -> str:
    last = register.address + register.count - 1
    return f"{point.id} ({register.data_type}, {register.address} to {last})"


def point_key(point: PointProfile) -> str:
    """Give a point's id within its device: its own, or `analog-input-1` for a BACnet object."""
    return str(point.id or (point.object or "").replace(",", "-"))
