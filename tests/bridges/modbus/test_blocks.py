"""Coalescing of registers into blocks, and cutting them."""

from hypothesis import given
from hypothesis import strategies as st

from bridges.modbus.blocks import Block, Item, coalesce, single, split
from bridges.modbus.registers import Register, RegisterType

REGISTERS = st.builds(
    Register,
    st.sampled_from(["holding", "input", "coil", "discrete"]),
    st.integers(0, 4000),
    st.sampled_from(["int16", "float32", "uint64"]),
)
ITEMS = st.lists(REGISTERS, max_size=60).map(lambda all_: [(f"p{at}", each) for at, each in enumerate(all_)])


def at(*addresses: int, kind: RegisterType = "holding") -> list[Item]:
    return [(f"p{address}", Register(kind, address)) for address in addresses]


def spans(blocks: list[Block]) -> list[tuple[int, int]]:
    return [(block.address, block.count) for block in blocks]


def test_neighbours_and_gaps_of_up_to_10_are_read_together() -> None:
    assert spans(coalesce(at(0, 1, 12, 24))) == [(0, 13), (24, 1)]


def test_a_gap_of_none_reads_only_what_was_asked_for() -> None:
    assert spans(coalesce(at(0, 1, 3), max_gap=0)) == [(0, 2), (3, 1)]


def test_125_registers_fit_one_request_and_126_do_not() -> None:
    assert spans(coalesce(at(*range(125)))) == [(0, 125)]
    assert spans(coalesce(at(*range(126)))) == [(0, 125), (125, 1)]


def test_2000_bits_fit_one_request_and_2001_do_not() -> None:
    assert spans(coalesce(at(*range(2000), kind="coil"))) == [(0, 2000)]
    assert spans(coalesce(at(*range(2001), kind="coil"))) == [(0, 2000), (2000, 1)]


def test_register_types_never_share_a_request() -> None:
    assert len(coalesce(at(0) + at(1, kind="input") + at(2, kind="coil") + at(3, kind="discrete"))) == 4


def test_a_value_wider_than_the_limit_is_not_torn() -> None:
    items = [("a", Register("holding", 0, "float64")), ("b", Register("holding", 4, "float64"))]
    assert spans(coalesce(items, max_registers=1)) == [(0, 4), (4, 4)]


@given(ITEMS, st.integers(0, 124), st.integers(4, 125))
def test_every_point_is_in_exactly_one_block_within_the_limits(
    items: list[Item], gap: int, limit: int
) -> None:
    blocks = coalesce(items, max_gap=gap, max_registers=limit)
    assert sorted(item[0] for block in blocks for item in block.items) == sorted(item[0] for item in items)
    for block in blocks:
        assert block.count <= (2000 if block.type in ("coil", "discrete") else limit)
        covered = set[int]()
        for _, register in block.items:
            assert register.type == block.type
            assert block.address <= register.address
            assert register.address + register.count <= block.address + block.count
            covered |= set(range(register.address, register.address + register.count))
        empty = sorted(set(range(block.address, block.address + block.count)) - covered)
        assert not any(set(range(each, each + gap + 1)) <= set(empty) for each in empty)


@given(ITEMS)
def test_a_block_gives_each_point_its_own_words(items: list[Item]) -> None:
    for block in coalesce(items):
        words = list(range(block.address, block.address + block.count))
        for _, register in block.items:
            wanted = list(range(register.address, register.address + register.count))
            assert block.words_of(register, words) == wanted


@given(ITEMS)
def test_cutting_goes_on_until_every_point_is_alone_and_loses_none(items: list[Item]) -> None:
    for block in coalesce(items):
        waiting, done = [block], list[Block]()
        while waiting:
            parts = split(waiting.pop())
            if parts is None:
                continue
            assert all(part.items for part in parts)
            waiting += parts
            done += parts
        waiting, last = [block], list[Block]()
        while waiting:
            current = waiting.pop()
            parts = split(current)
            if parts:
                waiting += parts
            else:
                last.append(current)
        assert sorted(item[0] for each in last for item in each.items) == sorted(i[0] for i in block.items)
        for each in last:
            assert len({(register.address, register.count) for _, register in each.items}) == 1


def test_a_block_is_cut_in_its_gap_first() -> None:
    (block,) = coalesce(at(0, 1, 2, 3, 9))
    parts = split(block)
    assert parts is not None
    assert spans(list(parts)) == [(0, 4), (9, 1)]


def test_bits_of_one_register_can_not_be_cut() -> None:
    bits = [(f"b{bit}", Register("holding", 7, bit=bit)) for bit in range(3)]
    (block,) = coalesce(bits)
    assert split(block) is None
    assert split(single(bits[0])) is None
