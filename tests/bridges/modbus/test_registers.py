"""Codec of Modbus registers."""

import math
import struct
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.core.errors import BadInputError
from actors.core.values import PointStatus
from bridges.modbus.binding import from_binding
from bridges.modbus.registers import (
    ByteOrder,
    DataType,
    Reading,
    Register,
    decode,
    encode,
    encode_partial,
    joined,
    parted,
    same,
)
from bridges.numbers import shortest

ORDERS = st.sampled_from(get_args(ByteOrder))
RANGES = {
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}
WHOLE = st.sampled_from(sorted(RANGES)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.integers(*RANGES[kind]))
)


def holding(**config: Any) -> Register:
    return from_binding({"register_type": "holding", "address": 0} | config)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("big-endian", [0x4148, 0x0000]),
        ("little-endian", [0x0000, 0x4841]),
        ("big-endian-word-swap", [0x0000, 0x4148]),
        ("little-endian-word-swap", [0x4841, 0x0000]),
    ],
)
def test_12_5_as_float32_in_the_four_byte_orders(order: str, words: list[int]) -> None:
    register = holding(data_type="float32", byte_order=order)
    assert decode(register, words) == Reading(12.5, 0)
    assert encode(register, 12.5) == words


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("big-endian", [0x0102, 0x0304, 0x0506, 0x0708]),
        ("little-endian", [0x0807, 0x0605, 0x0403, 0x0201]),
        ("big-endian-word-swap", [0x0708, 0x0506, 0x0304, 0x0102]),
        ("little-endian-word-swap", [0x0201, 0x0403, 0x0605, 0x0807]),
    ],
)
def test_64_bits_in_the_four_byte_orders(order: str, words: list[int]) -> None:
    register = holding(data_type="uint64", byte_order=order)
    assert decode(register, words).value == 0x0102030405060708
    assert encode(register, 0x0102030405060708) == words


@pytest.mark.parametrize(
    ("order", "word"),
    [
        ("big-endian", 0x0102),
        ("little-endian", 0x0201),
        ("big-endian-word-swap", 0x0102),
        ("little-endian-word-swap", 0x0201),
    ],
)
def test_one_register_has_a_byte_order_too(order: str, word: int) -> None:
    assert decode(holding(byte_order=order), [word]).value == 0x0102
    assert encode(holding(byte_order=order), 0x0102) == [word]


@given(WHOLE, ORDERS)
def test_whole_numbers_come_back_exactly(typed: tuple[str, int], order: str) -> None:
    kind, number = typed
    register = holding(data_type=kind, byte_order=order)
    words = encode(register, number)
    assert len(words) == register.count
    assert all(0 <= word <= 0xFFFF for word in words)
    assert decode(register, words).value == number


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), ORDERS)
def test_float32_comes_back_as_the_same_32_bit_number(number: float, order: str) -> None:
    register = holding(data_type="float32", byte_order=order)
    words = encode(register, number)
    reading = decode(register, words)
    assert reading == Reading(shortest(number), 0)
    # A zero loses its sign with the offset.
    assert not reading.value or encode(register, reading.value) == words


@given(st.floats(allow_nan=False, allow_infinity=False), ORDERS)
def test_float64_comes_back_exactly(number: float, order: str) -> None:
    register = holding(data_type="float64", byte_order=order)
    assert decode(register, encode(register, number)) == Reading(number, 0)


@given(st.integers(-32768, 32767), st.sampled_from([0.1, 0.01, 10.0, -0.5]), st.floats(-1000, 1000))
def test_scaled_values_come_back_to_the_same_register(raw: int, scale: float, offset: float) -> None:
    register = holding(data_type="int16", scale=scale, offset=offset)
    value = decode(register, [raw & 0xFFFF]).value
    assert value == pytest.approx(raw * scale + offset)
    assert encode(register, value) == [raw & 0xFFFF]


