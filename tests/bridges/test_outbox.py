"""The way to the point store."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from actors.core.values import PointStatus
from actors.point.models import PointConfig, PointFrame, empty_frame
from bridges import outbox as module
from bridges.outbox import Outbox
from tests.bridges.modbus.conftest import Points, until
from tests.support import InProcess


@asynccontextmanager
async def running(points: Points) -> AsyncIterator[Outbox]:
    outbox = Outbox(InProcess(points))
    task = asyncio.create_task(outbox.run())
    yield outbox
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def row(point_id: str, value: float, at: int, status: int = 0) -> PointFrame:
    frame = empty_frame()
    frame.add(point_id, value, at, status)
    return frame


async def test_points_are_told_before_their_first_row() -> None:
    points = Points()
    async with running(points) as outbox:
        outbox.put(row("a", 1.0, 1000))
        outbox.configure([PointConfig(id="a")])
        assert await outbox.drained(1)
    assert points.value("a") == 1.0


async def test_frames_that_waited_arrive_joined_and_in_order() -> None:
    points = Points()
    points.away = True
    async with running(points) as outbox:
        outbox.configure([PointConfig(id="a")])
        for at in range(10):
            outbox.put(row("a", float(at), at))
        await until(lambda: outbox.trouble is not None)
        assert not await outbox.drained(0.01)
        points.away = False
        assert await outbox.drained(2)
        assert outbox.trouble is None
    assert [frame.times for frame in points.frames] == [list(range(10))]


async def test_the_oldest_frames_are_lost_and_counted_when_too_many_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "KEPT_ROWS", 5)
    points = Points()
    points.away = True
    async with running(points) as outbox:
        outbox.configure([PointConfig(id="a")])
        for at in range(8):
            outbox.put(row("a", float(at), at))
        points.away = False
        assert await outbox.drained(2)
        assert outbox.lost_rows == 3
    assert [at for frame in points.frames for at in frame.times] == [3, 4, 5, 6, 7]
    [gap] = points.gaps
    assert (gap.ids, gap.starts, gap.ends, gap.reasons) == (["a"], [0], [2], ["points down"])


async def test_a_store_that_knows_no_point_gets_all_configurations_and_last_rows() -> None:
    points = Points()
    async with running(points) as outbox:
        outbox.configure([PointConfig(id="a", units="kW"), PointConfig(id="b"), PointConfig(id="c")])
        outbox.put(row("a", 1.0, 1000))
        outbox.put(row("b", 2.0, 1000, PointStatus.DOWN))
        assert await outbox.drained(1)
        points.restart()
        outbox.put(row("c", 3.0, 2000))
        assert await outbox.drained(1)
    assert {each: points.value(each) for each in "abc"} == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert points.status("b") == PointStatus.DOWN
    assert points.get("a").units == "kW"
    assert points.get("b").time == 1000


async def test_what_a_store_took_shortly_before_it_died_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = Points()
    async with running(points) as outbox:
        outbox.configure([PointConfig(id="a")])
        for at in (1000, 2000, 3000):
            outbox.put(row("a", at / 1000, at))
            assert await outbox.drained(1)
        points.restart()
        points.frames.clear()
        outbox.put(row("a", 4.0, 4000))
        assert await outbox.drained(1)
        assert {at for frame in points.frames for at in frame.times} >= {1000, 2000, 3000, 4000}
        assert points.value("a") == 4.0
        monkeypatch.setattr(module, "AGAIN", 0.0)
        outbox.put(row("a", 5.0, 5000))
        assert await outbox.drained(1)
        assert outbox._taken_lately() == []


async def test_a_refused_frame_takes_none_with_it_that_waited_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REFUSALS", 2)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.01)
    points = Points()
    outbox = Outbox(InProcess(points))
    outbox.configure([PointConfig(id="a"), PointConfig(id="wide")])
    outbox.put(row("a", 1.0, 1000))
    outbox.put(row("wide", 2**70, 1000))  # can't be encoded
    outbox.put(row("a", 2.0, 2000))
    task = asyncio.create_task(outbox.run())
    assert await outbox.drained(5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [at for frame in points.frames for at in frame.times] == [1000, 2000]
    assert outbox.lost_rows == 1


async def test_a_frame_that_the_store_refuses_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REFUSALS", 2)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.01)

    class Picky(Points):
        def set_if_changed(self, frame: bytes):  # type: ignore[no-untyped-def]
            if b"poison" in frame:
                raise ValueError("poison")
            return super().set_if_changed(frame)

    points = Picky()
    async with running(points) as outbox:
        outbox.configure([PointConfig(id="poison"), PointConfig(id="a")])
        outbox.put(row("poison", 1.0, 1000))
        await until(lambda: outbox.trouble is not None)
        assert await outbox.drained(2)
        outbox.put(row("a", 1.0, 1000))
        assert await outbox.drained(2)
        assert outbox.lost_rows == 1
    assert points.value("a") == 1.0


async def test_a_point_that_is_forgotten_is_not_told_again() -> None:
    points = Points()
    async with running(points) as outbox:
        outbox.configure([PointConfig(id="a"), PointConfig(id="b")])
        outbox.put(row("a", 1.0, 1000))
        assert await outbox.drained(1)
        outbox.forget(["a"])
        assert await outbox.drained(1)
        assert points.store.ids() == ["b"]
        points.restart()
        outbox.put(row("b", 1.0, 1000))
        assert await outbox.drained(1)
    assert points.store.ids() == ["b"]


async def test_a_call_that_never_ends_is_given_up_and_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALL_TIMEOUT", 0.05)
    points = Points()
    hangs = [True]

    class Hanging(InProcess):
        def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
            method = super().__getattr__(name)
            if name == "set_if_changed" and hangs and hangs.pop():
                method.remote = lambda frame: asyncio.sleep(60)
            return method

    outbox = Outbox(Hanging(points))
    task = asyncio.create_task(outbox.run())
    outbox.configure([PointConfig(id="a")])
    outbox.put(row("a", 1.0, 1000))
    assert await outbox.drained(2)
    task.cancel()
    assert points.value("a") == 1.0
