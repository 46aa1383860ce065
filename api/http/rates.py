"""How often one may ask: each key and each address by what the operator says, and wrong keys from one address.

This machine's own addresses are not limited: behind a proxy that names no client, they are everybody.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import time
from collections import OrderedDict
from typing import Any, Literal

import anyio
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import send_problem
from milo.addresses import is_loopback
from milo.errors import Invalid, TooMany
from milo.settings import Settings

log = logging.getLogger(__name__)

LIMITER_TIMEOUT_S = 0.25
LIMITER_REST_S = 5.0
"""While Redis is away nobody is limited, and it is asked again only after this long."""
KNOWN_CALLERS = 4096
Setting = Literal["rate_limit", "address_rate_limit", "wrong_key_limit"]


def rate_of(settings: Settings, name: Setting = "rate_limit") -> RateLimitItem | None:
    """A setting such as `600/minute`, understood; None when it is empty. `Invalid` if it can't be."""
    value: str = getattr(settings, name)
    if not value.strip():
        return None
    try:
        return parse(value)
    except ValueError:
        raise Invalid(f"MILO_{name.upper()} is {value!r}; write it like `600/minute`") from None


def address_of(scope: Scope) -> str | None:
    """Whom to count a request to: an IPv4 address, or the /64 that one IPv6 customer has. None: this machine."""
    client = scope.get("client")
    if client is None or is_loopback(client[0]):
        return None
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return str(client[0])
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class RateLimit:
    """ASGI middleware: so many requests, counted in Redis, so that all API processes count together.

    `by` says whose: each key's (it comes behind `Authentication`), or each address's (before it).
    """

    def __init__(self, app: ASGIApp, settings: Settings, by: Literal["key", "address"] = "key") -> None:
        self.app = app
        self.by = by
        self.item = rate_of(settings, "rate_limit" if by == "key" else "address_rate_limit")
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

    def _who(self, scope: Scope) -> str | None:
        if scope["type"] == "lifespan" or self.item is None:
            return None
        if self.by == "address":
            return address_of(scope)
        key = scope.get("milo.key")
        return key.name if key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        who = self._who(scope)
        if self.item is None or who is None or time.monotonic() < self._resting_until:
            await self.app(scope, receive, send)
            return
        try:
            with anyio.fail_after(LIMITER_TIMEOUT_S * 2):
                allowed = await self._limiter.hit(self.item, self.by, who)
                stats = await self._limiter.get_window_stats(self.item, self.by, who)
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
                f"more than {self.item} for the {self.by} {who!r}; slow down", code="rate_limited", retry_after_s=wait_s
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


class WrongKeys:
    """Counts wrong keys by address, in this process. Over the limit an address may try no further key.

    Who was let in from there before goes on: a guesser behind the same router locks out nobody that works.
    """

    def __init__(self, settings: Settings) -> None:
        self.item = rate_of(settings, "wrong_key_limit")
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._known: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    async def check(self, scope: Scope, secret: str) -> None:
        """Raises `TooMany` when this address has shown too many wrong keys, whatever this one is."""
        who = address_of(scope)
        if self.item is None or who is None or (who, _print(secret)) in self._known:
            return
        if not await self._limiter.test(self.item, who):
            reset = (await self._limiter.get_window_stats(self.item, who)).reset_time
            raise TooMany(
                f"too many wrong keys came from {who}; wait",
                code="too_many_wrong_keys",
                retry_after_s=reset - time.time(),
            )

    async def note(self, scope: Scope, secret: str, right: bool) -> None:
        """Remember what became of a key that was checked."""
        who = address_of(scope)
        if self.item is None or who is None:
            return
        if not right:
            await self._limiter.hit(self.item, who)
            return
        self._known[who, _print(secret)] = None
        self._known.move_to_end((who, _print(secret)))
        while len(self._known) > KNOWN_CALLERS:
            self._known.popitem(last=False)


def _print(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
