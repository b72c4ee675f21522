"""The `opencrate` command."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from actors.core.errors import OpenCrateError
from api.config import ConfigFileError, load
from bridges.simulator.cli import simulate

app = typer.Typer(
    help="OpenCrate Campus: a building automation system.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

app.command("simulate")(simulate)


@app.command()
def up(
    config: Annotated[
        Path | None, typer.Option(help="campus.yaml to raise.", show_default="./campus.yaml")
    ] = None,
    data: Annotated[Path, typer.Option(envvar="OPENCRATE_DATA", help="Folder for all files.")] = Path("data"),
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None,
        typer.Option(
            envvar="OPENCRATE_PORT", min=1, max=65535, help="Port to listen on.", show_default="8000"
        ),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="With the simulated building.")] = False,
    address: Annotated[
        str | None, typer.Option(help="Join the Ray cluster that is already there (auto or host:port).")
    ] = None,
) -> None:
    """Raise the campus and serve the page and the API until Ctrl-C."""
    from api import up as command  # noqa: PLC0415 - imports what only this command needs

    options = command.Options(config, data, host, port, demo, address)
    try:
        command.run(options, console)
    except KeyboardInterrupt:
        console.print("Stopped while starting.")
        raise typer.Exit(130) from None
    except ConnectionError as error:
        _fail(f"there is no Ray cluster at {address}: {error}")
    except OpenCrateError as error:
        _fail(str(error))


@app.command()
def check(config: Annotated[Path, typer.Argument(help="The campus.yaml to check.")]) -> None:
    """Check a campus.yaml and every profile that it names; say all that is wrong with file, line and key."""
    try:
        campus = load(config)
    except ConfigFileError as error:
        _fail(str(error))
    for site in campus.config.sites:
        points = sum(
            len(each.points or []) + len(campus.profiles[each.profile].points if each.profile else [])
            for each in site.devices
        )
        console.print(
            f"{site.id}: {len(site.networks)} networks, {len(site.devices)} devices, {points} points named"
        )
    console.print(f"{config} is good.")


def _fail(message: str) -> None:
    errors.print(f"[red]error:[/red] {escape(message)}")
    raise typer.Exit(2)


def main() -> None:
    """Run the command."""
    sys.exit(app())
