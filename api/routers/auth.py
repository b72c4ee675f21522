"""Who are you: first run, login, logout."""

from typing import Annotated, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from actors.core.errors import NotAuthenticatedError
from actors.user.models import Login, Password, User, Username
from api.deps import Actors, CurrentUser, Token

router = APIRouter(prefix="/api/auth", tags=["auth"])

COOKIE: Final = "opencrate_token"
"""The page's own copy of the token; API routes never read it."""

AnyText = Annotated[str, Field(min_length=1, max_length=256)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Setup(_Body):
    """The first admin."""

    username: Username
    password: Password
    full_name: str = Field(default="", max_length=200)


class Credentials(_Body):
    """A login."""

    username: AnyText
    password: AnyText


class PasswordChange(_Body):
    """One's own new password."""

    old_password: AnyText
    new_password: Password


class SetupState(BaseModel):
    """Whether the first admin is still to be made."""

    needed: bool


def _remember(response: Response, request: Request, login: Login) -> Login:
    response.set_cookie(
        COOKIE,
        login.access_token,
        max_age=8 * 3600,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return login


@router.get("/setup")
async def setup_state(campus: Actors) -> SetupState:
    """Tell whether the first admin is still to be made. Needs no login."""
    return SetupState(needed=await campus.call("users", "setup_needed"))


@router.post("/setup", status_code=201)
async def setup(body: Setup, campus: Actors, request: Request, response: Response) -> Login:
    """Make the first admin and log in. Works once; needs no login."""
    login: Login = await campus.call("users", "setup", body.username, body.password, body.full_name)
    await campus.log(body.username, "setup", f"user:{body.username}")
    return _remember(response, request, login)


@router.post("/login")
async def login(body: Credentials, campus: Actors, request: Request, response: Response) -> Login:
    """Give a token for name and password. Needs no login."""
    try:
        found: Login = await campus.call("users", "login", body.username, body.password)
    except NotAuthenticatedError:
        await campus.log(body.username, "login_failed", f"user:{body.username}", address=_address(request))
        raise
    await campus.log(found.user.username, "login", f"user:{found.user.username}", address=_address(request))
    return _remember(response, request, found)


@router.post("/logout", status_code=204)
async def logout(user: CurrentUser, token: Token, campus: Actors, response: Response) -> None:
    """End this token."""
    campus.known.clear()
    await campus.call("users", "logout", token)
    campus.known.clear()
    await campus.log(user.username, "logout", f"user:{user.username}")
    response.delete_cookie(COOKIE)


@router.get("/me")
async def me(user: CurrentUser) -> User:
    """Say who I am and what I may do."""
    return user


@router.post("/refresh")
async def refresh(
    user: CurrentUser, token: Token, campus: Actors, request: Request, response: Response
) -> Login:
    """Give a new token in the place of this one."""
    found: Login = await campus.call("users", "refresh", token)
    campus.known.clear()
    return _remember(response, request, found)


@router.post("/password")
async def password(
    body: PasswordChange, user: CurrentUser, campus: Actors, request: Request, response: Response
) -> Login:
    """Change my own password; all my tokens end, a new one is given."""
    found: Login = await campus.call(
        "users", "change_password", user.id, body.old_password, body.new_password
    )
    campus.known.clear()
    await campus.log(user.username, "change_password", f"user:{user.username}")
    return _remember(response, request, found)


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
