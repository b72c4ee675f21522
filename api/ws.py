"""`/ws`: events as they happen, filtered by node, subtree and type."""

import asyncio
import contextlib
import json
import logging
from collections import deque
from typing import Any, Final

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from actors.bus.client import Delivery
from actors.bus.events import EVENT_TYPES
from actors.core.errors import NotFoundError, OpenCrateError
from api.deps import Campus, SiteActors
from api.following import follow_site

log = logging.getLogger(__name__)

router = APIRouter()

WAITING: Final = 4096
"""Events that wait for one connection before the oldest are dropped."""
CONNECTIONS: Final = 200
LOGIN_TIME: Final = 10.0
NEW_SITES: Final = 1.0
"""Seconds within which a site that joined is followed."""
CHECK: Final = 30.0
"""Seconds after which a connection's token is looked at again."""


class Subscribe(BaseModel):
    """What a connection wants to hear of; what is left out isn't filtered."""

    model_config = ConfigDict(extra="forbid")

    type: str = "subscribe"
    types: list[str] | None = Field(default=None, max_length=50)
    nodes: list[str] | None = Field(default=None, max_length=5000)
    subtree: str | None = Field(default=None, max_length=200)
    site: str | None = None


class Connection:
    """One WebSocket: its filter and what waits for it."""

    def __init__(self) -> None:
        """Hear nothing before the first subscription."""
        self.types: frozenset[str] | None = frozenset()
        self.nodes: frozenset[str] | None = None
        self.site: str | None = None
        self.waiting: deque[str] = deque()
        self.lost = 0
        self.woken = asyncio.Event()

    def offer(self, site: str, kind: str, node_id: str | None, text: str) -> None:
        """Queue an event if it fits the filter; drop the oldest when too many wait."""
        if self.types is not None and kind not in self.types:
            return
        if self.site is not None and site != self.site:
            return
        if self.nodes is not None and node_id not in self.nodes:
            return
        if len(self.waiting) >= WAITING:
            self.waiting.popleft()
            self.lost += 1
        self.waiting.append(text)
        self.woken.set()

    def lose(self, count: int) -> None:
        """Note that the bus has lost events."""
        self.lost += count
        self.woken.set()


class Hub:
    """Follow every site's bus once and hand its events to all connections."""

    def __init__(self, campus: Campus) -> None:
        """Follow nothing before the first connection."""
        self._campus = campus
        self._connections: set[Connection] = set()
        self._following: dict[str, asyncio.Task[None]] = {}
        self._watching: asyncio.Task[None] | None = None

    def join(self, connection: Connection) -> bool:
        """Take a connection, if there aren't too many."""
        if len(self._connections) >= CONNECTIONS:
            return False
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        self._connections.add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    async def close(self) -> None:
        """Stop following."""
        tasks = [*self._following.values(), *([self._watching] if self._watching else [])]
        self._following, self._watching = {}, None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        """Follow each site, also those that join later."""
        while True:
            for site in self._campus.sites.values():
                if site.id not in self._following:
                    self._following[site.id] = asyncio.create_task(self._follow(site))
            await asyncio.sleep(NEW_SITES)

    async def _follow(self, site: SiteActors) -> None:
        async for delivery in follow_site(site, "websocket"):
            try:
                self._hand_out(site.id, delivery)
            except Exception:
                log.exception("a delivery of %s could not be handed out", site.id)

    def _hand_out(self, site: str, delivery: Delivery) -> None:
        if delivery.lost:
            for connection in self._connections:
                connection.lose(delivery.lost)
        if not self._connections:
            return
        for event in delivery.events():
            node_id = getattr(event, "node_id", None) or getattr(event, "entity_id", None)
            text = event.model_dump_json()
            for connection in self._connections:
                connection.offer(site, event.type, node_id, text)


async def _token(socket: WebSocket) -> str:
    """Give the token: from the header, or from the first message `{"type": "auth", "token": ...}`."""
    kind, _, token = socket.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token:
        return token.strip()
    try:
        message = json.loads(await asyncio.wait_for(socket.receive_text(), LOGIN_TIME))
    except (ValueError, TimeoutError, KeyError):
        return ""
    given = message.get("token") if isinstance(message, dict) else None
    return given if isinstance(given, str) else ""


async def _apply(campus: Campus, connection: Connection, text: str) -> dict[str, Any]:
    """Take a message of the client; give the answer."""
    try:
        wish = Subscribe.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "message"
        return {"type": "error", "message": f"{field}: {first['msg']}"}
    unknown = sorted(set(wish.types or []) - set(EVENT_TYPES))
    if wish.type != "subscribe" or unknown:
        wrong = f"unknown event types {unknown}" if unknown else f"unknown message {wish.type!r}"
        return {"type": "error", "message": f"{wrong}; event types: {', '.join(EVENT_TYPES)}"}
    nodes = None if wish.nodes is None else set(wish.nodes)
    if wish.subtree is not None:
        try:
            of = await campus.site_of(wish.subtree, wish.site)
            below = {node.id for node in await of.call("nodes", "subtree", wish.subtree)}
        except NotFoundError as error:
            return {"type": "error", "message": str(error)}
        except OpenCrateError as error:
            return {"type": "error", "message": str(error)}
        nodes = below if nodes is None else nodes | below
    connection.types = None if wish.types is None else frozenset(wish.types)
    connection.nodes = None if nodes is None else frozenset(nodes)
    connection.site = wish.site
    return {"type": "subscribed", "types": wish.types, "nodes": None if nodes is None else len(nodes)}


@router.websocket("/ws")
async def events(socket: WebSocket) -> None:
    """Send events as JSON, one per message; `{"type": "lagged", "lost": n}` where some are missing."""
    campus: Campus = socket.app.state.campus
    hub: Hub = socket.app.state.hub
    await socket.accept()
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        token = await _token(socket)
        try:
            user = await campus.user_of(token)
        except OpenCrateError as error:
            await socket.send_json({"type": "error", "message": str(error)})
            await socket.close(4401, "not authenticated")
            return
        connection = Connection()
        if not hub.join(connection):
            await socket.close(1013, "too many connections")
            return
        tasks: list[asyncio.Task[None]] = []
        try:
            await socket.send_json({"type": "ready", "user": user.username})
            tasks = [
                asyncio.create_task(each)
                for each in (
                    _listen(socket, campus, connection),
                    _speak(socket, connection),
                    _check(socket, campus, token),
                )
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hub.leave(connection)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(socket: WebSocket, campus: Campus, connection: Connection) -> None:
    while True:
        try:
            text = await socket.receive_text()
        except KeyError:  # binary
            await socket.send_json({"type": "error", "message": "messages are JSON texts"})
            continue
        await socket.send_json(await _apply(campus, connection, text))


async def _speak(socket: WebSocket, connection: Connection) -> None:
    while True:
        await connection.woken.wait()
        connection.woken.clear()
        if connection.lost:
            lost, connection.lost = connection.lost, 0
            await socket.send_json({"type": "lagged", "lost": lost})
        while connection.waiting:
            await socket.send_text(connection.waiting.popleft())


async def _check(socket: WebSocket, campus: Campus, token: str) -> None:
    """End the connection when its token no longer holds."""
    while True:
        await asyncio.sleep(CHECK)
        try:
            await campus.user_of(token)
        except OpenCrateError as error:
            if type(error).__name__.startswith("NotAuthenticated"):
                await socket.close(4401, "the token no longer holds")
                return
