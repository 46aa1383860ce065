"""The web process: `uvicorn api.app:app`, or `create_app(settings)` for one's own settings.

It holds the ledger, the file store and one Redis subscription; no model, no engine, no torch.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from pydantic import ValidationError
from starlette.middleware.cors import CORSMiddleware

import api.routes.openai
from api import docs, web
from api.http import problems
from api.http.auth import Authentication, refuse_insecure
from api.http.browsers import Browsers
from api.http.deps import Context, in_thread
from api.http.headers import SecurityHeaders
from api.http.keys_in_urls import keep_keys_out_of_logs
from api.http.limits import BodyLimit
from api.http.observe import Observe
from api.http.queries import HeadAsGet, check_query
from api.http.quotas import KeyQuotas
from api.http.rates import RateLimit, rate_of
from api.routes import fix, metrics, status, systems
from milo import __version__
from milo.configured import unusable
from milo.errors import MiloError
from milo.ledger import Ledger
from milo.ledger.keys import Keys
from milo.logs import configure_logging
from milo.monitoring.cache import StatusCache
from milo.monitoring.fix.service import FixService
from milo.monitoring.monitors import Monitors
from milo.queue import events
from milo.queue.celery import configure
from milo.queue.places import Places
from milo.queue.streams import EventReader
from milo.settings import Settings, get_settings
from milo.storage.files import Files
from milo.storage.secrets import private_files
from milo.variables import explain, notices

log = logging.getLogger(__name__)

ROUTES = ((api.routes, "/api/v1"), (api.routes.openai, "/v1"))
"""Packages of routes, and the prefix of the paths in them."""
EXPOSED = (
    *("Location", "Content-Location", "Content-Disposition", "Retry-After", "X-Job-Id", "X-Milo-Job-Id"),
    *("X-Audio-Duration-S", "X-Audio-Sample-Rate-Hz", "ETag", "Content-Range", "Accept-Ranges"),
    *("Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm"),
    *("Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Expires", "Milo-Blob"),
)
"""Headers that a page of another origin may read."""
LEFTOVER_S = 86_400
DESCRIPTION = """
Speech to text, text to speech, translation and chat for archives and bots, through one queue. Every path but
`/api/v1/health` needs `Authorization: Bearer KEY`. Errors are problem documents (RFC 9457): match on `code`, show
`detail`. Send `Idempotency-Key` with a POST that you may have to repeat: it counts for a day.
"""


def create_app(settings: Settings) -> FastAPI:
    """The app for these settings. Raises `MiloError` with a sentence when they are unsafe or can't be."""
    refuse_insecure(settings)
    for limit in ("rate_limit", "address_rate_limit", "wrong_key_limit"):
        rate_of(settings, limit)
    keep_keys_out_of_logs()
    app = FastAPI(
        title="Milo",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    app.state.settings = settings
    problems.install(app)
    for package, prefix in ROUTES:
        for router in _routers(package):
            checks = [Depends(check_query)] if prefix == "/api/v1" else []  # OpenAI's clients add some of their own
            app.include_router(router, prefix=prefix, dependencies=checks)
    for at_root in (metrics, status, fix):
        app.include_router(at_root.router, include_in_schema=False)
    app.include_router(systems.monitors, include_in_schema=False)
    docs.install(app)
    web.install(app)
    # the last one added is the first to see a request
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(RateLimit, settings=settings, by="key")
    app.add_middleware(KeyQuotas)
    app.add_middleware(Authentication, settings=settings)
    app.add_middleware(RateLimit, settings=settings, by="address")
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )
    app.add_middleware(Browsers, settings=settings, bound=settings.host)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Observe)
    return app


def _routers(package: ModuleType) -> Iterator[APIRouter]:
    """Those of the package's modules, by name; the jobs first, for a request tries one router after the other."""
    names = (module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg)
    for name in sorted(names, key=lambda name: (name != "jobs", name)):
        yield importlib.import_module(f"{package.__name__}.{name}").router


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    configure(settings)
    ledger = Ledger.open(settings, events.publisher(settings))
    _drop_leftovers(settings)
    keys = Keys(ledger.engine, settings)
    files = Files(settings)
    status_cache = StatusCache(settings, ledger)
    context = Context(
        settings,
        ledger,
        files,
        wake_ups=events.WakeUps(settings),
        keys=keys,
        event_reader=EventReader(settings),
        status_cache=status_cache,
        monitors=Monitors(settings, lambda: status_cache.fresh().document),
        fix_service=FixService(settings, ledger, files),
        places=Places(settings),
    )
    app.state.context = context
    await context.wake_ups.start()
    await context.places.start()
    try:
        yield
    finally:
        await context.wake_ups.stop()
        await context.places.stop()
        await context.event_reader.close()
        context.background.shutdown(wait=False, cancel_futures=True)
        context.monitors.close()
        context.status_cache.close()
        await in_thread(context.fix_service.close)
        ledger.engine.dispose()


def _drop_leftovers(settings: Settings) -> None:
    """Uploads that were cut by a crash: nobody writes to a file of yesterday any more."""
    for path in (settings.home / "incoming").glob("*"):
        if path.stat().st_mtime < time.time() - LEFTOVER_S:
            log.warning("dropping %s, left behind by an upload that a crash cut off", path)
            path.unlink(missing_ok=True)


def __getattr__(name: str) -> Any:
    """`app`, made when a server asks for it: importing this module reads no settings."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        settings = get_settings()
    except ValidationError as error:
        raise SystemExit(f"milo: {explain(error)}") from None
    private_files()
    configure_logging(settings)
    for notice in notices():
        log.log(logging.WARNING if notice.level == "warning" else logging.INFO, "%s", notice.text)
    for problem in unusable(settings):
        log.warning("%s", problem)
    try:
        created = create_app(settings)
    except MiloError as error:
        raise SystemExit(f"milo: {error.detail}") from None
    globals()["app"] = created
    return created
