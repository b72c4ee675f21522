"""Deciding about many devices at the page, while others change them and the API goes away."""

from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from api.web import found as one
from api.web.discovery import _Found
from api.web.session import ApiError


class Work:
    """Does all steps at once."""

    going = False

    async def run(self, what: str, things: Sequence[Any], step: Callable[[Any], Awaitable[bool]]) -> int:
        return sum([await step(each) for each in things])


class Page:
    """A list of devices without a browser, and an API that answers as it is told to."""

    def __init__(self, ids: range) -> None:
        self.posted: list[tuple[str, Any]] = []
        self.told: list[tuple[str, list[str]]] = []
        self.list: Any = object.__new__(_Found)
        self.list._frame = SimpleNamespace(session=self, refresh=self.refresh, reload=self.reload)
        self.list._work, self.list._all = Work(), SimpleNamespace(set_value=lambda value: None)
        self.list._devices = {("north", each): {"name": f"Room {each}"} for each in ids}
        self.list._chosen = set(self.list._devices)
        self.list._tell = lambda done, refused: self.told.append((done, refused))

    async def refresh(self) -> None:
        pass

    async def reload(self) -> None:
        raise ApiError(503, "site_unreachable", "North is away")

    async def post(self, path: str, body: Any, patience: float) -> Any:
        self.posted.append((path, body))
        if "accept" in path and "/2/" in path:
            self.list._devices = {}
            raise ApiError(404, "not_found", "It is gone")
        return {"changed": body.get("ids", []), "refused": {}, "created_node_ids": ["1001"]}


async def test_a_device_that_is_forgotten_meanwhile_and_a_model_that_is_away_are_told() -> None:
    page = Page(range(1, 4))
    await page.list.accept()
    assert page.told == [("2 devices accepted", ["Room 2: It is gone"])]


async def test_more_than_fit_one_request_are_ignored_all() -> None:
    page = Page(range(1, 2502))
    await page.list.ignore()
    assert [len(body["ids"]) for _, body in page.posted] == [1000, 1000, 501]
    assert page.told == [("2501 devices ignored", [])]


async def test_what_was_accepted_is_shown_though_the_model_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    went: list[str] = []
    monkeypatch.setattr(one, "ui", SimpleNamespace(navigate=SimpleNamespace(to=went.append)))
    page = Page(range(0))
    becoming: Any = object.__new__(one._Becoming)
    model = SimpleNamespace(sites={"north": {}}, key=lambda node_id, site: node_id)
    becoming._frame = SimpleNamespace(session=page, reload=page.reload, model=model)
    becoming._path, becoming._query, becoming._site = "/api/discovery/1", "", None
    becoming._request = dict
    await becoming.accept()
    assert went == ["/equipment?id=1001"]
