"""A command that goes on behind: for hosts without systemd, and for whoever starts hosts from afar."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from api.foreground import UsageError, is_owned

FLAG: Final = "--background"
START: Final = 300.0
"""Seconds until nobody waits any longer for a command to say that it is up."""
LOOK: Final = 0.2
UP: Final = " is up"
"""What `up` and `join` say once their actors have risen."""


def start(arguments: Sequence[str], data: Path, console: Console) -> None:
    """Start `opencrate` with these arguments in a session of its own, and return when it is up.

    What it says goes to `logs/opencrate.out` of the data folder. Nothing happens where a command runs on this
    folder already. Raises UsageError when it ends at once, or isn't up after START.
    """
    if is_owned(data):
        console.print(f"OpenCrate runs on {data} already.", markup=False)
        return
    output = data / "logs" / "opencrate.out"
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - this program itself
            [sys.executable, "-m", "api", *(each for each in arguments if each != FLAG)],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        _until_up(process, output, console)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        raise


def _until_up(process: "subprocess.Popen[bytes]", output: Path, console: Console) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        said = output.read_text(errors="replace")
        told = [line for line in said.splitlines() if UP in line]
        if told:
            console.print(f"{told[0]}\nProcess {process.pid}; what it says is in {output}.", markup=False)
            return
        if process.poll() is not None:
            raise UsageError(said.strip() or f"it ended with {process.returncode}")
        time.sleep(LOOK)
    raise UsageError(f"not up after {START:g} s; see {output}. Process {process.pid} goes on starting")
