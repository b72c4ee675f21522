"""The point store against a plain model of ASHRAE 135's change of value."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.core.errors import NotFoundError
from actors.core.values import PointStatus
from actors.history.gaps import are_notes
from actors.point.models import PointConfig, PointFrame, decode_frame
from actors.point.store import STALE_INTERVALS, PointStore

IDS = ["a", "b", "c"]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(0, 3), st.sampled_from([0.0, 0.25, 0.5, 1.0, 21.5]), st.just("on")
)
SOURCE = st.sampled_from([0, int(PointStatus.FAULT), int(PointStatus.DOWN), int(PointStatus.OVERRIDDEN)])
INTERVAL = 10.0


@dataclass
class Known:
    increment: float
    seen: float
    disabled: bool
    value: Any = None
    published: Any = None
    time: int | None = None
    source: int = 0
    alarm: bool = False
    stale: bool = False
    kept_override: bool = False

    @property
    def status(self) -> int:
        flags = self.source
        flags |= PointStatus.ALARM * self.alarm | PointStatus.STALE * self.stale
        return int(flags | PointStatus.OVERRIDDEN * self.kept_override)


def moved(old: Any, new: Any, increment: float) -> bool:
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (old, new))
    if numbers:
        return bool(old != new if increment == 0 else abs(new - old) >= increment)
    return type(old) is not type(new) or bool(old != new)


class Model(RuleBasedStateMachine):
    """Random frames, flags and times for three points, of which some are not configured."""

    def __init__(self) -> None:
        super().__init__()
        self.tick, self.at = 0.0, 1_000
        self.values_told: list[tuple[str, Any, int]] = []
        self.statuses_told: list[tuple[str, int, int]] = []
        self.recorded: list[tuple[str, Any, int]] = []
        self.known: dict[str, Known] = {}
        self.store = PointStore("north", self, self.record, lambda: self.at, lambda: self.tick)

    def values(self, ids: list[str], values: list[Any], times: list[int]) -> None:
        self.values_told += zip(ids, values, times, strict=True)

    def statuses(self, ids: list[str], old: list[int], new: list[int]) -> None:
        self.statuses_told += zip(ids, old, new, strict=True)

    def record(self, data: bytes) -> None:
        if not are_notes(data):
            frame = decode_frame(data)
            self.recorded += zip(frame.ids, frame.values, frame.times, strict=True)

    @rule(point=st.sampled_from(IDS), increment=st.sampled_from([0.0, 0.5]), disabled=st.booleans())
    def configure(self, point: str, increment: float, disabled: bool) -> None:
        config = PointConfig(id=point, cov_increment=increment, interval=INTERVAL, disabled=disabled)
        self.store.configure([config])
        known = self.known.setdefault(point, Known(increment, self.tick, disabled))
        known.increment, known.disabled = increment, disabled
        flag = int(PointStatus.DISABLED)
        known.source = known.source | flag if disabled else known.source & ~flag

    @rule(point=st.sampled_from(IDS))
    def forget(self, point: str) -> None:
        self.store.forget([point, "nobody"])
        self.known.pop(point, None)

    @rule(
        rows=st.lists(st.tuples(st.sampled_from(IDS), VALUES, SOURCE, st.integers(-500, 500)), max_size=5),
        filtered=st.booleans(),
    )
    def a_poll_comes(self, rows: list[tuple[str, Any, int, int]], filtered: bool) -> None:
        frame = PointFrame(
            [row[0] for row in rows],
            [row[1] for row in rows],
            [self.at + row[3] for row in rows],
            [row[2] for row in rows],
        )
        told, recorded = [], []
        for point, value, status, shift in rows:
            known = self.known.get(point)
            if known is None:
                continue
            time = self.at + shift
            if not status & PointStatus.DOWN and known.time is not None and time < known.time:
                recorded.append((point, value, time))  # late: history alone has it
                continue
            known.source = status
            if status & PointStatus.DOWN:
                continue
            known.stale, known.seen = False, self.tick
            if not filtered or moved(known.published, value, known.increment):
                known.published = value
                told.append((point, value, time))
            known.value, known.time = value, time
            recorded.append((point, value, time))
        self.values_told.clear()
        self.recorded.clear()
        send = self.store.set_if_changed if filtered else self.store.set_many
        answer = send(frame.encode())
        assert self.values_told == told
        assert self.recorded == recorded
        unknown = [row[0] for row in rows if row[0] not in self.known]
        assert (answer.accepted, answer.changed) == (len(rows) - len(unknown), len(told))
        assert answer.unknown == unknown

    @rule(
        point=st.sampled_from(IDS),
        flag=st.sampled_from([PointStatus.ALARM, PointStatus.OVERRIDDEN]),
        on=st.booleans(),
    )
    def a_flag_is_set(self, point: str, flag: PointStatus, on: bool) -> None:
        known = self.known.get(point)
        before = known.status if known else 0
        if known and flag is PointStatus.ALARM:
            known.alarm = on
        elif known:
            known.kept_override = on
        self.statuses_told.clear()
        changed = self.store.set_flag([point], int(flag), on)
        after = known.status if known else 0
        assert changed == int(before != after)
        assert self.statuses_told == ([(point, before, after)] if before != after else [])

    @rule(seconds=st.sampled_from([1.0, 20.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.tick += seconds
        self.at += int(seconds * 1000)
        late = [
            point
            for point, known in self.known.items()
            if not known.disabled and self.tick - known.seen > STALE_INTERVALS * INTERVAL
        ]
        assert sorted(self.store.check_stale(self.at)) == sorted(late)
        for point in late:
            self.known[point].stale = True

    @invariant()
    def every_point_is_as_known(self) -> None:
        assert sorted(self.store.ids()) == sorted(self.known)
        rows = {row[0]: row[1:4] for row in self.store.snapshot()}
        assert rows == {point: (each.value, each.status, each.time) for point, each in self.known.items()}
        for point in IDS:
            if point in self.known:
                assert self.store.get(point).status == self.known[point].status
            else:
                with pytest.raises(NotFoundError):
                    self.store.get(point)


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=60, stateful_step_count=30, suppress_health_check=list(HealthCheck), deadline=None
)
