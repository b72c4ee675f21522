"""`ray up cluster.yaml` launches a campus: a head and two buildings' hosts, over real SSH.

`make plugs` runs it: it needs root, and Debian's openssh-server and rsync.
"""

import contextlib
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.hosts import Host, Lan, inside
from tests.cluster.system import ADMIN, OPENCRATE, environment, until

pytestmark = [pytest.mark.cluster, pytest.mark.plugs, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
RISES = 300.0
PLACES = (Path("/etc/opencrate"), Path("/var/lib/opencrate"))
"""What each host has of its own."""
FURNISH = """
mount --bind "$1/passwd" /etc/passwd
mount -t tmpfs none /opt
mkdir /opt/opencrate-campus
mount --bind "$2" /opt/opencrate-campus
mount --bind "$1/etc" /etc/opencrate
mount --bind "$1/home" /var/lib/opencrate
"""
SITE = """  - id: {site}
    joins: true
    networks: [{{id: meters, protocol: modbus, transport: tcp, host: 127.0.0.3, port: 5020}}]
    devices: [{{id: meter-{site}, network: meters, unit: 1, profile: power-meter-abcd}}]
"""


class Launch:
    """A machine of IT's, a head, and two hosts of buildings of which nothing runs yet but SSH."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lan = folder, Lan(folder)
        self.own, self.head, *self.buildings = (self.lan.host(each) for each in ("it", "head", "one", "two"))
        for name in ("id", "hostkey"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True)
        (folder / "sshd_config").write_text(
            f"HostKey {folder}/hostkey\nAuthorizedKeysFile {folder}/id.pub\n"
            "PermitRootLogin yes\nStrictModes no\nPidFile none\nUsePAM no\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        for host in self.lan.hosts:
            self._furnish(host)
        for host in (self.head, *self.buildings):
            sshd = ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")]
            host.start(sshd, folder / f"sshd-{host.name}.out", environment())
        for host, sites in zip(self.buildings, (("north",), ("south", "west")), strict=True):
            named = " ".join(f"--site {each}" for each in sites)
            (self.of(host) / "etc/site.env").write_text(
                f'OPENCRATE_HEAD={self.head.address}\nOPENCRATE_SITES="{named}"\n'
            )
            simulate = [str(OPENCRATE), "simulate", "--ip", "127.0.0.3"]
            host.start(simulate, folder / f"simulate-{host.name}.out", environment())
        self._write_files()
        self.http = httpx.Client(base_url="http://127.0.0.1:8000", timeout=15)

    def of(self, host: Host) -> Path:
        return self.folder / f"host-{host.name}"

    def _furnish(self, host: Host) -> None:
        """Give a host files of its own, with root's home in /var/lib/opencrate."""
        at = self.of(host)
        for each in ("etc", "home"):
            (at / each).mkdir(parents=True)
        users = re.sub(
            r"(?m)^(root:.*:)[^:]*(:[^:]*)$", r"\1/var/lib/opencrate\2", Path("/etc/passwd").read_text()
        )
        (at / "passwd").write_text(users)
        self.run(host, "sh", "-ec", FURNISH, "furnish", str(at), str(ROOT))

    def _write_files(self) -> None:
        """Write what stands beside cluster.yaml, and that file with these hosts in it."""
        at = self.folder / "campus"
        at.mkdir()
        sites = "".join(SITE.format(site=each) for each in ("north", "south", "west"))
        (at / "campus.yaml").write_text(f"head: {{address: {self.head.address}}}\nsites:\n{sites}")
        (at / "ray-token").touch(mode=0o600)
        (at / "ray-token").write_text(secrets.token_hex(32))
        addresses = ", ".join(each.address for each in self.buildings)
        text = (ROOT / "cluster.yaml").read_text()
        for before, after in (
            ("head_ip: 10.0.0.1\n", f"head_ip: {self.head.address}\n"),
            ("[10.0.0.11, 10.0.0.12]", f"[{addresses}]"),
            ("ssh_user: opencrate", "ssh_user: root"),
            ("~/.ssh/id_ed25519", str(self.folder / "id")),
        ):
            assert text.count(before) == 1, before
            text = text.replace(before, after)
        (at / "cluster.yaml").write_text(text)

    def run(self, host: Host, *command: str) -> str:
        """Run a program on a host to its end, which must be a good one."""
        log = self.folder / "run.out"
        log.unlink(missing_ok=True)
        program = host.start(command, log, environment())
        code = program.wait(RISES)
        host.programs.remove(program)
        assert code == 0, program.said()
        return program.said()

    def up(self) -> str:
        ray = Path(sys.executable).with_name("ray")
        return self.run(self.own, "sh", "-ec", f"cd {self.folder}/campus && {ray} up -y cluster.yaml")

    def request(self, method: str, path: str, **more: Any) -> Any:
        with inside(self.head.namespace):
            answer = self.http.request(method, path, **more)
        assert answer.is_success, answer.text
        return answer.json()

    def answers(self) -> bool:
        try:
            return bool(self.request("GET", "/api/system/health"))
        except httpx.TransportError:
            return False

    def sites(self) -> dict[str, bool]:
        return {each["id"]: each["reachable"] for each in self.request("GET", "/api/sites")["items"]}

    def stores(self) -> list[list[int]]:
        """Give the processes of one kind of actor on each building's host."""
        return [host.pids("ray::PointStore") for host in self.buildings]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    made = [each for each in PLACES if not each.exists()]
    for each in made:
        each.mkdir()
    found = Launch(tmp_path)
    try:
        yield found
    finally:
        found.http.close()
        found.lan.close()
        for each in made:
            with contextlib.suppress(OSError):
                os.rmdir(each)


def test_ray_up_launches_a_campus_and_leaves_one_that_runs_alone(launch: Launch) -> None:
    assert "is up" in launch.up()
    until(launch.answers, 30, "the API answers")
    launch.request("POST", "/api/auth/setup", json=ADMIN)
    token = launch.request("POST", "/api/auth/login", json=ADMIN)["access_token"]
    launch.http.headers["Authorization"] = f"Bearer {token}"
    everywhere = dict.fromkeys(("north", "south", "west"), True)
    until(lambda: launch.sites() == everywhere, RISES, "all sites have joined")
    for site in everywhere:
        path = f"/api/points/meter-{site}/active-power"
        until(lambda path=path: launch.request("GET", path)["value"] is not None, 60, path)
    before = launch.stores()
    assert [len(each) for each in before] == [1, 2]
    assert "already" in launch.up()
    one = launch.buildings[0]
    launch.lan.cut(one)
    until(lambda: not launch.sites()["north"], 30, "the cut building is away")
    launch.lan.heal(one)
    until(lambda: launch.sites() == everywhere, 60, "it is back")
    assert launch.stores() == before, "nothing was started again"
