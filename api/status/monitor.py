"""The status API on a port of its own: `uvicorn api.status.monitor:app`. GET /status /gpu /training /eval, and /fix.

A small process beside the API: it reads, holds no engine, and answers while the API is busy or away. On this machine
alone it asks for no key (`MILO_STATUS_OPEN` says otherwise); /fix always asks for an administrator's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.http import bodies, problems
from api.http.auth import Authentication
from api.http.browsers import Browsers
from api.http.deps import in_thread, require_scope
from api.http.headers import SecurityHeaders
from api.status import pages
from milo.addresses import is_loopback
from milo.errors import BadRequest
from milo.ledger import Ledger
from milo.ledger.database import connect
from milo.ledger.keys import Key, Keys
from milo.logs import configure_logging
from milo.monitoring.cache import PARTS, Part, StatusCache
from milo.monitoring.fix.service import FixRecord, FixRequest, FixService
from milo.monitoring.monitors import Monitors
from milo.settings import Settings, get_settings
from milo.storage.files import Files
from milo.storage.secrets import private_files

BODY_BYTES = 64 * 1024


@dataclass(frozen=True)
class MonitorContext:
    """What this process holds open."""

    keys: Keys
    status_cache: StatusCache
    monitors: Monitors
    fix_service: FixService


def create_monitor(settings: Settings) -> Starlette:
    """The app for these settings. The ledger must be there: the API, or `milo up`, has made it."""
    routes = [Route(f"/{part}", partial(_part, part)) for part in PARTS]
    routes += [
        Route("/api/{plugin}", _monitor),
        Route("/fix", _fix, methods=["POST"]),
        Route("/fix/history", _history),
        Route("/fix/{fix_id}", _one),
    ]
    middleware = [
        Middleware(SecurityHeaders),
        Middleware(Browsers, settings=settings, bound=settings.status_host),
        Middleware(Authentication, settings=settings, is_open=partial(_needs_no_key, is_open(settings))),
    ]
    app = Starlette(routes=routes, lifespan=_lifespan, middleware=middleware)
    app.state.settings = settings
    problems.install(app, directory=f"there are {', '.join(f'/{part}' for part in PARTS)}")
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    ledger = Ledger(connect(settings.ledger_url), settings)
    status_cache = StatusCache(settings, ledger)
    context = MonitorContext(
        Keys(ledger.engine, settings),
        status_cache,
        Monitors(settings, lambda: status_cache.fresh().document),
        FixService(settings, ledger, Files(settings)),
    )
    app.state.context = context
    try:
        yield
    finally:
        context.monitors.close()
        context.status_cache.close()
        await in_thread(context.fix_service.close)
        ledger.engine.dispose()


# --- who may ----------------------------------------------------------------------------------------------------------


def is_open(settings: Settings) -> bool:
    """Whether reading needs no key."""
    if settings.status_open == "auto":
        return is_loopback(settings.status_host)
    return settings.status_open == "yes"


def _needs_no_key(reading_is_open: bool, path: str) -> bool:
    return reading_is_open and path != "/fix" and not path.startswith("/fix/")


def _administrator(request: Request) -> Key:
    return require_scope(request.scope["milo.key"], "admin")


# --- what is asked ----------------------------------------------------------------------------------------------------


async def _part(part: Part, request: Request) -> Response:
    key: Key | None = request.scope.get("milo.key")
    if key is not None:
        require_scope(key, "read")
    return await pages.answer(request.app.state.context.status_cache, part)


async def _monitor(request: Request) -> Response:
    key: Key | None = request.scope.get("milo.key")
    if key is not None:
        require_scope(key, "read")
    plugin = request.path_params["plugin"]
    return await pages.monitor(request.app.state.context.monitors, plugin, request.headers.get("if-none-match"))


async def _fix(request: Request) -> Response:
    key, service = _administrator(request), _fix_service(request)
    if bodies.content_type(request) != "application/json":
        raise BadRequest("send JSON, with the header `Content-Type: application/json`")
    problem = await bodies.read_json(request, FixRequest, BODY_BYTES)
    record = _with_own_url(await in_thread(service.start, problem, key.name))
    return JSONResponse(record, 202, {"Location": record["url"]})


async def _history(request: Request) -> Response:
    _administrator(request)
    records = await in_thread(_fix_service(request).history)
    return JSONResponse({"items": [_with_own_url(record) for record in records]})


async def _one(request: Request) -> Response:
    _administrator(request)
    record = await in_thread(_fix_service(request).get, request.path_params["fix_id"])
    return JSONResponse(_with_own_url(record))


def _fix_service(request: Request) -> FixService:
    service: FixService = request.app.state.context.fix_service
    return service


def _with_own_url(record: FixRecord) -> FixRecord:
    """A record whose link leads to this port."""
    return {**record, "url": f"/fix/{record['id']}"}


def __getattr__(name: str) -> Any:
    """`app`, made when a server asks for it: importing this module reads no settings."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = get_settings()
    private_files()
    configure_logging(settings)
    globals()["app"] = create_monitor(settings)
    return globals()["app"]
