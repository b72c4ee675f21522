"""A durable subscriber at the head, when the link goes between its work and the journal's knowing of it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.bus.client import DurableDelivery
from actors.bus.events import AlarmCleared
from api import following
from api.deps import SiteActors
from api.following import follow_site_durably


def event(seq: int, alarm: int) -> AlarmCleared:
    return AlarmCleared(site="north", seq=seq, alarm_id=alarm, node_id="p")


async def test_what_comes_again_after_a_cut_link_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    site = SiteActors("north", "North", *(["bus"] + [None] * 6))
    site.come(1, "host")
    parts = [
        [event(1, 1), event(2, 2)],
        [event(1, 1), event(2, 2), event(3, 3)],  # as before, and what has happened meanwhile
        [event(3, 7)],  # another journal, from a backup: an old number for something else
    ]

    async def journal(*_: Any, **__: Any) -> AsyncIterator[DurableDelivery]:
        while parts:
            yield DurableDelivery(list(parts.pop(0)))

    monkeypatch.setattr(following, "follow_durably", journal)
    got: list[list[int]] = []
    async for delivery in follow_site_durably(site, "test"):
        got.append([each.alarm_id for each in delivery.events])
        site.leave("cut")
        site.come(2, "host")
        site.bus = f"bus {len(got)}"
        if not parts:
            break
    assert got == [[1, 2], [3], [7]]
