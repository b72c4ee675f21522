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
from actors.notification import store as store_module
from actors.notification.models import NewNotice, NewRecipient, NewRule, NewShelving, NoticeState
from actors.notification.store import NotificationStore

NOON = 1_700_000_000_000
QUEUED, SENT, FAILED, CANCELLED = NoticeState


def recipient(name: str = "ana", **fields: Any) -> NewRecipient:
    return NewRecipient.model_validate({"name": name, "kind": "email", "address": "a@example.org"} | fields)


def routing(name: str = "all", *recipients: int, **fields: Any) -> NewRule:
    tiers = [{"after_seconds": 0, "recipients": list(recipients)}]
    return NewRule.model_validate({"name": name, "tiers": tiers} | fields)


def notice(key: str, to: int, alarm_id: int = 1, due_at: int = NOON) -> NewNotice:
    return NewNotice(
        key=key,
        site="north",
        alarm_id=alarm_id,
        rule_id=1,
        tier=1,
        recipient_id=to,
        subject="hot",
        due_at=due_at,
    )


class World:
    def __init__(self, folder: Path | str) -> None:
        self.folder, self.now = folder, NOON
        self.events: list[Any] = []
        self.open()

    def open(self) -> None:
        self.store = NotificationStore(self.folder, self.events.append, lambda: self.now)

    def reopen(self) -> None:
        self.store.close()
        self.open()

    def recipient(self, name: str = "ana") -> int:
        return self.store.create_recipient(recipient(name)).id


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.events.clear()
    yield world
    world.store.close()


def test_the_tables_are_those_of_the_reference(world: World) -> None:
    rows = world.store.all("SELECT name FROM sqlite_master WHERE type = 'table'")
    names = {row["name"] for row in rows}
    assert names >= {"recipient", "routing_rule", "alarm_shelving", "notification_log"}


def test_recipients_and_rules_are_kept_as_they_were_saved(world: World) -> None:
    quiet = {"start": "22:00", "end": "06:00", "weekdays": [1, 2]}
    new = recipient(zone="Europe/Vienna", quiet=quiet, quiet_severities=["critical", "high"])
    ana = world.store.create_recipient(new)
    bob = world.store.create_recipient(recipient("bob", kind="sms", address="+43660123456"))
    tiers = [
        {"after_seconds": 0, "recipients": [ana.id]},
        {"after_seconds": 900, "recipients": [ana.id, bob.id]},
    ]
    wanted = routing(tiers=tiers, hours=quiet, tags=["-air"], sites=["north"], on_clear=True, position=5)
    made = world.store.create_rule(wanted)
    world.reopen()
    assert world.store.recipient(ana.id) == ana
    assert world.store.rule(made.id) == made
    assert NewRule.model_validate(made.model_dump(include=set(NewRule.model_fields))) == wanted
    assert [each.id for each in world.store.recipients("sms")[0]] == [bob.id]


def test_a_rule_names_recipients_that_are_there_and_keeps_them_there(world: World) -> None:
    ana = world.recipient()
    with pytest.raises(BadInputError, match=r"tiers\.0\.recipients"):
        world.store.create_rule(routing("x", ana, 99))
    made = world.store.create_rule(routing("x", ana, ana))
    with pytest.raises(ConflictError, match="routing rules name it"):
        world.store.delete_recipient(ana)
    bob = world.recipient("bob")
    assert world.store.update_rule(made.id, routing("y", bob)).tiers[0].recipients == [bob]
    world.store.delete_recipient(ana)
    world.store.delete_rule(made.id)
    world.store.delete_recipient(bob)
    assert world.store.all("SELECT * FROM routing_tier") == []
    for ask in (
        lambda: world.store.rule(made.id),
        lambda: world.store.update_rule(99, routing("z", 1)),
        lambda: world.store.delete_rule(99),
        lambda: world.store.recipient(99),
        lambda: world.store.update_recipient(99, recipient("q")),
        lambda: world.store.delete_recipient(99),
        lambda: world.store.unshelve(99),
        lambda: world.store.attempted(99),
        lambda: world.store.queue([notice("k", 99)]),
    ):
        with pytest.raises(NotFoundError):
            ask()


