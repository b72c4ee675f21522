"""The command as people type it; what it starts is tried in tests/cluster."""

import logging
import threading
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private import worker
from rich.console import Console
from typer.testing import CliRunner

from api import cluster, up
from api.cli import app
from api.config import load

cli = CliRunner()
SITE = "campus: Our [old] Campus\nsites:\n  - {id: north}\n"


def test_the_version_is_told() -> None:
    result = cli.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("opencrate ")


def test_a_good_file_is_told_and_a_bad_one_ends_with_2(tmp_path: Path) -> None:
    path = tmp_path / "campus.yaml"
    path.write_text(SITE)
    assert cli.invoke(app, ["check", str(path)]).exit_code == 0
    path.write_text(SITE.replace("{id: north}", "{id: north, divices: []}"))
    result = cli.invoke(app, ["check", str(path)])
    assert result.exit_code == 2
    assert f"{path}:3: sites[0].divices: unknown key; did you mean devices?" in result.output


def test_nothing_is_cut_off_on_a_narrow_screen(tmp_path: Path) -> None:
    path = tmp_path / "campus.yaml"
    path.write_text(SITE)
    screen = StringIO()
    options = up.Options(path, tmp_path / ("long-" * 20), None, None, False, None)
    console = Console(file=screen, width=60, soft_wrap=True)
    up._welcome(load(path), options, ("0.0.0.0", 8000), console)
    shown = screen.getvalue()
    assert "the operator page; the first visit makes the first admin" in shown
    assert str(options.data.resolve()) in shown
    assert "Our [old] Campus is up" in shown


def test_what_ray_reports_goes_to_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker, "print_to_stdstream", worker.print_to_stdstream)
    cluster.quiet()

    class Errors:
        """Gives two reports, then is closed."""

        def __init__(self) -> None:
            many = "WARNING: 18 PYTHON worker processes have been started on node: a4a0"
            told = (many, "the disk is nearly full")
            self.told: list[Any] = [(None, {"job_id": None, "error_message": each}) for each in told]

        def subscribe(self) -> None:
            pass

        def poll(self) -> tuple[None, dict[str, object]]:
            if not self.told:
                raise ConnectionError("closed")
            return self.told.pop()

    listening = worker.Worker.__new__(worker.Worker)
    listening.gcs_error_subscriber = Errors()  # type: ignore[attr-defined]
    monkeypatch.setattr(worker.Worker, "current_job_id", ray.JobID.nil())
    with caplog.at_level(logging.WARNING):
        worker.listen_error_messages(listening, threading.Event())
    assert "ray: the disk is nearly full" in caplog.text
    assert "PYTHON" not in caplog.text, "many actors are what is wanted"
    assert "nearly full" not in capfd.readouterr().out
