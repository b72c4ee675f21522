"""What the doctor makes of what each host tells."""

import os
import socket
from pathlib import Path

import pytest

from actors.backup.engine import BackupScheduler
from actors.core.clock import now_ms
from actors.core.host import HostFacts, clock_skew, facts
from api.checkup import Reading, by_host, check_entry, check_ports, judge
from api.findings import Finding
from api.headprobe import ProbeError
from api.hosts import Node
from api.raynode import VERSION_LABEL, Head, version
from api.settings import tls
from tests.certify import authority, certify

GIGA = 1_000_000_000


def told(host: str = "barn", **more: object) -> HostFacts:
    base = {
        "host": host,
        "time": now_ms(),
        "opencrate": "0.2.0",
        "python": "3.11.2",
        "ray": "2.60.0",
        "folder": "/var/lib/opencrate/north",
        "free": 40 * GIGA,
        "open_files": None,
    }
    return HostFacts.model_validate(base | more)


def reading(ahead: int = 0, **more: object) -> Reading:
    return Reading("north", told(**more), "", ahead, 20)  # type: ignore[arg-type]


def test_a_host_that_is_well_takes_a_line() -> None:
    [found] = judge(reading(certificate_until=now_ms() + 90 * 86_400_000 + 1000), "0.2.0")
    assert found.what == (
        "host barn (north): the clock agrees with this host's; /var/lib/opencrate/north can be written, "
        "40.0 GB are free; enough files may be open; OpenCrate 0.2.0, Python 3.11.2, Ray 2.60.0; "
        "the certificate holds for 90 days more"
    )


@pytest.mark.parametrize(
    ("ails", "state", "told"),
    [
        (reading(ahead=90_000), "fail", "the clock is 90.0 s ahead of this host's"),
        (reading(ahead=-5_000), "warn", "the clock is 5.0 s behind this host's"),
        (reading(free=GIGA), "warn", "1.0 GB are free"),
        (reading(free=GIGA // 10), "fail", "0.1 GB are free"),
        (reading(open_files=1024), "warn", "only 1024 files may be open"),
        (reading(opencrate="0.1.9"), "fail", "this host has version 0.1.9, older than the head's 0.2.0"),
        (reading(certificate_until=now_ms() + 86_400_000), "warn", "the certificate holds for 1 days more"),
    ],
)
def test_what_ails_a_host_is_found(ails: Reading, state: str, told: str) -> None:
    well, found = judge(ails, "0.2.0")
    assert (well.state, found.state) == ("ok", state)
    assert found.what.startswith("host barn (north): ")
    assert told in found.what
    assert found.do


def test_a_building_may_be_newer_than_the_head() -> None:
    assert [each.state for each in judge(reading(opencrate="0.3.0"), "0.2.0")] == ["ok"]


def test_a_host_that_does_not_answer_is_a_fault() -> None:
    [found] = judge(Reading("north", None, "ActorUnavailableError"), "0.2.0")
    assert found.state == "fail"
    assert "north: its host does not answer (ActorUnavailableError)" in found.what


def test_a_host_with_several_sites_is_judged_once() -> None:
    away = Reading("west", None, "no answer")
    several = [Reading("campus", told("head")), Reading("north", told()), away, Reading("south", told())]
    assert [each.site for each in by_host(several)] == ["campus", "north, south", "west"]


def test_ports_are_knocked_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        node = Node("1", "barn", "127.0.0.1", True, "building", "0.2.0", ("north",), port, port)
        told = f"host barn: 127.0.0.1 can be reached at {port} (Ray) and {port} (metrics)"
        assert list(check_ports(node)) == [Finding("ok", told)]
    found_both = list(check_ports(node))
    assert [each.state for each in found_both] == ["fail", "fail"]
    assert found_both[0].what.startswith(f"host barn: 127.0.0.1:{port} (Ray): Connection refused")


@pytest.mark.parametrize(("theirs", "skew"), [(1_050, 0), (91_050, 90_000), (0, -1_050)])
def test_a_clock_is_compared_with_the_middle_of_the_question(theirs: int, skew: int) -> None:
    assert clock_skew(theirs, asked=1_000, came=1_100) == (skew, 50)


async def test_the_backups_engine_of_each_site_tells_what_its_host_is_like(tmp_path: Path) -> None:
    found = await BackupScheduler("north", tmp_path, {}, clock=lambda: 5_000).facts()
    assert (found.host, found.time, found.folder) == (socket.gethostname(), 5_000, str(tmp_path))
    assert found.free > 0


def test_a_hosts_certificate_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    assert facts(tmp_path).certificate_until is None
    folder = certify(authority(tmp_path / "ca"), tmp_path / "host", "host", "127.0.0.1", days=20)
    for key, value in tls(str(folder)).items():
        monkeypatch.setenv(key, value)
    until = facts(tmp_path).certificate_until
    assert until is not None
    assert abs(until - now_ms() - 20 * 86_400_000) < 3_600_000
    os.remove(folder / "host.crt")
    assert facts(tmp_path).certificate_until is None


def test_whether_the_head_would_have_this_host_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    head = Head("127.0.0.1", 1)
    assert "without a token" in check_entry(tmp_path, head).what
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")

    def answers(said: str) -> Finding:
        def asked(address: str, role: str) -> dict[str, str]:
            if not said:
                raise ProbeError("it refuses this host's token")
            return {VERSION_LABEL: said}

        monkeypatch.setattr("api.raynode.labels_of_head", asked)
        return check_entry(tmp_path, head)

    assert answers(version()).state == "ok"
    assert "older than the head's 99.0.0" in answers("99.0.0").what
    refused = answers("")
    assert (refused.state, refused.what) == (
        "fail",
        "the head at 127.0.0.1:1 won't have this host: it refuses this host's token",
    )
