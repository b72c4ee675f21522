"""Processes of this machine, known by number and start, as the kernel tells them (proc(5))."""

import contextlib
import os
import signal
from pathlib import Path

Process = tuple[int, int]
"""A process's number and the clock tick at which it started: numbers alone are given again to others."""


def _stat(pid: int) -> list[str] | None:
    """Give the fields of /proc/PID/stat after the name: state, parent, ..., start tick (the 20th)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def process(pid: int) -> Process | None:
    """Give the process that has this number now; None where there is none."""
    stat = _stat(pid)
    return (pid, int(stat[19])) if stat else None


def descendants(pid: int) -> set[Process]:
    """Give all that descend from `pid`, without itself."""
    children: dict[int, list[Process]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            children.setdefault(int(stat[1]), []).append((int(entry.name), int(stat[19])))
    found: set[Process] = set()
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.add(child)
            waiting.append(child[0])
    return found


def alive(processes: set[Process]) -> set[Process]:
    """Give those that still run, zombies left out."""
    running = set()
    for pid, started in processes:
        stat = _stat(pid)
        if stat and stat[0] != "Z" and int(stat[19]) == started:
            running.add((pid, started))
    return running


def end(processes: set[Process]) -> set[Process]:
    """Kill those that still run, and give them."""
    running = alive(processes)
    for pid, _ in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return running
