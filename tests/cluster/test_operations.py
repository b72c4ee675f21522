"""What IT does with a campus of several hosts: TLS, several sites on a host, status, doctor, upgrades.

`make plugs` runs these, one after the other on one campus.
"""

import shutil
import signal
import sysconfig
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from api.raynode import version
from tests.certify import authority, certify
from tests.cluster.campus import RISES, HostedCampus
from tests.cluster.hosts import Host
from tests.cluster.system import OPENCRATE, environment, until

pytestmark = [pytest.mark.cluster, pytest.mark.plugs, pytest.mark.timeout(1200)]

SITES = ("north", "south")
CONFIG = """campus: Barn
sites:
""" + "".join(
    f"""  - id: {site}
    networks: [{{id: meters, protocol: modbus, transport: tcp, host: 127.0.0.3, port: 5020}}]
    devices: [{{id: meter-1, dis: Meter of {site}, network: meters, unit: 1, profile: power-meter-abcd}}]
"""
    for site in SITES
)
OTHER_RAY = """import sys
from importlib.machinery import ModuleSpec


class Other:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name == "ray._version" else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.version, module.commit = "{number}", "other"


sys.meta_path.insert(0, Other())
"""
"""A `sitecustomize.py` that gives Ray another number."""


class Ops:
    """A head with a certificate, and a building's host that has one too, for two sites."""

    def __init__(self, folder: Path) -> None:
        self.campus = HostedCampus(folder)
        self.folder = folder
        self.ca = authority(folder / "ca")
        self.tls = {
            host.name: {
                "OPENCRATE_TLS": str(certify(self.ca, folder / f"tls-{host.name}", host.name, host.address))
            }
            for host in (self.campus.head, self.campus.building)
        }
        (folder / "barn.yaml").write_text(CONFIG)
        simulate = [str(OPENCRATE), "simulate", "--ip", "127.0.0.3"]
        self.campus.building.start(simulate, folder / "simulate.out", environment())

    def join(self, more: dict[str, str] | None = None, *, tls: bool = True) -> None:
        """Let the building's host join with both sites."""
        campus = self.campus
        command = [str(OPENCRATE), "join", "--head", campus.head.address, "--data", str(campus.data)]
        command += ["--config", str(self.folder / "barn.yaml")]
        command += [word for site in SITES for word in ("--site", site)]
        given = environment() | (self.tls["north"] if tls else {}) | (more or {})
        out = self.folder / f"join-{time.time():.0f}.out"
        campus.joined = campus.building.start(command, out, given)

    def leave(self) -> None:
        """End what has joined, if something has."""
        if not hasattr(self.campus, "joined") or self.campus.joined.ended:
            return
        self.campus.joined.signal(signal.SIGTERM)
        assert self.campus.joined.wait(120) == 0, self.campus.joined.said()

    def reached(self) -> bool:
        return {each["id"] for each in self.campus.get("/api/sites")["items"] if each["reachable"]} == set(
            SITES
        )

    def until_reached(self) -> None:
        until(self.reached, RISES, "the head reaches both sites")

    def has_value(self, site: str) -> bool:
        return self.campus.get("/api/points/meter-1/active-power", site=site)["value"] is not None

    def run(self, host: Host, *words: str) -> tuple[int, str]:
        """Run `opencrate` on a host, to its end."""
        log = self.folder / "run.out"
        log.unlink(missing_ok=True)
        program = host.start([str(OPENCRATE), *words], log, environment() | self.tls[host.name])
        code = program.wait(120)
        host.programs.remove(program)
        return code, program.said()

    def pretend(self, number: str) -> dict[str, str]:
        """Give what makes this program take itself for another version."""
        folder = self.folder / number
        if not folder.exists():
            [ours] = Path(sysconfig.get_path("purelib")).glob("opencrate_campus-*.dist-info")
            copy = folder / f"opencrate_campus-{number}.dist-info"
            shutil.copytree(ours, copy)
            told = (copy / "METADATA").read_text().replace(f"Version: {version()}", f"Version: {number}", 1)
            (copy / "METADATA").write_text(told)
        return {"PYTHONPATH": str(folder)}

    def pretend_ray(self, number: str) -> dict[str, str]:
        """Give what makes Ray on a host take itself for another version."""
        folder = self.folder / f"ray-{number}"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(OTHER_RAY.format(number=number))
        return {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ops]:
    made = Ops(tmp_path_factory.mktemp("ops"))
    try:
        made.campus.raise_head(made.tls["head"])
        made.campus.login()
        yield made
    finally:
        made.campus.close()


