"""Legacy entity records."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import ValidationError

from actors.core.errors import BadInputError
from actors.entity.logic import as_node
from actors.entity.models import Entity, EntityChange, NewEntity
from actors.node.models import Node
from api.deps import (
    Actors,
    Campus,
    CurrentUser,
    Cursor,
    Limit,
    NodeEditor,
    Page,
    SiteActors,
    SiteId,
    listed,
    one_site,
    site_with,
)

router = APIRouter(prefix="/api/entities", tags=["entities"])

Filter = Annotated[str | None, Query(max_length=200)]


async def _site(campus: Campus, entity_id: str, site: str | None) -> SiteActors:
    return await site_with(campus, "entities", "get", entity_id, site)


@router.get("")
async def entities(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    entity_type: Filter = None,
    tag: Filter = None,
    parent_id: Filter = None,
    text: Filter = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List records."""
    return await listed(
        campus.chosen(site), limit, cursor, "entities", "find", entity_type, tag, parent_id, text
    )


@router.post("", status_code=201)
async def create(body: NewEntity, user: NodeEditor, campus: Actors, site: SiteId = None) -> Entity:
    """Add a record."""
    of = one_site(campus, site)
    made: Entity = await of.call("entities", "create", body)
    await campus.log(
        user.username,
        "create_entity",
        f"entity:{made.id}",
        site=of.id,
        entity=made.model_dump(mode="json"),
    )
    return made


@router.get("/{entity_id:path}/node")
async def node(entity_id: str, user: CurrentUser, campus: Actors, site: SiteId = None) -> Node:
    """Show a record as the node that it would be; nothing is made."""
    of = await _site(campus, entity_id, site)
    found: Entity = await of.call("entities", "get", entity_id)
    try:
        return Node.model_validate(as_node(found))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BadInputError(field, None, first["msg"]) from None


@router.get("/{entity_id:path}")
async def entity(entity_id: str, user: CurrentUser, campus: Actors, site: SiteId = None) -> Entity:
    """Give one record."""
    of = await _site(campus, entity_id, site)
    found: Entity = await of.call("entities", "get", entity_id)
    return found


@router.patch("/{entity_id:path}")
async def update(
    entity_id: str, body: EntityChange, user: NodeEditor, campus: Actors, site: SiteId = None
) -> Entity:
    """Change a record; fields that are left out stay."""
    of = await _site(campus, entity_id, site)
    before: Entity = await of.call("entities", "get", entity_id)
    after: Entity = await of.call("entities", "update", entity_id, body)
    await campus.log(
        user.username,
        "update_entity",
        f"entity:{entity_id}",
        site=of.id,
        before=before.model_dump(mode="json"),
        after=after.model_dump(mode="json"),
    )
    return after


@router.delete("/{entity_id:path}", status_code=204)
async def delete(entity_id: str, user: NodeEditor, campus: Actors, site: SiteId = None) -> None:
    """Delete a record that none stands below."""
    of = await _site(campus, entity_id, site)
    gone: Entity = await of.call("entities", "delete", entity_id)
    await campus.log(
        user.username,
        "delete_entity",
        f"entity:{entity_id}",
        site=of.id,
        entity=gone.model_dump(mode="json"),
    )
