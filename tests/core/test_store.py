import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import apsw
import pytest

from actors.backup import files
from actors.bus.events import EntityCreated
from actors.core import sqlite
from actors.core.errors import AlreadyOwnedError, BadInputError, NewerFileError, StorageError
from actors.core.health import HealthState
from actors.core.store import Store, page

FIRST = "CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT"
SECOND = "ALTER TABLE thing ADD COLUMN size REAL; CREATE INDEX thing_size ON thing (size)"


class Things(Store):
    name: ClassVar[str] = "things"
    migrations: ClassVar[tuple[str, ...]] = (FIRST, SECOND)

    def add(self, name: str) -> int:
        with self.transaction():
            row = self.one("INSERT INTO thing (name) VALUES (?) RETURNING id", name)
            assert row is not None
            self.publish(EntityCreated(entity_id=name, entity_type="thing"))
        return int(row["id"])


class OldThings(Things):
    migrations: ClassVar[tuple[str, ...]] = (FIRST,)


def names(store: Store) -> list[str]:
    return [row["name"] for row in store.all("SELECT name FROM thing ORDER BY id")]


def test_what_was_returned_is_there_after_a_restart(tmp_path: Path) -> None:
    store = Things(tmp_path)
    store.add("fan")
    store.close()
    assert names(Things(tmp_path)) == ["fan"]


def test_close_writes_the_wal_back_and_may_be_called_twice(tmp_path: Path) -> None:
    store = Things(tmp_path)
    store.add("fan")
    store.close()
    store.close()
    assert not (tmp_path / "things.db-wal").exists()


def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    code = (
        "import os, sys; from tests.core.test_store import Things\n"
        f"s = Things({str(tmp_path)!r})\n"
        "for n in range(50): s.add(f'n{n}')\n"
        "print('done', flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == -9, done.stderr
    assert names(Things(tmp_path)) == [f"n{n}" for n in range(50)]


def test_a_second_owner_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    import os

    store = Things(tmp_path)
    with pytest.raises(AlreadyOwnedError, match=str(os.getpid())):
        Things(tmp_path)
    store.close()
    Things(tmp_path).close()


def test_migrations_reach_the_same_schema_from_every_version(tmp_path: Path) -> None:
    OldThings(tmp_path / "old").close()
    schemas = []
    for folder in ("old", "new"):
        store = Things(tmp_path / folder)
        schemas.append(
            sorted(row["sql"] for row in store.all("SELECT sql FROM sqlite_master WHERE sql NOT NULL"))
        )
        store.close()
    assert schemas[0] == schemas[1]


def test_an_old_file_is_copied_before_it_is_migrated(tmp_path: Path) -> None:
    old = OldThings(tmp_path)
    old.add("fan")
    old.close()
    store = Things(tmp_path)
    assert names(store) == ["fan"]
    [copy] = files.backups(store.path)
    assert apsw.Connection(str(copy.path)).pragma("user_version") == 1


class Failing(Things):
    migrations: ClassVar[tuple[str, ...]] = (
        FIRST,
        "CREATE TABLE other (id INTEGER); SELECT no_such_column FROM thing",
    )


def test_a_failing_migration_changes_nothing_and_lets_go_of_the_file(tmp_path: Path) -> None:
    OldThings(tmp_path).close()
    with pytest.raises(StorageError, match="no_such_column"):
        Failing(tmp_path)
    store = OldThings(tmp_path)
    assert store.all("SELECT name FROM sqlite_master WHERE name = 'other'") == []


def test_a_newer_file_is_refused_by_name_and_version(tmp_path: Path) -> None:
    Things(tmp_path).close()
    with pytest.raises(NewerFileError, match=r"things\.db has version 2; this program knows 1"):
        OldThings(tmp_path)


def test_a_damaged_file_is_set_aside_and_the_newest_backup_restored(tmp_path: Path) -> None:
    store = Things(tmp_path)
    store.add("kept")
    files.back_up(store.path)
    store.add("lost")
    store.close()
    data = bytearray(store.path.read_bytes())
    data[100:3000] = b"\xa5" * 2900
    store.path.write_bytes(data)
    again = Things(tmp_path)
    assert names(again) == ["kept"]
    health = again.health()
    assert health.state == HealthState.DEGRADED
    assert "restored from things.db." in health.reasons[0]
    [aside] = tmp_path.glob("things.db.damaged-*")
    assert aside.read_bytes() == bytes(data)


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "things.db").write_bytes(b"this is not a database, it is a letter" * 100)
    store = Things(tmp_path)
    assert names(store) == []
    assert "no sound backup: it starts empty" in store.health().reasons[0]


