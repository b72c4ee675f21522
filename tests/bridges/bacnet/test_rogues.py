"""The bridge against devices that misbehave, over real BACnet/IP on loopback."""

import asyncio
import socket
from typing import Any

import pytest
from bacpypes3.apdu import AbortReason
from bacpypes3.basetypes import TimeStamp
from bacpypes3.errors import ExecutionError
from bacpypes3.primitivedata import ObjectIdentifier, Unsigned

from actors.core.values import PointStatus
from actors.node.models import Node
from actors.node.store import NodeStore
from bridges.bacnet import cov as module
from bridges.bacnet.network import SilentError
from tests.bridges.bacnet.conftest import SOON, Bench, device, point, until
from tests.bridges.bacnet.rogues import Rogues, values_of
from tests.bridges.simulator.support import IP
from tests.ports import free_port

FAULT = PointStatus.FAULT


def inputs(instance: int, count: int = 3) -> list[Node]:
    return [point("analog-input", number, instance) for number in range(1, count + 1)]


def read(lab: Bench, instance: int, count: int = 3) -> list[Any]:
    return [lab.value(each) for each in values_of(instance, count)]


async def test_a_device_without_multiple_reads(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11, no_multiple=True)
    await lab.bridge([device(7, cov=False)], inputs(7))
    await until(lambda: read(lab, 7) == [1.0, 2.0, 3.0])
    assert app.asked.count("ReadPropertyMultipleRequest") == 1


@pytest.mark.parametrize("apdu", [50, 128, 206])
@pytest.mark.parametrize("reason", [AbortReason.segmentationNotSupported, AbortReason.bufferOverflow])
async def test_a_small_device_is_asked_in_parts_that_fit(
    rogues: Rogues, lab: Bench, apdu: int, reason: int
) -> None:
    app = rogues.add(7, 11, 12, max_apdu=apdu, largest=apdu, overflow=reason)
    await lab.bridge([device(7, cov=False)], inputs(7, 12))
    await until(lambda: read(lab, 7, 12) == [float(number) for number in range(1, 13)])
    assert max(app.sizes) <= apdu
    assert app.asked.count("ReadPropertyMultipleRequest") <= 12


async def test_a_device_that_says_it_takes_more_than_it_does(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11, 12, largest=128)
    bridge = await lab.bridge([device(7, cov=False)], inputs(7, 12))
    await until(lambda: read(lab, 7, 12) == [float(number) for number in range(1, 13)])
    app.sizes.clear()
    await until(lambda: len(app.sizes) > 4)
    assert max(app.sizes) <= 128
    assert (await bridge.status())[0].state == "online"


async def test_a_slow_device_keeps_no_other_waiting(rogues: Rogues, lab: Bench) -> None:
    rogues.add(7, 11, delay=0.9)
    quick = rogues.add(8, 12)
    await lab.bridge([device(7, cov=False), device(8, cov=False)], inputs(7) + inputs(8), retries=2)
    await until(lambda: read(lab, 8) == [1.0, 2.0, 3.0])
    asked = len(quick.asked)
    await until(lambda: read(lab, 7) == [1.0, 2.0, 3.0])
    assert len(quick.asked) > asked
    assert not any(event.type == "device_down" for event in lab.events)


@pytest.mark.parametrize("all_or_nothing", [False, True])
async def test_an_object_that_answers_with_an_error_is_a_fault_and_spoils_no_other(
    rogues: Rogues, lab: Bench, all_or_nothing: bool
) -> None:
    app = rogues.add(7, 11, 8, broken=frozenset({"analog-input,3"}), all_or_nothing=all_or_nothing)
    bridge = await lab.bridge([device(7, cov=False)], inputs(7, 8))
    await until(lambda: read(lab, 7, 8) == [1.0, 2.0, None, 4.0, 5.0, 6.0, 7.0, 8.0])
    await until(lambda: lab.status("7/analog-input-3") == FAULT)
    assert "7/analog-input-3: internal-error" in (await bridge.health()).reasons[0]
    app.asked.clear()
    await until(lambda: app.asked.count("ReadPropertyMultipleRequest") >= 3)
    # One request for the seven that are good, one for the one that isn't.
    assert app.asked.count("ReadPropertyRequest") <= 2 * app.asked.count("ReadPropertyMultipleRequest")


async def test_objects_and_properties_of_the_makers_own_break_nothing(rogues: Rogues, lab: Bench) -> None:
    own = ObjectIdentifier((200, 1))
    rogues.add(7, 11, extra=(own, ObjectIdentifier((1000, 4_194_302))), no_multiple=True)
    mine = point("200", 1, 7)
    await lab.bridge([device(7, cov=False), device(8, cov=False)], [*inputs(7), mine])
    await until(lambda: lab.value(mine.id) == 7.5)
    assert read(lab, 7) == [1.0, 2.0, 3.0]


