import math
from typing import Any

import pytest
from bacpypes3.basetypes import BinaryPV, ErrorType, StatusFlags
from bacpypes3.primitivedata import CharacterString, Null, Real, Unsigned
from hypothesis import given
from hypothesis import strategies as st

from actors.core.errors import BadInputError
from actors.core.values import PointStatus, PointValue
from bridges.bacnet.values import state_texts, to_bacnet, to_point, to_status, to_text
from bridges.numbers import shortest


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("analog-input", Real(21.5), 21.5),
        ("binary-input", BinaryPV("active"), True),
        ("binary-output", BinaryPV(0), False),
        ("multi-state-value", Unsigned(3), 3),
        ("characterstring-value", "on", "on"),
    ],
)
def test_present_values_by_object_type(kind: str, raw: object, value: PointValue) -> None:
    found, status = to_point(kind, raw)
    assert (found, status) == (value, 0)
    assert type(found) is type(value)


@pytest.mark.parametrize("raw", [None, Null(()), ErrorType(), math.nan, math.inf, "x"])
def test_what_is_no_number_is_a_fault(raw: object) -> None:
    assert to_point("analog-input", raw) == (None, int(PointStatus.FAULT))


@pytest.mark.parametrize(
    ("bits", "status"),
    [
        ([1, 0, 0, 1], 0),
        ([0, 1, 0, 0], int(PointStatus.FAULT)),
        ([0, 0, 1, 0], int(PointStatus.OVERRIDDEN)),
    ],
)
def test_status_flags(bits: list[int], status: int) -> None:
    assert to_status(StatusFlags(bits)) == status


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("analog-output", "x"),
        ("analog-output", True),
        ("analog-output", 1e300),
        ("binary-output", 2),
        ("binary-output", "active"),
        ("multi-state-output", 0),
        ("multi-state-output", 4),
        ("multi-state-output", 1.5),
    ],
)
def test_values_that_an_object_cannot_have_are_refused(kind: str, value: PointValue) -> None:
    with pytest.raises(BadInputError, match="value"):
        to_bacnet(kind, value, 3)


@given(st.floats(-1e6, 1e6, width=32))
def test_an_analog_value_survives_the_way_out_and_back(value: float) -> None:
    assert to_point("analog-output", to_bacnet("analog-output", value, None)) == (shortest(value), 0)


@pytest.mark.parametrize("kind", ["positive-integer-value", "accumulator", "multi-state-input"])
def test_a_whole_number_wider_than_a_point_can_carry_is_a_fault(kind: str) -> None:
    assert to_point(kind, Unsigned(2**53)) == (2**53, 0)
    assert to_point(kind, Unsigned(2**53 + 1)) == (None, int(PointStatus.FAULT))
    assert to_point(kind, Unsigned(2**80)) == (None, int(PointStatus.FAULT))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (CharacterString("Zone  Temp"), "Zone  Temp"),
        (CharacterString("big\x00nul\n"), "big nul"),
        (Null(()), ""),
        (None, ""),
        (ErrorType(errorClass="property", errorCode="unknown-property"), ""),
        (CharacterString("x" * 600), "x" * 500),
    ],
    ids=["plain", "control", "null", "none", "error", "long"],
)
def test_texts_of_devices_are_printable(raw: Any, text: str) -> None:
    assert to_text(raw) == text


def test_states_without_texts_are_called_by_word_or_number() -> None:
    assert state_texts("multi-state-value", ["A", "", "\x00"]) == ["A", "2", "3"]
    assert state_texts("binary-input", ["", "Run"]) == ["inactive", "Run"]
    assert state_texts("binary-input", ["", ""]) == []
    assert state_texts("multi-state-value", []) == []
