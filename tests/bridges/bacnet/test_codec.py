"""BACnet values to point values and back."""

import math
from datetime import date
from typing import Any

import pytest
from bacpypes3.basetypes import BinaryPV, DateTime, ErrorType, PriorityValue, StatusFlags
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.primitivedata import (
    BitString,
    Boolean,
    CharacterString,
    Date,
    Double,
    Enumerated,
    Integer,
    Null,
    ObjectIdentifier,
    OctetString,
    PropertyIdentifier,
    Real,
    Tag,
    TagClass,
    TagList,
    Time,
    Unsigned,
)
from hypothesis import given
from hypothesis import strategies as st

from actors.core.errors import BadInputError
from actors.core.values import PointStatus
from bridges.bacnet.kinds import SHOWN, carries_value
from bridges.bacnet.values import datatype, from_choice, to_bacnet, to_point, to_status
from bridges.bacnet.wire import decode, undecodable
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
        ("lighting-output", Real(80.0), 80.0),
        ("staging", Real(2.0), 2.0),
        ("command", Unsigned(4), 4),
        ("life-safety-point", Enumerated(1), "pre-alarm"),
        ("life-safety-zone", Enumerated(300), "300"),
        ("access-door", Enumerated(0), "lock"),
        ("binary-lighting-output", Enumerated(1), "on"),
        ("load-control", Enumerated(0), "shed-inactive"),
        ("date-value", Date((126, 11, 24, 2)), "2026-11-24"),
        ("date-pattern-value", Date((255, 13, 32, 255)), "*-odd-last"),
        ("date-pattern-value", Date((255, 12, 255, 1)), "*-12-* mon"),
        ("time-value", Time((7, 30, 15, 0)), "07:30:15"),
        ("time-pattern-value", Time((255, 30, 255, 255)), "*:30:*"),
        pytest.param(
            "datetime-value",
            DateTime(date=Date((126, 11, 24, 2)), time=Time((7, 30, 15, 25))),
            "2026-11-24 07:30:15.25",
            id="datetime",
        ),
        ("bitstring-value", BitString([1, 0, 1]), "101"),
        pytest.param("octetstring-value", OctetString(b"\x01\xff"), "01ff", id="octets"),
        ("calendar", Boolean(True), True),
        ("schedule", Real(21.5), 21.5),
        ("schedule", Unsigned(2), 2),
        ("schedule", Boolean(False), False),
        ("200", Real(0.1), 0.1),
        ("200", Double(0.1), 0.1),
        ("200", Enumerated(7), 7),
        ("analog-input", Unsigned(7), 7.0),
        ("multi-state-input", Real(3.0), 3),
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
        ("200", [Unsigned(1), Unsigned(2)]),
        ("analog-input", undecodable()),
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
        ("access-door", "ajar", None),
        ("access-door", True, None),
        ("access-door", 1.5, None),
        ("date-value", "2026-02-29", None),
        ("date-value", "2026-*-01", None),
        ("date-value", "1899-12-31", None),
        ("date-value", "2155-01-01", None),
        ("date-value", "2026-11-24 tue", None),
        ("date-value", 20261124, None),
        ("date-pattern-value", "*-13-*", None),
        ("date-pattern-value", "*-even-32", None),
        ("date-pattern-value", "*-*-* someday", None),
        ("time-value", "24:00:00", None),
        ("time-value", "7:30:00", None),
        ("time-value", "07:*:00", None),
        ("time-value", "\u0660\u0667:30:00", None),
        ("time-pattern-value", "07:60:00", None),
        ("time-pattern-value", "07:30:*.50", None),
        ("time-value", "07:30:15.00", None),
        ("datetime-value", "2026-11-24 07:30:15.00", None),
        ("date-pattern-value", "2026-11-24 mon", None),
        ("date-pattern-value", "2026-11-24 tue", None),
        ("datetime-value", "2026-11-24", None),
        ("datetime-value", "2026-11-24T07:30:15", None),
        ("datetime-pattern-value", "*-*-*", None),
        ("octetstring-value", "0", None),
        ("octetstring-value", "0x", None),
        ("octetstring-value", 0, None),
        ("bitstring-value", "012", None),
        ("bitstring-value", True, None),
    ],
)
def test_a_wrong_value_is_refused(kind: str, value: Any, states: int | None) -> None:
    with pytest.raises(BadInputError) as caught:
        to_bacnet(kind, value, states)
    assert caught.value.field == "value"


