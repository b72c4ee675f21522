from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from actors.notification.logic import (
    ATTEMPTS,
    chosen,
    due_tiers,
    fits,
    is_shelved,
    is_told,
    next_attempt,
    next_tier,
    within,
)
from actors.notification.models import (
    Fact,
    Hours,
    NewRecipient,
    NewRule,
    NewShelving,
    Recipient,
    Rule,
    Shelving,
)

VIENNA = "Europe/Vienna"


def ms(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def rule(number: int = 1, **fields: Any) -> Rule:
    base = {
        "id": number,
        "name": f"r{number}",
        "tiers": [{"after_seconds": 0, "recipients": [1]}],
        "created_at": 0,
    }
    return Rule.model_validate(base | fields)


def recipient(**fields: Any) -> Recipient:
    base = {"id": 1, "name": "ana", "kind": "email", "address": "a@example.org", "created_at": 0}
    return Recipient.model_validate(base | fields)


FACT = Fact(site="north", node_id="1101/ai-1", severity="high", tags=frozenset({"air", "temp"}))


def test_retries_double_from_30_seconds_to_an_hour_eight_times() -> None:
    waits = [next_attempt(attempts, 0) for attempts in range(1, ATTEMPTS + 1)]
    assert waits == [30_000, 60_000, 120_000, 240_000, 480_000, 960_000, 1_920_000, None]


@pytest.mark.parametrize(
    ("start", "end", "weekdays", "at", "inside"),
    [
        ("08:00", "17:00", [1], "2026-11-23T08:00", True),
        ("08:00", "17:00", [1], "2026-11-23T17:00", False),
        ("08:00", "17:00", [1], "2026-11-24T12:00", False),
        ("22:00", "06:00", [1], "2026-11-23T23:00", True),
        ("22:00", "06:00", [1], "2026-11-24T05:59", True),
        ("22:00", "06:00", [1], "2026-11-24T06:00", False),
        ("22:00", "06:00", [1], "2026-11-23T05:00", False),
        ("22:00", "06:00", [7], "2026-11-23T05:00", True),
        ("00:00", "00:00", [1], "2026-11-23T13:00", True),
        ("00:00", "00:00", [1], "2026-11-24T13:00", False),
    ],
)
def test_hours_of_weekdays_also_over_midnight(
    start: str, end: str, weekdays: list[int], at: str, inside: bool
) -> None:
    hours = Hours(start=start, end=end, weekdays=weekdays)
    assert within(hours, VIENNA, ms(at, VIENNA)) == inside


TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))


@given(start=TIMES, end=TIMES, days=st.sets(st.integers(1, 7), min_size=1), minutes=st.integers(0, 20_000))
def test_hours_over_midnight_are_what_is_not_between_their_ends(
    start: str, end: str, days: set[int], minutes: int
) -> None:
    at = ms("2026-03-20T00:00") + minutes * 60_000
    if start == end:
        return
    every = list(range(1, 8))
    one = within(Hours(start=start, end=end, weekdays=every), VIENNA, at)
    assert one != within(Hours(start=end, end=start, weekdays=every), VIENNA, at)
    some = within(Hours(start=start, end=end, weekdays=sorted(days)), VIENNA, at)
    assert not some or one
    local = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(VIENNA))
    began = local if local.strftime("%H:%M") >= start else local - timedelta(days=1)
    assert some == (one and (began if start > end else local).isoweekday() in days)


def test_a_rule_fits_when_all_that_it_names_fits() -> None:
    at = ms("2026-11-23T12:00")
    assert fits(rule(), FACT, at)
    assert fits(rule(severities=["high"], sites=["north"], tags=["air", "-water"]), FACT, at)
    for fields in (
        {"severities": ["critical"]},
        {"sites": ["south"]},
        {"tags": ["water"]},
        {"tags": ["-air"]},
        {"enabled": False},
        {"hours": {"start": "00:00", "end": "06:00"}},
    ):
        assert not fits(rule(**fields), FACT, at), fields


