"""Export to other databases: targets, how far each has come, backfills."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict

from actors.core.clock import Timestamp
from actors.export.models import (
    Backfill,
    BackfillState,
    NewBackfill,
    NewTarget,
    Target,
    TargetStatus,
    plain,
)
from api.deps import Actors, CurrentUser, Cursor, Exporter, Limit, Page, SiteId

router = APIRouter(prefix="/api/export", tags=["export"])

Id = Annotated[int, Path(ge=1, lt=2**63)]


class Reset(BaseModel):
    """Send everything newer than this again."""

    model_config = ConfigDict(extra="forbid")

    to: Timestamp


@router.get("/targets")
async def targets(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    kind: Annotated[str | None, Query(pattern="^(influxdb|postgresql)$")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List targets; with `site` those that get its points."""
    campus.chosen(site)
    found, following = await campus.call("export", "find", kind, limit, cursor, site)
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)


@router.post("/targets", status_code=201)
async def create(body: NewTarget, user: Exporter, campus: Actors) -> Target:
    """Add a target."""
    made: Target = await campus.call("export", "create", body)
    await campus.log(user.username, "create_export_target", f"export:{made.id}", settings=plain(body))
    return made


@router.get("/targets/{target_id}")
async def target(target_id: Id, user: CurrentUser, campus: Actors) -> Target:
    """Give one target."""
    found: Target = await campus.call("export", "get", target_id)
    return found


@router.put("/targets/{target_id}")
async def update(target_id: Id, body: NewTarget, user: Exporter, campus: Actors) -> Target:
    """Replace a target; a password that is left out stays."""
    changed: Target = await campus.call("export", "update", target_id, body)
    await campus.log(
        user.username,
        "update_export_target",
        f"export:{target_id}",
        settings=plain(body),
        new_secret=body.password is not None,
    )
    return changed


@router.delete("/targets/{target_id}", status_code=204)
async def delete(target_id: Id, user: Exporter, campus: Actors) -> None:
    """Delete a target with its cursors and backfills."""
    gone: Target = await campus.call("export", "delete", target_id)
    await campus.log(user.username, "delete_export_target", f"export:{target_id}", name=gone.name)


@router.post("/targets/{target_id}/pause")
async def pause(target_id: Id, user: Exporter, campus: Actors) -> Target:
    """Stop sending; nothing is lost, it goes on from its cursors."""
    changed: Target = await campus.call("export", "set_enabled", target_id, False)
    await campus.log(user.username, "pause_export_target", f"export:{target_id}")
    return changed


@router.post("/targets/{target_id}/resume")
async def resume(target_id: Id, user: Exporter, campus: Actors) -> Target:
    """Go on sending."""
    changed: Target = await campus.call("export", "set_enabled", target_id, True)
    await campus.log(user.username, "resume_export_target", f"export:{target_id}")
    return changed


@router.get("/targets/{target_id}/status")
async def status(target_id: Id, user: CurrentUser, campus: Actors) -> TargetStatus:
    """Tell how the export to a target goes."""
    found: TargetStatus = await campus.call("export", "status", target_id)
    return found


@router.get("/targets/{target_id}/state")
async def state(
    target_id: Id, user: CurrentUser, campus: Actors, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """List how far each point has been sent."""
    found, following = await campus.call("export", "state", target_id, limit, cursor)
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)


@router.post("/targets/{target_id}/reset")
async def reset(target_id: Id, body: Reset, user: Exporter, campus: Actors) -> TargetStatus:
    """Send everything newer than a time again."""
    count = await campus.call("export", "reset", target_id, body.to)
    await campus.log(user.username, "reset_export_target", f"export:{target_id}", to=body.to, points=count)
    return await status(target_id, user, campus)


@router.post("/targets/{target_id}/backfill", status_code=201)
async def backfill(target_id: Id, body: NewBackfill, user: Exporter, campus: Actors) -> Backfill:
    """Ask for a range of history to be sent again."""
    made: Backfill = await campus.call("export", "queue_backfill", target_id, body, user.username)
    await campus.log(
        user.username,
        "backfill_export_target",
        f"export:{target_id}",
        backfill=made.model_dump(mode="json"),
    )
    return made


@router.get("/backfills")
async def backfills(
    user: CurrentUser,
    campus: Actors,
    target_id: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    state: BackfillState | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List backfills, newest first."""
    found, following = await campus.call("export", "backfills", target_id, state, limit, cursor)
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)


@router.post("/backfills/{backfill_id}/cancel")
async def cancel(backfill_id: Id, user: Exporter, campus: Actors) -> Backfill:
    """Cancel a backfill that isn't over."""
    done: Backfill = await campus.call("export", "move_backfill", backfill_id, BackfillState.CANCELLED)
    await campus.log(user.username, "cancel_backfill", f"export:{done.target_id}", backfill_id=backfill_id)
    return done


@router.post("/backfills/{backfill_id}/retry")
async def retry(backfill_id: Id, user: Exporter, campus: Actors) -> Backfill:
    """Let a failed backfill go on where it stopped."""
    done: Backfill = await campus.call("export", "move_backfill", backfill_id, BackfillState.QUEUED)
    await campus.log(user.username, "retry_backfill", f"export:{done.target_id}", backfill_id=backfill_id)
    return done
