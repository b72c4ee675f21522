"""Entries cut off the end of the audit log are seen, on real files."""

import shutil
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from typer.testing import CliRunner

from actors.audit.anchor import ANCHOR_FILE, Anchors
from actors.audit.models import Anchor
from actors.audit.store import AuditStore
from actors.backup import files
from actors.core.health import HealthState
from actors.core.secrets import KEY_FILE
from api.cli import app
from api.restore import verify_audit

cli = CliRunner()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder whose audit log has ten entries."""
    store = AuditStore(tmp_path / "campus")
    for number in range(10):
        store.add("ana", "write", f"p{number}")
    store.close()
    return tmp_path


def tamper(data: Path, *statements: str) -> None:
    connection = apsw.Connection(str(data / "campus" / "audit.db"))
    for trigger in ("audit_no_update", "audit_no_delete"):
        connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
    for statement in statements:
        connection.execute(statement)
    connection.close()


def verify(data: Path, *arguments: str) -> tuple[int, str]:
    done = cli.invoke(app, ["audit", "verify", "--data", str(data), *arguments])
    assert "Traceback" not in done.output
    return done.exit_code, done.output.strip()


def test_a_whole_log_is_confirmed(data: Path) -> None:
    assert verify(data) == (0, "10 entries, each fits the one before.")
    store = AuditStore(data / "campus")
    assert store.verify().model_dump() == {
        "ok": True,
        "entries": 10,
        "first_broken": None,
        "missing": 0,
        "reason": None,
        "losses": [],
    }
    store.close()


def test_entries_cut_off_the_end_are_counted_and_noted_for_good(data: Path) -> None:
    tamper(data, "DELETE FROM audit_entry WHERE id > 7")
    assert verify(data) == (1, "3 entries are missing at the end; 7 entries are there")
    store = AuditStore(data / "campus")
    newest = store.find()[0][0]
    assert (newest.id, newest.user, newest.action) == (8, "system", "audit_entries_lost")
    assert newest.detail == {"reason": "3 entries are missing at the end", "missing": 3, "explained": False}
    for number in range(5):
        store.add("ana", "write", f"q{number}")
    check = store.verify()
    assert (check.ok, check.entries, [each.id for each in check.losses]) == (False, 13, [8])
    store.close()
    code, said = verify(data)
    assert code == 1
    assert "entry 8 notes: 3 entries are missing at the end" in said


def test_cutting_while_the_store_runs_is_seen_too(data: Path) -> None:
    store = AuditStore(data / "campus")
    for trigger in ("audit_no_update", "audit_no_delete"):
        store.db.execute(f"DROP TRIGGER {trigger}")
    store.db.execute("DELETE FROM audit_entry WHERE id = 10")
    check = store.verify()
    assert (check.ok, check.missing, check.reason) == (False, 1, "1 entry is missing at the end")
    store.close()


def test_an_entry_that_was_added_by_hand_is_named(data: Path) -> None:
    before = data / "before"
    shutil.copytree(data / "campus", before)
    store = AuditStore(data / "campus")
    store.add("eve", "write", "x")
    store.close()
    # The entry fits the chain, but the anchors are those of before.
    anchor = apsw.Connection(str(before / "audit.db")).execute("SELECT sealed FROM audit_anchor").fetchall()
    tamper(data, f"UPDATE audit_anchor SET sealed = '{anchor[0][0]}'")
    shutil.copy(before / ANCHOR_FILE, data / "campus" / ANCHOR_FILE)
    code, said = verify(data)
    assert code == 1
    assert "entry 11 does not fit" in said
    assert "added by other means" in said


@pytest.mark.parametrize("hide", ["file", "row", "both", "key", "garbage"])
def test_taking_an_anchor_away_is_seen(data: Path, hide: str) -> None:
    campus = data / "campus"
    tamper(data, "DELETE FROM audit_entry WHERE id > 7")
    if hide in {"file", "both"}:
        (campus / ANCHOR_FILE).unlink()
    if hide in {"row", "both"}:
        tamper(data, "DELETE FROM audit_anchor")
    if hide == "key":
        (campus / KEY_FILE).unlink()
    if hide == "garbage":
        (campus / ANCHOR_FILE).write_bytes(b"\xff\x00")
    assert verify(data)[0] == 1
    assert (campus / KEY_FILE).exists() == (hide != "key"), "verifying makes no key"
    store = AuditStore(campus)
    check = store.verify()
    assert not check.ok
    assert [(each.id, each.explained) for each in check.losses] == [(8, False)]
    store.close()


def test_an_older_log_with_its_own_anchor_put_in_place_is_seen(data: Path) -> None:
    older = data / "older"
    shutil.copytree(data / "campus", older)
    store = AuditStore(data / "campus")
    store.add("eve", "delete_user", "ana")
    store.close()
    shutil.copy(older / "audit.db", data / "campus" / "audit.db")
    assert verify(data)[1] == "1 entry is missing at the end; 10 entries are there"
    # Who takes the anchor along too is seen only by a copy that was kept elsewhere.
    elsewhere = data / "elsewhere"
    shutil.copy(data / "campus" / ANCHOR_FILE, elsewhere)
    shutil.copy(older / ANCHOR_FILE, data / "campus" / ANCHOR_FILE)
    assert verify(data)[0] == 0
    code, said = verify(data, "--anchor", str(elsewhere))
    assert (code, said) == (1, "1 entry is missing at the end; 10 entries are there")
    assert "nowhere is missing" in verify(data, "--anchor", "nowhere")[1]


def test_a_restored_log_says_what_it_misses_and_is_whole(data: Path) -> None:
    files.back_up(data / "campus" / "audit.db")
    store = AuditStore(data / "campus")
    for number in range(4):
        store.add("ana", "write", f"later{number}")
    store.close()
    done = cli.invoke(app, ["restore", "audit@campus", "--yes", "--data", str(data)])
    assert done.exit_code == 0, done.output
    code, said = verify(data)
    assert (code, "4 entries are missing at the end since a backup took its place" in said) == (0, True)
    store = AuditStore(data / "campus")
    check = store.verify()
    assert check.ok
    assert [(each.id, each.missing, each.explained) for each in check.losses] == [(11, 4, True)]
    store.close()
    assert verify(data)[0] == 0


def test_a_damaged_log_that_came_back_from_a_backup_is_explained(data: Path) -> None:
    files.back_up(data / "campus" / "audit.db")
    store = AuditStore(data / "campus")
    store.add("ana", "write", "later")
    store.close()
    (data / "campus" / "audit.db").write_bytes(b"no database" * 1000)
    store = AuditStore(data / "campus")
    assert store.health().state is HealthState.DEGRADED
    assert [(each.id, each.missing, each.explained) for each in store.verify().losses] == [(11, 1, True)]
    store.close()


def test_a_crash_between_the_file_and_the_anchor_outside_is_no_loss(data: Path) -> None:
    outside = (data / "campus" / ANCHOR_FILE).read_bytes()
    store = AuditStore(data / "campus")
    store.add("ana", "write", "in flight")
    store.close()
    (data / "campus" / ANCHOR_FILE).write_bytes(outside)
    assert verify(data) == (0, "11 entries, each fits the one before.")
    store = AuditStore(data / "campus")
    assert (store.verify().ok, store.verify().losses) == (True, [])
    assert store._anchors.outside() == store._inside()
    store.close()


KILLED = """
import os, sys
from actors.audit.anchor import Anchors
from actors.audit.store import AuditStore
Anchors.put_outside = lambda self, anchor: os.kill(os.getpid(), 9)
AuditStore(sys.argv[1])
"""


def test_a_log_of_the_first_version_gets_its_anchors_also_over_a_crash(tmp_path: Path) -> None:
    class First(AuditStore):
        migrations = AuditStore.migrations[:1]

        def opened(self) -> None: ...

    store = First(tmp_path / "campus")
    store._anchors, store._sealed = Anchors(tmp_path / "campus"), False
    store._put_outside = lambda: None  # type: ignore[method-assign]
    store.add("ana", "write", "x")
    store.close()
    assert verify_audit(tmp_path).ok, "before the new version has opened it"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "campus")], check=False, capture_output=True, timeout=60
    )
    assert done.returncode == -9, done.stderr
    assert verify_audit(tmp_path).ok
    again = AuditStore(tmp_path / "campus")
    assert again.verify().model_dump(include={"ok", "entries", "losses"}) == {
        "ok": True,
        "entries": 1,
        "losses": [],
    }
    again.close()
    assert (tmp_path / "campus" / ANCHOR_FILE).exists()


def test_an_anchor_outside_that_cant_be_written_is_told_and_written_later(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = AuditStore(data / "campus")
    path = data / "campus" / ANCHOR_FILE
    part = path.with_suffix(".anchor.part")
    part.mkdir()
    store.add("ana", "write", "x")
    health = store.health()
    assert health.state is HealthState.DEGRADED
    assert "audit.anchor can't be written" in health.reasons[0]
    assert store.verify().ok, "it is behind, not ahead"
    part.rmdir()
    store.add("ana", "write", "y")
    assert store.health().state is HealthState.HEALTHY
    assert store._anchors.outside() == Anchor(entries=12, hash=store.find()[0][0].hash)
    store.close()
