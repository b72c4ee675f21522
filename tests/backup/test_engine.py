from pathlib import Path

import pytest

from actors.backup.engine import BackupScheduler
from actors.core import sqlite
from actors.core.health import HealthState
from actors.node.models import Node, NodeType
from actors.node.store import NodeStore
from actors.override.store import OverrideStore
from tests.support import InProcess

DAY = 86_400_000


def room(key: str) -> Node:
    return Node(id=key, node_type=NodeType.SPACE, dis=key)


async def test_each_store_is_copied_when_its_newest_copy_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_700_000_000_000]
    monkeypatch.setattr(sqlite, "now_ms", lambda: now[0])
    nodes, overrides = NodeStore(tmp_path), OverrideStore(tmp_path)
    handles = {"nodes": InProcess(nodes), "overrides": InProcess(overrides)}

    def engine() -> BackupScheduler:
        return BackupScheduler("north", handles, keep=3, clock=lambda: now[0])

    one = engine()
    assert await one.step() == ["nodes", "overrides"]
    nodes.create(room("a"))
    assert await one.step() == []
    assert await engine().step() == [], "a restart repeats nothing"
    now[0] += DAY
    assert await one.step() == ["nodes", "overrides"]
    for _ in range(4):
        now[0] += DAY
        await one.step()
    found = nodes.backups()
    assert [each.time for each in found] == [now[0], now[0] - DAY, now[0] - 2 * DAY]
    assert all(each.size > 0 and sqlite.damage(Path(each.path)) is None for each in found)
    now[0] -= 30 * DAY
    assert await one.step() == ["nodes", "overrides"], "copies of the future count as too old"
    nodes.close()
    overrides.close()


async def test_a_store_that_cant_be_copied_is_told_and_tried_again(tmp_path: Path) -> None:
    nodes = NodeStore(tmp_path)
    (tmp_path / "backups").write_text("in the way")
    one = BackupScheduler("north", {"nodes": InProcess(nodes)})
    assert await one.step() == []
    health = await one.health()
    assert health.state is HealthState.DEGRADED
    assert "nodes was not backed up" in health.reasons[0]
    (tmp_path / "backups").unlink()
    assert await one.step() == ["nodes"]
    assert (await one.health()).state is HealthState.HEALTHY
    nodes.close()
