"""Frames that nobody should send, against the bridge's socket; `OPENCRATE_FUZZ=200000` makes a long run."""

import asyncio
import contextlib
import gc
import logging
import os
import random
import socket
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from bacpypes3.apdu import (
    AbortPDU,
    AcknowledgeAlarmRequest,
    ConfirmedCOVNotificationRequest,
    IAmRequest,
    IHaveRequest,
    ReadPropertyACK,
    ReadPropertyMultipleRequest,
    ReadPropertyRequest,
    RejectPDU,
    SegmentAckPDU,
    SubscribeCOVRequest,
    UnconfirmedCOVNotificationRequest,
    WhoHasRequest,
    WhoIsRequest,
    WritePropertyRequest,
)
from bacpypes3.basetypes import (
    PropertyReference,
    PropertyValue,
    ReadAccessSpecification,
    TimeStamp,
    WhoHasObject,
)
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.pdu import PDU
from bacpypes3.primitivedata import ObjectIdentifier, Real

from bridges.bacnet import hardening
from tests.bridges.bacnet.conftest import Bench, device, point, until
from tests.bridges.bacnet.rogues import Rogues

FRAMES = int(os.environ.get("OPENCRATE_FUZZ", "3000"))
SEED = int(os.environ.get("OPENCRATE_FUZZ_SEED", "1"))
AI = ObjectIdentifier("analog-input,1")


def notification(kind: Any, process: int) -> Any:
    return kind(
        subscriberProcessIdentifier=process,
        initiatingDeviceIdentifier=ObjectIdentifier("device,7"),
        monitoredObjectIdentifier=AI,
        timeRemaining=60,
        listOfValues=[PropertyValue(propertyIdentifier="present-value", value=AnyValue(Real(1.0)))],
    )


def requests() -> list[Any]:
    """Give good requests and answers of many kinds."""
    asked = ReadAccessSpecification(
        objectIdentifier=AI,
        listOfPropertyReferences=[PropertyReference(propertyIdentifier="present-value")],
    )
    who_has = WhoHasRequest()
    who_has.object = WhoHasObject(objectIdentifier=AI)
    made: list[Any] = [
        WhoIsRequest(),
        who_has,
        IAmRequest(
            iAmDeviceIdentifier=("device", 7),
            maxAPDULengthAccepted=1024,
            segmentationSupported="segmented-both",
            vendorID=999,
        ),
        IHaveRequest(deviceIdentifier=("device", 7), objectIdentifier=AI, objectName="input 1"),
        notification(UnconfirmedCOVNotificationRequest, 1),
        notification(ConfirmedCOVNotificationRequest, 1),
        ReadPropertyRequest(objectIdentifier=("device", 4194303), propertyIdentifier="object-list"),
        ReadPropertyMultipleRequest(listOfReadAccessSpecs=[asked]),
        WritePropertyRequest(
            objectIdentifier=("device", 4194000), propertyIdentifier="apdu-timeout", propertyValue=Real(1.0)
        ),
        SubscribeCOVRequest(
            subscriberProcessIdentifier=1,
            monitoredObjectIdentifier=AI,
            issueConfirmedNotifications=True,
            lifetime=60,
        ),
        AcknowledgeAlarmRequest(
            acknowledgingProcessIdentifier=1,
            eventObjectIdentifier=AI,
            eventStateAcknowledged="normal",
            timeStamp=TimeStamp(sequenceNumber=1),
            acknowledgmentSource="x",
            timeOfAcknowledgment=TimeStamp(sequenceNumber=1),
        ),
        ReadPropertyACK(objectIdentifier=AI, propertyIdentifier="present-value", propertyValue=Real(1.0)),
        AbortPDU(True, 1, 0),
        RejectPDU(1, 0),
        SegmentAckPDU(0, 0, 1, 0, 4),
    ]
    return made


def encoded(apdu: Any, invoke: int) -> bytes:
    if hasattr(apdu, "apduInvokeID"):
        apdu.apduInvokeID = invoke
    generic = apdu.encode() if hasattr(apdu, "_order") else apdu
    generic.apduSeg = generic.apduMor = False
    generic.apduSA, generic.apduMaxSegs, generic.apduMaxResp = True, 2, 5
    pdu: PDU = generic.encode()
    return bytes(pdu.pduData)


