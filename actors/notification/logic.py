"""Rules of routing: which rule fits an alarm at a time, who is told when, what is shelved, when to retry."""

from collections.abc import Iterable, Sequence
from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from actors.node.logic import matches_tags
from actors.notification.models import Fact, Hours, Recipient, Rule, SeverityName, Shelving, Tier

FIRST_RETRY: Final = 30_000
LONGEST_RETRY: Final = 3_600_000
ATTEMPTS: Final = 8


def next_attempt(attempts: int, now: int) -> int | None:
    """Give when to try again after so many failed attempts (ms): 30 s doubling to 1 h; None after 8."""
    if attempts >= ATTEMPTS:
        return None
    return now + min(LONGEST_RETRY, FIRST_RETRY << (attempts - 1))


def within(hours: Hours, zone: str, at: int) -> bool:
    """Tell whether a moment (ms) lies within hours, read off the wall in a time zone."""
    local = datetime.fromtimestamp(at / 1000, ZoneInfo(zone))
    start, end = time.fromisoformat(hours.start), time.fromisoformat(hours.end)
    now, today = local.time(), local.isoweekday()
    yesterday = (local.date() - timedelta(days=1)).isoweekday()
    if start == end:
        return today in hours.weekdays
    if start < end:
        return today in hours.weekdays and start <= now < end
    return (today in hours.weekdays and now >= start) or (yesterday in hours.weekdays and now < end)


def fits(rule: Rule, fact: Fact, at: int) -> bool:
    """Tell whether a rule is for an alarm that is raised at a moment (ms)."""
    return (
        rule.enabled
        and (not rule.severities or fact.severity in rule.severities)
        and (not rule.sites or fact.site in rule.sites)
        and matches_tags(fact.tags, rule.tags)
        and (rule.hours is None or within(rule.hours, rule.zone, at))
    )


def chosen(rules: Iterable[Rule], fact: Fact, at: int) -> list[Rule]:
    """Give the rules for an alarm in order of position, up to the first that stops."""
    found: list[Rule] = []
    for rule in sorted(rules, key=lambda each: (each.position, each.id)):
        if fits(rule, fact, at):
            found.append(rule)
            if rule.stop:
                break
    return found


def due_tiers(rule: Rule, raised_at: int, now: int) -> list[tuple[int, Tier]]:
    """Give the tiers (from 1) of a rule whose time has come for an alarm that nobody acknowledged."""
    return [
        (number, tier)
        for number, tier in enumerate(rule.tiers, 1)
        if raised_at + tier.after_seconds * 1000 <= now
    ]


def next_tier(rule: Rule, raised_at: int, now: int) -> int | None:
    """Give when the next tier of a rule comes (ms), or None when all have come."""
    times = [raised_at + tier.after_seconds * 1000 for tier in rule.tiers]
    return next((each for each in times if each > now), None)


def is_told(recipient: Recipient, severity: SeverityName, at: int) -> bool:
    """Tell whether a recipient is told of an alarm at a moment (ms), quiet hours being kept."""
    if not recipient.enabled:
        return False
    if recipient.quiet is None or severity in recipient.quiet_severities:
        return True
    return not within(recipient.quiet, recipient.zone, at)


def is_shelved(shelvings: Sequence[Shelving], fact: Fact, at: int, above: Sequence[str] = ()) -> bool:
    """Tell whether an alarm is kept quiet at a moment (ms); `above` are the nodes above its own."""
    nodes = {fact.node_id, *above}
    return any(
        at < each.until
        and each.site in {None, fact.site}
        and (each.node_id is None or each.node_id in nodes)
        and (each.tag is None or each.tag in fact.tags)
        for each in shelvings
    )
