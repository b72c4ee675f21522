from pathlib import Path

import apsw
import pytest

from actors.audit.store import AuditStore
from actors.core.errors import BadInputError


@pytest.fixture
def store(tmp_path: Path) -> AuditStore:
    store = AuditStore(tmp_path)
    for number in range(5):
        store.add("ana" if number % 2 else "bob", "write", f"p{number}", {"value": number})
    return store


def test_entries_come_newest_first_and_page_by_page(store: AuditStore) -> None:
    first, cursor = store.find(limit=3)
    rest, end = store.find(limit=3, cursor=cursor)
    assert [each.target for each in first + rest] == ["p4", "p3", "p2", "p1", "p0"]
    assert end is None
    assert [each.target for each in store.find(user="ana")[0]] == ["p3", "p1"]
    assert [each.target for each in store.find(target="p2", action="write")[0]] == ["p2"]
    assert store.actions() == ["write"]
    with pytest.raises(BadInputError):
        store.find(limit=0)


def test_secrets_are_masked_at_any_depth(store: AuditStore) -> None:
    entry = store.add("ana", "update", "x", {"a": [{"new_password": "s3cret"}], "api_key": "s3cret", "b": 1})
    assert entry.detail == {"a": [{"new_password": "***"}], "api_key": "***", "b": 1}
    store.close()
    assert b"s3cret" not in store.path.read_bytes()


def test_the_file_refuses_changes_and_deletions(store: AuditStore) -> None:
    for statement in ("UPDATE audit_entry SET user = 'eve'", "DELETE FROM audit_entry"):
        with pytest.raises(apsw.ConstraintError, match="append-only"):
            store.db.execute(statement)


def test_the_chain_holds_also_over_a_restart(store: AuditStore) -> None:
    store.close()
    again = AuditStore(store.path.parent)
    again.add("ana", "write", "p9")
    check = again.verify()
    assert (check.ok, check.entries, check.first_broken) == (True, 6, None)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE audit_entry SET detail = '{}' WHERE id = 3",
        "UPDATE audit_entry SET user = 'eve' WHERE id = 3",
        "DELETE FROM audit_entry WHERE id = 2",
    ],
)
def test_tampering_is_found_at_the_first_entry_that_does_not_fit(store: AuditStore, tampering: str) -> None:
    for trigger in ("audit_no_update", "audit_no_delete"):
        store.db.execute(f"DROP TRIGGER {trigger}")
    store.db.execute(tampering)
    check = store.verify()
    assert (check.ok, check.first_broken) == (False, 3)
