"""`opencrate up`: everything of one machine in one command."""

import contextlib
import errno
import functools
import logging
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from rich.console import Console
from rich.markup import escape

from actors.core.names import CAMPUS
from api.actors import configure_logging
from api.cluster import Cluster
from api.config import Campus, CampusConfig, HeadConfig, load
from api.foreground import Stop, UsageError, own, rising, simulated_building, tell_systemd
from api.middleware import MAX_BODY
from api.raynode import Head, RayNode, version
from api.tls import check_own

log = logging.getLogger(__name__)

DEMO = Path(__file__).with_name("demo.yaml")


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    config: Path | None
    data: Path
    host: str | None
    port: int | None
    demo: bool
    address: str | None
    head_address: str | None = None
    metrics_port: int | None = None
    autoscaling_config: Path | None = None


def read_config(options: Options) -> Campus:
    """Read the configuration that the options name; `--demo` adds the simulated building."""
    path = options.config
    if path is None and not options.demo and Path("campus.yaml").exists():
        path = Path("campus.yaml")
    if path is None and not options.demo:
        raise UsageError(
            "there is no campus.yaml here; name one with --config, or see a simulated building with --demo"
        )
    if path is None:
        return load(DEMO)
    campus = load(path)
    if not options.demo:
        return campus
    demo = load(DEMO)
    taken = {site.id for site in campus.config.sites}
    if taken & {site.id for site in demo.config.sites}:
        raise UsageError(
            f"{path} has a site {demo.config.sites[0].id!r}, which is the simulated building's id"
        )
    sites = campus.config.sites + demo.config.sites
    config: CampusConfig = campus.config.model_copy(update={"sites": sites})
    return Campus(config, campus.profiles | demo.profiles, path)


class _Closes(Protocol):
    def close(self) -> None:
        """Leave the cluster."""


def head_of(text: str) -> Head:
    """Read `10.0.0.1` or `10.0.0.1:6379`. Raises UsageError."""
    address, _, port = text.partition(":")
    try:
        found = HeadConfig.model_validate({"address": address} | ({"port": port} if port else {}))
    except ValueError:
        raise UsageError(f"{text!r} is no address of a head; expected 10.0.0.1 or 10.0.0.1:6379") from None
    return Head(found.address, found.port)


def _head(campus: Campus, options: Options) -> Head | None:
    """Give where other buildings' hosts reach this one; None where there are none. Raises UsageError."""
    if options.head_address is not None:
        return head_of(options.head_address)
    named = campus.config.head
    return None if named is None else Head(named.address, named.port)


def _cluster(at: Head | None, options: Options) -> _Closes:
    """Start Ray for this machine alone, or as the head of several hosts, or join the Ray that is there."""
    scaling = options.autoscaling_config
    if scaling is not None and (at is None or not scaling.is_file()):
        raise UsageError(
            f"--autoscaling-config {scaling}: " + ("only a head has one" if at is None else "no file")
        )
    if at is None:
        return Cluster(options.data, options.address, options.metrics_port)
    if options.address is not None:
        raise UsageError("--address joins a cluster that is there; a head starts its own")
    return RayNode(
        options.data,
        at,
        at.address,
        is_head=True,
        metrics_port=options.metrics_port,
        autoscaling_config=scaling,
    )


def run(options: Options, console: Console) -> None:
    """Raise the campus, serve until a signal, take it down.

    Raises OpenCrateError for what a user can mend.
    """
    campus = read_config(options)
    head = _head(campus, options)
    check_own(*([] if head is None else [head.address]))
    host, port = options.host or campus.config.api.host, options.port or campus.config.api.port
    with contextlib.ExitStack() as stack:
        stack.enter_context(own(options.data))
        configure_logging(options.data / "logs", "api@campus")
        held = hold_port(host, port)
        for each in held:
            stack.callback(each.close)
        stop = stack.enter_context(Stop())
        if options.demo:
            stack.enter_context(simulated_building(campus.config.sites[-1].networks, console))
        _serve(campus, options, (host, port), held, stop, stack, console)
    console.print("Stopped.")


