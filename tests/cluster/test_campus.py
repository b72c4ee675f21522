"""A building on a host of its own, cut off and killed; the long versions are in test_plugs.py."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.campus import RISES, HostedCampus
from tests.cluster.system import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture
def campus(tmp_path: Path) -> Iterator[HostedCampus]:
    made = HostedCampus(tmp_path)
    try:
        made.raise_head()
        made.login()
        made.join()
        made.until_there()
        made.until_fresh()
        yield made
    finally:
        made.close()


def test_a_building_goes_on_while_cut_off_and_comes_back_when_its_host_was_killed(
    campus: HostedCampus,
) -> None:
    until(lambda: "is up on north" in campus.joined.said(), RISES, "the building is up")
    campus.make_noise()
    campus.follow()
    since = time.time()
    campus.command(duration=10)
    campus.lan.cut(campus.building)
    told = campus.until_away()
    answer = campus.request("GET", "/api/points/meter-1/active-power", params={"site": "north"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "site_unreachable")
    campus.kill_actor("ray::ModbusBridge")
    time.sleep(20)
    campus.lan.heal(campus.building)
    healed = campus.until_there()
    until(lambda: campus.check_history(since) == [], 5, "no hole over the cut link, though an actor died")
    campus.check_overrides(since)
    assert campus.check_alarms() == 0, "each alarm once: the subscriber ran all the time"
    print(f"\nlink cut: told after {told:.1f} s, healed {healed:.1f} s after the link")

    campus.building.power_off()
    campus.until_away()
    campus.building.power_on()
    campus.join()
    campus.until_there()
    campus.until_fresh()
    holes = campus.check_history(since)
    assert len(holes) <= 1, "the time in which the host was off, and the ledger knows"
    campus.check_alarms()
    print(f"host killed: holes {holes}; the longest request took {campus.longest:.1f} s")
