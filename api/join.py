"""`opencrate join`: a building's host becomes a part of the campus and raises its own actors."""

import contextlib
import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import ActorDiedError, RayError
from rich.console import Console

from api.actors import configure_logging
from api.cluster import Cluster
from api.config import Campus, load
from api.fencing import fence
from api.foreground import Stop, UsageError, own, rising, simulated_building
from api.raising import Raiser, take_down
from api.raynode import (
    Head,
    NodeError,
    RayNode,
    check_version,
    own_address,
    version,
    version_of_head,
)
from api.tls import check_own
from api.up import DEMO

log = logging.getLogger(__name__)

WATCH: Final = 3.0
"""Seconds between two looks at this host's Ray and actors."""
PATIENCE: Final = 5.0
"""Seconds that an actor may take to say how it is."""
AGAIN: Final = 2.0
"""Seconds until the head is asked again."""
TRIES: Final = 5
"""Looks in a row without an answer, of the head at the start or of an actor, that count as none."""
SETTLED: Final = 10
"""Looks in a row at which the head must have answered before a host that runs alone joins again."""
REFUSED: Final = 600.0
"""Seconds until a host that the head refused tries again."""
ESSENTIAL: Final = frozenset(
    (
        "bus",
        "points",
        "nodes",
        "history",
        "alarms",
        "overrides",
        "commands",
        "alarm_engine",
        "bacnet",
        "modbus",
    )
)
"""Without one of these a building isn't read, kept, alarmed or commanded."""


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
    """Keep this host's sites running, until a signal: as a part of the campus, or alone where that can't be.

    The head may go and come: Ray on this host and its actors go on meanwhile. Two things need the head, since
    Ray's head decides on them: to start, and to restart an actor that died. Where the head doesn't answer
    then, the host runs its sites alone, on a Ray of its own, from the same files, and joins when the head
    has answered for some time. Either way round costs the seconds that the actors take to rise; history's
    ledger has them. When Ray on this host ends by itself (the head has lost what it knew of its hosts, or
    somebody killed it) the actors are raised again from their files.
    """

    def __init__(self, options: Options, campus: Campus, console: Console, stop: Stop) -> None:
        """Take what to raise."""
        self._options, self._campus, self._console, self._stop = options, campus, console, stop
        self._sites = ", ".join(site.id for site in campus.config.sites)
        self._ending = _Waiting()

    def run(self) -> None:
        """Stay until a signal. Raises AlreadyRunningError when another host runs one of the sites."""
        while not self._ending.should_exit:
            if not self._head_answers():
                self._alone("does not answer")
                continue
            try:
                self._joined()
            except NodeError as error:
                # A building must not stand still because its host is refused: say why, and go on.
                self._alone(f"can't be joined: {error}", REFUSED)

    def _head_answers(self) -> bool:
        """Ask the head some times; a signal ends it too."""
        for _ in range(TRIES):
            if self._options.head.answers() or self._ending.should_exit:
                return True
            self._pause(AGAIN)
        return False

    def _pause(self, seconds: float) -> None:
        """Wait; a signal ends it early."""
        before, self._stop.server = self._stop.server, self._ending
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._ending.should_exit:
            time.sleep(0.2)
        self._stop.server = before

    def _joined(self) -> None:
        """Run as a part of the campus, until a signal, until Ray ends or until this host must go on alone.

        Raises NodeError when this host is refused, and AlreadyRunningError.
        """
        options = self._options
        with rising(self._console) as told, contextlib.ExitStack() as stack:
            node = RayNode(
                options.data,
                options.head,
                options.address or own_address(options.head),
                is_head=False,
                sites=[site.id for site in self._campus.config.sites],
                metrics_port=options.metrics_port,
            )
            stack.callback(node.close)
            heads = version_of_head()
            if heads is None:
                raise NodeError(f"there is no OpenCrate head at {options.head}")
            check_version(version(), heads)
            for site in self._campus.config.sites:
                fence(site.id)
            order = self._raise(told, stack)
            stack.pop_all()
        try:
            self._say(
                f"{self._sites} is up on {socket.gethostname()}, a part of the campus at {options.head}."
            )
            self._stop.server = self._ending
            self._watch(node, order)
        finally:
            self._stop.server = None
            if node.ended is None:
                self._say("Stopping: bridges first, stores last ...")
                take_down(order)
            node.close()

    def _alone(self, why: str, least: float = 0.0) -> None:
        """Run on a Ray of this host's own, until a signal or until the head has answered for some time.

        `least` is how long (s) to stay alone in any case.
        """
        self._say(f"The head at {self._options.head} {why}; {self._sites} runs alone meanwhile.")
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            with rising(self._console) as told:
                stack.callback(Cluster(self._options.data, None).close)
                self._raise(told, stack)
            self._say(f"{self._sites} is up on {socket.gethostname()}, alone.")
            answered = 0
            while not self._ending.should_exit:
                if answered >= SETTLED and time.monotonic() - began >= least:
                    break
                self._pause(WATCH)
                answered = answered + 1 if self._options.head.answers() else 0
            self._say("Stopping: bridges first, stores last ...")

    def _raise(self, told: Any, stack: contextlib.ExitStack) -> list[tuple[str, Any]]:
        """Raise the sites on the Ray that this process is in; `stack` takes them down."""
        self._stop.install()
        raiser = Raiser(self._campus, self._options.data, version(), told, sites_only=True)
        stack.callback(take_down, raiser.order)
        raiser.raise_sites()
        return raiser.order

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)
        log.info("%s", text)

    def _watch(self, node: RayNode, order: list[tuple[str, Any]]) -> None:
        """Return on a signal, when Ray ended, or when an actor needs the head to rise and there is none.

        Raises UsageError when another host took a site over.
        """
        silent: dict[str, int] = {}
        while not self._ending.should_exit:
            self._pause(WATCH)
            if node.ended is not None:
                self._say(f"Ray on this host has ended ({node.ended}); starting again.")
                return
            states = _states(order)
            lost = [name for name, state in states.items() if state is _State.GONE]
            if lost:
                raise UsageError(f"{', '.join(lost)}: ended by another host that took over")
            silent = {
                name: silent.get(name, 0) + 1
                for name, state in states.items()
                if state is _State.SILENT and name.partition("@")[0] in ESSENTIAL
            }
            dead = [name for name, times in silent.items() if times >= TRIES]
            if dead and not self._options.head.answers():
                self._say(f"{', '.join(dead)} died while the head is away.")
                return


