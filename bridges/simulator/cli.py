"""`opencrate simulate`: run the simulated building, or list what is in it."""

import asyncio
from datetime import datetime
from typing import Annotated, Final

import typer
from rich.console import Console

from bridges.simulator.faults import UnknownFaultError, parse

SPEED: Final = 10.0
"""Simulated seconds per second: a zone answers a new setpoint within a minute or two, a day takes 2.4 h, and
values still look like a building's."""


def simulate(
    list_: Annotated[
        bool, typer.Option("--list", help="Print devices, points and faults, and leave.")
    ] = False,
    ip: Annotated[str, typer.Option(help="Own IPv4 address, also with prefix length.")] = "127.0.0.2",
    bacnet_port: Annotated[int, typer.Option(min=1, max=65535, help="UDP port of BACnet/IP.")] = 47808,
    modbus_port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port of Modbus.")] = 5020,
    speed: Annotated[float, typer.Option(min=0, max=600, help="Simulated seconds per second.")] = SPEED,
    seed: Annotated[int, typer.Option(help="The same seed gives the same building and weather.")] = 1,
    start: Annotated[
        datetime | None,
        typer.Option(
            help="Simulated local time at the start; the weather follows it.",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
            show_default="now",
        ),
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="A fault that is there from the start; can be repeated.")
    ] = None,
    parent_pid: Annotated[
        int | None, typer.Option(help="Stop when the process with this id ends.", show_default=False)
    ] = None,
) -> None:
    """Run a simulated building: BACnet/IP and Modbus TCP devices with physics behind them."""
    if list_:
        from bridges.simulator import listing  # noqa: PLC0415 - imports what only this needs

        listing.show(Console(highlight=False, soft_wrap=True))
        return
    try:
        faults = frozenset(parse(name) for name in fault or [])
    except UnknownFaultError as error:
        _fail(str(error), 2)
    # A second to import: not before the arguments are known to be good.
    from bridges.simulator import devices  # noqa: PLC0415
    from bridges.simulator.program import CannotStartError, Options, serve  # noqa: PLC0415

    began = start or datetime.now()
    options = Options(ip, bacnet_port, modbus_port, speed, seed, began, faults, parent_pid)
    ready = f"READY BACnet/IP {ip}:{bacnet_port} (BBMD, {len(devices.BACNET)} devices), "
    ready += f"Modbus TCP {ip}:{modbus_port} ({len(devices.MODBUS)} units)"
    try:
        asyncio.run(serve(options, ready))
    except CannotStartError as error:
        _fail(error.reason, 1)


def _fail(reason: str, code: int) -> None:
    typer.echo(f"error: {reason}", err=True)
    raise typer.Exit(code)
