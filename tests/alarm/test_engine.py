import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.alarm.engine import AlarmEngine
from actors.alarm.models import (
    Alarm,
    AlarmState,
    Condition,
    FaultCondition,
    LimitCondition,
    NewAlarmConfig,
    Report,
    Severity,
    StaleCondition,
    StateCondition,
)
from actors.alarm.store import AlarmStore
from actors.bus.bus import EventBus
from actors.bus.frames import Frame, status_frames, value_frames
from actors.core.errors import NotFoundError, StorageError, UnreachableError
from actors.core.health import HealthState
from actors.core.values import PointStatus
from actors.point.models import PointConfig, PointFrame
from actors.point.store import PointStore
from tests.support import InProcess

ACTIVE, ACKNOWLEDGED, CLEARED, CLOSED = AlarmState
P, Q = "1001/analog-input-1", "1001/analog-input-2"
WARM = LimitCondition(high=30, low=10, deadband=5)


class Sometimes(InProcess):
    """A handle whose actor can be away."""

    away = False

    def __getattr__(self, name: str) -> Any:
        return InProcess(SimpleNamespace(call=_refuse)).call if self.away else super().__getattr__(name)


def _refuse(*args: Any) -> None:
    raise UnreachableError("the actor", "it restarts")


class World:
    """Both stores, a bus and an engine in one process, with clocks set by hand.

    What the point store publishes waits until `deliver` hands it to the engine, `send` puts it on the bus or
    `lose` drops it.
    """

    def __init__(self, folder: Path) -> None:
        self.now, self.tick = 1_700_000_000_000, 0.0
        self.value_rows: list[tuple[str, Any, int]] = []
        self.status_rows: list[tuple[str, int, int]] = []
        self.names: dict[str, Any] = {}
        self.alarms = AlarmStore(folder, clock=lambda: self.now)
        self.to_alarms, self.to_points, self.to_nodes = (
            Sometimes(self.alarms),
            Sometimes(None),
            Sometimes(self),
        )
        self.restart_points()
        self.bus = EventBus("north")
        self.engine = self.new_engine()

    def new_engine(self) -> AlarmEngine:
        return AlarmEngine(
            "north",
            InProcess(self.bus),
            self.to_alarms,
            self.to_points,
            nodes=self.to_nodes,
            clock=lambda: self.now,
            monotonic=lambda: self.tick,
        )

    def restart_points(self) -> None:
        self.points = PointStore("north", self, lambda frame: None, lambda: self.now, lambda: self.tick)
        self.points.configure([PointConfig(id=each, units="°C", interval=10) for each in (P, Q)])
        self.to_points.target = self.points

    def get(self, node_id: str) -> Any:
        if node_id not in self.names:
            raise NotFoundError("node", node_id)
        return self.names[node_id]

    def values(self, ids: list[str], values: list[Any], times: list[int]) -> None:
        self.value_rows += zip(ids, values, times, strict=True)

    def statuses(self, ids: list[str], old: list[int], new: list[int]) -> None:
        self.status_rows += zip(ids, old, new, strict=True)

    def read(self, value: Any, status: int = 0, point: str = P) -> None:
        self.points.set_many(PointFrame([point], [value], [self.now], [status]).encode())

    def lose(self) -> tuple[list[tuple[str, Any, int]], list[tuple[str, int, int]]]:
        waiting = self.value_rows, self.status_rows
        self.value_rows, self.status_rows = [], []
        return waiting

    async def deliver(self) -> None:
        await self.engine.take(*self.lose())

    async def show(self, value: Any, status: int = 0, point: str = P) -> None:
        self.read(value, status, point)
        await self.deliver()

    async def send(self) -> None:
        values, statuses = self.lose()
        frames = value_frames(*map(list, zip(*values, strict=True))) if values else []
        frames += status_frames(*map(list, zip(*statuses, strict=True))) if statuses else []
        await self.bus.publish(frames)

    async def wait(self, seconds: float) -> None:
        self.tick += seconds
        await self.engine.step()

    async def watch(self, condition: Condition, point: str = P, **fields: Any) -> int:
        config = self.alarms.create_config(NewAlarmConfig(node_id=point, condition=condition, **fields))
        await self.engine.resync()
        return config.id

    def states(self) -> list[AlarmState]:
        return [each.state for each in reversed(self.alarms.find(states=list(AlarmState))[0])]

    def alarm(self) -> Alarm:
        [alarm] = self.alarms.find()[0]
        return alarm

    def flagged(self) -> list[str]:
        return [row[0] for row in self.points.snapshot() if row[2] & PointStatus.ALARM]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.engine.stop()
    world.alarms.close()


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to hold")


