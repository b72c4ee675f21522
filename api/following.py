"""Following sites from the head: over cut links, and over hosts that come back with new actors."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final

from actors.bus.client import Delivery, DurableDelivery, follow, follow_durably
from actors.bus.events import AnyEvent
from api.deps import Campus, SiteActors

LOOK: Final = 1.0
"""Seconds between two looks at whether a site has another bus now, or whether sites have joined."""


async def _while_same(site: SiteActors, open_: Callable[[Any], AsyncIterator[Any]]) -> AsyncIterator[Any]:
    """Give what `open_(bus)` gives, again with the new bus whenever the site's host has raised another."""
    while True:
        await site.back()
        bus = site.bus
        source = open_(bus)
        coming: asyncio.Future[Any] | None = None
        try:
            while site.bus is bus and site.away is None:
                coming = coming or asyncio.ensure_future(anext(source))
                done, _ = await asyncio.wait({coming}, timeout=LOOK)
                if done:
                    delivery, coming = coming.result(), None
                    yield delivery
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
            await source.aclose()  # type: ignore[attr-defined]


async def follow_site(
    site: SiteActors, name: str, types: Iterable[str] | None = None
) -> AsyncIterator[Delivery]:
    """Follow a site's bus for ever, as `follow` does, while the site goes and comes. Cancel to end."""
    wanted = None if types is None else list(types)
    async for delivery in _while_same(site, lambda bus: follow(bus, name, wanted, site=site.id)):
        yield delivery


async def follow_site_durably(
    site: SiteActors, name: str, types: Iterable[str] | None = None, *, after: int | None = None
) -> AsyncIterator[DurableDelivery]:
    """Follow a site's journal for ever, as `follow_durably` does, while the site goes and comes.

    What was worked off when the link went, before the journal could be told, comes again from there and is
    left out here: only a restart of the caller can make an event come twice.
    """
    wanted = None if types is None else list(types)
    # By number and content: a journal restored from a backup gives the same numbers to other events.
    worked: dict[int, AnyEvent] = {}
    async for delivery in _while_same(
        site, lambda bus: follow_durably(bus, name, wanted, site=site.id, after=after)
    ):
        events = [each for each in delivery.events if worked.get(each.seq) != each]
        if events or delivery.lost:
            yield DurableDelivery(events, delivery.lost)
        worked = {each.seq: each for each in delivery.events}


async def follow_campus_durably(
    campus: Campus, name: str, types: Iterable[str] | None = None, *, after: int | None = None
) -> AsyncIterator[tuple[str, DurableDelivery]]:
    """Follow the journals of all sites, also of those that join later; give (site, delivery) as they come.

    Each site's journal remembers how far `name` has come there, so that a restart of the caller, a cut link
    or a host that was away costs nothing. A delivery is acknowledged when the caller comes for the next one:
    each event is delivered at least once, those of one site in order. Cancel to end.
    """
    wanted = None if types is None else list(types)
    ready: asyncio.Queue[tuple[str, DurableDelivery, asyncio.Event]] = asyncio.Queue()
    tasks: dict[str, asyncio.Task[None]] = {}

    async def one(site: SiteActors) -> None:
        async for delivery in follow_site_durably(site, name, wanted, after=after):
            worked = asyncio.Event()
            await ready.put((site.id, delivery, worked))
            await worked.wait()

    async def watch() -> None:
        while True:
            for site in campus.sites.values():
                if site.id not in tasks:
                    tasks[site.id] = asyncio.create_task(one(site))
            await asyncio.sleep(LOOK)

    watching = asyncio.create_task(watch())
    try:
        while True:
            site_id, delivery, worked = await ready.get()
            yield site_id, delivery
            worked.set()
    finally:
        for task in [watching, *tasks.values()]:
            task.cancel()
        await asyncio.gather(watching, *tasks.values(), return_exceptions=True)
