"""Questions go to the site that has a node, and to all again where another may have it."""

from collections.abc import Iterator
from typing import Any

import pytest

from actors.core.errors import BadInputError, NotFoundError, UnreachableError
from actors.node.models import Node, NodeType
from api import places
from api.deps import Campus, Page, SiteActors, over_sites
from tests.support import InProcess

POINT = "1001/analog-value-1"


class Nodes:
    """A site's nodes, and how often it was asked."""

    def __init__(self, *ids: str) -> None:
        self.ids, self.asked, self.fails = set(ids), 0, False

    def get(self, node_id: str) -> Node:
        self.asked += 1
        if self.fails:
            raise UnreachableError("nodes", "it is restarting")
        if node_id not in self.ids:
            raise NotFoundError("node", node_id)
        return Node(id=node_id, node_type=NodeType.POINT, dis="x")


class Sites:
    """A campus of sites of which only the nodes can be asked, and a clock."""

    def __init__(self, **nodes: Nodes) -> None:
        self.nodes, self.now = nodes, 0.0
        self.campus = Campus(name="Test", version="0", sites={}, users=None, audit=None, bus=None)
        self.campus.places = places.Places(lambda: self.now)
        for site_id, each in nodes.items():
            self.add(site_id, each)

    def add(self, site_id: str, nodes: Nodes) -> None:
        rest: dict[str, Any] = dict.fromkeys(
            ("bus", "points", "history", "alarms", "overrides", "commands"), None
        )
        self.nodes[site_id] = nodes
        site = SiteActors(id=site_id, name=site_id, nodes=InProcess(nodes), **rest)
        self.campus.sites = self.campus.sites | {site_id: site}

    async def find(self) -> str:
        found, node = await self.campus.find_node(POINT)
        assert node.id == POINT
        return found.id

    def asked(self) -> dict[str, int]:
        """Give how often each was asked since the last look."""
        found = {site_id: nodes.asked for site_id, nodes in self.nodes.items()}
        for nodes in self.nodes.values():
            nodes.asked = 0
        return found


@pytest.fixture
def three() -> Sites:
    return Sites(north=Nodes(), south=Nodes(POINT), west=Nodes())


async def test_only_the_first_question_goes_to_all(three: Sites) -> None:
    assert await three.find() == "south"
    assert three.asked() == {"north": 1, "south": 1, "west": 1}
    assert await three.find() == "south"
    assert (await three.campus.site_of(POINT)).id == "south"
    assert three.asked() == {"north": 0, "south": 2, "west": 0}


async def test_a_node_that_moved_is_found_at_its_new_site(three: Sites) -> None:
    await three.find()
    three.nodes["south"].ids.clear()
    three.nodes["west"].ids.add(POINT)
    assert await three.find() == "west"
    three.nodes["west"].ids.clear()
    with pytest.raises(NotFoundError):
        await three.find()


async def test_an_id_of_several_sites_is_never_remembered(three: Sites) -> None:
    three.nodes["north"].ids.add(POINT)
    for _ in range(2):
        with pytest.raises(BadInputError, match="one of north, south"):
            await three.find()
    assert (await three.campus.site_of(POINT, "north")).id == "north"
    assert three.asked() == {"north": 3, "south": 2, "west": 2}


async def test_all_are_asked_again_after_a_while(three: Sites) -> None:
    await three.find()
    three.nodes["west"].ids.add(POINT)
    three.now = places.KEPT - 1
    assert await three.find() == "south"
    three.now = places.KEPT
    with pytest.raises(BadInputError, match="one of south, west"):
        await three.find()


async def test_a_node_that_is_made_here_is_noticed_at_once(three: Sites) -> None:
    await three.find()
    three.nodes["west"].ids.add(POINT)
    three.campus.places.forget(POINT)
    with pytest.raises(BadInputError, match="one of south, west"):
        await three.find()


async def test_what_is_made_while_all_are_asked_is_noticed(three: Sites) -> None:
    mark = three.campus.places.asking(0)
    three.campus.places.forget("another")
    three.campus.places.keep(POINT, "south", mark)
    assert three.campus.places.site(POINT, 0) is None


