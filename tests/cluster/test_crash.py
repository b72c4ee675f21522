"""Kill -9 of stores, buses and the journal of a running campus under load, through the API.

`OPENCRATE_CRASH_SECONDS=600` makes a long run of it (`make crash`), `OPENCRATE_CRASH_SEED=7` another one; how
many of what there were is printed (`pytest -s`).
"""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest

from actors.discovery.models import FoundDevice, FoundPoint
from actors.discovery.store import DiscoveryStore
from actors.fdd.models import NewBinding, NewRule
from actors.fdd.store import FddStore
from actors.node.models import Node, NodeCapabilities, NodeType
from api.settings import SETTINGS
from api.stores import CAMPUS_STORES, SITE_STORES
from tests.api import bodies
from tests.cluster.system import System, environment, until
from tests.crash.cases import CASES
from tests.crash.rooms import Caller, Tally, rooms

SECONDS = float(os.environ.get("OPENCRATE_CRASH_SECONDS", "30"))
SEED = int(os.environ.get("OPENCRATE_CRASH_SEED", "1"))
WORKERS = 3
ALARMS = 8

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420 + 2 * SECONDS)]


def fill(folder: Path) -> None:
    """Leave what only scans and engines make: devices that were found, and faults."""
    discovery = DiscoveryStore(folder)
    for number in range(60):
        point = FoundPoint(point_key="analog-input-1", kind="analog-input", value=1.0)
        discovery.found(
            FoundDevice(
                network_id="ip",
                protocol="bacnet",
                device_key=f"crash-{number}",
                address=f"10.0.0.{number}",
                points=[point],
            )
        )
    discovery.close()
    fdd = FddStore(folder)
    rule = fdd.create_rule(
        NewRule.model_validate({"name": "seed", "condition": {"kind": "threshold", "high": 1.0}})
    )
    for number in range(40):
        node = Node(
            id=f"crash-{number}/p",
            node_type=NodeType.POINT,
            dis="P",
            capabilities=NodeCapabilities(readable=True),
        )
        fdd.bind(rule.id, NewBinding(node_id=node.id, points={"value": node.id}), [node])
        fdd.raise_fault(rule.id, node.id)
    fdd.close()


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    data = tmp_path / "data"
    fill(data / "north")
    running = System(data, "--demo").wait_up()
    try:
        running.setup()
        yield running
    finally:
        running.stop()


class Killer:
    """Kill one or two of the processes again and again, each after a random while."""

    def __init__(self, system: System, chance: random.Random) -> None:
        self.system, self.chance = system, chance
        self.killed: Counter[str] = Counter()
        self.done = threading.Event()
        self.next = ""
        """Whose turn it is: the workers mind it, so that it dies over its work."""
        self._pids: set[int] = set()
        self._queue: list[str] = []

    def run(self) -> None:
        with httpx.Client(base_url=self.system.http.base_url, timeout=20) as http:
            while not self.done.is_set():
                there = self._there(http)
                if not self._queue:
                    self._queue = [name for name in there if name.partition("@")[0] in {*CASES, "bus"}]
                    self.chance.shuffle(self._queue)
                self.next = self._queue.pop()
                self.done.wait(self.chance.uniform(0.3, 1.5))
                self._kill(self.next, there)
                if self.chance.random() < 0.25:
                    # Whoever takes the events, or the audit entry, dies with it.
                    self._kill(self.chance.choice(("audit@campus", "bus@north", "journal@north")), there)

    def _there(self, http: httpx.Client) -> dict[str, int]:
        answer = http.get("/api/system/health")
        return {each["name"]: each["pid"] for each in answer.json()["components"] if each["pid"]}

    def _kill(self, name: str, there: dict[str, int]) -> None:
        pid = there.get(name)
        if pid is not None and pid not in self._pids and pid != self.system.process.pid:
            os.kill(pid, signal.SIGKILL)
            self._pids.add(pid)
            self.killed[name] += 1


def numbers(system: System) -> list[dict[str, Any]]:
    return [each for each in system.points() if isinstance(each["value"], float) and "/" in each["id"]]


def raised(system: System, points: list[str]) -> list[int]:
    """Raise alarms that stay, and give their ids."""
    for point in points:
        condition = {"kind": "limit", "high": -1e6}
        system.post("/api/alarms/configs", {"node_id": point, "severity": "low", "condition": condition})

    def there() -> list[int]:
        found = system.get("/api/alarms", limit=1000)["items"]
        return [each["id"] for each in found if each["node_id"] in points and each["severity"] == "low"]

    until(lambda: len(there()) >= len(points), 60, "the alarms are raised")
    return there()


