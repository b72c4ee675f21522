"""The journal, and events that must not be lost on their way to it."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.bus import journal as journal_module
from actors.bus.bus import EventBus
from actors.bus.client import DurableDelivery, follow, follow_config, follow_durably
from actors.bus.events import AlarmCleared, event_json
from actors.bus.journal import JOURNALED, KEEP, KEEP_UNREAD, Entry, JournalStore
from actors.core.errors import BadInputError, NotFoundError, UnreachableError
from tests.support import InProcess

NOON = 1_700_000_000_000


def entry(number: int, kind: str = "alarm_cleared") -> Entry:
    return Entry(f"key-{number}", kind, event_json(AlarmCleared(alarm_id=number, node_id="1001/ai-1")))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JournalStore]:
    opened = JournalStore(tmp_path, clock=lambda: NOON)
    yield opened
    opened.close()


def test_16_types_are_journaled() -> None:
    assert len(JOURNALED) == 16


def test_numbers_have_no_holes_and_the_same_key_keeps_its_number(store: JournalStore) -> None:
    assert store.append([entry(1), entry(2)]) == [1, 2]
    assert store.append([entry(2), entry(3), entry(3)]) == [2, 3, 3]
    assert store.append([]) == []
    assert [each.seq for each in store.read(0).entries] == [1, 2, 3]
    assert json.loads(store.read(2).entries[0].event)["alarm_id"] == 3


def test_a_read_goes_on_where_it_ended_also_past_other_types(store: JournalStore) -> None:
    store.append([entry(n, "alarm_cleared" if n % 3 else "alarm_raised") for n in range(1, 11)])
    batch = store.read(0, 2, ["alarm_raised"])
    assert ([each.seq for each in batch.entries], batch.after, batch.lost) == ([3, 6], 6, 0)
    batch = store.read(batch.after, 2, ["alarm_raised"])
    assert ([each.seq for each in batch.entries], batch.after) == ([9], 10)


def test_what_cant_be_asked_is_refused_by_field(store: JournalStore) -> None:
    store.append([entry(1)])
    for field, ask in (
        ("after", lambda: store.read(2)),
        ("after", lambda: store.read(-1)),
        ("limit", lambda: store.read(0, 0)),
        ("types", lambda: store.read(0, 10, ["value_changed"])),
        ("after", lambda: store.subscribe("router", None, 2)),
        ("name", lambda: store.subscribe("")),
        ("seq", lambda: store.acknowledge("router", 2)),
        ("end", lambda: store.replay(5, 5)),
        ("cursor", lambda: store.replay(cursor="x")),
    ):
        with pytest.raises(BadInputError) as caught:
            ask()
        assert caught.value.field == field
    with pytest.raises(NotFoundError):
        store.acknowledge("nobody", 1)
    assert store.subscriptions() == []


def test_a_subscription_keeps_its_place_over_a_restart(store: JournalStore) -> None:
    store.append([entry(n) for n in range(1, 6)])
    assert store.subscribe("late").acknowledged == 5
    assert store.subscribe("router", ["alarm_cleared"], 0).acknowledged == 0
    assert store.acknowledge("router", 3).behind == 2
    assert store.acknowledge("router", 1).acknowledged == 3, "it never goes back"
    store.close()
    again = JournalStore(store.path.parent, clock=lambda: NOON)
    assert again.subscribe("router", None, 0).acknowledged == 3
    assert [each.name for each in again.subscriptions()] == ["late", "router"]
    again.unsubscribe("late")
    with pytest.raises(NotFoundError):
        again.subscription("late")
    again.close()


def test_replay_by_time_comes_in_pages(tmp_path: Path) -> None:
    now = [NOON]
    store = JournalStore(tmp_path, clock=lambda: now[0])
    for number in range(10):
        now[0] = NOON + number * 1000
        store.append([entry(number)])
    seen: list[int] = []
    cursor = None
    while True:
        part, cursor = store.replay(NOON + 2000, NOON + 8000, None, 4, cursor)
        seen += [each.at for each in part]
        if cursor is None:
            break
    assert seen == [NOON + n * 1000 for n in range(2, 8)]
    store.close()


def test_old_events_go_but_those_that_a_subscriber_waits_for_stay_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "PRUNE_EVERY", 1)
    now = [NOON]
    monkeypatch.setattr("actors.core.store.monotonic", lambda: now[0] / 1000)
    store = JournalStore(tmp_path, clock=lambda: now[0])
    store.append([entry(1), entry(2), entry(3)])
    store.subscribe("router", None, 0)
    store.acknowledge("router", 1)
    now[0] = NOON + KEEP + 1
    store.append([entry(4)])
    assert store.bounds() == (2, 4), "the first was acknowledged by all"
    now[0] = NOON + KEEP_UNREAD + 1
    store.append([entry(5)])
    assert store.bounds() == (4, 5)
    batch = store.read(1)
    assert ([each.seq for each in batch.entries], batch.lost) == ([4, 5], 2), "what is lost is told"
    now[0] = NOON + 3 * KEEP_UNREAD
    store.append([entry(6)])
    store.close()
    again = JournalStore(tmp_path, clock=lambda: now[0])
    assert again.append([entry(7)]) == [7], "numbers are never given twice"
    again.close()


def test_a_journal_is_bounded_whoever_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "PRUNE_EVERY", 10)
    monkeypatch.setattr(journal_module, "KEEP_EVENTS", 50)
    store = JournalStore(tmp_path, clock=lambda: NOON)
    store.subscribe("gone for good", None, 0)
    for number in range(200):
        store.append([entry(number)])
    first, last = store.bounds()
    assert last == 200
    assert 50 <= last - first + 1 <= 60
    store.close()


class Model(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.store = JournalStore(self.folder.name)
        self.kept: list[str] = []
        self.acknowledged = 0
        self.store.subscribe("model", None, 0)

    @rule(numbers=st.lists(st.integers(1, 40), max_size=6))
    def append(self, numbers: list[int]) -> None:
        given = self.store.append([entry(each) for each in numbers])
        for each, number in zip(numbers, given, strict=True):
            key = f"key-{each}"
            if key not in self.kept:
                self.kept.append(key)
            assert number == self.kept.index(key) + 1

    @precondition(lambda self: self.kept)
    @rule(part=st.floats(0, 1))
    def acknowledge(self, part: float) -> None:
        seq = round(part * len(self.kept))
        self.acknowledged = max(self.acknowledged, seq)
        assert self.store.acknowledge("model", seq).acknowledged == self.acknowledged

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = JournalStore(self.folder.name)

    @rule(after=st.integers(0, 40), limit=st.integers(1, 7))
    def read(self, after: int, limit: int) -> None:
        after = min(after, len(self.kept))
        batch = self.store.read(after, limit)
        assert [each.seq for each in batch.entries] == [n for n in range(1, len(self.kept) + 1) if n > after][
            :limit
        ]
        assert [f"key-{json.loads(each.event)['alarm_id']}" for each in batch.entries] == self.kept[
            after : after + limit
        ]

    @invariant()
    def agrees(self) -> None:
        assert self.store.subscription("model").behind == len(self.kept) - self.acknowledged

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=20, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow]
)


class Killable:
    """A handle of what can be away: killed, its calls fail; raised again it is another object."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make, self.there = make, make()

    def kill(self) -> None:
        self.there = None

    def rise(self) -> None:
        self.there = self.make()

    def __getattr__(self, name: str) -> Any:
        if self.there is None:
            return _Gone()
        return getattr(InProcess(self.there), name)