@pytest.mark.parametrize("kind", ["schedule", "calendar", "channel", "alert-enrollment", "200"])
def test_what_can_not_be_commanded_is_refused(kind: str) -> None:
    for value in (1.0, None, "x"):
        with pytest.raises(BadInputError) as caught:
            to_bacnet(kind, value, None)
        assert caught.value.field == "point"


@pytest.mark.parametrize("value", ["pulse-unlock", 2, 2.0])
def test_a_state_is_commanded_by_name_or_number(value: Any) -> None:
    assert to_point("access-door", to_bacnet("access-door", value, None)) == ("pulse-unlock", 0)


def test_makers_own_types_and_those_of_the_standard_can_be_bound() -> None:
    assert all(carries_value(kind) for kind in ("analog-input", "life-safety-zone", "128", "1023"))
    assert not any(carries_value(kind) for kind in ("trend-log", "127", "1024", "200a", None, 200))


OBJECT, OWN = ObjectIdentifier("analog-input,1"), ObjectIdentifier((200, 1))


@pytest.mark.parametrize(
    ("obj", "prop", "sent", "value"),
    [
        (OBJECT, "present-value", Real(2.5), 2.5),
        (OBJECT, "present-value", Unsigned(2), 2),
        (OWN, "present-value", Real(2.5), 2.5),
        (OWN, 9999, Unsigned(7), 7),
        (OBJECT, "units", Enumerated(62), 62),
        (OBJECT, "status-flags", StatusFlags([0, 1, 0, 0]), [0, 1, 0, 0]),
    ],
)
def test_values_on_the_wire_are_decoded(obj: Any, prop: Any, sent: Any, value: Any) -> None:
    assert decode(obj, PropertyIdentifier(prop), None, AnyValue(sent)) == value


@given(st.binary(max_size=40), st.sampled_from(["present-value", "units", "object-list", "9999"]))
def test_whatever_is_on_the_wire_is_a_value_or_an_error(data: bytes, prop: str) -> None:
    sent = AnyValue(TagList([Tag(TagClass.application, n % 16, len(data), data) for n in data[:3]]))
    decode(OBJECT, PropertyIdentifier(prop if not prop.isdigit() else int(prop)), None, sent)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_comes_back(number: float) -> None:
    assert to_point("analog-value", to_bacnet("analog-value", number, None)) == (shortest(number), 0)


DAYS = st.dates(date(1900, 1, 1), date(2154, 12, 31)).map(str)
TIMES = st.times().map(
    lambda at: f"{at:%H:%M:%S}" + (f".{hundredths:02}" if (hundredths := at.microsecond // 10_000) else "")
)
TWO = st.integers(0, 59).map("{:02}".format)
OPEN_DAYS = st.tuples(
    st.sampled_from(["*", "2026"]),
    st.sampled_from(["*", "odd", "even", "02", "12"]),
    st.sampled_from(["*", "last", "odd", "even", "01", "31"]),
).map("-".join)
# A day of the week says something only where a date leaves something open.
WEEKDAYS = st.sampled_from(["", " mon", " sun"])
PATTERNS = st.tuples(OPEN_DAYS.filter(lambda day: not day.replace("-", "").isdigit()), WEEKDAYS).map("".join)
OPEN_TIMES = st.tuples(st.sampled_from(["*", "00", "23"]), TWO | st.just("*"), TWO | st.just("*")).map(
    ":".join
)
SHOWN_VALUES = {
    "date-value": DAYS,
    "time-value": TIMES,
    "datetime-value": st.tuples(DAYS, TIMES).map(" ".join),
    "date-pattern-value": DAYS | PATTERNS,
    "time-pattern-value": TIMES | OPEN_TIMES,
    "datetime-pattern-value": st.tuples(DAYS | PATTERNS, TIMES | OPEN_TIMES).map(" ".join),
    "octetstring-value": st.binary(max_size=100).map(bytes.hex),
    "bitstring-value": st.text("01", max_size=64),
}


@given(
    st.sampled_from(sorted(SHOWN)).flatmap(lambda kind: st.tuples(st.just(kind), SHOWN_VALUES[kind])),
)
def test_what_is_shown_as_a_text_comes_back_and_stands_in_slots(given_: tuple[str, str]) -> None:
    kind, text = given_
    raw = to_bacnet(kind, text, None)
    assert to_point(kind, raw) == (text, 0)
    choice = {
        Date: "date",
        Time: "time",
        DateTime: "datetime",
        OctetString: "octetString",
        BitString: "bitString",
    }
    encoded = PriorityValue(**{choice[type(raw)]: raw}).encode()
    assert from_choice(PriorityValue.decode(encoded)) == text


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
