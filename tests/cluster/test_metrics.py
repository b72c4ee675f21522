"""Metrics as a real Prometheus gets them from a running building, and the dashboard over them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from actors.core.metrics import CALL_SECONDS, COUNTERS, GAUGES
from tests.cluster.conftest import Demo
from tests.cluster.system import until
from tests.ports import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

DASHBOARD = Path(__file__).parents[2] / "docs/grafana.json"
SCRAPE = """
global: {scrape_interval: 2s}
scrape_configs:
  - job_name: opencrate
    static_configs: [{targets: ["127.0.0.1:%d"]}]
"""


class Prometheus:
    def __init__(self, folder: Path, scraped: int) -> None:
        program = shutil.which("prometheus")
        assert program, "Debian's prometheus is needed; `make .venv/.ready-for-tests` installs it"
        (folder / "prometheus.yml").write_text(SCRAPE % scraped)
        port = free_port()
        command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
        with (folder / "prometheus.out").open("w") as out:
            self.process = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=out, stderr=subprocess.STDOUT
            )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)

    def query(self, expression: str) -> list[dict[str, Any]]:
        try:
            answer = self.http.get("/api/v1/query", params={"query": expression})
        except httpx.TransportError:
            return []
        if answer.status_code == 503:
            return []
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        return list(answer.json()["data"]["result"])

    def close(self) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="module")
def prometheus(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    found = Prometheus(tmp_path_factory.mktemp("metrics"), demo.metrics_port)
    yield found
    found.close()


@pytest.mark.parametrize("name", [*GAUGES, *COUNTERS, f"{CALL_SECONDS}_count"])
def test_prometheus_has_every_measure_of_the_site(prometheus: Prometheus, name: str) -> None:
    if name in {"opencrate_bus_lagged_events_total", "opencrate_device_errors_total"}:
        # Ray tells of a counter once it has counted: here nothing is lost and nothing fails.
        return
    found = until(lambda: prometheus.query(f'ray_{name}{{site!="campus"}}'), 60, name)
    assert all(each["metric"]["actor"] and each["metric"]["site"] for each in found)


def test_every_device_of_the_building_is_up(prometheus: Prometheus) -> None:
    up = "ray_opencrate_device_up"
    until(lambda: prometheus.query(f"count({up} == 1) > 10"), 60, "the devices are up")


def test_the_dashboard_asks_for_what_there_is(prometheus: Prometheus) -> None:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$site", ".*")
            if "lagged" in expression or "errors" in expression:
                prometheus.query(expression)
                continue
            until(lambda expression=expression: prometheus.query(expression), 60, expression)
