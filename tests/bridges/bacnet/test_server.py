"""Our own BACnet device, asked by a client of its own over real BACnet/IP on loopback."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from bacpypes3.apdu import (
    DeviceCommunicationControlRequest,
    ErrorRejectAbortNack,
    ReadPropertyMultipleRequest,
    SubscribeCOVRequest,
    WritePropertyMultipleRequest,
)
from bacpypes3.app import Application
from bacpypes3.basetypes import (
    HostNPort,
    PropertyReference,
    PropertyValue,
    ReadAccessSpecification,
    WriteAccessSpecification,
)
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.local.device import DeviceObject
from bacpypes3.local.networkport import NetworkPortObject
from bacpypes3.pdu import Address
from bacpypes3.primitivedata import Null, ObjectIdentifier, Real
from pydantic import ValidationError

from actors.core.errors import ConflictError, UnreachableError, WriteFailedError
from actors.core.values import PointStatus, PointValue
from actors.node.models import Node, NodeCapabilities, NodeType, ProtocolBinding
from actors.node.store import NodeStore
from actors.override.logic import active_priority
from actors.override.models import PriorityArray, WriteRequest, WriteResult
from actors.point.models import PointConfig, PointFrame
from bridges.bacnet import server as module
from bridges.bacnet.bridge import BacnetBridge
from bridges.bacnet.server import Served, instance_of, kind_of
from bridges.config import BacnetNetwork
from tests.bridges.bacnet.conftest import Bench, until
from tests.bridges.bacnet.rogues import Rogues
from tests.bridges.simulator.support import IP
from tests.ports import free_port
from tests.support import InProcess

AIR, FAN, MODE, NOTE = "north/oat", "north/fan", "north/mode", "north/note"
VALUES: dict[str, PointValue] = {AIR: 21.5, FAN: True, MODE: 2, NOTE: "all well"}


def virtual(point_id: str, *, writable: bool = False, **properties: Any) -> Node:
    return Node(
        id=point_id,
        node_type=NodeType.VIRTUAL_POINT,
        dis=point_id.title(),
        parent_id="north",
        tags=["outdoor"] if point_id == AIR else ["indoor"],
        properties=properties,
        capabilities=NodeCapabilities(readable=True, writable=writable),
        protocol_binding=ProtocolBinding.virtual_binding(),
    )


class Commands:
    """A command engine that plays the device, and refuses when it is told to."""

    def __init__(self) -> None:
        self.slots: dict[str, list[PointValue | None]] = {}
        self.asked: list[tuple[Any, ...]] = []
        self.refuses: Exception | None = None

    def write(self, point_id: str, request: WriteRequest, by: str) -> WriteResult:
        self.asked.append((point_id, request.value, request.priority, by))
        if self.refuses is not None:
            raise self.refuses
        return self._set(point_id, request.priority, request.value)

    def relinquish(self, point_id: str, priority: int, by: str) -> WriteResult:
        self.asked.append((point_id, None, priority, by))
        return self._set(point_id, priority, None)

    def _set(self, point_id: str, priority: int, value: PointValue | None) -> WriteResult:
        self.slots.setdefault(point_id, [None] * 16)[priority - 1] = value
        return WriteResult(id=point_id, priority=priority, old_value=None, written=value, value=value)

    def priority_array(self, point_id: str) -> PriorityArray:
        slots = self.slots.get(point_id, [None] * 16)
        return PriorityArray(
            id=point_id,
            slots=slots,
            relinquish_default=1.0 if point_id == AIR else None,
            active_priority=active_priority(slots),
            present_value=None,
        )


class Audit:
    """An audit log that can be away."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, str, dict[str, Any]]] = []
        self.away = False

    def add(self, *entry: Any) -> None:
        if self.away:
            raise UnreachableError("audit@campus", "the link is cut")
        self.entries.append(entry)  # type: ignore[arg-type]


