"""What every request passes: limits on rate and size, and headers of every answer."""

import time
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer

MAX_BODY: Final = 1_000_000
"""Bytes of a request's body."""
MAX_ADDRESSES: Final = 10_000

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

    The page's own requests come from within this process (port 0, which no socket has) and aren't counted.
    """

    def __init__(self, app: ASGIApp, limits: Limits | None = None) -> None:
        """Stand before `app`."""
        self.app, self._limits = app, limits or Limits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
                if scope["path"].startswith("/api"):
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        address, port = scope.get("client") or ("unknown", 1)
        login = scope["method"] == "POST" and scope["path"] in LOGIN_PATHS
        if port != 0 and not self._limits.allows(address, login=login):
            response = answer(429, "too many requests; wait a little")
            response.headers["Retry-After"] = "6" if login else "1"
            await response(scope, receive, headed)
            return
        length = next((value for key, value in scope["headers"] if key == b"content-length"), b"0")
        if length.isdigit() and int(length) > MAX_BODY:
            await answer(413, f"the body is larger than {MAX_BODY} bytes")(scope, receive, headed)
            return
        await self.app(scope, _counted(receive), headed)


def _counted(receive: Receive) -> Receive:
    """Cut a body that is longer than it may be, whatever its header says."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > MAX_BODY:
                return {"type": "http.disconnect"}
        return message

    return limited
