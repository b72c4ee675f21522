"""BACnet values to point values and back."""

import math
from typing import Any

import pytest
from bacpypes3.basetypes import BinaryPV, ErrorType, PriorityValue, StatusFlags
from bacpypes3.primitivedata import CharacterString, Double, Integer, Null, Real, Unsigned
from hypothesis import given
from hypothesis import strategies as st

from actors.core.errors import BadInputError
from actors.core.values import PointStatus
from bridges.bacnet.values import datatype, from_choice, to_bacnet, to_point, to_status
from bridges.numbers import shortest

FAULT, OVERRIDDEN = int(PointStatus.FAULT), int(PointStatus.OVERRIDDEN)


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("analog-input", Real(21.5), 21.5),
        ("large-analog-value", Double(1e300), 1e300),
        ("binary-input", BinaryPV("active"), True),
        ("binary-value", BinaryPV("inactive"), False),
        ("multi-state-value", Unsigned(3), 3),
        ("integer-value", Integer(-7), -7),
        ("accumulator", Unsigned(123456), 123456),
        # CharacterString itself is no name for a test: pytest would encode it.
        pytest.param("characterstring-value", CharacterString("Grüße"), "Grüße", id="text"),
    ],
)
def test_values_have_the_type_of_their_object(kind: str, raw: Any, value: Any) -> None:
    found, status = to_point(kind, raw)
    assert (found, type(found), status) == (value, type(value), 0)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("analog-input", Real(math.nan)),
        ("analog-input", Real(math.inf)),
        ("analog-input", None),
        ("analog-input", "warm"),
        ("binary-input", Null(())),
        ("multi-state-input", ErrorType(errorClass="object", errorCode="unknown-object")),
    ],
)
def test_what_is_no_value_is_a_fault(kind: str, raw: Any) -> None:
    assert to_point(kind, raw) == (None, FAULT)


@pytest.mark.parametrize(
    ("bits", "status"),
    [
        ([0, 0, 0, 0], 0),
        ([1, 0, 0, 0], 0),
        ([0, 1, 0, 0], FAULT),
        ([0, 0, 1, 0], OVERRIDDEN),
        ([0, 0, 0, 1], 0),
        ([1, 1, 1, 1], FAULT | OVERRIDDEN),
    ],
)
def test_status_flags(bits: list[int], status: int) -> None:
    assert to_status(StatusFlags(bits)) == status


def test_no_status_flags_are_no_fault() -> None:
    assert to_status(None) == 0
    assert to_status(ErrorType(errorClass="property", errorCode="unknown-property")) == 0


@pytest.mark.parametrize(
    ("kind", "value", "states"),
    [
        ("analog-output", True, None),
        ("analog-output", "1", None),
        ("analog-output", 1e39, None),
        ("analog-output", math.nan, None),
        ("large-analog-value", math.inf, None),
        ("binary-output", 2, None),
        ("binary-output", "on", None),
        ("multi-state-output", 0, None),
        ("multi-state-output", 4, 3),
        ("multi-state-output", 1.5, 3),
        ("multi-state-output", math.nan, 3),
        ("multi-state-output", math.inf, 3),
        ("multi-state-output", True, 3),
        ("positive-integer-value", -1, None),
        ("positive-integer-value", 2**32, None),
        ("integer-value", 2**31, None),
        ("integer-value", math.nan, None),
        ("characterstring-value", 5, None),
    ],
)
def test_a_wrong_value_is_refused(kind: str, value: Any, states: int | None) -> None:
    with pytest.raises(BadInputError) as caught:
        to_bacnet(kind, value, states)
    assert caught.value.field == "value"


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_comes_back(number: float) -> None:
    assert to_point("analog-value", to_bacnet("analog-value", number, None)) == (shortest(number), 0)


@given(st.integers(1, 20))
def test_a_state_comes_back(state: int) -> None:
    assert to_point("multi-state-value", to_bacnet("multi-state-value", state, 20)) == (state, 0)


def test_a_binary_comes_back_and_takes_numbers() -> None:
    for given_, back in ((True, True), (0, False), (1, True)):
        assert to_point("binary-value", to_bacnet("binary-value", given_, None)) == (back, 0)


def test_none_relinquishes() -> None:
    assert all(isinstance(to_bacnet(kind, None, None), Null) for kind in ("analog-output", "binary-output"))


def test_slots_of_a_priority_array() -> None:
    assert from_choice(PriorityValue(null=Null(()))) is None
    assert from_choice(PriorityValue(real=Real(2.5))) == 2.5
    assert from_choice(PriorityValue(unsigned=Unsigned(2))) == 2
    assert from_choice(PriorityValue(enumerated=1)) == 1


def test_each_type_of_object_has_its_datatype() -> None:
    kinds = ["analog-input", "binary-input", "multi-state-input", "large-analog-value", "integer-value"]
    assert [datatype(kind) for kind in kinds] == [Real, BinaryPV, Unsigned, Double, Integer]
