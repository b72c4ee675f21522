"""Clocks that go back, and clocks that are ahead for a moment, on real files of every store."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.alarm.models import Severity
from actors.alarm.store import LONGEST_SHELF, AlarmStore
from actors.bus.journal import KEEP, Entry, JournalStore
from actors.core.clock import CATCH_UP, settled
from actors.core.errors import NotAuthenticatedError
from actors.core.store import Store
from actors.discovery.models import FoundDevice
from actors.discovery.store import DiscoveryStore
from actors.energy.models import NewMeter, NewRollup, Period
from actors.energy.store import EnergyStore
from actors.fdd.models import NewBinding, NewRule
from actors.fdd.store import FddStore
from actors.history.store import HistoryStore
from actors.node.models import Node, NodeType
from actors.notification.models import NewNotice, NewRecipient, NewShelving, NoticeState
from actors.notification.store import NotificationStore
from actors.override.store import OverrideStore
from actors.point.models import empty_frame
from actors.report.models import NewReport, NewReportSchedule, TemplateName
from actors.report.store import ReportStore
from actors.user.store import TOKEN_LIFE, UserStore
from actors.webhook.models import DeliveryState, NewEndpoint
from actors.webhook.store import WebhookStore
from tests.crash.cases import CASES
from tests.crash.worker import Outbox

NOW = 1_700_000_000_000
MINUTE = 60_000
DAY = 86_400_000
YEAR = 365 * DAY
AHEAD = 2_208_988_800_000
"""2040-01-01."""


class Clock:
    """A clock that a test sets, and seconds that really pass."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now
        self.passed = 0.0

    def __call__(self) -> int:
        return self.now

    def steady(self) -> float:
        return self.passed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("actors.core.store.monotonic", made.steady)
    return made


def tops(store: Store) -> dict[str, tuple[int, int]]:
    """Give the number of rows and the highest id of each table that numbers its rows."""
    found = {}
    for table in store.all("SELECT name FROM sqlite_master WHERE type = 'table'"):
        name = table["name"]
        columns = store.all(f"PRAGMA table_info({name})")
        keys = [each["name"] for each in columns if each["pk"] and each["type"] == "INTEGER"]
        if keys in (["id"], ["seq"]):
            [row] = store.all(f"SELECT count(*) AS n, ifnull(max({keys[0]}), 0) AS top FROM {name}")
            found[name] = (row["n"], row["top"])
    return found


@pytest.mark.parametrize("back", [1_000, YEAR])
@pytest.mark.parametrize("name", sorted(CASES))
def test_a_clock_that_goes_back_loses_and_reorders_nothing(
    name: str, back: int, tmp_path: Path, clock: Clock
) -> None:
    case = CASES[name]
    store = case.plain(tmp_path, Outbox(), clock)
    versions = [store.version()]
    for number in range(5):
        case.make(store, number)
        versions.append(store.version())
    before = tops(store)
    clock.now -= back
    for number in range(5, 10):
        case.make(store, number)
        versions.append(store.version())
        if number == 7:
            store.close()
            store = case.plain(tmp_path, Outbox(), clock)
    assert case.found(store) == set(range(10))
    for table, (rows, top) in tops(store).items():
        if rows > before[table][0]:
            assert top - before[table][1] >= rows - before[table][0], f"{table}: ids rise"
    assert versions == sorted(versions)
    if store.watched and versions[1] > versions[0]:
        assert len(set(versions)) == len(versions), "every change has a version of its own"
    store.close()


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_clock_that_is_ahead_for_a_moment_deletes_nothing(name: str, tmp_path: Path, clock: Clock) -> None:
    case = CASES[name]
    number = 0
    # Most stores look for what is too old at their first change after they were opened.
    for now in (NOW, NOW + MINUTE, AHEAD, AHEAD + MINUTE, NOW + 2 * MINUTE, NOW + 3 * MINUTE):
        clock.now = now
        store = case.plain(tmp_path, Outbox(), clock)
        for _ in range(3):
            case.make(store, number)
            number += 1
        store.close()
    store = case.plain(tmp_path, Outbox(), clock)
    assert case.found(store) == set(range(number))
    assert store.one("PRAGMA integrity_check") == {"integrity_check": "ok"}
    store.close()


