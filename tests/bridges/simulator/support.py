"""What the tests of the simulator share: free ports, a foreign BACnet client."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bacpypes3.app import Application
from bacpypes3.basetypes import HostNPort
from bacpypes3.local.device import DeviceObject
from bacpypes3.local.networkport import NetworkPortObject

from tests.ports import free_port

IP = "127.0.0.2"


@asynccontextmanager
async def foreign_client(bbmd: str) -> AsyncIterator[Application]:
    """Be registered as a foreign device at a BBMD; requests fail after a second."""
    address = f"127.0.0.1/8:{free_port(socket.SOCK_DGRAM, '127.0.0.1')}"
    port = NetworkPortObject(
        address,
        objectIdentifier=("network-port", 1),
        objectName="port",
        bacnetIPMode="foreign",
        fdBBMDAddress=HostNPort(bbmd),
        fdSubscriptionLifetime=60,
    )
    device = DeviceObject(
        objectIdentifier=("device", 999),
        objectName="client",
        vendorIdentifier=999,
        apduTimeout=500,
        numberOfApduRetries=0,
    )
    app = Application.from_object_list([device, port])
    link = app.link_layers[port.objectIdentifier]
    for _ in range(100):
        if link.bbmdRegistrationStatus == 0:
            break
        await asyncio.sleep(0.05)
    assert link.bbmdRegistrationStatus == 0
    try:
        yield app
    finally:
        app.close()
