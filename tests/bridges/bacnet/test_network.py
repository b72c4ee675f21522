"""What a network promises whatever its devices do, with the library's part played."""

import asyncio
from typing import Any

import pytest
from bacpypes3.apdu import ReadPropertyACK
from bacpypes3.constructeddata import Any as Any_
from bacpypes3.primitivedata import Real

from bridges.bacnet import network as module
from bridges.bacnet.network import IN_FLIGHT, Network, SilentError
from bridges.config import BacnetNetwork


class Played:
    """An application whose devices at 10.0.0.1 never answer."""

    def __init__(self) -> None:
        self.under_way = 0

    async def request(self, apdu: Any) -> Any:
        if str(apdu.pduDestination) == "10.0.0.1":
            self.under_way += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.under_way -= 1
        return ReadPropertyACK(
            objectIdentifier=apdu.objectIdentifier,
            propertyIdentifier=apdu.propertyIdentifier,
            propertyValue=Any_(Real(5.0)),
        )


def played() -> tuple[Network, Played]:
    network, app = Network(BacnetNetwork(id="ip", timeout=3, retries=0)), Played()
    network._app = app
    return network, app


async def read(network: Network, address: str) -> Any:
    return await network.read("d", address, "analog-input,1", "present-value")


async def test_dead_devices_however_many_hold_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOLD", 0.01)
    network, app = played()
    dead = [asyncio.create_task(read(network, "10.0.0.1")) for _ in range(5 * IN_FLIGHT)]
    await asyncio.sleep(0)
    assert await read(network, "10.0.0.2") == 5.0
    assert not any(each.done() for each in dead)
    for each in dead:
        each.cancel()
    await asyncio.gather(*dead, return_exceptions=True)
    assert app.under_way == 0
    assert network._turns._value == IN_FLIGHT


async def test_a_turn_is_given_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOLD", 0.01)
    network, _ = played()
    network.config = BacnetNetwork(id="ip", timeout=0.1, retries=0)
    results = await asyncio.gather(
        *(asyncio.wait_for(read(network, f"10.0.0.{1 + n % 2}"), 0.2) for n in range(20)),
        return_exceptions=True,
    )
    assert sum(each == 5.0 for each in results) == 10
    assert all(isinstance(each, TimeoutError | SilentError | float) for each in results)
    assert network._turns._value == IN_FLIGHT