@pytest.mark.parametrize("bits", [0x7FC00000, 0xFFC00001, 0x7F800000, 0xFF800000])
def test_what_is_no_number_has_no_value_and_the_flag_fault(bits: int) -> None:
    reading = decode(holding(data_type="float32"), [bits >> 16, bits & 0xFFFF])
    assert reading == Reading(None, PointStatus.FAULT)


def test_a_value_that_scaling_makes_infinite_is_a_fault() -> None:
    words = list(struct.unpack(">4H", struct.pack(">d", 1e308)))
    assert decode(holding(data_type="float64", scale=1e10), words) == Reading(None, PointStatus.FAULT)


def test_scaling_leaves_no_binary_dust() -> None:
    assert decode(holding(scale=0.1), [404]).value == 40.4
    assert decode(holding(scale=0.1, offset=-5.0), [3]).value == -4.7


def test_numbers_are_floats_and_states_whole() -> None:
    assert repr(decode(holding(), [3]).value) == "3.0"
    state = from_binding({"register_type": "holding", "address": 0}, multi_state=True)
    assert repr(decode(state, [3]).value) == "3"


def test_a_bit_of_a_register_in_either_byte_order() -> None:
    assert decode(holding(bit=9), [0x0200]) == Reading(True, 0)
    assert decode(holding(bit=9, byte_order="little-endian"), [0x0002]) == Reading(True, 0)
    assert decode(holding(bit=9), [0xFDFF]) == Reading(False, 0)


def test_a_mask_is_shifted_to_its_lowest_bit_and_scaled() -> None:
    assert decode(holding(mask=0x0FF0, scale=0.5), [0xA7BC]).value == 0x7B / 2


@given(st.integers(0, 0xFFFF), st.integers(1, 0xFFFF), st.data(), ORDERS)
def test_a_masked_write_changes_its_bits_and_no_other(
    old: int, mask: int, data: st.DataObject, order: str
) -> None:
    width = mask >> ((mask & -mask).bit_length() - 1)
    field = data.draw(st.integers(0, width).filter(lambda each: each & ~width == 0))
    register = holding(mask=mask, byte_order=order)
    masked = encode_partial(register, field)
    new = old & masked.keep | masked.put
    assert decode(register, [new]).value == field
    plain = holding(byte_order=order)
    before, after = decode(plain, [old]).value, decode(plain, [new]).value
    assert int(before or 0) & ~mask == int(after or 0) & ~mask


@given(st.integers(0, 31), st.booleans(), st.integers(0, 2**32 - 1), ORDERS)
def test_a_bit_of_a_wide_value_is_written_alone(bit: int, on: bool, old: int, order: str) -> None:
    register = holding(data_type="uint32", bit=bit, byte_order=order)
    words = encode(holding(data_type="uint32", byte_order=order), old)
    masked = encode_partial(register, on)
    new = parted(joined(words) & masked.keep | masked.put, 2)
    assert decode(register, new).value is on
    assert decode(holding(data_type="uint32", byte_order=order), new).value == old & ~(1 << bit) | on << bit


@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=4))
def test_joined_and_parted_undo_each_other(words: list[int]) -> None:
    assert parted(joined(words), len(words)) == words


@pytest.mark.parametrize("kind", ["coil", "discrete"])
def test_bits_are_true_or_false_whatever_data_type_a_profile_leaves_them(kind: str) -> None:
    register = from_binding({"register_type": kind, "address": 3, "data_type": "uint16"})
    assert (register.count, decode(register, [1]).value, decode(register, [0]).value) == (1, True, False)


def test_a_bool_register_is_true_when_it_is_not_zero() -> None:
    assert [decode(holding(data_type="bool"), [word]).value for word in (0, 1, 0xFF00)] == [False, True, True]
    assert encode(holding(data_type="bool"), True) == [1]


