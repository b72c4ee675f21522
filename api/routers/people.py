"""Users, the audit log, and what is overridden."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from actors.audit.models import AuditCheck
from actors.core.clock import Timestamp
from actors.override.models import Override, WriteResult
from actors.user.models import NewUser, Permission, RoleName, User, UserChange
from api.deps import (
    Actors,
    Auditor,
    CurrentUser,
    Cursor,
    Limit,
    Page,
    SiteId,
    UserEditor,
    Writer,
    listed,
    site_with,
)

users = APIRouter(prefix="/api/users", tags=["users"])
audit = APIRouter(prefix="/api/audit", tags=["audit"])
overrides = APIRouter(prefix="/api/overrides", tags=["overrides"])

Id = Annotated[int, Path(ge=1, lt=2**63)]
Filter = Annotated[str | None, Query(max_length=200)]
Time = Annotated[Timestamp | None, Query(description="ISO 8601 with zone.")]


class Role(BaseModel):
    """A role and what it may do."""

    name: RoleName
    permissions: list[Permission]


@users.get("")
async def all_users(user: UserEditor, campus: Actors, limit: Limit = 100, cursor: Cursor = None) -> Page:
    """List users."""
    found, following = await campus.call("users", "find", limit, cursor)
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)


@users.get("/roles")
async def roles(user: CurrentUser, campus: Actors) -> list[Role]:
    """List the roles with what each may do."""
    found = await campus.call("users", "roles")
    return [Role(name=name, permissions=permissions) for name, permissions in found.items()]


@users.post("", status_code=201)
async def create_user(body: NewUser, user: UserEditor, campus: Actors) -> User:
    """Add a user."""
    made: User = await campus.call("users", "create", body)
    await campus.log(user.username, "create_user", f"user:{made.username}", role=made.role.value)
    return made


@users.get("/{user_id}")
async def one_user(user_id: Id, user: UserEditor, campus: Actors) -> User:
    """Give one user."""
    found: User = await campus.call("users", "get", user_id)
    return found


@users.put("/{user_id}")
@users.patch("/{user_id}")
async def update_user(user_id: Id, body: UserChange, user: UserEditor, campus: Actors) -> User:
    """Change a user; a new password or role ends the tokens."""
    changed: User = await campus.call("users", "update", user_id, body)
    campus.known.clear()
    await campus.log(
        user.username,
        "update_user",
        f"user:{changed.username}",
        change=body.model_dump(mode="json", exclude_none=True),
    )
    return changed


@users.delete("/{user_id}", status_code=204)
async def delete_user(user_id: Id, user: UserEditor, campus: Actors) -> None:
    """Delete a user; the tokens end."""
    gone: User = await campus.call("users", "delete", user_id)
    campus.known.clear()
    await campus.log(user.username, "delete_user", f"user:{gone.username}")


@audit.get("")
async def entries(
    user: Auditor,
    campus: Actors,
    by: Annotated[str | None, Query(alias="user", max_length=200)] = None,
    action: Filter = None,
    target: Filter = None,
    start: Time = None,
    end: Time = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List audit entries, newest first."""
    found, following = await campus.call("audit", "find", by, action, target, start, end, limit, cursor)
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)


@audit.get("/verify")
async def verify(user: Auditor, campus: Actors) -> AuditCheck:
    """Follow the chain of hashes."""
    found: AuditCheck = await campus.call("audit", "verify", timeout=120.0)
    return found


@audit.get("/actions")
async def actions(user: Auditor, campus: Actors) -> list[str]:
    """List the actions that were ever logged."""
    found: list[str] = await campus.call("audit", "actions")
    return found


@overrides.get("")
async def all_overrides(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    node_id: Filter = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List slots that were commanded from here and are not relinquished."""
    return await listed(campus.chosen(site), limit, cursor, "overrides", "find", node_id)


@overrides.get("/{override_id}")
async def one_override(
    override_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None
) -> dict[str, Any]:
    """Give one override."""
    of = await site_with(campus, "overrides", "get", override_id, site)
    found: Override = await of.call("overrides", "get", override_id)
    return found.model_dump(mode="json") | {"site": of.id}


@overrides.delete("/{override_id}")
async def end_override(override_id: Id, user: Writer, campus: Actors, site: SiteId = None) -> WriteResult:
    """Relinquish the slot of an override now."""
    of = await site_with(campus, "overrides", "get", override_id, site)
    found: Override = await of.call("overrides", "get", override_id)
    result: WriteResult = await of.call(
        "commands", "relinquish", found.node_id, found.priority, user.username, timeout=45.0
    )
    await campus.log(
        user.username,
        "relinquish",
        found.node_id,
        site=of.id,
        priority=found.priority,
        old_value=result.old_value,
        read_back=result.value,
    )
    return result
