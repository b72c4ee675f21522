"""Hosts of their own on one machine: namespaces for all that a host has. Needs root and iproute2.

    lan = Lan(folder)            a switch
    host = lan.host("north")     a machine, switched on, with an address on the switch
    host.start([...], log)       a program there; `host.programs` has those that were started
    lan.cut(host); lan.heal(host)    pull its cable, plug it in
    host.power_off(); host.power_on()

No interface of the machine itself is touched: this process goes into a host's network for a call.
"""

import contextlib
import ctypes
import fcntl
import os
import random
import secrets
import select
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

CLONE_NEWNET: Final = 0x40000000
INIT: Final = (
    'hostname "$1" && mkdir -p /tmp/ray && mount --bind "$2" /tmp/ray && : > "$2/on" '
    "&& while :; do sleep 5; done"
)
"""What a host's first process does: a folder of its own for Ray, then collect orphans, as an init does."""

_libc = ctypes.CDLL(None, use_errno=True)


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr.strip()}"


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Let this thread (no other one) open its sockets in a network namespace."""
    with (
        Path("/proc/thread-self/ns/net").open() as before,
        Path("/run/netns", namespace).open() as there,
    ):
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(before.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _child(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else None
    return None


def _wait(check: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


class Program:
    """A program on a host, known by its number outside."""

    def __init__(self, entering: "subprocess.Popen[bytes]", log: Path) -> None:
        self._entering, self.log = entering, log
        self.pid = 0
        _wait(self._found, f"a program starts; see {log}")

    def _found(self) -> bool:
        self.pid = _child(self._entering.pid) or 0
        return self.pid > 0 or self._entering.poll() is not None

    @property
    def ended(self) -> bool:
        return self._entering.poll() is not None

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.pid and not self.ended:
                os.kill(self.pid, number)

    def wait(self, seconds: float) -> int:
        return self._entering.wait(seconds)

    def said(self) -> str:
        return self.log.read_text(errors="replace")


class Host:
    """A machine on a switch."""

    def __init__(self, lan: "Lan", name: str, number: int, *, tap: bool = False) -> None:
        self.lan, self.name, self.number = lan, name, number
        self.namespace = f"{lan.prefix}-{name}"
        self.address = f"{lan.network}.{number}"
        self.port = f"v{number}"
        self.programs: list[Program] = []
        self._folder = lan.folder / f"ray-{name}-{number}"
        self._folder.mkdir(parents=True)
        self._line: _SlowLine | None = None
        ip("netns", "add", self.namespace)
        if tap:
            self._line = _SlowLine(lan.namespace, self.port, self.namespace)
        else:
            peer = ("type", "veth", "peer", "name", self.port, "netns", lan.namespace)
            ip("-n", self.namespace, "link", "add", "eth0", *peer)
        ip("-n", lan.namespace, "link", "set", self.port, "master", "br0", "up")
        ip("-n", self.namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.namespace, "link", "set", "eth0", "up")
        ip("-n", self.namespace, "link", "set", "lo", "up")
        self.power_on()

    def power_on(self) -> None:
        (self._folder / "on").unlink(missing_ok=True)
        flags = ("--pid", "--mount", "--uts", "--fork", "--mount-proc", "--kill-child")
        command = ["ip", "netns", "exec", self.namespace, "unshare", *flags]
        self._power = subprocess.Popen(
            [*command, "sh", "-c", INIT, "init", self.name, str(self._folder)], start_new_session=True
        )
        _wait((self._folder / "on").exists, f"{self.name} is on")
        self._init = _child(self._power.pid)

    def power_off(self) -> None:
        """Pull the plug: everything on it is killed, and nothing else."""
        self._power.kill()
        self._power.wait()
        for program in self.programs:
            program.wait(20)
        self.programs.clear()

    def start(self, command: Sequence[str], log: Path, environment: dict[str, str]) -> Program:
        entering = ["nsenter", f"--target={self._init}", "--net", "--pid", "--mount", "--uts"]
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*entering, f"--wd={Path.cwd()}", *command],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        program = Program(process, log)
        self.programs.append(program)
        return program

    def pids(self, title: str) -> list[int]:
        """Give the processes on this host whose command line begins so, by their numbers outside."""
        found = []
        done = subprocess.run(
            ["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=True
        )
        for pid in map(int, done.stdout.split()):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(title.encode()):
                    found.append(pid)
        return found

    def remove(self) -> None:
        self.power_off()
        if self._line is not None:
            self._line.close()
        ip("netns", "del", self.namespace)


class Lan:
    """A switch with hosts on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix = f"oct{secrets.token_hex(3)}"
        self.network = f"10.78.{random.randrange(1, 255)}"
        self.namespace = f"{self.prefix}-switch"
        self.hosts: list[Host] = []
        ip("netns", "add", self.namespace)
        ip("-n", self.namespace, "link", "add", "br0", "type", "bridge")
        ip("-n", self.namespace, "link", "set", "br0", "up")

    def host(self, name: str, *, slow: bool = False) -> Host:
        """Put another machine on the switch; `slow`: at the end of a line with delay and loss."""
        made = Host(self, name, len(self.hosts) + 1, tap=slow)
        self.hosts.append(made)
        return made

    def cut(self, host: Host) -> None:
        ip("-n", self.namespace, "link", "set", host.port, "down")

    def heal(self, host: Host) -> None:
        ip("-n", self.namespace, "link", "set", host.port, "up")

    def close(self) -> None:
        for host in self.hosts:
            host.remove()
        ip("netns", "del", self.namespace)


TUNSETIFF: Final = 0x400454CA
TAP_NO_HEADER: Final = 0x0002 | 0x1000
DELAY: Final = 0.1
"""Seconds each way: 200 ms there and back."""
LOSS: Final = 0.01


class _SlowLine:
    """A cable that keeps each frame for DELAY and loses LOSS of them, where the kernel has no netem."""

    def __init__(self, switch: str, port: str, namespace: str) -> None:
        self._ends = [_tap(switch, port), _tap(namespace, "eth0")]
        self._closed = threading.Event()
        self.carried = self.lost = 0
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self) -> None:
        chance = random.Random(1)
        other = {self._ends[0]: self._ends[1], self._ends[1]: self._ends[0]}
        waiting: list[tuple[float, int, bytes]] = []
        while not self._closed.is_set():
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, end, frame = waiting.pop(0)
                with contextlib.suppress(OSError):  # an end that is down
                    os.write(end, frame)
            pause = min(0.2, waiting[0][0] - now) if waiting else 0.2
            for end in select.select(self._ends, [], [], max(0.0, pause))[0]:
                with contextlib.suppress(OSError):
                    frame = os.read(end, 65536)
                    self.carried += 1
                    if chance.random() < LOSS:
                        self.lost += 1
                    else:
                        waiting.append((time.monotonic() + DELAY, other[end], frame))

    def close(self) -> None:
        self._closed.set()
        self._thread.join(5)
        for end in self._ends:
            os.close(end)


def _tap(namespace: str, name: str) -> int:
    with inside(namespace):
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name.encode(), TAP_NO_HEADER))
    return end
