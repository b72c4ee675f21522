"""Fixtures that every test may use."""

from typing import Any

import pytest
import ray
from hypothesis import Phase, settings
from xdist.scheduler import LoadScopeScheduling

RAY = ("tests/cluster/", "tests/browser/", "tests/bench/")
"""Where tests start Ray."""

# Explaining a failure traces every line: slow examples then run into the time-out, which hides the failure.
PHASES = [each for each in Phase if each is not Phase.explain]
settings.register_profile("plain", phases=PHASES, deadline=None)
settings.load_profile("plain")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what starts Ray: it takes longest."""
    items.sort(key=lambda item: item.get_closest_marker("cluster") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Say what stays together where tests run side by side: all that starts Ray, and each other file.

    Two campuses at once would be too much for a small machine.
    """
    return _Together(config, log)


class _Together(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "cluster" if file.startswith(RAY) else file


@pytest.fixture(autouse=True)
def _no_ray_by_accident(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse `ray.init` in a test that isn't marked `cluster`: plain classes need no cluster."""
    if request.node.get_closest_marker("cluster") is None:

        def refuse(*args: object, **kwargs: object) -> None:
            raise AssertionError("mark the test with @pytest.mark.cluster to use Ray")

        monkeypatch.setattr(ray, "init", refuse)
