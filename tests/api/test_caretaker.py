"""Who looks after a host's actors: with real processes, and Ray's answers as told."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError

from actors.core.errors import NotFoundError
from actors.core.health import Health, HealthState
from actors.core.peer import Peer
from api import caretaker as module
from api.caretaker import ASK, GIVE_UP, RESTARTS, TRIES, Caretaker, Verdict

Answer = Callable[[], Any]


def unavailable() -> Any:
    raise ActorUnavailableError("away", None)


def died() -> Any:
    raise ActorDiedError()


class Actor:
    """A process, and a handle whose calls give what it is told to answer; None for no answer."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process = subprocess.Popen(["sleep", "600"])
        self.answer: Answer | None = lambda: Health(name=name, pid=self.process.pid)
        self.health = SimpleNamespace(remote=lambda: Reference(lambda: self.answer))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.answer = unavailable


class Reference:
    def __init__(self, answer: Callable[[], Answer | None]) -> None:
        self.answer = answer


class World:
    """One site with a stand-in and two actors, and the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.now, self.head_answers = 1000.0, False
        self.killed: list[Any] = []
        self.began: list[str] = []
        self.prepared: list[dict[str, Any]] = []
        self.begin_fails: Exception | None = None
        self.own = {name: Actor(name) for name in ("stand_in", "history", "reports")}
        stand_in: Any = self.own["stand_in"]
        stand_in.begin = SimpleNamespace(remote=self._begin)
        stand_in.prepare = SimpleNamespace(remote=self.prepared.append)
        stand_in.call = SimpleNamespace(remote=lambda name, method, args, kwargs: self._stood_in())
        self.peers = {
            name: Peer(name, self.own[name], stand_in, folder / name) for name in ("history", "reports")
        }
        order = [
            ("stand_in@north", stand_in),
            *((f"{name}@north", each) for name, each in self.peers.items()),
        ]
        fake = SimpleNamespace(
            get=self._get, wait=self._wait, kill=lambda it, no_restart: self.killed.append(it)
        )
        monkeypatch.setattr(module, "ray", fake)
        monkeypatch.setattr(module, "PATIENCE", 0.05)
        head: Any = SimpleNamespace(answers=lambda: self.head_answers)
        recipes: Any = {"north": {"history": "how"}}
        self.caretaker = Caretaker(order, {"north": stand_in}, recipes, head, lambda: self.now)

    def _begin(self, name: str) -> Reference:
        def answer() -> None:
            if self.begin_fails is not None:
                raise self.begin_fails
            self.began.append(name)
            self.peers[name].mark.touch()

        return Reference(lambda: answer)

    def _stood_in(self) -> Reference:
        return Reference(lambda: self.own["stand_in"].answer)

    def _kill(self, actor: Any, *, no_restart: bool) -> None:
        assert not no_restart
        self.killed.append(actor)

    def _get(self, reference: Reference, timeout: float = 0.0) -> Any:
        answer = reference.answer()
        assert answer is not None
        return answer()

    def _wait(
        self, references: list[Reference], num_returns: int = 1, timeout: float = 0.0
    ) -> tuple[list[Reference], list[Reference]]:
        done = [each for each in references if each.answer() is not None]
        return done, [each for each in references if each not in done]

    def look(self, seconds: float = ASK) -> Verdict:
        self.now += seconds
        return self.caretaker.look()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    made = World(monkeypatch, tmp_path)
    assert made.look() is Verdict.FINE
    yield made
    for each in made.own.values():
        each.process.kill()
        each.process.wait()


def test_a_dead_actor_is_stood_in_for_at_the_next_look_while_the_head_is_away(world: World) -> None:
    world.own["history"].kill()
    assert world.look(0.1) is Verdict.FINE
    assert world.began == ["history"]
    assert world.look() is Verdict.FINE
    assert world.caretaker.stood_in() == ["history@north"]


def test_a_head_that_answers_starts_it_again_and_is_told_once_it_has_not(world: World) -> None:
    world.head_answers = True
    world.own["history"].kill()
    for _ in range(3):
        assert world.look() is Verdict.FINE
    assert (world.began, world.killed) == ([], [])
    world.look(RESTARTS)
    assert world.killed == [world.own["history"]]
    world.look(1.0)
    assert len(world.killed) == 1


def test_what_cannot_be_stood_in_for_makes_the_host_go_alone_if_it_is_essential(world: World) -> None:
    world.begin_fails = NotFoundError("actor", "history")
    world.own["reports"].kill()
    for _ in range(4):
        assert world.look(GIVE_UP) is Verdict.FINE
    world.own["history"].kill()
    assert world.look(0.1) is Verdict.FINE
    assert world.look(GIVE_UP + 1) is Verdict.ALONE
    assert world.caretaker.lost == ["history@north"]


def test_a_stand_in_that_dies_too_makes_the_host_go_alone(world: World) -> None:
    world.own["history"].kill()
    world.look(0.1)
    world.own["stand_in"].kill()
    world.begin_fails = ActorUnavailableError("away", None)
    world.look()
    assert world.look(GIVE_UP + 1) is Verdict.ALONE


def test_a_stand_in_alone_that_is_dead_is_nobodys_loss(world: World) -> None:
    world.own["stand_in"].kill()
    assert [world.look(GIVE_UP) for _ in range(3)] == [Verdict.FINE] * 3


def test_a_stand_in_that_was_started_again_is_prepared(world: World) -> None:
    fresh = Health(name="stand_in", state=HealthState.UNKNOWN, pid=world.own["stand_in"].process.pid)
    world.own["stand_in"].answer = lambda: fresh
    world.look()
    assert world.prepared == [{"history": "how"}]


def test_what_hangs_is_killed_only_while_the_head_is_away(world: World) -> None:
    world.own["history"].answer = None
    world.head_answers = True
    for _ in range(2 * TRIES):
        assert world.look() is Verdict.FINE
    assert world.own["history"].process.poll() is None
    world.head_answers = False
    world.look()
    assert world.own["history"].process.wait(10) == -9
    assert world.look() is Verdict.FINE
    assert world.began == ["history"]


def test_an_actor_that_was_started_just_before_its_stand_in_gets_its_place_back(world: World) -> None:
    before = world.own["history"].answer
    world.own["history"].kill()
    world.look(0.1)
    world.own["history"].answer = None
    world.head_answers = True
    world.look(1.0)
    assert world.caretaker.stood_in() == ["history@north"]
    world.own["history"].answer = before
    world.look(1.0)
    assert world.caretaker.stood_in() == []


def test_an_actor_that_does_not_come_back_once_the_head_answers_is_asked_for(world: World) -> None:
    world.own["history"].kill()
    world.look(0.1)
    world.head_answers = True
    for _ in range(4):
        world.look(RESTARTS / 2)
    assert world.killed == [world.own["history"]]


def test_actors_that_another_host_ended_are_told(world: World) -> None:
    world.own["history"].answer = died
    assert world.look() is Verdict.TAKEN
    assert world.caretaker.lost == ["history@north"]
