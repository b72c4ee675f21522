"""The product itself, started as its users start it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from api.processes import Process, descendants
from tests.ports import free_port

OPENCRATE = Path(sys.executable).with_name("opencrate")
ADMIN = {"username": "ana", "password": "correct horse battery"}


def environment() -> dict[str, str]:
    """This process's environment without what would steer the command or its Ray."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("OPENCRATE_", "RAY_"))}


class System:
    """`opencrate up` on a data folder and a free port, with an HTTP client logged in as the first admin."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data, self.port = data, free_port()
        self.log = data.parent / f"{data.name}.out"
        self.started = time.monotonic()
        with self.log.open("a") as out:
            self.process = subprocess.Popen(
                [OPENCRATE, "up", "--data", str(data), "--port", str(self.port), *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment(),
            )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20)

    def wait_up(self, seconds: float = 300) -> "System":
        def answers() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(
                    f"opencrate up ended with {self.process.returncode}:\n{self.log.read_text()}"
                )
            try:
                return self.http.get("/api/system/health").status_code in {200, 503}
            except httpx.TransportError:
                return False

        until(answers, seconds, "the API answers")
        return self

    def setup(self) -> None:
        answer = self.http.post("/api/auth/setup", json=ADMIN)
        assert answer.status_code in {200, 201}, answer.text
        self.login(**ADMIN)

    def login(self, username: str, password: str) -> None:
        answer = self.http.post("/api/auth/login", json={"username": username, "password": password})
        assert answer.status_code == 200, answer.text
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def get(self, path: str, **params: Any) -> Any:
        answer = self.http.get(path, params=params)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def post(self, path: str, body: Any = None) -> Any:
        answer = self.http.post(path, json=body)
        assert answer.status_code in {200, 201}, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def components(self) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in self.http.get("/api/system/health").json()["components"]}

    def points(self) -> list[dict[str, Any]]:
        return list(self.get("/api/points", limit=1000)["items"])

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(60)
        finally:
            self.http.close()

    def family(self) -> set[Process]:
        """Every process that descends from the command."""
        return descendants(self.process.pid)


def until(check: Callable[[], Any], seconds: float, what: str, pause: float = 0.25) -> Any:
    """Ask again and again until the answer is true; fail with `what` after some seconds."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(pause)
