"""What routes depend on: the actors, the user and what the user may do, lists over all sites."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Query, Request
from pydantic import BaseModel

from actors.audit.trail import Trail
from actors.core.errors import (
    BadInputError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    NotStandingInError,
    UnreachableError,
)
from actors.core.remote import answered
from actors.core.store import MAX_PAGE
from actors.node.models import Node
from actors.user.models import Permission, User
from api.places import Places
from api.standin import NAME as STAND_IN

CALL_TIMEOUT: Final = 10.0
REMEMBERED: Final = 2.0
"""Seconds for which a token that was found good isn't asked about again."""
AT_ONCE: Final = 32
"""Sites that are asked at once for a part of a list."""

log = logging.getLogger(__name__)

T = TypeVar("T")


async def ask(name: str, handle: Any, method: str, *args: Any, timeout: float = CALL_TIMEOUT) -> Any:
    """Call an actor. Raises what it raises, and UnreachableError when it gives no answer."""
    return await answered(name, getattr(handle, method).remote(*args), timeout)


@dataclass
class SiteActors:
    """The handles of one site's actors."""

    id: str
    name: str
    bus: Any
    points: Any
    nodes: Any
    history: Any
    alarms: Any
    overrides: Any
    commands: Any
    stores: dict[str, Any] = field(default_factory=dict)
    """The other stores, by the names of `api.stores.SITE_STORES`."""
    bridges: dict[str, Any] = field(default_factory=dict)
    engines: dict[str, Any] = field(default_factory=dict)
    away: str | None = None
    """Why the site can't be reached now; see `api.federation`."""
    host: str | None = None
    last_contact: int | None = None
    """When the site last answered (ms); None for one that this process raised itself."""
    clock_skew: int | None = None
    """How far its host's clock was ahead of ours then (ms; negative: behind)."""
    stood_in: frozenset[str] = frozenset()
    """Actors whose calls the site's stand-in answers: they died while the site was away (`api.standin`)."""
    asleep: dict[str, asyncio.Event] = field(default_factory=dict)
    """Actors of a site that has just come back to which Ray has no connection yet; set once it has."""
    visits: int = 0
    """How often it has come, for the first time or back."""
    _left: asyncio.Event = field(default_factory=asyncio.Event)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    def leave(self, reason: str) -> None:
        """Say that the site is away: calls that wait for it end now."""
        self.away = reason
        self._came.clear()
        self._left.set()

    def come(self, at: int, host: str, clock_skew: int | None = None) -> None:
        """Say that the site has answered at a time (ms)."""
        self.visits += self.away is not None
        self.away, self.last_contact, self.host, self.clock_skew = None, at, host, clock_skew
        self._left.clear()
        self._came.set()

    async def back(self) -> None:
        """Wait until the site can be reached."""
        if self.away is not None:
            await self._came.wait()

    async def call(
        self, actor: str, method: str, *args: Any, timeout: float = CALL_TIMEOUT, **more: Any
    ) -> Any:
        """Call one of them by its name, such as `history`.

        Raises what it raises, and UnreachableError: at once while the site is away.
        """
        name = f"{actor}@{self.id}"
        if self.away is not None:
            raise UnreachableError(f"site {self.id}", self.away)
        handle = self.actors().get(actor)
        if handle is None:
            raise UnreachableError(name, "it is not running")
        if self.last_contact is None:
            return await ask(name, handle, method, *args, timeout=timeout)
        calling = asyncio.ensure_future(self._once_awake(actor, method, args, timeout))
        leaving = asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait({calling, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not calling.done():
                raise UnreachableError(f"site {self.id}", self.away or "it went away")
            return calling.result()
        finally:
            calling.cancel()
            leaving.cancel()

    async def _once_awake(self, actor: str, method: str, args: tuple[Any, ...], timeout: float) -> Any:
        name = f"{actor}@{self.id}"
        waking = self.asleep.get(actor)
        if waking is not None:
            began = time.monotonic()
            try:
                async with asyncio.timeout(timeout):
                    await waking.wait()
            except TimeoutError as error:
                raise UnreachableError(name, f"no answer within {timeout:g} s") from error
            timeout -= time.monotonic() - began
        if actor in self.stood_in:
            # It may have come back since it was looked: then the call was not made, and is made there.
            with contextlib.suppress(NotStandingInError):
                stand_in = self.engines[STAND_IN]
                return await ask(name, stand_in, "call", actor, method, args, {}, timeout=timeout)
        return await ask(name, self.actors()[actor], method, *args, timeout=timeout)

    def actors(self) -> dict[str, Any]:
        """Give all of them by name."""
        stores = {
            name: getattr(self, name)
            for name in ("bus", "points", "nodes", "history", "alarms", "overrides", "commands")
        }
        return stores | self.stores | self.bridges | self.engines


@dataclass
class Campus:
    """The handles of all actors."""

    name: str
    version: str
    sites: dict[str, SiteActors]
    users: Any
    audit: Any
    bus: Any
    stores: dict[str, Any] = field(default_factory=dict)
    """The other campus stores, by the names of `api.stores.CAMPUS_STORES`."""
    engines: dict[str, Any] = field(default_factory=dict)
    known: dict[str, tuple[float, User]] = field(default_factory=dict)
    """Tokens that were found good a moment ago."""
    nodes: Callable[[], list[Any]] = list
    """What lists Ray's nodes; see `api.hosts`."""
    audit_queue: Path | None = None
    """The file of what waits for the audit log."""

    async def call(
        self, actor: str, method: str, *args: Any, timeout: float = CALL_TIMEOUT, **more: Any
    ) -> Any:
        """Call one of the campus actors."""
        return await ask(f"{actor}@campus", self.actors()[actor], method, *args, timeout=timeout)

    def actors(self) -> dict[str, Any]:
        """Give the campus actors by name."""
        return {"bus": self.bus, "users": self.users, "audit": self.audit} | self.stores | self.engines

    def site(self, site_id: str) -> SiteActors:
        """Give a site. Raises NotFoundError."""
        if site_id not in self.sites:
            raise NotFoundError("site", site_id)
        return self.sites[site_id]

    def chosen(self, site_id: str | None) -> list[SiteActors]:
        """Give one site, or all. Raises NotFoundError."""
        return [self.site(site_id)] if site_id is not None else list(self.sites.values())

    async def user_of(self, token: str) -> User:
        """Give whose token this is. Raises NotAuthenticatedError and UnreachableError."""
        now = time.monotonic()
        at, user = self.known.get(token, (-REMEMBERED, None))
        if user is not None and now - at < REMEMBERED:
            return user
        found: User = await self.call("users", "authenticate", token)
        if len(self.known) > 1000:
            self.known.clear()
        self.known[token] = (now, found)
        return found

    def __post_init__(self) -> None:
        self.trail = Trail(lambda *entry: self.call("audit", "add", *entry), queue_file=self.audit_queue)
        self.places = Places()

    async def log(self, user: str, action: str, target: str, **detail: Any) -> None:
        """Write to the audit log, when it is away as soon as it is back (see Trail)."""
        await self.trail.add(user, action, target, detail)

    def log_later(self, user: str, action: str, target: str, **detail: Any) -> None:
        """Write to the audit log without waiting for it (see Trail)."""
        self.trail.later(user, action, target, detail)

    async def site_of(self, node_id: str, site_id: str | None = None) -> SiteActors:
        """Find a node's site; see `find_node`."""
        return (await self.find_node(node_id, site_id))[0]

    async def find_node(self, node_id: str, site_id: str | None = None) -> tuple[SiteActors, Node]:
        """Find a node, at the site where it was found before or else at any.

        Raises NotFoundError, UnreachableError when it may be on one that is away, and BadInputError with the
        choices when several sites have a node of this id.
        """
        if site_id is not None or len(self.sites) == 1:
            of, node, _ = await _knowing(self.chosen(site_id), "nodes", "get", node_id, "node")
            return of, node
        visits = sum(each.visits for each in self.sites.values())
        remembered = self.places.site(node_id, visits)
        if remembered is not None:
            of = self.sites[remembered]
            try:
                return of, await of.call("nodes", "get", node_id)
            except NotFoundError:
                self.places.forget(node_id)
        mark, sites = self.places.asking(visits), list(self.sites.values())
        of, node, certain = await _knowing(sites, "nodes", "get", node_id, "node")
        if certain:
            self.places.keep(node_id, of.id, mark)
        return of, node


async def _knowing(
    sites: Sequence[SiteActors], actor: str, method: str, key: Any, kind: str
) -> tuple[SiteActors, Any, bool]:
    """Ask all sites at once whose `actor` knows `key` by `method`; give the one that does, with its answer.

    Also tell whether that is certain until a site comes: not when one gave no answer that isn't known to be
    away.
    """
    asked = [site.call(actor, method, key) for site in sites]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    found: list[tuple[SiteActors, Any]] = []
    away: UnreachableError | None = None
    certain = True
    for site, answer in zip(sites, answers, strict=True):
        if isinstance(answer, UnreachableError):
            away, certain = answer, certain and site.away is not None
        elif isinstance(answer, BaseException):
            if not isinstance(answer, NotFoundError):
                raise answer
        else:
            found.append((site, answer))
    if len(found) > 1:
        choices = ", ".join(of.id for of, _ in found)
        raise BadInputError("site", None, f"one of {choices}: each has a {kind} {key!r}")
    if not found:
        raise away or NotFoundError(kind, key)
    return *found[0], certain


def get_campus(request: Request) -> Campus:
    """Give the actors of this application."""
    campus: Campus = request.app.state.campus
    return campus


Actors = Annotated[Campus, Depends(get_campus)]


def bearer(request: Request) -> str:
    """Give the token of the Authorization header (RFC 6750). Raises NotAuthenticatedError."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise NotAuthenticatedError("log in and send the token as Authorization: Bearer ...")
    return token.strip()


Token = Annotated[str, Depends(bearer)]


async def current_user(token: Token, campus: Actors, request: Request) -> User:
    """Give who asks. Reading needs no more than this."""
    user = await campus.user_of(token)
    request.state.user = user
    return user


CurrentUser = Annotated[User, Depends(current_user)]


def needs(permission: Permission) -> Callable[..., Awaitable[User]]:
    """Make a dependency that lets only those pass who hold a permission."""

    async def allowed(user: CurrentUser) -> User:
        if permission not in user.permissions:
            raise NotAllowedError(permission.value)
        return user

    allowed.permission = permission  # type: ignore[attr-defined]
    return allowed


Writer = Annotated[User, Depends(needs(Permission.WRITE_POINTS))]
Acknowledger = Annotated[User, Depends(needs(Permission.ACKNOWLEDGE_ALARMS))]
Shelver = Annotated[User, Depends(needs(Permission.SHELVE_ALARMS))]
AlarmEditor = Annotated[User, Depends(needs(Permission.MANAGE_NOTIFICATIONS))]
NodeEditor = Annotated[User, Depends(needs(Permission.MANAGE_DISCOVERY))]
VirtualEditor = Annotated[User, Depends(needs(Permission.MANAGE_VIRTUAL_POINTS))]
UserEditor = Annotated[User, Depends(needs(Permission.MANAGE_USERS))]
Auditor = Annotated[User, Depends(needs(Permission.VIEW_AUDIT))]
Scheduler = Annotated[User, Depends(needs(Permission.MANAGE_SCHEDULES))]
Discoverer = Annotated[User, Depends(needs(Permission.MANAGE_DISCOVERY))]
Programmer = Annotated[User, Depends(needs(Permission.MANAGE_PROGRAMS))]
Commissioner = Annotated[User, Depends(needs(Permission.MANAGE_COMMISSIONING))]
Notifier = Annotated[User, Depends(needs(Permission.MANAGE_NOTIFICATIONS))]
MqttEditor = Annotated[User, Depends(needs(Permission.MANAGE_MQTT))]
Reporter = Annotated[User, Depends(needs(Permission.MANAGE_REPORTS))]
EnergyEditor = Annotated[User, Depends(needs(Permission.MANAGE_ENERGY))]
WebhookEditor = Annotated[User, Depends(needs(Permission.MANAGE_WEBHOOKS))]
FddEditor = Annotated[User, Depends(needs(Permission.MANAGE_FDD))]
Exporter = Annotated[User, Depends(needs(Permission.MANAGE_EXPORT))]

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most items of one answer.")]
Cursor = Annotated[str | None, Query(max_length=500, description="The next_cursor of the answer before.")]
Tags = Annotated[str | None, Query(max_length=500, description="Tags, with commas; `-tag`: without.")]
SiteId = Annotated[str | None, Query(alias="site", max_length=64, description="Only this site.")]


def one_site(campus: Campus, site_id: str | None = None) -> SiteActors:
    """Give the site that a new record is for. Raises NotFoundError, BadInputError where it must be named."""
    sites = campus.chosen(site_id)
    if len(sites) != 1:
        raise BadInputError("site", site_id, f"one of {', '.join(each.id for each in sites)}")
    return sites[0]


async def site_with(
    campus: Campus, actor: str, method: str, key: Any, site_id: str | None = None
) -> SiteActors:
    """Find the site whose `actor` knows `key` by `method`; without `site_id` it must be one site alone.

    Raises NotFoundError, BadInputError with the choices where several know it, and UnreachableError when none
    does and one can't be asked.
    """
    if site_id is not None or len(campus.sites) == 1:
        return campus.chosen(site_id)[0]
    of, _, _ = await _knowing(list(campus.sites.values()), actor, method, key, actor)
    return of


async def site_with_bridge(
    campus: Campus, bridge: str, method: str, key: str, kind: str, site_id: str | None = None
) -> SiteActors:
    """Find the site whose bridge of a protocol knows `key` by `method`; without `site_id` it must be one.

    Raises NotFoundError, BadInputError with the choices where several know it, and UnreachableError when none
    does and one can't be asked.
    """
    sites = [of for of in campus.chosen(site_id) if bridge in of.bridges]
    return (await _knowing(sites, bridge, method, key, kind))[0]


class Page(BaseModel):
    """A list, or a part of one."""

    items: list[Any]
    next_cursor: str | None = None
    unreachable_sites: list[str] = []


def paged(
    items: Sequence[Any], limit: int, cursor: str | None, key: Callable[[Any], str], away: Iterable[str] = ()
) -> Page:
    """Give a part of a short list that was read whole, in order of `key`, which no two items share."""
    ordered = sorted(items, key=key)
    rest = [each for each in ordered if cursor is None or key(each) > cursor]
    shown = [each if isinstance(each, dict) else each.model_dump(mode="json") for each in rest[:limit]]
    following = key(rest[limit - 1]) if len(rest) > limit else None
    return Page(items=shown, next_cursor=following, unreachable_sites=sorted(away))


def in_order(number: int) -> str:
    """Write a number so that texts are in its order."""
    return f"{number:019d}"


async def from_sites(
    sites: Sequence[SiteActors], actor: str, method: str, *args: Any
) -> tuple[list[Any], list[str]]:
    """Ask an actor of each site the same, all at once; give the answers, and who can't be reached.

    Raises UnreachableError when no site answers.
    """
    found = await asyncio.gather(*(of.call(actor, method, *args) for of in sites), return_exceptions=True)
    away = [of.id for of, each in zip(sites, found, strict=True) if isinstance(each, UnreachableError)]
    for each in found:
        if isinstance(each, BaseException) and (
            len(away) == len(sites) or not isinstance(each, UnreachableError)
        ):
            raise each
    return [each for each in found if not isinstance(each, BaseException)], away


Part = tuple[Sequence[Any], str | None]


async def over_sites(
    sites: list[SiteActors],
    limit: int,
    cursor: str | None,
    read: Callable[[SiteActors, int, str | None], Awaitable[Part]],
) -> Page:
    """Read a list that goes over several sites, in their order; say which can't be reached.

    `read(site, limit, cursor)` gives a part of one site's list. The first site is asked alone, since it may
    fill the page; then ever more are asked at once. Raises BadInputError for a wrong cursor.
    """
    start, inner = 0, None
    if cursor is not None:
        at, mark, inner = cursor.partition("~")
        start = next((n for n, site in enumerate(sites) if mark and site.id == at), -1)
        if start < 0:
            raise BadInputError("cursor", cursor, "the next_cursor of an earlier answer")
    items: list[Any] = []
    away: list[str] = []
    at_once = 1
    while start < len(sites):
        asked = sites[start : start + at_once]
        room = limit - len(items)
        parts = await asyncio.gather(*(_part(read, site, room, inner or None) for site in asked))
        for number, (site, read_ahead) in enumerate(zip(asked, parts, strict=True), start):
            part, room = read_ahead, limit - len(items)
            if part is not None and len(part[0]) > room:
                part = await _part(read, site, room, None)
            if part is None:
                away.append(site.id)
                continue
            items += [each if isinstance(each, dict) else each.model_dump(mode="json") for each in part[0]]
            if part[1] is not None:
                return Page(items=items, next_cursor=f"{site.id}~{part[1]}", unreachable_sites=away)
            if len(items) >= limit and number + 1 < len(sites):
                return Page(items=items, next_cursor=f"{sites[number + 1].id}~", unreachable_sites=away)
        start, inner, at_once = start + at_once, None, min(2 * at_once, AT_ONCE)
    return Page(items=items, unreachable_sites=away)


async def listed(
    sites: list[SiteActors], limit: int, cursor: str | None, actor: str, method: str, *asked: Any
) -> Page:
    """Read a list of records over several sites by `method(*asked, limit, cursor)`, each with its site.

    As of `over_sites`.
    """

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        found, following = await of.call(actor, method, *asked, most, after)
        return [each.model_dump(mode="json") | {"site": of.id} for each in found], following

    return await over_sites(sites, limit, cursor, read)


async def _part(
    read: Callable[[SiteActors, int, str | None], Awaitable[Part]],
    site: SiteActors,
    limit: int,
    cursor: str | None,
) -> Part | None:
    """Read a part of one site's list; None when the site can't be reached."""
    try:
        return await read(site, limit, cursor)
    except UnreachableError:
        return None
