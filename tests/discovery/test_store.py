import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.backup import files
from actors.bus.events import DeviceAccepted, DeviceDiscovered, DiscoveryScanComplete
from actors.core import sqlite
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.discovery import scans as scans_module
from actors.discovery.logic import refusal
from actors.discovery.models import DeviceState, FoundDevice, FoundPoint, ScanState
from actors.discovery.schema import MIGRATIONS
from actors.discovery.store import DiscoveryStore

NOON = 1_700_000_000_000
OLD = Path(__file__).parents[1] / "databases" / "discovery-v2.db"
DISCOVERED, BOUND, ACCEPTED, IGNORED = DeviceState


class World:
    def __init__(self, folder: Path | str) -> None:
        self.folder, self.now = folder, NOON
        self.events: list[Any] = []
        self.open()

    def open(self) -> None:
        self.store = DiscoveryStore(self.folder, self.events.append, lambda: self.now)

    def reopen(self) -> None:
        self.store.close()
        self.open()


def device(key: str = "1001", address: str = "10.0.0.1", **fields: Any) -> FoundDevice:
    return FoundDevice(
        network_id=fields.pop("network_id", "ip-main"),
        protocol="bacnet",
        device_key=key,
        address=address,
        **fields,
    )


def point(number: int, **fields: Any) -> FoundPoint:
    return FoundPoint(point_key=f"analog-input-{number}", kind="analog-input", **fields)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()


def test_the_tables_are_there(world: World) -> None:
    rows = world.store.all("SELECT name FROM sqlite_master WHERE type = 'table'")
    assert {row["name"] for row in rows} >= {"discovered_device", "discovered_point", "discovery_scan"}


def test_a_file_of_version_2_comes_through_all_migrations(tmp_path: Path) -> None:
    shutil.copy(OLD, tmp_path / "discovery.db")
    store = DiscoveryStore(tmp_path)
    assert store.one("PRAGMA user_version") == {"user_version": len(MIGRATIONS)}
    devices, _ = store.find()
    assert [(each.id, each.device_key, each.state.value) for each in devices] == [
        (1, "1001", "accepted"),
        (2, "1002", "ignored"),
        (3, "meter-1", "discovered"),
    ]
    assert {each.network_id for each in devices} == {"default"}
    assert not any(each.object_list_stale for each in devices)
    assert (devices[0].vendor, devices[0].model, devices[0].first_seen) == ("ACME", "X1", 1_600_000_000_000)
    points, _ = store.points(1)
    assert [(each.id, each.point_key, each.value, each.writable) for each in points] == [
        (1, "analog-input-1", 18.5, False),
        (2, "analog-output-1", 40.0, True),
    ]
    assert store.all("PRAGMA foreign_key_check") == []
    [copy] = files.backups(store.path)
    assert sqlite.damage(copy.path) is None
    again = store.found(device("1001", "192.168.1.20:47808", network_id="default"))
    assert (again.id, again.state) == (1, ACCEPTED), "ids and decisions stay"
    assert store.found(device("7")).id > 3
    store.close()


def test_versions_3_and_4_add_a_column_each(tmp_path: Path) -> None:
    shutil.copy(OLD, tmp_path / "discovery.db")
    connection = sqlite.connect(tmp_path / "discovery.db", sqlite.Durability.FULL)
    for version, column in ((3, "network_id"), (4, "object_list_stale")):
        before = {row["name"] for row in connection.execute("PRAGMA table_info(discovered_device)")}  # type: ignore[call-overload]
        sqlite.migrate(
            connection, tmp_path / "discovery.db", "discovery", MIGRATIONS[:version], files.back_up
        )
        after = {row["name"] for row in connection.execute("PRAGMA table_info(discovered_device)")}  # type: ignore[call-overload]
        assert after - before == {column}
        assert connection.pragma("user_version") == version
    connection.close()


@pytest.mark.parametrize("version", range(len(MIGRATIONS)))
def test_every_version_reaches_the_same_schema(tmp_path: Path, version: int) -> None:
    schemas = []
    for folder, first in (("new", 0), ("old", version)):
        (tmp_path / folder).mkdir()
        connection = sqlite.connect(tmp_path / folder / "discovery.db", sqlite.Durability.FULL)
        sqlite.migrate(
            connection, tmp_path / folder / "discovery.db", "discovery", MIGRATIONS[:first], files.back_up
        )
        connection.close()
        store = DiscoveryStore(tmp_path / folder)
        schemas.append(sorted(row["sql"] for row in store.all("SELECT sql FROM sqlite_master") if row["sql"]))
        store.close()
    assert schemas[0] == schemas[1]


