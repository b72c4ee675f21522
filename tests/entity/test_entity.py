import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import ValidationError

from actors.bus.events import EntityCreated, EntityDeleted, EntityUpdated
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.entity.logic import NODE_TYPES, as_node
from actors.entity.models import Entity, EntityChange, NewEntity
from actors.entity.store import EntityStore
from actors.node.models import Node, NodeType

NOON = 1_700_000_000_000


def entity(key: str = "ahu-1", kind: str = "equip", **fields: Any) -> NewEntity:
    return NewEntity.model_validate({"id": key, "entity_type": kind, "dis": key.upper()} | fields)


class World:
    def __init__(self, folder: Path | str) -> None:
        self.folder, self.now = folder, NOON
        self.events: list[Any] = []
        self.open()

    def open(self) -> None:
        self.store = EntityStore(self.folder, self.events.append, lambda: self.now)

    def reopen(self) -> None:
        self.store.close()
        self.open()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()


def test_the_table_is_there(world: World) -> None:
    rows = world.store.all("SELECT name FROM sqlite_master WHERE type = 'table'")
    assert {row["name"] for row in rows} >= {"entity"}


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"tags": {"area": float("nan")}}, "finite"),
        ({"tags": {"note": "x" * 1001}}, "1000"),
        ({"tags": {"a b": None}}, "pattern"),
        ({"data": {"x": [float("inf")]}}, "finite"),
        ({"data": {"x": "\ud800"}}, "valid Unicode"),
        ({"data": {"\udfff": 1}}, "Unicode|unicode"),
        ({"data": {"x": deep(32)}}, "levels deep"),
    ],
)
def test_what_json_cant_give_back_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        entity(**fields)
    with pytest.raises(ValidationError, match=says):
        EntityChange.model_validate(fields)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=25, deadline=None)