@pytest.mark.parametrize(
    ("config", "value", "expected"),
    [
        ({"data_type": "int16", "scale": 0.1}, 3276.8, "from -3276.8 to 3276.7 (int16)"),
        ({"data_type": "uint16"}, -1, "from 0 to 65535"),
        ({"data_type": "uint16", "scale": -1.0}, 1, "from -65535 to 0"),
        ({"data_type": "uint64"}, 2**64, "from 0 to 1.8"),
        ({"data_type": "float32"}, 1e39, "3.402823466e+38"),
        ({"data_type": "int16", "scale": 1e-5}, 1e308, "from -0.32768"),
        ({}, 10**400, "finite number"),
        ({}, math.nan, "finite number"),
        ({}, math.inf, "finite number"),
        ({}, True, "finite number"),
        ({}, "21", "finite number"),
        ({}, None, "finite number"),
        ({"data_type": "bool"}, 5, "true or false"),
        ({"data_type": "bool"}, "on", "true or false"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_would(
    config: dict[str, Any], value: Any, expected: str
) -> None:
    with pytest.raises(BadInputError, match="value") as caught:
        encode(holding(**config), value)
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    ("config", "value"), [({"mask": 0xF0}, 16), ({"mask": 0xF0}, -1), ({"mask": 0x5}, 2), ({"bit": 3}, 2)]
)
def test_a_value_that_does_not_fit_its_bits_is_refused(config: dict[str, Any], value: int) -> None:
    with pytest.raises(BadInputError, match="value"):
        encode_partial(holding(**config), value)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"register_type": "file"}, "register_type"),
        ({"register_type": None}, "register_type"),
        ({"data_type": "float16"}, "data_type"),
        ({"register_type": "coil", "data_type": "float32"}, "data_type"),
        ({"byte_order": "middle-endian"}, "byte_order"),
        ({"address": -1}, "address"),
        ({"address": 65536}, "address"),
        ({"address": "40001"}, "address"),
        ({"address": 65535, "data_type": "int32"}, "address"),
        ({"scale": 0}, "scale"),
        ({"scale": math.nan}, "scale"),
        ({"offset": "1"}, "offset"),
        ({"bit": 16}, "bit"),
        ({"bit": 3, "mask": 8}, "mask"),
        ({"mask": 0}, "mask"),
        ({"mask": 1, "data_type": "float32"}, "mask"),
        ({"bit": 1, "register_type": "coil"}, "bit"),
        ({"bit": 1, "data_type": "bcd16"}, "bit"),
        ({"data_type": "string"}, "length"),
        ({"data_type": "string", "length": 124}, "length"),
        ({"data_type": "string", "length": 2, "byte_order": "big-endian-word-swap"}, "byte_order"),
        ({"data_type": "string", "length": 2, "address": 65535}, "address"),
        ({"data_type": "string", "length": 2, "absent": 0}, "absent"),
        ({"length": 2}, "length"),
        ({"absent": 65536}, "absent"),
        ({"absent": 1, "bit": 1}, "absent"),
        ({"absent": 1, "register_type": "coil"}, "absent"),
    ],
)
def test_a_wrong_binding_names_its_key(change: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInputError) as caught:
        holding(**change)
    assert caught.value.field == field


def test_read_back_is_compared_as_closely_as_the_type_can_say() -> None:
    register = holding(data_type="float32")
    assert same(register, Reading(21.3, 0), decode(register, encode(register, 21.3)))
    assert not same(register, Reading(21.3, 0), Reading(21.4, 0))
    assert not same(register, Reading(21.3, 0), Reading(None, 4))
    assert not same(holding(), Reading(3.0, 0), Reading(4.0, 0))


@pytest.mark.parametrize(
    ("order", "words"),
    [("big-endian", [0x4F43, 0x2D31, 0x2020]), ("little-endian-word-swap", [0x434F, 0x312D, 0x2020])],
)
def test_a_string_has_two_characters_per_register(order: str, words: list[int]) -> None:
    register = holding(data_type="string", length=3, byte_order=order)
    assert (register.count, decode(register, words)) == (3, Reading("OC-1", 0))
    assert encode(register, "OC-1") == [*words[:2], 0]


