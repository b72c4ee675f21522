"""The store of users: who they are, what they may do, which tokens hold."""

import secrets
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import apsw
import jwt
import ray
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from actors.core.errors import ConflictError, NotAuthenticatedError, NotFoundError
from actors.core.sqlite import Durability, Row
from actors.core.store import Store, page
from actors.user.logic import ROLES
from actors.user.models import Login, NewUser, Permission, RoleName, User, UserChange
from actors.user.schema import MIGRATIONS

TOKEN_LIFE: Final = 8 * 3_600_000
"""Milliseconds that a token holds."""
AHEAD: Final = 300_000
"""Milliseconds by which a token may come from the future: clocks are set back a little all the time."""
ALGORITHM: Final = "HS256"
WRONG: Final = "the user name or the password is wrong"


class UserStore(Store):
    """Keep users, roles and the key that signs tokens; hash passwords with Argon2id (RFC 9106).

    A token is a JWT (RFC 7519) that names the user and the user's epoch. The epoch rises when the password
    changes or the user is disabled, which ends all tokens at once; a single token ends by logging out. Wrong
    name and wrong password take the same time and give the same answer.
    """

    name: ClassVar[str] = "users"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL

    def opened(self) -> None:
        """Read or make the key, bring the roles in line with this program."""
        self._hasher = PasswordHasher()
        self._nobody = self._hasher.hash(secrets.token_hex(16))
        with self.transaction():
            row = self.one("SELECT key FROM signing_key")
            if row is None:
                row = self.one("INSERT INTO signing_key VALUES (?) RETURNING key", secrets.token_hex(32))
            for role, permissions in ROLES.items():
                self.run("INSERT OR IGNORE INTO role (name) VALUES (?)", role.value)
                self.run("DELETE FROM role_permission WHERE role = ?", role.value)
                self.many(
                    "INSERT INTO role_permission (role, permission) VALUES (?, ?)",
                    [(role.value, each.value) for each in sorted(permissions)],
                )
        self._key: str = row["key"] if row else ""

    # Logging in and out

    @ray.method
    def setup_needed(self) -> bool:
        """Tell whether there is nobody yet, so that the first admin is to be made."""
        return self.one("SELECT 1 AS found FROM user") is None

    @ray.method
    def setup(self, username: str, password: str, full_name: str = "") -> Login:
        """Make the first user, an admin, and log in. Raises ConflictError when there is a user already."""
        new = NewUser(username=username, password=password, role=RoleName.ADMIN, full_name=full_name)
        with self.transaction():
            if self.one("SELECT 1 AS found FROM user") is not None:
                raise ConflictError("setup", username, "it was done already; log in instead")
            user = self._insert(new)
            return self._token(user.id)

    @ray.method
    def login(self, username: str, password: str) -> Login:
        """Give a token. Raises NotAuthenticatedError without saying whether it was name or password."""
        row = self.one("SELECT * FROM user WHERE username = ?", username)
        known = row is not None and bool(row["enabled"])
        if (
            not self._fits(row["password_hash"] if row else self._nobody, password)
            or not known
            or row is None
        ):
            raise NotAuthenticatedError(WRONG)
        with self.transaction():
            if self._hasher.check_needs_rehash(row["password_hash"]):
                self.run(
                    "UPDATE user SET password_hash = ? WHERE id = ?", self._hasher.hash(password), row["id"]
                )
            self.run("UPDATE user SET last_login = ? WHERE id = ?", self.clock(), row["id"])
            self.run("DELETE FROM revoked_token WHERE expires_at < ?", self.retention_time())
        return self._token(row["id"])

    def _fits(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    def _token(self, user_id: int) -> Login:
        row = self._row(user_id)
        now = self.clock()
        expires = now + TOKEN_LIFE
        claims = {
            "sub": str(user_id),
            "jti": secrets.token_hex(16),
            "epoch": row["epoch"],
            "iat": now // 1000,
            "exp": expires // 1000,
        }
        token = jwt.encode(claims, self._key, algorithm=ALGORITHM)
        return Login(access_token=token, expires_at=expires // 1000 * 1000, user=self._user(row))

    @ray.method
    def authenticate(self, token: str) -> User:
        """Give whose token this is. Raises NotAuthenticatedError: wrong, expired, revoked, user disabled."""
        return self._user(self._row(int(self._claims(token)["sub"])))

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            # Time is this store's clock, not the library's, so the expiry is checked below.
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                options={
                    "require": ["sub", "jti", "epoch", "iat", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
            made, expires = int(claims["iat"]) * 1000, int(claims["exp"]) * 1000
            user_id = int(claims["sub"])
        except (jwt.InvalidTokenError, ValueError, TypeError) as error:
            raise NotAuthenticatedError("the token is not valid; log in") from error
        now = self.clock()
        if expires <= now:
            raise NotAuthenticatedError("the token has expired; log in again")
        if made > now + AHEAD:
            # It would hold until the clock that made it comes true, be that in years.
            raise NotAuthenticatedError("the clock was set back since the token was made; log in again")
        row = self.one("SELECT enabled, epoch FROM user WHERE id = ?", user_id)
        revoked = self.one("SELECT 1 AS found FROM revoked_token WHERE jti = ?", str(claims["jti"]))
        if row is None or not row["enabled"] or row["epoch"] != claims["epoch"] or revoked:
            raise NotAuthenticatedError("the token no longer holds; log in again")
        return claims

    @ray.method
    def logout(self, token: str) -> None:
        """End a token. One that doesn't hold any more is fine."""
        try:
            claims = self._claims(token)
        except NotAuthenticatedError:
            return
        self.run(
            "INSERT OR IGNORE INTO revoked_token (jti, expires_at) VALUES (?, ?)",
            str(claims["jti"]),
            int(claims["exp"]) * 1000,
        )

    @ray.method
    def refresh(self, token: str) -> Login:
        """Give a new token in the place of one that still holds, which ends. Raises NotAuthenticatedError."""
        claims = self._claims(token)
        with self.transaction():
            self.run(
                "INSERT OR IGNORE INTO revoked_token (jti, expires_at) VALUES (?, ?)",
                str(claims["jti"]),
                int(claims["exp"]) * 1000,
            )
            return self._token(int(claims["sub"]))

    @ray.method
    def change_password(self, user_id: int, old: str, new: str) -> Login:
        """Change one's own password; all tokens end, a new one is given.

        Raises NotFoundError, and NotAuthenticatedError when the old password is wrong.
        """
        row = self._row(user_id)
        if not self._fits(row["password_hash"], old):
            raise NotAuthenticatedError("the old password is wrong")
        with self.transaction():
            self.run(
                "UPDATE user SET password_hash = ?, epoch = epoch + 1 WHERE id = ?",
                self._hasher.hash(new),
                user_id,
            )
            return self._token(user_id)

    # Users

    @ray.method
    def create(self, new: NewUser) -> User:
        """Add a user. Raises ConflictError for a name that is taken (upper and lower case are the same)."""
        return self._insert(new)

    def _insert(self, new: NewUser) -> User:
        try:
            row = self.one(
                "INSERT INTO user (username, role, full_name, password_hash, enabled, created_at)"
                " VALUES (?, ?, ?, ?, 1, ?) RETURNING *",
                new.username,
                new.role.value,
                new.full_name,
                self._hasher.hash(new.password),
                self.clock(),
            )
        except apsw.ConstraintError:
            raise ConflictError("user", new.username, "there is a user of this name already") from None
        return self._user(row or {})

    @ray.method
    def update(self, user_id: int, change: UserChange) -> User:
        """Change what `change` names. A new password or role, or disabling, ends the user's tokens.

        Raises NotFoundError, and ConflictError for what would leave no admin.
        """
        with self.transaction():
            row = self._row(user_id)
            role = change.role or RoleName(row["role"])
            enabled = bool(row["enabled"]) if change.enabled is None else change.enabled
            if role is not RoleName.ADMIN or not enabled:
                self._keep_an_admin(row)
            ends = change.password is not None or not enabled or role.value != row["role"]
            after = self.one(
                "UPDATE user SET role = ?, enabled = ?, full_name = ?, password_hash = ?, epoch = epoch + ?"
                " WHERE id = ? RETURNING *",
                role.value,
                int(enabled),
                row["full_name"] if change.full_name is None else change.full_name,
                row["password_hash"] if change.password is None else self._hasher.hash(change.password),
                int(ends),
                user_id,
            )
        return self._user(after or {})

    @ray.method
    def delete(self, user_id: int) -> User:
        """Delete a user; the tokens end. Raises NotFoundError, and ConflictError for the last admin."""
        with self.transaction():
            row = self._row(user_id)
            self._keep_an_admin(row)
            self.run("DELETE FROM user WHERE id = ?", user_id)
        return self._user(row)

    def _keep_an_admin(self, row: Row) -> None:
        if row["role"] != RoleName.ADMIN or not row["enabled"]:
            return
        others = self.one(
            "SELECT 1 AS found FROM user WHERE role = 'admin' AND enabled AND id <> ?", row["id"]
        )
        if others is None:
            raise ConflictError("user", row["username"], "this is the last admin; make another one first")

    @ray.method
    def get(self, user_id: int) -> User:
        """Give one user. Raises NotFoundError."""
        return self._user(self._row(user_id))

    @ray.method
    def find(self, limit: int = 100, cursor: str | None = None) -> tuple[list[User], str | None]:
        """Give users in the order in which they were made. Raises BadInputError."""
        rows, after = page(
            cursor,
            limit,
            lambda last, n: self.all("SELECT * FROM user WHERE id > ? ORDER BY id LIMIT ?", last, n),
        )
        return [self._user(row) for row in rows], after

    @ray.method
    def roles(self) -> dict[RoleName, list[Permission]]:
        """Give the roles with what each may do."""
        return {role: self._permissions(role.value) for role in RoleName}

    def _row(self, user_id: int) -> Row:
        row = self.one("SELECT * FROM user WHERE id = ?", user_id)
        if row is None:
            raise NotFoundError("user", user_id)
        return row

    def _permissions(self, role: str) -> list[Permission]:
        rows = self.all("SELECT permission FROM role_permission WHERE role = ? ORDER BY permission", role)
        return [Permission(row["permission"]) for row in rows]

    def _user(self, row: Row) -> User:
        return User(
            id=row["id"],
            username=row["username"],
            role=RoleName(row["role"]),
            full_name=row["full_name"],
            enabled=bool(row["enabled"]),
            created_at=row["created_at"],
            last_login=row["last_login"],
            permissions=self._permissions(row["role"]),
        )
