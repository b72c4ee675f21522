from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.alarm.engine import AlarmEngine
from actors.alarm.logic import Watch, is_off_normal
from actors.alarm.models import (
    AlarmState,
    FaultCondition,
    LimitCondition,
    NewAlarmConfig,
    Severity,
    StaleCondition,
    StateCondition,
)
from actors.alarm.store import AlarmStore
from actors.bus.events import AlarmAcknowledged, AlarmCleared, AlarmRaised, WatchMoved
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.core.values import PointStatus
from actors.point.models import PointConfig, empty_frame
from actors.point.store import PointStore
from tests.support import InProcess

HIGH = LimitCondition(high=27.0, low=17.0, deadband=0.5)


class Clock:
    def __init__(self, now: float = 1_700_000_000_000) -> None:
        self.now = now

    def __call__(self) -> Any:
        return self.now


# Rules


@pytest.mark.parametrize(
    ("value", "was", "now"),
    [
        (27.0, False, False),
        (27.1, False, True),
        (26.6, True, True),
        (26.5, True, False),
        (17.0, False, False),
        (16.9, False, True),
        (17.4, True, True),
        (17.5, True, False),
        (None, True, True),
        (None, False, False),
    ],
)
def test_limits_hold_through_the_deadband(value: float | None, was: bool, now: bool) -> None:
    assert is_off_normal(HIGH, value, 0, was=was) is now


@given(st.floats(-50, 50), st.booleans())
def test_far_inside_is_normal_and_outside_is_not(value: float, was: bool) -> None:
    found = is_off_normal(HIGH, value, 0, was=was)
    if value > 27.0 or value < 17.0:
        assert found
    elif 17.5 <= value <= 26.5:
        assert not found
    else:
        assert found is was


@pytest.mark.parametrize("flag", [PointStatus.DOWN, PointStatus.FAULT, PointStatus.DISABLED])
def test_a_value_that_says_nothing_neither_raises_nor_clears(flag: PointStatus) -> None:
    for was in (True, False):
        assert is_off_normal(HIGH, 99.0, int(flag), was=was) is was
        assert is_off_normal(StateCondition(states=[True]), True, int(flag), was=was) is was


def test_states_stale_and_fault() -> None:
    assert is_off_normal(StateCondition(states=[2, 3]), 3, 0, was=False)
    assert not is_off_normal(StateCondition(states=[True]), False, 0, was=True)
    assert is_off_normal(StaleCondition(), None, int(PointStatus.STALE), was=False)
    assert is_off_normal(StaleCondition(), 1.0, int(PointStatus.DOWN), was=False)
    assert not is_off_normal(StaleCondition(), 1.0, 0, was=True)
    assert is_off_normal(FaultCondition(), 1.0, int(PointStatus.FAULT), was=False)


@given(st.lists(st.tuples(st.floats(10, 35), st.floats(0.1, 20)), max_size=40))
def test_nothing_is_raised_before_its_delay(course: list[tuple[float, float]]) -> None:
    watch, now, since = Watch(HIGH.model_copy(update={"delay": 30.0})), 0.0, None
    for value, step in course:
        now += step
        watch.judge(value, 0, now)
        since = (now if since is None else since) if watch.off_normal else None
        assert watch.wanted(now) is (since is not None and now - since >= 30.0)


# Store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events() -> list[Any]:
    return []


@pytest.fixture
def store(tmp_path: Path, events: list[Any], clock: Clock) -> AlarmStore:
    store = AlarmStore(tmp_path, events.append, clock)
    events.clear()
    return store


def config(node_id: str = "p", **more: Any) -> NewAlarmConfig:
    return NewAlarmConfig(node_id=node_id, condition=more.pop("condition", HIGH), **more)


def test_an_alarm_goes_from_active_to_closed_and_tells_the_bus(
    store: AlarmStore, events: list[Any], clock: Clock
) -> None:
    made = store.create_config(config())
    alarm = store.raise_alarm("p", Severity.HIGH, "too warm", 28.0, made.id)
    assert store.raise_alarm("p", Severity.HIGH, "too warm", 29.0, made.id) == alarm
    clock.now += 1000
    seen = store.acknowledge(alarm.id, "ana", "on my way")
    assert store.acknowledge(alarm.id, "bob") == seen
    closed = store.clear(alarm.id, 25.0)
    assert store.clear(alarm.id) == closed
    assert (alarm.state, seen.state, closed.state) == ("active", "acknowledged", "closed")
    assert (seen.acknowledged_by, seen.note) == ("ana", "on my way")
    assert [type(each) for each in events] == [WatchMoved, AlarmRaised, AlarmAcknowledged, AlarmCleared]
    assert [each.event for each in store.history()[0]] == ["cleared", "acknowledged", "raised"]
    assert store.find()[0] == []
    assert store.find(states=[AlarmState.CLOSED])[0] == [closed]


