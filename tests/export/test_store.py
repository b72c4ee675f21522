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
from actors.core.secrets import KEY_FILE
from actors.export.models import BackfillState, NewBackfill, NewTarget
from actors.export.store import ExportStore

NOON = 1_700_000_000_000
INFLUX = {"kind": "influxdb", "url": "https://influx.example.org:8086", "org": "o", "bucket": "b"}


def target(name: str = "historian", **fields: Any) -> NewTarget:
    return NewTarget.model_validate({"name": name, "connection": INFLUX} | fields)


class World:
    def __init__(self, folder: Path | str) -> None:
        self.folder, self.now = folder, NOON
        self.events: list[Any] = []
        self.open()

    def open(self) -> None:
        self.store = ExportStore(self.folder, self.events.append, lambda: self.now)

    def reopen(self) -> None:
        self.store.close()
        self.open()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.events.clear()
    yield world
    world.store.close()


def test_a_target_is_kept_and_its_password_sealed(world: World) -> None:
    made = world.store.create(target(password="s3cret-token"))
    assert (made.has_password, made.live, made.enabled, made.batch_size) == (True, True, True, 5000)
    assert "s3cret" not in made.model_dump_json()
    for file in Path(world.folder).glob("export.db*"):
        assert b"s3cret" not in file.read_bytes(), file
    [found] = world.store.in_force()[1]
    assert found.password is not None
    assert found.password.get_secret_value() == "s3cret-token"
    assert "s3cret" not in repr(found)


def test_a_password_left_out_stays_and_a_new_one_takes_its_place(world: World) -> None:
    made = world.store.create(target(password="one"))
    assert world.store.update(made.id, target("renamed", batch_size=10)).has_password

    def password() -> str | None:
        [found] = world.store.in_force()[1]
        return found.password.get_secret_value() if found.password else None

    assert password() == "one"
    world.store.update(made.id, target("renamed", password="two"))
    assert password() == "two"


def test_a_lost_key_is_told_and_nothing_crashes(world: World) -> None:
    world.store.create(target(password="one"))
    world.store.close()
    (Path(world.folder) / KEY_FILE).unlink()
    world.open()
    [found] = world.store.in_force()[1]
    assert found.password is None
    assert "the password of historian can't be read" in (found.trouble or "")
    assert world.store.find()[0][0].has_password


def test_names_are_taken_once(world: World) -> None:
    world.store.create(target("A"))
    other = world.store.create(target("B"))
    for refused in (
        lambda: world.store.create(target("a")),
        lambda: world.store.update(other.id, target("A")),
    ):
        with pytest.raises(ConflictError, match="of this name already"):
            refused()
    assert [each.name for each in world.store.find()[0]] == ["A", "B"]


def test_cursors_only_rise_and_survive_a_restart(world: World) -> None:
    made = world.store.create(target()).id
    world.store.sent(made, [("north", "p1", NOON, 10), ("north", "p2", NOON - 5, 3)])
    world.store.sent(made, [("north", "p1", NOON - 100, 10)])
    world.reopen()
    assert world.store.cursors(made) == {("north", "p1"): NOON, ("north", "p2"): NOON - 5}
    assert world.store.cursors(made, "south") == {}
    status = world.store.status(made)
    assert (status.points, status.rows_sent, status.oldest_cursor, status.failures) == (2, 23, NOON - 5, 0)
    assert world.store.reset(made, 1000) == 2
    assert set(world.store.cursors(made).values()) == {1000}
    with pytest.raises(BadInputError, match="to"):
        world.store.reset(made, -1)


def test_failures_are_counted_until_something_arrives(world: World) -> None:
    made = world.store.create(target()).id
    world.store.failed(made, "connection refused")
    world.now += 10
    world.store.failed(made, "x" * 5000)
    status = world.store.status(made)
    assert (status.failures, status.last_failure, len(status.last_error or "")) == (2, NOON + 10, 1000)
    world.store.sent(made, [])
    assert world.store.status(made).failures == 0
    for ask in (
        lambda: world.store.sent(99, []),
        lambda: world.store.failed(99, "x"),
        lambda: world.store.status(99),
        lambda: world.store.cursors(99),
        lambda: world.store.reset(99, 0),
        lambda: world.store.delete(99),
        lambda: world.store.queue_backfill(99, NewBackfill(start=0, end=1), "ana"),
    ):
        with pytest.raises(NotFoundError):
            ask()


