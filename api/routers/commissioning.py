"""Commissioning: sessions, their items, sign-off."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query

from actors.commissioning.models import (
    Check,
    Item,
    ItemKind,
    ItemState,
    MoreItems,
    NewSession,
    Result,
    Session,
    SessionChange,
    SessionState,
    SignOff,
    VerifyRequest,
)
from api.deps import (
    Actors,
    Campus,
    Commissioner,
    CurrentUser,
    Cursor,
    Limit,
    Page,
    SiteActors,
    SiteId,
    listed,
    site_with,
)

router = APIRouter(prefix="/api/commissioning", tags=["commissioning"])

ENGINE: Final = "commissioning_engine"
VERIFY_TIMEOUT: Final = 180.0
"""Seconds for several exchanges with a device that answers late."""

Id = Annotated[int, Path(ge=1, lt=2**63)]
NodeFilter = Annotated[str | None, Query(max_length=200)]


async def _site(campus: Campus, session_id: int, site: str | None) -> SiteActors:
    return await site_with(campus, "commissioning", "get", session_id, site)


async def _item_site(campus: Campus, item_id: int, site: str | None) -> SiteActors:
    return await site_with(campus, "commissioning", "item", item_id, site)


def _here(of: SiteActors, session: Session) -> Session:
    return session.model_copy(update={"site": of.id})


@router.get("/sessions")
async def sessions(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    state: SessionState | None = None,
    node_id: NodeFilter = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List sessions with their progress, newest first."""
    return await listed(campus.chosen(site), limit, cursor, "commissioning", "find", state, node_id)


@router.post("/sessions", status_code=201)
async def create(body: NewSession, user: Commissioner, campus: Actors, site: SiteId = None) -> Session:
    """Add a session for a device: items for what each point below it can do and has."""
    of = await campus.site_of(body.node_id, site)
    made: Session = await of.call(ENGINE, "create", body, user.username)
    await campus.log(
        user.username,
        "create_commission_session",
        f"commission_session:{made.id}",
        site=of.id,
        node_id=made.node_id,
        name=made.name,
        items=made.progress.total,
    )
    return _here(of, made)


@router.get("/sessions/{session_id}")
async def session(session_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None) -> Session:
    """Give one session with its progress."""
    of = await _site(campus, session_id, site)
    return _here(of, await of.call("commissioning", "get", session_id))


@router.put("/sessions/{session_id}")
async def update(
    session_id: Id, body: SessionChange, user: Commissioner, campus: Actors, site: SiteId = None
) -> Session:
    """Replace name and note of a session."""
    of = await _site(campus, session_id, site)
    done: Session = await of.call("commissioning", "update", session_id, body)
    await campus.log(
        user.username,
        "update_commission_session",
        f"commission_session:{session_id}",
        site=of.id,
        change=body.model_dump(mode="json"),
    )
    return _here(of, done)


@router.delete("/sessions/{session_id}", status_code=204)
async def delete(session_id: Id, user: Commissioner, campus: Actors, site: SiteId = None) -> None:
    """Delete a session that isn't signed off."""
    of = await _site(campus, session_id, site)
    before: Session = await of.call("commissioning", "get", session_id)
    await of.call("commissioning", "delete", session_id)
    await campus.log(
        user.username,
        "delete_commission_session",
        f"commission_session:{session_id}",
        site=of.id,
        session=before.model_dump(mode="json"),
    )


@router.post("/sessions/{session_id}/start")
async def start(session_id: Id, user: Commissioner, campus: Actors, site: SiteId = None) -> Session:
    """Begin a session; from then on its items take results."""
    of = await _site(campus, session_id, site)
    done: Session = await of.call("commissioning", "start", session_id, user.username)
    await campus.log(
        user.username, "start_commission_session", f"commission_session:{session_id}", site=of.id
    )
    return _here(of, done)