class Hostile:
    """Somebody on the network who sends what comes to mind."""

    def __init__(self, port: int) -> None:
        self.chance = random.Random(SEED)
        self.good = [bytes(each) for each in self._corpus()]
        self.sent: list[bytes] = []
        self.at = ("127.0.0.1", port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.9", 0))

    def _corpus(self) -> Iterator[bytes]:
        for apdu in requests():
            for invoke in (0, 1, 7):
                data = encoded(apdu, invoke)
                for npdu in (
                    b"\x01\x00",
                    b"\x01\x04",
                    b"\x01\x20\xff\xff\x00\xff",
                    b"\x01\x08\x00\xc8\x01\x0b",
                ):
                    body = npdu + data
                    yield b"\x81\x0a" + (len(body) + 4).to_bytes(2, "big") + body
        # Messages of the network layer, and of BACnet/IP's own.
        for kind in range(0x15):
            body = b"\x01\x80" + bytes([kind]) + b"\x00\xc8\x00\xc9"
            yield b"\x81\x0b" + (len(body) + 4).to_bytes(2, "big") + body
        for function in range(0x0D):
            yield b"\x81" + bytes([function]) + b"\x00\x0a" + b"\x7f\x00\x00\x09\xba\xc0"

    def frame(self) -> bytes:
        chance = self.chance
        data = bytearray(chance.choice(self.good))
        what = chance.randrange(8)
        if what == 0:
            return chance.randbytes(chance.randrange(0, 200))
        if what == 1:
            del data[chance.randrange(len(data)) :]
        elif what == 2:
            data += chance.randbytes(chance.choice([1, 10, 1500, 9000, 60_000]))
        elif what == 3 and self.sent:
            return chance.choice(self.sent)
        elif what >= 4:
            for _ in range(chance.randrange(1, 6)):
                data[chance.randrange(4 if what > 5 else 0, len(data))] = chance.randrange(256)
        if len(data) >= 4 and what != 2:
            data[2:4] = len(data).to_bytes(2, "big")
        return bytes(data[:65_000])

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.socket.sendto(data, self.at)
        if len(self.sent) < 500:
            self.sent.append(data)


class Lines(logging.Handler):
    """What was written to the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {record.getMessage()}")


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logging.getLogger().addHandler(handler)
    hardening.faults._told.clear()
    yield handler
    logging.getLogger().removeHandler(handler)


@pytest.mark.timeout(max(120, FRAMES // 100))
async def test_whatever_is_sent_the_bridge_goes_on_and_nothing_leaks(
    rogues: Rogues, lab: Bench, lines: Lines
) -> None:
    app = rogues.add(7, 11)
    bridge = await lab.bridge([device(7)], [point("analog-input", n, 7) for n in (1, 2, 3)])
    await until(lambda: lab.value("7/analog-input-1") == 1.0)
    await until(lambda: bridge._devices["7"].status().cov_points == 3)
    network = bridge._networks["ip"]
    network._app.asap.applicationTimeout = 300
    network._app.device_object.apduSegmentTimeout = 300
    lost: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    ours = loop.get_exception_handler()
    assert ours is not None

    def unhandled(loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None or not hardening._is_librarys(error):
            lost.append(context)
        ours(loop, context)

    loop.set_exception_handler(unhandled)
    tasks = len(asyncio.all_tasks())
    hostile = Hostile(network.config.port)
    tracemalloc.start()
    before = 0
    for number in range(FRAMES):
        hostile.send(hostile.frame())
        if number % 20 == 19:
            await asyncio.sleep(0.002)
        if number == FRAMES // 3:
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
    await until(lambda: not network._app.asap.serverTransactions, 30)
    await until(lambda: len(asyncio.all_tasks()) <= tasks + 2, 30)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    hostile.socket.close()
    app.objectName["input 1"].presentValue = 41.0
    await until(lambda: lab.value("7/analog-input-1") == 41.0)
    (status,) = await bridge.status()
    assert (status.state, status.address) == ("online", "200:11")
    assert lost == []
    assert grown < 8_000_000
    assert network._app.device_object.apduTimeout == 3000
    assert sum(len(each.cov_subscriptions) for each in network._app._cov_detections.values()) == 0
    assert len(network._app.device_info_cache.address_cache) <= 2
    # That a device went down is told each time: it takes several checks without an answer.
    kinds = [line[:80] for line in lines.lines if "is down" not in line]
    # A minute has passed, or two, on a slow machine.
    assert max((kinds.count(each) for each in kinds), default=0) <= 1 + FRAMES // 10_000
    assert len(lines.lines) < 150


async def test_an_answer_that_can_not_be_read_is_an_error_and_no_silence(rogues: Rogues, lab: Bench) -> None:
    app = rogues.add(7, 11)
    broken = True
    respond = app.asap.sap_confirmation

    async def garbled(apdu: Any) -> None:
        if broken and type(apdu).__name__ == "ReadPropertyACK":
            apdu = apdu.encode()
            apdu.pduData = apdu.pduData[:-3] + b"\x3e\x3e\x3e"
        await respond(apdu)

    app.asap.sap_confirmation = garbled
    bridge = await lab.bridge([device(7, cov=False)], [point("analog-input", 1, 7)])
    await until(lambda: lab.value("7/analog-input-1") == 1.0)
    status = bridge._devices["7"].status()
    assert (status.state, status.misses, status.model) == ("online", 0, None)
    broken = False
