import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import ValidationError

from actors.bus.events import WatchMoved
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.core.secrets import KEY_FILE
from actors.mqtt.logic import DEFAULTS, FIELDS, check_template, fields_of, level, topic
from actors.mqtt.models import EventName, NewBroker, NewPattern, Tls
from actors.mqtt.store import MqttStore
from actors.node.logic import matches_tags

NOON = 1_700_000_000_000
PEM = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"


def broker(name: str = "plant", **fields: Any) -> NewBroker:
    return NewBroker.model_validate({"name": name, "host": "mqtt.example.org"} | fields)


def pattern(template: str = "a/{site}", event: EventName = "value_changed", **fields: Any) -> NewPattern:
    return NewPattern(event=event, template=template, **fields)


class World:
    def __init__(self, folder: Path | str) -> None:
        self.folder = folder
        self.events: list[Any] = []
        self.open()

    def open(self) -> None:
        self.store = MqttStore(self.folder, self.events.append, lambda: NOON)

    def reopen(self) -> None:
        self.store.close()
        self.open()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.events.clear()
    yield world
    world.store.close()


# Topics


def test_the_usual_topics_are_right() -> None:
    for event, template, _, _ in DEFAULTS:
        assert check_template(template, event) == template
    assert {each[0] for each in DEFAULTS} == set(FIELDS)


@pytest.mark.parametrize(
    "template",
    [
        *("a/{nobody}", "a/{site", "a/}", "a/+/b", "a/#", "a//b", "/a", "a/", "$SYS/x", "a/{site!r}"),
        *("a/{site:>9}", "a/{site.__class__}", "a/{0}", "a/{}", "a/\x00", "a/\nb", "{alarm_id}"),
    ],
)
def test_templates_that_cant_be_are_refused_by_field(template: str) -> None:
    with pytest.raises(BadInputError) as caught:
        check_template(template, "value_changed")
    assert caught.value.field == "template"


def test_the_status_topic_names_nothing() -> None:
    assert check_template("plant/opencrate") == "plant/opencrate"
    with pytest.raises(BadInputError) as caught:
        check_template("plant/{site}")
    assert caught.value.field == "status_topic"


@given(values=st.lists(st.text(), min_size=4, max_size=4))
def test_whatever_a_field_holds_it_stays_one_level(values: list[str]) -> None:
    template = "opencrate/{site}/{device_id}/{point_id}/{node_id}"
    fields = dict(zip(("site", "device_id", "point_id", "node_id"), values, strict=True))
    name = topic(template, fields)
    levels = name.split("/")
    assert len(levels) == 5
    assert all(levels)
    assert not set(name) & set("+#\x00\n")
    assert name == topic(template, fields)


@given(st.text())
def test_a_topic_never_begins_with_a_dollar(value: str) -> None:
    assert not topic("{site}/x", {"site": value}).startswith("$")


def test_a_topic_that_is_too_long_is_refused() -> None:
    with pytest.raises(BadInputError, match="topic"):
        topic("{site}", {"site": "x" * 70_000})


def test_a_points_id_names_its_device() -> None:
    assert fields_of("1001/analog-input-1") == {
        "node_id": "1001/analog-input-1",
        "device_id": "1001",
        "point_id": "analog-input-1",
    }
    assert fields_of("virtual-1")["point_id"] == "virtual-1"
    assert (
        topic(DEFAULTS[0][1], {"site": "north"} | fields_of("1001/ai-1")) == "opencrate/north/1001/ai-1/value"
    )
    assert level("a/b+c#d") == "a_b_c_d"
    assert level("") == "_"


def test_tags_are_joined() -> None:
    assert matches_tags(frozenset({"air"}), ["air", "-water"])
    assert not matches_tags(frozenset({"air"}), ["-air"])


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "a b"},
        {"host": "mqtt://x"},
        {"port": 0},
        {"keepalive": 1},
        {"client_id": "a b"},
        {"tls": {"mode": "off", "ca": PEM}},
        {"tls": {"ca": "not a certificate"}},
        {"password": "x", "tls": {"mode": "off"}},
        {"surprise": 1},
    ],
)
def test_settings_that_cant_be_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        broker(**fields)


def test_hosts_may_be_names_and_addresses() -> None:
    for host in ("mqtt", "mqtt.example.org", "10.0.0.5", "::1", "[fd00::1]"):
        assert broker(host=host).host == host
    assert Tls(ca=PEM).ca == PEM


# The store


def test_a_broker_is_kept_with_the_usual_topics_and_its_secrets_sealed(world: World) -> None:
    made = world.store.create(broker(username="oc", password="s3cret-password", private_key="s3cret-key"))
    assert (made.client_id, made.has_password, made.has_private_key) == ("opencrate-1", True, True)
    assert [each.template for each in world.store.patterns(made.id)] == [each[1] for each in DEFAULTS]
    world.reopen()
    assert world.store.get(made.id) == made
    for file in Path(world.folder).glob("mqtt.db*"):
        assert b"s3cret" not in file.read_bytes()
    [found] = world.store.in_force()[1]
    assert found.password is not None
    assert found.private_key is not None
    assert found.password.get_secret_value() == "s3cret-password"
    assert found.private_key.get_secret_value() == "s3cret-key"
    assert "s3cret" not in repr(found)


