from pathlib import Path
from typing import Any

import apsw
import pytest
from argon2 import PasswordHasher, Type, extract_parameters

from actors.core.errors import ConflictError, NotAuthenticatedError
from actors.user.models import NewUser, Permission, RoleName, UserChange
from actors.user.store import TOKEN_LIFE, UserStore

PASSWORD = "correct horse battery"


class Clock:
    now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> UserStore:
    return UserStore(tmp_path, clock=clock)


@pytest.fixture
def token(store: UserStore) -> str:
    return store.setup("ana", PASSWORD).access_token


def test_the_first_user_is_an_admin_and_setup_works_once(store: UserStore) -> None:
    assert store.setup_needed()
    login = store.setup("ana", PASSWORD)
    assert login.user.role is RoleName.ADMIN
    assert set(login.user.permissions) == set(Permission)
    assert not store.setup_needed()
    with pytest.raises(ConflictError):
        store.setup("eve", PASSWORD)


def test_no_password_is_in_the_file(store: UserStore, token: str) -> None:
    store.close()
    assert PASSWORD.encode() not in store.path.read_bytes()


def test_wrong_name_wrong_password_and_disabled_give_the_same_answer(store: UserStore, token: str) -> None:
    vic = store.create(NewUser(username="vic", password=PASSWORD))
    store.update(vic.id, UserChange(enabled=False))
    answers = set()
    for name, password in (("ana", "wrong"), ("nobody", PASSWORD), ("vic", PASSWORD)):
        with pytest.raises(NotAuthenticatedError) as refused:
            store.login(name, password)
        answers.add(str(refused.value))
    assert len(answers) == 1


def test_names_are_the_same_in_upper_and_lower_case(store: UserStore, token: str) -> None:
    assert store.login("ANA", PASSWORD).user.username == "ana"
    with pytest.raises(ConflictError):
        store.create(NewUser(username="Ana", password=PASSWORD))


def test_a_token_ends_with_its_time(store: UserStore, token: str, clock: Clock) -> None:
    assert store.authenticate(token).username == "ana"
    clock.now += TOKEN_LIFE
    with pytest.raises(NotAuthenticatedError, match="expired"):
        store.authenticate(token)


def test_logging_out_ends_this_token_alone(store: UserStore, token: str) -> None:
    other = store.login("ana", PASSWORD).access_token
    store.logout(token)
    store.logout(token)
    with pytest.raises(NotAuthenticatedError):
        store.authenticate(token)
    assert store.authenticate(other).username == "ana"


def test_refreshing_ends_the_old_token(store: UserStore, token: str) -> None:
    fresh = store.refresh(token).access_token
    assert store.authenticate(fresh).username == "ana"
    with pytest.raises(NotAuthenticatedError):
        store.authenticate(token)


def test_changing_the_password_ends_all_tokens(store: UserStore, token: str) -> None:
    user = store.authenticate(token)
    with pytest.raises(NotAuthenticatedError):
        store.change_password(user.id, "wrong", "another long one")
    fresh = store.change_password(user.id, PASSWORD, "another long one").access_token
    with pytest.raises(NotAuthenticatedError):
        store.authenticate(token)
    assert store.authenticate(fresh).username == "ana"
    assert store.login("ana", "another long one")


@pytest.mark.parametrize("change", [{"enabled": False}, {"role": "viewer"}, {"password": "a new long one"}])
def test_what_an_admin_changes_ends_the_users_tokens(
    store: UserStore, token: str, change: dict[str, Any]
) -> None:
    vic = store.create(NewUser(username="vic", password=PASSWORD, role=RoleName.OPERATOR))
    theirs = store.login("vic", PASSWORD).access_token
    store.update(vic.id, UserChange.model_validate(change))
    with pytest.raises(NotAuthenticatedError):
        store.authenticate(theirs)


def test_the_last_admin_stays(store: UserStore, token: str) -> None:
    ana = store.authenticate(token)
    for change in (UserChange(enabled=False), UserChange(role=RoleName.VIEWER)):
        with pytest.raises(ConflictError, match="last admin"):
            store.update(ana.id, change)
    with pytest.raises(ConflictError):
        store.delete(ana.id)
    store.create(NewUser(username="bob", password=PASSWORD, role=RoleName.ADMIN))
    store.delete(ana.id)
    with pytest.raises(NotAuthenticatedError):
        store.authenticate(token)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."])
def test_what_is_no_token_is_refused(store: UserStore, token: str) -> None:
    with pytest.raises(NotAuthenticatedError):
        store.authenticate(token)


def test_a_token_of_another_installation_is_refused(store: UserStore, tmp_path: Path) -> None:
    other = UserStore(tmp_path / "other", clock=store.clock).setup("ana", PASSWORD).access_token
    store.setup("ana", PASSWORD)
    with pytest.raises(NotAuthenticatedError):
        store.authenticate(other)


def test_a_reopened_store_knows_tokens_and_users(store: UserStore, token: str, clock: Clock) -> None:
    store.close()
    again = UserStore(store.path.parent, clock=clock)
    assert again.authenticate(token).username == "ana"
    users, cursor = again.find()
    assert ([each.username for each in users], cursor) == (["ana"], None)


def test_a_viewer_may_only_read(store: UserStore) -> None:
    assert store.roles()[RoleName.VIEWER] == []
    assert Permission.WRITE_POINTS in store.roles()[RoleName.OPERATOR]
    assert Permission.MANAGE_USERS not in store.roles()[RoleName.OPERATOR]


WEAK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def hash_in_file(store: UserStore) -> str:
    connection = apsw.Connection(str(store.path), flags=apsw.SQLITE_OPEN_READONLY)
    [[found]] = connection.execute("SELECT password_hash FROM user WHERE username = 'ana'").fetchall()
    connection.close()
    return str(found)


@pytest.fixture
def weak(store: UserStore, token: str, clock: Clock) -> UserStore:
    """A store whose file has a hash of weaker parameters, as an older version made it."""
    store.close()
    connection = apsw.Connection(str(store.path))
    connection.execute("UPDATE user SET password_hash = ?", (WEAK.hash(PASSWORD),))
    connection.close()
    return UserStore(store.path.parent, clock=clock)


def test_a_login_hashes_a_weakly_hashed_password_anew(weak: UserStore, clock: Clock) -> None:
    before = hash_in_file(weak)
    assert extract_parameters(before).time_cost == 1
    token = weak.login("ana", PASSWORD).access_token
    after = hash_in_file(weak)
    parameters = extract_parameters(after)
    assert parameters == extract_parameters(PasswordHasher().hash("x")), "those of this program"
    assert parameters.type is Type.ID
    assert weak.authenticate(token).username == "ana", "no token ends by it"
    weak.close()
    again = UserStore(weak.path.parent, clock=clock)
    assert again.login("ana", PASSWORD)
    assert hash_in_file(again) == after, "once"
    again.close()


def test_a_wrong_password_or_a_disabled_user_upgrades_nothing(weak: UserStore) -> None:
    before = hash_in_file(weak)
    with pytest.raises(NotAuthenticatedError):
        weak.login("ana", "wrong")
    assert hash_in_file(weak) == before
    weak.run("UPDATE user SET enabled = 0")
    with pytest.raises(NotAuthenticatedError):
        weak.login("ana", PASSWORD)
    assert hash_in_file(weak) == before
    weak.close()


def test_a_hash_that_is_none_lets_nobody_in(weak: UserStore) -> None:
    weak.run("UPDATE user SET password_hash = ''")
    with pytest.raises(NotAuthenticatedError):
        weak.login("ana", PASSWORD)
    weak.close()
