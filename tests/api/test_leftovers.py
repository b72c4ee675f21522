"""What a killed command left is ended before anybody waits for it."""

import json
import subprocess
import sys
from pathlib import Path

from api.foreground import own
from api.leftovers import ALONE, RUNNING, clear
from api.processes import process

HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


def test_the_actors_that_a_killed_command_left_let_go_of_its_files(tmp_path: Path) -> None:
    lock = tmp_path / "north" / "history.lock"
    lock.parent.mkdir()
    left = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True)
    assert left.stdout is not None
    left.stdout.readline()
    temp = tmp_path / "opencrate-1"
    temp.mkdir()
    said = {"temp": str(temp), "processes": [process(left.pid)], "head": None}
    (tmp_path / RUNNING).write_text(json.dumps(said))
    with own(tmp_path):
        assert left.wait(10) < 0
    left.stdout.close()
    assert not temp.exists()


def test_only_the_process_that_was_noted_is_ended(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    found = process(other.pid)
    assert found is not None
    later = {"temp": str(tmp_path / "elsewhere"), "processes": [[found[0], found[1] - 1]]}
    (tmp_path / ALONE).write_text(json.dumps(later))
    (tmp_path / RUNNING).write_text("{ not json")
    clear(tmp_path, RUNNING, ALONE)
    assert other.poll() is None
    other.kill()
    other.wait()
