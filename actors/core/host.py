"""What a host tells of itself, for whoever looks after all hosts of a campus."""

import os
import platform
import resource
import shutil
import socket
from importlib.metadata import version
from pathlib import Path

from cryptography import x509
from pydantic import BaseModel

from actors.core.clock import Clock, Timestamp, now_ms


class HostFacts(BaseModel):
    """A host as one of its actors sees it."""

    host: str
    time: Timestamp
    """Its own clock."""
    opencrate: str
    python: str
    ray: str
    folder: str
    """Where the files of the actor's site are."""
    free: int
    """Bytes that are left there."""
    open_files: int | None
    """How many files a process may open at most; None for any number."""
    certificate_until: Timestamp | None = None
    """When its certificate for TLS between hosts ends."""


def facts(folder: Path, clock: Clock = now_ms) -> HostFacts:
    """Look at this host, on whose disk `folder` is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return HostFacts(
        host=socket.gethostname(),
        time=clock(),
        opencrate=version("opencrate-campus"),
        python=platform.python_version(),
        ray=version("ray"),
        folder=str(folder),
        free=shutil.disk_usage(folder).free,
        open_files=None if hard == resource.RLIM_INFINITY else hard,
        certificate_until=_certificate_until(),
    )


def _certificate_until() -> int | None:
    if os.environ.get("RAY_USE_TLS", "0").lower() not in {"1", "true"}:
        return None
    try:
        found = x509.load_pem_x509_certificate(Path(os.environ["RAY_TLS_SERVER_CERT"]).read_bytes())
    except (OSError, KeyError, ValueError):
        return None
    return round(found.not_valid_after_utc.timestamp() * 1000)


def clock_skew(theirs: int, asked: int, came: int) -> tuple[int, int]:
    """Give how far another host's clock is ahead of ours (ms; negative: behind), and the error of that.

    `theirs` is what it answered; we asked at `asked` and had the answer at `came`, by our clock.
    """
    return theirs - (asked + came) // 2, (came - asked + 1) // 2
