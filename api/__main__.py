"""Where the `opencrate` command begins: Ray reads its environment when it is imported."""

import os
import sys
from pathlib import Path

from api.settings import SETTINGS

TOKEN_FILE = Path("~/.ray/auth_token")
"""Where Ray looks for its token unless told otherwise."""


def environment(arguments: list[str]) -> dict[str, str]:
    """Give Ray's environment. A cluster that is joined decides itself whether it asks for a token."""
    joins = any(each == "--address" or each.startswith("--address=") for each in arguments)
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if joins and not named and not TOKEN_FILE.expanduser().exists():
        return {key: value for key, value in SETTINGS.items() if key != "RAY_AUTH_MODE"}
    return SETTINGS


def main() -> None:
    """Set Ray's environment, then run the command."""
    for key, value in environment(sys.argv[1:]).items():
        os.environ.setdefault(key, value)
    from api.cli import main as run  # noqa: PLC0415 - imports Ray

    run()


if __name__ == "__main__":
    main()