async def test_a_limit_alarm_comes_above_the_limit_and_goes_past_the_deadband(world: World) -> None:
    config = await world.watch(WARM, severity=Severity.CRITICAL)
    await world.show(30.0)
    assert world.states() == []
    await world.show(31.0)
    alarm = world.alarm()
    assert (alarm.config_id, alarm.node_id, alarm.severity) == (config, P, Severity.CRITICAL)
    assert (alarm.value, alarm.message) == (31.0, f"{P} is 31.0 °C, above 30 °C")
    await world.show(26.0)
    assert world.states() == [ACTIVE]
    await world.show(25.0)
    assert world.states() == [CLEARED]
    assert [(each.event, each.value) for each in world.alarms.history()[0]] == [
        ("cleared", 25.0),
        ("raised", 31.0),
    ]


async def test_a_delay_must_pass_before_the_alarm_and_not_before_its_end(world: World) -> None:
    await world.watch(WARM.model_copy(update={"delay": 60}))
    await world.show(31.0)
    await world.wait(59)
    assert world.states() == []
    await world.wait(1)
    assert world.states() == [ACTIVE]
    await world.show(20.0)
    assert world.states() == [CLEARED]


async def test_a_delay_begins_again_when_the_value_was_back_meanwhile(world: World) -> None:
    await world.watch(WARM.model_copy(update={"delay": 60}))
    await world.show(31.0)
    await world.wait(59)
    await world.show(28.0)
    await world.wait(200)
    assert world.states() == []
    await world.show(31.0)
    await world.wait(59)
    assert world.states() == []
    await world.wait(1)
    assert world.states() == [ACTIVE]


async def test_a_delay_goes_on_through_a_resync_and_begins_again_with_a_new_engine(world: World) -> None:
    await world.watch(WARM.model_copy(update={"delay": 60}))
    await world.show(31.0)
    world.tick += 40
    await world.engine.resync()
    await world.wait(20)
    assert world.states() == [ACTIVE]
    await world.watch(WARM.model_copy(update={"delay": 60}), Q)
    await world.show(31.0, point=Q)
    world.tick += 40
    world.engine = world.new_engine()
    await world.engine.resync()
    await world.wait(59)
    assert world.states() == [ACTIVE]
    await world.wait(1)
    assert world.states() == [ACTIVE, ACTIVE]


async def test_a_delay_that_ran_for_one_point_does_not_count_for_another(world: World) -> None:
    slow = WARM.model_copy(update={"delay": 60})
    config = await world.watch(slow)
    world.read(20.0, point=Q)
    await world.show(31.0)
    world.points.forget([Q])
    world.tick += 59
    world.alarms.update_config(config, NewAlarmConfig(node_id=Q, condition=slow))
    await world.engine.resync()
    await world.wait(10)
    assert world.states() == []


async def test_a_configuration_that_moves_to_another_point_takes_no_alarm_with_it(world: World) -> None:
    config = await world.watch(WARM)
    world.read(32.0, point=Q)
    await world.show(31.0)
    world.alarms.update_config(config, NewAlarmConfig(node_id=Q, condition=WARM))
    await world.engine.resync()
    alarm = world.alarm()
    assert (alarm.node_id, alarm.state, alarm.value) == (Q, ACTIVE, 32.0)
    assert world.flagged() == [Q]
    await world.engine.resync()
    assert [each.event for each in world.alarms.history()[0]] == ["raised", "cleared", "raised"]


async def test_a_state_alarm_stands_while_the_state_does(world: World) -> None:
    await world.watch(StateCondition(states=[True]), message="Fan has tripped")
    await world.show(False)
    assert world.states() == []
    await world.show(True)
    assert world.alarm().message == "Fan has tripped"
    await world.show(None, PointStatus.DOWN)
    assert world.states() == [ACTIVE]
    await world.show(False)
    assert world.states() == [CLEARED]


