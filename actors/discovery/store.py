"""The store of what scans have found."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

import ray

from actors.bus.events import DeviceAccepted, DeviceDiscovered
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.core.sqlite import Durability, Row
from actors.discovery.logic import refusal
from actors.discovery.models import (
    Acceptance,
    DeviceState,
    DiscoveredDevice,
    DiscoveredPoint,
    DiscoverySummary,
    FoundDevice,
    FoundPoint,
    Plan,
)
from actors.discovery.scans import ScanRecords, scan_of
from actors.discovery.schema import MIGRATIONS

DEVICE = (
    "SELECT device.*, (SELECT count(*) FROM discovered_point WHERE device_id = device.id) AS point_count,"
    " EXISTS (SELECT 1 FROM discovered_device AS other WHERE other.network_id = device.network_id"
    " AND other.protocol = device.protocol AND other.device_key = device.device_key"
    " AND other.id <> device.id) AS conflict,"
    " (SELECT requested_by FROM discovery_accept WHERE device_id = device.id) AS accepting_by"
    " FROM discovered_device AS device"
)
STATE = "CASE WHEN state = 'discovered' AND bound_to IS NOT NULL THEN 'bound' ELSE state END"
"""The state that is shown: what nobody has decided about may be bound all the same."""


class DiscoveryStore(ScanRecords):
    """Keep devices and points that scans have found, what was decided about them, and the scans.

    A device is its network, protocol, key and address: two that answer with one instance number are kept
    apart and both reported as in conflict. Finding a device again changes what it says of itself and never
    what was decided about it.
    """

    name: ClassVar[str] = "discovery"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL

    # Devices

    @ray.method
    def found(self, device: FoundDevice) -> DiscoveredDevice:
        """Note a device that has answered, with its points where they were read; all or nothing.

        The first time it is an event. Points that it no longer has are forgotten.
        """
        now = self.clock()
        with self.transaction():
            key = (device.network_id, device.protocol, device.device_key, device.address)
            before = self.one(
                "SELECT id FROM discovered_device"
                " WHERE network_id = ? AND protocol = ? AND device_key = ? AND address = ?",
                *key,
            )
            row = self.one(
                "INSERT INTO discovered_device (network_id, protocol, device_key, address, name, vendor,"
                " model, firmware, first_seen, last_seen, detail)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)"
                " ON CONFLICT (network_id, protocol, device_key, address) DO UPDATE SET"
                " name = coalesce(nullif(excluded.name, ''), name),"
                " vendor = coalesce(nullif(excluded.vendor, ''), vendor),"
                " model = coalesce(nullif(excluded.model, ''), model),"
                " firmware = coalesce(nullif(excluded.firmware, ''), firmware),"
                " first_seen = min(first_seen, excluded.first_seen),"
                " last_seen = excluded.last_seen, detail = excluded.detail RETURNING id",
                *key,
                device.name,
                device.vendor,
                device.model,
                device.firmware,
                now,
                device.detail().model_dump_json(),
            )
            device_id = int(row["id"]) if row else 0
            if device.points is not None:
                self._put_points(device_id, device.points)
            if before is None:
                self.publish(
                    DeviceDiscovered(
                        device_key=device.device_key, protocol=device.protocol, network_id=device.network_id
                    )
                )
        return self._get(device_id)

    def _put_points(self, device_id: int, points: list[FoundPoint]) -> None:
        keys = [point.point_key for point in points]
        if len(set(keys)) < len(keys):
            twice = next(key for key, count in Counter(keys).items() if count > 1)
            raise BadInputError("points", twice, "each point once")
        self.run(
            "DELETE FROM discovered_point WHERE device_id = ?"
            " AND point_key NOT IN (SELECT value FROM json_each(?))",
            device_id,
            json.dumps(keys),
        )
        self.many(
            "INSERT INTO discovered_point"
            " (device_id, point_key, name, description, kind, units, value, writable, detail)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (device_id, point_key) DO UPDATE SET"
            " name = excluded.name, description = excluded.description, kind = excluded.kind,"
            " units = excluded.units, value = excluded.value, writable = excluded.writable,"
            " detail = excluded.detail",
            [
                (
                    device_id,
                    point.point_key,
                    point.name,
                    point.description,
                    point.kind,
                    point.units,
                    json.dumps(point.value),
                    int(point.writable),
                    point.detail().model_dump_json(),
                )
                for point in points
            ],
        )
        self.run("UPDATE discovered_device SET object_list_stale = 0 WHERE id = ?", device_id)

    @ray.method
    def mark_stale(self, network_id: str, device_key: str) -> int:
        """Note that devices of this key have other objects than those known; give how many there are."""
        with self.transaction():
            return self.run(
                "UPDATE discovered_device SET object_list_stale = 1 WHERE network_id = ? AND device_key = ?",
                network_id,
                device_key,
            )

    @ray.method
    def note_bound(self, bound: Mapping[int, str | None]) -> int:
        """Note which node of the model stands for each of these devices; give how many it has changed."""
        with self.transaction():
            return sum(
                self.run(
                    "UPDATE discovered_device SET bound_to = ?1 WHERE id = ?2 AND bound_to IS NOT ?1",
                    node_id,
                    device_id,
                )
                for device_id, node_id in bound.items()
            )

    @ray.method
    def begin_accept(self, device_id: int, plan: Plan, by: str) -> DiscoveredDevice:
        """Note what a device is about to become, before anything of it is made.

        `accept` or `abort_accept` ends this; until then nobody else decides about the device. Raises
        NotFoundError, and ConflictError as `accept` does, also while it or another one with its key is being
        accepted.
        """
        with self.transaction():
            device = self._get(device_id)
            self._free(device)
            why = refusal(device.state, DeviceState.ACCEPTED)
            if why is not None:
                raise ConflictError("device", device_id, why)
            self._only_one(device)
            self.run(
                "INSERT INTO discovery_accept (device_id, requested_by, begun_at, plan) VALUES (?, ?, ?, ?)",
                device_id,
                by,
                self.clock(),
                plan.model_dump_json(),
            )
        return self._get(device_id)

    @ray.method
    def abort_accept(self, device_id: int) -> bool:
        """Forget what a device was about to become; tells whether there was something."""
        with self.transaction():
            return bool(self.run("DELETE FROM discovery_accept WHERE device_id = ?", device_id))

    @ray.method
    def accepting(self) -> list[Acceptance]:
        """Give the devices that are being accepted, or were when that was cut off, oldest first."""
        rows = self.all("SELECT * FROM discovery_accept ORDER BY begun_at, device_id")
        return [Acceptance.model_validate(row | {"plan": json.loads(row["plan"])}) for row in rows]

    def _free(self, device: DiscoveredDevice) -> None:
        if device.accepting_by is not None:
            raise ConflictError("device", device.id, f"{device.accepting_by} is accepting it just now")

    def _only_one(self, device: DiscoveredDevice) -> None:
        """Refuse a second device under one key: points are bound by it."""
        other = self.one(
            "SELECT id, address FROM discovered_device WHERE network_id = ? AND protocol = ?"
            " AND device_key = ? AND id <> ?"
            " AND (state = 'accepted' OR id IN (SELECT device_id FROM discovery_accept))",
            device.network_id,
            device.protocol,
            device.device_key,
            device.id,
        )
        if other is not None:
            reason = f"the device at {other['address']} is accepted under the key {device.device_key}"
            raise ConflictError("device", device.id, reason)

    @ray.method
    def accept(self, device_id: int, node_ids: Sequence[str], by: str) -> DiscoveredDevice:
        """Note that a device has become these nodes.

        Raises NotFoundError, and ConflictError where that can't be: it is accepted or ignored already, or
        another device with its key is accepted.
        """
        with self.transaction():
            device = self._decide(device_id, DeviceState.ACCEPTED, by)
            self._only_one(device)
            self.run("DELETE FROM discovery_accept WHERE device_id = ?", device_id)
            self.run(
                "UPDATE discovered_device SET created_node_ids = ? WHERE id = ?",
                json.dumps(list(node_ids)),
                device_id,
            )
            self.publish(DeviceAccepted(device_key=device.device_key, created_node_ids=list(node_ids)))
        return self._get(device_id)

    @ray.method
    def ignore(self, device_id: int, by: str) -> DiscoveredDevice:
        """Put a device aside. Raises NotFoundError, and ConflictError for one that is accepted."""
        with self.transaction():
            self._free(self._get(device_id))
            self._decide(device_id, DeviceState.IGNORED, by)
        return self._get(device_id)

    @ray.method
    def restore(self, device_id: int, by: str) -> DiscoveredDevice:
        """Make a device that was ignored one to decide about again.

        Raises NotFoundError, and ConflictError for one that isn't ignored.
        """
        with self.transaction():
            self._decide(device_id, DeviceState.DISCOVERED, by)
        return self._get(device_id)

    @ray.method
    def release(self, device_id: int, still_there: Sequence[str], by: str) -> DiscoveredDevice:
        """Make an accepted device one to decide about again; `still_there` are those of its nodes that exist.

        Raises NotFoundError, and ConflictError while nodes are there.
        """
        with self.transaction():
            self._decide(device_id, DeviceState.DISCOVERED, by, has_nodes=bool(still_there))
            self.run("UPDATE discovered_device SET created_node_ids = '[]' WHERE id = ?", device_id)
        return self._get(device_id)

    def _decide(
        self, device_id: int, state: DeviceState, by: str, *, has_nodes: bool | None = None
    ) -> DiscoveredDevice:
        device = self._get(device_id)
        there = bool(device.created_node_ids) if has_nodes is None else has_nodes
        why = refusal(device.state, state, has_nodes=there)
        if why is not None:
            raise ConflictError("device", device_id, why)
        self.run(
            "UPDATE discovered_device SET state = ?, changed_by = ?, changed_at = ? WHERE id = ?",
            state.value,
            by,
            self.clock(),
            device_id,
        )
        return device

    @ray.method
    def forget(self, device_id: int) -> DiscoveredDevice:
        """Forget a device that isn't accepted, with its points. Raises NotFoundError and ConflictError."""
        with self.transaction():
            device = self._get(device_id)
            if device.state is DeviceState.ACCEPTED:
                raise ConflictError("device", device_id, "it is accepted; its nodes are in the model")
            self._free(device)
            self.run("DELETE FROM discovered_device WHERE id = ?", device_id)
        return device

    @ray.method
    def get(self, device_id: int) -> DiscoveredDevice:
        """Give one device. Raises NotFoundError."""
        return self._get(device_id)

    @ray.method
    def find(
        self,
        state: DeviceState | None = None,
        protocol: str | None = None,
        network_id: str | None = None,
        text: str | None = None,
        conflict: bool | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[DiscoveredDevice], str | None]:
        """Give devices in the order in which they were found.

        `text` is looked for in key, address, name, vendor and model. Raises BadInputError.
        """
        rows, after = self.page_of(
            f"SELECT * FROM ({DEVICE})",  # noqa: S608 - a constant
            {
                f"{STATE} = ?": state,
                "protocol = ?": protocol,
                "network_id = ?": network_id,
                "instr(lower(concat_ws(' ', device_key, address, name, vendor, model)), lower(?))": text,
                "conflict = ?": conflict,
            },
            limit,
            cursor,
        )
        return [_device(row) for row in rows], after

    @ray.method
    def points(
        self, device_id: int, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[DiscoveredPoint], str | None]:
        """Give the points of a device. Raises NotFoundError and BadInputError."""
        self._get(device_id)
        rows, after = self.page_of(
            "SELECT * FROM discovered_point", {"device_id = ?": device_id}, limit, cursor
        )
        return [_point(row) for row in rows], after

    @ray.method
    def all_points(self, device_id: int) -> list[DiscoveredPoint]:
        """Give all points of a device. Raises NotFoundError."""
        self._get(device_id)
        return [
            _point(row)
            for row in self.all("SELECT * FROM discovered_point WHERE device_id = ? ORDER BY id", device_id)
        ]

    # Sums

    @ray.method
    def summary(self) -> DiscoverySummary:
        """Count devices by state, and give the newest scan of each protocol."""
        counted = {
            row["state"]: row["n"]
            for row in self.all(
                f"SELECT {STATE} AS state, count(*) AS n FROM discovered_device GROUP BY 1"  # noqa: S608 - a constant
            )
        }
        row = self.one(
            f"SELECT coalesce(sum(conflict), 0) AS conflicts, coalesce(sum(object_list_stale), 0) AS stale"  # noqa: S608 - a constant
            f" FROM ({DEVICE})"
        )
        newest = self.all(
            "SELECT * FROM discovery_scan WHERE id IN (SELECT max(id) FROM discovery_scan GROUP BY protocol)"
            " ORDER BY protocol"
        )
        return DiscoverySummary(
            devices={state: counted.get(state.value, 0) for state in DeviceState},
            conflicts=row["conflicts"] if row else 0,
            stale=row["stale"] if row else 0,
            scans=[scan_of(each) for each in newest],
        )

    # Within

    def _get(self, device_id: int) -> DiscoveredDevice:
        row = self.one(f"{DEVICE} WHERE device.id = ?", device_id)
        if row is None:
            raise NotFoundError("device", device_id)
        return _device(row)


def _device(row: Row) -> DiscoveredDevice:
    bound = row["bound_to"] is not None and row["state"] == DeviceState.DISCOVERED
    return DiscoveredDevice.model_validate(
        row
        | json.loads(row["detail"])
        | {
            "object_list_stale": bool(row["object_list_stale"]),
            "conflict": bool(row["conflict"]),
            "state": DeviceState.BOUND if bound else row["state"],
            "created_node_ids": json.loads(row["created_node_ids"]),
        }
    )


def _point(row: Row) -> DiscoveredPoint:
    known = {"value": json.loads(row["value"] or "null"), "writable": bool(row["writable"])}
    return DiscoveredPoint.model_validate(row | json.loads(row["detail"]) | known)
