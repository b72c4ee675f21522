"""Handles that lead to a stand-in, and the mark that says when."""

import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from actors.core import peer as module
from actors.core.peer import Peer, bare, set_mark, take_back

calls: list[tuple[str, str, tuple[Any, ...]]] = []


class Method:
    def __init__(self, whose: str, name: str) -> None:
        self.whose, self.name = whose, name

    def remote(self, *args: Any, **kwargs: Any) -> None:
        calls.append((self.whose, self.name, args))


class Handle:
    """An actor's handle, which notes its calls."""

    def __init__(self, whose: str, methods: tuple[str, ...]) -> None:
        self.whose, self.methods = whose, methods

    def __getattr__(self, name: str) -> Method:
        if name.startswith("_") or name not in self.methods:
            raise AttributeError(name)
        return Method(self.whose, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return Handle, (self.whose, self.methods)


@pytest.fixture
def peer(tmp_path: Path) -> Peer:
    calls.clear()
    history = Handle("history", ("append", "health"))
    return Peer("history", history, Handle("stand_in", ("call", "health")), tmp_path / "marks" / "history")


def test_calls_go_to_the_actor_until_somebody_stands_in_and_back_again(peer: Peer) -> None:
    append = peer.append
    append.remote(b"1")
    with set_mark(peer.mark):
        append.remote(b"2")
        assert peer.replaced
    peer.mark.unlink()
    append.remote(b"3")
    assert calls == [
        ("history", "append", (b"1",)),
        ("stand_in", "call", ("history", "append", (b"2",), {})),
        ("history", "append", (b"3",)),
    ]


def test_a_method_that_the_actor_lacks_is_lacking(peer: Peer) -> None:
    assert getattr(peer, "stop", None) is None
    assert bare(peer) is peer.handle
    assert bare(peer.handle) is peer.handle


def test_in_another_process_both_are_called_once_before_they_are_needed(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_met", set())
    again = [pickle.loads(pickle.dumps(peer)) for _ in range(2)]
    assert calls == [("history", "health", ()), ("stand_in", "health", ())]
    assert (again[0].name, again[0].mark) == (peer.name, peer.mark)


def test_two_cannot_stand_in_for_one(peer: Peer) -> None:
    with set_mark(peer.mark), pytest.raises(OSError, match="unavailable"):
        set_mark(peer.mark)


def test_without_a_mark_there_is_nothing_to_take_back(tmp_path: Path) -> None:
    assert not take_back(tmp_path / "history")


def test_taking_back_waits_until_the_stand_in_has_ended(peer: Peer) -> None:
    file = set_mark(peer.mark)
    taken: list[bool] = []
    thread = threading.Thread(target=lambda: taken.append(take_back(peer.mark)))
    thread.start()
    while peer.replaced:
        time.sleep(0.01)
    assert taken == []
    file.close()
    thread.join(10)
    assert taken == [True]


def test_a_stand_in_that_hangs_is_killed(peer: Peer) -> None:
    script = "import sys, time, pathlib; from actors.core.peer import set_mark\n"
    script += "kept = set_mark(pathlib.Path(sys.argv[1])); print('on', flush=True); time.sleep(600)"
    command = [sys.executable, "-c", script, str(peer.mark)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as hanging:
        assert hanging.stdout is not None
        assert hanging.stdout.readline() == "on\n"
        assert take_back(peer.mark, wait=0.1)
        assert hanging.wait(10) == -9
    assert not peer.replaced
