"""`opencrate status`: how the campus is, as its API tells it without a login."""

from typing import Any, Final

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from actors.core.errors import OpenCrateError

TIMEOUT: Final = 10.0
"""Seconds that the API may take; it waits 2.5 s for each of its components."""

HEALTHY, DEGRADED, UNREACHABLE = 0, 1, 2
"""What the command ends with."""


class NoAnswerError(OpenCrateError):
    """The API at `url` can't be reached, or what answers there isn't ours."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url, self.reason = url, reason

    def __str__(self) -> str:
        return f"nothing of OpenCrate answers at {self.url}: {self.reason}; name another with --url"


def ask(url: str, path: str = "/api/system/health", transport: httpx.BaseTransport | None = None) -> Any:
    """Ask the API for something that needs no login. Raises NoAnswerError."""
    try:
        with httpx.Client(base_url=url, timeout=TIMEOUT, transport=transport) as client:
            answer = client.get(path)
            answer.raise_for_status()
            return answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise NoAnswerError(url, str(error) or type(error).__name__) from error


def show(url: str, console: Console, transport: httpx.BaseTransport | None = None) -> int:
    """Print sites, hosts and actors; give 0 when all are healthy, else 1. Raises NoAnswerError."""
    said = ask(url, transport=transport)
    try:
        state, components = str(said["state"]), list(said["components"])
        rows = [
            (str(each["name"]), str(each["host"]), str(each["state"]), "; ".join(each["reasons"]))
            for each in components
        ]
        away = [str(each) for each in said["unreachable_sites"]]
    except (KeyError, TypeError) as error:
        raise NoAnswerError(url, f"it gives no health that this version knows ({error})") from error
    console.print(f"The campus at {escape(url)} is {escape(state)}.\n")
    by_site: dict[str, list[tuple[str, str, str, str]]] = {}
    for row in rows:
        by_site.setdefault(row[0].rpartition("@")[2], []).append(row)
    sites = _table("site", "host", "state", "actors", "why")
    for site, mine in sorted(by_site.items(), key=lambda each: (each[0] != "campus", each[0])):
        well = sum(row[2] == "healthy" for row in mine)
        told = "away" if site in away else "healthy" if well == len(mine) else "degraded"
        hosts = ", ".join(sorted({row[1] for row in mine}))
        why = mine[0][3] if site in away else ""
        sites.add_row(*map(escape, (site, hosts, told, "-" if site in away else f"{well}/{len(mine)}", why)))
    console.print(sites)
    actors = _table("actor", "host", "state", "why")
    for row in rows:
        if row[0].rpartition("@")[2] not in away:
            actors.add_row(*map(escape, row))
    console.print(actors)
    return HEALTHY if state == "healthy" else DEGRADED


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for each in columns:
        table.add_column(each, overflow="fold")
    return table