class Client(Application):  # type: ignore[misc]
    """A workstation of somebody else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.told: list[tuple[str, dict[str, Any]]] = []

    async def do_UnconfirmedCOVNotificationRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3 calls it so
        values = {str(each.propertyIdentifier): each.value for each in apdu.listOfValues}
        self.told.append((str(apdu.monitoredObjectIdentifier), values))


class Shared:
    """The bridge that serves, its stores, and a client."""

    def __init__(self, bench: Bench, bridge: BacnetBridge, client: Client, commands: Commands) -> None:
        self.bench, self.bridge, self.client, self.commands = bench, bridge, client, commands
        self.audit = Audit()
        config = next(iter(bridge._networks.values())).config
        self.at = Address(f"127.0.0.1:{config.port}")
        self.server = next(iter(bridge._networks.values())).server
        self._time = itertools.count(1_000)

    def set(self, point_id: str, value: PointValue | None, status: int = 0) -> None:
        frame = PointFrame([point_id], [value], [next(self._time)], [status])
        self.bench.points.set_many(frame.encode())

    def object(self, point_id: str) -> str:
        return self.server.objects[point_id]

    def shown(self, point_id: str) -> Any:
        return self.server._objects[point_id]

    async def read(self, point_id: str, prop: str = "present-value", index: int | None = None) -> Any:
        obj = ObjectIdentifier(self.object(point_id))
        return await asyncio.wait_for(self.client.read_property(self.at, obj, prop, index), 5)

    async def write(
        self, point_id: str, value: Any, priority: int | None = 8, prop: str = "present-value"
    ) -> None:
        obj = ObjectIdentifier(self.object(point_id))
        await asyncio.wait_for(self.client.write_property(self.at, obj, prop, value, None, priority), 5)

    async def request(self, request: Any) -> Any:
        request.pduDestination = self.at
        return await asyncio.wait_for(self.client.request(request), 5)


@pytest.fixture
async def shared(
    rogues: Rogues, lab: Bench, nodes: NodeStore, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shared]:
    from bridges.bacnet import share

    monkeypatch.setattr(share, "SHARE", 0.05)
    monkeypatch.setattr(share, "CHOOSE", 0.2)
    commands, audit = Commands(), Audit()
    served = [AIR, FAN, {"point": MODE, "object": "multi-state-value,7"}, "#indoor", "north/nobody"]
    network = BacnetNetwork.model_validate(lab.network().model_dump() | {"serve": served})
    made = [
        virtual(AIR, writable=True, units="degrees-celsius", cov_increment=0.5),
        virtual(FAN, writable=True, states=["Off", "On"]),
        virtual(MODE, writable=True, states=["Auto", "Hand", "Off"]),
        virtual(NOTE),
    ]
    nodes.apply([Node(id="north", node_type=NodeType.SITE, dis="North"), *made])
    bridge = BacnetBridge(
        "north",
        [network],
        [],
        InProcess(nodes),
        InProcess(lab.points),
        commands=lambda: InProcess(commands),
        audit=lambda: InProcess(audit),
    )
    lab.bridges.append(bridge)
    lab.points.configure([PointConfig(id=each) for each in VALUES])
    await bridge.start()
    port = NetworkPortObject(
        f"127.0.0.1/8:{free_port(socket.SOCK_DGRAM, '127.0.0.1')}",
        objectIdentifier=("network-port", 1),
        objectName="port",
        bacnetIPMode="foreign",
        fdBBMDAddress=HostNPort(f"{IP}:{rogues.port}"),
        fdSubscriptionLifetime=30,
    )
    device = DeviceObject(objectIdentifier=("device", 999), objectName="client", vendorIdentifier=999)
    client = Client.from_object_list([device, port])
    shared = Shared(lab, bridge, client, commands)
    shared.audit = audit
    for point_id, value in VALUES.items():
        shared.set(point_id, value)
    await until(lambda: len(shared.server.objects) == 4)
    yield shared
    client.close()


async def test_points_are_served_as_what_they_are(shared: Shared) -> None:
    kinds = {key: each.partition(",")[0] for key, each in shared.server.objects.items()}
    assert kinds == {
        AIR: "analog-value",
        FAN: "binary-value",
        MODE: "multi-state-value",
        NOTE: "characterstring-value",
    }
    assert shared.object(MODE) == "multi-state-value,7"
    assert [await shared.read(each) for each in (AIR, FAN, MODE, NOTE)] == [21.5, 1, 2, "all well"]
    assert await shared.read(AIR, "object-name") == AIR
    assert str(await shared.read(AIR, "units")) == "degrees-celsius"
    assert list(await shared.read(MODE, "state-text")) == ["Auto", "Hand", "Off"]
    assert await shared.read(FAN, "active-text") == "On"
    listed = await shared.client.read_property(shared.at, "device,4194000", "object-list")
    assert set(shared.server.objects.values()) <= {str(each) for each in listed}


async def test_values_and_flags_follow(shared: Shared) -> None:
    shared.set(AIR, 22.5)
    await until(lambda: shared.shown(AIR).presentValue == 22.5)
    assert await shared.read(AIR) == 22.5
    shared.set(AIR, 22.5, int(PointStatus.DOWN))
    await until(lambda: list(shared.shown(AIR).statusFlags) == [0, 1, 0, 0])
    assert str(await shared.read(AIR, "reliability")) == "communication-failure"
    assert list(await shared.read(AIR, "status-flags")) == [0, 1, 0, 0]
    shared.bench.nodes.delete(NOTE)
    await until(lambda: NOTE not in shared.server.objects)


async def test_changes_are_told_by_their_increment(shared: Shared) -> None:
    for process, point_id in enumerate((AIR, FAN, MODE, NOTE)):
        await shared.request(
            SubscribeCOVRequest(
                subscriberProcessIdentifier=process,
                monitoredObjectIdentifier=ObjectIdentifier(shared.object(point_id)),
                issueConfirmedNotifications=False,
            )
        )
    await until(lambda: len(shared.client.told) == 4)
    shared.client.told.clear()
    shared.set(AIR, 21.6)
    shared.set(FAN, False)
    shared.set(MODE, 3)
    shared.set(NOTE, "fire")
    await until(lambda: len(shared.client.told) == 3)
    shared.set(AIR, 25.0)
    await until(lambda: len(shared.client.told) == 4)
    told = [obj for obj, _ in shared.client.told]
    assert sorted(told[:3]) == sorted(shared.object(each) for each in (FAN, MODE, NOTE))
    assert told[3] == shared.object(AIR)
    assert shared.client.told[3][1]["present-value"].cast_out(Real) == 25.0


async def test_a_command_goes_through_the_command_engine(shared: Shared) -> None:
    await shared.write(AIR, Real(19.0), 9)
    await shared.write(FAN, 0, 8)
    await shared.write(MODE, 3, None)
    sender = f"bacnet {shared.client.link_layers[ObjectIdentifier('network-port,1')].server.local_address!s}"
    assert [each[:3] for each in shared.commands.asked] == [(AIR, 19.0, 9), (FAN, False, 8), (MODE, 3, 16)]
    assert all(each[3].startswith("bacnet 127.0.0.1") for each in shared.commands.asked), sender
    array = await shared.read(AIR, "priority-array")
    assert [getattr(each, each._choice) for each in array][8] == 19.0
    assert await shared.read(AIR, "priority-array", 0) == 16
    assert (await shared.read(AIR, "priority-array", 9)).real == 19.0
    assert await shared.read(AIR, "relinquish-default") == 1.0
    assert (await shared.read(AIR, "current-command-priority")).unsigned == 9
    await shared.write(AIR, Null(()), 9)
    assert shared.commands.asked[-1][:3] == (AIR, None, 9)
    assert (await shared.read(AIR, "current-command-priority"))._choice == "null"


@pytest.mark.parametrize(
    ("refuses", "reason"),
    [
        (ConflictError("point", AIR, "it is read only"), "write-access-denied"),
        (WriteFailedError(AIR, "exception 2"), "write-access-denied"),
        (UnreachableError("commands@north", "it is restarting"), "operational-problem"),
    ],
)
async def test_what_is_refused_is_said(shared: Shared, refuses: Exception, reason: str) -> None:
    shared.commands.refuses = refuses
    with pytest.raises(ErrorRejectAbortNack, match=reason):
        await shared.write(AIR, Real(19.0))


async def test_nothing_else_can_be_written(shared: Shared) -> None:
    cases = [
        (shared.object(NOTE), "present-value", "x", "write-access-denied"),
        (shared.object(AIR), "object-name", "x", "write-access-denied"),
        (shared.object(AIR), "out-of-service", True, "write-access-denied"),
        ("device,4194000", "apdu-timeout", 1, "write-access-denied"),
        ("device,4194000", "object-name", "x", "write-access-denied"),
        ("network-port,1", "out-of-service", True, "write-access-denied"),
        ("analog-value,1", "present-value", Real(1.0), "unknown-object"),
    ]
    for obj, prop, value, reason in cases:
        with pytest.raises(ErrorRejectAbortNack, match=reason):
            await shared.client.write_property(shared.at, ObjectIdentifier(obj), prop, value)
    several = WritePropertyMultipleRequest(
        listOfWriteAccessSpecs=[
            WriteAccessSpecification(
                objectIdentifier=ObjectIdentifier(shared.object(AIR)),
                listOfProperties=[
                    PropertyValue(propertyIdentifier="present-value", value=AnyValue(Real(1.0)))
                ],
            )
        ]
    )
    with pytest.raises(ErrorRejectAbortNack, match="unrecognized-service"):
        await shared.request(several)
    with pytest.raises(ErrorRejectAbortNack):
        await shared.write(AIR, Real(float("nan")))
    assert shared.commands.asked == []


async def test_nobody_silences_the_bridge(shared: Shared) -> None:
    with pytest.raises(ErrorRejectAbortNack, match="service-request-denied"):
        await shared.request(DeviceCommunicationControlRequest(enableDisable="disable"))
    assert await shared.read(AIR) == 21.5


async def test_subscriptions_have_an_end(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SUBSCRIPTIONS", 3)

    def wanted(process: int) -> SubscribeCOVRequest:
        return SubscribeCOVRequest(
            subscriberProcessIdentifier=process,
            monitoredObjectIdentifier=ObjectIdentifier(shared.object(AIR)),
            issueConfirmedNotifications=False,
            lifetime=60,
        )

    for process in range(3):
        await shared.request(wanted(process))
    listed = await shared.client.read_property(shared.at, "device,4194000", "active-cov-subscriptions")
    assert sorted(each.recipient.processIdentifier for each in listed) == [0, 1, 2]
    assert {str(each.monitoredPropertyReference.objectIdentifier) for each in listed} == {shared.object(AIR)}
    assert all(0 < each.timeRemaining <= 60 for each in listed)
    with pytest.raises(ErrorRejectAbortNack, match="no-space-to-add-list-element"):
        await shared.request(wanted(4))


async def test_the_services_are_those_that_it_has(shared: Shared) -> None:
    told = await shared.client.read_property(shared.at, "device,4194000", "protocol-services-supported")
    services = str(told).split(";")
    assert {"read-property", "read-property-multiple", "write-property", "subscribe-cov", "who-is"} <= set(
        services
    )
    assert not {"read-range", "write-property-multiple", "device-communication-control"} & set(services)


async def test_it_says_who_it_is_and_what_it_has(shared: Shared) -> None:
    device = "device,4194000"
    said = {
        prop: str(await shared.client.read_property(shared.at, device, prop))
        for prop in ("object-name", "vendor-name", "model-name", "application-software-version")
    }
    assert said == {
        "object-name": "OpenCrate Campus 4194000",
        "vendor-name": "OpenCrate Campus",
        "model-name": "OpenCrate Campus",
        "application-software-version": version("opencrate-campus"),
    }
    types = await shared.client.read_property(shared.at, device, "protocol-object-types-supported")
    assert set(str(types).split(";")) == {"device", "network-port", *module.CLASSES}


async def all_of(shared: Shared, obj: str) -> dict[str, Any]:
    """Read all properties of an object at once."""
    wanted = ReadAccessSpecification(
        objectIdentifier=ObjectIdentifier(obj),
        listOfPropertyReferences=[PropertyReference(propertyIdentifier="all")],
    )
    answer = await shared.request(ReadPropertyMultipleRequest(listOfReadAccessSpecs=[wanted]))
    (result,) = answer.listOfReadAccessResults
    return {
        str(each.propertyIdentifier): each.readResult.propertyAccessError for each in result.listOfResults
    }


async def test_all_that_an_object_has_is_listed_and_can_be_read_at_once(shared: Shared) -> None:
    for obj in ("device,4194000", "network-port,1", *(shared.object(each) for each in VALUES)):
        told = await all_of(shared, obj)
        assert "object-name" in told
        assert [name for name, error in told.items() if error is not None] == []
    slots = {"priority-array", "current-command-priority"}
    for point_id, commandable in ((AIR, True), (NOTE, False)):
        listed = {str(each) for each in await shared.read(point_id, "property-list")}
        assert {"present-value", "status-flags"} <= listed
        assert not {"object-name", "object-identifier", "object-type", "property-list"} & listed
        assert (slots <= listed) is commandable
        assert (slots <= set(await all_of(shared, shared.object(point_id)))) is commandable


def test_an_instance_stays_whatever_else_is_served() -> None:
    assert instance_of(AIR, set()) == instance_of(AIR, {1, 2})
    assert instance_of(AIR, {instance_of(AIR, set())}) == instance_of(AIR, set()) + 1
    assert kind_of(virtual(MODE, states=["A", "B"]), 3) == "analog-value"


def test_what_can_not_be_served_is_refused_in_the_configuration() -> None:
    assert Served("p").object is None
    for wrong in (["analog-input,1"], [{"point": "p", "object": "analog-input,1"}]):
        config: dict[str, Any] = {"id": "ip", "serve": wrong}
        if isinstance(wrong[0], str):
            continue
        with pytest.raises(ValidationError):
            BacnetNetwork.model_validate(config)
    with pytest.raises(ValidationError, match="4194302"):
        BacnetNetwork.model_validate(
            {"id": "ip", "serve": [{"point": "p", "object": "analog-value,4194303"}]}
        )


async def test_without_a_command_engine_nothing_can_be_commanded(tmp_path: Path) -> None:
    server = module.Server(None)
    await server.step([Served(AIR)], {AIR: virtual(AIR, writable=True)}, [(AIR, 1.0, 0)])
    assert server.objects == {}


async def test_what_others_write_is_in_the_audit_log_also_when_that_was_away(shared: Shared) -> None:
    await shared.write(AIR, Real(21.5))
    await until(lambda: len(shared.audit.entries) == 1)
    by, action, target, detail = shared.audit.entries[0]
    assert by.startswith("bacnet ")
    assert (action, target) == ("write", AIR)
    expected = {"site": "north", "priority": 8, "value": 21.5, "old_value": None, "read_back": 21.5}
    assert {key: detail[key] for key in expected} == expected
    shared.audit.away = True
    shared.commands.refuses = WriteFailedError(AIR, "write-access-denied")
    with pytest.raises(ErrorRejectAbortNack):
        await shared.write(AIR, Real(22.5))
    shared.commands.refuses = None
    await shared.write(AIR, Null(()))
    assert len(shared.audit.entries) == 1
    shared.audit.away = False
    await until(lambda: len(shared.audit.entries) == 3)
    assert {each[1] for each in shared.audit.entries[1:]} == {"write_failed", "relinquish"}
    assert "write-access-denied" in str(shared.audit.entries)
