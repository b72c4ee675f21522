"""`opencrate status` over answers of the real API."""

from io import StringIO
from typing import Any

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

from api.cli import app
from api.status import NoAnswerError, show
from tests.api.conftest import Served


def told(body: Any, status: int = 200) -> tuple[int, str]:
    screen = StringIO()
    transport = httpx.MockTransport(lambda request: httpx.Response(status, json=body))
    ended = show("http://campus", Console(file=screen, width=300), transport)
    return ended, screen.getvalue()


def test_a_healthy_campus_ends_with_0(served: Served) -> None:
    served.campus.sites["north"].engines.pop("backups")
    body = served.client.get("/api/system/health").json()
    for each in body["components"]:
        each["state"] = "healthy"
    body["state"] = "healthy"
    ended, shown = told(body)
    assert ended == 0
    assert "is healthy" in shown
    assert "history@north" in shown


def test_an_away_site_is_one_line_and_ends_with_1(served: Served) -> None:
    served.campus.sites["north"].host = "barn"
    served.campus.sites["north"].leave("no answer within 2.5 s")
    ended, shown = told(served.client.get("/api/system/health").json())
    assert ended == 1
    [line] = [each for each in shown.splitlines() if "north" in each]
    assert line.split()[:4] == ["north", "barn", "away", "-"]
    assert "no answer within 2.5 s" in line


@pytest.mark.parametrize("body", [[], {"state": "healthy"}, {"state": 1, "components": [{}]}])
def test_what_is_not_ours_is_said_so(body: Any) -> None:
    with pytest.raises(NoAnswerError, match="http://campus"):
        told(body)
    with pytest.raises(NoAnswerError):
        told({}, status=502)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://["])
def test_nothing_there_ends_with_2_and_no_traceback(url: str) -> None:
    result = CliRunner().invoke(app, ["status", "--url", url])
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert "error:" in result.output