class _Gone:
    def remote(self, *args: Any) -> Any:
        async def fail() -> None:
            raise UnreachableError("it", "it is restarting")

        return asyncio.ensure_future(fail())


async def wait_for(check: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_recorded_events_are_handed_out_with_the_number_of_the_journal(store: JournalStore) -> None:
    bus = EventBus("north", journal=InProcess(store))
    token = await bus.subscribe("page")
    assert await bus.record([entry(1), entry(2)]) == [1, 2]
    assert await bus.record([entry(2)]) == [2]
    frames = (await bus.next("page", token, 0)).frames
    assert [each.seq for each in frames] == [1, 2], "what comes twice is handed out once"


async def test_without_the_journal_events_go_out_at_once_and_are_journaled_when_they_come_again(
    tmp_path: Path,
) -> None:
    opened: list[JournalStore] = []

    def make() -> JournalStore:
        opened.append(JournalStore(tmp_path))
        return opened[-1]

    journal = Killable(make)
    bus = EventBus("north", journal=journal)
    token = await bus.subscribe("page")
    opened[-1].close()
    journal.kill()
    for _ in range(3):
        with pytest.raises(UnreachableError):
            await bus.record([entry(1)])
    assert (await bus.health()).state == "degraded"
    frames = (await bus.next("page", token, 0)).frames
    assert [each.seq for each in frames] == [0]
    journal.rise()
    assert await bus.record([entry(1)]) == [1]
    assert (await bus.next("page", token, 0)).frames == []
    assert (await bus.health()).state == "healthy"
    opened[-1].close()


async def test_a_durable_follower_gets_everything_over_deaths_of_bus_journal_and_itself(
    tmp_path: Path,
) -> None:
    opened: list[JournalStore] = []

    def make_journal() -> JournalStore:
        opened.append(JournalStore(tmp_path))
        return opened[-1]

    journal = Killable(make_journal)
    bus = Killable(lambda: EventBus("north", journal=journal))
    got: list[int] = []

    async def run() -> None:
        async for delivery in follow_durably(bus, "router", after=0, limit=3, wait=0.05):
            got.extend(event.seq for event in delivery.events)

    async def record(numbers: range) -> None:
        for number in numbers:
            while True:
                try:
                    await bus.there.record([entry(number)])
                    break
                except (UnreachableError, AttributeError):
                    await asyncio.sleep(0.02)

    task = asyncio.create_task(run())
    writer = asyncio.create_task(record(range(60)))
    await wait_for(lambda: len(got) > 5)
    bus.kill()
    await asyncio.sleep(0.05)
    bus.rise()
    await wait_for(lambda: len(got) > 15)
    opened[-1].close()
    journal.kill()
    await asyncio.sleep(0.05)
    journal.rise()
    await wait_for(lambda: len(got) > 25)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    task = asyncio.create_task(run())
    await writer
    await wait_for(lambda: len(set(got)) == 60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert sorted(set(got)) == list(range(1, 61))
    opened[-1].close()


async def test_what_was_not_worked_off_comes_again(store: JournalStore) -> None:
    bus = InProcess(EventBus("north", journal=InProcess(store)))
    store.append([entry(n) for n in range(5)])

    async def first() -> DurableDelivery:
        async for delivery in follow_durably(bus, "router", after=0, limit=2):
            return delivery
        raise AssertionError

    assert [event.seq for event in (await first()).events] == [1, 2]
    assert [event.seq for event in (await first()).events] == [1, 2], "it was never acknowledged"


async def test_a_follower_of_a_journal_from_a_backup_begins_where_that_ends(tmp_path: Path) -> None:
    store = JournalStore(tmp_path / "new")
    store.append([entry(n) for n in range(1, 10)])
    old = JournalStore(tmp_path / "old")
    old.append([entry(1)])
    old.subscribe("router", None, 0)
    journal = Killable(lambda: store)
    bus = InProcess(EventBus("north", journal=journal))
    got: list[int] = []

    async def run() -> None:
        async for delivery in follow_durably(bus, "router", after=0, wait=0.05):
            got.extend(getattr(event, "alarm_id") for event in delivery.events)  # noqa: B009

    task = asyncio.create_task(run())
    await wait_for(lambda: len(got) == 9)
    await asyncio.sleep(0.1)
    journal.there = old
    await wait_for(lambda: len(got) == 10)
    old.append([entry(77)])
    await wait_for(lambda: got[-1] == 77)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    store.close()
    old.close()


async def test_a_wrong_subscription_is_told_and_not_tried_for_ever(store: JournalStore) -> None:
    bus = InProcess(EventBus("north", journal=InProcess(store)))
    with pytest.raises(BadInputError):
        await anext(follow_durably(bus, "router", ["value_changed"]))


async def test_live_followers_read_recorded_events_as_models(store: JournalStore) -> None:
    plain = EventBus("north", journal=InProcess(store))

    async def first_event() -> Any:
        async for delivery in follow(InProcess(plain), "page", site="north", wait=0.05):
            if delivery.resync:
                await plain.record([entry(4)])
            for event in delivery.events():
                return event
        raise AssertionError

    event = await asyncio.wait_for(first_event(), 30)
    assert event == AlarmCleared(alarm_id=4, node_id="1001/ai-1", site="north", seq=1)


async def test_a_configuration_is_followed_over_deaths_of_bus_and_store() -> None:
    version = [5]
    away = [False]
    bus = Killable(lambda: EventBus("north"))
    seen: list[int] = []

    async def read_version() -> int:
        if away[0]:
            raise UnreachableError("alarms", "it is restarting")
        return version[0]

    async def run() -> None:
        async for found in follow_config(bus, "alarms", read_version):
            seen.extend([found])

    task = asyncio.create_task(run())
    await wait_for(lambda: seen == [5])
    version[0] = 6
    await bus.there.set_watch("alarms", 6)
    await wait_for(lambda: seen == [5, 6])
    old, away[0] = bus.there, True
    bus.kill()
    version[0] = 7
    # The dead bus's poll ends as a killed actor's does; here by its cell.
    await old.set_watch("alarms", 7)
    await asyncio.sleep(0.05)
    away[0] = False
    await wait_for(lambda: seen == [5, 6, 7])
    bus.rise()
    version[0] = 8
    await bus.there.set_watch("alarms", 8)
    await wait_for(lambda: seen == [5, 6, 7, 8])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
