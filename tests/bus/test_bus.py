import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from actors.bus import client
from actors.bus.bus import CAPACITY, EventBus, NotSubscribedError
from actors.bus.client import GATHER, Delivery, Publisher, follow, gathering
from actors.bus.events import ANY_EVENT, EVENT_TYPES, AlarmCleared, Changed, DeviceDown, change_type
from actors.bus.frames import FRAME_EVENTS, Frame, event_frame, read_events, status_frames, value_frames
from actors.core.errors import BadInputError
from tests.support import InProcess


def frame(kind: str, size: int) -> Frame:
    return Frame(kind, size, b"x" * size)


def test_there_are_18_events() -> None:
    assert len(EVENT_TYPES) == 18


async def test_numbers_rise_without_holes_over_all_frames() -> None:
    bus = EventBus("north", lambda: 5)
    token = await bus.subscribe("a")
    assert await bus.publish([frame("value_changed", 10), frame("alarm_raised", 1)]) == 5010
    await bus.publish([frame("value_changed", 3)])
    frames, lost = await bus.next("a", token, 0)
    assert [(each.seq, each.size) for each in frames] == [(5000, 10), (5010, 1), (5011, 3)]
    assert lost == 0


async def test_each_gets_the_types_it_asked_for() -> None:
    bus = EventBus("north")
    some, every, none = [
        await bus.subscribe(n, t) for n, t in (("s", ["alarm_raised"]), ("e", None), ("n", []))
    ]
    await bus.publish([frame("value_changed", 2), frame("alarm_raised", 1)])
    assert [each.type for each in (await bus.next("s", some, 0)).frames] == ["alarm_raised"]
    assert [each.type for each in (await bus.next("e", every, 0)).frames] == ["value_changed", "alarm_raised"]
    assert (await bus.next("n", none, 0)).frames == []


async def test_every_subscriber_gets_the_very_same_bytes() -> None:
    bus = EventBus("north")
    tokens = {name: await bus.subscribe(name) for name in "ab"}
    payload = b"encoded once"
    await bus.publish([Frame("alarm_raised", 1, payload)])
    for name, token in tokens.items():
        assert (await bus.next(name, token, 0)).frames[0].payload is payload


@given(sizes=st.lists(st.integers(1, 50), max_size=40), capacity=st.integers(50, 200))
async def test_the_oldest_are_dropped_and_every_loss_is_told(sizes: list[int], capacity: int) -> None:
    bus = EventBus("north", lambda: 0)
    token = await bus.subscribe("slow", None, capacity)
    for size in sizes:
        await bus.publish([frame("value_changed", size)])
    frames, lost = await bus.next("slow", token, 0)
    kept = sum(each.size for each in frames)
    assert kept + lost == sum(sizes)
    assert kept <= capacity
    if frames:
        assert frames[-1].seq + frames[-1].size == sum(sizes), "the newest are kept"
    stats = (await bus.stats()).subscribers[0]
    assert (stats.lagged, stats.delivered, stats.queued) == (lost, kept, 0)
    assert (await bus.next("slow", token, 0)).lost == 0, "told once"


async def test_a_poll_waits_and_wakes_at_once() -> None:
    bus = EventBus("north")
    token = await bus.subscribe("a")
    poll = asyncio.create_task(bus.next("a", token, 30))
    await asyncio.sleep(0.01)
    assert not poll.done()
    await bus.publish([frame("alarm_raised", 1)])
    assert len((await asyncio.wait_for(poll, 30)).frames) == 1
    assert (await bus.next("a", token, 0.01)).frames == []


async def test_a_second_subscription_takes_the_name_and_the_first_is_told() -> None:
    bus = EventBus("north")
    first = await bus.subscribe("a")
    poll = asyncio.create_task(bus.next("a", first, 30))
    await asyncio.sleep(0.01)
    second = await bus.subscribe("a")
    with pytest.raises(NotSubscribedError):
        await asyncio.wait_for(poll, 30)
    with pytest.raises(NotSubscribedError):
        await bus.next("a", first)
    await bus.unsubscribe("a", first)
    assert (await bus.next("a", second, 0)).frames == []


