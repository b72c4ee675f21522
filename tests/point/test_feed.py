"""What the feed tells the gap ledger; test_point.py has how it carries samples."""

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.core.errors import StorageError
from actors.history.gaps import EVERY, GapKind, GapNotes, GapReason, are_notes, decode_notes, no_gaps
from actors.history.store import HistoryStore
from actors.point.feed import IN_MEMORY, HistoryFeed
from actors.point.models import PointFrame, decode_frame

MINUTE = 60_000
START = 1_700_000_000_000


class History:
    def __init__(self) -> None:
        self.trouble: Exception | None = None
        self.rows: list[tuple[str, int]] = []
        self.gaps: list[tuple[Any, ...]] = []
        self.asked = threading.Event()

    def __call__(self, frame: bytes) -> None:
        self.asked.set()
        if self.trouble is not None:
            raise self.trouble
        if are_notes(frame):
            notes = decode_notes(frame)
            self.gaps += zip(notes.ids, notes.starts, notes.ends, notes.kinds, notes.reasons, strict=True)
        else:
            data = decode_frame(frame)
            self.rows += zip(data.ids, data.times, strict=True)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert true()


def one(n: int, point_id: str = "p") -> bytes:
    return PointFrame([point_id], [float(n)], [START + n * MINUTE], [0]).encode()


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (ConnectionError("it restarts"), GapReason.HISTORY_DOWN),
        (StorageError("history", "the disk is full; nothing was changed"), GapReason.DISK_FULL),
    ],
)
def test_samples_that_came_late_are_noted_with_the_reason(
    tmp_path: Path, trouble: Exception, reason: GapReason
) -> None:
    history = History()
    feed = HistoryFeed(history, tmp_path / "history.queue", retry=0.01)
    feed(one(0))
    until(lambda: len(history.rows) == 1)
    history.trouble = trouble
    for n in range(1, 2 * IN_MEMORY):
        feed(one(n))
    until(lambda: feed.failing is not None)
    history.trouble = None
    until(lambda: len(history.gaps) == 1)
    feed.close()
    assert len(history.rows) == 2 * IN_MEMORY
    last = START + (2 * IN_MEMORY - 1) * MINUTE
    assert history.gaps == [(EVERY, START + MINUTE, last, GapKind.LATE, reason)]
    assert list(tmp_path.iterdir()) == []


def test_a_hiccup_is_not_worth_a_note(tmp_path: Path) -> None:
    history = History()
    history.trouble = ConnectionError("a moment")
    feed = HistoryFeed(history, tmp_path / "history.queue", retry=0.01)
    feed(one(0))
    until(lambda: feed.failing is not None)
    history.trouble = None
    until(lambda: len(history.rows) == 1)
    feed.close()
    assert history.gaps == []
    assert list(tmp_path.iterdir()) == []


def test_frames_that_no_disk_takes_are_noted_as_lost_by_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History()
    history.trouble = StorageError("history", "the disk is full; nothing was changed")
    feed = HistoryFeed(history, tmp_path / "history.queue", retry=0.01)
    real = Path.open

    def full(self: Path, *args: Any, **more: Any) -> Any:
        if self.name == "history.queue":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *args, **more)

    monkeypatch.setattr(Path, "open", full)
    feed(one(0))
    until(lambda: feed.failing is not None)
    for n in range(1, IN_MEMORY + 10):
        feed(one(n, "p" if n % 2 else "q"))
    history.trouble = None
    until(lambda: len(history.gaps) == 3)
    monkeypatch.undo()
    feed.close()
    lost = {gap[0]: gap for gap in history.gaps if gap[3] == GapKind.LOST}
    assert lost.keys() == {"p", "q"}
    assert {gap[4] for gap in lost.values()} == {GapReason.DISK_FULL}
    there = {at for _, at in history.rows}
    for n in range(IN_MEMORY + 10):
        at, mine = START + n * MINUTE, lost["p" if n % 2 or n == 0 else "q"]
        assert at in there or mine[1] <= at <= mine[2]


def test_what_a_killed_process_held_is_noted_by_the_next(tmp_path: Path) -> None:
    history = History()
    history.trouble = ConnectionError("away")
    killed = HistoryFeed(history, tmp_path / "history.queue", retry=0.01)
    killed(one(0))
    until((tmp_path / "history.away").exists)
    killed._waiting.clear()
    killed.close()
    (tmp_path / "history.away").write_text(str(START))
    history.trouble = None
    feed = HistoryFeed(history, tmp_path / "history.queue", retry=0.01)
    feed(one(100))
    until(lambda: len(history.gaps) == 1)
    feed.close()
    [(point_id, start, end, kind, reason)] = history.gaps
    assert (point_id, start, kind, reason) == (EVERY, START, GapKind.LOST, GapReason.QUEUE_LOST)
    assert end > START
    assert not (tmp_path / "history.away").exists()


