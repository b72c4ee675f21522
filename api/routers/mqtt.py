"""MQTT: brokers and the topics under which each gets which events."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from actors.mqtt.models import Broker, NewBroker, NewPattern, Pattern
from api.deps import Actors, CurrentUser, Cursor, Limit, MqttEditor, Page, SiteId, in_order, paged

router = APIRouter(prefix="/api/mqtt", tags=["mqtt"])

Id = Annotated[int, Path(ge=1, lt=2**63)]


def _plain(body: NewBroker) -> dict[str, Any]:
    return body.model_dump(mode="json", exclude={"password", "private_key"})


@router.get("/brokers")
async def brokers(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    enabled: bool | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List brokers; with `site` those that get its events."""
    campus.chosen(site)
    found, following = await campus.call("mqtt", "find", enabled, limit, cursor, site)
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)


@router.post("/brokers", status_code=201)
async def create(body: NewBroker, user: MqttEditor, campus: Actors) -> Broker:
    """Add a broker with the usual topics."""
    made: Broker = await campus.call("mqtt", "create", body)
    await campus.log(user.username, "create_mqtt_broker", f"mqtt:{made.id}", settings=_plain(body))
    return made


@router.get("/brokers/{broker_id}")
async def broker(broker_id: Id, user: CurrentUser, campus: Actors) -> Broker:
    """Give one broker."""
    found: Broker = await campus.call("mqtt", "get", broker_id)
    return found


@router.put("/brokers/{broker_id}")
async def update(broker_id: Id, body: NewBroker, user: MqttEditor, campus: Actors) -> Broker:
    """Replace a broker; secrets that are left out stay."""
    changed: Broker = await campus.call("mqtt", "update", broker_id, body)
    await campus.log(
        user.username,
        "update_mqtt_broker",
        f"mqtt:{broker_id}",
        settings=_plain(body),
        new_secret=body.password is not None or body.private_key is not None,
    )
    return changed


@router.delete("/brokers/{broker_id}", status_code=204)
async def delete(broker_id: Id, user: MqttEditor, campus: Actors) -> None:
    """Delete a broker with its topics."""
    gone: Broker = await campus.call("mqtt", "delete", broker_id)
    await campus.log(user.username, "delete_mqtt_broker", f"mqtt:{broker_id}", name=gone.name)


@router.get("/brokers/{broker_id}/patterns")
async def patterns(
    broker_id: Id, user: CurrentUser, campus: Actors, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """List the topics of a broker."""
    found: list[Pattern] = await campus.call("mqtt", "patterns", broker_id)
    return paged(found, limit, cursor, lambda each: in_order(each.id))


@router.post("/brokers/{broker_id}/patterns", status_code=201)
async def create_pattern(broker_id: Id, body: NewPattern, user: MqttEditor, campus: Actors) -> Pattern:
    """Add a topic to a broker."""
    made: Pattern = await campus.call("mqtt", "create_pattern", broker_id, body)
    await campus.log(
        user.username, "create_mqtt_topic", f"mqtt:{broker_id}", topic=made.model_dump(mode="json")
    )
    return made


@router.get("/patterns/{pattern_id}")
async def pattern(pattern_id: Id, user: CurrentUser, campus: Actors) -> Pattern:
    """Give one topic."""
    found: Pattern = await campus.call("mqtt", "pattern", pattern_id)
    return found


@router.put("/patterns/{pattern_id}")
async def update_pattern(pattern_id: Id, body: NewPattern, user: MqttEditor, campus: Actors) -> Pattern:
    """Replace a topic."""
    changed: Pattern = await campus.call("mqtt", "update_pattern", pattern_id, body)
    await campus.log(
        user.username,
        "update_mqtt_topic",
        f"mqtt:{changed.broker_id}",
        topic=changed.model_dump(mode="json"),
    )
    return changed


@router.delete("/patterns/{pattern_id}", status_code=204)
async def delete_pattern(pattern_id: Id, user: MqttEditor, campus: Actors) -> None:
    """Delete a topic."""
    gone: Pattern = await campus.call("mqtt", "delete_pattern", pattern_id)
    await campus.log(
        user.username, "delete_mqtt_topic", f"mqtt:{gone.broker_id}", topic=gone.model_dump(mode="json")
    )
