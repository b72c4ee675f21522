"""Reports: definitions, templates, schedules and what came of them."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict

from actors.core.clock import Timestamp
from actors.report.logic import TEMPLATES
from actors.report.models import (
    ExecutionState,
    NewReport,
    NewReportSchedule,
    Report,
    ReportExecution,
    ReportSchedule,
    Template,
    TemplateName,
)
from api.deps import Actors, CurrentUser, Cursor, Limit, Page, Reporter, in_order, paged

router = APIRouter(prefix="/api/reports", tags=["reports"])

Id = Annotated[int, Path(ge=1, lt=2**63)]
DOCUMENT_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}


class RunRange(BaseModel):
    """The time that a report is to cover: from `start` to before `end`."""

    model_config = ConfigDict(extra="forbid")

    start: Timestamp
    end: Timestamp


@router.get("")
async def reports(
    user: CurrentUser,
    campus: Actors,
    template: TemplateName | None = None,
    text: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List report definitions."""
    found, following = await campus.call("reports", "find", template, text, limit, cursor)
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)


@router.post("", status_code=201)
async def create(body: NewReport, user: Reporter, campus: Actors) -> Report:
    """Add a report definition."""
    made: Report = await campus.call("reports", "create", body, user.username)
    await campus.log(user.username, "create_report", f"report:{made.id}", report=made.model_dump(mode="json"))
    return made


@router.get("/templates")
async def templates(user: CurrentUser) -> list[Template]:
    """List the templates with their sections."""
    return list(TEMPLATES.values())


@router.get("/executions")
async def executions(
    user: CurrentUser,
    campus: Actors,
    report_id: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    state: ExecutionState | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page:
    """List executions of all reports, newest first."""
    found, following = await campus.call("reports", "executions", report_id, state, limit, cursor)
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)


@router.get("/executions/{execution_id}")
async def execution(execution_id: Id, user: CurrentUser, campus: Actors) -> ReportExecution:
    """Give one execution."""
    found: ReportExecution = await campus.call("reports", "execution", execution_id)
    return found


@router.get("/executions/{execution_id}/document", response_class=HTMLResponse)
async def document(execution_id: Id, user: CurrentUser, campus: Actors) -> HTMLResponse:
    """Give the report that an execution has made."""
    found: str = await campus.call("reports", "document", execution_id)
    return HTMLResponse(found, headers=DOCUMENT_HEADERS)


@router.get("/schedules/{schedule_id}")
async def schedule(schedule_id: Id, user: CurrentUser, campus: Actors) -> ReportSchedule:
    """Give one schedule."""
    found: ReportSchedule = await campus.call("reports", "schedule", schedule_id)
    return found


@router.put("/schedules/{schedule_id}")
async def update_schedule(
    schedule_id: Id, body: NewReportSchedule, user: Reporter, campus: Actors
) -> ReportSchedule:
    """Replace a schedule."""
    changed: ReportSchedule = await campus.call("reports", "update_schedule", schedule_id, body)
    await campus.log(
        user.username,
        "update_report_schedule",
        f"report:{changed.definition_id}",
        schedule=changed.model_dump(mode="json"),
    )
    return changed


@router.delete("/schedules/{schedule_id}", status_code=204)
async def delete_schedule(schedule_id: Id, user: Reporter, campus: Actors) -> None:
    """Delete a schedule."""
    gone: ReportSchedule = await campus.call("reports", "delete_schedule", schedule_id)
    await campus.log(
        user.username, "delete_report_schedule", f"report:{gone.definition_id}", schedule_id=schedule_id
    )


@router.get("/{report_id}")
async def report(report_id: Id, user: CurrentUser, campus: Actors) -> Report:
    """Give one report definition."""
    found: Report = await campus.call("reports", "get", report_id)
    return found


@router.put("/{report_id}")
async def update(report_id: Id, body: NewReport, user: Reporter, campus: Actors) -> Report:
    """Replace a report definition."""
    before: Report = await campus.call("reports", "get", report_id)
    after: Report = await campus.call("reports", "update", report_id, body)
    await campus.log(
        user.username,
        "update_report",
        f"report:{report_id}",
        before=before.model_dump(mode="json"),
        after=after.model_dump(mode="json"),
    )
    return after


@router.delete("/{report_id}", status_code=204)
async def delete(report_id: Id, user: Reporter, campus: Actors) -> None:
    """Delete a report definition with its schedules and executions."""
    gone: Report = await campus.call("reports", "delete", report_id)
    await campus.log(user.username, "delete_report", f"report:{report_id}", name=gone.name)


@router.get("/{report_id}/schedules")
async def schedules(
    report_id: Id, user: CurrentUser, campus: Actors, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """List the schedules of a report."""
    found = await campus.call("reports", "schedules", report_id)
    return paged(found, limit, cursor, lambda each: in_order(each.id))


@router.post("/{report_id}/schedules", status_code=201)
async def create_schedule(
    report_id: Id, body: NewReportSchedule, user: Reporter, campus: Actors
) -> ReportSchedule:
    """Add a schedule to a report."""
    made: ReportSchedule = await campus.call("reports", "create_schedule", report_id, body)
    await campus.log(
        user.username,
        "create_report_schedule",
        f"report:{report_id}",
        schedule=made.model_dump(mode="json"),
    )
    return made


@router.post("/{report_id}/run", status_code=201)
async def run(report_id: Id, body: RunRange, user: Reporter, campus: Actors) -> ReportExecution:
    """Ask for a report over a range; its execution says how far it has come."""
    queued: ReportExecution = await campus.call(
        "reports", "queue", report_id, user.username, body.start, body.end
    )
    await campus.log(
        user.username, "run_report", f"report:{report_id}", execution=queued.model_dump(mode="json")
    )
    return queued


@router.get("/{report_id}/executions")
async def executions_of(
    report_id: Id, user: CurrentUser, campus: Actors, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """List the executions of a report, newest first."""
    await campus.call("reports", "get", report_id)
    found, following = await campus.call("reports", "executions", report_id, None, limit, cursor)
    return Page(items=[each.model_dump(mode="json") for each in found], next_cursor=following)
