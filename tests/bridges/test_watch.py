import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.bus.bus import EventBus
from actors.bus.events import EntityCreated, event_json
from actors.bus.frames import Frame
from bridges.watch import GATHER, ModelWatch
from tests.support import InProcess

CREATED = Frame(
    "entity_created", 1, b"[" + event_json(EntityCreated(entity_id="p", entity_type="Point")) + b"]"
)


@pytest.fixture
async def bus() -> EventBus:
    return EventBus("north")


@pytest.fixture
async def watch(bus: EventBus) -> AsyncIterator[ModelWatch]:
    watch = ModelWatch("north", "modbus_bridge", InProcess(bus))
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(10):
        # To have subscribed counts as a change: some may have been missed.
        await watch.changed(3600)
    yield watch
    running.cancel()


async def test_a_change_wakes_who_waits(bus: EventBus, watch: ModelWatch) -> None:
    waiting = asyncio.create_task(watch.changed(3600))
    await asyncio.sleep(0)
    await bus.publish([CREATED])
    async with asyncio.timeout(10):
        await waiting


async def test_a_change_from_before_is_told_once(bus: EventBus, watch: ModelWatch) -> None:
    await bus.publish([CREATED, CREATED])
    async with asyncio.timeout(10):
        await watch.changed(3600)
    waiting = asyncio.create_task(watch.changed(3600))
    await asyncio.sleep(GATHER + 0.1)
    assert not waiting.done()
    waiting.cancel()


async def test_without_a_bus_the_clock_tells() -> None:
    watch = ModelWatch("north", "modbus_bridge", None)
    await watch.run()
    await watch.changed(0.01)
