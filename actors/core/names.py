"""Names and places of actors: `<name>@<site>` in namespace `opencrate`."""

import re
from typing import Any, Final

import ray

from actors.core.errors import UnreachableError

NAMESPACE: Final = "opencrate"
CAMPUS: Final = "campus"
"""The scope of the actors that exist once; no site may have this id."""

SITE_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def actor_name(name: str, site: str) -> str:
    """Give the readable name of an actor: `history@north`."""
    return f"{name}@{site}"


def find(name: str, site: str) -> Any:
    """Give a handle to a running actor. Raises UnreachableError."""
    try:
        return ray.get_actor(actor_name(name, site), namespace=NAMESPACE)
    except ValueError as error:
        raise UnreachableError(actor_name(name, site), "it is not running") from error
