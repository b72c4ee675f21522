import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.bus.events import ScheduleWritten, WatchMoved
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.schedule.models import NewCalendar, NewException, NewSchedule, Source
from actors.schedule.store import ScheduleStore

NOON = round(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp() * 1000)
CHRISTMAS = {"label": "Christmas", "period": {"kind": "date", "month": 12, "day": 25}}


def schedule(name: str = "Office", **fields: Any) -> NewSchedule:
    week = [
        {"weekday": day, "time": time, "value": value}
        for day in range(1, 6)
        for time, value in (("07:00", 21.0), ("18:00", 16.0))
    ]
    return NewSchedule.model_validate(
        {"name": name, "kind": "analog", "default_value": 16.0, "week": week} | fields
    )


def exception(**fields: Any) -> NewException:
    return NewException.model_validate(
        {"period": {"kind": "date"}, "entries": [{"time": "00:00", "value": 5.0}]} | fields
    )


class World:
    def __init__(self, folder: Path | str) -> None:
        self.folder, self.now = folder, NOON
        self.events: list[Any] = []
        self.open()

    def open(self) -> None:
        self.store = ScheduleStore(self.folder, self.events.append, lambda: self.now)

    def reopen(self) -> None:
        self.store.close()
        self.open()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.events.clear()
    yield world
    world.store.close()


def test_the_tables_are_there(world: World) -> None:
    rows = world.store.all("SELECT name FROM sqlite_master WHERE type = 'table'")
    assert {row["name"] for row in rows} >= {
        "schedule",
        "schedule_entry",
        "schedule_exception",
        "schedule_assignment",
        "calendar",
        "calendar_entry",
    }


def test_a_schedule_is_kept_as_it_was_saved(world: World) -> None:
    new = schedule(zone="Europe/Vienna", starts_on="2026-01-01", ends_on="2026-12-31", priority=12)
    made = world.store.create(new)
    world.store.create_exception(made.id, exception(priority=3))
    world.store.assign(made.id, "1101/av-1")
    world.reopen()
    again = world.store.get(made.id)
    assert NewSchedule.model_validate(again.model_dump(include=set(NewSchedule.model_fields))) == new
    assert (again.assignments, [each.priority for each in again.exceptions]) == (["1101/av-1"], [3])


def test_what_is_in_force_comes_with_where_it_comes_from(world: World) -> None:
    made = world.store.create(schedule()).id
    found = world.store.effective(made)
    assert (found.value, found.source, found.next_change) == (21.0, Source.WEEK, NOON + 6 * 3_600_000)
    holidays = world.store.create_calendar(NewCalendar.model_validate({"name": "H", "entries": [CHRISTMAS]}))
    world.store.create_exception(made, exception(period=None, calendar_id=holidays.id))
    christmas = round(datetime(2026, 12, 25, 12, tzinfo=UTC).timestamp() * 1000)
    assert world.store.effective(made, christmas).source is Source.EXCEPTION
    steps = world.store.preview(made, NOON, NOON + 86_400_000)
    assert [each.value for each in steps] == [21.0, 16.0, 16.0, 21.0]


def test_an_update_replaces_the_week_and_keeps_the_rest(world: World) -> None:
    made = world.store.create(schedule()).id
    kept = world.store.create_exception(made, exception())
    world.store.assign(made, "p")
    world.now += 5
    again = world.store.update(made, schedule(week=[{"weekday": 7, "time": "01:00", "value": 1}]))
    assert ([each.weekday for each in again.week], again.exceptions, again.assignments) == (
        [7],
        [kept],
        ["p"],
    )
    assert again.updated_at == NOON + 5
    with pytest.raises(BadInputError, match="kind"):
        world.store.update(made, schedule(kind="binary", default_value=None, week=[]))
    assert world.store.get(made) == again


