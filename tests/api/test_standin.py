"""One actor in the place of others: without Ray, with a real store and a real engine's shape."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors.core.errors import AlreadyOwnedError, NotFoundError, NotStandingInError, UnreachableError
from actors.core.health import HealthState
from actors.core.peer import take_back
from actors.user.store import UserStore
from api.standin import Recipe, StandIn


class Engine:
    """What an engine is: async, started, stopped."""

    def __init__(self, log: list[str]) -> None:
        self._log = log

    async def start(self) -> None:
        self._log.append("started")

    async def stop(self) -> None:
        self._log.append("stopped")

    async def double(self, number: int) -> int:
        return 2 * number

    async def wait(self) -> None:
        await asyncio.Event().wait()


class Broken:
    """What can't be made."""

    def __init__(self) -> None:
        raise NotFoundError("file", "x")


class World:
    def __init__(self, folder: Path) -> None:
        self.folder, self.marks = folder, folder / "marks"
        self.log: list[str] = []
        self.ended: list[int] = []
        self.stand_in = StandIn("north", self.marks, self.ended.append)

    async def prepare(self) -> None:
        # A recipe's list is copied for each actor that is made of it; what is in it isn't.
        await self.stand_in.prepare(
            {
                "users": Recipe(UserStore, (str(self.folder),), {}),
                "engine": Recipe(Engine, (Log(self.log),), {}),
                "broken": Recipe(Broken, (), {}),
            }
        )

    async def call(self, name: str, method: str, *args: Any) -> Any:
        return await self.stand_in.call(name, method, args, {})

    async def until(self, check: Any) -> None:
        async with asyncio.timeout(10):
            while not check():  # noqa: ASYNC110 - what is checked has no event
                await asyncio.sleep(0.02)


class Log(list[str]):
    """A list whose copies are itself."""

    def __init__(self, kept: list[str]) -> None:
        self.kept = kept

    def append(self, text: str) -> None:
        self.kept.append(text)

    def __copy__(self) -> "Log":
        return self


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_store_is_stood_in_for_until_it_takes_its_place_back(world: World) -> None:
    await world.prepare()
    await world.stand_in.begin("users")
    assert (world.marks / "users").exists()
    assert await world.call("users", "find") == ([], None)
    assert await world.stand_in.standing() == ["users"]
    with pytest.raises(AlreadyOwnedError):
        UserStore(world.folder)
    assert (await world.stand_in.health()).state is HealthState.DEGRADED

    assert await asyncio.to_thread(take_back, world.marks / "users")
    UserStore(world.folder).close()
    await world.until(lambda: world.ended == [0])
    with pytest.raises(NotStandingInError):
        await world.call("users", "list_users")
    assert await world.stand_in.standing() == []


async def test_an_engine_is_started_and_stopped_and_its_callers_are_told(world: World) -> None:
    await world.prepare()
    await world.stand_in.begin("engine")
    assert await world.call("engine", "double", 4) == 8
    waiting = asyncio.ensure_future(world.call("engine", "wait"))
    await world.until(lambda: world.log == ["started"])
    (world.marks / "engine").unlink()
    with pytest.raises(UnreachableError):
        await asyncio.wait_for(waiting, 10)
    assert world.log == ["started", "stopped"]


async def test_the_process_lives_while_anybody_is_stood_in_for(world: World) -> None:
    await world.prepare()
    await world.stand_in.begin("users")
    await world.stand_in.begin("engine")
    await world.stand_in.begin("engine")
    (world.marks / "engine").unlink()
    await world.until(lambda: world.log == ["started", "stopped"])
    assert await world.call("users", "find") == ([], None)
    assert world.ended == []
    (world.marks / "users").unlink()
    await world.until(lambda: world.ended == [0])


async def test_errors_are_those_of_the_actor(world: World) -> None:
    await world.prepare()
    await world.stand_in.begin("users")
    with pytest.raises(NotFoundError, match="17"):
        await world.call("users", "get", 17)
    (world.marks / "users").unlink()
    await world.until(lambda: world.ended)


async def test_what_runs_after_all_is_not_stood_in_for(world: World) -> None:
    await world.prepare()
    running = UserStore(world.folder)
    try:
        with pytest.raises(AlreadyOwnedError):
            await world.stand_in.begin("users")
    finally:
        running.close()
    assert not (world.marks / "users").exists()
    await world.stand_in.begin("users")
    (world.marks / "users").unlink()
    await world.until(lambda: world.ended)


async def test_what_cannot_be_made_or_is_not_known_leaves_no_mark(world: World) -> None:
    with pytest.raises(NotFoundError):
        await world.stand_in.begin("users")
    assert (await world.stand_in.health()).state is HealthState.UNKNOWN
    await world.prepare()
    assert (await world.stand_in.health()).state is HealthState.HEALTHY
    with pytest.raises(NotFoundError):
        await world.stand_in.begin("broken")
    assert not list(world.marks.glob("*"))
