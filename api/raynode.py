"""The Ray node of one host in a campus of several hosts: a child process of the command."""

import hashlib
import importlib.metadata
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ray

from actors.core.errors import OpenCrateError
from actors.core.names import NAMESPACE
from api.cluster import OBJECT_STORE, patiently, prepare, quiet
from api.config import DEFAULT_PORT
from api.headprobe import ProbeError, labels_of_head
from api.leftovers import ALONE, RUNNING, TEMP_PREFIX, clear, note
from api.processes import descendants, end
from api.tls import TlsError, certificates, check_head, check_own

log = logging.getLogger(__name__)

START: Final = 60.0
"""Seconds that a Ray node may take to start."""
ENDING: Final = 15.0
MISMATCH: Final = "Version mismatch"
"""What Ray says, in several lines, where another version of it or of Python runs on the head."""
METRICS_PORT: Final = 8090
"""Where each host's Ray offers metrics to Prometheus, unless told otherwise."""


SITE_LABEL: Final = "opencrate.site."
"""Ray's nodes carry this with the id of each site that their host raises."""
VERSION_LABEL: Final = "opencrate.version"
ROLE_LABEL: Final = "opencrate.role"


class NodeError(OpenCrateError):
    """This host's Ray node did not start, or ended; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Head:
    """Where the head's Ray is."""

    address: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"

    def answers(self, wait: float = 2.0) -> bool:
        """Tell whether something listens there."""
        try:
            with socket.create_connection((self.address, self.port), wait):
                return True
        except OSError:
            return False


