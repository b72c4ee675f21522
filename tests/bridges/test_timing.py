"""How long a device takes to answer."""

from hypothesis import given
from hypothesis import strategies as st

from bridges.timing import KEPT, AnswerTimes, Spread


def test_before_the_first_answer_nothing_is_known() -> None:
    assert AnswerTimes().spread() is None


def test_mean_95th_percentile_and_longest_in_milliseconds() -> None:
    times = AnswerTimes()
    for each in range(1, 101):
        times.add(each / 1000)
    assert times.spread() == Spread(50.5, 95.0, 100.0)


@given(st.lists(st.floats(0, 60), min_size=1, max_size=3 * KEPT))
def test_only_the_last_answers_count(seconds: list[float]) -> None:
    times = AnswerTimes()
    for each in seconds:
        times.add(each)
    spread = times.spread()
    assert spread is not None
    assert spread.longest == round(1000 * max(seconds[-KEPT:]), 3)
    assert round(1000 * min(seconds[-KEPT:]), 3) <= spread.p95 <= spread.longest