def test_rules_are_looked_at_in_order_until_one_stops() -> None:
    rules = [
        rule(1, position=30),
        rule(2, position=10),
        rule(3, position=20, stop=True),
        rule(4, position=20),
    ]
    assert [each.id for each in chosen(rules, FACT, 0)] == [2, 3]
    rules[2] = rule(3, position=20, stop=True, severities=["low"])
    assert [each.id for each in chosen(rules, FACT, 0)] == [2, 4, 1]


def test_tiers_come_when_their_time_is_there() -> None:
    one = rule(tiers=[{"after_seconds": each, "recipients": [1]} for each in (0, 900, 3600)])
    assert [number for number, _ in due_tiers(one, 1000, 1000)] == [1]
    assert [number for number, _ in due_tiers(one, 1000, 901_000)] == [1, 2]
    assert next_tier(one, 1000, 1000) == 901_000
    assert next_tier(one, 1000, 3_601_000) is None


def test_quiet_hours_hold_for_all_but_what_matters_most() -> None:
    one = recipient(zone=VIENNA, quiet={"start": "22:00", "end": "06:00"})
    night, day = ms("2026-11-23T23:00", VIENNA), ms("2026-11-23T12:00", VIENNA)
    assert [is_told(one, "high", at) for at in (night, day)] == [False, True]
    assert is_told(one, "critical", night)
    assert not is_told(recipient(enabled=False), "critical", day)
    assert is_told(recipient(), "low", night)


def test_shelving_joins_its_conditions_and_ends() -> None:
    def shelved(at: int = 50, above: tuple[str, ...] = ("1101", "north"), **fields: Any) -> bool:
        base = {"id": 1, "site": None, "node_id": None, "tag": None, "reason": "x"}
        more = {"shelved_by": "ana", "shelved_at": 0, "until": 100}
        return is_shelved([Shelving.model_validate(base | more | fields)], FACT, at, above)

    assert shelved(site="north")
    assert shelved(node_id="1101", tag="air")
    assert shelved(node_id="1101/ai-1")
    assert not shelved(100, site="north")
    assert not shelved(node_id="1102")
    assert not shelved(site="south", tag="air")
    assert not is_shelved([], FACT, 0)


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("email", "ana.b+c@example.org", ["ana", "a@b\nBcc: x@y", "a b@c", "@x", "a@-x"]),
        ("sms", "+43660123456", ["0660123456", "+0123456", "+43 660", "+431"]),
        ("webhook", "7", ["0", "x", "-1"]),
    ],
)
def test_addresses_are_of_their_kind(kind: str, right: str, wrong: list[str]) -> None:
    assert NewRecipient.model_validate({"name": "x", "kind": kind, "address": right}).address == right
    for address in wrong:
        with pytest.raises(ValidationError, match="address"):
            NewRecipient.model_validate({"name": "x", "kind": kind, "address": address})


def test_what_makes_no_sense_is_refused() -> None:
    tiers = [{"after_seconds": 0, "recipients": [1]}]
    for fields in (
        {"tiers": []},
        {"tiers": tiers * 2},
        {"tiers": [{"after_seconds": 0, "recipients": []}]},
        {"tiers": tiers, "hours": {"start": "25:00", "end": "06:00"}},
        {"tiers": tiers, "hours": {"start": "05:00", "end": "06:00", "weekdays": [8]}},
        {"tiers": tiers, "zone": "Mars/Base"},
        {"tiers": tiers, "severities": ["urgent"]},
    ):
        with pytest.raises(ValidationError):
            NewRule.model_validate({"name": "x"} | fields)
    for shelving in ({"reason": "x", "duration": 600}, {"site": "n", "reason": "", "duration": 600},
                     {"site": "n", "reason": "x", "duration": 5}):  # fmt: skip
        with pytest.raises(ValidationError):
            NewShelving.model_validate(shelving)
