"""The HTTP side: routes, errors, middleware, WebSocket."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Protocol

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline

from actors.user.models import Permission
from api import errors
from api.deps import Campus
from api.middleware import Guard, Limits
from api.routers import (
    alarms,
    auth,
    bacnet,
    commissioning,
    discovery,
    energy,
    entities,
    events,
    export,
    fdd,
    history,
    modbus,
    mqtt,
    nodes,
    notifications,
    people,
    points,
    programs,
    reports,
    schedules,
    system,
    webhooks,
)
from api.ws import Hub
from api.ws import router as ws_router

ROUTERS = (
    auth.router,
    system.sites_router,
    points.router,
    nodes.router,
    history.router,
    alarms.router,
    entities.router,
    events.router,
    people.overrides,
    people.users,
    people.audit,
    commissioning.router,
    modbus.router,
    bacnet.router,
    bacnet.schedules_router,
    discovery.router,
    export.router,
    mqtt.router,
    notifications.router,
    programs.router,
    schedules.router,
    reports.router,
    fdd.router,
    webhooks.router,
    energy.router,
    system.router,
    ws_router,
)


class Follows(Protocol):
    """What follows the campus while the application runs, such as `api.federation.Federation`."""

    def start(self) -> None:
        """Follow from now on."""

    async def close(self) -> None:
        """Stop following."""


def permission_of(dependant: Dependant) -> Permission | None:
    """Give the permission that a route asks for, or None where a login is enough."""
    own: Permission | None = getattr(dependant.call, "permission", None)
    return own or next(filter(None, map(permission_of, dependant.dependencies)), None)


def name_permissions(app: FastAPI) -> None:
    """Say in the document which permission each route needs, as `x-permission`."""
    for route in every_route(app.routes):
        permission = permission_of(route.dependant)
        if permission is not None:
            route.openapi_extra = {**(route.openapi_extra or {}), "x-permission": permission.value}


def every_route(routes: Sequence[Any]) -> Iterator[APIRoute]:
    """Give all routes, also those of routers that were included as they are."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "original_router"):
            yield from every_route(route.original_router.routes)


def create_app(
    campus: Campus,
    *,
    limits: Limits | None = None,
    cors_origins: Sequence[str] = (),
    followers: Sequence[Follows] = (),
) -> FastAPI:
    """Make the application that serves a campus. CORS is closed unless origins are named."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        hub = Hub(campus)
        app.state.hub = hub
        campus.trail.start()
        for each in followers:
            each.start()
        try:
            yield
        finally:
            await hub.close()
            for each in followers:
                await each.close()
            await campus.trail.close()

    # As FastAPI, but the files of `/docs` come from here and not from an address outside.
    app: FastAPI = FastAPIOffline(
        title="OpenCrate Campus",
        version=campus.version,
        description="A building automation system. Log in at `/api/auth/login`, send the token as Bearer.",
        lifespan=lifespan,
    )
    app.state.campus = campus
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)
    name_permissions(app)
    app.add_middleware(Guard, limits=limits)
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    return app
