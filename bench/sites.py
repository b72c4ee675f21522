"""What a site costs where there are several: `opencrate up` with 1, 2, 4 and 8 of them on this machine."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from api.processes import descendants
from bench.meters import REGISTERS
from bench.peers import free_port
from bench.results import Met, Progress, Result, Scale, at_most, median, percentile

COUNTS = (1, 2, 4, 8)
INTERVAL = 10.0
"""Seconds between two readings of a point."""
PER_METER = REGISTERS // 2
METERS = 2
"""Of each site, so that it has 100 points."""
LARGE_METERS = 20
RISES = 900.0
"""Seconds that all may take until every point has a value; a guard against hanging."""
SETTLES = 10.0
WATCHED = 30.0
ASKED = 40
"""Requests of each kind."""
FLAT = 1.25
"""A site among several may cost this much of one that is alone."""
ADMIN = {"username": "bench", "password": "measured all along"}


def campus_yaml(sites: int, meters: int, port: int) -> str:
    """Describe sites with Modbus meters of 50 points each; JSON is YAML too."""
    points = [
        {
            "id": f"value-{n}",
            "dis": f"Value {n}",
            "register": "holding",
            "address": 2 * n,
            "data_type": "float32",
            "units": "degrees-celsius",
        }
        for n in range(PER_METER)
    ]
    network = {"id": "meters", "protocol": "modbus", "host": "127.0.0.1", "port": port}
    described = [
        {
            "id": f"s{s}",
            "networks": [network],
            "devices": [
                {
                    "id": f"s{s}-meter-{m}",
                    "network": "meters",
                    "unit": m + 1,
                    "interval": INTERVAL,
                    "points": points,
                }
                for m in range(meters)
            ],
        }
        for s in range(sites)
    ]
    return json.dumps({"campus": "Bench", "sites": described})


def cpu_seconds(pid: int) -> float:
    """Give the processor time that a process has taken; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """Give a process's share of memory in bytes: what it has in common with others is divided (PSS)."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


class Running:
    """`opencrate up` with its meters, asked over HTTP as an admin."""

    def __init__(self, folder: Path, sites: int, meters: int, stack: contextlib.ExitStack) -> None:
        """Start both, and wait until every point has a value."""
        folder.mkdir()
        self.sites, self.points = sites, sites * meters * PER_METER
        modbus, port = free_port(), free_port()
        source = subprocess.Popen([sys.executable, "-m", "bench.meters", str(modbus)], stdout=subprocess.PIPE)
        stack.callback(_end, source)
        config, self._out = folder / "campus.yaml", folder / "out"
        config.write_text(campus_yaml(sites, meters, modbus))
        command = [sys.executable, "-m", "api", "up", "--config", str(config), "--port", str(port)]
        began = time.monotonic()
        with self._out.open("w") as out:
            self._up = subprocess.Popen(
                [*command, "--data", str(folder / "data")], stdout=out, stderr=subprocess.STDOUT
            )
        stack.callback(_end, self._up)
        self.http = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30))
        self._until(self._answers)
        self.rose = time.monotonic() - began
        self.http.post("/api/auth/setup", json=ADMIN).raise_for_status()
        token = self.http.post("/api/auth/login", json=ADMIN).raise_for_status().json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"
        self._until(lambda: self._valued() == self.points)
        self.valued = time.monotonic() - began

    def _until(self, check: Callable[[], bool]) -> None:
        deadline = time.monotonic() + RISES
        while not check():
            if self._up.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"opencrate up did not rise: {self._out.read_text()[-2000:]}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self.http.get("/api/system/health").status_code in {200, 503}
        return False

    def _valued(self) -> int:
        found = 0
        cursor: dict[str, Any] = {}
        while True:
            page = self.get("/api/points", limit=1000, **cursor)
            found += sum(each["value"] is not None for each in page["items"])
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}

    def get(self, path: str, **params: Any) -> Any:
        """Ask for something."""
        return self.http.get(path, params=params).raise_for_status().json()

    def took(self, path: str, **params: Any) -> list[float]:
        """Ask some times; give the milliseconds of each."""
        found = []
        for _ in range(ASKED):
            began = time.perf_counter()
            self.get(path, **params)
            found.append((time.perf_counter() - began) * 1000)
        return found

    def costs(self, seconds: float) -> tuple[list[float], list[float], float, float]:
        """Give each site's part of a core and bytes of memory, and those of all the rest."""
        site_of = {
            each["pid"]: each["name"].rpartition("@")[2]
            for each in self.get("/api/system/health")["components"]
            if each["pid"]
        }
        pids = [self._up.pid, *(pid for pid, _ in descendants(self._up.pid))]
        began, before = time.monotonic(), {pid: cpu_seconds(pid) for pid in pids}
        time.sleep(seconds)
        after = {pid: cpu_seconds(pid) for pid in pids}
        lasted = time.monotonic() - began
        cpu, mem = {"": 0.0}, {"": 0.0}
        for pid in pids:
            site = site_of.get(pid, "campus")
            name = "" if site == "campus" else site
            cpu[name] = cpu.get(name, 0.0) + max(0.0, after[pid] - before[pid]) / lasted
            mem[name] = mem.get(name, 0.0) + memory(pid)
        rest_cpu, rest_mem = cpu.pop(""), mem.pop("")
        return list(cpu.values()), list(mem.values()), rest_cpu, rest_mem


