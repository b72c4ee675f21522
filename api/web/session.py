"""One browser tab's conversation with the API, in its user's name."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx
from fastapi import FastAPI

from api.middleware import PAGE

TOKEN_COOKIE: Final = "opencrate_token"  # noqa: S105 - the cookie's name, not a token
ZONE_COOKIE: Final = "opencrate_zone"
THEME_COOKIE: Final = "opencrate_theme"

PATIENCE: Final = 12.0
"""Seconds until a request is given up; a device that is slow to refuse a write needs most of them."""

AT: Final = "@"
"""Between id and site in the page's keys; no id has it."""

log = logging.getLogger(__name__)


class ApiError(Exception):
    """The API said no, or did not answer. `status` is 0 when there was no answer; `message` is in words."""

    def __init__(self, status: int, code: str, message: str, detail: Any = None) -> None:
        super().__init__(status, code, message, detail)
        self.status, self.code, self.message, self.detail = status, code, message, detail

    @property
    def is_away(self) -> bool:
        """Whether asking again later may help: something did not answer."""
        return self.status == 0 or self.status in {429, 502, 503, 504}

    def __str__(self) -> str:
        return self.message


def key_of(node_id: str, site: str | None) -> str:
    """Name a node or point in the page: by its id, and by its site where there are several."""
    return node_id if site is None else f"{node_id}{AT}{site}"


def id_of(key: str) -> str:
    """Give the id in a key of `key_of`."""
    return key.partition(AT)[0]


def site_of(key: str) -> str | None:
    """Give the site in a key of `key_of`, where it has one."""
    return key.partition(AT)[2] or None


def query_of(**params: str | None) -> str:
    """Give the query part of a path, with its question mark; parameters that are None are left out."""
    given = {name: value for name, value in params.items() if value is not None}
    return f"?{httpx.QueryParams(given)}" if given else ""


def point_path(key: str, rest: str = "", under: str = "/api/points") -> str:
    """Give the route of a point; ids contain `/`, which travels percent-encoded."""
    point_id, _, site = key.partition(AT)
    return f"{under}/{quote(point_id, safe='')}{rest}" + (f"?site={site}" if site else "")


class Session:
    """Ask the API with the user's token, and remember whether it answers."""

    def __init__(self, app: FastAPI, token: str, zone: str | None = None) -> None:
        """Talk to `app` in this process; `zone` is the browser's IANA time zone."""
        self.user: dict[str, Any] = {}
        self.zone: tzinfo = _zone(zone)
        self.away: str | None = None
        """Why the last request got no answer; none while the API answers."""
        self.unreachable: list[str] = []
        """Sites that the last list could not ask."""
        self.on_expired: Callable[[], None] = lambda: None
        self._client = httpx.AsyncClient(
            # A handler that breaks is a 500 here as it would be over the wire, not an exception of ours.
            transport=httpx.ASGITransport(app=app, raise_app_exceptions=False, client=PAGE),
            base_url="http://page.internal",
            headers={"Authorization": f"Bearer {token}"},
        )

    def may(self, permission: str) -> bool:
        """Tell whether the user holds a permission. The API decides again at every request."""
        return permission in (self.user.get("permissions") or [])

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.aclose()

    async def get(self, path: str, **params: Any) -> Any:
        """Ask for something; parameters that are None are left out. Raises ApiError."""
        given = {name: value for name, value in params.items() if value is not None}
        query = str(httpx.QueryParams(given))
        return await self._ask("GET", path + ("&" if "?" in path else "?") + query if query else path)

    async def post(self, path: str, body: dict[str, Any] | None = None, patience: float | None = None) -> Any:
        """Send something; `patience` in seconds. Raises ApiError; then nothing is known to have changed."""
        return await self._ask("POST", path, patience, json=body or {})

    async def put(self, path: str, body: Any, patience: float | None = None) -> Any:
        """Replace something; `patience` in seconds. Raises ApiError; then it is not known to have changed."""
        return await self._ask("PUT", path, patience, json=body)

    async def all(self, path: str, most: int = 20_000, **params: Any) -> list[dict[str, Any]]:
        """Ask for a whole list, page by page, up to `most` items. Raises ApiError."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            answer = await self.get(path, **({"limit": 1000} | params | {"cursor": cursor}))
            items += answer.get("items", [])
            cursor = answer.get("next_cursor")
            self.unreachable = answer.get("unreachable_sites") or []
            if not cursor or len(items) >= most:
                return items

    async def _ask(self, method: str, path: str, patience: float | None = None, **more: Any) -> Any:
        patience = PATIENCE if patience is None else patience
        try:
            answer = await asyncio.wait_for(self._client.request(method, path, **more), patience)
        except (TimeoutError, httpx.HTTPError) as error:
            self.away = (
                f"no answer within {patience:.0f} s" if isinstance(error, TimeoutError) else str(error)
            )
            raise ApiError(0, "no_answer", f"The server gave {self.away}") from error
        except ValueError as error:
            # Such as NaN, which Python takes for JSON, or half a character.
            raise ApiError(422, "unprocessable", f"That can't be sent: {error}"[:200]) from error
        if answer.is_success:
            self.away = None
            return answer.json() if answer.content else None
        failure = _failure(answer)
        if failure.status == 401:
            self.on_expired()
        elif method == "GET" and (failure.is_away or failure.status >= 500):
            self.away = failure.message
        raise failure


def _failure(answer: httpx.Response) -> ApiError:
    try:
        told = answer.json()["error"]
        return ApiError(
            answer.status_code, str(told["code"]), _sentence(str(told["message"])), told.get("detail")
        )
    except (ValueError, KeyError, TypeError):
        log.warning("%s %s answered %s", answer.request.method, answer.request.url.path, answer.status_code)
        return ApiError(answer.status_code, "internal", f"The server answered {answer.status_code}")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text else "The server gave no reason"


def _zone(name: str | None) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (ValueError, OSError, KeyError):
        return UTC


def names_of(sites: Sequence[str]) -> str:
    """Write a list of names as a sentence does: `north, south and east`."""
    return " and ".join([", ".join(sites[:-1]), sites[-1]] if len(sites) > 1 else list(sites))