def test_a_string_ends_at_its_first_nul_and_shows_no_control_characters() -> None:
    register = holding(data_type="string", length=3)
    assert decode(register, [0x4100, 0x4242, 0x4343]).value == "A"
    assert decode(register, [0x4107, 0x42FF, 0x4300]).value == "A BÿC"
    assert decode(register, [0xC3A9, 0, 0]).value == "é"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=10), st.booleans())
def test_a_text_comes_back(text: str, swapped: bool) -> None:
    order = "little-endian-word-swap" if swapped else "big-endian"
    register = holding(data_type="string", length=5, byte_order=order)
    assert decode(register, encode(register, text)).value == text


@pytest.mark.parametrize("value", ["ABCDE", "Ä", "A\n", 12.0, None])
def test_a_text_that_does_not_fit_its_registers_is_refused(value: Any) -> None:
    with pytest.raises(BadInputError, match="value") as caught:
        encode(holding(data_type="string", length=2), value)
    assert caught.value.expected == "a text of at most 4 ASCII characters"


@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=123), st.booleans())
def test_whatever_registers_hold_a_string_can_be_shown(words: list[int], swapped: bool) -> None:
    order = "little-endian-word-swap" if swapped else "big-endian"
    register = holding(data_type="string", length=len(words), byte_order=order)
    value = decode(register, words).value
    assert isinstance(value, str)
    assert value.isprintable()


@given(st.integers(0, 99_999_999), ORDERS)
def test_bcd_holds_a_digit_in_each_four_bits(number: int, order: str) -> None:
    register = holding(data_type="bcd32", byte_order=order)
    plain = holding(data_type="uint32", byte_order=order)
    words = encode(register, number)
    assert decode(register, words).value == number
    assert decode(plain, words).value == int(str(number), 16)


def test_a_bcd_digit_above_9_is_a_fault() -> None:
    register = holding(data_type="bcd16", scale=0.1)
    assert decode(register, [0x1234]) == Reading(123.4, 0)
    assert decode(register, [0x123A]) == Reading(None, int(PointStatus.FAULT))
    with pytest.raises(BadInputError, match=r"from 0 to 999\.9 \(bcd16\)"):
        encode(register, 1000)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"data_type": "int16", "absent": 0x8000}, [0x8000]),
        ({"data_type": "int16", "absent": -32768, "scale": 0.1}, [0x8000]),
        ({"data_type": "uint32", "absent": 0xFFFFFFFF}, [0xFFFF, 0xFFFF]),
        (
            {"data_type": "int32", "absent": 0x7FFFFFFF, "byte_order": "big-endian-word-swap"},
            [0xFFFF, 0x7FFF],
        ),
        ({"data_type": "float32", "absent": 0xFF7FFFFF}, [0xFF7F, 0xFFFF]),
    ],
)
def test_what_the_device_sends_for_no_value_is_a_fault(config: dict[str, Any], words: list[int]) -> None:
    register = holding(**config)
    assert decode(register, words) == Reading(None, int(PointStatus.FAULT))
    assert decode(register, [0] * register.count) == Reading(0.0, 0)


@given(st.sampled_from([each for each in get_args(DataType) if each != "string"]), ORDERS, st.data())
def test_whatever_registers_hold_gives_a_value_or_a_fault(
    data_type: str, order: str, data: st.DataObject
) -> None:
    register = holding(data_type=data_type, byte_order=order)
    words = data.draw(st.lists(st.integers(0, 0xFFFF), min_size=register.count, max_size=register.count))
    value, status = decode(register, words)
    if value is None:
        assert status == int(PointStatus.FAULT)
    else:
        assert decode(register, encode(register, value)).value == value
