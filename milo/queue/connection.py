"""The connection to Redis that everything of a process shares."""

from __future__ import annotations

import threading
from functools import lru_cache

import redis

from milo.errors import Unavailable
from milo.settings import Settings


@lru_cache(maxsize=4)
def redis_client(url: str, timeout_s: float = 2.0) -> redis.Redis:
    """A shared client with short time-outs: a hung Redis costs seconds, not minutes."""
    return redis.Redis.from_url(
        url, health_check_interval=25, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
    )


def ping_redis(settings: Settings) -> None:
    """Raises `Unavailable` within a second when Redis is away or hangs."""
    try:
        redis_client(settings.redis_url, 0.5).ping()
    except redis.RedisError as error:
        raise redis_down(error) from error


class RedisCheck:
    """Pings Redis once for all who ask during one request: make one for each request. Safe between its threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._answered = False

    def __call__(self) -> None:
        """Raises `Unavailable` when Redis is away or hangs. A failure is not remembered: the next call pings again."""
        with self._lock:
            if not self._answered:
                ping_redis(self._settings)
                self._answered = True


def redis_down(error: redis.RedisError) -> Unavailable:
    """What the caller of the API reads when Redis fails."""
    return Unavailable(f"Redis does not answer: {error}", code="redis_down", retry_after_s=2)
