import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.alarm.logic import after_acknowledge, after_clear
from actors.alarm.models import (
    Alarm,
    AlarmState,
    FaultCondition,
    LimitCondition,
    NewAlarmConfig,
    Report,
    Severity,
    StaleCondition,
    StateCondition,
)
from actors.alarm.schema import MIGRATIONS
from actors.alarm.store import LONGEST_SHELF, AlarmStore
from actors.bus.events import AlarmAcknowledged, AlarmCleared, AlarmRaised, WatchMoved
from actors.core.errors import AlreadyOwnedError, BadInputError, ConflictError, NotFoundError

ACTIVE, ACKNOWLEDGED, CLEARED, CLOSED = AlarmState
START = 1_700_000_000_000
P = "1001/analog-input-1"


class World:
    """An alarm store with a clock that is set by hand, and what it published."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = folder
        self.now = START
        self.events: list[Any] = []
        self.open()

    def open(self) -> None:
        self.store = AlarmStore(self.folder, self._published, lambda: self.now)

    def _published(self, event: Any) -> None:
        self.events.append(event)

    def reopen(self) -> None:
        self.store.close()
        self.open()

    def take_events(self) -> list[Any]:
        taken, self.events = self.events, []
        return taken

    def config(self, node_id: str = P, **fields: Any) -> int:
        return self.store.create_config(limit(node_id, **fields)).id

    def up(self, config_id: int | None, value: Any = 31.0, message: str = "too warm") -> Alarm:
        self.now += 1
        return self.store.raise_alarm(P, Severity.HIGH, message, value, config_id)

    def steps(self, alarm_id: int) -> list[str]:
        return [step.event for step in reversed(self.store.history(alarm_id)[0])]


def limit(node_id: str = P, high: float = 30.0, **fields: Any) -> NewAlarmConfig:
    return NewAlarmConfig(node_id=node_id, condition=LimitCondition(high=high), **fields)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.take_events()
    yield world
    world.store.close()


def test_an_empty_file_gets_all_tables_and_the_newest_version(tmp_path: Path) -> None:
    (tmp_path / "alarms.db").touch()
    world = World(tmp_path)
    tables = {row["name"] for row in world.store.all("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables >= {"alarm", "alarm_config", "alarm_history", "config_version"}
    assert world.store.one("PRAGMA user_version") == {"user_version": len(MIGRATIONS)}
    assert world.store.in_force() == (0, [])
    assert world.events == [WatchMoved(cell="alarms", version=0)]
    world.store.close()


def test_a_reopened_store_gives_the_same_and_moves_its_watch_cell(world: World) -> None:
    config = world.config(message="hot", severity=Severity.CRITICAL)
    first = world.up(config, True)
    world.store.acknowledge(first.id, "ana", "seen")
    world.up(None, "text", "by hand")
    world.store.shelve(first.id, world.now + 1000, "ana")

    def everything() -> list[Any]:
        store = world.store
        return [store.in_force(), store.find(), store.history(), store.standing(), store.summary()]

    before = everything()
    world.take_events()
    world.reopen()
    assert everything() == before
    assert world.take_events() == [WatchMoved(cell="alarms", version=START)]


def test_a_file_that_is_open_is_not_opened_again(world: World) -> None:
    with pytest.raises(AlreadyOwnedError):
        AlarmStore(world.folder)


@pytest.mark.parametrize(
    "condition",
    [
        LimitCondition(high=30, low=10.5, deadband=0.5, delay=60),
        StateCondition(states=[True, 2, "trip"], delay=1),
        StaleCondition(),
        FaultCondition(delay=5),
    ],
)
def test_a_configuration_comes_back_as_it_was_given(world: World, condition: Any) -> None:
    new = NewAlarmConfig(
        node_id=P, condition=condition, severity=Severity.LOW, message='it\'s "so"', enabled=False
    )
    made = world.store.create_config(new)
    world.reopen()
    found = world.store.config(made.id)
    assert found == made
    assert NewAlarmConfig(**found.model_dump(exclude={"id"})) == new
    if isinstance(condition, StateCondition):
        assert [type(each) for each in found.condition.states] == [bool, int, str]


def test_only_enabled_configurations_are_in_force_and_each_change_is_a_new_version(world: World) -> None:
    first = world.config()
    second = world.config("other", enabled=False)
    assert [each.id for each in world.store.in_force()[1]] == [first]
    world.store.update_config(second, limit("other"))
    world.store.delete_config(first)
    version, configs = world.store.in_force()
    assert [each.id for each in configs] == [second]
    assert version == world.store.config_version() == START + 3
    assert world.events == [WatchMoved(cell="alarms", version=START + n) for n in range(4)]


def test_a_configuration_that_is_not_there_is_not_found(world: World) -> None:
    gone = world.config()
    world.store.delete_config(gone)
    world.take_events()
    for config_id in (gone, 99):
        with pytest.raises(NotFoundError):
            world.store.config(config_id)
        with pytest.raises(NotFoundError):
            world.store.update_config(config_id, limit())
        with pytest.raises(NotFoundError):
            world.store.delete_config(config_id)
    assert world.events == []


def test_configurations_come_by_point_and_in_pages(world: World) -> None:
    ids = [world.config(f"p{n % 2}") for n in range(5)]
    first, cursor = world.store.configs(limit=3)
    rest, end = world.store.configs(limit=3, cursor=cursor)
    assert [each.id for each in first + rest] == ids
    assert end is None
    assert [each.id for each in world.store.configs("p1")[0]] == [ids[1], ids[3]]


def test_applying_twice_changes_nothing_the_second_time(world: World) -> None:
    given = [limit("a"), limit("b"), NewAlarmConfig(node_id="a", condition=StaleCondition())]
    assert world.store.apply_configs(given, "campus.yaml") == 3
    before = world.store.in_force()
    world.take_events()
    assert world.store.apply_configs(given, "campus.yaml") == 0
    assert world.store.in_force() == before
    assert world.events == []


def test_applying_renews_what_nobody_touched_under_the_same_id(world: World) -> None:
    world.store.apply_configs([limit("a"), limit("b")], "campus.yaml")
    ids = [each.id for each in world.store.configs()[0]]
    assert world.store.apply_configs([limit("a", 35.0), limit("b")], "campus.yaml") == 1
    found = world.store.configs()[0]
    assert [each.id for each in found] == ids
    assert found[0].condition == LimitCondition(high=35)


def test_several_of_a_kind_on_one_point_are_all_kept(world: World) -> None:
    given = [limit("a", 27.0), limit("a", 30.0), limit("b"), limit("a", 35.0)]
    assert world.store.apply_configs(given, "campus.yaml") == 4
    assert world.store.apply_configs(given, "campus.yaml") == 0
    first = world.store.configs()[0][0]
    assert world.store.apply_configs(given[:3], "campus.yaml") == 1
    assert [each.node_id for each in world.store.in_force()[1]] == ["a", "a", "b"]
    assert world.store.config(first.id) == first


def test_what_a_person_edited_stays_even_when_its_origin_forgets_it(world: World) -> None:
    world.store.apply_configs([limit("a")], "campus.yaml")
    [config] = world.store.configs()[0]
    edited = world.store.update_config(config.id, limit("a", 40.0))
    assert world.store.apply_configs([limit("a", 35.0)], "campus.yaml") == 0
    assert world.store.apply_configs([], "campus.yaml") == 0
    assert world.store.configs()[0] == [edited]


def test_what_a_person_deleted_stays_away(world: World) -> None:
    world.store.apply_configs([limit("a")], "campus.yaml")
    world.store.delete_config(world.store.configs()[0][0].id)
    for given in ([limit("a")], [limit("a", 35.0)], [], [limit("a")]):
        assert world.store.apply_configs(given, "campus.yaml") == 0
        assert world.store.configs()[0] == []


def test_what_its_origin_forgets_goes_and_may_come_back(world: World) -> None:
    world.store.apply_configs([limit("a"), limit("b")], "campus.yaml")
    first = world.store.configs("a")[0]
    assert world.store.apply_configs([limit("b")], "campus.yaml") == 1
    assert world.store.configs("a")[0] == []
    assert world.store.apply_configs([limit("b")], "campus.yaml") == 0
    assert world.store.apply_configs([limit("a"), limit("b")], "campus.yaml") == 1
    assert world.store.configs("a")[0] == first


def test_one_origin_does_not_touch_what_came_from_another_or_from_a_person(world: World) -> None:
    mine = world.config("a")
    world.store.apply_configs([limit("a")], "campus.yaml")
    world.store.apply_configs([limit("a")], "device")
    assert world.store.apply_configs([], "campus.yaml") == 1
    assert len(world.store.configs("a")[0]) == 2
    assert world.store.config(mine).node_id == "a"


def test_raising_clearing_and_acknowledging_twice_changes_nothing_the_second_time(world: World) -> None:
    config = world.config()
    alarm = world.up(config)
    assert world.up(config, 99.0, "worse") == alarm
    acknowledged = world.store.acknowledge(alarm.id, "ana", "seen")
    world.now += 5
    assert world.store.acknowledge(alarm.id, "bob", "me too") == acknowledged
    assert world.up(config, 99.0, "worse") == acknowledged
    closed = world.store.clear(alarm.id, 20.0)
    world.now += 5
    assert world.store.clear(alarm.id, 19.0) == closed
    assert world.store.acknowledge(alarm.id, "bob") == closed
    assert world.steps(alarm.id) == ["raised", "acknowledged", "cleared"]
    assert world.events == [
        WatchMoved(cell="alarms", version=START),
        AlarmRaised(alarm_id=alarm.id, node_id=P, severity="high", message="too warm"),
        AlarmAcknowledged(alarm_id=alarm.id, user="ana"),
        AlarmCleared(alarm_id=alarm.id, node_id=P),
    ]


def test_a_step_says_when_what_happened_by_whom_and_at_which_value(world: World) -> None:
    alarm = world.up(world.config(), 31.5)
    world.now += 10
    world.store.acknowledge(alarm.id, "ana")
    world.now += 10
    world.store.clear(alarm.id, False)
    steps = world.store.history(alarm.id)[0]
    assert [(each.event, each.at - START, each.by, each.value) for each in steps] == [
        ("cleared", 21, None, False),
        ("acknowledged", 11, "ana", None),
        ("raised", 1, None, 31.5),
    ]


def test_an_alarm_that_comes_back_before_anybody_saw_it_is_the_same_alarm(world: World) -> None:
    config = world.config()
    first = world.up(config)
    world.store.clear(first.id)
    again = world.up(config, 33.0, "warmer")
    assert (again.id, again.state, again.cleared_at) == (first.id, ACTIVE, None)
    assert (again.value, again.message, again.raised_at) == (33.0, "warmer", world.now)
    assert world.steps(first.id) == ["raised", "cleared", "raised"]
    assert len([each for each in world.events if isinstance(each, AlarmRaised)]) == 2


def test_an_alarm_that_comes_back_after_it_was_closed_is_a_new_one(world: World) -> None:
    config = world.config()
    first = world.up(config)
    world.store.clear(first.id)
    assert world.store.acknowledge(first.id, "ana").state is CLOSED
    again = world.up(config)
    assert again.id != first.id
    assert again.acknowledged_by is None
    assert world.store.get(first.id).state is CLOSED


def test_an_alarm_that_comes_back_on_the_new_point_of_its_configuration_names_that_point(
    world: World,
) -> None:
    config = world.config()
    first = world.up(config)
    world.store.clear(first.id)
    again = world.store.raise_alarm("other", Severity.HIGH, "too warm", 31.0, config)
    assert (again.id, again.node_id) == (first.id, "other")
    assert world.store.history(node_id="other")[0][0].event == "raised"


def test_alarms_without_a_configuration_are_told_apart_by_node_and_message(world: World) -> None:
    one, two = world.up(None, message="a"), world.up(None, message="b")
    assert one.id != two.id
    assert world.up(None, message="a") == one
    assert world.up(world.config(), message="a").id not in {one.id, two.id}


def test_an_alarm_that_is_not_there_is_not_found(world: World) -> None:
    store = world.store
    for call in (
        lambda: store.get(9),
        lambda: store.clear(9),
        lambda: store.acknowledge(9, "ana"),
        lambda: store.shelve(9, world.now + 1, "ana"),
        lambda: store.unshelve(9, "ana"),
    ):
        with pytest.raises(NotFoundError):
            call()
    assert world.events == []


def test_several_are_acknowledged_all_or_none_and_nobody_hears_of_none(world: World) -> None:
    ids = [world.up(None, message=name).id for name in "ab"]
    world.take_events()
    with pytest.raises(NotFoundError):
        world.store.acknowledge_many([*ids, 99], "ana")
    assert world.events == []
    assert [world.store.get(each).state for each in ids] == [ACTIVE, ACTIVE]
    done = world.store.acknowledge_many([*ids, ids[0]], "ana", "both")
    assert [(each.id, each.note) for each in done] == [(each, "both") for each in [*ids, ids[0]]]
    assert world.events == [AlarmAcknowledged(alarm_id=each, user="ana") for each in ids]


def test_whoever_hears_of_a_change_finds_it_committed(tmp_path: Path) -> None:
    seen: list[tuple[str, Any]] = []

    def look(event: Any) -> None:
        reader = apsw.Connection(str(tmp_path / "alarms.db"), flags=apsw.SQLITE_OPEN_READONLY)
        query = (
            "SELECT version FROM config_version"
            if isinstance(event, WatchMoved)
            else "SELECT state FROM alarm"
        )
        seen.append((type(event).__name__, reader.execute(query).fetchone()[0]))
        reader.close()

    store = AlarmStore(tmp_path, look, lambda: START)
    config = store.create_config(limit())
    alarm = store.raise_alarm(P, Severity.HIGH, "m", 31.0, config.id)
    store.acknowledge(alarm.id, "ana")
    store.clear(alarm.id)
    assert seen == [
        ("WatchMoved", 0),
        ("WatchMoved", START),
        ("AlarmRaised", "active"),
        ("AlarmAcknowledged", "acknowledged"),
        ("AlarmCleared", "closed"),
    ]
    store.close()


def test_a_shelf_lasts_from_the_next_moment_to_thirty_days(world: World) -> None:
    alarm = world.up(None)
    for until in (world.now - 1, world.now, world.now + LONGEST_SHELF + 1):
        with pytest.raises(BadInputError, match="until"):
            world.store.shelve(alarm.id, until, "ana")
    for until in (world.now + 1, world.now + LONGEST_SHELF):
        assert world.store.shelve(alarm.id, until, "ana", "noise").shelved_until == until
    assert world.store.get(alarm.id).note == "noise"
    assert world.store.unshelve(alarm.id, "ana").shelved_until is None
    assert world.store.unshelve(alarm.id, "ana").note == "noise"
    assert world.steps(alarm.id) == ["raised", "shelved", "shelved", "unshelved"]


def test_a_closed_alarm_is_not_shelved(world: World) -> None:
    alarm = world.up(None)
    world.store.clear(alarm.id)
    world.store.acknowledge(alarm.id, "ana")
    with pytest.raises(ConflictError):
        world.store.shelve(alarm.id, world.now + 10, "ana")


def test_an_alarm_comes_off_the_shelf_when_its_time_is_over(world: World) -> None:
    one, two = world.up(None, message="a"), world.up(None, message="b")
    world.store.shelve(one.id, world.now + 10, "ana")
    world.store.shelve(two.id, world.now + 20, "ana")
    world.now += 9
    assert world.store.unshelve_due() == []
    world.now += 1
    assert world.store.unshelve_due() == [one.id]
    assert world.store.unshelve_due() == []
    assert world.steps(one.id) == ["raised", "shelved", "unshelved"]
    assert [each.id for each in world.store.find(shelved=True)[0]] == [two.id]
    assert [each.id for each in world.store.find(shelved=False)[0]] == [one.id]


def close(world: World, alarm: Alarm) -> None:
    world.store.clear(alarm.id)
    world.store.acknowledge(alarm.id, "ana")


def test_the_shelf_of_a_configuration_outlives_one_occurrence(world: World) -> None:
    config = world.config()
    first = world.up(config)
    until = world.now + 1000
    world.store.shelve(first.id, until, "ana")
    close(world, first)
    second = world.up(config)
    assert second.shelved_until == until
    close(world, second)
    world.now = until
    assert world.up(config).shelved_until is None


def test_an_alarm_that_a_person_took_off_the_shelf_stays_off_when_it_comes_again(world: World) -> None:
    config = world.config()
    first = world.up(config)
    world.store.shelve(first.id, world.now + 1000, "ana")
    close(world, first)
    second = world.up(config)
    world.store.unshelve(second.id, "ana")
    close(world, second)
    assert world.up(config).shelved_until is None


def test_alarms_come_newest_first_in_pages_and_by_filter(world: World) -> None:
    ids = [world.up(None, message=f"m{n}").id for n in range(5)]
    low = world.store.raise_alarm("other", Severity.LOW, "m").id
    seen: list[int] = []
    cursor: str | None = None
    while True:
        alarms, cursor = world.store.find(limit=2, cursor=cursor)
        seen += [each.id for each in alarms]
        if cursor is None:
            break
    assert seen == [low, *reversed(ids)]
    close(world, world.store.get(ids[0]))
    world.store.acknowledge(ids[1], "ana")
    assert [each.id for each in world.store.find(states=[CLOSED])[0]] == [ids[0]]
    assert [each.id for each in world.store.find(states=[ACKNOWLEDGED])[0]] == [ids[1]]
    assert ids[0] not in [each.id for each in world.store.find()[0]]
    assert [each.id for each in world.store.find(severity=Severity.LOW)[0]] == [low]
    assert [each.id for each in world.store.find(node_id="other")[0]] == [low]


def test_history_comes_in_pages_and_by_time_and_node(world: World) -> None:
    alarm = world.up(None)
    world.now += 10
    world.store.acknowledge(alarm.id, "ana")
    world.now += 10
    world.store.clear(alarm.id)
    first, cursor = world.store.history(limit=2)
    rest, end = world.store.history(limit=2, cursor=cursor)
    assert [each.event for each in first + rest] == ["cleared", "acknowledged", "raised"]
    assert end is None
    between = world.store.history(start=START + 11, end=START + 21)[0]
    assert [each.event for each in between] == ["acknowledged"]
    assert world.store.history(node_id="other")[0] == []


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": 1001}, {"cursor": "x"}, {"cursor": "-1"}])
def test_a_page_that_cant_be_is_refused(world: World, wrong: dict[str, Any]) -> None:
    for ask in (world.store.find, world.store.configs, world.store.history):
        with pytest.raises(BadInputError):
            ask(**wrong)


def test_the_summary_counts_what_needs_somebody(world: World) -> None:
    active, acknowledged, cleared, shelved, closed = [world.up(None, message=name) for name in "abcde"]
    world.store.raise_alarm(P, Severity.LOW, "f")
    world.store.acknowledge(acknowledged.id, "ana")
    world.store.clear(cleared.id)
    world.store.shelve(shelved.id, world.now + 10, "ana")
    close(world, closed)
    summary = world.store.summary()
    assert (summary.active, summary.unacknowledged, summary.shelved) == (3, 3, 1)
    assert summary.by_severity == {
        Severity.CRITICAL: 0,
        Severity.HIGH: 2,
        Severity.MEDIUM: 0,
        Severity.LOW: 1,
    }
    assert [each.id for each in world.store.standing()] == [active.id, acknowledged.id, shelved.id, 6]


class Model(RuleBasedStateMachine):
    """Random alarms of three configurations against plain dicts; a reopened file must say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.world = World(self.temporary.name)
        self.configs = [self.world.config(f"p{n}") for n in range(3)]
        self.newest: dict[int, int] = {}
        self.states: dict[int, AlarmState] = {}
        self.shelves: dict[int, int | None] = {}
        self.steps: dict[int, list[str]] = {}
        self.told: list[tuple[type, int]] = []
        self.world.take_events()

    def teardown(self) -> None:
        self.world.store.close()
        self.temporary.cleanup()

    def _pick(self, at: int) -> int:
        return sorted(self.states)[at % len(self.states)]

    @rule(which=st.integers(0, 2), value=st.none() | st.booleans() | st.floats(-9, 9) | st.text(max_size=3))
    def raise_one(self, which: int, value: Any) -> None:
        config = self.configs[which]
        alarm = self.world.up(config, value)
        last = self.newest.get(config)
        if last is None or self.states[last] is CLOSED:
            assert alarm.id not in self.states
            until = None if last is None else self.shelves[last]
            self.newest[config] = alarm.id
            self.shelves[alarm.id] = until if until is not None and until > self.world.now else None
            self.steps[alarm.id] = []
        else:
            assert alarm.id == last
            if self.states[last] is not CLEARED:
                return
        assert alarm.value == value
        self.states[alarm.id] = ACTIVE
        self.steps[alarm.id].append("raised")
        self.told.append((AlarmRaised, alarm.id))

    @precondition(lambda self: self.states)
    @rule(at=st.integers(0, 50))
    def clear(self, at: int) -> None:
        alarm_id = self._pick(at)
        before, after = self.states[alarm_id], self.world.store.clear(alarm_id).state
        assert after is after_clear(before)
        if after is not before:
            self.states[alarm_id] = after
            self.steps[alarm_id].append("cleared")
            self.told.append((AlarmCleared, alarm_id))

    @precondition(lambda self: self.states)
    @rule(at=st.integers(0, 50))
    def acknowledge(self, at: int) -> None:
        alarm_id = self._pick(at)
        before, after = self.states[alarm_id], self.world.store.acknowledge(alarm_id, "ana").state
        assert after is after_acknowledge(before)
        if after is not before:
            self.states[alarm_id] = after
            self.steps[alarm_id].append("acknowledged")
            self.told.append((AlarmAcknowledged, alarm_id))

    @precondition(lambda self: self.states)
    @rule(at=st.integers(0, 50), time=st.integers(1, 100))
    def shelve(self, at: int, time: int) -> None:
        alarm_id, until = self._pick(at), self.world.now + time
        if self.states[alarm_id] is CLOSED:
            with pytest.raises(ConflictError):
                self.world.store.shelve(alarm_id, until, "ana")
            return
        self.world.store.shelve(alarm_id, until, "ana")
        if self.shelves[alarm_id] != until:
            self.steps[alarm_id].append("shelved")
        self.shelves[alarm_id] = until

    @precondition(lambda self: self.states)
    @rule(at=st.integers(0, 50))
    def unshelve(self, at: int) -> None:
        alarm_id = self._pick(at)
        self.world.store.unshelve(alarm_id, "ana")
        if self.shelves[alarm_id] is not None:
            self.steps[alarm_id].append("unshelved")
        self.shelves[alarm_id] = None

    @rule(time=st.integers(0, 60))
    def wait(self, time: int) -> None:
        self.world.now += time
        due = [each for each, until in self.shelves.items() if until is not None and until <= self.world.now]
        assert sorted(self.world.store.unshelve_due()) == sorted(due)
        for alarm_id in due:
            self.shelves[alarm_id] = None
            self.steps[alarm_id].append("unshelved")

    @rule()
    def reopen(self) -> None:
        self.world.reopen()
        assert self.world.events.pop() == WatchMoved(cell="alarms", version=START + 2)

    @invariant()
    def agrees(self) -> None:
        store = self.world.store
        found = store.find(states=list(AlarmState))[0]
        assert {each.id: each.state for each in found} == self.states
        assert {each.id: each.shelved_until for each in found} == self.shelves
        assert {each.id: self.world.steps(each.id) for each in found} == self.steps
        still = [each.config_id for each in found if each.state is not CLOSED]
        assert len(still) == len(set(still)), "at most one open alarm per configuration"
        standing = {each for each, state in self.states.items() if state in (ACTIVE, ACKNOWLEDGED)}
        assert {each.id for each in store.standing()} == standing
        assert [(type(each), each.alarm_id) for each in self.world.events] == self.told


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_a_shelf_whose_time_is_over_hides_nothing_while_nobody_takes_alarms_off_it(world: World) -> None:
    alarm = world.up(world.config())
    world.store.shelve(alarm.id, world.now + 60_000, "ana")
    assert world.store.find(shelved=False)[0] == []
    assert (world.store.summary().active, world.store.summary().shelved) == (0, 1)
    world.now += 60_000
    world.reopen()
    assert [each.id for each in world.store.find(shelved=False)[0]] == [alarm.id]
    assert world.store.find(shelved=True)[0] == []
    assert (world.store.summary().active, world.store.summary().shelved) == (1, 0)


