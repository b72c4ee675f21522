from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from actors.alarm.logic import (
    Side,
    Watch,
    after_acknowledge,
    after_clear,
    after_raise,
    after_report,
    describe,
    side_of,
)
from actors.alarm.models import (
    AlarmState,
    Condition,
    FaultCondition,
    LimitCondition,
    StaleCondition,
    StateCondition,
)
from actors.core.values import PointStatus

ACTIVE, ACKNOWLEDGED, CLEARED, CLOSED = AlarmState

NOT_READ = [PointStatus.DOWN, PointStatus.DISABLED, PointStatus.FAULT]


@st.composite
def limits(draw: st.DrawFn) -> LimitCondition:
    deadband = draw(st.integers(0, 10))
    low = draw(st.integers(-50, 50))
    high = low + 2 * deadband + draw(st.integers(0, 20))
    delay = draw(st.integers(0, 20))
    both = draw(st.sampled_from([(low, high), (None, high), (low, None)]))
    return LimitCondition(low=both[0], high=both[1], deadband=deadband, delay=delay)


numbers = st.integers(-400, 400).map(lambda n: n / 4)


def outside(limit: LimitCondition, value: float) -> bool:
    above = limit.high is not None and value > limit.high
    return above or (limit.low is not None and value < limit.low)


def well_inside(limit: LimitCondition, value: float) -> bool:
    below = limit.high is None or value <= limit.high - limit.deadband
    return below and (limit.low is None or value >= limit.low + limit.deadband)


def leaves(limit: LimitCondition, value: float, side: Side | None) -> bool:
    """Tell whether a value is past the deadband of the limit that was passed."""
    if side == "high":
        return limit.high is not None and value <= limit.high - limit.deadband
    return side == "low" and limit.low is not None and value >= limit.low + limit.deadband


def test_from_past_one_limit_into_the_deadband_of_the_other_is_the_end_of_the_alarm() -> None:
    watch = Driven(LimitCondition(high=27, low=17, deadband=1))
    assert watch.show(28.0)
    assert watch.show(26.5)
    assert not watch.show(17.5)
    assert watch.show(16.0)
    assert watch.show(17.5)
    assert not watch.show(26.5)
    assert watch.show(28.0)
    assert watch.show(16.0), "from past one to past the other it stays"
    assert watch.show(17.5)


PLACES = ["outside", "in the deadband", "well inside", "not read"]


def at(limit: LimitCondition, place: str, upper: bool) -> float | None:
    sign, edge = (1, limit.high) if upper and limit.high is not None else (-1, limit.low)
    if edge is None:
        sign, edge = 1, limit.high or 0.0
    inward = {"outside": -1.0, "in the deadband": limit.deadband / 2, "well inside": limit.deadband}
    return edge - sign * inward[place] if place in inward else None


class Driven:
    """A watch whose store always confirms at once, with what it was shown."""

    def __init__(self, condition: Condition, *, raised: bool = False) -> None:
        self.now = 0.0
        self.watch = Watch(condition, raised=raised, off_normal=raised)

    @property
    def raised(self) -> bool:
        return self.watch.raised

    def settle(self) -> bool:
        self.watch.raised = self.watch.wanted(self.now)
        return self.watch.raised

    def show(self, value: Any, status: int = 0, after: float = 0.0) -> bool:
        self.now += after
        self.settle()
        self.watch.judge(value, status, self.now)
        return self.settle()


@given(limit=limits(), value=numbers, before=st.booleans())
def test_outside_its_limits_a_point_is_in_alarm_after_the_delay_and_well_inside_never(
    limit: LimitCondition, value: float, before: bool
) -> None:
    watch = Driven(limit, raised=before)
    watch.show(value)
    watch.now += limit.delay
    stands = watch.settle()
    if outside(limit, value):
        assert stands
    elif well_inside(limit, value):
        assert not stands
    else:
        assert stands == before


