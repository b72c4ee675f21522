"""Whole blocks decoded at once are what their registers are one by one."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from bridges.modbus.binding import from_binding
from bridges.modbus.blocks import coalesce
from bridges.modbus.reading import BlockReader
from bridges.modbus.registers import ByteOrder, DataType, Register, decode

NUMBERS = [each for each in get_args(DataType) if each != "string"]
SCALES = st.sampled_from([1.0, 0.1, 0.01, 0.001, 0.005, 0.25, 0.3, 1 / 3, 1e-9, 10.0, -2.0, 1e300])


@st.composite
def registers(draw: st.DrawFn) -> Register:
    config = {
        "register_type": "holding",
        "address": draw(st.integers(0, 30)),
        "data_type": draw(st.sampled_from(NUMBERS)),
        "byte_order": draw(st.sampled_from(get_args(ByteOrder))),
        "scale": draw(SCALES),
        "offset": draw(st.sampled_from([0.0, 5.0, 1e300])),
    }
    if config["data_type"] in {"int16", "uint16", "int32", "uint32", "int64", "uint64"}:
        config |= draw(st.sampled_from([{}, {}, {"bit": 3}, {"mask": 0xF0}, {"absent": 0x7FFF}]))
    return from_binding(config, multi_state=draw(st.booleans()))


@given(st.lists(registers(), min_size=1, max_size=12), st.data())
def test_a_block_gives_each_register_its_own_value(found: list[Register], data: st.DataObject) -> None:
    for block in coalesce([(str(number), register) for number, register in enumerate(found)]):
        words = data.draw(st.lists(st.integers(0, 0xFFFF), min_size=block.count, max_size=block.count))
        for (_, register), value, status in zip(block.items, *block.reader.read(words), strict=True):
            alone = decode(register, block.words_of(register, words))
            assert (value, status) == (alone.value, alone.status)
            assert type(value) is type(alone.value)


@given(st.integers(-(2**31), 2**31 - 1), st.sampled_from([0.1, 0.01, 0.001, 0.005, 0.25, 1e-6, 1 / 3]))
def test_tenths_and_the_like_have_no_binary_dust(raw: int, scale: float) -> None:
    register = from_binding({"register_type": "holding", "address": 0, "data_type": "int32", "scale": scale})
    words = [raw >> 16 & 0xFFFF, raw & 0xFFFF]
    [value], _ = BlockReader(0, [register]).read(words)
    assert value == decode(register, words).value


def test_bits_and_texts_are_decoded_one_by_one() -> None:
    coils = [Register("coil", at, "bool") for at in (3, 4, 7)]
    assert BlockReader(3, coils).read([1, 0, 0, 0, 1]) == ([True, False, True], [0, 0, 0])
    text = from_binding({"register_type": "input", "address": 0, "data_type": "string", "length": 2})
    after = from_binding({"register_type": "input", "address": 2, "data_type": "int16"})
    assert BlockReader(0, [text, after]).read([0x4142, 0x4300, 0xFFFF]) == (["ABC", -1.0], [0, 0])
