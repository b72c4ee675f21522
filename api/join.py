"""`opencrate join`: a building's host becomes a part of the campus and raises its own actors."""

import contextlib
import logging
import math
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from ray.exceptions import RayError
from rich.console import Console

from api.actors import configure_logging
from api.caretaker import Caretaker, Verdict
from api.cluster import Cluster, prepare
from api.config import Campus, load
from api.fencing import fence
from api.foreground import Stop, UsageError, own, rising, simulated_building, tell_systemd
from api.raising import HeadAwayError, Raiser, take_down
from api.raynode import (
    Head,
    NodeError,
    RayNode,
    check_certificates,
    check_version,
    own_address,
    version,
    version_of_head,
)
from api.settings import tls
from api.tls import TlsError, check_own
from api.up import DEMO

log = logging.getLogger(__name__)

WATCH: Final = 1.0
"""Seconds between two looks at this host's Ray and actors, or at whether the head answers."""
AGAIN: Final = 2.0
"""Seconds until the head is asked again."""
TRIES: Final = 5
"""Looks in a row without an answer of the head at the start that count as none."""
SETTLED: Final = 30
"""Looks in a row at which the head must have answered before a host that runs alone joins again."""
REFUSED: Final = 60.0
"""Seconds until a host that the head refused tries again."""


ALONE: Final = "OPENCRATE_ALONE"
"""In the environment: why this host is not to join."""
TLS_VARIABLES: Final = frozenset(("OPENCRATE_TLS", *tls("")))


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
    alone: str | None = None
    """Why this host is not to join at all, where that is so."""


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
        if self._options.alone is not None:
            self._alone(f"is not asked: {self._options.alone}", math.inf)
            return
        node: RayNode | None = None
        while not self._ending.should_exit:
            if node is None and not self._head_answers():
                node = self._alone("does not answer")
                continue
            try:
                self._joined(node)
                node = None
            except NodeError as error:
                # A building must not stand still because its host is refused: say why, and go on.
                node = self._alone(f"can't be joined: {error}", REFUSED)
        if node is not None:
            node.close()

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

    def _node(self, *, beside: bool = False) -> RayNode:
        """Start this host's Ray node, if the head has it. Raises NodeError."""
        options = self._options
        prepare(options.data)
        address = options.address or own_address(options.head)
        check_certificates(options.head, address)
        check_version(version(), version_of_head(options.head))
        return RayNode(
            options.data,
            options.head,
            address,
            is_head=False,
            sites=[site.id for site in self._campus.config.sites],
            metrics_port=options.metrics_port,
            beside=beside,
        )

    def _joined(self, node: RayNode | None) -> None:
        """Run as a part of the campus, until a signal, until Ray ends or until this host must go on alone.

        `node` has been started already where this host was alone before. Raises NodeError when this host is
        refused, and AlreadyRunningError.
        """
        options = self._options
        with rising(self._console) as told, contextlib.ExitStack() as stack:
            if node is None:
                node = self._node()
            else:
                node.connect()
            stack.callback(node.close)
            # Ray's own handler ends the process with the signal's number.
            self._stop.install()
            for site in self._campus.config.sites:
                fence(site.id)
            try:
                raiser = self._raise(told, stack, stand_ins=True)
            except (RayError, TimeoutError, HeadAwayError) as error:
                if self._options.head.answers():
                    raise
                self._say(f"{self._sites} did not rise: {error}")
                return
            stack.pop_all()
        try:
            self._say(
                f"{self._sites} is up on {socket.gethostname()}, a part of the campus at {options.head}."
            )
            tell_systemd("READY=1")
            self._stop.server = self._ending
            self._watch(node, raiser)
        finally:
            self._stop.server = None
            if node.ended is None:
                self._say("Stopping: bridges first, stores last ...")
                take_down(raiser.order)
            node.close()

    def _alone(self, why: str, least: float = 0.0) -> RayNode | None:
        """Run on a Ray of this host's own, until a signal or until the head has answered for some time.

        `least` is how long (s) to stay alone in any case. Gives this host's node of the campus, which was
        started before anything here was stopped; None after a signal.
        """
        self._say(f"The head at {self._options.head} {why}; {self._sites} runs alone meanwhile.")
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            with rising(self._console) as told:
                stack.callback(Cluster(self._options.data, None).close)
                self._raise(told, stack)
            self._say(f"{self._sites} is up on {socket.gethostname()}, alone.")
            tell_systemd("READY=1")
            node: RayNode | None = None
            answered = 0
            while not self._ending.should_exit and node is None:
                self._pause(WATCH)
                answered = answered + 1 if self._options.head.answers() else 0
                if answered >= SETTLED and time.monotonic() - began >= least:
                    try:
                        node = self._node(beside=True)
                    except NodeError as error:
                        self._say(f"The head at {self._options.head} can't be joined: {error}")
                        began, least = time.monotonic(), REFUSED
            self._say("Stopping: bridges first, stores last ...")
        return node

    def _raise(self, told: Any, stack: contextlib.ExitStack, *, stand_ins: bool = False) -> Raiser:
        """Raise the sites on the Ray that this process is in; `stack` takes them down."""
        self._stop.install()
        raiser = Raiser(
            self._campus,
            self._options.data,
            version(),
            told,
            sites_only=True,
            stand_ins=stand_ins,
            head_answers=self._options.head.answers if stand_ins else lambda: True,
        )
        stack.callback(take_down, raiser.order)
        raiser.raise_sites()
        return raiser

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)
        log.info("%s", text)

    def _watch(self, node: RayNode, raiser: Raiser) -> None:
        """Return on a signal, when Ray ended, or when an actor needs the head to rise and there is none.

        Raises UsageError when another host took a site over.
        """
        caretaker = Caretaker(
            raiser.order,
            raiser.stand_ins or {},
            raiser.recipes,
            self._options.head,
            ended=lambda: node.ended is not None,
        )
        while not self._ending.should_exit:
            self._pause(WATCH)
            verdict = Verdict.FINE if node.ended else caretaker.look()
            if node.ended is not None:
                self._say(f"Ray on this host has ended ({node.ended}); starting again.")
                return
            if verdict is Verdict.TAKEN:
                raise UsageError(f"{', '.join(caretaker.lost)}: ended by another host that took over")
            if verdict is Verdict.ALONE:
                self._say(f"{', '.join(caretaker.lost)} died while the head is away.")
                return


def without_tls(why: str) -> NoReturn:
    """Begin again without TLS, to run alone: a building must not stand still for a certificate that ended.

    Without TLS it asks no head: an impostor would be told the token. Renew the certificate and restart.
    """
    environment = {key: value for key, value in os.environ.items() if key not in TLS_VARIABLES}
    arguments: list[str] = []
    words = iter(sys.argv[1:])
    for each in words:
        if each == "--tls":
            next(words, None)
        elif not each.startswith("--tls="):
            arguments.append(each)
    program = [sys.executable, "-m", "api", *arguments]
    os.execve(sys.executable, program, environment | {ALONE: why})  # noqa: S606 - this program itself


def run(options: Options, console: Console) -> None:
    """Join, and stay until a signal. Raises OpenCrateError for what a user can mend."""
    campus = read_sites(options)
    try:
        check_own(*([] if options.address is None else [options.address]))
    except TlsError as error:
        without_tls(str(error))
    with own(options.data), Stop() as stop:
        configure_logging(options.data / "logs", f"join@{socket.gethostname()}")
        with contextlib.ExitStack() as stack:
            if options.demo:
                stack.enter_context(simulated_building(campus.config.sites[0].networks, console))
            Building(options, campus, console, stop).run()
    console.print("Stopped.")
