"""The user store against plain dicts: who may log in, and which tokens hold."""

import tempfile
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.core.errors import ConflictError, NotAuthenticatedError, NotFoundError
from actors.user.models import NewUser, RoleName, User, UserChange
from actors.user.store import TOKEN_LIFE, UserStore
from tests.support import QUICK_HASHER

NAMES = st.sampled_from(["ana", "Ana", "otto", "vic", "eve"])
PASSWORDS = st.sampled_from(["correct horse", "battery staple", "another one!"])
ROLES = st.sampled_from(list(RoleName))


@dataclass
class Known:
    id: int
    name: str
    password: str
    role: RoleName
    full_name: str = ""
    enabled: bool = True
    tokens: dict[str, int] = field(default_factory=dict)
    """Those that hold, with when they end."""


class Model(RuleBasedStateMachine):
    """Random logins and changes; a reopened file must say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = 1_700_000_000_000
        self.users: dict[int, Known] = {}
        self.dead: list[str] = []
        self.open()

    def open(self) -> None:
        self.store = UserStore(self.folder.name, clock=lambda: self.now)
        # That the real parameters are used is tested elsewhere.
        self.store._hasher = QUICK_HASHER()
        self.store._nobody = self.store._hasher.hash("nobody")

    def named(self, name: str) -> Known | None:
        return next((each for each in self.users.values() if each.name.lower() == name.lower()), None)

    def admins(self) -> list[Known]:
        return [each for each in self.users.values() if each.role is RoleName.ADMIN and each.enabled]

    def end_tokens(self, user: Known) -> None:
        self.dead += user.tokens
        user.tokens.clear()

    @initialize()
    def setup(self) -> None:
        assert self.store.setup_needed()
        login = self.store.setup("root", "correct horse")
        self.users[login.user.id] = Known(login.user.id, "root", "correct horse", RoleName.ADMIN)
        self.users[login.user.id].tokens[login.access_token] = login.expires_at
        with pytest.raises(ConflictError):
            self.store.setup("eve", "correct horse")

    @rule(name=NAMES, password=PASSWORDS, role=ROLES)
    def create(self, name: str, password: str, role: RoleName) -> None:
        new = NewUser(username=name, password=password, role=role)
        if self.named(name) is not None:
            with pytest.raises(ConflictError):
                self.store.create(new)
            return
        made = self.store.create(new)
        assert made.id not in self.users
        self.users[made.id] = Known(made.id, name, password, role)

    @rule(name=NAMES | st.just("root"), password=PASSWORDS)
    def login(self, name: str, password: str) -> None:
        user = self.named(name)
        if user is None or not user.enabled or user.password != password:
            with pytest.raises(NotAuthenticatedError):
                self.store.login(name, password)
            return
        login = self.store.login(name, password)
        assert (login.user.id, login.expires_at) == (user.id, (self.now + TOKEN_LIFE) // 1000 * 1000)
        user.tokens[login.access_token] = login.expires_at

    def token(self, data: st.DataObject) -> tuple[Known, str] | None:
        held = [(user, token) for user in self.users.values() for token in user.tokens]
        return data.draw(st.sampled_from(held)) if held else None

    @rule(data=st.data(), how=st.sampled_from(["logout", "refresh"]))
    def one_token_ends(self, data: st.DataObject, how: str) -> None:
        chosen = self.token(data)
        if chosen is None:
            return
        user, token = chosen
        holds = user.tokens.pop(token) > self.now
        self.dead.append(token)
        if how == "logout":
            self.store.logout(token)
            self.store.logout(token)
        elif holds:
            login = self.store.refresh(token)
            user.tokens[login.access_token] = login.expires_at
        else:
            with pytest.raises(NotAuthenticatedError):
                self.store.refresh(token)

    @rule(data=st.data(), old=PASSWORDS, new=PASSWORDS)
    def change_password(self, data: st.DataObject, old: str, new: str) -> None:
        user = data.draw(st.sampled_from(list(self.users.values())))
        if old != user.password:
            with pytest.raises(NotAuthenticatedError):
                self.store.change_password(user.id, old, new)
            return
        login = self.store.change_password(user.id, old, new)
        self.end_tokens(user)
        user.password = new
        if user.enabled:
            user.tokens[login.access_token] = login.expires_at

    @rule(
        data=st.data(),
        change=st.fixed_dictionaries(
            {},
            optional={
                "password": PASSWORDS,
                "role": ROLES,
                "enabled": st.booleans(),
                "full_name": st.text("abc ", max_size=5),
            },
        ),
    )
    def update(self, data: st.DataObject, change: dict[str, Any]) -> None:
        user = data.draw(st.sampled_from(list(self.users.values())))
        role, enabled = change.get("role", user.role), change.get("enabled", user.enabled)
        if self.admins() == [user] and (role is not RoleName.ADMIN or not enabled):
            with pytest.raises(ConflictError):
                self.store.update(user.id, UserChange.model_validate(change))
            return
        self.store.update(user.id, UserChange.model_validate(change))
        if "password" in change or not enabled or role is not user.role:
            self.end_tokens(user)
        user.role, user.enabled = role, enabled
        user.password = change.get("password", user.password)
        user.full_name = change.get("full_name", user.full_name)

    @precondition(lambda self: len(self.users) > 1)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        user = data.draw(st.sampled_from(list(self.users.values())))
        if self.admins() == [user]:
            with pytest.raises(ConflictError):
                self.store.delete(user.id)
            return
        assert self.store.delete(user.id).username == user.name
        self.end_tokens(user)
        del self.users[user.id]
        with pytest.raises(NotFoundError):
            self.store.get(user.id)

    @rule(seconds=st.sampled_from([1, 3600, TOKEN_LIFE // 1000]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * 1000

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.open()

    @invariant()
    def users_and_tokens_are_as_known(self) -> None:
        listed: list[User] = []
        cursor = None
        while True:
            part, cursor = self.store.find(2, cursor)
            listed += part
            if cursor is None:
                break
        assert [(each.id, each.username, each.role, each.enabled, each.full_name) for each in listed] == [
            (each.id, each.name, each.role, each.enabled, each.full_name)
            for each in sorted(self.users.values(), key=lambda each: each.id)
        ]
        for user in self.users.values():
            for token, ends in user.tokens.items():
                if ends > self.now:
                    assert self.store.authenticate(token).id == user.id
                else:
                    with pytest.raises(NotAuthenticatedError):
                        self.store.authenticate(token)
        for token in self.dead[-5:]:
            with pytest.raises(NotAuthenticatedError):
                self.store.authenticate(token)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=15, stateful_step_count=25, suppress_health_check=list(HealthCheck), deadline=None
)
