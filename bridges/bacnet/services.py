"""What people ask of networks and devices besides their points."""

from collections.abc import Sequence
from datetime import UTC, datetime

from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.discovery.models import FoundPoint
from actors.schedule.models import Period
from bridges.bacnet.clocks import host_zone
from bridges.bacnet.device import Device
from bridges.bacnet.network import HIGHEST, Holder, Network, is_object
from bridges.bacnet.objects import Subscription, create, delete
from bridges.bacnet.probe import WAIT, Finding, Findings, Probe, Progress, Told
from bridges.bacnet.schedules import (
    DeviceSchedule,
    read_calendar,
    read_schedule,
    write_calendar,
    write_schedule,
)
from bridges.bacnet.upkeep import Restart, Speech, control, restart, time_requests
from bridges.found import profile_points


def _unheard(progress: Progress) -> None:
    """Tell nobody how far a scan has come."""


class Services:
    """Scans, clocks, restarts and schedules of the devices of a site."""

    def __init__(self, site: str) -> None:
        """Know no network and no device yet."""
        self.site = site
        self._networks: dict[str, Network] = {}
        self._devices: dict[str, Device] = {}
        self._probe: Probe | None = None

    # Scans

    async def scan(
        self,
        network_ids: Sequence[str] | None = None,
        low: int = 0,
        high: int = HIGHEST,
        progress: Told = _unheard,
        *,
        wait: float = WAIT,
    ) -> Findings:
        """Look at all devices with instances from `low` to `high`, of some networks or of all, side by side.

        Takes as long as the devices need; `progress` is called as it comes along. `cancel_scan` makes it give
        what it has found until then. Raises NotFoundError for a network, BadInputError for the range, and
        ConflictError while another scan runs.
        """
        if not 0 <= low <= high <= HIGHEST:
            raise BadInputError("low", low, f"0 to high, which is {HIGHEST} at most")
        networks = [self._network(each) for each in network_ids or self._networks]
        if self._probe is not None:
            raise ConflictError("scan", self.site, "one is running; wait for it or cancel it")
        self._probe = Probe(networks, low, high, progress, wait)
        try:
            return await self._probe.run(self._addresses)
        finally:
            self._probe = None

    async def scan_progress(self) -> Progress | None:
        """Say how far the scan has come; None: none runs."""
        return self._probe.progress.model_copy() if self._probe is not None else None

    async def scan_found(self, after: int) -> list[Finding]:
        """Give what the scan that runs has found, but for the first `after`."""
        return self._probe.found.devices[after:] if self._probe is not None else []

    async def profile_points(self, name: str) -> list[FoundPoint]:
        """Give the points of a profile that comes with the program. Raises BadInputError."""
        return await profile_points("bacnet", name)

    async def cancel_scan(self) -> bool:
        """End the scan that runs; say whether there was one."""
        if self._probe is None:
            return False
        self._probe.cancel()
        return True

    async def who_has(
        self, network_id: str, *, name: str | None = None, obj: str | None = None, wait: float = WAIT
    ) -> list[Holder]:
        """Ask which devices have an object, by its name or as `analog-input,1`.

        Raises NotFoundError for the network and BadInputError.
        """
        if (name is None) == (obj is None):
            raise BadInputError("object", obj, "either a name or an object such as analog-input,1")
        if obj is not None and not is_object(obj):
            raise BadInputError("object", obj, "a type and an instance, such as analog-input,1")
        return await self._network(network_id).who_has(name=name, obj=obj, wait=wait)

    # Upkeep

    async def synchronise(self, network_id: str | None = None, device_key: str | None = None) -> None:
        """Tell the time, UTC and this host's, to one device, to all of a network, or of all networks.

        No device answers to that. Raises NotFoundError, and BridgeError where it can't be sent.
        """
        requests = time_requests(datetime.now(UTC), host_zone())
        if device_key is not None:
            device = self._keyed(device_key)
            for request in requests:
                await device.network.tell(request, device.located())
            return
        for network in [self._network(network_id)] if network_id else self._networks.values():
            for request in requests:
                await network.tell(request)

    async def restart(self, device_key: str, how: Restart, password: str | None = None) -> None:
        """Let a device start again (ReinitializeDevice). Raises NotFoundError, BadInputError, BridgeError."""
        await restart(self._keyed(device_key), how, password)

    async def control_speech(
        self, device_key: str, speech: Speech, minutes: int | None = None, password: str | None = None
    ) -> None:
        """Let a device tell nothing by itself for some minutes, or tell again (DeviceCommunicationControl).

        Raises NotFoundError, BadInputError, BridgeError.
        """
        await control(self._keyed(device_key), speech, minutes, password)

    # Schedules

    async def schedules(self, device_key: str) -> list[str]:
        """Name the schedules and calendars of a device: `schedule,1`. Raises NotFoundError, BridgeError."""
        listed = await self._keyed(device_key).objects()
        return [each for each in listed if each.startswith(("schedule,", "calendar,"))]

    async def read_schedule(self, device_key: str, instance: int) -> DeviceSchedule:
        """Read a schedule from its device. Raises NotFoundError, BridgeError."""
        return await read_schedule(self._keyed(device_key), instance)

    async def write_schedule(
        self, device_key: str, instance: int, schedule: DeviceSchedule
    ) -> DeviceSchedule:
        """Write a schedule to its device, as a whole or not at all; give what is read back.

        Raises NotFoundError, BadInputError, WriteFailedError with the device's reason, BridgeError.
        """
        return await write_schedule(self._keyed(device_key), instance, schedule)

    async def read_calendar(self, device_key: str, instance: int) -> list[Period]:
        """Read the days of a device's calendar. Raises NotFoundError, BridgeError."""
        return await read_calendar(self._keyed(device_key), instance)

    async def write_calendar(self, device_key: str, instance: int, days: Sequence[Period]) -> list[Period]:
        """Write the days of a device's calendar; give what is read back. Raises as `write_schedule` does."""
        return await write_calendar(self._keyed(device_key), instance, days)

    # Objects

    async def create_object(
        self,
        device_key: str,
        kind: str,
        instance: int | None = None,
        name: str | None = None,
        description: str | None = None,
    ) -> str:
        """Have a device make an object; give its name. Raises NotFoundError, BadInputError, BridgeError."""
        return await create(self._keyed(device_key), kind, instance, name, description)

    async def delete_object(self, device_key: str, obj: str) -> None:
        """Have a device remove an object. Raises NotFoundError, BadInputError, BridgeError."""
        await delete(self._keyed(device_key), obj)

    async def subscriptions(self, device_key: str) -> list[Subscription]:
        """Say how changes of each of a device's points come. Raises NotFoundError."""
        return self._keyed(device_key).subscriptions()

    # Who is meant

    async def knows_device(self, device_key: str) -> None:
        """Do nothing for a device that is there. Raises NotFoundError."""
        self._keyed(device_key)

    async def knows_network(self, network_id: str) -> None:
        """Do nothing for a network that is there. Raises NotFoundError."""
        self._network(network_id)

    def _keyed(self, device_key: str) -> Device:
        found = self._devices.get(device_key)
        if found is None:
            raise NotFoundError("device", device_key)
        return found

    def _network(self, network_id: str) -> Network:
        found = self._networks.get(network_id)
        if found is None:
            raise NotFoundError("network", network_id)
        return found

    def _addresses(self, network_id: str) -> list[str]:
        """Give the addresses that are known of devices on a network; a broadcast may not reach them."""
        devices = [each for each in self._devices.values() if each.device.network == network_id]
        return [each.address for each in devices if each.address is not None]
