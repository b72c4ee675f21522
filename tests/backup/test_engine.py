import asyncio
from pathlib import Path

from actors.backup import files
from actors.backup.engine import BackupScheduler
from actors.backup.models import BackupState
from actors.core import sqlite
from actors.core.health import HealthState
from actors.node.models import Node, NodeType
from actors.node.store import NodeStore
from actors.override.store import OverrideStore
from tests.backup.large import Large, fill
from tests.support import InProcess

DAY = 86_400_000


def room(key: str) -> Node:
    return Node(id=key, node_type=NodeType.SPACE, dis=key)


async def test_each_store_is_copied_when_its_newest_copy_is_too_old(tmp_path: Path) -> None:
    now = [1_700_000_000_000]
    nodes, overrides = NodeStore(tmp_path), OverrideStore(tmp_path)
    handles = {"nodes": InProcess(nodes), "overrides": InProcess(overrides)}

    def engine() -> BackupScheduler:
        return BackupScheduler("north", tmp_path, handles, keep=3, clock=lambda: now[0])

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
    assert nodes.backups()[0].time == now[0], "and the one made now is the newest"
    assert await one.step() == []
    nodes.close()
    overrides.close()


async def test_a_store_that_cant_be_copied_is_told_and_tried_again(tmp_path: Path) -> None:
    nodes = NodeStore(tmp_path)
    (tmp_path / "backups").write_text("in the way")
    one = BackupScheduler("north", tmp_path, {"nodes": InProcess(nodes)})
    assert await one.step() == []
    health = await one.health()
    assert health.state is HealthState.DEGRADED
    assert "nodes was not backed up" in health.reasons[0]
    job = await one.job()
    assert job is not None
    assert (job.running, job.stores[0].state) == (False, BackupState.FAILED)
    assert job.stores[0].error
    (tmp_path / "backups").unlink()
    assert await one.step() == ["nodes"]
    assert (await one.health()).state is HealthState.HEALTHY
    nodes.close()


async def test_a_store_answers_while_its_large_file_is_copied(tmp_path: Path) -> None:
    store = Large(tmp_path)
    fill(store, megabytes=200)
    engine = BackupScheduler("north", tmp_path, {"large": InProcess(store)})
    before = store.count()
    job = await engine.begin()
    assert (job.running, job.stores[0].store) == (True, "large@north")
    served, seen = 0, set[BackupState]()
    while job.running:
        store.add(b"x")
        served += job.stores[0].state is BackupState.COPYING
        seen.add(job.stores[0].state)
        await asyncio.sleep(0)
        job = await engine.job() or job
    assert served > 100, "calls were answered between the first and the last slice"
    assert seen == {BackupState.WAITING, BackupState.COPYING, BackupState.CHECKING}
    [done] = job.stores
    assert done.state is BackupState.DONE
    assert done.copied == done.size == store.backups()[0].size
    assert store.count() > before + served
    store.close()


async def test_a_second_wish_joins_the_first(tmp_path: Path) -> None:
    nodes = NodeStore(tmp_path)
    engine = BackupScheduler("north", tmp_path, {"nodes": InProcess(nodes)})
    assert await engine.job() is None
    await engine.begin()
    job = await engine.begin()
    while job.running:
        await asyncio.sleep(0)
        job = await engine.job() or job
    assert len(nodes.backups()) == 1
    await engine.begin()
    assert len(nodes.backups()) == 1
    await engine.stop()
    nodes.close()


async def test_stopping_ends_a_copy_after_its_slice_and_leaves_no_part(tmp_path: Path) -> None:
    store = Large(tmp_path)
    fill(store, megabytes=64)
    engine = BackupScheduler("north", tmp_path, {"large": InProcess(store)})
    job = await engine.begin()
    while job.stores[0].state is not BackupState.COPYING:
        await asyncio.sleep(0)
        job = await engine.job() or job
    await engine.stop()
    assert files.backups(store.path) == []
    assert list((tmp_path / "backups").iterdir()) == []
    store.close()
