"""Each check of the doctor's, on what is well and on what isn't."""

import socket
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from api import doctor
from api.cli import app
from api.doctor import Finding, check_campus, check_clock, check_folder, check_head, check_port, check_token
from api.raynode import Head, version


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
    ("ours", "state"), [(1000.9, "ok"), (997.1, "ok"), (1004.0, "warn"), (990.0, "warn"), (1100.0, "fail")]
)
def test_clocks_are_compared_as_exactly_as_they_are_known(ours: float, state: str) -> None:
    assert check_clock(1000.0, ours).state == state


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
        ["doctor", "--data", str(tmp_path / "none"), "--url", "http://127.0.0.1:1", "--head", "127.0.0.1:1"],
    )
    assert ended.exit_code == 1
    assert isinstance(ended.exception, SystemExit)
    assert "make it: install -d" in ended.output
    assert "no campus answers at http://127.0.0.1:1" in ended.output
    assert "copy the head's ray-token" in ended.output
    wrong = CliRunner().invoke(app, ["doctor", "--head", "x:y"])
    assert wrong.exit_code == 2


def test_the_page_port_is_only_checked_where_it_is_here(tmp_path: Path) -> None:
    def port(url: str) -> int | None:
        return doctor.Options(tmp_path, url, None).page_port

    assert port("http://127.0.0.1:8000") == 8000
    assert port("http://10.0.0.1:8000") is None
    assert port("http://[") is None
