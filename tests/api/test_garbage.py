"""Garbage to every route of the OpenAPI document: each answer is of the 2xx or 4xx, no record is poisoned.

The same seed sends the same requests. `OPENCRATE_FUZZ=20000` makes a long run of it, `OPENCRATE_FUZZ_SEED=7`
another one.
"""

import copy
import json
import logging
import os
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from actors.alarm.models import Severity
from actors.bus.journal import Entry
from actors.discovery.models import FoundDevice, FoundPoint
from actors.energy.models import NewRollup, Period
from actors.program.models import Cause, NewExecution, RunState
from api.middleware import MAX_BODY
from tests.api.bodies import BODIES, METERED, POINT, filled
from tests.api.conftest import Served

REQUESTS = int(os.environ.get("OPENCRATE_FUZZ", "2500"))
SEED = int(os.environ.get("OPENCRATE_FUZZ_SEED", "1"))
SPARED = {("POST", "/api/auth/logout"), ("POST", "/api/auth/refresh"), ("POST", "/api/system/backup")}
"""They end the session under test, or copy every file."""

DEEP = 900
TEXTS = [
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800",
    "ok\udfff",
    "\u202e\u200b\ufeff",
    "é" * 50,
    "\U0001d54f" * 64,
    "a" * 64,
    "a" * 65,
    "a" * 200,
    "a" * 255,
    "a" * 5000,
    "'; DROP TABLE node; --",
    "%00%ff",
    "{{7*7}}",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "\r\nSet-Cookie: x=1",
    "0",
    "-1",
    "1e309",
    "NaN",
    "null",
    "true",
    "9" * 40,
    "2025-13-45T99:99:99Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-23:59",
    "1970-01-01T00:00:00+23:59",
    "2025-01-01",
    "24:00",
    "Factory",
    "/etc/localtime",
    "Europe/Vienna",
    "http://[::1]:99999/",
    "http://\ud800/",
    "https://xn--a/",
    "*",
    "-",
    "--",
    "#/+",
    "{site}{",
    "{0.__class__}",
    POINT,
    METERED,
    "north",
    "1001",
]
NUMBERS: list[Any] = [
    0,
    -0.0,
    1,
    -1,
    2,
    7,
    17,
    0.1,
    1e-320,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    2**31,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63) - 1,
    10**25,
    10**400,
]
OTHERS: list[Any] = [
    None,
    True,
    False,
    [],
    {},
    [None],
    [[]],
    [1, "a", None],
    {"": None},
    {"\x00": "\ud800"},
    {"kind": "limit"},
    {"kind": "\ud800"},
    {"__class__": "x", "constructor": {}},
    [{}] * 40,
    ["a"] * 1500,
]
GARBAGE: list[Any] = [*TEXTS, *NUMBERS, *OTHERS]


def deep(levels: int, *, lists: bool) -> bytes:
    """Write nested lists or objects, deeper than Python's own writer goes."""
    return b"[" * levels + b"1" + b"]" * levels if lists else b'{"a":' * levels + b"1" + b"}" * levels


NESTED = [deep(levels, lists=lists) for levels in (20, 33, 100, DEEP, 50_000) for lists in (True, False)]
"""Put in the place of "@0@", "@1@" ... in what is sent."""