async def test_a_stale_alarm_comes_after_three_missed_readings_and_goes_with_the_next(world: World) -> None:
    await world.watch(StaleCondition())
    await world.show(20.0)
    world.tick += 30
    await world.engine.check_stale()
    await world.deliver()
    assert world.states() == []
    world.tick += 1
    await world.engine.check_stale()
    await world.deliver()
    assert world.alarm().message == f"{P} has had no reading for too long"
    await world.show(20.0)
    assert world.states() == [CLEARED]


async def test_a_point_whose_device_is_down_is_stale_at_once(world: World) -> None:
    await world.watch(StaleCondition())
    await world.show(None, PointStatus.DOWN)
    assert world.states() == [ACTIVE]


async def test_a_fault_alarm_follows_the_fault_flag(world: World) -> None:
    await world.watch(FaultCondition())
    await world.show(20.0, PointStatus.FAULT)
    assert world.alarm().message == f"{P} reports a fault"
    await world.show(20.0)
    assert world.states() == [CLEARED]


async def test_a_limit_alarm_waits_for_a_value_that_can_be_judged(world: World) -> None:
    await world.watch(WARM)
    await world.show(31.0, PointStatus.FAULT)
    assert world.states() == []
    await world.show(31.0)
    await world.show(20.0, PointStatus.FAULT)
    assert world.states() == [ACTIVE]
    await world.show(20.0)
    assert world.states() == [CLEARED]


async def test_several_configurations_of_a_point_are_watched_apart_and_share_its_flag(world: World) -> None:
    await world.watch(LimitCondition(high=30), message="warm")
    await world.watch(LimitCondition(high=40), message="hot")
    await world.show(41.0)
    assert world.states() == [ACTIVE, ACTIVE]
    await world.show(35.0)
    assert world.states() == [ACTIVE, CLEARED]
    assert world.flagged() == [P]
    await world.show(20.0)
    assert world.states() == [CLEARED, CLEARED]
    assert world.flagged() == []


async def test_points_that_nobody_watches_are_left_alone(world: World) -> None:
    await world.watch(WARM)
    await world.show(99.0, point=Q)
    assert world.states() == []
    assert world.flagged() == []


async def test_the_alarm_flag_stays_until_the_condition_is_over_whatever_people_do(world: World) -> None:
    await world.watch(WARM)
    await world.show(31.0)
    assert world.flagged() == [P]
    world.alarms.acknowledge(world.alarm().id, "ana")
    world.alarms.shelve(world.alarm().id, world.now + 1000, "ana")
    await world.engine.resync()
    assert world.flagged() == [P]
    await world.show(20.0)
    assert world.flagged() == []
    assert world.states() == [CLOSED]


async def test_a_flag_that_someone_took_away_is_set_again(world: World) -> None:
    await world.watch(WARM)
    await world.show(31.0)
    await world.deliver()
    world.points.set_flag([P], PointStatus.ALARM, False)
    world.points.set_flag([Q], PointStatus.ALARM, True)
    await world.deliver()
    assert world.flagged() == [P]


async def test_what_came_or_went_unheard_is_raised_and_cleared_by_a_resync(world: World) -> None:
    await world.watch(WARM)
    await world.watch(WARM, Q)
    await world.show(31.0)
    world.read(20.0)
    world.read(9.0, point=Q)
    world.lose()
    assert world.states() == [ACTIVE]
    await world.engine.resync()
    assert world.states() == [CLEARED, ACTIVE]
    assert world.flagged() == [Q]


async def test_a_new_engine_takes_over_the_alarms_that_stand(world: World) -> None:
    await world.watch(WARM)
    await world.show(31.0)
    await world.show(27.0)
    world.engine = world.new_engine()
    await world.engine.resync()
    assert world.states() == [ACTIVE]
    await world.show(20.0)
    assert world.states() == [CLEARED]
    assert len(world.alarms.history()[0]) == 2


async def test_an_alarm_that_the_store_did_not_take_is_raised_later(world: World) -> None:
    await world.watch(WARM)
    world.to_alarms.away = True
    with pytest.raises(UnreachableError):
        await world.show(31.0)
    with pytest.raises(UnreachableError):
        await world.engine.step()
    world.to_alarms.away = False
    assert world.states() == []
    await world.engine.step()
    assert world.states() == [ACTIVE]
    assert world.flagged() == [P]


async def test_an_end_that_the_store_did_not_take_is_told_later(world: World) -> None:
    await world.watch(WARM)
    await world.show(31.0)
    world.to_alarms.away = True
    with pytest.raises(UnreachableError):
        await world.show(20.0)
    world.to_alarms.away = False
    await world.engine.step()
    assert world.states() == [CLEARED]
    assert world.flagged() == []


