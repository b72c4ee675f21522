"""A campus of a head and a building on hosts of their own, and what must be true whatever is pulled."""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from actors.alarm.models import AlarmState
from api.settings import SETTINGS
from tests.cluster.hosts import Host, Lan, Program, inside
from tests.cluster.system import ADMIN, OPENCRATE, environment, until

SITE = "north"
POINT = "meter-1/active-power"
"""Read by Modbus every INTERVAL seconds."""
INTERVAL = 10.0
TWO = 2 * INTERVAL + 1
"""Seconds: two poll intervals, and what a busy machine adds to them."""
DRIVE = "drive-1/speed-reference"
COMMANDED = 31.0
RISES = 240.0
"""Seconds that a busy machine may take until a host's actors are up."""
NOISY = tuple(
    f"meter-{number}/{name}"
    for number in (1, 2)
    for name in ("active-power", "current-l1", "voltage-l1", "voltage-l2", "voltage-l3")
)
"""Points that go up and down: with a limit in their midst they raise alarms all the time."""


@dataclass
class Row:
    """What a plug cost: seconds, and holes longer than two poll intervals."""

    plug: str
    lasted: float
    holes: list[float]
    heal: float
    note: str = ""
    again: int = 0
    """Events that came twice: none may, unless the subscriber itself was killed."""

    def __str__(self) -> str:
        holes = ", ".join(f"{each:.0f} s" for each in self.holes) or "none"
        return f"| {self.plug} | {self.lasted:.0f} s | {holes} | {self.heal:.1f} s | {self.note} |"


TABLE = "| plug | away for | holes of the building | time to heal | |\n| --- | --- | --- | --- | --- |"


def seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).astimezone(UTC).timestamp()


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def own_clock(folder: Path) -> Path:
    """Give the library that gives a host's programs a clock of their own."""
    made = folder / "clock.so"
    if not made.exists():
        command = ["cc", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-o", str(made)]
        subprocess.run([*command, str(Path(__file__).with_name("clock.c"))], check=True)
    return made


class Building:
    """A building's host, the folder of its files, and what it runs."""

    joined: Program

    def __init__(self, site: str, host: Host, data: Path, out: Path, ahead: float = 0.0) -> None:
        self.site, self.host, self.data, self.out = site, host, data, out
        self.ahead = ahead
        """Seconds that its clock is ahead of all others."""

    def now(self) -> float:
        return time.time() + self.ahead

    def environment(self) -> dict[str, str]:
        if not self.ahead:
            return environment()
        return environment() | {
            "LD_PRELOAD": str(own_clock(self.out.parent)),
            "CLOCK_AHEAD": f"{self.ahead:.0f}",
        }


def write_token(data: Path, token: str) -> None:
    (data / "ray-token").touch(mode=0o600)
    (data / "ray-token").write_text(token)


class HostedCampus:
    """`opencrate up` on one host, `opencrate join` on others; asked as an admin at the head."""

    def __init__(self, folder: Path, *, slow: bool = False, sites: Mapping[str, float] | None = None) -> None:
        """Put its hosts up: a building for each site, whose clock is so many seconds ahead."""
        self.folder = folder
        self.lan = Lan(folder)
        self.head = self.lan.host("head")
        self.head_data = folder / "head"
        self.buildings = {
            site: Building(site, self.lan.host(site, slow=slow), folder / site, folder / f"{site}.out", ahead)
            for site, ahead in (sites or {SITE: 0.0}).items()
        }
        self.north = self.buildings[SITE]
        token = secrets.token_hex(32)
        for data in (self.head_data, *(each.data for each in self.buildings.values())):
            data.mkdir()
            write_token(data, token)
        (folder / "campus.yaml").write_text(
            f"campus: Test Campus\nhead: {{address: {self.head.address}}}\nsites:\n"
            + "".join(
                f"  - {{id: {site}, dis: {site.title()} Building, joins: true}}\n" for site in self.buildings
            )
        )
        # A request that hangs for longer than its time-out at the head (10 s) is a failure.
        self.http = httpx.Client(base_url="http://127.0.0.1:8000", timeout=15)
        self.longest = 0.0
        self.follower: Program | None = None
        self.again = 0
        """Events that the subscriber was told more than once, until the last look."""
        self.overrides: list[tuple[float, float]] = []
        """When each was to end, and when the building's host was there to end it."""

    def close(self) -> None:
        self.http.close()
        self.lan.close()

    # what runs

    def raise_head(self, more: dict[str, str] | None = None) -> None:
        command = [str(OPENCRATE), "up", "--config", str(self.folder / "campus.yaml")]
        command += ["--data", str(self.head_data)]
        self.up = self.head.start(command, self.folder / "head.out", environment() | (more or {}))
        until(lambda: self._answers(self.up), RISES, "the head's API answers")

    def _answers(self, program: Program) -> bool:
        assert not program.ended, program.said()
        try:
            return self.request("GET", "/api/system/health").status_code in {200, 503}
        except httpx.TransportError:
            return False

    def login(self) -> None:
        assert self.request("POST", "/api/auth/setup", json=ADMIN).status_code in {200, 201, 409}
        answer = self.request("POST", "/api/auth/login", json=ADMIN)
        assert answer.status_code == 200, answer.text
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def join(self, more: dict[str, str] | None = None, building: Building | None = None) -> None:
        at = building or self.north
        command = [str(OPENCRATE), "join", "--head", self.head.address, "--site", at.site, "--demo"]
        command += ["--data", str(at.data)]
        at.joined = at.host.start(command, at.out, at.environment() | (more or {}))

    @property
    def building(self) -> Host:
        return self.north.host

    @property
    def joined(self) -> Program:
        return self.north.joined

    def follow(self) -> None:
        """Let a durable subscriber run at the head, from where the one before stopped, which ends."""
        if self.follower is not None:
            self.follower.signal(signal.SIGKILL)
            self.follower.wait(20)
        address = self.head.address
        command = [sys.executable, "-m", "tests.cluster.follower", f"{address}:6379", address, "test"]
        more = {"RAY_AUTH_TOKEN_PATH": str(self.head_data / "ray-token")}
        self.follower = self.head.start(
            command, self.folder / "follower.out", environment() | SETTINGS | more
        )

    # asking the head

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        began = time.monotonic()
        with inside(self.head.namespace):
            answer = self.http.request(method, path, **more)
        self.longest = max(self.longest, time.monotonic() - began)
        return answer

    def get(self, path: str, **params: Any) -> Any:
        answer = self.request("GET", path, params=params)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def post(self, path: str, body: Any) -> Any:
        answer = self.request("POST", path, json=body)
        assert answer.status_code in {200, 201, 202}, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    # what is so, and how long it takes

    def away(self) -> list[str]:
        found: list[str] = self.get("/api/points", limit=1)["unreachable_sites"]
        return found

    def until_away(self, site: str = SITE) -> float:
        return self._took(lambda: self.away() == [site], f"the head says that {site} alone is away")

    def until_there(self) -> float:
        """Wait until every building answers; give when (s) the first call to one was good that all follow."""
        return max(
            self._took(
                lambda at=each: (
                    self.request("GET", f"/api/points/{POINT}", params={"site": at}).status_code == 200
                ),
                f"the head reaches {each}",
            )
            for each in self.buildings
        )

    def _took(self, check: Any, what: str) -> float:
        began = time.monotonic()
        until(check, RISES, what, pause=0.05)
        return time.monotonic() - began

    def until_fresh(self) -> None:
        def fresh(at: Building) -> bool:
            answer = self.request("GET", f"/api/points/{POINT}", params={"site": at.site})
            said = answer.json() if answer.status_code == 200 else {}
            # It may be in alarm: make_noise sees to that.
            well = set(said.get("status", ())) <= {"alarm"}
            return well and bool(said.get("time")) and at.now() - seconds(said["time"]) < TWO

        for each in self.buildings.values():
            until(lambda at=each: fresh(at), RISES, f"{POINT} of {each.site} is fresh")

    def until_whole(self) -> None:
        """Wait until histories can be read: what reads and commands devices rises before that."""
        for site in self.buildings:
            asked = {"site": site, "limit": "1"}
            until(
                lambda asked=asked: (
                    self.request("GET", f"/api/history/{POINT}", params=asked).status_code == 200
                ),
                RISES,
                f"the history of {site} can be read",
            )

    def make_noise(self) -> None:
        """Let points of the building raise alarms all the time."""
        for site in self.buildings:
            for point in NOISY:
                value = self.get(f"/api/points/{point}", site=site)["value"]
                condition = {"kind": "limit", "high": value}
                self.post(
                    f"/api/alarms/configs?site={site}",
                    {"node_id": point, "severity": "low", "condition": condition},
                )

    def command(self, duration: float) -> None:
        """Command the drive for so many seconds."""
        body = {"value": COMMANDED, "priority": 8, "duration": duration}
        self.post(f"/api/points/{DRIVE}/write?site={SITE}", body)
        self.overrides.append((time.time() + duration, 0.0))

    def excuse_overrides(self) -> None:
        """Let the overrides until now end late: until now their host was off."""
        self.overrides = [(ends, time.time()) for ends, _ in self.overrides]

    # what must be true

    def samples(self, point: str, since: float, building: Building | None = None) -> list[tuple[float, Any]]:
        """Give (time, value) since `since`; times as the test's clock has them."""
        at = building or self.north
        start = iso(since + at.ahead)
        found = self.get(f"/api/history/{point}", site=at.site, start=start, limit=100_000)["samples"]
        return [(seconds(each["time"]) - at.ahead, each["value"]) for each in found]

    def check_history(self, since: float, building: Building | None = None) -> list[float]:
        """Give the holes of POINT (s) that are longer than two poll intervals; the ledger must tell them all.

        What the ledger calls lost must be without a sample, and each hole must lie in it.
        """
        at_ = building or self.north
        times = [at for at, _ in self.samples(POINT, since, at_)]
        assert len(times) > 1
        start = iso(since + at_.ahead)
        gaps = self.get(f"/api/history/{POINT}/gaps", site=at_.site, start=start)["items"]
        lost = [
            (
                seconds(each["start"]) - at_.ahead,
                seconds(each["end"]) - at_.ahead if each["end"] else time.time(),
            )
            for each in gaps
            if each["kind"] == "lost"
        ]
        for start, end in lost:
            inside = [iso(at) for at in times if start + 0.001 < at < end - 0.001]
            assert not inside, f"the ledger calls {iso(start)} to {iso(end)} lost, but there is {inside[:3]}"
        holes = [(a, b) for a, b in pairwise(times) if b - a > TWO]
        for a, b in holes:
            covered = sum(max(0.0, min(b, end) - max(a, start)) for start, end in lost)
            assert covered >= b - a - TWO, f"{iso(a)} to {iso(b)} is a hole, but the ledger has {gaps}"
        return [b - a for a, b in holes]

    def check_overrides(self, since: float) -> None:
        """Every override has ended by itself, on time where the building's host was there."""
        if not self.overrides:
            return
        values = self.samples(DRIVE, since)
        for ends, back in self.overrides:
            late = [iso(at) for at, value in values if at > max(ends, back) + TWO and value == COMMANDED]
            assert not late, f"the override was to end at {iso(ends)}; there still at {late[:3]}"
            after = [at for at, value in values if at > ends and value != COMMANDED]
            assert after, f"nothing was read after the override's end at {iso(ends)}"
        slots = self.get(f"/api/points/{DRIVE}/priority-array", site=SITE)["slots"]
        assert slots[7] is None
        self.overrides.clear()

    def raised(self) -> set[tuple[str, int]]:
        """Give all alarms that the buildings ever raised, as (site, alarm)."""
        found: set[tuple[str, int]] = set()
        cursor: dict[str, Any] = {}
        while True:
            states = [each.value for each in AlarmState]
            page = self.get("/api/alarms", state=states, limit=1000, **cursor)
            assert page["unreachable_sites"] == []
            found |= {(each["site"], each["id"]) for each in page["items"]}
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}

    def delivered(self) -> list[tuple[str, int, int]]:
        """Give (site, alarm, number of the event) as the subscriber at the head was told, in order."""
        assert self.follower is not None
        # One that was killed may have left half a line, which the next one's first line follows.
        events = [json.loads(each) for each in re.findall(r'\{"type"[^{}]*\}', self.follower.said())]
        return [
            (each["site"], each["alarm_id"], each["seq"]) for each in events if each["type"] == "alarm_raised"
        ]

    def check_alarms(self) -> int:
        """Every alarm of a building gets to the subscriber at the head; give how many events came twice."""
        due = self.raised()
        assert {site for site, _ in due} == self.buildings.keys(), "each building has raised alarms"
        assert self.follower is not None
        assert not self.follower.ended, self.follower.said()[-2000:]
        until(
            lambda: due <= {(site, alarm) for site, alarm, _ in self.delivered()},
            90,
            "the subscriber has every alarm of the buildings",
        )
        told = self.delivered()
        again = len(told) - len(set(told))
        since, self.again = again - self.again, again
        return since

    def replace(self) -> None:
        """Put the building's files on a new machine with another address; the old one is gone."""
        at = self.north
        at.host.power_off()
        copy = self.folder / f"{SITE}-copied"
        shutil.copytree(at.data, copy)
        at.data, at.host = copy, self.lan.host(f"{SITE}2")

    def kill_actor(self, title: str) -> None:
        [pid] = self.building.pids(title)
        os.kill(pid, signal.SIGKILL)