def leaves(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the way to everything inside a body, and to the body itself."""
    yield at
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield from leaves(child, (*at, key))


def put(body: Any, way: tuple[Any, ...], value: Any) -> Any:
    if not way:
        return value
    inner = body
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = value
    return body


class Fuzz:
    """Send requests and keep what was answered wrongly."""

    def __init__(self, served: Served, errors: pytest.LogCaptureFixture) -> None:
        self.served, self.errors = served, errors
        self.chance = random.Random(SEED)
        self.sent = 0
        self.by_status: dict[int, int] = {}
        self.wrong: dict[str, str] = {}

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers: Any = self.served.admin | more.pop("headers", {})
        self.errors.clear()
        answer = self.served.client.request(method, path, headers=headers, **more)
        self.sent += 1
        self.by_status[answer.status_code] = self.by_status.get(answer.status_code, 0) + 1
        if answer.status_code >= 500:
            traces = [str(record.exc_info[1]) for record in self.errors.records if record.exc_info]
            what = f"{method} {path[:120]} {str(more)[:300]}: {answer.text[:200]} {' '.join(traces)[:300]}"
            self.wrong.setdefault(f"{method} {path.partition('?')[0][:60]} {traces[:1]}", what)
        elif answer.status_code >= 400:
            error = answer.json()["error"]
            assert error.keys() == {"code", "message", "detail"}, answer.text
        return answer

    def send_json(self, method: str, path: str, body: Any) -> httpx.Response:
        # json.dumps escapes lone surrogates and writes NaN, as a careless client does.
        content = json.dumps(body).encode()
        for number, nested in enumerate(NESTED):
            content = content.replace(json.dumps(f"@{number}@").encode(), nested)
        return self.send(method, path, content=content, headers={"Content-Type": "application/json"})

    def body(self, right: Any) -> Any:
        """Give a right body with something wrong in it."""
        body = copy.deepcopy(right)
        for _ in range(self.chance.choice((1, 1, 1, 2, 4))):
            ways = list(leaves(body))
            way = self.chance.choice(ways)
            kind = self.chance.random()
            if kind < 0.1 and way and isinstance(way[-1], str):
                inner = body
                for key in way[:-1]:
                    inner = inner[key]
                del inner[way[-1]]
            elif kind < 0.15:
                body = put(body, way, f"@{self.chance.randrange(len(NESTED))}@")
            else:
                body = put(body, way, copy.deepcopy(self.chance.choice(GARBAGE)))
        return body

    def text(self) -> str:
        """Give garbage as it stands in an address."""
        value = self.chance.choice(GARBAGE)
        text = value if isinstance(value, str) else json.dumps(value)
        return quote(text.encode("utf-8", "surrogatepass"), safe="")


@pytest.fixture
def fuzz(served: Served, caplog: pytest.LogCaptureFixture) -> Fuzz:
    """A campus with a record of every kind."""
    caplog.set_level(logging.ERROR)
    fuzz = Fuzz(served, caplog)
    north = served.campus.sites["north"].stores
    for (method, path), body in BODIES.items():
        if method == "POST" and "{" not in path:
            answer = fuzz.send_json(method, path, body)
            assert answer.status_code < 300 or path.startswith(("/api/auth", "/api/alarms/ack")), answer.text
    served.alarms.raise_alarm(POINT, Severity.HIGH, "too warm", 20.0, 1)
    for (method, path), body in BODIES.items():
        if path.startswith("/api/auth"):
            continue
        if method != "POST" or "{" in path:
            status = fuzz.send_json(method, filled(path), body).status_code
            assert status < 300 or status in {404, 409}, path  # no fault yet, a session not begun
    north["discovery"].target.found(
        FoundDevice(
            network_id="ip",
            protocol="bacnet",
            device_key="1001",
            address="a",
            points=[FoundPoint(point_key="x", kind="y", value=1.0)],
        )
    )
    north["fdd"].target.raise_fault(1, METERED, {"value": 30.0})
    north["energy"].target.put_rollups(
        [NewRollup(meter_id=1, period=Period.DAY, start=0, end=86_400_000, consumption=1.0, final=True)]
    )
    north["programs"].target.log(
        1, [NewExecution(version=1, cause=Cause.PERIOD, started_at=0, duration_us=5, state=RunState.DONE)]
    )
    north["journal"].target.append(
        [Entry("k", "alarm_cleared", b'{"type":"alarm_cleared","alarm_id":1,"node_id":"x"}')]
    )
    served.campus.stores["webhooks"].target.queue(1, "k", "alarm_raised", "{}")
    served.campus.stores["reports"].target.queue(1, "ana", 0, 1000)
    return fuzz


def operations(served: Served) -> list[tuple[str, str, list[str]]]:
    """Give every operation of the document: method, path, names in the query."""
    document = served.client.app.openapi()  # type: ignore[attr-defined]
    return [
        (
            method.upper(),
            path,
            [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"],
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if (method.upper(), path) not in SPARED
    ]


def test_there_is_a_right_body_for_every_route_that_takes_one(served: Served) -> None:
    document = served.client.app.openapi()  # type: ignore[attr-defined]
    taking = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "requestBody" in operation
    }
    assert taking == set(BODIES)


def assert_readable(fuzz: Fuzz) -> None:
    """Every list and every file can still be read: nothing was kept that can't be given back."""
    fuzz.wrong.clear()
    for method, path, query in operations(fuzz.served):
        if method == "GET" and "{" not in path:
            answer = fuzz.send(method, f"{path}?limit=1000" if "limit" in query else path)
            assert answer.status_code == 200, f"{path}: {answer.text[:300]}"
    assert fuzz.wrong == {}
    site, campus = fuzz.served.campus.sites["north"], fuzz.served.campus
    for handle in (site.nodes, *site.stores.values(), *campus.stores.values()):
        store = handle.target
        store.close()
        again = type(store)(store.path.parent)
        assert again.one("PRAGMA integrity_check") == {"integrity_check": "ok"}
        again.close()


@pytest.mark.timeout(600)
def test_garbage_in_bodies(fuzz: Fuzz) -> None:
    for _ in range(REQUESTS // len(BODIES)):
        for (method, path), right in BODIES.items():
            fuzz.send_json(method, filled(path), fuzz.body(right))
    print(f"\n{fuzz.sent} requests with garbage in bodies: {dict(sorted(fuzz.by_status.items()))}")
    assert fuzz.wrong == {}
    assert_readable(fuzz)


@pytest.mark.timeout(600)
def test_garbage_in_addresses(fuzz: Fuzz) -> None:
    every = operations(fuzz.served)
    # Deletions come last: the others are to find their records.
    every.sort(key=lambda each: each[0] == "DELETE")
    for method, path, query in every:
        for number in range(max(4, REQUESTS // 2 // len(every))):
            parts = {name: fuzz.text() for name in re_names(path)} if number % 2 or not query else {}
            target = filled(path, parts)
            chosen = fuzz.chance.sample(query, min(len(query), fuzz.chance.choice((1, 1, 2, 5))))
            if chosen:
                target += "?" + "&".join(f"{name}={fuzz.text()}" for name in chosen if name != "wait")
            if len(target) < 60_000:
                fuzz.send_json(method, target, BODIES.get((method, path)))
    print(f"\n{fuzz.sent} requests with garbage in addresses: {dict(sorted(fuzz.by_status.items()))}")
    assert fuzz.wrong == {}
    assert_readable(fuzz)


def re_names(path: str) -> list[str]:
    return [part.partition("}")[0].removesuffix(":path") for part in path.split("{")[1:]]


RAW: list[tuple[bytes, str | bytes]] = [
    (b"", "application/json"),
    (b"{", "application/json"),
    (b'{"a": }', "application/json"),
    (b"\xff\xfe{\x00}\x00", "application/json"),
    (b"\xef\xbb\xbf{}", "application/json"),
    (b"\x80\x81", "application/json"),
    (b"[" * 100_000, "application/json"),
    (b'{"a":' * 100_000, "application/json"),
    (b"[" * DEEP + b"]" * DEEP, "application/json"),
    (b"9" * 5000, "application/json"),
    (b'{"name": ' + b"9" * 5000 + b"}", "application/json"),
    (b'{"name": "\\ud800"}', "application/json"),
    (b'{"name": 1, "name": 2}', "application/json"),
    (b"NaN", "application/json"),
    (b"null", "application/json"),
    (b"a=b&c=d", "application/x-www-form-urlencoded"),
    (b"<a/>", "application/xml"),
    (b"{}", "text/plain"),
    (b"{}", "application/json; charset=nonsense"),
    (b"{}", b"application/\xff"),
    (b"{}", ""),
    (b"--x\r\n", "multipart/form-data; boundary=x"),
    (b"--x\r\n", "multipart/form-data"),
    (b" " * (MAX_BODY + 1), "application/json"),
]


@pytest.mark.timeout(600)
def test_bodies_that_are_no_json(fuzz: Fuzz) -> None:
    for method, path in BODIES:
        for content, kind in RAW:
            headers = {"Content-Type": kind}
            answer = fuzz.send(method, filled(path), content=content, headers=headers)
            if len(content) > MAX_BODY:
                assert answer.status_code == 413, f"{method} {path}"
    print(f"\n{fuzz.sent} requests whose body is no JSON: {dict(sorted(fuzz.by_status.items()))}")
    assert fuzz.wrong == {}
    assert_readable(fuzz)


def test_a_body_that_comes_in_pieces_is_cut_too(fuzz: Fuzz) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    answer = fuzz.served.client.post(
        "/api/nodes", content=pieces(), headers=fuzz.served.admin | {"Content-Type": "application/json"}
    )
    assert 400 <= answer.status_code < 500
    assert fuzz.wrong == {}
