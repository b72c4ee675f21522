import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from actors.core.values import PointStatus, PointValue
from actors.export.logic import (
    create_statement,
    fits,
    insert_statement,
    line,
    lines,
    may_become,
    postgres_row,
)
from actors.export.models import BackfillState, InfluxTarget, NewTarget, PostgresTarget

NAMES = st.text(min_size=1, max_size=30)
VALUES = st.one_of(
    st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.text()
)


def parse(text: str) -> tuple[str, dict[str, str], dict[str, Any], int]:
    """Read one line as the line protocol's reference describes it: escapes, tags, typed fields, time."""
    parts: list[str] = [""]
    quoted = False
    at = 0
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text) and (quoted or text[at + 1] in ",= "):
            parts[-1] += text[at : at + 2]
            at += 2
            continue
        if char == '"' and len(parts) == 2:
            quoted = not quoted
        if char == " " and not quoted:
            parts.append("")
        else:
            parts[-1] += char
        at += 1
    head, fields, time = parts
    unescape = lambda value: re.sub(r"\\([,= ])", r"\1", value)  # noqa: E731
    measurement, *pairs = re.split(r"(?<!\\),", head)
    tags = dict(re.split(r"(?<!\\)=", pair, maxsplit=1) for pair in pairs)
    found: dict[str, Any] = {}
    for pair in re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|[^,]+)', fields):
        key, value = pair
        if value.startswith('"'):
            found[key] = re.sub(r'\\(["\\])', r"\1", value[1:-1])
        elif value in {"true", "false"}:
            found[key] = value == "true"
        else:
            found[key] = float(value)
    return unescape(measurement), {k: unescape(v) for k, v in tags.items()}, found, int(time)


def cleaned(name: str) -> str:
    clean = re.sub(r"[\x00-\x1f\x7f]", "_", name)
    return clean + "_" if clean.endswith("\\") else clean


@given(
    measurement=st.from_regex(r"[a-z ,]{1,10}", fullmatch=True),
    site=NAMES,
    point=st.from_regex(r"[\w/ ,=.-]{1,30}", fullmatch=True),
    value=VALUES,
    status=st.integers(0, 63),
    time=st.integers(0, 2**43),
)
def test_a_line_says_what_the_sample_was(
    measurement: str, site: str, point: str, value: PointValue, status: int, time: int
) -> None:
    site = site.replace("\\", "/")
    text = line(measurement, (site, point, time, value, status))
    assert text is not None
    assert "\n" not in text
    name, tags, fields, at = parse(text)
    assert (name, at) == (cleaned(measurement), time)
    assert tags == {"point": cleaned(point), "site": cleaned(site)}
    if isinstance(value, bool):
        assert fields["value_bool"] is value
    elif isinstance(value, str):
        assert fields["value_text"] == re.sub(r"[\x00-\x1f\x7f]", " ", value)
    else:
        assert fields["value"] == float(value)
    assert ("status" in fields) == bool(status)


@given(rows=st.lists(st.tuples(NAMES, NAMES, st.integers(0, 2**43), st.none() | VALUES, st.integers(0, 63))))
def test_there_is_one_line_for_each_sample_with_a_value(rows: list[Any]) -> None:
    text = lines("m", rows)
    count = sum(row[3] is not None for row in rows)
    assert text.count("\n") == max(0, count - 1)
    assert bool(text) == bool(count)


def test_lines_of_the_reference() -> None:
    assert line("my data", ("north", "1001/ai 1", 1_600_000_000_000, 21.5, 0)) == (
        r"my\ data,point=1001/ai\ 1,site=north value=21.5 1600000000000"
    )
    assert line("m", ("n", "a=b,c", 5, 'say "hi" \\', int(PointStatus.STALE | PointStatus.DOWN))) == (
        'm,point=a\\=b\\,c,site=n value_text="say \\"hi\\" \\\\",status="stale down" 5'
    )
    assert line("m", ("n", "p", 5, 3, 0)) == "m,point=p,site=n value=3.0 5"
    assert line("m", ("n", "p", 5, None, 0)) is None
    assert line("m", ("n", "p", 5, float("nan"), 0)) is None
    assert line("m", ("n\n\\", "p\r", 5, True, 0)) == "m,point=p_,site=n_\\_ value_bool=true 5"


def test_statements_name_only_checked_identifiers() -> None:
    target = PostgresTarget(host="db.example.org", database="hist", username="u", table="samples")
    assert '"public"."samples"' in insert_statement(target)
    assert "ON CONFLICT (site, point_id, time) DO NOTHING" in insert_statement(target)
    assert "PRIMARY KEY (site, point_id, time)" in create_statement(target)
    assert postgres_row(("n", "p", 5, True, 1)) == ("n", "p", 5, 1.0, None, 1)
    assert postgres_row(("n", "p", 5, "a\x00b", 0)) == ("n", "p", 5, None, "ab", 0)
    assert postgres_row(("n", "p", 5, None, 0)) == ("n", "p", 5, None, None, 0)
    for wrong in ('x"; DROP TABLE y; --', "1st", "", "a b", "a" * 64):
        with pytest.raises(ValidationError):
            PostgresTarget(host="h", database="d", username="u", table=wrong)


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "https://i.example.org"},
        {"url": "https://i.example.org", "database": "d", "org": "o"},
        {"url": "https://i.example.org", "org": "o"},
        {"url": "https://u:p@i.example.org", "database": "d"},
        {"url": "file:///etc/passwd", "database": "d"},
    ],
)
def test_an_influx_target_is_of_one_version_and_shows_no_password(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        InfluxTarget.model_validate(fields)


@pytest.mark.parametrize("host", ["a b", "-x", "x;y", "http://x", "", "x/y", "a\nb"])
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    with pytest.raises(ValidationError):
        PostgresTarget(host=host, database="d", username="u")


def test_a_password_never_shows_in_text() -> None:
    new = NewTarget.model_validate(
        {
            "name": "x",
            "connection": {"kind": "postgresql", "host": "h", "database": "d", "username": "u"},
            "password": "s3cret",
        }
    )
    assert "s3cret" not in repr(new) + str(new) + new.model_dump_json()


def test_a_selection_joins_its_conditions() -> None:
    def chosen(**fields: Any) -> bool:
        base: dict[str, Any] = {"sites": [], "ids": [], "wanted": []}
        return fits("1001/ai-1", frozenset({"air", "temp"}), "north", **base | fields)

    assert chosen()
    assert chosen(sites=["north"], ids=["1001/ai-1"], wanted=["air", "-zone"])
    assert not chosen(sites=["south"])
    assert not chosen(ids=["other"])
    assert not chosen(wanted=["air", "zone"])
    assert not chosen(wanted=["-air"])


def test_a_backfill_that_is_over_stays_over_except_for_a_failed_one() -> None:
    queued, running, done, failed, cancelled = BackfillState
    allowed = {(a, b) for a in BackfillState for b in BackfillState if may_become(a, b)}
    assert allowed == {
        (queued, running),
        (queued, cancelled),
        (running, queued),
        (running, done),
        (running, failed),
        (running, cancelled),
        (failed, queued),
    }
