"""`campus.yaml`: what a campus is made of, and clear words for what is wrong in it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, model_validator

from actors.core.names import CAMPUS
from bridges.checks import point_problems
from bridges.config import (
    BacnetDevice,
    BacnetNetwork,
    Identifier,
    ModbusDevice,
    ModbusNetwork,
    NetworkConfig,
    Profile,
    SpaceConfig,
)
from bridges.profiles import ConfigFileError, Where, key_of, load_profile, load_yaml, validate

DEFAULT_PORT = 6379
"""Where the head's Ray listens for the hosts of buildings unless told otherwise."""

SiteId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SiteConfig(_Strict):
    """One building: its spaces, its networks and the devices on them."""

    id: SiteId
    dis: str = Field(default="", max_length=200)
    joins: bool = False
    """Whether a host of its own raises it (`opencrate join`); then `opencrate up` only waits for it."""
    spaces: list[SpaceConfig] = []
    networks: list[NetworkConfig] = []
    devices: list[Annotated[BacnetDevice | ModbusDevice, Discriminator("protocol")]] = []

    @model_validator(mode="before")
    @classmethod
    def _know_protocols(cls, value: Any) -> Any:
        """Let each device take the protocol of its network, so that nobody has to write it twice."""
        if not isinstance(value, dict) or not isinstance(value.get("networks"), list):
            return value
        protocols = {
            each.get("id"): each["protocol"]
            for each in value["networks"]
            if isinstance(each, dict) and each.get("protocol") in ("bacnet", "modbus")
        }
        devices = value.get("devices")
        if isinstance(devices, list):
            value = dict(value)
            value["devices"] = [
                {"protocol": _own_protocol(each) or protocols.get(each.get("network"), "modbus")} | each
                if isinstance(each, dict)
                else each
                for each in devices
            ]
        return value

    @property
    def name(self) -> str:
        """What people read: `dis`, or the id."""
        return self.dis or self.id


def _own_protocol(device: dict[str, Any]) -> str | None:
    """Tell what only a device of one protocol has, so that one on the wrong network is named as that."""
    for key, protocol in (("device_instance", "bacnet"), ("unit", "modbus")):
        if key in device:
            return protocol
    return None


class ApiConfig(_Strict):
    """How the HTTP side is to be reached."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    cors_origins: list[str] = []
    trusted_proxies: list[str] = []


class BackupConfig(_Strict):
    """When stores are backed up, and how many backups of each are kept."""

    every_hours: float = Field(default=24.0, ge=1, le=24 * 31)
    keep: int = Field(default=7, ge=1, le=1000)


class HeadConfig(_Strict):
    """Where the hosts of other buildings reach this campus's head."""

    address: str = Field(min_length=1, max_length=200)
    port: int = Field(default=DEFAULT_PORT, ge=1, le=65535)


class CampusConfig(_Strict):
    """The whole of `campus.yaml`."""

    campus: str = Field(default="Campus", min_length=1, max_length=200)
    head: HeadConfig | None = None
    api: ApiConfig = ApiConfig()
    backups: BackupConfig = BackupConfig()
    sites: list[SiteConfig] = Field(min_length=1)


class Campus:
    """A configuration that was read, with the profiles that it names."""

    def __init__(self, config: CampusConfig, profiles: dict[str, Profile], path: Path) -> None:
        """Hold what `load` found."""
        self.config, self.profiles, self.path = config, profiles, path


def load(path: Path) -> Campus:
    """Read and check `campus.yaml` and every profile it names.

    Raises ConfigFileError that names all errors.
    """
    data, locate = load_yaml(path)
    config = validate(CampusConfig, data, path, locate)
    problems = _contradictions(config)
    if problems:
        raise ConfigFileError(
            [(str(path), locate(where), key_of(where), message) for where, message in problems]
        )
    profiles: dict[str, Profile] = {}
    for s, site in enumerate(config.sites):
        for d, device in enumerate(site.devices):
            if device.profile and device.profile not in profiles:
                where = ("sites", s, "devices", d, "profile")
                profile = load_profile(
                    device.profile, path.parent, asked_by=(path, locate(where), key_of(where))
                )
                if profile.protocol != device.protocol:
                    message = f"this profile is for {profile.protocol}, the network speaks {device.protocol}"
                    raise ConfigFileError([(str(path), locate(where), key_of(where), message)])
                profiles[device.profile] = profile
            if isinstance(device, ModbusDevice) and device.profile:
                _limit(device, profiles[device.profile])
    return Campus(config, profiles, path)


