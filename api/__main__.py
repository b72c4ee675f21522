"""Where the `opencrate` command begins: Ray reads its environment when it is imported."""

import os
import sys
from pathlib import Path

from api.settings import SETTINGS, tls

TOKEN_FILE = Path("~/.ray/auth_token")
"""Where Ray looks for its token unless told otherwise."""


def environment(arguments: list[str]) -> dict[str, str]:
    """Give Ray's environment. A cluster that is joined decides itself whether it asks for a token."""
    found = dict(SETTINGS)
    joins = arguments[:1] == ["up"] and _option(arguments, "--address") is not None
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if joins and not named and not TOKEN_FILE.expanduser().exists():
        del found["RAY_AUTH_MODE"]
    folder = _option(arguments, "--tls") or os.environ.get("OPENCRATE_TLS")
    return found | (tls(folder) if folder else {})


def _option(arguments: list[str], name: str) -> str | None:
    """Give what an option says; None where it isn't named."""
    for number, each in enumerate(arguments):
        if each.startswith(f"{name}="):
            return each.partition("=")[2]
        if each == name:
            return (*arguments, "")[number + 1]
    return None


def main() -> None:
    """Set Ray's environment, then run the command."""
    for key, value in environment(sys.argv[1:]).items():
        os.environ.setdefault(key, value)
    from api.cli import main as run  # noqa: PLC0415 - imports Ray

    run()


if __name__ == "__main__":
    main()
