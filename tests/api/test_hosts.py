"""Hosts and sites as the API tells them, also of those that are away."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from api.deps import Campus, SiteActors
from api.federation import MAIN
from api.hosts import Node, hosts
from api.routers.system import components
from tests.api.conftest import Served

NOON = 1_790_000_000_000


def site(id_: str, host: str | None = None, seen: int | None = None, away: str | None = None) -> SiteActors:
    nobody: dict[str, Any] = dict.fromkeys(MAIN)
    return SiteActors(id=id_, name=id_, away=away, host=host, last_contact=seen, **nobody)


def campus(*sites: SiteActors) -> Campus:
    return Campus(
        name="Test",
        version="1.2.3",
        sites={each.id: each for each in sites},
        users=None,
        audit=None,
        bus=None,
    )


def node(name: str, role: Any = "building", *sites: str, alive: bool = True, id_: str = "x") -> Node:
    return Node(id_, name, f"10.0.0.{len(name)}", alive, role, "1.2.3" if role != "other" else None, sites)


HEAD = node("head", "head")


async def test_one_machine_is_the_head_with_its_sites() -> None:
    [found] = await hosts(campus(site("north")), lambda: [node("box", "head")], NOON)
    assert (found.name, found.role, found.sites, found.version) == ("box", "head", ["north"], "1.2.3")
    assert (found.reachable, found.last_contact, found.ray_alive) == (True, NOON, True)


async def test_a_building_that_is_away_is_told_with_its_reason() -> None:
    nodes = [HEAD, node("barn", "building", "north"), node("shed", "building", "south")]
    known = campus(site("north", "barn", NOON - 1), site("south", "shed", NOON - 9000, "no answer"))
    head, barn, shed = await hosts(known, lambda: nodes, NOON)
    assert (head.name, head.sites) == ("head", [])
    assert (barn.reachable, barn.reason, barn.last_contact) == (True, None, NOON - 1)
    assert (shed.reachable, shed.reason, shed.last_contact) == (False, "no answer", NOON - 9000)
    assert shed.ray_alive, "Ray believes in a host that was cut off"


async def test_a_host_that_came_back_is_one_and_a_replaced_one_is_told() -> None:
    again = [
        HEAD,
        node("barn", "building", "north", alive=False, id_="old"),
        node("barn", "building", "north", id_="new"),
        node("old-barn", "building", "north"),
    ]
    _, barn, replaced = await hosts(campus(site("north", "barn", NOON)), lambda: again, NOON)
    assert (barn.name, barn.sites, barn.reachable) == ("barn", ["north"], True)
    assert (replaced.sites, replaced.reachable) == ([], False)
    assert replaced.reason == "north runs on another host now"


async def test_what_ray_does_not_know_is_told_as_the_sites_remember_it() -> None:
    def silent() -> list[Node]:
        raise OSError("no way to Ray's head")

    known = campus(site("east"), site("north", "barn", NOON - 1, "no answer"))
    head, barn = await hosts(known, silent, NOON)
    assert (head.role, head.sites) == ("head", ["east"])
    assert (barn.name, barn.address, barn.ray_alive, barn.reason) == ("barn", None, False, "no answer")


async def test_a_dead_node_whose_sites_are_nowhere_is_left_out() -> None:
    known = await hosts(campus(site("east")), lambda: [HEAD, node("gone", "building", alive=False)], NOON)
    assert [each.name for each in known] == ["head"]


def test_hosts_need_a_login_and_are_listed(served: Served) -> None:
    assert served.client.get("/api/system/hosts").status_code == 401
    served.campus.nodes = lambda: [HEAD]
    answer = served.client.get("/api/system/hosts", headers=served.admin).json()
    assert [(each["name"], each["sites"]) for each in answer["items"]] == [("head", ["north"])]
    other = served.client.get("/api/system/hosts", params={"site": "moon"}, headers=served.admin)
    assert other.status_code == 404


def test_an_away_site_answers_at_once_and_is_one_component(served: Served) -> None:
    headers = served.admin
    here = served.client.get("/api/sites/north", headers=headers).json()
    assert here["reachable"]
    assert here["last_contact"]
    assert here["points"] == 5
    served.campus.sites["north"].host = "barn"
    served.campus.sites["north"].last_contact = NOON
    served.campus.sites["north"].leave("no answer within 2.5 s")
    [listed] = served.client.get("/api/sites", headers=headers).json()["items"]
    told = (listed["state"], listed["reachable"], listed["reason"], listed["host"])
    assert told == ("down", False, "no answer within 2.5 s", "barn")
    assert listed["last_contact"].startswith("2026-")
    assert served.client.get("/api/sites", headers=headers).json()["unreachable_sites"] == ["north"]


async def test_health_does_not_wait_for_a_site_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        """An actor whose host is cut off."""

        def __getattr__(self, name: str) -> Any:
            class Method:
                def remote(self, *args: Any) -> Any:
                    return asyncio.get_running_loop().create_future()

            return Method()

    async def nothing(*args: Any, **kwargs: Any) -> Any:
        raise OSError("not of interest here")

    away = site("north", "barn", NOON)
    for name in MAIN:
        setattr(away, name, Silent())
    found = campus(away)
    monkeypatch.setattr("api.routers.system.ask", nothing)
    asking = asyncio.ensure_future(components(found))
    await asyncio.sleep(0.05)
    away.leave("its link is cut")
    done, _ = await asyncio.wait({asking}, timeout=1.0)
    assert done, "whoever waits is answered when the site is found to be away"
    [told] = [each for each in asking.result() if each.name.endswith("@north")]
    assert (told.name, told.state, told.reasons, told.host) == (
        "site@north",
        "down",
        ["its link is cut"],
        "barn",
    )


def test_health_names_the_sites_that_are_away(served: Served, tmp_path: Path) -> None:
    assert served.client.get("/api/system/health").json()["unreachable_sites"] == []
    served.campus.sites["north"].leave("gone")
    assert served.client.get("/api/system/health").json()["unreachable_sites"] == ["north"]
