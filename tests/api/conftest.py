"""The HTTP side over real stores in this process, without Ray."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from actors.alarm.store import AlarmStore
from actors.audit.store import AuditStore
from actors.backup.engine import BackupScheduler
from actors.bus.bus import EventBus
from actors.bus.journal import JournalStore
from actors.commissioning.engine import CommissioningEngine
from actors.core.store import Store
from actors.discovery.engine import DiscoveryEngine
from actors.history.reader import HistoryReader
from actors.history.store import HistoryStore
from actors.node.models import Node, NodeCapabilities, NodeType, ProtocolBinding
from actors.node.store import NodeStore
from actors.override.engine import CommandEngine
from actors.override.store import OverrideStore
from actors.point.models import PointConfig, empty_frame
from actors.point.store import PointStore
from actors.user.store import UserStore
from api.app import create_app
from api.deps import Campus, SiteActors
from api.middleware import PAGE
from api.stores import CAMPUS_STORES, SITE_STORES
from tests.discovery.bridge import FakeBridge
from tests.support import QUICK_HASHER, InProcess

PASSWORD = "correct horse battery"


class Quiet:
    def values(self, *columns: Any) -> None: ...
    def statuses(self, *columns: Any) -> None: ...


@dataclass
class Served:
    campus: Campus
    client: TestClient
    points: PointStore
    history: HistoryStore
    alarms: AlarmStore
    bridge: FakeBridge

    def login(self, username: str, role: str) -> dict[str, str]:
        admin = self.admin
        body = {"username": username, "password": PASSWORD, "role": role}
        assert self.client.post("/api/users", json=body, headers=admin).status_code == 201
        return self._login(username)

    def _login(self, username: str) -> dict[str, str]:
        answer = self.client.post("/api/auth/login", json={"username": username, "password": PASSWORD})
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    @property
    def admin(self) -> dict[str, str]:
        if not hasattr(self, "_admin"):
            self.client.post("/api/auth/setup", json={"username": "ana", "password": PASSWORD})
            self._admin = self._login("ana")
        return self._admin


def binding(number: int) -> ProtocolBinding:
    return ProtocolBinding.bacnet(1001, "analog-value", number, "ip")


def backups(site: str, folder: Path, actors: dict[str, Any]) -> InProcess:
    stores = {name: each for name, each in actors.items() if isinstance(each.target, Store)}
    return InProcess(BackupScheduler(site, folder, stores))


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.user.store.PasswordHasher", QUICK_HASHER)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    nodes = NodeStore(tmp_path)
    able = NodeCapabilities(readable=True, writable=True, historizable=True)
    nodes.create(Node(id="north", node_type=NodeType.SITE, dis="North"))
    nodes.create(Node(id="1001", node_type=NodeType.EQUIP, dis="AHU-1", parent_id="north"))
    for number in range(1, 6):
        nodes.create(
            Node(
                id=f"1001/analog-value-{number}",
                node_type=NodeType.VIRTUAL_POINT if number == 1 else NodeType.POINT,
                dis=f"Value {number}",
                parent_id="1001",
                capabilities=able if number == 1 else NodeCapabilities(readable=True),
                protocol_binding=None if number == 1 else binding(number),
            )
        )
    points = PointStore("north", Quiet(), lambda frame: None)
    ids = [each for each in nodes.ids() if "/" in each]
    points.configure([PointConfig(id=each, units="degrees-celsius") for each in ids])
    frame = empty_frame()
    for number, each in enumerate(ids):
        frame.add(each, 20.0 + number, 1_700_000_000_000)
    points.set_many(frame.encode())
    history, alarms, overrides = HistoryStore(tmp_path), AlarmStore(tmp_path), OverrideStore(tmp_path)
    history.append(frame.encode())
    users, audit = UserStore(tmp_path / "campus"), AuditStore(tmp_path / "campus")
    engine = CommandEngine("north", InProcess(nodes), InProcess(points), InProcess(overrides), {})
    journal = InProcess(JournalStore(tmp_path))
    site = SiteActors(
        id="north",
        name="North",
        bus=InProcess(EventBus("north", journal=journal)),
        points=InProcess(points),
        nodes=InProcess(nodes),
        history=InProcess(history),
        alarms=InProcess(alarms),
        overrides=InProcess(overrides),
        commands=InProcess(engine),
        stores={name: InProcess(plain(tmp_path)) for name, plain in SITE_STORES.items()}
        | {"journal": journal},
        engines={"history_reader": InProcess(HistoryReader(tmp_path))},
    )
    bridge = FakeBridge()
    finds = (site.stores["discovery"], site.nodes, site.alarms, {"bacnet": InProcess(bridge)})
    discovery = DiscoveryEngine("north", *finds, {"ip": "bacnet"}, round_=60.0, retry=0.05)
    site.engines["backups"] = backups("north", tmp_path, site.actors())
    site.engines["discovery_engine"] = InProcess(discovery)
    tests = (site.stores["commissioning"], site.nodes, site.points, site.alarms, site.stores["schedules"])
    verifier = CommissioningEngine("north", *tests, site.overrides, site.commands, {})
    site.engines["commissioning_engine"] = InProcess(verifier)
    campus = Campus(
        name="Test",
        version="0",
        sites={"north": site},
        users=InProcess(users),
        audit=InProcess(audit),
        bus=InProcess(EventBus("campus")),
        stores={name: InProcess(plain(tmp_path / "campus")) for name, plain in CAMPUS_STORES.items()},
    )
    campus.engines["backups"] = backups("campus", tmp_path / "campus", campus.actors())
    with TestClient(create_app(campus), client=PAGE, raise_server_exceptions=False) as client:
        assert client.portal is not None
        # Not started: its loop would use the stores beside the test.
        discovery._ready.set()
        yield Served(campus, client, points, history, alarms, bridge)
        client.portal.call(discovery.stop)
    others = [each.target for each in (*site.stores.values(), *campus.stores.values())]
    for store in (nodes, history, alarms, overrides, users, audit, *others):
        store.close()
