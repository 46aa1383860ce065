"""How much one may send, how fast it must arrive, and how often one may ask. All of it before a route runs."""

from __future__ import annotations

import logging
import time
from typing import Any

import anyio
from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Stalled, send_problem
from milo.errors import BadRequest, Invalid, MiloError, TooLarge, TooMany
from milo.settings import Settings

log = logging.getLogger(__name__)

JSON_BYTES = 8 * 1024**2
"""Largest JSON body on paths where no audio travels in it."""
MULTIPART_ROOM_BYTES = 1024**2
"""For boundaries and small fields beside the file of exactly the largest size."""
STALL_S = 60.0
"""A body of which nothing arrives for this long is given up."""
LIMITER_TIMEOUT_S = 0.25
LIMITER_REST_S = 5.0
"""While Redis is away nobody is limited, and it is asked again only after this long."""


def body_limit(settings: Settings, scope: Scope) -> tuple[int, str]:
    """Bytes, and the setting that says so."""
    content_type = Headers(scope=scope).get("content-type", "").lower()
    if content_type.startswith("multipart/"):
        return settings.max_upload_bytes + MULTIPART_ROOM_BYTES, "MILO_MAX_UPLOAD_BYTES"
    path = scope["path"].rstrip("/")
    if path.endswith("/blobs"):
        return settings.max_upload_bytes, "MILO_MAX_UPLOAD_BYTES"
    if path.endswith("/stt"):
        return settings.max_body_bytes, "MILO_MAX_BODY_BYTES"
    return min(settings.max_body_bytes, JSON_BYTES), "the limit for JSON without audio"


class BodyLimit:
    """ASGI middleware: refuses a body by its Content-Length at once, and counts one that comes without."""

    def __init__(self, app: ASGIApp, settings: Settings, stall_s: float = STALL_S) -> None:
        self.app = app
        self.settings = settings
        self.stall_s = stall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit, named = body_limit(self.settings, scope)
        too_large = TooLarge(
            f"the body is larger than {limit} bytes, the most this path takes ({named}); "
            "send large audio to POST /api/v1/blobs or as multipart"
        )
        length = Headers(scope=scope).get("content-length")
        if length is not None and not (length.isascii() and length.isdigit()):
            await send_problem(BadRequest(f"Content-Length {length!r} is not a number"), scope, receive, send)
            return
        if length is not None and int(length) > limit:
            await send_problem(too_large, scope, receive, send)
            return
        await self.app(scope, _Counter(receive, limit, too_large, self.stall_s), send)


class _Counter:
    def __init__(self, receive: Receive, limit: int, too_large: MiloError, stall_s: float) -> None:
        self.receive = receive
        self.left = limit
        self.too_large = too_large
        self.stall_s = stall_s
        self.complete = False

    async def __call__(self) -> Message:
        if self.complete:  # only a disconnect can come now
            return await self.receive()
        try:
            with anyio.fail_after(self.stall_s):
                message = await self.receive()
        except TimeoutError:
            raise Stalled(f"nothing of the body has arrived for {self.stall_s:g} s") from None
        self.left -= len(message.get("body", b""))
        self.complete = not message.get("more_body", False)
        if self.left < 0:
            raise self.too_large
        return message


def rate_of(settings: Settings) -> RateLimitItem | None:
    """MILO_RATE_LIMIT, understood. `Invalid` if it can't be."""
    if not settings.rate_limit.strip():
        return None
    try:
        return parse(settings.rate_limit)
    except ValueError:
        raise Invalid(f"MILO_RATE_LIMIT is {settings.rate_limit!r}; write it like `600/minute`") from None


class RateLimit:
    """ASGI middleware: so many requests for each key, counted in Redis, so that all API processes count together."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.item = rate_of(settings)
        self._resting_until = 0.0
        if self.item:
            self._storage = RedisStorage(
                f"async+{settings.redis_url}",
                implementation="redispy",
                key_prefix="milo:rate",
                socket_timeout=LIMITER_TIMEOUT_S,
                socket_connect_timeout=LIMITER_TIMEOUT_S,
            )
            self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = scope.get("milo.key")
        if self.item is None or key is None or time.monotonic() < self._resting_until:
            await self.app(scope, receive, send)
            return
        try:
            with anyio.fail_after(LIMITER_TIMEOUT_S * 2):
                allowed = await self._limiter.hit(self.item, key.name)
                stats = await self._limiter.get_window_stats(self.item, key.name)
        except Exception as error:  # whatever the storage raises: being unable to count is no reason to refuse
            log.warning("requests are not counted, the rate limit's Redis does not answer: %s", error)
            self._resting_until = time.monotonic() + LIMITER_REST_S
            await self.app(scope, receive, send)
            return
        wait_s = max(1.0, stats.reset_time - time.time())
        headers = {
            "RateLimit-Policy": f'"requests";q={self.item.amount};w={self.item.get_expiry()}',
            "RateLimit": f'"requests";r={stats.remaining};t={round(wait_s)}',
        }
        if not allowed:
            refusal = TooMany(
                f"more than {self.item} for the key {key.name!r}; slow down", code="rate_limited", retry_after_s=wait_s
            )
            await send_problem(refusal, scope, receive, _with(send, headers))
            return
        await self.app(scope, receive, _with(send, headers))


def _with(send: Send, headers: dict[str, Any]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return sending
