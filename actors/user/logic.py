"""Who may do what."""

from typing import Final

from actors.user.models import Permission, RoleName

ROLES: Final[dict[RoleName, frozenset[Permission]]] = {
    RoleName.ADMIN: frozenset(Permission),
    RoleName.OPERATOR: frozenset(
        {
            Permission.WRITE_POINTS,
            Permission.ACKNOWLEDGE_ALARMS,
            Permission.SHELVE_ALARMS,
            Permission.MANAGE_SCHEDULES,
            Permission.MANAGE_VIRTUAL_POINTS,
            Permission.MANAGE_COMMISSIONING,
            Permission.MANAGE_REPORTS,
        }
    ),
    RoleName.VIEWER: frozenset(),
}
"""What each role may do besides reading, which needs a login and no permission."""