def test_the_first_time_is_an_event_and_later_ones_change_what_it_says(world: World) -> None:
    first = world.store.found(device(name="AHU", vendor="ACME", points=[point(1), point(2, units="percent")]))
    assert (first.state, first.point_count, first.first_seen) == (DISCOVERED, 2, NOON)
    world.now += 5000
    again = world.store.found(device(name="AHU-1", points=[point(2, value=7.5, writable=True), point(3)]))
    assert (again.id, again.name, again.vendor, again.last_seen) == (first.id, "AHU-1", "ACME", NOON + 5000)
    points, _ = world.store.points(first.id)
    assert [(each.point_key, each.value, each.writable) for each in points] == [
        ("analog-input-2", 7.5, True),
        ("analog-input-3", None, False),
    ]
    world.now -= 100_000
    assert world.store.found(device()).last_seen == NOON - 95_000, "by the present clock"
    assert world.store.get(first.id).point_count == 2, "points that were not read stay"
    assert world.events == [DeviceDiscovered(device_key="1001", protocol="bacnet", network_id="ip-main")]


def test_a_point_that_comes_twice_is_refused_and_nothing_changes(world: World) -> None:
    with pytest.raises(BadInputError, match="each point once"):
        world.store.found(device(points=[point(1), point(1)]))
    assert world.store.find() == ([], None)
    assert world.events == []


def test_two_devices_with_one_key_are_kept_apart_and_reported(world: World) -> None:
    first = world.store.found(device(address="10.0.0.1"))
    assert not first.conflict
    second = world.store.found(device(address="10.0.0.2"))
    elsewhere = world.store.found(device(address="10.0.0.1", network_id="ip-other"))
    assert [world.store.get(each.id).conflict for each in (first, second, elsewhere)] == [True, True, False]
    assert [each.id for each in world.store.find(conflict=True)[0]] == [first.id, second.id]
    assert world.store.summary().conflicts == 2
    world.store.accept(first.id, ["1001"], "ana")
    with pytest.raises(ConflictError, match=r"10\.0\.0\.1 is accepted"):
        world.store.accept(second.id, ["1001"], "ana")
    assert world.store.get(second.id).state is DISCOVERED


def test_decisions_are_kept_and_those_that_cant_be_are_refused(world: World) -> None:
    one = world.store.found(device()).id
    assert world.store.ignore(one, "ana").changed_by == "ana"
    with pytest.raises(ConflictError, match="ignored and can't become accepted"):
        world.store.accept(one, ["1001"], "ana")
    with pytest.raises(ConflictError, match="ignored and can't become ignored"):
        world.store.ignore(one, "ana")
    assert world.store.found(device()).state is IGNORED, "a new scan changes no decision"
    world.store.restore(one, "bob")
    accepted = world.store.accept(one, ["1001", "1001/analog-input-1"], "bob")
    assert accepted.created_node_ids == ["1001", "1001/analog-input-1"]
    assert world.events[1:] == [
        DeviceAccepted(device_key="1001", created_node_ids=["1001", "1001/analog-input-1"])
    ]
    for refused in (
        lambda: world.store.ignore(one, "ana"),
        lambda: world.store.restore(one, "ana"),
        lambda: world.store.forget(one),
        lambda: world.store.release(one, ["1001"], "ana"),
    ):
        with pytest.raises(ConflictError):
            refused()
    released = world.store.release(one, [], "ana")
    assert (released.state, released.created_node_ids) == (DISCOVERED, [])
    world.store.forget(one)
    with pytest.raises(NotFoundError):
        world.store.points(one)


def test_every_pair_of_states_is_decided() -> None:
    allowed = {(a, b) for a in DeviceState for b in DeviceState if refusal(a, b) is None}
    assert allowed == {
        (DISCOVERED, ACCEPTED),
        (DISCOVERED, IGNORED),
        (IGNORED, DISCOVERED),
        (BOUND, ACCEPTED),
        (BOUND, IGNORED),
        (ACCEPTED, DISCOVERED),
    }
    assert "delete them first" in (refusal(ACCEPTED, DISCOVERED, has_nodes=True) or "")


def test_a_stale_object_list_is_marked_until_it_is_read_again(world: World) -> None:
    one = world.store.found(device(points=[point(1)])).id
    assert world.store.mark_stale("ip-main", "1001") == 1
    assert world.store.mark_stale("ip-main", "none") == 0
    world.store.found(device())
    assert world.store.get(one).object_list_stale
    assert world.store.summary().stale == 1
    world.store.found(device(points=[point(1), point(2)]))
    assert not world.store.get(one).object_list_stale


def test_a_scan_has_one_life_and_only_one_of_a_protocol_runs(world: World) -> None:
    scan = world.store.begin_scan("bacnet", ["ip-main"], "ana")
    with pytest.raises(ConflictError, match="one is running"):
        world.store.begin_scan("bacnet", [], "bob")
    other = world.store.begin_scan("modbus", ["meters"], "bob")
    assert world.store.scan_progress(scan.id, 0.5, 3, 40).progress == 0.5
    assert world.store.scan_progress(scan.id, 0.4, 4, 40).progress == 0.5, "it never goes back"
    with pytest.raises(BadInputError, match="progress"):
        world.store.scan_progress(scan.id, 1.5, 0, 0)
    world.now += 9000
    done = world.store.finish_scan(scan.id, 5, 60)
    assert (done.state, done.progress, done.finished_at) == (ScanState.DONE, 1.0, NOON + 9000)
    cancelled = world.store.finish_scan(other.id, 0, 0, ScanState.CANCELLED)
    assert (cancelled.state, cancelled.progress) == (ScanState.CANCELLED, 0.0)
    for refused in (
        lambda: world.store.finish_scan(scan.id, 0, 0),
        lambda: world.store.scan_progress(scan.id, 1, 0, 0),
    ):
        with pytest.raises(ConflictError, match="it is done"):
            refused()
    assert world.events == [DiscoveryScanComplete(protocol="bacnet", device_count=5, point_count=60)]
    assert [each.id for each in world.store.scans()[0]] == [other.id, scan.id]


