"""The BACnet side: a router with a BBMD, devices behind it, and the coupling of their objects to physics."""

import asyncio
import random
from typing import Any

from bacpypes3.local.device import DeviceObject
from bacpypes3.local.networkport import NetworkPortObject
from bacpypes3.vlan import VirtualNetwork

from bridges.config import PointProfile
from bridges.simulator import bindings, devices
from bridges.simulator.application import Device
from bridges.simulator.controls import Unit, seeded
from bridges.simulator.devices import BacnetSpec
from bridges.simulator.faults import FAULTS, Fault
from bridges.simulator.objects import CLASSES, LOOP, command, write_default, write_loop
from bridges.simulator.physics import SITE, Building

NOISE = 0.25
"""Standard deviation of a sensor's noise as a share of its COV increment: alive, but no flood."""


class Coupling:
    """One object and what it is in the building."""

    def __init__(
        self, unit: Unit, use: str, key: str, obj: Any, increment: float, rng: random.Random
    ) -> None:
        self.unit, self.use, self.key, self.obj = unit, use, key, obj
        self.kind = str(obj.objectIdentifier[0]).split("-", maxsplit=1)[0]
        self.resolution = increment / 4
        self.noise = increment * NOISE if str(obj.objectIdentifier[0]) == "analog-input" else 0.0
        self.rng = rng
        self.shown: float | None = None

    def take(self) -> None:
        """Take what somebody commands into the unit."""
        obj, unit, key = self.obj, self.unit, self.key
        if self.use == "in":
            if obj.outOfService:
                unit.held[key] = float(obj.presentValue)
            else:
                unit.held.pop(key, None)
            return
        if obj.outOfService:
            return
        found = command(obj)
        if found is None or (self.use == "out" and found[1] == LOOP):
            unit.commanded.pop(key, None)
        else:
            unit.commanded[key] = found[0]

    def show(self) -> None:
        """Show what the unit senses or its loop puts out."""
        if self.use == "set":
            return
        unit, obj = self.unit, self.obj
        if self.use == "in":
            obj.set_fault(self.key in unit.failed)
            if self.key in unit.failed:
                return
        if obj.outOfService:
            self.shown = None
            return
        value = unit.sensed[self.key] if self.use == "in" else unit.loops[self.key]
        if self.noise:
            value += self.rng.gauss(0, self.noise)
        shown = self._rounded(value)
        if shown is None:
            return
        self.shown = shown
        if self.use == "out":
            write_loop(obj, shown)
        elif self.use == "auto":
            write_default(obj, shown if self.kind == "analog" else int(shown))
        else:
            obj.presentValue = shown if self.kind == "analog" else int(shown)

    def _rounded(self, value: float) -> float | None:
        """Give what to show, none for a change too small to show (so that noise doesn't flicker)."""
        if self.kind != "analog":
            whole = float(round(value))
            return None if whole == self.shown else whole
        at_end = self.use == "out" and value in {0.0, 100.0} and value != self.shown
        if self.shown is not None and not at_end and abs(value - self.shown) < self.resolution:
            return None
        return value if at_end else round(round(value / self.resolution) * self.resolution, 4)


