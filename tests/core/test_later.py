"""Handles of actors that rise after those who need them."""

import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from actors.core import later as module
from actors.core.errors import UnreachableError
from actors.core.later import Later
from actors.core.peer import Peer


class Handle:
    """An actor's handle, which counts calls."""

    def __init__(self) -> None:
        self.asked = 0

    @property
    def health(self) -> "Handle":
        return self

    def remote(self) -> None:
        self.asked += 1


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    looked: list[tuple[str, str]] = []

    def find(name: str, site: str) -> Handle:
        looked.append((name, site))
        return Handle()

    monkeypatch.setattr(module, "find", find)
    return looked


def test_an_actor_is_looked_up_once_and_called_once_so_that_ray_knows_where_it_is(
    found: list[tuple[str, str]],
) -> None:
    alarms = Later("alarms", "north")
    handle = alarms()
    assert alarms() is handle
    assert (found, handle.asked) == ([("alarms", "north")], 1)
    assert copy.copy(alarms)() is handle, "who stands in for its holder need not ask the head"


def test_on_a_host_of_its_own_it_is_a_peer(found: list[tuple[str, str]], tmp_path: Path) -> None:
    peer = Later("alarms", "north", Handle(), tmp_path / "alarms")()
    assert isinstance(peer, Peer)
    assert (peer.name, peer.mark) == ("alarms", tmp_path / "alarms")


def test_it_travels(found: list[tuple[str, str]]) -> None:
    there = pickle.loads(pickle.dumps(Later("alarms", "north")))
    assert there().asked == 1


def test_an_actor_that_is_not_there_yet_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [UnreachableError("alarms@north", "it is not running"), Handle()]

    def find(name: str, site: str) -> Handle:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    monkeypatch.setattr(module, "find", find)
    alarms = Later("alarms", "north")
    with pytest.raises(UnreachableError, match="not running"):
        alarms()
    assert alarms().asked == 1


def test_only_one_waits_for_a_head_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, back = threading.Event(), threading.Event()

    def find(name: str, site: str) -> Handle:
        waits.set()
        assert back.wait(10)
        return Handle()

    monkeypatch.setattr(module, "find", find)
    alarms = Later("alarms", "north")
    first = threading.Thread(target=alarms)
    first.start()
    assert waits.wait(10)
    with pytest.raises(UnreachableError, match="head"):
        alarms()
    back.set()
    first.join(10)
    assert alarms().asked == 1
