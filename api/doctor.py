"""`opencrate doctor`: what a host needs, checked, and what to do where it isn't so."""

import os
import platform
import resource
import shutil
import socket
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.markup import escape

from api.checkup import check_entry, check_hosts
from api.config import DEFAULT_PORT, load
from api.findings import Finding, judge_certificate, judge_clock, judge_disk, judge_files
from api.foreground import is_owned
from api.raynode import METRICS_PORT, Head, NodeError, check_version, own_address, running_head
from api.tls import TlsError, certificates
from api.tls import check_head as check_tls

TIMEOUT: Final = 5.0


@dataclass(frozen=True)
class Options:
    """What is to be checked."""

    data: Path
    url: str
    head: Head | None
    metrics_port: int = METRICS_PORT
    config: Path | None = None
    """`campus.yaml`, which says where the head's Ray is to listen."""

    @property
    def page_port(self) -> int | None:
        """The port of page and API, where these are said to be on this host."""
        try:
            at = httpx.URL(self.url)
        except httpx.InvalidURL:
            return None
        return at.port if at.host in {"127.0.0.1", "localhost", "::1"} else None


def check_folder(data: Path, free: int | None = None) -> Iterator[Finding]:
    """Check that the data folder takes files and that its disk has room."""
    if not data.is_dir():
        yield Finding("fail", f"there is no data folder {data}", f"make it: install -d -m 0700 {data}")
        return
    if not os.access(data, os.W_OK | os.X_OK):
        yield Finding("fail", f"{data} can't be written", "give it to the user that runs OpenCrate: chown")
        return
    yield judge_disk(str(data), shutil.disk_usage(data).free if free is None else free)


def check_token(data: Path, *, joins: bool) -> Iterator[Finding]:
    """Check that the token between hosts is there and nobody else's."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else data / "ray-token"
    if "RAY_AUTH_TOKEN" in os.environ:
        yield Finding("ok", "the token comes from RAY_AUTH_TOKEN")
    elif not path.is_file():
        do = f"copy the head's ray-token to {path}, mode 0600" if joins else "the first start makes it"
        yield Finding("fail" if joins else "warn", f"there is no token {path}", do)
    elif stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding("fail", f"others on this host may read {path}", f"chmod 0600 {path}")
    else:
        yield Finding("ok", f"the token {path} is there, for its owner alone")


def check_versions() -> Iterator[Finding]:
    """Check Python's version; name all three, which have to be the same on all hosts (Python, Ray)."""
    told = (
        f"Python {platform.python_version()}, Ray {version('ray')}, OpenCrate {version('opencrate-campus')}"
    )
    good = sys.version_info >= (3, 11)
    yield Finding("ok" if good else "fail", told, "" if good else "install Python 3.11 or newer")


def check_limits() -> Finding:
    """Check how many files a process may open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return judge_files(None if hard == resource.RLIM_INFINITY else hard)


def check_certificate(head: Head | None) -> Iterator[Finding]:
    """Check this host's certificate, where one is named, and whether the head and this host agree on TLS."""
    mine = certificates()
    try:
        if mine is not None:
            mine.check(*([] if head is None else [own_address(head)]))
            yield judge_certificate(mine.read().not_valid_after_utc.timestamp() - time.time())
        if head is not None:
            check_tls(head.address, head.port, mine)
            yield Finding("ok", f"the head at {head} and this host agree: {'TLS' if mine else 'no TLS'}")
    except (TlsError, NodeError) as error:
        yield Finding("fail", str(error), "make or renew it as docs/security.md says, on all hosts or none")


def check_port(port: int, what: str, *, running: bool) -> Finding:
    """Check that a port is free, or in use while the campus runs here."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            if running:
                return Finding("ok", f"port {port} ({what}) is in use, and OpenCrate runs here")
            return Finding("fail", f"port {port} ({what}) is taken by another", "end that, or choose another")
    return Finding("ok", f"port {port} ({what}) is free")


def check_head(head: Head) -> Finding:
    """Check that the head's Ray listens."""
    if head.answers():
        return Finding("ok", f"the head's Ray answers at {head}")
    return Finding(
        "fail",
        f"nothing answers at {head}",
        "start the head, or let the firewall pass; this building runs alone meanwhile",
    )


