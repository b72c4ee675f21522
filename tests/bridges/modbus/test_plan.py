"""What a device is asked for next."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bridges.modbus.blocks import Block
from bridges.modbus.plan import Plan, Wanted
from bridges.modbus.registers import Register


def plan(*addresses: int, interval: float = 10.0, max_gap: int = 10) -> Plan:
    points = {f"p{address}": Wanted(Register("holding", address), interval) for address in addresses}
    return Plan(points, max_gap, 125, now=100.0)


def spans(blocks: list[Block]) -> list[tuple[int, int]]:
    return [(block.address, block.count) for block in blocks]


@given(st.lists(st.floats(0, 0.9), min_size=2, max_size=50))
def test_polls_keep_to_the_grid_however_late_each_one_is(delays: list[float]) -> None:
    each, polls = plan(0), list[float]()
    for delay in delays:
        now = each.next_due() + delay
        assert each.take_due(now)
        polls.append(now)
    for at, (now, delay) in enumerate(zip(polls, delays, strict=True)):
        assert abs(now - delay - (100.0 + 9.0 * at)) < 1e-6
    assert all(b - a <= 10.0 for a, b in pairwise(polls))


def test_grid_times_that_went_by_unused_are_skipped() -> None:
    each = plan(0)
    assert spans(each.take_due(100.0 + 9.0 * 3 + 1)) == [(0, 1)]
    assert each.next_due() == 136.0
    assert each.take_due(135.9) == []


def test_where_neighbours_may_hold_up_the_line_polls_come_earlier() -> None:
    points = {"quick": Wanted(Register("holding", 0), 1.0), "slow": Wanted(Register("holding", 1), 10.0)}
    each = Plan(points, 10, 125, now=0.0, hold=2.2)
    each.take_due(0.0)
    assert each.next_due() == 0.6
    assert len(each.take_due(7.7)) == 1
    assert len(each.take_due(7.9)) == 2


def test_intervals_have_their_own_blocks_and_pace() -> None:
    points = {
        "slow": Wanted(Register("holding", 0), 60.0),
        "quick": Wanted(Register("holding", 1), 1.0),
    }
    each = Plan(points, 10, 125, now=0.0)
    assert spans(each.take_due(0.0)) == [(1, 1), (0, 1)]
    assert spans(each.take_due(0.9)) == [(1, 1)]
    assert len(each.take_due(54.0)) == 2


@given(st.sets(st.integers(0, 60), min_size=1, max_size=30), st.data())
def test_cutting_finds_exactly_the_registers_that_are_missing(
    addresses: set[int], data: st.DataObject
) -> None:
    missing = data.draw(st.sets(st.integers(0, 60)))
    each = plan(*addresses)
    read: list[str] = []
    waiting = each.take_due(100.0)
    while waiting:
        block = waiting.pop()
        if set(range(block.address, block.address + block.count)) & missing:
            parts, _ = each.refuse(block, "illegal data address (2)", 100.0, 0.5)
            waiting += parts
        else:
            each.answered(block)
            read += [point_id for point_id, _ in block.items]
    assert sorted(read) == sorted(f"p{address}" for address in addresses - missing)
    assert set(each.refused) == {f"p{address}" for address in addresses & missing}
    regular = sorted(point_id for block in each.blocks for point_id, _ in block.items)
    assert regular == sorted(read)


def test_what_was_refused_is_tried_rarely_and_read_again_once_it_answers() -> None:
    each = plan(0, 1)
    (block,) = each.take_due(100.0)
    (good, bad), _ = each.refuse(block, "illegal data address (2)", 100.0, 0.0)
    each.answered(good)
    assert each.refuse(bad, "illegal data address (2)", 100.0, 0.0) == ([], ["p1"])
    assert spans(each.take_due(109.0)) == [(0, 1)]
    regular, trial = each.take_due(136.0)
    assert spans([regular, trial]) == [(0, 1), (1, 1)]
    assert each.refuse(trial, "illegal data address (2)", 136.0, 0.0) == ([], [])
    assert spans(each.take_due(190.0)) == [(0, 1)]
    _, trial = each.take_due(199.0)
    each.answered(trial)
    assert each.refused == {}
    assert spans(each.take_due(208.0)) == [(0, 1), (1, 1)]


def test_when_everything_is_refused_one_question_a_poll_remains() -> None:
    each = plan(0, 30)
    for block in each.take_due(100.0):
        each.refuse(block, "illegal function (1)", 100.0, 0.0)
    assert len(each.take_due(109.0)) == 1
    assert each.probe() is not None


def test_a_block_is_cut_the_second_time_it_is_met_with_silence() -> None:
    each = plan(0, 1, 2, 3)
    (block,) = each.take_due(100.0)
    assert each.silent(block, "no answer", 100.0, 0.0) == []
    assert spans(each.take_due(109.0)) == [(0, 4)]
    assert each.silent(block, "no answer", 109.0, 0.0) == []
    assert sorted(spans(each.take_due(118.0))) == [(0, 2), (2, 2)]


def test_troubled_blocks_come_last() -> None:
    each = plan(0, 50)
    first, _ = each.take_due(100.0)
    each.silent(first, "no answer", 100.0, 0.0)
    assert spans(each.take_due(109.0)) == [(50, 1), (0, 1)]


def test_a_probe_is_small_and_not_what_just_got_no_answer() -> None:
    each = plan(*range(10), 50)
    _, small = each.blocks
    assert {spans([probe])[0] for probe in (each.probe(), each.probe()) if probe} == {(0, 1), (50, 1)}
    assert {spans([probe])[0] for probe in (each.probe(small), each.probe(small)) if probe} == {(0, 1)}
    alone = plan(0)
    assert alone.probe(alone.blocks[0]) is None


def test_a_device_without_points_is_never_due() -> None:
    assert plan().next_due() == float("inf")
    assert plan().probe() is None
