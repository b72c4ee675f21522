"""Whole blocks decoded at once are what their registers are one by one."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from bridges.modbus.binding import from_binding
from bridges.modbus.blocks import coalesce
from bridges.modbus.reading import BlockReader
from bridges.modbus.registers import ByteOrder, DataType, Register, decode

NUMBERS = [each for each in get_args(DataType) if each != "string"]
SCALES = st.sampled_from([1.0, 0.1, 0.001, -2.0, 1e300])


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
        values = block.reader.read(words)
        for (_, register), value in zip(block.items, values, strict=True):
            alone = decode(register, block.words_of(register, words))
            assert value == (alone.value, alone.status)
            assert type(value[0]) is type(alone.value)


def test_bits_and_texts_are_decoded_one_by_one() -> None:
    coils = [Register("coil", at, "bool") for at in (3, 4, 7)]
    assert BlockReader(3, coils).read([1, 0, 0, 0, 1]) == [(True, 0), (False, 0), (True, 0)]
    text = from_binding({"register_type": "input", "address": 0, "data_type": "string", "length": 2})
    after = from_binding({"register_type": "input", "address": 2, "data_type": "int16"})
    assert BlockReader(0, [text, after]).read([0x4142, 0x4300, 0xFFFF]) == [("ABC", 0), (-1.0, 0)]