def _limit(device: ModbusDevice, profile: Profile) -> None:
    """Take what the profile says of the device's requests, where the device itself says nothing."""
    for name in ("max_registers", "max_gap"):
        limit = getattr(profile, name)
        if limit is not None and name not in device.model_fields_set:
            setattr(device, name, limit)


def _contradictions(config: CampusConfig) -> list[tuple[Where, str]]:
    """Find what no model sees alone: ids twice, devices without their network, spaces that aren't there."""
    found: list[tuple[Where, str]] = []
    seen_sites: set[str] = set()
    for s, site in enumerate(config.sites):
        if site.id in seen_sites:
            found.append((("sites", s, "id"), f"site {site.id!r} is there twice"))
        if site.id == CAMPUS:
            found.append((("sites", s, "id"), f"{CAMPUS!r} is taken by the campus itself"))
        seen_sites.add(site.id)
        found += _site_contradictions(s, site)
    return found


def _site_contradictions(s: int, site: SiteConfig) -> list[tuple[Where, str]]:
    found: list[tuple[Where, str]] = []
    networks: dict[str, Literal["bacnet", "modbus"]] = {}
    sockets: dict[tuple[str, int], str] = {}
    for n, network in enumerate(site.networks):
        if network.id in networks:
            found.append((("sites", s, "networks", n, "id"), f"network {network.id!r} is there twice"))
        networks[network.id] = network.protocol
        if isinstance(network, BacnetNetwork):
            socket = (network.address.partition("/")[0], network.port)
            if socket in sockets:
                found.append(
                    (
                        ("sites", s, "networks", n, "port"),
                        f"network {sockets[socket]!r} has this address and port",
                    )
                )
            sockets[socket] = network.id
    ids = {site.id} | {space.id for space in site.spaces}
    parents = ids | {device.id for device in site.devices}
    seen: set[str] = set(ids)
    instances: set[tuple[str, int]] = set()
    for d, device in enumerate(site.devices):
        where: Where = ("sites", s, "devices", d)
        if device.network not in networks:
            known = ", ".join(networks) or "none"
            found.append(((*where, "network"), f"there is no network {device.network!r}; known: {known}"))
        elif networks[device.network] != device.protocol:
            message = (
                f"this is a {device.protocol} device, {device.network!r} speaks {networks[device.network]}"
            )
            found.append(((*where, "network"), message))
        found += [
            ((*where, "points", *inner), message)
            for inner, message in point_problems(device.protocol, device.points or [])
        ]
        if device.id in seen:
            found.append(((*where, "id"), f"the id {device.id!r} is taken"))
        seen.add(device.id)
        if device.space is not None and device.space not in parents:
            found.append(((*where, "space"), f"there is no space or equipment {device.space!r}"))
        if isinstance(device, BacnetDevice):
            instance = (device.network, device.device_instance)
            if instance in instances:
                found.append(
                    ((*where, "device_instance"), f"device {device.device_instance} is on this network twice")
                )
            instances.add(instance)
    return found + _wrong_units(s, site)


def _wrong_units(s: int, site: SiteConfig) -> list[tuple[Where, str]]:
    """Find units that a serial line doesn't have; over TCP, 0 and 255 name the device itself."""
    serial = {
        network.id
        for network in site.networks
        if isinstance(network, ModbusNetwork) and network.transport != "tcp"
    }
    return [
        (
            ("sites", s, "devices", d, "unit"),
            f"unit {device.unit} is none of a serial line: 1 to 247",
        )
        for d, device in enumerate(site.devices)
        if isinstance(device, ModbusDevice) and device.network in serial and not 1 <= device.unit <= 247
    ]


__all__ = ["Campus", "CampusConfig", "ConfigFileError", "Identifier", "SiteConfig", "load"]
