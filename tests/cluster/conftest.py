"""One running building for all tests that only use it, or kill parts of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.cluster.system import System
from tests.ports import free_port


@dataclass
class Demo:
    system: System
    metrics_port: int


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """`opencrate up --demo`, with an admin who is logged in."""
    port = free_port()
    running = System(tmp_path_factory.mktemp("up") / "data", "--demo", "--metrics-port", str(port))
    try:
        running.wait_up()
        running.setup()
        yield Demo(running, port)
    finally:
        running.stop()
