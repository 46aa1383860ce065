"""Places that keys hold open (conversations, event streams) and requests of theirs, counted over all API processes.

A place is a member of a sorted set in Redis, with the time at which it ends unless its process renews it: those of a
killed process are free after `LEASE_S`. Requests are counted here and added up in Redis once a second, so a request
asks Redis nothing. While Redis is away each process counts its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any, Literal

import anyio
import redis
import redis.asyncio

from milo.queue.connection import redis_client
from milo.quotas import QuotaExceeded, limit_of
from milo.settings import Settings

log = logging.getLogger(__name__)
LEASE_S = 45.0
RENEW_S = 15.0
TICK_S = 1.0
TIMEOUT_S = 0.5
WINDOW_S = 60
Kind = Literal["sockets", "streams"]
_NOW = "local t = redis.call('TIME') local now = t[1] + t[2] / 1000000 "
# KEYS: the set. ARGV: limit (-1: none), lease in seconds, member
_TAKE = f"""{_NOW} redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local used = redis.call('ZCARD', KEYS[1])
if tonumber(ARGV[1]) >= 0 and used >= tonumber(ARGV[1]) then return {{0, used}} end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[1], math.ceil(ARGV[2]) * 2) return {{1, used}}"""
# ARGV: lease in seconds, members; one that was dropped meanwhile comes back, for its process lives
_RENEW = f"""{_NOW} for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
redis.call('EXPIRE', KEYS[1], math.ceil(ARGV[1]) * 2) return 1"""
_COUNT = f"{_NOW} return redis.call('ZCOUNT', KEYS[1], now, '+inf')"


def _places(kind: str, owner: str) -> str:
    return f"milo:quota:{kind}:{owner}"


def _requests(window: int, owner: str) -> str:
    return f"milo:quota:requests:{window}:{owner}"


class Places:
    """What the keys hold in this API process, beside what they hold in others."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = redis.asyncio.Redis.from_url(
            settings.redis_url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )
        self._held: dict[tuple[Kind, str], set[str]] = {}
        self._window = 0
        self._unsent: Counter[str] = Counter()
        self._everywhere: dict[str, int] = {}
        """Requests of the present window, of all processes, as far as they were added up."""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._keep(), name="places")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._client.aclose()

    @contextlib.asynccontextmanager
    async def hold(self, kind: Kind, owner: str) -> AsyncIterator[None]:
        """A place as long as the block lasts. Raises `QuotaExceeded` when the key has as many as it may."""
        limit, held = limit_of(self._settings, owner, kind), self._held.setdefault((kind, owner), set())
        if limit is not None and len(held) >= limit:
            raise QuotaExceeded(kind, len(held), limit, LEASE_S)
        member = secrets.token_hex(8)
        held.add(member)
        try:
            free, used = await self._take(kind, owner, member, limit)
            if not free:
                assert limit is not None
                raise QuotaExceeded(kind, used, limit, LEASE_S)
            yield
        finally:
            held.discard(member)
            with anyio.CancelScope(shield=True), contextlib.suppress(redis.RedisError, OSError):
                await self._client.zrem(_places(kind, owner), member)

    async def _take(self, kind: Kind, owner: str, member: str, limit: float | None) -> tuple[bool, int]:
        most = -1 if limit is None else int(limit)
        try:
            free, used = await self._client.eval(_TAKE, 1, _places(kind, owner), most, LEASE_S, member)
        except (redis.RedisError, OSError) as error:
            log.warning("places of keys are counted by each process alone, Redis does not answer: %s", error)
            return True, 0
        return bool(free), int(used)

    def request(self, owner: str) -> None:
        """Count one. Raises `QuotaExceeded` when the key has sent as many as it may in this minute."""
        now = time.time()
        if self._window != int(now // WINDOW_S):
            self._window = int(now // WINDOW_S)
            self._unsent.clear()
            self._everywhere.clear()
        limit = limit_of(self._settings, owner, "requests")
        if limit is None:
            return
        used = self._everywhere.get(owner, 0) + self._unsent[owner]
        if used >= limit:
            raise QuotaExceeded("requests", used, limit, (self._window + 1) * WINDOW_S - now)
        self._unsent[owner] += 1

    async def _keep(self) -> None:
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            with contextlib.suppress(redis.RedisError, OSError):
                await self.add_up()
                if time.monotonic() - renewed >= RENEW_S:
                    renewed = time.monotonic()
                    await self.renew()

    async def add_up(self) -> None:
        """Add the requests since the last time to those of all processes, and learn the sums."""
        window, sent = self._window, +self._unsent
        if not sent:
            return
        async with self._client.pipeline(transaction=False) as pipe:
            for owner, count in sent.items():
                pipe.incrby(_requests(window, owner), count)
                pipe.expire(_requests(window, owner), 2 * WINDOW_S)
            sums = (await pipe.execute())[::2]
        if window == self._window:
            self._unsent -= sent
            self._everywhere |= dict(zip(sent, map(int, sums), strict=True))

    async def renew(self) -> None:
        """Say that this process lives, and what it holds."""
        for (kind, owner), held in list(self._held.items()):
            if held:
                members: Iterable[Any] = sorted(held)
                await self._client.eval(_RENEW, 1, _places(kind, owner), LEASE_S, *members)
            else:
                self._held.pop((kind, owner), None)


def counts(settings: Settings, owner: str) -> dict[str, float]:
    """Open places of a key and its requests in this minute, of all processes. Raises `redis.RedisError`."""
    client = redis_client(settings.redis_url, TIMEOUT_S)
    open_places = {kind: float(client.eval(_COUNT, 1, _places(kind, owner))) for kind in ("sockets", "streams")}
    sent: Any = client.get(_requests(int(time.time() // WINDOW_S), owner))
    return open_places | {"requests": float(sent or 0)}
