"""What commands in the foreground share: signals, the data folder, progress, the simulated building."""

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from actors.core import sqlite
from actors.core.errors import AlreadyOwnedError, OpenCrateError
from api.leftovers import ALONE, RUNNING, clear
from bridges.config import BacnetNetwork, ModbusNetwork, NetworkConfig

SIMULATOR_READY = 60.0
"""Seconds that the simulator may take to open its sockets."""

LOCK_PATIENCE = 20.0
"""Seconds that actors of a killed run may take to let go of their files."""


class UsageError(OpenCrateError):
    """The user asked for something that can't be; said without a traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class Ends(Protocol):
    """What runs until it is told to end, such as a web server."""

    should_exit: bool


class Stop:
    """SIGTERM and Ctrl-C: before the server runs they raise KeyboardInterrupt, then they end the server."""

    def __init__(self) -> None:
        self.server: Ends | None = None
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
def own(data: Path) -> Iterator[None]:
    """Own the data folder, end what a run that was killed has left, and wait until its actors have let go."""
    try:
        handle = sqlite.lock(data / "opencrate", "opencrate")
    except AlreadyOwnedError as error:
        owner = (data / "opencrate.lock").read_text().strip()
        raise UsageError(
            f"the data folder {data} is in use by another `opencrate up` (process {owner}); stop it, or "
            "choose another folder with --data"
        ) from error
    try:
        # What a killed command left goes on by itself, Ray and all: nobody looks after it any more.
        clear(data, RUNNING, ALONE)
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


def tell_systemd(state: str) -> None:
    """Tell the service manager how this process is, such as READY=1; nothing happens where none asked.

    The protocol is that of sd_notify(3): one datagram to the socket that NOTIFY_SOCKET names, `@` for the
    abstract namespace. Whoever can't be told isn't waited for.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.setblocking(False)  # it may have no room for a datagram
        to.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)


def is_owned(data: Path) -> bool:
    """Tell whether a command runs on this data folder now."""
    path = data / "opencrate.lock"
    try:
        return path.exists() and _is_held(path)
    except OSError:
        # Another user's: who may not look can't tell.
        return False


def _is_held(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


@contextlib.contextmanager
def rising(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Show which actors rise, and how many of how many; on no terminal, a line each."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting Ray", total=None)

        def told(name: str, up: int, total: int) -> None:
            bar.update(task, description=f"raising {name}", completed=up, total=total)
            if not console.is_terminal:
                console.print(f"raised {name} ({up} of {total})")

        yield told


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
def simulated_building(networks: Sequence[NetworkConfig], console: Console) -> Iterator[None]:
    """Start the simulated building as its own process, on free ports, and point these networks there."""
    ip = "127.0.0.2"
    bacnet = _free(ip, 47808, socket.SOCK_DGRAM)
    modbus = _free(ip, 5020, socket.SOCK_STREAM)
    own = _free("127.0.0.1", 47809, socket.SOCK_DGRAM)
    for network in networks:
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
