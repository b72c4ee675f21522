"""`python -m bench.controllers PORT`: BACnet controllers behind a router, some of which never answer."""

import argparse
import asyncio
import itertools
import math
from typing import Any, Final

from bacpypes3.local.analog import AnalogValueObject
from bacpypes3.local.device import DeviceObject
from bacpypes3.local.networkport import NetworkPortObject
from bacpypes3.vlan import VirtualNetwork

from bridges.simulator.application import Device
from bridges.simulator.bacnet import field_port

ADDRESS: Final = "127.0.0.3"
FIRST: Final = 2001
"""Device instance of the first controller; the others follow."""
NETWORK: Final = 200
CHANGE: Final = 2.0
"""Seconds between two changes of all values."""


def _device(instance: int, name: str) -> DeviceObject:
    return DeviceObject(
        objectIdentifier=("device", instance),
        objectName=name,
        vendorName="Bench",
        vendorIdentifier=999,
        modelName="controller",
        maxApduLengthAccepted=1476,
        segmentationSupported="segmented-both",
    )


def router(port: int, lan: str) -> Device:
    """Make the router, which takes foreign devices."""
    address = f"{ADDRESS}/8:{port}"
    outside = NetworkPortObject(
        address,
        objectIdentifier=("network-port", 1),
        objectName="IP Port",
        networkNumber=100,
        networkNumberQuality="configured",
        bacnetIPMode="bbmd",
        bbmdAcceptFDRegistrations=True,
        bbmdBroadcastDistributionTable=[],
        bbmdForeignDeviceTable=[],
    )
    made: Device = Device.from_object_list([_device(1999, "router"), outside, field_port(lan, 1, NETWORK)])
    return made


def controller(number: int, points: int, lan: str) -> tuple[Device, list[AnalogValueObject]]:
    """Make a controller with some analog values."""
    values = [
        AnalogValueObject(
            objectIdentifier=("analog-value", each + 1),
            objectName=f"Value {each + 1}",
            presentValue=20.0 + each,
            statusFlags=[0, 0, 0, 0],
            eventState="normal",
            outOfService=False,
            units="degrees-celsius",
            covIncrement=0.5,
        )
        for each in range(points)
    ]
    own = _device(FIRST + number, f"controller {number}")
    return Device.from_object_list([own, field_port(lan, number + 2, 0), *values]), values


async def run(port: int, count: int, points: int, dead: int) -> None:
    """Serve until killed; the last `dead` controllers say who they are not, and answer nothing."""
    lan = VirtualNetwork("bench controllers")
    outside = router(port, lan.name)
    made = [controller(number, points, lan.name) for number in range(count)]
    link = outside.link_layers[outside.objectName["IP Port"].objectIdentifier]
    await asyncio.wait_for(asyncio.gather(*link.server._transport_tasks), 10)
    await asyncio.sleep(0.2)
    for device, _ in made[count - dead :]:
        device.play_dead(True)
    print("READY", flush=True)
    for step in itertools.count():
        await asyncio.sleep(CHANGE)
        for number, (_, values) in enumerate(made):
            await asyncio.sleep(0)
            for each, value in enumerate(values):
                shown: Any = round(20.0 + each + math.sin(step / 5 + number), 2)
                value.presentValue = shown


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument("--dead", type=int, default=0)
    chosen = parser.parse_args()
    asyncio.run(run(chosen.port, chosen.count, chosen.points, chosen.dead))
