"""The status API on a port of its own: `uvicorn api.status.monitor:app`. GET /status /gpu /training /eval, and /fix.

A small process beside the API: it reads, holds no engine, and answers while the API is busy or away. On this machine
alone it asks for no key (`MILO_STATUS_OPEN` says otherwise); /fix always asks for an administrator's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio.to_thread
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.http.headers import SecurityHeaders
from api.http.rates import WrongKeys
from api.status import pages
from milo.addresses import is_loopback
from milo.errors import BadRequest, Forbidden, Invalid, MiloError, NotFound, TooLarge, Unauthorized
from milo.ledger import Ledger
from milo.ledger.database import connect
from milo.ledger.keys import Key, Keys
from milo.logs import configure_logging
from milo.monitoring.cache import Part, StatusCache
from milo.monitoring.fix.service import FixRequest, FixService
from milo.settings import DEFAULT_API_KEY, Settings, get_settings
from milo.storage.files import Files

log = logging.getLogger(__name__)

PARTS: tuple[Part, ...] = ("status", "gpu", "training", "eval")
BODY_BYTES = 64 * 1024
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Parts:
    """What this process holds open."""

    settings: Settings
    board: StatusCache
    desk: FixService
    keys: Keys


def create_monitor(settings: Settings) -> Starlette:
    """The app for these settings. The ledger must be there: the API, or `milo up`, has made it."""
    routes = [Route(f"/{part}", partial(_part, part)) for part in PARTS]
    routes += [
        Route("/fix", _fix, methods=["POST"]),
        Route("/fix/history", _history),
        Route("/fix/{fix_id}", _one),
    ]
    handlers: dict[Any, Any] = {MiloError: _problem, HTTPException: _http, Exception: _broken}
    app = Starlette(
        routes=routes, lifespan=_lifespan, exception_handlers=handlers, middleware=[Middleware(SecurityHeaders)]
    )
    app.state.settings = settings
    app.state.wrong_keys = WrongKeys(settings)
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    ledger = Ledger(connect(settings.ledger_url), settings)
    parts = Parts(
        settings,
        StatusCache(settings, ledger),
        FixService(settings, ledger, Files(settings)),
        Keys(ledger.engine, settings),
    )
    app.state.parts = parts
    try:
        yield
    finally:
        parts.board.close()
        await anyio.to_thread.run_sync(parts.desk.close)
        ledger.engine.dispose()


# --- who may ----------------------------------------------------------------------------------------------------------


def is_open(settings: Settings) -> bool:
    """Whether reading needs no key."""
    if settings.status_open == "auto":
        return is_loopback(settings.status_host)
    return settings.status_open == "yes"


async def _key(request: Request) -> Key:
    scheme, _, secret = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthorized("send the header `Authorization: Bearer KEY`", code="no_key")
    wrong_keys: WrongKeys = request.app.state.wrong_keys
    await wrong_keys.check(request.scope, secret.strip())
    key = await anyio.to_thread.run_sync(request.app.state.parts.keys.verify, secret.strip())
    await wrong_keys.note(request.scope, secret.strip(), right=key is not None)
    if key is None:
        raise Unauthorized("this API key is wrong, expired or revoked", code="wrong_key")
    if secret.strip() == DEFAULT_API_KEY and not is_loopback(request.client.host if request.client else None):
        raise Forbidden("the default key works from this machine only; the operator has to set MILO_API_KEY")
    found: Key = key
    return found


async def _may(request: Request, scope: Any) -> Key:
    key = await _key(request)
    if not key.may(scope):
        raise Forbidden(f"the key {key.name!r} has not the scope {scope!r}", code="missing_scope")
    return key


# --- what is asked ----------------------------------------------------------------------------------------------------


async def _part(part: Part, request: Request) -> Response:
    parts: Parts = request.app.state.parts
    if not is_open(parts.settings):
        await _may(request, "read")
    return await pages.answer(parts.board, part)


async def _fix(request: Request) -> Response:
    key = await _may(request, "admin")
    asked = await _asked(request)
    record = _here(await anyio.to_thread.run_sync(request.app.state.parts.desk.take, asked, key.name))
    return JSONResponse(record, 202, {"Location": record["url"]})


def _here(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose link leads to this port."""
    return record | {"url": f"/fix/{record['id']}"}


async def _asked(request: Request) -> FixRequest:
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise BadRequest("send JSON, with the header `Content-Type: application/json`")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            raise TooLarge(f"the body is over {BODY_BYTES} bytes")
    try:
        return FixRequest.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Invalid(f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}") from None


async def _history(request: Request) -> Response:
    await _may(request, "admin")
    found = await anyio.to_thread.run_sync(request.app.state.parts.desk.history)
    return JSONResponse({"items": [_here(record) for record in found]})


async def _one(request: Request) -> Response:
    await _may(request, "admin")
    desk: FixService = request.app.state.parts.desk
    return JSONResponse(_here(await anyio.to_thread.run_sync(desk.get, request.path_params["fix_id"])))


# --- what can go wrong ------------------------------------------------------------------------------------------------


async def _problem(request: Request, error: MiloError) -> Response:
    headers = {"WWW-Authenticate": 'Bearer realm="milo"'} if error.status == 401 else {}
    if error.retry_after_s:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    document = error.problem(request.url.path)
    return JSONResponse(document, error.status, headers, media_type="application/problem+json")


async def _http(request: Request, error: HTTPException) -> Response:
    found = NotFound(f"there is nothing at {request.url.path}; there are {', '.join(f'/{part}' for part in PARTS)}")
    if error.status_code != 404:
        found = MiloError(str(error.detail), code="method_not_allowed")  # type: ignore[assignment]
        found.status = error.status_code
    return await _problem(request, found)


async def _broken(request: Request, error: Exception) -> Response:
    hidden = MiloError("something broke inside Milo; the status log has the details", code="internal_error")
    return await _problem(request, hidden)


def __getattr__(name: str) -> Any:
    """`app`, made when a server asks for it: importing this module reads no settings."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = get_settings()
    configure_logging(settings)
    globals()["app"] = create_monitor(settings)
    return globals()["app"]
