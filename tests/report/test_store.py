import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.bus.events import WatchMoved
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.report import store as store_module
from actors.report.models import (
    Daily,
    ExecutionState,
    NewReport,
    NewReportSchedule,
    TemplateName,
    TextSection,
)
from actors.report.store import ReportStore

NOON = 1_700_000_000_000
DAY = 86_400_000


class World:
    def __init__(self, folder: Path | str) -> None:
        self.folder, self.now = folder, NOON
        self.events: list[Any] = []
        self.open()

    def open(self) -> None:
        self.store = ReportStore(self.folder, self.events.append, lambda: self.now)

    def reopen(self) -> None:
        self.store.close()
        self.open()

    def report(self, name: str = "Weekly") -> int:
        return self.store.create(NewReport(name=name, template=TemplateName.WEEKLY_ALARMS), "ana").id

    def schedule(self, report_id: int, **fields: Any) -> int:
        return self.store.create_schedule(report_id, NewReportSchedule(timing=Daily(at="06:00"), **fields)).id


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.events.clear()
    yield world
    world.store.close()


def test_the_tables_are_those_of_the_reference(world: World) -> None:
    rows = world.store.all("SELECT name FROM sqlite_master WHERE type = 'table'")
    assert {"report_definition", "report_schedule", "report_execution"} <= {row["name"] for row in rows}


def test_a_report_of_a_template_has_its_sections_and_one_of_its_own_keeps_them(world: World) -> None:
    made = world.store.get(world.report())
    assert [each.kind for each in made.sections] == ["alarms", "faults"]
    own = world.store.create(NewReport(name="Mine", sections=[TextSection(text="hello")]), "bob")
    assert (own.template, own.sections, own.created_by) == (
        TemplateName.CUSTOM,
        [TextSection(text="hello")],
        "bob",
    )


def test_a_name_is_taken_once_in_upper_and_lower_case(world: World) -> None:
    first = world.report("Weekly")
    with pytest.raises(ConflictError, match="already"):
        world.report("WEEKLY")
    other = world.report("Other")
    with pytest.raises(ConflictError):
        world.store.update(other, NewReport(name="weekly", template=TemplateName.COMFORT))
    assert world.store.get(other).name == "Other"
    assert world.store.update(first, NewReport(name="Weekly", template=TemplateName.COMFORT)).id == first


def test_deleting_a_definition_removes_its_schedules_and_executions_only(world: World) -> None:
    one, two = world.report("one"), world.report("two")
    gone, stays = world.schedule(one), world.schedule(two)
    run, kept = (world.store.queue(each, "ana", NOON - DAY, NOON).id for each in (one, two))
    world.store.delete(one)
    for ask in (
        lambda: world.store.get(one),
        lambda: world.store.schedule(gone),
        lambda: world.store.execution(run),
        lambda: world.store.schedules(one),
        lambda: world.store.delete(one),
    ):
        with pytest.raises(NotFoundError):
            ask()
    assert world.store.schedule(stays).definition_id == two
    assert world.store.execution(kept).definition_id == two


def test_deleting_a_schedule_keeps_what_it_made(world: World) -> None:
    report = world.report()
    schedule = world.schedule(report)
    world.now += 2 * DAY
    [run] = world.store.take_due()
    assert run.schedule_id == schedule
    world.store.delete_schedule(schedule)
    assert world.store.execution(run.id).schedule_id is None


def test_what_is_due_is_queued_once_and_missed_runs_are_made_once(world: World) -> None:
    report = world.report()
    world.schedule(report)
    off = world.schedule(report, enabled=False)
    assert world.store.schedule(off).next_run is None
    assert world.store.take_due() == []
    world.now += 10 * DAY
    [run] = world.store.take_due()
    assert (run.state, run.requested_by) == (ExecutionState.QUEUED, "schedule")
    assert run.range_end - run.range_start == DAY
    assert world.store.take_due() == []
    world.now += DAY
    assert len(world.store.take_due()) == 1


def test_an_execution_goes_its_way_and_no_other(world: World) -> None:
    run = world.store.queue(world.report(), "ana", NOON - DAY, NOON)
    with pytest.raises(ConflictError, match="queued and can't become done"):
        world.store.finish(run.id, "<p>")
    world.now += 5
    assert world.store.start_execution(run.id).started_at == NOON + 5
    with pytest.raises(ConflictError, match="running, not done"):
        world.store.document(run.id)
    with pytest.raises(BadInputError, match="document"):
        world.store.finish(run.id, "")
    done = world.store.finish(run.id, "<p>report</p>")
    assert (done.state, done.size, done.finished_at) == (ExecutionState.DONE, 13, NOON + 5)
    assert world.store.document(run.id) == "<p>report</p>"
    for ask in (
        lambda: world.store.fail(run.id, "x"),
        lambda: world.store.start_execution(run.id),
    ):
        with pytest.raises(ConflictError, match="done and can't become"):
            ask()
    with pytest.raises(BadInputError, match="end"):
        world.store.queue(run.definition_id, "ana", NOON, NOON)