def test_half_a_frame_in_the_queue_file_is_noted(tmp_path: Path) -> None:
    whole = len(one(1)).to_bytes(4, "big") + one(1)
    (tmp_path / "history.queue").write_bytes(whole + whole[:20])
    history = History()
    feed = HistoryFeed(history, tmp_path / "history.queue", retry=0.01)
    feed(one(2))
    until(lambda: len(history.gaps) == 2)
    feed.close()
    assert history.gaps[0][3:] == (GapKind.LOST, GapReason.QUEUE_LOST)
    assert history.gaps[0][1] == START + MINUTE


def test_notes_travel_in_order_between_frames_and_through_the_queue_file(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path)
    away = threading.Event()
    away.set()

    def send(frame: bytes) -> int:
        if away.is_set():
            raise ConnectionError("away")
        added: int = store.append(frame)
        return added

    feed = HistoryFeed(send, tmp_path / "history.queue", retry=0.01)
    note = GapNotes(["p"], [START], [START + 5], [GapKind.LOST], [GapReason.DEVICE_DOWN]).encode()
    for n in range(IN_MEMORY + 50):
        feed(one(n))
        if n % 100 == 0:
            feed(note)
    feed.close(0.1)
    away.clear()
    again = HistoryFeed(send, tmp_path / "history.queue", retry=0.01)
    again(one(IN_MEMORY + 50))
    until(lambda: not again._unsaid and not again._spilled and not again.queued)
    again.close()
    assert store.count("p") == IN_MEMORY + 51
    assert [(gap.reason, gap.end) for gap in store.gaps("p") if not gap.every_point] == [
        ("device down", START + 5)
    ]


@pytest.mark.parametrize("spilled", [False, True])
def test_a_frame_that_history_refuses_for_good_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spilled: bool
) -> None:
    monkeypatch.setattr("actors.point.feed.REFUSALS", 3)
    if spilled:
        monkeypatch.setattr("actors.point.feed.IN_MEMORY", 0)
    history = History()
    history.trouble = ConnectionError("it restarts")
    feed = HistoryFeed(lambda frame: picky(history, frame), tmp_path / "queue.bin", retry=0.001)
    for n in range(5):
        feed(one(n, "bad" if n == 2 else "p"))
    history.asked.wait(5)
    history.trouble = None
    until(lambda: len(history.rows) == 4 and bool(history.gaps))
    feed.close()
    assert sorted(history.rows) == [("p", START + n * MINUTE) for n in (0, 1, 3, 4)]
    at = START + 2 * MINUTE
    assert ("bad", at, at, GapKind.LOST, GapReason.QUEUE_LOST) in history.gaps
    assert not list(tmp_path.glob("queue*"))


def picky(history: History, frame: bytes) -> None:
    if b"bad" in frame and not are_notes(frame) and history.trouble is None:
        raise ValueError("history can't merge this into a chunk")
    history(frame)


def test_a_queue_file_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    history, sent = History(), []

    def send(frame: bytes) -> None:
        history(frame)
        sent.append(frame)
        if len(sent) == 3:
            raise ConnectionError("it restarts")

    (tmp_path / "queue.bin").write_bytes(
        b"".join(len(each).to_bytes(4, "big") + each for each in map(one, range(5)))
    )
    feed = HistoryFeed(send, tmp_path / "queue.bin", retry=0.001)
    feed(one(5))
    until(lambda: len(set(history.rows)) == 6)
    feed.close()
    samples = [frame for frame in sent if not are_notes(frame)]
    assert len(samples) == 7, "one was sent twice, and none before it"


@pytest.mark.parametrize("rest", [b"\0", b"\0\0\0\x20", b"\0\0\0\x20half"])
def test_whatever_half_a_frame_is_it_is_noted(tmp_path: Path, rest: bytes) -> None:
    history = History()
    (tmp_path / "queue.bin").write_bytes(len(one(0)).to_bytes(4, "big") + one(0) + rest)
    feed = HistoryFeed(history, tmp_path / "queue.bin", retry=0.001)
    feed(one(1))
    until(lambda: bool(history.gaps))
    feed.close()
    assert GapReason.QUEUE_LOST in {gap[4] for gap in history.gaps}


def test_notes_are_told_from_frames() -> None:
    notes = no_gaps()
    assert not are_notes(one(1))
    assert are_notes(notes.encode())
    notes.add("p", 5, 3, GapKind.LOST, GapReason.HOST_OFF)
    assert decode_notes(notes.encode()) == notes
    assert notes.ends == [5]
