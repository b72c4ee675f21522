"""A building's host: what it raises, when it joins, and when it goes on alone."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from api import join
from api.config import load
from api.foreground import Stop, UsageError
from api.join import Building, Options, read_sites
from api.raynode import Head, NodeError, check_version, reason
from api.settings import tls
from api.up import head_of

CAMPUS = """
campus: Test
head: {address: 10.0.0.1}
sites:
  - {id: north, joins: true}
  - {id: south, joins: true}
"""


def options(folder: Path, *sites: str, **more: Any) -> Options:
    path = folder / "campus.yaml"
    path.write_text(CAMPUS)
    wanted = {"config": path, "demo": False} | more
    return Options(Head("127.0.0.1", 1), sites, data=folder, address=None, metrics_port=None, **wanted)


def test_one_campus_yaml_serves_the_head_and_every_building(tmp_path: Path) -> None:
    found = read_sites(options(tmp_path, "south"))
    [site] = found.config.sites
    assert (site.id, site.joins) == ("south", False)
    assert [each.joins for each in load(tmp_path / "campus.yaml").config.sites] == [True, True]


def test_a_site_that_the_file_does_not_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no site 'east'; it has north, south"):
        read_sites(options(tmp_path, "north", "east"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no .*other\.yaml"):
        read_sites(options(tmp_path, "north", config=tmp_path / "other.yaml"))


def test_the_demo_is_one_building_under_any_id(tmp_path: Path) -> None:
    [site] = read_sites(options(tmp_path, "west", demo=True)).config.sites
    assert site.id == "west"
    assert len(site.devices) > 10
    with pytest.raises(UsageError, match="one --site"):
        read_sites(options(tmp_path, "west", "east", demo=True))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.1", Head("10.0.0.1", 6379)),
        ("head.example:7000", Head("head.example", 7000)),
        ("10.0.0.1:0", None),
        ("10.0.0.1:port", None),
        (":6379", None),
        ("", None),
    ],
)
def test_the_address_of_a_head(text: str, found: Head | None) -> None:
    if found is None:
        with pytest.raises(UsageError, match="no address of a head"):
            head_of(text)
    else:
        assert head_of(text) == found


@pytest.mark.parametrize(
    ("own", "heads", "refused"),
    [
        ("0.2.0", "0.2.0", None),
        ("0.10.0", "0.9.1", None),
        ("0.9.1", "0.10.0", "older than the head's 0.10.0"),
        ("1.0.0", "0.10.0", "don't go together"),
    ],
)
def test_an_older_host_is_refused_by_name(own: str, heads: str, refused: str | None) -> None:
    if refused is None:
        check_version(own, heads)
    else:
        with pytest.raises(NodeError, match=refused):
            check_version(own, heads)


def test_what_ray_said_is_the_reason() -> None:
    assert reason("") == "it said nothing"
    assert reason("one\n\n  two  \n") == "two"
    said = "RuntimeError: Version mismatch: started with:\n    Ray: 2.60.0\nThis one with:\n    Ray: 2.99.0\n"
    assert reason(said) == "Version mismatch: started with: Ray: 2.60.0 This one with: Ray: 2.99.0"


class Fakes:
    """Building with its two lives replaced: what it does is noted, and the head answers as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, **more: Any) -> None:
        self.said = io.StringIO()
        self.done: list[str] = []
        chosen = options(folder, "north", **more)
        console = Console(file=self.said)
        self.building = Building(chosen, read_sites(chosen), console, Stop())
        monkeypatch.setattr(join, "AGAIN", 0.0)
        monkeypatch.setattr(self.building, "_joined", self._joined)
        monkeypatch.setattr(self.building, "_alone", self._alone)
        self.refused: str | None = None

    def _joined(self, node: None) -> None:
        self.done.append("joined")
        if self.refused:
            raise NodeError(self.refused)
        self.building._ending.should_exit = True

    def _alone(self, why: str, least: float = 0.0) -> None:
        self.done.append(f"alone: {why}")
        self.building._ending.should_exit = True


def test_a_host_whose_head_is_away_runs_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fakes = Fakes(monkeypatch, tmp_path)
    fakes.building.run()
    assert fakes.done == ["alone: does not answer"]


def test_a_host_whose_head_answers_joins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fakes = Fakes(monkeypatch, tmp_path)
    monkeypatch.setattr(Head, "answers", lambda self, wait=2.0: True)
    fakes.building.run()
    assert fakes.done == ["joined"]


def test_a_host_that_is_refused_does_not_leave_its_building_dark(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fakes = Fakes(monkeypatch, tmp_path)
    monkeypatch.setattr(Head, "answers", lambda self, wait=2.0: True)
    fakes.refused = "this host has version 0.1.0, older than the head's 0.2.0: upgrade this host"
    fakes.building.run()
    assert fakes.done == ["joined", f"alone: can't be joined: {fakes.refused}"]


def test_a_host_whose_certificate_is_no_good_begins_again_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    began: list[Any] = []

    def begin(program: str, arguments: list[str], environment: dict[str, str]) -> None:
        began.extend([arguments[1:], environment])
        raise SystemExit

    monkeypatch.setattr(os, "execve", begin)
    monkeypatch.setattr(sys, "argv", ["opencrate", "join", "--tls", "certs", "--site", "north", "--tls=more"])
    for key, value in tls(str(tmp_path)).items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("OPENCRATE_TLS", str(tmp_path))
    with pytest.raises(SystemExit):
        join.run(options(tmp_path, "north"), Console(file=io.StringIO()))
    assert began[0] == ["-m", "api", "join", "--site", "north"]
    assert not {"RAY_USE_TLS", "RAY_TLS_CA_CERT", "OPENCRATE_TLS"} & began[1].keys()
    assert "ca.crt that can be read" in began[1][join.ALONE]


def test_a_host_that_is_not_to_join_asks_no_head(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fakes = Fakes(monkeypatch, tmp_path, alone="host.crt has ended")
    monkeypatch.setattr(Head, "answers", lambda self, wait=2.0: True)
    fakes.building.run()
    assert fakes.done == ["alone: is not asked: host.crt has ended"]
