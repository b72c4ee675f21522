"""Every error as `{"error": {"code", "message", "detail"}}` with the right status."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from actors.audit.logic import MASK, looks_secret, masked
from actors.core.errors import (
    BadInputError,
    BridgeError,
    ConflictError,
    DeviceRefusedError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    OpenCrateError,
    StorageError,
    UnreachableError,
    WriteFailedError,
)

log = logging.getLogger(__name__)

CODES: dict[int, str] = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    422: "unprocessable",
    429: "rate_limited",
    503: "site_unreachable",
}

READING: frozenset[str] = frozenset({"GET", "HEAD", "OPTIONS"})

SECRETIVE: tuple[str, ...] = (
    "/api/auth",
    "/api/users",
    "/api/mqtt",
    "/api/webhooks",
    "/api/notifications",
    "/api/export",
    "/api/discovery/networks",
)
"""Where bodies hold secrets: no value of one is ever answered there, whatever its field is called."""

STATUSES: tuple[tuple[type[OpenCrateError], int], ...] = (
    (BadInputError, 422),
    (NotAuthenticatedError, 401),
    (NotAllowedError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (WriteFailedError, 409),
    (UnreachableError, 503),
    (DeviceRefusedError, 409),
    (BridgeError, 503),
    (StorageError, 503),
)


def answer(status: int, message: str, detail: Any = None) -> JSONResponse:
    """Make the answer of an error."""
    code = CODES.get(status, "internal" if status >= 500 else "bad_request")
    body = {"error": {"code": code, "message": message, "detail": detail}}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(body, status, headers)


def is_secretive(method: str, path: str, route: object = None) -> bool:
    """Tell whether a body may hold secrets, by the path or by the fields that the route takes."""
    if method in READING:
        return False
    model = getattr(getattr(getattr(route, "body_field", None), "field_info", None), "annotation", None)
    return path.startswith(SECRETIVE) or any(map(looks_secret, getattr(model, "model_fields", ())))


def _hides(request: Request) -> bool:
    return is_secretive(request.method, request.url.path, request.scope.get("route"))


def _ours(error: OpenCrateError, *, secretive: bool) -> JSONResponse:
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
    detail: Any = None
    if isinstance(error, BadInputError):
        value = MASK if looks_secret(error.field) else _plain(error.value)
        expected = error.expected
        if secretive:
            value, expected = None, _without(error.expected, error.value)
        shown = "" if value is None else f" {value!r} is not valid;"
        message = f"{error.field}:{shown} expected {expected}"
        return answer(status, message, [{"field": error.field, "value": value, "expected": expected}])
    if isinstance(error, WriteFailedError):
        detail = {"point": error.point_id, "reason": error.reason}
        if error.reason.startswith("no answer") or "not connected" in error.reason:
            status = 503
    return answer(status, str(error), detail)


def _plain(value: object) -> object:
    """Give a value as JSON can carry it; what is too long or isn't JSON is shown as text."""
    if value is None or isinstance(value, bool | int):
        return value
    return str(masked(value))[:200]


def _shown(field: str, value: object) -> object:
    """Give a refused value as an answer may show it: no secret, and no object that may hold one."""
    if isinstance(value, dict | list):
        return None
    return MASK if looks_secret(field) else _plain(value)


def _without(message: str, value: object) -> str:
    """Give a message without a value that it may say again, also where that is quoted."""
    text = "" if value is None or isinstance(value, bool | dict | list) else str(value)
    for written in (text, repr(text)[1:-1]):
        message = message.replace(written, MASK) if written else message
    return message


def _invalid(error: RequestValidationError, *, secretive: bool) -> JSONResponse:
    problems = []
    for each in error.errors():
        if each["type"] == "json_invalid":
            return answer(400, "the body is not valid JSON", [{"field": "body", "expected": "JSON"}])
        place, given = each["loc"], each.get("input")
        field = ".".join(str(part) for part in place if part not in {"body", "query", "path"})
        expected, said = each["msg"].removeprefix("Value error, "), each.get("ctx", {}).get("tag", given)
        whole, hidden = place == ("body",), secretive and place[:1] == ("body",)
        problems.append(
            {
                "field": field or "body",
                "value": None if whole or hidden else _shown(field, given),
                "expected": _without(expected, said) if hidden or looks_secret(field) else expected,
            }
        )
    first = problems[0]
    shown = "" if first["value"] is None else f" {first['value']!r} is not valid:"
    message = f"{first['field']}:{shown} {first['expected']}"
    return answer(422, message, jsonable_encoder(problems))


def _note_unanswered(request: Request, error: OpenCrateError) -> None:
    """Note in the audit log that somebody asked for a change of which it isn't known whether it was made."""
    user = getattr(request.state, "user", None)
    if user is not None:
        request.app.state.campus.log_later(
            user.username, "unanswered", f"{request.method} {request.url.path}"[:200], reason=str(error)
        )


def install(app: FastAPI) -> None:
    """Let the application answer all errors this way."""

    @app.exception_handler(OpenCrateError)
    async def _on_ours(request: Request, error: OpenCrateError) -> JSONResponse:
        if isinstance(error, UnreachableError | StorageError) and request.method not in READING:
            _note_unanswered(request, error)
        return _ours(error, secretive=_hides(request))

    @app.exception_handler(RequestValidationError)
    async def _on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return _invalid(error, secretive=_hides(request))

    @app.exception_handler(HTTPException)
    async def _on_http(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return answer(404, f"there is nothing at {request.url.path}")
        phrase = HTTPStatus(error.status_code).phrase.lower()
        return answer(error.status_code, str(error.detail) or phrase)

    @app.exception_handler(UnicodeError)
    async def _on_unicode(request: Request, error: UnicodeError) -> JSONResponse:
        return answer(400, "the request holds text that is not valid UTF-8")

    @app.exception_handler(Exception)
    async def _on_any(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return answer(500, "something went wrong here; the log says more")