def test_events_wait_for_the_commit_and_vanish_with_a_rollback(tmp_path: Path) -> None:
    sent: list[Any] = []
    store = Things(tmp_path, sent.append)
    with store.transaction():
        store.add("fan")
        with store.transaction():
            store.add("coil")
        assert sent == []
    assert [each.entity_id for each in sent] == ["fan", "coil"]

    def add_two() -> None:
        with store.transaction():
            store.add("filter")
            store.add("fan")

    with pytest.raises(apsw.ConstraintError):
        add_two()
    assert [each.entity_id for each in sent] == ["fan", "coil"]
    assert names(store) == ["fan", "coil"]


def test_backups_are_pruned_and_sound(tmp_path: Path) -> None:
    store = Things(tmp_path)
    store.add("fan")
    for _ in range(files.KEEP + 3):
        newest = files.back_up(store.path)
    kept = files.backups(store.path)
    assert len(kept) <= files.KEEP
    assert kept[0].path == newest
    assert sqlite.damage(newest) is None


def test_a_folder_that_cant_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="can't be written"):
        Things(tmp_path / "file")


def test_pages_are_whole_and_in_order(tmp_path: Path) -> None:
    store = Things(tmp_path)
    for n in range(7):
        store.add(f"n{n}")
    seen, cursor = [], None
    while True:
        rows, cursor = page(
            cursor,
            3,
            lambda after, n: store.all("SELECT * FROM thing WHERE id > ? ORDER BY id LIMIT ?", after, n),
        )
        seen += [row["name"] for row in rows]
        if cursor is None:
            break
    assert seen == [f"n{n}" for n in range(7)]


@pytest.mark.parametrize(("cursor", "limit"), [("x", 5), ("-1", 5), (None, 0), (None, 1001), (str(2**70), 5)])
def test_a_bad_cursor_or_limit_is_named(cursor: str | None, limit: int) -> None:
    with pytest.raises(BadInputError):
        page(cursor, limit, lambda after, n: [])


class Courier:
    """A publisher whose journal confirms what the test says."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.got: list[str] = []
        self.plain: list[Any] = []

    def __call__(self, event: Any, /) -> None:
        self.plain.append(event)

    def durably(self, key: str, event: bytes, kind: str) -> None:
        self.sent.append(key)

    def confirmed(self) -> list[str]:
        taken, self.got = self.got, []
        return taken


def outbox(store: Store) -> list[str]:
    return [row["key"] for row in store.all("SELECT key FROM event_outbox ORDER BY id")]


def test_events_stay_in_the_outbox_until_the_journal_has_them(tmp_path: Path) -> None:
    courier = Courier()
    store = Things(tmp_path, courier)
    store.add("fan")
    store.add("coil")
    assert outbox(store) == courier.sent
    assert len(courier.sent) == 2
    courier.got = courier.sent[:1]
    store.health()
    assert outbox(store) == courier.sent[1:]
    store.close()
    again = Courier()
    store = Things(tmp_path, again)
    assert again.sent == courier.sent[1:], "what a crash cut off is sent again under the same key"
    store.close()


def test_a_confirmation_that_a_rollback_met_is_not_forgotten(tmp_path: Path) -> None:
    courier = Courier()
    store = Things(tmp_path, courier)
    store.add("fan")
    courier.got = list(courier.sent)
    with pytest.raises(apsw.ConstraintError):
        store.add("fan")
    assert outbox(store) == courier.sent
    store.add("coil")
    assert outbox(store) == courier.sent[1:]
    store.close()


def test_an_event_outside_a_transaction_is_a_fault_of_the_program(tmp_path: Path) -> None:
    store = Things(tmp_path)
    with pytest.raises(RuntimeError, match="outside a transaction"):
        store.publish(EntityCreated(entity_id="x", entity_type="thing"))
    store.close()


class Watched(Things):
    name: ClassVar[str] = "watched"
    watched: ClassVar[bool] = True


def test_versions_rise_and_a_file_from_a_backup_never_repeats_one(tmp_path: Path) -> None:
    now = [1000]
    seen: list[Any] = []
    store = Watched(tmp_path, seen.append, lambda: now[0])
    files.back_up(store.path)
    versions = [store.config_moved() for _ in range(3)]
    assert versions == [1000, 1001, 1002]
    now[0] = 500
    assert store.config_moved() == 1003, "also when the clock goes back"
    store.close()
    data = bytearray(store.path.read_bytes())
    data[100:3000] = b"\xa5" * 2900
    store.path.write_bytes(data)
    now[0] = 9000
    again = Watched(tmp_path, seen.append, lambda: now[0])
    assert again.config_version() == 9000
    assert [each.version for each in seen][-1] == 9000
    again.close()
