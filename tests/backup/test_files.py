"""Backups as files: what a copy holds, its manifest, its name, and what crashes and full disks leave."""

import contextlib
import hashlib
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from actors.backup import files
from actors.backup.models import BackupState
from actors.core.errors import StorageError
from actors.core.health import HealthState
from tests.backup.large import Large, fill


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Large]:
    made = Large(tmp_path)
    yield made
    made.close()


def held(copy: Path) -> int:
    connection = apsw.Connection(str(copy))
    [[count]] = connection.execute("SELECT count(*) FROM blob").fetchall()
    connection.close()
    return int(count)


def test_a_copy_is_what_the_file_was_at_its_beginning_whatever_is_done_meanwhile(store: Large) -> None:
    fill(store, megabytes=40)
    before, slices = store.count(), 0

    def told(state: BackupState, done: int, size: int) -> None:
        nonlocal slices
        slices += state is BackupState.COPYING
        store.add(b"meanwhile" * 1000)
        with contextlib.suppress(ZeroDivisionError), store.transaction():
            store.add(b"not after all" * 1000)
            raise ZeroDivisionError
        assert 0 < done <= size

    copy = files.back_up(store.path, told=told)
    pages = copy.stat().st_size // 4096
    assert slices == -(-pages // files.SLICE), "it never started over"
    assert held(copy) == before
    assert store.count() == before + slices + 1


def test_a_manifest_says_what_the_copy_is(store: Large) -> None:
    store.add(b"x")
    copy = files.back_up(store.path, clock=lambda: 1_700_000_000_123)
    [backup] = files.backups(store.path)
    manifest = files.read_manifest(backup)
    assert manifest is not None
    assert manifest.model_dump() == {
        "name": "large.db.01700000000123-000001.bak",
        "store": "large",
        "schema_version": 1,
        "size": copy.stat().st_size,
        "sha256": hashlib.sha256(copy.read_bytes()).hexdigest(),
        "time": 1_700_000_000_123,
        "program": importlib.metadata.version("opencrate-campus"),
    }
    assert files.unsound(backup) is None
    [told] = store.backups()
    assert (told.sha256, told.schema_version) == (manifest.sha256, 1)


def test_retention_prunes_copies_with_their_manifests_and_manifests_alone(store: Large) -> None:
    orphan = store.path.parent / "backups" / "large.db.01600000000000-000001.json"
    for _ in range(5):
        files.back_up(store.path, keep=2)
    orphan.write_text("{}")
    files.back_up(store.path, keep=2)
    names = sorted(each.name.partition("-")[2] for each in orphan.parent.iterdir())
    assert names == ["000005.bak", "000005.json", "000006.bak", "000006.json"]


def test_a_changed_copy_is_passed_over_when_a_damaged_file_is_replaced(store: Large) -> None:
    store.add(b"kept")
    files.back_up(store.path)
    store.add(b"later")
    newest = files.back_up(store.path)
    store.close()
    with newest.open("ab") as file:
        file.write(b"\x00" * 4096)
    store.path.write_bytes(b"no database, a letter" * 1000)
    again = Large(store.path.parent)
    assert again.count() == 1
    health = again.health()
    assert health.state is HealthState.DEGRADED
    assert "-000001.bak; later changes are lost" in health.reasons[0]
    again.close()


def test_a_missing_file_is_replaced_by_its_newest_backup_and_said(store: Large) -> None:
    store.add(b"kept")
    files.back_up(store.path)
    store.close()
    store.path.unlink()
    again = Large(store.path.parent)
    assert again.count() == 1
    assert "large.db was missing, restored from large.db." in again.health().reasons[0]
    again.close()


CUT = """
import os, sys
from pathlib import Path
from actors.backup import files
def told(state, done, size):
    if state == sys.argv[2]:
        os.kill(os.getpid(), 9)
files.back_up(Path(sys.argv[1]), told=told)
"""


@pytest.mark.parametrize("state", ["copying", "checking"])
def test_a_crash_in_the_middle_leaves_no_half_backup(store: Large, state: str) -> None:
    fill(store, megabytes=10)
    whole = files.back_up(store.path)
    done = subprocess.run([sys.executable, "-c", CUT, str(store.path), state], check=False, timeout=60)
    assert done.returncode == -9
    assert list(whole.parent.glob("*.part")), "the part of a copy is there"
    assert [each.path for each in files.backups(store.path)] == [whole]
    store.add(b"on it goes")
    newest = files.back_up(store.path)
    assert [each.path for each in files.backups(store.path)] == [newest, whole]
    assert not list(whole.parent.glob("*.part*"))
    assert held(newest) == 11


def test_a_disk_that_fills_up_in_the_middle_is_told_and_cleaned_up(store: Large, tmp_path: Path) -> None:
    fill(store, megabytes=12)
    folder = tmp_path / "backups"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    try:
        with pytest.raises(StorageError, match="the disk is full"):
            files.back_up(store.path)
        assert list(folder.iterdir()) == []
        store.add(b"on it goes")
        assert store.health().state is HealthState.HEALTHY
        subprocess.run(["mount", "-o", "remount,size=20m", folder], check=True)
        assert held(files.back_up(store.path)) == 13
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_an_empty_file_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "large.db").touch()
    with pytest.raises(StorageError, match="has no tables"):
        files.back_up(tmp_path / "large.db")
    assert list((tmp_path / "backups").iterdir()) == []


def test_a_damaged_file_gives_no_backup(store: Large) -> None:
    fill(store, megabytes=1)
    store.close()
    data = bytearray(store.path.read_bytes())
    data[4096:8192] = b"\xa5" * 4096
    store.path.write_bytes(data)
    with pytest.raises(StorageError, match="large"):
        files.back_up(store.path)
    assert files.backups(store.path) == []
