"""The `opencrate` command."""

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from actors.core.clock import from_iso, to_iso
from actors.core.errors import OpenCrateError
from api.background import start as start_behind
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


MetricsPort = Annotated[
    int | None,
    typer.Option(
        envvar="OPENCRATE_METRICS_PORT",
        min=1,
        max=65535,
        help="Port of Ray's metrics, for Prometheus.",
        show_default="8090 with several hosts, else one that is free",
    ),
]

Tls = Annotated[
    Path | None,
    typer.Option(
        envvar="OPENCRATE_TLS",
        help="Folder with ca.crt, host.crt and host.key: TLS between hosts.",
        show_default="no TLS",
    ),
]
"""Taken from the command line before Ray is imported (`api.__main__`); named here to be told of."""

Background = Annotated[
    bool, typer.Option("--background", help="Return when it is up; SIGTERM to its process ends it.")
]


def _version(asked: bool) -> None:
    if asked:
        console.print(f"opencrate {version('opencrate-campus')}")
        raise typer.Exit


@app.callback()
def opencrate(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """OpenCrate Campus: a building automation system."""


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
    head_address: Annotated[
        str | None,
        typer.Option(
            help="This machine's address for the hosts of other buildings (10.0.0.1 or 10.0.0.1:6379)."
        ),
    ] = None,
    metrics_port: MetricsPort = None,
    tls: Tls = None,
    autoscaling_config: Annotated[
        Path | None,
        typer.Option(
            envvar="OPENCRATE_AUTOSCALING_CONFIG",
            help="Ray's ray_bootstrap_config.yaml, where `ray up` starts the head: it starts the others.",
        ),
    ] = None,
    background: Background = False,
) -> None:
    """Raise the campus and serve the page and the API until Ctrl-C."""
    from api import up as command  # noqa: PLC0415 - imports what only this command needs

    options = command.Options(
        config, data, host, port, demo, address, head_address, metrics_port, autoscaling_config
    )
    try:
        if background:
            return start_behind(sys.argv[1:], data, console)
        command.run(options, console)
    except KeyboardInterrupt:
        console.print("Stopped while starting.")
        raise typer.Exit(130) from None
    except ConnectionError as error:
        _fail(f"there is no Ray cluster at {address}: {error}")
    except OpenCrateError as error:
        _fail(str(error))


@app.command()
def join(
    head: Annotated[str, typer.Option(help="The head's address, such as 10.0.0.1 or 10.0.0.1:6379.")],
    site: Annotated[list[str], typer.Option(help="A site that this host raises; can be repeated.")],
    config: Annotated[
        Path | None,
        typer.Option(help="File that describes the site, as campus.yaml.", show_default="./campus.yaml"),
    ] = None,
    data: Annotated[Path, typer.Option(envvar="OPENCRATE_DATA", help="Folder for all files.")] = Path("data"),
    address: Annotated[
        str | None, typer.Option(help="This host's own address.", show_default="that towards the head")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="With a simulated building.")] = False,
    metrics_port: MetricsPort = None,
    tls: Tls = None,
    background: Background = False,
) -> None:
    """Make this host a part of the campus and raise its sites; stay until Ctrl-C."""
    from api import join as command  # noqa: PLC0415 - imports what only this command needs
    from api.up import head_of  # noqa: PLC0415

    try:
        if background:
            return start_behind(sys.argv[1:], data, console)
        alone = os.environ.get(command.ALONE)
        options = command.Options(head_of(head), site, config, data, address, demo, metrics_port, alone)
        command.run(options, console)
    except KeyboardInterrupt:
        console.print("Stopped while starting.")
        raise typer.Exit(130) from None
    except OpenCrateError as error:
        _fail(str(error))


Url = Annotated[str, typer.Option(envvar="OPENCRATE_URL", help="Where page and API are.")]


@app.command()
def status(url: Url = "http://127.0.0.1:8000") -> None:
    """Show sites, hosts and actors with their state.

    Ends with 0 when all is healthy, 1 when not, 2 when the campus can't be reached.
    """
    from api import status as command  # noqa: PLC0415 - imports what only this command needs

    try:
        ended = command.show(url, console)
    except OpenCrateError as error:
        _fail(str(error))
    raise typer.Exit(ended)