def test_an_alarm_that_comes_and_goes_on_the_shelf_stays_there_and_is_back_afterwards(world: World) -> None:
    config = world.config()
    alarm = world.up(config)
    until = world.now + 60_000
    world.store.shelve(alarm.id, until, "ana")
    world.store.clear(alarm.id)
    assert world.up(config).shelved_until == until
    world.store.acknowledge(alarm.id, "ana")
    world.store.clear(alarm.id)
    again = world.up(config)
    assert (again.id != alarm.id, again.shelved_until) == (True, until)
    world.now = until
    world.reopen()
    assert set(world.store.unshelve_due()) == {alarm.id, again.id}
    assert world.store.get(again.id).state is ACTIVE
    assert [step.event for step in world.store.history(again.id)[0]] == ["unshelved", "raised"]


def told(*, standing: bool = True, acknowledged: bool | None = False, **fields: Any) -> Report:
    made = {"source": "bacnet/ip/7/analog-input,1", "node_id": P, "severity": "high", "message": "too hot"}
    return Report(standing=standing, acknowledged=acknowledged, **(made | fields))


def test_an_alarm_of_a_device_follows_the_device_and_the_same_report_changes_nothing(world: World) -> None:
    def say(report: Report) -> tuple[str, list[type]]:
        world.now += 1
        (found,) = world.store.report([report], "device 7")
        events = [type(each) for each in world.take_events()]
        assert world.store.report([report], "device 7") == [found]
        assert world.take_events() == []
        return found.alarm.state.value, events

    assert say(told()) == ("active", [AlarmRaised])
    assert say(told(message="too cold", detail={"state": "low-limit"})) == ("active", [AlarmRaised])
    assert say(told(message="too cold", acknowledged=True)) == ("acknowledged", [AlarmAcknowledged])
    assert say(told(message="too cold")) == ("active", [AlarmRaised])
    assert say(told(standing=False)) == ("cleared", [AlarmCleared])
    alarm = world.store.find()[0][0]
    assert (alarm.message, alarm.acknowledged_by, alarm.source) == ("too cold", None, told().source)
    assert say(told(standing=False, acknowledged=True)) == ("closed", [AlarmAcknowledged])
    assert world.store.get(alarm.id).acknowledged_by == "device 7"
    assert say(told(standing=False, acknowledged=True)) == ("closed", [])
    assert say(told(standing=False)) == ("cleared", [AlarmRaised, AlarmCleared])
    assert len(world.store.find([*AlarmState])[0]) == 2


