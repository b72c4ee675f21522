"""Counts of accumulators in their units."""

from decimal import Decimal
from typing import Any

import pytest
from bacpypes3.basetypes import Prescale, Scale
from bacpypes3.local.object import Object
from bacpypes3.object import AccumulatorObject, CalendarObject
from hypothesis import given
from hypothesis import strategies as st

from actors.core.errors import BadInputError, UnreachableError
from actors.core.values import PointStatus
from bridges.bacnet.scale import scaled, to_factor, unscaled
from tests.bridges.bacnet.conftest import Bench, device, point, until
from tests.bridges.bacnet.rogues import Rogues


class Accumulator(Object, AccumulatorObject):  # type: ignore[misc]
    """A pulse counter; it has the properties that it is made with."""


class Calendar(Object, CalendarObject):  # type: ignore[misc]
    """A calendar without a present value."""


def accumulator(number: int, count: int, **more: Any) -> Accumulator:
    return Accumulator(
        objectIdentifier=("accumulator", number),
        objectName=f"pulses {number}",
        presentValue=count,
        statusFlags=[0, 0, 0, 0],
        eventState="normal",
        outOfService=False,
        units="kilowattHours",
        maxPresValue=9_999_999,
        prescale=Prescale(multiplier=1, moduloDivide=1),
        **more,
    )


@pytest.mark.parametrize(
    ("scale", "factor"),
    [
        (Scale(floatScale=0.1), Decimal("0.1")),
        (Scale(floatScale=1.0), Decimal(1)),
        (Scale(integerScale=-2), Decimal("0.01")),
        (Scale(integerScale=3), Decimal(1000)),
        (Scale(integerScale=0), Decimal(1)),
    ],
)
def test_a_scale_is_a_real_or_a_power_of_ten(scale: Scale, factor: Decimal) -> None:
    assert to_factor(scale) == factor


@pytest.mark.parametrize(
    "scale",
    [Scale(floatScale=float("nan")), Scale(floatScale=0.0), Scale(integerScale=2**30), Scale(), None, 7],
)
def test_what_is_no_scale_is_told(scale: Any) -> None:
    with pytest.raises(ValueError, match="scale"):
        to_factor(scale)


def test_a_count_of_scale_one_stays_whole() -> None:
    assert repr(scaled(7, Decimal(1))) == "7"
    assert repr(scaled(123456, Decimal("0.1"))) == "12345.6"


@given(count=st.integers(0, 2**32), exponent=st.integers(-6, 6))
def test_what_is_written_is_the_count_that_was_read(count: int, exponent: int) -> None:
    factor = to_factor(Scale(integerScale=exponent))
    assert unscaled(scaled(count, factor), factor) == count


def test_a_value_that_no_count_makes_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"a multiple of 0\.1"):
        unscaled(1.05, Decimal("0.1"))
    with pytest.raises(BadInputError, match="a finite number"):
        unscaled(float("inf"), Decimal("0.1"))


async def test_accumulators_are_read_and_found_in_their_units(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11)
    app.add_object(accumulator(1, 123456, scale=Scale(floatScale=0.1)))
    app.add_object(accumulator(2, 5, scale=Scale(integerScale=3)))
    app.add_object(accumulator(3, 8))
    app.add_object(accumulator(4, 9, scale=Scale(floatScale=0.0)))
    nodes = [point("accumulator", number, 7) for number in (1, 2, 3, 4)]
    bridge = await lab.bridge([device(7)], nodes)
    await until(lambda: lab.value(nodes[2].id) is not None)
    assert [lab.value(each.id) for each in nodes] == [12345.6, 5000.0, 8, None]
    assert lab.points.get_many([nodes[3].id])[0].status == PointStatus.FAULT
    assert "its scale is 0" in ((await bridge.status())[0].last_error or "")
    assert await bridge.read(nodes[0].id) == 12345.6
    with pytest.raises(UnreachableError, match="its scale is not known"):
        await bridge.write(nodes[3].id, 1)
    (seen,) = (await bridge.scan(low=7, high=7, wait=1.0)).devices
    found = {each.point_key: each.value for each in seen.device.points or ()}
    assert [found[f"accumulator-{number}"] for number in (1, 2, 3, 4)] == [12345.6, 5000.0, 8, None]


async def test_an_object_without_a_present_value_is_no_point(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11, 1)
    app.add_object(Calendar(objectIdentifier=("calendar", 1), objectName="holidays", dateList=[]))
    await lab.bridge([device(7)], [])
    await until(lambda: bool(lab.nodes.bound("bacnet")))
    assert [each.id for each in lab.nodes.bound("bacnet")] == ["7/analog-input-1"]
