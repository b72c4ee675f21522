"""The systemd units start commands that there are, and end them as they want to be ended."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from api.cli import app

FOLDER = Path(__file__).parents[2] / "docs/systemd"
UNITS = sorted(FOLDER.glob("*.service"))


def test_there_is_one_for_each_kind_of_host() -> None:
    assert [each.name for each in UNITS] == ["opencrate-building.service", "opencrate.service"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_runs_a_command_with_options_that_it_has(path: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(path)
    program, name, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert program.endswith("/.venv/bin/opencrate")
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    options = {each for parameter in command.params for each in parameter.opts}
    assert {each for each in arguments if each.startswith("--")} <= options
    assert unit["Service"]["KillMode"] == "mixed", "SIGTERM goes to the command, which ends the rest in order"
    assert unit["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_takes_a_unit(path: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing: `make .venv/.ready-for-tests` installs it"
    copy = tmp_path / path.name
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", path.read_text()))
    said = subprocess.run([program, "verify", str(copy)], capture_output=True, text=True, check=False)
    mine = [line for line in said.stderr.splitlines() if path.name in line]
    assert (said.returncode, mine) == (0, [])
