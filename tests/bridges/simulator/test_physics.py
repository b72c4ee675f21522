"""The building as pure physics."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.simulator.controls import Loop, lag, toward
from bridges.simulator.faults import FAULTS, UnknownFaultError, parse
from bridges.simulator.physics import Building
from bridges.simulator.weather import Weather

WINTER, SUMMER = datetime(2026, 1, 14, 10), datetime(2026, 7, 15, 11)
COMMANDS = {
    "reheat_valve": (0, 100),
    "damper_command": (0, 100),
    "zone_setpoint": (10, 35),
    "occupancy_command": (1, 5),
}
AHU_COMMANDS = {
    "fan_command": (0, 1),
    "heating": (0, 100),
    "cooling": (0, 100),
    "damper": (0, 100),
    "supply_setpoint": (10, 30),
}


def test_the_same_seed_gives_the_same_building() -> None:
    def run(seed: int) -> list[dict[str, float]]:
        building = Building(seed, WINTER)
        for _ in range(20):
            building.step(30)
        return [dict(unit.sensed) for unit in building.units.values()]

    assert run(4) == run(4)
    assert run(4) != run(5)


def test_a_step_in_parts_ends_where_a_whole_one_does() -> None:
    whole, parted = Building(1, WINTER), Building(1, WINTER)
    whole.step(60)
    for _ in range(12):
        parted.step(5)
    assert whole.units["vav-1"].sensed == pytest.approx(parted.units["vav-1"].sensed)


@settings(max_examples=5)
@given(
    seed=st.integers(0, 10**6),
    day=st.integers(0, 364),
    hour=st.integers(0, 23),
    data=st.data(),
)
def test_zones_stay_believable_whatever_is_commanded(
    seed: int, day: int, hour: int, data: st.DataObject
) -> None:
    building = Building(seed, datetime(2026, 1, 1, hour) + timedelta(days=day))
    for _ in range(6):
        for name, commands in (("ahu-1", AHU_COMMANDS), ("vav-1", COMMANDS), ("vav-6", COMMANDS)):
            chosen = data.draw(st.sets(st.sampled_from(sorted(commands))))
            building.units[name].commanded = {
                key: float(data.draw(st.integers(*commands[key]))) for key in sorted(chosen)
            }
        building.set_faults(frozenset(data.draw(st.sets(st.sampled_from(FAULTS), max_size=3))))
        building.step(3600)
        for vav in building.vavs:
            # With the coils forced open for hours the air nears the temperature of the boiler's water.
            assert -15 < vav.zone.temperature < 80
            assert 400 < vav.zone.co2 < 5001
            assert 0 <= vav.airflow < 1200
        assert 5 <= building.plant.supply < 110
        assert -30 < building.ahu.supply < 80


@settings(max_examples=4)
@given(seed=st.integers(0, 10**6), month=st.integers(1, 12), hour=st.integers(0, 23))
def test_a_healthy_building_keeps_comfort_and_raises_no_alarm(seed: int, month: int, hour: int) -> None:
    building = Building(seed, datetime(2026, month, 14, hour))
    for _ in range(24):
        building.step(900)
        for vav in building.vavs:
            assert 18 < vav.unit.sensed["zone_temp"] < 26
            assert vav.unit.sensed["co2"] < 1500
        assert 9 < building.ahu.supply < 23
        assert building.plant.supply > 50
        assert _alarms(building) == []


def _alarms(building: Building) -> list[str]:
    names = {"low_airflow", "leaking_valve", "tripped", "overheated"}
    return [
        f"{name} {key}"
        for name, unit in building.units.items()
        for key, value in unit.sensed.items()
        if value and (key.endswith("_alarm") or key in names)
    ]


@pytest.mark.parametrize(
    ("fault", "alarm"),
    [
        ("stuck-damper:vav-3", "vav-3 low_airflow"),
        ("leaking-valve:vav-5", "vav-5 leaking_valve"),
        ("stuck-damper:ahu-1", "ahu-1 damper_alarm"),
        ("leaking-valve:ahu-1", "ahu-1 coil_alarm"),
        ("fan-failure:ahu-1", "ahu-1 fan_alarm"),
        ("dirty-filter:ahu-1", "ahu-1 filter_alarm"),
        ("boiler-failure:boiler-plant", "boiler-plant boiler_1_alarm"),
        ("drive-fault:drive-1", "drive-1 tripped"),
    ],
)
def test_a_fault_is_noticed_and_passes(fault: str, alarm: str) -> None:
    building = Building(2, SUMMER)
    building.set_faults(frozenset({parse(fault)}))
    building.step(2400)
    assert alarm in _alarms(building)
    building.set_faults(frozenset())
    building.step(2400)
    assert _alarms(building) == []


@pytest.mark.parametrize("start", [WINTER, SUMMER, datetime(2026, 4, 18, 2)])
def test_a_drifting_sensor_reads_too_high_and_leaves_its_zone_cold(start: datetime) -> None:
    building = Building(2, start)
    building.set_faults(frozenset({parse("drifting-sensor:vav-2")}))
    building.step(4800)
    vav = building.vavs[1]
    assert vav.unit.sensed["zone_temp"] > vav.zone.temperature + 10
    assert vav.unit.sensed["zone_temp"] > 28.0


@pytest.mark.parametrize("start", [WINTER, SUMMER, datetime(2026, 4, 18, 2)])
def test_a_drifting_supply_sensor_reads_too_high_or_freezes_the_coil(start: datetime) -> None:
    building = Building(2, start)
    building.set_faults(frozenset({parse("drifting-sensor:ahu-1")}))
    seen = set()
    for _ in range(40):
        building.step(120)
        seen |= set(_alarms(building))
        seen |= {"hot"} if building.units["ahu-1"].sensed["supply_temp"] > 25 else set()
    assert seen & {"hot", "ahu-1 freeze_alarm"}


def test_an_open_reheat_valve_warms_the_zone() -> None:
    building = Building(1, WINTER)
    before = building.vavs[0].zone.temperature
    building.units["vav-1"].commanded["reheat_valve"] = 100.0
    building.step(1200)
    assert building.vavs[0].zone.temperature > before + 2
    del building.units["vav-1"].commanded["reheat_valve"]
    building.step(3600)
    assert building.vavs[0].zone.temperature < 23


@pytest.mark.parametrize("start", [WINTER, SUMMER, datetime(2026, 1, 17, 2), datetime(2026, 7, 18, 23)])
def test_a_commanded_setpoint_is_met_at_any_hour(start: datetime) -> None:
    building = Building(1, start)
    before = building.vavs[3].zone.temperature
    building.units["vav-4"].commanded["zone_setpoint"] = 25.0
    building.step(1200)
    assert building.vavs[3].zone.temperature > before + 1
    building.step(3600)
    assert building.vavs[3].zone.temperature == pytest.approx(25, abs=0.8)


def test_a_stuck_damper_ignores_commands() -> None:
    building = Building(1, SUMMER)
    building.set_faults(frozenset({parse("stuck-damper:vav-3")}))
    building.units["vav-3"].commanded["damper_command"] = 100.0
    building.step(600)
    assert building.vavs[2].damper < 10
    building.set_faults(frozenset())
    building.step(600)
    assert building.vavs[2].damper == 100


def test_without_pump_no_heat() -> None:
    building = Building(1, WINTER)
    building.units["vav-1"].commanded["reheat_valve"] = 100.0
    building.units["drive-1"].commanded["speed_reference"] = 0.0
    building.units["boiler-plant"].commanded["pump_2_command"] = 0.0
    building.step(900)
    assert building.vavs[0].discharge < building.ahu.supply + 1


def test_the_standby_pump_takes_over_from_a_tripped_drive() -> None:
    building = Building(1, WINTER)
    building.set_faults(frozenset({parse("drive-fault:drive-1")}))
    building.step(300)
    sensed = building.units["boiler-plant"].sensed
    assert (sensed["pump_1_status"], sensed["pump_2_status"], sensed["pump_alarm"]) == (0, 1, 1)
    assert sensed["flow"] > 0.5


def test_energy_is_conserved_in_the_water_loop() -> None:
    building = Building(1, WINTER)
    building.step(7200)
    plant = building.plant
    fired = plant.fire / 100 * 50_000
    load = building.ahu.heat + sum(vav.heat for vav in building.vavs)
    assert fired == pytest.approx(load + 25 * (plant.supply - 20), abs=4000)


def test_summer_is_warmer_than_winter_and_days_than_nights() -> None:
    for seed in range(5):
        weather = Weather(seed)

        def mean(month: int, hour: int, weather: Weather = weather) -> float:
            days = [weather.at(datetime(2026, month, day, hour)) for day in range(1, 29)]
            return sum(day.temperature for day in days) / len(days)

        assert mean(7, 15) > mean(1, 15) + 14
        assert mean(7, 15) > mean(7, 4) + 3
        assert weather.at(datetime(2026, 7, 1, 1)).sun[0] == 0
        assert weather.at(datetime(2026, 7, 1, 12)).sun[0] > 100


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0, 1e6), st.floats(1, 1e5))
def test_a_lag_never_overshoots(value: float, target: float, dt: float, tau: float) -> None:
    assert min(value, target) - 1e-9 <= lag(value, target, dt, tau) <= max(value, target) + 1e-9


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0.1, 60)), max_size=50))
def test_a_loop_stays_in_range_and_does_not_wind_up(steps: list[tuple[float, float]]) -> None:
    loop = Loop(5.0, 60.0)
    for error, dt in steps:
        assert 0 <= loop.step(error, dt) <= 100
    assert -100 <= loop.integral <= 100


def test_an_actuator_moves_no_faster_than_it_can() -> None:
    assert toward(0, 100, 5) == 5
    assert toward(100, 0, 500) == 0


def test_an_unknown_fault_lists_the_right_ones() -> None:
    with pytest.raises(UnknownFaultError, match=r"no fault 'stuck-damper:vav-9'; there are: stuck-damper"):
        parse("stuck-damper:vav-9")
    assert parse("dead-device:meter-2") in FAULTS
