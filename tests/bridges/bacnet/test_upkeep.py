"""Clocks, restarts and silence of devices, over real BACnet/IP on loopback."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bacpypes3.apdu import SimpleAckPDU
from bacpypes3.errors import ExecutionError

from actors.core.errors import BadInputError, BridgeError, NotFoundError
from bridges.bacnet.clocks import from_bacnet
from bridges.bacnet.upkeep import Restart, Speech, time_requests
from bridges.config import BacnetNetwork
from tests.bridges.bacnet.conftest import Bench, device, point, until
from tests.bridges.bacnet.rogues import Rogue, Rogues


class Told:
    """What a device was told to do."""

    def __init__(self, app: Rogue, password: str | None = None) -> None:
        self.app, self.password = app, password
        self.times: list[tuple[str, datetime]] = []
        self.asked: list[tuple[Any, ...]] = []
        app.do_TimeSynchronizationRequest = app.do_UTCTimeSynchronizationRequest = self.time
        app.do_ReinitializeDeviceRequest = self.restart
        app.do_DeviceCommunicationControlRequest = self.control

    async def time(self, apdu: Any) -> None:
        self.times.append((type(apdu).__name__, from_bacnet(apdu.time.date, apdu.time.time)))

    async def restart(self, apdu: Any) -> None:
        await self._answer(apdu, str(apdu.reinitializedStateOfDevice))

    async def control(self, apdu: Any) -> None:
        await self._answer(apdu, str(apdu.enableDisable), apdu.timeDuration)

    async def _answer(self, apdu: Any, *what: Any) -> None:
        if self.password is not None and apdu.password != self.password:
            raise ExecutionError("security", "password-failure")
        self.asked.append(what)
        await self.app.response(SimpleAckPDU(context=apdu))


async def test_the_time_is_told_to_one_and_to_all(rogues: Rogues, lab: Bench) -> None:
    first, second = Told(rogues.add(7, 11)), Told(rogues.add(8, 12))
    bridge = await lab.bridge([device(7, cov=False)], [point("analog-input", 1, 7)])
    await until(lambda: lab.value("7/analog-input-1") == 1.0)
    await bridge.synchronise(device_key="7")
    await until(lambda: len(first.times) == 2)
    assert second.times == []
    await bridge.synchronise()
    await until(lambda: len(first.times) == 4 and len(second.times) == 2)
    told = dict(second.times)
    now = datetime.now(UTC).replace(tzinfo=None)
    assert abs((now - told["UTCTimeSynchronizationRequest"]).total_seconds()) < 60
    assert abs((datetime.now() - told["TimeSynchronizationRequest"]).total_seconds()) < 60
    for wrong in ({"device_key": "99"}, {"network_id": "nowhere"}):
        with pytest.raises(NotFoundError):
            await bridge.synchronise(**wrong)


async def test_the_time_is_told_on_a_period(rogues: Rogues, lab: Bench) -> None:
    told = Told(rogues.add(7, 11))
    network = BacnetNetwork.model_validate(lab.network().model_dump() | {"time_sync": 24})
    await lab.bridge([], networks=[network])
    await until(lambda: len(told.times) >= 2)


def test_the_time_has_a_zone() -> None:
    now = datetime(2026, 7, 1, 12, 0, 30, tzinfo=UTC)
    utc, local = time_requests(now, ZoneInfo("Europe/Vienna"))
    assert from_bacnet(utc.time.date, utc.time.time) == datetime(2026, 7, 1, 12, 0, 30)
    assert from_bacnet(local.time.date, local.time.time) == datetime(2026, 7, 1, 14, 0, 30)
    assert utc.time.date[3] == 3


async def test_a_device_is_restarted_and_silenced_for_a_time(rogues: Rogues, lab: Bench) -> None:
    told = Told(rogues.add(7, 11), "secret")
    bridge = await lab.bridge([device(7, cov=False)], [point("analog-input", 1, 7)])
    await until(lambda: lab.value("7/analog-input-1") == 1.0)
    with pytest.raises(BridgeError, match="password-failure"):
        await bridge.restart("7", Restart.COLD)
    await bridge.restart("7", Restart.WARM, "secret")
    await bridge.control_speech("7", Speech.DISABLE_INITIATION, 5, "secret")
    await bridge.control_speech("7", Speech.ENABLE, password="secret")
    assert told.asked == [("warmstart",), ("disable-initiation", 5), ("enable", None)]
    with pytest.raises(NotFoundError):
        await bridge.restart("8", Restart.COLD)
    for minutes in (None, 0, 1441):
        with pytest.raises(BadInputError, match="minutes"):
            await bridge.control_speech("7", Speech.DISABLE_INITIATION, minutes)
    with pytest.raises(BadInputError, match="password"):
        await bridge.restart("7", Restart.COLD, "x" * 21)
    assert len(told.asked) == 3
