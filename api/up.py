"""`opencrate up`: everything of one machine in one command."""

import contextlib
import errno
import fcntl
import importlib.metadata
import logging
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from actors.core import sqlite
from actors.core.errors import AlreadyOwnedError, OpenCrateError
from api.actors import configure_logging
from api.cluster import Cluster
from api.config import Campus, CampusConfig, load
from bridges.config import BacnetNetwork, ModbusNetwork

log = logging.getLogger(__name__)

DEMO = Path(__file__).with_name("demo.yaml")
SIMULATOR_READY = 60.0
"""Seconds that the simulator may take to open its sockets."""

LOCK_PATIENCE = 20.0
"""Seconds that actors of a killed run may take to let go of their files."""


class UsageError(OpenCrateError):
    """The user asked for something that can't be; said without a traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    config: Path | None
    data: Path
    host: str | None
    port: int | None
    demo: bool
    address: str | None


def version() -> str:
    """Give the version of this program."""
    return importlib.metadata.version("opencrate-campus")


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


def run(options: Options, console: Console) -> None:
    """Raise the campus, serve until a signal, take it down.

    Raises OpenCrateError for what a user can mend.
    """
    campus = read_config(options)
    host, port = options.host or campus.config.api.host, options.port or campus.config.api.port
    with contextlib.ExitStack() as stack:
        stack.enter_context(_own(options.data))
        configure_logging(options.data / "logs", "api@campus")
        _check_port(host, port)
        stop = stack.enter_context(Stop())
        if options.demo:
            stack.enter_context(_simulator(campus, console))
        _serve(campus, options, (host, port), stop, stack, console)
    console.print("Stopped.")


def _serve(
    campus: Campus,
    options: Options,
    at: tuple[str, int],
    stop: "Stop",
    stack: contextlib.ExitStack,
    console: Console,
) -> None:
    # Ray and the actors' classes take seconds to import: not before the configuration is known to be good.
    from api.app import create_app  # noqa: PLC0415
    from api.raising import Raiser, left_over, take_down  # noqa: PLC0415
    from api.web import mount  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting Ray", total=None)
        cluster = Cluster(options.data, options.address)
        stack.callback(cluster.close)
        stop.install()
        there = sorted(left_over([site.id for site in campus.config.sites]))
        if there:
            raise UsageError(
                f"this cluster already runs {', '.join(there)}; stop the other `opencrate up` first"
            )

        def told(name: str, up: int, total: int) -> None:
            bar.update(task, description=f"raising {name}", completed=up, total=total)
            if not console.is_terminal:
                console.print(f"raised {name} ({up} of {total})")

        raiser = Raiser(campus, options.data, version(), told)
        stack.callback(_lower, take_down, raiser.order, console)
        actors = raiser.raise_all()
    app = create_app(actors)
    mount(app, _secret(options.data))
    host, port = at
    server = uvicorn.Server(
        uvicorn.Config(
            app, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=3
        )
    )
    # Our own handler ends the server, so that actors are taken down in order afterwards.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    stop.server = server
    _welcome(campus, options, at, console)
    server.run()


def _lower(take_down: object, order: list[tuple[str, object]], console: Console) -> None:
    console.print("Stopping: bridges first, stores last ...")
    take_down(order)  # type: ignore[operator]


class Stop:
    """SIGTERM and Ctrl-C: before the server runs they raise KeyboardInterrupt, then they end the server."""

    def __init__(self) -> None:
        self.server: uvicorn.Server | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Stop":
        self._before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        self.install()
        return self

    def install(self) -> None:
        """Take the signals (again: Ray takes them when it starts)."""
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, self._stop)

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)  # type: ignore[arg-type]

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.server is None:
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, signal.SIG_IGN)
            raise KeyboardInterrupt
        self.server.should_exit = True


@contextlib.contextmanager
def _own(data: Path) -> Iterator[None]:
    """Own the data folder, and wait until actors of a run that was killed have let go of it."""
    try:
        handle = sqlite.lock(data / "opencrate", "opencrate")
    except AlreadyOwnedError as error:
        owner = (data / "opencrate.lock").read_text().strip()
        raise UsageError(
            f"the data folder {data} is in use by another `opencrate up` (process {owner}); stop it, or "
            "choose another folder with --data"
        ) from error
    try:
        deadline = time.monotonic() + LOCK_PATIENCE
        while held := [path for path in data.glob("*/*.lock") if _is_held(path)]:
            if time.monotonic() > deadline:
                raise UsageError(
                    f"{held[0]} is held by process {held[0].read_text().strip()}; end that first"
                )
            time.sleep(0.2)
        yield
    finally:
        handle.close()


def _is_held(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _check_port(host: str, port: int) -> None:
    """Say now that the port is taken, not after all actors have risen."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise UsageError(f"host {host!r} is no address of this machine; try 127.0.0.1 or 0.0.0.0") from None
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UsageError(
                    f"port {port} is taken; choose another with --port or OPENCRATE_PORT"
                ) from None
            raise UsageError(f"can't listen on {host}:{port}: {error.strerror}") from None


def _free(ip: str, port: int, kind: int) -> int:
    """Give `port`, or another one where that is taken."""
    for candidate in (port, 0):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((ip, candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UsageError(f"no free port on {ip}")


@contextlib.contextmanager
def _simulator(campus: Campus, console: Console) -> Iterator[None]:
    """Start the simulated building as its own process, on free ports, and point the demo's networks there."""
    ip = "127.0.0.2"
    bacnet = _free(ip, 47808, socket.SOCK_DGRAM)
    modbus = _free(ip, 5020, socket.SOCK_STREAM)
    own = _free("127.0.0.1", 47809, socket.SOCK_DGRAM)
    for network in campus.config.sites[-1].networks:
        if isinstance(network, BacnetNetwork):
            network.bbmd, network.port = f"{ip}:{bacnet}", own
        elif isinstance(network, ModbusNetwork):
            network.port = modbus
    command = [sys.executable, "-m", "bridges.simulator", "--ip", ip]
    command += ["--bacnet-port", str(bacnet), "--modbus-port", str(modbus), "--parent-pid", str(os.getpid())]
    process = subprocess.Popen(  # noqa: S603 - our own program, with arguments made here
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        _until_ready(process)
        console.print(f"Simulated building: BACnet/IP on {ip}:{bacnet}, Modbus TCP on {ip}:{modbus}.")
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_ready(process: "subprocess.Popen[str]") -> None:
    stdout = process.stdout
    if stdout is None:
        raise UsageError("the simulator has no output")
    said: list[str] = []
    deadline = time.monotonic() + SIMULATOR_READY
    while time.monotonic() < deadline:
        if not select.select([stdout], [], [], 0.2)[0]:
            continue
        line = stdout.readline()
        if line.startswith("READY"):
            return
        if not line:
            break
        said.append(line.strip())
    raise UsageError(f"the simulated building did not start: {' '.join(said[-3:]) or 'no answer'}")


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