def test_an_alarm_of_a_device_that_asks_for_no_acknowledgement_is_ours_to_acknowledge(world: World) -> None:
    (found,) = world.store.report([told(acknowledged=None)], "device 7")
    world.store.acknowledge(found.alarm.id, "ana")
    (found,) = world.store.report([told(acknowledged=None)], "device 7")
    assert (found.alarm.state, found.alarm.acknowledged_by) == (ACKNOWLEDGED, "ana")
    (found,) = world.store.report([told(standing=False, acknowledged=None)], "device 7")
    assert (found.alarm.state, found.alarm.acknowledged_by) == (CLOSED, "ana")


def test_the_last_alarm_of_each_source_is_found_with_what_was_kept_of_it(world: World) -> None:
    other = told(source="bacnet/ip/70/analog-input,1")
    reports = [told(standing=False), told(standing=False, acknowledged=True), told(detail={"a": "b"}), other]
    for each in reports:
        world.store.report([each], "device")
    world.reopen()
    (found,) = world.store.reported("bacnet/ip/7/")
    assert (found.alarm.id, found.alarm.state, found.detail) == (2, ACTIVE, {"a": "b"})
    assert len(world.store.reported("bacnet/")) == 2
    assert world.up(None, message="too hot").id == 4


def test_a_shelf_holds_for_the_next_alarm_of_the_same_source(world: World) -> None:
    (found,) = world.store.report([told()], "device")
    world.store.shelve(found.alarm.id, world.now + 60_000, "ana")
    world.store.report([told(standing=False, acknowledged=True)], "device")
    (again,) = world.store.report([told()], "device")
    assert (again.alarm.id != found.alarm.id, again.alarm.shelved_until) == (True, world.now + 60_000)