def test_a_host_without_a_certificate_is_refused_and_says_so(ops: Ops) -> None:
    ops.join(tls=False)
    joined = ops.campus.joined
    until(lambda: "is up on north, alone" in joined.said(), RISES, "the building runs alone")
    assert "asks for TLS: give this host a certificate of the campus's" in joined.said()
    assert not ops.reached()
    ops.leave()


def test_a_host_whose_certificate_has_ended_runs_its_building_alone(ops: Ops) -> None:
    address = ops.campus.building.address
    ended = certify(ops.ca, ops.folder / "tls-ended", "north", address, days=-1)
    ops.join({"OPENCRATE_TLS": str(ended)})
    joined = ops.campus.joined
    until(lambda: "is up on north, alone" in joined.said(), RISES, "the building runs alone")
    assert "is not asked: " in joined.said()
    assert "host.crt was valid until" in joined.said()
    ops.leave()


def test_several_sites_on_one_host_join_over_tls(ops: Ops) -> None:
    ops.join()
    ops.until_reached()
    hosts = {each["name"]: each["sites"] for each in ops.campus.get("/api/system/hosts")["items"]}
    assert hosts == {"head": [], "north": list(SITES)}
    for site in SITES:
        until(partial(ops.has_value, site), 60, f"{site} has a value")
    answer = ops.campus.request("GET", "/api/points/meter-1/active-power")
    assert answer.status_code == 422
    assert "one of north, south" in answer.json()["error"]["message"]


def test_status_and_doctor_tell_of_all_hosts(ops: Ops) -> None:
    campus = ops.campus
    until(lambda: campus.get("/api/system/health")["state"] == "healthy", 60, "all is healthy")
    code, said = ops.run(campus.head, "status")
    assert code == 0, said
    assert {"campus", *SITES} <= {line.split()[0] for line in said.splitlines() if line}
    code, said = ops.run(campus.head, "doctor", "--data", str(campus.head_data))
    assert code == 0, said
    assert "host head (campus): the clock agrees with this host's" in said
    assert "host north (north, south): the clock agrees with this host's" in said
    assert "the certificate holds for 825 days more" in said
    assert f"host north: {campus.building.address} can be reached at" in said
    code, said = ops.run(campus.building, "doctor", "--data", str(campus.data))
    assert code == 0, said
    assert "host head (campus)" in said
    assert f"the head at {campus.head.address}:6379 takes this host's token" in said


def test_the_link_is_cut_and_heals(ops: Ops) -> None:
    campus = ops.campus
    campus.lan.cut(campus.building)
    until(lambda: len(campus.get("/api/points", limit=1)["unreachable_sites"]) == 2, 30, "both are away")
    answer = campus.request("GET", "/api/alarms/summary")
    assert answer.status_code == 503, "no site is there to count anything"
    code, said = ops.run(campus.head, "doctor", "--data", str(campus.head_data))
    assert code == 1
    assert "its host does not answer" in said
    campus.lan.heal(campus.building)
    ops.until_reached()
    assert "alone" not in campus.joined.said()


def test_an_older_host_is_refused_by_name_and_a_newer_one_joins(ops: Ops) -> None:
    ops.leave()
    ops.join(ops.pretend("0.0.9"))
    joined = ops.campus.joined
    until(lambda: "is up on north, alone" in joined.said(), RISES, "the building runs alone")
    assert (
        f"this host has version 0.0.9, older than the head's {version()}: upgrade this host" in joined.said()
    )
    assert not ops.reached()
    ops.leave()
    ops.join(ops.pretend("0.9.0"))
    ops.until_reached()
    [found] = [each for each in ops.campus.get("/api/system/hosts")["items"] if each["name"] == "north"]
    assert found["version"] == "0.9.0"
    code, said = ops.run(ops.campus.head, "doctor", "--data", str(ops.campus.head_data))
    assert code == 0, said
    ops.leave()


def test_a_host_with_another_ray_is_told_both_versions_and_runs_alone(ops: Ops) -> None:
    ops.join(ops.pretend_ray("2.99.0"))
    joined = ops.campus.joined
    until(lambda: "is up on north, alone" in joined.said(), RISES, "the building runs alone")
    [line] = [line for line in joined.said().splitlines() if "can't be joined" in line]
    assert "Version mismatch" in line
    assert "Ray: 2.99.0" in line
    ops.leave()