def test_state_comes_in_pages_by_site_and_point(world: World) -> None:
    made = world.store.create(target()).id
    world.store.sent(made, [(site, f"p{n}", NOON, 1) for site in ("north", "south") for n in range(3)])
    seen: list[tuple[str, str]] = []
    cursor = None
    while True:
        part, cursor = world.store.state(made, 4, cursor)
        seen += [(each.site, each.point_id) for each in part]
        if cursor is None:
            break
    assert seen == [(site, f"p{n}") for site in ("north", "south") for n in range(3)]
    for wrong in ({"limit": 0}, {"cursor": "x"}):
        with pytest.raises(BadInputError):
            world.store.state(made, **wrong)  # type: ignore[arg-type]


def test_a_backfill_goes_on_where_it_stopped(world: World) -> None:
    made = world.store.create(target()).id
    run = world.store.queue_backfill(made, NewBackfill(start=1000, end=2000), "ana")
    assert (run.progress, run.reached) == (0.0, 1000)
    with pytest.raises(ConflictError, match="queued, not running"):
        world.store.advance(run.id, 1500, 5)
    world.store.move_backfill(run.id, BackfillState.RUNNING)
    assert world.store.advance(run.id, 1500, 5).progress == 0.5
    assert world.store.advance(run.id, 1200, 5).reached == 1500
    with pytest.raises(BadInputError, match="reached"):
        world.store.advance(run.id, 2500, 1)
    world.store.move_backfill(run.id, BackfillState.FAILED, "no route")
    world.reopen()
    again = world.store.move_backfill(run.id, BackfillState.QUEUED)
    assert (again.reached, again.rows_sent, again.error, again.finished_at) == (1500, 10, None, None)
    with pytest.raises(ConflictError, match="queued and can't become done"):
        world.store.move_backfill(run.id, BackfillState.DONE)
    assert [each.id for each in world.store.backfills(made, BackfillState.QUEUED)[0]] == [run.id]
    world.store.delete(made)
    with pytest.raises(NotFoundError):
        world.store.backfill(run.id)


def test_only_enabled_targets_are_in_force_and_changes_move_the_cell(world: World) -> None:
    one = world.store.create(target("one")).id
    world.store.create(target("two", enabled=False))
    version, found = world.store.in_force()
    assert [each.target.name for each in found] == ["one"]
    world.store.set_enabled(one, False)
    assert world.store.in_force()[1] == []
    world.store.delete(one)
    moved = [each.version for each in world.events if isinstance(each, WatchMoved)]
    assert moved == [NOON, NOON + 1, NOON + 2, NOON + 3]
    assert version == NOON + 1


class Model(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(self.folder.name)
        self.passwords: dict[int, str | None] = {}
        self.names: dict[int, str] = {}
        self.cursors: dict[int, dict[tuple[str, str], int]] = {}

    def _pick(self, at: int) -> int:
        return sorted(self.names)[at % len(self.names)]

    @rule(name=st.sampled_from("abc"), password=st.none() | st.sampled_from(["x1", "y2"]))
    def create(self, name: str, password: str | None) -> None:
        if name in self.names.values():
            with pytest.raises(ConflictError):
                self.world.store.create(target(name))
            return
        made = self.world.store.create(target(name, password=password)).id
        self.names[made], self.passwords[made], self.cursors[made] = name, password, {}

    @precondition(lambda self: self.names)
    @rule(at=st.integers(0, 9), password=st.none() | st.sampled_from(["x1", "y2"]))
    def update(self, at: int, password: str | None) -> None:
        chosen = self._pick(at)
        self.world.store.update(chosen, target(self.names[chosen], password=password))
        self.passwords[chosen] = password or self.passwords[chosen]

    @precondition(lambda self: self.names)
    @rule(at=st.integers(0, 9), point=st.sampled_from("pq"), to=st.integers(0, 100))
    def sent(self, at: int, point: str, to: int) -> None:
        chosen = self._pick(at)
        self.world.store.sent(chosen, [("north", point, to, 1)])
        known = self.cursors[chosen]
        known["north", point] = max(to, known.get(("north", point), 0))

    @precondition(lambda self: self.names)
    @rule(at=st.integers(0, 9))
    def delete(self, at: int) -> None:
        chosen = self._pick(at)
        self.world.store.delete(chosen)
        for kept in (self.names, self.passwords, self.cursors):
            kept.pop(chosen)  # type: ignore[attr-defined]

    @rule()
    def reopen(self) -> None:
        self.world.reopen()

    @invariant()
    def agrees(self) -> None:
        found = self.world.store.in_force()[1]
        assert {each.target.id: each.target.name for each in found} == self.names
        assert {
            each.target.id: each.password.get_secret_value() if each.password else None for each in found
        } == self.passwords
        for each in self.names:
            assert self.world.store.cursors(each) == self.cursors[each]

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.store.close()
            self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=15, stateful_step_count=20, suppress_health_check=[HealthCheck.too_slow]
)