# What retention counts back from


@given(st.lists(st.tuples(st.integers(0, 2 * AHEAD), st.integers(0, 10 * DAY)), min_size=1, max_size=20))
def test_retention_never_counts_from_the_future_and_never_runs_faster_than_it_may(
    steps: list[tuple[int, int]],
) -> None:
    before: int | None = NOW
    for now, elapsed in steps:
        at, reached = settled(now, before, elapsed)
        assert reached is not None
        assert at <= now
        assert at <= NOW or before is not None
        assert before is None or before <= reached <= before + CATCH_UP * elapsed
        assert at <= reached or now < reached
        before = reached


def test_retention_follows_a_clock_that_runs_and_catches_up_after_a_long_absence() -> None:
    before: int | None = None
    for hour in range(10):
        at, before = settled(NOW + hour * 3_600_000, before, 3_600_000)
        assert at == NOW + hour * 3_600_000
    now, hours = NOW + 90 * DAY, 0
    while at < now:
        now, hours = now + 3_600_000, hours + 1
        at, before = settled(now, before, 3_600_000)
    assert 90 <= hours <= 95, "three months in less than four days"
    assert settled(0, before, 1) == (0, before), "a clock that was never set changes nothing"


def samples(*times: int) -> bytes:
    frame = empty_frame()
    for at in times:
        frame.add("p", 1.0, at)
    return frame.encode()


def test_history_keeps_its_years_when_the_clock_says_2040_for_a_minute(tmp_path: Path, clock: Clock) -> None:
    store = HistoryStore(tmp_path, clock=clock)
    store.load("p", np.arange(9 * 365) * DAY + NOW - 9 * YEAR, np.ones(9 * 365))
    store.append(samples(NOW))
    for _ in range(6):
        clock.passed += 10
        clock.now = AHEAD + round(clock.passed * 1000)
        store.append(samples(clock.now))
        assert store.prune() == 0
    clock.now = NOW + MINUTE
    store.append(samples(clock.now))
    assert store.prune() == 0
    assert store.count("p") == 9 * 365 + 1 + 6 + 1
    clock.passed += 400 * 3600
    clock.now = NOW + 400 * DAY
    assert store.prune() > 0, "time that has really passed counts"
    store.close()


def test_samples_under_an_earlier_clock_go_where_they_belong(tmp_path: Path, clock: Clock) -> None:
    store = HistoryStore(tmp_path, clock=clock)
    store.append(samples(NOW, NOW + 1000))
    clock.now -= DAY
    store.append(samples(NOW - DAY))
    assert [each.time for each in store.read("p").samples] == [NOW - DAY, NOW, NOW + 1000]
    store.close()


def test_a_sign_of_life_from_the_future_hides_no_gap(tmp_path: Path, clock: Clock) -> None:
    store = HistoryStore(tmp_path, clock=clock)
    store.append(samples(NOW))
    clock.now = AHEAD
    store.append(samples(AHEAD))
    store.close()
    clock.now = NOW + DAY
    store = HistoryStore(tmp_path, clock=clock)
    store.append(samples(clock.now))
    assert [(each.start, each.end) for each in store.gaps("p", NOW, NOW + 2 * DAY)] == [(NOW, NOW + DAY)]
    store.close()


def entry(number: int) -> Entry:
    return Entry(f"k{number}", "alarm_cleared", b'{"alarm_id":1,"node_id":"x"}')


def test_the_journal_is_pruned_in_its_order_whatever_the_clock_said(tmp_path: Path, clock: Clock) -> None:
    store = JournalStore(tmp_path, clock=clock)
    store.append([entry(1)])
    clock.now = 1_000
    store.append([entry(2)])
    clock.now = AHEAD
    store.append([entry(3)])
    clock.now = NOW + MINUTE
    store.append([entry(4)])
    store.close()
    store = JournalStore(tmp_path, clock=clock)
    store.append([entry(5)])
    assert [each.seq for each in store.read(0).entries] == [1, 2, 3, 4, 5]
    store.close()
    clock.now = NOW + KEEP + 2 * DAY
    store = JournalStore(tmp_path, clock=clock)
    clock.passed += 40 * 3600
    store.append([entry(6)])
    assert [each.seq for each in store.read(0).entries] == [6]
    store.close()


