"""TLS between the hosts of a campus: this host's certificate, and whether the head and it accept each other.

Ray itself encrypts; here is checked beforehand what Ray would only answer with a long silence.
"""

import contextlib
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509

from actors.core.errors import OpenCrateError
from api.settings import TLS_FILES

PATIENCE: Final = 5.0
"""Seconds that the head may take for a handshake."""
LOCAL: Final = "127.0.0.1"
"""The address of a host that runs alone: every certificate has to name it."""


class TlsError(OpenCrateError):
    """Certificates don't allow what is wanted; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Certificates:
    """The files of this host."""

    ca: Path
    certificate: Path
    key: Path

    def check(self, *addresses: str) -> None:
        """Check that they can be read, belong together, are valid now and name these addresses and 127.0.0.1.

        Raises TlsError.
        """
        for path in (self.ca, self.certificate, self.key):
            if not (path.is_file() and os.access(path, os.R_OK)):
                raise TlsError(f"there is no {path} that can be read; docs/security.md says how to make it")
        self.context()
        mine = self.read()
        named = _addresses(mine)
        missing = [each for each in (*addresses, LOCAL) if not named & _resolved(each)]
        if missing:
            there = ", ".join(sorted(named)) or "no address"
            raise TlsError(f"{self.certificate} is not for {', '.join(missing)}, but for {there}")
        now = time.time()
        if now < mine.not_valid_before_utc.timestamp():
            raise TlsError(
                f"{self.certificate} is valid from {mine.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"
            )
        if now > mine.not_valid_after_utc.timestamp():
            raise TlsError(
                f"{self.certificate} was valid until {mine.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
            )

    def read(self) -> x509.Certificate:
        """Give the certificate. Raises TlsError."""
        try:
            return x509.load_pem_x509_certificate(self.certificate.read_bytes())
        except (OSError, ValueError) as error:
            raise TlsError(f"{self.certificate} is no certificate: {error}") from error

    def context(self) -> ssl.SSLContext:
        """Give what a client needs that trusts this campus alone. Raises TlsError."""
        try:
            made = ssl.create_default_context(cafile=str(self.ca))
        except (OSError, ssl.SSLError) as error:
            raise TlsError(f"{self.ca} is no certificate: {error}") from error
        try:
            made.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise TlsError(f"{self.certificate} and {self.key} don't belong together: {error}") from error
        made.set_alpn_protocols(["h2"])
        return made


def certificates() -> Certificates | None:
    """Give the files that this command's Ray uses, as its environment names them; None without TLS."""
    if os.environ.get("RAY_USE_TLS", "0").lower() not in {"1", "true"}:
        return None
    return Certificates(
        **{name: Path(os.environ.get(variable, "")) for name, (variable, _) in TLS_FILES.items()}
    )


def check_own(*addresses: str) -> None:
    """Check this host's certificate, where there is one to be used. Raises TlsError."""
    mine = certificates()
    if mine is not None:
        mine.check(*addresses)


def check_head(address: str, port: int, mine: Certificates | None) -> None:
    """Check that the head's Ray and this host accept each other, with or without TLS. Raises TlsError.

    A head that doesn't answer at all is not judged.
    """
    at = f"{address}:{port}"
    try:
        with socket.create_connection((address, port), PATIENCE) as plain:
            if mine is None:
                if _speaks_tls(plain):
                    raise TlsError(
                        f"the head at {at} asks for TLS: give this host a certificate of the campus's, "
                        "and name its folder with --tls"
                    )
                return
            _shake_hands(plain, address, at, mine.context())
    except OSError:
        return


def _speaks_tls(plain: socket.socket) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        # An alert is an answer too, of one that wants a certificate; what speaks no TLS sends anything else.
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def _shake_hands(plain: socket.socket, address: str, at: str, context: ssl.SSLContext) -> None:
    try:
        with context.wrap_socket(plain, server_hostname=address) as secured:
            # Whether it takes our certificate a server says only after the handshake; Ray's speaks first.
            secured.settimeout(PATIENCE)
            with contextlib.suppress(TimeoutError):
                secured.recv(1)
    except ssl.SSLCertVerificationError as error:
        raise TlsError(f"the head's certificate at {at} is not good here: {error.verify_message}") from error
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            raise TlsError(f"the head at {at} refuses this host's certificate: {error.reason}") from error
        raise TlsError(f"the head at {at} doesn't speak TLS: start it with --tls too") from error
    except ConnectionError as error:
        raise TlsError(f"the head at {at} ended the handshake: {error}") from error


def _addresses(certificate: x509.Certificate) -> set[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    names: Iterable[object] = (
        *found.get_values_for_type(x509.IPAddress),
        *found.get_values_for_type(x509.DNSName),
    )
    return {str(each) for each in names}


def _resolved(address: str) -> set[str]:
    """Give a name, and the address that it has: Ray dials the one or the other."""
    with contextlib.suppress(ValueError):
        return {str(ipaddress.ip_address(address))}
    with contextlib.suppress(OSError):
        return {address, socket.gethostbyname(address)}
    return {address}