class _State(Enum):
    ANSWERS = "answers"
    SILENT = "silent"
    GONE = "gone"
    """Dead for ever: one that restarts, or that is slow, isn't."""


def _states(order: list[tuple[str, Any]]) -> dict[str, _State]:
    """Ask all actors at once how they are."""
    asked = {handle.health.remote(): name for name, handle in order}
    done, late = ray.wait(list(asked), num_returns=len(asked), timeout=PATIENCE)
    found = {asked[reference]: _State.SILENT for reference in late}
    for reference in done:
        try:
            ray.get(reference)
            found[asked[reference]] = _State.ANSWERS
        except ActorDiedError:
            found[asked[reference]] = _State.GONE
        except RayError:
            found[asked[reference]] = _State.SILENT
    return found


def run(options: Options, console: Console) -> None:
    """Join, and stay until a signal. Raises OpenCrateError for what a user can mend."""
    campus = read_sites(options)
    check_own(*([] if options.address is None else [options.address]))
    with own(options.data), Stop() as stop:
        configure_logging(options.data / "logs", f"join@{socket.gethostname()}")
        with contextlib.ExitStack() as stack:
            if options.demo:
                stack.enter_context(simulated_building(campus.config.sites[0].networks, console))
            Building(options, campus, console, stop).run()
    console.print("Stopped.")
