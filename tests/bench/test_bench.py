"""That each measurement of history runs and that what it compares is the same; nothing is timed here."""

import shutil
from pathlib import Path

import pytest

from bench import peers
from bench.history import append, frames_of, samples, size
from bench.machine import machine
from bench.modbus import poll
from bench.results import TINY, Met, Result, at_least, at_most, percentile, table


def nothing(done: int, of: int, doing: str) -> None:
    """Tell nobody."""


def test_the_samples_are_a_minute_apart_with_jitter_and_to_a_tenth() -> None:
    times, values = samples(5000, 1)
    steps = times[1:] - times[:-1]
    assert steps.min() >= 60_000 - 80
    assert steps.max() <= 60_000 + 80
    assert all(float(f"{value:.1f}") == value for value in values)
    assert (samples(5000, 1)[1] == values).all(), "the same each time"


def test_a_frame_and_the_rows_of_the_plain_table_are_the_same() -> None:
    for frame, rows in frames_of(7, 3):
        assert list(zip(frame.times, frame.values, strict=True)) == [row[1:] for row in rows]


def test_the_size_of_history_is_measured(tmp_path: Path) -> None:
    [row] = size(tmp_path, TINY, nothing)
    assert "bytes/sample" in row.ours


def test_the_table_holds_rows_notes_and_machine() -> None:
    rows = [
        Result("one", "2/s", "1/s", "2.0", "1.0", at_least(2.0, 1.0), ["beside it"]),
        Result("two", "2", "", "2", "at most 1", at_most(2, 1)),
    ]
    text = table(rows, machine(), 3)
    assert "| one | 2/s | 1/s | 2.0 | 1.0 | yes |" in text
    assert "| two | 2 |  | 2 | at most 1 | **no** |" in text
    assert "- one: beside it" in text
    assert "| apsw" in text or "| SQLite (apsw) |" in text


def test_a_percentile_is_one_of_the_numbers() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0


def test_a_peer_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_kwargs: None)
    with pytest.raises(peers.MissingPeerError, match="redis-server"), peers.redis(tmp_path):
        pass


@pytest.mark.cluster
def test_appends_are_measured(tmp_path: Path) -> None:
    from bench.cluster import end

    try:
        [row] = append(tmp_path, TINY, nothing)
    finally:
        end()
    assert row.met in Met


def test_a_modbus_poll_is_measured(tmp_path: Path) -> None:
    [row] = poll(tmp_path, TINY, nothing)
    assert "registers/s" in row.ours
