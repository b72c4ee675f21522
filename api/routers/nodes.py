"""The model: sites, spaces, equipment and points as a tree with tags."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from actors.node.models import Node, NodeChange, NodeTree, NodeType
from api.deps import (
    Actors,
    CurrentUser,
    Cursor,
    Limit,
    NodeEditor,
    Page,
    Part,
    SiteActors,
    SiteId,
    one_site,
    over_sites,
)

router = APIRouter(prefix="/api/nodes", tags=["nodes"])


def _with_site(site: SiteActors, nodes: list[Node]) -> list[dict[str, Any]]:
    return [node.model_dump(mode="json") | {"site": site.id} for node in nodes]


@router.get("")
async def nodes(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    node_type: Annotated[NodeType | None, Query(alias="type", description="Kind of node.")] = None,
    tags: Annotated[
        str | None, Query(max_length=500, description="Tags, with commas; `-tag`: without.")
    ] = None,
    parent: Annotated[str | None, Query(max_length=200, description="Right below this node.")] = None,
    q: Annotated[str | None, Query(max_length=200, description="Part of the name or id.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List nodes."""
    tagged = [each for each in (tags or "").split(",") if each]

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        found, following = await of.call("nodes", "find", node_type, tagged, parent, q, most, after)
        return _with_site(of, found), following

    return await over_sites(campus.chosen(site), limit, cursor, read)


@router.get("/by-tag/{tag}")
async def by_tag(
    tag: str,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List nodes that have a tag."""

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        found, following = await of.call("nodes", "find", None, [tag], None, None, most, after)
        return _with_site(of, found), following

    return await over_sites(campus.chosen(site), limit, cursor, read)


@router.post("", status_code=201)
async def create(body: Node, user: NodeEditor, campus: Actors, site: SiteId = None) -> Node:
    """Add a node; on its parent's site unless `site` says which."""
    if site is not None or body.parent_id is None:
        of = one_site(campus, site)
    else:
        of = await campus.site_of(body.parent_id)
    try:
        made: Node = await of.call("nodes", "create", body)
    finally:
        campus.places.forget(body.id)
    await campus.log(user.username, "create_node", made.id, site=of.id, node_type=made.node_type.value)
    return made


@router.get("/{node_id:path}/children")
async def children(
    node_id: str,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List the nodes right below one."""
    of = await campus.site_of(node_id, site)
    found, following = await of.call("nodes", "children", node_id, limit, cursor)
    return Page(items=_with_site(of, found), next_cursor=following)


@router.get("/{node_id:path}/hierarchy")
async def hierarchy(node_id: str, user: CurrentUser, campus: Actors, site: SiteId = None) -> NodeTree:
    """Give a node with everything below it."""
    of = await campus.site_of(node_id, site)
    [tree] = await of.call("nodes", "tree", node_id)
    found: NodeTree = tree
    return found


@router.get("/{node_id:path}")
async def node(node_id: str, user: CurrentUser, campus: Actors, site: SiteId = None) -> Node:
    """Give one node; a point's with its value and status now."""
    of, found = await campus.find_node(node_id, site)
    rows = await of.call("points", "snapshot", [node_id])
    return found.model_copy(update={"value": rows[0][1], "status": rows[0][2]}) if rows else found


@router.patch("/{node_id:path}")
@router.put("/{node_id:path}")
async def update(
    node_id: str, body: NodeChange, user: NodeEditor, campus: Actors, site: SiteId = None
) -> Node:
    """Change the fields of a node that the body names."""
    of = await campus.site_of(node_id, site)
    changed: Node = await of.call("nodes", "update", node_id, body)
    await campus.log(
        user.username, "update_node", node_id, site=of.id, change=body.model_dump(exclude_unset=True)
    )
    return changed


@router.delete("/{node_id:path}")
async def delete(
    node_id: str,
    user: NodeEditor,
    campus: Actors,
    site: SiteId = None,
    recursive: Annotated[bool, Query(description="With everything below it.")] = False,
) -> dict[str, list[str]]:
    """Delete a node; one with others below it only with `recursive`."""
    of = await campus.site_of(node_id, site)
    deleted: list[str] = await of.call("nodes", "delete", node_id, recursive)
    await campus.log(user.username, "delete_node", node_id, site=of.id, deleted=deleted)
    return {"deleted": deleted}
