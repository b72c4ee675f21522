"""Rules of reports: templates, when one is due, and which range it covers."""

import calendar
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from actors.report.models import (
    AlarmSection,
    Daily,
    EnergySection,
    ExecutionState,
    FaultSection,
    Monthly,
    PointsSection,
    Section,
    Selection,
    StatisticsSection,
    Template,
    TemplateName,
    Timing,
    TrendSection,
    Weekly,
)

TEMPLATES: Final[dict[TemplateName, Template]] = {
    each.name: each
    for each in (
        Template(
            name=TemplateName.DAILY_OPERATIONS,
            title="Daily operations",
            sections=[
                AlarmSection(title="Alarms"),
                FaultSection(title="Equipment faults"),
                StatisticsSection(title="Supply air", points=Selection(tags=["supply", "air", "temp"])),
                PointsSection(title="Overridden points", points=Selection(tags=["cmd"])),
            ],
        ),
        Template(
            name=TemplateName.WEEKLY_ALARMS,
            title="Weekly alarms",
            sections=[AlarmSection(title="Alarms"), FaultSection(title="Equipment faults")],
        ),
        Template(
            name=TemplateName.MONTHLY_ENERGY,
            title="Monthly energy",
            sections=[
                EnergySection(title="Consumption and cost", compare="year_before"),
                TrendSection(title="Power", points=Selection(tags=["power"]), interval=3600),
            ],
        ),
        Template(
            name=TemplateName.COMFORT,
            title="Comfort",
            sections=[
                TrendSection(title="Zone temperatures", points=Selection(tags=["zone", "temp"])),
                StatisticsSection(title="Zone temperatures", points=Selection(tags=["zone", "temp"])),
                StatisticsSection(title="Carbon dioxide", points=Selection(tags=["zone", "co2"])),
            ],
        ),
    )
}

_NEXT: Final[dict[ExecutionState, frozenset[ExecutionState]]] = {
    ExecutionState.QUEUED: frozenset({ExecutionState.RUNNING, ExecutionState.FAILED}),
    ExecutionState.RUNNING: frozenset({ExecutionState.DONE, ExecutionState.FAILED}),
    ExecutionState.DONE: frozenset(),
    ExecutionState.FAILED: frozenset(),
}


def may_become(now: ExecutionState, then: ExecutionState) -> bool:
    """Tell whether an execution may go from one state to another."""
    return then in _NEXT[now]


def sections_of(template: TemplateName, own: list[Section]) -> list[Section]:
    """Give a definition's sections: its own, or those of its template."""
    return own or TEMPLATES[template].sections


def _falls_on(timing: Timing, day: date) -> bool:
    if isinstance(timing, Daily):
        return True
    if isinstance(timing, Weekly):
        return day.isoweekday() == timing.weekday
    return day.day == min(timing.day, calendar.monthrange(day.year, day.month)[1])


def _moment(timing: Timing, day: date) -> int:
    """Give the moment of a day's run in ms; a time that the clocks skip is taken as if they had not."""
    hour, minute = map(int, timing.at.split(":"))
    local = datetime.combine(day, time(hour, minute), ZoneInfo(timing.zone))
    return round(local.astimezone(UTC).timestamp() * 1000)


def next_run(timing: Timing, after: int) -> int:
    """Give the first moment past `after` (ms) at which a report is due.

    Times are local: a report at 06:00 comes at 06:00 in summer and in winter. A time that occurs twice on the
    day on which clocks go back counts the first time.
    """
    day = datetime.fromtimestamp(after / 1000, ZoneInfo(timing.zone)).date() - timedelta(days=1)
    while True:
        if _falls_on(timing, day) and (moment := _moment(timing, day)) > after:
            return moment
        day += timedelta(days=1)


def covered(timing: Timing, run: int) -> tuple[int, int]:
    """Give the range [start, end) in ms that a run at `run` covers: whole local days before it."""
    zone = ZoneInfo(timing.zone)
    last = datetime.fromtimestamp(run / 1000, zone).date()
    if isinstance(timing, Monthly):
        end = last.replace(day=1)
        start = (end - timedelta(days=1)).replace(day=1)
    else:
        end = last
        start = end - timedelta(days=7 if isinstance(timing, Weekly) else 1)

    def midnight(day: date) -> int:
        return round(datetime.combine(day, time(), zone).timestamp() * 1000)

    return midnight(start), midnight(end)
