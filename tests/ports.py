"""Ports for servers that a test starts a moment later."""

import secrets
import socket


def free_port(kind: int = socket.SOCK_STREAM, ip: str = "0.0.0.0") -> int:
    """Give a port that nobody has open now, below those that the kernel gives out unasked.

    Ray's workers and every client take ports of the kernel's choice: also one that was free a moment ago.
    """
    while True:
        port = secrets.randbelow(12_000) + 20_000
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((ip, port))
            except OSError:
                continue
            return port