def test_names_are_taken_once(world: World) -> None:
    ana = world.recipient("Ana")
    world.store.create_rule(routing("All", ana))
    for ask in (lambda: world.recipient("ANA"), lambda: world.store.create_rule(routing("ALL", ana))):
        with pytest.raises(ConflictError, match="already"):
            ask()


def test_shelvings_end_by_hand_or_in_time(world: World) -> None:
    short = world.store.shelve(NewShelving(site="north", reason="x", duration=60), "ana")
    long = world.store.shelve(NewShelving(tag="air", reason="y", duration=3600), "bob")
    assert (short.until, long.shelved_by) == (NOON + 60_000, "bob")
    assert world.store.expire_shelvings() == []
    world.now += 60_000
    assert [each.id for each in world.store.shelvings()[0]] == [long.id], "over before anybody asks"
    assert [each.id for each in world.store.in_force()[3]] == [long.id]
    world.reopen()
    assert [each.id for each in world.store.expire_shelvings()] == [short.id]
    world.store.unshelve(long.id)
    assert world.store.shelvings() == ([], None)


def test_a_notification_is_queued_once_sent_and_kept(world: World) -> None:
    ana = world.recipient()
    [one] = world.store.queue([notice("n/1/1", ana)])
    assert world.store.queue([notice("n/1/1", ana)]) == [one]
    world.store.update_recipient(ana, recipient("renamed", address="b@example.org"))
    assert [each.address for each in world.store.due()] == ["a@example.org"]
    done = world.store.attempted(one.id)
    assert (done.state, done.attempts, done.error, done.recipient_name) == (SENT, 1, None, "ana")
    assert world.store.queue([notice("n/1/1", ana)])[0].state is SENT, "also after it was sent"
    with pytest.raises(ConflictError, match="sent already"):
        world.store.attempted(one.id)


def test_eight_attempts_and_no_more(world: World) -> None:
    [one] = world.store.queue([notice("k", world.recipient())])
    for wait in (30, 60, 120, 240, 480, 960, 1920):
        tried = world.store.attempted(one.id, "no route")
        assert (tried.state, tried.next_attempt) == (QUEUED, world.now + wait * 1000)
        world.now += wait * 1000
        assert [each.id for each in world.store.due()] == [one.id]
    last = world.store.attempted(one.id, "no route")
    assert (last.state, last.attempts, last.error) == (FAILED, 8, "no route")
    assert world.store.due() == []


def test_an_acknowledged_alarm_is_told_no_further(world: World) -> None:
    ana = world.recipient()
    world.store.queue(
        [notice("now", ana), notice("later", ana, due_at=NOON + 900_000), notice("other", ana, 2)]
    )
    world.store.attempted(world.store.due()[0].id)
    assert world.store.cancel("north", 1) == 1
    assert world.store.cancel("south", 2) == 0
    assert {each.key: each.state for each in world.store.log()[0]} == {
        "now": SENT,
        "later": CANCELLED,
        "other": QUEUED,
    }


def test_the_log_is_pruned_and_filtered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ana = world.recipient()
    for number in range(4):
        world.store.queue([notice(f"k{number}", ana, number)])
    first, cursor = world.store.log(limit=3)
    rest, end = world.store.log(cursor=cursor)
    assert [each.key for each in (*first, *rest)] == ["k3", "k2", "k1", "k0"]
    assert end is None
    assert [each.key for each in world.store.log("north", 2)[0]] == ["k2"]
    assert world.store.log("south")[0] == []
    assert len(world.store.log(recipient_id=ana, state=QUEUED)[0]) == 4
    monkeypatch.setattr(store_module, "PRUNE_EVERY", 1)
    monkeypatch.setattr("actors.core.store.monotonic", lambda: world.now / 1000)
    world.store.attempted(first[0].id)
    world.now += store_module.KEEP + 1
    world.store.queue([notice("new", ana)])
    assert [each.key for each in world.store.log()[0]] == ["new", "k2", "k1", "k0"]


