"""Logs as lines of JSON, when they are asked for."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.actors import configure_logging


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for each in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(each)
        each.close()
    root.setLevel(level)


def test_a_line_of_json_has_site_actor_and_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCRATE_LOG", "json")
    configure_logging(tmp_path, "history@north")
    log = logging.getLogger("actors.history")
    log.warning("%d samples\nare late", 3, extra={"device": "1001", "path": tmp_path})
    try:
        int("bad")
    except ValueError:
        log.error("failed", exc_info=sys.exc_info())
    first, second = map(json.loads, (tmp_path / "history@north.log").read_text().splitlines())
    assert (first["site"], first["actor"], first["level"]) == ("north", "history", "WARNING")
    assert (first["message"], first["device"], first["path"]) == (
        "3 samples\nare late",
        "1001",
        str(tmp_path),
    )
    assert first["time"].endswith("Z")
    assert "ValueError: invalid literal" in second["exception"]


def test_else_a_line_is_for_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENCRATE_LOG", raising=False)
    configure_logging(tmp_path, "history@north")
    logging.getLogger("x").warning("late")
    assert (tmp_path / "history@north.log").read_text().endswith("WARNING history@north x: late\n")