async def test_a_flag_that_the_point_store_did_not_take_is_set_later(world: World) -> None:
    await world.watch(WARM)
    world.read(31.0)
    world.to_points.away = True
    with pytest.raises(UnreachableError):
        await world.deliver()
    assert world.states() == [ACTIVE]
    world.to_points.away = False
    await world.engine.check_stale()
    assert world.flagged() == [P]


@pytest.mark.parametrize("change", ["disabled", "deleted", "moved"])
async def test_a_configuration_that_no_longer_fits_clears_its_alarm(world: World, change: str) -> None:
    config = await world.watch(WARM)
    await world.show(31.0)
    if change == "disabled":
        world.alarms.update_config(config, NewAlarmConfig(node_id=P, condition=WARM, enabled=False))
    elif change == "deleted":
        world.alarms.delete_config(config)
    else:
        world.alarms.update_config(config, NewAlarmConfig(node_id=P, condition=LimitCondition(high=40)))
    await world.engine.resync()
    assert world.states() == [CLEARED]
    assert world.flagged() == []


async def test_a_point_store_that_restarted_gets_its_flags_again(world: World) -> None:
    await world.watch(WARM)
    await world.show(31.0)
    world.restart_points()
    await world.show(31.0)
    await world.engine.check_stale()
    assert world.flagged() == [P]
    assert [each.event for each in world.alarms.history()[0]] == ["raised"]
    await world.show(20.0)
    assert world.states() == [CLEARED]


async def test_alarms_stand_while_a_restarted_point_store_is_still_empty(world: World) -> None:
    await world.watch(WARM)
    await world.watch(StaleCondition())
    await world.show(31.0, PointStatus.STALE)
    before = world.states()
    world.restart_points()
    world.points.forget([P, Q])
    await world.engine.check_stale()
    await world.engine.resync()
    assert world.states() == before == [ACTIVE]


async def test_flags_that_a_restarted_point_store_no_longer_has_are_forgotten(world: World) -> None:
    await world.watch(StaleCondition())
    await world.watch(WARM)
    await world.show(20.0, PointStatus.DOWN)
    assert world.states() == [ACTIVE]
    world.restart_points()
    await world.show(31.0)
    await world.engine.check_stale()
    assert world.states() == [CLEARED, ACTIVE]


async def test_shelves_whose_time_is_over_end_with_the_check(world: World) -> None:
    await world.watch(WARM)
    await world.show(31.0)
    world.alarms.shelve(world.alarm().id, world.now + 1000, "ana")
    world.now += 1000
    await world.engine.check_stale()
    assert world.alarm().shelved_until is None


async def test_a_message_names_equipment_and_point_and_does_without_them(world: World) -> None:
    world.names[P] = SimpleNamespace(dis="Supply Air", parent_id="1001")
    world.names["1001"] = SimpleNamespace(dis="AHU-1", parent_id=None)
    world.names[Q] = SimpleNamespace(dis="Alone", parent_id=None)
    await world.watch(WARM)
    await world.watch(WARM, Q)
    await world.show(31.0)
    await world.show(9.0, point=Q)
    messages = [each.message for each in reversed(world.alarms.find()[0])]
    assert messages == ["AHU-1 Supply Air is 31.0 °C, above 30 °C", "Alone is 9.0 °C, below 10 °C"]
    await world.show(20.0)
    world.to_nodes.away = True
    await world.show(31.0)
    assert world.alarms.find()[0][-1].message == f"{P} is 31.0 °C, above 30 °C"


