"""The peers: Redis and mosquitto of the Debian packages, on free ports of loopback and temporary folders."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path


class MissingPeerError(Exception):
    """A peer's program isn't installed."""


def free_port() -> int:
    """Give a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _find(program: str) -> str:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise MissingPeerError(f"{program} is not installed: `make bench` installs it")
    return path


@contextlib.contextmanager
def _running(command: list[str], port: int, log: Path) -> Iterator[int]:
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise MissingPeerError(f"{command[0]} does not listen: {log.read_text()[-500:]}")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[int]:
    """Run a Redis that keeps nothing on disk; gives its port."""
    port = free_port()
    command = [_find("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
    # As Redis comes, a subscriber that is 8 MB behind for a minute is cut off: that would be a loss.
    command += ["--client-output-buffer-limit", "pubsub 0 0 0"]
    with _running(command, port, folder / "redis.log"):
        yield port


@contextlib.contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """Run a mosquitto for QoS 0 without persistence; gives its port."""
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n"
        "max_queued_messages 0\nmax_queued_bytes 0\nlog_type error\n"
    )
    with _running([_find("mosquitto"), "-c", str(config)], port, folder / "mosquitto.log"):
        yield port
