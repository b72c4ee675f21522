"""Webhooks: endpoints, what holds for all of them, and deliveries."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from actors.webhook.models import (
    Delivery,
    DeliveryState,
    Endpoint,
    EndpointKind,
    EventName,
    NewEndpoint,
    WebhookConfig,
)
from api.deps import Actors, CurrentUser, Cursor, Limit, Page, SiteId, WebhookEditor

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])

Id = Annotated[int, Path(ge=1, lt=2**63)]


def _plain(body: NewEndpoint) -> dict[str, Any]:
    return body.model_dump(mode="json", exclude={"secret"})


@router.get("")
async def endpoints(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    kind: EndpointKind | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List endpoints; with `site` those that get its events."""
    campus.chosen(site)
    found, following = await campus.call("webhooks", "find", kind, limit, cursor, site)
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)


@router.post("", status_code=201)
async def create(body: NewEndpoint, user: WebhookEditor, campus: Actors) -> Endpoint:
    """Add an endpoint."""
    made: Endpoint = await campus.call("webhooks", "create", body)
    await campus.log(user.username, "create_webhook", f"webhook:{made.id}", settings=_plain(body))
    return made


@router.get("/config")
async def config(user: CurrentUser, campus: Actors) -> WebhookConfig:
    """Give what holds for all endpoints."""
    found: WebhookConfig = await campus.call("webhooks", "config")
    return found


@router.put("/config")
async def set_config(body: WebhookConfig, user: WebhookEditor, campus: Actors) -> WebhookConfig:
    """Replace what holds for all endpoints; `paused` stops all of them."""
    before: WebhookConfig = await campus.call("webhooks", "config")
    after: WebhookConfig = await campus.call("webhooks", "set_config", body)
    await campus.log(
        user.username,
        "configure_webhooks",
        "webhooks",
        before=before.model_dump(mode="json"),
        after=after.model_dump(mode="json"),
    )
    return after


@router.get("/deliveries")
async def deliveries(
    user: CurrentUser,
    campus: Actors,
    endpoint_id: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    state: DeliveryState | None = None,
    event_type: EventName | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List deliveries, newest first."""
    found, following = await campus.call(
        "webhooks", "deliveries", endpoint_id, state, event_type, limit, cursor
    )
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)


@router.post("/deliveries/{delivery_id}/redeliver")
async def redeliver(delivery_id: Id, user: WebhookEditor, campus: Actors) -> Delivery:
    """Try a delivery that is over again."""
    done: Delivery = await campus.call("webhooks", "redeliver", delivery_id)
    await campus.log(user.username, "redeliver_webhook", f"webhook:{done.endpoint_id}", delivery=delivery_id)
    return done


@router.get("/{endpoint_id}")
async def endpoint(endpoint_id: Id, user: CurrentUser, campus: Actors) -> Endpoint:
    """Give one endpoint."""
    found: Endpoint = await campus.call("webhooks", "get", endpoint_id)
    return found


@router.put("/{endpoint_id}")
async def update(endpoint_id: Id, body: NewEndpoint, user: WebhookEditor, campus: Actors) -> Endpoint:
    """Replace an endpoint; a secret that is left out stays."""
    changed: Endpoint = await campus.call("webhooks", "update", endpoint_id, body)
    await campus.log(
        user.username,
        "update_webhook",
        f"webhook:{endpoint_id}",
        settings=_plain(body),
        new_secret=body.secret is not None,
    )
    return changed


@router.delete("/{endpoint_id}", status_code=204)
async def delete(endpoint_id: Id, user: WebhookEditor, campus: Actors) -> None:
    """Delete an endpoint with its deliveries."""
    gone: Endpoint = await campus.call("webhooks", "delete", endpoint_id)
    await campus.log(user.username, "delete_webhook", f"webhook:{endpoint_id}", name=gone.name)


@router.get("/{endpoint_id}/deliveries")
async def deliveries_of(
    endpoint_id: Id, user: CurrentUser, campus: Actors, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """List the deliveries of an endpoint, newest first."""
    await campus.call("webhooks", "get", endpoint_id)
    return await deliveries(user, campus, endpoint_id, None, None, limit, cursor)
