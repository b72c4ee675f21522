"""Looking after the actors of one host that is a part of the campus."""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

import ray
from ray.exceptions import ActorDiedError, RayError

from actors.core.errors import OpenCrateError
from actors.core.health import Health, HealthState
from actors.core.peer import Peer, bare
from api.processes import Process, alive, process
from api.raynode import Head
from api.standin import NAME as STAND_IN
from api.standin import Recipe

log = logging.getLogger(__name__)

PATIENCE: Final = 5.0
"""Seconds that an actor may take to say how it is."""
ASK: Final = 3.0
"""Seconds between two questions how the actors are; whether their processes live is looked at more often."""
SLICE: Final = 0.5
"""Seconds of that after which is looked whether Ray is there at all."""
TRIES: Final = 5
"""Questions in a row without an answer that count as none."""
BEGIN: Final = 60.0
"""Seconds that a stand-in may take to open an actor's file."""
RESTARTS: Final = 20.0
"""Seconds that Ray's head may take to start an actor again, before it is told to."""
GIVE_UP: Final = 10.0
"""Seconds after which an essential actor that can't be stood in for makes the host go alone."""
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


class State(Enum):
    """How an actor answered."""

    ANSWERS = "answers"
    SILENT = "silent"
    GONE = "gone"
    """Dead for ever: one that restarts, or that is slow, isn't."""


class Verdict(Enum):
    """What a look at the actors comes to."""

    FINE = "fine"
    TAKEN = "taken"
    """Another host ended the actors and took the site over."""
    ALONE = "alone"
    """An essential actor is dead, can't be stood in for, and the head that would start it is away."""


