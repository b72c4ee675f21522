"""What every request passes: limits on rate and size, and headers of every answer."""

import ipaddress
import time
from collections.abc import Callable
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer

MAX_BODY: Final = 1_000_000
"""Bytes of a request's body."""
MAX_ADDRESSES: Final = 10_000

PAGE: Final = ("127.0.0.1", 0)
"""Whom the page's own requests come from: this very object, as behind a proxy others have port 0 too."""

HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


class Bucket:
    """A token bucket: `rate` requests a second, `burst` at once."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """Start full."""
        self.rate, self.burst, self.left, self.at = rate, burst, burst, now

    def take(self, now: float) -> bool:
        """Take one token, if there is one."""
        self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Limits:
    """How many requests are let through: per address, overall, and for logins."""

    PER_ADDRESS: Final = (100.0, 300.0)
    OVERALL: Final = (300.0, 900.0)
    LOGIN: Final = (10 / 60, 10.0)

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start with full buckets."""
        self._monotonic = monotonic
        self._overall = Bucket(*self.OVERALL, monotonic())
        self._addresses: dict[str, Bucket] = {}
        self._logins: dict[str, Bucket] = {}

    def allows(self, address: str, *, login: bool) -> bool:
        """Tell whether a request may pass."""
        now = self._monotonic()
        if login and not self._of(self._logins, address, self.LOGIN, now).take(now):
            return False
        return self._of(self._addresses, address, self.PER_ADDRESS, now).take(now) and self._overall.take(now)

    @staticmethod
    def _of(buckets: dict[str, Bucket], address: str, limit: tuple[float, float], now: float) -> Bucket:
        found = buckets.get(address)
        if found is None:
            if len(buckets) >= MAX_ADDRESSES:
                oldest = min(buckets, key=lambda each: buckets[each].at)
                del buckets[oldest]
            found = buckets[address] = Bucket(*limit, now)
        return found


LOGIN_PATHS: Final = frozenset({"/api/auth/login", "/api/auth/setup", "/api/auth/password"})


class Guard:
    """ASGI middleware: rate limits, body limit, security headers.

    The page's own requests come from within this process (`PAGE`) and aren't counted.
    """

    def __init__(self, app: ASGIApp, limits: Limits | None = None) -> None:
        """Stand before `app`."""
        self.app, self._limits = app, limits or Limits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] == "websocket" and not self._passes(scope):
            await send({"type": "websocket.close", "code": 1013, "reason": "too many requests"})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        body = _Body(receive)
        started = False

        async def headed(message: Message) -> None:
            nonlocal started
            if body.is_too_large and not started:
                return  # what a handler makes of a body that was cut
            started = True
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
                if scope["path"].startswith("/api"):
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        login = _is_login(scope)
        if not self._passes(scope):
            response = answer(429, "too many requests; wait a little")
            response.headers["Retry-After"] = "6" if login else "1"
            await response(scope, receive, headed)
            return
        length = next((value for key, value in scope["headers"] if key == b"content-length"), b"0")
        if not (length.isdigit() and int(length) > MAX_BODY):
            try:
                await self.app(scope, body.receive, headed)
            except ClientDisconnect:
                if not body.is_too_large:
                    raise
            if started or not body.is_too_large:
                return
        body.is_too_large = False
        await answer(413, f"the body is larger than {MAX_BODY} bytes")(scope, receive, headed)

    def _passes(self, scope: Scope) -> bool:
        client = scope.get("client")
        if client is PAGE:
            return True
        address = client[0] if client else "unknown"
        return self._limits.allows(network_of(address), login=_is_login(scope))


def _is_login(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in LOGIN_PATHS


def network_of(address: str) -> str:
    """Give what is counted as one caller: an IPv4 address, or the /64 network of an IPv6 one.

    Whoever has one IPv6 address has all of its network.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


class _Body:
    """A request's body, cut when it is longer than it may be, whatever its header says."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._seen, self.is_too_large = receive, 0, False

    async def receive(self) -> Message:
        """Give the next part, or say that the client is gone when there is too much of it."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            if self._seen > MAX_BODY:
                self.is_too_large = True
                return {"type": "http.disconnect"}
        return message
