"""A service manager is told when a command is up."""

import contextlib
import socket
import threading
from pathlib import Path

import pytest

from api.foreground import tell_systemd


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    named = f"@{tmp_path}/notify" if abstract else f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(named.replace("@", "\0", 1))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", named)
        tell_systemd("READY=1")
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("named", ["", "vsock:2:1234", "/nowhere/notify"])
def test_who_asks_for_nothing_or_is_away_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", named)
    tell_systemd("READY=1")


def test_a_service_manager_that_reads_nothing_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(named)
        monkeypatch.setenv("NOTIFY_SOCKET", named)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    other.sendto(b"full", named)
        told = threading.Thread(target=tell_systemd, args=("READY=1",), daemon=True)
        told.start()
        told.join(5)
        assert not told.is_alive()
