import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.core.errors import StorageError
from actors.core.secrets import KEY_FILE, SecretLostError, Secrets


@given(secret=st.text(max_size=300))
def test_what_was_sealed_is_opened_and_never_shows(
    secret: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secrets = Secrets(tmp_path_factory.getbasetemp() / "sealed")
    sealed = secrets.seal(secret)
    assert secrets.open("password", sealed) == secret
    assert len(secret) < 6 or secret not in sealed
    assert secrets.seal(secret) != sealed, "the same secret looks different each time"


def test_the_key_is_for_its_owner_only_and_stays(tmp_path: Path) -> None:
    sealed = Secrets(tmp_path).seal("s3cret")
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert Secrets(tmp_path).open("password", sealed) == "s3cret"
    assert [each.name for each in tmp_path.iterdir()] == [KEY_FILE]


def test_stores_that_start_at_once_get_one_key(tmp_path: Path) -> None:
    made: list[Secrets] = []
    threads = [threading.Thread(target=lambda: made.append(Secrets(tmp_path))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    sealed = made[0].seal("s3cret")
    assert [each.open("x", sealed) for each in made] == ["s3cret"] * 8


def test_a_lost_key_is_told_by_field(tmp_path: Path) -> None:
    sealed = Secrets(tmp_path).seal("s3cret")
    (tmp_path / KEY_FILE).unlink()
    with pytest.raises(SecretLostError, match=r"password can't be read \(it was sealed with another"):
        Secrets(tmp_path).open("password", sealed)


@pytest.mark.parametrize("sealed", ["", "s3cret", "v1:", "v0:abc:def"])
def test_what_was_never_sealed_is_refused(tmp_path: Path, sealed: str) -> None:
    with pytest.raises(SecretLostError, match="not sealed by this program"):
        Secrets(tmp_path).open("token", sealed)


def test_a_changed_text_is_refused(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    sealed = secrets.seal("s3cret")
    changed = sealed[:-8] + ("A" if sealed[-8] != "A" else "B") + sealed[-7:]
    with pytest.raises(SecretLostError, match="damaged"):
        secrets.open("token", changed)


def test_a_file_that_is_no_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("not a key")
    with pytest.raises(StorageError, match="is no key"):
        Secrets(tmp_path)


def test_a_new_key_is_on_the_disk_before_anything_is_sealed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def sync(handle: int) -> None:
        assert not (tmp_path / KEY_FILE).exists() or stat.S_ISDIR(os.fstat(handle).st_mode)
        synced.append(handle)

    monkeypatch.setattr(os, "fsync", sync)
    Secrets(tmp_path)
    assert len(synced) == 2
    Secrets(tmp_path)
    assert len(synced) == 2
