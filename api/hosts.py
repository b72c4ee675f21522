"""The hosts of the campus: what Ray knows of its nodes, joined with what is known of the sites."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

import ray
from pydantic import BaseModel
from ray.exceptions import RayError

from actors.core.clock import Timestamp
from api.deps import Campus, SiteActors
from api.raynode import ROLE_LABEL, VERSION_LABEL, sites_of

log = logging.getLogger(__name__)

PATIENCE: Final = 2.5
"""Seconds that Ray's head may take to list its nodes."""

Role = Literal["head", "building", "other"]


@dataclass(frozen=True)
class Node:
    """One Ray node. A host that came back is another node; Ray goes on listing the one before."""

    id: str
    name: str
    address: str
    alive: bool
    """As Ray's head knows it, which believes in a host that was cut off for 50 minutes."""
    role: Role
    version: str | None
    sites: tuple[str, ...]
    metrics_port: int | None = None
    port: int | None = None
    """Where the other hosts' Ray reaches it."""


Nodes = Callable[[], list[Node]]


def ray_nodes() -> list[Node]:
    """List Ray's nodes, the dead ones too; may wait for Ray's head. Without labels, our own is the head."""
    own = ray.get_runtime_context().get_node_id()
    found = []
    for each in ray.nodes():  # type: ignore[no-untyped-call]
        labels: dict[str, str] = each["Labels"]
        role: Role = "head" if each["NodeID"] == own else "other"
        if labels.get(ROLE_LABEL) in {"head", "building"}:
            role = "head" if labels[ROLE_LABEL] == "head" else "building"
        found.append(
            Node(
                id=each["NodeID"],
                name=each["NodeManagerHostname"],
                address=each["NodeManagerAddress"],
                alive=each["Alive"],
                role=role,
                version=labels.get(VERSION_LABEL),
                sites=tuple(sites_of(labels)),
                metrics_port=each.get("MetricsExportPort") or None,
                port=each.get("NodeManagerPort") or None,
            )
        )
    return found


class Host(BaseModel):
    """A machine of the campus."""

    name: str
    address: str | None
    role: Role
    sites: list[str]
    version: str | None
    reachable: bool
    """Whether the head hears one of its sites now."""
    reason: str | None = None
    """Why it can't be reached."""
    last_contact: Timestamp | None
    clock_skew_s: float | None = None
    """How far its clock is ahead of the head's (s; negative: behind); None where it was never asked."""
    ray_alive: bool
    """Whether Ray counts its node as alive; a host that was cut off counts for 50 minutes more."""
    metrics_port: int | None = None


async def hosts(campus: Campus, nodes: Nodes, now: int) -> list[Host]:
    """Give the head, the host of each site, and what else is in Ray's cluster.

    A host whose Ray isn't known, such as one that has not come back since the head lost its files, is named
    by the sites that it raised. Where Ray doesn't answer, all are given as the sites tell them.
    """
    try:
        known = await asyncio.wait_for(asyncio.to_thread(nodes), PATIENCE)
    except (TimeoutError, RayError, OSError) as error:
        log.warning("Ray doesn't tell which hosts there are: %s", str(error) or type(error).__name__)
        known = []
    own = {each.id for each in campus.sites.values() if each.away is None and each.last_contact is None}
    found: list[Host] = []
    for same in _by_place(known).values():
        last = next((each for each in reversed(same) if each.alive), same[-1])
        ids = {each for node in same if node.alive or node is last for each in node.sites}
        if last.role == "head":
            ids |= own
        if last.alive or any(campus.sites[each].host == last.name for each in ids & campus.sites.keys()):
            # Of one that left for good, whose sites another host raises, nobody waits to hear.
            found.append(_host(campus, last, ids, known, now))
    if not any(each.role == "head" for each in found):
        found.append(_unknown(campus, socket.gethostname(), sorted(own), now))
    placed = {site for each in found for site in each.sites}
    for of in campus.sites.values():
        if of.id not in placed and of.host is not None:
            before = next((each for each in found if each.name == of.host and each.role != "head"), None)
            if before is None:
                found.append(_unknown(campus, of.host, [of.id], now))
            else:
                before.sites = sorted({*before.sites, of.id})
    return sorted(found, key=host_key)


def host_key(host: Host) -> str:
    """Give a text in whose order hosts are listed: the head first."""
    return f"{host.role != 'head':d} {host.name} {host.address or ''}"


def _by_place(nodes: Iterable[Node]) -> dict[tuple[str, str], list[Node]]:
    found: dict[tuple[str, str], list[Node]] = {}
    for each in nodes:
        found.setdefault((each.name, each.address), []).append(each)
    return found


def _unknown(campus: Campus, name: str, sites: list[str], now: int) -> Host:
    """Give a host of which Ray tells nothing: the head, or the one of sites that are remembered."""
    is_head = all(campus.sites[each].host is None for each in sites)
    away = None if is_head else campus.sites[sites[0]].away
    return Host(
        name=name,
        address=None,
        role="head" if is_head else "building",
        sites=sites,
        version=campus.version if is_head else None,
        reachable=away is None,
        reason=away,
        last_contact=now if is_head else campus.sites[sites[0]].last_contact,
        clock_skew_s=0.0 if is_head else _skew([campus.sites[each] for each in sites]),
        ray_alive=False,
    )


def _skew(sites: Iterable[SiteActors]) -> float | None:
    """Give what the site that was heard last tells of its host's clock (s)."""
    told = [(each.last_contact or 0, each.clock_skew) for each in sites if each.clock_skew is not None]
    return round(max(told)[1] / 1000, 1) if told else None


def _host(campus: Campus, node: Node, carried: set[str], all_nodes: list[Node], now: int) -> Host:
    moved = {
        each
        for each in carried
        if each in campus.sites
        and any(
            other.name == campus.sites[each].host != node.name and other.alive and each in other.sites
            for other in all_nodes
        )
    }
    of: list[SiteActors] = [campus.sites[each] for each in sorted(carried - moved) if each in campus.sites]
    reachable, reason, last = node.alive, None if node.alive else "Ray counts its node as dead", None
    if node.role == "head":
        reachable, reason, last = True, None, now
    elif of:
        reachable = any(each.away is None for each in of)
        reason = None if reachable else of[0].away
        last = max((each.last_contact for each in of if each.last_contact is not None), default=None)
    elif moved:
        reachable, reason = False, f"{', '.join(sorted(moved))} runs on another host now"
    return Host(
        name=node.name,
        address=node.address,
        role=node.role,
        sites=sorted(carried - moved),
        version=node.version or (campus.version if node.role == "head" else None),
        reachable=reachable,
        reason=reason,
        last_contact=last,
        clock_skew_s=0.0 if node.role == "head" else _skew(of),
        ray_alive=node.alive,
        metrics_port=node.metrics_port,
    )