def _serve(
    campus: Campus,
    options: Options,
    at: tuple[str, int],
    held: list[socket.socket],
    stop: "Stop",
    stack: contextlib.ExitStack,
    console: Console,
) -> None:
    # Ray and the actors' classes take seconds to import: not before the configuration is known to be good.
    from api.app import create_app  # noqa: PLC0415
    from api.federation import Federation, registry_of  # noqa: PLC0415
    from api.fencing import fence  # noqa: PLC0415
    from api.hosts import ray_nodes  # noqa: PLC0415
    from api.raising import Raiser, take_down  # noqa: PLC0415
    from api.web import mount  # noqa: PLC0415

    with rising(console) as told:
        cluster = _cluster(_head(campus, options), options)
        stack.callback(cluster.close)
        stop.install()
        for scope in (CAMPUS, *(site.id for site in campus.config.sites if not site.joins)):
            fence(scope)
        raiser = Raiser(campus, options.data, version(), told)
        stack.callback(_lower, take_down, raiser.order, console)
        actors = raiser.raise_all()
        actors.nodes = ray_nodes
    joining = {site.id: site.name for site in campus.config.sites if site.joins}
    several = isinstance(cluster, RayNode)
    followers = [Federation(actors, joining, registry_of(options.data))] if several else []
    app = create_app(actors, followers=followers)
    mount(app, _secret(options.data))
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=3,
            ws_max_size=MAX_BODY,
        ),
        functools.partial(_welcome, campus, options, at, console),
    )
    # Our own handler ends the server, so that actors are taken down in order afterwards.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    stop.server = server
    make_ready(held)
    server.run(sockets=held)


class _Server(uvicorn.Server):
    """A web server that says when its port is open."""

    def __init__(self, config: uvicorn.Config, opened: Callable[[], None]) -> None:
        super().__init__(config)
        self._opened = opened

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._opened()
            tell_systemd("READY=1")


def _lower(take_down: object, order: list[tuple[str, object]], console: Console) -> None:
    console.print("Stopping: bridges first, stores last ...")
    take_down(order)  # type: ignore[operator]


def hold_port(host: str, port: int) -> list[socket.socket]:
    """Take the port now, listening to nobody yet: nothing that rises in between can take it.

    A name of several addresses (`localhost`) gives a socket for each that this machine has.
    Raises UsageError where the port is taken or the address isn't ours.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror:
        raise UsageError(f"host {host!r} is no address of this machine; try 127.0.0.1 or 0.0.0.0") from None
    held: list[socket.socket] = []
    absent: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            held.append(_bound(family, kind, protocol, address))
        except OSError as error:
            if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                absent = error
                continue
            for each in held:
                each.close()
            if error.errno == errno.EADDRINUSE:
                raise UsageError(
                    f"port {port} is taken; choose another with --port or OPENCRATE_PORT"
                ) from None
            raise UsageError(f"can't listen on {host}:{port}: {error.strerror}") from None
    if not held:
        raise UsageError(f"can't listen on {host}:{port}: {absent.strerror if absent else 'no address'}")
    return held


def make_ready(held: list[socket.socket]) -> None:
    """Make sockets from `hold_port` fit to listen, just before they do.

    Without reuse neither they nor the next start could have the port while connections are remembered.
    """
    for each in held:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def _bound(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    """Give a socket that holds `address`. Raises OSError.

    It doesn't allow reuse: until it listens, whoever allows that too, as most servers do, could take the
    port. Reuse is only for getting it at all while connections of an earlier process are not forgotten yet.
    """
    held = socket.socket(family, kind, protocol)
    try:
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            held.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(address)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        held.close()
        raise
    return held


def _secret(data: Path) -> str:
    """Give the key that signs the page's session cookies; made once per installation."""
    path = data / "page-secret"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text()


def _welcome(campus: Campus, options: Options, at: tuple[str, int], console: Console) -> None:
    host, port = at
    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - only what is shown
    url = f"http://{shown}:{port}"
    sites = ", ".join(f"{site.name} ({site.id})" for site in campus.config.sites)
    width = len(url) + len("/api/system/health")
    # No box around it: on a narrow terminal a line goes on in the next one, and nothing is cut off.
    console.print(f"\n[bold green]{escape(campus.config.campus)} is up[/bold green]\n")
    for path, what in (
        ("/", "the operator page; the first visit makes the first admin"),
        ("/docs", "the API, to read and to try"),
        ("/api/system/health", "how every part is"),
    ):
        console.print(f"  [bold]{url + path:{width}}[/bold]  {what}")
    console.print(f"\n  Sites  {escape(sites)}")
    console.print(f"  Files  {escape(str(options.data.resolve()))}, with logs in logs/")
    console.print(f"  Process {os.getpid()}; Ctrl-C stops it.\n")
