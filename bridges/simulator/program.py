"""The simulator's process: opens the sockets, lets time pass, stops on a signal or with its parent."""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from bridges.simulator.bacnet import BacnetSide
from bridges.simulator.faults import Fault
from bridges.simulator.modbus import Server
from bridges.simulator.physics import Building

TICK = 0.5
"""Seconds between two steps of the building."""


class CannotStartError(ValueError):
    """Something stands in the way of the start, and `reason` says what."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Options:
    """What to simulate, and where."""

    ip: str
    """Own IPv4 address, with or without prefix length."""
    bacnet_port: int
    modbus_port: int
    speed: float
    seed: int
    start: datetime
    faults: frozenset[Fault]
    parent: int | None = None
    """Stop when this process ends."""


class Simulator:
    """A building with its sockets open."""

    def __init__(self, options: Options) -> None:
        """Build it; this must happen in a running loop. Raises CannotStartError."""
        self.options = options
        interface = _interface(options.ip)
        ip = str(interface.ip)
        _check_free(ip, options.bacnet_port, socket.SOCK_DGRAM, "BACnet/IP (UDP)")
        _check_free(ip, options.modbus_port, socket.SOCK_STREAM, "Modbus (TCP)")
        self.building = Building(options.seed, options.start)
        address = f"{interface.with_prefixlen}:{options.bacnet_port}"
        self.bacnet = BacnetSide(address, self.building, options.speed, options.faults, options.seed)
        self.modbus = Server(ip, options.modbus_port, self.building)

    async def open(self) -> None:
        """Open all sockets and show the first values. Raises CannotStartError."""
        self.bacnet.take()
        self.bacnet.show()
        try:
            await self.modbus.serve_forever(background=True)
            await self.bacnet.opened()
        except (RuntimeError, TimeoutError) as error:
            raise CannotStartError(f"the sockets on {self.options.ip} don't open: {error}") from error

    async def run(self) -> None:
        """Let time pass until cancelled."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(TICK)
            now = loop.time()
            # A process that was stopped for a while doesn't run after the time that it missed.
            self.tick(min(now - last, 4 * TICK))
            last = now

    def tick(self, seconds: float) -> None:
        """Let `seconds` of real time pass at once."""
        self.bacnet.take()
        self.building.step(seconds * self.bacnet.speed)
        self.bacnet.show()

    async def close(self) -> None:
        """Close all sockets."""
        self.bacnet.close()
        await self.modbus.shutdown()  # type: ignore[no-untyped-call]


async def serve(options: Options, ready: str) -> None:
    """Run the simulator until SIGTERM, SIGINT or the end of its parent; say `ready` once it can be reached.

    Raises CannotStartError.
    """
    # The libraries log what a client may do wrong; that is no business of who started a simulator.
    for name in ("pymodbus.logging", "bacpypes3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with _watched(options.parent, stop):
        simulator = Simulator(options)
        try:
            await simulator.open()
            print(ready, flush=True)
            passing = asyncio.create_task(simulator.run())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((passing, stopping), return_when=asyncio.FIRST_COMPLETED)
            for task in (passing, stopping):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await passing
        finally:
            await simulator.close()


@contextlib.contextmanager
def _watched(parent: int | None, stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` when the process `parent` ends, however it ends (a pidfd becomes readable)."""
    if parent is None:
        yield
        return
    try:
        descriptor = os.pidfd_open(parent)
    except ProcessLookupError:
        raise CannotStartError(f"there is no process {parent}") from None
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, stop.set)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _interface(text: str) -> ipaddress.IPv4Interface:
    try:
        interface = ipaddress.IPv4Interface(text)
    except ValueError:
        raise CannotStartError(f"{text!r} is no IPv4 address, such as 127.0.0.2 or 192.168.1.20/24") from None
    if "/" in text:
        return interface
    return ipaddress.IPv4Interface(f"{text}/{8 if interface.ip.is_loopback else 24}")


def _check_free(ip: str, port: int, kind: socket.SocketKind, what: str) -> None:
    """Raise CannotStartError if the port is taken: bacpypes3 would share it, or try for ever."""
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"can't be opened: {error.strerror}"
            raise CannotStartError(f"{what} port {port} on {ip} {reason}") from error