def work(system: System, mine: list[Any], tally: Tally, killer: Killer, chance: random.Random) -> int:
    """Do random operations, most of them on the store that is to be killed; give how many steps."""
    end = time.monotonic() + SECONDS
    with httpx.Client(base_url=system.http.base_url, headers=system.http.headers, timeout=20) as http:
        call = Caller(http, tally)
        steps = 0
        while time.monotonic() < end:
            threatened = [room for room in mine if room.store == killer.next]
            room = chance.choice(threatened if threatened and chance.random() < 0.8 else mine)
            room.step(call, chance)
            steps += 1
    return steps


def settled(system: System) -> None:
    def fine() -> bool:
        answer = system.http.get("/api/system/health")
        components = answer.json()["components"]
        return all(
            each["state"] in {"healthy", "degraded"} and each["pid"]
            for each in components
            if "@" in each["name"]
        )

    until(fine, 90, "all components are back")


def version_in_file(path: Path) -> int:
    """Read the configuration's version beside the store that writes it."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(connection.execute("SELECT version FROM config_version").fetchall()[0][0])
    finally:
        connection.close()


def watched(system: System) -> Iterator[tuple[str, str, Path]]:
    """Give the stores that have a watch cell: scope, cell, file."""
    site = {name: plain for name, plain in SITE_STORES.items() if plain.watched} | {
        "alarms": CASES["alarms"].plain
    }
    for name in site:
        yield "north", name, system.data / "north" / f"{name}.db"
    for name, plain in CAMPUS_STORES.items():
        if plain.watched:
            yield "campus", name, system.data / "campus" / f"{name}.db"


def cells(system: System) -> dict[tuple[str, str], int]:
    return {
        (each["site"], cell): version
        for each in system.get("/api/system/bus")["items"]
        for cell, version in each["watches"].items()
    }


def check_cells(system: System) -> int:
    """A cell never shows another version than the file's, and moves with the next change."""
    files = {(scope, name): path for scope, name, path in watched(system)}
    shown = cells(system)
    for key, path in files.items():
        if key in shown:  # a bus that was killed knows a cell from the next change on
            assert shown[key] == version_in_file(path), f"the watch cell of {key}"
    mark = f"last {time.monotonic()}"
    system.post("/api/notifications/recipients", bodies.RECIPIENT | {"name": mark})
    system.post("/api/mqtt/brokers", bodies.BROKER | {"name": mark, "client_id": None})
    system.post("/api/webhooks", bodies.ENDPOINT | {"name": mark})
    system.post("/api/export/targets", bodies.TARGET | {"name": mark})
    system.post("/api/reports", bodies.REPORT | {"name": mark})
    system.post("/api/schedules", bodies.SCHEDULE | {"name": mark})
    system.post("/api/fdd/rules", bodies.FDD_RULE | {"name": mark})
    block = {"kind": "constant", "id": "c", "value": 1.0}
    system.post("/api/programs", {"name": mark, "blocks": [block], "enabled": False})
    stale = {"node_id": system.points()[0]["id"], "condition": {"kind": "stale"}, "enabled": False}
    system.post("/api/alarms/configs", stale)
    for key, path in files.items():
        until(
            lambda key=key, path=path: cells(system).get(key) == version_in_file(path),
            10,
            f"the watch cell of {key} shows the newest version",
        )
    return len(files)


def check_audit(call: Caller, tallies: list[Tally]) -> tuple[int, int]:
    """Every change that was answered has its entry, and what was done without an answer has one too."""

    def logged() -> Counter[tuple[str, str]]:
        return Counter((each["action"], each["target"]) for each in call.everything("/api/audit"))

    wanted = sum((tally.audited for tally in tallies), Counter())
    unsure = [each for tally in tallies for each in tally.unsure]

    def missing() -> list[Any]:
        there = logged()
        lost: list[Any] = [(key, count, there[key]) for key, count in wanted.items() if there[key] < count]
        for action, target, request in unsure:
            if not there[action, target] and not there["unanswered", request]:
                lost.append((action, target, request))
        return lost

    until(lambda: not missing(), 15, "what waited for the audit log is there")
    assert missing() == []
    assert call.sure("/api/audit/verify").json()["ok"]
    return sum(wanted.values()), len(unsure)


