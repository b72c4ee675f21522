"""Kill -9 at random moments under load: what was acknowledged is there, and nothing else.

`OPENCRATE_CRASH_KILLS=50` makes a long run of it; how many of what there were is printed (`pytest -s`).
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api.stores import CAMPUS_STORES, SITE_STORES
from tests.crash.cases import CASES
from tests.crash.worker import Outbox, deletes

KILLS = int(os.environ.get("OPENCRATE_CRASH_KILLS", "3"))
ROOT = Path(__file__).parents[2]


def test_every_store_is_killed() -> None:
    assert set(CASES) >= set(SITE_STORES) | set(CAMPUS_STORES), "a store without a case"


def run_until_killed(name: str, folder: Path, first: int, seconds: float) -> list[int]:
    """Let the worker run from operation `first` for some seconds, kill it, give what it acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.worker", name, str(folder), str(first)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    begun = process.stdout.readline()
    assert begun == "ready\n", process.stderr.read()
    # A busy machine may take longer for the first operation than the whole run should.
    said = process.stdout.readline()
    time.sleep(seconds)
    assert process.poll() is None, process.stderr.read()
    process.kill()
    said += process.stdout.read()
    process.stdout.close()
    process.stderr.close()
    process.wait()
    # The last line may be cut in the middle: it was printed after the commit, but not wholly.
    return [int(line) for line in said.split("\n")[:-1]]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(CASES))
def test_what_was_acknowledged_is_there_after_kill_9(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    chance = random.Random(name)
    expected: set[int] = set()
    made: set[int] = set()
    first = operations = in_flight_found = in_flight_lost = 0
    for _ in range(KILLS):
        acknowledged = run_until_killed(name, tmp_path, first, chance.uniform(0.05, 0.6))
        for number in acknowledged:
            gone = deletes(number) if case.drop else None
            if gone is None:
                expected.add(number)
                made.add(number)
            else:
                expected.discard(gone)
        operations += len(acknowledged)
        # One operation was in flight: it may have been committed or not, wholly.
        flying = (acknowledged[-1] if acknowledged else first - 1) + 1
        store = case.plain(tmp_path, Outbox())
        try:
            found = case.found(store)
            gone = deletes(flying) if case.drop else None
            if gone is None:
                done = flying in found
                assert found - {flying} == expected
                if done:
                    expected.add(flying)
                    made.add(flying)
            else:
                done = gone in expected and gone not in found
                assert found | {gone} == expected | {gone}
                assert gone in expected or gone not in found
                if done:
                    expected.discard(gone)
            in_flight_found += done
            in_flight_lost += not done
            assert store.one("PRAGMA integrity_check") == {"integrity_check": "ok"}
            if case.event is not None:
                rows = store.all("SELECT count(*) AS n FROM event_outbox WHERE type = ?", case.event)
                assert rows[0]["n"] == len(made), "each committed change has its event, and no other has"
        finally:
            store.close()
        first = flying + 1
    print(
        f"\n{name}: {operations} acknowledged, {KILLS} kills, {len(expected)} there,"
        f" in flight {in_flight_found} found and {in_flight_lost} not"
    )
    assert operations > 0
    assert expected or case.drop