async def test_a_silly_capacity_is_refused() -> None:
    with pytest.raises(BadInputError, match="capacity"):
        await EventBus("north").subscribe("a", None, 0)


async def test_a_watch_cell_wakes_who_waits_and_never_goes_back() -> None:
    bus = EventBus("north")
    assert await bus.watch("alarms", None, 0.01) is None
    waiting = asyncio.create_task(bus.watch("alarms", None, 30))
    await asyncio.sleep(0.01)
    await bus.set_watch("alarms", 3)
    assert await asyncio.wait_for(waiting, 30) == 3
    await bus.set_watch("alarms", 2)
    assert await bus.watch("alarms", 0, 30) == 3
    assert (await bus.stats()).watches == {"alarms": 3}


def test_events_come_out_as_they_went_in_with_site_and_number() -> None:
    for event in (
        DeviceDown(device_key="1001", protocol="bacnet", error="no answer"),
        AlarmCleared(alarm_id=1, node_id="1001/ai-1"),
    ):
        kind, size, payload = event_frame(event)
        [read] = Delivery("north", [_numbered(7, kind, size, payload)]).events()
        assert read == event.model_copy(update={"site": "north", "seq": 7})
        assert ANY_EVENT.validate_json(read.model_dump_json()) == read


def _numbered(seq: int, kind: str, size: int, payload: bytes) -> Any:
    from actors.bus.frames import NumberedFrame

    return NumberedFrame(seq, kind, size, payload)


VALUES = st.one_of(
    st.none(), st.booleans(), st.floats(allow_nan=False), st.integers(-(2**53), 2**53), st.text()
)


@given(st.lists(st.tuples(st.text(min_size=1), VALUES, st.integers(0, 2**43)), max_size=30))
def test_value_columns_keep_values_and_their_types(rows: list[tuple[str, Any, int]]) -> None:
    ids, values, times = (
        [list(column) for column in zip(*rows, strict=True)] or ([], [], []) if rows else ([], [], [])
    )
    frames = value_frames(ids, values, times)
    read = [row for each in frames for row in Delivery("n", [_numbered(0, *each)]).values()]
    assert [(a, type(b), b, c) for a, b, c in read] == [(a, type(b), b, c) for a, b, c in rows]


def test_long_batches_are_cut() -> None:
    frames = status_frames(["p"] * 2500, [0] * 2500, [1] * 2500)
    assert [each.size for each in frames] == [FRAME_EVENTS, FRAME_EVENTS, 500]
    [first, *_] = read_events(_numbered(0, *frames[0]), "north")
    assert first.model_dump(mode="json")["new_status"] == ["alarm"]


async def test_a_change_channel_names_what_changed() -> None:
    bus = EventBus("north")
    token = await bus.subscribe("engine", [change_type("programs")])
    payload = b"[" + Changed(channel="programs", key="7").model_dump_json().encode() + b"]"
    await bus.publish([Frame(change_type("programs"), 1, payload), frame("value_changed", 1)])
    frames, _ = await bus.next("engine", token, 0)
    assert [each.key for each in Delivery("north", frames).changes()] == ["7"]


async def test_a_follower_sees_a_restart_of_the_bus_as_a_resync() -> None:
    class Restartable:
        def __init__(self) -> None:
            self.bus = EventBus("north")

        def __getattr__(self, name: str) -> Any:
            return getattr(self.bus, name)

    there = Restartable()
    seen: list[tuple[bool, int]] = []
    restarted = asyncio.Event()

    async def run() -> None:
        async for delivery in follow(InProcess(there), "engine", site="north", wait=0.05):
            seen.append((delivery.resync, len(delivery.events())))
            if delivery.resync and len([1 for resync, _ in seen if resync]) == 2:
                restarted.set()

    task = asyncio.create_task(run())
    await asyncio.sleep(0.05)
    await there.bus.publish([event_frame(AlarmCleared(alarm_id=1, node_id="x"))])
    await asyncio.sleep(0.05)
    there.bus = EventBus("north")
    await asyncio.wait_for(restarted.wait(), 30)
    await there.bus.publish([event_frame(AlarmCleared(alarm_id=2, node_id="x"))])
    await asyncio.sleep(0.1)
    task.cancel()
    assert seen == [(True, 0), (False, 1), (True, 0), (False, 1)]


