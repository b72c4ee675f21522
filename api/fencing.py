"""Taking over the actors of a scope: those that still answer are somebody's, those that don't are ended."""

import logging
from collections.abc import Iterable
from typing import Any, Final

import ray
from ray.exceptions import RayError

from actors.core.errors import OpenCrateError
from actors.core.health import Health
from actors.core.names import CAMPUS, NAMESPACE

log = logging.getLogger(__name__)

PATIENCE: Final = 10.0
"""Seconds within which an actor that lives answers: a host that is away fails after about 5 s."""


class AlreadyRunningError(OpenCrateError):
    """The actors of a scope answer: another host, or another command on this one, runs them."""

    def __init__(self, scope: str, names: list[str], host: str) -> None:
        super().__init__(scope, names, host)
        self.scope, self.names, self.host = scope, names, host

    def __str__(self) -> str:
        some = ", ".join(self.names[:3]) + (", ..." if len(self.names) > 3 else "")
        return f"{self.scope} already runs on host {self.host} ({some} answer); stop it there first"


def named(scopes: Iterable[str]) -> list[str]:
    """Name the actors of these sites (or of the campus) that the cluster knows, dead hosts' included."""
    wanted = set(scopes)
    return sorted(
        each["name"]
        for each in ray.util.list_named_actors(all_namespaces=True)
        if each["namespace"] == NAMESPACE and each["name"].partition("@")[2] in wanted
    )


def fence(scope: str) -> list[str]:
    """End what a host that is gone has left of a site or the campus, so that its names are free; name it.

    Raises AlreadyRunningError when one of the actors answers. A host that was only cut off loses its actors
    when it is back: that is what the fence is for.
    """
    handles: dict[Any, str] = {}
    found: dict[str, Any] = {}
    for name in named([scope]):
        try:
            found[name] = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError:
            continue
        handles[found[name].health.remote()] = name
    if not handles:
        return []
    done, _ = ray.wait(list(handles), num_returns=len(handles), timeout=PATIENCE)
    answering: dict[str, Health] = {}
    for reference in done:
        try:
            answering[handles[reference]] = ray.get(reference)
        except RayError as error:
            log.info("%s does not answer: %s", handles[reference], type(error).__name__)
    if answering:
        host = next(iter(answering.values())).host
        what = "the campus" if scope == CAMPUS else f"site {scope}"
        raise AlreadyRunningError(what, sorted(answering), host)
    for name, handle in found.items():
        ray.kill(handle, no_restart=True)
        log.warning("%s was ended: its host does not answer", name)
    return sorted(found)