async def test_a_site_that_joins_or_comes_back_is_asked(three: Sites) -> None:
    await three.find()
    three.add("east", Nodes(POINT))
    east = three.campus.site("east")
    east.leave("it has not joined yet")
    assert await three.find() == "south"
    east.come(1, "host")
    with pytest.raises(BadInputError, match="one of south, east"):
        await three.find()
    three.nodes["east"].ids.clear()
    assert await three.find() == "south"
    east.leave("cut off")
    three.nodes["east"].ids.add(POINT)
    assert await three.find() == "south"
    east.come(2, "host")
    with pytest.raises(BadInputError, match="one of south, east"):
        await three.find()


async def test_what_a_silent_site_may_have_is_not_remembered(three: Sites) -> None:
    three.nodes["west"].fails = True
    assert await three.find() == "south"
    three.nodes["west"].fails, three.nodes["west"].ids = False, {POINT}
    with pytest.raises(BadInputError, match="one of south, west"):
        await three.find()


async def test_a_remembered_site_that_is_away_says_so(three: Sites) -> None:
    await three.find()
    three.campus.site("south").leave("cut off")
    with pytest.raises(UnreachableError, match="cut off"):
        await three.find()


async def test_no_more_is_remembered_than_fits(three: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOST", 2)
    memory = three.campus.places
    for name in ("a", "b", "c"):
        memory.keep(name, "south", memory.asking(0))
    assert [memory.site(name, 0) for name in ("a", "b", "c")] == [None, None, "south"]


class Lists:
    """Sites with lists of numbers, read in parts; told what was read."""

    def __init__(self, *lengths: int) -> None:
        nobody: dict[str, Any] = dict.fromkeys(
            ("bus", "points", "nodes", "history", "alarms", "overrides", "commands"), None
        )
        self.sites = [SiteActors(id=f"s{n:02d}", name="", **nobody) for n in range(len(lengths))]
        self.all = {
            site.id: [{"at": f"{site.id}.{n}"} for n in range(length)]
            for site, length in zip(self.sites, lengths, strict=True)
        }
        self.reads = 0
        self.silent: set[str] = set()

    async def read(self, site: SiteActors, most: int, after: str | None) -> tuple[list[Any], str | None]:
        assert most > 0
        self.reads += 1
        if site.id in self.silent:
            raise UnreachableError(site.id, "cut off")
        begin = int(after or 0)
        rest = self.all[site.id][begin:]
        return rest[:most], str(begin + most) if len(rest) > most else None

    async def pages(self, limit: int) -> Iterator[Page]:
        found, cursor = [], None
        while True:
            page = await over_sites(self.sites, limit, cursor, self.read)
            found.append(page)
            cursor = page.next_cursor
            if cursor is None:
                return iter(found)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50, 1000])
@pytest.mark.parametrize("lengths", [(), (0,), (5,), (0, 3, 0, 0, 9, 1, 1, 1, 0, 4), (1,) * 70, (60, 0, 60)])
async def test_pages_over_sites_give_all_in_order(lengths: tuple[int, ...], limit: int) -> None:
    lists = Lists(*lengths)
    pages = list(await lists.pages(limit))
    assert [each for page in pages for each in page.items] == [
        each for site in lists.sites for each in lists.all[site.id]
    ]
    assert all(len(page.items) <= limit for page in pages)
    assert all(len(page.items) == limit for page in pages[:-1])


async def test_a_full_first_site_is_the_only_one_asked() -> None:
    lists = Lists(100, 100, 100)
    page = await over_sites(lists.sites, 10, None, lists.read)
    assert (len(page.items), page.next_cursor, lists.reads) == (10, "s00~10", 1)


async def test_sites_that_are_away_are_told_in_order_and_the_others_are_read() -> None:
    lists = Lists(*(1 for _ in range(10)))
    lists.silent = {"s02", "s05"}
    page = await over_sites(lists.sites, 100, None, lists.read)
    assert (len(page.items), page.unreachable_sites) == (8, ["s02", "s05"])


@pytest.mark.parametrize("cursor", ["x~", "s00", "", "~"])
async def test_a_wrong_cursor_is_refused(cursor: str) -> None:
    lists = Lists(1, 1)
    with pytest.raises(BadInputError, match="cursor"):
        await over_sites(lists.sites, 10, cursor, lists.read)