@given(
    limit=limits(), values=st.lists(st.floats(0, 1), min_size=1), before=st.booleans(), upper=st.booleans()
)
def test_nothing_flaps_inside_the_deadband(
    limit: LimitCondition, values: list[float], before: bool, upper: bool
) -> None:
    edge = limit.high if upper else limit.low
    if edge is None or limit.deadband == 0:
        return
    watch = Driven(limit, raised=before)
    for part in values:
        value = edge + limit.deadband * 0.99 * (-part if upper else part)
        assert watch.show(value, after=5) == before


@given(limit=limits(), values=st.lists(numbers))
def test_an_alarm_comes_outside_and_goes_only_past_the_deadband(
    limit: LimitCondition, values: list[float]
) -> None:
    watch = Driven(limit.model_copy(update={"delay": 0.0}))
    side: Side | None = None
    for value in values:
        before = watch.raised
        after = watch.show(value, after=1)
        if after and not before:
            assert outside(limit, value)
        if before and not after:
            assert well_inside(limit, value) or (not outside(limit, value) and leaves(limit, value, side))
        side = side_of(limit, value, side)


@given(
    limit=limits(),
    steps=st.lists(st.tuples(st.integers(0, 12), st.sampled_from(PLACES), st.booleans()), max_size=40),
)
def test_an_alarm_is_never_raised_before_the_limit_was_broken_for_its_delay(
    limit: LimitCondition, steps: list[tuple[int, str, bool]]
) -> None:
    watch = Driven(limit)
    broken_since: float | None = None
    for after, place, upper in steps:
        value = at(limit, place, upper)
        before = watch.raised
        watch.now += after
        if watch.settle() and not before:
            assert broken_since is not None
            assert watch.now - broken_since >= limit.delay
        before = watch.raised
        stands = watch.show(value)
        if value is not None and not outside(limit, value):
            broken_since = None
        elif value is not None and broken_since is None:
            broken_since = watch.now
        if stands and not before:
            assert broken_since is not None
            assert watch.now - broken_since >= limit.delay
        if broken_since is not None and watch.now - broken_since >= limit.delay:
            assert stands


def test_a_delay_begins_again_when_the_value_comes_back_below_the_limit() -> None:
    watch = Driven(LimitCondition(low=10, high=30, deadband=5, delay=60))
    assert not watch.show(31.0)
    assert not watch.show(28.0, after=1)
    assert not watch.show(28.0, after=100)
    assert not watch.show(31.0, after=1)
    assert not watch.show(32.0, after=59)
    assert watch.show(32.0, after=1)


def test_a_delay_that_was_over_when_the_value_came_into_the_deadband_has_been_over() -> None:
    watch = Watch(LimitCondition(high=30, deadband=5, delay=60))
    watch.judge(31.0, 0, 0.0)
    watch.judge(28.0, 0, 61.0)
    assert watch.wanted(61.0)
    watch.judge(25.0, 0, 62.0)
    assert not watch.wanted(62.0)


def test_an_alarm_that_stands_needs_no_second_delay() -> None:
    watch = Driven(LimitCondition(high=30, delay=60), raised=True)
    assert watch.show(31.0)


@pytest.mark.parametrize("flag", NOT_READ)
@pytest.mark.parametrize("condition", [LimitCondition(high=30), StateCondition(states=[31, "on"])])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("value", [31, 0])
def test_a_value_that_was_not_read_changes_nothing(
    flag: PointStatus, condition: Condition, before: bool, value: int
) -> None:
    watch = Driven(condition, raised=before)
    assert watch.show(value, flag) == before
    assert watch.show(None) == before


@pytest.mark.parametrize("flag", [PointStatus.ALARM, PointStatus.STALE, PointStatus.OVERRIDDEN])
def test_flags_that_do_not_spoil_a_value_do_not_hide_it(flag: PointStatus) -> None:
    assert Driven(LimitCondition(high=30)).show(31.0, flag)


def test_a_text_says_nothing_about_a_limit() -> None:
    watch = Driven(LimitCondition(high=30), raised=True)
    assert watch.show("off")
    assert not watch.show(20)


