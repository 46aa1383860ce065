"""The connection to Redis that everything of a process shares."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import redis

from milo.errors import Unavailable
from milo.settings import Settings


@lru_cache(maxsize=4)
def redis_client(url: str, timeout_s: float = 2.0) -> redis.Redis:
    """A shared client with short time-outs: a hung Redis costs seconds, not minutes."""
    options: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    return redis.Redis.from_url(url, health_check_interval=25, **options)


def ping_redis(settings: Settings) -> None:
    """Raises `Unavailable` within a second when Redis is away or hangs."""
    try:
        redis_client(settings.redis_url, 0.5).ping()
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}", code="redis_down", retry_after_s=2) from error
