"""What a command that was killed leaves: Ray's processes and folder, named in a note in the data folder."""

import json
import logging
import shutil
from pathlib import Path

from api.processes import descendants, end

log = logging.getLogger(__name__)

RUNNING = "ray-running.json"
"""Names the processes and the folder of the Ray node started here, for whoever comes after a kill."""
ALONE = "ray-alone.json"
"""The same of a Ray cluster on loopback; a building's host has both for the moment between them."""

TEMP_PREFIX = "opencrate-"


def clear(data: Path, *notes: str) -> None:
    """End what a killed run left: Ray's agents outlive it, waiting for a head that is gone.

    The caller owns the data folder, so what the notes name belongs to nobody any more. A note that can't
    be read is no reason not to start.
    """
    for each in notes:
        _clear(data / each)


def _clear(note: Path) -> None:
    try:
        said = json.loads(note.read_text())
        left = {(int(pid), int(start)) for pid, start in said["processes"]}
        temp = Path(said["temp"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if ended := end(left):
        log.warning("ended %d processes of a run that was killed", len(ended))
    if temp.name.startswith(TEMP_PREFIX):
        shutil.rmtree(temp, ignore_errors=True)


def note(path: Path, temp: Path, parent: int, head: str | None = None) -> None:
    """Write down what descends from `parent` and Ray's folder, for `clear` after a kill, and the head."""
    said = {"temp": str(temp), "processes": sorted(descendants(parent)), "head": head}
    path.write_text(json.dumps(said))
