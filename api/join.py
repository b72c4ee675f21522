"""`opencrate join`: a building's host becomes a part of the campus and raises its own actors."""

import contextlib
import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import ActorDiedError, RayError
from rich.console import Console

from api.actors import configure_logging
from api.config import Campus, load
from api.fencing import fence
from api.foreground import Stop, UsageError, own, rising, simulated_building
from api.raising import Raiser, take_down
from api.raynode import Head, NodeError, RayNode, own_address, ray_says_it_to
from api.up import DEMO, version

log = logging.getLogger(__name__)

WATCH: Final = 2.0
"""Seconds between two looks at this host's Ray and actors."""
AGAIN: Final = 2.0
"""Seconds until the head is asked again."""


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    head: Head
    sites: Sequence[str]
    config: Path | None
    data: Path
    address: str | None
    demo: bool
    metrics_port: int | None


def read_sites(options: Options) -> Campus:
    """Read the configuration of the sites that this host raises. Raises UsageError and ConfigFileError."""
    if options.demo:
        if len(options.sites) != 1:
            raise UsageError("--demo simulates one building: name one --site")
        found = load(DEMO)
        site = found.config.sites[0].model_copy(update={"id": options.sites[0], "dis": ""})
        config = found.config.model_copy(update={"sites": [site]})
        return Campus(config, found.profiles, found.path)
    path = options.config or Path("campus.yaml")
    if not path.exists():
        raise UsageError(f"there is no {path}; name the file that describes this building with --config")
    found = load(path)
    known = {site.id: site for site in found.config.sites}
    missing = [each for each in options.sites if each not in known]
    if missing:
        raise UsageError(f"{path} has no site {missing[0]!r}; it has {', '.join(known)}")
    sites = [known[each].model_copy(update={"joins": False}) for each in options.sites]
    return Campus(found.config.model_copy(update={"sites": sites}), found.profiles, path)


class _Waiting:
    """What runs until it is told to end."""

    should_exit = False


class Building:
    """Keep this host's sites running as a part of the campus, until a signal.

    The head may go and come: Ray on this host and its actors go on meanwhile. When Ray on this host ends
    (the head lost what it knew of its hosts, or somebody killed it) it is started again and the actors are
    raised from their files.
    """

    def __init__(self, options: Options, campus: Campus, console: Console, stop: Stop) -> None:
        """Take what to raise."""
        self._options, self._campus, self._console, self._stop = options, campus, console, stop

    def run(self) -> None:
        """Stay until a signal. Raises OpenCrateError for what a user can mend."""
        waiting = _Waiting()
        while not waiting.should_exit:
            self._until_head_answers()
            try:
                self._live(waiting)
            except NodeError as error:
                if not self._options.head.answers():
                    log.warning("%s; the head is away", error)
                    continue
                raise
            finally:
                self._stop.server = None

    def _until_head_answers(self) -> None:
        said = False
        while not self._options.head.answers():
            if not said:
                self._console.print(f"Waiting for the head at {self._options.head} ...")
                said = True
            time.sleep(AGAIN)

    def _live(self, waiting: _Waiting) -> None:
        """Start Ray, raise the sites, watch them until a signal or until Ray ends; take all down."""
        options = self._options
        with rising(self._console) as told:
            node = RayNode(
                options.data,
                options.head,
                options.address or own_address(options.head),
                is_head=False,
                sites=[site.id for site in self._campus.config.sites],
                metrics_port=options.metrics_port,
            )
            raiser: Raiser | None = None
            try:
                self._stop.install()
                for site in self._campus.config.sites:
                    fence(site.id)
                raiser = Raiser(self._campus, options.data, version(), told, sites_only=True)
                raiser.raise_sites()
            except BaseException:
                take_down(raiser.order if raiser else [])
                node.close()
                raise
        try:
            sites = ", ".join(site.id for site in self._campus.config.sites)
            self._console.print(
                f"{sites} is up on {socket.gethostname()}, a part of the campus at {options.head}."
            )
            self._stop.server = waiting
            self._watch(node, raiser.order, waiting)
        finally:
            if node.ended is None:
                self._console.print("Stopping: bridges first, stores last ...")
                take_down(raiser.order)
            node.close()

    def _watch(self, node: RayNode, order: list[tuple[str, Any]], waiting: _Waiting) -> None:
        """Return on a signal or when Ray ended. Raises UsageError when another host took a site over."""
        looked = time.monotonic()
        while not waiting.should_exit:
            time.sleep(0.2)
            if time.monotonic() - looked < WATCH:
                continue
            looked = time.monotonic()
            if node.ended is not None:
                log.error("Ray on this host has ended: %s", node.ended)
                self._console.print(f"Ray on this host has ended ({node.ended}); starting again.")
                return
            lost = [name for name, handle in order if _is_gone(handle)]
            if lost:
                raise UsageError(f"{', '.join(lost)}: ended by another host that took over")


def _is_gone(handle: Any) -> bool:
    """Tell whether an actor is dead for ever: one that restarts, or that is slow, isn't."""
    try:
        ray.get(handle.health.remote(), timeout=WATCH)
    except ActorDiedError:
        return True
    except RayError:
        return False
    return False


def run(options: Options, console: Console) -> None:
    """Join, and stay until a signal. Raises OpenCrateError for what a user can mend."""
    campus = read_sites(options)
    with own(options.data), Stop() as stop:
        configure_logging(options.data / "logs", f"join@{socket.gethostname()}")
        with contextlib.ExitStack() as stack:
            stack.enter_context(ray_says_it_to(options.data))
            if options.demo:
                stack.enter_context(simulated_building(campus.config.sites[0].networks, console))
            Building(options, campus, console, stop).run()
    console.print("Stopped.")