@pytest.mark.parametrize(
    ("states", "value", "alarm"),
    [
        ([True], True, True),
        ([True], False, False),
        ([False], False, True),
        ([2, 4], 4, True),
        ([2, 4], 3, False),
        (["trip"], "trip", True),
        (["trip"], "run", False),
    ],
)
def test_a_state_alarm_stands_while_the_value_is_one_of_its_states(
    states: list[bool | int | str], value: Any, alarm: bool
) -> None:
    assert Driven(StateCondition(states=states)).show(value) is alarm


@given(status=st.integers(0, 63), before=st.booleans())
def test_stale_and_fault_alarms_follow_the_flags_alone(status: int, before: bool) -> None:
    stale = bool(status & (PointStatus.STALE | PointStatus.DOWN))
    assert Driven(StaleCondition(), raised=before).show(None, status) == stale
    fault = bool(status & PointStatus.FAULT)
    assert Driven(FaultCondition(), raised=before).show(None, status) == fault


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"high": 30, "low": 25, "deadband": 3},
        {"high": 10, "low": 20},
        {"high": float("nan")},
        {"high": float("inf")},
        {"high": 30, "deadband": -1},
        {"high": 30, "delay": -1},
        {"high": 30, "delay": 86_401},
        {"high": 30, "hysteresis": 1},
    ],
)
def test_limits_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LimitCondition.model_validate(fields)


@pytest.mark.parametrize(
    ("condition", "value", "units", "message"),
    [
        (LimitCondition(high=30, low=10), 31.25, "°C", "Room is 31.2 °C, above 30 °C"),
        (LimitCondition(high=30, low=10), 9, None, "Room is 9, below 10"),
        (LimitCondition(low=10), 9.0, "no-units", "Room is 9.0, below 10"),
        (LimitCondition(high=30, low=10), 28.0, None, "Room is 28.0, outside its limits"),
        (LimitCondition(high=30, low=10), None, None, "Room is None, outside its limits"),
        (StateCondition(states=[True]), True, None, "Room is True"),
        (StaleCondition(), None, None, "Room has had no reading for too long"),
        (FaultCondition(), None, None, "Room reports a fault"),
    ],
)
def test_an_alarm_says_what_is_wrong(
    condition: Condition, value: Any, units: str | None, message: str
) -> None:
    assert describe(condition, "Room", value, units) == message


def test_an_alarm_goes_from_state_to_state_as_isa_18_2_says() -> None:
    assert [after_raise(each) for each in (None, *AlarmState)] == [
        ACTIVE,
        ACTIVE,
        ACKNOWLEDGED,
        ACTIVE,
        ACTIVE,
    ]
    assert [after_clear(each) for each in AlarmState] == [CLEARED, CLOSED, CLEARED, CLOSED]
    assert [after_acknowledge(each) for each in AlarmState] == [ACKNOWLEDGED, ACKNOWLEDGED, CLOSED, CLOSED]


@pytest.mark.parametrize(
    ("state", "standing", "acknowledged", "after"),
    [
        (None, True, False, "active"),
        (None, True, None, "active"),
        (None, True, True, "acknowledged"),
        (None, False, False, "cleared"),
        (None, False, True, None),
        (None, False, None, None),
        ("closed", False, None, None),
        ("closed", False, False, "cleared"),
        ("active", True, None, "active"),
        ("active", False, None, "cleared"),
        ("active", False, True, "closed"),
        ("acknowledged", True, None, "acknowledged"),
        ("acknowledged", True, False, "active"),
        ("acknowledged", False, None, "closed"),
        ("acknowledged", False, False, "cleared"),
        ("cleared", True, None, "active"),
        ("cleared", False, None, "cleared"),
        ("cleared", False, True, "closed"),
    ],
)
def test_an_alarm_follows_what_its_device_says(
    state: str | None, standing: bool, acknowledged: bool | None, after: str | None
) -> None:
    before = None if state is None else AlarmState(state)
    found = after_report(before, standing=standing, acknowledged=acknowledged)
    assert found == (None if after is None else AlarmState(after))