def test_scans_that_a_crash_cut_off_are_failed(world: World) -> None:
    scan = world.store.begin_scan("bacnet", [], "ana").id
    world.reopen()
    assert world.store.abandon_scans() == 1
    assert world.store.scan(scan).error == "interrupted"
    world.store.begin_scan("bacnet", [], "ana")


def test_old_scans_are_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans_module, "KEEP_SCANS", 3)
    for _ in range(5):
        world.store.finish_scan(world.store.begin_scan("bacnet", [], "ana").id, 0, 0)
    assert [each.id for each in world.store.scans()[0]] == [5, 4, 3]


def test_filters_and_pages(world: World) -> None:
    for number in range(5):
        world.store.found(device(str(number), name=f"VAV-{number}", vendor="ACME" if number % 2 else "Other"))
    first, cursor = world.store.find(limit=2)
    rest, end = world.store.find(cursor=cursor)
    assert [each.device_key for each in (*first, *rest)] == list("01234")
    assert end is None
    assert [each.device_key for each in world.store.find(text="acme")[0]] == ["1", "3"]
    other = world.store.found(device("0", "10.0.0.99"))
    assert [each.id for each in world.store.find(text="0.99")[0]] == [other.id]
    world.store.forget(other.id)
    assert world.store.find(DeviceState.ACCEPTED) == ([], None)
    assert len(world.store.find(protocol="bacnet", network_id="ip-main")[0]) == 5
    assert world.store.find(network_id="none")[0] == []


class Model(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(self.folder.name)
        self.ids: dict[tuple[str, str], int] = {}
        self.states: dict[int, DeviceState] = {}
        self.points: dict[int, set[str]] = {}

    @rule(
        key=st.sampled_from("ab"),
        address=st.sampled_from("xy"),
        numbers=st.none() | st.sets(st.integers(1, 5)),
    )
    def found(self, key: str, address: str, numbers: set[int] | None) -> None:
        points = None if numbers is None else [point(each) for each in sorted(numbers)]
        got = self.world.store.found(device(key, address, points=points))
        known = self.ids.setdefault((key, address), got.id)
        assert known == got.id
        self.states.setdefault(got.id, DISCOVERED)
        if points is not None:
            self.points[got.id] = {each.point_key for each in points}
        self.points.setdefault(got.id, set())

    @precondition(lambda self: self.states)
    @rule(at=st.integers(0, 9), act=st.sampled_from(["accept", "ignore", "restore", "forget"]))
    def decide(self, at: int, act: str) -> None:
        device_id = sorted(self.states)[at % len(self.states)]
        state = self.states[device_id]
        twins = next(k for k, v in self.ids.items() if v == device_id)[0]
        taken = any(
            self.states[v] is ACCEPTED for (key, _), v in self.ids.items() if key == twins and v != device_id
        )
        store = self.world.store
        call = {
            "accept": lambda: store.accept(device_id, ["n"], "ana"),
            "ignore": lambda: store.ignore(device_id, "ana"),
            "restore": lambda: store.restore(device_id, "ana"),
            "forget": lambda: store.forget(device_id),
        }[act]
        fine = {
            "accept": state is DISCOVERED and not taken,
            "ignore": state is DISCOVERED,
            "restore": state is IGNORED,
            "forget": state is not ACCEPTED,
        }[act]
        if not fine:
            with pytest.raises(ConflictError):
                call()
            return
        call()
        if act == "forget":
            del self.states[device_id]
            del self.points[device_id]
            self.ids = {key: value for key, value in self.ids.items() if value != device_id}
        else:
            self.states[device_id] = {"accept": ACCEPTED, "ignore": IGNORED, "restore": DISCOVERED}[act]

    @rule()
    def reopen(self) -> None:
        self.world.reopen()

    @invariant()
    def agrees(self) -> None:
        found, _ = self.world.store.find()
        assert {(each.device_key, each.address): each.id for each in found} == self.ids
        assert {each.id: each.state for each in found} == self.states
        for each in found:
            assert {p.point_key for p in self.world.store.points(each.id)[0]} == self.points[each.id]
            twins = [key for key, _ in self.ids if key == each.device_key]
            assert each.conflict == (len(twins) > 1)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.store.close()
            self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=20, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow]
)
