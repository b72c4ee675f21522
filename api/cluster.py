"""The Ray cluster of one machine: its settings, its start and its end."""

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray._private import worker

from actors.core.names import NAMESPACE
from api.leftovers import ALONE, RUNNING, TEMP_PREFIX, clear, note
from api.processes import descendants, end

log = logging.getLogger(__name__)

TRIES = 4
AS_WANTED = "PYTHON worker processes have been started on node"
"""What Ray warns of where there are many actors, each of which is a process: here that is meant so."""
SLOW = "timed out during startup"
"""What Ray says when its processes did not start within 30 s."""

T = TypeVar("T")

OBJECT_STORE = 100_000_000
"""Bytes of Ray's object store; our frames are small."""


INLINE = 1_000_000
"""Bytes up to which an answer travels with the reply: by way of the object store it takes 1 ms more."""


def use_token(data: Path) -> bool:
    """Let Ray use this installation's token unless another is named; tell whether there is one."""
    if "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        return True
    path = data / "ray-token"
    if not path.exists():
        return False
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(path.resolve())
    return True


def prepare(data: Path) -> None:
    """Set a token of this installation's own unless one is given, and how answers travel."""
    os.environ.setdefault("RAY_max_direct_call_object_size", str(INLINE))
    if not use_token(data):
        path = data / "ray-token"
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
        use_token(data)


def patiently(start: Callable[[], T]) -> T:
    """Start Ray, again where it gave up: it gives a busy machine 30 s. Raises what the last try raised."""
    for tries in range(TRIES - 1):
        try:
            return start()
        except Exception as error:
            if SLOW not in str(error):
                raise
            log.warning("Ray did not start in time (try %d of %d)", tries + 1, TRIES)
    return start()


def quiet() -> None:
    """Let Ray's own processes report to the log: it has no setting that keeps them from the screen."""

    def told(data: dict[str, Any], ignore_prefix: bool) -> None:
        for line in data.get("lines", ()):
            if AS_WANTED not in line:
                log.warning("ray: %s", line)

    worker.print_to_stdstream = told


class Cluster:
    """Ray as this process sees it: started here (and ended here), or joined."""

    def __init__(self, data: Path, address: str | None, metrics_port: int | None = None) -> None:
        """Start a cluster on loopback, or join the one at `address`. Raises ConnectionError.

        `metrics_port` is where the started one offers metrics; Ray chooses one where it isn't given.
        """
        self._metrics_port = metrics_port
        self.joined = address is not None
        self._temp: Path | None = None
        if address is not None:
            ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
            return
        prepare(data)
        clear(data, RUNNING, ALONE)
        quiet()
        # Ray puts sockets here, whose paths may have 107 bytes: the data folder may lie too deep.
        self._temp = Path(tempfile.mkdtemp(prefix=TEMP_PREFIX))
        self._note = data / ALONE
        patiently(self._start)
        note(self._note, self._temp, os.getpid())

    def _start(self) -> None:
        before = descendants(os.getpid())
        try:
            ray.init(
                namespace=NAMESPACE,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address="127.0.0.1",
                _metrics_export_port=self._metrics_port,
                _temp_dir=str(self._temp),
            )
        except Exception:
            ray.shutdown()
            end(descendants(os.getpid()) - before)
            raise

    def close(self) -> None:
        """Leave the cluster; one that was started here ends with all its processes."""
        ray.shutdown()
        if self._temp is not None:
            self._note.unlink(missing_ok=True)
            shutil.rmtree(self._temp, ignore_errors=True)
