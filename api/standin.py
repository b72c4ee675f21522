"""The actor that stands in for others of its host while Ray's head can't start them again."""

import asyncio
import contextlib
import copy
import functools
import inspect
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from actors.core.errors import NotFoundError, NotStandingInError, UnreachableError
from actors.core.health import Health, HealthState
from actors.core.later import Later, meet
from actors.core.names import actor_name
from actors.core.peer import set_mark
from api.actors import actor_class, is_async

log = logging.getLogger(__name__)

NAME: Final = "stand_in"
LOOK: Final = 0.1
"""Seconds between two looks at whether an actor has come back."""
ENDING: Final = 8.0
"""Seconds that an actor may take to stop here."""


class Recipe(NamedTuple):
    """How an actor is made: its plain class and what that takes."""

    plain: type
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class _Place:
    """One actor that is stood in for; a sync class has a thread of its own, and gets one call at a time."""

    def __init__(self, mark: Path, file: IO[str]) -> None:
        self.mark, self.file = mark, file
        self.actor: Any = None
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=mark.name)
        self.ended = asyncio.Event()

    async def run(self, call: Any) -> Any:
        """Run one call. Raises UnreachableError when the place is given back before it is done."""
        if inspect.iscoroutinefunction(call.func):
            running: asyncio.Future[Any] = asyncio.ensure_future(call())
        else:
            running = asyncio.get_running_loop().run_in_executor(self.thread, call)
        ending = asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait({running, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                raise UnreachableError(self.mark.name, "it is restarting")
            return running.result()
        finally:
            ending.cancel()
            if not running.done():
                running.cancel()


class StandIn:
    """Stand in for actors of one host, from the moment at which they died until Ray has started them again.

    It knows how each is made before that is needed, since a host that is cut off can't be told. An actor that
    comes back removes its mark and waits for its place here to be given up: it is stopped as at a shutdown.
    With the last one this process ends, so that Ray starts a fresh one. When it dies itself while it stands
    in, whoever looks after the host goes on alone.
    """

    def __init__(self, site: str, marks: Path, end: Callable[[int], object] = os._exit) -> None:
        """Take the site, the folder of its marks, and what ends this process."""
        self.site, self._marks, self._end = site, marks, end
        self._recipes: dict[str, Recipe] = {}
        self._places: dict[str, _Place] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def prepare(self, recipes: dict[str, Recipe]) -> None:
        """Learn how the site's actors are made, by name (`history`), and meet those who rise after them."""
        self._recipes = recipes
        laters = [
            each
            for recipe in recipes.values()
            for each in (*recipe.args, *recipe.kwargs.values())
            if isinstance(each, Later)
        ]
        self._keep(asyncio.create_task(self._meet(laters)))

    async def _meet(self, laters: list[Later]) -> None:
        for each in laters:
            await meet(each)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def begin(self, name: str) -> None:
        """Stand in for an actor whose process has ended; again for one that is stood in for changes nothing.

        Raises NotFoundError for one that isn't known, and what its making raises, such as AlreadyOwnedError
        when it is running after all.
        """
        if name not in self._recipes:
            raise NotFoundError("actor", name)
        if name in self._places:
            return
        recipe, full_name = self._recipes[name], actor_name(name, self.site)
        mark = self._marks / name
        place = _Place(mark, set_mark(mark))
        self._places[name] = place
        # Copies, because what gives itself to another process anew (a publisher, a feed) ends with its actor.
        args = tuple(copy.copy(each) for each in recipe.args)
        kwargs = {key: copy.copy(each) for key, each in recipe.kwargs.items()}
        make = functools.partial(actor_class(recipe.plain), None, full_name, args, kwargs)
        try:
            if is_async(recipe.plain):
                place.actor = make()
            else:
                place.actor = await asyncio.get_running_loop().run_in_executor(place.thread, make)
        except BaseException:
            self._leave(name, place)
            raise
        log.warning("%s died while the head is away: standing in for it", full_name)
        self._keep(asyncio.create_task(self._until_back(name, place)))

    async def call(self, name: str, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an actor that is stood in for. Raises what it raises, and NotStandingInError for another."""
        place = self._places.get(name)
        if place is None or place.actor is None:
            raise NotStandingInError(actor_name(name, self.site), "it is restarting")
        return await place.run(functools.partial(getattr(place.actor, method), *args, **kwargs))

    async def standing(self) -> list[str]:
        """Name the actors whose calls are answered here now; the head asks, which sees no marks."""
        return sorted(name for name, place in self._places.items() if place.actor is not None)

    async def _until_back(self, name: str, place: _Place) -> None:
        while place.mark.exists():  # noqa: ASYNC110 - another process removes the file
            await asyncio.sleep(LOOK)
        log.warning("%s is back", actor_name(name, self.site))
        stop = getattr(place.actor, "stop", None) or getattr(place.actor, "close", None)
        if stop is not None:
            try:
                await asyncio.wait_for(place.run(functools.partial(stop)), ENDING)
            except Exception:
                log.exception("%s did not stop well", actor_name(name, self.site))
        place.ended.set()
        self._leave(name, place)
        if not self._places:
            # Calls that were waiting hear of it first.
            await asyncio.sleep(LOOK)
            self._end(0)

    def _leave(self, name: str, place: _Place) -> None:
        self._places.pop(name, None)
        with contextlib.suppress(OSError):
            place.mark.unlink(missing_ok=True)
        place.file.close()
        place.thread.shutdown(wait=False)

    async def health(self) -> Health:
        """Say how it is: unknown until it is prepared, degraded while it stands in."""
        if not self._recipes:
            state, reasons = HealthState.UNKNOWN, ["it doesn't know the site's actors yet"]
        elif self._places:
            state, reasons = HealthState.DEGRADED, [f"stands in for {', '.join(sorted(self._places))}"]
        else:
            state, reasons = HealthState.HEALTHY, []
        return Health(name=NAME, state=state, reasons=reasons, pid=os.getpid())