@given(st.lists(st.integers(0, 2**43), min_size=1, max_size=5), st.booleans())
def test_a_time_that_all_share_travels_once_and_comes_out_for_each(times: list[int], same: bool) -> None:
    times = [times[0]] * len(times) if same else times
    ids, values = [f"p{n}" for n in range(len(times))], [1.5] * len(times)
    [made] = value_frames(ids, values, times)
    assert list(Delivery("n", [_numbered(0, *made)]).values()) == list(zip(ids, values, times, strict=True))


def test_a_follower_lets_frames_gather_only_where_they_come_thick_and_capacity_bears_it() -> None:
    assert gathering(1, 1000, 0.1, CAPACITY) == 0, "ten frames a second"
    assert gathering(1, 1, 10.0, CAPACITY) == 0
    assert gathering(20, 20, 0.02, CAPACITY) == GATHER
    assert gathering(10, 10_000, 0.02, 4096) == 1024 * 0.02 / 10_000, "a quarter of what it holds"
    assert gathering(10, 10_000, 0.02, 1_000_000) == GATHER


class Calls:
    """A bus that notes each call of `publish`, which takes a moment."""

    def __init__(self) -> None:
        self.calls: list[list[Frame]] = []
        self.publish = self

    def remote(self, frames: list[Frame]) -> list[Frame]:
        self.calls.append(list(frames))
        return frames


def published(monkeypatch: pytest.MonkeyPatch, publish: Callable[[Publisher], None]) -> list[list[Frame]]:
    """Give what each call carried of what was published."""
    monkeypatch.setattr(ray, "get", lambda refs, timeout: time.sleep(0.001))
    bus = Calls()
    publisher = Publisher(bus)
    publish(publisher)
    publisher.close()
    return bus.calls


def test_a_busy_publisher_sends_several_frames_in_a_call_in_order_and_none_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def many(publisher: Publisher) -> None:
        for number in range(300):
            publisher.values(["p"], [float(number)], [number])
            time.sleep(0.0005)

    calls = published(monkeypatch, many)
    sent = [frame for call in calls for frame in call]
    assert sent == [value_frames(["p"], [float(n)], [n])[0] for n in range(300)]
    assert len(calls) < 150


def test_events_do_not_wait_for_value_changes_that_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SEND_GATHER", 60.0)
    gone: list[int] = []

    def burst(publisher: Publisher) -> None:
        for number in range(4):
            publisher.values(["p"], [1.0], [number])
            time.sleep(0.002)
        publisher(Changed(channel="programs", key="7"))
        deadline = time.monotonic() + 20
        while publisher._other and time.monotonic() < deadline:
            time.sleep(0.005)
        gone.append(len(publisher._other))

    calls = published(monkeypatch, burst)
    assert gone == [0]
    assert "change:programs" in [frame.type for call in calls for frame in call]


@pytest.mark.parametrize("step", ["subscribe", "next"])
async def test_a_follower_ends_that_is_cancelled_just_when_an_answer_comes(step: str) -> None:
    answers: dict[str, asyncio.Future[Any]] = {
        name: asyncio.get_running_loop().create_future() for name in ("subscribe", "next", "unsubscribe")
    }

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return SimpleNamespace(remote=lambda *args: answers[name])

    async def run() -> None:
        async for _ in follow(Slow(), "slow"):
            pass

    task = asyncio.create_task(run())
    if step == "next":
        answers["subscribe"].set_result("token")
    for _ in range(5):
        await asyncio.sleep(0)
    answers[step].set_result("token" if step == "subscribe" else ([], 0))
    task.cancel()
    _, pending = await asyncio.wait({task}, timeout=1)
    task.cancel()
    assert not pending
    assert task.cancelled()