class BacnetSide:
    """All BACnet devices of the building on one UDP socket."""

    def __init__(
        self, address: str, building: Building, speed: float, faults: frozenset[Fault], seed: int
    ) -> None:
        """Open `address` (such as `127.0.0.2/8:47808`) and build the devices; needs a running loop."""
        self.building = building
        self.defaults = {SITE: {"speed": speed}}
        self.faults = faults
        self.rng = seeded(f"noise {seed}")
        self.couplings: list[Coupling] = []
        self.switches: list[tuple[Fault, Any]] = []
        self.lan = VirtualNetwork(address)
        self.router = self._make_router(address)
        self.devices = {spec.unit: self._make(spec) for spec in devices.BACNET}

    async def opened(self) -> None:
        """Wait until the sockets are open."""
        link = self.router.link_layers[self.router.objectName["IP Port"].objectIdentifier]
        await asyncio.wait_for(asyncio.gather(*link.server._transport_tasks), 10)

    def close(self) -> None:
        """Close the socket and forget the virtual network."""
        for app in (self.router, *self.devices.values()):
            app.close()
        del VirtualNetwork._networks[self.lan.name]

    def take(self) -> None:
        """Take commands and switched faults into the building."""
        for coupling in self.couplings:
            coupling.take()
        on = frozenset(fault for fault, switch in self.switches if switch.presentValue == 1)
        if on != self.building.faults:
            self.building.set_faults(on)
            for unit, device in self.devices.items():
                device.play_dead(self.building.is_dead(unit))

    def show(self) -> None:
        """Show the building's values in the objects."""
        for coupling in self.couplings:
            coupling.show()

    @property
    def speed(self) -> float:
        """Simulated seconds per second."""
        return self.building.units[SITE].given("speed", self.defaults[SITE]["speed"])

    def _make_router(self, address: str) -> Device:
        device = DeviceObject(
            objectIdentifier=("device", devices.ROUTER_INSTANCE),
            objectName="Building Router",
            description="BACnet/IP router with BBMD in front of the simulated building",
            **_maker("SIM-ROUTER"),
        )
        port = ip_port(address)
        router: Device = Device.from_object_list(
            [device, port, field_port(self.lan.name, 1, devices.NETWORK)]
        )
        return router

    def _make(self, spec: BacnetSpec) -> Device:
        profile = devices.profile(spec.profile)
        device = DeviceObject(
            objectIdentifier=("device", spec.instance),
            objectName=spec.name,
            description=profile.dis,
            location=spec.location,
            **_maker(profile.model or ""),
            maxApduLengthAccepted=spec.max_apdu,
            segmentationSupported="no-segmentation" if spec.max_apdu < 1024 else "segmented-both",
        )
        objects = [self._make_object(spec, point) for point in profile.points]
        app: Device = Device.from_object_list([device, field_port(self.lan.name, spec.mac, 0), *objects])
        return app

    def _make_object(self, spec: BacnetSpec, point: PointProfile) -> Any:
        identifier = point.object or ""
        kind, _, number = identifier.partition(",")
        unit = self.building.units[spec.unit]
        values: dict[str, Any] = {
            "objectIdentifier": (kind, int(number)),
            "objectName": point.dis,
            "description": point.description or f"{point.dis} of {spec.name}",
            "eventState": "normal",
            "outOfService": False,
            "reliability": "no-fault-detected",
        }
        start: Any = point.relinquish_default
        bound = bindings.BACNET[spec.profile].get(identifier)
        fault = FAULTS[int(number) - 1] if bound is None else None
        if fault is not None:
            start = fault in self.faults
        elif bound is not None and bound[1] in self.defaults.get(spec.unit, {}):
            start = self.defaults[spec.unit][bound[1]]
        if bound is not None and bound[0] == "in":
            start = unit.sensed[bound[1]]
        values |= _typed(spec.profile, point, start)
        obj = CLASSES[kind, bool(point.writable)](**values)
        if fault is not None:
            self.switches.append((fault, obj))
        elif bound is not None:
            rng = seeded(f"{self.rng.random()}")
            self.couplings.append(Coupling(unit, *bound, obj, point.cov_increment or 1.0, rng))
        return obj


def ip_port(address: str) -> NetworkPortObject:
    """Give the port of a router with a BBMD, at `127.0.0.2/8:47808`."""
    return NetworkPortObject(
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


def field_port(lan: str, mac: int, network: int) -> NetworkPortObject:
    """Give the port of a station on a virtual network; a device needn't know the network's number (0)."""
    return NetworkPortObject(
        objectIdentifier=("network-port", 2),
        objectName="Field Port",
        networkType="virtual",
        protocolLevel="bacnet-application",
        networkInterfaceName=lan,
        macAddress=bytes([mac]),
        networkNumber=network,
        networkNumberQuality="configured",
        outOfService=False,
        changesPending=False,
        reliability="no-fault-detected",
    )


def _maker(model: str) -> dict[str, Any]:
    return {
        "vendorIdentifier": devices.VENDOR_ID,
        "vendorName": devices.VENDOR,
        "modelName": model,
        "firmwareRevision": devices.FIRMWARE,
        "applicationSoftwareVersion": devices.FIRMWARE,
    }


def _typed(profile: str, point: PointProfile, start: Any) -> dict[str, Any]:
    """Give the properties that an object has by its type."""
    identifier, texts = point.object or "", point.states or []
    kind = identifier.split("-", maxsplit=1)[0]
    if kind == "analog":
        value: Any = float(start)
        values: dict[str, Any] = {"units": point.units, "covIncrement": point.cov_increment}
        output = (0.0, 100.0) if identifier.startswith("analog-output") else None
        span = bindings.RANGES.get((profile, identifier), output)
        if span is not None:
            values |= {"minPresValue": span[0], "maxPresValue": span[1]}
    elif kind == "binary":
        value = int(start)
        values = {"inactiveText": texts[0], "activeText": texts[1]}
        if "value" not in identifier:
            values["polarity"] = "normal"
    else:
        value = int(start)
        values = {"numberOfStates": len(texts), "stateText": texts}
    if point.writable:
        values["relinquishDefault"] = value
    return values | {"presentValue": value}
