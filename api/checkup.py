"""The doctor's look at every host of a campus, by way of Ray: clocks, disks, versions, ports."""

import contextlib
import logging
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import RayError

from actors.core.clock import now_ms
from actors.core.host import HostFacts, clock_skew
from actors.core.names import CAMPUS, NAMESPACE, actor_name
from api.cluster import use_token
from api.findings import Finding, judge_certificate, judge_clock, judge_disk, judge_files
from api.hosts import Node, ray_nodes
from api.raynode import Head, NodeError, check_version, own_address, version, version_of_head

PATIENCE: Final = 6.0
"""Seconds within which a host answers: one that is away fails after about 5 s."""
KNOCK: Final = 2.0


@dataclass(frozen=True)
class Reading:
    """What a site's host answered, or why not."""

    site: str
    facts: HostFacts | None
    reason: str = ""
    ahead: int = 0
    """How far its clock is ahead of ours (ms), known to within `slack`."""
    slack: int = 0


def check_entry(data: Path, head: Head) -> Finding:
    """Check that the head would have this host: its token, and its version of OpenCrate."""
    if not use_token(data):
        return Finding("fail", f"without a token the head at {head} has nobody", "copy the head's ray-token")
    try:
        heads = version_of_head(head)
        check_version(version(), heads)
    except NodeError as error:
        return Finding(
            "fail", f"the head at {head} won't have this host: {error}", "mend that, then restart it"
        )
    return Finding("ok", f"the head at {head} takes this host's token, and its version {version()}")


def check_hosts(data: Path, head: Head) -> Iterator[Finding]:
    """Ask each host of the campus that this host is a part of, and judge what it answers."""
    try:
        with _connected(data, head):
            readings = read(_sites())
            nodes = [each for each in ray_nodes() if each.alive]
    except (RayError, NodeError, OSError, RuntimeError, ValueError) as error:
        told = (str(error) or type(error).__name__).splitlines()[0]
        yield Finding(
            "fail", f"Ray at {head} lets nobody in from here: {told}", "see logs/ray.log; same token?"
        )
        return
    mine = next((each.facts for each in readings if each.site == CAMPUS), None)
    for each in by_host(readings):
        yield from judge(each, None if mine is None else mine.opencrate)
    for node in nodes:
        yield from check_ports(node)


@contextlib.contextmanager
def _connected(data: Path, head: Head) -> Iterator[None]:
    use_token(data)
    ray.init(
        address=str(head),
        namespace=NAMESPACE,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address=own_address(head),
    )
    try:
        yield
    finally:
        ray.shutdown()


def _sites() -> list[str]:
    """Name the campus and the sites that Ray knows, those that are away too."""
    names = [each["name"] for each in ray.util.list_named_actors(all_namespaces=True)]
    scopes = {scope for kind, _, scope in (each.partition("@") for each in names) if kind == "backups"}
    return sorted(scopes, key=lambda each: (each != CAMPUS, each))


def read(sites: Iterable[str]) -> list[Reading]:
    """Ask an actor of each site for what its host is like, all at once."""
    asked: dict[Any, tuple[str, int]] = {}
    found: list[Reading] = []
    for site in sites:
        try:
            handle = ray.get_actor(actor_name("backups", site), namespace=NAMESPACE)
        except ValueError as error:
            found.append(Reading(site, None, str(error)))
            continue
        asked[handle.facts.remote()] = (site, now_ms())
    while asked:
        done, _ = ray.wait(list(asked), timeout=PATIENCE)
        came = now_ms()
        if not done:
            break
        site, at = asked.pop(done[0])
        try:
            facts: HostFacts = ray.get(done[0])
        except RayError as error:
            found.append(Reading(site, None, type(error).__name__))
            continue
        ahead, slack = clock_skew(facts.time, at, came)
        found.append(Reading(site, facts, "", ahead, slack))
    found += [Reading(site, None, f"no answer within {PATIENCE:g} s") for site, _ in asked.values()]
    return sorted(found, key=lambda each: (each.site != CAMPUS, each.site))


def by_host(readings: Iterable[Reading]) -> list[Reading]:
    """Put sites on one host together: `site` then names them all."""
    found: dict[str, Reading] = {}
    for each in readings:
        host = each.site if each.facts is None else each.facts.host
        before = found.get(host)
        found[host] = each if before is None else replace(before, site=f"{before.site}, {each.site}")
    return list(found.values())


def judge(reading: Reading, heads: str | None) -> Iterator[Finding]:
    """Judge what one host answered; `heads` is the head's version of OpenCrate, where it is known.

    A host that is well takes one line.
    """
    facts = reading.facts
    if facts is None:
        yield Finding(
            "fail",
            f"{reading.site}: its host does not answer ({reading.reason})",
            "look at link and power there; run opencrate doctor there",
        )
        return
    name = f"host {facts.host} ({reading.site})"
    found = list(_judged(reading, facts, heads))
    well = [each.what for each in found if each.state == "ok"]
    if well:
        yield Finding("ok", f"{name}: {'; '.join(well)}")
    for each in found:
        if each.state != "ok":
            yield Finding(each.state, f"{name}: {each.what}", each.do)


def _judged(reading: Reading, facts: HostFacts, heads: str | None) -> Iterator[Finding]:
    yield judge_clock(reading.ahead / 1000, 0.1 + reading.slack / 1000, "this host's")
    yield judge_disk(facts.folder, facts.free)
    yield judge_files(facts.open_files)
    told = f"OpenCrate {facts.opencrate}, Python {facts.python}, Ray {facts.ray}"
    try:
        if heads is not None:
            check_version(facts.opencrate, heads)
        yield Finding("ok", told)
    except NodeError as error:
        yield Finding("fail", f"{told}: {error}", "upgrade the buildings first, one by one, then the head")
    if facts.certificate_until is not None:
        yield judge_certificate((facts.certificate_until - now_ms()) / 1000)


def check_ports(node: Node) -> Iterator[Finding]:
    """Check that what a host's Ray offers to other hosts and to Prometheus can be reached from here."""
    reached = []
    for port, what in ((node.port, "Ray"), (node.metrics_port, "metrics")):
        if port is None:
            continue
        try:
            socket.create_connection((node.address, port), KNOCK).close()
            reached.append(f"{port} ({what})")
        except OSError as error:
            yield Finding(
                "fail",
                f"host {node.name}: {node.address}:{port} ({what}): {error.strerror or error}",
                "start it, or let the firewall pass between the hosts",
            )
    if reached:
        yield Finding("ok", f"host {node.name}: {node.address} can be reached at {' and '.join(reached)}")
