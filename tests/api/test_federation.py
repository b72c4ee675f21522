"""The head follows sites that come, go, and come back with new actors."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError

from actors.bus.bus import EventBus
from actors.core.errors import BadInputError, NotFoundError, NotStandingInError, UnreachableError
from actors.core.health import Health
from actors.node.models import Node, NodeType
from api.deps import Campus, from_sites, over_sites
from api.federation import BRIDGES, LOOKED_AT, MAIN, Federation
from api.following import follow_site
from api.standin import NAME as STAND_IN
from tests.support import InProcess

NOON = 1_790_000_000_000


class Plain:
    """An actor of a site: says how it is, and knows nodes."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.clock = NOON

    def health(self) -> Health:
        return Health(name="x", host=self.host, time=self.clock)

    def get(self, node_id: str) -> Any:
        raise NotFoundError("node", node_id)


class Cut:
    """Stand before an actor on a host that may be cut off: then calls are not answered."""

    def __init__(self, host: "Host", target: Any) -> None:
        self._host, self._there = host, InProcess(target)
        self.refuses = 0
        """Calls that are refused, as Ray does until it has a connection again."""

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._there, name)
        host, actor = self._host, self

        class Method:
            def remote(self, *args: Any) -> Any:
                async def call() -> Any:
                    host.calls += 1
                    if host.cut:
                        await asyncio.Event().wait()
                    if actor.refuses:
                        actor.refuses -= 1
                        raise ActorUnavailableError("no connection", None)
                    return await method.remote(*args)

                return asyncio.ensure_future(call())

        return Method()


class Host:
    """A building's host: its actors, where it listens, and whether it is cut off."""

    def __init__(self, name: str) -> None:
        self.name, self.cut, self.calls = name, False, 0
        self.server: asyncio.Server | None = None
        self.actors = {each: Cut(self, Plain(name)) for each in (*MAIN, BRIDGES[0], "schedules", "backups")}

    async def listen(self, port: int = 0) -> int:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        self.server = await asyncio.start_server(greet, "127.0.0.1", port)
        return int(self.server.sockets[0].getsockname()[1])

    async def leave(self) -> None:
        self.cut = True
        if self.server is not None:
            self.server.close()
            await self.server.wait_closed()


