"""The devices of the simulated building: addresses, profiles, makers' names."""

import functools
from pathlib import Path
from typing import Final, NamedTuple

from ruamel.yaml import YAML

from bridges.config import PointProfile, Profile
from bridges.simulator.faults import AHU, DRIVE, METERS, PLANT, VAVS
from bridges.simulator.physics import SITE

PROFILES: Final = Path(__file__).parent.parent / "profiles"
VENDOR, VENDOR_ID, FIRMWARE = "OpenCrate", 999, "1.4.2"
"""999 is bacpypes3's id for samples: we have none of our own (ASHRAE assigns them)."""


class BacnetSpec(NamedTuple):
    """A BACnet device on the virtual network."""

    unit: str
    """The unit of the building that it controls."""
    instance: int
    mac: int
    name: str
    profile: str
    location: str
    max_apdu: int
    """Small controllers stand on MS/TP in real buildings: 480 bytes, no segmentation."""


class ModbusSpec(NamedTuple):
    """A Modbus unit behind the TCP server."""

    unit: str
    id: int
    name: str
    profile: str


ROUTER_INSTANCE: Final = 1000
NETWORK: Final = 200
"""Number of the BACnet network behind the router."""

BACNET: Final = (
    BacnetSpec(AHU, 1001, 2, "AHU-1", "ahu", "Roof", 1024),
    *(
        BacnetSpec(vav, 1100 + at, 10 + at, f"VAV-{at}", "vav-reheat", f"Floor {1 + (at > 4)}", 480)
        for at, vav in enumerate(VAVS, 1)
    ),
    BacnetSpec(PLANT, 1201, 3, "Boiler Plant", "boiler-plant", "Plant Room", 1024),
    BacnetSpec(SITE, 1900, 100, "Simulator", "simulator", "", 1024),
)

MODBUS: Final = (
    ModbusSpec(METERS[0], 1, "Main Meter", "power-meter-abcd"),
    ModbusSpec(METERS[1], 2, "Plant Meter", "power-meter-cdab"),
    ModbusSpec(DRIVE, 3, "Hot Water Pump Drive", "vfd"),
)


@functools.cache
def profile(name: str) -> Profile:
    """Read one of the profiles that come with the program."""
    return Profile.model_validate(YAML(typ="safe").load(PROFILES / f"{name}.yaml"))


def key_of(point: PointProfile) -> str:
    """Give what names a point within its device: `analog-input,1`, or a Modbus point's id."""
    return point.object or point.id or ""
