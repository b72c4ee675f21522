"""Backoff and miss counting of the bridges."""

from hypothesis import given
from hypothesis import strategies as st

from bridges.backoff import Backoff, Change, Liveness

CHANCE = st.floats(0, 1)


def test_waits_double_from_2_s_to_5_min_for_a_device_that_is_long_dead() -> None:
    waits = [Backoff(jitter=0).delay(n, silent_for=1e6, chance=0.5) for n in range(1, 11)]
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_in_the_first_two_minutes_a_silent_device_is_checked_at_least_every_12_s() -> None:
    silent, waits = 0.0, []
    while silent < 120:
        waits.append(Backoff().delay(len(waits) + 1, silent, chance=0))
        silent += waits[-1]
    assert max(waits) == 12


@given(st.integers(1, 10**9), st.floats(0, 1e9), CHANCE)
def test_any_wait_lies_between_first_less_jitter_and_limit(misses: int, silent: float, chance: float) -> None:
    assert 2 * 0.8 <= Backoff().delay(misses, silent, chance) <= 300


@given(st.integers(1, 60), st.floats(0, 1e5), CHANCE)
def test_more_misses_never_shorten_the_wait(misses: int, silent: float, chance: float) -> None:
    assert Backoff().delay(misses + 1, silent, chance) >= Backoff().delay(misses, silent, chance)


def test_jitter_spreads_devices_that_died_together() -> None:
    waits = {Backoff().delay(3, 10.0, chance / 10) for chance in range(10)}
    assert len(waits) == 10


def test_fifth_miss_in_a_row_is_down_and_is_told_once() -> None:
    liveness = Liveness()
    told = [liveness.missed(float(n), "no answer", 0.0) for n in range(8)]
    assert told == [(), (), (), (), (Change.DOWN,), (), (), ()]
    assert (liveness.state, liveness.misses, liveness.reason) == ("down", 8, "no answer")


def test_an_answer_between_starts_the_count_again() -> None:
    liveness = Liveness()
    for n in range(4):
        liveness.missed(float(n), "no answer", 0.0)
    liveness.answered()
    told = [liveness.missed(10.0 + n, "no answer", 0.0) for n in range(5)]
    assert told == [(), (), (), (), (Change.DOWN,)]


def test_first_contact_discovers_once_and_recovery_is_told_once() -> None:
    liveness = Liveness()
    assert liveness.answered() == (Change.DISCOVERED,)
    assert liveness.answered() == ()
    for n in range(5):
        liveness.missed(float(n), "no answer", 0.0)
    assert liveness.answered() == (Change.RECOVERED,)
    assert liveness.answered() == ()


def test_a_device_that_was_down_from_the_start_is_discovered_and_recovered() -> None:
    liveness = Liveness()
    for n in range(5):
        liveness.missed(float(n), "connection refused", 0.0)
    assert liveness.answered() == (Change.DISCOVERED, Change.RECOVERED)


@given(st.lists(st.booleans(), max_size=60))
def test_down_and_recovered_alternate_whatever_happens(answers: list[bool]) -> None:
    liveness, told = Liveness(), []
    for at, answer in enumerate(answers):
        changes = liveness.answered() if answer else liveness.missed(float(at), "no answer", 0.5)
        told += [change for change in changes if change is not Change.DISCOVERED]
        assert answer or liveness.retry_at > at
    assert told[::2] == [Change.DOWN] * len(told[::2])
    assert told[1::2] == [Change.RECOVERED] * len(told[1::2])