@app.command()
def doctor(
    data: Annotated[Path, typer.Option(envvar="OPENCRATE_DATA", help="Folder of all files.")] = Path("data"),
    head: Annotated[
        str | None, typer.Option(envvar="OPENCRATE_HEAD", help="The head, on a building's host.")
    ] = None,
    url: Url = "http://127.0.0.1:8000",
    metrics_port: MetricsPort = None,
    config: Annotated[
        Path | None,
        typer.Option(help="campus.yaml, for the head's port.", show_default="./campus.yaml, if there"),
    ] = None,
    tls: Tls = None,
) -> None:
    """Check what this host needs, and the hosts of the running campus; say what to do.

    Ends with 1 when something must be mended.
    """
    from api import doctor as command  # noqa: PLC0415 - imports what only this command needs
    from api.raynode import METRICS_PORT  # noqa: PLC0415
    from api.up import head_of  # noqa: PLC0415

    try:
        at = None if head is None else head_of(head)
        options = command.Options(data, url, at, metrics_port or METRICS_PORT, config)
        ended = command.run(options, console)
    except OpenCrateError as error:
        _fail(str(error))
    raise typer.Exit(ended)


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


Data = Annotated[Path, typer.Option(envvar="OPENCRATE_DATA", help="Folder of all files.")]


@app.command()
def restore(
    stores: Annotated[
        list[str] | None, typer.Argument(help="Stores such as nodes@north; all where none is named.")
    ] = None,
    data: Data = Path("data"),
    at: Annotated[str | None, typer.Option(help="Not newer than this: 2026-11-23T18:00:00Z.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only list the backups that there are.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Bring stores back from their backups, while nothing runs; the present files are moved aside."""
    from api import restore as command  # noqa: PLC0415 - imports what only this command needs

    try:
        found = command.backups(data)
        if listed:
            for each in found:
                console.print(f"{each.store:24} {to_iso(each.time)} {each.size:>12,} bytes  {each.path}")
            return
        chosen = command.choose(found, stores or [], _moment(at))
        for each in chosen:
            console.print(f"{each.store:24} from {to_iso(each.time)}")
        if not yes:
            typer.confirm("Replace these files? The present ones are moved aside.", abort=True)
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("restoring", total=len(chosen))

            def told(done: command.Restored) -> None:
                bar.advance(task)
                aside = f", was moved to {done.aside.name}" if done.aside else ""
                bar.console.print(f"{done.backup.store} is restored{aside}")

            command.restore(data, chosen, told)
    except OpenCrateError as error:
        _fail(str(error))


audit = typer.Typer(help="The audit log.", no_args_is_help=True)
app.add_typer(audit, name="audit")


@audit.command()
def verify(
    data: Data = Path("data"),
    anchor: Annotated[
        Path | None, typer.Option(help="A copy of campus/audit.anchor that was kept elsewhere.")
    ] = None,
) -> None:
    """Follow the chain of hashes to where it must end.

    Names the first entry that doesn't fit, or says how many are missing at the end. Ends with 1 when there is
    something.
    """
    from api import restore as command  # noqa: PLC0415 - imports what only this command needs

    try:
        found = command.verify_audit(data, anchor)
    except OpenCrateError as error:
        _fail(str(error))
    for loss in found.losses:
        errors.print(f"entry {loss.id} notes: {escape(loss.reason)}")
    if found.first_broken is not None:
        why = f": {escape(found.reason)}" if found.reason else ""
        errors.print(f"[red]entry {found.first_broken} does not fit:[/red] {found.entries} before it do{why}")
    elif found.reason is not None:
        there = "1 entry is" if found.entries == 1 else f"{found.entries} entries are"
        errors.print(f"[red]{escape(found.reason)}[/red]; {there} there")
    else:
        console.print(f"{found.entries} entries, each fits the one before.")
    if not found.ok:
        raise typer.Exit(1)


def _moment(text: str | None) -> int | None:
    try:
        return None if text is None else from_iso(text)
    except ValueError as error:
        _fail(f"--at: {error}")


def _fail(message: str) -> NoReturn:
    errors.print(f"[red]error:[/red] {escape(message)}")
    raise typer.Exit(2)


def main() -> None:
    """Run the command."""
    sys.exit(app())