@router.post("/sessions/{session_id}/complete")
async def complete(session_id: Id, user: Commissioner, campus: Actors, site: SiteId = None) -> Session:
    """End a session whose items all have a result."""
    of = await _site(campus, session_id, site)
    done: Session = await of.call("commissioning", "complete", session_id, user.username)
    await campus.log(
        user.username, "complete_commission_session", f"commission_session:{session_id}", site=of.id
    )
    return _here(of, done)


@router.post("/sessions/{session_id}/sign-off")
async def sign_off(
    session_id: Id, body: SignOff, user: Commissioner, campus: Actors, site: SiteId = None
) -> Session:
    """Accept a completed session; nothing of it changes afterwards."""
    of = await _site(campus, session_id, site)
    done: Session = await of.call("commissioning", "sign_off", session_id, body, user.username)
    await campus.log(
        user.username,
        "sign_off_commission_session",
        f"commission_session:{session_id}",
        site=of.id,
        node_id=done.node_id,
        note=body.note,
        accepted_failures=done.accepted_failures,
    )
    return _here(of, done)


@router.get("/sessions/{session_id}/items")
async def items(
    session_id: Id,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    state: ItemState | None = None,
    kind: ItemKind | None = None,
    node_id: NodeFilter = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List the items of a session."""
    of = await _site(campus, session_id, site)
    return await listed([of], limit, cursor, "commissioning", "items", session_id, state, kind, node_id)


@router.post("/sessions/{session_id}/items")
async def add_items(
    session_id: Id, user: Commissioner, campus: Actors, body: MoreItems | None = None, site: SiteId = None
) -> Session:
    """Add the items that have become necessary since, such as for new points and alarms."""
    of = await _site(campus, session_id, site)
    before: Session = await of.call("commissioning", "get", session_id)
    after: Session = await of.call(ENGINE, "add_items", session_id, body or MoreItems())
    await campus.log(
        user.username,
        "add_commission_items",
        f"commission_session:{session_id}",
        site=of.id,
        added=after.progress.total - before.progress.total,
    )
    return _here(of, after)


@router.get("/items/{item_id}")
async def item(item_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None) -> Item:
    """Give one item."""
    of = await _item_site(campus, item_id, site)
    found: Item = await of.call("commissioning", "item", item_id)
    return found.model_copy(update={"site": of.id})


@router.put("/items/{item_id}")
async def set_result(
    item_id: Id, body: Result, user: Commissioner, campus: Actors, site: SiteId = None
) -> Item:
    """Say what came of an item."""
    of = await _item_site(campus, item_id, site)
    done: Item = await of.call("commissioning", "set_result", item_id, body, user.username)
    await campus.log(
        user.username,
        "set_commission_result",
        f"commission_item:{item_id}",
        site=of.id,
        session_id=done.session_id,
        node_id=done.node_id,
        kind=done.kind.value,
        state=done.state.value,
        note=done.note,
    )
    return done.model_copy(update={"site": of.id})


@router.post("/items/{item_id}/verify")
async def verify(
    item_id: Id,
    user: Commissioner,
    campus: Actors,
    body: VerifyRequest | None = None,
    site: SiteId = None,
) -> Check:
    """Verify an item against the live device, and keep what came of it as its result.

    A write item writes at a priority, reads back, and gives the point back, whatever went wrong.
    """
    of = await _item_site(campus, item_id, site)
    request = body or VerifyRequest()
    done: Check = await of.call(ENGINE, "verify", item_id, request, user.username, timeout=VERIFY_TIMEOUT)
    await campus.log(
        user.username,
        "verify_commission_item",
        f"commission_item:{item_id}",
        site=of.id,
        state=done.state.value,
        summary=done.summary,
        request=request.model_dump(mode="json", exclude_defaults=True),
    )
    return done


@router.get("/items/{item_id}/checks")
async def checks(
    item_id: Id,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List the verifications of an item, newest first: what was done, by whom, when, with which values."""
    of = await _item_site(campus, item_id, site)
    return await listed([of], limit, cursor, "commissioning", "checks", item_id)