def test_what_was_running_when_its_maker_died_is_failed(world: World) -> None:
    report = world.report()
    running, waiting = (world.store.queue(report, "ana", NOON - DAY, NOON).id for _ in range(2))
    world.store.start_execution(running)
    world.reopen()
    assert world.store.abandon() == 1
    assert world.store.execution(running).error == "interrupted"
    assert world.store.execution(waiting).state == ExecutionState.QUEUED


def test_old_executions_go_and_waiting_ones_stay(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "KEEP_EXECUTIONS", 3)
    report = world.report()
    first = world.store.queue(report, "ana", NOON - DAY, NOON).id
    for _ in range(6):
        run = world.store.queue(report, "ana", NOON - DAY, NOON).id
        world.store.start_execution(run)
        world.store.fail(run, "no data")
    world.store.queue(report, "ana", NOON - DAY, NOON)
    found, _ = world.store.executions(report)
    assert len(found) == 4
    assert found[-1].id == first


def test_each_change_of_configuration_moves_the_watch_cell(world: World) -> None:
    report = world.report()
    schedule = world.schedule(report)
    world.store.update_schedule(schedule, NewReportSchedule(timing=Daily(), enabled=False))
    world.store.queue(report, "ana", NOON - DAY, NOON)
    world.store.delete_schedule(schedule)
    world.store.delete(report)
    moved = [each.version for each in world.events if isinstance(each, WatchMoved)]
    assert moved == [NOON + n for n in range(5)]
    assert world.store.in_force() == (NOON + 4, [])


def test_pages_and_filters(world: World) -> None:
    for number in range(5):
        world.report(f"Report {number}")
    first, cursor = world.store.find(limit=2)
    rest, end = world.store.find(cursor=cursor)
    assert [each.name for each in (*first, *rest)] == [f"Report {n}" for n in range(5)]
    assert end is None
    assert [each.name for each in world.store.find(text="PORT 3")[0]] == ["Report 3"]
    assert world.store.find("comfort") == ([], None)


class Model(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(self.folder.name)
        self.names: dict[int, str] = {}
        self.schedules: dict[int, int] = {}
        self.states: dict[int, tuple[int, str]] = {}

    def _pick(self, of: dict[int, Any], at: int) -> int:
        return sorted(of)[at % len(of)]

    @rule(name=st.sampled_from("abc"))
    def create(self, name: str) -> None:
        if name in self.names.values():
            with pytest.raises(ConflictError):
                self.world.report(name)
        else:
            self.names[self.world.report(name)] = name

    @precondition(lambda self: self.names)
    @rule(at=st.integers(0, 9))
    def delete(self, at: int) -> None:
        report = self._pick(self.names, at)
        self.world.store.delete(report)
        del self.names[report]
        self.schedules = {each: of for each, of in self.schedules.items() if of != report}
        self.states = {each: of for each, of in self.states.items() if of[0] != report}

    @precondition(lambda self: self.names)
    @rule(at=st.integers(0, 9))
    def schedule(self, at: int) -> None:
        report = self._pick(self.names, at)
        self.schedules[self.world.schedule(report)] = report

    @precondition(lambda self: self.names)
    @rule(at=st.integers(0, 9))
    def queue(self, at: int) -> None:
        report = self._pick(self.names, at)
        run = self.world.store.queue(report, "ana", NOON - DAY, NOON)
        self.states[run.id] = (report, "queued")

    @precondition(lambda self: self.states)
    @rule(at=st.integers(0, 9), step=st.sampled_from(["running", "done", "failed"]))
    def move(self, at: int, step: str) -> None:
        run = self._pick(self.states, at)
        report, state = self.states[run]
        act = {
            "running": lambda: self.world.store.start_execution(run),
            "done": lambda: self.world.store.finish(run, "x"),
            "failed": lambda: self.world.store.fail(run, "x"),
        }[step]
        allowed = {"queued": {"running", "failed"}, "running": {"done", "failed"}}
        if step in allowed.get(state, set()):
            assert act().state == step
            self.states[run] = (report, step)
        else:
            with pytest.raises(ConflictError):
                act()

    @rule(days=st.integers(0, 3))
    def wait(self, days: int) -> None:
        self.world.now += days * DAY
        for run in self.world.store.take_due():
            assert self.schedules[run.schedule_id or 0] == run.definition_id
            self.states[run.id] = (run.definition_id, "queued")

    @rule()
    def reopen(self) -> None:
        self.world.reopen()

    @invariant()
    def agrees(self) -> None:
        store = self.world.store
        assert {each.id: each.name for each in store.find()[0]} == self.names
        assert {each.id: each.definition_id for each in store.in_force()[1]} == self.schedules
        runs = store.executions(limit=1000)[0]
        assert {each.id: (each.definition_id, each.state.value) for each in runs} == self.states

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.store.close()
            self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=20, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow]
)
