"""A durable subscriber at the head, as a program: `python -m tests.cluster.follower HEAD ADDRESS NAME`.

It follows the journals of all sites that join, and writes an event a line (JSON) to its output.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import ray

from actors.core.names import NAMESPACE
from api.deps import Campus
from api.federation import Federation
from api.following import follow_campus_durably

TYPES = ("alarm_raised", "alarm_cleared")


async def main(name: str, folder: Path) -> None:
    campus = Campus(name="", version="", sites={}, users=None, audit=None, bus=None)
    federation = Federation(campus, {}, folder / "sites.json")
    federation.start()
    async for _, delivery in follow_campus_durably(campus, name, TYPES, after=0):
        for event in delivery.events:
            print(event.model_dump_json(), flush=True)


if __name__ == "__main__":
    head, address, subscriber = sys.argv[1:]
    ray.init(address=head, namespace=NAMESPACE, log_to_driver=False, _node_ip_address=address)
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(main(subscriber, Path(scratch)))