# Who is logged in

PASSWORD = "correct horse battery"


@pytest.fixture
def users(tmp_path: Path, clock: Clock) -> Iterator[UserStore]:
    store = UserStore(tmp_path, clock=clock)
    store.setup("ana", PASSWORD)
    yield store
    store.close()


def test_a_token_that_was_ended_stays_so_after_a_clock_that_was_ahead(users: UserStore, clock: Clock) -> None:
    users.login("ana", PASSWORD)
    token = users.login("ana", PASSWORD).access_token
    users.logout(token)
    clock.now = AHEAD
    users.login("ana", PASSWORD)
    clock.now = NOW + MINUTE
    with pytest.raises(NotAuthenticatedError, match="no longer holds"):
        users.authenticate(token)


def test_a_token_from_the_future_does_not_hold_for_years(users: UserStore, clock: Clock) -> None:
    clock.now = AHEAD
    token = users.login("ana", PASSWORD).access_token
    clock.now = NOW
    with pytest.raises(NotAuthenticatedError, match="the clock was set back"):
        users.authenticate(token)
    clock.now = NOW - MINUTE
    token = users.login("ana", PASSWORD).access_token
    clock.now -= MINUTE
    assert users.authenticate(token).username == "ana", "a small step ends nothing"
    clock.now += TOKEN_LIFE + MINUTE
    with pytest.raises(NotAuthenticatedError, match="expired"):
        users.authenticate(token)


# What ends, and when


@pytest.mark.parametrize("back", [10 * MINUTE, DAY, YEAR])
def test_an_override_ends_at_most_after_twice_its_time(tmp_path: Path, clock: Clock, back: int) -> None:
    store = OverrideStore(tmp_path, clock=clock)
    store.put("p", 8, 1.0, "ana", NOW + 60 * MINUTE)
    store.put("q", 8, 1.0, "ana")
    clock.now += 30 * MINUTE
    assert store.due() == []
    clock.now -= back
    begun = clock.now
    while not (due := store.due()):
        clock.now += MINUTE
    assert [each.node_id for each in due] == ["p"]
    assert 30 * MINUTE <= clock.now - begun <= 60 * MINUTE
    store.close()


def test_alarms_and_faults_never_end_before_they_began(tmp_path: Path, clock: Clock) -> None:
    alarms = AlarmStore(tmp_path, clock=clock)
    alarm = alarms.raise_alarm("p", Severity.HIGH, "hot")
    clock.now -= DAY
    seen = alarms.acknowledge(alarm.id, "ana")
    over = alarms.clear(alarm.id)
    assert (seen.acknowledged_at, over.cleared_at) == (alarm.raised_at, alarm.raised_at)
    steps, _ = alarms.history()
    assert [each.event for each in steps] == ["cleared", "acknowledged", "raised"]
    alarms.close()
    fdd = FddStore(tmp_path, clock=clock)
    rule = fdd.create_rule(
        NewRule.model_validate({"name": "r", "condition": {"kind": "threshold", "high": 1.0}})
    )
    binding = NewBinding.model_validate({"node_id": "p", "points": {"value": "p"}})
    fdd.bind(rule.id, binding, [Node(id="p", node_type=NodeType.POINT, dis="P")])
    fault = fdd.raise_fault(rule.id, "p")
    clock.now -= DAY
    assert fdd.acknowledge(fault.id, "ana").acknowledged_at == fault.raised_at
    assert fdd.clear_fault(fault.id).cleared_at == fault.raised_at
    fdd.close()


def test_a_shelf_that_was_set_under_a_clock_ahead_ends(tmp_path: Path, clock: Clock) -> None:
    alarms = AlarmStore(tmp_path, clock=clock)
    alarm = alarms.raise_alarm("p", Severity.HIGH, "hot")
    clock.now = AHEAD
    alarms.shelve(alarm.id, AHEAD + LONGEST_SHELF, "ana")
    clock.now = NOW + MINUTE
    assert alarms.unshelve_due() == [alarm.id]
    alarms.close()
    notices = NotificationStore(tmp_path, clock=clock)
    clock.now = AHEAD
    notices.shelve(NewShelving(node_id="p", reason="r", duration=3600), "ana")
    clock.now = NOW
    assert notices.expire_shelvings() == []
    clock.now = NOW + 60 * MINUTE
    assert [each.node_id for each in notices.expire_shelvings()] == ["p"]
    notices.close()


