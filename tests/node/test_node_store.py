from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from actors.bus.events import EntityCreated, EntityDeleted, EntityUpdated
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.node.models import Node, NodeChange, NodeType, ProtocolBinding
from actors.node.store import MAX_LEVELS, NodeStore


@pytest.fixture
def events() -> list[Any]:
    return []


@pytest.fixture
def store(tmp_path: Path, events: list[Any]) -> NodeStore:
    store = NodeStore(tmp_path, events.append)
    store.create(Node(id="north", node_type="Site", dis="North"))
    store.create(Node(id="floor-1", node_type="Space", dis="Floor 1", parent_id="north", tags=["space"]))
    store.create(Node(id="1001", node_type="Equip", dis="AHU-1", parent_id="floor-1", tags=["ahu", "equip"]))
    store.create(
        Node(
            id="1001/analog-input-1",
            node_type="Point",
            dis="Supply Air Temp",
            parent_id="1001",
            tags=["temp"],
            refs={"serves": "floor-1"},
            properties={"units": "degrees-celsius", "states": None},
            capabilities={"readable": True, "historizable": True},
            protocol_binding=ProtocolBinding.bacnet(1001, "analog-input", 1, "ip-main"),
        )
    )
    events.clear()
    return store


def test_the_tables_are_those_of_the_reference(store: NodeStore) -> None:
    tables = {row["name"] for row in store.all("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables - {"config_version", "event_outbox", "retention_clock", "sqlite_sequence"} == {
        "node",
        "node_tag",
        "node_ref",
        "node_property",
        "node_capability",
        "protocol_binding",
    }


def test_a_reopened_store_gives_the_same_nodes(store: NodeStore) -> None:
    before = [store.get(each) for each in store.ids()]
    store.close()
    again = NodeStore(store.path.parent)
    assert [again.get(each) for each in again.ids()] == before


def test_a_subtree_comes_level_by_level_and_ancestors_from_below(store: NodeStore) -> None:
    assert [node.id for node in store.subtree("north")] == ["north", "floor-1", "1001", "1001/analog-input-1"]
    assert [node.id for node in store.ancestors("1001/analog-input-1")] == ["1001", "floor-1", "north"]
    [tree] = store.tree()
    assert tree.children[0].children[0].node.id == "1001"


@pytest.mark.parametrize(
    ("parent", "node_type"),
    [("nowhere", "Equip"), ("1001/analog-input-1", "Point"), ("1001", "Site"), ("1001", "Space")],
)
def test_a_parent_that_cant_be_is_refused(
    store: NodeStore, events: list[Any], parent: str, node_type: str
) -> None:
    with pytest.raises(BadInputError, match="parent_id"):
        store.create(Node(id="new", node_type=node_type, dis="New", parent_id=parent))
    assert "new" not in store.ids()
    assert events == []


def test_a_node_cant_stand_below_itself(store: NodeStore) -> None:
    store.create(Node(id="floor-2", node_type="Space", dis="Floor 2", parent_id="floor-1"))
    with pytest.raises(BadInputError, match="below this one"):
        store.update("floor-1", NodeChange(parent_id="floor-2"))
    assert store.get("floor-1").parent_id == "north"


def test_an_id_that_is_taken_is_a_conflict(store: NodeStore) -> None:
    with pytest.raises(ConflictError):
        store.create(Node(id="1001", node_type="Equip", dis="Another"))


def test_an_update_tells_what_changed_and_nothing_when_nothing_did(
    store: NodeStore, events: list[Any]
) -> None:
    store.update("1001", NodeChange(dis="AHU One", tags=["ahu", "equip"]))
    store.update("1001", NodeChange(dis="AHU One"))
    assert events == [EntityUpdated(entity_id="1001", changed_fields=["dis"])]
    with pytest.raises(BadInputError, match="dis"):
        store.update("1001", NodeChange(dis=None))
    with pytest.raises(NotFoundError):
        store.update("nobody", NodeChange(dis="x"))


def test_a_node_with_children_is_deleted_only_when_asked_for(store: NodeStore, events: list[Any]) -> None:
    with pytest.raises(ConflictError, match="2 nodes stand below"):
        store.delete("floor-1")
    assert store.delete("floor-1", recursive=True) == ["floor-1", "1001", "1001/analog-input-1"]
    assert events == [EntityDeleted(entity_id=each) for each in ("floor-1", "1001", "1001/analog-input-1")]
    assert store.ids() == ["north"]
    assert store.all("SELECT * FROM node_tag") == []


def test_lists_filter_by_type_tags_parent_and_text(store: NodeStore) -> None:
    def ids(**filters: Any) -> list[str]:
        return [node.id for node in store.find(**filters)[0]]

    assert ids(node_type=NodeType.EQUIP) == ["1001"]
    assert ids(tags=["temp"]) == ["1001/analog-input-1"]
    assert ids(tags=["equip", "-ahu"]) == []
    assert ids(parent_id="1001") == ["1001/analog-input-1"]
    assert ids(text="SUPPLY") == ["1001/analog-input-1"]
    assert [node.id for node in store.children("north")[0]] == ["floor-1"]
    first, cursor = store.find(limit=3)
    rest, end = store.find(limit=3, cursor=cursor)
    assert [node.id for node in first + rest] == store.ids()
    assert end is None
    with pytest.raises(BadInputError, match="limit"):
        store.find(limit=0)


def test_bound_gives_the_points_of_a_protocol(store: NodeStore) -> None:
    assert [node.id for node in store.bound("bacnet")] == ["1001/analog-input-1"]
    assert store.bound("modbus") == []


def test_applying_keeps_what_people_edited_and_renews_the_rest(store: NodeStore, events: list[Any]) -> None:
    given = Node(
        id="1001/analog-input-2",
        node_type="Point",
        dis="Return Air Temp",
        parent_id="1001",
        properties={"units": "degrees-celsius"},
        protocol_binding=ProtocolBinding.bacnet(1001, "analog-input", 2, "ip-main"),
    )
    assert store.apply([given]).created == [given.id]
    assert {"return", "air", "temp", "sensor"} <= set(store.get(given.id).tags)
    assert events == [EntityCreated(entity_id=given.id, entity_type="Point")]
    store.update(given.id, NodeChange(dis="RAT", tags=["mine"]))
    changed = given.model_copy(update={"properties": {"units": "degrees-fahrenheit"}})
    assert store.apply([changed]).updated == [given.id]
    assert store.apply([changed]).updated == []
    after = store.get(given.id)
    assert (after.dis, after.tags, after.properties["units"]) == ("RAT", ["mine"], "degrees-fahrenheit")


def test_applying_is_all_or_nothing(store: NodeStore, events: list[Any]) -> None:
    good = Node(id="good", node_type="Equip", dis="Good", parent_id="north")
    bad = Node(id="bad", node_type="Equip", dis="Bad", parent_id="nowhere")
    with pytest.raises(BadInputError):
        store.apply([good, bad])
    assert "good" not in store.ids()
    assert events == []


@pytest.mark.parametrize(
    "legacy",
    [
        {"Bacnet": {"device_instance": 7, "object_type": "analog-input", "object_instance": 1}},
        {"type": "Bacnet", "device_instance": 7, "object_type": "analog-input", "object_instance": 1},
        {
            "protocol": "bacnet",
            "config": {"device_instance": 7, "object_type": "analog-input", "object_instance": 1},
        },
    ],
)
def test_bindings_are_read_in_the_older_forms_too(legacy: dict[str, Any]) -> None:
    binding = ProtocolBinding.model_validate(legacy)
    assert (binding.protocol, binding.config["device_instance"]) == ("bacnet", 7)


def test_the_constructors_build_the_forms_of_the_reference() -> None:
    assert ProtocolBinding.bacnet(1001, "analog-input", 1, "ip-main").config == {
        "device_instance": 1001, "object_type": "analog-input", "object_instance": 1, "network_id": "ip-main",
    }  # fmt: skip
    assert ProtocolBinding.modbus("meter-1", "holding", 100, "float32").config == {
        "device_id": "meter-1", "register_type": "holding", "address": 100, "data_type": "float32",
        "byte_order": "big-endian",
    }  # fmt: skip
    assert ProtocolBinding.virtual_binding(expression="a+b").protocol == "virtual"


class Model(RuleBasedStateMachine):
    """Random changes against a plain dict; a reopened file must say what the cache says."""

    nodes: Bundle[str] = Bundle("nodes")

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.store = NodeStore(self.folder.name)
        self.model: dict[str, tuple[str, str | None]] = {}

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(target=nodes, key=st.integers(0, 30), parent=st.none() | nodes)
    def create(self, key: int, parent: str | None) -> str:
        name = f"n{key}"
        try:
            self.store.create(Node(id=name, node_type="Space", dis=name, parent_id=parent))
        except ConflictError:
            assert name in self.model
        except BadInputError:
            assert parent not in self.model
        else:
            self.model[name] = (name, parent)
        return name

    @rule(node=nodes, parent=st.none() | nodes, dis=st.text(min_size=1, max_size=5))
    def move(self, node: str, parent: str | None, dis: str) -> None:
        try:
            self.store.update(node, NodeChange(dis=dis, parent_id=parent))
        except NotFoundError:
            assert node not in self.model
        except BadInputError:
            assert parent not in self.model or node in self._above(parent)
        else:
            self.model[node] = (dis, parent)

    def _above(self, node: str | None) -> set[str]:
        seen: set[str] = set()
        while node is not None:
            seen.add(node)
            node = self.model[node][1]
        return seen

    @rule(node=consumes(nodes))
    def delete(self, node: str) -> None:
        below = {each for each in self.model if node in self._above(each)}
        try:
            assert set(self.store.delete(node, recursive=True)) == below
        except NotFoundError:
            assert node not in self.model
        self.model = {key: value for key, value in self.model.items() if key not in below}

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = NodeStore(self.folder.name)

    @invariant()
    def agrees(self) -> None:
        assert {
            key: (n.dis, n.parent_id) for key in self.store.ids() for n in [self.store.get(key)]
        } == self.model


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_nodes_stand_below_one_another_only_so_deep_however_they_get_there(store: NodeStore) -> None:
    def chain(name: str, levels: int) -> None:
        for n in range(levels):
            parent = f"{name}{n - 1}" if n else None
            store.create(Node(id=f"{name}{n}", node_type=NodeType.SITE, dis="x", parent_id=parent))

    chain("a", MAX_LEVELS)
    last = Node(id="over", node_type=NodeType.SITE, dis="x", parent_id=f"a{MAX_LEVELS - 1}")
    with pytest.raises(BadInputError, match="32 levels"):
        store.create(last)
    chain("b", 2)
    with pytest.raises(BadInputError, match="32 levels"):
        store.update("b0", NodeChange(parent_id=f"a{MAX_LEVELS - 2}"))
    store.update("b0", NodeChange(parent_id=f"a{MAX_LEVELS - 3}"))
    [tree] = store.tree("a0")
    assert tree.node.id == "a0"


def test_applying_for_an_origin_takes_nodes_as_they_are_and_nobody_elses(store: NodeStore) -> None:
    ours = Node(
        id="1001/analog-input-7",
        node_type=NodeType.POINT,
        dis="Zone Temp",
        parent_id="1001",
        tags=["own"],
        properties={"origin": "discovery:1"},
    )
    assert store.apply([ours], "discovery:1").created == [ours.id]
    assert store.get(ours.id).tags == ["own"]
    assert store.apply([ours], "discovery:1").created == []
    other = ours.model_copy(update={"id": "1001/new"})
    for node, origin in ((ours, "discovery:2"), (store.get("1001"), "discovery:1")):
        with pytest.raises(ConflictError, match="this id already"):
            store.apply([other, node], origin)
    assert "1001/new" not in store.ids()


def test_a_unit_is_one_that_is_known(store: NodeStore) -> None:
    wrong = Node(id="p", node_type=NodeType.POINT, dis="p", properties={"units": "degree-celsius"})
    with pytest.raises(BadInputError, match="degrees-celsius") as refused:
        store.create(wrong)
    assert (refused.value.field, refused.value.value) == ("properties.units", "degree-celsius")
    assert "p" not in store.ids()
    made = store.create(wrong.model_copy(update={"properties": {"units": "°C"}}))
    assert made.properties["units"] == "degrees-celsius"
    with pytest.raises(BadInputError, match=r"properties\.units"):
        store.update("p", NodeChange(properties={"units": "furlongs"}))
    assert store.get("p") == made
    assert store.update("p", NodeChange(properties={"units": ""})).properties["units"] == ""


def test_what_is_no_point_has_no_unit(store: NodeStore) -> None:
    flats: dict[str, Any] = {"units": 12}
    node = Node(id="flats", node_type=NodeType.SPACE, dis="Flats", parent_id="north", properties=flats)
    assert store.create(node).properties == flats
    flats = {"units": "14 flats"}
    assert store.update("flats", NodeChange(properties=flats)).properties == flats


def test_a_makers_own_unit_stays_with_other_changes(store: NodeStore) -> None:
    store.apply([Node(id="p", node_type=NodeType.POINT, dis="p", properties={"units": "acme-degrees"})])
    kept = store.update("p", NodeChange(properties={"units": "acme-degrees", "x": 1}))
    assert kept.properties == {"units": "acme-degrees", "x": 1}
