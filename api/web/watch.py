"""What tells the page's tabs that the model has changed."""

from typing import Any

from fastapi import FastAPI

from actors.bus.events import MODEL_CHANGES
from api.deps import Campus
from api.ws import Connection

Version = tuple[int, tuple[tuple[str, bool], ...]]


class ModelWatch:
    """Hear of new, changed and deleted nodes and of sites that join, once for all tabs."""

    def __init__(self, app: FastAPI) -> None:
        """Hear nothing before the first question."""
        self._app = app
        self._connection: Connection | None = None
        self._count = 0

    def version(self) -> Version:
        """Give what differs from before when the model has changed."""
        hub: Any = self._app.state.hub
        campus: Campus = self._app.state.campus
        if self._connection is None:
            connection = Connection()
            connection.types = frozenset(MODEL_CHANGES)
            self._connection = connection if hub.join(connection) else None
        heard = self._connection
        if heard is not None and (heard.waiting or heard.lost):
            heard.waiting.clear()
            heard.lost = 0
            self._count += 1
        sites = tuple(sorted((each.id, each.away is None) for each in list(campus.sites.values())))
        return self._count, sites
