"""What the store of discovery keeps of scans."""

import json
from collections.abc import Sequence

import apsw
import ray

from actors.bus.events import DiscoveryScanComplete
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.core.sqlite import Row
from actors.core.store import Store
from actors.discovery.models import Scan, ScanState

KEEP_SCANS = 100
"""Scans kept of each protocol."""


class ScanRecords(Store):
    """The scans that people have asked for: a part of the store of what they have found."""

    @ray.method
    def begin_scan(self, protocol: str, networks: Sequence[str], by: str) -> Scan:
        """Note that a scan has begun. Raises ConflictError while one of this protocol runs."""
        with self.transaction():
            try:
                row = self.one(
                    "INSERT INTO discovery_scan (protocol, networks, state, requested_by, started_at)"
                    " VALUES (?, ?, 'running', ?, ?) RETURNING *",
                    protocol,
                    json.dumps(list(networks)),
                    by,
                    self.clock(),
                )
            except apsw.ConstraintError:
                raise ConflictError("scan", protocol, "one is running; wait for it or cancel it") from None
            self.run(
                "DELETE FROM discovery_scan WHERE protocol = ?1 AND id NOT IN"
                " (SELECT id FROM discovery_scan WHERE protocol = ?1 ORDER BY id DESC LIMIT ?2)",
                protocol,
                KEEP_SCANS,
            )
        return scan_of(row or {})

    @ray.method
    def scan_progress(self, scan_id: int, progress: float, device_count: int, point_count: int) -> Scan:
        """Note how far a scan has come. Raises NotFoundError, ConflictError for one that is over."""
        if not 0 <= progress <= 1:
            raise BadInputError("progress", progress, "0 to 1")
        with self.transaction():
            self._running(scan_id)
            row = self.one(
                "UPDATE discovery_scan SET progress = max(progress, ?), device_count = ?, point_count = ?"
                " WHERE id = ? RETURNING *",
                progress,
                device_count,
                point_count,
                scan_id,
            )
        return scan_of(row or {})

    @ray.method
    def finish_scan(
        self,
        scan_id: int,
        device_count: int,
        point_count: int,
        state: ScanState = ScanState.DONE,
        error: str | None = None,
    ) -> Scan:
        """End a scan; one that is done is an event. Raises NotFoundError and ConflictError."""
        if state is ScanState.RUNNING:
            raise BadInputError("state", state.value, "done, failed or cancelled")
        with self.transaction():
            scan = self._running(scan_id)
            row = self.one(
                "UPDATE discovery_scan SET state = ?1, error = ?2, device_count = ?3, point_count = ?4,"
                " finished_at = max(?5, started_at), progress = CASE ?1 WHEN 'done' THEN 1 ELSE progress END"
                " WHERE id = ?6 RETURNING *",
                state.value,
                error,
                device_count,
                point_count,
                self.clock(),
                scan_id,
            )
            if state is ScanState.DONE:
                self.publish(
                    DiscoveryScanComplete(
                        protocol=scan.protocol, device_count=device_count, point_count=point_count
                    )
                )
        return scan_of(row or {})

    @ray.method
    def abandon_scans(self) -> int:
        """Fail scans that were running when their process died; give how many."""
        with self.transaction():
            return self.run(
                "UPDATE discovery_scan SET state = 'failed', error = 'interrupted',"
                " finished_at = max(?, started_at) WHERE state = 'running'",
                self.clock(),
            )

    @ray.method
    def scan(self, scan_id: int) -> Scan:
        """Give one scan. Raises NotFoundError."""
        return self._scan(scan_id)

    @ray.method
    def scans(self, limit: int = 100, cursor: str | None = None) -> tuple[list[Scan], str | None]:
        """Give scans, newest first. Raises BadInputError."""
        rows, after = self.page_of("SELECT * FROM discovery_scan", {}, limit, cursor, newest_first=True)
        return [scan_of(row) for row in rows], after

    # Within

    def _scan(self, scan_id: int) -> Scan:
        row = self.one("SELECT * FROM discovery_scan WHERE id = ?", scan_id)
        if row is None:
            raise NotFoundError("scan", scan_id)
        return scan_of(row)

    def _running(self, scan_id: int) -> Scan:
        scan = self._scan(scan_id)
        if scan.state is not ScanState.RUNNING:
            raise ConflictError("scan", scan_id, f"it is {scan.state.value}")
        return scan


def scan_of(row: Row) -> Scan:
    """Read a scan from its row."""
    return Scan.model_validate(row | {"networks": json.loads(row["networks"])})
