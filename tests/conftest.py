"""Fixtures that every test may use."""

import pytest
import ray
from hypothesis import Phase, settings

# Explaining a failure traces every line: slow examples then run into the time-out, which hides the failure.
PHASES = [each for each in Phase if each is not Phase.explain]
settings.register_profile("plain", phases=PHASES, deadline=None)
settings.load_profile("plain")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what stays together where tests run side by side: what starts Ray, first of all, and each file.

    Two campuses at once would be too much for a small machine, and the tests that start one take longest.
    """

    def alone(item: pytest.Item) -> bool:
        return item.get_closest_marker("cluster") is not None

    items.sort(key=lambda item: not alone(item))
    for item in items:
        item.add_marker(pytest.mark.xdist_group("cluster" if alone(item) else "/".join(item.path.parts[-2:])))


@pytest.fixture(autouse=True)
def _no_ray_by_accident(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse `ray.init` in a test that isn't marked `cluster`: plain classes need no cluster."""
    if request.node.get_closest_marker("cluster") is None:

        def refuse(*args: object, **kwargs: object) -> None:
            raise AssertionError("mark the test with @pytest.mark.cluster to use Ray")

        monkeypatch.setattr(ray, "init", refuse)