async def test_a_device_with_objects_of_its_own_tells_the_others(rogues: Rogues, lab: Bench) -> None:
    rogues.add(7, 11, extra=(ObjectIdentifier((200, 1)),), no_list=True)
    await lab.bridge([device(7, cov=False)])
    await until(lambda: read(lab, 7) == [1.0, 2.0, 3.0])
    assert lab.nodes.get("7/analog-input-1").dis == "input 1"


async def test_a_device_that_moved_is_followed(rogues: Rogues, lab: Bench) -> None:
    here = rogues.add(7, 11)
    bridge = await lab.bridge([device(7)], inputs(7), timeout=SOON)
    await until(lambda: read(lab, 7) == [1.0, 2.0, 3.0])
    rogues.unplug(here)
    there = rogues.add(7, 12)
    there.objectName["input 1"].presentValue = 41.0
    await until(lambda: lab.value("7/analog-input-1") == 41.0)
    (status,) = await bridge.status()
    assert (status.address, status.state, status.trouble) == ("200:12", "online", None)


async def test_a_device_that_says_where_it_is_now_is_followed_at_once(rogues: Rogues, lab: Bench) -> None:
    here = rogues.add(7, 11)
    bridge = await lab.bridge([device(7, interval=600)], inputs(7), timeout=SOON)
    await until(lambda: read(lab, 7) == [1.0, 2.0, 3.0])
    rogues.unplug(here)
    there = rogues.add(7, 12)
    there.objectName["input 1"].presentValue = 41.0
    there.i_am()
    await until(lambda: lab.value("7/analog-input-1") == 41.0, 20)
    assert not any(event.type == "device_down" for event in lab.events)
    assert (await bridge.status())[0].address == "200:12"


async def test_two_devices_with_one_instance_are_reported_and_not_mixed(rogues: Rogues, lab: Bench) -> None:
    rogues.add(7, 11)
    bridge = await lab.bridge([device(7)], inputs(7), timeout=SOON)
    await until(lambda: read(lab, 7) == [1.0, 2.0, 3.0])
    other = rogues.add(7, 12)
    other.objectName["input 1"].presentValue = 41.0
    other.i_am()
    await until(lambda: bridge._devices["7"].trouble)
    reasons = (await bridge.health()).reasons
    assert "7: several devices say that they are 7: at 200:11, 200:12" in reasons
    await asyncio.sleep(1.2)
    assert lab.value("7/analog-input-1") == 1.0
    assert (await bridge.status())[0].address == "200:11"
    rogues.unplug(other)
    await bridge._devices["7"].check_rivals()
    assert (await bridge.status())[0].trouble is None


async def test_two_devices_with_one_instance_from_the_start_are_left_alone(
    rogues: Rogues, lab: Bench
) -> None:
    rogues.add(7, 11)
    rogues.add(7, 12)
    bridge = await lab.bridge([device(7)], inputs(7))
    await until(lambda: "campus.yaml" in (bridge._devices["7"].status().last_error or ""))
    assert read(lab, 7) == [None, None, None]
    assert "at 200:11, 200:12" in (bridge._devices["7"].status().last_error or "")


async def test_the_address_that_is_given_decides_between_two(rogues: Rogues, lab: Bench) -> None:
    rogues.add(7, 11).objectName["input 1"].presentValue = 41.0
    rogues.add(7, 12)
    await lab.bridge([device(7, address="200:12")], inputs(7))
    await until(lambda: read(lab, 7) == [1.0, 2.0, 3.0])


async def test_another_device_at_its_address_is_not_taken_for_it(rogues: Rogues, lab: Bench) -> None:
    rogues.add(8, 11)
    bridge = await lab.bridge([device(7, address="200:11")], inputs(7))
    await until(lambda: "is not 7" in (bridge._devices["7"].status().last_error or ""))
    assert read(lab, 7) == [None, None, None]
    rogues.add(7, 12)
    await until(lambda: read(lab, 7) == [1.0, 2.0, 3.0])


