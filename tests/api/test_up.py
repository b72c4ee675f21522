"""The port is ours from the first moment of a start."""

import itertools
import socket

import pytest

from api.foreground import UsageError
from api.up import hold_port, make_ready
from tests.ports import free_port


def test_a_held_port_is_nobody_elses_and_listens_to_nobody_yet() -> None:
    port = free_port()
    (held,) = hold_port("127.0.0.1", port)
    with held:
        for ip, reuse in itertools.product(("127.0.0.1", "0.0.0.0"), (0, 1)):
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
                with pytest.raises(OSError, match="in use"):
                    other.bind((ip, port))
        with pytest.raises(UsageError, match="is taken"):
            hold_port("127.0.0.1", port)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)
        make_ready([held])
        held.listen()
        socket.create_connection(("127.0.0.1", port), 1).close()


def test_a_port_is_held_again_while_connections_of_before_are_not_forgotten() -> None:
    with socket.create_server(("127.0.0.1", 0)) as before:
        port = before.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            # Who closes first keeps the port in mind.
            before.accept()[0].close()
            assert client.recv(1) == b""
    (held,) = hold_port("127.0.0.1", port)
    with held:
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))
        make_ready([held])
        held.listen()
        socket.create_connection(("127.0.0.1", port), 1).close()


def test_a_taken_port_and_a_foreign_address_are_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} is taken; choose another"):
            hold_port("127.0.0.1", port)
    with pytest.raises(UsageError, match=f"can't listen on 192.0.2.1:{port}"):
        hold_port("192.0.2.1", port)
    with pytest.raises(UsageError, match="host 'no such host' is no address"):
        hold_port("no such host", port)


def test_a_name_of_several_addresses_is_held_at_each() -> None:
    port = free_port()
    held = hold_port("localhost", port)
    try:
        assert {each.getsockname()[0] for each in held} <= {"127.0.0.1", "::1"}
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
    finally:
        for each in held:
            each.close()
