"""Ray as the product starts it, and the measurements' own actors on it."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from api.actors import create
from api.cluster import Cluster

SITE = "bench"


class Actors:
    """Raise actors with the product's own options, and kill them in the end."""

    def __init__(self, folder: Path) -> None:
        """Log into `folder`."""
        self._logs = folder / "logs"
        self._raised: list[Any] = []

    def create(self, plain: type, name: str, *args: Any, **kwargs: Any) -> Any:
        """Raise an actor, pinned to this host."""
        node = ray.get_runtime_context().get_node_id()
        handle = create(plain, name, SITE, self._logs, *args, pin_to=node, **kwargs)
        self._raised.append(handle)
        return handle

    def end(self) -> None:
        """Kill all that were raised."""
        for handle in self._raised:
            with contextlib.suppress(Exception):
                ray.kill(handle, no_restart=True)
        self._raised.clear()


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Actors]:
    """Use the cluster of this process, started with the first use."""
    if not ray.is_initialized():
        logging.getLogger("ray").setLevel(logging.ERROR)
        _clusters.append(Cluster(folder, None))
    actors = Actors(folder)
    try:
        yield actors
    finally:
        actors.end()


_clusters: list[Cluster] = []


def end() -> None:
    """End the cluster with all its processes."""
    while _clusters:
        _clusters.pop().close()
