"""The operator page, served by the same process as the API; asks no address outside the machine."""

from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from nicegui import ui

from api.deps import Campus
from api.web import pages
from api.web.login import login_page
from api.web.session import THEME_COOKIE, TOKEN_COOKIE

ASSETS: Final = "/assets"


def mount(app: FastAPI, storage_secret: str) -> None:
    """Serve the page from `app`; `storage_secret` signs its session cookies."""
    app.mount(ASSETS, StaticFiles(directory=Path(__file__).with_name("static")), name="assets")

    @app.get("/login", include_in_schema=False)
    async def login(request: Request) -> HTMLResponse:
        campus: Campus = request.app.state.campus
        first: bool = await campus.call("users", "setup_needed")
        dark = request.cookies.get(THEME_COOKIE) == "dark"
        return HTMLResponse(login_page(ASSETS, campus=campus.name, first=first, dark=dark))

    @app.get("/logout", include_in_schema=False)
    async def logout(request: Request) -> Response:
        campus: Campus = request.app.state.campus
        token = request.cookies.get(TOKEN_COOKIE)
        if token:
            campus.known.clear()
            await campus.call("users", "logout", token)
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(TOKEN_COOKIE)
        return answer

    pages.install(app, ASSETS)
    ui.run_with(app, storage_secret=storage_secret, title="OpenCrate Campus", show_welcome_message=False)