def test_secrets_and_client_id_left_out_stay(world: World) -> None:
    made = world.store.create(broker(password="one", client_id="mine"))
    world.store.update(made.id, broker("renamed", private_key="two"))
    [found] = world.store.in_force()[1]
    assert found.password is not None
    assert found.private_key is not None
    assert (found.password.get_secret_value(), found.private_key.get_secret_value()) == ("one", "two")
    assert (found.broker.name, found.broker.client_id) == ("renamed", "mine")


def test_a_lost_key_is_told(world: World) -> None:
    world.store.create(broker(password="one"))
    world.store.close()
    (Path(world.folder) / KEY_FILE).unlink()
    world.open()
    [found] = world.store.in_force()[1]
    assert found.password is None
    assert "the password of plant can't be read" in (found.trouble or "")


def test_names_and_client_ids_are_taken_once(world: World) -> None:
    world.store.create(broker("A", client_id="x"))
    for refused in (broker("a"), broker("B", client_id="x")):
        with pytest.raises(ConflictError):
            world.store.create(refused)
    assert len(world.store.find()[0]) == 1


def test_topics_are_added_changed_and_deleted(world: World) -> None:
    made = world.store.create(broker()).id
    one = world.store.create_pattern(made, pattern("mine/{point_id}", qos=1, retain=True))
    assert world.store.pattern(one.id) == one
    with pytest.raises(ConflictError, match="already"):
        world.store.create_pattern(made, pattern("mine/{point_id}"))
    with pytest.raises(BadInputError, match="template"):
        world.store.update_pattern(one.id, pattern("mine/{severity}"))
    changed = world.store.update_pattern(one.id, pattern("mine/{severity}", "alarm_raised", enabled=False))
    assert (changed.event, changed.enabled) == ("alarm_raised", False)
    assert one.id not in {each.id for each in world.store.in_force()[1][0].patterns}
    world.store.delete_pattern(one.id)
    for ask in (
        lambda: world.store.pattern(one.id),
        lambda: world.store.update_pattern(one.id, pattern()),
        lambda: world.store.delete_pattern(one.id),
        lambda: world.store.create_pattern(99, pattern()),
        lambda: world.store.patterns(99),
        lambda: world.store.update(99, broker()),
        lambda: world.store.delete(99),
    ):
        with pytest.raises(NotFoundError):
            ask()


def test_deleting_a_broker_removes_its_topics_and_changes_move_the_cell(world: World) -> None:
    made = world.store.create(broker()).id
    world.store.update(made, broker(enabled=False))
    assert world.store.in_force()[1] == []
    assert [each.id for each in world.store.find(False)[0]] == [made]
    world.store.delete(made)
    assert world.store.all("SELECT * FROM mqtt_topic_pattern") == []
    moved = [each.version for each in world.events if isinstance(each, WatchMoved)]
    assert moved == [NOON, NOON + 1, NOON + 2]


class Model(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(self.folder.name)
        self.brokers: dict[int, tuple[str, str | None]] = {}
        self.patterns: dict[int, dict[int, str]] = {}

    def _pick(self, at: int) -> int:
        return sorted(self.brokers)[at % len(self.brokers)]

    @rule(name=st.sampled_from("abc"), password=st.none() | st.sampled_from(["x", "y"]))
    def create(self, name: str, password: str | None) -> None:
        if name in {each[0] for each in self.brokers.values()}:
            with pytest.raises(ConflictError):
                self.world.store.create(broker(name))
            return
        made = self.world.store.create(broker(name, password=password)).id
        self.brokers[made] = (name, password)
        self.patterns[made] = {each.id: each.template for each in self.world.store.patterns(made)}

    @precondition(lambda self: self.brokers)
    @rule(at=st.integers(0, 9), password=st.none() | st.sampled_from(["x", "y"]))
    def update(self, at: int, password: str | None) -> None:
        chosen = self._pick(at)
        name, before = self.brokers[chosen]
        self.world.store.update(chosen, broker(name, password=password))
        self.brokers[chosen] = (name, password or before)

    @precondition(lambda self: self.brokers)
    @rule(at=st.integers(0, 9), text=st.sampled_from(["a/{site}", "b/{node_id}", "c"]))
    def add_topic(self, at: int, text: str) -> None:
        chosen = self._pick(at)
        if text in self.patterns[chosen].values():
            with pytest.raises(ConflictError):
                self.world.store.create_pattern(chosen, pattern(text))
            return
        self.patterns[chosen][self.world.store.create_pattern(chosen, pattern(text)).id] = text

    @precondition(lambda self: any(self.patterns.values()))
    @rule(at=st.integers(0, 99))
    def drop_topic(self, at: int) -> None:
        every = sorted((each, of) for of, mine in self.patterns.items() for each in mine)
        chosen, of = every[at % len(every)]
        self.world.store.delete_pattern(chosen)
        del self.patterns[of][chosen]

    @precondition(lambda self: self.brokers)
    @rule(at=st.integers(0, 9))
    def delete(self, at: int) -> None:
        chosen = self._pick(at)
        self.world.store.delete(chosen)
        del self.brokers[chosen], self.patterns[chosen]

    @rule()
    def reopen(self) -> None:
        self.world.reopen()

    @invariant()
    def agrees(self) -> None:
        _, found = self.world.store.in_force()
        assert {
            each.broker.id: (each.broker.name, each.password.get_secret_value() if each.password else None)
            for each in found
        } == self.brokers
        assert {
            each.broker.id: {one.id: one.template for one in each.patterns} for each in found
        } == self.patterns

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.store.close()
            self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=15, stateful_step_count=20, suppress_health_check=[HealthCheck.too_slow]
)