def own_address(head: Head) -> str:
    """Give this host's address on the way to the head. Raises NodeError where there is no way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((head.address, head.port))
        except OSError as error:
            raise NodeError(f"there is no way to {head}: {error.strerror or error}") from error
        return str(probe.getsockname()[0])


class RayNode:
    """Start this host's Ray node, connect this process to it, and end both.

    A head keeps what Ray knows of actors in `gcs/` of its data folder (RocksDB), so that buildings go on with
    the same actors when the head comes back. A node that ended by itself is told by `ended`.
    """

    def __init__(
        self,
        data: Path,
        head: Head,
        address: str,
        *,
        is_head: bool,
        sites: Iterable[str] = (),
        metrics_port: int | None = None,
        autoscaling_config: Path | None = None,
        beside: bool = False,
    ) -> None:
        """Start it, and connect. Raises NodeError.

        `beside` starts it beside the Ray cluster that this process is in; it leaves that, and connects, when
        it is told to.
        """
        check_certificates(head, address, is_head=is_head)
        prepare(data)
        clear(data, RUNNING, *(() if beside else (ALONE,)))
        quiet()
        self._data, self._head, self._address, self._connected = data, head, address, False
        self._temp = _temp(data)
        self._output = data / "logs" / "ray.log"
        self._output.parent.mkdir(parents=True, exist_ok=True)
        role = "head" if is_head else "building"
        labels = [f"{VERSION_LABEL}={version()}", f"{ROLE_LABEL}={role}"]
        labels += [f"{SITE_LABEL}{site}=here" for site in sites]
        arguments = {
            "--node-ip-address": address,
            "--object-store-memory": str(OBJECT_STORE),
            "--temp-dir": str(self._temp),
            "--metrics-export-port": str(metrics_port or METRICS_PORT),
            "--labels": ",".join(labels),
            "--log-style": "record",
        }
        environment = dict(os.environ)
        if is_head:
            arguments |= {"--port": str(head.port), "--dashboard-host": "127.0.0.1"}
            if autoscaling_config is not None:
                arguments["--autoscaling-config"] = str(autoscaling_config.resolve())
                # The second one knows a host only by what `ray start` is told there; this one by its address.
                environment["RAY_enable_autoscaler_v2"] = "0"
            environment |= {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(_storage(data))}
        else:
            arguments |= {"--address": str(head)}
        command = [str(Path(sys.executable).with_name("ray")), "start", *(["--head"] if is_head else [])]
        command += [
            "--block",
            "--disable-usage-stats",
            *(part for each in arguments.items() for part in each),
        ]
        patiently(lambda: self._start(command, environment))
        if not beside:
            self.connect()
        note(data / RUNNING, self._temp, self._process.pid, str(head))

    def _start(self, command: list[str], environment: dict[str, str]) -> None:
        with self._output.open("wb") as out:
            self._process = subprocess.Popen(  # noqa: S603 - Ray's own command, with arguments made here
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        try:
            self._until_started()
        except Exception as error:
            self.close()
            raise self._refused(error) from error

    def connect(self) -> None:
        """Let this process be a part of the campus. Raises NodeError."""
        self._connected = True
        try:
            ray.init(
                address=str(self._head),
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address=self._address,
            )
        except Exception as error:
            self.close()
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> NodeError:
        return NodeError(f"this host can't be a part of the campus at {self._head}: {error}")

    def _until_started(self) -> None:
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            said = self._output.read_text(errors="replace")
            if "Ray runtime started" in said:
                return
            if self._process.poll() is not None:
                raise NodeError(f"Ray did not start: {reason(said)}")
            time.sleep(0.1)
        raise NodeError(f"Ray did not start within {START:g} s; see {self._output}")

    @property
    def ended(self) -> str | None:
        """Why the node ended by itself; None while it runs."""
        if self._process.poll() is None:
            return None
        return reason(self._output.read_text(errors="replace"))

    def close(self) -> None:
        """Leave, and end the node with all its processes."""
        if self._connected:
            ray.shutdown()
        family = descendants(self._process.pid)
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(ENDING)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        end(family)
        clear(self._data, RUNNING)
        (self._data / RUNNING).unlink(missing_ok=True)


def check_certificates(head: Head, address: str, *, is_head: bool = False) -> None:
    """Check this host's certificate, where it has one, and that the head and it accept each other.

    Raises NodeError.
    """
    try:
        check_own(address)
        if not is_head:
            check_head(head.address, head.port, certificates())
    except TlsError as error:
        raise NodeError(error.reason) from error


def running_head(data: Path) -> Head | None:
    """Give the head of the campus that the command on this data folder is a part of now, if it is of one."""
    try:
        address, _, port = str(json.loads((data / RUNNING).read_text())["head"]).rpartition(":")
        return Head(address, int(port)) if address else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def version() -> str:
    """Give the version of this program."""
    return importlib.metadata.version("opencrate-campus")


def check_version(own: str, heads: str) -> None:
    """Let a host join only if it is not older than the head: buildings are upgraded first, one by one.

    Raises NodeError that names both versions. Another major version doesn't fit in either direction.
    """
    mine, theirs = _numbers(own), _numbers(heads)
    if mine < theirs:
        raise NodeError(
            f"this host has version {own}, older than the head's {heads}: upgrade this host first"
        )
    if mine[0] != theirs[0]:
        raise NodeError(f"this host has version {own}, the head has {heads}: they don't go together")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def sites_of(labels: Mapping[str, str]) -> list[str]:
    """Give the sites that a Ray node's host raises, by its labels."""
    return sorted(each.removeprefix(SITE_LABEL) for each in labels if each.startswith(SITE_LABEL))


def version_of_head(head: Head) -> str:
    """Give the version of the campus's head, which its Ray node carries as a label. Raises NodeError."""
    try:
        labels = labels_of_head(str(head), ROLE_LABEL)
    except ProbeError as error:
        raise NodeError(str(error)) from error
    if VERSION_LABEL not in labels:
        raise NodeError("it is no head of OpenCrate's")
    return labels[VERSION_LABEL]


def _storage(data: Path) -> Path:
    folder = data.resolve() / "gcs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _temp(data: Path) -> Path:
    """Give a folder of our own for Ray's sockets and logs, with a short name (sockets' have 107 bytes).

    The host is in the name because containers may share their folder for such files.
    """
    mark = hashlib.sha256(f"{socket.gethostname()} {data.resolve()}".encode()).hexdigest()[:8]
    folder = Path(tempfile.gettempdir()) / f"{TEMP_PREFIX}{mark}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


def reason(said: str) -> str:
    """Give what Ray said last, or all that it says of versions that don't go together."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if MISMATCH in line:
            told = [MISMATCH + line.partition(MISMATCH)[2], *lines[number + 1 :]]
            return " ".join(told)[:300]
    return lines[-1][:300] if lines else "it said nothing"
