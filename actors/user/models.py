"""Users, roles and permissions."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from actors.core.clock import Timestamp


class Permission(StrEnum):
    """What a user may be allowed to do. Reading needs a login and no permission."""

    WRITE_POINTS = "write_points"
    ACKNOWLEDGE_ALARMS = "acknowledge_alarms"
    SHELVE_ALARMS = "shelve_alarms"
    MANAGE_SCHEDULES = "manage_schedules"
    MANAGE_DISCOVERY = "manage_discovery"
    MANAGE_PROGRAMS = "manage_programs"
    MANAGE_VIRTUAL_POINTS = "manage_virtual_points"
    MANAGE_USERS = "manage_users"
    MANAGE_NOTIFICATIONS = "manage_notifications"
    MANAGE_MQTT = "manage_mqtt"
    MANAGE_COMMISSIONING = "manage_commissioning"
    MANAGE_REPORTS = "manage_reports"
    MANAGE_ENERGY = "manage_energy"
    MANAGE_WEBHOOKS = "manage_webhooks"
    MANAGE_FDD = "manage_fdd"
    MANAGE_EXPORT = "manage_export"
    VIEW_AUDIT = "view_audit"


class RoleName(StrEnum):
    """The three roles."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"


Username = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")]
Password = Annotated[str, Field(min_length=10, max_length=256)]


class NewUser(BaseModel):
    """A user to be made."""

    model_config = ConfigDict(extra="forbid")

    username: Username
    password: Password
    role: RoleName = RoleName.VIEWER
    full_name: str = Field(default="", max_length=200)


class UserChange(BaseModel):
    """Fields of a user to change; those left out stay."""

    model_config = ConfigDict(extra="forbid")

    password: Password | None = None
    role: RoleName | None = None
    full_name: str | None = Field(default=None, max_length=200)
    enabled: bool | None = None


class User(BaseModel):
    """A user, without any secret."""

    id: int
    username: str
    role: RoleName
    full_name: str = ""
    enabled: bool = True
    created_at: Timestamp
    last_login: Timestamp | None = None
    permissions: list[Permission] = []


class Login(BaseModel):
    """What a login gives: a bearer token and until when it holds."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105 - the kind of token, not a token
    expires_at: Timestamp
    user: User