def test_values_of_exceptions_are_of_the_schedules_kind(world: World) -> None:
    made = world.store.create(schedule()).id
    for field, wrong in (
        ("entries", exception(entries=[{"time": "00:00", "value": True}])),
        ("calendar_id", exception(period=None, calendar_id=99)),
    ):
        with pytest.raises(BadInputError) as caught:
            world.store.create_exception(made, wrong)
        assert caught.value.field == field
    kept = world.store.create_exception(made, exception())
    with pytest.raises(BadInputError):
        world.store.update_exception(kept.id, exception(entries=[{"time": "00:00", "value": "x"}]))
    assert world.store.exception(kept.id) == kept


def test_days_that_no_year_has_are_refused(world: World) -> None:
    never = {"period": {"kind": "date", "month": 2, "day": 31}}
    made = world.store.create(schedule()).id
    calendar = world.store.create_calendar(NewCalendar(name="C"))
    kept = world.store.create_exception(made, exception())
    wrong = NewCalendar.model_validate({"name": "H", "entries": [CHRISTMAS, never]})
    for field, ask in (
        ("period", lambda: world.store.create_exception(made, exception(**never))),
        ("period", lambda: world.store.update_exception(kept.id, exception(**never))),
        ("entries.period", lambda: world.store.create_calendar(wrong)),
        ("entries.period", lambda: world.store.update_calendar(calendar.id, wrong)),
    ):
        with pytest.raises(BadInputError, match="a date that some year has") as caught:
            ask()
        assert (caught.value.field, caught.value.value) == (field, "month 2, day 31")
    assert world.store.calendars()[0] == [calendar]
    assert world.store.get(made).exceptions == [kept]


def test_a_calendar_that_is_used_stays(world: World) -> None:
    made = world.store.create(schedule()).id
    one = world.store.create_calendar(NewCalendar.model_validate({"name": "H", "entries": [CHRISTMAS]})).id
    used = world.store.create_exception(made, exception(period=None, calendar_id=one)).id
    with pytest.raises(ConflictError, match="exceptions of the schedule 'Office' name it"):
        world.store.delete_calendar(one)
    assert len(world.store.calendar(one).entries) == 1
    world.store.update_calendar(one, NewCalendar(name="Holidays"))
    assert world.store.calendar(one).entries == []
    world.store.delete_exception(used)
    world.store.delete_calendar(one)
    assert world.store.calendars() == ([], None)


def test_names_are_taken_once(world: World) -> None:
    world.store.create(schedule("A"))
    other = world.store.create(schedule("B")).id
    world.store.create_calendar(NewCalendar(name="C"))
    for ask in (
        lambda: world.store.create(schedule("a")),
        lambda: world.store.update(other, schedule("A")),
        lambda: world.store.create_calendar(NewCalendar(name="c")),
    ):
        with pytest.raises(ConflictError, match="already"):
            ask()


def test_what_was_written_is_noted_and_told(world: World) -> None:
    made = world.store.create(schedule()).id
    world.store.assign(made, "p")
    world.events.clear()
    assert world.store.assign(made, "p").written_at is None
    assert world.events == [], "twice changes nothing"
    done = world.store.record_written(made, "p", 21.0)
    assert (done.written_value, done.written_at) == (21.0, NOON)
    assert world.events == [ScheduleWritten(schedule_id=made, node_id="p", value=21.0)]
    assert world.store.assign(made, "p").written_value == 21.0
    world.store.unassign(made, "p")
    for ask in (
        lambda: world.store.record_written(made, "p", 1.0),
        lambda: world.store.unassign(made, "p"),
        lambda: world.store.assign(99, "p"),
        lambda: world.store.effective(99),
        lambda: world.store.preview(99, 0, 1),
        lambda: world.store.delete(99),
        lambda: world.store.update(99, schedule()),
        lambda: world.store.create_exception(99, exception()),
        lambda: world.store.delete_exception(99),
        lambda: world.store.calendar(99),
        lambda: world.store.update_calendar(99, NewCalendar(name="x")),
    ):
        with pytest.raises(NotFoundError):
            ask()


