"""On what the measurements ran: the machine and the versions of everything."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import apsw

PACKAGES = ("ray", "msgspec", "numpy", "pcodec", "pydantic", "redis", "hiredis", "paho-mqtt")


def machine() -> list[tuple[str, str]]:
    """Give what a reader must know to judge the figures, as (name, value)."""
    kilobytes = int(_line("/proc/meminfo", "MemTotal").split()[0])
    found = [
        (
            "processor",
            f"{_line('/proc/cpuinfo', 'model name') or platform.machine()}, {os.cpu_count()} cores",
        ),
        ("memory", f"{kilobytes / 2**20:.0f} GiB"),
        ("system", f"{platform.system()} {platform.release()}, Python {platform.python_version()}"),
        ("SQLite (apsw)", f"{apsw.sqlite_lib_version()} ({apsw.apsw_version()})"),
    ]
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            found.append((name, "not installed"))
    for program, option in (("redis-server", "--version"), ("mosquitto", "-h")):
        found.append((program, program_version(program, option)))
    return found


def program_version(program: str, option: str) -> str:
    """Give the first line that a program prints of itself, or say that it isn't there."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        return "not installed"
    done = subprocess.run([path, option], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("\n")[0].strip()


def _line(file: str, name: str) -> str:
    """Give the value of the first `name: value` of a file of the kernel's."""
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
