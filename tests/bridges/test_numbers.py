import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.numbers import shortest


@pytest.mark.parametrize("text", ["21.3", "0.1", "123.456", "-7e-08", "16777216.0", "0.0"])
def test_a_number_is_given_as_it_was_written(text: str) -> None:
    assert shortest(struct.unpack("<f", struct.pack("<f", float(text)))[0]) == float(text)


@given(st.floats(width=32))
def test_no_number_becomes_another_32_bit_number(value: float) -> None:
    short = shortest(value)
    if math.isnan(value):
        assert math.isnan(short)
        return
    assert struct.pack("<f", short) == struct.pack("<f", value)
