"""The guard before every request, with the parts of a proxy that it may stand behind."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request, WebSocket
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api import errors
from api.middleware import MAX_BODY, PAGE, Guard, Limits, network_of


def application(per_address: float = 3.0) -> Any:
    class Few(Limits):
        PER_ADDRESS = (0.0, per_address)  # type: ignore[misc]
        LOGIN = (0.0, 1.0)  # type: ignore[misc]

    app = FastAPI()
    errors.install(app)

    @app.post("/api/auth/login")
    async def login(request: Request) -> int:
        return len(await request.body())

    @app.post("/api/json")
    async def takes_json(body: dict[str, Any]) -> int:
        return len(body)

    @app.websocket("/ws")
    async def events(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    app.add_middleware(Guard, limits=Few(lambda: 0.0))
    return app


@pytest.mark.parametrize("forwarded", ["203.0.113.9", "127.0.0.1", "page.internal"])
def test_who_comes_through_a_proxy_on_this_host_is_counted(forwarded: str) -> None:
    client = TestClient(ProxyHeadersMiddleware(application()), client=("127.0.0.1", 50_000))
    headers = {"X-Forwarded-For": forwarded}
    tries = [client.post("/api/auth/login", headers=headers).status_code for _ in range(3)]
    assert tries == [200, 429, 429]


def test_the_page_itself_is_not_counted() -> None:
    client = TestClient(application(), client=PAGE)
    assert {client.post("/api/auth/login").status_code for _ in range(5)} == {200}


def test_web_sockets_are_counted() -> None:
    client = TestClient(application(), client=("10.0.0.1", 50_000))
    for _ in range(3):
        with client.websocket_connect("/ws"):
            pass
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/ws"):
        pass
    assert caught.value.code == 1013


@pytest.mark.parametrize("path", ["/api/auth/login", "/api/json"])
def test_too_large_a_body_in_chunks_is_refused_as_such(path: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(MAX_BODY // 100_000 + 1):
            yield b" " * 100_000

    answer = TestClient(application(), client=("10.0.0.1", 50_000)).post(path, content=chunks())
    assert answer.status_code == 413
    assert "larger than" in answer.json()["error"]["message"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_ipv6_network_counts_as_one_caller() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:2") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") == "10.0.0.1"
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("testclient") == "testclient"
