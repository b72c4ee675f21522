import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.bus.events import Changed, WatchMoved
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.program import store as store_module
from actors.program.models import Cause, NewExecution, NewProgram, RunState, Written
from actors.program.store import ProgramStore

NOON = 1_700_000_000_000


def program(name: str = "Warm-up", **fields: Any) -> NewProgram:
    blocks = [
        {"kind": "point_read", "id": "zone", "point": "1101/ai-1"},
        {"kind": "point_write", "id": "out", "point": "1101/ao-1", "value": "zone"},
    ]
    return NewProgram.model_validate({"name": name, "blocks": blocks} | fields)


def execution(at: int = NOON, state: RunState = RunState.DONE, **fields: Any) -> NewExecution:
    return NewExecution(version=1, cause=Cause.PERIOD, started_at=at, duration_us=120, state=state, **fields)


class World:
    def __init__(self, folder: Path | str) -> None:
        self.folder, self.now = folder, NOON
        self.events: list[Any] = []
        self.open()

    def open(self) -> None:
        self.store = ProgramStore(self.folder, self.events.append, lambda: self.now)

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
    assert {row["name"] for row in rows} >= {"program", "program_execution", "program_state"}


def test_a_program_is_kept_as_it_was_saved(world: World) -> None:
    new = program(trigger={"on": "change", "points": ["1101/ai-1"]}, priority=12, shadow=True)
    made = world.store.create(new, "ana")
    assert (made.version, made.updated_by, made.created_at) == (1, "ana", NOON)
    world.reopen()
    assert world.store.get(made.id) == made
    assert NewProgram.model_validate(made.model_dump(include=set(NewProgram.model_fields))) == new


def test_every_change_is_told_and_gets_a_version(world: World) -> None:
    one = world.store.create(program(), "ana").id
    world.now += 5
    assert world.store.update(one, program(priority=8), "bob").version == 2
    shadowed = world.store.set_shadow(one, True, "bob")
    assert (shadowed.version, shadowed.shadow, shadowed.updated_at) == (3, True, NOON + 5)
    world.store.delete(one)
    assert [each for each in world.events if isinstance(each, Changed)] == [
        Changed(channel="programs", key=str(one))
    ] * 4
    assert len([each for each in world.events if isinstance(each, WatchMoved)]) == 4
    for ask in (
        lambda: world.store.get(one),
        lambda: world.store.update(one, program(), "ana"),
        lambda: world.store.set_shadow(one, True, "ana"),
        lambda: world.store.delete(one),
        lambda: world.store.log(one, [execution()]),
        lambda: world.store.executions(one),
        lambda: world.store.save_state(one, 1, {}),
        lambda: world.store.state(one),
    ):
        with pytest.raises(NotFoundError):
            ask()


def test_a_program_that_isnt_right_is_not_saved(world: World) -> None:
    wrong = NewProgram.model_validate(
        {"name": "x", "blocks": [{"kind": "point_write", "id": "out", "point": "p", "value": "gone"}]}
    )
    made = world.store.create(program(), "ana")
    world.events.clear()
    for ask in (lambda: world.store.create(wrong, "ana"), lambda: world.store.update(made.id, wrong, "ana")):
        with pytest.raises(BadInputError, match=r"blocks\.out"):
            ask()
    assert world.store.find()[0] == [made]
    assert world.events == []


def test_names_are_taken_once(world: World) -> None:
    world.store.create(program("A"), "ana")
    other = world.store.create(program("B"), "ana").id
    with pytest.raises(ConflictError, match="already"):
        world.store.create(program("a"), "ana")
    with pytest.raises(ConflictError, match="already"):
        world.store.update(other, program("A"), "ana")


def test_only_the_last_100_runs_of_each_program_stay(world: World) -> None:
    one, two = (world.store.create(program(name), "ana").id for name in "AB")
    world.store.log(two, [execution(1)])
    for start in range(0, 260, 26):
        world.store.log(one, [execution(start + n) for n in range(26)])
    found, cursor = world.store.executions(one, limit=1000)
    assert [each.started_at for each in found] == list(range(259, 159, -1))
    assert cursor is None
    assert len(world.store.executions(two)[0]) == 1


def test_a_run_is_logged_with_what_it_wrote(world: World) -> None:
    one = world.store.create(program(), "ana").id
    run = execution(
        state=RunState.SHADOW,
        writes=[
            Written(point="1101/ao-1", value=50.0, priority=10),
            Written(point="b", value=None, priority=8),
        ],
        messages=["cold", "x" * 5000],
    )
    failed = execution(NOON + 1, RunState.FAILED, error="no such point")
    world.store.log(one, [run, failed])
    [newest] = world.store.executions(one, RunState.FAILED)[0]
    assert newest.error == "no such point"
    [shadow] = world.store.executions(one, RunState.SHADOW)[0]
    assert shadow.writes == run.writes
    assert [len(each) for each in shadow.messages] == [4, 1000]