def check_journal(call: Caller, begun: int, tallies: list[Tally]) -> int:
    """Numbers have no holes, and each change that was answered has its events."""
    wanted = sum((tally.events for tally in tallies), Counter())

    def journaled() -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        after = begun
        while True:
            batch = call.sure(f"/api/events/after/{after}", limit=1000).json()
            events += batch["events"]
            if batch["after"] == after or not batch["events"]:
                return events
            after = batch["after"]

    def missing() -> list[Any]:
        found = Counter(
            (each["type"], str(each.get("entity_id") or each.get("alarm_id"))) for each in journaled()
        )
        return [(key, count, found[key]) for key, count in wanted.items() if found[key] < count]

    until(lambda: not missing(), 30, "all events are journaled")
    assert missing() == []
    seqs = [each["seq"] for each in journaled()]
    assert seqs == list(range(begun + 1, begun + 1 + len(seqs))), "a hole in the journal's numbers"
    return len(seqs)


class Inside:
    """Engines' work on the same stores, by a driver of its own on the product's Ray."""

    def __init__(self, system: System) -> None:
        asked = re.compile(r"--gcs-address=([\d.:]+)")
        lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid, _ in system.family()]
        address = next(found[1] for line in lines if (found := asked.search(line)))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.inside", address],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment() | SETTINGS | {"RAY_AUTH_TOKEN_PATH": str(system.data / "ray-token")},
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, f"the engines' work ended with {self.process.wait()}"
        return line

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def check(self) -> dict[str, int]:
        """Let it compare, and give what it did."""
        self.tell("check")
        found: dict[str, int] = json.loads(self._line())
        assert self.process.wait(30) == 0
        return found

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def check_files(data: Path) -> int:
    """Every file is sound, and no event waits for the journal in a store's outbox."""
    paths = sorted(path for scope in ("north", "campus") for path in (data / scope).glob("*.db"))
    for path in paths:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], path
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == [], path
        connection.close()
    assert not list(data.glob("*/*.damaged-*"))
    return len(paths)


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def test_what_was_acknowledged_is_there_whatever_is_killed(
    system: System, stack: contextlib.ExitStack
) -> None:
    until(lambda: len(numbers(system)) >= 100, 90, "the building has values")
    found = numbers(system)
    ids = [each["id"] for each in found]
    writable = [each["id"] for each in found if each["writable"] and each["dis"].endswith("Zone Setpoint")]
    devices = sorted({each.partition("/")[0] for each in ids})
    system.post("/api/notifications/recipients", bodies.RECIPIENT | {"name": "keeper"})
    alarms = raised(system, ids[-ALARMS:])
    system.post("/api/events/subscriptions", {"name": "crash"})
    begun = system.get("/api/events/subscriptions")["items"][-1]["acknowledged"]
    chance = random.Random(SEED)
    every = rooms(ids, writable, devices, list(alarms))
    chance.shuffle(every)
    tallies = [Tally() for _ in range(WORKERS)]
    killer = Killer(system, random.Random(SEED + 1))
    inside = stack.enter_context(contextlib.closing(Inside(system)))
    with ThreadPoolExecutor(WORKERS + 1) as pool:
        killing = pool.submit(killer.run)
        working = [
            pool.submit(
                work,
                system,
                every[number::WORKERS],
                tallies[number],
                killer,
                random.Random(SEED + 10 + number),
            )
            for number in range(WORKERS)
        ]
        try:
            steps = sum(each.result() for each in working)
        finally:
            killer.done.set()
        killing.result()
    inside.tell("stop")
    settled(system)
    engines = inside.check()
    total = {
        name: sum((getattr(each, name) for each in tallies), Counter())
        for name in ("acknowledged", "refused", "in_doubt", "found_done")
    }
    call = Caller(system.http, Tally())
    records = sum(room.check(call) for room in every)
    audited, unsure = check_audit(call, tallies)
    events = check_journal(call, begun, tallies)
    watches = check_cells(system)
    assert system.stop() == 0, system.log.read_text()
    files = check_files(system.data)
    print(
        f"\n{steps} steps,"
        f" {sum(killer.killed.values())} kills of {len(killer.killed)} processes:"
        f" {dict(sorted(killer.killed.items()))}"
        f"\n{sum(total['acknowledged'].values())} changes acknowledged,"
        f" {sum(total['refused'].values())} refused,"
        f" {sum(total['in_doubt'].values())} in doubt, of which {sum(total['found_done'].values())} were done"
        f"\n{records} records compared,"
        f" {audited} audit entries of acknowledged changes and {unsure} of others,"
        f" {events} events without a hole, {watches} watch cells, {files} files sound"
    )
    print(
        f"engines: {engines['calls']} calls of {engines['kinds']} kinds, {engines['again']} done again;"
        f" {engines['followed']} events followed, {engines['twice']} of them twice;"
        f" {engines['cells']} cells followed"
    )
    for name, counted in total.items():
        print(f"{name}: {dict(sorted(counted.items()))}")
    assert sum(total["acknowledged"].values()) > SECONDS
    assert killer.killed
