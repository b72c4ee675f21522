"""Which points are served on a network, kept as they are."""

import asyncio
import logging
import math
import time
from typing import Any, Final

from actors.node.models import Node, NodeType
from bridges.bacnet.network import Network
from bridges.bacnet.server import Served
from bridges.config import BacnetNetwork, ServedAs
from bridges.outbox import FaultLog

log = logging.getLogger(__name__)

SHARE: Final = 1.0
"""Seconds between two looks at the points that are served to others."""
CHOOSE: Final = 60.0
"""Seconds after which it is looked up again which points these are."""
CALL_TIMEOUT: Final = 10.0


class Sharing:
    """Show the points that are served as they are."""

    def __init__(self, nodes: Any, points: Any, faults: FaultLog) -> None:
        """Take the handles of the stores."""
        self._nodes, self._points, self._faults = nodes, points, faults

    async def follow(self, network: Network) -> None:
        """Show the points that are served on a network as they are, until cancelled."""
        looked, served, nodes = -math.inf, list[Served](), dict[str, Node]()
        while True:
            try:
                if time.monotonic() - looked >= CHOOSE:
                    served, nodes = await self._chosen(network.config)
                    looked = time.monotonic()
                async with asyncio.timeout(CALL_TIMEOUT):
                    rows = await self._points.snapshot.remote(list(nodes))
                await network.server.step(served, nodes, rows)
            except Exception as error:
                # Whatever a dead or restarting store raises: what is served keeps its last value.
                reason = f"{type(error).__name__}: {error}"[:200]
                self._faults.tell(network.config.id, "serving points", reason)
            await asyncio.sleep(SHARE)

    async def _chosen(self, config: BacnetNetwork) -> tuple[list[Served], dict[str, Node]]:
        """Give the points that are to be served, each once, with their nodes."""
        found: dict[str, Served] = {}
        nodes: dict[str, Node] = {}
        for each in config.serve:
            asked = each.point if isinstance(each, ServedAs) else each
            async with asyncio.timeout(CALL_TIMEOUT):
                those: list[Node] = (
                    await self._tagged(asked[1:])
                    if asked.startswith("#")
                    else await self._nodes.get_many.remote([asked])
                )
            if not those:
                self._faults.tell(config.id, f"serve {asked}", "there is no such point")
            for node in those:
                if node.node_type in (NodeType.POINT, NodeType.VIRTUAL_POINT) and node.id not in found:
                    wanted = each.object if isinstance(each, ServedAs) else None
                    found[node.id], nodes[node.id] = Served(node.id, wanted), node
        return list(found.values()), nodes

    async def _tagged(self, tag: str) -> list[Node]:
        found: list[Node] = []
        cursor: str | None = None
        while True:
            part, cursor = await self._nodes.find.remote(None, [tag], None, None, 1000, cursor)
            found += part
            if cursor is None:
                return found
