"""A campus of a head and a building on hosts of their own, and what must be true whatever is pulled."""

import json
import os
import secrets
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from actors.alarm.models import AlarmState
from api.settings import SETTINGS
from tests.cluster.hosts import Lan, Program, inside
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

Span = tuple[float, float]


@dataclass
class Row:
    """What a plug cost: seconds, and holes longer than two poll intervals."""

    plug: str
    lasted: float
    holes: list[float]
    heal: float
    note: str = ""

    def __str__(self) -> str:
        holes = ", ".join(f"{each:.0f} s" for each in self.holes) or "none"
        return f"| {self.plug} | {self.lasted:.0f} s | {holes} | {self.heal:.1f} s | {self.note} |"


TABLE = "| plug | away for | holes of the building | time to heal | |\n| --- | --- | --- | --- | --- |"


def seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).astimezone(UTC).timestamp()


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class HostedCampus:
    """`opencrate up` on one host, `opencrate join` on another; asked as an admin at the head."""

    def __init__(self, folder: Path, *, slow: bool = False) -> None:
        self.folder = folder
        self.lan = Lan(folder)
        self.head = self.lan.host("head")
        self.building = self.lan.host(SITE, slow=slow)
        self.head_data, self.data = folder / "head", folder / SITE
        token = secrets.token_hex(32)
        for data in (self.head_data, self.data):
            data.mkdir()
            (data / "ray-token").touch(mode=0o600)
            (data / "ray-token").write_text(token)
        (folder / "campus.yaml").write_text(
            f"campus: Test Campus\nhead: {{address: {self.head.address}}}\n"
            f"sites:\n  - {{id: {SITE}, dis: North Building, joins: true}}\n"
        )
        # A request that hangs for longer than its time-out at the head (10 s) is a failure.
        self.http = httpx.Client(base_url="http://127.0.0.1:8000", timeout=15)
        self.longest = 0.0
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

    def join(self, more: dict[str, str] | None = None) -> None:
        command = [str(OPENCRATE), "join", "--head", self.head.address, "--site", SITE, "--demo"]
        command += ["--data", str(self.data)]
        out = self.folder / f"{SITE}.out"
        self.joined = self.building.start(command, out, environment() | (more or {}))

    def follow(self) -> None:
        """Let a durable subscriber run at the head, from where it stopped."""
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

    def away(self) -> bool:
        return bool(self.get("/api/points", limit=1)["unreachable_sites"] == [SITE])

    def until_away(self) -> float:
        return self._took(self.away, "the head says that the building is away")

    def until_there(self) -> float:
        return self._took(lambda: not self.away(), "the head reaches the building")

    def _took(self, check: Any, what: str) -> float:
        began = time.monotonic()
        until(check, RISES, what)
        return time.monotonic() - began

    def until_fresh(self) -> None:
        def fresh() -> bool:
            answer = self.request("GET", f"/api/points/{POINT}", params={"site": SITE})
            said = answer.json() if answer.status_code == 200 else {}
            return bool(said.get("time")) and time.time() - seconds(said["time"]) < TWO and not said["status"]

        until(fresh, RISES, f"{POINT} is fresh")

    def make_noise(self) -> None:
        """Let points of the building raise alarms all the time."""
        for point in NOISY:
            value = self.get(f"/api/points/{point}", site=SITE)["value"]
            condition = {"kind": "limit", "high": value}
            self.post(
                "/api/alarms/configs",
                {"node_id": point, "severity": "low", "condition": condition},
            )

    def command(self, duration: float) -> None:
        """Command the drive for so many seconds."""
        body = {"value": COMMANDED, "priority": 8, "duration": duration}
        self.post(f"/api/points/{DRIVE}/write", body)
        self.overrides.append((time.time() + duration, 0.0))

    # what must be true

    def samples(self, point: str, since: float) -> list[tuple[float, Any]]:
        found = self.get(f"/api/history/{point}", site=SITE, start=iso(since), limit=100_000)["samples"]
        return [(seconds(each["time"]), each["value"]) for each in found]

    def check_history(self, since: float) -> list[float]:
        """Give the holes of POINT (s) that are longer than two poll intervals; the ledger must tell them all.

        What the ledger calls lost must be without a sample, and each hole must lie in it.
        """
        times = [at for at, _ in self.samples(POINT, since)]
        assert len(times) > 1
        gaps = self.get(f"/api/history/{POINT}/gaps", site=SITE, start=iso(since))["items"]
        lost = [
            (seconds(each["start"]), seconds(each["end"]) if each["end"] else time.time())
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

    def raised(self) -> set[int]:
        """Give all alarms that the building ever raised."""
        found: set[int] = set()
        cursor: dict[str, Any] = {}
        while True:
            states = [each.value for each in AlarmState]
            page = self.get("/api/alarms", site=SITE, state=states, limit=1000, **cursor)
            found |= {each["id"] for each in page["items"]}
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}

    def delivered(self) -> list[tuple[int, int]]:
        """Give (alarm, number of the event) as the subscriber at the head was told, in order."""
        lines = self.follower.said().splitlines()
        events = [json.loads(each) for each in lines if each.startswith("{") and each.endswith("}")]
        return [(each["alarm_id"], each["seq"]) for each in events if each["type"] == "alarm_raised"]

    def check_alarms(self) -> int:
        """Every alarm of the building gets to the subscriber at the head; give how many events came twice."""
        due = self.raised()
        assert due, "the building has raised alarms"
        assert not self.follower.ended, self.follower.said()[-2000:]
        until(
            lambda: due <= {alarm for alarm, _ in self.delivered()},
            90,
            "the subscriber has every alarm of the building",
        )
        told = self.delivered()
        again = len(told) - len(set(told))
        since, self.again = again - self.again, again
        return since

    def replace(self) -> None:
        """Put the building's files on a new machine with another address; the old one is gone."""
        self.building.power_off()
        copy = self.folder / f"{SITE}-copied"
        shutil.copytree(self.data, copy)
        self.data = copy
        self.building = self.lan.host(f"{SITE}2")

    def kill_actor(self, title: str) -> None:
        [pid] = self.building.pids(title)
        os.kill(pid, signal.SIGKILL)
