"""Certificates as docs/security.md says how to make them."""

import re
import subprocess
from pathlib import Path

_AUTHORITY, _HOST = re.findall(
    r"```sh\n(openssl.*?|host=.*?)```",
    (Path(__file__).parents[1] / "docs/security.md").read_text(),
    flags=re.DOTALL,
)


def authority(folder: Path) -> Path:
    """Make the campus's authority."""
    folder.mkdir()
    _run(_AUTHORITY, folder)
    return folder


def certify(ca: Path, folder: Path, name: str, address: str, days: int = 825) -> Path:
    """Give a host its folder of certificates."""
    commands = re.sub(r"host=\S+ address=\S+", f"host={name} address={address}", _HOST)
    _run(commands.replace("-days 825", f"-days {days}"), ca)
    folder.mkdir()
    for each in ("ca.crt", "host.crt", "host.key"):
        (folder / each).write_bytes((ca / each).read_bytes())
    (folder / "host.key").chmod(0o600)
    return folder


def _run(commands: str, folder: Path) -> None:
    done = subprocess.run(
        ["sh", "-e", "-c", commands], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
