"""A host's certificates are checked before Ray would only be silent about them."""

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api.__main__ import environment
from api.raynode import Head, NodeError, RayNode
from api.tls import Certificates, TlsError, certificates, check_head
from tests.certify import authority, certify

HERE = "127.0.0.5"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority(tmp_path_factory.mktemp("tls") / "ca")


def made(ca: Path, folder: Path, address: str = HERE, days: int = 825) -> Certificates:
    certify(ca, folder, "host", address, days)
    return Certificates(folder / "ca.crt", folder / "host.crt", folder / "host.key")


def test_certificates_made_as_documented_are_good(ca: Path, tmp_path: Path) -> None:
    mine = made(ca, tmp_path / "host")
    mine.check()
    mine.check(HERE)
    with pytest.raises(
        TlsError, match=r"host\.crt is not for 10\.9\.9\.9, but for 127\.0\.0\.1, 127\.0\.0\.5"
    ):
        mine.check("10.9.9.9")


def test_what_is_wrong_with_a_certificate_is_said(ca: Path, tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"host\.crt was valid until"):
        made(ca, tmp_path / "ended", days=-1).check(HERE)
    mine, other = made(ca, tmp_path / "mine"), made(ca, tmp_path / "other")
    mine.key.write_bytes(other.key.read_bytes())
    with pytest.raises(TlsError, match="don't belong together"):
        mine.check()
    mine.key.unlink()
    with pytest.raises(TlsError, match=r"there is no .*host\.key that can be read"):
        mine.check()
    other.ca.write_text("nonsense")
    with pytest.raises(TlsError, match=r"ca\.crt is no certificate"):
        other.check()


def test_the_folder_is_told_to_ray_before_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENCRATE_TLS", raising=False)
    assert "RAY_USE_TLS" not in environment(["join", "--head", "10.0.0.1"])
    for found in (environment(["join", "--tls", "certs"]), environment(["join", "--tls=certs"])):
        assert found["RAY_USE_TLS"] == "1"
        assert found["RAY_TLS_CA_CERT"] == os.path.join(os.getcwd(), "certs", "ca.crt")
    monkeypatch.setenv("OPENCRATE_TLS", str(tmp_path))
    told = environment(["up"])
    for key, value in told.items():
        monkeypatch.setenv(key, value)
    assert certificates() == Certificates(tmp_path / "ca.crt", tmp_path / "host.crt", tmp_path / "host.key")


def test_only_up_leaves_it_to_the_cluster_whether_a_token_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.__main__.TOKEN_FILE", Path("/nonexistent"))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    assert "RAY_AUTH_MODE" not in environment(["up", "--address", "auto"])
    assert environment(["join", "--address", "10.0.0.11"])["RAY_AUTH_MODE"] == "token"


def speak_tls(mine: Certificates) -> Callable[[socket.socket], None]:
    """Answer as Ray's server with TLS does: it asks for a certificate, and speaks first."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(mine.ca))
    context.load_cert_chain(mine.certificate, mine.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.sendall(b"settings")
            secured.recv(1)

    return answer


def speak_plainly(connection: socket.socket) -> None:
    connection.sendall(b"\0\0\6\4\0\0\0\0\0\0\5\0\0\x40\0")
    connection.recv(1000)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """Give what starts a server on a port of its own and gives that."""
    servers: list[socket.socket] = []

    def start(answer: Callable[[socket.socket], None]) -> int:
        server = socket.create_server((HERE, 0))
        servers.append(server)

        def run() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        answer(connection)
                    except OSError:
                        continue

        threading.Thread(target=run, daemon=True).start()
        return int(server.getsockname()[1])

    yield start
    for each in servers:
        each.shutdown(socket.SHUT_RDWR)
        each.close()


Serve = Callable[[Callable[[socket.socket], None]], int]


def test_a_head_and_a_host_of_one_campus_accept_each_other(ca: Path, tmp_path: Path, serve: Serve) -> None:
    port = serve(speak_tls(made(ca, tmp_path / "head")))
    check_head(HERE, port, made(ca, tmp_path / "host"))
    check_head(HERE, serve(speak_plainly), None)


def test_a_head_that_does_not_answer_is_not_judged(ca: Path, tmp_path: Path) -> None:
    with socket.create_server((HERE, 0)) as probe:
        port = probe.getsockname()[1]
    check_head(HERE, port, None)
    check_head(HERE, port, made(ca, tmp_path / "host"))


def test_why_they_do_not_is_said(ca: Path, tmp_path: Path, serve: Serve) -> None:
    head = serve(speak_tls(made(ca, tmp_path / "head")))
    mine = made(ca, tmp_path / "host")
    with pytest.raises(TlsError, match="asks for TLS: give this host a certificate"):
        check_head(HERE, head, None)
    with pytest.raises(TlsError, match="doesn't speak TLS: start it with --tls too"):
        check_head(HERE, serve(speak_plainly), mine)
    stranger = made(authority(tmp_path / "other-ca"), tmp_path / "stranger")
    with pytest.raises(TlsError, match=r"certificate at .* is not good here"):
        check_head(HERE, head, stranger)
    stranger.ca.write_bytes(mine.ca.read_bytes())
    with pytest.raises(TlsError, match="refuses this host's certificate"):
        check_head(HERE, head, stranger)
    elsewhere = serve(speak_tls(made(ca, tmp_path / "elsewhere", address="10.9.9.9")))
    with pytest.raises(TlsError, match=r"certificate at .* is not good here"):
        check_head(HERE, elsewhere, mine)


def test_a_node_does_not_start_with_certificates_that_are_no_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with pytest.raises(NodeError, match="that can be read"):
        RayNode(tmp_path, Head("127.0.0.1", 1), "127.0.0.1", is_head=True)
