"""Who is told of which alarms, what is shelved, and what was sent."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from actors.notification.models import (
    NewRecipient,
    NewRule,
    NewShelving,
    NoticeState,
    Recipient,
    RecipientKind,
    Rule,
    Shelving,
)
from api.deps import Actors, CurrentUser, Cursor, Limit, Notifier, Page, Shelver, SiteId

router = APIRouter(prefix="/api/notifications", tags=["notifications"])

Id = Annotated[int, Path(ge=1, lt=2**63)]
IdFilter = Annotated[int | None, Query(ge=1, lt=2**63)]


@router.get("/recipients")
async def recipients(
    user: CurrentUser,
    campus: Actors,
    kind: RecipientKind | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List recipients."""
    found, following = await campus.call("notifications", "recipients", kind, limit, cursor)
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)


@router.post("/recipients", status_code=201)
async def create_recipient(body: NewRecipient, user: Notifier, campus: Actors) -> Recipient:
    """Add a recipient."""
    made: Recipient = await campus.call("notifications", "create_recipient", body)
    await campus.log(
        user.username, "create_recipient", f"recipient:{made.id}", recipient=made.model_dump(mode="json")
    )
    return made


@router.get("/recipients/{recipient_id}")
async def recipient(recipient_id: Id, user: CurrentUser, campus: Actors) -> Recipient:
    """Give one recipient."""
    found: Recipient = await campus.call("notifications", "recipient", recipient_id)
    return found


@router.put("/recipients/{recipient_id}")
async def update_recipient(recipient_id: Id, body: NewRecipient, user: Notifier, campus: Actors) -> Recipient:
    """Replace a recipient."""
    before: Recipient = await campus.call("notifications", "recipient", recipient_id)
    after: Recipient = await campus.call("notifications", "update_recipient", recipient_id, body)
    await campus.log(
        user.username,
        "update_recipient",
        f"recipient:{recipient_id}",
        before=before.model_dump(mode="json"),
        after=after.model_dump(mode="json"),
    )
    return after


@router.delete("/recipients/{recipient_id}", status_code=204)
async def delete_recipient(recipient_id: Id, user: Notifier, campus: Actors) -> None:
    """Delete a recipient that no rule names."""
    gone: Recipient = await campus.call("notifications", "delete_recipient", recipient_id)
    await campus.log(user.username, "delete_recipient", f"recipient:{recipient_id}", name=gone.name)


@router.get("/rules")
async def rules(
    user: CurrentUser, campus: Actors, site: SiteId = None, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """List routing rules; with `site` those that its alarms go through."""
    campus.chosen(site)
    found, following = await campus.call("notifications", "rules", limit, cursor, site)
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)


@router.post("/rules", status_code=201)
async def create_rule(body: NewRule, user: Notifier, campus: Actors) -> Rule:
    """Add a routing rule."""
    made: Rule = await campus.call("notifications", "create_rule", body)
    await campus.log(
        user.username, "create_routing_rule", f"rule:{made.id}", rule=made.model_dump(mode="json")
    )
    return made


@router.get("/rules/{rule_id}")
async def rule(rule_id: Id, user: CurrentUser, campus: Actors) -> Rule:
    """Give one routing rule."""
    found: Rule = await campus.call("notifications", "rule", rule_id)
    return found


@router.put("/rules/{rule_id}")
async def update_rule(rule_id: Id, body: NewRule, user: Notifier, campus: Actors) -> Rule:
    """Replace a routing rule."""
    before: Rule = await campus.call("notifications", "rule", rule_id)
    after: Rule = await campus.call("notifications", "update_rule", rule_id, body)
    await campus.log(
        user.username,
        "update_routing_rule",
        f"rule:{rule_id}",
        before=before.model_dump(mode="json"),
        after=after.model_dump(mode="json"),
    )
    return after


@router.delete("/rules/{rule_id}", status_code=204)
async def delete_rule(rule_id: Id, user: Notifier, campus: Actors) -> None:
    """Delete a routing rule."""
    gone: Rule = await campus.call("notifications", "delete_rule", rule_id)
    await campus.log(user.username, "delete_routing_rule", f"rule:{rule_id}", name=gone.name)


@router.get("/shelvings")
async def shelvings(
    user: CurrentUser, campus: Actors, site: SiteId = None, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """List shelvings that stand; with `site` those that its alarms fall under."""
    campus.chosen(site)
    found, following = await campus.call("notifications", "shelvings", limit, cursor, site)
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)


@router.post("/shelvings", status_code=201)
async def shelve(body: NewShelving, user: Shelver, campus: Actors) -> Shelving:
    """Keep alarms of a site, a node or a tag quiet for a while."""
    made: Shelving = await campus.call("notifications", "shelve", body, user.username)
    await campus.log(
        user.username, "shelve_alarms", f"shelving:{made.id}", shelving=made.model_dump(mode="json")
    )
    return made


@router.delete("/shelvings/{shelving_id}", status_code=204)
async def unshelve(shelving_id: Id, user: Shelver, campus: Actors) -> None:
    """End a shelving before its time."""
    gone: Shelving = await campus.call("notifications", "unshelve", shelving_id)
    await campus.log(
        user.username, "unshelve_alarms", f"shelving:{shelving_id}", shelving=gone.model_dump(mode="json")
    )


@router.get("/log")
async def log(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    alarm_id: IdFilter = None,
    recipient_id: IdFilter = None,
    state: NoticeState | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List notifications, newest first, also of sites that are no more."""
    found, following = await campus.call(
        "notifications", "log", site, alarm_id, recipient_id, state, limit, cursor
    )
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)
