import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from actors.core.clock import LATEST, Timestamp, from_iso, to_iso


class Timed(BaseModel):
    at: Timestamp


def test_a_time_reads_as_iso_with_milliseconds_and_z() -> None:
    assert to_iso(1_700_000_000_007) == "2023-11-14T22:13:20.007Z"


@given(st.integers(0, LATEST))
def test_every_time_survives_the_round_trip(ms: int) -> None:
    assert from_iso(to_iso(ms)) == ms
    assert Timed.model_validate_json(Timed(at=ms).model_dump_json()).at == ms


def test_zones_are_understood() -> None:
    assert from_iso("2026-06-01T12:00:00+02:00") == from_iso("2026-06-01T10:00:00Z")


@pytest.mark.parametrize("text", ["2026-06-01T12:00:00", "2026-06-01", "noon", ""])
def test_a_time_without_a_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"zone|Invalid isoformat"):
        from_iso(text)


@pytest.mark.parametrize("value", [-1, LATEST + 1, "2026-06-01T12:00:00", True, None])
def test_a_model_refuses_times_that_iso_cant_name(value: object) -> None:
    with pytest.raises(ValidationError):
        Timed.model_validate({"at": value}, strict=True)
