"""Stores on a disk that is full, and on one that can't be written."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.core.errors import StorageError
from actors.core.health import HealthState
from actors.core.store import Store
from tests.crash.cases import CASES, Case
from tests.crash.worker import Outbox

MEGABYTES = 3
# Users cost a password hash each: filling a disk with them takes minutes, and their writes are like others.
FILLABLE = sorted(set(CASES) - {"users"})


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def make_until_refused(case: Case, store: Store, first: int) -> tuple[int, StorageError]:
    """Make records from `first` on; give the first that was refused, and the error."""
    for number in range(first, first + 20_000):
        try:
            case.make(store, number)
        except StorageError as error:
            return number, error
    raise AssertionError("the disk never filled")


@pytest.mark.parametrize("name", FILLABLE)
def test_a_full_disk_refuses_changes_loses_nothing_and_heals(name: str, disk: Path) -> None:
    case = CASES[name]
    store = case.plain(disk, Outbox())
    number = 0
    for _ in range(20):
        case.make(store, number)
        number += 1
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\x00" * 4096):
            pass
    for _ in range(2):
        number, error = make_until_refused(case, store, number)
        assert error.store == store.name
        assert case.found(store) == set(range(number)), "what was acknowledged is there, and nothing else"
    ballast.unlink()
    case.make(store, number)
    assert store.health().state is HealthState.HEALTHY
    store.close()
    again = case.plain(disk, Outbox())
    assert case.found(again) == set(range(number + 1))
    assert again.one("PRAGMA integrity_check") == {"integrity_check": "ok"}
    again.close()


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_disk_that_cant_be_written_is_told_and_its_files_stay(name: str, disk: Path) -> None:
    case = CASES[name]
    store = case.plain(disk, Outbox())
    case.make(store, 0)
    store.close()
    before = (disk / f"{store.name}.db").read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    try:
        with pytest.raises(StorageError, match="can't be written"):
            case.plain(disk, Outbox())
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert (disk / f"{store.name}.db").read_bytes() == before
    again = case.plain(disk, Outbox())
    assert case.found(again) == {0}
    again.close()