def test_changes_move_the_cell_and_notifications_dont(world: World) -> None:
    ana = world.recipient()
    made = world.store.create_rule(routing("x", ana)).id
    world.store.queue([notice("k", ana)])
    world.store.update_rule(made, routing("x", ana, enabled=False))
    version, rules, recipients, _ = world.store.in_force()
    assert (rules, [each.id for each in recipients]) == ([], [ana])
    moved = [each.version for each in world.events if isinstance(each, WatchMoved)]
    assert moved == [NOON, NOON + 1, NOON + 2]
    assert version == NOON + 2


class Model(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(self.folder.name)
        self.people: dict[int, str] = {}
        self.rules: dict[int, tuple[str, list[int]]] = {}
        self.notices: dict[str, str] = {}

    def _pick(self, of: Any, at: int) -> Any:
        return sorted(of)[at % len(of)]

    @rule(name=st.sampled_from("abcd"))
    def person(self, name: str) -> None:
        if name in self.people.values():
            with pytest.raises(ConflictError):
                self.world.recipient(name)
        else:
            self.people[self.world.recipient(name)] = name

    @precondition(lambda self: self.people)
    @rule(name=st.sampled_from("xyz"), at=st.integers(0, 9))
    def route(self, name: str, at: int) -> None:
        chosen = sorted({self._pick(self.people, at), self._pick(self.people, at + 1)})
        if name in {each[0] for each in self.rules.values()}:
            with pytest.raises(ConflictError):
                self.world.store.create_rule(routing(name, *chosen))
        else:
            self.rules[self.world.store.create_rule(routing(name, *chosen)).id] = (name, chosen)

    @precondition(lambda self: self.people)
    @rule(at=st.integers(0, 9))
    def leave(self, at: int) -> None:
        chosen = self._pick(self.people, at)
        if any(chosen in mine for _, mine in self.rules.values()):
            with pytest.raises(ConflictError):
                self.world.store.delete_recipient(chosen)
        else:
            self.world.store.delete_recipient(chosen)
            del self.people[chosen]

    @precondition(lambda self: self.rules)
    @rule(at=st.integers(0, 9))
    def drop(self, at: int) -> None:
        chosen = self._pick(self.rules, at)
        self.world.store.delete_rule(chosen)
        del self.rules[chosen]

    @precondition(lambda self: self.people)
    @rule(key=st.sampled_from("klm"), at=st.integers(0, 9))
    def queue(self, key: str, at: int) -> None:
        self.world.store.queue([notice(key, self._pick(self.people, at))])
        self.notices.setdefault(key, "queued")

    @precondition(lambda self: self.notices)
    @rule(at=st.integers(0, 9))
    def send(self, at: int) -> None:
        key = self._pick(self.notices, at)
        one = next(each for each in self.world.store.log()[0] if each.key == key)
        if self.notices[key] == "queued":
            self.world.store.attempted(one.id)
            self.notices[key] = "sent"
        else:
            with pytest.raises(ConflictError):
                self.world.store.attempted(one.id)

    @rule()
    def reopen(self) -> None:
        self.world.reopen()

    @invariant()
    def agrees(self) -> None:
        _, rules, people, _ = self.world.store.in_force()
        assert {each.id: each.name for each in people} == self.people
        assert {each.id: (each.name, each.tiers[0].recipients) for each in rules} == self.rules
        assert {each.key: each.state.value for each in self.world.store.log()[0]} == self.notices

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.store.close()
            self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=15, stateful_step_count=20, suppress_health_check=[HealthCheck.too_slow]
)
