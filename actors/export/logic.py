"""Rules of exporting: InfluxDB's line protocol, PostgreSQL's statement, and the life of a backfill.

Line protocol: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Final

from actors.core.values import PointValue, flag_names
from actors.export.models import BackfillState, PostgresTarget
from actors.node.logic import matches_tags

Row = tuple[str, str, int, PointValue | None, int]
"""Site, point id, time (ms), value and status flags of a sample."""

_MEASUREMENT: Final = str.maketrans({",": r"\,", " ": r"\ "})
_TAG: Final = str.maketrans({",": r"\,", " ": r"\ ", "=": r"\="})
_TEXT: Final = str.maketrans({"\\": r"\\", '"': r"\""})
_BREAKS: Final = re.compile(r"[\x00-\x1f\x7f]")

_NEXT: Final[dict[BackfillState, frozenset[BackfillState]]] = {
    BackfillState.QUEUED: frozenset({BackfillState.RUNNING, BackfillState.CANCELLED}),
    BackfillState.RUNNING: frozenset(
        {BackfillState.QUEUED, BackfillState.DONE, BackfillState.FAILED, BackfillState.CANCELLED}
    ),
    BackfillState.FAILED: frozenset({BackfillState.QUEUED}),
    BackfillState.DONE: frozenset(),
    BackfillState.CANCELLED: frozenset(),
}


def may_become(now: BackfillState, then: BackfillState) -> bool:
    """Tell whether a backfill may go from one state to another; a failed one may be tried again."""
    return then in _NEXT[now]


def _name(text: str, table: dict[int, str]) -> str:
    # A line ends at a line feed and a tag may not end in a backslash, which would swallow what follows.
    clean = _BREAKS.sub("_", text).translate(table)
    return clean + "_" if clean.endswith("\\") else clean


def _field(value: PointValue) -> str | None:
    if isinstance(value, bool):
        return f"value_bool={'true' if value else 'false'}"
    if isinstance(value, int):
        return f"value={float(value)!r}"
    if isinstance(value, float):
        return f"value={value!r}" if math.isfinite(value) else None
    return f'value_text="{_BREAKS.sub(" ", value).translate(_TEXT)}"'


def line(measurement: str, row: Row) -> str | None:
    """Give a sample as one line of InfluxDB's line protocol, time in ms; None where there is no value.

    Numbers go to the field `value` (always a float, so that a point never changes its field's type), binary
    values to `value_bool`, texts to `value_text`; status flags to `status`.
    """
    site, point_id, time, value, status = row
    field = None if value is None else _field(value)
    if field is None:
        return None
    head = f"{_name(measurement, _MEASUREMENT)},point={_name(point_id, _TAG)},site={_name(site, _TAG)}"
    flags = f',status="{" ".join(flag_names(status))}"' if status else ""
    return f"{head} {field}{flags} {time}"


def lines(measurement: str, rows: Iterable[Row]) -> str:
    """Give samples as line protocol, a line each."""
    return "\n".join(text for row in rows if (text := line(measurement, row)) is not None)


def insert_statement(target: PostgresTarget) -> str:
    """Give the statement that adds one sample; sending a sample twice changes nothing.

    Its parameters are site, point id, time (ms), value, text and status.
    """
    return (
        f'INSERT INTO "{target.schema_name}"."{target.table}"'  # noqa: S608 - identifiers are checked
        " (site, point_id, time, value, text_value, status)"
        " VALUES ($1, $2, to_timestamp($3 / 1000.0), $4, $5, $6)"
        " ON CONFLICT (site, point_id, time) DO NOTHING"
    )


def create_statement(target: PostgresTarget) -> str:
    """Give the statement that makes the table where it isn't there."""
    return (
        f'CREATE TABLE IF NOT EXISTS "{target.schema_name}"."{target.table}" (site text NOT NULL,'
        " point_id text NOT NULL, time timestamptz NOT NULL, value double precision, text_value text,"
        " status integer NOT NULL, PRIMARY KEY (site, point_id, time))"
    )


def postgres_row(row: Row) -> tuple[str, str, int, float | None, str | None, int]:
    """Give a sample as the parameters of `insert_statement`; a binary value is 0 or 1."""
    site, point_id, time, value, status = row
    if isinstance(value, str):
        return site, point_id, time, None, value.replace("\x00", ""), status
    number = None if value is None else float(value)
    return site, point_id, time, number, None, status


def fits(
    point_id: str,
    tags: frozenset[str],
    site: str,
    *,
    sites: Sequence[str],
    ids: Sequence[str],
    wanted: Sequence[str],
) -> bool:
    """Tell whether a point is selected: by site, by list, by tags; what is empty doesn't filter."""
    if sites and site not in sites:
        return False
    if ids and point_id not in ids:
        return False
    return matches_tags(tags, wanted)
