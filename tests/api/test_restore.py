"""`opencrate restore` and `opencrate audit verify`, on real files, as a person uses them."""

import shutil
import time
from pathlib import Path

import apsw
import pytest
from typer.testing import CliRunner

from actors.audit.store import AuditStore
from actors.backup import files
from actors.core import sqlite
from actors.core.clock import to_iso
from actors.node.models import Node, NodeType
from actors.node.store import NodeStore
from api.cli import app

cli = CliRunner()


def room(key: str) -> Node:
    return Node(id=key, node_type=NodeType.SPACE, dis=key)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two stores: each was backed up after its first record and has a second one."""
    folder = tmp_path / "data"
    nodes, audit = NodeStore(folder / "north"), AuditStore(folder / "campus")
    nodes.create(room("kept"))
    audit.add("ana", "first", "x")
    files.back_up(nodes.path)
    files.back_up(audit.path)
    nodes.create(room("later"))
    audit.add("ana", "second", "x")
    nodes.close()
    audit.close()
    return folder


def ids(data: Path) -> list[str]:
    store = NodeStore(data / "north")
    try:
        return store.ids()
    finally:
        store.close()


def test_backups_are_listed(data: Path) -> None:
    done = cli.invoke(app, ["restore", "--list", "--data", str(data)])
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.output.splitlines()] == ["audit@campus", "nodes@north"]


def test_one_store_is_restored_and_its_file_moved_aside(data: Path) -> None:
    done = cli.invoke(app, ["restore", "nodes@north", "--yes", "--data", str(data)])
    assert done.exit_code == 0, done.output
    assert ids(data) == ["kept"]
    [aside] = (data / "north").glob("nodes.db.replaced-*[0-9Z]")
    assert apsw.Connection(str(aside)).execute("SELECT count(*) FROM node").fetchone() == (2,)
    audit = AuditStore(data / "campus")
    assert len(audit.find()[0]) == 2, "the others stay"
    audit.close()


def test_all_are_restored_twice_without_overwriting_what_was_moved_aside(data: Path) -> None:
    for _ in range(2):
        assert cli.invoke(app, ["restore", "--yes", "--data", str(data)]).exit_code == 0
    assert ids(data) == ["kept"]
    assert (
        len([each for each in (data / "north").glob("nodes.db.replaced-*") if "-wal" not in each.name]) == 2
    )


def test_nothing_happens_without_a_yes(data: Path) -> None:
    done = cli.invoke(app, ["restore", "--data", str(data)], input="n\n")
    assert done.exit_code == 1
    assert ids(data) == ["kept", "later"]


def test_the_newest_backup_before_a_time_is_taken(data: Path) -> None:
    [first] = files.backups(data / "north" / "nodes.db")
    time.sleep(0.02)
    store = NodeStore(data / "north")
    files.back_up(store.path)
    store.close()
    before = to_iso(first.time)
    assert cli.invoke(app, ["restore", "nodes@north", "--yes", "--data", str(data)]).exit_code == 0
    assert ids(data) == ["kept", "later"]
    at = ["restore", "nodes@north", "--yes", "--at", before, "--data", str(data)]
    assert cli.invoke(app, at).exit_code == 0
    assert ids(data) == ["kept"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nodes@south"], "nodes@south"),
        (["nodes@north", "--at", "2001-01-01T00:00:00Z"], "from before 2001-01-01T00:00:00.000Z"),
        (["nodes@north", "--at", "yesterday"], "--at"),
    ],
)
def test_what_cant_be_is_said_without_a_traceback(data: Path, arguments: list[str], says: str) -> None:
    done = cli.invoke(app, ["restore", *arguments, "--yes", "--data", str(data)])
    assert done.exit_code == 2
    assert says in done.output
    assert "Traceback" not in done.output
    assert ids(data) == ["kept", "later"]


def test_an_empty_folder_has_no_backups(tmp_path: Path) -> None:
    done = cli.invoke(app, ["restore", "--yes", "--data", str(tmp_path)])
    assert (done.exit_code, "no backup" in done.output) == (2, True)


def test_a_folder_in_use_is_left_alone(data: Path) -> None:
    running = sqlite.lock(data / "opencrate", "opencrate")
    done = cli.invoke(app, ["restore", "--yes", "--data", str(data)])
    running.close()
    assert done.exit_code == 2
    assert "isn't in use" in done.output
    assert ids(data) == ["kept", "later"]


def test_a_damaged_backup_is_found_before_anything_is_touched(data: Path) -> None:
    [backup] = files.backups(data / "north" / "nodes.db")
    content = bytearray(backup.path.read_bytes())
    content[100:3000] = b"\xa5" * 2900
    backup.path.write_bytes(content)
    backup.manifest.unlink()
    done = cli.invoke(app, ["restore", "--yes", "--data", str(data)])
    assert done.exit_code == 2
    assert "nothing was changed" in done.output
    assert ids(data) == ["kept", "later"]
    assert not list(data.glob("*/*.replaced-*"))


def test_a_backup_that_was_changed_is_refused_by_name(data: Path) -> None:
    [backup] = files.backups(data / "north" / "nodes.db")
    connection = apsw.Connection(str(backup.path))
    connection.execute("UPDATE node SET dis = 'evil'")
    connection.close()
    assert sqlite.damage(backup.path) is None, "SQLite finds nothing wrong with it"
    done = cli.invoke(app, ["restore", "--yes", "--data", str(data)])
    assert done.exit_code == 2
    assert f"{backup.path} is not sound: it was changed after it was made" in done.output
    assert ids(data) == ["kept", "later"]
    backup.manifest.write_text("{}")
    done = cli.invoke(app, ["restore", "--yes", "--data", str(data)])
    assert (done.exit_code, "json can't be read" in done.output) == (2, True)
    backup.manifest.unlink()
    done = cli.invoke(app, ["restore", "nodes@north", "--yes", "--data", str(data)])
    assert done.exit_code == 0, "one of an older version has no manifest"


def test_the_newest_is_the_last_made_whatever_the_clock_said(data: Path) -> None:
    path = data / "north" / "nodes.db"
    store = NodeStore(data / "north")
    ahead = files.back_up(path, clock=lambda: 2_200_000_000_000)
    store.create(room("last"))
    behind = files.back_up(path, clock=lambda: 1_000_000_000_000, keep=2)
    assert [each.path for each in files.backups(path)] == [behind, ahead], "the newest is not pruned"
    store.close()
    assert cli.invoke(app, ["restore", "nodes@north", "--yes", "--data", str(data)]).exit_code == 0
    assert ids(data) == ["kept", "last", "later"]


def test_copies_of_an_older_version_are_listed_before_all_numbered_ones(data: Path) -> None:
    [numbered] = files.backups(data / "north" / "nodes.db")
    older = numbered.path.with_name("nodes.db.99999999999999.bak")
    shutil.copy(numbered.path, older)
    assert [each.path for each in files.backups(data / "north" / "nodes.db")] == [numbered.path, older]


def test_a_copy_that_doesnt_fit_on_the_disk_leaves_the_file_that_is_there(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "damage", lambda path: "no room" if path.suffix == ".restoring" else None)
    done = cli.invoke(app, ["restore", "nodes@north", "--yes", "--data", str(data)])
    assert (done.exit_code, "no room" in done.output) == (2, True)
    assert ids(data) == ["kept", "later"]
    assert not list(data.glob("*/*.restoring*"))


def test_a_whole_audit_log_is_confirmed_also_while_it_is_open(data: Path) -> None:
    store = AuditStore(data / "campus")
    store.add("ana", "third", "x")
    done = cli.invoke(app, ["audit", "verify", "--data", str(data)])
    store.close()
    assert (done.exit_code, done.output.strip()) == (0, "3 entries, each fits the one before.")


def test_a_changed_entry_is_named(data: Path) -> None:
    path = data / "campus" / "audit.db"
    connection = apsw.Connection(str(path))
    connection.execute("DROP TRIGGER audit_no_update")
    connection.execute("UPDATE audit_entry SET user = 'bob' WHERE id = 2")
    connection.close()
    done = cli.invoke(app, ["audit", "verify", "--data", str(data)])
    assert done.exit_code == 1
    assert "entry 2 does not fit: 1 before it do" in done.output


def test_a_missing_or_damaged_audit_log_is_said(data: Path) -> None:
    (data / "campus" / "audit.db").write_bytes(b"no database" * 1000)
    done = cli.invoke(app, ["audit", "verify", "--data", str(data)])
    assert done.exit_code == 2
    assert "audit" in done.output
    shutil.rmtree(data / "campus")
    gone = cli.invoke(app, ["audit", "verify", "--data", str(data)])
    assert (gone.exit_code, "no audit log" in gone.output) == (2, True)