class View:
    """What Ray's head knows."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self.ports: dict[str, int] = {}

    def actor(self, name: str) -> Any:
        actor, _, site = name.partition("@")
        return self.hosts[site].actors[actor]

    def names(self) -> list[str]:
        return [f"{actor}@{site}" for site, host in self.hosts.items() for actor in host.actors]

    def places(self) -> dict[str, list[tuple[str, int]]]:
        return {site: [("127.0.0.1", port)] for site, port in self.ports.items()}


def campus() -> Campus:
    return Campus(name="Test", version="0", sites={}, users=None, audit=None, bus=None)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.federation.PATIENCE", 0.2)


def federation(found: Campus, view: View, folder: Path, **joining: str) -> Federation:
    return Federation(found, joining, folder / "sites.json", view, lambda: NOON)  # type: ignore[arg-type]


async def test_a_site_that_has_not_joined_yet_is_there_and_away(tmp_path: Path) -> None:
    found = campus()
    federation(found, View(), tmp_path, north="North Building")
    site = found.site("north")
    assert (site.name, site.away) == ("North Building", "it has not joined yet")
    with pytest.raises(UnreachableError, match="site north"):
        await site.call("nodes", "get", "x")


async def test_why_a_site_is_away_stays_said_until_its_actors_are_there(tmp_path: Path) -> None:
    found = campus()
    following = federation(found, View(), tmp_path, north="North Building")
    await following.step()
    assert found.site("north").away == "it has not joined yet"


async def test_a_site_comes_goes_and_comes_back(tmp_path: Path) -> None:
    found, view, host = campus(), View(), Host("one")
    following = federation(found, view, tmp_path)
    await following.step()
    assert found.sites == {}
    view.hosts["north"], view.ports["north"] = host, await host.listen()
    await following.step()
    site = found.site("north")
    assert (site.away, site.host, site.last_contact) == (None, "one", NOON)
    assert set(site.bridges) == {"bacnet"}
    assert set(site.stores) == {"schedules"}
    assert set(site.engines) == {"backups"}
    with pytest.raises(NotFoundError):
        await site.call("nodes", "get", "x")

    port = view.ports["north"]
    await host.leave()
    await following.step()
    assert site.away is not None
    calls = host.calls
    for _ in range(3):
        await following.step()
    assert host.calls == calls, "nothing is asked of a host that is away"

    host.cut = False
    await host.listen(port)
    await following.step()
    assert site.away is None
    await host.leave()


async def test_a_site_is_back_with_the_first_answer_and_calls_wait_for_actors_that_are_not_awake(
    tmp_path: Path,
) -> None:
    found, view, host = campus(), View(), Host("one")
    view.hosts["north"], view.ports["north"] = host, await host.listen()
    following = federation(found, view, tmp_path)
    await following.step()
    site = found.site("north")
    while site.asleep:  # noqa: ASYNC110 - nothing to wait for but the outcome
        await asyncio.sleep(0.01)
    port = view.ports["north"]
    await host.leave()
    await following.step()
    host.cut = False
    await host.listen(port)
    host.actors["nodes"].refuses = host.actors["history"].refuses = 3
    await following.step()
    assert site.away is None
    assert set(site.asleep) >= {"nodes", "history"}
    health = await site.call("history", "health")
    assert (health.host, host.actors["history"].refuses) == ("one", 0)
    assert "history" not in site.asleep
    await host.leave()


class Stands(Plain):
    """A stand-in."""

    def __init__(self, host: str, *names: str) -> None:
        super().__init__(host)
        self.places = {name: Plain(f"{host}, stood in for") for name in names}

    def standing(self) -> list[str]:
        return list(self.places)

    async def call(self, name: str, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name not in self.places:
            raise NotStandingInError(name, "it is restarting")
        return getattr(self.places[name], method)(*args, **kwargs)


async def test_actors_that_died_while_their_site_was_away_are_reached_by_their_stand_in_at_once(
    tmp_path: Path,
) -> None:
    found, view, host = campus(), View(), Host("one")
    stands = Stands("one")
    host.actors[STAND_IN] = Cut(host, stands)
    view.hosts["north"], view.ports["north"] = host, await host.listen()
    following = federation(found, view, tmp_path)
    await following.step()
    site = found.site("north")
    port = view.ports["north"]
    await host.leave()
    await following.step()
    assert site.away is not None

    dead = (*LOOKED_AT, "history")
    for name in dead:
        host.actors[name].refuses = 1_000_000
        stands.places[name] = Plain("one, stood in for")
    host.cut = False
    await host.listen(port)
    await following.step()
    assert site.away is None
    assert site.stood_in == set(dead)
    for name in dead:
        assert (await site.call(name, "health", timeout=1.0)).host == "one, stood in for"

    for name in dead:
        host.actors[name].refuses = 0
    stands.places.clear()
    assert (await site.call("history", "health")).host == "one", "it came back since the last look"
    await following.step()
    assert (site.away, site.stood_in) == (None, frozenset())
    await following.close()
    await host.leave()


async def test_a_call_that_waits_for_an_actor_goes_to_its_stand_in_once_that_is_known(
    tmp_path: Path,
) -> None:
    found, view, host = campus(), View(), Host("one")
    stands = Stands("one")
    host.actors[STAND_IN] = Cut(host, stands)
    view.hosts["north"], view.ports["north"] = host, await host.listen()
    following = federation(found, view, tmp_path)
    await following.step()
    site = found.site("north")
    host.actors["history"].refuses = 1_000_000
    following._wake(site, ["history"])
    calling = asyncio.ensure_future(site.call("history", "health"))
    await asyncio.sleep(0.05)
    assert not calling.done()
    stands.places["history"] = Plain("one, stood in for")
    await following.step()
    assert (await calling).host == "one, stood in for"
    await following.close()
    await host.leave()


async def test_an_actor_that_stays_asleep_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.federation.WAKING", 0.3)
    found, view, host = campus(), View(), Host("one")
    view.hosts["north"], view.ports["north"] = host, await host.listen()
    following = federation(found, view, tmp_path)
    host.actors["history"].refuses = 1_000_000
    await following.step()
    site = found.site("north")
    with pytest.raises(UnreachableError, match=r"no answer within 0\.05 s"):
        await site.call("history", "health", timeout=0.05)
    with pytest.raises(UnreachableError, match="it is restarting"):
        await site.call("history", "health")
    assert site.asleep == {}
    await following.close()
    await host.leave()


async def test_the_clock_of_a_sites_host_is_compared_with_ours(tmp_path: Path) -> None:
    found, view, host = campus(), View(), Host("one")
    view.hosts["north"], view.ports["north"] = host, await host.listen()
    following = federation(found, view, tmp_path)
    await following.step()
    assert found.site("north").clock_skew == 0
    for name in LOOKED_AT:
        late = Plain("one")
        late.clock -= 90_000
        host.actors[name] = Cut(host, late)
        setattr(found.site("north"), name, host.actors[name])
    await following.step()
    assert found.site("north").clock_skew == -90_000
    await following.close()
    await host.leave()


async def test_sites_stay_as_they_are_while_rays_head_tells_nothing(tmp_path: Path) -> None:
    found, view, host = campus(), View(), Host("one")
    view.hosts["north"], view.ports["north"] = host, await host.listen()
    following = federation(found, view, tmp_path)
    await following.step()

    def silent() -> list[str]:
        raise OSError("no way to Ray's head")

    view.names = silent  # type: ignore[method-assign]
    await following.step()
    assert found.site("north").away is None
    await host.leave()


async def test_each_site_is_followed_by_itself(tmp_path: Path) -> None:
    found, view = campus(), View()
    hosts = {name: Host(name) for name in ("north", "south")}
    for name, host in hosts.items():
        view.hosts[name], view.ports[name] = host, await host.listen()
    following = federation(found, view, tmp_path)
    following.start()
    async with asyncio.timeout(30):
        while not found.sites.keys() >= {"north", "south"}:  # noqa: ASYNC110 - nothing to wait for but that
            await asyncio.sleep(0.01)
        await asyncio.gather(*(each.back() for each in found.sites.values()))
        hosts["north"].cut = True
        port = view.ports["south"]
        await hosts["south"].leave()
        while found.site("south").away is None:  # noqa: ASYNC110 - nothing to wait for but the outcome
            await asyncio.sleep(0.01)
        hosts["south"].cut = False
        await hosts["south"].listen(port)
        await found.site("south").back()
        while found.site("north").away is None:  # noqa: ASYNC110 - nothing to wait for but the outcome
            await asyncio.sleep(0.01)
    await following.close()
    for host in hosts.values():
        await host.leave()


async def test_a_call_that_waits_ends_when_its_site_goes(tmp_path: Path) -> None:
    found, view, host = campus(), View(), Host("one")
    view.hosts["north"], view.ports["north"] = host, await host.listen()
    following = federation(found, view, tmp_path)
    await following.step()
    site = found.site("north")
    await host.leave()
    waiting = asyncio.ensure_future(site.call("nodes", "get", "x", timeout=60))
    await asyncio.sleep(0)
    await following.step()
    with pytest.raises(UnreachableError, match="site north"):
        await asyncio.wait_for(waiting, 30)


async def test_a_host_that_came_back_is_followed_by_its_new_actors(tmp_path: Path) -> None:
    found, view, old, new = campus(), View(), Host("old"), Host("new")
    view.hosts["north"], view.ports["north"] = old, await old.listen()
    following = federation(found, view, tmp_path)
    await following.step()
    await old.leave()
    await following.step()
    view.hosts["north"], view.ports["north"] = new, await new.listen()
    await following.step()
    assert (found.site("north").away, found.site("north").host) == (None, "new")
    await new.leave()


async def test_actors_that_rise_after_their_site_was_found_are_found_too(tmp_path: Path) -> None:
    found, view = campus(), View()
    host = view.hosts["north"] = Host("host-1")
    late = {name: host.actors.pop(name) for name in (BRIDGES[0], "schedules", "backups")}
    followed = federation(found, view, tmp_path, north="North Building")
    await followed.step()
    site = found.sites["north"]
    bus = site.bus
    assert site.away is None
    assert not late.keys() & site.actors().keys()
    host.actors |= late
    await followed.step()
    assert late.items() <= site.actors().items()
    assert (list(site.bridges), list(site.engines), list(site.stores)) == (
        [BRIDGES[0]],
        ["backups"],
        ["schedules"],
    )
    assert site.bus is bus, "whoever follows it isn't disturbed"


async def test_a_site_is_remembered_over_a_restart_of_the_head(tmp_path: Path) -> None:
    view, host = View(), Host("one")
    view.hosts["north"], view.ports["north"] = host, await host.listen()
    first = federation(campus(), view, tmp_path)
    await first.step()
    await first.close()
    await host.leave()
    found = campus()
    federation(found, View(), tmp_path)
    assert found.site("north").last_contact == NOON
    assert found.site("north").away == "it has not answered yet"
    (tmp_path / "sites.json").write_text("{ not json")
    found = campus()
    federation(found, View(), tmp_path)
    assert found.sites == {}


async def test_lists_name_the_sites_that_are_away(tmp_path: Path) -> None:
    found, view, host = campus(), View(), Host("one")
    view.hosts["north"], view.ports["north"] = host, await host.listen()
    following = federation(found, view, tmp_path, south="South Building")
    await following.step()

    async def read(site: Any, limit: int, cursor: str | None) -> Any:
        health = await site.call("nodes", "health")
        return [{"host": health.host}], None

    page = await over_sites(found.chosen(None), 10, None, read)
    assert (page.items, page.unreachable_sites) == ([{"host": "one"}], ["south"])
    answers, away = await from_sites(found.chosen(None), "nodes", "health")
    assert ([each.host for each in answers], away) == (["one"], ["south"])
    with pytest.raises(UnreachableError, match="site south"):
        await from_sites(found.chosen("south"), "nodes", "health")
    with pytest.raises(NotFoundError):
        await from_sites(found.chosen(None), "nodes", "get", "x")
    await host.leave()


async def test_a_follower_of_a_site_goes_over_to_its_new_bus(tmp_path: Path) -> None:
    found, view = campus(), View()
    hosts = [Host("old"), Host("new")]
    for host in hosts:
        host.actors["bus"] = Cut(host, EventBus("north"))
    view.hosts["north"], view.ports["north"] = hosts[0], await hosts[0].listen()
    following = federation(found, view, tmp_path)
    await following.step()
    deliveries: list[Any] = []

    async def follow() -> None:
        async for delivery in follow_site(found.site("north"), "test"):
            deliveries.extend([delivery.resync])

    task = asyncio.create_task(follow())
    async with asyncio.timeout(30):
        while not deliveries:  # noqa: ASYNC110 - nothing to wait for but the outcome
            await asyncio.sleep(0.01)
        await hosts[0].leave()
        await following.step()
        view.hosts["north"], view.ports["north"] = hosts[1], await hosts[1].listen()
        await following.step()
        while len(deliveries) < 2:  # noqa: ASYNC110 - nothing to wait for but the outcome
            await asyncio.sleep(0.01)
    assert deliveries == [True, True], "each begins with the word that events may be missing"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await hosts[1].leave()


class Knows(Plain):
    def get(self, node_id: str) -> Any:
        return Node(id=node_id, node_type=NodeType.SITE, dis=self.host.title())


async def test_the_site_of_an_id_is_found_and_an_ambiguous_one_is_answered_with_the_choices(
    tmp_path: Path,
) -> None:
    found, view = campus(), View()
    hosts = {name: Host(name) for name in ("north", "south", "west")}
    for name, host in hosts.items():
        view.hosts[name], view.ports[name] = host, await host.listen()
    hosts["south"].actors["nodes"] = Cut(hosts["south"], Knows("south"))
    following = federation(found, view, tmp_path)
    await following.step()
    assert (await found.site_of("1001/analog-input-1")).id == "south"
    hosts["west"].actors["nodes"] = found.site("west").nodes = Cut(hosts["west"], Knows("west"))
    found.places.forget("1001/analog-input-1")
    with pytest.raises(BadInputError, match="one of south, west"):
        await found.site_of("1001/analog-input-1")
    assert (await found.site_of("1001/analog-input-1", "west")).id == "west"
    await hosts["south"].leave()
    await hosts["west"].leave()
    await following.step()
    with pytest.raises(UnreachableError, match="site"):
        await found.site_of("1001/analog-input-1")
    await hosts["north"].leave()