async def test_a_running_engine_follows_the_bus_its_losses_and_its_configurations(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.alarm.engine.TICK", 0.01)
    world.alarms.create_config(NewAlarmConfig(node_id=P, condition=WARM))
    assert (await world.engine.health()).state is HealthState.DEGRADED
    world.read(20.0)
    world.lose()
    await world.engine.start()
    await world.engine.start()
    await until(lambda: world.engine._trouble is None)
    assert (await world.engine.health()).state is HealthState.HEALTHY

    world.read(31.0)
    await world.send()
    await until(lambda: world.states() == [ACTIVE] and world.flagged() == [P])

    world.read(20.0)
    world.lose()
    await world.bus.publish([Frame("value_changed", 5000, b"never read")])
    await until(lambda: world.states() == [CLEARED] and world.flagged() == [])

    world.alarms.create_config(NewAlarmConfig(node_id=P, condition=LimitCondition(high=15)))
    await world.bus.set_watch("alarms", world.alarms.config_version())
    await until(lambda: world.states() == [CLEARED, ACTIVE])


async def test_a_running_engine_outlives_its_stores_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.alarm.engine.TICK", 0.01)
    world.alarms.create_config(NewAlarmConfig(node_id=P, condition=WARM))
    await world.engine.start()
    await until(lambda: world.engine._trouble is None)
    world.to_alarms.away = True
    world.read(31.0)
    await world.send()
    await until(lambda: world.engine._trouble is not None)
    health = await world.engine.health()
    assert health.state is HealthState.DEGRADED
    assert "it restarts" in health.reasons[0]
    world.to_alarms.away = False
    await until(lambda: world.states() == [ACTIVE] and world.engine._trouble is None)
    await world.engine.stop()
    world.read(20.0)
    await world.send()
    await asyncio.sleep(0.05)
    assert world.states() == [ACTIVE]


async def test_a_running_engine_sets_a_flag_that_failed_as_soon_as_the_point_store_is_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.alarm.engine.TICK", 0.01)
    world.alarms.create_config(NewAlarmConfig(node_id=P, condition=WARM))
    await world.engine.start()
    await until(lambda: world.engine._trouble is None)
    world.read(31.0)
    world.to_points.away = True
    await world.send()
    await until(lambda: world.states() == [ACTIVE] and world.engine._trouble is not None)
    world.to_points.away = False
    await until(lambda: world.flagged() == [P] and world.engine._trouble is None)


async def test_after_a_restart_the_alarm_itself_says_which_limit_was_passed(world: World) -> None:
    await world.watch(WARM)
    await world.show(31.0)
    world.engine = world.new_engine()
    world.read(14.0)
    world.lose()
    await world.engine.resync()
    assert world.states() == [CLEARED]


async def test_one_alarm_that_the_store_refuses_holds_up_no_other(world: World) -> None:
    await world.watch(WARM, message="refused")
    await world.watch(WARM, Q)
    raise_alarm = world.alarms.raise_alarm

    def refuse(node_id: str, severity: Severity, message: str, *args: Any) -> Alarm:
        if message == "refused":
            raise StorageError("alarms", "it won't have this one")
        return raise_alarm(node_id, severity, message, *args)

    world.alarms.raise_alarm = refuse  # type: ignore[method-assign]
    world.read(31.0, point=P)
    world.read(31.0, point=Q)
    with pytest.raises(StorageError):
        await world.deliver()
    assert world.alarm().node_id == Q
    world.alarms.raise_alarm = raise_alarm  # type: ignore[method-assign]
    await world.wait(1)
    assert world.states() == [ACTIVE, ACTIVE]


@pytest.mark.parametrize("condition", [StaleCondition(), FaultCondition()])
async def test_a_point_store_that_knows_nothing_yet_clears_nothing(
    world: World, condition: Condition
) -> None:
    await world.watch(condition)
    await world.show(None, int(PointStatus.DOWN | PointStatus.FAULT))
    assert world.states() == [ACTIVE]
    world.restart_points()
    await world.engine.resync()
    assert world.states() == [ACTIVE]
    await world.show(20.0)
    await world.engine.resync()
    assert world.states() == [CLEARED]


async def test_a_clock_that_was_set_back_hides_no_value_from_the_alarms(world: World) -> None:
    await world.watch(WARM)
    await world.show(20.0)
    world.now -= 3_600_000
    world.read(31.0)
    world.lose()
    await world.engine.check_stale()
    assert world.states() == [ACTIVE]


async def test_a_point_whose_device_raised_an_alarm_is_flagged_while_it_stands(world: World) -> None:
    def say(*, standing: bool) -> None:
        report = Report(
            source="bacnet/ip/7/analog-input,1",
            node_id=P,
            severity=Severity.HIGH,
            message="too hot",
            standing=standing,
        )
        world.alarms.report([report], "device 7")

    world.read(20.0)
    say(standing=True)
    await world.engine.check_stale()
    assert world.flagged() == [P]
    say(standing=False)
    await world.engine.check_stale()
    assert world.flagged() == []