class Caretaker:
    """See that each actor of this host runs: by Ray, or by the site's stand-in while the head is away.

    A dead process is seen at the next look. Where the head answers, Ray starts the actor again, within
    seconds; where it doesn't, the stand-in takes the place at once, and gives it back when the actor is there
    again. One that hangs (TRIES questions without an answer) while the head is away is killed first.
    """

    def __init__(
        self,
        order: Sequence[tuple[str, Any]],
        stand_ins: Mapping[str, Any],
        recipes: Mapping[str, Mapping[str, Recipe]],
        head: Head,
        clock: Callable[[], float] = time.monotonic,
        ended: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take the actors by name (`history@north`), and by site who stands in for them and how.

        `ended` tells whether this host's Ray has ended: then nobody is waited for.
        """
        self._order, self._stand_ins, self._recipes, self._head = order, stand_ins, recipes, head
        self._clock, self._ended = clock, ended
        self._processes: dict[str, Process] = {}
        self._silent: dict[str, int] = {}
        self._dead: dict[str, float] = {}
        """Since when each has been seen dead."""
        self._due: dict[str, float] = {}
        """Since when the head could have started again what is stood in for."""
        self._returned: dict[str, Any] = {}
        """Questions to the actors themselves that are stood in for."""
        self._asked = float("-inf")
        self._answers: bool | None = None
        self.lost: list[str] = []
        """Those that another host ended, or that this one can't have running."""

    def look(self) -> Verdict:
        """Look at all actors once, and do what can be done."""
        self._answers = None
        failed = self._stand_in()
        self._bring_back()
        if self._clock() - self._asked >= ASK or self._dead:
            self._asked = self._clock()
            states = self._ask()
            self.lost = [name for name, state in states.items() if state is State.GONE]
            if self.lost:
                return Verdict.TAKEN
            failed += self._hanging(states)
        self.lost = [name for name in failed if name.partition("@")[0] in ESSENTIAL]
        return Verdict.ALONE if self.lost else Verdict.FINE

    def _stand_in(self) -> list[str]:
        """Let dead actors be stood in for where the head is away; give those that have failed for long."""
        now = self._clock()
        running = alive(set(self._processes.values()))
        dead = [name for name, known in self._processes.items() if known not in running]
        self._dead = {name: self._dead.get(name, now) for name in dead}
        if not dead:
            return []
        if self._head_answers():
            for name in dead:
                if now - self._dead[name] > RESTARTS:
                    self._restart(name)
                    self._dead[name] = now
            return []
        failed = []
        for name in dead:
            actor, _, site = name.partition("@")
            if actor == STAND_IN:
                continue
            try:
                ray.get(self._stand_ins[site].begin.remote(actor), timeout=BEGIN)
                log.warning("%s died while the head is away; it is stood in for", name)
                self._processes.pop(name)
            except (RayError, OpenCrateError, KeyError) as error:
                log.warning("%s died while the head is away, and isn't stood in for: %s", name, error)
                if now - self._dead[name] > GIVE_UP:
                    failed.append(name)
        return failed

    def _bring_back(self) -> None:
        """See that what is stood in for comes back once the head answers."""
        away = self.stood_in()
        self._due = {name: at for name, at in self._due.items() if name in away}
        self._returned = {name: asked for name, asked in self._returned.items() if name in away}
        if not away or not self._head_answers():
            self._due.clear()
            return
        now = self._clock()
        handles = dict(self._order)
        for name in away:
            asked = self._returned.setdefault(name, bare(handles[name]).health.remote())
            if ray.wait([asked], timeout=0)[0]:
                del self._returned[name]
                with contextlib.suppress(RayError, OpenCrateError):
                    ray.get(asked)
                    # It was started just before its stand-in: nobody but us can see that both run.
                    handles[name].mark.unlink(missing_ok=True)
                    continue
            if now - self._due.setdefault(name, now) > RESTARTS:
                self._restart(name)
                self._due[name] = now

    def _head_answers(self) -> bool:
        """Ask the head once a look: where a cut link swallows the question, that takes seconds."""
        if self._answers is None:
            self._answers = self._head.answers()
        return self._answers

    def _restart(self, name: str) -> None:
        """Tell the head that an actor has to be started again: it may not know that its process ended."""
        log.warning("%s was not started again by Ray: telling the head", name)
        with contextlib.suppress(RayError):
            ray.kill(bare(dict(self._order)[name]), no_restart=False)

    def _ask(self) -> dict[str, State]:
        """Ask all actors at once how they are."""
        asked = {handle.health.remote(): name for name, handle in self._order}
        done: list[Any] = []
        late, until = list(asked), time.monotonic() + PATIENCE
        while late and time.monotonic() < until and not self._ended():
            more, late = ray.wait(late, num_returns=len(late), timeout=SLICE)
            done += more
        states = {asked[reference]: State.SILENT for reference in late}
        for reference in done:
            name = asked[reference]
            try:
                states[name] = State.ANSWERS
                self._answered(name, ray.get(reference))
            except ActorDiedError:
                states[name] = State.GONE
            except (RayError, OpenCrateError):
                states[name] = State.SILENT
        return states

    def _answered(self, name: str, health: Health) -> None:
        found = process(health.pid) if health.pid else None
        if found is not None:
            self._processes[name] = found
        actor, _, site = name.partition("@")
        if actor == STAND_IN and health.state is HealthState.UNKNOWN:
            self._stand_ins[site].prepare.remote(dict(self._recipes[site]))

    def _hanging(self, states: Mapping[str, State]) -> list[str]:
        """Kill what hangs while the head is away; give what is dead and can't be killed for that."""
        self._silent = {
            name: self._silent.get(name, 0) + 1 for name, state in states.items() if state is State.SILENT
        }
        late = [name for name, times in self._silent.items() if times >= TRIES]
        if not late or self._head_answers():
            return []
        running = alive(set(self._processes.values()))
        failed = []
        for name in late:
            if (known := self._processes.get(name)) in running and known is not None:
                log.error("%s has hung while the head is away: killing it", name)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(known[0], signal.SIGKILL)
                self._silent.pop(name)
            else:
                failed.append(name)
        return failed

    def stood_in(self) -> list[str]:
        """Name the actors that are stood in for now."""
        return [name for name, handle in self._order if isinstance(handle, Peer) and handle.replaced]
