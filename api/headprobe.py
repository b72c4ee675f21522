"""Asking a head who it is, from a process of its own: before a host gives anything up to join it.

`python -m api.headprobe 10.0.0.1:6379` writes the labels of the head's Ray node as JSON.
"""

import json
import subprocess
import sys
import time
from typing import Final

PATIENCE: Final = 20.0
"""Seconds that the question may take."""
RISES: Final = 8.0
"""Seconds of that which a head that has just started is given until it knows itself."""
REFUSED: Final = "InvalidAuthToken"


class ProbeError(Exception):
    """The head did not say who it is; the text says why."""


def labels_of_head(address: str, role_label: str) -> dict[str, str]:
    """Give the labels of the head's Ray node at `address:port`. Raises ProbeError."""
    command = [sys.executable, "-m", "api.headprobe", address, role_label]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise ProbeError(f"it did not say who it is within {PATIENCE:g} s") from error
    if REFUSED in done.stderr:
        raise ProbeError(
            "it refuses this host's token: copy ray-token of the head's data folder to this one's"
        )
    if done.returncode:
        raise ProbeError(done.stderr.strip().splitlines()[-1][:300] if done.stderr.strip() else "no answer")
    found: dict[str, str] = json.loads(done.stdout)
    return found


def main() -> None:
    """Ask, and print."""
    # Ray's own client of its head: it needs no Ray node on this host. Not in the caller's process, which may
    # be a part of another Ray cluster, and because it can't be told to give up soon.
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # noqa: PLC0415

    address, role_label = sys.argv[1:]
    client = GcsClient(address=address)
    until = time.monotonic() + RISES
    while True:
        nodes = client.get_all_node_info(timeout=PATIENCE / 2)
        alive = [dict(each.labels) for each in nodes.values() if each.state == 0]
        found = next((each for each in alive if each.get(role_label) == "head"), {})
        # One that has just started answers before its own node is known.
        if found or time.monotonic() > until:
            break
        time.sleep(0.2)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