def test_a_cleared_alarm_that_comes_back_unseen_is_the_same_alarm(store: AlarmStore) -> None:
    made = store.create_config(config())
    alarm = store.raise_alarm("p", Severity.HIGH, "m", 28.0, made.id)
    assert store.clear(alarm.id).state is AlarmState.CLEARED
    again = store.raise_alarm("p", Severity.HIGH, "m", 30.0, made.id)
    assert (again.id, again.state, again.cleared_at) == (alarm.id, AlarmState.ACTIVE, None)
    store.clear(alarm.id)
    assert store.acknowledge(alarm.id, "ana").state is AlarmState.CLOSED
    assert store.raise_alarm("p", Severity.HIGH, "m", 30.0, made.id).id != alarm.id


def test_several_are_acknowledged_all_or_none(store: AlarmStore, events: list[Any]) -> None:
    one = store.raise_alarm("p", Severity.LOW, "a")
    events.clear()
    with pytest.raises(NotFoundError):
        store.acknowledge_many([one.id, 99], "ana")
    assert store.get(one.id).state is AlarmState.ACTIVE
    assert events == []
    assert store.acknowledge_many([one.id], "ana")[0].state is AlarmState.ACKNOWLEDGED


def test_a_shelf_keeps_an_alarm_out_of_the_way_until_its_time(store: AlarmStore, clock: Clock) -> None:
    made = store.create_config(config())
    alarm = store.raise_alarm("p", Severity.HIGH, "m", 28.0, made.id)
    for wrong in (clock.now, clock.now + 40 * 86_400_000):
        with pytest.raises(BadInputError):
            store.shelve(alarm.id, int(wrong), "ana")
    until = int(clock.now) + 60_000
    store.shelve(alarm.id, until, "ana", "known")
    summary = store.summary()
    assert (summary.active, summary.unacknowledged, summary.shelved) == (0, 0, 1)
    store.acknowledge(alarm.id, "ana")
    store.clear(alarm.id)
    again = store.raise_alarm("p", Severity.HIGH, "m", 28.0, made.id)
    assert again.shelved_until == until
    with pytest.raises(ConflictError):
        store.shelve(alarm.id, until + 1, "ana")
    clock.now += 60_000
    assert again.id in store.unshelve_due()
    assert store.summary().unacknowledged == 1


def test_applying_the_configurations_of_a_file_respects_what_people_did(store: AlarmStore) -> None:
    first = [config("a"), config("b"), config("c")]
    assert store.apply_configs(first, "campus.yaml") == 3
    version = store.config_version()
    assert store.apply_configs(first, "campus.yaml") == 0
    assert store.config_version() == version
    a, b, _ = store.configs()[0]
    edited = store.update_config(a.id, config("a", severity=Severity.CRITICAL))
    store.delete_config(b.id)
    assert (
        store.apply_configs([config("a"), config("b"), config("c", severity=Severity.LOW)], "campus.yaml")
        == 1
    )
    found = {each.node_id: each for each in store.configs()[0]}
    assert found.keys() == {"a", "c"}
    assert found["a"] == edited
    assert found["c"].severity is Severity.LOW
    assert store.apply_configs([], "campus.yaml") == 1
    assert [each.node_id for each in store.configs()[0]] == ["a"]
    assert store.apply_configs([config("c")], "campus.yaml") == 1
    with pytest.raises(NotFoundError):
        store.update_config(b.id, config("b"))


def test_alarms_page_by_page_and_after_a_restart(store: AlarmStore) -> None:
    ids = [store.raise_alarm(f"p{n}", Severity.LOW, "m").id for n in range(5)]
    first, cursor = store.find(limit=3)
    rest, _ = store.find(limit=3, cursor=cursor)
    assert [each.id for each in first + rest] == ids[::-1]
    store.close()
    again = AlarmStore(store.path.parent)
    assert [each.id for each in again.standing()] == ids


# Engine


class Changes:
    def __init__(self) -> None:
        self.values_seen: list[tuple[str, Any, int]] = []
        self.statuses_seen: list[tuple[str, int, int]] = []

    def values(self, ids: list[str], values: list[Any], times: list[int]) -> None:
        self.values_seen += zip(ids, values, times, strict=True)

    def statuses(self, ids: list[str], old: list[int], new: list[int]) -> None:
        self.statuses_seen += zip(ids, old, new, strict=True)


