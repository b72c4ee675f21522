"""Each check of the doctor's, on what is well and on what isn't."""

import os
import socket
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from api import doctor
from api.cli import app
from api.doctor import check_campus, check_certificate, check_folder, check_head, check_port, check_token
from api.findings import Finding, judge_certificate, judge_clock
from api.leftovers import RUNNING, note
from api.raynode import Head, running_head, version
from api.settings import tls
from tests.certify import authority, certify


def states(found: Any) -> list[str]:
    return [each.state for each in found]


def test_a_folder_that_is_missing_or_full_is_said(tmp_path: Path) -> None:
    assert states(check_folder(tmp_path, 10_000_000_000)) == ["ok"]
    assert states(check_folder(tmp_path, 1_000_000_000)) == ["warn"]
    assert states(check_folder(tmp_path, 1_000)) == ["fail"]
    [missing] = check_folder(tmp_path / "none")
    assert (missing.state, missing.do) == ("fail", f"make it: install -d -m 0700 {tmp_path / 'none'}")


def test_a_token_must_be_there_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    assert states(check_token(tmp_path, joins=False)) == ["warn"]
    assert states(check_token(tmp_path, joins=True)) == ["fail"]
    token = tmp_path / "ray-token"
    token.write_text("secret")
    token.chmod(0o644)
    [found] = check_token(tmp_path, joins=True)
    assert found == Finding("fail", f"others on this host may read {token}", f"chmod 0600 {token}")
    token.chmod(0o600)
    assert states(check_token(tmp_path, joins=True)) == ["ok"]


def test_a_port_is_free_ours_or_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert check_port(port, "page", running=True).state == "ok"
        assert check_port(port, "page", running=False).state == "fail"
        assert check_head(Head("127.0.0.1", port)).state == "ok"
    assert check_port(port, "page", running=False).state == "ok"
    assert check_head(Head("127.0.0.1", port)).state == "fail"


@pytest.mark.parametrize(
    ("ahead", "state"), [(0.9, "ok"), (-2.9, "ok"), (4.0, "warn"), (-10.0, "warn"), (100.0, "fail")]
)
def test_clocks_are_compared_as_exactly_as_they_are_known(ahead: float, state: str) -> None:
    assert judge_clock(ahead, 1.0, "the head's").state == state


def test_a_certificate_is_to_be_renewed_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [judge_certificate(each * 86_400.0).state for each in (31, 29, -1)] == ["ok", "warn", "fail"]
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    assert states(check_certificate(None)) == []
    folder = certify(authority(tmp_path / "ca"), tmp_path / "host", "host", "127.0.0.1", days=20)
    for key, value in tls(str(folder)).items():
        monkeypatch.setenv(key, value)
    assert states(check_certificate(None)) == ["warn"]
    (folder / "host.key").unlink()
    assert states(check_certificate(None)) == ["fail"]


def test_the_heads_port_is_the_one_that_is_used_or_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = doctor.Options(tmp_path, "http://127.0.0.1:8000", None)
    assert doctor.head_port(options, None) is None
    (tmp_path / "gcs").mkdir()
    assert doctor.head_port(options, None) == 6379
    assert doctor.head_port(options, Head("10.0.0.1", 7000)) == 7000
    (tmp_path / "campus.yaml").write_text("head: {address: 10.0.0.1, port: 6380}\nsites: [{id: north}]\n")
    assert doctor.head_port(options, None) == 6380
    (tmp_path / "campus.yaml").write_text("sites: [{id: north}]\n")
    assert doctor.head_port(options, None) is None


def test_what_runs_here_says_whose_part_it_is(tmp_path: Path) -> None:
    assert running_head(tmp_path) is None
    note(tmp_path / RUNNING, tmp_path / "ray", os.getpid())
    assert running_head(tmp_path) is None
    note(tmp_path / RUNNING, tmp_path / "ray", os.getpid(), str(Head("10.0.0.1", 7000)))
    assert running_head(tmp_path) == Head("10.0.0.1", 7000)


def told(body: Any, heads: str, at: float | None = None) -> list[Finding]:
    headers = {} if at is None else {"Date": formatdate(at, usegmt=True)}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/openapi.json":
            return httpx.Response(200, json={"info": {"version": heads}})
        return httpx.Response(200, json=body, headers=headers)

    return list(check_campus("http://campus", httpx.MockTransport(answer)))


def test_the_campus_tells_of_versions_clocks_and_hosts() -> None:
    component = {"name": "history@north", "host": "barn", "state": "healthy", "reasons": []}
    away = {"name": "site@south", "host": "shed", "state": "down", "reasons": ["no answer within 2.5 s"]}
    found = told({"components": [component, away]}, version(), at=1000.0)
    assert states(found) == ["ok", "fail", "ok", "ok", "fail"]
    assert "no answer within 2.5 s" in found[-1].what
    newer = told({"components": [component]}, "99.0.0")
    assert newer[1].state == "fail"
    assert "older than the head's 99.0.0" in newer[1].what
    assert states(told([], version())) == ["warn"]
    assert states(told({"components": [{}]}, version())) == ["warn"]


def test_the_command_ends_with_1_and_says_what_to_do(tmp_path: Path) -> None:
    ended = CliRunner().invoke(
        app,
        ["doctor", "--data", str(tmp_path / "none"), "--url", "http://127.0.0.9:1", "--head", "127.0.0.1:1"],
    )
    assert ended.exit_code == 1
    assert isinstance(ended.exception, SystemExit)
    assert "make it: install -d" in ended.output
    assert "no campus answers at http://127.0.0.9:1" in ended.output
    assert "copy the head's ray-token" in ended.output
    wrong = CliRunner().invoke(app, ["doctor", "--head", "x:y"])
    assert wrong.exit_code == 2


def test_the_page_port_is_only_checked_where_it_is_here(tmp_path: Path) -> None:
    def port(url: str) -> int | None:
        return doctor.Options(tmp_path, url, None).page_port

    assert port("http://127.0.0.1:8000") == 8000
    assert port("http://10.0.0.1:8000") is None
    assert port("http://[") is None
