"""A command that goes on behind is waited for until it is up, or says why not."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from rich.console import Console

from api import background
from api.background import start
from api.foreground import UsageError, own
from api.processes import descendants


def test_it_returns_when_the_command_says_that_it_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(background, "UP", "READY")
    command = ["simulate", "--background", "--ip", "127.0.0.7", "--parent-pid", str(os.getpid())]
    start(command, tmp_path, Console(soft_wrap=True))
    said = capsys.readouterr().out
    found = re.search(r"Process (\d+); what it says is in (\S+)\.\n", said)
    assert found is not None, said
    assert "READY" in Path(found[2]).read_text()
    os.kill(int(found[1]), signal.SIGTERM)
    deadline = time.monotonic() + 20
    while int(found[1]) in {pid for pid, _ in descendants(os.getpid())}:
        os.waitpid(int(found[1]), os.WNOHANG)
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_a_command_that_ends_has_said_is_the_error(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    with pytest.raises(UsageError, match=r"none\.yaml"):
        start(["up", "--config", str(missing), "--data", str(tmp_path)], tmp_path, Console())


def test_what_runs_already_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with own(tmp_path):
        start(["up"], tmp_path, Console(soft_wrap=True))
    assert "already" in capsys.readouterr().out
    assert not (tmp_path / "logs").exists()


def test_one_that_takes_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "START", 0.0)
    with pytest.raises(UsageError, match=r"not up after 0 s; see .*opencrate\.out"):
        start(["--version"], tmp_path, Console())