@given(data=st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_taken_is_given_back(data: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kept = EntityStore(folder)
        kept.create(entity(data=data))
        assert kept.get("ahu-1").data == data
        kept.close()


def test_a_record_is_kept_as_it_was_and_each_change_is_told(world: World) -> None:
    made = world.store.create(
        entity(tags={"ahu": None, "area": 1200.0, "name": "x"}, data={"a": [1, {"b": 2}]})
    )
    world.reopen()
    assert world.store.get("ahu-1") == made
    world.now += 5
    same = world.store.update("ahu-1", EntityChange(dis="AHU-1"))
    assert same == made, "nothing different is no change"
    changed = world.store.update("ahu-1", EntityChange(dis="Air handler", tags={"ahu": None}))
    assert (changed.dis, changed.tags, changed.data, changed.updated_at) == (
        "Air handler",
        {"ahu": None},
        made.data,
        NOON + 5,
    )
    world.store.delete("ahu-1")
    assert world.events == [
        EntityCreated(entity_id="ahu-1", entity_type="equip"),
        EntityUpdated(entity_id="ahu-1", changed_fields=["dis", "tags"]),
        EntityDeleted(entity_id="ahu-1"),
    ]
    for ask in (
        lambda: world.store.get("ahu-1"),
        lambda: world.store.update("ahu-1", EntityChange(dis="x")),
        lambda: world.store.delete("ahu-1"),
    ):
        with pytest.raises(NotFoundError):
            ask()


def test_parents_are_there_and_form_no_ring(world: World) -> None:
    world.store.create(entity("a"))
    world.store.create(entity("b", parent_id="a"))
    with pytest.raises(BadInputError, match="parent_id"):
        world.store.create(entity("c", parent_id="gone"))
    for parent in ("a", "b"):
        with pytest.raises(BadInputError, match="doesn't stand below"):
            world.store.update("a", EntityChange(parent_id=parent))
    with pytest.raises(ConflictError, match="1 records stand below"):
        world.store.delete("a")
    world.store.update("b", EntityChange(parent_id=None))
    world.store.delete("a")
    assert [each.id for each in world.store.find()[0]] == ["b"]


def test_ids_are_taken_once_and_null_clears_only_the_parent(world: World) -> None:
    world.store.create(entity())
    with pytest.raises(ConflictError, match="already"):
        world.store.create(entity())
    with pytest.raises(BadInputError, match="dis"):
        world.store.update("ahu-1", EntityChange(dis=None))


def test_filters_and_pages(world: World) -> None:
    for number in range(5):
        world.store.create(
            entity(f"e{number}", "point" if number % 2 else "equip", tags={f"t{number}": None})
        )
    first, cursor = world.store.find(limit=2)
    rest, end = world.store.find(cursor=cursor)
    assert [each.id for each in (*first, *rest)] == [f"e{n}" for n in range(5)]
    assert end is None
    assert [each.id for each in world.store.find("point")[0]] == ["e1", "e3"]
    assert [each.id for each in world.store.find(tag="t2")[0]] == ["e2"]
    assert [each.id for each in world.store.find(text="E4")[0]] == ["e4"]
    with pytest.raises(BadInputError, match="limit"):
        world.store.find(limit=0)


def whole(**fields: Any) -> Entity:
    return Entity.model_validate(entity(**fields).model_dump() | {"created_at": 0, "updated_at": 0})


def test_a_legacy_record_reads_as_a_node() -> None:
    node = Node.model_validate(
        as_node(
            whole(
                key="1001/ao-1",
                kind="point",
                parent_id="1001",
                tags={"damper": None, "cmd": True, "unit": "%", "equipRef": "@1001", "off": False},
                data={"binding": {"Bacnet": {"device_instance": 1001}}, "note": "old"},
            )
        )
    )
    assert node.node_type is NodeType.POINT
    assert node.tags == ["cmd", "damper"]
    assert node.refs == {"equipRef": "1001"}
    assert node.properties == {"unit": "%", "off": False, "note": "old"}
    assert (node.capabilities.writable, node.capabilities.schedulable) == (True, True)
    assert node.protocol_binding is not None
    assert (node.protocol_binding.protocol, node.protocol_binding.config) == (
        "bacnet",
        {"device_instance": 1001},
    )


@pytest.mark.parametrize("kind", sorted(NODE_TYPES))
def test_every_known_type_makes_a_valid_node(kind: str) -> None:
    node = Node.model_validate(as_node(whole(kind=kind)))
    assert node.capabilities.writable == (node.node_type is NodeType.VIRTUAL_POINT)


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(BadInputError, match="entity_type"):
        as_node(whole(kind="wormhole"))


class Model(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(self.folder.name)
        self.kept: dict[str, tuple[str, str | None]] = {}

    def _above(self, key: str | None) -> list[str]:
        found = []
        while key is not None:
            found.append(key)
            key = self.kept[key][1]
        return found

    @rule(key=st.sampled_from("abcde"), parent=st.none() | st.sampled_from("abcde"))
    def create(self, key: str, parent: str | None) -> None:
        if parent is not None and parent not in self.kept:
            with pytest.raises(BadInputError):
                self.world.store.create(entity(key, parent_id=parent))
        elif key in self.kept:
            with pytest.raises((ConflictError, BadInputError)):
                self.world.store.create(entity(key, parent_id=parent))
        else:
            self.world.store.create(entity(key, parent_id=parent))
            self.kept[key] = (key.upper(), parent)

    @precondition(lambda self: self.kept)
    @rule(at=st.integers(0, 9), parent=st.none() | st.sampled_from("abcde"))
    def move(self, at: int, parent: str | None) -> None:
        key = sorted(self.kept)[at % len(self.kept)]
        same = self.kept[key][1] == parent
        wrong = parent is not None and (parent not in self.kept or key in self._above(parent))
        if wrong and not same:
            with pytest.raises(BadInputError):
                self.world.store.update(key, EntityChange(parent_id=parent))
        else:
            self.world.store.update(key, EntityChange(parent_id=parent))
            self.kept[key] = (self.kept[key][0], parent)

    @precondition(lambda self: self.kept)
    @rule(at=st.integers(0, 9))
    def delete(self, at: int) -> None:
        key = sorted(self.kept)[at % len(self.kept)]
        if any(parent == key for _, parent in self.kept.values()):
            with pytest.raises(ConflictError):
                self.world.store.delete(key)
        else:
            self.world.store.delete(key)
            del self.kept[key]

    @rule()
    def reopen(self) -> None:
        self.world.reopen()

    @invariant()
    def agrees(self) -> None:
        found, _ = self.world.store.find()
        assert {each.id: (each.dis, each.parent_id) for each in found} == self.kept

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.store.close()
            self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=20, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow]
)
