import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.bus.events import WatchMoved
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.core.secrets import KEY_FILE
from actors.webhook import store as store_module
from actors.webhook.models import DeliveryState, NewEndpoint, WebhookConfig
from actors.webhook.store import WebhookStore

NOON = 1_700_000_000_000
DAY = 86_400_000
PENDING, DELIVERED, FAILED = DeliveryState


def endpoint(name: str = "cmms", **fields: Any) -> NewEndpoint:
    return NewEndpoint.model_validate({"name": name, "url": "https://cmms.example.org/hook"} | fields)


class World:
    def __init__(self, folder: Path | str) -> None:
        self.folder, self.now = folder, NOON
        self.events: list[Any] = []
        self.open()

    def open(self) -> None:
        self.store = WebhookStore(self.folder, self.events.append, lambda: self.now)

    def reopen(self) -> None:
        self.store.close()
        self.open()

    def queue(self, endpoint_id: int, key: str) -> int:
        return self.store.queue(endpoint_id, key, "alarm_raised", "{}").id


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.events.clear()
    yield world
    world.store.close()


def test_the_tables_are_those_of_the_reference(world: World) -> None:
    rows = world.store.all("SELECT name FROM sqlite_master WHERE type = 'table'")
    assert {"webhook_endpoint", "webhook_delivery", "webhook_config"} <= {row["name"] for row in rows}


def test_an_endpoint_is_kept_and_its_secret_sealed(world: World) -> None:
    made = world.store.create(endpoint(secret="s3cret-key", severities=["high"], tags=["-air"]))
    assert made.has_secret
    world.reopen()
    assert world.store.get(made.id) == made
    for file in Path(world.folder).glob("webhooks.db*"):
        assert b"s3cret" not in file.read_bytes()
    [found] = world.store.in_force()[2]
    assert found.secret is not None
    assert found.secret.get_secret_value() == "s3cret-key"
    assert world.store.update(made.id, endpoint("renamed")).has_secret, "a secret left out stays"
    world.store.close()
    (Path(world.folder) / KEY_FILE).unlink()
    world.open()
    [lost] = world.store.in_force()[2]
    assert lost.secret is None
    assert "the secret of renamed can't be read" in (lost.trouble or "")


def test_private_addresses_are_refused_until_their_network_is_allowed(world: World) -> None:
    inside = endpoint(url="http://10.1.2.3/hook")
    with pytest.raises(BadInputError, match="url"):
        world.store.create(inside)
    made = world.store.create(endpoint())
    with pytest.raises(BadInputError, match="url"):
        world.store.update(made.id, inside)
    world.store.set_config(WebhookConfig(allowed_networks=["10.1.0.0/16"]))
    assert world.store.update(made.id, inside).url == inside.url


def test_names_are_taken_once(world: World) -> None:
    world.store.create(endpoint("A"))
    with pytest.raises(ConflictError, match="already"):
        world.store.create(endpoint("a"))


def test_an_event_is_queued_once_and_delivered_once(world: World) -> None:
    made = world.store.create(endpoint()).id
    first = world.queue(made, "north/7")
    assert world.queue(made, "north/7") == first
    [due] = world.store.due()
    assert (due.delivery.id, due.payload) == (first, "{}")
    done = world.store.attempted(first, 204, 12)
    assert (done.state, done.attempts, done.duration_ms, done.error) == (DELIVERED, 1, 12, None)
    assert world.store.due() == []
    assert world.queue(made, "north/7") == first, "also after it was delivered"
    assert world.store.due() == []
    with pytest.raises(ConflictError, match="delivered already"):
        world.store.attempted(first, 200, 1)
    with pytest.raises(NotFoundError):
        world.queue(99, "x")


def test_attempts_come_after_5_30_and_120_seconds_and_then_no_more(world: World) -> None:
    made = world.store.create(endpoint()).id
    one = world.queue(made, "a")
    for wait in (5_000, 30_000, 120_000):
        tried = world.store.attempted(one, None, 10_000, "timed out")
        assert (tried.state, tried.next_attempt) == (PENDING, world.now + wait)
        world.now += wait - 1
        assert world.store.due() == []
        world.reopen()
        world.now += 1
        assert len(world.store.due()) == 1
    last = world.store.attempted(one, 503, 5)
    assert (last.state, last.attempts, last.error, last.finished_at) == (FAILED, 4, "HTTP 503", world.now)
    again = world.store.redeliver(one)
    assert (again.state, again.attempts, again.next_attempt) == (PENDING, 0, world.now)
    with pytest.raises(ConflictError, match="still pending"):
        world.store.redeliver(one)


def test_what_no_attempt_can_mend_fails_at_once(world: World) -> None:
    made = world.store.create(endpoint()).id
    assert world.store.attempted(world.queue(made, "a"), 404, 5).state is FAILED
    assert world.store.attempted(world.queue(made, "b"), 302, 5).state is FAILED