def test_what_blocks_remember_survives_a_restart_and_goes_with_the_program(world: World) -> None:
    one = world.store.create(program(), "ana").id
    assert world.store.state(one) is None
    world.store.save_state(one, 1, {"pid": {"integral": 3.5}})
    world.now += 7
    world.store.save_state(one, 2, {"pid": {"integral": 4.5}})
    world.reopen()
    kept = world.store.state(one)
    assert kept is not None
    assert (kept.version, kept.state, kept.saved_at) == (2, {"pid": {"integral": 4.5}}, NOON + 7)
    world.store.delete(one)
    assert world.store.all("SELECT * FROM program_state") == []
    assert world.store.all("SELECT * FROM program_execution") == []


def test_a_state_that_is_too_large_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "LARGEST_STATE", 100)
    one = world.store.create(program(), "ana").id
    with pytest.raises(BadInputError, match="state"):
        world.store.save_state(one, 1, {"x": "y" * 200})
    assert world.store.state(one) is None


def test_only_enabled_programs_are_in_force_and_filters_hold(world: World) -> None:
    world.store.create(program("Heating", description="warms"), "ana")
    world.store.create(program("Cooling", enabled=False), "ana")
    version, found = world.store.in_force()
    assert ([each.name for each in found], version) == (["Heating"], world.store.config_version())
    assert [each.name for each in world.store.find(enabled=False)[0]] == ["Cooling"]
    assert [each.name for each in world.store.find(text="WARM")[0]] == ["Heating"]


class Model(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(self.folder.name)
        self.programs: dict[int, tuple[str, int, bool]] = {}
        self.runs: dict[int, list[int]] = {}
        self.states: dict[int, dict[str, int]] = {}
        self.clock = 0

    def _pick(self, at: int) -> int:
        return sorted(self.programs)[at % len(self.programs)]

    @rule(name=st.sampled_from("abcd"), enabled=st.booleans())
    def create(self, name: str, enabled: bool) -> None:
        if name in {each[0] for each in self.programs.values()}:
            with pytest.raises(ConflictError):
                self.world.store.create(program(name), "ana")
            return
        made = self.world.store.create(program(name, enabled=enabled), "ana").id
        self.programs[made], self.runs[made] = (name, 1, enabled), []

    @precondition(lambda self: self.programs)
    @rule(at=st.integers(0, 9), enabled=st.booleans())
    def update(self, at: int, enabled: bool) -> None:
        chosen = self._pick(at)
        name, version, _ = self.programs[chosen]
        self.world.store.update(chosen, program(name, enabled=enabled), "bob")
        self.programs[chosen] = (name, version + 1, enabled)

    @precondition(lambda self: self.programs)
    @rule(at=st.integers(0, 9), count=st.integers(1, 70))
    def log(self, at: int, count: int) -> None:
        chosen = self._pick(at)
        times = list(range(self.clock, self.clock + count))
        self.clock += count
        self.world.store.log(chosen, [execution(each) for each in times])
        self.runs[chosen] = (self.runs[chosen] + times)[-100:]

    @precondition(lambda self: self.programs)
    @rule(at=st.integers(0, 9), value=st.integers())
    def remember(self, at: int, value: int) -> None:
        chosen = self._pick(at)
        self.world.store.save_state(chosen, 1, {"value": value})
        self.states[chosen] = {"value": value}

    @precondition(lambda self: self.programs)
    @rule(at=st.integers(0, 9))
    def delete(self, at: int) -> None:
        chosen = self._pick(at)
        self.world.store.delete(chosen)
        del self.programs[chosen], self.runs[chosen]
        self.states.pop(chosen, None)

    @rule()
    def reopen(self) -> None:
        self.world.reopen()

    @invariant()
    def agrees(self) -> None:
        store = self.world.store
        found, _ = store.find()
        assert {each.id: (each.name, each.version, each.enabled) for each in found} == self.programs
        assert [each.id for each in store.in_force()[1]] == [
            each for each in sorted(self.programs) if self.programs[each][2]
        ]
        for each in self.programs:
            runs, _ = store.executions(each, limit=1000)
            assert [run.started_at for run in reversed(runs)] == self.runs[each]
            kept = store.state(each)
            assert (kept.state if kept else None) == self.states.get(each)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.store.close()
            self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=15, stateful_step_count=20, suppress_health_check=[HealthCheck.too_slow]
)
