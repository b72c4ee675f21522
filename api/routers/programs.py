"""Programs: saving, checking, shadow, and the log of their runs."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict

from actors.node.models import Node
from actors.program.logic import check, reads, refuse
from actors.program.models import NewProgram, OnChange, Problem, Program, RunState
from api.deps import (
    Actors,
    Campus,
    CurrentUser,
    Cursor,
    Limit,
    Page,
    Programmer,
    SiteActors,
    SiteId,
    listed,
    one_site,
    site_with,
)

router = APIRouter(prefix="/api/programs", tags=["programs"])

Id = Annotated[int, Path(ge=1, lt=2**63)]


class Shadow(BaseModel):
    """Whether a program only computes and logs what it would write."""

    model_config = ConfigDict(extra="forbid")

    shadow: bool


class Check(BaseModel):
    """What is wrong with a program; nothing, where `ok`."""

    ok: bool
    problems: list[Problem]


async def _site(campus: Campus, program_id: int, site: str | None) -> SiteActors:
    return await site_with(campus, "programs", "get", program_id, site)


async def _problems(of: SiteActors, program: NewProgram) -> list[Problem]:
    """Check a program against the points of its site."""
    named = {point for block in program.blocks if (point := getattr(block, "point", None))}
    if isinstance(program.trigger, OnChange):
        named |= set(program.trigger.points)
    found: list[Node] = await of.call("nodes", "get_many", sorted(named | set(reads(program))))
    return check(program, {node.id: node.capabilities.writable for node in found})


@router.get("")
async def programs(
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    enabled: bool | None = None,
    text: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List programs."""
    return await listed(campus.chosen(site), limit, cursor, "programs", "find", enabled, text)


@router.post("", status_code=201)
async def create(body: NewProgram, user: Programmer, campus: Actors, site: SiteId = None) -> Program:
    """Save a new program; one that isn't right is refused with the block that is wrong."""
    of = one_site(campus, site)
    refuse(await _problems(of, body))
    made: Program = await of.call("programs", "create", body, user.username)
    await campus.log(
        user.username,
        "create_program",
        f"program:{made.id}",
        site=of.id,
        program=body.model_dump(mode="json"),
    )
    return made


@router.post("/check")
async def check_unsaved(body: NewProgram, user: CurrentUser, campus: Actors, site: SiteId = None) -> Check:
    """Say what is wrong with a program that isn't saved."""
    problems = await _problems(one_site(campus, site), body)
    return Check(ok=not problems, problems=problems)


@router.get("/{program_id}")
async def program(program_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None) -> Program:
    """Give one program."""
    of = await _site(campus, program_id, site)
    found: Program = await of.call("programs", "get", program_id)
    return found


@router.put("/{program_id}")
async def update(
    program_id: Id, body: NewProgram, user: Programmer, campus: Actors, site: SiteId = None
) -> Program:
    """Replace a program."""
    of = await _site(campus, program_id, site)
    before: Program = await of.call("programs", "get", program_id)
    refuse(await _problems(of, body))
    after: Program = await of.call("programs", "update", program_id, body, user.username)
    await campus.log(
        user.username,
        "update_program",
        f"program:{program_id}",
        site=of.id,
        before=before.model_dump(mode="json"),
        after=after.model_dump(mode="json"),
    )
    return after


@router.delete("/{program_id}", status_code=204)
async def delete(program_id: Id, user: Programmer, campus: Actors, site: SiteId = None) -> None:
    """Delete a program with its log."""
    of = await _site(campus, program_id, site)
    gone: Program = await of.call("programs", "delete", program_id)
    await campus.log(
        user.username,
        "delete_program",
        f"program:{program_id}",
        site=of.id,
        program=gone.model_dump(mode="json"),
    )


@router.get("/{program_id}/check")
async def check_saved(program_id: Id, user: CurrentUser, campus: Actors, site: SiteId = None) -> Check:
    """Say what is wrong with a saved program: its points may be gone meanwhile."""
    of = await _site(campus, program_id, site)
    saved: Program = await of.call("programs", "get", program_id)
    problems = await _problems(of, saved)
    return Check(ok=not problems, problems=problems)


@router.post("/{program_id}/shadow")
async def shadow(
    program_id: Id, body: Shadow, user: Programmer, campus: Actors, site: SiteId = None
) -> Program:
    """Let a program run without writing, or write again."""
    of = await _site(campus, program_id, site)
    changed: Program = await of.call("programs", "set_shadow", program_id, body.shadow, user.username)
    await campus.log(user.username, "shadow_program", f"program:{program_id}", site=of.id, shadow=body.shadow)
    return changed


@router.get("/{program_id}/log")
async def log(
    program_id: Id,
    user: CurrentUser,
    campus: Actors,
    site: SiteId = None,
    state: RunState | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List the last runs of a program, newest first."""
    of = await _site(campus, program_id, site)
    found, following = await of.call("programs", "executions", program_id, state, limit, cursor)
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)
