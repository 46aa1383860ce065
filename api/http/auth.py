"""Who is asking: bearer keys, checked before anything of the body is read. Knows nothing of what they ask for.

The API and the status API both use it; they differ in which paths need no key.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from api import web
from api.http import keys_in_urls, links
from api.http.deps import in_thread
from api.http.problems import send_problem
from api.http.rates import WrongKeys
from milo.addresses import is_among, is_loopback
from milo.errors import Forbidden, MiloError, Unauthorized
from milo.ledger.keys import Key, Keys
from milo.settings import DEVELOPMENT_KEY, Settings

OPEN = ("/api/v1/health", "/api/v1/web/keys", "/docs", "/openapi.json", "/redoc", "")
OPEN_BELOW = ("/docs/assets/",)
"""All else is closed, paths that nobody has named too. The documentation is open: it says what the public source says,
nothing of this installation, and a browser that loads a page sends no key. `/redoc` leads to it; so is the web client,
which `/` shows. `/web/keys` takes a link that counts once instead of a key."""
METRICS = ("/metrics", "/api/v1/metrics")
"""Open to the addresses of MILO_METRICS_ALLOW."""
PROMETHEUS = Key("", "prometheus", frozenset({"read"}), 0.0)
"""Who is asking there without a key."""


class InsecureSettings(MiloError):
    code, status, title = "insecure_settings", 500, "Milo would be open to everybody"


def refuse_insecure(settings: Settings) -> None:
    """Raises `InsecureSettings` when the key that everybody knows would work for somebody else than the developer."""
    if settings.api_key and not settings.api_key.strip():
        raise InsecureSettings("MILO_API_KEY is blank; set it to a long random value, or leave it out")
    if settings.api_key != DEVELOPMENT_KEY:
        return
    how = "set it to a long random value (`openssl rand -hex 32` makes one), or leave it out"
    if settings.env == "production":
        raise InsecureSettings(f"MILO_ENV is production and MILO_API_KEY is the one that everybody knows: {how}")
    if not is_loopback(settings.host):
        raise InsecureSettings(
            f"MILO_HOST is {settings.host}, which others can reach, "
            f"and MILO_API_KEY is the one that everybody knows: {how}"
        )


def is_open(path: str) -> bool:
    """Whether anybody may come in there without a key."""
    return path.removesuffix("/") in OPEN or (path.startswith(OPEN_BELOW) and ".." not in path) or web.is_page(path)


class Authentication:
    """ASGI middleware: puts the `Key` of the caller into the scope, or answers 401.

    The app's `state.context.keys` are the keys; `is_open(path)` says where none is needed.
    """

    def __init__(self, app: ASGIApp, settings: Settings, is_open: Callable[[str], bool] = is_open) -> None:
        self.app = app
        self.is_open = is_open
        self.wrong_keys = WrongKeys(settings)
        self.metrics_allow = settings.metrics_allow
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self.is_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        try:
            scope["milo.key"] = PROMETHEUS if self._may_scrape(scope) else await self._key(scope)
        except MiloError as error:
            await send_problem(error, scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _may_scrape(self, scope: Scope) -> bool:
        """Whether this is a GET of /metrics without a key, from where none is asked for."""
        if scope["type"] != "http" or scope["path"] not in METRICS or scope["method"] != "GET":
            return False
        client = scope.get("client")
        has_key = any(name == b"authorization" for name, _ in scope["headers"])
        return not has_key and is_among(client[0] if client else None, self.metrics_allow)

    async def _key(self, scope: Scope) -> Key:
        keys: Keys = scope["app"].state.context.keys
        if offered := links.offered(scope):
            return await self._by_link(scope, keys, *offered)
        secret = _secret(scope)
        await self.wrong_keys.check(scope, secret)
        key = keys.verify_cached(secret) or await in_thread(keys.verify, secret)
        await self.wrong_keys.note(scope, secret, right=key is not None)
        if key is None:
            raise Unauthorized("this API key is wrong, expired or revoked", code="wrong_key")
        client = scope.get("client")
        if secret == DEVELOPMENT_KEY and not is_loopback(client[0] if client else None):
            raise Forbidden(
                "everybody knows this key, so it works from this machine only; the operator must set MILO_API_KEY"
            )
        return key

    async def _by_link(self, scope: Scope, keys: Keys, link: links.Link, signature: str) -> Key:
        """The key that a link was made by, if it still may. From now on the request does not hold the signature."""
        keys_in_urls.scrub(scope)
        right = await in_thread(link.holds, self.settings, signature, time.time())
        key = await in_thread(keys.valid, link.key_id) if right else None
        if key is None:
            raise Unauthorized("this link has ended, or its key was revoked; ask for a new one", code="link_ended")
        scope["milo.link"] = link
        return key


def _secret(scope: Scope) -> str:
    """The key as it was sent. A WebSocket keeps it: a conversation outlives many a key."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if scope["type"] == "websocket":
        offered = keys_in_urls.offered(scope)
        keys_in_urls.scrub(scope)
        if not given and offered:
            scope["milo.secret"] = offered
            return offered
    if not given:
        raise Unauthorized("send the header `Authorization: Bearer KEY`", code="no_key")
    scheme, _, secret = given[0].decode("latin-1").strip().partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not secret.strip():
        raise Unauthorized("one header `Authorization: Bearer KEY` is needed, and nothing else in it", code="no_key")
    scope["milo.secret"] = secret.strip()
    return str(scope["milo.secret"])
