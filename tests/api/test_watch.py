"""What tells the page's tabs that the model has changed."""

from types import SimpleNamespace
from typing import Any

from api.web.model import Model
from api.web.watch import ModelWatch
from api.ws import Connection


class Hub:
    """Takes connections while there is room."""

    def __init__(self, room: int = 1) -> None:
        self.room = room
        self.joined: list[Connection] = []

    def join(self, connection: Connection) -> bool:
        if len(self.joined) >= self.room:
            return False
        self.joined.append(connection)
        return True


def watch(hub: Hub, sites: dict[str, Any]) -> ModelWatch:
    state = SimpleNamespace(hub=hub, campus=SimpleNamespace(sites=sites))
    return ModelWatch(SimpleNamespace(state=state))  # type: ignore[arg-type]


def site(name: str, away: str | None = None) -> Any:
    return SimpleNamespace(id=name, away=away)


def test_nodes_that_come_change_the_version_and_values_do_not() -> None:
    hub, sites = Hub(), {"north": site("north")}
    heard = watch(hub, sites)
    first = heard.version()
    assert heard.version() == first
    [connection] = hub.joined
    connection.offer("north", "value_changed", "1/1", "{}")
    assert heard.version() == first
    connection.offer("north", "entity_created", "2", "{}")
    connection.offer("north", "entity_created", "2/1", "{}")
    second = heard.version()
    assert second != first
    assert heard.version() == second
    assert not connection.waiting
    connection.lose(5)
    assert heard.version() != second


def test_sites_that_join_go_and_come_back_change_the_version() -> None:
    hub, sites = Hub(), {"north": site("north")}
    heard = watch(hub, sites)
    seen = [heard.version()]
    sites["south"] = site("south")
    seen.append(heard.version())
    sites["south"] = site("south", "cut off")
    seen.append(heard.version())
    assert len(set(seen)) == 3


def test_without_room_it_is_tried_again() -> None:
    hub, sites = Hub(room=0), {"north": site("north")}
    heard = watch(hub, sites)
    first = heard.version()
    hub.room = 1
    assert heard.version() == first
    assert len(hub.joined) == 1


def test_the_shape_of_a_model_is_its_nodes_and_points_not_their_values() -> None:
    model = Model()
    model.nodes = {"1": {"id": "1", "dis": "One", "parent_id": "north"}}
    model.points = {"1/a": {"id": "1/a", "dis": "A", "parent": "1", "value": 1.0}}
    before = model.shape()
    model.points["1/a"]["value"] = 2.0
    assert model.shape() == before
    model.points["1/a"]["dis"] = "B"
    assert model.shape() != before