class Watched:
    """Point store, alarm store and engine, with the bus in the test's own hands."""

    def __init__(self, store: AlarmStore, clock: Clock) -> None:
        self.changes, self.tick, self.store = Changes(), Clock(0.0), store
        self.points = PointStore("north", self.changes, lambda frame: None, clock, self.tick)
        self.points.configure([PointConfig(id="p"), PointConfig(id="q")])
        self.engine = self.fresh_engine()

    def fresh_engine(self) -> AlarmEngine:
        stores = InProcess(self.store), InProcess(self.points)
        return AlarmEngine("north", None, *stores, monotonic=self.tick)

    def set(self, value: float, status: int = 0) -> None:
        frame = empty_frame()
        frame.add("p", value, 1_700_000_000_000, status)
        self.points.set_many(frame.encode())

    async def deliver(self) -> None:
        values, self.changes.values_seen = self.changes.values_seen, []
        statuses, self.changes.statuses_seen = self.changes.statuses_seen, []
        await self.engine.take(values, statuses)

    def alarms(self) -> list[str]:
        return [each.state.value for each in self.store.find()[0]]


@pytest.fixture
def watched(store: AlarmStore, clock: Clock) -> Watched:
    return Watched(store, clock)


async def test_a_limit_alarm_rises_flags_its_point_and_clears(watched: Watched) -> None:
    watched.store.create_config(config())
    await watched.engine.resync()
    watched.set(28.0)
    await watched.deliver()
    [alarm] = watched.store.find()[0]
    assert alarm.message == "p is 28.0, above 27"
    assert watched.points.get("p").status & PointStatus.ALARM
    watched.set(26.8)
    await watched.deliver()
    assert watched.alarms() == ["active"]
    watched.set(26.0)
    await watched.deliver()
    assert watched.alarms() == ["cleared"]
    assert not watched.points.get("p").status & PointStatus.ALARM


async def test_a_delay_must_pass(watched: Watched) -> None:
    watched.store.create_config(config(condition=HIGH.model_copy(update={"delay": 60.0})))
    await watched.engine.resync()
    watched.set(28.0)
    await watched.deliver()
    watched.tick.now = 59.0
    await watched.engine.step()
    assert watched.alarms() == []
    watched.tick.now = 60.0
    await watched.engine.step()
    assert watched.alarms() == ["active"]


async def test_what_came_and_went_unseen_is_settled_by_reading_the_stores(watched: Watched) -> None:
    watched.store.create_config(config())
    watched.set(28.0)
    await watched.engine.resync()
    assert watched.alarms() == ["active"]
    watched.set(20.0)
    watched.engine = watched.fresh_engine()
    await watched.engine.resync()
    assert watched.alarms() == ["cleared"]


async def test_a_configuration_that_is_gone_clears_its_alarm(watched: Watched) -> None:
    made = watched.store.create_config(config())
    watched.set(28.0)
    await watched.engine.resync()
    watched.store.delete_config(made.id)
    await watched.engine.resync()
    assert watched.alarms() == ["cleared"]
    assert not watched.points.get("p").status & PointStatus.ALARM


async def test_a_store_that_is_away_gets_the_alarm_when_it_is_back(watched: Watched) -> None:
    watched.store.create_config(config())
    await watched.engine.resync()
    whole = watched.engine._alarms

    class Away:
        def __getattr__(self, name: str) -> Any:
            raise ConnectionError("away")

    watched.engine._alarms = Away()
    watched.set(28.0)
    with pytest.raises(ConnectionError):
        await watched.deliver()
    watched.engine._alarms = whole
    await watched.engine.step()
    assert watched.alarms() == ["active"]


async def test_silence_is_an_alarm_too(watched: Watched) -> None:
    watched.store.create_config(config(condition=StaleCondition()))
    watched.set(20.0)
    await watched.engine.resync()
    watched.tick.now = 31.0
    await watched.engine.check_stale()
    await watched.deliver()
    assert watched.alarms() == ["active"]
    watched.set(20.0)
    await watched.deliver()
    assert watched.alarms() == ["cleared"]


async def test_a_point_store_that_restarted_gets_its_flags_again(watched: Watched) -> None:
    watched.store.create_config(config())
    watched.set(28.0)
    await watched.engine.resync()
    watched.points._points.clear()
    watched.points.configure([PointConfig(id="p")])
    watched.set(28.0)
    await watched.engine.check_stale()
    assert watched.points.get("p").status & PointStatus.ALARM