# What is tried again


def test_what_waits_for_another_attempt_does_not_wait_for_2040(tmp_path: Path, clock: Clock) -> None:
    webhooks = WebhookStore(tmp_path, clock=clock)
    endpoint = webhooks.create(
        NewEndpoint.model_validate({"name": "e", "url": "https://w.example.org", "secret": "x"})
    )
    clock.now = AHEAD
    delivery = webhooks.queue(endpoint.id, "k", "alarm_raised", "{}")
    webhooks.attempted(delivery.id, 503, 10)
    clock.now = NOW
    assert [each.delivery.id for each in webhooks.due()] == [delivery.id]
    done = webhooks.attempted(delivery.id, 200, 10)
    assert done.state is DeliveryState.DELIVERED
    assert done.finished_at == done.created_at == AHEAD
    webhooks.close()
    notices = NotificationStore(tmp_path, clock=clock)
    person = notices.create_recipient(
        NewRecipient.model_validate({"name": "r", "kind": "email", "address": "a@example.org"})
    )
    clock.now = AHEAD
    new = NewNotice(
        key="k",
        site="north",
        alarm_id=1,
        rule_id=1,
        tier=1,
        recipient_id=person.id,
        subject="s",
        due_at=AHEAD,
    )
    [notice] = notices.queue([new])
    notices.attempted(notice.id, "no answer")
    clock.now = NOW
    assert [each.id for each in notices.due()] == [notice.id]
    assert notices.attempted(notice.id).state is NoticeState.SENT
    notices.close()


def test_reports_come_again_after_a_clock_that_was_ahead(tmp_path: Path, clock: Clock) -> None:
    store = ReportStore(tmp_path, clock=clock)
    report = store.create(NewReport(name="r", template=TemplateName.COMFORT), "ana")
    daily = {"timing": {"every": "day", "at": "06:00"}, "recipients": ["a@example.org"]}
    store.create_schedule(report.id, NewReportSchedule.model_validate(daily))
    clock.now = AHEAD
    assert len(store.take_due()) == 1
    clock.now = NOW
    assert store.take_due() == []
    clock.now = NOW + DAY
    [made] = store.take_due()
    started = store.start_execution(made.id)
    clock.now -= 2 * DAY
    finished = store.finish(made.id, "<html></html>")
    assert finished.finished_at == started.started_at
    store.close()


# What is written over


def test_a_better_rollup_takes_the_place_of_a_partial_one_under_an_earlier_clock(
    tmp_path: Path, clock: Clock
) -> None:
    store = EnergyStore(tmp_path, clock=clock)
    meter = store.create_meter(NewMeter(name="m", node_id="meter-1/energy"))

    def rollup(consumption: float, *, final: bool) -> NewRollup:
        return NewRollup(
            meter_id=meter.id,
            period=Period.DAY,
            start=NOW,
            end=NOW + DAY,
            consumption=consumption,
            coverage=1.0,
            final=final,
        )

    store.put_rollups([rollup(1.0, final=False)])
    clock.now -= YEAR
    assert store.put_rollups([rollup(2.0, final=True)]) == 1
    clock.now += 2 * YEAR
    assert store.put_rollups([rollup(3.0, final=False)]) == 0
    assert [each.consumption for each in store.rollups()[0]] == [2.0]
    store.close()


def test_when_a_device_was_last_seen_is_by_the_present_clock(tmp_path: Path, clock: Clock) -> None:
    store = DiscoveryStore(tmp_path, clock=clock)
    device = FoundDevice(network_id="ip", protocol="bacnet", device_key="1", address="a", points=[])
    clock.now = AHEAD
    store.found(device)
    clock.now = NOW
    found = store.found(device)
    assert (found.first_seen, found.last_seen) == (NOW, NOW)
    scan = store.begin_scan("bacnet", ["ip"], "ana")
    clock.now -= DAY
    assert store.finish_scan(scan.id, 0, 0).finished_at == scan.started_at
    store.close()
