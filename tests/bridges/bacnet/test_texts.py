"""Dates, times, octets and bits that are commanded as texts, over real BACnet/IP on loopback."""

from datetime import datetime
from typing import Any

import pytest
from bacpypes3.local.cmd import Commandable
from bacpypes3.local.object import Object
from bacpypes3.object import (
    BitStringValueObject,
    DatePatternValueObject,
    DateTimeValueObject,
    DateValueObject,
    OctetStringValueObject,
    TimeValueObject,
)
from bacpypes3.primitivedata import BitString, Date, OctetString, Time

from actors.core.errors import BadInputError
from tests.bridges.bacnet.conftest import Bench, device, point, until
from tests.bridges.bacnet.rogues import Rogues


def value(kind: type, name: str, present: Any) -> Any:
    """Give an object with a priority array, whose relinquish default is its value."""
    made = type("Value", (Commandable, Object, kind), {})
    return made(
        objectIdentifier=(name, 1),
        objectName=name,
        presentValue=present,
        relinquishDefault=present,
        statusFlags=[0, 0, 0, 0],
    )


OBJECTS = [
    (DateValueObject, "date-value", Date("2026-01-01"), "2026-01-01", "2026-11-24"),
    (TimeValueObject, "time-value", Time((6, 0, 0, 0)), "06:00:00", "07:30:15.25"),
    (DatePatternValueObject, "date-pattern-value", Date((255, 1, 1, 255)), "*-01-01", "*-12-* mon"),
    (OctetStringValueObject, "octetstring-value", OctetString(b""), "", "01ff"),
    (BitStringValueObject, "bitstring-value", BitString([0, 0]), "00", "10"),
    (
        DateTimeValueObject,
        "datetime-value",
        datetime(2026, 1, 1, 6),
        "2026-01-01 06:00:00",
        "2026-11-24 07:30:15",
    ),
]


@pytest.mark.parametrize(
    ("kind", "name", "present", "before", "wanted"), OBJECTS, ids=[each[1] for each in OBJECTS]
)
async def test_a_value_that_is_a_text_has_slots_like_any_other(
    rogues: Rogues, lab: Bench, kind: type, name: str, present: Any, before: str, wanted: str
) -> None:
    rogues.add(7, 11).add_object(value(kind, name, present))
    bridge = await lab.bridge([device(7, cov=False)], [point(name, 1, 7)])
    key = f"7/{name}-1"
    await until(lambda: lab.value(key) == before)
    assert await bridge.write(key, wanted, 8) == wanted
    array = await bridge.priority_array(key)
    assert (array.slots[7], array.active_priority, array.present_value) == (wanted, 8, wanted)
    assert array.relinquish_default == before
    with pytest.raises(BadInputError, match="value: 'soon' is not valid"):
        await bridge.write(key, "soon", 8)
    assert await bridge.write(key, None, 8) == before


async def test_a_value_that_is_a_text_is_found_as_one_that_can_be_commanded(
    rogues: Rogues, lab: Bench
) -> None:
    app = rogues.add(7, 11)
    for kind, name, present, _, _ in OBJECTS:
        app.add_object(value(kind, name, present))
    bridge = await lab.bridge([device(7, cov=False)], [point("analog-input", 1, 7)])
    await until(lambda: lab.value("7/analog-input-1") is not None)
    found = (await bridge.scan(low=7, high=7, wait=3.0)).devices[0].device.points or []
    assert {each.point_key for each in found if each.writable} == {f"{name}-1" for _, name, *_ in OBJECTS}