async def test_a_device_that_started_again_is_subscribed_to_again(
    rogues: Rogues, lab: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESUBSCRIBE_AFTER", 0.0)
    app = rogues.add(7, 11)
    bridge = await lab.bridge([device(7, interval=600)], inputs(7))
    await until(lambda: bridge._devices["7"].status().cov_points == 3)
    await until(lambda: read(lab, 7) == [1.0, 2.0, 3.0])
    app.forget_subscriptions()
    app.i_am()
    await until(lambda: app.asked.count("SubscribeCOVRequest") == 6)
    await asyncio.sleep(0.1)
    app.objectName["input 1"].presentValue = 41.0
    await until(lambda: lab.value("7/analog-input-1") == 41.0, 5)


async def test_a_device_whose_subscriptions_are_gone_has_started_again(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11)
    bridge = await lab.bridge([device(7, interval=600)], inputs(7))
    unit = bridge._devices["7"]
    await until(lambda: unit.status().cov_points == 3)
    come: list[str] = []
    unit.on_come.append(lambda: come.append("again"))
    for _ in range(2):
        assert await unit.check_restart() is False
    assert come == []
    app.forget_subscriptions()
    await unit.check_restart()
    assert come == ["again"]
    await until(lambda: unit.status().cov_points == 3)
    app.objectName["input 1"].presentValue = 41.0
    await until(lambda: lab.value("7/analog-input-1") == 41.0, 20)


async def test_a_device_that_names_no_subscriptions_is_left_alone(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11)
    app.lists_subscriptions = False
    bridge = await lab.bridge([device(7, interval=600)], inputs(7))
    unit = bridge._devices["7"]
    await until(lambda: unit.status().cov_points == 3)
    subscribed = app.asked.count("SubscribeCOVRequest")
    come: list[str] = []
    unit.on_come.append(lambda: come.append("again"))
    for _ in range(3):
        await unit.check_restart()
    assert come == []
    assert app.asked.count("SubscribeCOVRequest") == subscribed


async def test_a_device_that_forgets_again_and_again_is_no_longer_taken_for_started(
    rogues: Rogues, lab: Bench
) -> None:
    app = rogues.add(7, 11)
    bridge = await lab.bridge([device(7, interval=600)], inputs(7))
    unit = bridge._devices["7"]
    come: list[str] = []
    await until(lambda: unit.status().cov_points == 3)
    unit.on_come.append(lambda: come.append("again"))
    for _ in range(module.MOST_FORGOTTEN + 2):
        await unit.check_restart()
        app.forget_subscriptions()
        await unit.check_restart()
        await until(lambda: unit.status().cov_points == 3)
    assert len(come) == module.MOST_FORGOTTEN


async def test_a_device_that_is_silent_about_its_subscriptions_alone_is_looked_at_as_ever(
    rogues: Rogues, lab: Bench
) -> None:
    app = rogues.add(7, 11)
    app.device_object.databaseRevision = 1
    app.mute = frozenset({module.LISTED})
    bridge = await lab.bridge([device(7, interval=600)], inputs(7), timeout=SOON)
    unit = bridge._devices["7"]
    await until(lambda: unit.status().cov_points == 3)
    assert await unit.check_restart() is False
    app.device_object.databaseRevision = 2
    assert await unit.check_restart() is True
    assert module.LISTED in unit._lacks
    assert await unit.check_restart() is False
    assert unit.status().misses == 0


async def test_a_restart_is_not_lost_where_the_next_question_is(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11)
    own = app.device_object
    own.lastRestartReason, own.databaseRevision = "coldstart", 1
    bridge = await lab.bridge([device(7, interval=600)], inputs(7), timeout=SOON)
    unit = bridge._devices["7"]
    await until(lambda: unit.status().cov_points == 3)
    assert await unit.check_restart() is False
    come: list[str] = []
    unit.on_come.append(lambda: come.append("again"))
    own.lastRestartReason = "warmstart"
    app.mute = frozenset({"database-revision"})
    with pytest.raises(SilentError):
        await unit.check_restart()
    app.mute = frozenset()
    await unit.check_restart()
    assert come == ["again"]


async def test_a_device_that_started_again_in_silence_is_found_out(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11)
    own = app.device_object
    bridge = await lab.bridge([device(7, interval=600)], inputs(7))
    unit = bridge._devices["7"]
    await until(lambda: unit.status().cov_points == 3)
    # It has none of the properties that would tell: each is asked for once.
    assert await unit.check_restart() is False
    asked = len(app.asked)
    assert await unit.check_restart() is False
    assert len(app.asked) <= asked + 2  # its list of objects, and its subscriptions
    unit._lacks.clear()
    own.timeOfDeviceRestart = TimeStamp(sequenceNumber=Unsigned(1))
    own.lastRestartReason, own.databaseRevision = "coldstart", 1
    assert await unit.check_restart() is False
    own.databaseRevision = 2
    assert await unit.check_restart() is True
    assert unit.status().cov_points == 3
    come: list[str] = []
    unit.on_come.append(lambda: come.append("again"))
    app.forget_subscriptions()
    own.timeOfDeviceRestart = TimeStamp(sequenceNumber=Unsigned(2))
    before = app.asked.count("SubscribeCOVRequest")
    assert await unit.check_restart() is False
    assert come == ["again"]
    await until(lambda: app.asked.count("SubscribeCOVRequest") == before + 3)
    await asyncio.sleep(0.1)
    app.objectName["input 1"].presentValue = 41.0
    await until(lambda: lab.value("7/analog-input-1") == 41.0, 5)


async def test_a_subscription_is_renewed_before_it_ends(
    rogues: Rogues, lab: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COV_LIFETIME", 2)
    app = rogues.add(7, 11)
    await lab.bridge([device(7, interval=600)], inputs(7))
    await until(lambda: app.asked.count("SubscribeCOVRequest") >= 9)
    app.objectName["input 1"].presentValue = 41.0
    await until(lambda: lab.value("7/analog-input-1") == 41.0, 5)


async def test_a_refused_subscription_is_polled(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11, cov="refused")
    bridge = await lab.bridge([device(7)], inputs(7))
    await until(lambda: read(lab, 7) == [1.0, 2.0, 3.0])
    app.objectName["input 1"].presentValue = 41.0
    await until(lambda: lab.value("7/analog-input-1") == 41.0)
    assert (await bridge.status())[0].cov_points == 0


async def test_a_subscription_of_which_nothing_comes_is_polled(
    rogues: Rogues, lab: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_NOTIFICATION", 0.5)
    rogues.add(7, 11, cov="silent")
    bridge = await lab.bridge([device(7)], inputs(7))
    await until(lambda: bridge._devices["7"].status().cov_points == 3)
    await until(lambda: bridge._devices["7"].status().cov_points == 0)
    assert "no notification came; it is polled" in (bridge._devices["7"].status().last_error or "")


async def test_a_subscription_that_went_silent_is_polled(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11)
    bridge = await lab.bridge([device(7)], inputs(7))
    status = bridge._devices["7"].status
    await until(lambda: status().cov_points == 3 and read(lab, 7) == [1.0, 2.0, 3.0])
    app.forget_subscriptions()
    # Less than its increment: it doesn't tell of that, and needn't.
    for step in range(1, 4):
        app.objectName["input 2"].presentValue = 2.0 + 0.01 * step
        await asyncio.sleep(0.6)
    assert status().cov_points == 3
    for step in range(1, 20):
        app.objectName["input 1"].presentValue = 10.0 * step
        await asyncio.sleep(0.6)
        if status().cov_points == 2:
            break
    assert status().cov_points == 2
    assert "2 changes were not told" in (status().last_error or "")


async def test_several_networks_have_each_their_own_port(
    rogues: Rogues, lab: Bench, nodes: NodeStore
) -> None:
    more = Rogues(free_port(socket.SOCK_DGRAM, IP))
    await more.opened()
    try:
        rogues.add(7, 11)
        more.add(7, 11).objectName["input 1"].presentValue = 41.0
        first, second = (
            lab.network(),
            lab.network().model_copy(update={"id": "other", "bbmd": f"{IP}:{more.port}"}),
        )
        other = device(7).model_copy(update={"id": "other-7", "network": "other"})
        theirs = point("analog-input", 1, 7)
        theirs.id, theirs.parent_id = "other-7/analog-input-1", "other-7"
        assert theirs.protocol_binding
        theirs.protocol_binding.config["network_id"] = "other"
        await lab.bridge([device(7), other], [*inputs(7), theirs], networks=[first, second])
        await until(lambda: lab.value("7/analog-input-1") == 1.0)
        await until(lambda: lab.value("other-7/analog-input-1") == 41.0)
    finally:
        more.close()


async def test_a_device_that_tells_no_objects_is_in_trouble_and_health_says_so(
    rogues: Rogues, lab: Bench
) -> None:
    app = rogues.add(7, 11)
    plain = app.do_ReadPropertyRequest
    hides = True

    async def read(apdu: Any) -> None:
        if hides and str(apdu.propertyIdentifier) == "object-list":
            raise ExecutionError("property", "read-access-denied")
        await plain(apdu)

    app.do_ReadPropertyRequest = read  # type: ignore[method-assign]
    bridge = await lab.bridge([device(7)])
    await until(lambda: bridge._devices["7"].trouble)
    assert (await bridge.status())[0].trouble == "its objects can't be read: read-access-denied"
    assert any("7: its objects can't be read" in each for each in (await bridge.health()).reasons)
    hides = False
    await until(lambda: lab.value("7/analog-input-1") is not None)
    assert (await bridge.status())[0].trouble is None
