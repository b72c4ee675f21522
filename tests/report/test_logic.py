from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from actors.report.logic import TEMPLATES, covered, may_become, next_run
from actors.report.models import (
    Daily,
    ExecutionState,
    Monthly,
    NewReport,
    NewReportSchedule,
    Selection,
    TemplateName,
    Timing,
    Weekly,
)

ZONES = st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])
TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
TIMINGS = st.one_of(
    st.builds(Daily, at=TIMES, zone=ZONES),
    st.builds(Weekly, at=TIMES, zone=ZONES, weekday=st.integers(1, 7)),
    st.builds(Monthly, at=TIMES, zone=ZONES, day=st.integers(1, 31)),
)
MOMENTS = st.integers(1_577_836_800_000, 1_924_992_000_000)


def ms(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@given(TIMINGS, MOMENTS)
def test_the_next_run_is_past_and_none_lies_between(timing: Timing, after: int) -> None:
    run = next_run(timing, after)
    assert run > after
    assert next_run(timing, run - 1) == run
    longest = {"day": 2, "week": 8, "month": 32}[timing.every]
    assert run - after <= longest * 86_400_000
    local = datetime.fromtimestamp(run / 1000, ZoneInfo(timing.zone))
    if isinstance(timing, Weekly):
        assert local.isoweekday() == timing.weekday
    if isinstance(timing, Monthly):
        tomorrow = local.date() + timedelta(days=1)
        assert local.day == timing.day or (tomorrow.day == 1 and local.day < timing.day)


@given(TIMINGS, MOMENTS)
def test_ranges_are_whole_local_days_and_meet_without_gap_or_overlap(timing: Timing, after: int) -> None:
    first = next_run(timing, after)
    second = next_run(timing, first)
    start, end = covered(timing, first)
    assert start < end <= first
    assert covered(timing, second)[0] == end
    for edge in (start, end):
        local = datetime.fromtimestamp(edge / 1000, ZoneInfo(timing.zone))
        assert (local.hour, local.minute) == (0, 0)


@pytest.mark.parametrize(
    ("timing", "after", "expected"),
    [
        # Clocks go forward on 2026-03-29 and back on 2026-10-25 in Vienna.
        (Daily(at="06:00", zone="Europe/Vienna"), ms("2026-03-28T12:00"), ms("2026-03-29T04:00")),
        (Daily(at="06:00", zone="Europe/Vienna"), ms("2026-10-24T12:00"), ms("2026-10-25T05:00")),
        (Daily(at="02:30", zone="Europe/Vienna"), ms("2026-10-24T12:00"), ms("2026-10-25T00:30")),
        (Weekly(weekday=7, at="00:00"), ms("2026-11-24T00:00"), ms("2026-11-29T00:00")),
        (Monthly(day=31, at="08:00"), ms("2026-02-01T00:00"), ms("2026-02-28T08:00")),
        (Monthly(day=31, at="08:00"), ms("2028-02-01T00:00"), ms("2028-02-29T08:00")),
    ],
)
def test_days_on_which_the_clock_changes_and_short_months(timing: Timing, after: int, expected: int) -> None:
    assert next_run(timing, after) == expected


def test_a_day_on_which_the_clock_changes_has_23_or_25_hours() -> None:
    timing = Daily(at="06:00", zone="Europe/Vienna")
    lengths = []
    for day in ("2026-03-30T04:00", "2026-10-26T05:00", "2026-11-24T05:00"):
        start, end = covered(timing, ms(day))
        lengths.append((end - start) / 3_600_000)
    assert lengths == [23, 25, 24]


def test_an_execution_goes_forward_only() -> None:
    allowed = {(a, b) for a in ExecutionState for b in ExecutionState if may_become(a, b)}
    queued, running, done, failed = ExecutionState
    assert allowed == {(queued, running), (queued, failed), (running, done), (running, failed)}


def test_every_template_has_sections_and_makes_a_valid_report() -> None:
    assert set(TEMPLATES) == set(TemplateName) - {TemplateName.CUSTOM}
    for name, template in TEMPLATES.items():
        again = NewReport.model_validate(
            {"name": "x", "template": name, "sections": [each.model_dump() for each in template.sections]}
        )
        assert again.sections == template.sections


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"timing": {"every": "day", "zone": "Mars/Olympus"}}, "IANA"),
        ({"timing": {"every": "day", "zone": "../../etc/passwd"}}, "IANA"),
        ({"timing": {"every": "day", "at": "24:00"}}, "pattern"),
        ({"timing": {"every": "week", "weekday": 0}}, "greater than or equal to 1"),
        ({"timing": {"every": "day"}, "recipients": ["nobody"]}, "pattern"),
        ({"timing": {"every": "day"}, "recipients": ["a@b\nBcc: c@d"]}, "pattern"),
    ],
)
def test_wrong_schedules_are_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        NewReportSchedule.model_validate(wrong)


def test_a_selection_names_something_in_one_way() -> None:
    with pytest.raises(ValidationError, match="at least one"):
        Selection()
    with pytest.raises(ValidationError, match="either ids"):
        Selection(ids=["a"], tags=["air"])
    assert datetime.now(UTC).tzinfo is UTC