def check_campus(url: str, transport: httpx.BaseTransport | None = None) -> Iterator[Finding]:
    """Check what the running campus tells: clock, version, and each site and host that it knows."""
    try:
        with httpx.Client(base_url=url, timeout=TIMEOUT, transport=transport) as client:
            asked = time.time()
            answer = client.get("/api/system/health")
            answer.raise_for_status()
            came = time.time()
            said: dict[str, Any] = answer.json()
            heads = str(client.get("/openapi.json").json()["info"]["version"])
            components = [(str(each["name"]), str(each["host"]), each) for each in said["components"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        told = f"no campus answers at {url} ({error or type(error).__name__})"
        yield Finding("warn", told, "start it, or name another with --url")
        return
    yield Finding("ok", f"the campus answers at {url}")
    if "date" in answer.headers:
        # The header has whole seconds, of some moment between the question and the answer.
        theirs = parsedate_to_datetime(answer.headers["date"]).timestamp() + 0.5
        yield judge_clock((asked + came) / 2 - theirs, 1.0 + (came - asked) / 2, "the head's")
    try:
        check_version(version("opencrate-campus"), heads)
        yield Finding("ok", f"version {version('opencrate-campus')} goes with the head's {heads}")
    except NodeError as error:
        yield Finding("fail", str(error), "upgrade the buildings first, then the head")
    for host in sorted({host for _, host, _ in components}):
        troubled = [
            f"{name}: {'; '.join(each['reasons'])}"
            for name, at, each in components
            if at == host and each["state"] == "down"
        ]
        if troubled:
            yield Finding("fail", f"host {host}: {' / '.join(troubled[:3])}", "run opencrate doctor there")
        else:
            yield Finding("ok", f"host {host}: nothing is down")


def is_head(data: Path) -> bool:
    """Tell whether this host has been the head of several: Ray's head keeps what it knows there."""
    return (data / "gcs").is_dir()


def head_port(options: Options, joined: Head | None) -> int | None:
    """Give where Ray's head listens on this host, or is to listen; None on a machine that is no head.

    Raises ConfigFileError.
    """
    if joined is not None:
        return joined.port
    path = options.config or Path("campus.yaml")
    if options.config is not None or path.exists():
        head = load(path).config.head
        return None if head is None else head.port
    return DEFAULT_PORT if is_head(options.data) else None


def findings(options: Options) -> Iterator[Finding]:
    """Check all; each finding comes as soon as it is known."""
    yield from check_folder(options.data)
    yield from check_token(options.data, joins=options.head is not None)
    yield from check_versions()
    yield check_limits()
    running = is_owned(options.data)
    joined = running_head(options.data) if running else None
    head = options.head or joined
    yield from check_certificate(head)
    yield check_port(options.metrics_port, "metrics", running=running)
    in_building = options.head is not None or (joined is not None and not is_head(options.data))
    if in_building and head is not None:
        reached = check_head(head)
        yield reached if reached.state == "fail" else check_entry(options.data, head)
    elif (port := head_port(options, joined)) is not None:
        yield check_port(port, "Ray's head", running=running)
    if not in_building and options.page_port is not None:
        yield check_port(options.page_port, "page and API", running=running)
    if not in_building or options.page_port is None:
        yield from check_campus(options.url)
    if joined is not None:
        yield from check_hosts(options.data, joined)


def run(options: Options, console: Console) -> int:
    """Print each finding and what to do; give 0 when all is well or only warned of, else 1."""
    failed = False
    for each in findings(options):
        color = {"ok": "green", "warn": "yellow", "fail": "red"}[each.state]
        console.print(f"[{color}]{each.state:4}[/{color}]  {escape(each.what)}")
        if each.do and each.state != "ok":
            console.print(f"      {escape(each.do)}")
        failed = failed or each.state == "fail"
    return int(failed)