def test_filters_and_what_is_in_force(world: World) -> None:
    one = world.store.create(schedule("Office")).id
    world.store.create(schedule("Night", enabled=False))
    world.store.assign(one, "p")
    assert [each.name for each in world.store.find(node_id="p")[0]] == ["Office"]
    assert [each.name for each in world.store.find(enabled=False)[0]] == ["Night"]
    assert [each.name for each in world.store.find(text="NIG")[0]] == ["Night"]
    version, found, calendars = world.store.in_force()
    assert ([each.name for each in found], calendars) == (["Office"], [])
    moved = [each.version for each in world.events if isinstance(each, WatchMoved)]
    assert moved == [NOON, NOON + 1, NOON + 2]
    assert version == NOON + 2


class Model(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(self.folder.name)
        self.names: dict[int, str] = {}
        self.exceptions: dict[int, tuple[int, int | None]] = {}
        self.calendars: set[int] = set()
        self.made = 0
        self.assigned: set[tuple[int, str]] = set()

    def _pick(self, of: Any, at: int) -> Any:
        return sorted(of)[at % len(of)]

    @rule(name=st.sampled_from("abc"))
    def create(self, name: str) -> None:
        if name in self.names.values():
            with pytest.raises(ConflictError):
                self.world.store.create(schedule(name))
        else:
            self.names[self.world.store.create(schedule(name)).id] = name

    @rule()
    def create_calendar(self) -> None:
        self.made += 1
        self.calendars.add(self.world.store.create_calendar(NewCalendar(name=f"c{self.made}")).id)

    @precondition(lambda self: self.names)
    @rule(at=st.integers(0, 9), by_calendar=st.booleans())
    def except_(self, at: int, by_calendar: bool) -> None:
        chosen = self._pick(self.names, at)
        calendar = self._pick(self.calendars, at) if by_calendar and self.calendars else None
        fields: dict[str, Any] = {"period": None, "calendar_id": calendar} if calendar else {}
        made = self.world.store.create_exception(chosen, exception(**fields))
        self.exceptions[made.id] = (chosen, calendar)

    @precondition(lambda self: self.calendars)
    @rule(at=st.integers(0, 9))
    def delete_calendar(self, at: int) -> None:
        chosen = self._pick(self.calendars, at)
        if any(calendar == chosen for _, calendar in self.exceptions.values()):
            with pytest.raises(ConflictError):
                self.world.store.delete_calendar(chosen)
        else:
            self.world.store.delete_calendar(chosen)
            self.calendars.remove(chosen)

    @precondition(lambda self: self.names)
    @rule(at=st.integers(0, 9), node=st.sampled_from("pqr"))
    def assign(self, at: int, node: str) -> None:
        chosen = self._pick(self.names, at)
        self.world.store.assign(chosen, node)
        self.assigned.add((chosen, node))

    @precondition(lambda self: self.names)
    @rule(at=st.integers(0, 9))
    def delete(self, at: int) -> None:
        chosen = self._pick(self.names, at)
        self.world.store.delete(chosen)
        del self.names[chosen]
        self.exceptions = {key: of for key, of in self.exceptions.items() if of[0] != chosen}
        self.assigned = {each for each in self.assigned if each[0] != chosen}

    @rule()
    def reopen(self) -> None:
        self.world.reopen()

    @invariant()
    def agrees(self) -> None:
        found, _ = self.world.store.find()
        assert {each.id: each.name for each in found} == self.names
        assert {
            one.id: (each.id, one.calendar_id) for each in found for one in each.exceptions
        } == self.exceptions
        assert {(each.id, node) for each in found for node in each.assignments} == self.assigned
        assert {each.id for each in self.world.store.calendars()[0]} == self.calendars

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.store.close()
            self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=15, stateful_step_count=20, suppress_health_check=[HealthCheck.too_slow]
)