def test_nothing_is_due_while_all_are_paused_or_one_is_off(world: World) -> None:
    made = world.store.create(endpoint()).id
    world.queue(made, "a")
    world.store.set_config(WebhookConfig(paused=True))
    assert world.store.due() == []
    world.reopen()
    assert world.store.config().paused
    world.store.set_config(WebhookConfig())
    assert len(world.store.due()) == 1
    world.store.update(made, endpoint(enabled=False))
    assert world.store.due() == []
    assert world.store.in_force()[2] == []
    world.store.update(made, endpoint())
    assert len(world.store.due()) == 1


def test_the_log_is_pruned_and_pending_ones_stay(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PRUNE_EVERY", 1)
    monkeypatch.setattr("actors.core.store.monotonic", lambda: world.now / 1000)
    made = world.store.create(endpoint()).id
    old = world.queue(made, "old")
    world.store.attempted(old, 200, 1)
    waiting = world.queue(made, "waiting")
    world.now += 31 * DAY
    world.queue(made, "new")
    found, _ = world.store.deliveries()
    assert old not in {each.id for each in found}
    assert waiting in {each.id for each in found}
    monkeypatch.setattr(store_module, "KEEP_DELIVERIES", 3)
    for number in range(6):
        world.store.attempted(world.queue(made, f"n{number}"), 200, 1)
    assert len(world.store.deliveries(state=DELIVERED)[0]) <= 4


def test_deleting_an_endpoint_removes_its_deliveries(world: World) -> None:
    one, two = (world.store.create(endpoint(name)).id for name in "AB")
    world.queue(one, "a")
    kept = world.queue(two, "a")
    world.store.delete(one)
    assert [each.id for each in world.store.deliveries()[0]] == [kept]
    with pytest.raises(NotFoundError):
        world.store.delete(one)


def test_filters_pages_and_the_watch_cell(world: World) -> None:
    one = world.store.create(endpoint("A", kind="slack")).id
    for number in range(5):
        world.store.queue(one, f"k{number}", "alarm_raised" if number % 2 else "device_down", "{}")
    first, cursor = world.store.deliveries(one, limit=2)
    rest, end = world.store.deliveries(one, cursor=cursor)
    assert [each.event_key for each in (*first, *rest)] == ["k4", "k3", "k2", "k1", "k0"]
    assert end is None
    assert len(world.store.deliveries(event_type="device_down")[0]) == 3
    assert [each.id for each in world.store.find("slack")[0]] == [one]
    assert world.store.find("teams")[0] == []
    world.store.set_config(WebhookConfig(keep_days=7))
    moved = [each.version for each in world.events if isinstance(each, WatchMoved)]
    assert moved == [NOON, NOON + 1], "deliveries are no configuration"


class Model(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(self.folder.name)
        self.endpoint = self.world.store.create(endpoint()).id
        self.keys: dict[str, int] = {}
        self.states: dict[int, tuple[DeliveryState, int, int | None]] = {}

    @rule(key=st.sampled_from("abcdef"))
    def queue(self, key: str) -> None:
        got = self.world.queue(self.endpoint, key)
        assert self.keys.setdefault(key, got) == got
        self.states.setdefault(got, (PENDING, 0, self.world.now))

    @precondition(lambda self: self.states)
    @rule(at=st.integers(0, 9), code=st.sampled_from([None, 200, 204, 404, 429, 500]))
    def attempt(self, at: int, code: int | None) -> None:
        chosen = sorted(self.states)[at % len(self.states)]
        state, attempts, _ = self.states[chosen]
        if state is not PENDING:
            with pytest.raises(ConflictError):
                self.world.store.attempted(chosen, code, 1)
            return
        self.world.store.attempted(chosen, code, 1)
        attempts += 1
        if code in {200, 204}:
            self.states[chosen] = (DELIVERED, attempts, None)
        elif code == 404 or attempts == 4:
            self.states[chosen] = (FAILED, attempts, None)
        else:
            wait = (5_000, 30_000, 120_000)[attempts - 1]
            self.states[chosen] = (PENDING, attempts, self.world.now + wait)

    @precondition(lambda self: self.states)
    @rule(at=st.integers(0, 9))
    def redeliver(self, at: int) -> None:
        chosen = sorted(self.states)[at % len(self.states)]
        if self.states[chosen][0] is PENDING:
            with pytest.raises(ConflictError):
                self.world.store.redeliver(chosen)
            return
        self.world.store.redeliver(chosen)
        self.states[chosen] = (PENDING, 0, self.world.now)

    @rule(seconds=st.integers(0, 200))
    def wait(self, seconds: int) -> None:
        self.world.now += seconds * 1000

    @rule()
    def reopen(self) -> None:
        self.world.reopen()

    @invariant()
    def agrees(self) -> None:
        found, _ = self.world.store.deliveries(limit=1000)
        assert {each.id: (each.state, each.attempts, each.next_attempt) for each in found} == self.states
        due = {each.delivery.id for each in self.world.store.due()}
        assert due == {
            each
            for each, (state, _, at) in self.states.items()
            if state is PENDING and at is not None and at <= self.world.now
        }

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.store.close()
            self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=15, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow]
)