def _end(process: "subprocess.Popen[Any]") -> None:
    """End a process, and give it time to take down what it raised."""
    process.terminate()
    try:
        process.wait(90)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def several(folder: Path, scale: Scale, progress: Progress) -> Iterator[Result]:
    """Measure what each site costs where there are 1, 2, 4 and 8, and how long the API takes."""
    counts = COUNTS if scale.judged else COUNTS[:1]
    alone: tuple[float, float] | None = None
    for number, count in enumerate(counts):
        progress(number, len(counts), f"{count} sites")
        with contextlib.ExitStack() as stack:
            running = Running(folder / f"sites-{count}", count, METERS, stack)
            time.sleep(SETTLES * scale.part)
            cpu, mem, rest_cpu, rest_mem = running.costs(WATCHED * scale.part)
            listed = running.took("/api/points", limit=1000)
            point = running.took(f"/api/points/s{count - 1}-meter-0/value-7")
            summary = running.took("/api/alarms/summary")
        each_cpu, each_mem = sum(cpu) / count, sum(mem) / count
        alone = alone or (each_cpu, each_mem)
        ratio = max(each_cpu / alone[0], each_mem / alone[1]) if alone[0] else 1.0
        what = f"{count} sites of 100 points: each" if count > 1 else "one site of 100 points"
        yield Result(
            what,
            f"{each_cpu:.3f} CPU s/s, {each_mem / 2**20:,.0f} MiB",
            f"one alone: {alone[0]:.3f} CPU s/s, {alone[1] / 2**20:,.0f} MiB" if count > 1 else "",
            f"{each_cpu / alone[0]:.2f} of its CPU, {each_mem / alone[1]:.2f} of its memory",
            f"flat: at most {FLAT}",
            at_most(ratio, FLAT) if count > 1 else Met.REPORTED,
            [
                f"dearest site {max(cpu):.3f} CPU s/s, {max(mem) / 2**20:,.0f} MiB; API, Ray and the campus's"
                f" own actors {rest_cpu:.3f} CPU s/s, {rest_mem / 2**20:,.0f} MiB",
                f"up after {running.rose:.0f} s, all {running.points} points with a value after"
                f" {running.valued:.0f} s",
                f"API, median and slowest in twenty: list of all points {_ms(listed)}; one point by id"
                f" {_ms(point)}; sum of alarms {_ms(summary)}",
            ],
        )


def _ms(numbers: list[float]) -> str:
    return f"{median(numbers):.1f} and {percentile(numbers, 0.95):.1f} ms"


def thousand(folder: Path, scale: Scale, progress: Progress) -> Iterator[Result]:
    """Measure two sites of a thousand Modbus points each: whether polling keeps its interval."""
    progress(0, 2, "two sites of 1,000 points rise")
    with contextlib.ExitStack() as stack:
        running = Running(folder / "thousand", 2, scale.of(LARGE_METERS, 1), stack)
        since = datetime.now().astimezone().isoformat()
        progress(1, 2, "two sites of 1,000 points are watched")
        cpu, mem, rest_cpu, rest_mem = running.costs(max(3 * INTERVAL, 180.0 * scale.part))
        steps: list[float] = []
        for site in range(2):
            for meter in range(scale.of(LARGE_METERS, 1)):
                path = f"/api/history/s{site}-meter-{meter}/value-{meter}"
                samples = running.get(path, start=since, limit=1000)["samples"]
                times = [datetime.fromisoformat(each["time"]).timestamp() for each in samples]
                steps += [b - a for a, b in pairwise(times)]
        listed = running.took("/api/points", limit=1000)
        point = running.took("/api/points/s1-meter-0/value-7")
    if not steps:
        raise RuntimeError("no point was read twice: this machine is too busy to measure on")
    yield Result(
        f"two sites of {running.points // 2:,} points, each read every {INTERVAL:.0f} s",
        f"median {median(steps):.2f} s, slowest in twenty {percentile(steps, 0.95):.2f} s, slowest"
        f" {max(steps):.2f} s",
        f"{INTERVAL:.0f} s",
        f"slowest in twenty {percentile(steps, 0.95) / INTERVAL:.2f} of the interval",
        "at most 1.1",
        at_most(percentile(steps, 0.95), 1.1 * INTERVAL),
        [
            f"each {sum(cpu) / 2:.3f} CPU s/s, {sum(mem) / 2 / 2**20:,.0f} MiB; API, Ray and the campus's own"
            f" actors {rest_cpu:.3f} CPU s/s, {rest_mem / 2**20:,.0f} MiB",
            f"up after {running.rose:.0f} s, all points with a value after {running.valued:.0f} s",
            f"API, median and slowest in twenty: page of 1,000 points {_ms(listed)}; one point by id"
            f" {_ms(point)}",
        ],
    )
