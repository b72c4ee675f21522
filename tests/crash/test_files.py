"""Files that are damaged, of a newer version, in use or empty: every store, on real files."""

import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from actors.backup import files
from actors.core import sqlite
from actors.core.errors import AlreadyOwnedError, NewerFileError, StorageError
from actors.core.health import HealthState
from actors.core.store import Store
from tests.crash.cases import CASES, Case
from tests.crash.worker import Outbox

ROOT = Path(__file__).parents[2]
ALL = pytest.mark.parametrize("name", sorted(CASES))
MADE = 6
"""Records made before the backup; as many after it."""


def opened(case: Case, folder: Path) -> Store:
    return case.plain(folder, Outbox())


def filled(case: Case, folder: Path) -> Path:
    """Make a file with records, the first half of them in its backup; give its path."""
    store = opened(case, folder)
    for number in range(MADE):
        case.make(store, number)
    files.back_up(store.path)
    for number in range(MADE, 2 * MADE):
        case.make(store, number)
    store.close()
    return store.path


def damage(path: Path, kind: str) -> bytes:
    """Damage a file; give what is in it then."""
    data = bytearray(path.read_bytes())
    if kind == "first page":
        data[100:3000] = b"\xa5" * 2900
    elif kind == "middle":
        # Whole pages, so that b-trees miss their children.
        data[4096 : len(data) // 2] = bytes(len(data) // 2 - 4096)
    elif kind == "cut":
        del data[len(data) // 2 :]
    else:
        data[:] = b"this is not a database, it is a letter " * 300
    path.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize("kind", ["first page", "middle", "cut", "letter"])
@ALL
def test_a_damaged_file_is_set_aside_and_its_backup_takes_its_place(
    name: str, kind: str, tmp_path: Path
) -> None:
    case = CASES[name]
    path = filled(case, tmp_path)
    left = damage(path, kind)
    store = opened(case, tmp_path)
    assert case.found(store) == set(range(MADE))
    health = store.health()
    assert health.state is HealthState.DEGRADED
    assert health.reasons[0].startswith(f"{path.name} was damaged (")
    assert "later changes are lost" in health.reasons[0]
    [aside] = tmp_path.glob(f"{path.name}.damaged-*Z")
    assert aside.read_bytes() == left, "never deleted"
    case.make(store, MADE)
    store.close()
    again = opened(case, tmp_path)
    assert case.found(again) == set(range(MADE + 1))
    assert again.health().state is HealthState.HEALTHY
    assert again.one("PRAGMA integrity_check") == {"integrity_check": "ok"}
    again.close()


@ALL
def test_a_damaged_file_without_a_backup_is_set_aside_and_said(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    path = filled(case, tmp_path)
    for each in (tmp_path / "backups").iterdir():
        each.unlink()
    damage(path, "letter")
    store = opened(case, tmp_path)
    assert case.found(store) == set()
    assert "it starts empty" in store.health().reasons[0]
    assert list(tmp_path.glob(f"{path.name}.damaged-*"))
    case.make(store, 0)
    assert case.found(store) == {0}
    store.close()


@ALL
def test_a_backup_that_is_damaged_too_is_passed_over(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    path = filled(case, tmp_path)
    newest = files.back_up(path)
    damage(newest, "middle")
    damage(path, "first page")
    store = opened(case, tmp_path)
    assert case.found(store) == set(range(MADE)), "the older one is sound"
    store.close()


@ALL
def test_a_damaged_file_that_can_not_be_replaced_stays(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    path = filled(case, tmp_path)
    left = damage(path, "first page")
    in_the_way = tmp_path / f"{path.name}.restoring"
    in_the_way.mkdir()
    with pytest.raises(StorageError, match="can't be put back"):
        opened(case, tmp_path)
    assert path.read_bytes() == left
    in_the_way.rmdir()
    store = opened(case, tmp_path)
    assert case.found(store) == set(range(MADE))
    store.close()


@ALL
def test_a_newer_file_is_refused_by_name_and_version_and_left_as_it_is(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    path = filled(case, tmp_path)
    known = len(opened_class(case).migrations)
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA user_version={known + 1}")
    connection.close()
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(NewerFileError, match=rf"{path.name} has version {known + 1}; .* knows {known}"):
            opened(case, tmp_path)
    assert path.read_bytes() == before
    assert len(files.backups(path)) == 1
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA user_version={known}")
    connection.close()
    store = opened(case, tmp_path)
    assert case.found(store) == set(range(2 * MADE))
    store.close()


def opened_class(case: Case) -> type[Store]:
    assert isinstance(case.plain, type)
    assert issubclass(case.plain, Store)
    return case.plain


HOLD = """
import sys
from tests.crash.cases import CASES
from tests.crash.worker import Outbox
store = CASES[sys.argv[1]].plain(sys.argv[2], Outbox())
print("open", flush=True)
sys.stdin.read()
"""


@ALL
def test_a_file_in_use_is_refused_and_its_owner_named(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    path = filled(case, tmp_path)
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, name, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    try:
        assert owner.stdout.readline() == "open\n"
        with pytest.raises(AlreadyOwnedError, match=rf"{path.name} is already open in process {owner.pid}$"):
            opened(case, tmp_path)
        # Copying it is another matter: that holds nobody up.
        assert sqlite.damage(files.back_up(path)) is None
    finally:
        owner.kill()
        owner.wait()
        owner.stdin.close()
        owner.stdout.close()
    store = opened(case, tmp_path)
    assert case.found(store) == set(range(2 * MADE)), "a killed owner leaves no lock"
    store.close()


@ALL
def test_a_lock_of_sqlite_s_own_is_told_and_nothing_is_changed(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    path = filled(case, tmp_path)
    store = opened(case, tmp_path)
    store.db.set_busy_timeout(50)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="BusyError"):
        case.make(store, 2 * MADE)
    assert store.health().state is HealthState.DOWN
    other.execute("ROLLBACK")
    other.close()
    case.make(store, 2 * MADE)
    assert case.found(store) == set(range(2 * MADE + 1))
    assert store.health().state is HealthState.HEALTHY
    store.close()


@ALL
def test_an_empty_file_is_a_new_one(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    (tmp_path / f"{opened_class(case).name}.db").touch()
    store = opened(case, tmp_path)
    assert case.found(store) == set()
    case.make(store, 0)
    assert store.health().state is HealthState.HEALTHY
    store.close()


@ALL
def test_every_version_of_the_file_reaches_the_same_schema(name: str, tmp_path: Path) -> None:
    plain = opened_class(CASES[name])
    schemas = []
    for version in range(len(plain.migrations) + 1):
        folder = tmp_path / str(version)
        folder.mkdir()
        path = folder / f"{plain.name}.db"
        connection = sqlite.connect(path, plain.durability)
        sqlite.migrate(connection, path, plain.name, plain.migrations[:version], files.back_up)
        connection.close()
        store = opened(CASES[name], folder)
        schemas.append(
            sorted(row["sql"] for row in store.all("SELECT sql FROM sqlite_master WHERE sql NOT NULL"))
        )
        assert len(files.backups(path)) == (0 < version < len(plain.migrations)), "copied before"
        store.close()
    assert all(each == schemas[0] for each in schemas)
