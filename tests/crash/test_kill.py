"""Kill -9 at random moments under load: what was acknowledged is there, and nothing else.

`OPENCRATE_CRASH_KILLS=50` makes a long run of it; how many of what there were is printed (`pytest -s`).
"""

import contextlib
import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest

from api.stores import CAMPUS_STORES, SITE_STORES
from tests.crash.cases import CASES
from tests.crash.worker import Outbox, deletes, main

KILLS = int(os.environ.get("OPENCRATE_CRASH_KILLS", "3"))
FORKS = multiprocessing.get_context("forkserver")
"""A process that has imported all stores once: a worker of its own interpreter takes seconds to begin."""
FORKS.set_forkserver_preload(["pytest", "tests.crash.worker"])


def test_every_store_is_killed() -> None:
    assert set(CASES) >= set(SITE_STORES) | set(CAMPUS_STORES), "a store without a case"


def run_until_killed(name: str, folder: Path, first: int, seconds: float) -> list[int]:
    """Let the worker run from operation `first` for some seconds, kill it, give what it acknowledged."""
    hear, say = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=main, args=(name, str(folder), first, say))
    process.start()
    say.close()
    assert hear.recv() == -1
    # A busy machine may take longer for the first operation than the whole run should.
    said: list[int] = [hear.recv()]
    # The pipe holds little: what isn't heard meanwhile would stop the worker.
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if hear.poll(left):
            said.append(hear.recv())
    assert process.is_alive()
    process.kill()
    # The last message may be cut in the middle: it was sent after the commit, but not wholly.
    with contextlib.suppress(EOFError, OSError):
        while True:
            said.append(hear.recv())
    process.join()
    process.close()
    hear.close()
    return said


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
