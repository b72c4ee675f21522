"""What the documents show must work as it stands there."""

import json
import re
import textwrap
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from actors.core.metrics import CALL_SECONDS, COUNTERS, GAUGES
from api.config import load
from bridges.profiles import shipped_profiles
from tests.api.conftest import Served

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
SITE = "campus: My Campus\nsites:\n  - id: north\n"


def test_ray_takes_the_cluster_file() -> None:
    config = prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    validate_config(config)
    assert config["provider"]["type"] == "local"


def test_the_first_device_of_the_readme_is_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "campus.yaml"
    path.write_text(BLOCKS[0])
    [site] = load(path).config.sites
    assert [each.id for each in site.devices] == ["1001"]


@pytest.mark.parametrize("number", [1, 2], ids=["behind a BBMD", "a Modbus meter"])
def test_the_other_devices_of_the_readme_fit_into_a_site(tmp_path: Path, number: int) -> None:
    path = tmp_path / "campus.yaml"
    path.write_text(SITE + textwrap.indent(textwrap.dedent(BLOCKS[number]), "    "))
    [site] = load(path).config.sites
    assert len(site.networks) == len(site.devices) == 1


def test_the_devices_of_the_modbus_page_fit_into_a_site(tmp_path: Path) -> None:
    [block] = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/modbus.md").read_text(), flags=re.DOTALL)
    path = tmp_path / "campus.yaml"
    path.write_text(SITE + textwrap.indent(textwrap.dedent(block), "    "))
    [site] = load(path).config.sites
    assert len(site.networks) == len(site.devices) == 3


def test_the_modbus_page_names_every_profile_of_a_maker() -> None:
    text = (ROOT / "docs/modbus.md").read_text()
    for profile in shipped_profiles("modbus"):
        assert profile.vendor == "OpenCrate" or f"`{profile.profile}`" in text, profile.profile


def test_the_profile_of_the_readme_is_one(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/my-vav.yaml").write_text(BLOCKS[-1])
    network = "    networks:\n      - {id: ip-main, protocol: bacnet}\n"
    path = tmp_path / "campus.yaml"
    path.write_text(SITE + network + textwrap.indent(textwrap.dedent(BLOCKS[-2]), "    "))
    campus = load(path)
    assert len(campus.profiles["profiles/my-vav.yaml"].points) == 2


def test_the_page_of_the_api_asks_no_address_outside(served: Served) -> None:
    page = served.client.get("/docs")
    assert page.status_code == 200
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(files) >= 2
    assert "https://" not in page.text
    for each in files:
        assert served.client.get(each).status_code == 200, each


def test_the_dashboard_names_metrics_that_there_are() -> None:
    dashboard = json.loads((ROOT / "docs/grafana.json").read_text())
    known = {f"ray_{each}" for each in (*GAUGES, *COUNTERS)}
    known |= {f"ray_{CALL_SECONDS}_{part}" for part in ("bucket", "count", "sum")}
    named = {
        each
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for each in re.findall(r"ray_\w+", target["expr"])
    }
    assert named <= known
    assert {each.removesuffix("_bucket").removesuffix("_count") for each in named} == {
        f"ray_{each}" for each in (*GAUGES, *COUNTERS, CALL_SECONDS)
    }


def test_the_document_lists_every_metric() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    assert set(re.findall(r"ray_(opencrate_\w+)", text)) == {*GAUGES, *COUNTERS, CALL_SECONDS}
