"""Rules of webhooks: which addresses may be posted to, signatures, filters and retries."""

import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from actors.core.errors import BadInputError
from actors.node.logic import matches_tags
from actors.webhook.models import Endpoint

RETRY_AFTER: Final = (5_000, 30_000, 120_000)
"""Milliseconds until each further attempt."""
ATTEMPTS: Final = len(RETRY_AFTER) + 1

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_HOST: Final = re.compile(
    r"^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\.?$"
)
_LOCAL_NAMES: Final = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa")
_6TO4: Final = ipaddress.ip_network("2002::/16")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL: Final = ipaddress.ip_network("2000::/3")
"""The only IPv6 addresses that are given out (RFC 4291, 2.4)."""
_NOT_GLOBAL: Final = tuple(map(ipaddress.ip_network, ("3fff::/20", "2001::/23", "2001:db8::/32")))
_NOT_PUBLIC: Final = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24")))
"""Special purposes that older registries, and so some versions of Python, take for public."""


def literal_address(host: str) -> Address | None:
    """Read a host as an address, also as the C library would: `127.1`, `0x7f000001`, `2130706433`, `0177.1`.

    Gives None for a name.
    """
    bare = host.strip("[]").partition("%")[0]
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    if ":" in bare or not re.fullmatch(r"[0-9a-fx.]+", bare):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(bare.rstrip(".")))
    except OSError:
        return None


def _inner(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 one carries, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_special(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return any(address in each for each in _NOT_PUBLIC)
    return address not in _GLOBAL or any(address in each for each in _NOT_GLOBAL)


def refused_address(address: Address, allowed: Iterable[str] = ()) -> str | None:
    """Say why an address may not be posted to, or None when it may.

    Refused is what isn't globally reachable (private, loopback, link-local with the cloud's metadata,
    multicast, reserved; IANA special-purpose registries) unless it lies in an allowed network. Ask for every
    address that a name resolves to, and connect to that address.
    """
    inner = _inner(address)
    for network in allowed:
        known = ipaddress.ip_network(network)
        if inner.version == known.version and inner in known:
            return None
    # 6to4 is refused whatever it carries: its relays are gone (RFC 7526), and Pythons differ about it.
    if inner.is_global and not inner.is_multicast and address not in _6TO4 and not _is_special(inner):
        return None
    return f"{address} is not a public address; allow its network in the webhook configuration"


def check_url(url: str, allowed: Sequence[str] = ()) -> str:
    """Check where an endpoint points to; give the URL back. Names are resolved later, at each post.

    Raises BadInputError.
    """

    def wrong(expected: str) -> BadInputError:
        return BadInputError("url", url[:200], expected)

    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise wrong("a URL without blanks, control characters and backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong("a URL such as https://hooks.example.org/opencrate") from None
    if parts.scheme not in {"http", "https"}:
        raise wrong("a URL that begins with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise wrong("a URL without user and password; the secret is a field of its own")
    host = (parts.hostname or "").lower()
    if port == 0 or not host:
        raise wrong("a URL that names a host")
    address = literal_address(host)
    if address is not None:
        reason = refused_address(address, allowed)
        if reason is not None:
            raise wrong(reason)
        return url
    if not _HOST.match(host):
        raise wrong("a host that is a name of letters, digits and hyphens")
    bare = host.rstrip(".")
    if not allowed and ("." not in bare or bare.endswith(_LOCAL_NAMES)):
        raise wrong("a public name; allow its network in the webhook configuration for a local one")
    return url


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """Give the signature of a post: `sha256=` and HMAC-SHA256 over "TIMESTAMP.BODY" in hex.

    `timestamp` is in seconds and goes into a header beside it, so that a receiver can refuse old posts.
    """
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"sha256={mac.hexdigest()}"


def wants(endpoint: Endpoint, event_type: str, severity: str | None, tags: frozenset[str], site: str) -> bool:
    """Tell whether an endpoint asked for an event; severity and tags filter only events that have them."""
    if not endpoint.enabled or event_type not in endpoint.events:
        return False
    if endpoint.sites and site not in endpoint.sites:
        return False
    if endpoint.severities and severity is not None and severity not in endpoint.severities:
        return False
    return matches_tags(tags, endpoint.tags)


def next_attempt(attempts: int, now: int) -> int | None:
    """Give when to try again after so many failed attempts (ms), or None when that was the last."""
    return None if attempts >= ATTEMPTS else now + RETRY_AFTER[attempts - 1]


def may_retry(status_code: int | None) -> bool:
    """Tell whether another attempt may help: after no answer, 408, 425, 429 and 5xx (RFC 9110)."""
    return status_code is None or status_code in {408, 425, 429} or status_code >= 500
